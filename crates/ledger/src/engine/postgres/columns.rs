//! Rows as typed columns, and as the keys and values of [`crate::rows`]: both ways, exactly.
//!
//! A row whose columns do not fit together becomes a row without a value, which nothing reads as one: the
//! engine refuses it, and the check reports it.

use std::error::Error;

use bytes::BytesMut;
use farthing_protocol::layout::{Reader, Writer};
use tokio_postgres::Row as Columns;
use tokio_postgres::types::{IsNull, ToSql, Type};

use super::numeric::Numeric;
use crate::engine::storage::{Row, StorageError};
use crate::entry::Entry;
use crate::rows::{Head, Payment, Table, key};

/// What a table's rows are read with.
pub(super) struct Shape {
    /// Columns, table and the rows that count.
    pub(super) select: &'static str,
    /// The columns of the key, in its order.
    pub(super) key: &'static str,
    /// What rows of one key are summed by.
    pub(super) group: &'static str,
}

pub(super) fn shape(table: Table) -> Shape {
    let (select, key) = match table {
        Table::Meta => ("key, value FROM meta WHERE true", "key"),
        Table::Asset => ("code, scale, issuer FROM asset WHERE true", "code"),
        Table::Keys => ("account, keys FROM account_keys WHERE true", "account"),
        Table::Balance => {
            ("book, account, asset, sum(amount) FROM balance WHERE true", "book, account, asset")
        }
        Table::Payment => (
            "id, state, captured, refunded, fee_bps, owner, epoch, lease_until, \
             tenant, changed_at, ended_at, capture_deadline, terms FROM payment WHERE true",
            "id",
        ),
        Table::Replay => ("payer, nonce, payment FROM replay WHERE true", "payer, nonce"),
        Table::Due => ("capture_deadline, id FROM payment WHERE state = 1", "capture_deadline, id"),
        Table::Answer => ("payment, answer FROM answer WHERE true", "payment"),
        Table::Deposit => ("reference, signed FROM deposit WHERE true", "reference"),
        Table::Entry => ("chain, sequence, position, bytes FROM entry WHERE true", "chain, sequence"),
    };
    let group = if table == Table::Balance { "GROUP BY book, account, asset" } else { "" };
    Shape { select, key, group }
}

/// One column of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    Bytes(Vec<u8>),
    Text(String),
    Small(i16),
    Int(i32),
    Big(i64),
    Number(Numeric),
}

impl ToSql for Cell {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Bytes(value) => value.to_sql_checked(ty, out),
            Self::Text(value) => value.to_sql_checked(ty, out),
            Self::Small(value) => value.to_sql_checked(ty, out),
            Self::Int(value) => value.to_sql_checked(ty, out),
            Self::Big(value) => value.to_sql_checked(ty, out),
            Self::Number(value) => value.to_sql_checked(ty, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        // Each variant checks for itself.
        true
    }

    tokio_postgres::types::to_sql_checked!();
}

/// Where a range begins or ends: before the first key that is not less, in the order of keys as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    /// Before the row with these columns, or where it would be.
    At(Vec<Cell>),
    /// Right behind it.
    Behind(Vec<Cell>),
    /// Behind every row.
    End,
}

/// The place of `key` among a table's rows. It need not be a whole key: any bytes have a place.
pub(super) fn bound(table: Table, key: &[u8]) -> Bound {
    match table {
        Table::Meta | Table::Keys | Table::Payment | Table::Answer | Table::Deposit => {
            Bound::At(vec![Cell::Bytes(key.to_vec())])
        }
        Table::Asset => text_bound(Vec::new(), key),
        Table::Balance => {
            let (book, rest) = key.split_first().map_or((0, key), |(book, rest)| (*book, rest));
            let (account, asset) = rest.split_at(rest.len().min(32));
            text_bound(vec![Cell::Small(i16::from(book)), Cell::Bytes(account.to_vec())], asset)
        }
        Table::Replay => {
            let (payer, nonce) = key.split_at(key.len().min(32));
            Bound::At(vec![Cell::Bytes(payer.to_vec()), Cell::Bytes(nonce.to_vec())])
        }
        Table::Due => {
            let (deadline, id) = key.split_at(key.len().min(8));
            Bound::At(vec![Cell::Number(padded(deadline).into()), Cell::Bytes(id.to_vec())])
        }
        Table::Entry => entry_bound(key),
    }
}

