//! The bench itself, for a moment: everything is answered and counted; nothing is timed.

use std::process::Command;

#[test]
fn a_tiny_run_counts_every_request_and_ends_with_one_line_of_json() {
    let mut bench = Command::new(env!("CARGO_BIN_EXE_pay-bench"));
    let output =
        bench.args(["--seconds", "0.05", "--rounds", "1", "--connections", "8", "--floods", "200", "--json"]);
    let output = output.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let line: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    let members = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(members(&line), ["free_rps", "p50_ms", "p99_ms", "ratio"]);
    assert_eq!(members(&line["ratio"]), ["auth-capture", "exact", "exact-remote", "unpaid"]);
    assert_eq!(members(&line["p50_ms"]), ["auth-capture", "exact", "exact-remote", "free", "unpaid"]);
    assert!(line["free_rps"].as_f64().unwrap() > 0.0);
    assert!(said.contains("| refused | 200 |"), "{said}");
}
