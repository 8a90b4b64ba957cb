//! HTTP as bytes: a test says exactly what goes over the wire.

use std::net::SocketAddr;
use std::time::Duration;

use farthing::protocol::v2::{PaymentRequired, SettlementResponse};
use farthing::protocol::{Limits, header};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer, as it came.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Names in lower case, in the order of arrival.
    pub headers: Vec<(String, String)>,
    /// The body, without transfer coding.
    pub body: Vec<u8>,
}

impl Reply {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    /// `code` and `retry` of the problem in the body.
    pub fn problem(&self) -> (String, String) {
        let json = self.json();
        let text = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
        (text("code"), text("retry"))
    }

    /// The terms of a 402.
    pub fn terms(&self) -> PaymentRequired {
        let value = self.header(header::PAYMENT_REQUIRED).expect("PAYMENT-REQUIRED");
        header::decode_payment_required(value.as_bytes(), &Limits::default()).expect("valid terms")
    }

    /// What became of the payment.
    pub fn settlement(&self) -> SettlementResponse {
        let value = self.header(header::PAYMENT_RESPONSE).expect("PAYMENT-RESPONSE");
        let limits = Limits { header_bytes: 256 * 1024, ..Limits::default() };
        header::decode_settlement(value.as_bytes(), &limits).expect("a valid settlement")
    }
}

/// The bytes of a request. `Host`, `Connection: close` and, with a body, `Content-Length` are added.
pub fn request(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        head += &format!("Host: {address}\r\n");
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    let coded = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("transfer-encoding"));
    if !body.is_empty() && !coded {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    head += "Connection: close\r\n\r\n";
    [head.as_bytes(), body].concat()
}

/// Sends bytes and reads the answer to its end. `None` when the connection closes without one.
pub async fn exchange(address: SocketAddr, bytes: &[u8]) -> Option<Reply> {
    let connected = tokio::time::timeout(Duration::from_secs(60), TcpStream::connect(address)).await;
    exchange_on(connected.expect("an answer in time").expect("the server listens"), bytes).await
}

/// As [`exchange`], on a connection that is there.
pub async fn exchange_on(mut stream: TcpStream, bytes: &[u8]) -> Option<Reply> {
    let talk = async {
        // A server may refuse before it has read everything.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        answer
    };
    let answer = tokio::time::timeout(Duration::from_secs(60), talk).await.expect("an answer in time");
    let is_head = bytes.starts_with(b"HEAD ");
    parse(&answer, is_head)
}

fn parse(answer: &[u8], is_head: bool) -> Option<Reply> {
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let raw = &answer[end + 4..];
    let chunked = headers.iter().any(|(n, v)| n == "transfer-encoding" && v == "chunked");
    let body = if is_head || !chunked { raw.to_vec() } else { dechunk(raw) };
    Some(Reply { status, headers, body })
}

fn dechunk(mut raw: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = raw.windows(2).position(|w| w == b"\r\n") {
        let size =
            std::str::from_utf8(&raw[..end]).ok().and_then(|s| usize::from_str_radix(s.trim(), 16).ok());
        let Some(size) = size.filter(|s| *s > 0 && raw.len() >= end + 4 + s) else { break };
        body.extend_from_slice(&raw[end + 2..end + 2 + size]);
        raw = &raw[end + 4 + size..];
    }
    body
}
