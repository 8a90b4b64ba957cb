//! How sales are shown: a table for people, JSON and CSV for programs.

use std::fmt::Write as _;

use farthing::protocol::Amount;
use serde_json::{Map, Value, json};

use super::View;
use super::gather::Sold;
use super::tally::{Group, Sums, Tally};
use crate::args::sales::By;
use crate::ledger::place::title;
use crate::style::{CAREFUL, QUIET, TITLE, ascii_json, count, grouped, moment, paint, safe, utc};

/// Characters of a route's name that fit into the table.
const NAME: usize = 40;

impl View<'_> {
    /// For people.
    pub(super) fn words(&self, tally: &Tally, now: u64) -> String {
        let what =
            if self.options.pending { "Pending sales on the ledger in" } else { "Sales on the ledger in" };
        let mut out = title(what, &self.options.shop.ledger(), self.source.in_use());
        out.push('\n');
        match self.options.pending {
            true => out.push_str(&pending(tally, now)),
            false => out.push_str(&table(self.options.by, tally)),
        }
        match self.log {
            None => out.push_str(&quiet(
                "There is no log of sales: routes have no names, and payments on chains are not listed.",
            )),
            Some(log) if log.unreadable > 0 => {
                let lines = count(log.unreadable, "line");
                let why = format!("{lines} of the log of sales cannot be read, and was passed over.");
                out.push_str(&format!("\n{}\n", paint(CAREFUL, why)));
            }
            Some(_) => {}
        }
        out
    }

    /// For programs: one line.
    pub(super) fn json(&self, tally: &Tally) -> String {
        let mut told = json!({
            "network": self.source.books.network,
            "as_of": self.source.books.now,
            "since": self.since,
            "until": self.until,
            "log": self.log.map(|log| json!({ "lines": log.lines, "unreadable": log.unreadable })),
        });
        if self.options.pending {
            told["pending"] = tally.pending.values().map(payment).collect();
        } else {
            let by = self.options.by;
            told["by"] = by.name().into();
            told["groups"] = tally.groups.values().map(|group| group_json(by, group)).collect();
            let total = |group: &Group| Value::Object(sums_json(group));
            told["totals"] = tally.totals.values().map(total).collect();
        }
        format!("{}\n", ascii_json(&told.to_string()))
    }

    /// For spreadsheets.
    pub(super) fn csv(&self, tally: &Tally) -> String {
        let by = self.options.by;
        let rows: Vec<Value> = match self.options.pending {
            true => tally.pending.values().map(payment).collect(),
            false => tally.groups.values().map(|group| group_json(by, group)).collect(),
        };
        let names: Vec<&str> = match (self.options.pending, by) {
            (true, _) => PENDING.to_vec(),
            (false, By::Payment) => [&PAYMENT[..], &SUMS].concat(),
            (false, by) => [&[by.name()][..], &SUMS].concat(),
        };
        let mut out = format!("{}\r\n", names.join(","));
        for row in &rows {
            let cells: Vec<_> = names.iter().map(|name| cell(&row[name])).collect();
            out.push_str(&cells.join(","));
            out.push_str("\r\n");
        }
        out
    }
}

/// Columns of CSV, which are members of the JSON.
const SUMS: [&str; 12] = [
    "network", "asset", "scale", "sold", "captured", "fee", "refunds", "refunded", "net", "pending", "held",
    "unsold",
];
const PAYMENT: [&str; 5] = ["payment", "at", "route", "payer", "state"];
const PENDING: [&str; 10] =
    ["payment", "at", "route", "payer", "state", "network", "asset", "scale", "held", "ends"];

fn quiet(text: &str) -> String {
    format!("\n{}\n", paint(QUIET, text))
}

