//! `farthing receipts`: the payments in a journal, and what is known of each.

mod export;
mod verify;
pub(crate) mod when;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use farthing::client::sqlite::Filter;
use farthing::client::{Journal, Record, State};
use farthing::protocol::offer_receipt::{self, Artifact};
use farthing::protocol::receipt::{Receipt, SignedReceipt};
use farthing::protocol::{Origin, did_key};
use serde_json::{Value, json};

use crate::args::receipts::{ListArgs, ReceiptsArgs, ReceiptsCommand, ShowArgs, Which};
use crate::style::{
    BAD, CAREFUL, GOOD, QUIET, TITLE, ascii_json, count, moment, paint, print, safe, unix_now,
};
use crate::{Failure, home, told};

/// Runs one of the commands.
pub(crate) fn run(options: &ReceiptsArgs) -> Result<(), Failure> {
    match &options.command {
        None => list(&options.list),
        Some(ReceiptsCommand::Show(options)) => show(options),
        Some(ReceiptsCommand::Export(options)) => export::run(options),
        Some(ReceiptsCommand::Verify(options)) => verify::run(options),
    }
}

fn list(options: &ListArgs) -> Result<(), Failure> {
    let now = unix_now();
    let time = |text: &Option<String>| text.as_deref().map(|text| when::of(text, now)).transpose();
    let origin = options.origin.as_deref().map(str::parse::<Origin>).transpose();
    let filter = Filter {
        since: time(&options.since).map_err(Failure::bad_input)?,
        until: time(&options.until).map_err(Failure::bad_input)?,
        origin: origin.map_err(|error| Failure::bad_input(format!("--origin: {error}")))?,
        limit: Some(options.limit),
        ..Filter::default()
    };
    let records = home::journal(&options.home)?.payments(&filter).map_err(Failure::unsound)?;
    if options.json {
        let told: Vec<_> = records.iter().map(|record| told::record(record, None)).collect();
        return say(&line(&json!({ "payments": told })));
    }
    let mut text: String = records.iter().map(|record| summary(record, now)).collect();
    text += &totals(&records);
    say(&text)
}

/// Three lines about a payment.
fn summary(record: &Record, now: u64) -> String {
    let (method, url) = (safe(&record.method), safe(&record.url()));
    format!(
        "{}  {}\n   {}, {}\n   payment {}\n",
        paint(TITLE, method),
        url,
        cost(record),
        standing(record),
        paint(QUIET, format!("{}, signed {}", record.id(), moment(record.signed_at, now))),
    )
}

/// What it cost, in atomic units: the journal does not know an asset's decimal places.
fn cost(record: &Record) -> String {
    let (charge, asset) = (&record.charge, safe(&record.charge.asset.asset));
    match record.taken() {
        Some(taken) => format!("{taken} atomic units of {asset}"),
        None => format!("at most {} atomic units of {asset}", charge.amount),
    }
}

fn standing(record: &Record) -> String {
    let style = match record.state {
        State::Confirmed(_) | State::Released => GOOD,
        _ => CAREFUL,
    };
    paint(style, record.standing())
}

/// What all of them took, by asset and by whose word.
fn totals(records: &[Record]) -> String {
    if records.is_empty() {
        return "No payments.\n".to_owned();
    }
    let mut sums: BTreeMap<_, [u128; 3]> = BTreeMap::new();
    for record in records {
        let asset = &record.charge.asset;
        let [confirmed, said, open] = sums.entry((&asset.network, &asset.asset)).or_default();
        let amount = record.taken().unwrap_or(record.charge.amount).0;
        let sum = match record.state {
            State::Confirmed(_) | State::Released => confirmed,
            State::Settled | State::Voided => said,
            State::Signed | State::Sent | State::Unknown => open,
        };
        *sum = sum.saturating_add(amount);
    }
    let mut text = format!("\n{}\n", paint(TITLE, count(records.len() as u64, "payment")));
    for ((network, asset), [confirmed, said, open]) in sums {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "   {} on {network}, in atomic units: {confirmed} confirmed, {said} by the seller's word only, at most {open} unknown",
            safe(asset)
        );
    }
    text
}

