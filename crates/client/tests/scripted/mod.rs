//! A scripted rail and a scripted server, for both kinds of tests of this crate.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use farthing_client::{AssetId, Budget, Client, ClientBuilder, Patience};
use farthing_protocol::digest::sha256;
use farthing_protocol::header::{self, PAYMENT_REQUIRED, PAYMENT_RESPONSE, PAYMENT_SIGNATURE};
use farthing_protocol::rail::{BoxFuture, Confirmation, OfferError, Pay, PaymentId, SignedPayment};
use farthing_protocol::receipt::{self, Receipt};
use farthing_protocol::v2::{PaymentPayload, PaymentRequirements, SettlementResponse};
use farthing_protocol::{Amount, Limits, Network, RequestDigest, SecretKey};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedReceiver;

pub const NETWORK: &str = "farthing:00112233445566778899aabbccddeeff";

/// Pays in XTS (scale 6) and CENT (scale 2). Its word about payments is whatever a test says.
#[derive(Debug)]
pub struct Rail {
    network: Network,
    /// How many payments were signed.
    pub signed: AtomicUsize,
    /// How often the network was asked.
    pub asked: AtomicUsize,
    /// What the network says.
    pub word: Mutex<Confirmation>,
    /// Seconds that signatures stay valid at most.
    pub reach: u64,
}

impl Rail {
    pub fn new() -> Arc<Self> {
        Arc::new(Self::reaching(300))
    }

    pub fn reaching(reach: u64) -> Self {
        let word = Mutex::new(Confirmation::Open);
        let (signed, asked) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { network: NETWORK.parse().unwrap(), signed, asked, word, reach }
    }

    pub fn says(&self, word: Confirmation) {
        *self.word.lock().unwrap() = word;
    }

    pub fn signed(&self) -> usize {
        self.signed.load(Ordering::SeqCst)
    }

    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Pay for Rail {
    fn network(&self) -> &Network {
        &self.network
    }

    fn scale(&self, asset: &str) -> Option<u8> {
        [("XTS", 6), ("CENT", 2)].into_iter().find(|(name, _)| *name == asset).map(|(_, scale)| scale)
    }

    fn judge(&self, offer: &PaymentRequirements, _: &RequestDigest, _: u64) -> Result<(), OfferError> {
        if !["exact", "upto"].contains(&offer.scheme.as_str()) {
            return Err(OfferError::Field { field: "scheme".into(), why: "is not \u{1b}paid".into() });
        }
        Ok(())
    }

    fn pay(
        &self,
        offer: &PaymentRequirements,
        digest: &RequestDigest,
        now: u64,
        random: [u8; 32],
    ) -> Result<SignedPayment, OfferError> {
        self.judge(offer, digest, now)?;
        self.signed.fetch_add(1, Ordering::SeqCst);
        let nonce = format!("{:?}", PaymentId(random));
        let payload = json!({"digest": digest.to_string(), "amount": offer.amount, "payee": offer.pay_to, "nonce": nonce});
        let payload = to_raw_value(&payload).unwrap();
        Ok(SignedPayment {
            id: PaymentId(sha256(payload.get().as_bytes())),
            payload,
            extensions: Default::default(),
            max_amount: offer.amount,
            valid_before: now + offer.max_timeout_seconds.min(self.reach),
            capture_deadline: now + 900,
        })
    }

    fn confirm(&self, _: &SignedPayment, settlement: &SettlementResponse) -> Confirmation {
        match settlement.extra.get("statement").and_then(Value::as_str) {
            None => Confirmation::Unproven,
            Some("voided") => Confirmation::NotTaken,
            Some("forged") => Confirmation::Contradicted("the statement is forged".into()),
            Some(taken) => Confirmation::Taken(taken.parse().unwrap()),
        }
    }

    fn status<'a>(&'a self, _: &'a SignedPayment) -> BoxFuture<'a, Confirmation> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let word = self.word.lock().unwrap().clone();
        Box::pin(async move { word })
    }
}

