//! A proxy in front of a server, whose connections break when told so.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Line {
    /// Connections made before this generation are gone.
    generation: u64,
    /// What the server says to the next `COMMIT`, and after it, is thrown away.
    deaf: bool,
}

/// Carries bytes between clients on a port of its own and a server on another.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    line: Arc<watch::Sender<Line>>,
}

impl Proxy {
    /// In front of the server on `port` of loopback.
    pub(crate) async fn start(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let line = Arc::new(watch::Sender::new(Line::default()));
        let proxy = Self { port: listener.local_addr().unwrap().port(), line: line.clone() };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
                tokio::spawn(carry(client, server, line.subscribe()));
            }
        });
        proxy
    }

    /// Where clients connect.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Breaks every connection.
    pub(crate) fn cut(&self) {
        self.line.send_modify(|line| *line = Line { generation: line.generation + 1, deaf: false });
    }

    /// The next `COMMIT` of each connection reaches the server, and no answer comes back until the connection
    /// breaks.
    pub(crate) fn lose_the_answer_to_a_commit(&self) {
        self.line.send_modify(|line| line.deaf = true);
    }
}

async fn carry(mut client: TcpStream, mut server: TcpStream, mut line: watch::Receiver<Line>) {
    let born = line.borrow().generation;
    let (mut asked, mut said) = ([0; 16_384], [0; 16_384]);
    let mut silent = false;
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(count @ 1..) = read else { return };
                silent |= line.borrow().deaf && asked[..count].windows(6).any(|word| word == b"COMMIT");
                if server.write_all(&asked[..count]).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut said) => {
                let Ok(count @ 1..) = read else { return };
                if !silent && client.write_all(&said[..count]).await.is_err() {
                    return;
                }
            }
            _ = line.changed() => {
                if line.borrow().generation != born {
                    return;
                }
            }
        }
    }
}
