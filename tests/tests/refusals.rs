//! Who may move money, and what happens when nobody can: through the facilitator's HTTP API, near and far.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use farthing::facilitator::RemoteFacilitator;
use farthing::facilitator::http::HttpOptions;
use farthing::farthing_ledger::engine::{MemoryStorage, Row, Snapshot, Storage, StorageError, Writes};
use farthing::farthing_ledger::operation::{Action, Op, answer_hash, signed_bytes};
use farthing::farthing_ledger::rows::Table;
use farthing::farthing_ledger::{Ledger, LedgerId, Options};
use farthing::native::{NativeOffer, wire};
use farthing::protocol::rail::{BoxFuture, Facilitator, FacilitatorError, Offer as _, Operation};
use farthing::protocol::rail::{Outcome, Owner, PaymentId};
use farthing::protocol::v2::{FacilitatorRequest, Offer, PaymentPayload};
use farthing::protocol::v2::{SupportedResponse, VerifyResponse};
use farthing::protocol::{Amount, PublicKey, SecretKey};
use farthing::{LocalLedger, Paywall};
use farthing_testkit::forge::{open, resign};
use farthing_testkit::{Counter, Reply, SELLER, TestClock, World, key};
use serde_json::{Value, json};

const PRICE: u128 = 10_000;
const START: u128 = 100_000_000;

fn routes(paywall: Paywall, hits: Counter) -> Router {
    let (page, other, fails) = (hits.clone(), hits.clone(), hits);
    let fails = move || async move {
        fails.hit("fails");
        (StatusCode::NOT_FOUND, "nothing there")
    };
    let price = || paywall.price("0.01 XTS");
    Router::new()
        .route("/page", get(move || async move { format!("page {}", page.hit("page")) }).layer(price()))
        .route("/other", get(move || async move { format!("other {}", other.hit("other")) }).layer(price()))
        .route("/fails", get(fails).layer(price()))
}

/// A payment on its way through `/settle`, by hand.
struct Settled {
    payment: PaymentPayload,
    offer: Offer,
    id: PaymentId,
}

/// The rail of a seller, which is how it signs.
async fn rail(world: &World, payee: u8, authorizer: u8) -> Arc<NativeOffer> {
    let facilitator = world.ledger.facilitator();
    farthing::rails(key(payee).public(), &key(authorizer), facilitator.as_ref()).await.unwrap().remove(0)
}

