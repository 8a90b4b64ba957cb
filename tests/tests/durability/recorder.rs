//! Runs a program under strace and reads what it did to the files below one directory.
//!
//! strace shows every call when it begins and when it ends, in one order that the program cannot have overtaken:
//! nothing that depends on a call is shown before its end.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Calls that are recorded. Those that change files and that the model does not know end the recording.
const CALLS: &str = "open,openat,openat2,creat,close,close_range,dup,dup2,dup3,fcntl,lseek,\
    write,pwrite64,writev,pwritev,pwritev2,ftruncate,truncate,fallocate,copy_file_range,sendfile,splice,\
    fsync,fdatasync,sync,syncfs,sync_file_range,msync,mmap,\
    rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,rmdir,mkdir,mkdirat,mknodat,bind,\
    io_uring_setup,io_uring_enter";

/// A descriptor of the recorded program.
pub(crate) type Fd = u32;

/// What a call did. Paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Open {
        path: PathBuf,
        create: bool,
        truncate: bool,
        append: bool,
        mode: u32,
        fd: Fd,
    },
    Close {
        fd: Fd,
    },
    Duplicate {
        fd: Fd,
        to: Fd,
    },
    Seek {
        fd: Fd,
        to: u64,
    },
    Write {
        fd: Fd,
        at: Option<u64>,
        bytes: Vec<u8>,
    },
    /// A line on standard output.
    Say {
        line: String,
    },
    Resize {
        fd: Fd,
        length: u64,
    },
    Sync {
        fd: Fd,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Link {
        from: PathBuf,
        to: PathBuf,
    },
    Remove {
        path: PathBuf,
    },
    MakeSocket {
        path: PathBuf,
    },
    MakeDirectory {
        path: PathBuf,
    },
}

/// One end of a call, in the order of the recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The call with this number begins.
    Begin(usize),
    /// It has ended, successfully.
    End(usize),
}

/// What a program did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recording {
    pub(crate) calls: Vec<Call>,
    pub(crate) steps: Vec<Step>,
}

/// Runs `program` under strace with its standard output in `replies`, and returns the trace.
pub(crate) fn run(
    strace: &str,
    program: &Path,
    arguments: &[&str],
    replies: &Path,
) -> Result<String, String> {
    let trace = replies.with_extension("strace");
    let output = std::fs::File::create(replies).map_err(|error| format!("{}: {error}", replies.display()))?;
    let mut command = Command::new(strace);
    command.args(["--seccomp-bpf", "-f", "-y", "-xx", "-s", "100000000", "-e", "signal=none"]);
    command.arg("-e").arg(format!("trace={CALLS}")).arg("-o").arg(&trace).arg(program).args(arguments);
    let run = command.stdin(Stdio::null()).stdout(output).stderr(Stdio::piped()).output();
    let run =
        run.map_err(|error| format!("{strace} cannot be started: {error}; cargo xtask test installs it"))?;
    let complaint = String::from_utf8_lossy(&run.stderr);
    if !run.status.success() {
        let hint = if complaint.contains("ptrace") || complaint.contains("PTRACE") {
            "this environment does not let us trace our own child processes, so nothing can be recorded: "
        } else {
            ""
        };
        return Err(format!("{hint}{} under {strace}: {}: {complaint}", program.display(), run.status));
    }
    std::fs::read_to_string(&trace).map_err(|error| format!("{}: {error}", trace.display()))
}

