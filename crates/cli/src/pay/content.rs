//! Where the content of an answer goes: byte for byte, as it comes, and under its name only when it is whole.

use std::fs::{self, File, Permissions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use farthing::client::{ClientError, Paid};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use reqwest::header::CONTENT_LENGTH;
use tempfile::NamedTempFile;

use super::ended::Ended;
use crate::style::safe;

/// Where content goes.
#[derive(Debug)]
pub(super) enum Output {
    /// Standard output.
    Standard,
    /// A file that gets its name at the end; removed if that never comes.
    Whole(NamedTempFile, PathBuf),
    /// Something else that has a name, such as a device or a pipe.
    Other(File),
}

/// Content that did not arrive.
#[derive(Debug)]
pub(super) enum Broken {
    /// It broke off on its way.
    Answer(ClientError),
    /// It could not be written.
    Output(String),
}

impl Output {
    /// Makes sure that `path` can be written, before anything is paid.
    pub(super) fn prepare(path: Option<&Path>) -> Result<Self, Ended> {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else { return Ok(Self::Standard) };
        let cannot = |why: io::Error| Ended::usage(format!("{}: {why}", safe(&path.display().to_string())));
        // A link is followed: what it names is replaced, and not the link.
        let path = match fs::metadata(path) {
            Ok(found) if found.is_dir() => return Err(cannot(io::ErrorKind::IsADirectory.into())),
            Ok(found) if !found.is_file() => {
                let file = File::options().write(true).open(path).map_err(cannot)?;
                return Ok(Self::Other(file));
            }
            Ok(_) => path.canonicalize().map_err(cannot)?,
            Err(_) => path.to_owned(),
        };
        let directory =
            path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut part = tempfile::Builder::new();
        // As other programs make files: by the user's umask.
        let part = part.prefix(".farthing-").suffix(".part").permissions(Permissions::from_mode(0o666));
        let part = part.tempfile_in(directory).map_err(cannot)?;
        Ok(Self::Whole(part, path))
    }

    /// Writes the content of an answer, and returns how many bytes it has. Only what was asked for goes into a
    /// file: what an error says goes to standard output.
    pub(super) async fn write(self, answer: &mut Paid) -> Result<u64, Broken> {
        match self {
            Self::Whole(mut part, path) if answer.status.is_success() => {
                let bytes = copy(answer, part.as_file_mut(), true).await?;
                keep(part, &path).map_err(|error| failed(&path, &error))?;
                Ok(bytes)
            }
            Self::Other(mut file) if answer.status.is_success() => copy(answer, &mut file, true).await,
            _ => {
                let out = io::stdout();
                match out.is_terminal() {
                    true => copy(answer, &mut Shown(out.lock()), false).await,
                    false => copy(answer, &mut out.lock(), false).await,
                }
            }
        }
    }
}

/// Gives a file that is whole its name, durably.
fn keep(part: NamedTempFile, path: &Path) -> io::Result<()> {
    part.as_file().sync_all()?;
    part.persist(path).map_err(|error| error.error)?;
    Ok(())
}

fn failed(path: &Path, error: &io::Error) -> Broken {
    Broken::Output(safe(&format!("{}: {error}", path.display())))
}

async fn copy(answer: &mut Paid, out: &mut dyn Write, is_file: bool) -> Result<u64, Broken> {
    let bar = if is_file { progress(answer) } else { ProgressBar::hidden() };
    let mut bytes = 0;
    while let Some(piece) = answer.chunk().await.map_err(Broken::Answer)? {
        match out.write_all(&piece).and_then(|()| out.flush()) {
            // Whoever reads has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe && !is_file => return Ok(bytes),
            Err(error) => return Err(Broken::Output(format!("the content cannot be written: {error}"))),
            Ok(()) => {}
        }
        bytes += piece.len() as u64;
        bar.set_position(bytes);
    }
    bar.finish_and_clear();
    Ok(bytes)
}

/// A bar on a terminal, with an end where the answer names its length.
fn progress(answer: &Paid) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let length = answer.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr());
    let template = match length {
        Some(_) => "   {bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
        None => "   {spinner} {bytes}, {bytes_per_sec}",
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Text on a terminal: what would steer it is shown as `?`.
struct Shown<W>(W);

impl<W: Write> Write for Shown<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let plain = |byte: &u8| match byte {
            b'\n' | b'\t' => *byte,
            0..0x20 | 0x7f => b'?',
            byte => *byte,
        };
        self.0.write_all(&bytes.iter().map(plain).collect::<Vec<_>>())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_written_is_known_before_anything_is_paid() {
        let home = tempfile::tempdir().unwrap();
        for path in [home.path().to_owned(), home.path().join("no/such"), PathBuf::from("/proc/none")] {
            assert!(Output::prepare(Some(&path)).is_err(), "{path:?}");
        }
        assert!(matches!(Output::prepare(None), Ok(Output::Standard)));
        assert!(matches!(Output::prepare(Some(Path::new("-"))), Ok(Output::Standard)));
        assert!(matches!(Output::prepare(Some(Path::new("/dev/null"))), Ok(Output::Other(..))));
    }

    #[test]
    fn a_file_gets_its_name_when_it_is_whole_and_else_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("page");
        fs::write(&path, "before").unwrap();
        let Ok(Output::Whole(mut part, target)) = Output::prepare(Some(&path)) else { panic!("a file") };
        part.write_all(b"half").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"before");
        keep(part, &target).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"half");
        drop(Output::prepare(Some(&path)).unwrap());
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_terminal_shows_cannot_steer_it() {
        let mut shown = Vec::new();
        Shown(&mut shown).write_all("a\u{1b}[2J\r\n\u{7}\tü".as_bytes()).unwrap();
        assert_eq!(shown, "a?[2J?\n?\tü".as_bytes());
    }
}
