//! The golden vectors of `spec/vectors` for what payers, sellers and ledgers sign. They were computed by another
//! implementation than this one.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use farthing_ledger::LedgerId;
use farthing_ledger::operation::{self, Action, Op};
use farthing_ledger::statement::{LedgerTerms, Statement, StatementError};
use farthing_ledger::terms::{FeeTerms, Scheme, Terms, TermsFlow};
use farthing_protocol::layout::LayoutError;
use farthing_protocol::rail::PaymentId;
use farthing_protocol::signature::{lower_hex, verify};
use farthing_protocol::{Amount, Binding, Network, PublicKey, RequestDigest, SecretKey, Signature};
use serde::Deserialize;
use serde_json::Value;

macro_rules! vectors {
    ($file:literal) => {
        serde_json::from_str(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/vectors/", $file)))
            .unwrap()
    };
}

/// A number that JSON carries as decimal digits in a string.
fn number(text: &str) -> u64 {
    text.parse().unwrap()
}

fn bytes<const N: usize>(text: &str) -> [u8; N] {
    lower_hex(text).unwrap()
}

/// The name that the vectors give to an error, and the field if it names one.
fn class(error: LayoutError) -> (&'static str, Option<&'static str>) {
    match error {
        LayoutError::Domain => ("domain", None),
        LayoutError::Version { .. } => ("version", None),
        LayoutError::Short => ("short", None),
        LayoutError::Long { .. } => ("long", None),
        LayoutError::Trailing => ("trailing", None),
        LayoutError::Value { field } => ("value", Some(field)),
    }
}

// What a payer signs.

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Payments {
    #[serde(rename = "about")]
    _about: String,
    golden: Vec<GoldenPayment>,
    refuse: Vec<Refused>,
    refuse_signature: Vec<Unsigned>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GoldenPayment {
    name: String,
    seed: String,
    terms: TermsText,
    signed: String,
    id: String,
    signature: Signature,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TermsText {
    ledger: String,
    scheme: String,
    flow: String,
    payer: PublicKey,
    algorithm: String,
    signer: PublicKey,
    payee: PublicKey,
    receiver_authorizer: PublicKey,
    asset: String,
    max_amount: Amount,
    valid_after: String,
    valid_before: String,
    capture_deadline: String,
    refund_deadline: String,
    fee: FeeText,
    mandate: String,
    nonce: String,
    binding: u8,
    digest: RequestDigest,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FeeText {
    min_bps: u16,
    max_bps: u16,
    recipient: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refused {
    name: String,
    #[serde(alias = "operation")]
    signed: String,
    error: String,
    field: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unsigned {
    name: String,
    signed: String,
    signature: Signature,
}

impl TermsText {
    fn read(self) -> Terms {
        assert_eq!(self.algorithm, "ed25519");
        Terms {
            ledger: LedgerId(bytes(&self.ledger)),
            scheme: match self.scheme.as_str() {
                "exact" => Scheme::Exact,
                "auth-capture" => Scheme::AuthCapture,
                "upto" => Scheme::Upto,
                other => panic!("{other}"),
            },
            flow: match self.flow.as_str() {
                "escrow" => TermsFlow::Escrow,
                "charge" => TermsFlow::Charge,
                other => panic!("{other}"),
            },
            payer: self.payer,
            signer: self.signer,
            payee: self.payee,
            receiver_authorizer: self.receiver_authorizer,
            asset: self.asset.parse().unwrap(),
            max_amount: self.max_amount,
            valid_after: number(&self.valid_after),
            valid_before: number(&self.valid_before),
            capture_deadline: number(&self.capture_deadline),
            refund_deadline: number(&self.refund_deadline),
            fee: FeeTerms {
                min_bps: self.fee.min_bps,
                max_bps: self.fee.max_bps,
                recipient: bytes(&self.fee.recipient),
            },
            mandate: bytes(&self.mandate),
            nonce: bytes(&self.nonce),
            binding: Binding::from_kind(self.binding).unwrap(),
            digest: self.digest,
        }
    }
}

#[test]
fn payments_are_signed_as_the_golden_ones() {
    let file: Payments = vectors!("payment.json");
    assert!(file.golden.len() >= 10);
    for vector in file.golden {
        let (key, terms) = (SecretKey::from_hex(&vector.seed).unwrap(), vector.terms.read());
        assert_eq!(key.public(), terms.signer, "{}", vector.name);
        let signed = terms.encode();
        assert_eq!(hex::encode(&signed), vector.signed, "{}", vector.name);
        assert_eq!(Terms::decode(&signed).as_ref(), Ok(&terms), "{}", vector.name);
        assert_eq!(terms.id().to_string(), vector.id, "{}", vector.name);
        assert_eq!(key.sign(&signed), vector.signature, "{}", vector.name);
        assert_eq!(verify(&terms.signer, &signed, &vector.signature), Ok(()), "{}", vector.name);
    }
}

#[test]
fn bytes_that_are_not_terms_are_refused_as_the_golden_ones() {
    let file: Payments = vectors!("payment.json");
    assert!(file.refuse.len() >= 20 && file.refuse_signature.len() >= 5);
    for vector in file.refuse {
        let error = Terms::decode(&hex::decode(&vector.signed).unwrap()).unwrap_err();
        assert_eq!(class(error), (vector.error.as_str(), vector.field.as_deref()), "{}", vector.name);
    }
    for vector in file.refuse_signature {
        let signed = hex::decode(&vector.signed).unwrap();
        let signer = Terms::decode(&signed).unwrap().signer;
        assert!(verify(&signer, &signed, &vector.signature).is_err(), "{}", vector.name);
    }
}

// What a receiverAuthorizer signs.

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Operations {
    #[serde(rename = "about")]
    _about: String,
    ledger: String,
    seed: String,
    signer: PublicKey,
    answer_bytes: String,
    golden: Vec<GoldenOperations>,
    refuse: Vec<Refused>,
    refuse_signature: Vec<UnsignedOperations>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GoldenOperations {
    name: String,
    operations: Vec<OperationText>,
    signed: String,
    signature: Signature,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OperationText {
    payment: String,
    action: String,
    cumulative: Amount,
    #[serde(rename = "final")]
    last: bool,
    epoch: String,
    answer: String,
    encoded: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UnsignedOperations {
    name: String,
    ledger: String,
    operations: Vec<String>,
    signature: Signature,
}

impl OperationText {
    fn read(&self) -> Op {
        Op {
            payment: self.payment.parse().unwrap(),
            action: match self.action.as_str() {
                "capture" => Action::Capture,
                "void" => Action::Void,
                "refund" => Action::Refund,
                "charge" => Action::Charge,
                other => panic!("{other}"),
            },
            cumulative: self.cumulative,
            last: self.last,
            epoch: number(&self.epoch),
            answer: bytes(&self.answer),
        }
    }
}

#[test]
fn operations_are_signed_as_the_golden_ones() {
    let file: Operations = vectors!("operation.json");
    let (ledger, key) = (LedgerId(bytes(&file.ledger)), SecretKey::from_hex(&file.seed).unwrap());
    assert_eq!(key.public(), file.signer);
    assert!(file.golden.iter().any(|vector| vector.operations.len() == 3));
    let answer = hex::decode(&file.answer_bytes).unwrap();
    assert_eq!(hex::encode(operation::answer_hash(Some(&answer))), file.golden[0].operations[0].answer);
    for vector in file.golden {
        let list: Vec<Op> = vector.operations.iter().map(OperationText::read).collect();
        for (op, text) in list.iter().zip(&vector.operations) {
            assert_eq!(hex::encode(op.encode()), text.encoded, "{}", vector.name);
            assert_eq!(Op::decode(&op.encode()), Ok(*op), "{}", vector.name);
        }
        let signed = operation::signed_bytes(&ledger, &list);
        assert_eq!(hex::encode(&signed), vector.signed, "{}", vector.name);
        assert_eq!(key.sign(&signed), vector.signature, "{}", vector.name);
        assert_eq!(verify(&file.signer, &signed, &vector.signature), Ok(()), "{}", vector.name);
    }
}

#[test]
fn bytes_that_are_not_operations_are_refused_as_the_golden_ones() {
    let file: Operations = vectors!("operation.json");
    assert!(file.refuse.len() >= 8 && file.refuse_signature.len() >= 6);
    for vector in file.refuse {
        let error = Op::decode(&hex::decode(&vector.signed).unwrap()).unwrap_err();
        assert_eq!(class(error), (vector.error.as_str(), vector.field.as_deref()), "{}", vector.name);
    }
    for vector in file.refuse_signature {
        let read = |text: &String| Op::decode(&hex::decode(text).unwrap()).unwrap();
        let list: Vec<Op> = vector.operations.iter().map(read).collect();
        let signed = operation::signed_bytes(&LedgerId(bytes(&vector.ledger)), &list);
        assert!(verify(&file.signer, &signed, &vector.signature).is_err(), "{}", vector.name);
    }
}

// What a ledger signs.

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Statements {
    #[serde(rename = "about")]
    _about: String,
    network: Network,
    seed: String,
    statements: Sides<GoldenStatement, RefusedStatement>,
    ledger_terms: Sides<GoldenTerms, RefusedTerms>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sides<G, R> {
    golden: Vec<G>,
    refuse: Vec<R>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GoldenStatement {
    name: String,
    payment: String,
    statement: Value,
    signed: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefusedStatement {
    name: String,
    payment: String,
    statement: Value,
    error: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GoldenTerms {
    name: String,
    terms: Value,
    signed: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefusedTerms {
    name: String,
    terms: Value,
    error: String,
}

fn disbelief(error: StatementError) -> &'static str {
    match error {
        StatementError::ForeignKey => "foreign-key",
        StatementError::OtherPayment => "other-payment",
        StatementError::Signature => "signature",
    }
}

#[test]
fn statements_are_signed_and_believed_as_the_golden_ones() {
    let file: Statements = vectors!("statement.json");
    let key = SecretKey::from_hex(&file.seed).unwrap();
    let ledger = LedgerId::of_network(&file.network).unwrap();
    assert_eq!(LedgerId::of(&key.public()), ledger);
    assert!(file.statements.golden.len() >= 5 && file.statements.refuse.len() >= 10);
    for vector in file.statements.golden {
        let payment: PaymentId = vector.payment.parse().unwrap();
        let read: Statement = serde_json::from_value(vector.statement.clone()).unwrap();
        assert_eq!(read.verify(&ledger, &payment), Ok(()), "{}", vector.name);
        let ours = Statement::sign(&key, &payment, read.state, read.amount, read.refunded, read.as_of);
        assert_eq!(serde_json::to_value(&ours).unwrap(), vector.statement, "{}", vector.name);
        let signed = hex::decode(&vector.signed).unwrap();
        assert_eq!(verify(&read.key, &signed, &read.signature), Ok(()), "{}", vector.name);
    }
    for vector in file.statements.refuse {
        let payment: PaymentId = vector.payment.parse().unwrap();
        let error = match serde_json::from_value::<Statement>(vector.statement) {
            Err(_) => "json",
            Ok(read) => disbelief(read.verify(&ledger, &payment).unwrap_err()),
        };
        assert_eq!(error, vector.error, "{}", vector.name);
    }
}

#[test]
fn ledger_terms_are_signed_and_believed_as_the_golden_ones() {
    let file: Statements = vectors!("statement.json");
    let key = SecretKey::from_hex(&file.seed).unwrap();
    let ledger = LedgerId::of_network(&file.network).unwrap();
    assert!(file.ledger_terms.golden.len() >= 2 && file.ledger_terms.refuse.len() >= 5);
    for vector in file.ledger_terms.golden {
        let read: LedgerTerms = serde_json::from_value(vector.terms.clone()).unwrap();
        assert_eq!(read.verify(&ledger), Ok(()), "{}", vector.name);
        let ours = LedgerTerms::sign(&key, read.assets.clone(), read.fee_bps, read.fee_recipient);
        assert_eq!(serde_json::to_value(&ours).unwrap(), vector.terms, "{}", vector.name);
        let signed = hex::decode(&vector.signed).unwrap();
        assert_eq!(verify(&read.ledger_key, &signed, &read.signature), Ok(()), "{}", vector.name);
    }
    for vector in file.ledger_terms.refuse {
        let error = match serde_json::from_value::<LedgerTerms>(vector.terms) {
            Err(_) => "json",
            Ok(read) => disbelief(read.verify(&ledger).unwrap_err()),
        };
        assert_eq!(error, vector.error, "{}", vector.name);
    }
}
