//! An agent's home, somebody who sells to it, and the service.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use farthing_testkit::{Reply, exchange, request};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::{Server, command, farthing};

/// An agent's home and a demonstration that sells to it.
pub(super) struct World {
    pub(super) seller: Server,
    pub(super) home: TempDir,
    _ledger: TempDir,
}

impl World {
    /// With `total` XTS to spend, and at most 0.01 for a request.
    pub(super) fn new(total: &str) -> Self {
        let (ledger, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let seller = Server::start(ledger.path(), 0);
        let (origin, network) = (seller.origin(), seller.ready["network"].as_str().unwrap());
        let policy = format!(
            "agent = \"researcher\"\norigins = [\"{origin}\"]\n\n\
             [[wallet]]\nnetwork = \"{network}\"\nledger = \"{origin}/ledger\"\naccount = \"agent\"\n\n\
             [[budget]]\nnetwork = \"{network}\"\nasset = \"XTS\"\ntotal = \"{total}\"\nper_request = \"0.01\"\n"
        );
        fs::write(home.path().join("policy.toml"), policy).unwrap();
        Self { seller, home, _ledger: ledger }
    }

    pub(super) fn key(&self) -> String {
        fs::read_to_string(self.seller.ready["agent_key"].as_str().unwrap()).unwrap().trim().to_owned()
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.seller.origin())
    }

    /// How many payments the ledger has taken.
    pub(super) fn captured(&self) -> u64 {
        let data = self.seller.ready["data"].as_str().unwrap();
        let check = farthing(&["ledger", "check", "--json", "--data", data]).ends_with(0).json();
        check["payments"]["captured"].as_u64().unwrap_or(0)
    }

    pub(super) fn agentd(&self, arguments: &[&str]) -> Agentd {
        Agentd::start(self.home.path(), arguments, &[("FARTHING_KEY_AGENT", &self.key())])
    }
}

/// A running service; killed when dropped.
pub(super) struct Agentd {
    child: Child,
    pub(super) address: SocketAddr,
    pub(super) token: String,
    pub(super) ready: Value,
}

impl Agentd {
    pub(super) fn start(home: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let home = home.to_str().unwrap();
        let mut command = command(&["agentd", "--port", "0", "--json", "--home", home]);
        command.args(arguments).envs(environment.iter().copied());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        let address = ready["listening"].as_str().unwrap().strip_prefix("http://").unwrap().parse().unwrap();
        let token = fs::read_to_string(ready["token_file"].as_str().unwrap()).unwrap().trim().to_owned();
        Self { child, address, token, ready }
    }

    /// Sends a request with these headers and no others than it needs.
    pub(super) async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        exchange(self.address, &request(self.address, method, path, headers, body.as_bytes())).await.unwrap()
    }

    pub(super) async fn get(&self, path: &str) -> Reply {
        let authorization = format!("Bearer {}", self.token);
        self.send("GET", path, &[("authorization", &authorization)], "").await
    }

    pub(super) async fn post(&self, path: &str, asked: &Value) -> Reply {
        let authorization = format!("Bearer {}", self.token);
        let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        self.send("POST", path, &headers, &asked.to_string()).await
    }

    pub(super) async fn fetch(&self, url: &str) -> Reply {
        self.post("/fetch", &json!({ "url": url })).await
    }

    pub(super) fn ask_to_stop(&self) {
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
    }

    /// The status that it ends with by itself.
    pub(super) fn ends_with(mut self) -> i32 {
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Agentd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
