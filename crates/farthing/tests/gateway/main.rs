//! The gateway in front of a real upstream: what reaches it, what it answers, and what is paid for it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod config;
mod ending;
mod forwarding;
mod paying;
mod raw;
mod refusing;
mod selling;
mod tls;
mod upstream;
mod world;
