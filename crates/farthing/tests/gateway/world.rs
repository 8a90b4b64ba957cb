//! A gateway on a free port in front of an upstream, with a client that can pay.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use farthing::gateway::{Config, Gateway};
use farthing::protocol::{Amount, SecretKey};
use farthing::{Budget, Client, LocalLedger};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::upstream::Upstream;

/// Whoever pays.
const PAYER: [u8; 32] = [7; 32];

/// Routes that most tests are fine with: everything below `/paid/` costs 0.01 XTS, `/free` nothing.
pub(crate) const ROUTES: &str = r#"
[[route]]
path = "/paid/{*rest}"
price = "0.01 XTS"

[[route]]
path = "/free"
free = true
"#;

pub(crate) struct World {
    pub(crate) upstream: Option<Upstream>,
    pub(crate) origin: String,
    pub(crate) ledger: LocalLedger,
    lines: Arc<Mutex<Vec<String>>>,
    stop: Option<oneshot::Sender<()>>,
    served: Option<JoinHandle<Result<(), farthing::Error>>>,
    _directory: TempDir,
}

impl World {
    /// A gateway with these routes in front of this upstream.
    pub(crate) async fn of(upstream: Upstream, routes: &str) -> Self {
        let at = upstream.origin.clone();
        let mut world = Self::before(&at, "", routes).await;
        world.upstream = Some(upstream);
        world
    }

    /// A gateway in front of whatever is at `upstream`, with more at the top of its file.
    pub(crate) async fn before(upstream: &str, more: &str, routes: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if more.contains("[tls]") { "https" } else { "http" };
        let text = format!(
            "listen = \"{address}\"\norigin = \"{scheme}://{address}\"\nupstream = \"{upstream}\"\ndata = \"data\"\n\
             {more}\n{routes}"
        );
        let config = Config::parse(&text, directory.path()).unwrap();
        let gateway = Gateway::build(config).await.unwrap();
        let ledger = gateway.ledger().clone();
        ledger.deposit(SecretKey::from_seed(PAYER).public(), "10 XTS").await.unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let told = lines.clone();
        let gateway = gateway.on_request(move |line| told.lock().unwrap().push(line.to_string()));
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(gateway.serve(listener, async move {
            let _ = stopped.await;
        }));
        Self {
            upstream: None,
            origin: format!("{scheme}://{address}"),
            ledger,
            lines,
            stop: Some(stop),
            served: Some(served),
            _directory: directory,
        }
    }

    /// A client with money.
    pub(crate) async fn client(&self) -> Client {
        let ledger = format!("{}/.farthing/ledger", self.origin);
        let wallet = farthing::wallet(&ledger, SecretKey::from_seed(PAYER)).await.unwrap();
        Client::builder()
            .allow_origin(&self.origin)
            .rail(wallet)
            .budget(Budget::new("5 XTS").unwrap())
            .build()
            .unwrap()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// Host and port.
    pub(crate) fn address(&self) -> &str {
        self.origin.split_once("://").unwrap().1
    }

    pub(crate) fn hits(&self) -> Vec<crate::upstream::Hit> {
        self.upstream.as_ref().unwrap().hits()
    }

    /// What the payer has been charged, in atomic units.
    pub(crate) async fn charged(&self) -> Amount {
        let left = self.ledger.balance(SecretKey::from_seed(PAYER).public(), "XTS").await.unwrap();
        Amount(10_000_000 - left.0)
    }

    /// The lines about a path, without time and duration; waits until there is one.
    pub(crate) async fn line(&self, path: &str) -> String {
        let found = async {
            loop {
                let line = self.lines.lock().unwrap().iter().rev().find(|line| line.contains(path)).cloned();
                match line {
                    Some(line) => return line,
                    None => tokio::task::yield_now().await,
                }
            }
        };
        let line = tokio::time::timeout(Duration::from_secs(20), found).await.expect("no line is logged");
        let words: Vec<&str> = line.split(' ').collect();
        words[1..words.len() - 2].join(" ")
    }

    /// Asks the gateway to stop.
    pub(crate) fn stop(&mut self) -> JoinHandle<Result<(), farthing::Error>> {
        let _ = self.stop.take().unwrap().send(());
        self.served.take().unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(served) = &self.served {
            served.abort();
        }
    }
}
