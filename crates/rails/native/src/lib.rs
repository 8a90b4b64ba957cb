//! The `farthing:*` networks: the schemes `auth-capture`, `exact` and `upto` on a farthing ledger.
//!
//! The five files are those of every rail: [`wire`] (what travels in `payload` and `extra`), [`offer`]
//! (resource server), [`pay`] (client), `verify` and `settle` (facilitator, feature `settle`, with
//! its `checks` of signatures).
//!
//! All schemes are one machine: `authorize` holds the maximum before the handler runs, `capture` or
//! `void` ends the hold after it. `exact` captures exactly the maximum; `upto` captures what was used, in
//! parts while it is used. Neither has refunds.

pub mod balances;
#[cfg(feature = "settle")]
mod checks;
pub mod offer;
pub mod pay;
#[cfg(feature = "settle")]
pub mod settle;
mod sign_in;
#[cfg(feature = "settle")]
mod verify;
pub mod wire;

pub use offer::NativeOffer;
pub use pay::NativePay;
#[cfg(feature = "settle")]
pub use settle::NativeSettle;

#[cfg(all(doctest, feature = "settle"))]
#[doc = include_str!("../README.md")]
struct Readme;
