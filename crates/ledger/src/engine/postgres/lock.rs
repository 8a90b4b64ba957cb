//! The beginning of a batch: everything that it judges is locked, in one order for all committers, and only
//! then does it get its time and its position. So batches that conflict have both in the order of their commits.

use std::collections::{BTreeMap, BTreeSet};

use farthing_protocol::PublicKey;
use farthing_protocol::rail::PaymentId;
use futures_util::future::{try_join, try_join4, try_join5};
use tokio_postgres::Row as Columns;
use tokio_postgres::types::ToSql;

use super::columns;
use super::error::sql;
use super::numeric::Numeric;
use super::session::Session;
use crate::engine::storage::{Begun, StorageError, Wanted};
use crate::identity::{AssetCode, Book};
use crate::rows::{Table, key};
use crate::statement::PaymentState;

/// Holds that one batch ends at most; the next one goes on.
const MAX_DUE: i64 = 4_096;

const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
/// Whoever changes assets, deposits or keys is alone: others judge by them and have no row of them to lock.
const ALONE: &str = "SELECT pg_advisory_xact_lock($1)";
const TOGETHER: &str = "SELECT pg_advisory_xact_lock_shared($1)";
/// Waits for others that claim the same payments, until they have committed or not.
const CLAIM: &str =
    "INSERT INTO payment_id (id) SELECT unnest($1::bytea[]) ON CONFLICT DO NOTHING RETURNING id";
/// Those that are wanted, and those that are due. Here and below, rows are locked one by one in the order in
/// which they are listed, each found by its whole key: a subquery that locks is never merged into the query
/// around it, so that no plan ever reads a whole table, whatever the planner believes of its size.
const PAYMENTS: &str = "
    SELECT p.* FROM (
        SELECT id FROM (
            SELECT unnest($1::bytea[]) AS id
            UNION
            (SELECT id FROM payment WHERE state = 1 AND capture_deadline < greatest($2::numeric,
                CASE WHEN $3::boolean THEN floor(extract(epoch FROM statement_timestamp())) END)
            ORDER BY capture_deadline, id LIMIT $4::bigint)
        ) AS listed ORDER BY id
    ) AS wanted CROSS JOIN LATERAL (
        SELECT id, state, captured, refunded, fee_bps, owner, epoch, lease_until, tenant, changed_at, ended_at,
            capture_deadline, terms
        FROM payment WHERE payment.id = wanted.id FOR UPDATE
    ) AS p";
/// The main rows. An account that has none has no money: who first pays it makes one.
const MAINS: &str = "
    SELECT n.account, n.asset, b.amount FROM unnest($1::bytea[], $2::text[]) AS n (account, asset)
    CROSS JOIN LATERAL (
        SELECT amount FROM balance
        WHERE book = 1 AND account = n.account AND asset = n.asset AND stripe = 0 FOR UPDATE
    ) AS b";
/// A statement of its own, so that it sees what was committed while the main rows were waited for. Nobody but
/// who has the main row takes from a stripe, so what is seen here can only become more.
const STRIPES: &str = "
    SELECT n.account, n.asset, b.amount, b.stripe FROM unnest($1::bytea[], $2::text[]) AS n (account, asset)
    CROSS JOIN LATERAL (
        SELECT amount, stripe FROM balance
        WHERE book = 1 AND account = n.account AND asset = n.asset AND stripe > 0 ORDER BY stripe OFFSET 0
    ) AS b";
const NONCES: &str = "
    SELECT n.payer, n.nonce, r.payment FROM unnest($1::bytea[], $2::bytea[]) AS n (payer, nonce)
    CROSS JOIN LATERAL (SELECT payment FROM replay WHERE payer = n.payer AND nonce = n.nonce OFFSET 0) AS r";
const KEYS: &str = "SELECT account, keys FROM account_keys WHERE account = ANY($1::bytea[])";
/// Last of all: the time, the position, and the heads of all chains.
const MOMENT: &str = "
    SELECT floor(extract(epoch FROM clock_timestamp()))::bigint, nextval('position'),
        ARRAY(SELECT value FROM meta WHERE key >= 'head' AND key < 'head0')";

/// What [`begin`] says, so that all of it can be prepared at once.
pub(super) const STATEMENTS: [&str; 9] =
    [ALONE, TOGETHER, CLAIM, PAYMENTS, MAINS, STRIPES, NONCES, KEYS, MOMENT];

