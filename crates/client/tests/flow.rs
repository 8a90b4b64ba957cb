//! The payer's state machine, without a socket and without a clock.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod scripted;

use std::sync::Arc;
use std::time::Duration;

use farthing_client::flow::{Action, Answer, End, Event};
use farthing_client::{ClientError, Flag, Flow, Journal, MemoryJournal, PaymentReport, Request};
use farthing_protocol::rail::Confirmation;
use farthing_protocol::{Amount, Retry};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;
use scripted::*;
use serde_json::json;

const NOW: u64 = 1_800_000_000;
const URL: &str = "https://shop.example/goods?q=1";

fn event(reply: &Reply) -> Event {
    let Reply::Say { status, headers, body } = reply else {
        return Event::Lost { why: "connection reset".into() };
    };
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
    }
    let status = http::StatusCode::from_u16(*status).unwrap();
    Event::Answered(Answer { status, headers: map, body: body.clone().into(), complete: true })
}

/// A flow, and the payment header that it sent last.
struct Run {
    rail: Arc<Rail>,
    journal: Arc<MemoryJournal>,
    flow: Flow,
    header: Option<String>,
    now: u64,
}

impl Run {
    fn new() -> Self {
        let rail = Rail::new();
        let journal = Arc::new(MemoryJournal::new());
        let policy = builder(&rail).journal(journal.clone()).policy().unwrap();
        let request = Request::new(Method::GET, URL).unwrap();
        let flow = Flow::pay(policy, request);
        Self { rail, journal, flow, header: None, now: NOW }
    }

    fn step(&mut self, event: Event) -> Action {
        let mut action = self.flow.step(event, self.now, [9; 32]);
        if let Action::LookUp = action {
            assert_eq!(
                self.journal.spending().unwrap().total(&xts()),
                Amount::ZERO,
                "nothing is reserved yet"
            );
            action = self.flow.step(Event::LookedUp(Ok(())), self.now, [9; 32]);
        }
        if let Action::SendPaid { header } = &action {
            let header = header.expose().to_owned();
            assert!(self.header.as_ref().is_none_or(|before| *before == header), "another payment was sent");
            self.header = Some(header);
        }
        action
    }

    fn reply(&mut self, reply: &Reply) -> Action {
        self.step(event(reply))
    }

    /// Up to the first `SendPaid`.
    fn paying(amount: u64) -> Self {
        let mut run = Self::new();
        assert!(matches!(run.step(Event::Start), Action::Send));
        assert!(matches!(run.reply(&unpaid(&[offer(amount)])), Action::SendPaid { .. }));
        run
    }

    fn header(&self) -> &str {
        self.header.as_deref().unwrap()
    }
}

fn end(action: Action) -> Result<End, ClientError> {
    match action {
        Action::Done(end) => *end,
        other => panic!("not the end: {other:?}"),
    }
}

fn report(action: Action) -> PaymentReport {
    match end(action) {
        Ok(End::Paid(report)) => *report,
        other => panic!("not paid: {other:?}"),
    }
}

