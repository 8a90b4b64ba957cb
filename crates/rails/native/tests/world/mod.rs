//! A ledger with a virtual clock, a facilitator over it, a seller and a payer: the rail in its three roles.
//!
//! Keys come from seeds and nonces from a counter: a failing test fails again the same way.
#![allow(dead_code, unreachable_pub, reason = "each suite uses its part of the fixture")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use farthing_ledger::admin::{Deposit, NewAsset};
use farthing_ledger::command::Signed;
use farthing_ledger::terms::Scheme;
use farthing_ledger::{AssetCode, Ledger, Options};
use farthing_protocol::digest::{BodyHash, request_digest};
use farthing_protocol::rail::{
    Ask, Authorized, BoxFuture, Facilitator, FacilitatorError, Hold, Offer, Outcome,
};
use farthing_protocol::rail::{Operation, Owner, Pay, PaymentId, Presented, Settle, SignedPayment, Tenant};
use farthing_protocol::v2::{
    self, FacilitatorRequest, PaymentPayload, PaymentRequirements, SettlementResponse,
};
use farthing_protocol::v2::{SupportedResponse, VerifyResponse};
use farthing_protocol::{Amount, Binding, PublicKey, RequestDigest, SecretKey, Verbatim};
use farthing_rail_native::{NativeOffer, NativePay, NativeSettle};
use serde_json::Value;
use serde_json::value::RawValue;

/// When every world begins, in Unix seconds.
pub const START: u64 = 1_800_000_000;
/// What the payer is given at the start: 1 XTS.
pub const FUNDS: u128 = 1_000_000;
/// The price of everything, 0.001 XTS, in atomic units.
pub const PRICE: u128 = 1_000;

pub const LEDGER: u8 = 1;
pub const ISSUER: u8 = 2;
pub const PAYER: u8 = 3;
pub const SELLER: u8 = 4;
pub const AUTHORIZER: u8 = 5;
pub const STRANGER: u8 = 6;
pub const OTHER_SELLER: u8 = 7;
pub const OTHER_AUTHORIZER: u8 = 8;

/// The secret key of a role.
pub fn secret(role: u8) -> SecretKey {
    SecretKey::from_seed([role; 32])
}

pub fn public(role: u8) -> PublicKey {
    secret(role).public()
}

pub fn xts() -> AssetCode {
    "XTS".parse().unwrap()
}

/// A facilitator in process, called by one tenant; its answers about payments can be bent.
pub struct Desk {
    pub settle: NativeSettle,
    pub caller: Tenant,
    pub lie: Mutex<Option<fn(&mut Value)>>,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Desk")
    }
}

impl Facilitator for Desk {
    fn supported(&self) -> BoxFuture<'_, Result<SupportedResponse, FacilitatorError>> {
        Box::pin(async {
            Ok(SupportedResponse { kinds: self.settle.kinds(), ..SupportedResponse::default() })
        })
    }

    fn verify<'a>(
        &'a self,
        request: &'a FacilitatorRequest,
    ) -> BoxFuture<'a, Result<VerifyResponse, FacilitatorError>> {
        self.settle.verify(&self.caller, request)
    }

    fn settle<'a>(&'a self, request: &'a FacilitatorRequest) -> BoxFuture<'a, Outcome> {
        self.settle.settle(&self.caller, request)
    }

    fn payment<'a>(&'a self, id: &'a PaymentId) -> BoxFuture<'a, Result<Option<Value>, FacilitatorError>> {
        Box::pin(async {
            let mut answer = self.settle.payment(id).await?;
            if let (Some(answer), Some(lie)) = (&mut answer, *self.lie.lock().unwrap()) {
                lie(answer);
            }
            Ok(answer)
        })
    }
}

pub struct World {
    now: Arc<AtomicU64>,
    nonce: AtomicU64,
    pub ledger: Ledger,
    pub desk: Arc<Desk>,
    pub seller: NativeOffer,
    pub payer: NativePay,
}

impl World {
    pub async fn new() -> Self {
        Self::of(Scheme::AuthCapture).await
    }

    /// A world whose seller offers `scheme`.
    pub async fn of(scheme: Scheme) -> Self {
        let now = Arc::new(AtomicU64::new(START));
        let clock = now.clone();
        let options =
            Options { clock: Arc::new(move || clock.load(Ordering::SeqCst)), ..Options::open_to_all() };
        let ledger = Ledger::memory(secret(LEDGER), options).unwrap();
        for code in ["USD", "XTS"] {
            let asset = NewAsset { code: code.parse().unwrap(), scale: 6, issuer: public(ISSUER) };
            ledger.register(asset).await.unwrap();
            let deposit = Deposit {
                asset: asset.code,
                account: public(PAYER),
                amount: Amount(FUNDS),
                reference: [code.as_bytes()[0]; 32],
            };
            ledger.deposit(Signed::<Deposit>::sign(&ledger.id(), deposit, &secret(ISSUER))).await.unwrap();
        }
        let settle = NativeSettle::new(ledger.clone()).await.unwrap();
        let desk = Arc::new(Desk { settle, caller: Tenant("seller".into()), lie: Mutex::new(None) });
        let payer = NativePay::connect(desk.clone(), Some(ledger.network()), secret(PAYER)).await.unwrap();
        let terms = ledger.terms().await.unwrap();
        let seller =
            NativeOffer::new(scheme, ledger.network(), terms, public(SELLER), secret(AUTHORIZER)).unwrap();
        Self { now, nonce: AtomicU64::new(1), ledger, desk, seller, payer }
    }

