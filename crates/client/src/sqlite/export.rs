//! The journal for accounting: every payment in a line, without what could be spent.

use std::io::Write;

use farthing_protocol::Amount;
use farthing_protocol::rail::PaymentId;
use rusqlite::Row;
use serde_json::{Value, json};
use thiserror::Error;

use super::{SqliteJournal, rows};
use crate::journal::JournalError;

/// How many payments are read at once; signing goes on between.
const PAGE: i64 = 256;

/// The columns, in this order in CSV.
const COLUMNS: [&str; 21] = [
    "payment",
    "state",
    "signed_at",
    "sent_at",
    "closed_at",
    "valid_before",
    "method",
    "url",
    "header_names",
    "body_sha256",
    "payee",
    "network",
    "asset",
    "amount",
    "taken",
    "x402_version",
    "agent",
    "task",
    "status",
    "settled",
    "has_receipt",
];

/// How payments are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    JsonLines,
    /// RFC 4180 with a line of names. A text that a spreadsheet would take for a formula begins with `'`.
    Csv,
}

/// An export that broke off.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The payment journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// What it is written to failed.
    #[error("the export cannot be written: {0}")]
    Write(#[from] std::io::Error),
}

impl SqliteJournal {
    /// Writes every payment, oldest first, and returns how many there were. Amounts are in atomic units,
    /// times in Unix seconds; `amount` is the most that could be taken, `taken` what the network says was, and
    /// `settled` what the seller says.
    /// Neither payment headers nor signatures are written.
    ///
    /// # Errors
    /// [`ExportError`].
    pub fn export(&self, format: Format, to: &mut dyn Write) -> Result<u64, ExportError> {
        if format == Format::Csv {
            write!(to, "{}\r\n", COLUMNS.join(","))?;
        }
        let (mut after, mut written) = (0, 0);
        loop {
            let page = self.page(after)?;
            let Some((last, _)) = page.last() else { return Ok(written) };
            after = *last;
            for (_, payment) in &page {
                match format {
                    Format::JsonLines => writeln!(to, "{payment}")?,
                    Format::Csv => write!(to, "{}\r\n", COLUMNS.map(|name| cell(&payment[name])).join(","))?,
                }
                written += 1;
            }
        }
    }

    fn page(&self, after: i64) -> Result<Vec<(i64, Value)>, JournalError> {
        self.read(|step| {
            let mut page = step.prepare_cached(
                "SELECT ticket, id, state, signed_at, sent_at, closed_at, valid_before, method, target, \
                 header_names, lower(hex(body_hash)) AS body_sha256, payee, network, asset, origin, amount, \
                 taken, version, agent, task, status, settled, receipt IS NOT NULL AS has_receipt \
                 FROM payments WHERE ticket > ?1 ORDER BY ticket LIMIT ?2",
            )?;
            page.query_map([after, PAGE], |row| Ok((row.get("ticket")?, payment(row)?)))?.collect()
        })
    }
}

fn payment(row: &Row<'_>) -> rusqlite::Result<Value> {
    let text = |name| row.get::<_, String>(name);
    let time = |name| row.get::<_, Option<i64>>(name).map(|time| time.map(i64::cast_unsigned));
    let units = |name| rows::optional::<Amount>(row, name).map(|units| units.map(|units| units.to_string()));
    Ok(json!({
        "payment": PaymentId(row.get("id")?).to_string(),
        "state": text("state")?,
        "signed_at": time("signed_at")?,
        "sent_at": time("sent_at")?,
        "closed_at": time("closed_at")?,
        "valid_before": time("valid_before")?,
        "method": text("method")?,
        "url": text("origin")? + &text("target")?,
        "header_names": rows::names(row)?,
        "body_sha256": text("body_sha256")?,
        "payee": text("payee")?,
        "network": text("network")?,
        "asset": text("asset")?,
        "amount": text("amount")?,
        "taken": units("taken")?,
        "x402_version": row.get::<_, i64>("version")?,
        "agent": row.get::<_, Option<String>>("agent")?,
        "task": row.get::<_, Option<String>>("task")?,
        "status": row.get::<_, Option<u16>>("status")?,
        "settled": units("settled")?,
        "has_receipt": row.get::<_, bool>("has_receipt")?,
    }))
}

/// One value of CSV.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    };
    // What a server named must not become a formula in somebody's spreadsheet.
    let text = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text };
    if text.contains([',', '"', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_stays_one_cell_and_is_no_formula() {
        for (value, written) in [
            (json!("plain"), "plain"),
            (json!("a,\"b\"\r\n"), "\"a,\"\"b\"\"\r\n\""),
            (json!("=HYPERLINK(1)"), "'=HYPERLINK(1)"),
            (json!("-1,2"), "\"'-1,2\""),
            (json!(["accept", "x-a"]), "accept x-a"),
            (json!(null), ""),
            (json!(7), "7"),
        ] {
            assert_eq!(cell(&value), written);
        }
    }
}
