//! The bench itself, for a moment: everything is paid and counted, and history balances; nothing is timed.

use std::process::Command;

#[test]
fn a_tiny_run_pays_and_counts_everything_and_ends_with_one_line_of_json() {
    let mut bench = Command::new(env!("CARGO_BIN_EXE_ledger-bench"));
    let sizes = ["--payments", "60", "--few", "20", "--accounts", "60", "--rounds", "1", "--check", "--json"];
    let directory = tempfile::tempdir().unwrap();
    let output = bench.args(sizes).arg("--directory").arg(directory.path()).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let line: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    let members = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(members(&line), ["cpu_us", "p50_ms", "p99_ms", "payments_per_s", "ratio"]);
    assert_eq!(members(&line["ratio"]), ["fjall", "many_accounts", "one_payee", "one_payer"]);
    for engine in ["memory", "embedded", "postgres"] {
        let rates = &line["payments_per_s"][engine];
        assert_eq!(members(rates), ["1", "512", "64", "8"]);
        assert!(members(rates).iter().all(|callers| rates[callers].as_f64().unwrap() > 0.0), "{line}");
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left behind");
}