/// Codes are printable ASCII, so the first other byte decides.
fn text_bound(mut cells: Vec<Cell>, text: &[u8]) -> Bound {
    let end = text.iter().position(|byte| !matches!(byte, 0x20..=0x7e));
    let (whole, other) = text.split_at(end.unwrap_or(text.len()));
    let mut code = String::from_utf8_lossy(whole).into_owned();
    match other.first() {
        None => {
            cells.push(Cell::Text(code));
            Bound::At(cells)
        }
        Some(byte) if *byte < 0x20 => {
            cells.push(Cell::Text(code));
            Bound::Behind(cells)
        }
        Some(_) => {
            code.push('\x7f');
            cells.push(Cell::Text(code));
            Bound::At(cells)
        }
    }
}

/// Chain 0 has bare sequences; every other one stands behind the highest of them.
fn entry_bound(key: &[u8]) -> Bound {
    let (first, rest) = key.split_at(key.len().min(8));
    let first = padded(first);
    let (chain, sequence, more) = if first == u64::MAX {
        let (chain, rest) = rest.split_at(rest.len().min(4));
        let (sequence, more) = rest.split_at(rest.len().min(8));
        let mut bytes = [0; 4];
        bytes[..chain.len()].copy_from_slice(chain);
        match u32::from_be_bytes(bytes) {
            0 => (1, 0, false),
            chain => (chain, padded(sequence), !more.is_empty()),
        }
    } else {
        (0, first, !rest.is_empty())
    };
    let (Ok(chain), sequence) = (i32::try_from(chain), i64::try_from(sequence)) else { return Bound::End };
    let at = |chain, sequence| vec![Cell::Int(chain), Cell::Big(sequence)];
    match (sequence, chain.checked_add(1)) {
        (Ok(sequence), _) if more => Bound::Behind(at(chain, sequence)),
        (Ok(sequence), _) => Bound::At(at(chain, sequence)),
        // A sequence that no column holds is behind all of its chain.
        (Err(_), Some(next)) => Bound::At(at(next, 0)),
        (Err(_), None) => Bound::End,
    }
}

fn padded(bytes: &[u8]) -> u64 {
    let mut all = [0; 8];
    all[..bytes.len()].copy_from_slice(bytes);
    u64::from_be_bytes(all)
}

/// A row that was read with its table's [`shape`].
pub(super) fn row(table: Table, columns: &Columns) -> Result<Row, tokio_postgres::Error> {
    let bytes = |at: usize| columns.try_get::<_, &[u8]>(at).map(<[u8]>::to_vec);
    Ok(match table {
        Table::Meta | Table::Keys | Table::Answer | Table::Deposit => (bytes(0)?, bytes(1)?),
        Table::Asset => {
            let (code, scale): (&str, i16) = (columns.try_get(0)?, columns.try_get(1)?);
            let scale = u8::try_from(scale).ok();
            let value = scale.map(|scale| Ok(Writer::bare().u8(scale).fixed(&bytes(2)?).finish()));
            (code.as_bytes().to_vec(), value.transpose()?.unwrap_or_default())
        }
        Table::Balance => {
            let (book, asset): (i16, &str) = (columns.try_get(0)?, columns.try_get(2)?);
            let sum: Numeric = columns.try_get(3)?;
            let value = sum.to_i128().map(|sum| sum.to_be_bytes().to_vec());
            (balance_key(book, &bytes(1)?, asset), value.unwrap_or_default())
        }
        Table::Payment => (bytes(0)?, payment_value(columns)?.unwrap_or_default()),
        Table::Replay => ([bytes(0)?, bytes(1)?].concat(), bytes(2)?),
        Table::Due => {
            let deadline: Numeric = columns.try_get(0)?;
            let deadline = deadline.to_u64().unwrap_or(u64::MAX);
            (Writer::bare().u64(deadline).fixed(&bytes(1)?).finish(), Vec::new())
        }
        Table::Entry => {
            let (chain, sequence): (i32, i64) = (columns.try_get(0)?, columns.try_get(1)?);
            let (position, value): (i64, Vec<u8>) = (columns.try_get(2)?, bytes(3)?);
            let chain = u32::try_from(chain).unwrap_or(u32::MAX);
            let sequence = u64::try_from(sequence).unwrap_or(u64::MAX);
            let said = Entry::decode(&value).ok().map(|entry| entry.position);
            let fits = said.is_none_or(|said| u64::try_from(position) == Ok(said));
            (key::entry(chain, sequence), if fits { value } else { Vec::new() })
        }
    })
}

