//! Random answers through the whole meter: body, gauge and machine, with a ledger that misbehaves.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::BoxError;
use axum::body::Body;
use bytes::Bytes;
use farthing_protocol::Amount;
use futures_util::task::noop_waker;
use http::HeaderValue;
use http_body::Frame;

use super::events::{Ended, Scanner};
use super::gauge::LastWord;
use super::*;

/// Draws numbers; the same seed draws the same.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// Events, comments and fields with all line ends.
    fn events(&mut self) -> String {
        let mut text = String::new();
        for n in 0..self.below(30) {
            let end = ["\n", "\r\n", "\r"][self.below(3) as usize];
            match self.below(6) {
                0 => text.push_str(&format!(": comment {n}{end}")),
                1 => text.push_str(&format!("id: {n}{end}{end}")),
                2 => text.push_str(&format!("event: a{end}data: {n}{end}data: more{end}{end}")),
                _ => text.push_str(&format!("data: {n}{end}{end}")),
            }
        }
        if self.one_in(3) {
            text.push_str("data: open");
        }
        text
    }
}

/// A handler's frames, some of which are not there yet when they are asked for.
struct Frames {
    frames: Vec<Bytes>,
    dice: Dice,
    fails: bool,
}

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.dice.one_in(3) {
            return Poll::Pending;
        }
        if self.frames.is_empty() {
            return Poll::Ready(if self.fails { Some(Err("broke".into())) } else { None });
        }
        Poll::Ready(Some(Ok(Frame::data(self.frames.remove(0)))))
    }
}

fn split(text: &[u8], dice: &mut Dice) -> Vec<Bytes> {
    let mut frames = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (frame, behind) = rest.split_at((1 + dice.below(40) as usize).min(rest.len()));
        frames.push(Bytes::copy_from_slice(frame));
        rest = behind;
    }
    frames
}

fn events_of(text: &[u8]) -> u128 {
    let mut scanner = Scanner::new();
    text.iter().filter(|byte| scanner.step(**byte) == Some(Ended::Event)).count() as u128
}

/// One answer to its end. What must hold at every step is looked at after every step.
fn play(seed: u64) {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let text = dice.events();
    let price = 1 + u128::from(dice.below(5));
    let max = price + u128::from(dice.below(60));
    let interval = 1 + u128::from(dice.below(12));
    let is_events = dice.one_in(2);
    let bytes = 1 + dice.below(9);
    let tariff = if is_events { Tariff::Event(price) } else { Tariff::Bytes { bytes, price } };
    let gauge = Gauge::new(Limits { max: Amount(max), interval: Amount(interval), seconds: 5 });
    let late = 20 + dice.below(2_000);
    gauge.flow(late);
    let (fails, leaves) = (dice.one_in(6), dice.one_in(6));
    let frames = Frames { frames: split(text.as_bytes(), &mut dice), dice: Dice(seed | 1), fails };
    let tap = Tap::new(gauge.clone(), tariff, is_events || dice.one_in(2));
    let has_events = tap.has_events();
    let mut body = Some(tap.meter(Body::new(frames)));
    let waker = noop_waker();
    let mut context = Context::from_waker(&waker);

    let (mut now, mut delivered, mut taken, mut ledger) = (0, Vec::new(), 0, 0);
    let (mut asked, mut closed): (Option<u128>, Option<Figures>) = (None, None);
    let mut is_over = false;
    for _ in 0..40_000 {
        match dice.below(4) {
            0 if dice.one_in(4) => now += dice.below(8),
            1 => match (asked.take(), closed) {
                (Some(amount), _) => {
                    let outcome = [Part::Taken, Part::Taken, Part::Unknown, Part::Refused];
                    let end = if dice.one_in(10) { 4 } else { 3 };
                    let part = outcome[dice.below(end) as usize];
                    if part == Part::Taken || (part == Part::Unknown && dice.one_in(2)) {
                        ledger = amount;
                    }
                    if part == Part::Taken {
                        taken = amount;
                    }
                    gauge.part(part, now);
                }
                (None, None) => match gauge.next(now) {
                    Next::Capture(amount) => {
                        assert!(amount.0 >= ledger && amount.0 <= gauge.used().0, "{seed}");
                        asked = Some(amount.0);
                    }
                    Next::Close(figures) => {
                        assert_eq!((figures.used, figures.captured.0), (gauge.used(), taken), "{seed}");
                        closed = Some(figures);
                    }
                    Next::Wait(seconds) => assert!(seconds > 0 && now + seconds <= late, "{seed}"),
                    Next::Busy => panic!("{seed}: two captures at the same time"),
                },
                (None, Some(_)) => {
                    let (header, json) = (HeaderValue::from_static("said"), Bytes::from_static(b"{}"));
                    gauge.close(LastWord { header: Some(header), json });
                }
            },
            _ => match &mut body {
                Some(_) if leaves && delivered.len() > 20 => body = None,
                Some(flowing) => match http_body::Body::poll_frame(Pin::new(flowing), &mut context) {
                    Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                        Ok(data) => delivered.extend_from_slice(&data),
                        Err(frame) => assert_eq!(frame.into_trailers().unwrap()["payment-response"], "said"),
                    },
                    Poll::Ready(Some(Err(_)) | None) => body = None,
                    Poll::Pending => {}
                },
                None => is_over = closed.is_some(),
            },
        }
        let used = gauge.used().0;
        assert!(used <= max, "{seed}");
        assert!(used - taken <= 2 * interval + price, "{seed}: {used} is too far ahead of {taken}");
        if is_over {
            break;
        }
    }
    assert!(is_over, "{seed} does not end");
    let used = closed.unwrap().used.0;
    let shown = String::from_utf8_lossy(&delivered).into_owned();
    let (own, last) =
        shown.split_once("event: payment-response\n").map_or((&*shown, ""), |(own, last)| (own, last));
    assert!(last.is_empty() || (has_events && last == "data: {}\n\n"), "{seed}: {last:?}");
    match tariff {
        Tariff::Event(price) => assert_eq!(used, events_of(own.as_bytes()) * price, "{seed}: {own:?}"),
        Tariff::Bytes { bytes, price } => {
            // Line ends that were put before the last event are not the handler's.
            let cost = |own: &str| u128::from((own.len() as u64).div_ceil(bytes)) * price;
            let (most, least) = (cost(own), cost(own.trim_end_matches('\n')));
            let exact = last.is_empty() && used == most;
            assert!(exact || (!last.is_empty() && (least..=most).contains(&used)), "{seed}: {own:?}");
        }
        Tariff::Handler => {}
    }
}

#[test]
fn whatever_comes_what_is_delivered_is_covered_counted_and_captured_in_order() {
    for seed in 0..3_000 {
        play(seed);
    }
}
