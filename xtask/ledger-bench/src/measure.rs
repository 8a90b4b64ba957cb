//! The parts of the bench. Within a part, rounds of everything that is compared take turns, so that drift hits all
//! alike, and medians count.

use std::time::Duration;

use tokio::runtime::Runtime;

use crate::drive::{self, Round};
use crate::meter::Commits;
use crate::payments::{self, Parties, Payment};
use crate::processes::{Payees, Processes};
use crate::stage::{Accounts, Engine, Home, Stage};
use crate::{Args, Part, Result, bare};

/// Callers that pay at the same time.
pub(crate) const CALLERS: [usize; 4] = [1, 8, 64, 512];
/// Callers where only one number of them is measured.
pub(crate) const MANY: usize = 64;

/// What was measured of one thing: medians over its rounds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) rate: f64,
    pub(crate) answer_p50: Duration,
    pub(crate) answer_p99: Duration,
    pub(crate) commit_p50: Duration,
    pub(crate) commit_p99: Duration,
    pub(crate) together: f64,
    pub(crate) cpu_us: f64,
    pub(crate) committer_us: f64,
}

impl Figures {
    fn of(rounds: &[Round]) -> Self {
        let number = |of: &dyn Fn(&Round) -> f64| middle(rounds.iter().map(of).collect());
        let time = |of: &dyn Fn(&Round) -> Duration| {
            Duration::from_secs_f64(middle(rounds.iter().map(|round| of(round).as_secs_f64()).collect()))
        };
        Self {
            rate: number(&Round::rate),
            answer_p50: time(&|round| percentile(&round.answers, 0.50)),
            answer_p99: time(&|round| percentile(&round.answers, 0.99)),
            commit_p50: time(&|round| percentile(&round.commits, 0.50)),
            commit_p99: time(&|round| percentile(&round.commits, 0.99)),
            together: number(&Round::together),
            cpu_us: number(&Round::cpu_us),
            committer_us: number(&Round::committer_us),
        }
    }
}

/// Everything that was measured; what was not asked for is empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    /// By engine and number of callers.
    pub(crate) engines: Vec<(Engine, usize, Figures)>,
    /// By engine: with few accounts, and with many.
    pub(crate) accounts: Vec<(Engine, Figures, Figures)>,
    /// The embedded engine, and fjall alone with the same batches.
    pub(crate) fjall: Option<(Figures, Figures)>,
    /// By engine: every payer in its turn, and one payer for all.
    pub(crate) payer: Vec<(Engine, Figures, Figures)>,
    /// Two processes on one PostgreSQL ledger: many payees, and one payee for all.
    pub(crate) processes: Option<(Figures, Figures)>,
}

/// Measures the parts that were asked for.
///
/// # Errors
/// When anything was not paid or not counted as it should be.
pub(crate) fn all(args: &Args) -> Result<Measured> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let home = Home::new(&args.directory)?;
    let bench = Bench { args, runtime, home };
    let mut measured = Measured::default();
    if args.has(Part::Engines) {
        measured.engines = bench.engines()?;
    }
    if args.has(Part::Accounts) {
        measured.accounts = bench.accounts()?;
    }
    if args.has(Part::Fjall) {
        measured.fjall = Some(bench.fjall()?);
    }
    if args.has(Part::Payer) {
        measured.payer = bench.payer()?;
    }
    if args.has(Part::Processes) && args.engines().contains(&Engine::Postgres) {
        measured.processes = Some(bench.processes()?);
    }
    Ok(measured)
}

struct Bench<'a> {
    args: &'a Args,
    runtime: Runtime,
    home: Home,
}

/// A stage, what is paid on it, and by how many.
struct Case<'a> {
    stage: &'a Stage<'a>,
    payments: &'a [Payment],
    callers: usize,
}

