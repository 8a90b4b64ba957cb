//! The end of a batch: its writes, one statement for each table, and the commit.

use std::collections::BTreeMap;
use std::pin::Pin;

use farthing_protocol::PublicKey;
use farthing_protocol::rail::PaymentId;
use futures_util::future::try_join_all;
use tokio_postgres::types::ToSql;

use super::columns::{self, Payments};
use super::lock::Batch;
use super::numeric::Numeric;
use super::session::Session;
use crate::engine::storage::{StorageError, Writes};
use crate::identity::AssetCode;
use crate::rows::{Table, key};

const NEW_PAYMENTS: &str = "
    INSERT INTO payment (id, state, captured, refunded, fee_bps, owner, epoch, lease_until, tenant, changed_at,
        ended_at, capture_deadline, terms)
    SELECT * FROM unnest($1::bytea[], $2::smallint[], $3::numeric[], $4::numeric[], $5::integer[], $6::bytea[],
        $7::numeric[], $8::numeric[], $9::bytea[], $10::numeric[], $11::numeric[], $12::numeric[],
        $13::bytea[])";
/// Everything but the terms, whose hash the id is. Rows that are changed are found as in [`super::lock`], one by
/// one by their whole key.
const OLD_PAYMENTS: &str = "
    UPDATE payment p SET state = n.state, captured = n.captured, refunded = n.refunded, fee_bps = n.fee_bps,
        owner = n.owner, epoch = n.epoch, lease_until = n.lease_until, tenant = n.tenant,
        changed_at = n.changed_at, ended_at = n.ended_at
    FROM (
        SELECT * FROM unnest($1::bytea[], $2::smallint[], $3::numeric[], $4::numeric[], $5::integer[],
            $6::bytea[], $7::numeric[], $8::numeric[], $9::bytea[], $10::numeric[], $11::numeric[])
            AS n (id, state, captured, refunded, fee_bps, owner, epoch, lease_until, tenant, changed_at, ended_at)
        CROSS JOIN LATERAL (SELECT ctid AS place FROM payment WHERE payment.id = n.id FOR UPDATE) AS found
    ) AS n
    WHERE p.ctid = n.place";
/// Only what has ended is ever forgotten.
const FORGOTTEN_PAYMENTS: &str = "DELETE FROM payment WHERE id = ANY($1::bytea[]) AND state <> 1";
const FREED_IDS: &str = "DELETE FROM payment_id WHERE id = ANY($1::bytea[])";

/// Stripes that this batch is going to change, locked in one order for all committers before any is changed.
const STRIPES: &str = "
    SELECT FROM unnest($1::smallint[], $2::bytea[], $3::text[], $4::integer[])
        AS n (book, account, asset, stripe)
    CROSS JOIN LATERAL (
        SELECT FROM balance
        WHERE book = n.book AND account = n.account AND asset = n.asset AND stripe = n.stripe FOR UPDATE
    ) AS b";
/// Changes main rows, and folds the stripes that were seen into them.
const DEBITS: &str = "
    WITH folded AS (
        DELETE FROM balance WHERE ctid = ANY (ARRAY(
            SELECT b.place FROM unnest($4::bytea[], $5::text[], $6::integer[]) AS n (account, asset, stripe)
            CROSS JOIN LATERAL (
                SELECT ctid AS place FROM balance
                WHERE book = 1 AND account = n.account AND asset = n.asset AND stripe = n.stripe FOR UPDATE
            ) AS b
        ))
        RETURNING account, asset, amount
    )
    UPDATE balance b SET amount = b.amount + n.change + coalesce(
        (SELECT sum(f.amount) FROM folded f WHERE f.account = n.account AND f.asset = n.asset), 0)
    FROM (
        SELECT * FROM unnest($1::bytea[], $2::text[], $3::numeric[]) AS n (account, asset, change)
        CROSS JOIN LATERAL (
            SELECT ctid AS place FROM balance
            WHERE book = 1 AND account = n.account AND asset = n.asset AND stripe = 0 FOR UPDATE
        ) AS found
    ) AS n
    WHERE b.ctid = n.place";
/// Adds to this committer's own stripe; the first money of a book makes its main row.
const CREDITS: &str = "
    WITH made AS (
        INSERT INTO balance (book, account, asset, stripe, amount)
        SELECT book, account, asset, 0, change
        FROM unnest($1::smallint[], $2::bytea[], $3::text[], $4::numeric[])
            AS n (book, account, asset, change)
        ON CONFLICT DO NOTHING
        RETURNING book, account, asset
    )
    INSERT INTO balance AS b (book, account, asset, stripe, amount)
    SELECT book, account, asset, $5::integer, change
    FROM unnest($1::smallint[], $2::bytea[], $3::text[], $4::numeric[]) AS n (book, account, asset, change)
    WHERE NOT EXISTS (
        SELECT FROM made m WHERE m.book = n.book AND m.account = n.account AND m.asset = n.asset
    )
    ON CONFLICT (book, account, asset, stripe) DO UPDATE SET amount = b.amount + excluded.amount";

