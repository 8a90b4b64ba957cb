//! A line to the server that breaks at the worst moment.
#![allow(dead_code, unreachable_pub, reason = "each suite uses its part of the fixture")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Where the line breaks, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The server never hears the commit.
    BeforeCommit,
    /// The server commits, and nobody hears of it.
    AfterCommit,
}

/// `COMMIT` as the protocol carries it.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";

/// Carries every connection to a server until it is told to break one.
#[derive(Debug)]
pub struct Proxy {
    pub port: u16,
    cut: Arc<Mutex<Planned>>,
}

/// Where the line breaks, and what the client says there.
type Planned = Option<(Cut, Vec<u8>)>;

impl Proxy {
    pub fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let cut = Arc::<Mutex<Planned>>::default();
        let planned = cut.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                let (planned, replies) = (planned.clone(), Arc::new(Mutex::new(true)));
                let (from, to, open) = (server.try_clone(), client.try_clone(), replies.clone());
                thread::spawn(move || back(from.unwrap(), to.unwrap(), &open));
                thread::spawn(move || forth(client, server, &planned, &replies));
            }
        });
        Self { port, cut }
    }

    /// Breaks the line at the next commit.
    pub fn cut(&self, cut: Cut) {
        self.cut_at(cut, COMMIT);
    }

    /// Breaks the line at the next statement that `said` is in, which commits by itself.
    pub fn cut_at(&self, cut: Cut, said: &[u8]) {
        *self.cut.lock().unwrap() = Some((cut, said.to_vec()));
    }

    /// Whether the line has been broken since.
    pub fn has_cut(&self) -> bool {
        self.cut.lock().unwrap().is_none()
    }
}

/// What the client says.
fn forth(mut client: TcpStream, mut server: TcpStream, planned: &Mutex<Planned>, replies: &Mutex<bool>) {
    let mut buffer = [0; 65_536];
    while let Ok(read @ 1..) = client.read(&mut buffer) {
        let said = &buffer[..read];
        let is_there = |(_, at): &mut (Cut, Vec<u8>)| said.windows(at.len()).any(|window| window == at);
        let cut = planned.lock().unwrap().take_if(is_there).map(|(cut, _)| cut);
        if cut == Some(Cut::AfterCommit) {
            *replies.lock().unwrap() = false;
        }
        if cut == Some(Cut::BeforeCommit) || server.write_all(said).is_err() {
            break;
        }
    }
    let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
}

/// What the server says.
fn back(mut server: TcpStream, mut client: TcpStream, open: &Mutex<bool>) {
    let mut buffer = [0; 65_536];
    while let Ok(read @ 1..) = server.read(&mut buffer) {
        // Its answer to the commit is the first that is not carried.
        if !*open.lock().unwrap() || client.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
}