#[test]
fn a_payment_is_asked_for_signed_sent_and_proven() {
    let mut run = Run::paying(1_000);
    let seen = presented(run.header());
    assert_eq!(seen.digest, run.flow.request().digest(farthing_protocol::Binding::Body));
    assert_eq!(seen.payment.accepted.text(), offer(1_000).to_string(), "the offer is echoed verbatim");
    assert_eq!(seen.payment.extensions["other"].get(), r#"{"info":{"a":2,"z":1}}"#);
    assert_eq!(seen.payment.extensions["farthing-receipt"].get(), "{}");
    let answer = delivers(run.header(), "goods");
    let report = report(run.reply(&answer));
    assert!(report.is_proven(), "{report:?}");
    assert_eq!((report.price.as_str(), report.cost().as_str()), ("0.001 XTS", "0.001 XTS"));
    assert_eq!((report.payee.as_str(), report.replayed), ("seller", false));
    assert_eq!(run.rail.signed(), 1);
}

#[test]
fn t29_a_second_402_is_final_and_its_budget_stays_reserved_until_the_network_speaks() {
    for (word, retry) in [(Confirmation::Open, Retry::None), (Confirmation::NotTaken, Retry::New)] {
        let mut run = Run::paying(1_000);
        assert!(matches!(run.reply(&unpaid(&[offer(1_000)])), Action::AskStatus));
        let error = end(run.step(Event::Status(word.clone()))).unwrap_err();
        let ClientError::PaymentRefused(refused) = &error else { panic!("{error:?}") };
        assert_eq!((refused.confirmation.clone(), error.retry()), (word, retry));
        assert_eq!(run.rail.signed(), 1);
    }
}

#[test]
fn an_unknown_outcome_presents_the_same_payment_again_until_patience_ends() {
    let failed =
        |reason| json!({"success": false, "errorReason": reason, "transaction": "", "network": NETWORK});
    let pending = Reply::new(503, "").settling(&failed("settlement_pending"));
    let in_progress = problem(409, "payment-in-progress", "same").header("retry-after", "1");
    let in_progress = in_progress.settling(&failed("payment_in_progress"));
    let unknown = [Reply::HangUp, pending, in_progress, Reply::new(502, ""), Reply::new(429, "")];
    let mut run = Run::paying(1_000);
    for (at, reply) in unknown.iter().enumerate() {
        let action = run.reply(reply);
        if at + 1 == unknown.len() {
            assert!(matches!(action, Action::AskStatus), "{action:?}");
            break;
        }
        let Action::Wait(pause) = action else { panic!("{action:?}") };
        assert!(at != 2 || pause >= Duration::from_secs(1), "Retry-After is obeyed");
        assert!(matches!(run.step(Event::Waited), Action::SendPaid { .. }));
    }
    let error = end(run.step(Event::Status(Confirmation::Unproven))).unwrap_err();
    assert_eq!((error.retry(), error.prepared().is_some()), (Retry::Same, true));
    assert_eq!(run.rail.signed(), 1);
}

#[test]
fn a_retry_after_beyond_the_window_is_not_waited_for() {
    let mut run = Run::paying(1_000);
    assert!(matches!(run.reply(&Reply::new(503, "").header("retry-after", "31")), Action::AskStatus));
    let mut run = Run::paying(1_000);
    assert!(matches!(run.reply(&Reply::new(503, "").header("retry-after", "30")), Action::Wait(_)));
    run.now += 31;
    assert!(matches!(run.step(Event::Waited), Action::SendPaid { .. }));
    assert!(matches!(run.reply(&Reply::HangUp), Action::AskStatus), "the window is over");
}

#[test]
fn refusals_of_the_payment_are_errors_and_other_statuses_are_answers() {
    for (status, code, retry) in [
        (400, "malformed", "new"),
        (409, "bound-to-other-request", "new"),
        (409, "payment-conflict", "none"),
        (403, "refused", "none"),
    ] {
        let mut run = Run::paying(1_000);
        assert!(matches!(run.reply(&problem(status, code, retry)), Action::AskStatus), "{code}");
        let error = end(run.step(Event::Status(Confirmation::Open))).unwrap_err();
        let ClientError::PaymentRefused(refused) = error else { panic!("{error:?}") };
        assert_eq!((refused.status.as_u16(), refused.reason.as_deref()), (status, Some(code)));
    }
    for status in [404, 410, 302] {
        let mut run = Run::paying(1_000);
        assert!(matches!(run.reply(&Reply::new(status, "no")), Action::AskStatus), "{status}");
        let report = report(run.step(Event::Status(Confirmation::Open)));
        assert_eq!(report.flags, [Flag::SettlementMissing]);
    }
}

#[test]
fn a_failed_handler_that_gave_the_money_back_is_an_answer_that_cost_nothing() {
    let voided = |statement: &str| {
        Reply::new(500, "sorry").settling(&json!({"success": false, "errorReason": "payment_voided",
            "transaction": "", "network": NETWORK, "extra": {"statement": statement}}))
    };
    let mut run = Run::paying(1_000);
    let proven = report(run.reply(&voided("voided")));
    assert_eq!((proven.confirmation, proven.amount), (Confirmation::NotTaken, Amount::ZERO));
    assert_eq!(proven.flags, [Flag::NotSettled("payment_voided".into())]);
    // The server's word alone gives nothing back.
    let mut run = Run::paying(1_000);
    assert!(matches!(run.reply(&voided("forged")), Action::AskStatus));
    let said = report(run.step(Event::Status(Confirmation::Open)));
    assert_eq!((said.confirmation, said.amount), (Confirmation::Open, Amount(1_000)));
}

#[test]
fn t29_an_answer_without_a_settlement_or_receipt_is_flagged_and_the_network_is_asked() {
    let mut run = Run::paying(1_000);
    assert!(matches!(run.reply(&Reply::new(200, "")), Action::AskStatus));
    let unproven = report(run.step(Event::Status(Confirmation::Taken(Amount(1_000)))));
    assert_eq!(unproven.flags, [Flag::SettlementMissing, Flag::ReceiptMissing]);
    assert!(!unproven.is_proven());

    let mut run = Run::paying(1_000);
    let seen = presented(run.header());
    let report = report(run.reply(&Reply::new(200, "goods").settling(&settlement(&seen, None))));
    assert_eq!(report.flags, [Flag::ReceiptMissing]);
}

#[test]
fn settlements_that_differ_from_what_was_signed_are_not_believed() {
    let honest = |run: &Run| {
        let seen = presented(run.header());
        settlement(&seen, Some(&receipt_of(&seen, 200, b"goods")))
    };
    for (member, value) in [
        ("transaction", json!("00".repeat(32))),
        ("transaction", json!("")),
        ("network", json!("farthing:ffffffffffffffffffffffffffffffff")),
        ("amount", json!("1001")),
        ("amount", json!(1000)),
        ("success", json!("true")),
        ("success", json!(1)),
    ] {
        let mut run = Run::paying(1_000);
        let mut changed = honest(&run);
        changed[member] = value.clone();
        let action = run.reply(&Reply::new(200, "goods").settling(&changed));
        assert!(matches!(action, Action::AskStatus), "{member} {value}");
        let report = report(run.step(Event::Status(Confirmation::Unproven)));
        assert!(matches!(report.flags[0], Flag::SettlementInvalid(_)), "{report:?}");
    }
    let mut run = Run::paying(1_000);
    let twice = Reply::new(200, "goods").settling(&honest(&run)).settling(&honest(&run));
    assert!(matches!(run.reply(&twice), Action::AskStatus));
    let mut run = Run::paying(1_000);
    let once = Reply::new(200, "goods").settling(&honest(&run));
    assert!(report(run.reply(&once)).is_proven());
}

#[test]
fn receipts_for_anything_else_are_flagged() {
    type Change = fn(&mut farthing_protocol::receipt::Receipt);
    let changes: [Change; 5] = [
        |receipt| receipt.payment.0[0] ^= 1,
        |receipt| receipt.digest.0[0] ^= 1,
        |receipt| receipt.status = 201,
        |receipt| receipt.body[0] ^= 1,
        |receipt| receipt.amount = Amount(999),
    ];
    for change in changes {
        let mut run = Run::paying(1_000);
        let seen = presented(run.header());
        let mut receipt = receipt_of(&seen, 200, b"goods");
        change(&mut receipt);
        let report =
            report(run.reply(&Reply::new(200, "goods").settling(&settlement(&seen, Some(&receipt)))));
        assert!(matches!(report.flags[..], [Flag::ReceiptInvalid(_)]), "{report:?}");
        assert!(report.receipt.is_none());
    }
    let mut run = Run::paying(1_000);
    let seen = presented(run.header());
    let mut forged = settlement(&seen, None);
    let signed = receipt_of(&seen, 200, b"goods").sign(&farthing_protocol::SecretKey::from_seed([8; 32]));
    forged["extensions"] = json!({"farthing-receipt": serde_json::to_value(signed).unwrap()});
    let report = report(run.reply(&Reply::new(200, "goods").settling(&forged)));
    assert!(matches!(report.flags[..], [Flag::ReceiptInvalid(_)]));
}

#[test]
fn the_networks_word_wins_over_the_servers() {
    let said = |statement: &str| {
        let mut run = Run::paying(1_000);
        let seen = presented(run.header());
        let mut settlement = settlement(&seen, Some(&receipt_of(&seen, 200, b"goods")));
        settlement["extra"]["statement"] = json!(statement);
        let action = run.reply(&Reply::new(200, "goods").settling(&settlement));
        (run, action)
    };
    let (_, action) = said("voided");
    assert_eq!(report(action).amount, Amount::ZERO);
    for lie in ["forged", "1001"] {
        let (mut run, action) = said(lie);
        assert!(matches!(action, Action::AskStatus), "{lie}");
        let report = report(run.step(Event::Status(Confirmation::Taken(Amount(1_000)))));
        assert!(matches!(report.flags[..], [Flag::Contradicted(_), ..]), "{report:?}");
    }
}

#[test]
fn a_signed_payment_is_not_sent_before_it_is_presented_and_never_to_another_origin() {
    let rail = Rail::new();
    let policy = builder(&rail).policy().unwrap();
    let mut flow = Flow::sign(policy.clone(), Request::new(Method::GET, URL).unwrap());
    flow.step(Event::Start, NOW, [1; 32]);
    assert!(matches!(flow.step(event(&unpaid(&[offer(1_000)])), NOW, [2; 32]), Action::LookUp));
    let prepared = match end(flow.step(Event::LookedUp(Ok(())), NOW, [2; 32])) {
        Ok(End::Signed(prepared)) => prepared,
        other => panic!("{other:?}"),
    };
    let elsewhere = Request::new(Method::GET, "https://other.example/goods").unwrap();
    assert!(Flow::present_for(policy.clone(), prepared.clone(), elsewhere).is_err());
    let page = Request::new(Method::GET, "https://shop.example/other").unwrap();
    assert!(Flow::present_for(policy.clone(), prepared.clone(), page).is_ok());
    for replayed in [false, true] {
        let mut flow = Flow::present(policy.clone(), prepared.clone());
        let Action::SendPaid { header } = flow.step(Event::Start, NOW, [3; 32]) else { panic!() };
        let report = report(flow.step(event(&delivers(header.expose(), "goods")), NOW, [4; 32]));
        assert_eq!(report.replayed, replayed);
    }
    assert_eq!(rail.signed(), 1);
}

#[test]
fn events_out_of_turn_end_the_flow_and_sign_nothing() {
    for event in [Event::Waited, Event::Status(Confirmation::NotTaken), Event::LookedUp(Ok(()))] {
        let mut run = Run::new();
        assert_eq!(end(run.step(event)).unwrap_err(), ClientError::OutOfTurn);
    }
    for event in [Event::Status(Confirmation::NotTaken), Event::LookedUp(Ok(()))] {
        let mut run = Run::paying(1_000);
        assert_eq!(end(run.step(event)).unwrap_err(), ClientError::OutOfTurn);
    }
    for event in [Event::Start, Event::Waited, Event::Lost { why: "x".into() }] {
        let mut run = Run::new();
        run.step(Event::Start);
        let asked = run.flow.step(self::event(&unpaid(&[offer(1_000)])), NOW, [9; 32]);
        assert!(matches!(asked, Action::LookUp));
        assert_eq!(end(run.step(event)).unwrap_err(), ClientError::OutOfTurn);
        assert_eq!(run.rail.signed(), 0);
    }
}

fn any_reply() -> impl Strategy<Value = u8> {
    0u8..9
}

proptest! {
    #[test]
    fn whatever_a_server_does_one_payment_is_signed_and_one_price_is_spent(
        replies in proptest::collection::vec(any_reply(), 40),
        word in 0u8..4,
    ) {
        let mut run = Run::new();
        let mut action = run.step(Event::Start);
        let mut steps = 0;
        for reply in replies {
            steps += 1;
            let next = match &action {
                Action::Done(_) => break,
                Action::Wait(_) => Event::Waited,
                Action::LookUp => Event::LookedUp(Ok(())),
                Action::Approve(_) => panic!("nobody is asked"),
                Action::AskStatus => Event::Status(match word {
                    0 => Confirmation::Open,
                    1 => Confirmation::NotTaken,
                    2 => Confirmation::Taken(Amount(5_000)),
                    _ => Confirmation::Unproven,
                }),
                Action::Send | Action::SendPaid { .. } => event(&match (reply, &run.header) {
                    (0, _) => Reply::HangUp,
                    (1, _) => unpaid(&[offer(5_000)]),
                    (2, _) => unpaid(&[offer(4_000)]),
                    (3, _) => Reply::new(503, ""),
                    (4, _) => problem(409, "payment-in-progress", "same"),
                    (5, _) => Reply::new(307, "").header("location", "/elsewhere"),
                    (6, Some(header)) => delivers(header, "goods"),
                    (7, _) => Reply::new(200, "").header("payment-response", "junk"),
                    _ => unpaid(&[with(offer(5_000), "payTo", json!("thief"))]),
                }),
            };
            action = run.step(next);
        }
        prop_assert!(matches!(action, Action::Done(_)), "no end after {steps} steps: {action:?}");
        prop_assert!(run.rail.signed() <= 1);
        let client_counts = run.journal.spending().unwrap().total(&xts());
        prop_assert!(client_counts <= Amount(5_000));
    }
}
