//! Plays seeds of the simulator, on every core: `sim [--seeds N] [--from S] [--seed S]`.
#![allow(clippy::unwrap_used, reason = "a lock is poisoned only by a panic that ends the run")]

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use farthing_testkit::sim::{Figures, Run, run};

/// From so many seeds on, everything interesting must have happened.
const MANY: u64 = 1000;

fn main() -> ExitCode {
    let wanted = match Wanted::read() {
        Ok(wanted) => wanted,
        Err(why) => {
            eprintln!("{why}\nusage: sim [--seeds N] [--from S] | [--seed S]");
            return ExitCode::FAILURE;
        }
    };
    match wanted.one {
        Some(seed) => one(seed),
        None => many(wanted.from, wanted.seeds),
    }
}

#[derive(Debug)]
struct Wanted {
    from: u64,
    seeds: u64,
    one: Option<u64>,
}

impl Wanted {
    fn read() -> Result<Self, String> {
        let mut wanted = Self { from: 0, seeds: MANY, one: None };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            let value = arguments.next().and_then(|value| value.parse().ok());
            let value: u64 = value.ok_or_else(|| format!("{name} needs a number"))?;
            match name.as_str() {
                "--from" => wanted.from = value,
                "--seeds" => wanted.seeds = value,
                "--seed" => wanted.one = Some(value),
                _ => return Err(format!("{name} is not known")),
            }
        }
        Ok(wanted)
    }
}

/// One seed, with its trace.
fn one(seed: u64) -> ExitCode {
    let run = run(seed, None, true);
    for line in run.trace.lines() {
        println!("{line}");
    }
    println!("seed {seed}: {} lines, hash {}; {}", run.trace.count(), run.trace.hash(), run.figures);
    match &run.violation {
        None => ExitCode::SUCCESS,
        Some(violation) => {
            println!("FAILED: {violation}");
            ExitCode::FAILURE
        }
    }
}

/// Many seeds; ends with one line of figures, or with the trace of the first seed that fails.
fn many(from: u64, seeds: u64) -> ExitCode {
    let began = Instant::now();
    let (next, stop) = (AtomicU64::new(from), AtomicBool::new(false));
    let (total, failed) = (Mutex::new(Figures::default()), Mutex::new(Vec::<Run>::new()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from.saturating_add(seeds) {
                        return;
                    }
                    let run = run(seed, None, false);
                    *total.lock().unwrap() += run.figures;
                    if run.violation.is_some() {
                        failed.lock().unwrap().push(run);
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let (total, mut failed) = (total.into_inner().unwrap(), failed.into_inner().unwrap());
    failed.sort_by_key(|run| run.seed);
    if let Some(run) = failed.first() {
        let played = one(run.seed);
        println!("again: cargo xtask sim --seed {}", run.seed);
        return played;
    }
    println!("{total}, {:.1} seconds", began.elapsed().as_secs_f64());
    let missing = total.missing();
    if seeds >= MANY && !missing.is_empty() {
        println!("FAILED: never happened: {}", missing.join(", "));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
