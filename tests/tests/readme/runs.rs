//! The commands are run, each as its proof says.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::Stdio;

use farthing_testkit::anvil::Anvil;
use farthing_testkit::{exchange, request};

use super::commands::{Proof, proven_by};
use super::shell::{Serving, Shell};
use super::{Running, read, text};

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
            _ if line.contains("receipt verify") => "holds",
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
