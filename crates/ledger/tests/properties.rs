//! What must hold for every sequence of commands, and for every sequence of bytes.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod world;

use std::collections::BTreeSet;

use farthing_ledger::admin::{Deposit, KeyChange, NewAsset, Scope};
use farthing_ledger::check::Report;
use farthing_ledger::engine::{MemoryStorage, Storage};
use farthing_ledger::entry::{Entry, Event, Evidence, Posting};
use farthing_ledger::identity::Book;
use farthing_ledger::operation::{Action, Op};
use farthing_ledger::rows::{Genesis, Mode, Payment, Table};
use farthing_ledger::statement::PaymentState;
use farthing_ledger::terms::{FeeTerms, Scheme, Terms, TermsFlow};
use farthing_ledger::{AssetCode, LedgerError, LedgerId, Options};
use farthing_protocol::rail::PaymentId;
use farthing_protocol::{Amount, Binding, PublicKey, RequestDigest, Signature};
use proptest::array::{uniform16, uniform32};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use world::*;

const PAYERS: [u8; 3] = [PAYER, OTHER_PAYER, SECOND_KEY];
/// Sellers with their authorizers.
const SELLERS: [(u8, u8); 2] = [(SELLER, AUTHORIZER), (OTHER_SELLER, STRANGER)];

/// One thing that somebody does. Payments are named by their turn, modulo those that exist.
#[derive(Clone, Debug)]
enum Step {
    Fund { payer: usize, amount: u128 },
    Authorize { payer: usize, seller: usize, amount: u128, exact: bool, hold: u64 },
    Again { payment: usize, owner: u8 },
    Capture { payment: usize, amount: u128, last: bool, epoch: u64, answer: bool },
    Void { payment: usize, epoch: u64 },
    Refund { payment: usize, amount: u128, foreign: bool },
    Reclaim { payment: usize },
    Charge { payer: usize, amount: u128, part: u128 },
    Pass { seconds: u64 },
    Back { seconds: u64 },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let (payer, payment) = (0..3_usize, 0..64_usize);
    prop_oneof![
        1 => (payer.clone(), 0..40_u128).prop_map(|(payer, amount)| Step::Fund { payer, amount }),
        5 => (payer.clone(), 0..2_usize, 0..30_u128, any::<bool>(), 0..200_u64).prop_map(
            |(payer, seller, amount, exact, hold)| Step::Authorize { payer, seller, amount, exact, hold }
        ),
        2 => (payment.clone(), 1..4_u8).prop_map(|(payment, owner)| Step::Again { payment, owner }),
        6 => (payment.clone(), 0..32_u128, any::<bool>(), 1..3_u64, any::<bool>()).prop_map(
            |(payment, amount, last, epoch, answer)| Step::Capture { payment, amount, last, epoch, answer }
        ),
        2 => (payment.clone(), 1..3_u64).prop_map(|(payment, epoch)| Step::Void { payment, epoch }),
        3 => (payment.clone(), 0..32_u128, prop::bool::weighted(0.2))
            .prop_map(|(payment, amount, foreign)| Step::Refund { payment, amount, foreign }),
        1 => payment.prop_map(|payment| Step::Reclaim { payment }),
        2 => (payer, 0..30_u128, 0..32_u128).prop_map(|(payer, amount, part)| Step::Charge { payer, amount, part }),
        3 => (0..90_u64).prop_map(|seconds| Step::Pass { seconds }),
        1 => (0..90_u64).prop_map(|seconds| Step::Back { seconds }),
        1 => Just(Step::Restart),
    ]
}

/// A payer who allows any fee.
fn any_fee() -> FeeTerms {
    FeeTerms { min_bps: 0, max_bps: 10_000, recipient: public(FEE_RECIPIENT).0 }
}

/// A payment that a test has presented, with who may operate on it.
struct Presented {
    terms: Terms,
    payer: u8,
    authorizer: u8,
}

