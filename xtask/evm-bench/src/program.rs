//! A facilitator under test: a process that reads the environment, says `ready` and its port, and ends with us.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use farthing::evm::{EvmConfig, EvmKey, Rpc};
use farthing::evm_facilitator;
use farthing::facilitator::http::{self, HttpOptions};
use farthing::records::MemoryRecords;

use crate::anvil::{Anvil, NETWORK};
use crate::payments::{OURS, REFERENCE, secret};
use crate::{Error, Result};

/// Linux counts process times in hundredths of a second.
const MILLISECONDS_PER_TICK: u64 = 10;

/// A facilitator that runs; it ends when this is dropped.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) port: u16,
    child: Child,
    /// Kept open: what is written there must not end it.
    _output: BufReader<ChildStdout>,
}

impl Program {
    /// Ours, in a process of its own.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn ours(chain: &Anvil) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        Self::start("farthing", command.arg("--facilitator"), chain, OURS)
    }

    /// The reference's, in `directory` with its packages.
    ///
    /// # Errors
    /// As [`ours`](Self::ours).
    pub(crate) fn reference(directory: &Path, chain: &Anvil) -> Result<Self> {
        let mut command = Command::new("node");
        command.env("NODE_ENV", "production");
        Self::start("reference", command.arg(directory.join("facilitator.mjs")), chain, REFERENCE)
    }

    fn start(name: &'static str, command: &mut Command, chain: &Anvil, key: u8) -> Result<Self> {
        command.env("NETWORK", NETWORK).env("RPC", chain.url()).env("KEY", secret(key));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut output = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let port = line.trim().strip_prefix("ready ").and_then(|port| port.parse().ok());
        let port =
            port.ok_or_else(|| Error::from(format!("the facilitator {name} does not start: {line}")))?;
        Ok(Self { name, port, child, _output: output })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// CPU time that it has used.
    ///
    /// # Errors
    /// When it is gone.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        cpu_of(&self.child.id().to_string())
    }
}

/// CPU time that a process has used, user and system; `self` is ours.
///
/// # Errors
/// When there is no such process.
pub(crate) fn cpu_of(process: &str) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name in parentheses may hold anything; behind it, the 12th and 13th field are the times in ticks.
    let (_, fields) = stat.rsplit_once(") ").ok_or("no process times")?;
    let ticks =
        fields.split(' ').skip(11).take(2).map(str::parse::<u64>).sum::<std::result::Result<u64, _>>()?;
    Ok(Duration::from_millis(ticks * MILLISECONDS_PER_TICK))
}

impl Drop for Program {
    fn drop(&mut self) {
        // The end of its input tells it to stop.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// What our facilitator's process does.
///
/// # Errors
/// When the environment or the chain is not as it should be.
pub(crate) fn serve() -> Result {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let setting = |name: &str| std::env::var(name).map_err(|_| format!("{name} is not set"));
        let rpc = Rpc::new([setting("RPC")?])?;
        let records = Arc::new(MemoryRecords::new());
        let config =
            EvmConfig::new(setting("NETWORK")?.parse()?, rpc, vec![EvmKey::from_env("KEY")?], records);
        let service = http::service((*evm_facilitator(config).await?).clone(), HttpOptions::default());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        println!("ready {}", listener.local_addr()?.port());
        std::thread::spawn(|| {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            std::process::exit(0)
        });
        axum::serve(tokio::net::TcpListener::from_std(listener)?, service).await?;
        Ok(())
    })
}