/// Asks the facilitator over HTTP; its answer's success, reason and state.
async fn ask(world: &World, what: &Settled, payload: PaymentPayload) -> (bool, String, String) {
    let request = FacilitatorRequest {
        x402_version: 2,
        payment_payload: payload,
        payment_requirements: (*what.offer).clone().into(),
    };
    let body = serde_json::to_vec(&request).unwrap();
    let reply = world.send("POST", "/ledger/settle", &[("Content-Type", "application/json")], &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let json = reply.json();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (json["success"].as_bool().unwrap(), text(&json["errorReason"]), text(&json["extra"]["state"]))
}

/// Signs an offer as the payer of the world and has it held.
async fn hold(world: &World, seller: &NativeOffer, offer: Offer) -> Settled {
    let signed = world.sign_offer(&world.payer, &offer);
    let payment: PaymentPayload = serde_json::from_str(&open(&World::header(&offer, &signed))).unwrap();
    let what = Settled { payment, offer, id: signed.id };
    let owner = Owner { id: [7; 16], lease_seconds: 60 };
    let payload = seller.authorize(&what.payment, &owner).unwrap();
    assert_eq!(ask(world, &what, payload).await, (true, String::new(), "held".into()));
    what
}

async fn operate(
    world: &World,
    what: &Settled,
    seller: &NativeOffer,
    operation: Operation,
) -> (bool, String, String) {
    let presented = seller.read(&what.payment).unwrap();
    let payload = seller.operate(&what.payment, &presented, 1, &operation).unwrap();
    ask(world, what, payload).await
}

/// Any operation, signed by any key for any ledger, in anybody's name.
async fn forge(
    world: &World,
    what: &Settled,
    op: Op,
    (ledger, by, named): (LedgerId, &SecretKey, PublicKey),
) -> (bool, String, String) {
    let signature = by.sign(&signed_bytes(&ledger, &[op]));
    let operation = farthing_testkit::forge::seal(op.encode());
    let list = wire::Operations {
        operations: vec![wire::Operation { operation, answer: None }],
        signer: named,
        signature,
    };
    let named = match op.action {
        Action::Capture | Action::Charge => wire::Lifecycle::Capture(list),
        Action::Void => wire::Lifecycle::Void(list),
        Action::Refund => wire::Lifecycle::Refund(list),
    };
    let payload = serde_json::value::to_raw_value(&named).unwrap();
    ask(world, what, PaymentPayload { payload: payload.into(), ..what.payment.clone() }).await
}

fn capture(amount: u128) -> Operation {
    Operation::Capture { amount: Amount(amount), answer: None, last: true }
}

fn refund(amount: u128) -> Operation {
    Operation::Refund { amount: Amount(amount) }
}

fn refused(reason: &str) -> (bool, String, String) {
    (false, reason.into(), String::new())
}

fn done(state: &str) -> (bool, String, String) {
    (true, String::new(), state.into())
}

async fn state(world: &World, id: &PaymentId) -> String {
    let reply = world.send("GET", &format!("/ledger/payments/{id}"), &[], b"").await;
    reply.json()["state"].as_str().unwrap().to_owned()
}

/// Seeds of everybody who has a key and is not the receiverAuthorizer: payer, stranger, payee, ledger, issuer,
/// receipts.
const OTHERS: [u8; 6] = [1, 9, SELLER, 103, 104, 105];

#[tokio::test]
async fn only_the_receiver_authorizer_captures_voids_and_refunds() {
    let world = World::start(routes).await;
    let seller = rail(&world, SELLER, 102).await;
    let ledger = world.ledger.ledger().id();
    for ends in ["captured", "voided"] {
        let before = (world.balance().await, world.balance_of(key(SELLER).public()).await);
        let offer = world.offers("GET", "/page", b"").await.remove(0);
        let what = hold(&world, &seller, offer).await;
        for seed in OTHERS {
            let other = rail(&world, SELLER, seed).await;
            for operation in [capture(PRICE), capture(0), Operation::Void, refund(0), refund(PRICE)] {
                let answer = operate(&world, &what, &other, operation.clone()).await;
                assert_eq!(answer, refused("unauthorized_signer"), "{seed}: {operation:?}");
            }
            let void = Op {
                payment: what.id,
                action: Action::Void,
                cumulative: Amount::ZERO,
                last: false,
                epoch: 1,
                answer: answer_hash(None),
            };
            // In the authorizer's name, without its key.
            let answer = forge(&world, &what, void, (ledger, &key(seed), key(102).public())).await;
            assert_eq!(answer, refused("invalid_signature"), "{seed}");
        }
        assert_eq!(state(&world, &what.id).await, "held");
        assert_eq!(world.balance().await, before.0 - PRICE);

        // The twin: the right signer.
        let right = if ends == "captured" { capture(PRICE) } else { Operation::Void };
        assert_eq!(operate(&world, &what, &seller, right.clone()).await, done(ends));
        assert_eq!(operate(&world, &what, &seller, right).await, done(ends), "repeated, it changes nothing");
        for seed in OTHERS {
            let other = rail(&world, SELLER, seed).await;
            for operation in [refund(PRICE), refund(1), Operation::Void, capture(PRICE)] {
                let answer = operate(&world, &what, &other, operation).await;
                assert_eq!(answer, refused("unauthorized_signer"), "{seed}");
            }
        }
        let taken = if ends == "captured" { PRICE } else { 0 };
        assert_eq!(world.balance().await, before.0 - taken);
        assert_eq!(world.balance_of(key(SELLER).public()).await, before.1 + taken);
        let given_back = operate(&world, &what, &seller, refund(PRICE)).await;
        assert_eq!(given_back.0, ends == "captured", "{given_back:?}");
        assert_eq!((world.balance().await, world.balance_of(key(SELLER).public()).await), before);
    }
    assert_eq!((world.hits.all(), world.captures().await), (0, 1));
}

#[tokio::test]
async fn an_operation_takes_no_more_than_was_signed_and_only_where_and_for_what_it_was_signed() {
    let world = World::start(routes).await;
    let seller = rail(&world, SELLER, 102).await;
    let (ledger, by) = (world.ledger.ledger().id(), (key(102), key(102).public()));
    let offer = world.offers("GET", "/page", b"").await.remove(0);
    let (one, two) = (hold(&world, &seller, offer.clone()).await, hold(&world, &seller, offer).await);
    let take = |payment: PaymentId, amount: u128, epoch: u64| Op {
        payment,
        action: Action::Capture,
        cumulative: Amount(amount),
        last: true,
        epoch,
        answer: [0; 32],
    };
    for (op, ledger, reason) in [
        (take(one.id, PRICE + 1, 1), ledger, "amount_exceeded"),
        (take(one.id, u128::MAX, 1), ledger, "amount_exceeded"),
        (take(one.id, PRICE, 0), ledger, "stale_owner"),
        (take(one.id, PRICE, 2), ledger, "stale_owner"),
        (take(PaymentId([1; 32]), PRICE, 1), ledger, "payment_unknown"),
        (take(one.id, PRICE, 1), LedgerId([0; 16]), "invalid_signature"),
        (Op { answer: [1; 32], ..take(one.id, PRICE, 1) }, ledger, "invalid_payload"),
        (Op { action: Action::Charge, ..take(one.id, PRICE, 1) }, ledger, "invalid_payload"),
        (Op { action: Action::Refund, ..take(one.id, 1, 1) }, ledger, "amount_exceeded"),
    ] {
        let answer = forge(&world, &one, op, (ledger, &by.0, by.1)).await;
        assert_eq!(answer, refused(reason), "{op:?}");
    }
    assert_eq!((state(&world, &one.id).await.as_str(), world.captures().await), ("held", 0));
    // The twin, and then what may not follow it.
    assert_eq!(forge(&world, &one, take(one.id, PRICE, 1), (ledger, &by.0, by.1)).await, done("captured"));
    for op in [
        take(one.id, PRICE - 1, 1),
        Op { action: Action::Void, cumulative: Amount::ZERO, ..take(one.id, 0, 1) },
    ] {
        assert!(!forge(&world, &one, op, (ledger, &by.0, by.1)).await.0, "{op:?}");
    }
    let too_much = Op { action: Action::Refund, epoch: 0, ..take(one.id, PRICE + 1, 0) };
    assert_eq!(forge(&world, &one, too_much, (ledger, &by.0, by.1)).await, refused("amount_exceeded"));
    assert_eq!(state(&world, &two.id).await, "held");
    assert_eq!((START - world.balance().await, world.captures().await), (2 * PRICE, 1));
}

#[tokio::test]
async fn a_seller_cannot_touch_the_payments_of_another_seller() {
    let clock = TestClock::default();
    let time = clock.clone();
    let options = Options { clock: Arc::new(move || time.now()), ..Options::open_to_all() };
    let world = World::on(Ledger::memory(key(103), options).unwrap(), clock, routes).await;
    let (a, b) = (rail(&world, SELLER, 102).await, rail(&world, 111, 112).await);
    let offer = world.offers("GET", "/page", b"").await.remove(0);
    // The same offer, made by the other seller.
    let mut theirs: Value = serde_json::from_str(offer.text()).unwrap();
    theirs["payTo"] = json!(key(111).public().to_string());
    theirs["extra"]["receiverAuthorizer"] = json!(key(112).public().to_string());
    let theirs = Offer::read(serde_json::value::to_raw_value(&theirs).unwrap()).unwrap();
    let (of_a, of_b) = (hold(&world, &a, offer).await, hold(&world, &b, theirs).await);

    for (what, owner, other) in [(&of_a, &a, &b), (&of_b, &b, &a)] {
        for operation in [capture(PRICE), Operation::Void] {
            assert_eq!(operate(&world, what, other, operation).await, refused("unauthorized_signer"));
        }
        assert_eq!(operate(&world, what, owner, capture(PRICE)).await, done("captured"));
    }
    let balances = async || {
        (
            world.balance_of(key(SELLER).public()).await,
            world.balance_of(key(111).public()).await,
            world.balance().await,
        )
    };
    assert_eq!(balances().await, (PRICE, PRICE, START - 2 * PRICE));
    for (what, other) in [(&of_a, &b), (&of_b, &a)] {
        for amount in [1, PRICE] {
            assert_eq!(operate(&world, what, other, refund(amount)).await, refused("unauthorized_signer"));
        }
    }
    assert_eq!(balances().await, (PRICE, PRICE, START - 2 * PRICE));
    assert_eq!(operate(&world, &of_a, &a, refund(PRICE / 2)).await, done("captured"));
    assert_eq!(balances().await, (PRICE / 2, PRICE, START - 3 * PRICE / 2));
    // Cumulative: the rest, and the rest once more.
    assert_eq!(operate(&world, &of_a, &a, refund(PRICE)).await, done("captured"));
    assert_eq!(operate(&world, &of_a, &a, refund(PRICE)).await, done("captured"));
    assert_eq!(balances().await, (0, PRICE, START - PRICE));
    assert_eq!(world.captures().await, 2);
}

/// What a payer saw: status, code, retry advice and reason.
type Seen = (u16, String, String, Option<String>);

fn seen(reply: &Reply) -> Seen {
    let (code, retry) = if reply.header("content-type") == Some("application/problem+json") {
        reply.problem()
    } else {
        (reply.text(), String::new())
    };
    let reason = reply.header("payment-response").and_then(|_| reply.settlement().error_reason);
    (reply.status, code, retry, reason)
}

/// A round of good and bad payments at a server; what was seen of each.
async fn visit(server: &World) -> Vec<Seen> {
    let mut all = Vec::new();
    let mut send = async |target: &str, header: &str| {
        let reply = server.send_paid("GET", target, header, b"").await;
        all.push(seen(&reply));
        reply
    };
    let (offer, signed) = server.sign("GET", "/page", b"").await;
    let header = World::header(&offer, &signed);
    let paid = send("/page", &header).await;
    let settlement = paid.settlement();
    assert_eq!(settlement.transaction, signed.id.to_string());
    assert_eq!(settlement.amount, Some(Amount(PRICE)));
    assert_eq!(settlement.extra["statement"]["state"], "captured");
    assert_eq!(settlement.extensions.len(), 1);
    assert_eq!(send("/page", &header).await.body, paid.body);
    send("/other", &header).await;
    let conflict = resign(&signed, &key(1), |terms| terms.valid_before -= 1);
    send("/page", &World::header(&offer, &conflict)).await;
    let forged = resign(&signed, &key(9), |terms| terms.nonce = [9; 32]);
    send("/page", &World::header(&offer, &forged)).await;
    let expired = resign(&signed, &key(1), |terms| (terms.nonce, terms.valid_before) = ([8; 32], 1));
    send("/page", &World::header(&offer, &expired)).await;
    let poor = server.another_payer(200, "0.009999 XTS").await;
    send("/page", &World::header(&offer, &server.sign_offer(&poor, &offer))).await;
    let fails = server.pay("GET", "/fails", b"").await;
    send("/fails", &fails).await;
    send("/fails", &fails).await;
    send("/page", "x").await;
    let again = server.pay("GET", "/page", b"").await;
    send("/page", &again).await;
    all
}

#[tokio::test]
async fn a_remote_facilitator_gives_the_same_paywall_as_one_in_process() {
    let mut rounds = Vec::new();
    for remote in [false, true] {
        let world = World::start(routes).await;
        let facilitator: Arc<dyn Facilitator> = match remote {
            false => world.ledger.facilitator(),
            true => Arc::new(RemoteFacilitator::builder(format!("{}/ledger", world.origin)).build().unwrap()),
        };
        let server = world.branch(facilitator, routes).await;
        rounds.push(visit(&server).await);
        assert_eq!((server.hits.of("page"), server.hits.of("fails"), server.hits.all()), (2, 1, 3));
        assert_eq!((server.captures().await, START - server.balance().await), (2, 2 * PRICE));
    }
    assert_eq!(rounds[0], rounds[1]);
    let statuses: Vec<u16> = rounds[0].iter().map(|seen| seen.0).collect();
    assert_eq!(statuses, [200, 200, 409, 409, 402, 402, 402, 404, 402, 400, 200], "{:?}", rounds[0]);
}

fn expect_pending(reply: &Reply) {
    assert_eq!((reply.status, reply.problem()), (503, ("settlement-pending".into(), "same".into())));
    let settlement = reply.settlement();
    assert_eq!((settlement.success, settlement.error_reason.as_deref()), (false, Some("settlement_pending")));
    assert!(reply.header("retry-after").is_some() && reply.header("payment-required").is_none());
}

/// Storage that can be taken away, and outlives its ledger.
#[derive(Clone, Default)]
struct Disk {
    rows: Arc<Mutex<MemoryStorage>>,
    gone: Arc<AtomicBool>,
}

impl Disk {
    fn there(&self) -> Result<std::sync::MutexGuard<'_, MemoryStorage>, StorageError> {
        match self.gone.load(Ordering::SeqCst) {
            false => Ok(self.rows.lock().unwrap()),
            true => Err(StorageError::Failed("the disk is gone".into())),
        }
    }
}

