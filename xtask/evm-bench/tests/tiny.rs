//! The bench itself, for a moment and without the reference: everything is answered and settled; nothing is timed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

#[test]
#[ignore = "cargo xtask test"]
fn a_tiny_run_verifies_and_settles_everything_and_ends_with_its_tables() {
    let mut bench = Command::new(env!("CARGO_BIN_EXE_evm-bench"));
    let output = bench.args(["--seconds", "0.1", "--rounds", "1", "--calls", "3"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("| farthing, 1 |") && said.contains("| farthing, 16 |"), "{said}");
    assert!(said.contains("| farthing | 3 |"), "{said}");
}