/// Reads a trace: what was done to files below `root`, and what was written to `replies`.
pub(crate) fn read(trace: &str, root: &Path, replies: &Path) -> Result<Recording, String> {
    let mut recording = Recording::default();
    // Calls that have begun, by thread: their text so far, and where they began.
    let mut begun: HashMap<&str, (&str, usize)> = HashMap::new();
    let mut ends: Vec<(usize, usize, Call)> = Vec::new();
    for (number, line) in trace.lines().enumerate() {
        let (thread, text) = line.split_once(' ').ok_or_else(|| format!("not a line of a trace: {line}"))?;
        let text = text.trim_start();
        if text.starts_with("+++") || text.starts_with("---") {
            continue;
        }
        if let Some(text) = text.strip_suffix(" <unfinished ...>") {
            begun.insert(thread, (text, number));
            continue;
        }
        let (whole, from) = match text.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>")) {
            Some((_, rest)) => {
                let (start, from) =
                    begun.remove(thread).ok_or_else(|| format!("resumed from nowhere: {text}"))?;
                (format!("{start}{rest}"), from)
            }
            None => (text.to_owned(), number),
        };
        if let Some(call) = call(&whole, root, replies)? {
            ends.push((from, number, call));
        }
    }
    // Lines are numbered by where they are; a call that ended on its own line began just before.
    let mut steps = Vec::new();
    for (at, (from, to, call)) in ends.into_iter().enumerate() {
        steps.push(((from, 0), Step::Begin(at)));
        steps.push(((to, 1), Step::End(at)));
        recording.calls.push(call);
    }
    steps.sort_by_key(|(order, _)| *order);
    recording.steps = steps.into_iter().map(|(_, step)| step).collect();
    Ok(recording)
}

