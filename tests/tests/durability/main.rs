//! The disk of a ledger whose machine lost its power: a real program's writes and flushes are recorded, and its
//! directory is rebuilt from them as it may be found after a crash at any point, opened and judged.

mod campaign;
mod disk;
mod flushes;
mod rebuild;
mod recorder;
mod verdict;

use campaign::{Figures, Plan, Recorded, record, run};

/// With what the tables are so small that files are sorted and merged all the time.
const SMALL_TABLES: [&str; 5] = ["--small-tables", "--answer", "1000", "--payments", "20"];

/// Crash points of a campaign and its seed; `cargo xtask soak` asks for more.
fn plan() -> Plan {
    let number = |name: &str, default| match std::env::var(name) {
        Ok(value) => value.parse::<u64>().unwrap_or_else(|_| panic!("{name} must be a number")),
        Err(_) => default,
    };
    let points = usize::try_from(number("FARTHING_CRASH_POINTS", 40)).unwrap();
    Plan { lost: points, mixed: points, seed: number("FARTHING_SEED", 1) }
}

/// A plan that is enough to see that something is lost.
const SHORT: Plan = Plan { lost: 20, mixed: 0, seed: 1 };

fn report(name: &str, figures: &Figures) {
    println!(
        "durability, {name}: {} crash points, {} directories rebuilt, {} refused, {} wrong",
        figures.points,
        figures.rebuilt(),
        figures.refusals(),
        figures.wrong.len()
    );
    println!("  whole: {:?}", figures.whole);
    for ((variant, why), count) in &figures.refused {
        println!("  {variant:?} refused {count}: {why}");
    }
    for wrong in figures.wrong.iter().take(20) {
        println!("  wrong: {wrong}");
    }
}

/// Every reply is in what was flushed before it, and every rebuilt directory has it or refuses to open.
fn survives(name: &str, recorded: &Recorded) {
    recorded.check_model();
    let (early, replies) = flushes::early(&recorded.root(), &recorded.recording);
    assert!(early.is_empty() && replies > 100, "{} of {replies} replies before their flush", early.len());
    let figures = run(&recorded.root(), &recorded.recording, plan());
    report(name, &figures);
    assert!(figures.wrong.is_empty(), "{} directories lost or invented something", figures.wrong.len());
}

#[test]
#[ignore = "cargo xtask test"]
fn t17_a_directory_of_flushed_writes_has_every_reply() {
    survives("as it is", &record(&[]));
}

#[test]
#[ignore = "cargo xtask test"]
fn t17_a_directory_of_flushed_writes_has_every_reply_while_tables_are_sorted_into_files() {
    let recorded = record(&SMALL_TABLES);
    let sorted = recorded.synced("/tables/");
    assert!(sorted > 20, "only {sorted} files were sorted");
    survives("small tables", &recorded);
}

#[test]
#[ignore = "cargo xtask test"]
fn t17_a_directory_of_flushed_writes_has_every_reply_with_large_answers() {
    survives("large answers", &record(&["--answer", "60000", "--payments", "20"]));
}

#[test]
#[ignore = "cargo xtask test"]
fn replies_before_their_flush_are_found() {
    let recorded = record(&["--reply-early"]);
    let (early, replies) = flushes::early(&recorded.root(), &recorded.recording);
    assert_eq!(early.len(), replies);
    let figures = run(&recorded.root(), &recorded.recording, SHORT);
    assert!(figures.wrong.iter().any(|wrong| wrong.contains("acknowledged")), "{figures:?}");
}

#[test]
#[ignore = "cargo xtask test"]
fn flushes_that_are_left_out_are_found() {
    let recorded = record(&[]);
    for (what, of_every_reply) in [(".jnl", true), ("/keyspaces", false), ("/data", false), ("/disk", false)]
    {
        let recording = recorded.without_flushes_of(what);
        let (early, replies) = flushes::early(&recorded.root(), &recording);
        assert_eq!(early.len(), if of_every_reply { replies } else { 0 }, "without flushes of {what}");
        let figures = run(&recorded.root(), &recording, SHORT);
        assert!(!figures.wrong.is_empty(), "without flushes of {what}: {figures:?}");
    }
    // The positive twin: with all flushes, the same points are whole.
    let figures = run(&recorded.root(), &recorded.recording, SHORT);
    assert!(figures.wrong.is_empty() && figures.rebuilt() == 20, "{figures:?}");
}
