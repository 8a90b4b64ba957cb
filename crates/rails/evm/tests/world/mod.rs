//! A private chain with a facilitator, a seller and a payer: the rail in its three roles, on real contracts.
//!
//! The oracles are on chain: the tokens of accounts, and how many transactions were sent.
#![allow(dead_code, unreachable_pub, reason = "each suite uses its part of the fixture")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../../../../testkit/src/anvil/mod.rs"]
pub mod anvil;
pub mod gate;
pub mod records;
pub mod signing;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use farthing_protocol::rail::{Ask, Offer, Outcome, Pay, Settle, SignedPayment, Tenant};
use farthing_protocol::v2::{FacilitatorRequest, PaymentRequirements, SettlementResponse};
use farthing_protocol::{Binding, Network, RequestDigest};
use farthing_rail_evm::{
    Asset, ConfigError, EvmConfig, EvmKey, EvmOffer, EvmPay, EvmSettle, Rpc, Transfer, assets,
};
use serde_json::{Value, json};

use anvil::Anvil;
use records::TestRecords;

/// What the payer is given at the start: 1 USDC.
pub const FUNDS: u128 = 1_000_000;
/// The price of everything, $0.001, in atomic units.
pub const PRICE: u128 = 1_000;
/// Where everything is paid to.
pub const SELLER: &str = "0x0000000000000000000000000000000000005E11";
pub const OTHER_SELLER: &str = "0x0000000000000000000000000000000000005E12";

pub const PAYER: u8 = 1;
pub const STRANGER: u8 = 2;
pub const SIGNER: u8 = 10;
pub const OTHER_SIGNER: u8 = 11;

pub struct World {
    pub chain: Anvil,
    pub records: Arc<TestRecords>,
    pub settle: EvmSettle,
    pub payer: EvmPay,
    nonce: AtomicU64,
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// A world whose facilitator is set up otherwise.
    pub async fn with(change: impl FnOnce(&mut EvmConfig)) -> Self {
        let chain = chain();
        let records = Arc::new(TestRecords::default());
        let mut config = config(&chain, &records);
        change(&mut config);
        let settle = EvmSettle::connect(config).await.unwrap();
        let payer = payer(usdc());
        Self { chain, records, settle, payer, nonce: AtomicU64::new(1) }
    }

    /// The seller's offer of scheme `exact` for its page, at $0.001 in `asset`.
    pub fn offer(&self, asset: Asset) -> PaymentRequirements {
        offer(&EvmOffer::exact(&network(), SELLER, asset).unwrap())
    }

    /// The seller's offer of scheme `upto` for its page, at up to $0.001 in USDC.
    pub fn upto(&self) -> PaymentRequirements {
        let facilitator = self.settle.facilitator_address();
        offer(&EvmOffer::upto(&network(), SELLER, usdc(), &facilitator).unwrap())
    }

    /// A nonce that nobody had.
    pub fn nonce(&self) -> [u8; 32] {
        let mut nonce = [0; 32];
        nonce[24..].copy_from_slice(&self.nonce.fetch_add(1, Ordering::SeqCst).to_be_bytes());
        nonce
    }

    /// What the payer signs for an offer now.
    pub async fn sign(&self, offer: &PaymentRequirements) -> SignedPayment {
        self.sign_by(&self.payer, offer, now()).await
    }

    /// What `payer` signs for an offer at `now`.
    pub async fn sign_by(&self, payer: &EvmPay, offer: &PaymentRequirements, now: u64) -> SignedPayment {
        payer.look_up(offer).await.unwrap();
        payer.pay(offer, &DIGEST, now, self.nonce()).unwrap()
    }

    /// A payment for an offer, as a server hands it to its facilitator.
    pub async fn pay(&self, offer: &PaymentRequirements) -> FacilitatorRequest {
        request(offer, &self.sign(offer).await)
    }

    pub async fn verify(&self, request: &FacilitatorRequest) -> Result<(), String> {
        let answer = self.settle.verify(&Tenant::local(), request).await.unwrap();
        if answer.is_valid { Ok(()) } else { Err(answer.invalid_reason.unwrap()) }
    }

    pub async fn settle(&self, request: &FacilitatorRequest) -> Outcome {
        self.settle.settle(&Tenant::local(), request).await
    }

    /// The seller's tokens.
    pub fn earned(&self, token: &str) -> u128 {
        self.chain.balance(token, SELLER)
    }

    /// How many transactions the facilitator sent that were mined.
    pub fn sent(&self) -> u128 {
        [SIGNER, OTHER_SIGNER].into_iter().map(|signer| self.chain.sent_by(&address(signer))).sum()
    }

    /// A payment that is found valid, and moves exactly the price from its payer to the seller.
    pub async fn accepts(&self, request: &FacilitatorRequest) -> SettlementResponse {
        assert_eq!(self.verify(request).await, Ok(()));
        self.settles(request, request.payment_requirements.amount.0).await
    }