/// Reads one whole call: `name(arguments) = result`.
fn call(text: &str, root: &Path, replies: &Path) -> Result<Option<Call>, String> {
    let wrong = || format!("not understood: {}", &text[..text.len().min(300)]);
    let (name, rest) = text.split_once('(').ok_or_else(wrong)?;
    let (arguments, result) = rest.rsplit_once(" = ").ok_or_else(wrong)?;
    let arguments = arguments.trim_end().strip_suffix(')').ok_or_else(wrong)?;
    if result.starts_with('?') {
        return Ok(None);
    }
    let sync = matches!(name, "fsync" | "fdatasync");
    if result.starts_with('-') {
        return if sync { Err(format!("a flush failed: {text}")) } else { Ok(None) };
    }
    let arguments = split(arguments);
    let argument = |at: usize| arguments.get(at).copied().ok_or_else(wrong);
    let number =
        |text: &str| text.split(['<', ' ']).next().and_then(|n| n.parse::<u64>().ok()).ok_or_else(wrong);
    let fd = |text: &str| number(text).and_then(|n| Fd::try_from(n).map_err(|_| wrong()));
    let inside = |path: &Path| path.starts_with(root);
    // Descriptors show their path, so that those of other files are recognised.
    let ours = |text: &str| shown(text).is_some_and(|path| inside(&path));
    let path = |directory: Option<&str>, text: &str| -> Result<PathBuf, String> {
        let relative = PathBuf::from(string(text).ok_or_else(wrong)?);
        match directory {
            Some(directory) if relative.is_relative() => {
                Ok(shown(directory).ok_or_else(wrong)?.join(relative))
            }
            None if relative.is_relative() => Err(wrong()),
            _ => Ok(relative),
        }
    };
    let open = |path: PathBuf, flags: &str, mode: Option<&str>| {
        let has = |flag: &str| flags.split('|').any(|f| f == flag);
        let mode = mode.and_then(|mode| u32::from_str_radix(mode, 8).ok()).unwrap_or(0o600);
        let (create, truncate, append) = (has("O_CREAT"), has("O_TRUNC"), has("O_APPEND"));
        Ok::<_, String>(inside(&path).then_some(Call::Open {
            create,
            truncate,
            append,
            mode,
            fd: fd(result)?,
            path,
        }))
    };
    let two = |from: PathBuf, to: PathBuf| match (inside(&from), inside(&to)) {
        (false, false) => Ok(None),
        (true, true) => Ok(Some((from, to))),
        _ => Err(wrong()),
    };
    let unknown =
        || Err(format!("the model of the disk does not know this call: {}", &text[..text.len().min(300)]));

    Ok(match name {
        "open" => open(path(None, argument(0)?)?, argument(1)?, argument(2).ok())?,
        "openat" => open(path(Some(argument(0)?), argument(1)?)?, argument(2)?, argument(3).ok())?,
        "creat" => open(path(None, argument(0)?)?, "O_CREAT|O_TRUNC", argument(1).ok())?,
        "close" => Some(Call::Close { fd: fd(argument(0)?)? }),
        "dup" | "dup2" | "dup3" => Some(Call::Duplicate { fd: fd(argument(0)?)?, to: fd(result)? }),
        "fcntl" => match argument(1)? {
            "F_DUPFD" | "F_DUPFD_CLOEXEC" => Some(Call::Duplicate { fd: fd(argument(0)?)?, to: fd(result)? }),
            _ => None,
        },
        "lseek" => ours(argument(0)?).then_some(Call::Seek { fd: fd(argument(0)?)?, to: number(result)? }),
        "write" if shown(argument(0)?).is_some_and(|path| path == replies) => {
            let line = string(argument(1)?).ok_or_else(wrong)?;
            Some(Call::Say { line: line.trim_end().to_owned() })
        }
        "write" | "pwrite64" | "writev" if ours(argument(0)?) => {
            let mut bytes = if name == "writev" { strings(argument(1)?) } else { decoded(argument(1)?) };
            let bytes = bytes.as_mut().ok_or_else(wrong)?;
            bytes.truncate(usize::try_from(number(result)?).map_err(|_| wrong())?);
            let at = if name == "pwrite64" { Some(number(argument(3)?)?) } else { None };
            Some(Call::Write { fd: fd(argument(0)?)?, at, bytes: std::mem::take(bytes) })
        }
        "write" | "pwrite64" | "writev" => None,
        "ftruncate" => ours(argument(0)?)
            .then_some(Call::Resize { fd: fd(argument(0)?)?, length: number(argument(1)?)? }),
        "fsync" | "fdatasync" => ours(argument(0)?).then_some(Call::Sync { fd: fd(argument(0)?)? }),
        "rename" => two(path(None, argument(0)?)?, path(None, argument(1)?)?)?
            .map(|(from, to)| Call::Rename { from, to }),
        "renameat" | "renameat2" => {
            let (from, to) =
                (path(Some(argument(0)?), argument(1)?)?, path(Some(argument(2)?), argument(3)?)?);
            two(from, to)?.map(|(from, to)| Call::Rename { from, to })
        }
        "linkat" => {
            let (from, to) =
                (path(Some(argument(0)?), argument(1)?)?, path(Some(argument(2)?), argument(3)?)?);
            two(from, to)?.map(|(from, to)| Call::Link { from, to })
        }
        "link" => two(path(None, argument(0)?)?, path(None, argument(1)?)?)?
            .map(|(from, to)| Call::Link { from, to }),
        "unlink" | "rmdir" => {
            Some(path(None, argument(0)?)?).filter(|p| inside(p)).map(|path| Call::Remove { path })
        }
        "unlinkat" => Some(path(Some(argument(0)?), argument(1)?)?)
            .filter(|p| inside(p))
            .map(|path| Call::Remove { path }),
        "mkdir" => {
            Some(path(None, argument(0)?)?).filter(|p| inside(p)).map(|path| Call::MakeDirectory { path })
        }
        "mkdirat" => Some(path(Some(argument(0)?), argument(1)?)?)
            .filter(|p| inside(p))
            .map(|path| Call::MakeDirectory { path }),
        "bind" => {
            let path = strings(argument(1)?).and_then(|path| String::from_utf8(path).ok()).map(PathBuf::from);
            path.filter(|path| inside(path)).map(|path| Call::MakeSocket { path })
        }
        // Memory that is shared with a file could be written behind our back.
        "mmap" => {
            let shared = argument(2)?.contains("PROT_WRITE") && argument(3)?.contains("MAP_SHARED");
            if shared && ours(argument(4)?) { unknown()? } else { None }
        }
        "io_uring_setup" | "io_uring_enter" | "sync" | "close_range" | "msync" => unknown()?,
        // Anything else matters only if it names one of our files.
        _ if arguments.iter().any(|a| ours(a) || string(a).is_some_and(|p| inside(Path::new(&p)))) => {
            unknown()?
        }
        _ => None,
    })
}

/// Arguments at the top level: commas within brackets do not part them. Strings hold no comma: they are in hex.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0_usize, 0);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                parts.push(text[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[from..].trim());
    parts
}

/// The path that a descriptor shows: `5<path>`.
fn shown(text: &str) -> Option<PathBuf> {
    let (_, rest) = text.split_once('<')?;
    let (path, _) = rest.split_once('>')?;
    String::from_utf8(unescape(path)?).ok().map(PathBuf::from)
}

/// A quoted string as bytes.
fn decoded(text: &str) -> Option<Vec<u8>> {
    unescape(text.strip_prefix('"')?.strip_suffix('"')?)
}

