//! How a program speaks to the runner: it reads the environment, listens on a port of its own and says which.

use std::io::{self, Read};
use std::net::SocketAddr;

use axum::Router;
use tokio::net::TcpListener;

/// An environment variable that must be there.
///
/// # Errors
/// When it is not.
pub(crate) fn setting(name: &str) -> Result<String, String> {
    std::env::var(name).map_err(|_| format!("{name} is not set"))
}

/// Where a program will listen.
#[derive(Debug)]
pub(crate) struct Port {
    listener: TcpListener,
    address: SocketAddr,
}

impl Port {
    /// # Errors
    /// When the operating system has no port.
    pub(crate) async fn open() -> Result<Self, String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| error.to_string())?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        Ok(Self { listener, address })
    }

    /// Its URL, without a path.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Prints the one line that the runner waits for, and serves until the runner ends.
    ///
    /// # Errors
    /// When serving fails.
    pub(crate) async fn serve(self, router: Router) -> Result<(), String> {
        println!("ready {}", self.address.port());
        // Standard input closes with the runner.
        std::thread::spawn(|| {
            let _ = io::stdin().read_to_end(&mut Vec::new());
            std::process::exit(0)
        });
        axum::serve(self.listener, router).await.map_err(|error| error.to_string())
    }
}
