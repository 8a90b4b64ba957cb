//! Threats A and B with real processes: sellers that are killed, die at every point of a payment, and share
//! one ledger. H is read from a file that outlives them, L and the money from the ledger they leave behind.

mod crashes;
mod restarts;
mod shared;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use farthing::farthing_ledger::check::Report;
use farthing::farthing_ledger::statement::PaymentState;
use farthing::native::NativePay;
use farthing::protocol::RequestDigest;
use farthing::protocol::rail::{Pay, PaymentId};
use farthing::{Ledger, LocalLedger, Options};
use farthing_testkit::engine::{Engine, Place};
use farthing_testkit::seller::{Orders, Seller, options, runs};
use farthing_testkit::{ISSUER, World, key};

const PRICE: u128 = 10_000;
/// Of the payer, in atomic units of XTS.
const START: u128 = 100_000_000;

/// A ledger that processes sell on, and what their handlers did.
struct Market {
    engine: Box<dyn Engine>,
    directory: tempfile::TempDir,
    nonces: AtomicU64,
}

/// A payment for one request.
struct Payment {
    target: String,
    id: PaymentId,
    header: String,
}

impl Market {
    /// A ledger with a payer that has money, and no process yet.
    async fn open(engine: impl Engine) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let market = Self { engine: Box::new(engine), directory, nonces: AtomicU64::new(0) };
        let ledger = LocalLedger::with(market.ledger(0).await, key(ISSUER)).await.unwrap();
        ledger.deposit(key(1).public(), "100 XTS").await.unwrap();
        market
    }

    /// The ledger, opened by this process; an embedded one must not be open in another.
    async fn ledger(&self, ahead: u64) -> Ledger {
        open(self.engine.place(), options(ahead)).await
    }

    fn orders(&self) -> Orders {
        Seller::orders(self.engine.place(), self.directory.path())
    }

    fn runs_file(&self) -> PathBuf {
        self.directory.path().join("runs")
    }

    /// H of a payment's request.
    fn runs(&self, payment: &Payment) -> usize {
        let query = payment.target.split_once('?').unwrap().1;
        runs(&self.runs_file()).get(query).copied().unwrap_or(0)
    }

    async fn wallet(&self, seller: &Seller) -> Arc<NativePay> {
        farthing::wallet(&format!("http://{}/ledger", seller.address), key(1)).await.unwrap()
    }

    /// Signs a payment for what `seller` offers at `target`.
    async fn sign(&self, wallet: &NativePay, seller: &Seller, target: &str) -> Payment {
        let reply = seller.get(target, None).await.expect("terms");
        let offer = reply.terms().offers().next().unwrap();
        let digest: RequestDigest = offer.extra["requestDigest"].as_str().unwrap().parse().unwrap();
        let mut nonce = [0; 32];
        nonce[..8].copy_from_slice(&self.nonces.fetch_add(1, Ordering::SeqCst).to_be_bytes());
        let signed = wallet.pay(&offer, &digest, options(0).clock.as_ref()(), nonce).unwrap();
        let header = World::header(&offer, &signed);
        Payment { target: target.to_owned(), id: signed.id, header }
    }

    /// What the ledger says once no process has it: it balances, and the payer has paid for `captured`.
    async fn expect(&self, ahead: u64, captured: u64) -> (Ledger, Report) {
        let ledger = self.ledger(ahead).await;
        let report = ledger.check().await.unwrap();
        assert!(report.balanced(), "{:?}", report.faults);
        let xts = report.assets["XTS"];
        assert_eq!(xts.issued, xts.accounts + xts.held);
        assert_eq!(report.payments.get("captured").copied().unwrap_or(0), captured, "{:?}", report.payments);
        (ledger, report)
    }
}

/// Opens a ledger on a thread that may block.
async fn open(place: Place, options: Options) -> Ledger {
    tokio::task::spawn_blocking(move || place.open(options)).await.unwrap()
}

async fn balance(ledger: &Ledger) -> u128 {
    ledger.balance(key(1).public(), "XTS".parse().unwrap()).await.unwrap().0
}

async fn state(ledger: &Ledger, payment: &Payment) -> PaymentState {
    ledger.statement(payment.id).await.unwrap().state
}
