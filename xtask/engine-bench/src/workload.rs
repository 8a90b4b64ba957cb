//! One payment as the ledger stores it: two commands, each read against the rows of earlier ones.
//!
//! - *authorize*: rewrites the payer's balance, looks the replay key up and inserts it, inserts the payment and its
//!   open-hold index row, appends an entry with the signed bytes.
//! - *capture*, of the oldest open payment: rewrites the payment, the payer's balance (its held part) and the balance
//!   of one hot payee, deletes the hold row, appends an entry, stores the answer.
//!
//! A batch applies its commands in order to an overlay and writes the result once, in key order, as the ledger does;
//! so a hot row is written once per batch. Values are random bytes: keys, hashes and signatures do not compress.

use std::collections::{BTreeMap, VecDeque};

use crate::Result;
use crate::engines::{Engine, Rows, Table, Writes};

const OPEN_PAYMENTS: usize = 512;
const PRELOAD_BATCH: u64 = 5_000;
const PAYEE: u64 = u64::MAX;

/// The commands' source; deterministic, so that every engine sees the same keys.
pub(crate) struct Workload {
    accounts: u64,
    random: u64,
    entries: u64,
    captured: u64,
    open: VecDeque<Open>,
}

struct Open {
    payment: Vec<u8>,
    payer: u64,
    hold: Vec<u8>,
}

/// The rows as the commands of one batch see them: those written by earlier commands first.
struct Overlay<'a> {
    stored: &'a dyn Rows,
    writes: Writes,
}

impl Workload {
    pub(crate) fn new(accounts: u64) -> Self {
        Self { accounts, random: 0x9e37_79b9_7f4a_7c15, entries: 0, captured: 0, open: VecDeque::new() }
    }

    pub(crate) fn captured(&self) -> u64 {
        self.captured
    }

    /// Opens the accounts, runs `payments` through, and leaves a standing set of open payments.
    pub(crate) fn preload(&mut self, engine: &mut dyn Engine, payments: u64) -> Result<()> {
        let mut owners = (0..self.accounts).chain([PAYEE]).peekable();
        while owners.peek().is_some() {
            let rows = owners.by_ref().take(PRELOAD_BATCH as usize);
            let writes: Writes = rows.map(|n| ((Table::Balance, account(n)), Some(vec![0; 48]))).collect();
            engine.apply(&mut |_| Ok(writes.clone()))?;
        }
        engine.apply(&mut |stored| {
            let mut rows = Overlay { stored, writes: BTreeMap::new() };
            for _ in 0..OPEN_PAYMENTS {
                self.authorize(&mut rows)?;
            }
            Ok(rows.writes)
        })?;
        while self.captured < payments {
            self.batch(engine, PRELOAD_BATCH.min(payments - self.captured) as usize * 2)?;
        }
        Ok(())
    }

    /// Applies `commands`, alternately an authorize and a capture, in one durable commit.
    pub(crate) fn batch(&mut self, engine: &mut dyn Engine, commands: usize) -> Result<()> {
        engine.apply(&mut |stored| {
            let mut rows = Overlay { stored, writes: BTreeMap::new() };
            for _ in 0..commands {
                if self.open.len() > OPEN_PAYMENTS {
                    self.capture(&mut rows)?;
                } else {
                    self.authorize(&mut rows)?;
                }
            }
            Ok(rows.writes)
        })
    }

    fn authorize(&mut self, rows: &mut Overlay<'_>) -> Result<()> {
        let payer = self.next_random() % self.accounts;
        let (payment, nonce) = (self.bytes(32), self.bytes(32));
        let replay = [&account(payer)[..32], &nonce].concat();
        if rows.get(Table::Replay, &replay)?.is_some() {
            return Err("a fresh nonce was found spent".into());
        }
        rows.touch_balance(payer)?;
        let hold = [&self.entries.to_be_bytes()[..], &payment].concat();
        rows.put(Table::Payment, payment.clone(), self.bytes(420));
        rows.put(Table::Replay, replay, self.bytes(40));
        rows.put(Table::Hold, hold.clone(), Vec::new());
        self.append_entry(rows, 650);
        self.open.push_back(Open { payment, payer, hold });
        Ok(())
    }

    fn capture(&mut self, rows: &mut Overlay<'_>) -> Result<()> {
        let open = self.open.pop_front().ok_or("no open payment")?;
        let mut record =
            rows.get(Table::Payment, &open.payment)?.ok_or("an authorized payment is missing")?;
        record.extend(self.bytes(30));
        rows.put(Table::Payment, open.payment.clone(), record);
        rows.writes.insert((Table::Hold, open.hold), None);
        rows.touch_balance(open.payer)?;
        rows.touch_balance(PAYEE)?;
        self.append_entry(rows, 250);
        rows.put(Table::Answer, open.payment, self.bytes(300));
        self.captured += 1;
        Ok(())
    }

    fn append_entry(&mut self, rows: &mut Overlay<'_>, len: usize) {
        rows.put(Table::Entry, self.entries.to_be_bytes().to_vec(), self.bytes(len));
        self.entries += 1;
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(len + 8);
        while out.len() < len {
            out.extend(self.next_random().to_le_bytes());
        }
        out.truncate(len);
        out
    }

    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.random)
    }
}

impl Overlay<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        match self.writes.get(&(table, key.to_vec())) {
            Some(written) => Ok(written.clone()),
            None => self.stored.get(table, key),
        }
    }

    fn put(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.writes.insert((table, key), Some(value));
    }

    fn touch_balance(&mut self, owner: u64) -> Result<()> {
        let key = account(owner);
        let mut balance = self.get(Table::Balance, &key)?.ok_or("an account is missing")?;
        balance[0] = balance[0].wrapping_add(1);
        self.put(Table::Balance, key, balance);
        Ok(())
    }
}

/// The balance key of an account: 32 bytes that look like a public key, then 32 of the asset.
fn account(number: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(64);
    for part in 0..4 {
        key.extend(mix(number ^ (part << 60)).to_be_bytes());
    }
    key.resize(64, 7);
    key
}

/// The splitmix64 finaliser.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