pub fn xts() -> AssetId {
    AssetId { network: NETWORK.parse().unwrap(), asset: "XTS".into() }
}

/// A budget of 0.01 XTS (10,000 units) and little patience.
pub fn builder(rail: &Arc<Rail>) -> ClientBuilder {
    let budget = Budget::new("0.01 XTS").unwrap();
    let pause = std::time::Duration::from_millis(5);
    let patience = Patience { pause, ..Patience::default() };
    Client::builder().allow_any_origin().rail(rail.clone()).budget(budget).patience(patience)
}

pub fn client(rail: &Arc<Rail>) -> Client {
    builder(rail).build().unwrap()
}

/// What counts: (taken, reserved).
pub fn spent(client: &Client) -> (u128, u128) {
    let spent = client.spent(&xts()).unwrap();
    (spent.taken.0, spent.reserved.0)
}

// ---- what servers say

pub fn receipt_key() -> SecretKey {
    SecretKey::from_seed([7; 32])
}

pub fn offer(amount: u64) -> Value {
    json!({"scheme": "exact", "network": NETWORK, "amount": amount.to_string(), "asset": "XTS",
        "payTo": "seller", "maxTimeoutSeconds": 60,
        "extra": {"receiptKey": receipt_key().public().to_string(), "unknown": [1, {"b": 2, "a": 1}]}})
}

pub fn with(mut offer: Value, member: &str, value: Value) -> Value {
    match member.strip_prefix("extra.") {
        Some(key) => offer["extra"][key] = value,
        None => offer[member] = value,
    }
    offer
}

#[derive(Clone, Debug)]
pub enum Reply {
    Say {
        status: u16,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
    },
    /// An answer whose bytes after its head come as a test sends them.
    Flow {
        headers: Vec<(String, String)>,
        pieces: Arc<tokio::sync::Mutex<UnboundedReceiver<Vec<u8>>>>,
    },
    /// Closes the connection after the request was read.
    HangUp,
    /// Never answers.
    Silence,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::Say { status, headers: Vec::new(), body: body.into() }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Self::Say { headers, .. } | Self::Flow { headers, .. } = &mut self {
            headers.push((name.into(), value.into()));
        }
        self
    }

    /// Adds a settlement.
    pub fn settling(self, settlement: &Value) -> Self {
        let value = header::encode(settlement).unwrap();
        self.header(PAYMENT_RESPONSE, &value)
    }
}

pub fn unpaid(offers: &[Value]) -> Reply {
    let terms = json!({"x402Version": 2, "error": "Payment required",
        "resource": {"url": "https://shop.example/", "description": "pay\u{1b}[2J now"},
        "accepts": offers, "extensions": {"other": {"info": {"z": 1, "a": 2}}}});
    Reply::new(402, "").header(PAYMENT_REQUIRED, &header::encode(&terms).unwrap())
}

pub fn problem(status: u16, code: &str, retry: &str) -> Reply {
    let body = json!({"type": format!("urn:farthing:problem:{code}"), "title": code, "status": status,
        "detail": "it is so", "code": code, "retry": retry});
    Reply::new(status, body.to_string())
}

/// What a server knows about a payment that it was sent.
pub struct Presented {
    pub id: PaymentId,
    pub digest: RequestDigest,
    pub amount: Amount,
    pub payment: PaymentPayload,
}

pub fn presented(header: &str) -> Presented {
    let payment = header::decode_payment(header.as_bytes(), &Limits::default()).unwrap();
    let payload: Value = serde_json::from_str(payment.payload.get()).unwrap();
    Presented {
        id: PaymentId(sha256(payment.payload.get().as_bytes())),
        digest: payload["digest"].as_str().unwrap().parse().unwrap(),
        amount: payload["amount"].as_str().unwrap().parse().unwrap(),
        payment,
    }
}

pub fn receipt_of(presented: &Presented, status: u16, body: &[u8]) -> Receipt {
    Receipt {
        payment: presented.id,
        digest: presented.digest,
        status,
        body: sha256(body),
        amount: presented.amount,
        issued_at: 1_800_000_000,
    }
}

