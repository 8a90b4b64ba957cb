//! The log of sales: which route each paid request was for.
//!
//! The network that settles is the truth about money. What it does not know is the name of the route; and payments
//! on chains are listed nowhere else. So each paid request that ends leaves one line of JSON in a file, described
//! in `spec/sales.md`. Lines are written by a thread of their own, whole and with one write, so that several
//! processes may share the file; a request never waits for it.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use farthing_protocol::Amount;
use serde::{Deserialize, Serialize};

use crate::Sold;
use crate::answer::Situation;

/// Lines that may wait for the disk; more are dropped, and counted.
const QUEUE: usize = 8192;
/// Bytes that are written at once, about.
const BATCH: usize = 64 << 10;
/// The longest that a written line waits until it is durable.
const FLUSH: Duration = Duration::from_secs(1);
/// Payments of unknown outcome whose end is looked out for.
const DOUBTS: usize = 4096;
/// Bytes of the longest line that is read.
const MAX_LINE: u64 = 64 << 10;

/// One line of the log: a paid request that ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Unix seconds.
    pub at: u64,
    /// The route's name.
    pub route: String,
    /// What became of the money, as far as this server knows.
    pub outcome: Ending,
    /// 64 hex digits.
    pub payment: String,
    /// Who paid, in the network's own words.
    pub payer: Option<String>,
    /// Where.
    pub network: Option<String>,
    /// With what.
    pub asset: Option<String>,
    /// Atomic units that were taken.
    pub amount: Option<Amount>,
    /// Atomic units that were held for it.
    pub held: Option<Amount>,
}

/// What became of the money of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// It was taken.
    Paid,
    /// It was given back.
    Voided,
    /// Nobody knew when the request ended.
    Unknown,
}

impl Ending {
    /// `None` where no money was held or moved.
    #[must_use]
    pub fn of(situation: Situation) -> Option<Self> {
        use Situation as S;
        match situation {
            S::Paid | S::PaidFailed | S::PaidBroke | S::PaidTimeout | S::PaidDisconnected | S::PaidPolicy => {
                Some(Self::Paid)
            }
            S::HandlerFailed
            | S::HandlerBroke
            | S::HandlerTimeout
            | S::Disconnected
            | S::Policy
            | S::TakenOver => Some(Self::Voided),
            S::Pending => Some(Self::Unknown),
            _ => None,
        }
    }
}

impl Line {
    /// What is written of a request that ended at `at`, in Unix seconds.
    #[must_use]
    pub fn of(sold: &Sold, at: u64) -> Option<Self> {
        let outcome = Ending::of(sold.situation)?;
        Some(Self {
            at,
            route: sold.route.to_string(),
            outcome,
            payment: sold.payment?.to_string(),
            payer: sold.payer.clone(),
            network: sold.network.as_ref().map(ToString::to_string),
            asset: sold.asset.clone(),
            amount: sold.amount.filter(|_| outcome == Ending::Paid),
            held: sold.held,
        })
    }
}

/// A log that is being written. Clones write to the same one; it is flushed and closed when the last is dropped.
#[derive(Clone)]
pub struct SalesLog {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    queue: Option<SyncSender<Line>>,
    thread: Option<JoinHandle<()>>,
    dropped: Arc<AtomicU64>,
    /// Payments whose outcome was unknown: when they are presented again and paid, that is news.
    doubts: Mutex<HashSet<String>>,
}

impl std::fmt::Debug for SalesLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SalesLog").field("path", &self.inner.path).finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl SalesLog {
    /// Opens the log, making it (mode 0600) if it is not there. A line that a killed process left unfinished is
    /// ended.
    ///
    /// # Errors
    /// When the file cannot be opened and written.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref().to_path_buf();
        let mut options = OpenOptions::new();
        let mut file = options.read(true).append(true).create(true).mode(0o600).open(&path)?;
        if file.seek(SeekFrom::End(0))? > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
            }
        }
        Self::to(file, path, QUEUE)
    }

    fn to(out: impl Out, path: PathBuf, queue: usize) -> io::Result<Self> {
        let (queue, lines) = sync_channel(queue);
        let dropped = Arc::new(AtomicU64::new(0));
        let mut writer = Writer { out, lines, dropped: dropped.clone(), torn: false };
        let thread = thread::Builder::new().name("sales-log".into()).spawn(move || writer.run())?;
        let (queue, thread) = (Some(queue), Some(thread));
        let inner = Inner { path, queue, thread, dropped, doubts: Mutex::default() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Notes a request that ended at `at`, in Unix seconds. Never waits: what the disk is too slow for is dropped.
    pub fn note(&self, sold: &Sold, at: u64) {
        let Some(line) = Line::of(sold, at) else { return };
        if !self.is_news(&line, sold.replayed) {
            return;
        }
        let Some(queue) = &self.inner.queue else { return };
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = queue.try_send(line) {
            self.inner.dropped.fetch_add(1, Ordering::Relaxed);
            crate::observe::sale_dropped();
        }
    }

    /// Requests that are not in the log, because the disk was too slow or full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.inner.dropped.load(Ordering::Relaxed)
    }

    /// A stored answer was given out again: that is no sale, unless nobody knew of the first one.
    fn is_news(&self, line: &Line, replayed: bool) -> bool {
        let mut doubts = self.inner.doubts.lock().unwrap_or_else(PoisonError::into_inner);
        match line.outcome {
            Ending::Unknown => doubts.len() < DOUBTS && doubts.insert(line.payment.clone()),
            _ => doubts.remove(&line.payment) || !replayed,
        }
    }
}