/// Does one step; what comes of it is not asked here, but it is never unknown.
async fn act(world: &mut World, presented: &mut Vec<Presented>, step: &Step) {
    let known = |payment: usize| (!presented.is_empty()).then(|| &presented[payment % presented.len()]);
    let fine = |error: Option<LedgerError>| {
        assert!(matches!(error, None | Some(LedgerError::Refused(_))), "{error:?}")
    };
    match *step {
        Step::Fund { payer, amount } => fine(world.fund(PAYERS[payer], amount).await.err()),
        Step::Authorize { payer, seller, amount, exact, hold } => {
            let (payer, (seller, authorizer)) = (PAYERS[payer], SELLERS[seller]);
            let base = if exact { world.exact(amount) } else { world.terms(amount) };
            let terms = Terms {
                fee: any_fee(),
                payer: public(payer),
                signer: public(payer),
                payee: public(seller),
                receiver_authorizer: public(authorizer),
                capture_deadline: world.clock.now() + hold,
                ..base
            };
            fine(world.authorize_by(&terms, payer, owner(1), "local").await.err());
            presented.push(Presented { terms, payer, authorizer });
        }
        Step::Again { payment, owner: number } => {
            if let Some(known) = known(payment).filter(|k| k.terms.flow == TermsFlow::Escrow) {
                fine(world.authorize_by(&known.terms, known.payer, owner(number), "local").await.err());
            }
        }
        Step::Capture { payment, amount, last, epoch, answer } => {
            if let Some(known) = known(payment) {
                let answer = answer.then_some(&b"the answer"[..]);
                let hash = farthing_ledger::operation::answer_hash(answer);
                let op = Op { epoch, answer: hash, ..capture(known.terms.id(), amount, last) };
                let _ = world.operate_by(known.authorizer, op, answer).await;
            }
        }
        Step::Void { payment, epoch } => {
            if let Some(known) = known(payment) {
                let _ =
                    world.operate_by(known.authorizer, Op { epoch, ..void(known.terms.id()) }, None).await;
            }
        }
        Step::Refund { payment, amount, foreign } => {
            if let Some(known) = known(payment) {
                let signer = if foreign { ISSUER } else { known.authorizer };
                let answer = world.operate_by(signer, refund(known.terms.id(), amount), None).await;
                assert!(!(foreign && answer.is_ok()), "a foreign key refunded");
            }
        }
        Step::Reclaim { payment } => {
            if let Some(known) = known(payment) {
                fine(world.ledger().reclaim(known.terms.id()).await.err());
            }
        }
        Step::Charge { payer, amount, part } => {
            if PAYERS[payer] == PAYER {
                let terms = Terms { fee: any_fee(), ..world.one_step(amount) };
                fine(world.charge(&terms, part, None).await.err());
                presented.push(Presented { terms, payer: PAYER, authorizer: AUTHORIZER });
            }
        }
        Step::Pass { seconds } => world.clock.pass(seconds),
        Step::Back { seconds } => world.clock.set(world.clock.now() - seconds),
        Step::Restart => world.restart(),
    }
}

/// What is held by payments that are open, and that each payment stays within what was signed.
async fn open_holds(world: &World, presented: &[Presented]) -> i128 {
    let mut held = 0;
    for known in presented {
        let (payment, now) = world.ledger().payment(known.terms.id()).await.unwrap();
        let Some(payment) = payment else { continue };
        let Payment { captured, refunded, state, .. } = &payment;
        assert!(*captured <= known.terms.max_amount && refunded <= captured);
        if *state == PaymentState::Held {
            assert!(now <= known.terms.capture_deadline, "a hold past its deadline is open");
            held += (known.terms.max_amount.0 - captured.0) as i128;
        }
    }
    held
}

/// Balance rows: what is held, and the sum of all.
fn balances(rows: &mut MemoryStorage) -> (i128, i128) {
    let (mut held, mut sum) = (0, 0);
    for (key, value) in rows.scan(Table::Balance, &[], usize::MAX).unwrap() {
        let balance = i128::from_be_bytes(value.as_slice().try_into().unwrap());
        let (is_held, is_issued) = (key[0] == 2, key[0] == 3);
        assert!(is_issued || balance >= 0, "a negative balance of {key:?}");
        sum += balance;
        held += if is_held { balance } else { 0 };
    }
    (held, sum)
}

/// Plays steps on a ledger that takes `fee_bps`; returns its history's report.
async fn play(steps: &[Step], fee_bps: u16) -> Report {
    let storage = SharedStorage::default();
    let fee_recipient = if fee_bps == 0 { PublicKey([0; 32]) } else { public(FEE_RECIPIENT) };
    let options = Options { fee_bps, fee_recipient, ..Options::open_to_all() };
    let mut world = World::with(Memory(storage.clone()), options).await;
    let mut presented = Vec::new();
    for step in steps {
        act(&mut world, &mut presented, step).await;
        let open = open_holds(&world, &presented).await;
        assert_eq!(balances(&mut storage.copy()), (open, 0), "after {step:?}");
    }
    let report = world.report().await;
    assert_eq!(report, check_rows(&mut storage.copy()));
    report
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

#[test]
fn random_commands_bring_payments_into_every_state() {
    let mut runner = TestRunner::deterministic();
    let mut states = BTreeSet::new();
    for _ in 0..30 {
        let steps = vec(step(), 60).new_tree(&mut runner).unwrap().current();
        states.extend(runtime().block_on(play(&steps, 0)).payments.into_keys());
    }
    assert_eq!(states, BTreeSet::from(["captured", "held", "reclaimed", "voided"]));
}

fn small() -> ProptestConfig {
    ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() }
}