impl Storage for Disk {
    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.there()?.get(table, key)
    }
    fn scan(&mut self, table: Table, from: &[u8], limit: usize) -> Result<Vec<Row>, StorageError> {
        self.there()?.scan(table, from, limit)
    }
    fn commit(&mut self, writes: &Writes) -> Result<(), StorageError> {
        self.there()?.commit(writes)
    }
    fn snapshot(&mut self) -> Result<Box<dyn Snapshot>, StorageError> {
        self.there()?.snapshot()
    }
}

#[tokio::test]
async fn while_the_ledger_is_unavailable_a_payment_is_503_and_never_402() {
    let (disk, clock) = (Disk::default(), TestClock::default());
    let options = || {
        let time = clock.clone();
        let mut options = Options::closed_loop(key(SELLER).public(), Amount(1_000_000_000_000));
        options.clock = Arc::new(move || time.now());
        options
    };
    let world =
        World::on(Ledger::start(disk.clone(), key(103), options()).unwrap(), clock.clone(), routes).await;
    let spent = world.pay("GET", "/page", b"").await;
    assert_eq!(world.send_paid("GET", "/page", &spent, b"").await.text(), "page 1");
    let fresh = world.pay("GET", "/page", b"").await;
    let poor = world.another_payer(9, "0.001 XTS").await;
    let offer = world.offers("GET", "/page", b"").await.remove(0);
    let unpayable = World::header(&offer, &world.sign_offer(&poor, &offer));

    disk.gone.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        for payment in [&spent, &fresh, &unpayable] {
            expect_pending(&world.send_paid("GET", "/page", payment, b"").await);
        }
        let refused = world.send("GET", "/page", &[], b"").await;
        assert_eq!(refused.status, 402, "terms need no ledger, and nobody is asked to pay twice");
    }
    // A disk that comes back is not trusted until the ledger is opened again.
    disk.gone.store(false, Ordering::SeqCst);
    expect_pending(&world.send_paid("GET", "/page", &fresh, b"").await);
    assert_eq!(world.hits.all(), 1);
    let again = LocalLedger::with(Ledger::start(disk, key(103), options()).unwrap(), key(104)).await.unwrap();
    let report = again.ledger().check().await.unwrap();
    assert!(report.balanced(), "{:?}", report.faults);
    assert_eq!(report.payments.get("captured"), Some(&1));
    assert_eq!(again.balance(world.payer.account(), "XTS").await.unwrap().0, START - PRICE);
}