/// A batch that has begun: what it has locked, and what it has read.
#[derive(Default)]
pub(super) struct Batch {
    /// Rows as they are until this batch ends; `None` where there is none.
    pub(super) rows: BTreeMap<(Table, Vec<u8>), Option<Vec<u8>>>,
    /// Open holds among the locked payments, by capture deadline.
    pub(super) due: BTreeSet<(u64, PaymentId)>,
    /// Payments that are there, and locked.
    pub(super) locked: BTreeSet<PaymentId>,
    /// Payments that are not, and cannot come to be.
    pub(super) claimed: BTreeSet<PaymentId>,
    /// Accounts whose main rows are locked, with the stripes that were seen.
    pub(super) debits: BTreeMap<(PublicKey, AssetCode), Vec<i32>>,
    pub(super) position: i64,
}

/// Begins a batch in a transaction of its own. `seen` is the latest time that was seen before.
pub(super) async fn begin(
    session: &Session,
    wanted: &Wanted,
    keeps_time: bool,
    seen: u64,
) -> Result<(Begun, Batch), StorageError> {
    let mut batch = Batch::default();
    let payments: Vec<&[u8]> = wanted.payments.iter().map(|id| &id.0[..]).collect();
    let due_before = wanted.due_before.map_or(0, |due| due.max(seen));
    let due_before = Numeric::from(due_before);
    // Requests are sent in the order in which their futures are polled first, and answered in that order.
    let registers = if wanted.registers { ALONE } else { TOGETHER };
    let (register, claim): ([Parameter<'_>; 1], [Parameter<'_>; 1]) = ([&session.name], [&payments]);
    let lock: [Parameter<'_>; 4] = [&payments, &due_before, &keeps_time, &MAX_DUE];
    let first = try_join4(
        session.run(BEGIN),
        session.query(registers, &register),
        some(payments.is_empty(), session, CLAIM, &claim),
        session.query(PAYMENTS, &lock),
    );
    let begun = if wanted.refunds.is_empty() {
        let debits: BTreeSet<_> = wanted.debits.iter().copied().collect();
        let (first, begun) = try_join(first, rest(session, wanted, &debits)).await?;
        batch.take_payments(wanted, &first.2, &first.3)?;
        batch.take_rest(wanted, &debits, begun)?
    } else {
        let (_, _, claimed, payments) = first.await?;
        batch.take_payments(wanted, &claimed, &payments)?;
        let mut debits = wanted.debits.clone();
        debits.extend(batch.payees(&wanted.refunds)?);
        let begun = rest(session, wanted, &debits).await?;
        batch.take_rest(wanted, &debits, begun)?
    };
    let (now, seen) = begun;
    let position = batch.position.unsigned_abs();
    Ok((Begun { now: keeps_time.then_some(now), seen, position }, batch))
}

type Parameter<'a> = &'a (dyn ToSql + Sync);
type Rest = (Vec<Columns>, Vec<Columns>, Vec<Columns>, Vec<Columns>, Vec<Columns>);

/// Everything behind the payments.
async fn rest(
    session: &Session,
    wanted: &Wanted,
    debits: &BTreeSet<(PublicKey, AssetCode)>,
) -> Result<Rest, StorageError> {
    let accounts: Vec<&[u8]> = debits.iter().map(|(account, _)| &account.0[..]).collect();
    let assets: Vec<&str> = debits.iter().map(|(_, asset)| asset.as_str()).collect();
    let payers: Vec<&[u8]> = wanted.nonces.iter().map(|(payer, _)| &payer.0[..]).collect();
    let nonces: Vec<&[u8]> = wanted.nonces.iter().map(|(_, nonce)| &nonce[..]).collect();
    let keys: Vec<&[u8]> = wanted.keys.iter().map(|account| &account.0[..]).collect();
    try_join5(
        some(accounts.is_empty(), session, MAINS, &[&accounts, &assets]),
        some(accounts.is_empty(), session, STRIPES, &[&accounts, &assets]),
        some(payers.is_empty(), session, NONCES, &[&payers, &nonces]),
        some(keys.is_empty(), session, KEYS, &[&keys]),
        session.query(MOMENT, &[]),
    )
    .await
}

/// Asks, unless there is nothing to ask for.
async fn some(
    nothing: bool,
    session: &Session,
    statement: &str,
    parameters: &[Parameter<'_>],
) -> Result<Vec<Columns>, StorageError> {
    if nothing { Ok(Vec::new()) } else { session.query(statement, parameters).await }
}

impl Batch {
    fn take_payments(
        &mut self,
        wanted: &Wanted,
        claimed: &[Columns],
        payments: &[Columns],
    ) -> Result<(), StorageError> {
        for columns in claimed {
            let id: &[u8] = columns.try_get(0).map_err(sql)?;
            self.claimed.insert(PaymentId(fixed(id)?));
        }
        for columns in payments {
            let (key, value) = columns::row(Table::Payment, columns).map_err(sql)?;
            let id = PaymentId(fixed(&key)?);
            let deadline: Numeric = columns.try_get(11).map_err(sql)?;
            if value.first() == Some(&PaymentState::Held.code()) {
                self.due.insert((deadline.to_u64().unwrap_or(u64::MAX), id));
            }
            self.locked.insert(id);
            self.rows.insert((Table::Payment, key), Some(value));
        }
        for id in &wanted.payments {
            if self.locked.contains(id) {
                continue;
            }
            if !self.claimed.contains(id) {
                // It was there, and was forgotten before it could be locked.
                return Err(StorageError::Again(format!("payment {id} is just being forgotten")));
            }
            self.rows.insert((Table::Payment, id.0.to_vec()), None);
        }
        Ok(())
    }

    /// Who is debited when these payments are refunded.
    fn payees(&self, refunds: &BTreeSet<PaymentId>) -> Result<Vec<(PublicKey, AssetCode)>, StorageError> {
        let rows = refunds.iter().filter_map(|id| self.rows.get(&(Table::Payment, id.0.to_vec())));
        let terms = rows.flatten().map(|value| columns::terms_of(value));
        terms.map(|terms| terms.map(|terms| (terms.payee, terms.asset))).collect()
    }

    fn take_rest(
        &mut self,
        wanted: &Wanted,
        debits: &BTreeSet<(PublicKey, AssetCode)>,
        (mains, stripes, nonces, keys, moment): Rest,
    ) -> Result<(u64, u64), StorageError> {
        self.take_balances(debits, &mains, &stripes)?;
        for (payer, nonce) in &wanted.nonces {
            self.rows.insert((Table::Replay, key::replay(payer, nonce)), None);
        }
        for account in &wanted.keys {
            self.rows.insert((Table::Keys, account.0.to_vec()), None);
        }
        for (table, rows) in [(Table::Replay, &nonces), (Table::Keys, &keys)] {
            for columns in rows {
                let (key, value) = columns::row(table, columns).map_err(sql)?;
                self.rows.insert((table, key), Some(value));
            }
        }
        let moment = moment.first().ok_or_else(|| StorageError::failed("the database tells no time"))?;
        let now: i64 = moment.try_get(0).map_err(sql)?;
        self.position = moment.try_get(1).map_err(sql)?;
        let heads: Vec<&[u8]> = moment.try_get(2).map_err(sql)?;
        let clocks = heads.into_iter().map(columns::clock_of_head).collect::<Result<Vec<_>, _>>()?;
        Ok((u64::try_from(now).unwrap_or(0), clocks.into_iter().max().unwrap_or(0)))
    }

    /// An account without a main row when it was looked for had no money then, whatever came since.
    fn take_balances(
        &mut self,
        debits: &BTreeSet<(PublicKey, AssetCode)>,
        mains: &[Columns],
        stripes: &[Columns],
    ) -> Result<(), StorageError> {
        let mut sums: BTreeMap<(PublicKey, AssetCode), i128> = BTreeMap::new();
        for columns in mains {
            let (account, amount) = balance(columns)?;
            sums.insert(account, amount);
            self.debits.insert(account, Vec::new());
        }
        for columns in stripes {
            let (account, amount) = balance(columns)?;
            if let (Some(sum), Some(seen)) = (sums.get_mut(&account), self.debits.get_mut(&account)) {
                *sum = sum.saturating_add(amount);
                seen.push(columns.try_get(3).map_err(sql)?);
            }
        }
        for (account, asset) in debits {
            let sum = sums.get(&(*account, *asset)).map(|sum| sum.to_be_bytes().to_vec());
            self.rows.insert((Table::Balance, key::balance(&Book::Account(*account), asset)), sum);
        }
        Ok(())
    }
}

/// An account's asset and what one of its rows has.
fn balance(columns: &Columns) -> Result<((PublicKey, AssetCode), i128), StorageError> {
    let (account, asset): (&[u8], &str) =
        (columns.try_get(0).map_err(sql)?, columns.try_get(1).map_err(sql)?);
    let amount: Numeric = columns.try_get(2).map_err(sql)?;
    let asset = asset.parse().map_err(|_| StorageError::failed("an asset's code is damaged"))?;
    let amount = amount.to_i128().ok_or_else(|| StorageError::failed("a balance is beyond counting"))?;
    Ok(((PublicKey(fixed(account)?), asset), amount))
}

fn fixed(bytes: &[u8]) -> Result<[u8; 32], StorageError> {
    bytes.try_into().map_err(|_| StorageError::failed("a key is damaged"))
}