const REPLAYS: &str = "
    INSERT INTO replay (payer, nonce, payment) SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[])";
const FORGOTTEN_REPLAYS: &str = "
    DELETE FROM replay WHERE ctid = ANY (ARRAY(
        SELECT r.place FROM unnest($1::bytea[], $2::bytea[]) AS n (payer, nonce)
        CROSS JOIN LATERAL (
            SELECT ctid AS place FROM replay WHERE payer = n.payer AND nonce = n.nonce FOR UPDATE
        ) AS r
    ))";
const ANSWERS: &str = "
    INSERT INTO answer (payment, answer) SELECT * FROM unnest($1::bytea[], $2::bytea[])
    ON CONFLICT (payment) DO UPDATE SET answer = excluded.answer";
const FORGOTTEN_ANSWERS: &str = "DELETE FROM answer WHERE payment = ANY($1::bytea[])";
const DEPOSITS: &str = "
    INSERT INTO deposit (reference, signed) SELECT * FROM unnest($1::bytea[], $2::bytea[])";
const ASSETS: &str = "
    INSERT INTO asset (code, scale, issuer) SELECT * FROM unnest($1::text[], $2::smallint[], $3::bytea[])";
const KEYS: &str = "
    INSERT INTO account_keys (account, keys) SELECT * FROM unnest($1::bytea[], $2::bytea[])
    ON CONFLICT (account) DO UPDATE SET keys = excluded.keys";
const ENTRIES: &str = "
    INSERT INTO entry (chain, sequence, position, bytes)
    SELECT n.chain, n.sequence, $3::bigint, n.bytes
    FROM unnest($1::integer[], $2::bigint[], $4::bytea[]) AS n (chain, sequence, bytes)";
const META: &str = "
    INSERT INTO meta (key, value) SELECT * FROM unnest($1::bytea[], $2::bytea[])
    ON CONFLICT (key) DO UPDATE SET value = excluded.value";

/// What [`write`] says, so that all of it can be prepared at once.
pub(super) const STATEMENTS: [&str; 16] = [
    NEW_PAYMENTS,
    OLD_PAYMENTS,
    FORGOTTEN_PAYMENTS,
    FREED_IDS,
    STRIPES,
    DEBITS,
    CREDITS,
    REPLAYS,
    FORGOTTEN_REPLAYS,
    ANSWERS,
    FORGOTTEN_ANSWERS,
    DEPOSITS,
    ASSETS,
    KEYS,
    ENTRIES,
    META,
];

/// Sends the writes of a batch. All of them must be answered before the commit is said.
pub(super) async fn write(session: &Session, batch: &Batch, writes: &Writes) -> Result<(), StorageError> {
    let rows = Sorted::of(batch, writes)?;
    let balances = Balances::of(batch, writes, session.chain)?;
    let stripe = own_stripe(session.chain)?;
    let mut sent = Sending { session, statements: Vec::new() };
    sent.add(rows.freed.len(), FREED_IDS, vec![&rows.freed]);
    let new = &rows.new_payments;
    sent.add(
        new.id.len(),
        NEW_PAYMENTS,
        vec![
            &new.id,
            &new.state,
            &new.captured,
            &new.refunded,
            &new.fee_bps,
            &new.owner,
            &new.epoch,
            &new.lease_until,
            &new.tenant,
            &new.changed_at,
            &new.ended_at,
            &new.capture_deadline,
            &new.terms,
        ],
    );
    let old = &rows.old_payments;
    sent.add(
        old.id.len(),
        OLD_PAYMENTS,
        vec![
            &old.id,
            &old.state,
            &old.captured,
            &old.refunded,
            &old.fee_bps,
            &old.owner,
            &old.epoch,
            &old.lease_until,
            &old.tenant,
            &old.changed_at,
            &old.ended_at,
        ],
    );
    let (locks, debits, folds) = (&balances.locks, &balances.debits, &balances.folds);
    let credits = &balances.credits;
    if !folds.account.is_empty() {
        sent.add(
            locks.account.len(),
            STRIPES,
            vec![&locks.book, &locks.account, &locks.asset, &locks.stripe],
        );
    }
    sent.add(
        debits.account.len(),
        DEBITS,
        vec![&debits.account, &debits.asset, &debits.change, &folds.account, &folds.asset, &folds.stripe],
    );
    sent.add(
        credits.account.len(),
        CREDITS,
        vec![&credits.book, &credits.account, &credits.asset, &credits.change, &stripe],
    );
    sent.add(rows.replays.0.len(), REPLAYS, vec![&rows.replays.0, &rows.replays.1, &rows.replays.2]);
    sent.pairs(ANSWERS, &rows.answers);
    sent.pairs(DEPOSITS, &rows.deposits);
    sent.add(rows.assets.0.len(), ASSETS, vec![&rows.assets.0, &rows.assets.1, &rows.assets.2]);
    sent.pairs(KEYS, &rows.keys);
    let entries = &rows.entries;
    sent.add(entries.0.len(), ENTRIES, vec![&entries.0, &entries.1, &batch.position, &entries.2]);
    sent.pairs(META, &rows.meta);
    // Last, what time has made useless: nobody waits for it, and others may be looking at it.
    sent.add(rows.no_replays.0.len(), FORGOTTEN_REPLAYS, vec![&rows.no_replays.0, &rows.no_replays.1]);
    sent.add(rows.no_answers.len(), FORGOTTEN_ANSWERS, vec![&rows.no_answers]);
    sent.add(rows.no_payments.len(), FORGOTTEN_PAYMENTS, vec![&rows.no_payments]);
    sent.add(rows.no_payments.len(), FREED_IDS, vec![&rows.no_payments]);
    let expected =
        [(NEW_PAYMENTS, new.id.len()), (OLD_PAYMENTS, old.id.len()), (DEBITS, debits.account.len())];
    let done = sent.all().await?;
    // They were locked: a row that is not there is a fault of this program, and nothing may be committed on it.
    for (statement, rows) in done {
        if expected.iter().any(|(text, count)| *text == statement && *count as u64 != rows) {
            return Err(StorageError::failed("a locked row was not there to be written"));
        }
    }
    Ok(())
}

