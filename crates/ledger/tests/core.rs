//! The core on rows of its own: no engine, no thread, no clock.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::convert::Infallible;

use farthing_ledger::AssetCode;
use farthing_ledger::admin::NewAsset;
use farthing_ledger::command::{Authorize, Charge, Command, Operate, Refusal, Reply, Signed};
use farthing_ledger::core::{Applied, Context, Rows, apply};
use farthing_ledger::entry::Posting;
use farthing_ledger::identity::Book;
use farthing_ledger::operation::{Action, Op, signed_bytes};
use farthing_ledger::rows::{AccountKeys, Genesis, Mode, Payment};
use farthing_ledger::terms::{FeeTerms, Scheme, Terms, TermsFlow};
use farthing_protocol::rail::{Owner, PaymentId, Tenant};
use farthing_protocol::{Amount, Binding, PublicKey, RequestDigest, SecretKey};

#[derive(Default)]
struct Maps {
    assets: HashMap<AssetCode, NewAsset>,
    keys: HashMap<PublicKey, AccountKeys>,
    balances: HashMap<(Book, AssetCode), i128>,
    payments: HashMap<PaymentId, Payment>,
    replays: HashMap<(PublicKey, [u8; 32]), PaymentId>,
    answers: HashMap<PaymentId, Vec<u8>>,
    deposits: HashMap<[u8; 32], Vec<u8>>,
    writes: usize,
}

macro_rules! write {
    ($self:ident.$map:ident, $key:expr, $value:expr) => {{
        $self.writes += 1;
        $self.$map.insert($key, $value);
    }};
}

impl Rows for Maps {
    type Error = Infallible;

    fn asset(&mut self, code: &AssetCode) -> Result<Option<NewAsset>, Infallible> {
        Ok(self.assets.get(code).copied())
    }
    fn put_asset(&mut self, asset: &NewAsset) {
        write!(self.assets, asset.code, *asset);
    }
    fn keys(&mut self, account: &PublicKey) -> Result<Option<AccountKeys>, Infallible> {
        Ok(self.keys.get(account).cloned())
    }
    fn put_keys(&mut self, account: &PublicKey, keys: &AccountKeys) {
        write!(self.keys, *account, keys.clone());
    }
    fn balance(&mut self, book: &Book, asset: &AssetCode) -> Result<i128, Infallible> {
        Ok(self.balances.get(&(*book, *asset)).copied().unwrap_or(0))
    }
    fn add_balance(&mut self, book: &Book, asset: &AssetCode, change: i128) {
        let balance = self.balances.get(&(*book, *asset)).copied().unwrap_or(0) + change;
        write!(self.balances, (*book, *asset), balance);
    }
    fn payment(&mut self, id: &PaymentId) -> Result<Option<Payment>, Infallible> {
        Ok(self.payments.get(id).cloned())
    }
    fn put_payment(&mut self, id: &PaymentId, payment: &Payment) {
        write!(self.payments, *id, payment.clone());
    }
    fn replay(&mut self, payer: &PublicKey, nonce: &[u8; 32]) -> Result<Option<PaymentId>, Infallible> {
        Ok(self.replays.get(&(*payer, *nonce)).copied())
    }
    fn put_replay(&mut self, payer: &PublicKey, nonce: &[u8; 32], id: &PaymentId) {
        write!(self.replays, (*payer, *nonce), *id);
    }
    fn answer(&mut self, id: &PaymentId) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.answers.get(id).cloned())
    }
    fn put_answer(&mut self, id: &PaymentId, answer: &[u8]) {
        write!(self.answers, *id, answer.to_vec());
    }
    fn deposit(&mut self, reference: &[u8; 32]) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.deposits.get(reference).cloned())
    }
    fn put_deposit(&mut self, reference: &[u8; 32], signed: &[u8]) {
        write!(self.deposits, *reference, signed.to_vec());
    }
}

fn secret(role: u8) -> SecretKey {
    SecretKey::from_seed([role; 32])
}

fn context() -> Context {
    let genesis = Genesis {
        key: secret(1).public(),
        mode: Mode::Open,
        fee_bps: 0,
        fee_recipient: PublicKey([0; 32]),
        created_at: 1_800_000_000,
    };
    Context { genesis, now: 1_800_000_000 }
}

fn register(context: &Context, rows: &mut Maps, asset: NewAsset, signer: u8) -> Result<Applied, Refusal> {
    let signed = Signed::<NewAsset>::sign(&context.genesis.id(), asset, &secret(signer));
    let Ok(judged) = apply(context, rows, &Command::Asset(signed.check()?));
    judged
}

#[test]
fn only_the_ledgers_key_registers_assets() {
    let (context, mut rows) = (context(), Maps::default());
    let asset = NewAsset { code: "XTS".parse().unwrap(), scale: 6, issuer: secret(2).public() };
    for signer in [2, 3] {
        assert_eq!(register(&context, &mut rows, asset, signer), Err(Refusal::UnauthorizedSigner));
    }
    assert_eq!(rows.writes, 0, "a refusal leaves no trace");
    let applied = register(&context, &mut rows, asset, 1).unwrap();
    assert!(applied.reply == Reply::Done && applied.entry.is_some());
    let again = register(&context, &mut rows, asset, 1).unwrap();
    assert_eq!((again.entry, rows.writes), (None, 1));
}

#[test]
fn an_asset_signed_for_another_ledger_is_no_asset_of_this_one() {
    let (mut here, mut rows) = (context(), Maps::default());
    let asset = NewAsset { code: "XTS".parse().unwrap(), scale: 6, issuer: secret(2).public() };
    let signature = secret(1).sign(&asset.encode(&here.genesis.id()));
    here.genesis.key = secret(9).public();
    let moved = Signed::<NewAsset>::new(&here.genesis.id(), asset, secret(1).public(), signature);
    assert_eq!(moved.check().map(|_| ()), Err(Refusal::Signature));
    assert_eq!(register(&here, &mut rows, asset, 1), Err(Refusal::UnauthorizedSigner));
    assert!(register(&here, &mut rows, asset, 9).is_ok());
}

