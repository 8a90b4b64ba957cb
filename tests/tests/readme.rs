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
fn start_example(directory: &Path) -> Running {
    let address = SocketAddr::from(([127, 0, 0, 1], PORT));
    // Built before the time runs.
    let server = program("farthing-examples", "server");
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
                assert!(Instant::now() < deadline, "the server example does not listen on {address}");
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
    let server = start_example(directory.path());
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
}

/// Every command that any document or manual shows.
const COMMANDS: [(&str, Proof); 43] = [
    ("cargo xtask test", Proof::ThisRun),
    ("cargo xtask lint", Proof::ThisRun),
    ("cargo run -p farthing-examples --bin server", Proof::Examples),
    ("cargo run -p farthing-examples --bin client", Proof::Examples),
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
        &["wallet"],
        &["wallet", "new"],
        &["wallet", "list"],
        &["wallet", "address"],
        &["wallet", "import"],
        &["wallet", "export"],
        &["wallet", "balance"],
        &["wallet", "deposit"],
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
    for (known, _) in COMMANDS {
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
