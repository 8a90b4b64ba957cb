//! The programs of the grid: started once, spoken to over HTTP, ended with the runner.

use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use farthing_testkit::anvil;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::Args;
use super::cells::{Client, Facilitator, Server, Version};
use super::seen::Seen;

/// How long a program may take to be ready: several start at the same time, on few processors.
const START: Duration = Duration::from_secs(90);
/// How long a client may take for a job.
const JOB: Duration = Duration::from_secs(60);

/// What every server asks for, in atomic units.
pub(crate) const PRICE: u128 = 1_000;
/// What an `upto` route takes of it.
pub(crate) const USED: u128 = 600;
/// What version 1 calls the network.
const NETWORK_V1: &str = "base-sepolia";

/// A program that runs; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Program {
    port: u16,
    /// Its standard input is open for as long as it shall run.
    _child: Child,
}

/// Starts programs.
#[derive(Clone, Debug)]
pub(crate) struct Starter {
    args: Args,
    rpc: String,
    http: reqwest::Client,
}

impl Starter {
    pub(crate) fn new(args: &Args, rpc: String) -> Self {
        Self { args: args.clone(), rpc, http: reqwest::Client::new() }
    }

    /// A client; it pays from whichever key a job names.
    pub(crate) async fn client(&self, client: Client) -> Result<Program, String> {
        let command = match client {
            Client::Fetch => self.node("fetch.mjs"),
            Client::Fetch1 => self.node("fetch-v1.mjs"),
            Client::Httpx => self.python("client.py"),
            Client::Farthing => self.farthing("client")?,
        };
        self.start(command, format!("client-{client}")).await
    }

    /// A facilitator that sends from `key`.
    pub(crate) async fn facilitator(&self, facilitator: Facilitator, key: &str) -> Result<Program, String> {
        let mut command = match facilitator {
            Facilitator::Typescript => self.node("facilitator.mjs"),
            Facilitator::Python => self.python("facilitator.py"),
            Facilitator::Farthing => self.farthing("facilitator")?,
        };
        command.env("KEY", key);
        self.start(command, format!("facilitator-{facilitator}")).await
    }

    /// A server that is paid at `payee` and settles through the facilitator at `port`.
    pub(crate) async fn server(
        &self,
        server: Server,
        payee: &str,
        (facilitator, port): (Facilitator, u16),
    ) -> Result<Program, String> {
        let mut command = match server {
            Server::Express => self.node("express.mjs"),
            Server::Hono => self.node("hono.mjs"),
            Server::Fastapi => self.python("server.py"),
            Server::Express1 => self.node("express-v1.mjs"),
            Server::Farthing => self.farthing("server")?,
        };
        command.env("PAY_TO", payee).env("FACILITATOR", format!("http://127.0.0.1:{port}"));
        self.start(command, format!("server-{server}-{facilitator}")).await
    }

    fn node(&self, program: &str) -> Command {
        let mut command = Command::new("node");
        command.arg(self.args.node.join(program));
        command
    }

    fn python(&self, program: &str) -> Command {
        let mut command = Command::new(self.args.python.join("bin/python"));
        command.arg("-B").arg(self.args.programs.join(program));
        command
    }

    #[expect(clippy::unused_self, reason = "it reads as the others do")]
    fn farthing(&self, role: &str) -> Result<Command, String> {
        let mut command = Command::new(std::env::current_exe().map_err(|error| error.to_string())?);
        command.arg(role);
        Ok(command)
    }

    async fn start(&self, mut command: Command, name: String) -> Result<Program, String> {
        let failed = |why: String| format!("{name}: {why}; see {}", self.log(&name).display());
        let log = File::create(self.log(&name)).map_err(|error| format!("{name}: {error}"))?;
        command
            .env("RPC", &self.rpc)
            .env("NETWORK", anvil::NETWORK)
            .env("NETWORK_V1", NETWORK_V1)
            .env("TOKEN", anvil::USDC)
            .env("PLAIN", anvil::PLAIN)
            .env("TOKEN_NAME", "USDC")
            .env("TOKEN_VERSION", "2")
            .env("PRICE", PRICE.to_string())
            .env("USED", USED.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
        let output = child.stdout.take().ok_or_else(|| failed("no output".into()))?;
        let mut lines = BufReader::new(output).lines();
        let ready = async {
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(port) = line.strip_prefix("ready ").and_then(|port| port.trim().parse().ok()) {
                    return Some(port);
                }
            }
            None
        };
        let port = timeout(START, ready).await.map_err(|_| failed("is not ready in time".into()))?;
        let port = port.ok_or_else(|| failed("ended before it was ready".into()))?;
        // What else it says is of no interest, but nobody may make it wait.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Program { port, _child: child })
    }

    fn log(&self, name: &str) -> PathBuf {
        self.args.logs.join(format!("{name}.log"))
    }

    /// Has a client do a job.
    pub(crate) async fn job(&self, client: &Program, job: &Job<'_>) -> Seen {
        let version = if job.version == Version::V1 { 1 } else { 2 };
        let mut body = json!({ "key": job.key, "url": job.url, "version": version });
        for (name, value) in [("lie", job.lie.clone()), ("again", job.again.clone())] {
            if let (Some(value), Value::Object(members)) = (value, &mut body) {
                members.insert(name.into(), value.into());
            }
        }
        let request = self.http.post(format!("http://127.0.0.1:{}/", client.port));
        let request = request.header("content-type", "application/json").body(body.to_string()).timeout(JOB);
        let answer = async { request.send().await?.bytes().await };
        match answer.await.map_err(|error| error.to_string()).and_then(|body| Seen::read(&body)) {
            Ok(seen) => seen,
            Err(error) => Seen::failed(error),
        }
    }
}

/// What a client shall do.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    /// The payer's.
    pub(crate) key: &'a str,
    /// What to pay for.
    pub(crate) url: String,
    /// The version to pay in, where the client can choose.
    pub(crate) version: Version,
    /// What to sign instead of what is offered.
    pub(crate) lie: Option<String>,
    /// What to present the payment for, too.
    pub(crate) again: Option<String>,
}

impl Program {
    /// The port where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The URL of one of its paths.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}
