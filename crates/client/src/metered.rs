//! The payment of an answer that is paid for while it comes: what was taken is known at its end.
//!
//! The settlement in the answer's headers says that the money is held (`extra.state` is `authorized`). The final
//! one stands behind the answer: in the last of its server-sent events, or in a trailer. It is checked as every
//! settlement is, and where the network's word is not in it the network is asked; then the budget goes down to
//! what was taken. A stream that breaks off says nothing: the payment stays in the journal, for whoever asks the
//! network later.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use farthing_protocol::rail::Confirmation;
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use tracing::{debug, error};

use crate::client::STATUS_TIMEOUT;
use crate::flow::{Answer, contradicted, is_event_stream, news, plausible, proves};
use crate::journal::{Answered, State};
use crate::policy::Policy;
use crate::prepared::Prepared;
use crate::report::{Flag, PaymentReport, Settlement};
use crate::text::{SHOWN, plain};

/// The type of the event that says what became of the payment.
pub(crate) const SETTLEMENT_EVENT: &str = "payment-response";
/// Bytes of a line, and of an event's data, in which a settlement is looked for.
const SETTLEMENT_BYTES: usize = 64 * 1024;

/// Sees to one payment until the end of its answer.
pub(crate) struct Metered {
    policy: Arc<Policy>,
    prepared: Prepared,
    report: PaymentReport,
    status: StatusCode,
    /// `None` where the answer is no stream of events.
    events: Option<LastEvent>,
    trailers: HeaderMap,
}

impl Metered {
    pub(crate) fn new(
        policy: Arc<Policy>,
        prepared: Prepared,
        report: PaymentReport,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Self {
        let events = is_event_stream(headers).then(LastEvent::default);
        Self { policy, prepared, report, status, events, trailers: HeaderMap::new() }
    }

    /// What is known about the payment.
    pub(crate) fn report(&self) -> &PaymentReport {
        &self.report
    }

    /// A piece of the answer came.
    pub(crate) fn saw(&mut self, piece: &[u8]) {
        if let Some(events) = &mut self.events {
            events.saw(piece);
        }
    }

    /// Its trailers came.
    pub(crate) fn ended_with(&mut self, trailers: HeaderMap) {
        self.trailers = trailers;
    }

    /// The answer is over: all of it came, or it broke off. Only the first time counts.
    pub(crate) async fn over(&mut self, whole: bool) {
        if !std::mem::replace(&mut self.report.open, false) {
            return;
        }
        let (answered, state) = match whole {
            true => self.settled(),
            // Nobody says anything any more.
            false => (Answered::default(), State::Unknown),
        };
        if !proves(&self.report.confirmation) && !contradicted(&self.report.confirmation) {
            let said = self.ask().await;
            self.report.hear(said);
        }
        self.close_as(state, answered);
    }

    /// Nobody reads on. The seller has to see that first, and then to take its last part.
    pub(crate) async fn close(mut self) -> PaymentReport {
        if !std::mem::replace(&mut self.report.open, false) {
            return self.report;
        }
        let mut pause = self.policy.patience.pause;
        for _ in 0..self.policy.patience.tries {
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
            let said = self.ask().await;
            if proves(&said) || contradicted(&said) {
                self.report.hear(said);
                break;
            }
        }
        self.close_as(State::Unknown, Answered::default());
        self.report
    }

    /// What the seller says at the end.
    fn settled(&mut self) -> (Answered, State) {
        let limits = &self.policy.limits;
        let event = self.events.as_mut().and_then(LastEvent::settlement);
        let settlement = match event {
            Some(data) => Settlement::read_event(&self.prepared, &data, limits),
            None => Settlement::read(&self.prepared, &self.trailers, limits),
        };
        match settlement {
            Settlement::Settled { amount, response } => {
                let (status, headers) = (self.status, HeaderMap::new());
                let answer = Answer { status, headers, body: Bytes::new(), complete: false };
                let said = self.report.settled(&self.prepared, &answer, (amount, &response), limits);
                let state = match contradicted(&self.report.confirmation) {
                    true => State::Unknown,
                    false => {
                        let word = response.extra.get("ended").and_then(Value::as_str);
                        self.report.ended = word.map(|word| plain(word, SHOWN));
                        State::Settled
                    }
                };
                return (said, state);
            }
            Settlement::Failed { reason, response } => {
                self.report.flags.push(Flag::NotSettled(reason.unwrap_or_default()));
                let said = self.prepared.0.rail.confirm(&self.prepared.0.payment, &response);
                self.report.hear(plausible(said, self.prepared.max_amount()));
                return (Answered::default(), State::Voided);
            }
            Settlement::Invalid(why) => self.report.flags.push(Flag::SettlementInvalid(why)),
            Settlement::Missing | Settlement::Pending | Settlement::Authorized => {
                self.report.flags.push(Flag::SettlementMissing);
            }
        }
        (Answered::default(), State::Unknown)
    }

    async fn ask(&self) -> Confirmation {
        let parts = &self.prepared.0;
        let said = tokio::time::timeout(STATUS_TIMEOUT, parts.rail.status(&parts.payment)).await;
        plausible(said.unwrap_or(Confirmation::Unproven), self.prepared.max_amount())
    }

    /// Writes down how the payment ended: by the network's word, or else by the seller's.
    fn close_as(&self, said: State, answered: Answered) {
        let (id, report) = (self.prepared.id(), &self.report);
        debug!(payment = %id, amount = %report.amount, confirmation = ?report.confirmation, "stream ended");
        let news = news(&report.confirmation, said);
        // Only ever forgets to give money back; `reconcile` asks the network again.
        if let Err(error) = self.policy.journal.answered(&id, news, answered) {
            error!(payment = %id, %error, "the journal does not know how this payment ended");
        }
    }
}

/// The longest pause before the network is asked again.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl fmt::Debug for Metered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metered").field("report", &self.report).finish_non_exhaustive()
    }
}

