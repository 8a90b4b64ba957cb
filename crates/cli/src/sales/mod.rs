//! `farthing sales`: what a seller sold, from the ledger and the log of sales.

mod gather;
mod shown;
mod tally;

use farthing::server::sales::ReadLog;

use crate::Failure;
use crate::args::sales::SalesArgs;
use crate::receipts::when;
use crate::style::{print, safe, unix_now};

use self::gather::{Known, Source, Span};
pub(crate) use self::shown::signed;
use self::tally::Tally;

/// Where the log of sales is in a seller's directory.
const LOG: &str = "sales.jsonl";

/// Runs the command.
pub(crate) fn run(options: &SalesArgs) -> Result<(), Failure> {
    let now = unix_now();
    let time = |text: &Option<String>| text.as_deref().map(|text| when::of(text, now)).transpose();
    let since = time(&options.since).map_err(Failure::bad_input)?;
    let until = time(&options.until).map_err(Failure::bad_input)?;
    let mut source = Source::open(&options.shop.ledger())?;
    let log = options.log.clone().or_else(|| options.shop.beside(LOG));
    let (known, read) = match &log {
        None => (Known::default(), None),
        Some(path) => {
            let (known, read) = Known::read(path, &source.books).map_err(|error| {
                let why = safe(&format!("{}: {error}", path.display()));
                // A log that was named must be there.
                if options.log.is_some() { Failure::bad_input(why) } else { Failure::unsound(why) }
            })?;
            (known, Some(read))
        }
    };
    let mut tally = Tally::new((!options.pending).then_some(options.by));
    let span = Span { since, until, payee: options.payee };
    source.each(&known, &span, &mut |sale| tally.add(sale))?;
    let view = View { options, since, until, source, log: read };
    let text = match (options.json, options.csv) {
        (true, _) => view.json(&tally),
        (_, true) => view.csv(&tally),
        _ => view.words(&tally, now),
    };
    print(&text).map_err(Failure::unsound)
}

/// What is shown besides the sales.
struct View<'a> {
    options: &'a SalesArgs,
    since: Option<u64>,
    until: Option<u64>,
    source: Source,
    log: Option<ReadLog>,
}