pub(super) fn balance_key(book: i16, account: &[u8], asset: &str) -> Vec<u8> {
    let book = u8::try_from(book).unwrap_or(u8::MAX);
    Writer::bare().u8(book).fixed(account).fixed(asset.as_bytes()).finish()
}

/// A balance's book, account and asset.
pub(super) fn of_balance_key(key: &[u8]) -> Result<(i16, &[u8], &str), StorageError> {
    let damaged = || StorageError::failed("a balance has a damaged key");
    let (book, rest) = key.split_first().ok_or_else(damaged)?;
    let (account, asset) = rest.split_at_checked(32).ok_or_else(damaged)?;
    Ok((i16::from(*book), account, std::str::from_utf8(asset).map_err(|_| damaged())?))
}

/// The value of a payment's row, from the columns of its [`shape`].
fn payment_value(columns: &Columns) -> Result<Option<Vec<u8>>, tokio_postgres::Error> {
    let number = |at: usize| columns.try_get::<_, Numeric>(at);
    let bytes = |at: usize| columns.try_get::<_, &[u8]>(at);
    let (state, fee_bps): (i16, i32) = (columns.try_get(1)?, columns.try_get(4)?);
    let (Ok(state), Ok(fee_bps)) = (u8::try_from(state), u16::try_from(fee_bps)) else { return Ok(None) };
    let (Some(captured), Some(refunded)) = (number(2)?.to_u128(), number(3)?.to_u128()) else {
        return Ok(None);
    };
    let counts = [number(6)?, number(7)?, number(9)?, number(10)?].map(Numeric::to_u64);
    let [Some(epoch), Some(lease_until), Some(changed_at), Some(ended_at)] = counts else { return Ok(None) };
    let out = Writer::bare().u8(state).u128(captured).u128(refunded).u16(fee_bps).fixed(bytes(5)?);
    let out = out.u64(epoch).u64(lease_until).var(bytes(8)?).u64(changed_at).u64(ended_at);
    Ok(Some(out.var(bytes(12)?).finish()))
}

/// The columns of payments that are written.
#[derive(Default)]
pub(super) struct Payments<'a> {
    pub(super) id: Vec<&'a [u8]>,
    pub(super) state: Vec<i16>,
    pub(super) captured: Vec<Numeric>,
    pub(super) refunded: Vec<Numeric>,
    pub(super) fee_bps: Vec<i32>,
    pub(super) owner: Vec<Vec<u8>>,
    pub(super) epoch: Vec<Numeric>,
    pub(super) lease_until: Vec<Numeric>,
    pub(super) tenant: Vec<Vec<u8>>,
    pub(super) changed_at: Vec<Numeric>,
    pub(super) ended_at: Vec<Numeric>,
    pub(super) capture_deadline: Vec<Numeric>,
    pub(super) terms: Vec<Vec<u8>>,
}

impl<'a> Payments<'a> {
    pub(super) fn push(&mut self, id: &'a [u8], value: &[u8]) -> Result<(), StorageError> {
        let payment = Payment::decode(value)?;
        self.id.push(id);
        self.state.push(i16::from(payment.state.code()));
        self.captured.push(payment.captured.0.into());
        self.refunded.push(payment.refunded.0.into());
        self.fee_bps.push(i32::from(payment.fee_bps));
        self.owner.push(payment.owner.to_vec());
        self.epoch.push(payment.epoch.into());
        self.lease_until.push(payment.lease_until.into());
        self.tenant.push(payment.tenant.into_bytes());
        self.changed_at.push(payment.changed_at.into());
        self.ended_at.push(payment.ended_at.into());
        self.capture_deadline.push(payment.terms.capture_deadline.into());
        self.terms.push(payment.terms.encode());
        Ok(())
    }
}

/// The signed terms in a payment's value.
pub(super) fn terms_of(value: &[u8]) -> Result<crate::terms::Terms, StorageError> {
    Ok(Payment::decode(value)?.terms)
}

/// A code's scale and issuer.
pub(super) fn of_asset(value: &[u8]) -> Result<(i16, [u8; 32]), StorageError> {
    let mut from = Reader::bare(value);
    let asset = (i16::from(from.u8()?), from.fixed()?);
    from.finish()?;
    Ok(asset)
}

/// The clock in a head.
pub(super) fn clock_of_head(value: &[u8]) -> Result<u64, StorageError> {
    Ok(Head::read(&mut Reader::bare(value))?.clock)
}
