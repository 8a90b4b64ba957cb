//! Answers that are paid for while they come: what is taken is known at their end, and believed only then.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod scripted;

use std::sync::Arc;
use std::time::Duration;

use farthing_client::{
    Client, ClientError, Flag, Journal, MemoryJournal, PayingClient, PaymentReport, Rule, State, Unsigned,
};
use farthing_protocol::Amount;
use farthing_protocol::header;
use farthing_protocol::rail::Confirmation;
use scripted::*;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// The most that the streams of these tests may cost, in atomic units.
const MOST: u64 = 5_000;

/// What a seller says of a payment.
type Lie = fn(&Presented) -> Value;

/// A seller of one stream, in the test's hand.
struct Stream {
    server: Server,
    pieces: UnboundedSender<Vec<u8>>,
    /// Held for as long as the seller sends.
    receiver: Arc<tokio::sync::Mutex<UnboundedReceiver<Vec<u8>>>>,
}

fn up_to(most: u64) -> Value {
    with(offer(most), "scheme", json!("upto"))
}

/// What the headers of a stream say.
fn authorized(seen: &Presented) -> Value {
    json!({"success": true, "transaction": seen.id.to_string(), "network": NETWORK, "amount": "0",
        "extra": {"state": "authorized", "maxAmount": seen.amount, "paymentUrl": "/payments/1"}})
}

/// What an honest seller says at the end, with the network's word.
fn captured(seen: &Presented, amount: u64) -> Value {
    json!({"success": true, "transaction": seen.id.to_string(), "network": NETWORK,
        "amount": amount.to_string(), "extra": {"state": "captured", "statement": amount.to_string()}})
}

fn without_word(mut settlement: Value) -> Value {
    settlement["extra"].as_object_mut().unwrap().remove("statement");
    settlement
}

fn chunk(data: &str) -> Vec<u8> {
    format!("{:x}\r\n{data}\r\n", data.len()).into_bytes()
}

fn event(data: &str) -> Vec<u8> {
    chunk(&format!("data: {data}\n\n"))
}

fn settlement_event(settlement: &Value) -> Vec<u8> {
    chunk(&format!("event: payment-response\ndata: {settlement}\n\n"))
}

impl Stream {
    async fn start(kind: &'static str) -> Self {
        Self::saying(kind, authorized).await
    }

    async fn saying(kind: &'static str, first: fn(&Presented) -> Value) -> Self {
        let (pieces, receiver) = unbounded_channel();
        let receiver = Arc::new(tokio::sync::Mutex::new(receiver));
        let held = receiver.clone();
        let server = Server::start(move |seen| match seen.payment() {
            None => unpaid(&[up_to(MOST)]),
            Some(payment) => Reply::Flow { headers: Vec::new(), pieces: held.clone() }
                .header("content-type", kind)
                .settling(&first(&presented(payment))),
        })
        .await;
        Self { server, pieces, receiver }
    }

    fn sends(&self, piece: Vec<u8>) {
        self.pieces.send(piece).unwrap();
    }

    /// The payment that came.
    fn presented(&self) -> Presented {
        presented(&self.server.payments()[0])
    }

    fn ends(&self) {
        self.sends(b"0\r\n\r\n".to_vec());
    }
}

/// A rail whose network has not decided yet.
fn rail() -> Arc<Rail> {
    Rail::new()
}

fn journaled(rail: &Arc<Rail>) -> (Client, Arc<MemoryJournal>) {
    let journal = Arc::new(MemoryJournal::new());
    (builder(rail).journal(journal.clone()).build().unwrap(), journal)
}

