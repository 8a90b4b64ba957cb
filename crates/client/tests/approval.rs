//! Payments that a person must agree to. The signer counts.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod scripted;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use farthing_client::approval::{ApprovalError, ApprovalRequest, Approve, Decision};
use farthing_client::flow::{Action, Answer, Event};
use farthing_client::{Budget, ClientBuilder, ClientError, Flow, Journal, MemoryJournal, Request, Rule};
use farthing_protocol::Amount;
use farthing_protocol::rail::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use scripted::*;

const NOW: u64 = 1_800_000_000;
const PATIENT: Duration = Duration::from_secs(60);

/// Answers by rote, or never, and keeps what it was asked.
#[derive(Debug)]
struct Person {
    says: Option<Result<Decision, ApprovalError>>,
    asked: Mutex<Vec<ApprovalRequest>>,
}

impl Person {
    fn who(says: Option<Result<Decision, ApprovalError>>) -> Arc<Self> {
        Arc::new(Self { says, asked: Mutex::default() })
    }

    fn asked(&self) -> Vec<ApprovalRequest> {
        self.asked.lock().unwrap().clone()
    }
}

impl Approve for Person {
    fn decide<'a>(&'a self, request: &'a ApprovalRequest) -> BoxFuture<'a, Result<Decision, ApprovalError>> {
        self.asked.lock().unwrap().push(request.clone());
        match self.says.clone() {
            Some(says) => Box::pin(std::future::ready(says)),
            None => Box::pin(std::future::pending()),
        }
    }
}

/// A client that asks above 0.0001 XTS, which is 100 units.
fn asking(rail: &Arc<Rail>, person: &Arc<Person>, within: Duration) -> ClientBuilder {
    builder(rail).approval(["0.0001 XTS".parse().unwrap()], person.clone(), within)
}

