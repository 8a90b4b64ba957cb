//! A handler's body on its way to the client: metered frame by frame, cut where the maximum ends, and closed
//! with the final settlement.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::BoxError;
use axum::body::Body;
use bytes::Bytes;
use farthing_protocol::header::PAYMENT_RESPONSE;
use http::{HeaderMap, HeaderName};
use http_body::Frame;

use super::events::{Ended, Scanner};
use super::gauge::{Gauge, LastWord};
use super::machine::{End, Verdict};

/// What a delivered piece costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tariff {
    /// Nothing: the handler says what was used.
    Handler,
    /// Each server-sent event, in atomic units.
    Event(u128),
    /// Each started `bytes`, in atomic units.
    Bytes {
        /// At least one.
        bytes: u64,
        /// Atomic units.
        price: u128,
    },
}

/// The delivering side of a meter. When it is dropped, its client has gone.
#[derive(Debug)]
pub struct Tap {
    gauge: Arc<Gauge>,
    tariff: Tariff,
    /// The answer is a stream of server-sent events.
    is_events: bool,
}

impl Tap {
    pub(crate) fn new(gauge: Arc<Gauge>, tariff: Tariff, is_events: bool) -> Self {
        Self { gauge, tariff, is_events }
    }

    pub(crate) fn gauge(&self) -> &Arc<Gauge> {
        &self.gauge
    }

    #[cfg(test)]
    pub(crate) fn has_events(&self) -> bool {
        self.is_events
    }

    /// `body`, metered.
    pub fn meter(self, body: Body) -> Body {
        let scanner = self.is_events.then(Scanner::new);
        Body::new(Metered {
            inner: Some(body),
            tap: self,
            scanner,
            pending: Bytes::new(),
            trailers: HeaderMap::new(),
            sent: 0,
            phase: Phase::Flowing,
        })
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.gauge.end(End::Gone);
    }
}

struct Metered {
    inner: Option<Body>,
    tap: Tap,
    scanner: Option<Scanner>,
    /// What is left of the handler's last frame.
    pending: Bytes,
    /// The handler's own.
    trailers: HeaderMap,
    /// Bytes delivered, where they are what is paid for.
    sent: u64,
    phase: Phase,
}

#[derive(Clone, Debug)]
enum Phase {
    Flowing,
    /// Nothing more of the handler's but these few bytes; the final settlement is waited for.
    Closing(&'static str),
    /// Only the trailers are left.
    Trailing(LastWord),
    Done,
}

/// How much of a piece may be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grant {
    Send(usize),
    Wait,
    Full,
    Over,
}

impl http_body::Body for Metered {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            match self.phase.clone() {
                Phase::Flowing => {
                    if let Some(frame) = ready!(self.flow(context)) {
                        return Poll::Ready(Some(frame));
                    }
                }
                Phase::Closing(tail) => {
                    let last = ready!(self.tap.gauge.poll_last(context));
                    let event = self.last_event(tail, &last);
                    self.phase = Phase::Trailing(last);
                    if let Some(event) = event {
                        return Poll::Ready(Some(Ok(Frame::data(event))));
                    }
                }
                Phase::Trailing(last) => {
                    self.phase = Phase::Done;
                    let mut trailers = std::mem::take(&mut self.trailers);
                    if let Some(value) = last.header {
                        trailers.insert(HeaderName::from_static(PAYMENT_RESPONSE), value);
                    }
                    if !trailers.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                    }
                }
                Phase::Done => return Poll::Ready(None),
            }
        }
    }
}

