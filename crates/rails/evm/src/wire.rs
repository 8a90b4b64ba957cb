//! What travels and what is signed: `payload` and `extensions` of a payment (x402 specification, schemes
//! `exact` and `upto` on EVM).
//!
//! Numbers are decimal strings and addresses 20 bytes of hex in any letter case. Members that nobody signed
//! for and nobody needs are ignored, as everywhere in x402; a payload with two authorizations is refused.

pub(crate) mod agreement;
pub(crate) mod extensions;
pub(crate) mod payload;
pub(crate) mod reasons;
pub(crate) mod signature;
pub(crate) mod text;
pub(crate) mod typed;

use alloy_primitives::{Address, B256, U256, address, b256};
use farthing_protocol::Network;
use farthing_protocol::rail::PaymentFault;

pub(crate) use payload::{Authorization, Permit, Signed, Transfer, Witness};
pub(crate) use typed::TokenDomain;

use crate::ConfigError;

/// The scheme that takes exactly what was signed.
pub(crate) const EXACT: &str = "exact";
/// The scheme that takes at most what was signed.
pub(crate) const UPTO: &str = "upto";

/// Permit2, the same on each chain.
pub(crate) const PERMIT2: Address = address!("000000000022D473030F116dDEE9F6B43aC78BA3");
/// The proxy that settles `exact` by Permit2.
pub(crate) const EXACT_PROXY: Address = address!("402085c248EeA27D92E8b30b2C58ed07f9E20001");
/// The proxy that settles `upto` by Permit2.
pub(crate) const UPTO_PROXY: Address = address!("4020A4f3b7b90ccA423B9fabCc0CE57C6C240002");
/// Multicall3, the same on each chain.
pub(crate) const MULTICALL3: Address = address!("cA11bde05977b3631167028862bE2a173976CA11");
/// Topic of ERC-20's `Transfer(address,address,uint256)`.
pub(crate) const TRANSFER_TOPIC: B256 =
    b256!("ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef");

/// Seconds that must be left of a payment's window when it is looked at, for its settlement to land.
pub(crate) const WINDOW_PADDING: u64 = 6;
/// Seconds by which Permit2's `validAfter` is dated back, because its proxies compare it with a block's time.
pub(crate) const BACKDATE: u64 = 600;

/// The chain's number, if the network is an EVM chain in its one canonical form.
pub(crate) fn chain_id(network: &Network) -> Option<u64> {
    let number = network.reference().parse().ok()?;
    let canonical = network.namespace() == "eip155" && network.reference() == u64::to_string(&number);
    (canonical && number > 0).then_some(number)
}

/// The chain's number, for a set-up.
pub(crate) fn configured_chain(network: &Network) -> Result<u64, ConfigError> {
    chain_id(network).ok_or_else(|| ConfigError::Network { network: network.to_string() })
}

/// An amount as the chain has it.
pub(crate) fn uint(amount: farthing_protocol::Amount) -> U256 {
    U256::from(amount.0)
}

/// A payment fault that names a member of the payment.
pub(crate) fn malformed(field: &str, why: impl Into<String>) -> PaymentFault {
    PaymentFault::Malformed { field: field.to_owned(), why: why.into() }
}

/// A payment fault with the reason that x402 has for it.
pub(crate) fn refused(reason: &str, message: impl Into<String>) -> PaymentFault {
    PaymentFault::Refused { reason: reason.to_owned(), message: message.into() }
}

#[cfg(test)]
pub(crate) mod tests;