pub fn settlement(presented: &Presented, receipt: Option<&Receipt>) -> Value {
    let mut settlement = json!({"success": true, "transaction": presented.id.to_string(), "network": NETWORK,
        "amount": presented.amount, "extra": {"statement": presented.amount.to_string()}});
    if let Some(receipt) = receipt {
        let signed = serde_json::to_value(receipt.sign(&receipt_key())).unwrap();
        settlement["extensions"] = json!({ receipt::EXTENSION: signed });
    }
    settlement
}

/// What an honest seller answers to a payment.
pub fn delivers(payment: &str, body: &str) -> Reply {
    let presented = presented(payment);
    let receipt = receipt_of(&presented, 200, body.as_bytes());
    Reply::new(200, body).settling(&settlement(&presented, Some(&receipt)))
}

// ---- a server on a socket

/// A request as it came over the wire.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// How many requests came before it.
    pub nth: usize,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn payment(&self) -> Option<&str> {
        self.header(PAYMENT_SIGNATURE)
    }
}

type Script = dyn Fn(&Seen) -> Reply + Send + Sync;

/// Answers by a script, one request for each connection.
#[derive(Clone)]
pub struct Server {
    pub url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    pub async fn start(script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let script: Arc<Script> = Arc::new(script);
        let server = Self { url, seen: seen.clone() };
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, script.clone(), seen.clone()));
            }
        });
        server
    }

    /// An honest seller of one thing.
    pub async fn shop(amount: u64) -> Self {
        Self::start(move |seen| match seen.payment() {
            None => unpaid(&[offer(amount)]),
            Some(payment) => delivers(payment, "goods"),
        })
        .await
    }

    pub fn at(&self, target: &str) -> String {
        format!("{}{target}", self.url)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The payment headers that came, in order.
    pub fn payments(&self) -> Vec<String> {
        self.seen().iter().filter_map(|seen| seen.payment().map(str::to_owned)).collect()
    }
}

async fn serve(mut socket: TcpStream, script: Arc<Script>, log: Arc<Mutex<Vec<Seen>>>) -> Option<()> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let split = |line: &str| line.split_once(": ").map(|(key, value)| (key.to_owned(), value.to_owned()));
    let headers: Vec<_> = lines.filter_map(split).collect();
    let length = headers.iter().find(|(key, _)| key.eq_ignore_ascii_case("content-length"));
    let length: usize = length.map_or(0, |(_, value)| value.parse().unwrap());
    while bytes.len() < end + 4 + length {
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let body = bytes[end + 4..].to_vec();
    let seen = {
        let mut log = log.lock().unwrap();
        let seen = Seen { method, target, headers, body, nth: log.len() };
        log.push(seen.clone());
        seen
    };
    match script(&seen) {
        Reply::Flow { headers, pieces } => {
            let mut out = "HTTP/1.1 200 x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n".to_owned();
            for (key, value) in headers {
                out.push_str(&format!("{key}: {value}\r\n"));
            }
            out.push_str("\r\n");
            socket.write_all(out.as_bytes()).await.ok()?;
            let mut pieces = pieces.lock().await;
            while let Some(piece) = pieces.recv().await {
                socket.write_all(&piece).await.ok()?;
            }
            let _ = socket.shutdown().await;
        }
        Reply::HangUp => {}
        Reply::Silence => std::future::pending().await,
        Reply::Say { status, headers, body } => {
            let mut out = format!("HTTP/1.1 {status} x\r\nconnection: close\r\n");
            if !headers.iter().any(|(key, _)| key == "content-length") {
                out.push_str(&format!("content-length: {}\r\n", body.len()));
            }
            for (key, value) in headers {
                out.push_str(&format!("{key}: {value}\r\n"));
            }
            out.push_str("\r\n");
            let _ = socket.write_all(out.as_bytes()).await;
            if seen.method != "HEAD" {
                let _ = socket.write_all(&body).await;
            }
            let _ = socket.shutdown().await;
        }
    }
    Some(())
}
