//! The admin socket: how a command reaches a ledger whose directory another process has.
//!
//! One process has a ledger's directory at a time. It listens on `admin.sock` in it, which nobody but the
//! directory's owner can use (mode 0600). A request is one line with the name of a command; the answer is
//! one line of JSON: what was asked for, or `{"error": "..."}`.

use std::fs::{self, Permissions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use farthing::Ledger;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use crate::ledger::Findings;

const SOCKET: &str = "admin.sock";
/// The one command so far.
const CHECK: &str = "check";
/// Bytes of the longest request.
const REQUEST: u64 = 64;
/// Bytes of the longest answer that is read.
const ANSWER: u64 = 1 << 20;
/// Time that a caller has for its request.
const PATIENCE: Duration = Duration::from_secs(5);

/// A socket that is served. Closed with [`Admin::close`].
#[derive(Debug)]
pub(crate) struct Admin {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl Admin {
    /// Serves `ledger` on a socket in its directory, which this process has.
    ///
    /// # Errors
    /// Those of the operating system; a path of more than about 100 bytes cannot be a socket's.
    pub(crate) fn serve(ledger: Ledger, directory: &Path) -> io::Result<Self> {
        let path = directory.join(SOCKET);
        // It appears under its name with the right mode. What a killed process left is replaced.
        let fresh = directory.join(format!(".{SOCKET}"));
        let _ = fs::remove_file(&fresh);
        let listener = UnixListener::bind(&fresh)?;
        fs::set_permissions(&fresh, Permissions::from_mode(0o600))?;
        fs::rename(&fresh, &path)?;
        let task = tokio::spawn(async move {
            loop {
                // One caller at a time: a check reads the whole history.
                match listener.accept().await {
                    Ok((caller, _)) => drop(answer(&ledger, caller).await),
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        });
        Ok(Self { path, task })
    }

    /// Stops serving, and lets go of the ledger.
    pub(crate) async fn close(self) {
        let _ = fs::remove_file(&self.path);
        self.task.abort();
        let _ = self.task.await;
    }
}

async fn answer(ledger: &Ledger, mut caller: UnixStream) -> io::Result<()> {
    let (read, mut write) = caller.split();
    let mut line = String::new();
    let mut request = tokio::io::BufReader::new(read.take(REQUEST));
    tokio::time::timeout(PATIENCE, request.read_line(&mut line)).await??;
    let answer = match line.trim_end() {
        CHECK => {
            Findings::of(ledger).await.map_or_else(|why| json!({ "error": why }), |found| found.to_json())
        }
        _ => json!({ "error": "no such command" }),
    };
    write.write_all(format!("{answer}\n").as_bytes()).await?;
    write.shutdown().await
}

/// Asks the process that has `directory` to check its ledger. `None` when nobody listens there.
///
/// # Errors
/// A sentence about an answer that is none.
pub(crate) fn ask_for_check(directory: &Path) -> Option<Result<Findings, String>> {
    let stream = std::os::unix::net::UnixStream::connect(directory.join(SOCKET)).ok()?;
    let answered = || {
        (&stream).write_all(format!("{CHECK}\n").as_bytes())?;
        let mut line = String::new();
        BufReader::new((&stream).take(ANSWER)).read_line(&mut line)?;
        Ok::<_, io::Error>(line)
    };
    let line = match answered() {
        Ok(line) => line,
        Err(error) => return Some(Err(format!("the process that has the ledger does not answer: {error}"))),
    };
    let value: Value = serde_json::from_str(&line).unwrap_or_default();
    if let Some(error) = value.get("error").and_then(Value::as_str) {
        return Some(Err(error.to_owned()));
    }
    let foreign = || "the process that has the ledger answers something else".to_owned();
    Some(Findings::from_json(value).ok_or_else(foreign))
}