impl Metered {
    /// The next piece of the handler's; `None` when the phase has changed.
    fn flow(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            if self.tap.gauge.is_over(context) {
                self.close("");
                return Poll::Ready(None);
            }
            if !self.pending.is_empty() {
                match self.grant() {
                    Grant::Send(length) => {
                        return Poll::Ready(Some(Ok(Frame::data(self.pending.split_to(length)))));
                    }
                    Grant::Wait => return Poll::Pending,
                    Grant::Full => self.tap.gauge.end(End::Exhausted),
                    Grant::Over => {}
                }
                continue;
            }
            let Some(inner) = &mut self.inner else {
                self.close("");
                return Poll::Ready(None);
            };
            let polled =
                catch_unwind(AssertUnwindSafe(|| http_body::Body::poll_frame(Pin::new(inner), context)));
            let frame = match polled {
                Ok(polled) => ready!(polled),
                Err(_panic) => Some(Err(axum::Error::new("the handler panicked"))),
            };
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.pending = data,
                Some(Ok(Err(frame))) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        self.trailers.extend(trailers);
                    }
                }
                Some(Err(error)) => {
                    tracing::error!(%error, "a handler's answer broke off");
                    self.tap.gauge.end(End::Broke);
                    self.close("");
                    // Whoever reads must not take it for whole.
                    self.phase = Phase::Done;
                    return Poll::Ready(Some(Err(error.into())));
                }
                None => {
                    let tail = self.complete();
                    self.tap.gauge.end(End::Complete);
                    self.close(tail);
                    return Poll::Ready(None);
                }
            }
        }
    }

    /// Nothing more of the handler's: it is dropped at once.
    fn close(&mut self, tail: &'static str) {
        (self.inner, self.pending) = (None, Bytes::new());
        self.phase = Phase::Closing(tail);
    }

    /// The handler came to its end. An event that it did not end is ended here, and paid for.
    fn complete(&mut self) -> &'static str {
        let (Some(scanner), Tariff::Event(price)) = (&mut self.scanner, self.tap.tariff) else {
            return self.scanner.as_mut().map_or("", |scanner| scanner.finish().0);
        };
        let (tail, ended) = scanner.finish();
        self.tap.gauge.use_up(|meter| match ended {
            Some(Ended::Event) => meter.spend(price),
            Some(Ended::Nothing) => meter.release(price),
            None => {}
        });
        tail
    }

    /// The settlement as an event, where one may stand: not in the middle of another.
    fn last_event(&mut self, tail: &str, last: &LastWord) -> Option<Bytes> {
        let scanner = self.scanner.as_mut().filter(|scanner| scanner.is_between())?;
        // A comment that is cut off.
        let (line_end, _) = scanner.finish();
        let json = std::str::from_utf8(&last.json).ok().filter(|json| !json.is_empty())?;
        Some(format!("{tail}{line_end}event: {PAYMENT_RESPONSE}\ndata: {json}\n\n").into())
    }

    /// How much of what is pending may be delivered; it is paid for with that.
    fn grant(&mut self) -> Grant {
        let Self { tap, scanner, pending, sent, .. } = self;
        match tap.tariff {
            Tariff::Event(price) => match scanner {
                Some(scanner) => grant_events(&tap.gauge, scanner, pending, price),
                None => Grant::Send(pending.len()),
            },
            Tariff::Bytes { bytes, price } => {
                grant_bytes(&tap.gauge, scanner.as_mut(), pending, (bytes, price), sent)
            }
            Tariff::Handler => {
                if let Some(scanner) = scanner {
                    scanner.read(pending);
                }
                Grant::Send(pending.len())
            }
        }
    }
}

/// An event is covered before its first byte leaves, and paid for with its last. What remains of a maximum
/// that covers no further event ends the stream there and then.
fn grant_events(gauge: &Gauge, scanner: &mut Scanner, pending: &[u8], price: u128) -> Grant {
    gauge.use_up(|meter| {
        for (at, byte) in pending.iter().enumerate() {
            if scanner.begins(*byte) {
                let verdict = match meter.reserve(price) {
                    Verdict::Granted => None,
                    Verdict::Wait => Some(Grant::Wait),
                    Verdict::Full => Some(Grant::Full),
                    Verdict::Over => Some(Grant::Over),
                };
                if let Some(verdict) = verdict {
                    return if at > 0 { Grant::Send(at) } else { verdict };
                }
            }
            match scanner.step(*byte) {
                Some(Ended::Event) => meter.spend(price),
                Some(Ended::Nothing) => meter.release(price),
                None => continue,
            }
            if meter.room().is_none_or(|room| room.left < price) {
                meter.end(End::Exhausted);
                return Grant::Send(at + 1);
            }
        }
        Grant::Send(pending.len())
    })
}

/// Bytes are paid for as they leave. Where the maximum ends within a frame of events, the cut is made behind
/// the last whole one.
fn grant_bytes(
    gauge: &Gauge,
    scanner: Option<&mut Scanner>,
    pending: &[u8],
    (bytes, price): (u64, u128),
    sent: &mut u64,
) -> Grant {
    gauge.use_up(|meter| {
        let Some(room) = meter.room() else { return Grant::Over };
        let (unit, price) = (u128::from(bytes.max(1)), price.max(1));
        let units = |sent: u64| u128::from(sent).div_ceil(unit);
        let slack = units(*sent) * unit - u128::from(*sent);
        let length = pending.len() as u128;
        let covered = (room.left / price).saturating_mul(unit).saturating_add(slack).min(length);
        let soon = room.soon.div_ceil(price).saturating_mul(unit).saturating_add(slack);
        let mut end = covered.min(soon) as usize;
        if end == 0 {
            return if covered == 0 { Grant::Full } else { Grant::Wait };
        }
        if let Some(scanner) = scanner {
            let mut read = scanner.clone();
            let mut whole = (0, read.clone());
            for (at, byte) in pending[..end].iter().enumerate() {
                read.step(*byte);
                if read.is_between() {
                    whole = (at + 1, read.clone());
                }
            }
            if end as u128 == covered && covered < length {
                (end, read) = whole;
            }
            *scanner = read;
            if end == 0 {
                return Grant::Full;
            }
        }
        let more = units(*sent + end as u64) - units(*sent);
        if meter.reserve(more * price) != Verdict::Granted && more > 0 {
            return Grant::Wait;
        }
        meter.spend(more * price);
        *sent += end as u64;
        Grant::Send(end)
    })
}
