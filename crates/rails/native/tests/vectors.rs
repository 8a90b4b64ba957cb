//! The golden payloads of `spec/vectors/payload.json`: what clients send, and what servers settle. They were
//! written by another implementation than this one.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use farthing_ledger::admin::{Deposit, NewAsset};
use farthing_ledger::command::Signed;
use farthing_ledger::terms::{Scheme, Terms};
use farthing_ledger::{Ledger, LedgerId, Options};
use farthing_protocol::rail::{Authorized, Hold, Offer, Operation, Outcome, Owner, PaymentFault, Settle};
use farthing_protocol::rail::{Presented, Tenant};
use farthing_protocol::signature::lower_hex;
use farthing_protocol::v2::SettlementResponse;
use farthing_protocol::v2::{self, FacilitatorRequest, PaymentPayload, PaymentRequirements};
use farthing_protocol::{Amount, Network, PublicKey, RequestDigest, SecretKey, Verbatim, reason};
use farthing_rail_native::{NativeOffer, NativeSettle};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

macro_rules! vectors {
    ($file:literal) => {
        serde_json::from_str(include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../../spec/vectors/",
            $file
        )))
        .unwrap()
    };
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Payloads {
    #[serde(rename = "about")]
    _about: String,
    network: Network,
    golden: Vec<Golden>,
    refuse: Vec<Refused>,
    lifecycle: Vec<Lifecycle>,
    refuse_lifecycle: Vec<Refused>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Golden {
    name: String,
    payload: String,
    #[serde(default = "yes")]
    canonical: bool,
    payment: String,
    payer: String,
    digest: RequestDigest,
    max_amount: Amount,
    valid_before: String,
    capture_deadline: String,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refused {
    name: String,
    payload: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Lifecycle {
    name: String,
    payload: String,
    owner: Option<String>,
    lease_seconds: Option<u32>,
}

/// The keys and the world that the other vectors name.
struct Bench {
    file: Payloads,
    ledger: SecretKey,
    authorizer: SecretKey,
    payee: PublicKey,
    answer: Vec<u8>,
    now: Arc<AtomicU64>,
}

impl Bench {
    fn new() -> Self {
        let file: Payloads = vectors!("payload.json");
        let (payments, operations): (Value, Value) = (vectors!("payment.json"), vectors!("operation.json"));
        let statements: Value = vectors!("statement.json");
        let secret = |text: &Value| SecretKey::from_hex(text.as_str().unwrap()).unwrap();
        let ledger = secret(&statements["seed"]);
        assert_eq!(LedgerId::of(&ledger.public()).network(), file.network);
        Self {
            ledger,
            authorizer: secret(&operations["seed"]),
            payee: payments["golden"][0]["terms"]["payee"].as_str().unwrap().parse().unwrap(),
            answer: hex::decode(operations["answerBytes"].as_str().unwrap()).unwrap(),
            now: Arc::new(AtomicU64::new(1_800_000_000)),
            file,
        }
    }

    /// The ledger of the vectors, with money for their payer.
    async fn ledger(&self) -> Ledger {
        let clock = self.now.clone();
        let options =
            Options { clock: Arc::new(move || clock.load(Ordering::SeqCst)), ..Options::open_to_all() };
        let ledger = Ledger::memory(self.ledger.clone(), options).unwrap();
        let issuer = SecretKey::from_seed([1; 32]);
        let code = "XTS".parse().unwrap();
        ledger.register(NewAsset { code, scale: 6, issuer: issuer.public() }).await.unwrap();
        let account = self.file.golden[0].payer.parse().unwrap();
        let deposit = Deposit { asset: code, account, amount: Amount(10_000), reference: [1; 32] };
        ledger.deposit(Signed::<Deposit>::sign(&ledger.id(), deposit, &issuer)).await.unwrap();
        ledger
    }

    async fn seller(&self, scheme: Scheme) -> NativeOffer {
        let terms = self.ledger().await.terms().await.unwrap();
        NativeOffer::new(scheme, &self.file.network, terms, self.payee, self.authorizer.clone()).unwrap()
    }

    /// An offer whose unsigned part says what the golden payments say.
    fn offer(&self) -> PaymentRequirements {
        PaymentRequirements {
            scheme: "auth-capture".into(),
            network: self.file.network.clone(),
            amount: Amount(1000),
            asset: "XTS".into(),
            pay_to: self.payee.to_string(),
            max_timeout_seconds: 300,
            extra: Map::new(),
        }
    }

    fn wrap(&self, payload: &str) -> PaymentPayload {
        PaymentPayload {
            x402_version: v2::VERSION,
            resource: None,
            accepted: Verbatim::write(self.offer()).unwrap(),
            payload: raw(payload).into(),
            extensions: v2::Extensions::new(),
        }
    }

    async fn settle(&self, rail: &NativeSettle, payload: &str) -> Outcome {
        let request = FacilitatorRequest {
            x402_version: v2::VERSION,
            payment_payload: self.wrap(payload),
            payment_requirements: self.offer().into(),
        };
        rail.settle(&Tenant::local(), &request).await
    }

    fn lifecycle(&self, name: &str) -> &Lifecycle {
        self.file.lifecycle.iter().find(|vector| vector.name == name).unwrap()
    }
}

/// JSON text as it stands, white space and all.
fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.trim().to_owned()).unwrap()
}

#[tokio::test]
async fn a_server_reads_the_golden_payments() {
    let bench = Bench::new();
    let seller = bench.seller(Scheme::AuthCapture).await;
    for vector in &bench.file.golden {
        let read = seller.read(&bench.wrap(&vector.payload)).unwrap();
        let expected = Presented {
            id: vector.payment.parse().unwrap(),
            payer: vector.payer.clone(),
            digest: Some(vector.digest),
            max_amount: vector.max_amount,
            valid_before: vector.valid_before.parse().unwrap(),
            capture_deadline: vector.capture_deadline.parse().unwrap(),
        };
        assert_eq!(read, expected, "{}", vector.name);
    }
    assert!(bench.file.golden.iter().any(|vector| !vector.canonical));
}

#[tokio::test]
async fn a_client_writes_the_golden_payments() {
    let bench = Bench::new();
    for vector in bench.file.golden.iter().filter(|vector| vector.canonical) {
        let payload: farthing_rail_native::wire::Authorization =
            serde_json::from_str(&vector.payload).unwrap();
        assert_eq!(serde_json::to_string(&payload).unwrap(), vector.payload, "{}", vector.name);
    }
}

#[tokio::test]
async fn what_is_not_a_payment_is_malformed_to_server_and_facilitator() {
    let bench = Bench::new();
    let seller = bench.seller(Scheme::AuthCapture).await;
    let rail = NativeSettle::new(bench.ledger().await).await.unwrap();
    assert!(bench.file.refuse.len() >= 25);
    for vector in &bench.file.refuse {
        match seller.read(&bench.wrap(&vector.payload)) {
            Err(PaymentFault::Malformed { field, .. }) => {
                assert!(field.starts_with("payload"), "{}: {field}", vector.name);
            }
            other => panic!("{}: {other:?}", vector.name),
        }
        let outcome = bench.settle(&rail, &vector.payload).await;
        assert_eq!(refused(outcome), reason::INVALID_PAYLOAD, "{}", vector.name);
    }
    settled(bench.settle(&rail, &bench.file.golden[0].payload).await);
}

#[tokio::test]
async fn a_server_writes_the_golden_lifecycle() {
    let bench = Bench::new();
    let seller = bench.seller(Scheme::AuthCapture).await;
    let payment = bench.wrap(&bench.file.golden[0].payload);
    let presented = seller.read(&payment).unwrap();

    let vector = bench.lifecycle("authorize");
    let id = lower_hex(vector.owner.as_deref().unwrap()).unwrap();
    let owner = Owner { id, lease_seconds: vector.lease_seconds.unwrap() };
    assert_eq!(seller.authorize(&payment, &owner).unwrap().payload.get(), vector.payload);

    let whole = Amount(1000);
    for (name, epoch, operation) in [
        (
            "capture with an answer",
            1,
            Operation::Capture { amount: whole, answer: Some(bench.answer.clone()), last: true },
        ),
        ("capture without an answer", 1, Operation::Capture { amount: whole, answer: None, last: true }),
        ("void", 1, Operation::Void),
        ("refund", 0, Operation::Refund { amount: Amount(250) }),
    ] {
        let ours = seller.operate(&payment, &presented, epoch, &operation).unwrap();
        assert_eq!(ours.payload.get(), bench.lifecycle(name).payload, "{name}");
    }
}

#[tokio::test]
async fn a_facilitator_settles_the_golden_lifecycle() {
    let bench = Bench::new();
    let seller = bench.seller(Scheme::AuthCapture).await;
    let play = async |names: &[&str]| {
        let rail = NativeSettle::new(bench.ledger().await).await.unwrap();
        let mut last = None;
        for name in names {
            last = Some(settled(bench.settle(&rail, &bench.lifecycle(name).payload).await));
        }
        last.unwrap()
    };
    let held = play(&["authorize"]).await;
    assert_eq!(seller.authorized(&held), Ok(Authorized::Held(Hold { epoch: 1, takeover: false })));
    assert_eq!(play(&["authorize", "void"]).await.extra["state"], "voided");
    assert_eq!(play(&["authorize", "capture without an answer"]).await.amount, Some(Amount(1000)));
    assert_eq!(play(&["authorize", "capture without an answer", "refund"]).await.extra["refunded"], "250");
    let again = play(&["authorize", "capture with an answer", "authorize"]).await;
    assert_eq!(seller.authorized(&again), Ok(Authorized::Captured { answer: Some(bench.answer.clone()) }));
    let charged = play(&["charge"]).await;
    assert_eq!((charged.amount, &charged.extra["state"]), (Some(Amount(1000)), &Value::from("captured")));
}

#[tokio::test]
async fn what_is_not_a_lifecycle_payload_settles_nothing() {
    let bench = Bench::new();
    let ledger = bench.ledger().await;
    let rail = NativeSettle::new(ledger.clone()).await.unwrap();
    settled(bench.settle(&rail, &bench.lifecycle("authorize").payload).await);
    let before = ledger.check().await.unwrap();
    assert!(bench.file.refuse_lifecycle.len() >= 15);
    for vector in &bench.file.refuse_lifecycle {
        let outcome = bench.settle(&rail, &vector.payload).await;
        assert_eq!(refused(outcome), reason::INVALID_PAYLOAD, "{}", vector.name);
    }
    assert_eq!(ledger.check().await.unwrap(), before);
    settled(bench.settle(&rail, &bench.lifecycle("capture with an answer").payload).await);
}

/// The worked example of `spec/scheme-auth-capture-farthing.md` is the first vector.
#[test]
fn the_worked_example_is_a_vector() {
    let page =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../spec/scheme-auth-capture-farthing.md"));
    let payments: Value = vectors!("payment.json");
    let golden = &payments["golden"][0];
    let example = page.split("## Worked example").nth(1).unwrap();
    let block = example.split("```").nth(1).unwrap();
    let signed: String = block.lines().filter_map(|line| line.split("  ").next()).collect();
    let signed = signed.replace(' ', "");
    assert_eq!(signed, golden["signed"].as_str().unwrap());
    for shown in [&golden["id"], &golden["signature"]] {
        assert!(example.contains(shown.as_str().unwrap()));
    }
    assert!(Terms::decode(&hex::decode(signed).unwrap()).is_ok());
}

fn settled(outcome: Outcome) -> SettlementResponse {
    match outcome {
        Outcome::Settled(settlement) => settlement,
        other => panic!("{other:?}"),
    }
}

fn refused(outcome: Outcome) -> String {
    match outcome {
        Outcome::NotSettled(settlement) => settlement.error_reason.unwrap(),
        other => panic!("{other:?}"),
    }
}
