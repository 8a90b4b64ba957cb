//! The state machine by itself: no runtime, no body, no clock.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use farthing_protocol::digest::BodyHash;
use farthing_protocol::rail::{Outcome, UnknownOutcome};
use farthing_protocol::{Amount, Limits};
use farthing_server::Durability;
use farthing_server::answer::{Answer, Content, Situation};
use farthing_server::desk::{Desk, Entry};
use farthing_server::flow::{Action, HandlerAnswer, HandlerEnd, Kept, Opened, Question, Route, Seller};
use farthing_server::metering::{End, Metered, Next};
use farthing_server::pricing::Prices;
use futures_util::FutureExt as _;
use http::{HeaderMap, StatusCode};

use crate::scripted::*;
use crate::shopping::*;

/// A body that is too long to be held, by its name.
type Body = &'static str;

struct Machine {
    route: Arc<Route>,
    ledger: Ledger,
    desk: Desk<Kept<Body>>,
}

impl Machine {
    fn new(change: impl FnOnce(&mut Route)) -> Self {
        let seller = Arc::new(Seller {
            origin: ORIGIN.parse().unwrap(),
            rails: vec![Arc::new(rail("auth-capture"))],
            receipt_key: receipt_key(),
            limits: Limits::default(),
            owner_id: [1; 16],
            payments: "".into(),
        });
        let mut route = Route::new(seller, Prices::of("$0.001".parse().unwrap()));
        change(&mut route);
        Self { route: Arc::new(route), ledger: Ledger::default(), desk: Desk::new(8) }
    }

    fn open(&self, ask: &Asking) -> Opened {
        let headers = ask.build().headers().clone();
        self.route
            .open::<Body>(&ask.method, &ask.target, &headers)
            .map_err(|answer| answer.situation)
            .unwrap()
    }

    /// A payment for a page, up to the desk.
    fn pay(&mut self, target: &str) -> (Signed, Action<Body>) {
        let unpaid = self.open(&get(target)).bound::<Body>(BodyHash::of(b""), NOW);
        let answer = answered(unpaid);
        assert_eq!((answer.situation, answer.status.as_u16()), (Situation::Unpaid, 402));
        let value = answer.headers["payment-required"].as_bytes();
        let terms = farthing_protocol::header::decode_payment_required(value, &Limits::default()).unwrap();
        let signed = Signed::new(get(target), &terms);
        let action = self.present(&signed);
        (signed, action)
    }

    fn present(&mut self, signed: &Signed) -> Action<Body> {
        let action = self.open(&signed.request()).bound::<Body>(BodyHash::of(b""), NOW);
        let Action::Enter(entering) = action else { panic!("{action:?}") };
        let entry = self.desk.enter(entering.id(), entering.proof(), entering.until(), NOW);
        entering.entered(entry, NOW)
    }

    /// Lets the ledger answer.
    fn settle(&self, action: Action<Body>) -> Action<Body> {
        let Action::Settle(settling) = action else { panic!("{action:?}") };
        let outcome = match settling.question() {
            Question::First(request) => self.ledger.apply(request),
            Question::Later(later) => self.ledger.apply(&later.alone().unwrap()),
            Question::Claim(_) => panic!("this rail holds money"),
        };
        settling.outcome(outcome, NOW)
    }
}

fn answered(action: Action<Body>) -> Answer<Body> {
    let Action::Answer(answer) = action else { panic!("{action:?}") };
    answer
}

fn ok(content: Content<Body>) -> HandlerEnd<Body> {
    let (status, headers) = (StatusCode::OK, HeaderMap::new());
    HandlerEnd::Answered(HandlerAnswer { status, headers, content, captured: None, refused: None })
}

fn whole() -> HandlerEnd<Body> {
    ok(Content::Whole(Bytes::from_static(b"content")))
}

fn lost() -> Outcome {
    Outcome::Unknown(UnknownOutcome("lost".into()))
}

#[test]
fn a_paid_request_goes_through_desk_hold_handler_and_capture_in_this_order() {
    let mut machine = Machine::new(|_| {});
    let (_, action) = machine.pay("/a");
    let Action::Run(held) = machine.settle(action) else { panic!("not held") };
    assert_eq!((machine.ledger.calls(), machine.ledger.captures()), (vec!["authorize".to_owned()], 0));
    assert_eq!(held.paid_by().payer, "alice");
    let answer = answered(machine.settle(held.ended(whole(), NOW)));
    assert_eq!((answer.situation, answer.status.as_u16()), (Situation::Paid, 200));
    assert_eq!((machine.ledger.calls().len(), machine.ledger.captures()), (2, 1));
}

#[test]
fn a_long_body_comes_back_untouched_and_only_after_the_capture() {
    let mut machine = Machine::new(|_| {});
    let (_, action) = machine.pay("/a");
    let Action::Run(held) = machine.settle(action) else { panic!("not held") };
    let Action::Settle(capture) = held.ended(ok(Content::Long("the film")), NOW) else {
        panic!("not captured")
    };
    let Action::AnswerAndSettle { answer, settling, at_once: false } = capture.outcome(lost(), NOW) else {
        panic!("released")
    };
    assert_eq!((answer.situation, answer.status.as_u16()), (Situation::Pending, 503));
    let answer = answered(machine.settle(Action::Settle(settling)));
    assert!(matches!(answer.content, Content::Long("the film")));
}

