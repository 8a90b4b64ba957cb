//! The x402 wire, without I/O.
//!
//! Everything two x402 peers must agree on lives here: the JSON types of version 2 ([`v2`]) and
//! version 1 ([`v1`]), the header codecs ([`header`]) with their [`limits`], prices and amounts, the
//! [request digest](digest) that binds a payment to one request, the one [signature
//! predicate](signature), [problem details](problem), [receipts](receipt), [signed offers and
//! receipts](offer_receipt) of x402 with their [JWS](jws), [payment identifiers](payment_identifier), and
//! the traits that a [rail] implements in its three roles.
//!
//! Nothing in this crate reads a clock, draws a random number, opens a file or a socket: time and
//! randomness are arguments. Read it in this order: [`v2`], [`header`], [`digest`], [`rail`].

pub mod amount;
pub mod canonical;
pub mod did_key;
pub mod digest;
pub mod fault;
pub mod header;
pub mod json;
pub mod jws;
pub mod layout;
pub mod limits;
pub mod network;
pub mod offer_receipt;
pub mod origin;
pub mod payload;
pub mod payment_identifier;
pub mod price;
pub mod problem;
pub mod rail;
pub mod reason;
pub mod receipt;
pub mod records;
pub mod rounds;
pub mod signature;
pub mod siwx;
pub mod v1;
pub mod v2;
pub mod verbatim;

pub use amount::Amount;
pub use digest::{Binding, RequestDigest};
pub use fault::{Retry, WireError};
pub use limits::Limits;
pub use network::Network;
pub use origin::Origin;
pub use payload::Payload;
pub use price::Price;
pub use signature::{PublicKey, SecretKey, Signature};
pub use verbatim::Verbatim;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
