//! A double-entry ledger with holds, for paying per request.
//!
//! The [`core`] is pure: a command and the rows it needs go in, writes and a reply come out. Thin storage
//! [engines](engine) run it: one in memory, one in a directory. It knows nothing of HTTP.
//!
//! What is signed has a fixed layout, never JSON: the payer signs [`terms`], the receiverAuthorizer
//! [`operation`]s, the ledger [`statement`]s. What happened is a hash chain of [`entry`] values that carry
//! their evidence, and [`check`] verifies all of it again.

#![cfg_attr(not(feature = "engine"), allow(dead_code, unused_imports, reason = "rows are read by engines"))]

pub mod admin;
#[cfg(feature = "engine")]
pub mod backup;
pub mod check;
pub mod command;
pub mod core;
#[cfg(feature = "embedded")]
mod directory;
#[cfg(feature = "engine")]
pub mod engine;
pub mod entry;
#[cfg(feature = "engine")]
pub mod export;
pub mod identity;
#[cfg(feature = "embedded")]
pub mod keyfile;
pub mod operation;
#[cfg(feature = "engine")]
pub mod records;
#[cfg(feature = "engine")]
pub mod recovery;
pub mod rows;
#[cfg(feature = "engine")]
pub mod sales;
pub mod statement;
pub mod terms;

#[cfg(feature = "engine")]
pub use engine::{Ledger, LedgerError, Options, WeakLedger};
pub use identity::{AssetCode, Book, LedgerId};

#[cfg(all(doctest, feature = "engine"))]
#[doc = include_str!("../README.md")]
struct Readme;
