//! One round: callers that make payments one after the other, all at the same time.

use std::time::{Duration, Instant};

use farthing_ledger::Ledger;
use farthing_ledger::command::Standing;
use farthing_ledger::rows::Payment as Row;
use farthing_ledger::statement::PaymentState;
use farthing_protocol::Amount;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::Result;
use crate::meter;
use crate::payments::{PRICE, Payment};
use crate::stage::Scene;

/// What one round was.
#[derive(Clone, Debug, Default)]
pub(crate) struct Round {
    pub(crate) payments: usize,
    /// From the first command to the last answer.
    pub(crate) took: Duration,
    /// From each command to its answer, sorted.
    pub(crate) answers: Vec<Duration>,
    /// Storage's part of each batch, sorted.
    pub(crate) commits: Vec<Duration>,
    /// CPU time of the process, what storage does behind and when it is closed included.
    pub(crate) cpu: Duration,
    /// The committer's part of it.
    pub(crate) committer: Duration,
}

impl Round {
    /// Payments per second.
    pub(crate) fn rate(&self) -> f64 {
        self.payments as f64 / self.took.as_secs_f64()
    }

    /// CPU time of each payment, in microseconds.
    pub(crate) fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.payments as f64
    }

    /// The committer's part of it, in microseconds.
    pub(crate) fn committer_us(&self) -> f64 {
        self.committer.as_secs_f64() * 1e6 / self.payments as f64
    }

    /// Commands in one commit, on average.
    pub(crate) fn together(&self) -> f64 {
        match self.commits.len() {
            0 => 0.0,
            commits => (2 * self.payments) as f64 / commits as f64,
        }
    }
}

/// Makes all `payments` with `callers` callers, and closes the ledger.
///
/// # Errors
/// When anything is not answered as it should be, or the ledger does not count what was paid; with `check`, also when
/// its whole history does not balance.
pub(crate) fn round(
    runtime: &Runtime,
    scene: Scene<'_>,
    payments: Vec<Payment>,
    callers: usize,
    check: bool,
) -> Result<Round> {
    let count = payments.len();
    let shares = share(payments, callers);
    scene.commits.take_times();
    let (cpu, committer) = (meter::cpu_time()?, meter::committer_time()?);
    let began = Instant::now();
    let mut answers = runtime.block_on(run(&scene.ledger, shares))?;
    let took = began.elapsed();
    let committer = meter::committer_time()?.saturating_sub(committer);
    let mut commits = scene.commits.take_times();
    if check {
        let report = runtime.block_on(scene.ledger.check())?;
        let captured = report.payments.get("captured").copied().unwrap_or(0);
        if !report.balanced() || captured != count as u64 || report.payments.len() > 1 {
            return Err(format!("{count} payments, and the check says {report:?}").into());
        }
    }
    drop(scene.close());
    let cpu = meter::cpu_time()? - cpu;
    answers.sort_unstable();
    commits.sort_unstable();
    Ok(Round { payments: count, took, answers, commits, cpu, committer })
}

/// What each caller pays.
pub(crate) fn share(payments: Vec<Payment>, callers: usize) -> Vec<Vec<Payment>> {
    let mut shares: Vec<Vec<Payment>> = (0..callers).map(|_| Vec::new()).collect();
    for (number, payment) in payments.into_iter().enumerate() {
        shares[number % callers].push(payment);
    }
    shares
}

/// Makes the payments of each caller, all callers at the same time; how long each command took.
///
/// # Errors
/// When anything is not answered as it should be.
pub(crate) async fn run(ledger: &Ledger, shares: Vec<Vec<Payment>>) -> Result<Vec<Duration>> {
    let mut callers = JoinSet::new();
    for share in shares {
        callers.spawn(pay(ledger.clone(), share));
    }
    let mut answers = Vec::new();
    while let Some(caller) = callers.join_next().await {
        answers.extend(caller??);
    }
    Ok(answers)
}

/// One caller.
async fn pay(ledger: Ledger, payments: Vec<Payment>) -> Result<Vec<Duration>> {
    let mut answers = Vec::with_capacity(2 * payments.len());
    for payment in payments {
        let began = Instant::now();
        let held = ledger.authorize_checked(payment.authorize).await?;
        answers.push(began.elapsed());
        if held.standing != (Standing::Owner { takeover: false }) {
            return Err(format!("a fresh payment found {:?}", held.standing).into());
        }
        let began = Instant::now();
        let captured = ledger.operate_checked(payment.capture).await?;
        answers.push(began.elapsed());
        match captured.as_slice() {
            [Ok(Row { state: PaymentState::Captured, captured: Amount(PRICE), .. })] => {}
            other => return Err(format!("a capture ended as {other:?}").into()),
        }
    }
    Ok(answers)
}
