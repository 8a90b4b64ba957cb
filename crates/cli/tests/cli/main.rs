//! The `farthing` command as its users run it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[cfg(feature = "evm")]
mod chain;
mod demo;
mod help;
mod inspect;
mod ledger;
mod operator;
mod program;
mod serving;
mod wallet;
