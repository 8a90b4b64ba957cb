//! The x402 schemes `exact` and `upto` on EVM chains (`eip155:*`), in all three roles.
//!
//! The files are those of every rail: `wire` (what travels in `payload` and `extensions`, and what is signed),
//! [`offer`] (resource server), [`pay`] (client), `verify` and `settle` (facilitator). Besides, [`assets`] is the
//! table of tokens whose signing domains are known, and [`keys`] reads secp256k1 keys.
//!
//! This rail holds nothing: a signature stays a promise until the chain has moved the token. The resource
//! server claims a payment before it runs a handler, and the facilitator resolves what it sent by the
//! authorization's nonce on chain.

pub mod assets;
mod chain;
mod contracts;
pub mod keys;
mod multicall;
pub mod offer;
pub mod pay;
mod pool;
pub mod rpc;
#[cfg(test)]
mod scripted;
pub mod settle;
mod sign_in;
mod verify;
mod wire;

pub use assets::{Asset, Transfer};
pub use keys::EvmKey;
pub use offer::EvmOffer;
pub use pay::EvmPay;
pub use rpc::Rpc;
pub use settle::{EvmConfig, EvmSettle};

/// Why this rail cannot be set up as it was asked to. Whoever runs the program is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The network is not an EVM chain.
    #[error("{network} is not an EVM chain: write it like eip155:84532")]
    Network {
        /// As given.
        network: String,
    },
    /// A setting is missing or not understood.
    #[error("`{field}` {why}")]
    Field {
        /// Its name.
        field: &'static str,
        /// What is wrong with it; continues the sentence that the name begins. Never quotes a secret.
        why: String,
    },
    /// The chain is not what was configured, or cannot be asked.
    #[error("{network}: {why}")]
    Chain {
        /// The network.
        network: String,
        /// What the chain said.
        why: String,
    },
}

impl ConfigError {
    pub(crate) fn new(field: &'static str, why: impl Into<String>) -> Self {
        Self::Field { field, why: why.into() }
    }
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