fn string(text: &str) -> Option<String> {
    decoded(text).and_then(|bytes| String::from_utf8(bytes).ok())
}

/// All quoted strings in a list, one after the other.
fn strings(text: &str) -> Option<Vec<u8>> {
    let parts: Option<Vec<_>> = text.split('"').skip(1).step_by(2).map(unescape).collect();
    parts.map(|parts| parts.concat())
}

/// `\x2f\x74`, and nothing else.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| (byte as char).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let byte = |chunk: &[u8]| match chunk {
        [b'\\', b'x', high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    text.as_bytes().chunks(4).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> String {
        text.bytes().map(|byte| format!("\\x{byte:02x}")).collect()
    }

    #[test]
    fn a_trace_is_read_with_the_beginning_and_the_end_of_every_call() {
        let (cwd, file) = (hex("/elsewhere"), hex("/d/a (1), b = 2"));
        let trace = format!(
            "7  openat(AT_FDCWD<{cwd}>, \"{file}\", O_WRONLY|O_CREAT|O_APPEND|O_CLOEXEC, 0640) = 3<{file}>\n\
             7  write(3<{file}>, \"{}\", 5 <unfinished ...>\n\
             8  fdatasync(3<{file}> <unfinished ...>\n\
             7  <... write resumed>) = 5\n\
             8  <... fdatasync resumed>) = 0\n\
             8  mkdir(\"{file}\", 0777) = -1 EEXIST (File exists)\n\
             7  write(1<{}>, \"{}\", 4) = 4\n\
             7  +++ exited with 0 +++\n",
            hex("hello"),
            hex("/e/replies"),
            hex("ack\n"),
        );
        let recording = read(&trace, Path::new("/d"), Path::new("/e/replies")).unwrap();
        let path = PathBuf::from("/d/a (1), b = 2");
        let open = Call::Open { path, create: true, truncate: false, append: true, mode: 0o640, fd: 3 };
        let (sync, write) = (Call::Sync { fd: 3 }, Call::Write { fd: 3, at: None, bytes: b"hello".to_vec() });
        let said = Call::Say { line: "ack".into() };
        assert_eq!(recording.calls, [open, write, sync, said]);
        use Step::{Begin, End};
        let expected = [Begin(0), End(0), Begin(1), Begin(2), End(1), End(2), Begin(3), End(3)];
        assert_eq!(recording.steps, expected);
    }

    #[test]
    fn what_the_model_does_not_know_is_not_passed_over() {
        let read = |line: String| read(&line, Path::new("/d"), Path::new("/e/replies"));
        let (ours, other) = (hex("/d/a"), hex("/e/a"));
        let map =
            |path| format!("7 mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, 3<{path}>, 0) = 0x7f00");
        assert!(read(map(&ours)).unwrap_err().contains("does not know"));
        assert_eq!(read(map(&other)), Ok(Recording::default()));
        assert!(read("7 io_uring_setup(8, {flags=0}) = 4".into()).is_err());
        assert!(read(format!("7 fallocate(3<{ours}>, 0, 0, 10) = 0")).is_err());
        assert_eq!(read(format!("7 fallocate(3<{other}>, 0, 0, 10) = 0")), Ok(Recording::default()));
        assert!(
            read(format!("7 fsync(3<{ours}>) = -1 EIO (Input/output error)")).unwrap_err().contains("failed")
        );
    }

    #[test]
    fn a_recorder_that_is_missing_or_may_not_trace_says_so() {
        let home = tempfile::tempdir().unwrap();
        let run =
            |strace: &str, program: &str| run(strace, Path::new(program), &[], &home.path().join("replies"));
        assert!(run("no-such-strace", "true").unwrap_err().contains("cargo xtask test installs it"));
        assert!(run("false", "true").unwrap_err().contains("exit status: 1"));
        let refusing = home.path().join("refusing");
        std::fs::write(
            &refusing,
            "#!/bin/sh\necho 'strace: ptrace(PTRACE_SEIZE): Operation not permitted' >&2\nexit 1\n",
        )
        .unwrap();
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&refusing, std::fs::Permissions::from_mode(0o700)).unwrap();
        assert!(run(refusing.to_str().unwrap(), "true").unwrap_err().contains("does not let us trace"));
    }
}