const PAYER: u8 = 3;
const SELLER: u8 = 4;
const AUTHORIZER: u8 = 5;
const OPERATOR: u8 = 6;

fn xts() -> AssetCode {
    "XTS".parse().unwrap()
}

/// A ledger that takes `fee_bps`, and a payer with 1000 units.
fn funded(fee_bps: u16) -> (Context, Maps) {
    let mut context = context();
    (context.genesis.fee_bps, context.genesis.fee_recipient) = (fee_bps, secret(OPERATOR).public());
    let mut rows = Maps::default();
    let asset = NewAsset { code: xts(), scale: 6, issuer: secret(2).public() };
    register(&context, &mut rows, asset, 1).unwrap();
    rows.add_balance(&Book::Account(secret(PAYER).public()), &xts(), 1_000);
    (context, rows)
}

/// Terms of at most 100 units to be paid in one step, or held for a minute.
fn terms(context: &Context, flow: TermsFlow, nonce: u8) -> Terms {
    let escrow = flow == TermsFlow::Escrow;
    Terms {
        ledger: context.genesis.id(),
        scheme: Scheme::AuthCapture,
        flow,
        payer: secret(PAYER).public(),
        signer: secret(PAYER).public(),
        payee: secret(SELLER).public(),
        receiver_authorizer: secret(AUTHORIZER).public(),
        asset: xts(),
        max_amount: Amount(100),
        valid_after: 0,
        valid_before: context.now + 60,
        capture_deadline: if escrow { context.now + 60 } else { 0 },
        refund_deadline: 0,
        fee: FeeTerms { min_bps: 0, max_bps: 10_000, recipient: secret(OPERATOR).public().0 },
        mandate: [0; 32],
        nonce: [nonce; 32],
        binding: Binding::Body,
        digest: RequestDigest([7; 32]),
    }
}

fn authorize(terms: &Terms) -> Authorize {
    let signed = terms.encode();
    let signature = secret(PAYER).sign(&signed);
    let owner = Owner { id: [1; 16], lease_seconds: 60 };
    Authorize::read(signed, signature, owner, Tenant::local()).unwrap()
}

fn op(payment: PaymentId, action: Action, cumulative: u128, last: bool) -> Op {
    let epoch = if action == Action::Charge { 0 } else { 1 };
    Op { payment, action, cumulative: Amount(cumulative), last, epoch, answer: [0; 32] }
}

fn charge(context: &Context, rows: &mut Maps, terms: &Terms, op: Op) -> Result<Vec<Posting>, Refusal> {
    let signature = secret(AUTHORIZER).sign(&signed_bytes(&context.genesis.id(), &[op]));
    let charge = Charge::check(authorize(terms), op, None, signature).unwrap();
    let Ok(judged) = apply(context, rows, &Command::Charge(Box::new(charge)));
    judged.map(|applied| applied.entry.unwrap().1)
}

#[test]
fn a_charge_is_signed_as_the_last_charge_of_this_very_payment() {
    let (context, mut rows) = funded(0);
    let (terms, other) = (terms(&context, TermsFlow::Charge, 1), terms(&context, TermsFlow::Charge, 2));
    let good = op(terms.id(), Action::Charge, 100, true);
    let before = rows.writes;
    for bad in [
        Op { payment: other.id(), ..good },
        Op { last: false, ..good },
        Op { action: Action::Capture, ..good },
        Op { action: Action::Refund, ..good },
    ] {
        assert_eq!(charge(&context, &mut rows, &terms, bad), Err(Refusal::Flow), "{bad:?}");
    }
    assert_eq!(rows.writes, before, "a refusal leaves no trace");
    assert!(charge(&context, &mut rows, &terms, good).is_ok());
}

#[test]
fn nothing_is_posted_where_nothing_moves() {
    // Without a fee, with one that rounds to nothing, with one that takes a part, and with one that takes all.
    for (fee_bps, fee) in [(0, 0), (99, 0), (250, 2), (10_000, 100)] {
        let (context, mut rows) = funded(fee_bps);
        let terms = terms(&context, TermsFlow::Charge, 1);
        let postings =
            charge(&context, &mut rows, &terms, op(terms.id(), Action::Charge, 100, true)).unwrap();
        assert!(postings.iter().all(|posting| posting.amount != 0), "{fee_bps}: {postings:?}");
        let balance = |role: u8, rows: &mut Maps| {
            let Ok(balance) = rows.balance(&Book::Account(secret(role).public()), &xts());
            balance
        };
        assert_eq!((balance(SELLER, &mut rows), balance(OPERATOR, &mut rows)), (100 - fee, fee));
    }
}

#[test]
fn a_capture_of_everything_releases_nothing() {
    let (context, mut rows) = funded(0);
    let terms = terms(&context, TermsFlow::Escrow, 1);
    let held = Command::Authorize(Box::new(authorize(&terms).check().unwrap()));
    let Ok(judged) = apply(&context, &mut rows, &held);
    assert_eq!(judged.unwrap().entry.unwrap().1.len(), 2);
    let list = vec![(op(terms.id(), Action::Capture, 100, true), None)];
    let operate = Operate::sign(&context.genesis.id(), &secret(AUTHORIZER), list);
    let Ok(judged) =
        apply(&context, &mut rows, &Command::Operate(operate.check(&context.genesis.id()).unwrap()));
    assert_eq!(judged.unwrap().entry.unwrap().1.len(), 2, "out of the hold and to the seller");
}
