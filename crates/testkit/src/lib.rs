//! What farthing's tests share: a seller, a payer and a ledger on loopback, and the oracles that count.
//!
//! A test asks a [`World`] for payments and sends them as it likes. What happened is read from three
//! oracles, never from status codes alone: H, how often a handler ran; L, how many payments were captured;
//! B, what accounts hold.
//!
//! [`sim`] plays whole histories of clients, servers and a ledger in one thread, under a virtual clock.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a broken test world must panic where it breaks")]

pub mod anvil;
pub mod engine;
mod exchange;
pub mod forge;
pub mod history;
pub mod hostile;
mod log;
mod meddler;
pub mod postgres;
mod program;
mod secrets;
pub mod seller;
pub mod sim;
pub mod web;
mod world;

pub use exchange::{Reply, exchange, exchange_on, request};
pub use log::Log;
pub use meddler::{Meddler, Meddling};
pub use program::{ExamplesPort, free_port, program, workspace};
pub use secrets::Secrets;
pub use world::{Counter, ISSUER, SELLER, TestClock, World, key};