fn table(by: By, tally: &Tally) -> String {
    if tally.groups.is_empty() {
        return format!("  {}\n", paint(QUIET, "Nothing was sold."));
    }
    let heads: &[&str] = match by {
        By::Payment => &["PAYMENT", "TIME", "ROUTE", "STATE", "CAPTURED", "REFUNDED", "NET", "HELD"],
        By::Route => &["ROUTE", "SOLD", "CAPTURED", "REFUNDED", "NET", "PENDING", "UNSOLD"],
        By::Day => &["DAY", "SOLD", "CAPTURED", "REFUNDED", "NET", "PENDING", "UNSOLD"],
        By::Payer => &["PAYER", "SOLD", "CAPTURED", "REFUNDED", "NET", "PENDING", "UNSOLD"],
    };
    let mut rows = vec![heads.iter().map(ToString::to_string).collect::<Vec<_>>()];
    rows.extend(tally.groups.values().map(|group| row(by, group)));
    let totals = rows.len();
    rows.extend(tally.totals.values().map(|total| match by {
        By::Payment => {
            let mut row = row(By::Route, total);
            // A total is of no one time, route or state.
            let (sold, unsold) = (row.remove(1), row.pop());
            drop((row.pop(), unsold));
            row.splice(1..1, [String::new(), format!("{sold} sold"), String::new()]);
            row.push(if total.sums.held == 0 { "-".to_owned() } else { units(total, total.sums.held) });
            row
        }
        by => row(by, total),
    }));
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..heads.len()).map(width).collect();
    // Words to the left, numbers to the right.
    let words = if by == By::Payment { 4 } else { 1 };
    let mut out = String::new();
    for (at, row) in rows.iter().enumerate() {
        let cell = |(at, (cell, width)): (usize, (&String, &usize))| match at < words {
            true => format!("{cell:<width$}"),
            false => format!("{cell:>width$}"),
        };
        let cells: Vec<_> = row.iter().zip(&widths).enumerate().map(cell).collect();
        let line = cells.join("  ");
        let line = line.trim_end();
        if at == totals {
            out.push('\n');
        }
        let line = if at == 0 || at >= totals { paint(TITLE, line) } else { line.to_owned() };
        // Writing to a string cannot fail.
        let _ = writeln!(out, "  {line}");
    }
    out
}

fn row(by: By, group: &Group) -> Vec<String> {
    let Sums { sold, captured, refunds, refunded, pending, held, unsold, .. } = group.sums;
    let refunded = match refunds {
        0 => "-".to_owned(),
        _ => units(group, refunded),
    };
    if by == By::Payment {
        let Sold { at, route, state, .. } = &group.example;
        let held = if held == 0 { "-".to_owned() } else { units(group, held) };
        let time = utc(*at).unwrap_or_default();
        let columns =
            [group.label.clone(), time, short(route), state.name().to_owned(), units(group, captured)];
        return columns.into_iter().chain([refunded, net(group), held]).collect();
    }
    let refunded = if refunds == 0 { refunded } else { format!("{refunded} ({refunds})") };
    let pending = match pending {
        0 => "-".to_owned(),
        _ => format!("{} ({})", units(group, held), grouped(pending)),
    };
    let label = short(&group.label);
    let (sold, unsold) = (grouped(sold), if unsold == 0 { "-".to_owned() } else { grouped(unsold) });
    vec![label, sold, units(group, captured), refunded, net(group), pending, unsold]
}

/// A name from elsewhere, for a column.
fn short(name: &str) -> String {
    let name = safe(name);
    match name.char_indices().nth(NAME) {
        // Accounts are told apart by their beginning.
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name,
    }
}

fn units(group: &Group, amount: u128) -> String {
    let Sold { scale, currency, .. } = &group.example;
    match scale {
        Some(scale) => format!("{} {}", Amount(amount).decimal(*scale), safe(currency)),
        None => format!("{amount} units of {}", short(currency)),
    }
}

fn net(group: &Group) -> String {
    let net = group.sums.net();
    let sign = if net < 0 { "-" } else { "" };
    format!("{sign}{}", units(group, net.unsigned_abs()))
}