/// The stripe that one committer alone adds to.
fn own_stripe(chain: u32) -> Result<i32, StorageError> {
    let stripe = chain.checked_add(1).and_then(|stripe| i32::try_from(stripe).ok());
    stripe.ok_or_else(|| StorageError::failed("a committer's number is beyond counting"))
}

type Executed<'a> = Pin<Box<dyn Future<Output = Result<(&'static str, u64), StorageError>> + Send + 'a>>;

/// Statements on their way, one behind the other without waiting.
struct Sending<'a> {
    session: &'a Session,
    statements: Vec<Executed<'a>>,
}

impl<'a> Sending<'a> {
    /// A statement over columns of `count` rows; none, when there are none.
    fn add(&mut self, count: usize, text: &'static str, columns: Vec<&'a (dyn ToSql + Sync)>) {
        if count > 0 {
            let session = self.session;
            self.statements.push(Box::pin(async move { Ok((text, session.execute(text, &columns).await?)) }));
        }
    }

    fn pairs(&mut self, text: &'static str, rows: &'a Pairs<'_>) {
        self.add(rows.0.len(), text, vec![&rows.0, &rows.1]);
    }

    /// Their answers. There are few enough that they are sent in order.
    async fn all(self) -> Result<Vec<(&'static str, u64)>, StorageError> {
        try_join_all(self.statements).await
    }
}

type Keys<'a> = Vec<&'a [u8]>;
type Pairs<'a> = (Keys<'a>, Keys<'a>);

