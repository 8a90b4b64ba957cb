//! A shell in which `farthing` is a command.

use std::io::{BufRead, BufReader, Read};
use std::process::{ChildStdout, Command, Stdio};

use farthing_testkit::{free_port, program};

use super::{PORT, Running, text};

/// A directory in which `farthing` is a command and the manuals' port is one that is free.
pub(super) struct Shell {
    pub(super) directory: tempfile::TempDir,
    pub(super) port: u16,
}

impl Shell {
    pub(super) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), port: free_port() }
    }

    pub(super) fn command(&self, line: &str) -> Command {
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
    pub(super) fn run(&self, line: &str) -> String {
        let output = self.command(line).output().unwrap();
        assert!(output.status.success(), "`{line}`: {}", text(&output));
        text(&output)
    }

    /// Starts a command that serves. Returns what it printed until it listens.
    pub(super) fn serve(&self, line: &str) -> (Serving, String) {
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

pub(super) struct Serving {
    pub(super) child: Running,
    pub(super) lines: BufReader<ChildStdout>,
    pub(super) line: String,
}

impl Serving {
    /// Ctrl-c.
    pub(super) fn interrupt(mut self) {
        let kill = Command::new("sh").args(["-c", &format!("kill -INT {}", self.child.0.id())]).status();
        assert!(kill.unwrap().success());
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        let status = self.child.0.wait().unwrap();
        assert!(status.success(), "`{}` after ctrl-c: {status} {rest}", self.line);
    }
}
