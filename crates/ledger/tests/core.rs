//! The core on rows of its own: no engine, no thread, no clock.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::convert::Infallible;

use farthing_ledger::AssetCode;
use farthing_ledger::admin::NewAsset;
use farthing_ledger::command::{Command, Refusal, Reply, Signed};
use farthing_ledger::core::{Applied, Context, Rows, apply};
use farthing_ledger::identity::Book;
use farthing_ledger::rows::{AccountKeys, Genesis, Mode, Payment};
use farthing_protocol::rail::PaymentId;
use farthing_protocol::{PublicKey, SecretKey};

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
