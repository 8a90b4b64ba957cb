//! The load generator: two threads, any number of connections, each with one request at a time on its way.
//!
//! It is the same for all cases: write the bytes of the next request, read one complete answer, check it, note how
//! long it took.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use farthing::protocol::{Limits, header};
use futures_util::future::try_join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::case::Case;
use crate::http::{self, Answer};
use crate::serve::PAGE;
use crate::server::Server;
use crate::{Error, Result};

/// What one round of one case took. Every request of it was answered as it should be.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    /// Requests per second.
    pub(crate) rate: f64,
    /// How long each request took, sorted.
    pub(crate) latencies: Vec<Duration>,
    /// CPU time of the processes under test for each request.
    pub(crate) cpu: Duration,
}

impl Round {
    /// The share `part` of the requests took at most this long.
    pub(crate) fn percentile(&self, part: f64) -> Duration {
        let at = ((self.latencies.len() as f64 * part).ceil() as usize).max(1) - 1;
        self.latencies.get(at).copied().unwrap_or_default()
    }
}

/// Threads that send, so that the generator is not what is measured.
const THREADS: usize = 2;

/// What the connections share.
struct Work<'a> {
    case: Case,
    requests: &'a [Vec<u8>],
    count: usize,
    next: AtomicUsize,
}

/// What one thread saw.
#[derive(Default)]
struct Seen {
    latencies: Vec<Duration>,
    /// Heads of the last answers, to be looked at when no clock runs.
    last: Vec<Vec<u8>>,
}

/// Sends `count` requests to `server`, taking `requests` in turn, over `connections` connections.
///
/// # Errors
/// At the first answer that is not what the case demands.
pub(crate) fn drive(
    case: Case,
    server: &Server,
    requests: &[Vec<u8>],
    count: usize,
    connections: usize,
) -> Result<Round> {
    let work = Work { case, requests, count, next: AtomicUsize::new(0) };
    let threads = THREADS.min(connections).max(1);
    let (ready, go) = (Barrier::new(threads + 1), Barrier::new(threads + 1));
    let before = server.cpu()?;
    let (seen, elapsed) = std::thread::scope(|scope| {
        let thread = |index: usize| {
            let (work, ready, go) = (&work, &ready, &go);
            let mine = connections / threads + usize::from(index < connections % threads);
            scope.spawn(move || send(work, server.address, mine, ready, go))
        };
        let threads: Vec<_> = (0..threads).map(thread).collect();
        ready.wait();
        let began = Instant::now();
        go.wait();
        let seen: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        (seen, began.elapsed())
    });
    let cpu = (server.cpu()? - before).div_f64(count as f64);
    let mut latencies = Vec::with_capacity(count);
    for seen in seen {
        let seen = seen.map_err(|_| "the load generator panicked")??;
        latencies.extend(seen.latencies);
        seen.last.iter().try_for_each(|head| settled(case, head))?;
    }
    if latencies.len() != count {
        return Err(format!("{case}: {} answers to {count} requests", latencies.len()).into());
    }
    latencies.sort_unstable();
    Ok(Round { rate: count as f64 / elapsed.as_secs_f64(), latencies, cpu })
}

/// One thread and its connections.
fn send(
    work: &Work<'_>,
    address: SocketAddr,
    connections: usize,
    ready: &Barrier,
    go: &Barrier,
) -> Result<Seen> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let connect = async {
        let mut streams = Vec::with_capacity(connections);
        for _ in 0..connections {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            streams.push(stream);
        }
        Ok::<_, Error>(streams)
    };
    let streams = runtime.block_on(connect);
    let seen = RefCell::new(Seen::default());
    seen.borrow_mut().latencies.reserve(work.count);
    ready.wait();
    go.wait();
    let all = streams?.into_iter().map(|stream| connection(work, stream, &seen));
    runtime.block_on(try_join_all(all))?;
    Ok(seen.into_inner())
}

/// Takes requests until there are no more.
async fn connection(work: &Work<'_>, mut stream: TcpStream, seen: &RefCell<Seen>) -> Result {
    let mut buffer = Vec::with_capacity(16 * 1024);
    loop {
        let at = work.next.fetch_add(1, Ordering::Relaxed);
        if at >= work.count {
            return Ok(());
        }
        let began = Instant::now();
        stream.write_all(&work.requests[at % work.requests.len()]).await?;
        buffer.clear();
        let answer = loop {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Err(format!("{}: the server hung up", work.case).into());
            }
            if let Some(answer) = http::answer(&buffer)? {
                break answer;
            }
        };
        seen.borrow_mut().latencies.push(began.elapsed());
        check(work.case, answer, &buffer)?;
        if at + THREADS * 32 >= work.count {
            seen.borrow_mut().last.push(buffer[..answer.body].to_vec());
        }
    }
}

/// Whether an answer is what every answer of the case must be.
fn check(case: Case, answer: Answer, bytes: &[u8]) -> Result {
    let (head, body) = (&bytes[..answer.body], &bytes[answer.body..answer.end]);
    let complete = answer.end == bytes.len() && answer.status == case.status();
    let named = case.header().is_none_or(|name| http::header(head, name).is_some());
    if complete && named && (!case.serves() || body == PAGE.as_bytes()) {
        return Ok(());
    }
    Err(format!("{case}: an answer is not as it should be\n{}", String::from_utf8_lossy(bytes)).into())
}

/// Whether `PAYMENT-RESPONSE` says what the case demands.
fn settled(case: Case, head: &[u8]) -> Result {
    if !case.pays() {
        return Ok(());
    }
    let value = http::header(head, header::PAYMENT_RESPONSE).unwrap_or_default();
    let settlement = header::decode_settlement(value, &Limits::default())?;
    let state = settlement.extra.get("state").and_then(|state| state.as_str());
    let fits = match case.settles() {
        true => settlement.success && state == Some("captured"),
        false => settlement.error_reason.as_deref() == Some("insufficient_funds"),
    };
    if fits { Ok(()) } else { Err(format!("{case}: {settlement:?}").into()) }
}