/// The rows of a batch, as columns.
#[derive(Default)]
struct Sorted<'a> {
    new_payments: Payments<'a>,
    old_payments: Payments<'a>,
    no_payments: Keys<'a>,
    /// Claims that did not become payments.
    freed: Keys<'a>,
    replays: (Keys<'a>, Keys<'a>, Keys<'a>),
    no_replays: Pairs<'a>,
    answers: Pairs<'a>,
    no_answers: Keys<'a>,
    deposits: Pairs<'a>,
    assets: (Vec<&'a str>, Vec<i16>, Vec<Vec<u8>>),
    keys: Pairs<'a>,
    entries: (Vec<i32>, Vec<i64>, Vec<&'a [u8]>),
    meta: Pairs<'a>,
}

impl<'a> Sorted<'a> {
    fn of(batch: &'a Batch, writes: &'a Writes) -> Result<Self, StorageError> {
        let mut sorted = Self::default();
        for ((table, key), value) in &writes.rows {
            match value {
                Some(value) => sorted.put(batch, *table, key, value)?,
                None => sorted.remove(*table, key)?,
            }
        }
        let became = |id: &PaymentId| {
            let row = writes.rows.get(&(Table::Payment, id.0.to_vec()));
            matches!(row, Some(Some(_)))
        };
        sorted.freed = batch.claimed.iter().filter(|id| !became(id)).map(|id| &id.0[..]).collect();
        Ok(sorted)
    }

    fn put(
        &mut self,
        batch: &Batch,
        table: Table,
        key: &'a [u8],
        value: &'a [u8],
    ) -> Result<(), StorageError> {
        let pair = |rows: &mut Pairs<'a>| {
            rows.0.push(key);
            rows.1.push(value);
        };
        match table {
            Table::Meta => pair(&mut self.meta),
            Table::Keys => pair(&mut self.keys),
            Table::Answer => pair(&mut self.answers),
            Table::Deposit => pair(&mut self.deposits),
            // Read from the payments.
            Table::Due => {}
            Table::Balance => return Err(StorageError::failed("a shared balance was set, not changed")),
            Table::Asset => {
                let (scale, issuer) = columns::of_asset(value)?;
                let code = std::str::from_utf8(key).map_err(|_| damaged())?;
                self.assets.0.push(code);
                self.assets.1.push(scale);
                self.assets.2.push(issuer.to_vec());
            }
            Table::Payment => {
                let id = PaymentId(key.try_into().map_err(|_| damaged())?);
                if batch.claimed.contains(&id) {
                    self.new_payments.push(key, value)?;
                } else if batch.locked.contains(&id) {
                    self.old_payments.push(key, value)?;
                } else {
                    return Err(StorageError::failed("a payment was changed that was not locked"));
                }
            }
            Table::Replay => {
                let (payer, nonce) = key.split_at_checked(32).ok_or_else(damaged)?;
                self.replays.0.push(payer);
                self.replays.1.push(nonce);
                self.replays.2.push(value);
            }
            Table::Entry => {
                let (chain, sequence) = key::entry_of(key).ok_or_else(damaged)?;
                self.entries.0.push(i32::try_from(chain).map_err(|_| damaged())?);
                self.entries.1.push(i64::try_from(sequence).map_err(|_| damaged())?);
                self.entries.2.push(value);
            }
        }
        Ok(())
    }

    fn remove(&mut self, table: Table, key: &'a [u8]) -> Result<(), StorageError> {
        match table {
            Table::Payment => self.no_payments.push(key),
            Table::Answer => self.no_answers.push(key),
            Table::Due => {}
            Table::Replay => {
                let (payer, nonce) = key.split_at_checked(32).ok_or_else(damaged)?;
                self.no_replays.0.push(payer);
                self.no_replays.1.push(nonce);
            }
            _ => return Err(StorageError::failed("rows of this table are never removed")),
        }
        Ok(())
    }
}

fn damaged() -> StorageError {
    StorageError::failed("a row that was to be written has a damaged key")
}

/// Rows of balances, as columns.
#[derive(Default)]
struct Columns<'a> {
    book: Vec<i16>,
    account: Vec<&'a [u8]>,
    asset: Vec<&'a str>,
    stripe: Vec<i32>,
    change: Vec<Numeric>,
}

/// The changes of balances, by how they are made.
#[derive(Default)]
struct Balances<'a> {
    /// Main rows that are locked.
    debits: Columns<'a>,
    /// Their stripes.
    folds: Columns<'a>,
    /// Everything else.
    credits: Columns<'a>,
    /// The stripes among them that are there.
    locks: Columns<'a>,
}

impl<'a> Balances<'a> {
    fn of(batch: &Batch, writes: &'a Writes, chain: u32) -> Result<Self, StorageError> {
        let own = own_stripe(chain)?;
        let mut balances = Self::default();
        for (key, change) in &writes.balances {
            let (book, account, asset) = columns::of_balance_key(key)?;
            let locked = if book == 1 { batch.stripes(account, asset)? } else { None };
            let to = match locked {
                Some(stripes) => {
                    for stripe in stripes {
                        balances.folds.push(book, account, asset, *stripe);
                        balances.locks.push(book, account, asset, *stripe);
                    }
                    &mut balances.debits
                }
                None if book == 1 && *change < 0 => {
                    return Err(StorageError::failed("an account was debited that was not locked"));
                }
                None => {
                    balances.locks.push(book, account, asset, own);
                    &mut balances.credits
                }
            };
            to.push(book, account, asset, 0);
            to.change.push((*change).into());
        }
        Ok(balances)
    }
}

impl<'a> Columns<'a> {
    fn push(&mut self, book: i16, account: &'a [u8], asset: &'a str, stripe: i32) {
        self.book.push(book);
        self.account.push(account);
        self.asset.push(asset);
        self.stripe.push(stripe);
    }
}

impl Batch {
    /// The stripes of an account whose main row is locked.
    fn stripes(&self, account: &[u8], asset: &str) -> Result<Option<&Vec<i32>>, StorageError> {
        let account = PublicKey(account.try_into().map_err(|_| damaged())?);
        let asset: AssetCode = asset.parse().map_err(|_| damaged())?;
        let debits: &BTreeMap<_, _> = &self.debits;
        Ok(debits.get(&(account, asset)))
    }
}