    /// Another seller on the same ledger.
    pub async fn other_seller(&self) -> NativeOffer {
        let terms = self.ledger.terms().await.unwrap();
        let (payee, authorizer) = (public(OTHER_SELLER), secret(OTHER_AUTHORIZER));
        NativeOffer::new(Scheme::AuthCapture, self.ledger.network(), terms, payee, authorizer).unwrap()
    }

    pub fn now(&self) -> u64 {
        self.now.load(Ordering::SeqCst)
    }

    pub fn pass(&self, seconds: u64) {
        self.now.fetch_add(seconds, Ordering::SeqCst);
    }

    pub fn digest(&self) -> RequestDigest {
        digest("/page")
    }

    /// The seller's offer for `/page`, now.
    pub fn offer(&self) -> PaymentRequirements {
        let price = "0.001 XTS".parse().unwrap();
        let ask = Ask {
            price: &price,
            digest: &self.digest(),
            binding: Binding::Body,
            is_safe: true,
            max_timeout_seconds: 300,
            now: self.now(),
        };
        self.seller.offer(&ask).unwrap()
    }

    /// A payment for `offer` with a nonce of its own.
    pub fn pay(&self, offer: &PaymentRequirements) -> (SignedPayment, PaymentPayload) {
        let mut nonce = [0; 32];
        nonce[..8].copy_from_slice(&self.nonce.fetch_add(1, Ordering::SeqCst).to_be_bytes());
        let signed = self.payer.pay(offer, &self.digest(), self.now(), nonce).unwrap();
        let payment = wrap(offer, signed.payload.clone());
        (signed, payment)
    }

    /// A settlement that the server asks for.
    pub async fn settle(&self, payment: PaymentPayload, offer: &PaymentRequirements) -> Outcome {
        self.desk.settle(&request(payment, offer)).await
    }

    /// The first settlement by server process `process`.
    pub async fn authorize(
        &self,
        payment: &PaymentPayload,
        offer: &PaymentRequirements,
        process: u8,
    ) -> Outcome {
        self.settle(self.seller.authorize(payment, &owner(process)).unwrap(), offer).await
    }

    /// The first settlement, which holds.
    pub async fn hold(&self, payment: &PaymentPayload, offer: &PaymentRequirements, process: u8) -> Hold {
        let settlement = settled(self.authorize(payment, offer, process).await);
        match self.seller.authorized(&settlement) {
            Ok(Authorized::Held(hold)) => hold,
            other => panic!("{other:?}"),
        }
    }

    /// A later settlement, signed by `seller`'s receiverAuthorizer.
    pub async fn operate(
        &self,
        seller: &NativeOffer,
        payment: &PaymentPayload,
        epoch: u64,
        operation: Operation,
    ) -> Outcome {
        let presented: Presented = seller.read(payment).unwrap();
        let payment = seller.operate(payment, &presented, epoch, &operation).unwrap();
        let offer = self.offer();
        self.settle(payment, &offer).await
    }

    pub async fn balance(&self, role: u8) -> u128 {
        self.ledger.balance(public(role), xts()).await.unwrap().0
    }

    /// How many payments history has in each state, as `[held, captured, voided, reclaimed]`; the ledger
    /// balances.
    pub async fn history(&self) -> [u64; 4] {
        let report = self.ledger.check().await.unwrap();
        assert!(report.balanced(), "{:?}", report.faults);
        ["held", "captured", "voided", "reclaimed"]
            .map(|state| report.payments.get(state).copied().unwrap_or(0))
    }
}

pub fn digest(target: &str) -> RequestDigest {
    request_digest("GET", &"https://example.com".parse().unwrap(), target, BodyHash::of(b""))
}

pub fn owner(process: u8) -> Owner {
    Owner { id: [process; 16], lease_seconds: 30 }
}

/// The payment as it travels; it asks for proof.
pub fn wrap(offer: &PaymentRequirements, payload: Box<RawValue>) -> PaymentPayload {
    let proof = serde_json::from_str("{}").unwrap();
    PaymentPayload {
        x402_version: v2::VERSION,
        resource: None,
        accepted: Verbatim::write(offer.clone()).unwrap(),
        payload: payload.into(),
        extensions: [(farthing_protocol::receipt::EXTENSION.to_owned(), proof)].into(),
    }
}

pub fn request(payment: PaymentPayload, offer: &PaymentRequirements) -> FacilitatorRequest {
    FacilitatorRequest {
        x402_version: v2::VERSION,
        payment_payload: payment,
        payment_requirements: offer.clone().into(),
    }
}

pub fn settled(outcome: Outcome) -> SettlementResponse {
    match outcome {
        Outcome::Settled(settlement) => settlement,
        other => panic!("{other:?}"),
    }
}

/// The reason of a refusal.
pub fn refused(outcome: Outcome) -> String {
    match outcome {
        Outcome::NotSettled(settlement) => settlement.error_reason.unwrap(),
        other => panic!("{other:?}"),
    }
}