fn show(options: &ShowArgs) -> Result<(), Failure> {
    let journal = home::journal(&options.home)?;
    let record = match options.id {
        Which::Payment(id) => journal.find(&id).map_err(Failure::unsound)?,
        Which::Last => {
            let newest = Filter { limit: Some(1), ..Filter::default() };
            journal.payments(&newest).map_err(Failure::unsound)?.into_iter().next()
        }
    };
    let record = record.ok_or_else(|| Failure::bad_input("the journal has no such payment"))?;
    let receipt = verified(&record).map_err(Failure::unsound)?;
    match options.json {
        true => say(&line(&told::record(&record, None))),
        false => say(&everything(&record, receipt.as_ref())),
    }
}

/// The seller's receipt, verified again; `None` where there is none.
fn verified(record: &Record) -> Result<Option<Receipt>, String> {
    let Some(text) = &record.receipt else { return Ok(None) };
    let key = record.receipt_key.as_ref().ok_or("the journal has a receipt without its key")?;
    let signed: SignedReceipt =
        serde_json::from_str(text).map_err(|_| "the receipt in the journal cannot be read")?;
    let receipt = signed.verify(key).map_err(|error| error.to_string())?;
    if receipt.payment != record.id() || receipt.digest != record.digest {
        return Err("the receipt in the journal is for something else".into());
    }
    Ok(Some(receipt))
}

fn everything(record: &Record, receipt: Option<&Receipt>) -> String {
    let (now, charge) = (unix_now(), &record.charge);
    let mut text = format!("{}  {}\n", paint(TITLE, safe(&record.method)), safe(&record.url()));
    let mut row = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "   {name:10} {value}");
    };
    row("payment", record.id().to_string());
    row("state", format!("{}: {}", record.standing().name(), standing(record)));
    row("amount", format!("{} (signed for {})", cost(record), charge.amount));
    row("network", charge.asset.network.to_string());
    row("payee", safe(&charge.payee));
    row("signed", moment(record.signed_at, now));
    row("valid", format!("until {}", moment(record.payment.valid_before, now)));
    for (name, value) in [("agent", &charge.agent), ("task", &charge.task)] {
        if let Some(value) = value {
            row(name, safe(value));
        }
    }
    if let Some(status) = record.status {
        row("answer", status.to_string());
    }
    if !record.header_names.is_empty() || record.has_body() {
        let body = record.has_body().then_some("a body");
        let parts: Vec<_> = record.header_names.iter().map(String::as_str).chain(body).collect();
        row("sent with", safe(&parts.join(", ")));
    }
    match receipt {
        None => row("receipt", "none".to_owned()),
        Some(receipt) => {
            let Receipt { status, amount, issued_at, .. } = receipt;
            let words = format!("answer {status} for {amount} atomic units, {}", moment(*issued_at, now));
            row("receipt", format!("{}: {words}", paint(GOOD, "the seller's, valid")));
        }
    }
    if let Some(jws) = &record.receipt_jws {
        row("x402", signed_receipt(record, jws, now));
    }
    text
}

/// The seller's receipt of x402's `offer-receipt`, verified again.
fn signed_receipt(record: &Record, jws: &str, now: u64) -> String {
    let artifact = Artifact::of_jws(jws.to_owned());
    let key = record.receipt_key.ok_or(()).or_else(|()| artifact.jws().and_then(|jws| Ok(jws.key()?)));
    let receipt =
        key.and_then(|key| artifact.verify::<offer_receipt::SignedReceipt>(&key).map(|it| (key, it)));
    match receipt {
        Err(error) => paint(BAD, safe(&format!("its signed receipt proves nothing: {error}"))),
        Ok((key, receipt)) if receipt.resource_url == record.url() => {
            let whose =
                if record.receipt_key.is_some() { "the seller's" } else { "a key that was not announced" };
            let words = format!("{whose}, valid");
            let style = if record.receipt_key.is_some() { GOOD } else { CAREFUL };
            let signed = moment(receipt.issued_at, now);
            format!("{}: signed {signed}, by {}", paint(style, words), did_key::did_key(&key))
        }
        Ok(_) => paint(BAD, "its signed receipt is for something else"),
    }
}

fn line(value: &Value) -> String {
    format!("{}\n", ascii_json(&value.to_string()))
}

fn say(text: &str) -> Result<(), Failure> {
    print(text).map_err(Failure::unsound)
}
