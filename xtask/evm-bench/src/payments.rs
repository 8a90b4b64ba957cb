//! The chain, who is on it, and payments that were signed before the clock started.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alloy_primitives::keccak256;
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use farthing::evm::{EvmKey, EvmOffer, EvmPay, assets};
use farthing::protocol::rail::{Ask, Offer as _, Pay as _};
use farthing::protocol::{Binding, Network, RequestDigest};
use serde_json::json;

use crate::Result;
use crate::anvil::{Anvil, NETWORK, USDC};
use crate::program::cpu_of;

/// Where everything is paid to.
pub(crate) const SELLER: &str = "0x0000000000000000000000000000000000005E11";
/// What everything costs, and the same in atomic units.
pub(crate) const PRICE: &str = "$0.001";
pub(crate) const UNITS: u128 = 1_000;
/// Seeds of the keys: of the payer, and of the two facilitators.
pub(crate) const PAYER: u8 = 1;
pub(crate) const OURS: u8 = 10;
pub(crate) const REFERENCE: u8 = 11;

/// The secret key of somebody, in hex.
pub(crate) fn secret(seed: u8) -> String {
    format!("0x{}", format!("{seed:02x}").repeat(32))
}

/// A chain on which the payer has USDC, and the facilitators have ether.
pub(crate) fn chain() -> Anvil {
    let chain = Anvil::start();
    let address = |seed| EvmKey::from_hex(&secret(seed)).map(|key| key.address()).unwrap_or_default();
    chain.mint(USDC, &address(PAYER), 1_000_000 * UNITS);
    for facilitator in [OURS, REFERENCE] {
        chain.give_ether(&address(facilitator), 10u128.pow(20));
    }
    chain
}

/// The bodies of `/verify` for `count` payments by EIP-3009.
///
/// # Errors
/// When one cannot be signed.
pub(crate) fn bodies(count: u32) -> Result<Vec<Vec<u8>>> {
    let network: Network = NETWORK.parse()?;
    let usdc = assets::of_network(&network).to_vec();
    let first = usdc.first().cloned().ok_or("no token")?;
    let (price, digest) = (PRICE.parse()?, RequestDigest([7; 32]));
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let binding = Binding::Body;
    let ask = Ask { price: &price, digest: &digest, binding, is_safe: true, max_timeout_seconds: 3600, now };
    let offer = EvmOffer::exact(&network, SELLER, first)?.offer(&ask)?;
    let payer = EvmPay::new(&network, EvmKey::from_hex(&secret(PAYER))?, usdc)?;
    let body = |number: u32| {
        let mut nonce = [9; 32];
        nonce[..4].copy_from_slice(&number.to_be_bytes());
        let signed = payer.pay(&offer, &digest, now, nonce)?;
        let payment = json!({ "x402Version": 2, "accepted": offer, "payload": signed.payload });
        let body = json!({ "x402Version": 2, "paymentPayload": payment, "paymentRequirements": offer });
        Ok(body.to_string().into_bytes())
    };
    (0..count).map(body).collect()
}

/// CPU time that it takes to find out who signed: the part of a verification that nobody can leave out.
///
/// # Errors
/// When nothing can be signed.
pub(crate) fn cost_of_a_signature() -> Result<Duration> {
    const TIMES: u32 = 5_000;
    let key = PrivateKeySigner::from_slice(&[PAYER; 32])?;
    let hash = keccak256(b"any");
    let signature = key.sign_hash_sync(&hash)?;
    let before = cpu_of("self")?;
    for _ in 0..TIMES {
        if std::hint::black_box(&signature).recover_address_from_prehash(&hash)? != key.address() {
            return Err("a signature is somebody else's".into());
        }
    }
    Ok((cpu_of("self")? - before) / TIMES)
}