fn many() -> ProptestConfig {
    ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(small())]

    #[test]
    fn money_is_conserved_after_every_command(steps in vec(step(), 1..60), fee in prop_oneof![Just(0), 1..10_001_u16]) {
        runtime().block_on(play(&steps, fee));
    }
}

fn code() -> impl Strategy<Value = AssetCode> {
    "[A-Z][A-Z0-9._-]{0,11}".prop_map(|text| text.parse().unwrap())
}

fn key() -> impl Strategy<Value = PublicKey> {
    uniform32(any::<u8>()).prop_map(PublicKey)
}

fn signature() -> impl Strategy<Value = Signature> {
    vec(any::<u8>(), 64).prop_map(|bytes| Signature(bytes.try_into().unwrap()))
}

fn id() -> impl Strategy<Value = LedgerId> {
    uniform16(any::<u8>()).prop_map(LedgerId)
}

fn terms() -> impl Strategy<Value = Terms> {
    let kinds = (0..Scheme::ALL.len(), any::<bool>(), any::<bool>());
    let times = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>());
    let fee = (any::<u16>(), any::<u16>(), uniform32(any::<u8>()))
        .prop_map(|(min_bps, max_bps, recipient)| FeeTerms { min_bps, max_bps, recipient });
    let rest = (uniform32(any::<u8>()), uniform32(any::<u8>()), uniform32(any::<u8>()));
    let keys = (key(), key(), key(), key());
    (id(), kinds, keys, code(), any::<u128>(), times, fee, rest).prop_map(
        |(ledger, (scheme, escrow, body), keys, asset, amount, times, fee, (mandate, nonce, digest))| Terms {
            ledger,
            scheme: Scheme::ALL[scheme],
            flow: if escrow { TermsFlow::Escrow } else { TermsFlow::Charge },
            payer: keys.0,
            signer: keys.1,
            payee: keys.2,
            receiver_authorizer: keys.3,
            asset,
            max_amount: Amount(amount),
            valid_after: times.0,
            valid_before: times.1,
            capture_deadline: times.2,
            refund_deadline: times.3,
            fee,
            mandate,
            nonce,
            binding: if body { Binding::Body } else { Binding::Open },
            digest: RequestDigest(digest),
        },
    )
}

fn op() -> impl Strategy<Value = Op> {
    let action =
        prop_oneof![Just(Action::Capture), Just(Action::Void), Just(Action::Refund), Just(Action::Charge)];
    let hashes = (uniform32(any::<u8>()), uniform32(any::<u8>()));
    (hashes, action, any::<u128>(), any::<bool>(), any::<u64>()).prop_map(
        |((payment, answer), action, cumulative, last, epoch)| Op {
            payment: PaymentId(payment),
            action,
            cumulative: Amount(cumulative),
            last,
            epoch,
            answer,
        },
    )
}

fn evidence() -> impl Strategy<Value = Evidence> {
    (vec(any::<u8>(), 0..200), signature()).prop_map(|(signed, signature)| Evidence { signed, signature })
}

