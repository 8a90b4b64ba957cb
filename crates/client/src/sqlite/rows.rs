//! How records and sums are written into rows, and read back.

use std::time::{SystemTime, UNIX_EPOCH};

use farthing_protocol::rail::{PaymentId, SignedPayment};
use farthing_protocol::{Amount, PublicKey, RequestDigest};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use serde_json::value::RawValue;

use crate::budget::{AssetId, Charge};
use crate::journal::{PricedPlace, Record, State};
use crate::prepared::{PaymentHeader, Version};

/// The columns of a [`Charge`], for [`charge`].
pub(super) const CHARGE: &str = "network, asset, origin, amount, payee, agent, task, charged_at";

/// The columns of a [`Record`], for [`record`].
pub(super) const RECORD: &str = "id, network, asset, origin, amount, payee, agent, task, charged_at, method, target, header_names, \
    body_hash, digest, receipt_key, version, header, payload, extensions, max_amount, valid_before, \
    capture_deadline, state, taken, signed_at, status, settled, receipt, receipt_jws";

pub(super) type Read<T> = rusqlite::Result<T>;

/// Unix seconds.
pub(super) fn unix_now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed())
}

/// A column of text in its type.
pub(super) fn parsed<T: std::str::FromStr>(row: &Row<'_>, name: &str) -> Read<T> {
    let text: String = row.get(name)?;
    text.parse().map_err(|_| damaged(name))
}

/// A column of text in its type, or nothing.
pub(super) fn optional<T: std::str::FromStr>(row: &Row<'_>, name: &str) -> Read<Option<T>> {
    let text: Option<String> = row.get(name)?;
    text.map(|text| text.parse().map_err(|_| damaged(name))).transpose()
}

/// Unix seconds to compare with: those after all that SQLite knows are its last ones.
pub(super) fn moment(seconds: u64) -> i64 {
    seconds.try_into().unwrap_or(i64::MAX)
}

/// Unix seconds that were written with all their bits.
pub(super) fn seconds(row: &Row<'_>, name: &str) -> Read<u64> {
    row.get::<_, i64>(name).map(i64::cast_unsigned)
}

pub(super) fn damaged(name: &str) -> rusqlite::Error {
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
        payee: row.get("payee")?,
        agent: row.get("agent")?,
        task: row.get("task")?,
        at: seconds(row, "charged_at")?,
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
        status: row.get("status")?,
        settled: optional(row, "settled")?,
        receipt: row.get("receipt")?,
        receipt_jws: row.get("receipt_jws")?,
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
    let taken = if let State::Confirmed(taken) = state { Some(taken.to_string()) } else { None };
    (state.standing().name(), taken)
}

/// Writes a reservation; returns its ticket.
pub(super) fn write_ticket(step: &Connection, charge: &Charge) -> Read<i64> {
    let mut insert = step.prepare_cached(
        "INSERT INTO tickets (network, asset, origin, amount, payee, agent, task, charged_at, reserved_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    insert.insert(params![
        charge.asset.network.to_string(),
        charge.asset.asset,
        charge.origin.as_str(),
        charge.amount.to_string(),
        charge.payee,
        charge.agent,
        charge.task,
        charge.at.cast_signed(),
        unix_now()
    ])
}

pub(super) fn write_record(step: &Connection, ticket: i64, record: &Record) -> Read<()> {
    let Record { payment, charge, .. } = record;
    let (state, taken) = of_state(record.state);
    let version = match record.header.version() {
        Version::V1 => 1,
        Version::V2 => 2,
    };
    let mut insert = step.prepare_cached(
        "INSERT INTO payments (ticket, id, network, asset, origin, amount, payee, agent, task, charged_at, \
         method, target, header_names, body_hash, digest, receipt_key, version, header, payload, extensions, \
         max_amount, valid_before, capture_deadline, state, taken, signed_at, status, settled, receipt, \
         receipt_jws) VALUES \
         (:ticket, :id, :network, :asset, :origin, :amount, :payee, :agent, :task, :charged_at, :method, \
         :target, :header_names, :body_hash, :digest, :receipt_key, :version, :header, :payload, :extensions, \
         :max_amount, :valid_before, :capture_deadline, :state, :taken, :signed_at, :status, :settled, :receipt, \
         :receipt_jws)",
    )?;
    insert.execute(named_params! {
        ":ticket": ticket,
        ":id": payment.id.0,
        ":network": charge.asset.network.to_string(),
        ":asset": charge.asset.asset,
        ":origin": charge.origin.as_str(),
        ":amount": charge.amount.to_string(),
        ":payee": charge.payee,
        ":agent": charge.agent,
        ":task": charge.task,
        ":charged_at": charge.at.cast_signed(),
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
        ":status": record.status,
        ":settled": record.settled.map(|amount| amount.to_string()),
        ":receipt": record.receipt,
        ":receipt_jws": record.receipt_jws,
    })?;
    Ok(())
}

/// Remembers what was asked where the record's request went.
pub(super) fn write_price(step: &Connection, record: &Record) -> Read<()> {
    let place = PricedPlace::of(&record.charge, &record.method, &record.target);
    let mut write = step.prepare_cached(
        "REPLACE INTO prices (origin, method, path, network, asset, amount) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    write.execute(params![
        place.origin.as_str(),
        place.method,
        place.path,
        place.asset.network.to_string(),
        place.asset.asset,
        record.charge.amount.to_string()
    ])?;
    Ok(())
}

/// What was asked there the last time.
pub(super) fn price(step: &Connection, place: &PricedPlace) -> Read<Option<Amount>> {
    let mut select = step.prepare_cached(
        "SELECT amount FROM prices \
         WHERE origin = ?1 AND method = ?2 AND path = ?3 AND network = ?4 AND asset = ?5",
    )?;
    let network = place.asset.network.to_string();
    let key = params![place.origin.as_str(), place.method, place.path, network, place.asset.asset];
    select.query_row(key, |row| parsed(row, "amount")).optional()
}
