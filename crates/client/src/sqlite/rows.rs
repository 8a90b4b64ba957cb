//! How records and sums are written into rows, and read back.

use std::time::{SystemTime, UNIX_EPOCH};

use farthing_protocol::rail::{PaymentId, SignedPayment};
use farthing_protocol::{Amount, PublicKey, RequestDigest};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use serde_json::value::RawValue;

use crate::budget::{AssetId, Charge, Limits};
use crate::journal::{Record, State};
use crate::prepared::{PaymentHeader, Version};

/// The columns of a [`Record`], for [`record`].
pub(super) const RECORD: &str = "id, network, asset, origin, amount, payee, method, target, header_names, \
    body_hash, digest, receipt_key, version, header, payload, extensions, max_amount, valid_before, \
    capture_deadline, state, taken, signed_at";

type Read<T> = rusqlite::Result<T>;

/// Unix seconds.
pub(super) fn unix_now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed())
}

/// A column of text in its type.
pub(super) fn parsed<T: std::str::FromStr>(row: &Row<'_>, name: &str) -> Read<T> {
    let text: String = row.get(name)?;
    text.parse().map_err(|_| damaged(name))
}

fn optional<T: std::str::FromStr>(row: &Row<'_>, name: &str) -> Read<Option<T>> {
    let text: Option<String> = row.get(name)?;
    text.map(|text| text.parse().map_err(|_| damaged(name))).transpose()
}

/// Unix seconds that were written with all their bits.
pub(super) fn seconds(row: &Row<'_>, name: &str) -> Read<u64> {
    row.get::<_, i64>(name).map(i64::cast_unsigned)
}

fn damaged(name: &str) -> rusqlite::Error {
    let why = format!("column `{name}` is damaged");
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, why.into())
}

fn unwritable(error: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(error.into())
}

/// The names of the request's headers.
pub(super) fn names(row: &Row<'_>) -> Read<Vec<String>> {
    let text: String = row.get("header_names")?;
    serde_json::from_str(&text).map_err(|_| damaged("header_names"))
}

pub(super) fn charge(row: &Row<'_>) -> Read<Charge> {
    Ok(Charge {
        asset: AssetId { network: parsed(row, "network")?, asset: row.get("asset")? },
        origin: parsed(row, "origin")?,
        amount: parsed(row, "amount")?,
    })
}

pub(super) fn record(row: &Row<'_>) -> Read<Record> {
    let version = match row.get("version")? {
        1 => Version::V1,
        2 => Version::V2,
        _ => return Err(damaged("version")),
    };
    let payload = RawValue::from_string(row.get("payload")?).map_err(|_| damaged("payload"))?;
    let extensions: String = row.get("extensions")?;
    let extensions = serde_json::from_str(&extensions).map_err(|_| damaged("extensions"))?;
    Ok(Record {
        payment: SignedPayment {
            id: PaymentId(row.get("id")?),
            payload,
            extensions,
            max_amount: parsed(row, "max_amount")?,
            valid_before: seconds(row, "valid_before")?,
            capture_deadline: seconds(row, "capture_deadline")?,
        },
        header: PaymentHeader::of(version, row.get("header")?),
        charge: charge(row)?,
        payee: row.get("payee")?,
        method: row.get("method")?,
        target: row.get("target")?,
        header_names: names(row)?,
        body_hash: row.get("body_hash")?,
        digest: RequestDigest(row.get("digest")?),
        receipt_key: row.get::<_, Option<[u8; 32]>>("receipt_key")?.map(PublicKey),
        signed_at: seconds(row, "signed_at")?,
        state: state(row)?,
    })
}

pub(super) fn state(row: &Row<'_>) -> Read<State> {
    let name: String = row.get("state")?;
    Ok(match name.as_str() {
        "signed" => State::Signed,
        "sent" => State::Sent,
        "unknown" => State::Unknown,
        "voided" => State::Voided,
        "settled" => State::Settled,
        "confirmed" => State::Confirmed(parsed(row, "taken")?),
        "released" => State::Released,
        _ => return Err(damaged("state")),
    })
}

/// The columns `state` and `taken`.
pub(super) fn of_state(state: State) -> (&'static str, Option<String>) {
    match state {
        State::Signed => ("signed", None),
        State::Sent => ("sent", None),
        State::Unknown => ("unknown", None),
        State::Voided => ("voided", None),
        State::Settled => ("settled", None),
        State::Confirmed(taken) => ("confirmed", Some(taken.to_string())),
        State::Released => ("released", None),
    }
}

