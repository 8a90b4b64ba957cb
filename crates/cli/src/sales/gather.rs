//! Every payment, from the ledger and from the log of sales.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;
use std::rc::Rc;

use farthing::farthing_ledger::engine::admin::{self, Request};
use farthing::farthing_ledger::engine::system_clock;
use farthing::farthing_ledger::sales::{self, Books, Found, Sale};
use farthing::farthing_ledger::statement::PaymentState;
use farthing::protocol::rail::PaymentId;
use farthing::protocol::{Amount, PublicKey};
use farthing::server::sales::{Ending, Line, ReadLog, read};

use crate::Failure;
use crate::args::Place;
use crate::inspect::asset;
use crate::ledger::place::{self, unanswered};
use crate::style::safe;

/// One payment, wherever it was settled.
#[derive(Clone, Debug)]
pub(super) struct Sold {
    pub(super) payment: String,
    pub(super) route: Rc<str>,
    pub(super) payer: String,
    pub(super) network: Rc<str>,
    pub(super) asset: String,
    /// What people call the asset.
    pub(super) currency: String,
    /// Decimal places, where they are known.
    pub(super) scale: Option<u8>,
    pub(super) at: u64,
    pub(super) state: State,
    pub(super) captured: Amount,
    pub(super) fee: Amount,
    pub(super) refunded: Amount,
    pub(super) held: Amount,
    /// Unix seconds after which a hold is over, where it is known.
    pub(super) ends: Option<u64>,
}

/// Where a payment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Held,
    /// Nobody knew when its request ended.
    Unknown,
    Captured,
    Voided,
    Reclaimed,
}

impl State {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Unknown => "unknown",
            Self::Captured => "captured",
            Self::Voided => "voided",
            Self::Reclaimed => "reclaimed",
        }
    }

    /// Whether it may still be taken.
    pub(super) fn is_pending(self) -> bool {
        matches!(self, Self::Held | Self::Unknown)
    }
}

/// Which payments are listed.
pub(super) struct Span {
    pub(super) since: Option<u64>,
    pub(super) until: Option<u64>,
    pub(super) payee: Option<PublicKey>,
}

impl Span {
    fn has(&self, at: u64) -> bool {
        self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at < until)
    }
}

/// What the log of sales knows.
#[derive(Default)]
pub(super) struct Known {
    /// Routes by payment.
    routes: HashMap<[u8; 32], Rc<str>>,
    names: HashMap<String, Rc<str>>,
    /// Payments that this ledger does not settle, the last word on each.
    lines: HashMap<[u8; 32], Line>,
}

/// A payment whose route is not in the log.
const UNNAMED: &str = "(unnamed)";

impl Known {
    /// Reads a log, beside this ledger.
    pub(super) fn read(path: &Path, ledger: &Books) -> io::Result<(Self, ReadLog)> {
        let mut known = Self::default();
        let found = read(path, |line| known.note(line, ledger))?;
        Ok((known, found))
    }

    fn note(&mut self, line: Line, ledger: &Books) {
        let Ok(PaymentId(id)) = line.payment.parse() else { return };
        let name = self.names.entry(line.route.clone()).or_insert_with(|| line.route.as_str().into());
        self.routes.insert(id, name.clone());
        // The ledger itself knows more of its own.
        if line.network.as_ref().is_some_and(|network| *network != ledger.network) {
            let is_news = self.lines.get(&id).is_none_or(|before| before.outcome != Ending::Paid);
            if is_news {
                self.lines.insert(id, line);
            }
        }
    }

    fn route(&self, id: &PaymentId) -> Rc<str> {
        let route = self.routes.get(&id.0).filter(|route| !route.is_empty());
        route.cloned().unwrap_or_else(|| UNNAMED.into())
    }
}

/// A ledger that is going to be read.
pub(super) struct Source {
    from: place::Books,
    /// What it is.
    pub(super) books: Books,
}

impl Source {
    /// Opens the ledger at `place`, or finds the process that has it.
    pub(super) fn open(place: &Place) -> Result<Self, Failure> {
        let mut from = place::Books::open(place).map_err(|why| Failure::bad_input(safe(&why)))?;
        let books = match &mut from {
            place::Books::Ours(rows) => sales::books(rows.snapshot.as_mut(), system_clock()())
                .map_err(|error| Failure::unsound(safe(&error.to_string())))?,
            place::Books::Theirs(directory) => {
                // A payment that nobody makes: only what is said beside it matters.
                let nothing = Request::Sale(PaymentId([0; 32]));
                let found: Found = admin::ask_for(directory, &nothing)
                    .map_err(|error| Failure::bad_input(safe(&unanswered(directory, &error))))?;
                found.books
            }
        };
        Ok(Self { from, books })
    }

