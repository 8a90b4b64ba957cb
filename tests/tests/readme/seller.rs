//! What a seller is shown: the examples that sell, each paid by a client, and the commands of a shop.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use farthing::{Budget, Client, keyfile};
use farthing_testkit::{ExamplesPort, exchange, free_port, program, request, workspace};
use http::Method;
use serde_json::{Value, json};

use super::commands::{Proof, proven_by};
use super::examples::start_example;
use super::shell::{Serving, Shell};
use super::{PORT, Running, read, text};

/// Where the examples sell.
const SHOP: &str = "http://127.0.0.1:4021";

/// A client with the key that the example in `directory` gave money to.
async fn buyer(directory: &Path, ledger: &str) -> Client {
    let key = keyfile::load_or_create(directory.join("agent.key")).unwrap();
    let wallet = farthing::wallet(ledger, key).await.unwrap();
    let budget = Budget::new("0.50 USD").unwrap();
    Client::builder().allow_origin(SHOP).rail(wallet).budget(budget).build().unwrap()
}

/// Payments that were captured, by the books of an example that has ended.
fn captured(directory: &Path, ledger: &str) -> u64 {
    let mut check = Command::new(program("farthing-cli", "farthing"));
    let output = check.args(["ledger", "check", "--json", "--data", ledger]).current_dir(directory).output();
    let report: Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
    assert_eq!(report["balanced"], true, "{report}");
    report["payments"]["captured"].as_u64().unwrap()
}

#[tokio::test]
async fn the_api_charges_fixed_prices_and_prices_by_request_and_gives_some_away() {
    let directory = tempfile::tempdir().unwrap();
    let server = start_example("api", directory.path());
    let address = SocketAddr::from(([127, 0, 0, 1], PORT));
    let get = async |path: &str| exchange(address, &request(address, "GET", path, &[], b"")).await.unwrap();
    assert_eq!(get("/weather/atlantis").await.status, 404);
    for _ in 0..2 {
        let free = get("/weather/taipei").await;
        assert_eq!((free.status, free.body.as_slice()), (200, &b"rain, 27 degrees\n"[..]));
    }
    let used_up = get("/weather/taipei").await;
    assert_eq!((used_up.status, used_up.json()["reason"].as_str()), (402, Some("quota_exceeded")));
    assert!(used_up.header("retry-after").is_some());

    let client = buyer(directory.path(), &format!("{SHOP}/ledger")).await;
    let paid = client.get(&format!("{SHOP}/weather/lisbon")).await.unwrap();
    assert_eq!(paid.payment().unwrap().cost(), "0.001 USD");
    assert_eq!(paid.text().await.unwrap(), "sunny, 21 degrees\n");
    // Nine bytes, at 0.0001 USD each.
    let words =
        client.request(Method::POST, &format!("{SHOP}/words")).body("to be not").send().await.unwrap();
    assert_eq!(words.payment().unwrap().cost(), "0.0009 USD");
    assert_eq!(words.text().await.unwrap(), "3");
    drop(server);
    assert_eq!(captured(directory.path(), "shop/ledger"), 2);
}

#[tokio::test]
async fn the_metered_stream_costs_what_was_read_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let server = start_example("metered", directory.path());
    let client = buyer(directory.path(), &format!("{SHOP}/ledger")).await;
    let mut ticks = client.get(&format!("{SHOP}/ticks")).await.unwrap();
    let mut events = ticks.events();
    for tick in 1..=3 {
        assert_eq!(events.next().await.unwrap().unwrap().data, format!("tick {tick}"));
    }
    let payment = ticks.payment().unwrap().id.to_string();
    drop(ticks);
    let address = SocketAddr::from(([127, 0, 0, 1], PORT));
    let deadline = Instant::now() + Duration::from_secs(30);
    let statement = loop {
        let path = format!("/payments/{payment}");
        let said = exchange(address, &request(address, "GET", &path, &[], b"")).await.unwrap().json();
        if said["state"] == "captured" {
            break said;
        }
        assert!(Instant::now() < deadline, "{said}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let amount: u64 = statement["amount"].as_str().unwrap().parse().unwrap();
    // What was read, and what was on its way when the reader left.
    assert!((3_000..=5_000).contains(&amount) && amount.is_multiple_of(1_000), "{statement}");
    drop(server);
    assert_eq!(captured(directory.path(), "shop/ledger"), 1);
}

#[tokio::test]
async fn the_download_is_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let server = start_example("download", directory.path());
    let client = buyer(directory.path(), &format!("{SHOP}/ledger")).await;
    let mut answer = client.get(&format!("{SHOP}/file")).await.unwrap();
    assert_eq!(answer.payment().unwrap().cost(), "0.05 USD");
    let mut file = Vec::new();
    while let Some(chunk) = answer.chunk().await.unwrap() {
        file.extend_from_slice(&chunk);
    }
    // Without a name on its command line it sells its own program.
    assert!(file == fs::read(program("farthing-examples", "download")).unwrap());
    drop(server);
    assert_eq!(captured(directory.path(), "shop/ledger"), 1);
}

