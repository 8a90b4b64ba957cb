//! `farthing budget`: what an agent may spend and has spent, and what stops it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use farthing::agent::BudgetLine;
use farthing::client::budget::{AssetId, Limit, Scope, Spending};
use farthing::client::{Journal, Reconciled};
use farthing::protocol::rail::PaymentId;
use farthing::protocol::{Amount, Origin};
use serde_json::{Value, json};

use crate::args::budget::{ApproveArgs, BudgetArgs, BudgetCommand, ShowArgs};
use crate::args::home::HomeArgs;
use crate::style::{
    BAD, CAREFUL, GOOD, QUIET, TITLE, ascii_json, count, moment, money, paint, print, safe, unix_now,
};
use crate::{Failure, home, told};

/// What reconciling ends with when something is still open: `EX_TEMPFAIL` of sysexits.h.
const STILL_OPEN: u8 = 75;

/// Runs one of the commands.
pub(crate) fn run(options: &BudgetArgs) -> Result<(), Failure> {
    match &options.command {
        None => block_on(show(&options.show)),
        Some(BudgetCommand::Freeze(home)) => freeze(home),
        Some(BudgetCommand::Unfreeze(home)) => unfreeze(home),
        Some(BudgetCommand::ApprovePayee(options)) => approve(options),
        Some(BudgetCommand::Reconcile(options)) => block_on(reconcile(options)),
    }
}

fn freeze(home: &HomeArgs) -> Result<(), Failure> {
    home::journal(home)?.freeze().map_err(Failure::unsound)?;
    say(&format!("{}: nothing is signed until farthing budget unfreeze.\n", paint(CAREFUL, "Frozen")))
}

fn unfreeze(home: &HomeArgs) -> Result<(), Failure> {
    home::journal(home)?.unfreeze().map_err(Failure::unsound)?;
    say(&format!("{}: payments are signed again.\n", paint(GOOD, "Not frozen")))
}

fn approve(options: &ApproveArgs) -> Result<(), Failure> {
    let origin: Origin =
        options.origin.parse().map_err(|error| Failure::bad_input(format!("the origin: {error}")))?;
    if options.payee.is_empty() {
        return Err(Failure::bad_input("the payee is empty"));
    }
    let journal = home::journal(&options.home)?;
    journal.approve(&origin, &options.network, &options.payee).map_err(Failure::unsound)?;
    let payees = journal.payees(&origin, &options.network).map_err(Failure::unsound)?;
    let mut text = format!("{origin} may be paid on {} at\n", options.network);
    for payee in payees {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "   {}", safe(&payee));
    }
    say(&text)
}

async fn show(options: &ShowArgs) -> Result<(), Failure> {
    let agent = home::open(&options.home).await?;
    let journal = agent.journal();
    let budgets = agent.budgets().map_err(Failure::unsound)?;
    let spending = journal.spending().map_err(Failure::unsound)?;
    let frozen = journal.frozen_since().map_err(Failure::unsound)?;
    let open = journal.open().map_err(Failure::unsound)?.len() as u64;
    let now = unix_now();
    if options.json {
        let told = budgets.iter().map(|line| {
            let mut told = told::budget(line);
            told["counted"] = counted(line, &spending, now);
            told
        });
        let told: Vec<_> = told.collect();
        return say_json(&json!({ "frozen_since": frozen, "open": open, "budgets": told }));
    }
    let mut text: String = budgets.iter().map(|line| words(line, &spending, now)).collect();
    if budgets.is_empty() {
        text += "No budgets: nothing is paid.\n";
    }
    if open > 0 {
        let open = count(open, "payment");
        let _ = writeln!(text, "{}", paint(CAREFUL, format!("{open} open: see farthing budget reconcile")));
    }
    if let Some(since) = frozen {
        let _ = writeln!(text, "{} since {}: nothing is signed", paint(BAD, "Frozen"), moment(since, now));
    }
    say(&text)
}