#[tokio::test]
async fn a_stream_is_handed_over_while_it_is_paid_and_its_budget_goes_down_to_what_was_taken() {
    let (stream, rail) = (Stream::start("text/event-stream").await, rail());
    let (client, journal) = journaled(&rail);
    let mut answer = client.get(&stream.server.at("/events")).await.unwrap();
    let report = answer.payment().unwrap().clone();
    assert!(report.open && report.flags.is_empty(), "{report:?}");
    assert_eq!((report.amount.0, report.confirmation), (MOST.into(), Confirmation::Open));
    // In one piece: what was read of it is not lost between two calls.
    stream.sends(chunk("data: one\n\ndata: two\n\n"));
    for data in ["one", "two"] {
        assert_eq!(answer.events().next().await.unwrap().unwrap().data, data);
        // Whatever may still be taken is reserved.
        assert_eq!(spent(&client), (0, MOST.into()));
        let open = journal.open().unwrap();
        assert_eq!((open.len(), open[0].state, open[0].status), (1, State::Sent, Some(200)));
    }
    stream.sends(settlement_event(&captured(&stream.presented(), 1_234)));
    stream.ends();
    // The seller's word about the money is no event of the content.
    assert_eq!(answer.events().next().await.unwrap(), None);
    let report = answer.payment().unwrap();
    assert!(!report.open);
    assert_eq!((report.amount, &report.confirmation), (Amount(1_234), &Confirmation::Taken(Amount(1_234))));
    assert_eq!((report.cost().as_str(), report.price.as_str()), ("0.001234 XTS", "0.005 XTS"));
    assert_eq!(spent(&client), (1_234, 0));
    let record = journal.find(&stream.presented().id).unwrap().unwrap();
    assert_eq!((record.state, record.settled), (State::Confirmed(Amount(1_234)), Some(Amount(1_234))));
    assert_eq!((rail.signed(), rail.asked(), stream.server.payments().len()), (1, 0, 1));
}

#[tokio::test]
async fn the_settlement_of_a_body_without_events_is_in_its_trailer() {
    let (stream, rail) = (Stream::start("text/plain").await, rail());
    let client = client(&rail);
    let answer = client.get(&stream.server.at("/text")).await.unwrap();
    assert!(answer.payment().unwrap().open);
    let paid = stream.server.seen().pop().unwrap();
    assert_eq!((paid.header("te"), paid.header("connection")), (Some("trailers"), Some("te")));
    stream.sends(chunk("first"));
    // Not the settlement of this answer: it is part of the text.
    stream.sends(settlement_event(&captured(&stream.presented(), 1)));
    let value = header::encode(&captured(&stream.presented(), 777)).unwrap();
    stream.sends(format!("0\r\nPAYMENT-RESPONSE: {value}\r\n\r\n").into_bytes());
    let mut answer = answer;
    let mut read = Vec::new();
    while let Some(piece) = answer.chunk().await.unwrap() {
        read.extend_from_slice(&piece);
    }
    assert!(read.starts_with(b"firstevent: payment-response"));
    let report = answer.payment().unwrap();
    assert_eq!((report.amount, report.open), (Amount(777), false));
    assert_eq!((spent(&client), rail.asked()), ((777, 0), 0));
    // An unpaid request asks for no trailers.
    assert_eq!(stream.server.seen()[0].header("te"), None);
}

#[tokio::test]
async fn a_stream_is_read_whole_for_as_long_as_it_takes() {
    let (stream, rail) = (Stream::start("text/plain").await, rail());
    let client = builder(&rail).timeout(Duration::from_millis(200)).build().unwrap();
    let answer = client.get(&stream.server.at("/text")).await.unwrap();
    let seen = stream.presented();
    tokio::spawn(async move {
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            stream.sends(chunk("part "));
        }
        let value = header::encode(&captured(&seen, 400)).unwrap();
        stream.sends(format!("0\r\npayment-response: {value}\r\n\r\n").into_bytes());
    });
    assert_eq!(answer.text().await.unwrap(), "part part part part ");
    assert_eq!(spent(&client), (400, 0));
}