    /// Whether another process has it.
    pub(super) fn in_use(&self) -> bool {
        self.from.in_use()
    }

    /// Passes on every payment of the ledger, and those elsewhere that the log knows.
    pub(super) fn each(
        &mut self,
        known: &Known,
        span: &Span,
        each: &mut dyn FnMut(Sold),
    ) -> Result<(), Failure> {
        let broken = |why: String| Failure::unsound(safe(&why));
        let network = self.books.network.as_str().into();
        let mut list = List { known, span, each: &mut *each, books: None, network, rest: Vec::new() };
        match &mut self.from {
            place::Books::Ours(rows) => {
                let written = sales::write(rows.snapshot.as_mut(), self.books.now, &mut list);
                written.map_err(|error| broken(error.to_string()))?;
            }
            place::Books::Theirs(directory) => {
                let asked = admin::ask(directory, &Request::Sales, &mut list);
                asked.map_err(|error| broken(unanswered(directory, &error)))?;
            }
        }
        if span.payee.is_none() {
            known.lines.values().filter(|line| span.has(line.at)).for_each(|line| each(of_line(line)));
        }
        Ok(())
    }
}

/// Reads the ledger's lines as they come.
struct List<'a> {
    known: &'a Known,
    span: &'a Span,
    each: &'a mut dyn FnMut(Sold),
    books: Option<Books>,
    network: Rc<str>,
    rest: Vec<u8>,
}

impl List<'_> {
    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        let Some(books) = &self.books else {
            self.books = Some(serde_json::from_slice(line)?);
            return Ok(());
        };
        let sale: Sale = serde_json::from_slice(line)?;
        if self.span.has(sale.at) && self.span.payee.is_none_or(|payee| payee == sale.payee) {
            let scale = books.assets.get(sale.asset.as_str()).copied();
            let sold = of_sale(&sale, self.known.route(&sale.payment), self.network.clone(), scale);
            (self.each)(sold);
        }
        Ok(())
    }
}

impl Write for List<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
        for part in lines.by_ref() {
            match part.strip_suffix(b"\n") {
                None => self.rest.extend_from_slice(part),
                Some(end) if self.rest.is_empty() => self.line(end)?,
                Some(end) => {
                    let mut line = std::mem::take(&mut self.rest);
                    line.extend_from_slice(end);
                    self.line(&line)?;
                }
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

fn of_sale(sale: &Sale, route: Rc<str>, network: Rc<str>, scale: Option<u8>) -> Sold {
    let state = match sale.state {
        PaymentState::Held => State::Held,
        PaymentState::Captured => State::Captured,
        PaymentState::Voided => State::Voided,
        PaymentState::Reclaimed | PaymentState::Absent => State::Reclaimed,
    };
    Sold {
        payment: sale.payment.to_string(),
        route,
        payer: sale.payer.to_string(),
        network,
        asset: sale.asset.to_string(),
        currency: sale.asset.to_string(),
        scale,
        at: sale.at,
        state,
        captured: sale.captured,
        fee: sale.fee,
        refunded: sale.refunded,
        held: sale.held,
        ends: (state == State::Held).then_some(sale.capture_deadline),
    }
}

/// A payment on a chain, by the server's word: only the chain knows better.
fn of_line(line: &Line) -> Sold {
    let network = line.network.as_deref().unwrap_or("(unknown)");
    let named = line.asset.as_deref().unwrap_or("(unknown)");
    let known = asset::known(network, named);
    let amount = line.amount.or(line.held).unwrap_or_default();
    let (state, captured, held) = match line.outcome {
        Ending::Paid => (State::Captured, amount, Amount::ZERO),
        Ending::Voided => (State::Voided, Amount::ZERO, Amount::ZERO),
        Ending::Unknown => (State::Unknown, Amount::ZERO, amount),
    };
    Sold {
        payment: line.payment.clone(),
        route: if line.route.is_empty() { UNNAMED.into() } else { line.route.as_str().into() },
        payer: line.payer.clone().unwrap_or_else(|| "(unknown)".into()),
        network: network.into(),
        asset: named.to_owned(),
        currency: known.map_or(named, |(name, _)| name).to_owned(),
        scale: known.map(|(_, scale)| scale),
        at: line.at,
        state,
        captured,
        fee: Amount::ZERO,
        refunded: Amount::ZERO,
        held,
        ends: None,
    }
}
