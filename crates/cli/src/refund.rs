//! `farthing refund`: gives back what was captured of a payment, once.

use std::path::{Path, PathBuf};

use farthing::farthing_ledger::engine::admin::{self, AskError, Request};
use farthing::farthing_ledger::engine::{OpenError, system_clock};
use farthing::farthing_ledger::sales::{Found, NotRefundable, Refund, Refunded, Sale};
use farthing::farthing_ledger::{LedgerError, LedgerId};
use farthing::protocol::{Amount, Network, Price, SecretKey};
use farthing::{Ledger, keyfile};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::Failure;
use crate::args::sales::RefundArgs;
use crate::args::{Kind, Place};
use crate::ledger::place::{postgres, unanswered};
use crate::sales::signed;
use crate::style::{GOOD, QUIET, TITLE, ascii_json, moment, paint, print, safe};
use crate::told;

/// What the command ends with when nobody knows whether it was done.
const UNKNOWN: u8 = 75;
/// The seller's key, beside the ledger.
const AUTHORIZER: &str = "authorizer.key";

/// Runs the command.
pub(crate) fn run(options: &RefundArgs) -> Result<(), Failure> {
    let authorizer = authorizer(options)?;
    let desk = Desk::open(&options.shop.ledger(), options.key.as_ref())?;
    let Found { books, sale } = desk.find(options)?;
    let network: Network = books.network.parse().map_err(Failure::unsound)?;
    let sale =
        sale.ok_or_else(|| Failure::bad_input(format!("{network} knows no such payment, or no longer")))?;
    let scale = books.assets.get(sale.asset.as_str()).copied();
    let scale = scale.ok_or_else(|| Failure::unsound(format!("{network} does not know {}", sale.asset)))?;
    let total = match &options.amount {
        Some(text) => total(text, &sale, scale)?,
        None => sale.captured,
    };
    let shown = Shown { options, network: &network, scale, now: books.now };
    match sale.may_refund(total, books.now) {
        Err(why) => return shown.refused(reason(&why), &shown.why(&why, &sale)),
        Ok(false) => return shown.done(&sale, &sale),
        Ok(true) => {}
    }
    if authorizer.public() != sale.receiver_authorizer {
        let why = "this key is not the authorizer of the payment: it was made for another seller's, or for an \
                   earlier one";
        return shown.refused("receiver_authorizer_mismatch", why);
    }
    let ledger =
        LedgerId::of_network(&network).ok_or_else(|| Failure::unsound("this is no farthing ledger"))?;
    match desk.refund(&Refund::sign(&ledger, options.payment, total, &authorizer))? {
        Refunded::Done(after) => shown.done(&sale, &after),
        Refunded::Refused { reason, message } if reason == "insufficient_funds" => {
            let why = format!("{message}: the money comes from the seller's account, which has less");
            shown.refused(&reason, &why)
        }
        Refunded::Refused { reason, message } => shown.refused(&reason, &message),
    }
}

fn authorizer(options: &RefundArgs) -> Result<SecretKey, Failure> {
    let beside = || options.shop.beside(AUTHORIZER);
    let path = options.authorizer.clone().or_else(beside).ok_or_else(|| {
        let why = "a refund is signed with the seller's authorizer key: there is no authorizer.key in the directory, \
                   name it with --authorizer FILE";
        Failure::bad_input(why)
    })?;
    keyfile::load(&path).map_err(|error| Failure::bad_input(safe(&error.to_string())))
}

/// The total that is named on the command line.
fn total(text: &str, sale: &Sale, scale: u8) -> Result<Amount, Failure> {
    let wrong = |why: String| Failure::bad_input(safe(&format!("--amount {text}: {why}")));
    let has_currency = text.contains(|character: char| !character.is_ascii_digit() && character != '.');
    let text = if has_currency { text.to_owned() } else { format!("{text} {}", sale.asset) };
    let price: Price = text.parse().map_err(|error| wrong(format!("{error}")))?;
    if price.currency() != sale.asset.as_str() {
        return Err(wrong(format!("the payment was made in {}", sale.asset)));
    }
    price.to_atomic(scale).map_err(|error| wrong(error.to_string()))
}

/// Where refunds are made.
enum Desk {
    /// Nobody else has the ledger, or everybody may.
    Ours(Box<Ledger>, Runtime),
    /// With the process that has the directory.
    Theirs(PathBuf),
}