/// What is written to.
trait Out: Send + 'static {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    fn flush(&mut self) -> io::Result<()>;
}

impl Out for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(self, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

struct Writer<O> {
    out: O,
    lines: Receiver<Line>,
    dropped: Arc<AtomicU64>,
    /// The last write ended within a line.
    torn: bool,
}

impl<O: Out> Writer<O> {
    fn run(&mut self) {
        // Since when something waits to be durable.
        let mut waiting: Option<Instant> = None;
        let mut told = 0;
        loop {
            let next = match waiting {
                None => self.lines.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(since) => self.lines.recv_timeout(FLUSH.saturating_sub(since.elapsed())),
            };
            match next {
                Ok(line) => {
                    self.write(&line);
                    waiting = waiting.or_else(|| Some(Instant::now()));
                    if waiting.is_some_and(|since| since.elapsed() < FLUSH) {
                        continue;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.flush();
                    return;
                }
            }
            self.flush();
            waiting = None;
            let dropped = self.dropped.load(Ordering::Relaxed);
            if dropped > told {
                tracing::warn!(
                    lines = dropped - told,
                    "the disk is too slow for the log of sales: lines dropped"
                );
                told = dropped;
            }
        }
    }

    /// Writes a line and what waits behind it, at once.
    fn write(&mut self, first: &Line) {
        let mut bytes = Vec::with_capacity(512);
        if self.torn {
            bytes.push(b'\n');
        }
        add(&mut bytes, first);
        let mut lines = 1;
        while bytes.len() < BATCH {
            let Ok(line) = self.lines.try_recv() else { break };
            add(&mut bytes, &line);
            lines += 1;
        }
        let written = loop {
            match self.out.write(&bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                written => break written,
            }
        };
        self.torn = matches!(&written, Ok(length) if (1..bytes.len()).contains(length));
        let problem = match written {
            Ok(length) if length == bytes.len() => None,
            Ok(length) => {
                lines = bytes[length..].iter().filter(|byte| **byte == b'\n').count() as u64;
                Some("the disk is full".to_owned())
            }
            Err(error) => Some(error.to_string()),
        };
        if let Some(why) = problem {
            self.dropped.fetch_add(lines, Ordering::Relaxed);
            tracing::error!(lines, why, "sales cannot be written to their log");
        }
    }

    fn flush(&mut self) {
        if let Err(error) = self.out.flush() {
            tracing::error!(%error, "the log of sales cannot be made durable");
        }
    }
}

fn add(bytes: &mut Vec<u8>, line: &Line) {
    // Text and numbers: this cannot fail.
    let _ = serde_json::to_writer(&mut *bytes, line);
    bytes.push(b'\n');
}

/// What was read of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadLog {
    /// Lines that were understood.
    pub lines: u64,
    /// Lines that were not: torn by a crash, or damaged.
    pub unreadable: u64,
}

/// Reads a log from its beginning, also while it is written. What cannot be understood is passed over.
///
/// # Errors
/// When the file cannot be read.
pub fn read(path: impl AsRef<Path>, mut each: impl FnMut(Line)) -> io::Result<ReadLog> {
    let mut file = BufReader::new(File::open(path)?);
    let mut found = ReadLog::default();
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        if file.by_ref().take(MAX_LINE).read_until(b'\n', &mut bytes)? == 0 {
            return Ok(found);
        }
        let is_whole = bytes.pop_if(|last| *last == b'\n').is_some();
        match serde_json::from_slice(&bytes) {
            Ok(line) if is_whole => {
                found.lines += 1;
                each(line);
            }
            _ if bytes.is_empty() => {}
            _ => found.unreadable += 1,
        }
    }
}

#[cfg(test)]
mod tests;
