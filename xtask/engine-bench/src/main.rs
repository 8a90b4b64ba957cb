//! Which embedded storage engine should carry the ledger?
//!
//! This program puts the ledger's own row shapes (see `workload.rs`) through fjall, redb, SQLite and a "raw log +
//! memory" baseline, on the machine it runs on, and prints one markdown table: the evidence for
//! `docs/adr/0001-embedded-engine.md`. Every cell runs in a child process of its own, so that CPU time and peak
//! memory belong to that cell alone. Absolute numbers say little about another machine, or about this one while
//! something else runs on it; quote ratios, and trust CPU per payment before payments per second.
//!
//! ```text
//! cargo run --release -- [--seconds 3] [--preload 1000000] [--engine fjall|redb|sqlite|raw]
//! ```

mod engines;
mod meter;
mod workload;

use std::process::Command;
use std::time::{Duration, Instant};

use workload::Workload;

type Error = Box<dyn std::error::Error>;
type Result<T> = std::result::Result<T, Error>;

const FEW_ACCOUNTS: u64 = 10_000;
const BATCHES: [usize; 4] = [1, 16, 64, 256];
const PRELOADED_BATCH: usize = 64;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, engine, batch, accounts, preload, seconds] = args.as_slice()
        && flag == "--cell"
    {
        let row = run_cell(engine, batch.parse()?, accounts.parse()?, preload.parse()?, seconds.parse()?)?;
        println!("{row}");
        return Ok(());
    }

    let (mut seconds, mut preload, mut engines) = (3, 1_000_000, engines::NAMES.to_vec());
    for pair in args.chunks(2) {
        match pair {
            [flag, value] if flag == "--seconds" => seconds = value.parse()?,
            [flag, value] if flag == "--preload" => preload = value.parse()?,
            [flag, value] if flag == "--engine" => engines.retain(|name| name == value),
            other => return Err(format!("unknown or incomplete option {other:?}").into()),
        }
    }

    println!(
        "| engine | commands per commit | accounts, payments before | payments/s | CPU us per payment | disk bytes per payment | commit p50 / p99 / max ms | peak MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for batch in BATCHES {
        for engine in &engines {
            spawn_cell(engine, batch, FEW_ACCOUNTS, 0, seconds)?;
        }
    }
    for engine in &engines {
        if preload > 0 {
            spawn_cell(engine, PRELOADED_BATCH, preload, preload, seconds)?;
        }
    }
    Ok(())
}

fn spawn_cell(engine: &str, batch: usize, accounts: u64, preload: u64, seconds: u64) -> Result<()> {
    let numbers = [batch as u64, accounts, preload, seconds].map(|n| n.to_string());
    let status = Command::new(std::env::current_exe()?).args(["--cell", engine]).args(numbers).status()?;
    if status.success() { Ok(()) } else { Err(format!("the {engine} cell failed: {status}").into()) }
}

/// Runs one cell in this process and returns its table row.
fn run_cell(engine: &str, batch: usize, accounts: u64, preload: u64, seconds: u64) -> Result<String> {
    let dir = tempfile::tempdir_in(std::env::var_os("BENCH_DIR").unwrap_or_else(|| ".".into()))?;
    let mut store = engines::open(engine, dir.path())?;
    let mut work = Workload::new(accounts);
    work.preload(store.as_mut(), preload)?;

    let cpu_before = meter::cpu_time()?;
    let (started, limit) = (Instant::now(), Duration::from_secs(seconds));
    let mut commits = Vec::new();
    let captured_before = work.captured();
    while started.elapsed() < limit {
        let commit = Instant::now();
        work.batch(store.as_mut(), batch)?;
        commits.push(commit.elapsed());
    }
    let elapsed = started.elapsed();
    let payments = (work.captured() - captured_before) as f64;
    drop(store); // its deferred work (a checkpoint, a flush) is part of the CPU bill and of the bytes
    let cpu = meter::cpu_time()? - cpu_before;
    let bytes = meter::disk_bytes(dir.path())?;

    commits.sort_unstable();
    let commit_ms = |part: f64| {
        let at = ((commits.len() - 1) as f64 * part) as usize;
        commits[at].as_secs_f64() * 1e3
    };
    Ok(format!(
        "| {engine} | {batch} | {accounts}, {preload} | {:.0} | {:.0} | {:.0} | {:.2} / {:.2} / {:.0} | {} |",
        payments / elapsed.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / payments,
        bytes as f64 / work.captured() as f64,
        commit_ms(0.5),
        commit_ms(0.99),
        commit_ms(1.0),
        meter::peak_memory_mib()?,
    ))
}
