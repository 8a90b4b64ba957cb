//! The ledger's side of the socket.

use std::fs::{self, Permissions};
use std::io::{self, BufWriter, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use farthing_protocol::SecretKey;
use tokio::sync::mpsc;

use super::{DATA, END, ERROR, MAX_FRAME, MAX_REQUEST, OnLedger, Request, SOCKET};
use crate::engine::committer::{Job, Moment};
use crate::engine::storage::{Row, Snapshot, StorageError};
use crate::engine::{KEY, Ledger};
use crate::rows::{Genesis, Table};
use crate::{backup, check, export, keyfile, sales};

/// Time that a caller has for its request.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time that a caller may take before it reads on: somebody may be looking at an export page by page.
const READING: Duration = Duration::from_secs(600);
/// Callers that are answered at the same time.
const CALLERS: usize = 16;

/// A socket that is served until this is dropped.
#[derive(Debug)]
pub(crate) struct AdminSocket {
    path: PathBuf,
    stop: Arc<AtomicBool>,
    /// The listening socket once more, to end the waiting for callers.
    listening: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl AdminSocket {
    /// Serves a ledger in the directory that this process has. What queues jobs is weak: a caller does not keep a
    /// ledger open that everybody else has let go.
    pub(crate) fn serve(
        directory: &Path,
        jobs: mpsc::WeakSender<Job>,
        genesis: Genesis,
        key: SecretKey,
    ) -> io::Result<Self> {
        let path = directory.join(SOCKET);
        // It appears under its name with the right mode. What a killed process left is replaced.
        let fresh = directory.join(format!(".{SOCKET}"));
        let _ = fs::remove_file(&fresh);
        let listener = UnixListener::bind(&fresh)?;
        fs::set_permissions(&fresh, Permissions::from_mode(0o600))?;
        let listening = UnixStream::from(OwnedFd::from(listener.try_clone()?));
        let stop = Arc::new(AtomicBool::new(false));
        let desk = Desk { jobs, genesis, key, directory: directory.to_path_buf(), stop: stop.clone() };
        let desk = Arc::new(desk);
        let thread =
            thread::Builder::new().name("ledger-admin".into()).spawn(move || listen(&listener, &desk))?;
        let socket = Self { path, stop, listening, thread: Some(thread) };
        fs::rename(&fresh, &socket.path)?;
        Ok(socket)
    }
}

impl Drop for AdminSocket {
    /// Ends every answer that is being given, so that nothing of the ledger is in use afterwards.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // One of the two wakes the listener, whatever the operating system makes of the other.
        let _ = self.listening.shutdown(Shutdown::Both);
        let _ = UnixStream::connect(&self.path);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = fs::remove_file(&self.path);
    }
}

/// Somebody who is being answered.
struct Caller {
    stream: UnixStream,
    thread: JoinHandle<()>,
}

fn listen(listener: &UnixListener, desk: &Arc<Desk>) {
    let mut callers: Vec<Caller> = Vec::new();
    while !desk.stop.load(Ordering::SeqCst) {
        match listener.accept() {
            Ok((stream, _)) => {
                callers.retain(|caller| !caller.thread.is_finished());
                if callers.len() >= CALLERS {
                    refuse(&stream, "too many ask at the same time");
                } else if let Some(caller) = receive(stream, desk) {
                    callers.push(caller);
                }
            }
            Err(_) if desk.stop.load(Ordering::SeqCst) => {}
            Err(_) => thread::sleep(Duration::from_millis(100)),
        }
    }
    for caller in callers {
        let _ = caller.stream.shutdown(Shutdown::Both);
        let _ = caller.thread.join();
    }
}

/// Answers a caller on a thread of its own.
fn receive(stream: UnixStream, desk: &Arc<Desk>) -> Option<Caller> {
    let answered = stream.try_clone().ok()?;
    let desk = desk.clone();
    let answer = move || {
        let mut frames = Frames(&answered);
        // Whoever has gone does not hear the end.
        let _ = match desk.answer(&answered) {
            Ok(()) => frames.frame(END, &[]),
            Err(why) => frames.frame(ERROR, why.as_bytes()),
        };
        let _ = answered.shutdown(Shutdown::Both);
    };
    let thread = thread::Builder::new().name("ledger-caller".into()).spawn(answer).ok()?;
    Some(Caller { stream, thread })
}

fn refuse(stream: &UnixStream, why: &str) {
    let _ = stream.set_write_timeout(Some(PATIENCE));
    let _ = Frames(stream).frame(ERROR, why.as_bytes());
}

/// What callers are answered from.
struct Desk {
    jobs: mpsc::WeakSender<Job>,
    genesis: Genesis,
    key: SecretKey,
    directory: PathBuf,
    stop: Arc<AtomicBool>,
}

impl Desk {
    fn answer(&self, stream: &UnixStream) -> Result<(), String> {
        let line = read_line(stream).map_err(|error| format!("the request did not arrive: {error}"))?;
        let request = Request::read(&line).ok_or("no such command")?;
        stream.set_write_timeout(Some(READING)).map_err(|error| error.to_string())?;
        let mut out = BufWriter::with_capacity(MAX_FRAME, Frames(stream));
        self.carry_out(&request, &mut out)?;
        out.flush().map_err(|error| error.to_string())
    }

    fn carry_out(&self, request: &Request, out: &mut dyn Write) -> Result<(), String> {
        match request {
            Request::Check => {
                let mut rows = self.rows()?;
                let report = check::check(&mut |table, from, limit| rows.scan(table, from, limit));
                json(out, &report.map_err(words)?)
            }
            Request::Export => export::write(&mut self.rows()?, out).map(drop).map_err(words),
            Request::Backup { with_key } => {
                let seed = with_key.then(|| keyfile::seed(self.directory.join(KEY))).transpose();
                let seed = seed.map_err(words)?;
                backup::write(&mut self.rows()?, seed.as_ref(), out).map(drop).map_err(words)
            }
            Request::Doubts => json(out, &wait(self.ledger()?.in_doubt()).map_err(words)?),
            Request::Recover => {
                let recovered = wait(self.ledger()?.recover(None)).map_err(words)?;
                json(out, &OnLedger { network: self.genesis.id().network().to_string(), recovered })
            }
            Request::Void(voids) => {
                let voids = voids.operate().ok_or("these are no voids")?;
                let results = wait(self.ledger()?.operate(voids)).map_err(words)?;
                json(out, &results.iter().map(Result::is_ok).collect::<Vec<_>>())
            }
            Request::Sales => {
                let Moment { rows, now, .. } = wait(self.ledger()?.moment()).map_err(words)?;
                let mut rows = UntilStopped { rows, stop: self.stop.clone() };
                sales::write(&mut rows, now, out).map(drop).map_err(words)
            }
            Request::Sale(payment) => json(out, &wait(self.ledger()?.sale(*payment)).map_err(words)?),
            Request::Refund(refund) => json(out, &wait(self.ledger()?.refund(refund)).map_err(words)?),
        }
    }

    /// A handle for one question.
    fn ledger(&self) -> Result<Ledger, String> {
        let jobs = self.jobs.upgrade().ok_or("the ledger is being closed")?;
        Ok(Ledger::of(self.genesis.clone(), self.key.clone(), jobs, None))
    }

    fn rows(&self) -> Result<UntilStopped, String> {
        let Moment { rows, .. } = wait(self.ledger()?.moment()).map_err(words)?;
        Ok(UntilStopped { rows, stop: self.stop.clone() })
    }
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn json(out: &mut dyn Write, value: &impl serde::Serialize) -> Result<(), String> {
    serde_json::to_writer(out, value).map_err(words)
}

/// Reads one line within the time and the length that a request may have.
fn read_line(mut stream: &UnixStream) -> io::Result<String> {
    let too_late = || io::Error::new(io::ErrorKind::TimedOut, "it took too long");
    let deadline = Instant::now() + PATIENCE;
    let mut line = Vec::new();
    let mut bytes = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(too_late());
        }
        stream.set_read_timeout(Some(left))?;
        let read = match stream.read(&mut bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(too_late()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        line.extend_from_slice(&bytes[..read]);
        if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
            line.truncate(end);
            return String::from_utf8(line).map_err(|_| io::ErrorKind::InvalidData.into());
        }
        if line.len() >= MAX_REQUEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too long"));
        }
    }
}

