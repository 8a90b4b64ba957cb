//! What the documents show is what happens: programs in the README are the examples, they run, and every
//! command in a document or a manual is run by a test.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use farthing_testkit::anvil::Anvil;
use farthing_testkit::{exchange, free_port, program, request, workspace};

/// The port that the examples, the README and the manuals name.
const PORT: u16 = 4021;

fn read(path: impl AsRef<Path>) -> String {
    let path = workspace().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

// ---- The examples

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

/// A program that runs until this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a server on the port of the examples, in `directory`, and waits until it listens.
fn start_example(name: &str, directory: &Path) -> Running {
    let address = SocketAddr::from(([127, 0, 0, 1], PORT));
    // Built before the time runs.
    let server = program("farthing-examples", name);
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let free = TcpListener::bind(address).is_ok();
        if free {
            let server = Command::new(&server).current_dir(directory).stdin(Stdio::null()).spawn().unwrap();
            let mut server = Running(server);
            while server.0.try_wait().unwrap().is_none() {
                if TcpStream::connect(address).is_ok() {
                    return server;
                }
                assert!(Instant::now() < deadline, "the example {name} does not listen on {address}");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        // Somebody else has the port, or took it in between.
        assert!(
            Instant::now() < deadline,
            "port {PORT} is in use: the examples need it; stop whoever has it"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn text(output: &Output) -> String {
    let parts = [&output.stdout, &output.stderr].map(|part| String::from_utf8_lossy(part).into_owned());
    parts.concat()
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

// ---- The commands

/// How a command in a document is run here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    /// This very run is it: it cannot contain itself.
    ThisRun,
    /// By the test of the examples.
    Examples,
    /// It ends by itself, and well.
    Ends,
    /// It serves until ctrl-c, and then ends well.
    Serves,
    /// It asks a demonstration that is serving, or reads its ledger.
    AsksServer,
    /// It pays on a chain, and ends well.
    OnChain,
    /// It keeps keys, or gives their accounts play money.
    Wallet,
    /// It pays for programs until ctrl-c, and then ends well.
    Agentd,
    /// It opens an agent's home while its ledger is served, and ends with its input.
    Mcp,
    /// It pays from an agent's home at a demonstration that is serving, or looks after that home.
    Agent,
}

/// Every command that any document or manual shows.
const COMMANDS: &[(&str, Proof)] = &[
    ("cargo xtask test", Proof::ThisRun),
    ("cargo xtask lint", Proof::ThisRun),
    ("cargo run -p farthing-examples --bin server", Proof::Examples),
    ("cargo run -p farthing-examples --bin client", Proof::Examples),
    ("cargo run -p farthing-examples --bin site", Proof::Examples),
    ("cargo run -p farthing-examples --bin agent", Proof::Examples),
    ("cargo run -p farthing-cli -- inspect http://127.0.0.1:4021/weather", Proof::Examples),
    ("cargo run --release -p farthing-cli -- demo", Proof::Ends),
    ("farthing demo", Proof::Ends),
    ("farthing demo --requests 2000 --json", Proof::Ends),
    ("farthing demo --network eip155:84532 --rpc http://127.0.0.1:8545", Proof::OnChain),
    ("farthing demo --serve", Proof::Serves),
    ("farthing demo --serve --port 4021", Proof::Serves),
    ("farthing demo --serve --no-story --data ./ledger --port 4021", Proof::Serves),
    ("curl -i http://127.0.0.1:4021/spec/receipt.md", Proof::AsksServer),
    ("farthing inspect http://127.0.0.1:4021/spec/receipt.md", Proof::AsksServer),
    ("farthing inspect eyJ4NDAyVmVyc2lvbiI6Mi...", Proof::AsksServer),
    ("farthing inspect 'PAYMENT-REQUIRED: eyJ4NDAyVmVyc2lvbiI6Mi...'", Proof::AsksServer),
    ("farthing inspect --json - < header.txt | jq '.accepts[0].amount'", Proof::AsksServer),
    ("farthing ledger check --data ./ledger", Proof::AsksServer),
    ("farthing ledger check --data ./ledger --json", Proof::AsksServer),
    ("farthing ledger recover --data ./ledger --list", Proof::AsksServer),
    ("farthing ledger recover --data ./ledger", Proof::AsksServer),
    ("farthing ledger recover --data ./ledger --authorizer-key authorizer.key", Proof::AsksServer),
    ("farthing ledger export --data ./ledger --out history.jsonl", Proof::AsksServer),
    ("farthing ledger export --data ./ledger | jq 'select(.event == \"deposit\")'", Proof::AsksServer),
    ("farthing ledger backup --data ./ledger --out ledger.backup", Proof::AsksServer),
    ("farthing ledger backup --data ./ledger --out rows.backup --without-key", Proof::AsksServer),
    ("farthing ledger restore --from ledger.backup --data ./restored", Proof::AsksServer),
    ("farthing ledger restore --from rows.backup --data ./again --key ledger.key", Proof::AsksServer),
    ("farthing mcp --home ./agent --passphrase-file passphrase < /dev/null", Proof::Mcp),
    ("farthing mcp --home ./agent < /dev/null", Proof::Mcp),
    ("farthing wallet new agent", Proof::Wallet),
    ("farthing wallet new base --evm", Proof::Wallet),
    ("farthing wallet new shop --passphrase-file passphrase --json", Proof::Wallet),
    ("farthing wallet list", Proof::Wallet),
    ("farthing wallet list --json", Proof::Wallet),
    ("farthing wallet address agent", Proof::Wallet),
    ("farthing wallet address base --json", Proof::Wallet),
    ("farthing wallet import seller --from seller.key", Proof::Wallet),
    ("farthing wallet import imported --from other.key --json", Proof::Wallet),
    ("farthing wallet export agent > agent.key", Proof::Wallet),
    ("farthing wallet export base --json", Proof::Wallet),
    ("farthing wallet deposit agent '5 XTS' --data ./ledger", Proof::Wallet),
    ("farthing wallet deposit agent '0.25 XTS' --data ./ledger --json", Proof::Wallet),
    ("farthing wallet balance agent --data ./ledger", Proof::Wallet),
    ("farthing wallet balance agent --data ./ledger --json", Proof::Wallet),
    ("farthing agentd", Proof::Agentd),
    ("farthing agentd --port 0 --json", Proof::Agentd),
    ("farthing agentd --socket ./agentd.sock --token-file ./token", Proof::Agentd),
    ("farthing wallet import agent --from ./ledger/agent.key", Proof::Agent),
    ("farthing policy init --ledger http://127.0.0.1:4021/ledger --total '5 XTS'", Proof::Agent),
    ("farthing wallet balance agent --ledger http://127.0.0.1:4021/ledger", Proof::Agent),
    ("farthing policy check", Proof::Agent),
    ("farthing policy check --json", Proof::Agent),
    ("farthing budget", Proof::Agent),
    ("farthing budget --json", Proof::Agent),
    ("farthing budget freeze", Proof::Agent),
    ("farthing budget unfreeze", Proof::Agent),
    ("farthing budget freeze --home .farthing", Proof::Agent),
    ("farthing budget unfreeze --home .farthing", Proof::Agent),
    ("farthing budget approve-payee https://api.example.com eip155:8453 0x1234", Proof::Agent),
    ("farthing budget approve-payee http://127.0.0.1:4021 eip155:84532 0x5678", Proof::Agent),
    ("farthing pay --dry-run http://127.0.0.1:4021/spec/ledger.md", Proof::Agent),
    ("farthing pay http://127.0.0.1:4021/spec/receipt.md", Proof::Agent),
    ("farthing pay -o digest.md http://127.0.0.1:4021/spec/request-digest.md", Proof::Agent),
    ("farthing pay --json --task reading http://127.0.0.1:4021/spec/README.md", Proof::Agent),
    ("farthing pay --max-price '0.01 XTS' http://127.0.0.1:4021/spec/ledger.md", Proof::Agent),
    ("farthing budget reconcile", Proof::Agent),
    ("farthing budget reconcile --json", Proof::Agent),
    ("farthing receipts", Proof::Agent),
    ("farthing receipts --since 24h --json", Proof::Agent),
    ("farthing receipts --origin http://127.0.0.1:4021 --since 2026-01-01", Proof::Agent),
    ("farthing receipts show last", Proof::Agent),
    ("farthing receipts show last --json", Proof::Agent),
    ("farthing receipts export --format csv --out payments.csv", Proof::Agent),
    ("farthing receipts export --format jsonl --out payments.jsonl", Proof::Agent),
    ("farthing receipts export --format csv", Proof::Agent),
    ("farthing completions bash > farthing.bash", Proof::Agent),
    ("farthing completions zsh > _farthing", Proof::Agent),
    ("farthing completions fish > farthing.fish", Proof::Agent),
    ("farthing man > farthing.1", Proof::Agent),
    ("farthing man --out ./man", Proof::Agent),
];

/// A command without its comment: what stands before two spaces or ` #`.
fn command(line: &str) -> &str {
    let line = line.trim();
    let end = line.find("  ").unwrap_or(line.len()).min(line.find(" #").unwrap_or(line.len()));
    line[..end].trim()
}

/// The commands in the shell blocks of a document.
fn in_document(text: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if matches!(line.trim(), "```sh" | "```bash" | "```shell" | "```console") {
            let block = lines.by_ref().take_while(|line| line.trim() != "```");
            let block = block.map(command).filter(|line| !line.is_empty() && !line.starts_with('#'));
            commands.extend(block.map(|line| line.trim_start_matches("$ ").to_owned()));
        }
    }
    commands
}

/// The commands in the section EXAMPLES of a manual.
fn in_manual(text: &str) -> Vec<String> {
    let (_, section) = text.split_once("\nEXAMPLES\n").expect("a section EXAMPLES");
    let lines = section.lines().take_while(|line| line.is_empty() || line.starts_with(' '));
    let is_command = |line: &&str| ["farthing ", "curl "].iter().any(|start| line.starts_with(start));
    lines.map(command).filter(is_command).map(str::to_owned).collect()
}

/// `README.md`, `CONTRIBUTING.md`, `SECURITY.md`, the specification, and the crates' own.
fn documents() -> Vec<PathBuf> {
    let mut paths: Vec<_> = ["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(PathBuf::from).into();
    let list = |directory: &str| {
        let entries = std::fs::read_dir(workspace().join(directory)).unwrap().flatten();
        entries.map(|entry| Path::new(directory).join(entry.file_name())).collect::<Vec<_>>()
    };
    let is_markdown = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "md");
    paths.extend(list("spec").into_iter().chain(list("docs/adr")).filter(is_markdown));
    let crates = list("crates").into_iter().chain(list("crates/rails"));
    let crates = crates.map(|path| path.join("README.md"));
    paths.extend(crates.filter(|path| workspace().join(path).exists()));
    paths.sort();
    paths
}

fn manual(args: &[&str]) -> String {
    let output = Command::new(program("farthing-cli", "farthing")).args(args).arg("--help").output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_command_in_a_document_or_a_manual_is_run_by_a_test() {
    let mut shown = BTreeSet::new();
    for path in documents() {
        for command in in_document(&read(&path)) {
            assert!(
                COMMANDS.iter().any(|(known, _)| *known == command),
                "{}: no test runs `{command}`; add it to COMMANDS with a way to run it",
                path.display()
            );
            shown.insert(command);
        }
    }
    let pages = [
        &[][..],
        &["demo"],
        &["inspect"],
        &["ledger"],
        &["ledger", "check"],
        &["ledger", "recover"],
        &["ledger", "export"],
        &["ledger", "backup"],
        &["ledger", "restore"],
        &["mcp"],
        &["agentd"],
        &["wallet"],
        &["wallet", "new"],
        &["wallet", "list"],
        &["wallet", "address"],
        &["wallet", "import"],
        &["wallet", "export"],
        &["wallet", "balance"],
        &["wallet", "deposit"],
        &["policy"],
        &["policy", "check"],
        &["budget"],
        &["budget", "freeze"],
        &["budget", "unfreeze"],
        &["budget", "approve-payee"],
        &["budget", "reconcile"],
        &["pay"],
        &["receipts"],
        &["receipts", "show"],
        &["receipts", "export"],
        &["completions"],
        &["man"],
    ];
    for args in pages {
        let commands = in_manual(&manual(args));
        assert!(commands.len() >= 2, "farthing {args:?} --help has too few examples");
        for command in commands {
            assert!(
                COMMANDS.iter().any(|(known, _)| *known == command),
                "farthing {args:?} --help: no test runs `{command}`; add it to COMMANDS with a way to run it"
            );
            shown.insert(command);
        }
    }
    for &(known, _) in COMMANDS {
        assert!(shown.contains(known), "`{known}` is shown nowhere any more");
    }
}

#[test]
fn commands_are_found_in_documents_and_manuals() {
    let document = "a\n```sh\n$ one two   # three\n\n# four\nfive # six\n```\n```\nno\n```\n  ```console\n  seven\n  ```";
    assert_eq!(in_document(document), ["one two", "five", "seven"]);
    let manual =
        "x\n\nEXAMPLES\n  farthing a      Words\n      curl b\n  Words farthing c\n\nEXIT\n  farthing d";
    assert_eq!(in_manual(manual), ["farthing a", "curl b"]);
}

/// A directory in which `farthing` is a command and the manuals' port is one that is free.
struct Shell {
    directory: tempfile::TempDir,
    port: u16,
}

impl Shell {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), port: free_port() }
    }

    fn command(&self, line: &str) -> Command {
        let line = line.replace(&PORT.to_string(), &self.port.to_string());
        let line = line.replacen("cargo run --release -p farthing-cli -- ", "farthing ", 1);
        let mut path = program("farthing-cli", "farthing").parent().unwrap().as_os_str().to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut command = Command::new("sh");
        // With exec, a signal to the shell is one to the command.
        let line = if line.contains('|') { line } else { format!("exec {line}") };
        command.args(["-euc", &line]).env("PATH", path).current_dir(&self.directory);
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command to its end, which must be a good one.
    fn run(&self, line: &str) -> String {
        let output = self.command(line).output().unwrap();
        assert!(output.status.success(), "`{line}`: {}", text(&output));
        text(&output)
    }

    /// Starts a command that serves. Returns what it printed until it listens.
    fn serve(&self, line: &str) -> (Serving, String) {
        let mut child = Running(self.command(line).stdout(Stdio::piped()).spawn().unwrap());
        let mut lines = BufReader::new(child.0.stdout.take().unwrap());
        let mut printed = String::new();
        while !printed.ends_with("Press ctrl-c to stop.\n") {
            let read = lines.read_line(&mut printed).unwrap();
            assert!(read > 0, "`{line}` ended before it served: {printed}");
        }
        (Serving { child, lines, line: line.to_owned() }, printed)
    }
}

struct Serving {
    child: Running,
    lines: BufReader<std::process::ChildStdout>,
    line: String,
}

impl Serving {
    /// Ctrl-c.
    fn interrupt(mut self) {
        let kill = Command::new("sh").args(["-c", &format!("kill -INT {}", self.child.0.id())]).status();
        assert!(kill.unwrap().success());
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        let status = self.child.0.wait().unwrap();
        assert!(status.success(), "`{}` after ctrl-c: {status} {rest}", self.line);
    }
}

/// The commands with one kind of proof.
fn proven_by(proof: Proof) -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().filter(move |(_, by)| *by == proof).map(|(command, _)| *command)
}

#[test]
#[ignore = "cargo xtask test"]
fn the_commands_that_pay_on_a_chain_do_what_they_say() {
    let (shell, chain) = (Shell::new(), Anvil::start());
    for line in proven_by(Proof::OnChain) {
        let printed = shell.run(&line.replace("8545", &chain.port().to_string()));
        assert!(printed.contains("402 Payment Required"), "{printed}");
    }
}

#[test]
fn the_commands_that_end_do_what_they_say() {
    let shell = Shell::new();
    for line in proven_by(Proof::Ends) {
        let printed = shell.run(line);
        if line.ends_with("--json") {
            assert_eq!(printed.lines().count(), 1, "{printed}");
            let report: serde_json::Value = serde_json::from_str(&printed).unwrap();
            let number = |key: &str| report[key].as_u64().unwrap();
            assert_eq!((number("requests"), &report["ledger_balanced"]), (2000, &true.into()), "{printed}");
            assert_eq!(number("paid") + number("refused_by_budget"), 2000, "{printed}");
        } else {
            assert!(printed.contains("ledger balanced: issued = agent + seller + held"), "{printed}");
        }
    }
}

#[test]
fn the_commands_of_a_wallet_do_what_they_say() {
    use std::os::unix::fs::PermissionsExt;
    let shell = Shell::new();
    let home = shell.directory.path();
    shell.run("farthing demo --requests 1 --json --data ./ledger");
    let (seller, other) = (std::fs::read_to_string(home.join("ledger/seller.key")).unwrap(), "7".repeat(64));
    for (name, text) in
        [("passphrase", "correct horse"), ("seller.key", seller.as_str()), ("other.key", other.as_str())]
    {
        std::fs::write(home.join(name), text).unwrap();
        std::fs::set_permissions(home.join(name), PermissionsExt::from_mode(0o600)).unwrap();
    }
    for line in proven_by(Proof::Wallet) {
        let mut command = shell.command(line);
        let output = command.env("HOME", home).env("FARTHING_PASSPHRASE", "correct horse").output().unwrap();
        let printed = text(&output);
        assert!(output.status.success(), "`{line}`: {printed}");
        let expected = match line {
            _ if line.contains("export") => "SECRET",
            _ if line.contains("balance") && line.contains("--json") => "\"5250000\"",
            _ if line.contains("balance") => "5.25 XTS",
            _ if line.contains("deposit") => "deposited",
            _ if line.contains("--json") => "\"public\"",
            "farthing wallet address agent" => "",
            _ if line.contains("import") => "seller",
            _ if line.contains("base") => "0x",
            _ => "agent",
        };
        assert!(printed.contains(expected), "`{line}`: {printed}");
    }
    assert_eq!(std::fs::read_to_string(home.join("agent.key")).unwrap().trim().len(), 64);
}

#[test]
fn the_commands_of_an_agent_do_what_they_say() {
    let shell = Shell::new();
    let home = shell.directory.path();
    let (serving, _) = shell.serve("farthing demo --serve --no-story --data ./ledger --port 4021");
    // Once it is in the wallet, the key comes from here: to open a wallet takes a while in this build.
    let key = std::fs::read_to_string(home.join("ledger/agent.key")).unwrap();
    for line in proven_by(Proof::Agent) {
        let mut command = shell.command(line);
        command.env("HOME", home).env("FARTHING_PASSPHRASE", "correct horse");
        let output = command.env("FARTHING_KEY_AGENT", key.trim()).output().unwrap();
        let printed = text(&output);
        assert!(output.status.success(), "`{line}`: {printed}");
        let expected = match line {
            _ if line.contains(" > ") => "",
            _ if line.contains("man --out") => "farthing.1",
            _ if line.contains("import") => "agent",
            _ if line.contains("balance") => "500 XTS",
            _ if line.contains("policy check --json") => "\"account\":\"agent\"",
            _ if line.contains("policy") => "5",
            _ if line.contains("approve-payee") => "may be paid on eip155:",
            _ if line.contains("unfreeze") => "signed again",
            _ if line.contains("freeze") => "Frozen",
            _ if line.contains("reconcile --json") => "\"open\":[]",
            _ if line.contains("reconcile") => "Nothing was open",
            _ if line.contains("budget --json") => "\"total\":{\"atomic\":\"5000000\"",
            _ if line.contains("budget") => "of it: 5 XTS left",
            _ if line.contains("dry-run") => "would be paid",
            _ if line.starts_with("farthing pay --json") => "\"exit\":0",
            _ if line.starts_with("farthing pay") => "confirmed by the network",
            _ if line.contains("--out") => "4 payments written",
            _ if line.contains("--format csv") => "\r\n",
            _ if line.contains("--json") => "\"confirmed\":true",
            _ if line.contains("show") => "the seller's, valid",
            _ => "4 payments",
        };
        assert!(printed.contains(expected), "`{line}`: {printed}");
    }
    assert_eq!(std::fs::read(home.join("digest.md")).unwrap(), read("spec/request-digest.md").into_bytes());
    for file in ["farthing.bash", "_farthing", "farthing.fish", "farthing.1", "man/farthing-pay.1"] {
        assert!(std::fs::metadata(home.join(file)).unwrap().len() > 1000, "{file}");
    }
    serving.interrupt();
}

#[tokio::test]
async fn the_commands_for_language_models_open_their_agent() {
    use std::os::unix::fs::PermissionsExt;
    let shell = Shell::new();
    let home = shell.directory.path();
    let (serving, _) = shell.serve("farthing demo --serve --no-story --data ./ledger --port 4021");
    std::fs::create_dir(home.join("agent")).unwrap();
    std::fs::write(home.join("passphrase"), "correct horse battery").unwrap();
    std::fs::set_permissions(home.join("passphrase"), PermissionsExt::from_mode(0o600)).unwrap();
    let wallet = "--wallet agent/wallet.json --passphrase-file passphrase";
    shell.run(&format!("farthing wallet import agent --from ledger/agent.key {wallet}"));
    let address = SocketAddr::from(([127, 0, 0, 1], shell.port));
    let supported = exchange(address, &request(address, "GET", "/ledger/supported", &[], b"")).await.unwrap();
    let supported: serde_json::Value = serde_json::from_slice(&supported.body).unwrap();
    let (origin, network) = (format!("http://{address}"), &supported["kinds"][0]["network"]);
    let policy = format!(
        "origins = [\"{origin}\"]\n[[wallet]]\nnetwork = {network}\nledger = \"{origin}/ledger\"\naccount = \
         \"agent\"\n[[budget]]\nnetwork = {network}\nasset = \"XTS\"\ntotal = \"1\"\n"
    );
    std::fs::write(home.join("agent/policy.toml"), policy).unwrap();
    for line in proven_by(Proof::Mcp) {
        let output =
            shell.command(line).env("FARTHING_PASSPHRASE", "correct horse battery").output().unwrap();
        assert!(output.status.success() && output.stdout.is_empty(), "`{line}`: {}", text(&output));
    }
    serving.interrupt();
}

#[tokio::test]
async fn the_commands_that_pay_for_programs_do_what_they_say() {
    let shell = Shell::new();
    let home = shell.directory.path();
    std::fs::create_dir(home.join(".farthing")).unwrap();
    // Where nothing may be paid, programs are served all the same.
    std::fs::write(home.join(".farthing/policy.toml"), "origins = []\n").unwrap();
    for line in proven_by(Proof::Agentd) {
        let line = match line.contains("--port") {
            true => line.to_owned(),
            false => format!("{line} --port {}", shell.port),
        };
        let mut command = shell.command(&line);
        let mut child = Running(command.env("HOME", home).stdout(Stdio::piped()).spawn().unwrap());
        let mut lines = BufReader::new(child.0.stdout.take().unwrap());
        let mut printed = String::new();
        while !printed.contains("Press ctrl-c to stop.\n") && !printed.contains("}\n") {
            assert!(lines.read_line(&mut printed).unwrap() > 0, "`{line}`: {printed}");
        }
        let (_, address) = printed.split_once("http://").expect("where it listens");
        let address = address.split(['"', '\n']).next().unwrap().parse().unwrap();
        let health = exchange(address, &request(address, "GET", "/health", &[], b"")).await.unwrap();
        assert_eq!((health.status, health.json()["status"].as_str()), (200, Some("ok")), "`{line}`");
        Serving { child, lines, line }.interrupt();
    }
    assert!(home.join("token").exists() && home.join(".farthing/agentd.token").exists());
    assert!(!home.join("agentd.sock").exists());
}

#[tokio::test]
#[ignore = "cargo xtask test"]
async fn the_commands_that_ask_a_serving_demonstration_do_what_they_say() {
    let shell = Shell::new();
    let lines: Vec<_> = proven_by(Proof::Serves).collect();
    let (serves_ledger, others): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.contains("./ledger"));
    for line in others {
        // What the demonstration itself says to try.
        let (serving, printed) = shell.serve(line);
        let (_, printed) = printed.split_once("Try this from another terminal").expect("things to try");
        let tries: Vec<_> = printed.lines().map(str::trim).collect();
        let is_try = |pair: &&[&str]| pair[0].starts_with("# ");
        let tries: Vec<_> = tries.windows(2).filter(is_try).map(|pair| pair[1].to_owned()).collect();
        assert!(tries.len() >= 8, "{printed}");
        for line in tries {
            shell.run(&line);
        }
        serving.interrupt();
    }
    let [line] = serves_ledger[..] else { panic!("one command serves ./ledger") };
    let (serving, _) = shell.serve(line);
    let address = SocketAddr::from(([127, 0, 0, 1], shell.port));
    let unpaid = exchange(address, &request(address, "GET", "/spec/receipt.md", &[], b"")).await.unwrap();
    let header = unpaid.header("payment-required").expect("terms").to_owned();
    assert!(
        header.starts_with("eyJ4NDAyVmVyc2lvbiI6Mi"),
        "the manual's header begins as headers do: {header}"
    );
    std::fs::write(shell.directory.path().join("header.txt"), format!("{header}\n")).unwrap();
    for key in ["authorizer.key", "ledger.key"] {
        std::fs::copy(shell.directory.path().join("ledger").join(key), shell.directory.path().join(key))
            .unwrap();
    }
    for line in proven_by(Proof::AsksServer) {
        let printed = shell.run(&line.replace("eyJ4NDAyVmVyc2lvbiI6Mi...", &header));
        let expected = match line {
            _ if line.starts_with("curl") => "402 Payment Required",
            _ if line.contains("restore") => "it balances",
            _ if line.contains("recover") => "Nothing is in doubt.",
            _ if line.contains("export") && line.contains("--out") => "lines written to history.jsonl",
            _ if line.contains("export") => "\"event\": \"deposit\"",
            _ if line.contains("--without-key") => "It holds no key",
            _ if line.contains("backup --data") => "It holds the ledger's key",
            _ if line.contains("jq") => "\"1000\"",
            _ if line.contains("check") => "balance",
            _ => "1000 atomic units of XTS",
        };
        assert!(printed.contains(expected), "`{line}`: {printed}");
    }
    serving.interrupt();
    // And again when nobody serves.
    for line in proven_by(Proof::AsksServer).filter(|line| line.contains("ledger") && !line.contains("--out"))
    {
        if line.contains("restore") {
            let line = line.replace("./restored", "./restored-later").replace("./again", "./again-later");
            shell.run(&line);
        } else {
            shell.run(line);
        }
    }
}

// ---- The links

#[test]
fn every_relative_link_of_a_document_leads_somewhere() {
    let mut links = 0;
    for path in documents() {
        let directory = workspace().join(&path);
        let directory = directory.parent().unwrap();
        for link in read(&path).split("](").skip(1).filter_map(|rest| rest.split_once(')')) {
            let target = link.0.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains(':') || target.contains(' ') {
                continue;
            }
            assert!(directory.join(target).exists(), "{}: `{target}` leads nowhere", path.display());
            links += 1;
        }
    }
    assert!(links >= 10);
}
