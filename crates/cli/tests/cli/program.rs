//! Running the program.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

/// What a finished run left.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    /// Standard output as one JSON value.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The run, when it ended with this status.
    #[track_caller]
    pub(crate) fn ends_with(self, status: i32) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }
}

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_farthing"));
    for variable in [
        "RUST_LOG",
        "NO_COLOR",
        "CLICOLOR",
        "CLICOLOR_FORCE",
        "FARTHING_PASSPHRASE",
        "FARTHING_WALLET",
        "FARTHING_HOME",
    ] {
        command.env_remove(variable);
    }
    command.args(arguments);
    command
}

/// Runs the program with nothing on standard input.
pub(crate) fn farthing(arguments: &[&str]) -> Run {
    farthing_with(arguments, "", &[])
}

/// Runs the program with this on standard input, and these environment variables.
pub(crate) fn farthing_with(arguments: &[&str], input: &str, environment: &[(&str, &str)]) -> Run {
    let mut command = command(arguments);
    command.envs(environment.iter().copied());
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A program that refuses its arguments does not read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Run {
        status: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// `farthing demo --serve`, ready; killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// The line that says that it is ready.
    pub(crate) ready: Value,
}

impl Server {
    /// Starts a server with its ledger in `data`.
    pub(crate) fn start(data: &Path, port: u16) -> Self {
        let (data, port) = (data.to_str().unwrap(), port.to_string());
        let arguments = ["demo", "--serve", "--no-story", "--json", "--data", data, "--port", &port];
        let mut child = command(&arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        Self { child, ready }
    }

    /// Where it listens.
    pub(crate) fn origin(&self) -> &str {
        self.ready["listening"].as_str().unwrap()
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.origin().rsplit_once(':').unwrap().1.parse().unwrap()
    }

    /// Asks it to stop, and returns how it ended.
    pub(crate) fn stop(mut self) -> i32 {
        let killed = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(killed.success());
        self.child.wait().unwrap().code().unwrap_or(-1)
    }

    /// Ends it without a warning.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The answer to a GET request with these header lines, as text.
    pub(crate) fn get(&self, path: &str, headers: &[&str]) -> String {
        let address = self.origin().strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
        for header in headers {
            request += &format!("{}\r\n", header.trim());
        }
        stream.write_all((request + "\r\n").as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8(answer).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The value of a header in an answer.
pub(crate) fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let head = answer.split_once("\r\n\r\n")?.0;
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}
