//! Requests as bytes, made before the clock starts: payments are signed here, by wallets of the real client's rail.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use farthing::native::NativePay;
use farthing::protocol::digest::{BodyHash, request_digest};
use farthing::protocol::rail::Pay as _;
use farthing::protocol::v2::{self, Offer, PaymentPayload};
use farthing::protocol::{Limits, Origin, SecretKey, header};
use serde_json::value::RawValue;

use crate::Result;
use crate::case::Case;
use crate::http;
use crate::server::Server;

/// Accounts with money, of which each pays in turn.
pub(crate) const PAYERS: u32 = 256;
/// Where the server says that it is reached.
pub(crate) const ORIGIN: &str = "https://bench.example";

/// Everybody's keys are the same in each run: only the nonces are fresh.
pub(crate) fn payer(index: u32, has_money: bool) -> SecretKey {
    let mut seed = [if has_money { 1 } else { 2 }; 32];
    seed[..4].copy_from_slice(&index.to_be_bytes());
    SecretKey::from_seed(seed)
}

/// Who signs the payments of one case.
pub(crate) struct Payers {
    case: Case,
    wallets: Vec<Arc<NativePay>>,
}

impl Payers {
    /// Connects the wallets to the ledger that the case is settled on.
    pub(crate) fn connect(case: Case, server: &Server) -> Result<Self> {
        let count = if case.pays() { PAYERS } else { 0 };
        let url = server.settling(case)?.ledger_url();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let wallets = (0..count).map(|index| {
            let wallet = farthing::wallet(&url, payer(index, case.settles()));
            Ok(runtime.block_on(wallet)?)
        });
        Ok(Self { case, wallets: wallets.collect::<Result<_>>()? })
    }

    /// `count` requests that differ, or the one that is sent again and again when nobody pays.
    pub(crate) fn requests(&self, count: usize, server: &Server) -> Result<Vec<Vec<u8>>> {
        if self.wallets.is_empty() {
            return Ok(vec![request(self.case, None)]);
        }
        let offer = self.offer(server)?;
        let halves = std::thread::scope(|scope| {
            let half = |from: usize, to: usize| {
                let offer = &offer;
                scope.spawn(move || (from..to).map(|at| self.paid(at, offer)).collect::<Result<Vec<_>>>())
            };
            [half(0, count / 2), half(count / 2, count)].map(|half| half.join())
        });
        let mut requests = Vec::with_capacity(count);
        for half in halves {
            requests.extend(half.map_err(|_| "signing panicked")??);
        }
        Ok(requests)
    }

    /// What the server asks for now.
    fn offer(&self, server: &Server) -> Result<Box<RawValue>> {
        let (head, _) = server.get(&request(self.case, None))?;
        let value = http::header(&head, header::PAYMENT_REQUIRED).ok_or("no terms to pay by")?;
        let terms = header::decode_payment_required(value, &Limits::default())?;
        Ok(terms.accepts.into_iter().next().ok_or("no offer to pay by")?)
    }

    fn paid(&self, at: usize, offer: &RawValue) -> Result<Vec<u8>> {
        let accepted = Offer::read(offer.to_owned())?;
        let origin: Origin = ORIGIN.parse()?;
        let digest = request_digest("GET", &origin, self.case.target(), BodyHash::of(b""));
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let signed = self.wallets[at % self.wallets.len()].pay(&accepted, &digest, now, nonce)?;
        let payment = PaymentPayload {
            x402_version: v2::VERSION,
            resource: None,
            accepted,
            payload: signed.payload.into(),
            extensions: v2::Extensions::new(),
        };
        Ok(request(self.case, Some(&header::encode(&payment)?)))
    }
}

/// The bytes of one request.
fn request(case: Case, payment: Option<&str>) -> Vec<u8> {
    let payment = payment.map(|value| format!("payment-signature: {value}\r\n")).unwrap_or_default();
    format!("GET {} HTTP/1.1\r\nhost: bench.example\r\n{payment}\r\n", case.target()).into_bytes()
}

/// The bytes of a request for something without a price.
pub(crate) fn plain(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nhost: bench.example\r\n\r\n").into_bytes()
}