impl Bench<'_> {
    fn engines(&self) -> Result<Vec<(Engine, usize, Figures)>> {
        let payments = self.sign(self.args.few, 1)?;
        let mut stages = Vec::new();
        for engine in self.args.engines() {
            stages.push((engine, self.few(engine)?));
        }
        let mut names = Vec::new();
        let mut cases = Vec::new();
        for callers in CALLERS {
            for (engine, stage) in &stages {
                names.push((*engine, callers));
                cases.push(Case { stage, payments: part(*engine, callers, &payments), callers });
            }
        }
        let figures = self.take_turns("engines", &cases)?;
        Ok(names
            .into_iter()
            .zip(figures)
            .map(|((engine, callers), figures)| (engine, callers, figures))
            .collect())
    }

    fn accounts(&self) -> Result<Vec<(Engine, Figures, Figures)>> {
        let few_payments = self.sign(self.args.few, 1)?;
        // Nobody pays twice when there are enough accounts: the rest of them only has money.
        let payers = self.args.accounts.min(self.args.payments);
        let many_payments = self.sign(payers, 1)?;
        let mut all = Vec::new();
        for engine in self.durable() {
            let idle = self.args.accounts - payers;
            let accounts = Accounts { payers, idle, payments: self.args.payments };
            let (few, many) = (self.few(engine)?, Stage::build(&self.home, &self.runtime, engine, accounts)?);
            let cases = [
                Case { stage: &few, payments: part(engine, MANY, &few_payments), callers: MANY },
                Case { stage: &many, payments: part(engine, MANY, &many_payments), callers: MANY },
            ];
            all.push((engine, self.take_turns("accounts", &cases)?));
        }
        Ok(all.into_iter().map(|(engine, figures)| pair(engine, figures)).collect())
    }

    fn payer(&self) -> Result<Vec<(Engine, Figures, Figures)>> {
        let (spread, hot) = (self.sign(self.args.few, 1)?, self.sign(1, 1)?);
        let mut all = Vec::new();
        for engine in self.durable() {
            let stage = self.few(engine)?;
            let case =
                |payments| Case { stage: &stage, payments: part(engine, MANY, payments), callers: MANY };
            let cases = [case(&spread), case(&hot)];
            all.push((engine, self.take_turns("one payer", &cases)?));
        }
        Ok(all.into_iter().map(|(engine, figures)| pair(engine, figures)).collect())
    }

    /// The same batches: those of one real run, which is not measured itself because keeping them costs time.
    fn fjall(&self) -> Result<(Figures, Figures)> {
        let payments = self.sign(self.args.few, 1)?;
        let stage = self.few(Engine::Embedded)?;
        let commits = Commits::keeping();
        let case = Case { stage: &stage, payments: &payments, callers: MANY };
        self.round(&case, commits.clone(), false)?;
        let batches = commits.take_writes();
        let (mut real, mut alone) = (Vec::new(), Vec::new());
        for round in 1..=self.args.rounds {
            self.announce("fjall", round);
            real.push(self.round(&case, Commits::default(), false)?);
            let directory = stage.copy()?;
            let bare = bare::round(directory.path(), &batches, payments.len())?;
            say(&bare);
            alone.push(bare);
        }
        Ok((Figures::of(&real), Figures::of(&alone)))
    }

    fn durable(&self) -> Vec<Engine> {
        self.args.engines().into_iter().filter(|engine| engine.is_durable()).collect()
    }

    /// Two processes at a time, with one payee for all and with many.
    fn processes(&self) -> Result<(Figures, Figures)> {
        let stage = self.few(Engine::Postgres)?;
        let mut processes = Processes::start(&self.home, self.args.few, self.args.payments / 4)?;
        let (mut spread, mut hot) = (Vec::new(), Vec::new());
        for round in 1..=self.args.rounds {
            self.announce("processes", round);
            let check = self.args.check && round == self.args.rounds;
            for (payees, rounds) in [(Payees::Spread, &mut spread), (Payees::One, &mut hot)] {
                let database = stage.database()?;
                rounds.push(processes.round(payees, &database)?);
                if check {
                    let ledger = self.home.ledger_in(&database)?;
                    let report = self.runtime.block_on(ledger.check())?;
                    if !report.balanced() {
                        return Err(format!("after two processes the check says {report:?}").into());
                    }
                }
            }
        }
        Ok((Figures::of(&spread), Figures::of(&hot)))
    }

    /// A stage with few accounts, each of which pays.
    fn few(&self, engine: Engine) -> Result<Stage<'_>> {
        let accounts = Accounts { payers: self.args.few, idle: 0, payments: self.args.payments };
        Stage::build(&self.home, &self.runtime, engine, accounts)
    }

    fn sign(&self, payers: usize, payees: usize) -> Result<Vec<Payment>> {
        let set = format!("{payers} to {payees}");
        payments::sign(self.home.ledger(), Parties { payers, payees }, &set, self.args.payments)
    }

    fn take_turns(&self, part: &str, cases: &[Case<'_>]) -> Result<Vec<Figures>> {
        let mut rounds: Vec<Vec<Round>> = cases.iter().map(|_| Vec::new()).collect();
        for round in 1..=self.args.rounds {
            self.announce(part, round);
            for (case, rounds) in cases.iter().zip(&mut rounds) {
                // History is verified once; every round counts what was captured.
                let check = self.args.check && round == self.args.rounds;
                rounds.push(self.round(case, Commits::default(), check)?);
            }
        }
        Ok(rounds.iter().map(|rounds| Figures::of(rounds)).collect())
    }

    fn round(&self, case: &Case<'_>, commits: Commits, check: bool) -> Result<Round> {
        let payments = case.payments.to_vec();
        let round = drive::round(&self.runtime, case.stage.open(commits)?, payments, case.callers, check)?;
        say(&round);
        Ok(round)
    }

    fn announce(&self, part: &str, round: usize) {
        eprintln!("{part}: round {round} of {}", self.args.rounds);
    }
}