#[test]
fn the_pass_is_paid_for_once() {
    let directory = tempfile::tempdir().unwrap();
    let pass = program("farthing-examples", "pass");
    let port = ExamplesPort::claim();
    let output = Command::new(pass).current_dir(&directory).output().unwrap();
    drop(port);
    let expected = "\
visit 1, paid 0.05 USD: Tides follow the moon.
visit 2, free: Tides follow the moon.
visit 3, free: Tides follow the moon.
";
    assert_eq!(text(&output), expected);
    assert_eq!(captured(directory.path(), "shop/ledger"), 1);
}

/// A server of files in `directory`, on a port of its own.
fn files(directory: &Path) -> (Running, u16) {
    let port = free_port();
    let mut python = Command::new("python3");
    python.args(["-m", "http.server", &port.to_string(), "--bind", "127.0.0.1", "--directory"]);
    let child = python
        .arg(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (child, deadline) = (Running(child), Instant::now() + Duration::from_secs(30));
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "python3 -m http.server does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    (child, port)
}

/// Starts `line` in `shell`, and reads until it says where it listens.
fn gateway(shell: &Shell, line: &str) -> Serving {
    let mut child = Running(shell.command(line).stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(child.0.stdout.take().unwrap());
    let mut printed = String::new();
    while !printed.contains("Press ctrl-c to stop.\n") && !printed.contains("\"listening\"") {
        assert!(lines.read_line(&mut printed).unwrap() > 0, "`{line}`: {printed}");
    }
    Serving { child, lines, line: line.to_owned() }
}

/// Puts the ports that are free here into a gateway's file.
fn on_free_ports(path: &Path, shell: &Shell, upstream: u16) {
    let file = fs::read_to_string(path).unwrap();
    let file = file.replace("4021", &shell.port.to_string()).replace("8080", &upstream.to_string());
    fs::write(path, file).unwrap();
}

/// Asks the faucet of a gateway for test money.
async fn top_up(shell: &Shell, account: &str) {
    let address = SocketAddr::from(([127, 0, 0, 1], shell.port));
    let body = format!("{{\"account\":\"{account}\"}}");
    let headers = [("content-type", "application/json")];
    let asked = request(address, "POST", "/.farthing/faucet", &headers, body.as_bytes());
    let given = exchange(address, &asked).await.unwrap();
    assert_eq!(given.status, 200, "{}", String::from_utf8_lossy(&given.body));
}

#[tokio::test]
async fn the_gateway_of_the_examples_sells_the_static_site() {
    let shell = Shell::new();
    let here = shell.directory.path();
    for path in ["gateway.toml", "static/index.html"] {
        assert!(workspace().join("examples").join(path).exists(), "{path}");
    }
    let mut copy = Command::new("cp");
    copy.arg("-r").args(["gateway.toml", "static"].map(|path| workspace().join("examples").join(path)));
    assert!(copy.arg(here).status().unwrap().success());
    let (_files, upstream) = files(&here.join("static"));
    on_free_ports(&here.join("gateway.toml"), &shell, upstream);
    let serving = gateway(&shell, "farthing gateway --config gateway.toml");

    let (origin, key) =
        (format!("http://127.0.0.1:{}", shell.port), farthing::protocol::SecretKey::from_seed([7; 32]));
    top_up(&shell, &key.public().to_string()).await;
    let wallet = farthing::wallet(&format!("{origin}/.farthing/ledger"), key).await.unwrap();
    let budget = Budget::new("0.50 XTS").unwrap();
    let client = Client::builder().allow_origin(&origin).rail(wallet).budget(budget).build().unwrap();
    let read = async |path: &str| {
        let answer = client.get(&format!("{origin}{path}")).await.unwrap();
        let cost = answer.payment().map(|payment| payment.cost());
        (cost, answer.text().await.unwrap())
    };
    let file = |path: &str| fs::read_to_string(workspace().join("examples/static").join(path)).unwrap();
    assert_eq!(read("/").await, (None, file("index.html")));
    for _ in 0..3 {
        assert_eq!(read("/articles/tides.html").await, (None, file("articles/tides.html")));
    }
    let cent = Some("0.01 XTS".to_owned());
    assert_eq!(read("/articles/tides.html").await, (cent, file("articles/tides.html")));
    let day = Some("0.05 XTS".to_owned());
    assert_eq!(read("/articles/lighthouse.html").await, (day, file("articles/lighthouse.html")));
    assert_eq!(read("/articles/lighthouse.html").await, (None, file("articles/lighthouse.html")));
    serving.interrupt();
    assert_eq!(captured(here, "farthing-data/ledger"), 2);
}

#[tokio::test]
async fn the_commands_of_a_seller_do_what_they_say() {
    let shell = Shell::new();
    let home = shell.directory.path();
    let (_files, upstream) = files(&workspace().join("examples/static"));
    let file = home.join("gateway.toml");
    for line in proven_by(Proof::Gateway).filter(|line| line.contains("gateway init")) {
        // There is one in the directory already, which is not written over.
        if file.exists() {
            fs::remove_file(&file).unwrap();
        }
        assert!(shell.run(line).contains(".toml"), "`{line}`");
    }
    shell.run("farthing gateway init http://127.0.0.1:8080 --price '0.01 XTS' --force");
    on_free_ports(&file, &shell, upstream);
    fs::copy(&file, home.join("shop.toml")).unwrap();
    for line in proven_by(Proof::Gateway).filter(|line| line.contains("--check")) {
        assert!(shell.run(line).contains("0.01 XTS"), "`{line}`");
    }

    let key = "7".repeat(64);
    fs::write(home.join("other.key"), &key).unwrap();
    let environment = |line: &str| {
        let mut command = shell.command(line);
        command.env("HOME", home).env("FARTHING_PASSPHRASE", "correct horse").env("FARTHING_KEY_AGENT", &key);
        let output = command.output().unwrap();
        assert!(output.status.success(), "`{line}`: {}", text(&output));
        text(&output)
    };
    environment("chmod 600 other.key");
    environment("farthing wallet import agent --from other.key");
    let account = environment("farthing wallet address agent").trim().to_owned();
    let serves = |line: &&str| !line.contains("init") && !line.contains("--check");
    for (turn, line) in proven_by(Proof::Gateway).filter(serves).enumerate() {
        // What it prints is read here instead.
        let serving = gateway(&shell, line.split(" > ").next().unwrap());
        top_up(&shell, &account).await;
        if turn == 0 {
            let ledger = "http://127.0.0.1:4021/.farthing/ledger";
            environment(&format!("farthing policy init --ledger {ledger} --total '1 XTS'"));
        }
        environment("farthing pay http://127.0.0.1:4021/articles/tides.html");
        if turn == 0 {
            // While it serves.
            sales(&shell, &environment);
        }
        serving.interrupt();
    }
    // And again when it does not.
    sales(&shell, &environment);
}

/// Runs the commands that show what was sold, and give one sale back.
fn sales(shell: &Shell, run: &impl Fn(&str) -> String) {
    let data = shell.directory.path().join("farthing-data");
    let listed = run("farthing sales --data farthing-data --by payment --json");
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let payment = listed["groups"][0]["payment"].as_str().unwrap().to_owned();
    for (from, to) in [("authorizer.key", "authorizer.key"), ("ledger", "ledger"), (".", "shop")] {
        let mut link = Command::new("ln");
        link.arg("-sfn").arg(data.join(from)).arg(shell.directory.path().join(to));
        assert!(link.status().unwrap().success());
    }
    for line in proven_by(Proof::Sales) {
        let printed = run(&line.replace("3f0c...e1", &payment));
        let expected = match line {
            _ if line.contains("refund") => "0.01",
            _ if line.contains("--csv") => ",",
            _ if line.contains("--pending") => "",
            _ => "0.01",
        };
        assert!(printed.contains(expected), "`{line}`: {printed}");
    }
    let after = run("farthing sales --data farthing-data --json");
    let after: Value = serde_json::from_str(&after).unwrap();
    assert!(after["totals"][0]["refunds"].as_u64() >= Some(1), "{after}");
}

#[test]
fn the_commands_that_verify_a_receipt_do_what_they_say() {
    let shell = Shell::new();
    let vectors: Value = serde_json::from_str(&read("spec/vectors/jws.json")).unwrap();
    let all = vectors["vectors"].as_array().unwrap();
    let vector =
        all.iter().find(|vector| vector["kind"] == "receipt" && vector["states"].is_object()).unwrap();
    let (jws, url) = (vector["jws"].as_str().unwrap(), vector["states"]["resourceUrl"].as_str().unwrap());
    let receipt = json!({ "format": "jws", "signature": jws });
    let settlement = json!({ "success": true, "extensions": { "offer-receipt": { "info": { "receipt": receipt } } },
        "network": vector["states"]["network"], "payer": vector["states"]["payer"], "transaction": "" });
    let settlement = settlement.to_string();
    // `success` stands first in what servers send.
    let settlement =
        format!("{{\"success\":true,{}", settlement.replace("\"success\":true,", "").trim_start_matches('{'));
    let header = base64::engine::general_purpose::STANDARD.encode(settlement);
    for (name, text) in [("receipt.json", receipt.to_string()), ("a.jws", jws.to_owned())] {
        fs::write(shell.directory.path().join(name), text).unwrap();
    }
    for line in proven_by(Proof::Receipt) {
        let filled = line.replace("did:key:z6Mk...", vectors["did"].as_str().unwrap());
        let filled = filled.replace("https://a.example/x", &format!("'{url}'"));
        let printed = shell.run(&filled.replace("eyJzdWNjZXNzIjp0cnVl...", &header));
        assert!(printed.contains("holds"), "`{line}`: {printed}");
    }
}
