//! The simulation notices what it is there for: each fault is planted, and found within a bounded number of
//! seeds; the same seeds pass without it.

use farthing_testkit::sim::{Planted, run};

/// Seeds within which a planted fault is found.
const SEEDS: u64 = 250;

/// What the first seed says that fails with `planted`. It and all before it pass without.
fn found(planted: Planted) -> String {
    let failed = (0..SEEDS).map(|seed| run(seed, Some(planted), false)).find(|run| run.violation.is_some());
    let failed = failed.unwrap_or_else(|| panic!("{planted:?} was not noticed within {SEEDS} seeds"));
    println!("{planted:?}: seed {}: {}", failed.seed, failed.violation.as_deref().unwrap_or_default());
    for seed in 0..=failed.seed {
        let clean = run(seed, None, true);
        assert_eq!(clean.violation, None, "seed {seed}: {}", clean.trace.lines().join("\n"));
    }
    failed.violation.unwrap_or_default()
}

#[test]
fn releasing_a_hold_on_an_unknown_outcome_is_found() {
    let violation = found(Planted::ReleasesOnUnknown);
    let said = ["did its work, and its payment is Voided", "a stream delivered more than the"];
    assert!(said.iter().any(|said| violation.contains(said)), "{violation}");
}

#[test]
fn dropping_the_replay_key_at_capture_is_found() {
    let violation = found(Planted::ForgetsReplayKey);
    let said = ["have one nonce, and both were authorized", "no row or no replay key"];
    assert!(said.iter().any(|said| violation.contains(said)), "{violation}");
}

#[test]
fn capturing_twice_on_retry_is_found() {
    let violation = found(Planted::CapturesTwice);
    assert!(violation.contains("captured twice"), "{violation}");
}

#[test]
fn forgetting_to_void_on_panic_is_found() {
    let violation = found(Planted::ForgetsVoidOnPanic);
    assert!(violation.contains("is not flushed"), "{violation}");
}

#[test]
fn answering_before_the_flush_is_found() {
    let violation = found(Planted::AnswersBeforeFlush);
    assert!(violation.contains("is not flushed"), "{violation}");
}

#[test]
fn letting_a_stale_owner_capture_is_found() {
    let violation = found(Planted::StaleOwnerCaptures);
    assert!(violation.contains("by an owner that had lost its hold"), "{violation}");
}

#[test]
fn sixty_seeds_pass_and_much_happens_in_them() {
    let mut total = farthing_testkit::sim::Figures::default();
    for seed in 1000..1060 {
        let run = run(seed, None, true);
        assert_eq!(run.violation, None, "seed {seed}: {}", run.trace.lines().join("\n"));
        total += run.figures;
    }
    let happened =
        [total.takeovers, total.crashes, total.stalls, total.failed_commits, total.unknown_outcomes];
    let ended = [total.captures, total.voids, total.reclaims, total.panics, total.conflicts];
    assert!(happened.iter().chain(&ended).all(|count| *count > 0), "{total}");
}

#[test]
fn the_same_seed_is_the_same_history() {
    for seed in [1, 2, 3] {
        let (first, second) = (run(seed, None, true), run(seed, None, false));
        assert!(first.trace.count() > 20, "{}", first.trace.count());
        assert_eq!(first.trace.hash(), second.trace.hash());
        assert_eq!(first.figures, second.figures);
    }
    assert_ne!(run(1, None, false).trace.hash(), run(2, None, false).trace.hash());
}

#[test]
fn the_same_seed_is_the_same_history_in_another_process() {
    let play = || {
        let played = std::process::Command::new(env!("CARGO_BIN_EXE_sim")).args(["--seed", "11"]).output();
        let played = played.unwrap();
        assert!(played.status.success(), "{}", String::from_utf8_lossy(&played.stdout));
        played.stdout
    };
    let (first, second) = (play(), play());
    assert_eq!(first, second);
    let here = run(11, None, false).trace.hash();
    assert!(String::from_utf8_lossy(&first).contains(&here), "this process has {here}");
}

#[test]
fn a_trace_is_in_plain_words_and_holds_no_signature_and_no_key() {
    let run = run(4, None, true);
    assert!(run.trace.lines().iter().any(|line| line.contains("signs P")), "somebody signs");
    for line in run.trace.lines() {
        let longest = line.split(|c: char| !c.is_ascii_alphanumeric()).map(str::len).max().unwrap_or(0);
        assert!(longest < 24, "{line}");
    }
}