/// As many payments as an engine makes in a few seconds with so many callers.
fn part(engine: Engine, callers: usize, payments: &[Payment]) -> &[Payment] {
    let part = match (engine, callers) {
        (Engine::Postgres, 1) => 40,
        (Engine::Postgres, 8) | (_, 1) => 10,
        (Engine::Postgres, _) | (_, 8) => 2,
        _ => 1,
    };
    &payments[..(payments.len() / part).max(1)]
}

fn pair(engine: Engine, figures: Vec<Figures>) -> (Engine, Figures, Figures) {
    let mut figures = figures.into_iter();
    (engine, figures.next().unwrap_or_default(), figures.next().unwrap_or_default())
}

/// How far it is: medians come at the end.
fn say(round: &Round) {
    eprintln!(
        "  {:.0} payments/s, {:.1} us of CPU each, {:.1} of them the committer's",
        round.rate(),
        round.cpu_us(),
        round.committer_us()
    );
}

fn percentile(sorted: &[Duration], part: f64) -> Duration {
    let at = (sorted.len().saturating_sub(1)) as f64 * part;
    sorted.get(at as usize).copied().unwrap_or_default()
}

/// The median.
fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = values.len() / 2;
    match (values.len() % 2, values.get(at)) {
        (1, Some(value)) => *value,
        (_, Some(value)) => (values[at - 1] + value) / 2.0,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, middle, percentile};

    #[test]
    fn the_middle_of_values_and_their_percentiles() {
        assert_eq!((middle(vec![3.0, 1.0, 2.0]), middle(vec![4.0, 1.0]), middle(vec![])), (2.0, 2.5, 0.0));
        let sorted: Vec<Duration> = (1..=101).map(Duration::from_millis).collect();
        assert_eq!(percentile(&sorted, 0.50), Duration::from_millis(51));
        assert_eq!(percentile(&sorted, 0.99), Duration::from_millis(100));
    }
}
