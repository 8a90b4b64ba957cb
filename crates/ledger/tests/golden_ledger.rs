//! The golden ledger of `spec/vectors/ledger.json`: what is signed besides payments, and a chain of entries with
//! each kind of event once. It was computed by another implementation than this one.
#![cfg_attr(not(feature = "engine"), allow(dead_code, reason = "only an engine looks at the balances"))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use farthing_ledger::admin::{Deposit, KeyChange, NewAsset, Scope};
use farthing_ledger::{AssetCode, LedgerId};
use farthing_protocol::layout::LayoutError;
use farthing_protocol::signature::{lower_hex, verify};
use farthing_protocol::{Amount, PublicKey, SecretKey, Signature};
use serde::Deserialize;

fn golden() -> WholeLedger {
    let file = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/vectors/ledger.json"));
    serde_json::from_str(file).unwrap()
}

fn bytes<const N: usize>(text: &str) -> [u8; N] {
    lower_hex(text).unwrap()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WholeLedger {
    #[serde(rename = "about")]
    _about: String,
    seed: String,
    ledger: String,
    network: String,
    asset: AssetText,
    deposit: DepositText,
    key_changes: Vec<KeyChangeText>,
    chain: Vec<Link>,
    head: HeadText,
    balances: Vec<BalanceText>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct AssetText {
    code: String,
    scale: u8,
    issuer: PublicKey,
    signer: PublicKey,
    signed: String,
    signature: Signature,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct DepositText {
    asset: String,
    account: PublicKey,
    amount: Amount,
    reference: String,
    signer: PublicKey,
    signed: String,
    signature: Signature,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyChangeText {
    account: PublicKey,
    key: PublicKey,
    scope: Option<String>,
    expiry: u64,
    sequence: u64,
    signer: PublicKey,
    signed: String,
    signature: Signature,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Link {
    name: String,
    entry: String,
    hash: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeadText {
    sequence: u64,
    hash: String,
    clock: u64,
    signed: String,
    signature: Signature,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BalanceText {
    account: PublicKey,
    asset: String,
    amount: Amount,
}

impl AssetText {
    fn read(&self) -> NewAsset {
        NewAsset { code: self.code.parse().unwrap(), scale: self.scale, issuer: self.issuer }
    }
}

impl DepositText {
    fn read(&self) -> Deposit {
        let asset: AssetCode = self.asset.parse().unwrap();
        Deposit { asset, account: self.account, amount: self.amount, reference: bytes(&self.reference) }
    }
}

impl KeyChangeText {
    fn read(&self) -> KeyChange {
        let scope = self.scope.as_deref().map(|scope| match scope {
            "pay" => Scope::Pay,
            "full" => Scope::Full,
            other => panic!("{other}"),
        });
        KeyChange {
            account: self.account,
            key: self.key,
            scope,
            expiry: self.expiry,
            sequence: self.sequence,
        }
    }
}

#[test]
fn assets_deposits_and_keys_are_signed_as_the_golden_ones() {
    let file = golden();
    let ledger = LedgerId(bytes(&file.ledger));
    assert_eq!(ledger.network().as_str(), file.network);
    let signed = |ours: Vec<u8>, theirs: &str, signer: &PublicKey, signature: &Signature| {
        assert_eq!(hex::encode(&ours), theirs);
        assert_eq!(verify(signer, &ours, signature), Ok(()));
        ours
    };

    let (text, asset) = (&file.asset, file.asset.read());
    let ours = signed(asset.encode(&ledger), &text.signed, &text.signer, &text.signature);
    assert_eq!(NewAsset::decode(&ours, &ledger), Ok(asset));

    let (text, deposit) = (&file.deposit, file.deposit.read());
    let ours = signed(deposit.encode(&ledger), &text.signed, &text.signer, &text.signature);
    assert_eq!(Deposit::decode(&ours, &ledger), Ok(deposit));
    let elsewhere = Deposit::decode(&ours, &LedgerId([0; 16]));
    assert_eq!(elsewhere, Err(LayoutError::Value { field: "ledger" }));

    for text in &file.key_changes {
        let change = text.read();
        let ours = signed(change.encode(&ledger), &text.signed, &text.signer, &text.signature);
        assert_eq!(KeyChange::decode(&ours, &ledger), Ok(change));
    }
}

#[test]
fn the_golden_chain_is_read_entry_by_entry() {
    use farthing_ledger::entry::Entry;
    use farthing_ledger::rows::Head;

    let file = golden();
    let mut previous = [0; 32];
    let mut names = Vec::new();
    for (link, sequence) in file.chain.iter().zip(1..) {
        let encoded = hex::decode(&link.entry).unwrap();
        let entry = Entry::decode(&encoded).unwrap();
        assert_eq!((entry.sequence, entry.previous), (sequence, previous), "{}", link.name);
        assert_eq!(entry.encode(), encoded, "{}", link.name);
        previous = Entry::hash(&encoded);
        assert_eq!(hex::encode(previous), link.hash, "{}", link.name);
        names.push(entry.event.name());
    }
    for event in
        ["genesis", "asset", "deposit", "keys", "authorize", "takeover", "operate", "charge", "reclaim"]
    {
        assert!(names.contains(&event), "no entry of kind {event}");
    }
    let head = Head { sequence: file.head.sequence, hash: bytes(&file.head.hash), clock: file.head.clock };
    assert_eq!((head.sequence, head.hash), (file.chain.len() as u64, previous));
    let signed = head.signed_bytes(&LedgerId(bytes(&file.ledger)));
    assert_eq!(hex::encode(&signed), file.head.signed);
    let key = SecretKey::from_hex(&file.seed).unwrap();
    assert_eq!(key.sign(&signed), file.head.signature);
}

#[cfg(feature = "engine")]
mod engine {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, Mutex};

    use farthing_ledger::command::{Authorize, Charge, Operate, Signed};
    use farthing_ledger::engine::{MemoryStorage, Snapshot, Storage, StorageError, Writes};
    use farthing_ledger::entry::{Entry, Event};
    use farthing_ledger::rows::{Mode, Table};
    use farthing_ledger::terms::Terms;
    use farthing_ledger::{Ledger, Options};
    use farthing_protocol::rail::{Owner, Tenant};

    use super::*;

    /// Memory that the test can read while the ledger runs on it.
    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<MemoryStorage>>);

    impl Storage for Shared {
        fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
            self.0.lock().unwrap().get(table, key)
        }

        fn scan(
            &mut self,
            table: Table,
            from: &[u8],
            limit: usize,
        ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StorageError> {
            self.0.lock().unwrap().scan(table, from, limit)
        }

        fn commit(&mut self, writes: &Writes) -> Result<(), StorageError> {
            self.0.lock().unwrap().commit(writes)
        }

        fn snapshot(&mut self) -> Result<Box<dyn Snapshot>, StorageError> {
            self.0.lock().unwrap().snapshot()
        }
    }

    fn owner(process: u8) -> Owner {
        Owner { id: [process; 16], lease_seconds: 60 }
    }

    /// Every entry of the golden chain, given to a ledger as a command, makes the same entry again.
    #[tokio::test]
    async fn a_ledger_that_is_told_the_golden_chain_writes_the_golden_chain() {
        let file = golden();
        let ledger_id = LedgerId(bytes(&file.ledger));
        let entries: Vec<Entry> =
            file.chain.iter().map(|l| Entry::decode(&hex::decode(&l.entry).unwrap()).unwrap()).collect();
        let Event::Genesis(genesis) = &entries[0].event else { panic!("no genesis") };
        let Mode::ClosedLoop { seller, payer_cap } = genesis.mode else { panic!("not closed-loop") };

        let now = Arc::new(AtomicU64::new(entries[0].at));
        let clock = now.clone();
        let options = Options {
            clock: Arc::new(move || clock.load(Ordering::SeqCst)),
            ..Options::closed_loop(seller, payer_cap)
        };
        let storage = Shared::default();
        let ledger =
            Ledger::start(storage.clone(), SecretKey::from_hex(&file.seed).unwrap(), options).unwrap();

        for entry in &entries[1..] {
            now.store(entry.at, Ordering::SeqCst);
            match &entry.event {
                Event::Asset(_) => ledger.register(file.asset.read()).await.unwrap(),
                Event::Deposit(_) => {
                    let text = &file.deposit;
                    let deposit =
                        Signed::<Deposit>::new(&ledger_id, text.read(), text.signer, text.signature);
                    ledger.deposit(deposit).await.unwrap();
                }
                Event::Keys(signer, evidence) => {
                    let change = KeyChange::decode(&evidence.signed, &ledger_id).unwrap();
                    let change = Signed::<KeyChange>::new(&ledger_id, change, *signer, evidence.signature);
                    ledger.change_keys(change).await.unwrap();
                }
                Event::Authorize(evidence) => {
                    let signed = evidence.signed.clone();
                    let authorize = Authorize::read(signed, evidence.signature, owner(1), Tenant::local());
                    ledger.authorize(authorize.unwrap()).await.unwrap();
                }
                Event::Takeover(id, epoch) => {
                    let taken = entries.iter().find_map(|e| match &e.event {
                        Event::Authorize(e) if Terms::decode(&e.signed).unwrap().id() == *id => Some(e),
                        _ => None,
                    });
                    let taken = taken.unwrap();
                    let signed = taken.signed.clone();
                    let authorize = Authorize::read(signed, taken.signature, owner(2), Tenant::local());
                    let reply = ledger.authorize(authorize.unwrap()).await.unwrap();
                    assert_eq!(reply.payment.epoch, *epoch);
                }
                Event::Operate(signer, signature, list) => {
                    let list = list.iter().map(|(op, _)| (*op, None)).collect();
                    let results = ledger.operate(Operate::new(list, *signer, *signature)).await.unwrap();
                    assert!(results.iter().all(Result::is_ok));
                }
                Event::Charge(evidence, op, signature) => {
                    let signed = evidence.signed.clone();
                    let authorize = Authorize::read(signed, evidence.signature, owner(0), Tenant::local());
                    let charge = Charge::check(authorize.unwrap(), *op, None, *signature).unwrap();
                    ledger.charge(charge).await.unwrap();
                }
                // Nobody asks for it: the hold ends by the ledger's clock.
                Event::Reclaim(payments) => {
                    ledger.statement(payments[0]).await.unwrap();
                }
                Event::Genesis(_) => panic!("a second genesis"),
            }
        }

        let mut storage = storage;
        let written = storage.scan(Table::Entry, &[], 100).unwrap();
        assert_eq!(written.len(), file.chain.len());
        for ((_, entry), link) in written.iter().zip(&file.chain) {
            assert_eq!(hex::encode(entry), link.entry, "{}", link.name);
        }
        for balance in &file.balances {
            let asset = balance.asset.parse().unwrap();
            assert_eq!(ledger.balance(balance.account, asset).await, Ok(balance.amount));
        }
        assert!(ledger.check().await.unwrap().balanced());
    }
}
