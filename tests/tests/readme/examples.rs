//! The programs of the README and of `examples/`: each runs as it is shown.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use farthing_testkit::{ExamplesPort, program};

use super::{PORT, Running, read, text};

#[test]
fn the_programs_in_the_readme_are_the_examples() {
    let readme = read("README.md");
    for path in ["examples/server.rs", "examples/client.rs", "examples/usdc.rs"] {
        let (_, shown) = readme.split_once(&format!("<!-- {path} -->\n```rust\n")).expect("a marked block");
        let (shown, _) = shown.split_once("```\n").expect("the block's end");
        assert_eq!(shown, read(path), "README.md does not show {path} as it is");
    }
}

#[test]
fn an_example_is_fifteen_lines_of_code_at_most() {
    for path in ["examples/server.rs", "examples/client.rs"] {
        let text = read(path);
        let code = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//"));
        assert!(code.count() <= 15, "{path} is too long");
    }
}

/// An example that serves, on a port that it has alone.
pub(super) struct Example {
    server: Running,
    _port: ExamplesPort,
}

/// Starts a server on the port of the examples, in `directory`, and waits until it listens.
pub(super) fn start_example(name: &str, directory: &Path) -> Example {
    // Built before the time runs.
    let program = program("farthing-examples", name);
    let port = ExamplesPort::claim();
    let server = Command::new(&program).current_dir(directory).stdin(Stdio::null()).spawn().unwrap();
    let mut example = Example { server: Running(server), _port: port };
    let deadline = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(("127.0.0.1", ExamplesPort::NUMBER)).is_err() {
        assert!(example.server.0.try_wait().unwrap().is_none(), "the example {name} ended");
        assert!(Instant::now() < deadline, "the example {name} does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    example
}

#[test]
fn the_examples_run_as_they_are_and_the_client_prints_the_page() {
    let directory = tempfile::tempdir().unwrap();
    let server = start_example("server", directory.path());
    for _ in 0..2 {
        let output =
            Command::new(program("farthing-examples", "client")).current_dir(&directory).output().unwrap();
        let text = text(&output);
        assert!(output.status.success(), "{text}");
        assert_eq!(text, "paid 0.001 USD, confirmed by the ledger: true\nsunny, 21 degrees\n");
    }
    let mut inspect = Command::new(program("farthing-cli", "farthing"));
    let output = inspect.args(["inspect", &format!("http://127.0.0.1:{PORT}/weather")]).output().unwrap();
    assert!(output.status.success() && text(&output).contains("1000 atomic units of USD"));
    // Both payments are in the example's books.
    drop(server);
    let mut check = Command::new(program("farthing-cli", "farthing"));
    let output =
        check.args(["ledger", "check", "--json", "--data", "shop/ledger"]).current_dir(&directory).output();
    let report: serde_json::Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
    assert_eq!((&report["balanced"], &report["payments"]["captured"]), (&true.into(), &2.into()), "{report}");
}

#[test]
fn the_agent_researches_the_site_within_its_budget_and_says_what_it_bought() {
    assert!(read("examples/agent.rs").lines().count() <= 60, "examples/agent.rs is too long");
    let directory = tempfile::tempdir().unwrap();
    let site = start_example("site", directory.path());
    let output =
        Command::new(program("farthing-examples", "agent")).current_dir(&directory).output().unwrap();
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    let expected = "\
BOUGHT                COST  RECEIPT
/                0.001 USD  proven
/moon            0.002 USD  proven
/harbours        0.003 USD  proven
/about                free
/moon/phases     0.004 USD  proven

LEFT
/almanac        it costs 0.05 USD, and the budget per request has 0.01 USD left
/harbours/maps  it costs 0.009 USD, and the budget has 0.008 USD left

spent 0.01 of 0.018 USD
";
    assert_eq!(text, expected);
    // What it says it spent is what the books say.
    drop(site);
    let mut check = Command::new(program("farthing-cli", "farthing"));
    let output =
        check.args(["ledger", "check", "--json", "--data", "shop/ledger"]).current_dir(&directory).output();
    let report: serde_json::Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
    assert_eq!((&report["balanced"], &report["payments"]["captured"]), (&true.into(), &4.into()), "{report}");
}
