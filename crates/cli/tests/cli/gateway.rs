//! A gateway as its operator runs it.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use farthing::protocol::SecretKey;
use farthing::{Budget, Client};
use serde_json::Value;

use crate::program::{command, farthing};

/// A server that answers every request with its first line; runs until the tests end.
fn upstream() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut request = [0; 16 * 1024];
            let length = stream.read(&mut request).unwrap_or(0);
            let line =
                String::from_utf8_lossy(&request[..length]).lines().next().unwrap_or_default().to_owned();
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", line.len());
            let _ = stream.write_all(format!("{head}{line}").as_bytes());
        }
    });
    at
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A file that `init` wrote in `directory`, on a free port.
fn written(directory: &Path, upstream: &str, price: &str) -> PathBuf {
    let path = directory.join("gateway.toml");
    let file = path.to_str().unwrap();
    farthing(&["gateway", "init", upstream, "--price", price, "--config", file]).ends_with(0);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("4021", &free_port().to_string())).unwrap();
    path
}

/// `farthing gateway --json`, ready; killed when dropped.
struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
    ready: Value,
}

impl Running {
    fn start(config: &Path) -> Self {
        let arguments = ["gateway", "--json", "--config", config.to_str().unwrap()];
        let mut child = command(&arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let ready = line(&mut out);
        Self { child, out, ready }
    }

    fn origin(&self) -> &str {
        self.ready["listening"].as_str().unwrap()
    }

    /// What it says next.
    fn says(&mut self) -> Value {
        line(&mut self.out)
    }

    /// Asks it to stop, and returns how it ended.
    fn stop(mut self) -> i32 {
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn line(out: &mut BufReader<ChildStdout>) -> Value {
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
}

/// The answer to a request, as text.
fn ask(origin: &str, method: &str, path: &str, body: &str) -> String {
    let address = origin.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    let head = format!("{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Pays for `path`, with test money from the gateway, and returns the text.
fn buy(origin: &str, path: &str) -> String {
    let key = SecretKey::from_seed([9; 32]);
    let account = format!("{{\"account\":\"{}\"}}", key.public());
    let given = ask(origin, "POST", "/.farthing/faucet", &account);
    assert!(given.starts_with("HTTP/1.1 200"), "{given}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let wallet = farthing::wallet(&format!("{origin}/.farthing/ledger"), key).await.unwrap();
        let budget = Budget::new("0.05 XTS").unwrap();
        let client = Client::builder().allow_origin(origin).rail(wallet).budget(budget).build().unwrap();
        let paid = client.get(&format!("{origin}{path}")).await.unwrap();
        assert!(paid.payment().unwrap().is_proven());
        paid.text().await.unwrap()
    })
}

#[test]
fn it_is_set_up_checked_served_paid_and_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let config = written(directory.path(), &upstream(), "0.01 XTS");
    let file = config.to_str().unwrap();
    let check = farthing(&["gateway", "--check", "--config", file]).ends_with(0).out;
    for word in ["listen", "keys", "will be made", "upstream", "200 OK", "0.01 XTS"] {
        assert!(check.contains(word), "{word}: {check}");
    }

    let mut gateway = Running::start(&config);
    let origin = gateway.origin().to_owned();
    assert!(ask(&origin, "GET", "/page?token=secret", "").starts_with("HTTP/1.1 402"));
    let unpaid = gateway.says();
    assert_eq!((unpaid["path"].as_str(), unpaid["outcome"].as_str()), (Some("/page"), Some("unpaid")));
    assert!(ask(&origin, "GET", "/", "").ends_with("GET / HTTP/1.1"));
    assert_eq!(gateway.says()["outcome"], "free");

    assert_eq!(buy(&origin, "/page?x=1"), "GET /page?x=1 HTTP/1.1");
    let paid = loop {
        let said = gateway.says();
        assert!(!said.to_string().contains("x=1"), "{said}");
        if said["outcome"] == "captured" {
            break said;
        }
    };
    assert_eq!((paid["price"].as_str(), paid["amount"].as_str()), (Some("0.01 XTS"), Some("10000")));
    assert_eq!(paid["payment"].as_str().unwrap().len(), 64);

    // The same directory cannot be used twice, nor the port.
    let second = farthing(&["gateway", "--config", file]);
    assert!(second.status != 0 && !second.err.is_empty(), "{second:?}");
    farthing(&["gateway", "--check", "--config", file]).ends_with(1);
    assert_eq!(gateway.stop(), 0);
    let ledger = directory.path().join("farthing-data/ledger");
    let check = farthing(&["ledger", "check", "--json", "--data", ledger.to_str().unwrap()]);
    assert_eq!(check.ends_with(0).json()["payments"]["captured"], 1);
    let check = farthing(&["gateway", "--check", "--config", file]).ends_with(0).out;
    assert!(check.contains("payee.key is account"), "{check}");
    let sales = fs::read_to_string(directory.path().join("farthing-data/sales.jsonl")).unwrap();
    assert!(sales.contains("/{*path}"), "{sales}");
}

#[test]
fn init_writes_no_file_over_another_and_no_nonsense() {
    let directory = tempfile::tempdir().unwrap();
    let config = written(directory.path(), "http://127.0.0.1:8080", "0.01");
    let file = config.to_str().unwrap();
    assert!(fs::read_to_string(&config).unwrap().contains("price = \"$0.01\""));
    let init = |upstream: &str, price: &str, more: &[&str]| {
        let arguments = ["gateway", "init", upstream, "--price", price, "--config", file];
        farthing(&[&arguments, more].concat())
    };
    assert!(init("http://127.0.0.1:8081", "1", &[]).ends_with(2).err.contains("is there already"));
    init("http://127.0.0.1:8081/app", "1", &["--force"]).ends_with(2);
    init("http://127.0.0.1:8081", "0.0000001", &["--force"]).ends_with(2);
    init("http://127.0.0.1:8081", "much", &["--force"]).ends_with(2);
    assert!(fs::read_to_string(&config).unwrap().contains("8080"));
    init("http://127.0.0.1:8081", "1", &["--force"]).ends_with(0);
    assert!(fs::read_to_string(&config).unwrap().contains("8081"));
}

#[test]
fn a_file_that_cannot_be_used_is_named_with_its_line_and_serves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("none.toml");
    let run = farthing(&["gateway", "--config", missing.to_str().unwrap()]).ends_with(2);
    assert!(run.err.contains("farthing gateway init"), "{run:?}");
    let config = written(directory.path(), "http://127.0.0.1:8080", "0.01");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("price = \"$0.01\"", "price = \"$0.01\"\ncolour = 1")).unwrap();
    for more in [&["--check"][..], &[]] {
        let arguments = [&["gateway", "--config", config.to_str().unwrap()], more].concat();
        let run = farthing(&arguments).ends_with(2);
        assert!(
            run.out.is_empty() && run.err.contains("gateway.toml:") && run.err.contains("colour"),
            "{run:?}"
        );
    }
    assert!(!directory.path().join("farthing-data").exists());
}

#[test]
fn an_upstream_that_does_not_answer_is_found_by_check() {
    let directory = tempfile::tempdir().unwrap();
    let config = written(directory.path(), &format!("http://127.0.0.1:{}", free_port()), "0.01");
    let check =
        farthing(&["gateway", "--check", "--json", "--config", config.to_str().unwrap()]).ends_with(1);
    let findings: Vec<Value> = check.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let bad: Vec<&str> =
        findings.iter().filter(|f| f["ok"] == false).map(|f| f["what"].as_str().unwrap()).collect();
    assert_eq!(bad, ["upstream"]);
    assert!(!directory.path().join("farthing-data").exists());
}
