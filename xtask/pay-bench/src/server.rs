//! A process under test, as the load generator's process sees it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::case::Case;
use crate::requests::plain;
use crate::serve::{Counts, Role};
use crate::{Error, Result, http};

/// Linux counts process times in hundredths of a second.
const MILLISECONDS_PER_TICK: u64 = 10;

/// A running process with a ledger in a temporary directory.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) child: Child,
    directory: TempDir,
    remote: Option<Box<Self>>,
}

impl Server {
    /// Starts a server, and the remote facilitator behind it when one is wanted.
    pub(crate) fn start(with_remote: bool) -> Result<Self> {
        let remote = with_remote.then(|| Self::of(Role::Facilitator, None)).transpose()?;
        Self::of(Role::Server, remote)
    }

    fn of(role: Role, remote: Option<Self>) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--role", if role == Role::Server { "server" } else { "facilitator" }]);
        command.arg("--directory").arg(directory.path().join("ledger"));
        if let Some(remote) = &remote {
            command.arg("--facilitator").arg(remote.ledger_url());
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        let output = child.stdout.take().ok_or("no output")?;
        BufReader::new(output).read_line(&mut line)?;
        let address = line.trim().parse().map_err(|_| "the process under test did not start")?;
        Ok(Self { address, child, directory, remote: remote.map(Box::new) })
    }

    /// Where this process settles.
    pub(crate) fn ledger_url(&self) -> String {
        format!("http://{}/ledger", self.address)
    }

    /// The process on whose ledger a case is settled.
    pub(crate) fn settling(&self, case: Case) -> Result<&Self> {
        match case {
            Case::ExactRemote => Ok(self.remote.as_deref().ok_or("there is no remote facilitator")?),
            _ => Ok(self),
        }
    }

    /// One request on a connection of its own; head and body of its answer.
    pub(crate) fn get(&self, request: &[u8]) -> Result<(Vec<u8>, Vec<u8>)> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.write_all(request)?;
        let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
        loop {
            let read = stream.read(&mut chunk)?;
            bytes.extend_from_slice(&chunk[..read]);
            if let Some(answer) = http::answer(&bytes)? {
                let body = bytes[answer.body..answer.end].to_vec();
                bytes.truncate(answer.body);
                return Ok((bytes, body));
            }
            if read == 0 {
                return Err("the server hung up".into());
            }
        }
    }

    /// What handler and ledger have counted.
    pub(crate) fn counts(&self) -> Result<Counts> {
        Ok(serde_json::from_slice(&self.get(&plain("/counts"))?.1)?)
    }

    /// Bytes of memory that the process has resident.
    pub(crate) fn memory(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? * 1024)
    }

    /// CPU time that this process has used, and the facilitator behind it, user and system.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name in parentheses may hold anything; behind it, the 12th and 13th field are the times in ticks.
        let (_, fields) = stat.rsplit_once(") ").ok_or("no process times")?;
        let ticks =
            fields.split(' ').skip(11).take(2).map(str::parse::<u64>).sum::<std::result::Result<u64, _>>()?;
        let own = Duration::from_millis(ticks * MILLISECONDS_PER_TICK);
        Ok(own + self.remote.as_ref().map_or(Ok(Duration::ZERO), |remote| remote.cpu())?)
    }

    /// Bytes on the disk that its ledger takes.
    pub(crate) fn disk(&self) -> Result<u64> {
        fn of(path: &Path) -> std::io::Result<u64> {
            let own = std::fs::symlink_metadata(path)?;
            if !own.is_dir() {
                return Ok(own.blocks() * 512);
            }
            std::fs::read_dir(path)?.map(|entry| of(&entry?.path())).sum()
        }
        // Files come and go while they are counted.
        (0..8)
            .find_map(|_| of(self.directory.path()).ok())
            .ok_or_else(|| Error::from("the ledger's files cannot be counted"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The end of its input tells it to stop.
        drop(self.child.stdin.take());
        for _ in 0..200 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