#[tokio::test]
async fn a_settlement_without_the_networks_word_is_asked_about() {
    for (word, expected) in [
        (Confirmation::Taken(Amount(300)), ((300, 0), State::Confirmed(Amount(300)))),
        (Confirmation::NotTaken, ((0, 0), State::Released)),
        // Nobody but the seller says so: what may be taken stays reserved.
        (Confirmation::Open, ((0, MOST.into()), State::Settled)),
        (Confirmation::Unproven, ((0, MOST.into()), State::Settled)),
        (Confirmation::Taken(Amount(u128::from(MOST) + 1)), ((0, MOST.into()), State::Unknown)),
    ] {
        let (stream, rail) = (Stream::start("text/event-stream").await, rail());
        let (client, journal) = journaled(&rail);
        let mut answer = client.get(&stream.server.at("/events")).await.unwrap();
        rail.says(word.clone());
        let seen = stream.presented();
        stream.sends(settlement_event(&without_word(captured(&seen, 300))));
        stream.ends();
        assert_eq!(answer.events().next().await.unwrap(), None);
        let state = journal.find(&seen.id).unwrap().unwrap().state;
        assert_eq!((spent(&client), state), expected, "{word:?}");
        assert_eq!(rail.asked(), 1);
    }
}

#[tokio::test]
async fn a_final_settlement_that_does_not_fit_the_payment_is_not_believed() {
    let lies: [(Lie, &str); 7] = [
        (|seen| captured(seen, MOST + 1), "more than was signed for"),
        (|seen| with(captured(seen, 10), "transaction", json!("00")), "another payment"),
        (|seen| with(captured(seen, 10), "network", json!("farthing:00")), "another network"),
        (|seen| with(captured(seen, 10), "extra.statement", json!("forged")), "forged"),
        (|seen| with(captured(seen, 10), "extra.statement", json!((MOST + 1).to_string())), "more is said"),
        (authorized, "SettlementMissing"),
        (|_| json!({"success": "yes"}), "SettlementInvalid"),
    ];
    for (lie, why) in lies {
        let (stream, rail) = (Stream::start("text/event-stream").await, rail());
        let client = client(&rail);
        let mut answer = client.get(&stream.server.at("/events")).await.unwrap();
        stream.sends(event("content"));
        stream.sends(settlement_event(&lie(&stream.presented())));
        stream.ends();
        assert_eq!(answer.events().next().await.unwrap().unwrap().data, "content");
        assert_eq!(answer.events().next().await.unwrap(), None);
        let flags = format!("{:?}", answer.payment().unwrap().flags);
        assert!(flags.contains(why), "{why}: {flags}");
        assert_eq!(spent(&client), (0, MOST.into()), "{why}");
        // The network knows better.
        rail.says(Confirmation::Taken(Amount(10)));
        client.reconcile().await.unwrap();
        assert_eq!(spent(&client), (10, 0), "{why}");
    }
}

#[tokio::test]
async fn how_an_answer_ended_is_said_by_the_final_settlement_of_its_own_payment_only() {
    let ended = |seen: &Presented, word: &str| with(captured(seen, 10), "extra.ended", json!(word));
    type Says = Box<dyn Fn(&Presented) -> Value>;
    let cases: [(Says, Option<&str>, bool); 7] = [
        (Box::new(move |seen| ended(seen, "complete")), Some("complete"), false),
        (Box::new(move |seen| ended(seen, "exhausted")), Some("exhausted"), true),
        (Box::new(move |seen| ended(seen, "\u{1b}[2J")), Some("\\u{1b}[2J"), true),
        (Box::new(|seen| captured(seen, 10)), None, false),
        (Box::new(move |seen| with(ended(seen, "exhausted"), "transaction", json!("00"))), None, false),
        (
            Box::new(move |seen| with(ended(seen, "exhausted"), "extra.statement", json!("forged"))),
            None,
            false,
        ),
        (Box::new(|seen| with(authorized(seen), "extra.ended", json!("exhausted"))), None, false),
    ];
    for (at, (says, word, is_cut)) in cases.into_iter().enumerate() {
        let (stream, rail) = (Stream::start("text/event-stream").await, rail());
        let client = client(&rail);
        let mut answer = client.get(&stream.server.at("/events")).await.unwrap();
        assert_eq!(answer.payment().unwrap().ended, None);
        stream.sends(settlement_event(&says(&stream.presented())));
        stream.ends();
        assert_eq!(answer.events().next().await.unwrap(), None);
        let report = answer.payment().unwrap();
        assert_eq!((report.ended.as_deref(), report.is_cut()), (word, is_cut), "case {at}: {report:?}");
    }
}