/// Writes frames to a caller.
struct Frames<'a>(&'a UnixStream);

impl Frames<'_> {
    fn frame(&mut self, kind: u8, bytes: &[u8]) -> io::Result<()> {
        let bytes = &bytes[..bytes.len().min(MAX_FRAME)];
        let length = (bytes.len() as u32).to_be_bytes();
        self.0.write_all(&[&[kind], &length[..], bytes].concat())
    }
}

impl Write for Frames<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bytes = &bytes[..bytes.len().min(MAX_FRAME)];
        self.frame(DATA, bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Rows that can be read until the socket closes.
struct UntilStopped {
    rows: Box<dyn Snapshot>,
    stop: Arc<AtomicBool>,
}

impl UntilStopped {
    fn go_on(&self) -> Result<(), StorageError> {
        match self.stop.load(Ordering::SeqCst) {
            false => Ok(()),
            true => Err(StorageError::failed("the ledger is being closed")),
        }
    }
}

impl Snapshot for UntilStopped {
    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.go_on()?;
        self.rows.get(table, key)
    }

    fn scan(&mut self, table: Table, from: &[u8], limit: usize) -> Result<Vec<Row>, StorageError> {
        self.go_on()?;
        self.rows.scan(table, from, limit)
    }
}

/// Runs a future to its end on this thread.
fn wait<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}