#[tokio::test]
async fn while_the_facilitator_is_away_a_payment_is_503_and_is_served_when_it_is_back() {
    let world = World::start(routes).await;
    // A port on which nobody listens yet.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let remote = RemoteFacilitator::builder(format!("http://{address}")).timeout(Duration::from_secs(5));
    let server = world
        .branch(Arc::new(Away { near: world.ledger.facilitator(), far: remote.build().unwrap() }), routes);
    let server = server.await;
    let payment = server.pay("GET", "/page", b"").await;
    for _ in 0..3 {
        expect_pending(&server.send_paid("GET", "/page", &payment, b"").await);
    }
    assert_eq!((server.hits.all(), server.captures().await, server.balance().await), (0, 0, START));
    let listener = tokio::net::TcpListener::bind(address).await.expect("the port is still free");
    let service = world.ledger.service(HttpOptions::default());
    tokio::spawn(async move { axum::serve(listener, service).await });
    assert_eq!(server.send_paid("GET", "/page", &payment, b"").await.text(), "page 1");
    assert_eq!((server.hits.all(), server.captures().await, server.balance().await), (1, 1, START - PRICE));
}

/// A facilitator that was there when the server started: its terms are known, and all else is asked far away.
#[derive(Debug)]
struct Away {
    near: Arc<dyn Facilitator>,
    far: RemoteFacilitator,
}

impl Facilitator for Away {
    fn supported(&self) -> BoxFuture<'_, Result<SupportedResponse, FacilitatorError>> {
        self.near.supported()
    }
    fn verify<'a>(
        &'a self,
        request: &'a FacilitatorRequest,
    ) -> BoxFuture<'a, Result<VerifyResponse, FacilitatorError>> {
        self.far.verify(request)
    }
    fn settle<'a>(&'a self, request: &'a FacilitatorRequest) -> BoxFuture<'a, Outcome> {
        self.far.settle(request)
    }
    fn payment<'a>(&'a self, id: &'a PaymentId) -> BoxFuture<'a, Result<Option<Value>, FacilitatorError>> {
        self.far.payment(id)
    }
}