#[tokio::test]
async fn t29_an_answer_that_only_calls_itself_metered_still_lacks_its_receipt() {
    for (scheme, flags, unsigned) in
        [("upto", vec![], Some(Unsigned::Metered)), ("exact", vec![Flag::ReceiptMissing], None)]
    {
        let rail = rail();
        let server = Server::start(move |seen| match seen.payment() {
            None => unpaid(&[with(offer(MOST), "scheme", json!(scheme))]),
            Some(payment) => {
                let seen = presented(payment);
                let value = header::encode(&captured(&seen, 10)).unwrap();
                let body = format!("5\r\ngoods\r\n0\r\nPAYMENT-RESPONSE: {value}\r\n\r\n");
                let (pieces, receiver) = unbounded_channel();
                pieces.send(body.into_bytes()).unwrap();
                let pieces = Arc::new(tokio::sync::Mutex::new(receiver));
                Reply::Flow { headers: Vec::new(), pieces }.settling(&authorized(&seen))
            }
        })
        .await;
        let mut answer = client(&rail).get(&server.url).await.unwrap();
        while answer.chunk().await.unwrap().is_some() {}
        let report = answer.payment().unwrap();
        assert_eq!((&report.flags, report.unsigned), (&flags, unsigned), "{scheme}");
        assert_eq!(report.is_proven(), flags.is_empty(), "{scheme}");
    }
}

#[tokio::test]
async fn an_event_that_only_looks_like_the_last_one_settles_nothing() {
    let (stream, rail) = (Stream::start("text/event-stream").await, rail());
    let client = client(&rail);
    let mut answer = client.get(&stream.server.at("/events")).await.unwrap();
    // Content that repeats what somebody else wrote.
    stream.sends(settlement_event(&captured(&stream.presented(), 1)));
    stream.sends(event("more"));
    stream.ends();
    assert_eq!(answer.events().next().await.unwrap().unwrap().data, "more");
    assert_eq!(answer.events().next().await.unwrap(), None);
    assert!(answer.payment().unwrap().flags.contains(&Flag::SettlementMissing));
    assert_eq!(spent(&client), (0, MOST.into()));
}

#[tokio::test]
async fn headers_that_hold_more_than_was_signed_for_are_not_believed() {
    let stream = Stream::saying("text/event-stream", |seen| {
        with(authorized(seen), "extra.maxAmount", json!((MOST + 1).to_string()))
    })
    .await;
    let rail = rail();
    let client = client(&rail);
    let answer = client.get(&stream.server.at("/events")).await.unwrap();
    let report = answer.payment().unwrap();
    assert!(!report.open, "{report:?}");
    assert!(matches!(&report.flags[0], Flag::SettlementInvalid(why) if why.contains("holds more")));
    assert_eq!(spent(&client), (0, MOST.into()));
}

#[tokio::test]
async fn a_stream_that_breaks_off_or_falls_silent_is_closed_by_the_networks_word() {
    for silent in [false, true] {
        for (word, expected) in [(Confirmation::Taken(Amount(250)), 250), (Confirmation::NotTaken, 0)] {
            let (stream, rail) = (Stream::start("text/event-stream").await, rail());
            let journal = Arc::new(MemoryJournal::new());
            let idle = Duration::from_millis(100);
            let client = builder(&rail).idle_timeout(idle).journal(journal.clone()).build().unwrap();
            let mut answer = client.get(&stream.server.at("/events")).await.unwrap();
            stream.sends(event("one"));
            assert_eq!(answer.events().next().await.unwrap().unwrap().data, "one");
            let seen = stream.presented();
            let kept = silent.then(|| stream.pieces.clone());
            drop(stream);
            let error = answer.events().next().await.unwrap_err();
            assert!(matches!(error, ClientError::Broken { .. }), "{error}");
            let report = answer.payment().unwrap().clone();
            assert_eq!((report.open, report.amount.0), (false, MOST.into()));
            assert_eq!((spent(&client), rail.asked()), ((0, MOST.into()), 1));
            assert_eq!(journal.find(&seen.id).unwrap().unwrap().state, State::Unknown);
            assert_eq!(answer.chunk().await, Ok(None), "it is over");
            drop(kept);
            rail.says(word);
            client.reconcile().await.unwrap();
            assert_eq!((spent(&client), rail.signed()), ((expected, 0), 1));
        }
    }
}