impl Desk {
    fn open(place: &Place, key: Option<&PathBuf>) -> Result<Self, Failure> {
        let bad = |error: &dyn std::fmt::Display| Failure::bad_input(safe(&error.to_string()));
        let ledger = match place.kind() {
            Kind::Directory(directory) => match Ledger::existing(directory, system_clock()) {
                Ok(ledger) => ledger,
                Err(OpenError::InUse(_)) => return Ok(Self::Theirs(directory.to_path_buf())),
                Err(error) => return Err(bad(&error)),
            },
            Kind::Postgres(database, schema) => {
                let file = key.ok_or_else(|| bad(&"a ledger on PostgreSQL needs its key: --key FILE"))?;
                let key = keyfile::load(file).map_err(|error| bad(&error))?;
                let database = postgres::database(database, schema).map_err(|why| bad(&why))?;
                postgres::open(&database, key).map_err(|why| bad(&why))?
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|error| bad(&error))?;
        Ok(Self::Ours(Box::new(ledger), runtime))
    }

    fn find(&self, options: &RefundArgs) -> Result<Found, Failure> {
        match self {
            Self::Ours(ledger, runtime) => {
                runtime.block_on(ledger.sale(options.payment)).map_err(Failure::unsound)
            }
            Self::Theirs(directory) => admin::ask_for(directory, &Request::Sale(options.payment))
                .map_err(|error| Failure::bad_input(safe(&unanswered(directory, &error)))),
        }
    }

    fn refund(&self, refund: &Refund) -> Result<Refunded, Failure> {
        match self {
            Self::Ours(ledger, runtime) => {
                runtime.block_on(ledger.refund(refund)).map_err(|error| match error {
                    LedgerError::Unknown(why) => unknown(&why),
                    error => Failure::unsound(safe(&error.to_string())),
                })
            }
            Self::Theirs(directory) => admin::ask_for(directory, &Request::Refund(refund.clone()))
                .map_err(|error| heard(directory, &error)),
        }
    }
}

/// Whether what was sent was done is known only when it did not arrive.
fn heard(directory: &Path, error: &AskError) -> Failure {
    match error {
        AskError::Unreachable(..) => Failure::bad_input(safe(&unanswered(directory, error))),
        _ => unknown(&unanswered(directory, error)),
    }
}

fn unknown(why: &str) -> Failure {
    let why = format!(
        "{}; nobody knows whether it was given back: run the same command again, it is done once",
        safe(why)
    );
    Failure { status: UNKNOWN, why }
}

fn reason(why: &NotRefundable) -> &'static str {
    match why {
        NotRefundable::Scheme(_) => "scheme_not_refundable",
        NotRefundable::NothingTaken(_) => "nothing_captured",
        NotRefundable::AboveCaptured => "above_captured",
        NotRefundable::Decreased => "below_refunded",
        NotRefundable::Never => "no_refund_deadline",
        NotRefundable::TooLate(_) => "refund_deadline_passed",
    }
}

/// What is said, and how.
struct Shown<'a> {
    options: &'a RefundArgs,
    network: &'a Network,
    scale: u8,
    now: u64,
}

impl Shown<'_> {
    /// Why not, with the amounts and times that it is about.
    fn why(&self, why: &NotRefundable, sale: &Sale) -> String {
        match why {
            NotRefundable::AboveCaptured => format!("{why}: {}", self.units(sale.captured, sale)),
            NotRefundable::Decreased => format!("{why}: {}", self.units(sale.refunded, sale)),
            NotRefundable::TooLate(deadline) => format!("{why}: {}", moment(*deadline, self.now)),
            why => why.to_string(),
        }
    }

    fn refused(&self, reason: &str, why: &str) -> Result<(), Failure> {
        if !self.options.json {
            return Err(Failure::unsound(safe(why)));
        }
        let refused = json!({ "reason": safe(reason), "detail": safe(why) });
        say(&json!({ "payment": self.options.payment.to_string(), "refused": refused }))?;
        Err(Failure::unsound(""))
    }

    fn done(&self, before: &Sale, after: &Sale) -> Result<(), Failure> {
        let changed = before.refunded != after.refunded;
        if self.options.json {
            let scale = Some(self.scale);
            let side = |sale: &Sale| json!({ "refunded": told::amount(sale.refunded, scale), "net": signed(sale.net(), scale) });
            return say(&json!({
                "payment": self.options.payment.to_string(),
                "network": self.network.to_string(),
                "asset": after.asset.to_string(),
                "scale": self.scale,
                "changed": changed,
                "captured": told::amount(after.captured, scale),
                "before": side(before),
                "after": side(after),
            }));
        }
        let (payment, captured) = (self.options.payment, self.units(after.captured, after));
        let (was, is) = (self.units(before.refunded, before), self.units(after.refunded, after));
        let end = match changed {
            true => paint(GOOD, format!("{is} of this payment are given back.")),
            false => paint(GOOD, format!("{is} of this payment were given back before: nothing was done.")),
        };
        let total = "The amount is the total of this payment: said again, it gives nothing more back.";
        let text = format!(
            "{} {payment}\n\n  captured   {captured}\n  refunded   {was} before, {is} now\n  left       {} before, {} now\n  \
             payer      {}\n\n{end}\n{}\n",
            paint(TITLE, "Refund of payment"),
            self.net(before),
            self.net(after),
            after.payer,
            paint(QUIET, total),
        );
        print(&text).map_err(Failure::unsound)
    }

    fn units(&self, amount: Amount, sale: &Sale) -> String {
        format!("{} {}", amount.decimal(self.scale), sale.asset)
    }

    fn net(&self, sale: &Sale) -> String {
        let net = sale.net();
        let sign = if net < 0 { "-" } else { "" };
        format!("{sign}{}", self.units(Amount(net.unsigned_abs()), sale))
    }
}

fn say(value: &Value) -> Result<(), Failure> {
    print(&format!("{}\n", ascii_json(&value.to_string()))).map_err(Failure::unsound)
}