#[test]
fn a_metered_body_leaves_before_anything_is_captured_and_is_captured_on_its_way_and_at_its_end() {
    let mut machine = Machine::new(|route| route.metered = Some(Metered::default()));
    let (signed, action) = machine.pay("/a");
    let Action::Run(held) = machine.settle(action) else { panic!("not held") };
    let meter = held.meter().unwrap();
    let charge = |amount| meter.charge(Amount(amount)).now_or_never().unwrap();
    charge(10).unwrap();
    let Action::Stream { answer, tap, streaming } = held.ended(ok(Content::Long("the film")), NOW) else {
        panic!("not let out")
    };
    assert_eq!(answer.situation, Situation::Paid);
    assert!(matches!(answer.content, Content::Long("the film")));
    assert_eq!((streaming.id(), machine.ledger.captures()), (signed.id(), 0));

    assert_eq!(streaming.next(NOW), Next::Wait(5));
    assert_eq!(streaming.next(NOW + 5), Next::Capture(Amount(10)));
    charge(20).unwrap();
    let Question::Later(later) = streaming.part(Amount(10)) else { panic!("this rail holds money") };
    streaming.parted(Amount(10), machine.ledger.apply(&later.alone().unwrap()).into(), NOW + 5);
    assert_eq!((streaming.next(NOW + 6), machine.ledger.taken()), (Next::Wait(4), vec![(10, false)]));
    drop(tap);
    assert!(charge(1).is_err());
    let Next::Close(figures) = streaming.next(NOW + 6) else { panic!("still open") };
    assert_eq!((figures.used, figures.captured, figures.end), (Amount(30), Amount(10), End::Gone));
    let answer = answered(machine.settle(streaming.close(figures)));
    assert_eq!((answer.situation, answer.status.as_u16()), (Situation::AnswerNotKept, 409));
    assert_eq!(machine.ledger.taken(), [(10, false), (30, true)]);
    assert_eq!(machine.ledger.balance("alice"), 1_000_000 - 30);
}

#[test]
fn what_is_kept_goes_on_with_the_capture_and_not_with_the_handler() {
    let mut machine = Machine::new(|_| {});
    let (signed, action) = machine.pay("/a");
    let Action::Run(held) = machine.settle(action) else { panic!("not held") };
    assert_eq!(answered(machine.present(&signed)).situation, Situation::InProgress);
    let Action::Settle(capture) = held.ended(whole(), NOW) else { panic!("not captured") };
    let Action::AnswerAndSettle { settling, .. } = capture.outcome(lost(), NOW) else { panic!("released") };
    machine.desk.keep(signed.id(), Kept::Settling(settling));
    let action = machine.present(&signed);
    let answer = answered(machine.settle(action));
    assert_eq!(answer.situation, Situation::Paid);
    assert_eq!(machine.ledger.calls(), ["authorize", "capture"]);
}

#[test]
fn a_handler_that_did_not_deliver_ends_in_a_void() {
    for (end, situation) in [
        (HandlerEnd::Disconnected, Situation::Disconnected),
        (HandlerEnd::TimedOut, Situation::HandlerTimeout),
        (HandlerEnd::Broke("x".into()), Situation::HandlerBroke),
    ] {
        let mut machine = Machine::new(|_| {});
        let (signed, action) = machine.pay("/a");
        let Action::Run(held) = machine.settle(action) else { panic!("not held") };
        assert_eq!(answered(machine.settle(held.ended(end, NOW))).situation, situation);
        assert_eq!((machine.ledger.state(&signed.id()), machine.ledger.captures()), ("voided", 0));
    }
}

#[test]
fn a_relaxed_route_answers_from_the_hold_and_names_it_so() {
    let mut machine = Machine::new(|route| route.durability = Durability::Relaxed);
    let (_, action) = machine.pay("/a");
    let Action::Run(held) = machine.settle(action) else { panic!("not held") };
    let Action::AnswerAndSettle { answer, settling, at_once: true } = held.ended(whole(), NOW) else {
        panic!("waits")
    };
    assert_eq!(answer.situation, Situation::Paid);
    let value = answer.headers["payment-response"].as_bytes();
    let settlement = farthing_protocol::header::decode_settlement(value, &Limits::default()).unwrap();
    assert_eq!(settlement.extra["state"], "held");
    machine.settle(Action::Settle(settling));
    assert_eq!(machine.ledger.captures(), 1);
}

#[test]
fn the_handler_gets_no_time_in_which_it_cannot_be_paid() {
    let mut machine = Machine::new(|route| route.handler_deadline = Duration::from_secs(3600));
    let (_, action) = machine.pay("/a");
    let Action::Run(held) = machine.settle(action) else { panic!("not held") };
    assert_eq!(held.handler_deadline(NOW), Duration::from_secs(900));
    assert_eq!(held.handler_deadline(NOW + 1000), Duration::ZERO);
}

#[test]
fn nothing_that_is_printed_holds_a_signature() {
    let mut machine = Machine::new(|_| {});
    let (signed, action) = machine.pay("/a");
    let secret = "\"good\"";
    let opened = machine.open(&signed.request());
    let entering = Entry::<Kept<Body>>::Fresh;
    for printed in [
        format!("{action:?}"),
        format!("{opened:?}"),
        format!("{entering:?}"),
        format!("{:?}", machine.route),
    ] {
        assert!(!printed.contains(secret) && !printed.contains("good"), "{printed}");
    }
    assert!(signed.payment.to_string().contains(secret));
}