#[tokio::test]
async fn who_stops_reading_learns_what_the_part_cost() {
    let (stream, rail) = (Stream::start("text/event-stream").await, rail());
    let client = client(&rail);
    let mut answer = client.get(&stream.server.at("/events")).await.unwrap();
    stream.sends(event("one"));
    answer.events().next().await.unwrap();
    // The seller has not seen yet that nobody reads on.
    let (closing, asked) = (tokio::spawn(answer.close()), rail.clone());
    while asked.asked() < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    rail.says(Confirmation::Taken(Amount(90)));
    let report = closing.await.unwrap().unwrap();
    assert_eq!((report.amount, report.open), (Amount(90), false));
    assert_eq!(spent(&client), (90, 0));
    // And the seller sees it.
    while stream.receiver.try_lock().is_err() {
        stream.sends(event("unheard"));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn an_answer_that_is_dropped_stays_in_the_journal_until_somebody_asks() {
    let (stream, rail) = (Stream::start("text/event-stream").await, rail());
    let (client, journal) = journaled(&rail);
    drop(client.get(&stream.server.at("/events")).await.unwrap());
    assert_eq!((spent(&client), journal.open().unwrap().len()), ((0, MOST.into()), 1));
    rail.says(Confirmation::Taken(Amount(0)));
    client.reconcile().await.unwrap();
    assert_eq!((spent(&client), journal.open().unwrap().len()), ((0, 0), 0));
}

#[tokio::test]
async fn the_most_that_a_stream_may_cost_counts_against_every_limit() {
    let rail = rail();
    let server = Server::start(|seen| match seen.target.as_str() {
        "/dear" => unpaid(&[up_to(10_001)]),
        _ => unpaid(&[up_to(MOST)]),
    })
    .await;
    let client = client(&rail);
    let rule = |error: ClientError| match error {
        ClientError::Refused(refused) => refused.rule,
        other => panic!("{other}"),
    };
    assert!(matches!(rule(client.get(&server.at("/dear")).await.unwrap_err()), Rule::OverBudget(_)));
    let dear = client.get(&server.at("/")).max_price("0.004 XTS").send().await.unwrap_err();
    assert_eq!(rule(dear), Rule::MaxPrice);
    assert_eq!((rail.signed(), spent(&client)), (0, (0, 0)));
    // And one that fits is chosen like any other.
    let prepared = client.get(&server.at("/")).sign().await.unwrap().unwrap();
    assert_eq!(presented(prepared.header().expose()).payment.accepted.scheme, "upto");
    assert_eq!((prepared.max_amount().0, spent(&client)), (MOST.into(), (0, MOST.into())));
}

#[tokio::test]
async fn a_stream_in_reqwests_types_is_settled_when_it_was_read() {
    let (stream, rail) = (Stream::start("text/event-stream").await, rail());
    let client = client(&rail);
    let paying = PayingClient::new(client.clone());
    let mut answer = paying.get(stream.server.at("/events")).send().await.unwrap();
    assert!(answer.extensions().get::<PaymentReport>().unwrap().open);
    stream.sends(event("one"));
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "data: one\n\n");
    assert_eq!(spent(&client), (0, MOST.into()));
    stream.sends(settlement_event(&captured(&stream.presented(), 42)));
    stream.ends();
    while answer.chunk().await.unwrap().is_some() {}
    assert_eq!(spent(&client), (42, 0));
}
