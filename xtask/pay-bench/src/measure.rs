//! The measurement: rounds of all cases in turn, at many connections and at one.

use std::time::Duration;

use crate::case::Case;
use crate::load::{self, Round};
use crate::requests::Payers;
use crate::server::Server;
use crate::{Args, Result};

/// Requests of the round that warms a case up.
const WARM_UP: usize = 2_000;
/// Requests of a round at one connection, at most.
const ALONE: usize = 1_000;
/// Requests of one round, at most: what can be signed and held in memory.
const MOST: usize = 400_000;

/// What was measured of one case: medians over its rounds.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) case: Case,
    /// Requests per second of each round, sorted.
    pub(crate) rates: Vec<f64>,
    /// At many connections.
    pub(crate) p50: Duration,
    /// At many connections.
    pub(crate) p99: Duration,
    /// At one connection.
    pub(crate) alone_p50: Duration,
    /// CPU time of the server, and of the facilitator behind it, for each request at many connections.
    pub(crate) cpu: Duration,
}

impl Measured {
    /// The median of requests per second.
    pub(crate) fn rate(&self) -> f64 {
        middle(&self.rates)
    }
}

/// A case on its way.
struct Running {
    payers: Payers,
    case: Case,
    /// Requests of one round.
    count: usize,
    rounds: Vec<Round>,
    alone: Vec<Round>,
}

/// Measures the cases that were asked for.
///
/// # Errors
/// When anything was not answered or not counted as it should be.
pub(crate) fn all(args: &Args) -> Result<Vec<Measured>> {
    let cases = args.cases();
    let server = Server::start(cases.contains(&Case::ExactRemote))?;
    let mut running = Vec::new();
    for case in cases {
        running.push(Running::warm(case, &server, args)?);
    }
    for round in 1..=args.rounds {
        eprint!("\rround {round} of {} ", args.rounds);
        for running in &mut running {
            let (count, connections) = (running.count, args.connections);
            let round = running.round(&server, count, connections)?;
            running.rounds.push(round);
        }
        for running in &mut running {
            let count = ALONE.min(running.count);
            let round = running.round(&server, count, 1)?;
            running.alone.push(round);
        }
    }
    eprintln!();
    Ok(running.into_iter().map(Running::measured).collect())
}

/// One round of one case on a server, with everything counted.
///
/// # Errors
/// When anything was not answered or not counted as it should be.
pub(crate) fn round(
    payers: &Payers,
    case: Case,
    server: &Server,
    count: usize,
    connections: usize,
) -> Result<Round> {
    let ledger = server.settling(case)?;
    let requests = payers.requests(count, server)?;
    let before = (server.counts()?, ledger.counts()?);
    let round = load::drive(case, server, &requests, count, connections)?;
    let after = (server.counts()?, ledger.counts()?);
    let count = count as u64;
    let expected = (if case.serves() { count } else { 0 }, if case.settles() { count } else { 0 });
    let counted = (after.0.served - before.0.served, after.1.captured - before.1.captured);
    if counted != expected || after.1.money != before.1.money {
        return Err(format!(
            "{case}: {count} requests, counted {counted:?} instead of {expected:?}, {before:?} {after:?}"
        )
        .into());
    }
    Ok(round)
}

impl Running {
    fn warm(case: Case, server: &Server, args: &Args) -> Result<Self> {
        let payers = Payers::connect(case, server)?;
        let count = if args.seconds < 1.0 { WARM_UP / 20 } else { WARM_UP };
        round(&payers, case, server, count, args.connections)?;
        let rate = round(&payers, case, server, count, args.connections)?.rate;
        let count = ((rate * args.seconds) as usize).clamp(args.connections, MOST);
        Ok(Self { payers, case, count, rounds: Vec::new(), alone: Vec::new() })
    }

    fn round(&self, server: &Server, count: usize, connections: usize) -> Result<Round> {
        round(&self.payers, self.case, server, count, connections)
    }

    fn measured(self) -> Measured {
        let of = |rounds: &[Round], time: &dyn Fn(&Round) -> Duration| {
            let seconds = rounds.iter().map(|round| time(round).as_secs_f64()).collect();
            Duration::from_secs_f64(middle(&sorted(seconds)))
        };
        Measured {
            case: self.case,
            p50: of(&self.rounds, &|round| round.percentile(0.50)),
            p99: of(&self.rounds, &|round| round.percentile(0.99)),
            alone_p50: of(&self.alone, &|round| round.percentile(0.50)),
            cpu: of(&self.rounds, &|round| round.cpu),
            rates: sorted(self.rounds.iter().map(|round| round.rate).collect()),
        }
    }
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

/// The median of sorted values.
fn middle(sorted: &[f64]) -> f64 {
    let at = sorted.len() / 2;
    match (sorted.len() % 2, sorted.get(at)) {
        (1, Some(value)) => *value,
        (_, Some(value)) => (sorted[at - 1] + value) / 2.0,
        _ => 0.0,
    }
}
