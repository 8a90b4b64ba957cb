//! The `farthing` command as its users run it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agentd;
#[cfg(feature = "evm")]
mod chain;
mod demo;
mod gateway;
mod help;
mod inspect;
mod ledger;
mod mcp;
mod operator;
mod pay;
mod policy;
mod program;
mod receipt;
mod refund;
mod sales;
mod serving;
mod wallet;