fn pending(tally: &Tally, now: u64) -> String {
    if tally.pending.is_empty() {
        return format!("  {}\n", paint(QUIET, "Nothing is pending."));
    }
    let mut out = String::new();
    for sold in tally.pending.values() {
        let group = Group { label: String::new(), example: sold.clone(), sums: Sums::default() };
        let held = units(&group, sold.held.0);
        let ends = match sold.ends {
            Some(ends) => format!("held, over {}", moment(ends, now)),
            None => "nobody knows whether it was settled".to_owned(),
        };
        let (payment, since) = (safe(&sold.payment), moment(sold.at, now));
        // Writing to a string cannot fail.
        let _ = writeln!(out, "  {payment}\n    {} for {}, since {since}", held, short(&sold.route));
        let _ = writeln!(out, "    {ends}\n    from {}", safe(&sold.payer));
    }
    let number = count(tally.pending.len() as u64, "payment");
    let _ = writeln!(out, "\n  {}", paint(TITLE, format!("{number} pending")));
    out
}

fn group_json(by: By, group: &Group) -> Value {
    let mut told = match by {
        By::Payment => match payment(&group.example) {
            Value::Object(told) => told,
            _ => Map::new(),
        },
        by => Map::from_iter([(by.name().to_owned(), Value::from(safe(&group.label)))]),
    };
    told.extend(sums_json(group));
    Value::Object(told)
}

fn sums_json(group: &Group) -> Map<String, Value> {
    let Sold { network, asset, scale, .. } = &group.example;
    let Sums { sold, captured, fee, refunds, refunded, pending, held, unsold } = group.sums;
    let amount = |amount: u128| signed(i128::try_from(amount).unwrap_or(i128::MAX), *scale);
    let told = json!({
        "network": safe(network),
        "asset": safe(asset),
        "scale": scale,
        "sold": sold,
        "captured": amount(captured),
        "fee": amount(fee),
        "refunds": refunds,
        "refunded": amount(refunded),
        "net": signed(group.sums.net(), *scale),
        "pending": pending,
        "held": amount(held),
        "unsold": unsold,
    });
    match told {
        Value::Object(told) => told,
        _ => Map::new(),
    }
}

fn payment(sold: &Sold) -> Value {
    json!({
        "payment": safe(&sold.payment),
        "at": sold.at,
        "route": safe(&sold.route),
        "payer": safe(&sold.payer),
        "state": sold.state.name(),
        "network": safe(&sold.network),
        "asset": safe(&sold.asset),
        "scale": sold.scale,
        "held": signed(i128::try_from(sold.held.0).unwrap_or(i128::MAX), sold.scale),
        "ends": sold.ends,
    })
}

/// An amount that may be below zero, as [`amount`](crate::told::amount).
pub(crate) fn signed(amount: i128, scale: Option<u8>) -> Value {
    let sign = if amount < 0 { "-" } else { "" };
    let decimal = |scale| format!("{sign}{}", Amount(amount.unsigned_abs()).decimal(scale));
    json!({ "atomic": amount.to_string(), "decimal": scale.map(decimal) })
}

/// One value of CSV. An amount is in whole units where its decimal places are known.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => return String::new(),
        Value::Object(amount) => {
            let known = amount.get("decimal").filter(|decimal| !decimal.is_null());
            // Written by this program: digits, a point and a sign.
            return known.or(amount.get("atomic")).and_then(Value::as_str).unwrap_or_default().to_owned();
        }
        Value::String(text) => text.clone(),
        other => return other.to_string(),
    };
    // What somebody else named must not become a formula in a spreadsheet.
    let text = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text };
    if text.contains([',', '"', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_stays_one_cell_is_no_formula_and_amounts_are_numbers() {
        for (value, written) in [
            (json!("weather"), "weather"),
            (json!("a,\"b\""), "\"a,\"\"b\"\"\""),
            (json!("=HYPERLINK(1)"), "'=HYPERLINK(1)"),
            (json!(7), "7"),
            (json!(null), ""),
            (signed(-1_500_000, Some(6)), "-1.5"),
            (signed(-15, None), "-15"),
        ] {
            assert_eq!(cell(&value), written);
        }
    }
}
