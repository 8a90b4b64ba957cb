//! `/verify`, of both facilitators, at one connection and at many: the same payments in the same order.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::anvil::{Anvil, USDC};
use crate::http::Connection;
use crate::payments::{SELLER, bodies};
use crate::program::Program;
use crate::{Args, Result};

/// Connections at which both are measured.
const CONNECTIONS: [usize; 2] = [1, 16];
/// Payments that differ; they are sent in turn.
const PAYMENTS: u32 = 2_000;

/// What was measured of one facilitator at one number of connections: medians over its rounds.
#[derive(Clone, Debug)]
pub(crate) struct Verified {
    pub(crate) name: &'static str,
    pub(crate) connections: usize,
    /// Verifications per second.
    pub(crate) rate: f64,
    /// CPU time of the facilitator for each.
    pub(crate) cpu: Duration,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

/// One round.
struct Round {
    rate: f64,
    cpu: Duration,
    /// Sorted.
    latencies: Vec<Duration>,
}

/// Measures all, in rounds that take turns.
///
/// # Errors
/// When an answer is not that the payment is valid.
pub(crate) fn all(args: &Args, chain: &Anvil, facilitators: &[Program]) -> Result<Vec<Verified>> {
    let bodies = bodies(PAYMENTS)?;
    let cases: Vec<_> = CONNECTIONS
        .iter()
        .flat_map(|&connections| facilitators.iter().map(move |it| (it, connections)))
        .collect();
    for (facilitator, connections) in &cases {
        round(facilitator, *connections, &bodies, Duration::from_secs_f64(args.seconds / 2.0))?;
    }
    let mut rounds: Vec<Vec<Round>> = cases.iter().map(|_| Vec::new()).collect();
    for number in 1..=args.rounds {
        eprint!("\rround {number} of {} ", args.rounds);
        for ((facilitator, connections), rounds) in cases.iter().zip(&mut rounds) {
            rounds.push(round(facilitator, *connections, &bodies, Duration::from_secs_f64(args.seconds))?);
        }
    }
    eprintln!();
    if chain.balance(USDC, SELLER) != 0 {
        return Err("verifying moved money".into());
    }
    Ok(cases
        .iter()
        .zip(rounds)
        .map(|((facilitator, connections), rounds)| {
            let of = |time: &dyn Fn(&Round) -> Duration| middle(rounds.iter().map(time).collect());
            Verified {
                name: facilitator.name,
                connections: *connections,
                rate: {
                    let mut rates: Vec<f64> = rounds.iter().map(|round| round.rate).collect();
                    rates.sort_by(f64::total_cmp);
                    rates[rates.len() / 2]
                },
                cpu: of(&|round| round.cpu),
                p50: of(&|round| percentile(&round.latencies, 0.50)),
                p99: of(&|round| percentile(&round.latencies, 0.99)),
            }
        })
        .collect())
}

fn round(facilitator: &Program, connections: usize, bodies: &[Vec<u8>], time: Duration) -> Result<Round> {
    let next = AtomicUsize::new(0);
    let connections =
        (0..connections).map(|_| Connection::open(facilitator.port)).collect::<Result<Vec<_>>>()?;
    let (before, began) = (facilitator.cpu()?, Instant::now());
    let latencies = std::thread::scope(|scope| {
        let threads: Vec<_> = connections
            .into_iter()
            .map(|connection| scope.spawn(|| ask(connection, bodies, &next, began, time)))
            .collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| "the load generator panicked")?).collect()
    });
    let latencies: Result<Vec<Vec<Duration>>> = latencies;
    let (elapsed, after) = (began.elapsed(), facilitator.cpu()?);
    let mut latencies = latencies?.concat();
    latencies.sort_unstable();
    let count = latencies.len().max(1) as f64;
    Ok(Round { rate: count / elapsed.as_secs_f64(), cpu: (after - before).div_f64(count), latencies })
}

/// One connection: one request at a time, until the time is over.
fn ask(
    mut connection: Connection,
    bodies: &[Vec<u8>],
    next: &AtomicUsize,
    began: Instant,
    time: Duration,
) -> Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    while began.elapsed() < time {
        let body = &bodies[next.fetch_add(1, Ordering::Relaxed) % bodies.len()];
        let asked = Instant::now();
        let answer = connection.post("/verify", body)?;
        latencies.push(asked.elapsed());
        let said: Value = serde_json::from_slice(&answer)?;
        if said["isValid"] != true {
            return Err(format!("a payment is said not to be valid: {said}").into());
        }
    }
    Ok(latencies)
}

/// The share `part` of sorted values is at most this.
pub(crate) fn percentile(sorted: &[Duration], part: f64) -> Duration {
    let at = ((sorted.len() as f64 * part).ceil() as usize).max(1) - 1;
    sorted.get(at).copied().unwrap_or_default()
}

fn middle(mut values: Vec<Duration>) -> Duration {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{middle, percentile};
    use std::time::Duration;

    #[test]
    fn percentiles_and_medians_are_values_that_were_measured() {
        let values: Vec<_> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(percentile(&values, 0.50), Duration::from_millis(50));
        assert_eq!(percentile(&values, 0.99), Duration::from_millis(99));
        assert_eq!(percentile(&values[..1], 0.99), Duration::from_millis(1));
        assert_eq!(middle(vec![values[9], values[0], values[4]]), Duration::from_millis(5));
    }
}
