//! `farthing receipt verify`: what a signed offer or receipt proves, and what not. Nobody is asked.

mod checked;
mod found;

use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::path::Path;

use farthing::protocol::{PublicKey, did_key};
use serde_json::json;

use self::checked::{Checked, Confirms, Known, Unreadable};
use super::{line, say};
use crate::Failure;
use crate::args::receipts::VerifyArgs;
use crate::given::{self, LIMITS};
use crate::style::{BAD, CAREFUL, GOOD, QUIET, TITLE, paint, safe, unix_now};

/// Bytes of a body that is compared.
const BODY_BYTES: u64 = 64 * 1024 * 1024;

/// Runs the command.
pub(super) fn run(options: &VerifyArgs) -> Result<(), Failure> {
    let known = Known {
        key: options.key.as_deref().map(key).transpose().map_err(Failure::bad_input)?,
        url: options.url.clone(),
        payer: options.payer.clone(),
        body: options.body.as_deref().map(body).transpose().map_err(Failure::bad_input)?,
        now: unix_now(),
    };
    let text = input(&options.input).map_err(Failure::bad_input)?;
    let found = found::read(&text, &LIMITS).map_err(|why| Failure::bad_input(safe(&why)))?;
    let checked: Result<Vec<_>, Unreadable> =
        found.iter().map(|found| checked::check(found, &known)).collect();
    let checked = checked.map_err(|Unreadable(why)| Failure::bad_input(why))?;
    let unconfirmed = unconfirmed(&checked, &known);
    let failed = checked.iter().flat_map(|it| &it.problems).chain(&unconfirmed).next().cloned();
    if options.json {
        let told: Vec<_> = checked.iter().map(Checked::told).collect();
        say(&line(&json!({ "holds": failed.is_none(), "signed": told, "unconfirmed": unconfirmed })))?;
    } else {
        say(&words(&checked, &known))?;
    }
    match failed {
        None => Ok(()),
        Some(why) => Err(Failure::unsound(why)),
    }
}

/// What was asked to be compared, and nothing here could be compared with.
fn unconfirmed(checked: &[Checked], known: &Known) -> Vec<String> {
    let any = |of: fn(&Confirms) -> bool| checked.iter().any(|it| of(&it.confirms));
    let asked = [
        ("URL", known.url.is_some(), any(|it| it.url)),
        ("payer", known.payer.is_some(), any(|it| it.payer)),
        ("body", known.body.is_some(), any(|it| it.body)),
    ];
    let missing = asked.iter().filter(|(_, asked, confirmed)| *asked && !confirmed);
    missing
        .map(|(name, ..)| format!("nothing that was signed confirms the {name} that was asked for"))
        .collect()
}

fn words(all: &[Checked], known: &Known) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    for (at, checked) in all.iter().enumerate() {
        if at > 0 {
            text.push('\n');
        }
        let title = match (checked.kind, checked.format) {
            ("offer", _) => "A seller's offer (x402, offer-receipt)",
            (_, "jws") => "A seller's receipt (x402, offer-receipt)",
            _ => "A seller's receipt (farthing)",
        };
        let _ = writeln!(text, "{}", paint(TITLE, title));
        let mut row = |name: &str, value: String| {
            let _ = writeln!(text, "   {name:10} {value}");
        };
        let key = checked.key.as_ref().map(did_key::did_key).unwrap_or_default();
        match (checked.states.is_some(), known.key.is_some()) {
            (true, true) => row("signature", format!("{}, by the key that was given", paint(GOOD, "holds"))),
            (true, false) => row("signature", format!("{}, by {key}", paint(GOOD, "holds"))),
            (false, _) => row("signature", paint(BAD, "proves nothing")),
        }
        if let Some(kid) = &checked.kid {
            row("called", safe(kid));
        }
        for (name, value) in &checked.rows {
            row(name, value.clone());
        }
        for problem in &checked.problems {
            row("", paint(BAD, problem));
        }
        for open in checked.open.iter().filter(|_| checked.states.is_some()) {
            row("", format!("{} {}", paint(CAREFUL, "not proven:"), paint(QUIET, open)));
        }
    }
    text
}

/// A key as people have it.
fn key(text: &str) -> Result<PublicKey, String> {
    let text = text.trim();
    match text.starts_with("did:") {
        true => did_key::read(text).map_err(|error| format!("--key {error}")),
        false => text.parse().map_err(|_| "--key is neither a did:key nor 64 hex digits".to_owned()),
    }
}

/// The text of what is to be verified: of a file, of standard input, or given as it is.
fn input(input: &str) -> Result<String, String> {
    if input == "-" {
        return given::standard_input();
    }
    let head = input.trim_start();
    if ["{", "eyJ", "PAYMENT-", "payment-", "X-PAYMENT", "x-payment"].iter().any(|it| head.starts_with(it)) {
        return Ok(input.to_owned());
    }
    let name = safe(input);
    given::text(fs::File::open(input).map_err(|error| format!("{name}: {error}"))?, &name)
}

fn body(path: &Path) -> Result<Vec<u8>, String> {
    let name = safe(&path.display().to_string());
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(|error| format!("{name}: {error}"))?;
    file.take(BODY_BYTES + 1).read_to_end(&mut bytes).map_err(|error| format!("{name}: {error}"))?;
    match bytes.len() as u64 > BODY_BYTES {
        true => Err(format!("{name} has more than {BODY_BYTES} bytes")),
        false => Ok(bytes),
    }
}
