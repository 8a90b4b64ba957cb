//! The caller's side of the socket.

use std::io::{self, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use farthing_protocol::SecretKey;
use serde::de::DeserializeOwned;

use super::{DATA, END, ERROR, MAX_FRAME, OnLedger, Request, SOCKET, Voids};
use crate::identity::LedgerId;
use crate::recovery::Recovered;

/// Why a running ledger did not answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens on the socket, or nobody can.
    #[error("its admin socket {0} cannot be used: {1}")]
    Unreachable(PathBuf, io::Error),
    /// It was reached, and said why not.
    #[error("{0}")]
    Refused(String),
    /// It stopped in the middle of its answer.
    #[error("the process that has the ledger broke off its answer: {0}")]
    BrokenOff(io::Error),
    /// It says something that no ledger says.
    #[error("the process that has the ledger answers something else than a ledger does")]
    Foreign,
    /// The answer cannot be passed on.
    #[error(transparent)]
    Out(io::Error),
}

/// Asks the process that has `directory`, and passes its answer on to `out` as it comes. Only when this returns
/// `Ok` was it whole.
///
/// # Errors
/// [`AskError`].
pub fn ask(directory: &Path, request: &Request, out: &mut dyn Write) -> Result<(), AskError> {
    let path = directory.join(SOCKET);
    let mut stream = UnixStream::connect(&path).map_err(|error| AskError::Unreachable(path, error))?;
    stream.write_all(format!("{}\n", request.line()).as_bytes()).map_err(AskError::BrokenOff)?;
    let mut answer = BufReader::new(stream);
    let mut frame = Vec::new();
    loop {
        match read_frame(&mut answer, &mut frame)? {
            DATA => out.write_all(&frame).map_err(AskError::Out)?,
            END if frame.is_empty() => return out.flush().map_err(AskError::Out),
            ERROR => return Err(AskError::Refused(String::from_utf8_lossy(&frame).into_owned())),
            _ => return Err(AskError::Foreign),
        }
    }
}

/// Asks for something that is answered with JSON.
///
/// # Errors
/// [`AskError`].
pub fn ask_for<T: DeserializeOwned>(directory: &Path, request: &Request) -> Result<T, AskError> {
    let mut answer = Limited(Vec::new());
    ask(directory, request, &mut answer)?;
    serde_json::from_slice(&answer.0).map_err(|_| AskError::Foreign)
}

/// Ends payments in doubt on the ledger that another process has, as [`Ledger::recover`] does. The key stays
/// here: what it signs is sent.
///
/// [`Ledger::recover`]: crate::Ledger::recover
///
/// # Errors
/// [`AskError`]; what was ended before it stays ended.
pub fn recover(directory: &Path, authorizer: Option<&SecretKey>) -> Result<Recovered, AskError> {
    let OnLedger { network, mut recovered } = ask_for(directory, &Request::Recover)?;
    let Some(key) = authorizer else { return Ok(recovered) };
    let ledger = network.parse().ok().as_ref().and_then(LedgerId::of_network).ok_or(AskError::Foreign)?;
    for voids in recovered.take_voids(&ledger, key) {
        let given_back: Vec<bool> = ask_for(directory, &Request::Void(Voids::of(&voids)))?;
        recovered.heard(&voids.payments(), &given_back);
    }
    Ok(recovered)
}

/// Bytes of the longest answer that is kept in memory.
const MAX_ANSWER: usize = 1 << 30;

/// An answer that is kept in memory.
struct Limited(Vec<u8>);

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_ANSWER {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the answer is too long"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads one frame, and returns its kind.
fn read_frame(from: &mut impl Read, frame: &mut Vec<u8>) -> Result<u8, AskError> {
    let mut head = [0; 5];
    from.read_exact(&mut head).map_err(AskError::BrokenOff)?;
    let [kind, length @ ..] = head;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_FRAME {
        return Err(AskError::Foreign);
    }
    frame.resize(length, 0);
    from.read_exact(frame).map_err(AskError::BrokenOff)?;
    Ok(kind)
}