async fn rule(client: &farthing_client::Client, server: &Server) -> Rule {
    match client.get(&server.at("/page")).await.unwrap_err() {
        ClientError::Refused(refused) => refused.rule,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_no_or_no_answer_in_time_or_a_failure_pays_nothing() {
    let failed = Err(ApprovalError::Failed("it is \u{1b}broken".into()));
    for (says, within, expected) in [
        (Some(Ok(Decision::No)), PATIENT, Rule::ApprovalDenied),
        (None, Duration::from_millis(5), Rule::NotApprovedInTime),
        (Some(failed), PATIENT, Rule::NoApprover),
        (Some(Err(ApprovalError::Nobody)), PATIENT, Rule::NoApprover),
    ] {
        let (rail, server, person) = (Rail::new(), Server::shop(101).await, Person::who(says));
        let client = asking(&rail, &person, within).build().unwrap();
        assert_eq!(rule(&client, &server).await, expected);
        assert_eq!((rail.signed(), server.payments().len(), spent(&client)), (0, 0, (0, 0)));
        assert_eq!(person.asked().len(), 1);
    }
    // Nobody was named.
    let (rail, server) = (Rail::new(), Server::shop(101).await);
    let client = builder(&rail).approval_above(["0.0001 XTS".parse().unwrap()], PATIENT).build().unwrap();
    assert_eq!((rule(&client, &server).await, rail.signed()), (Rule::NoApprover, 0));
}

#[tokio::test]
async fn a_yes_pays_once_and_the_next_payment_is_asked_about_again() {
    let (rail, server, person) =
        (Rail::new(), Server::shop(101).await, Person::who(Some(Ok(Decision::Once))));
    let client = asking(&rail, &person, PATIENT).agent("researcher").build().unwrap();
    for paid in 1..=2 {
        client.get(&server.at("/page?q=1")).task("weather").await.unwrap();
        assert_eq!((rail.signed(), person.asked().len()), (paid, paid));
    }
    let asked = &person.asked();
    assert_ne!(asked[0].id, asked[1].id);
    let one = &asked[0];
    assert_eq!((one.price.as_str(), one.amount, one.payee.as_str()), ("0.000101 XTS", Amount(101), "seller"));
    assert_eq!((one.method.as_str(), one.url.clone()), ("GET", server.at("/page?q=1")));
    assert_eq!((one.agent.as_deref(), one.task.as_deref()), (Some("researcher"), Some("weather")));
    assert_eq!(one.description.as_deref(), Some("pay\\u{1b}[2J now"), "a server cannot move the cursor");
}

#[tokio::test]
async fn up_to_the_amount_nobody_is_asked() {
    let (rail, server, person) = (Rail::new(), Server::shop(100).await, Person::who(Some(Ok(Decision::No))));
    let client = asking(&rail, &person, PATIENT).build().unwrap();
    client.get(&server.url).await.unwrap();
    assert_eq!((rail.signed(), person.asked().len()), (1, 0));
}

#[tokio::test]
async fn an_asset_without_an_amount_is_always_asked_about() {
    for (says, paid) in [(Decision::No, 0), (Decision::Once, 1)] {
        let person = Person::who(Some(Ok(says)));
        let rail = Rail::new();
        let server = Server::start(|seen| match seen.payment() {
            None => unpaid(&[with(offer(1), "asset", "CENT".into())]),
            Some(payment) => delivers(payment, "goods"),
        })
        .await;
        let budget = Budget::new("1 CENT").unwrap();
        let client = asking(&rail, &person, PATIENT).budget(budget).build().unwrap();
        assert_eq!(client.get(&server.url).await.is_ok(), paid == 1);
        assert_eq!((rail.signed(), person.asked().len()), (paid, 1));
    }
}

#[tokio::test]
async fn a_trusted_payee_is_not_asked_about_again_up_to_the_budgets() {
    let rail = Rail::new();
    let journal = Arc::new(MemoryJournal::new());
    let server = Server::shop(4_000).await;
    let yes = Person::who(Some(Ok(Decision::TrustPayee)));
    let client = asking(&rail, &yes, PATIENT).journal(journal.clone()).build().unwrap();
    client.get(&server.url).await.unwrap();
    // Another client on the same journal, with somebody who would say no.
    let no = Person::who(Some(Ok(Decision::No)));
    let later = asking(&rail, &no, PATIENT).journal(journal).build().unwrap();
    later.get(&server.url).await.unwrap();
    assert_eq!((rail.signed(), yes.asked().len(), no.asked().len()), (2, 1, 0));
    // The budget has 10,000 units.
    assert!(matches!(rule(&later, &server).await, Rule::OverBudget(_)));
    // Trust is for one origin.
    let other = Server::shop(101).await;
    assert_eq!(rule(&later, &other).await, Rule::ApprovalDenied);
    assert_eq!((rail.signed(), no.asked().len()), (2, 1));
}

#[tokio::test]
async fn nobody_is_bothered_with_what_would_be_refused_anyway() {
    let (rail, server, person) =
        (Rail::new(), Server::shop(10_001).await, Person::who(Some(Ok(Decision::Once))));
    let client = asking(&rail, &person, PATIENT).build().unwrap();
    assert!(matches!(rule(&client, &server).await, Rule::OverBudget(_)));
    assert_eq!((rail.signed(), person.asked().len()), (0, 0));
}

#[tokio::test]
async fn after_a_no_no_other_offer_of_the_same_answer_is_asked_about() {
    let (rail, person) = (Rail::new(), Person::who(Some(Ok(Decision::No))));
    let server = Server::start(|_| unpaid(&[offer(200), offer(300), offer(400)])).await;
    let client = asking(&rail, &person, PATIENT).build().unwrap();
    assert_eq!(rule(&client, &server).await, Rule::ApprovalDenied);
    assert_eq!((rail.signed(), person.asked().len()), (0, 1));
}

/// Lets something happen while the client waits for the person.
#[derive(Debug)]
struct Meanwhile {
    budget_left: Arc<MemoryJournal>,
    takes: u128,
    calls: AtomicUsize,
}

impl Approve for Meanwhile {
    fn decide<'a>(&'a self, request: &'a ApprovalRequest) -> BoxFuture<'a, Result<Decision, ApprovalError>> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let charge = farthing_client::budget::Charge {
            asset: xts(),
            origin: request.origin.clone(),
            amount: Amount(self.takes),
            payee: request.payee.clone(),
            agent: None,
            task: None,
            at: NOW,
        };
        let limits = farthing_client::budget::Limits::of(Amount(10_000));
        self.budget_left.reserve(&charge, &limits).unwrap();
        Box::pin(std::future::ready(Ok(Decision::Once)))
    }
}

#[tokio::test]
async fn a_yes_is_judged_by_what_is_left_when_it_comes() {
    for (takes, paid) in [(9_000, 1), (9_001, 0)] {
        let (rail, server, journal) =
            (Rail::new(), Server::shop(1_000).await, Arc::new(MemoryJournal::new()));
        let calls = AtomicUsize::new(0);
        let person = Arc::new(Meanwhile { budget_left: journal.clone(), takes, calls });
        let above = ["0.0001 XTS".parse().unwrap()];
        let client =
            builder(&rail).journal(journal).approval(above, person.clone(), PATIENT).build().unwrap();
        assert_eq!(client.get(&server.url).await.is_ok(), paid == 1);
        assert_eq!((rail.signed(), person.calls.load(Ordering::SeqCst)), (paid, 1));
    }
}

#[test]
fn a_yes_after_its_time_or_out_of_hours_comes_too_late() {
    for (later, rule) in
        [(0, None), (60, None), (61, Some(Rule::NotApprovedInTime)), (30, Some(Rule::OutsideHours))]
    {
        let (rail, person) = (Rail::new(), Person::who(None));
        let mut client = asking(&rail, &person, PATIENT);
        if rule == Some(Rule::OutsideHours) {
            // NOW is 08:00.
            client = client.hours("00:00-08:01".parse().unwrap());
        }
        let now = if rule == Some(Rule::OutsideHours) { NOW + 45 } else { NOW };
        let request = Request::new(Method::GET, "https://shop.example/").unwrap();
        let mut flow = Flow::pay(client.policy().unwrap(), request);
        assert!(matches!(flow.step(Event::Start, now, [0; 32]), Action::Send));
        assert!(matches!(flow.step(terms(101), now, [1; 32]), Action::LookUp));
        let Action::Approve(within) = flow.step(Event::LookedUp(Ok(())), now, [2; 32]) else { panic!() };
        assert_eq!((within, flow.approval().is_some(), rail.signed()), (PATIENT, true, 0));
        match (flow.step(Event::Decided(Ok(Decision::Once)), now + later, [3; 32]), rule) {
            (Action::SendPaid { .. }, None) => assert_eq!(rail.signed(), 1),
            (Action::Done(end), Some(rule)) => {
                let Err(ClientError::Refused(refused)) = *end else { panic!("{end:?}") };
                assert_eq!((refused.rule, rail.signed()), (rule, 0));
            }
            (other, rule) => panic!("{other:?} {rule:?}"),
        }
    }
}

#[test]
fn a_yes_that_nobody_waits_for_pays_nothing() {
    let rail = Rail::new();
    let request = Request::new(Method::GET, "https://shop.example/").unwrap();
    let mut flow = Flow::pay(asking(&rail, &Person::who(None), PATIENT).policy().unwrap(), request);
    flow.step(Event::Start, NOW, [0; 32]);
    flow.step(terms(101), NOW, [1; 32]);
    let Action::Done(end) = flow.step(Event::Decided(Ok(Decision::Once)), NOW, [2; 32]) else { panic!() };
    assert_eq!((*end).map(drop), Err(ClientError::OutOfTurn));
    assert_eq!(rail.signed(), 0);
}

fn terms(amount: u64) -> Event {
    let Reply::Say { headers: said, .. } = unpaid(&[offer(amount)]) else { panic!() };
    let mut headers = HeaderMap::new();
    for (name, value) in said {
        headers.insert(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(&value).unwrap());
    }
    let status = StatusCode::PAYMENT_REQUIRED;
    Event::Answered(Answer { status, headers, body: "".into(), complete: true })
}