/// The parts of one asset's payments that have a limit, and are not over.
fn parts<'a>(
    line: &'a BudgetLine,
    spending: &'a Spending,
    asset: &'a AssetId,
    now: u64,
) -> impl Iterator<Item = (Scope, Amount)> + 'a {
    let parts = spending.scopes(asset).filter(move |(scope, _)| {
        let is_now = match scope {
            Scope::Window(window, start) => window.around(now).start == *start,
            _ => true,
        };
        is_now && line.limits.get(scope.limit()).is_some()
    });
    parts.map(|(scope, amount)| (scope.clone(), amount))
}

fn asset(line: &BudgetLine) -> AssetId {
    AssetId { network: line.network.clone(), asset: line.asset.clone() }
}

fn counted(line: &BudgetLine, spending: &Spending, now: u64) -> Value {
    let asset = asset(line);
    let parts = parts(line, spending, &asset, now).map(|(scope, amount)| {
        json!({
            "limit": scope.limit().name(),
            "of": safe(&scope.name()),
            "amount": told::amount(amount, Some(line.scale)),
        })
    });
    parts.collect()
}

fn words(line: &BudgetLine, spending: &Spending, now: u64) -> String {
    let (asset, currency) = (asset(line), safe(&line.currency));
    let in_words = |amount| money(amount, line.scale, &currency);
    let mut by_limit: BTreeMap<Limit, Vec<_>> = BTreeMap::new();
    for (scope, amount) in parts(line, spending, &asset, now) {
        by_limit.entry(scope.limit()).or_default().push((scope, amount));
    }
    let mut text = format!("{} on {}\n", paint(TITLE, &currency), line.network);
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "   {} spent, {} reserved for open payments",
        in_words(line.spent.taken),
        in_words(line.spent.reserved)
    );
    for limit in Limit::ALL {
        let Some(bound) = line.limits.get(limit) else { continue };
        let name = limit.name().replace('_', " ");
        let _ = writeln!(text, "   {name:12} at most {}", in_words(bound));
        let mut parts = by_limit.remove(&limit).unwrap_or_default();
        if parts.is_empty() && limit == Limit::Total {
            parts.push((Scope::Total, Amount::ZERO));
        }
        for (scope, amount) in parts {
            let of = match &scope {
                Scope::Total => "of it".to_owned(),
                Scope::Window(..) => {
                    scope.ends().map_or_else(String::new, |end| format!("until {}", moment(end, now)))
                }
                other => match other.name() {
                    name if name.is_empty() => "without a name".to_owned(),
                    name => safe(&name),
                },
            };
            let left = bound.checked_sub(amount).unwrap_or_default();
            let left = paint(QUIET, format!("{} left", in_words(left)));
            let _ = writeln!(text, "      {} {of}: {left}", in_words(amount));
        }
    }
    text
}

async fn reconcile(options: &ShowArgs) -> Result<(), Failure> {
    let agent = home::open(&options.home).await?;
    let Reconciled { taken, released, open } = agent.client().reconcile().await.map_err(Failure::unsound)?;
    if options.json {
        let ids = |ids: &[PaymentId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
        say_json(&json!({ "taken": ids(&taken), "released": ids(&released), "open": ids(&open) }))?;
    } else {
        let mut text = String::new();
        for (style, what, ids) in
            [(GOOD, "taken", &taken), (GOOD, "given back", &released), (CAREFUL, "still open", &open)]
        {
            for id in ids {
                let _ = writeln!(text, "{}  {id}", paint(style, format!("{what:10}")));
            }
        }
        if text.is_empty() {
            text += "Nothing was open.\n";
        }
        say(&text)?;
    }
    match open.len() as u64 {
        0 => Ok(()),
        open => {
            let why =
                if options.json { String::new() } else { format!("{} still open", count(open, "payment")) };
            Err(Failure { status: STILL_OPEN, why })
        }
    }
}

fn block_on(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Failure::unsound)?.block_on(work)
}

fn say_json(value: &Value) -> Result<(), Failure> {
    say(&format!("{}\n", ascii_json(&value.to_string())))
}

fn say(text: &str) -> Result<(), Failure> {
    print(text).map_err(Failure::unsound)
}
