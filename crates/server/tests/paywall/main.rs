//! The paywall as a client sees it, on a scripted rail. Every test counts handler runs (H) and captures (L).

// An `unwrap` in a test is an assertion, in what it is built of too; two files are also part of a doc test.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod answers;
mod attested;
mod binding;
mod chain;
mod claims;
mod crashes;
mod disconnects;
mod identifiers;
#[path = "../../../testkit/src/log.rs"]
mod log;
mod machine;
mod metered;
mod outcomes;
mod passes;
mod pricing;
mod quota;
mod quotes;
mod readiness;
mod renderings;
mod scripted;
mod shopping;
mod together;
mod upfront;
mod used;
mod version1;
mod web;
mod wire;
