//! Every command that a document or a manual shows, and how it is proven.

use std::collections::BTreeSet;
use std::process::Command;

use farthing_testkit::program;

use super::{documents, read};

/// How a command in a document is run here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
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
    /// It sets up, checks or runs a gateway.
    Gateway,
    /// It shows what a gateway sold, or gives a sale back.
    Sales,
    /// It checks what a seller signed.
    Receipt,
    /// It pays from an agent's home at a demonstration that is serving, or looks after that home.
    Agent,
}

/// Every command that any document or manual shows.
pub(super) const COMMANDS: &[(&str, Proof)] = &[
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
    ("farthing receipts show last --json | farthing receipt verify", Proof::Agent),
    ("farthing receipt verify receipt.json", Proof::Receipt),
    ("farthing receipt verify --key did:key:z6Mk... --url https://a.example/x a.jws", Proof::Receipt),
    ("farthing receipt verify 'PAYMENT-RESPONSE: eyJzdWNjZXNzIjp0cnVl...'", Proof::Receipt),
    ("farthing gateway init http://127.0.0.1:8080 --price 0.01", Proof::Gateway),
    ("farthing gateway init http://127.0.0.1:8080 --price '0.01 XTS'", Proof::Gateway),
    ("farthing gateway init http://127.0.0.1:8080 --price 0.5 --config shop.toml", Proof::Gateway),
    ("farthing gateway --check", Proof::Gateway),
    ("farthing gateway", Proof::Gateway),
    ("farthing gateway --config shop.toml --json > requests.jsonl", Proof::Gateway),
    ("farthing sales --data farthing-data", Proof::Sales),
    ("farthing sales --data farthing-data --by day --since 30d", Proof::Sales),
    ("farthing sales --data farthing-data --by payment --since 24h", Proof::Sales),
    ("farthing sales --data farthing-data --pending", Proof::Sales),
    ("farthing sales --data shop --since 2026-11-01 --until 2026-12-01 --csv", Proof::Sales),
    ("farthing refund 3f0c...e1 --data farthing-data", Proof::Sales),
    ("farthing refund 3f0c...e1 --data farthing-data --amount 0.01", Proof::Sales),
    ("farthing refund 3f0c...e1 --data ./ledger --authorizer authorizer.key", Proof::Sales),
    ("cargo run -p farthing-examples --bin api", Proof::Examples),
    ("cargo run -p farthing-examples --bin metered", Proof::Examples),
    ("cargo run -p farthing-examples --bin download", Proof::Examples),
    ("cargo run -p farthing-examples --bin pass", Proof::Examples),
    ("cd examples && python3 -m http.server 8080 --bind 127.0.0.1 --directory static", Proof::Examples),
    ("cd examples && farthing gateway --config gateway.toml", Proof::Examples),
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
        &["receipts", "verify"],
        &["gateway"],
        &["gateway", "init"],
        &["sales"],
        &["refund"],
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

/// The commands with one kind of proof.
pub(super) fn proven_by(proof: Proof) -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().filter(move |(_, by)| *by == proof).map(|(command, _)| *command)
}