pub(super) fn write_record(step: &Connection, ticket: i64, record: &Record) -> Read<()> {
    let Record { payment, charge, .. } = record;
    let (state, taken) = of_state(record.state);
    let version = match record.header.version() {
        Version::V1 => 1,
        Version::V2 => 2,
    };
    let mut insert = step.prepare_cached(
        "INSERT INTO payments (ticket, id, network, asset, origin, amount, payee, method, target, header_names, \
         body_hash, digest, receipt_key, version, header, payload, extensions, max_amount, valid_before, \
         capture_deadline, state, taken, signed_at) VALUES (:ticket, :id, :network, :asset, :origin, :amount, \
         :payee, :method, :target, :header_names, :body_hash, :digest, :receipt_key, :version, :header, \
         :payload, :extensions, :max_amount, :valid_before, :capture_deadline, :state, :taken, :signed_at)",
    )?;
    insert.execute(named_params! {
        ":ticket": ticket,
        ":id": payment.id.0,
        ":network": charge.asset.network.to_string(),
        ":asset": charge.asset.asset,
        ":origin": charge.origin.as_str(),
        ":amount": charge.amount.to_string(),
        ":payee": record.payee,
        ":method": record.method,
        ":target": record.target,
        ":header_names": serde_json::to_string(&record.header_names).map_err(unwritable)?,
        ":body_hash": record.body_hash,
        ":digest": record.digest.0,
        ":receipt_key": record.receipt_key.map(|key| key.0),
        ":version": version,
        ":header": record.header.expose(),
        ":payload": payment.payload.get(),
        ":extensions": serde_json::to_string(&payment.extensions).map_err(unwritable)?,
        ":max_amount": payment.max_amount.to_string(),
        ":valid_before": payment.valid_before.cast_signed(),
        ":capture_deadline": payment.capture_deadline.cast_signed(),
        ":state": state,
        ":taken": taken,
        ":signed_at": record.signed_at.cast_signed(),
    })?;
    Ok(())
}

/// The row of [`counts`](super::schema) over all origins.
const ALL: &str = "";

/// What counts in the charge's asset: at its origin, and altogether.
pub(super) fn counted(step: &Connection, charge: &Charge) -> Read<(Amount, Amount)> {
    Ok((count(step, charge, charge.origin.as_str())?, count(step, charge, ALL)?))
}

/// Counts the charge, without asking.
pub(super) fn add(step: &Connection, charge: &Charge) -> Read<()> {
    change(step, charge, |counted| counted.saturating_add(charge.amount.0))
}

/// Ends a reservation of which `taken` was taken.
pub(super) fn settle(step: &Connection, charge: &Charge, taken: Amount) -> Read<()> {
    let back = charge.amount.0.saturating_sub(taken.0);
    change(step, charge, |counted| counted.saturating_sub(back))
}

fn count(step: &Connection, charge: &Charge, origin: &str) -> Read<Amount> {
    let mut select =
        step.prepare_cached("SELECT amount FROM counts WHERE network = ?1 AND asset = ?2 AND origin = ?3")?;
    let key = params![charge.asset.network.to_string(), charge.asset.asset, origin];
    Ok(select.query_row(key, |row| parsed(row, "amount")).optional()?.unwrap_or_default())
}

fn change(step: &Connection, charge: &Charge, change: impl Fn(u128) -> u128) -> Read<()> {
    for origin in [charge.origin.as_str(), ALL] {
        let now = change(count(step, charge, origin)?.0);
        let mut write = step.prepare_cached("REPLACE INTO counts VALUES (?1, ?2, ?3, ?4)")?;
        let network = charge.asset.network.to_string();
        write.execute(params![network, charge.asset.asset, origin, now.to_string()])?;
    }
    Ok(())
}

/// The limits in the file for an asset.
pub(super) fn limits(step: &Connection, asset: &AssetId) -> Read<Option<Limits>> {
    let mut select = step.prepare_cached(
        "SELECT per_request, per_host, total FROM budgets WHERE network = ?1 AND asset = ?2",
    )?;
    let limits = |row: &Row<'_>| {
        Ok(Limits {
            per_request: optional(row, "per_request")?,
            per_host: optional(row, "per_host")?,
            total: parsed(row, "total")?,
        })
    };
    select.query_row(params![asset.network.to_string(), asset.asset], limits).optional()
}

pub(super) fn write_limits(step: &Connection, asset: &AssetId, limits: &Limits) -> Read<()> {
    let text = |amount: Option<Amount>| amount.map(|amount| amount.to_string());
    step.execute(
        "REPLACE INTO budgets (network, asset, per_request, per_host, total) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            asset.network.to_string(),
            asset.asset,
            text(limits.per_request),
            text(limits.per_host),
            limits.total.to_string()
        ],
    )?;
    Ok(())
}
