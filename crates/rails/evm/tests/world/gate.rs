//! A way to a chain that can be closed and opened again.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

#[derive(Debug)]
pub struct Gate {
    port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    through: Vec<TcpStream>,
}

impl Gate {
    /// An open gate before `port` of 127.0.0.1.
    pub fn before(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let gate = Self { port: listener.local_addr().unwrap().port(), state: Arc::default() };
        let state = gate.state.clone();
        std::thread::spawn(move || {
            for arrived in listener.incoming().flatten() {
                let mut state = state.lock().unwrap();
                // Who comes to a closed gate is sent away at once.
                let Some(beyond) = (!state.closed).then(|| TcpStream::connect(("127.0.0.1", port))) else {
                    continue;
                };
                let beyond = beyond.unwrap();
                for (from, to) in [(&arrived, &beyond), (&beyond, &arrived)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    std::thread::spawn(move || carry(from, to));
                }
                state.through.extend([arrived, beyond]);
            }
        });
        gate
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Whoever is on the way is cut off, and nobody else gets through.
    pub fn close(&self) {
        let mut state = self.state.lock().unwrap();
        state.closed = true;
        for stream in state.through.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub fn open(&self) {
        self.state.lock().unwrap().closed = false;
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