    /// A payment that moves exactly `amount` from its payer to the seller.
    pub async fn settles(&self, request: &FacilitatorRequest, amount: u128) -> SettlementResponse {
        let (token, payer) = (&*request.payment_requirements.asset, payer_of(request));
        let before = (self.chain.balance(token, &payer), self.earned(token));
        let settlement = settled(self.settle(request).await);
        let after = (self.chain.balance(token, &payer), self.earned(token));
        assert_eq!(after, (before.0 - amount, before.1 + amount));
        assert_eq!(settlement.payer.as_ref().map(|payer| payer.to_lowercase()), Some(payer.to_lowercase()));
        assert_eq!((settlement.network.as_str(), settlement.amount.unwrap().0), (anvil::NETWORK, amount));
        settlement
    }

    /// A payment that is refused by both `/verify` and `/settle`, before anything is sent; why.
    pub async fn refuses(&self, request: &FacilitatorRequest) -> String {
        let token = &*request.payment_requirements.asset;
        let before = (self.earned(token), self.sent());
        let reason = self.verify(request).await.unwrap_err();
        assert_eq!(refused(self.settle(request).await), reason);
        assert_eq!((self.earned(token), self.sent()), before);
        reason
    }
}

pub const DIGEST: RequestDigest = RequestDigest([7; 32]);

/// A chain on which the payer has 1 USDC and the facilitator's keys have ether.
pub fn chain() -> Anvil {
    let chain = Anvil::start();
    chain.mint(anvil::USDC, &address(PAYER), FUNDS);
    for signer in [SIGNER, OTHER_SIGNER] {
        chain.give_ether(&address(signer), 10u128.pow(18));
    }
    chain
}

/// A facilitator of one key that settles USDC.
pub fn config(chain: &Anvil, records: &Arc<TestRecords>) -> EvmConfig {
    EvmConfig {
        poll: Duration::from_millis(5),
        ..EvmConfig::new(network(), rpc(&[chain.url()]), vec![key(SIGNER)], records.clone())
    }
}

pub fn network() -> Network {
    anvil::NETWORK.parse().unwrap()
}

pub fn rpc(urls: &[String]) -> Rpc {
    Rpc::new(urls).unwrap()
}

pub fn usdc() -> Asset {
    assets::of_network(&network())[0].clone()
}

/// The token that knows ERC-20 only.
pub fn plain() -> Asset {
    let plain = Asset::new(anvil::PLAIN, "Plain", "", 6, "USD", Transfer::Permit2).unwrap();
    plain.without_eip2612()
}

/// The token that lies when told to.
pub fn liar() -> Asset {
    Asset::new(anvil::LIAR, "Liar", "1", 6, "USD", Transfer::Eip3009).unwrap()
}

/// The secret key of a role, in hex.
pub fn secret(role: u8) -> String {
    format!("0x{}", hex::encode([role; 32]))
}

pub fn key(role: u8) -> EvmKey {
    EvmKey::from_hex(&secret(role)).unwrap()
}

pub fn address(role: u8) -> String {
    key(role).address()
}

/// The payer, who pays in `asset` and asks no chain.
pub fn payer(asset: Asset) -> EvmPay {
    EvmPay::new(&network(), key(PAYER), vec![asset]).unwrap()
}

/// Unix seconds.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// What a seller asks for its page.
pub fn offer(seller: &EvmOffer) -> PaymentRequirements {
    let price = "$0.001".parse().unwrap();
    let binding = Binding::Body;
    let ask =
        Ask { price: &price, digest: &DIGEST, binding, is_safe: true, max_timeout_seconds: 300, now: now() };
    seller.offer(&ask).unwrap()
}

/// A signed payment as a server hands it to its facilitator, with what the server asked for.
pub fn request(offer: &PaymentRequirements, signed: &SignedPayment) -> FacilitatorRequest {
    let payload: Value = serde_json::from_str(signed.payload.get()).unwrap();
    with_extensions(offer, &payload, &serde_json::to_value(&signed.extensions).unwrap())
}

/// A payload of any making, as a server hands it to its facilitator.
pub fn carried(offer: &PaymentRequirements, payload: &Value) -> FacilitatorRequest {
    with_extensions(offer, payload, &json!({}))
}

pub fn with_extensions(
    offer: &PaymentRequirements,
    payload: &Value,
    extensions: &Value,
) -> FacilitatorRequest {
    let payment =
        json!({ "x402Version": 2, "accepted": offer, "payload": payload, "extensions": extensions });
    let request = json!({ "x402Version": 2, "paymentPayload": payment, "paymentRequirements": offer });
    serde_json::from_str(&request.to_string()).unwrap()
}

/// The payload of a request, to be changed.
pub fn payload_of(request: &FacilitatorRequest) -> Value {
    serde_json::from_str(request.payment_payload.payload.get()).unwrap()
}

pub fn payer_of(request: &FacilitatorRequest) -> String {
    let payload = payload_of(request);
    let member = ["authorization", "permit2Authorization"].into_iter().find_map(|name| payload.get(name));
    member.unwrap()["from"].as_str().unwrap().to_owned()
}

pub fn settled(outcome: Outcome) -> SettlementResponse {
    match outcome {
        Outcome::Settled(settlement) => settlement,
        other => panic!("{other:?}"),
    }
}

/// The reason of a settlement that did not happen.
pub fn refused(outcome: Outcome) -> String {
    match outcome {
        Outcome::NotSettled(settlement) => settlement.error_reason.unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Why a facilitator does not start.
pub async fn not_started(config: EvmConfig) -> ConfigError {
    EvmSettle::connect(config).await.map(|_| ()).unwrap_err()
}