/// The settlement in the last event of a stream, whatever pieces that comes in. Keeps no more of the stream
/// than one event that may be it.
#[derive(Default)]
struct LastEvent {
    line: Vec<u8>,
    /// More of the line came than is kept.
    cut: bool,
    /// The last line ended in a carriage return: a line feed that follows belongs to it.
    after_return: bool,
    is_settlement: bool,
    data: Option<Vec<u8>>,
    /// The data of the last event, if that was a settlement.
    last: Option<Vec<u8>>,
}

impl LastEvent {
    fn saw(&mut self, piece: &[u8]) {
        for line in piece.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            let (text, end) = match line.split_last() {
                Some((end @ (b'\n' | b'\r'), text)) => (text, Some(*end)),
                _ => (line, None),
            };
            let after_return = std::mem::take(&mut self.after_return);
            if after_return && text.is_empty() && end == Some(b'\n') {
                continue;
            }
            let room = SETTLEMENT_BYTES.saturating_sub(self.line.len());
            self.cut |= text.len() > room;
            self.line.extend_from_slice(&text[..text.len().min(room)]);
            if let Some(end) = end {
                self.after_return = end == b'\r';
                self.read_line();
            }
        }
    }

    fn read_line(&mut self) {
        let (line, cut) = (std::mem::take(&mut self.line), std::mem::take(&mut self.cut));
        if line.is_empty() && !cut {
            let (is_settlement, data) = (std::mem::take(&mut self.is_settlement), self.data.take());
            // An event without data is none.
            if let Some(data) = data {
                self.last = is_settlement.then_some(data);
            }
            return;
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &line[..colon] {
            b"event" => self.is_settlement = !cut && value == SETTLEMENT_EVENT.as_bytes(),
            b"data" => {
                let data = self.data.get_or_insert_default();
                if data.len() + value.len() < SETTLEMENT_BYTES {
                    data.extend_from_slice(value);
                    data.push(b'\n');
                }
            }
            _ => {}
        }
    }

    fn settlement(&mut self) -> Option<Vec<u8>> {
        self.last.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(pieces: &[&[u8]]) -> Option<String> {
        let mut events = LastEvent::default();
        pieces.iter().for_each(|piece| events.saw(piece));
        events.settlement().map(|data| String::from_utf8(data).unwrap())
    }

    #[test]
    fn the_settlement_is_the_last_event_in_whatever_pieces_it_comes() {
        let text =
            "data: a\r\n\r\nevent: payment-response\r\ndata: {\"a\":\r\ndata:1}\r\n\r\n: a comment\r\n\r\n";
        let expected = Some("{\"a\":\n1}\n".to_owned());
        let bytes = text.as_bytes();
        assert_eq!(last(&[bytes]), expected);
        assert_eq!(last(&bytes.chunks(1).collect::<Vec<_>>()), expected);
        for at in 0..bytes.len() {
            assert_eq!(last(&[&bytes[..at], &bytes[at..]]), expected, "cut at {at}");
        }
        for ends in ["\n", "\r"] {
            assert_eq!(last(&[text.replace("\r\n", ends).as_bytes()]), expected);
        }
    }

    #[test]
    fn an_event_of_the_content_that_only_looks_like_a_settlement_is_none() {
        for text in [
            "event: payment-response\ndata: {}\n\ndata: more\n\n",
            "event: payment-response\ndata: {}\n",
            "event: payment-response\n\n",
            "event: payment-responses\ndata: {}\n\n",
            "data: event: payment-response\n\n",
            "event: payment-response\nevent: other\ndata: {}\n\n",
        ] {
            assert_eq!(last(&[text.as_bytes()]), None, "{text:?}");
        }
        assert!(last(&[b"event: payment-response\ndata: {}\n\n"]).is_some());
    }

    #[test]
    fn a_stream_without_lines_is_not_kept() {
        let mut events = LastEvent::default();
        for _ in 0..64 {
            events.saw(&[b'x'; 64 * 1024]);
            events.saw(b"data: y");
        }
        assert!(events.line.len() <= SETTLEMENT_BYTES);
        events.saw(b"\n\nevent: payment-response\ndata: {}\n\n");
        assert_eq!(events.settlement().as_deref(), Some(&b"{}\n"[..]));
    }
}