fn genesis() -> impl Strategy<Value = Genesis> {
    let mode = prop_oneof![
        Just(Mode::Open),
        (key(), any::<u128>()).prop_map(|(seller, cap)| Mode::ClosedLoop { seller, payer_cap: Amount(cap) }),
    ];
    (key(), mode, any::<u16>(), key(), any::<u64>()).prop_map(
        |(key, mode, fee_bps, fee_recipient, created_at)| Genesis {
            key,
            mode,
            fee_bps,
            fee_recipient,
            created_at,
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    let payment = || uniform32(any::<u8>()).prop_map(PaymentId);
    prop_oneof![
        genesis().prop_map(Event::Genesis),
        evidence().prop_map(Event::Asset),
        evidence().prop_map(Event::Deposit),
        (key(), evidence()).prop_map(|(signer, evidence)| Event::Keys(signer, evidence)),
        evidence().prop_map(Event::Authorize),
        (payment(), any::<u64>()).prop_map(|(payment, epoch)| Event::Takeover(payment, epoch)),
        (key(), signature(), vec((op(), any::<bool>()), 0..5))
            .prop_map(|(k, s, list)| Event::Operate(k, s, list)),
        (evidence(), op(), signature())
            .prop_map(|(evidence, op, signature)| Event::Charge(evidence, op, signature)),
        vec(payment(), 0..5).prop_map(Event::Reclaim),
    ]
}

fn posting() -> impl Strategy<Value = Posting> {
    let book = prop_oneof![key().prop_map(Book::Account), Just(Book::Held), Just(Book::Issued)];
    (book, code(), any::<i128>()).prop_map(|(book, asset, amount)| Posting { book, asset, amount })
}

fn entry() -> impl Strategy<Value = Entry> {
    // One committer's or one of several.
    let place = (any::<u64>(), prop::option::of((any::<u32>(), any::<u64>())));
    (place, any::<u64>(), uniform32(any::<u8>()), event(), vec(posting(), 0..5)).prop_map(
        |((sequence, shared), at, previous, event, postings)| {
            let (chain, position) = shared.unwrap_or((0, sequence));
            Entry { chain, sequence, position, at, previous, event, postings }
        },
    )
}

fn change() -> impl Strategy<Value = KeyChange> {
    let scope = prop_oneof![Just(None), Just(Some(Scope::Pay)), Just(Some(Scope::Full))];
    (key(), key(), scope, any::<u64>(), any::<u64>()).prop_map(|(account, key, scope, expiry, sequence)| {
        KeyChange { account, key, scope, expiry, sequence }
    })
}

fn deposit() -> impl Strategy<Value = Deposit> {
    (code(), key(), any::<u128>(), uniform32(any::<u8>())).prop_map(|(asset, account, amount, reference)| {
        Deposit { asset, account, amount: Amount(amount), reference }
    })
}

fn asset() -> impl Strategy<Value = NewAsset> {
    (code(), any::<u8>(), key()).prop_map(|(code, scale, issuer)| NewAsset { code, scale, issuer })
}

/// Bytes near `valid`: cut off, made longer, or with one byte changed.
fn damage(mut valid: Vec<u8>, at: usize, kind: u8, byte: u8) -> Vec<u8> {
    let at = at % valid.len();
    match kind % 4 {
        0 => valid.truncate(at),
        1 => valid.insert(at, byte),
        2 => valid[at] = byte,
        _ => drop(valid.remove(at)),
    }
    valid
}

/// Whatever decodes is the one encoding of what it means.
fn one_encoding<T>(bytes: &[u8], decoded: Option<T>, encode: impl Fn(&T) -> Vec<u8>) {
    if let Some(value) = decoded {
        assert_eq!(encode(&value), bytes);
    }
}

fn read_all(bytes: &[u8], ledger: &LedgerId) {
    one_encoding(bytes, Terms::decode(bytes).ok(), Terms::encode);
    one_encoding(bytes, Op::decode(bytes).ok(), Op::encode);
    one_encoding(bytes, Entry::decode(bytes).ok(), Entry::encode);
    one_encoding(bytes, NewAsset::decode(bytes, ledger).ok(), |x| x.encode(ledger));
    one_encoding(bytes, Deposit::decode(bytes, ledger).ok(), |x| x.encode(ledger));
    one_encoding(bytes, KeyChange::decode(bytes, ledger).ok(), |x| x.encode(ledger));
}

proptest! {
    #![proptest_config(many())]

    #[test]
    fn what_is_encoded_decodes_to_the_same(
        terms in terms(), op in op(), entry in entry(), asset in asset(), deposit in deposit(), change in change(), id in id(),
    ) {
        prop_assert_eq!(Terms::decode(&terms.encode()), Ok(terms));
        prop_assert_eq!(Op::decode(&op.encode()), Ok(op));
        prop_assert_eq!(Entry::decode(&entry.encode()), Ok(entry));
        prop_assert_eq!(NewAsset::decode(&asset.encode(&id), &id), Ok(asset));
        prop_assert_eq!(Deposit::decode(&deposit.encode(&id), &id), Ok(deposit));
        prop_assert_eq!(KeyChange::decode(&change.encode(&id), &id), Ok(change));
        prop_assert!(KeyChange::decode(&change.encode(&id), &LedgerId([0; 16])).is_err() || id.0 == [0; 16]);
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in vec(any::<u8>(), 0..600), id in id()) {
        read_all(&bytes, &id);
    }

    #[test]
    fn damaged_encodings_are_refused_or_mean_what_they_say(
        (terms, op, entry) in (terms(), op(), entry()),
        (asset, deposit, change) in (asset(), deposit(), change()),
        id in id(),
        (at, kind, byte) in (any::<usize>(), any::<u8>(), any::<u8>()),
    ) {
        let valid = [
            terms.encode(), op.encode(), entry.encode(), asset.encode(&id), deposit.encode(&id), change.encode(&id),
        ];
        for valid in valid {
            read_all(&damage(valid, at, kind, byte), &id);
        }
    }

    #[test]
    fn other_terms_have_another_id(one in terms(), other in terms()) {
        prop_assert_eq!(one == other, one.id() == other.id());
        let mut moved = one.clone();
        moved.digest.0[31] ^= 1;
        prop_assert_ne!(one.id(), moved.id());
    }
}
