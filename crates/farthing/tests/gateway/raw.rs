//! Requests as they are written to the wire, byte for byte.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A whole answer, as text.
#[derive(Debug)]
pub(crate) struct Answer(pub(crate) String);

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.0.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let (head, _) = self.0.split_once("\r\n\r\n")?;
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(crate) fn body(&self) -> &str {
        self.0.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }
}

/// Sends these bytes, and reads until the other side closes.
pub(crate) async fn send(address: &str, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A server that refuses early may not read to the end.
    let _ = stream.write_all(bytes).await;
    read(&mut stream).await
}

/// Everything until the other side closes.
pub(crate) async fn read(stream: &mut TcpStream) -> Answer {
    let mut answer = Vec::new();
    let reading = async {
        let mut piece = [0; 4096];
        // A reset after the answer leaves the answer.
        while let Ok(length @ 1..) = stream.read(&mut piece).await {
            answer.extend_from_slice(&piece[..length]);
        }
    };
    tokio::time::timeout(Duration::from_secs(30), reading).await.expect("the answer does not end");
    Answer(String::from_utf8_lossy(&answer).into_owned())
}

/// `GET` of a target, with these header lines.
pub(crate) async fn get(address: &str, target: &str, headers: &[&str]) -> Answer {
    request(address, "GET", target, headers, "").await
}

/// A request with these header lines and this body.
pub(crate) async fn request(
    address: &str,
    method: &str,
    target: &str,
    headers: &[&str],
    body: &str,
) -> Answer {
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for header in headers {
        text += &format!("{header}\r\n");
    }
    send(address, format!("{text}\r\n{body}").as_bytes()).await
}
