//! The history checker: what it must find, what it must let pass, and the real engines under it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod engines;
mod generated;
mod planted;
