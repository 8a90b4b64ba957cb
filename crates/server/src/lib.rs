//! The seller's flow: charges per request for the routes of an axum server.
//!
//! `.layer(paywall.price("$0.001"))` is all a route needs. A request without a payment is answered `402`
//! with the terms. With one, the money is held first, then the handler runs, then the money is captured
//! together with the answer; a handler that fails is voided and costs nothing. The same payment presented
//! again returns the stored answer.
//!
//! ```
//! use axum::{Extension, Router, routing::get};
//! use farthing_server::{PaidBy, Paywall};
//! # mod scripted {
//! #     #![allow(dead_code)]
//! #     include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/paywall/scripted.rs"));
//! # }
//! # mod shopping {
//! #     #![allow(dead_code)]
//! #     include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/paywall/shopping.rs"));
//! # }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (rail, receipt_key) = (std::sync::Arc::new(shopping::rail("exact")), shopping::receipt_key());
//! # let (facilitator, clock) = (std::sync::Arc::new(scripted::Ledger::default()), || scripted::NOW);
//! let paywall = Paywall::builder("https://shop.example".parse()?)
//!     .rail(rail)
//!     .facilitator(facilitator)
//!     .receipt_key(receipt_key)
//!     # .clock(clock)
//!     .build()?;
//! let weather = async |Extension(paid): Extension<PaidBy>| format!("sunny, {}", paid.payer);
//! let app = Router::new().route("/weather", get(weather).layer(paywall.price("$0.001")));
//! # use shopping::get as visit;
//!
//! let unpaid = visit("/weather").send(&app).await;
//! assert_eq!(unpaid.status, 402);
//! assert_eq!(unpaid.terms().offers().next().unwrap().amount.decimal(6), "0.001");
//!
//! let paid = visit("/weather").pay(&app).await.send(&app).await;
//! assert_eq!((paid.status.as_u16(), paid.text()), (200, "sunny, alice"));
//! assert!(paid.settlement().success);
//! # Ok(())
//! # }
//! ```
//!
//! A price may be one of several, differ by method, or be said for each request ([`Paywall::dynamic`]); what
//! is free, and what is answered before money is asked for, are the layer's rules ([`pricing`]). Every
//! response tells what was [`Sold`].
//!
//! Where a rail cannot hold money, the payment is [claimed](claims) instead: in a store that all processes
//! share ([`PaywallBuilder::records`]), before the handler runs; the answer leaves when the money has moved.
//!
//! What is paid for once may be open to its payer for a period, and its key is proven instead of paying again:
//! see [`passes`].
//!
//! Payers may [name](PriceLayer::payment_identifier) what they pay for, so that one name never pays for two
//! things. What was [offered](PaywallBuilder::signed_offers) and what was
//! [paid for](PriceLayer::signed_receipts) can be signed so that others can check it later.
//!
//! Inside, [`flow`] is the state machine of one request, without I/O; [`desk`] knows the payments in flight
//! in this process; [`serving`] takes a paid request from its place there to its end; [`answer`] is the one
//! table from a situation to status, reason, problem and retry advice. The tower service around them only
//! carries bytes, in the order of its steps.
//!
//! A handler speaks to the paywall by extensions: it finds [`PaidBy`] in the request, and may put
//! [`Captured`] or [`RefusePaid`] into its response. Where the price is a maximum ([`Paywall::up_to`]) it also
//! finds a [`Meter`], and a long answer is paid for while it flows: see [`metering`].

pub mod answer;
mod attested;
mod body;
pub mod claims;
pub mod desk;
pub mod flow;
#[cfg(feature = "gateway")]
pub mod gateway;
mod headers;
mod identifiers;
mod layer;
pub mod metering;
pub mod observe;
mod page;
pub mod passes;
mod paywall;
pub mod pricing;
pub mod sales;
mod service;
pub mod serving;
mod shell;
mod sold;
mod stored;
pub mod till;
mod visiting;

pub use attested::Attests;
pub use flow::{Durability, OnDisconnect, PaidBy};
pub use identifiers::PaymentIdentifier;
pub use layer::PriceLayer;
pub use metering::Meter;
pub use page::PageOptions;
pub use passes::PassHolder;
pub use paywall::{ConfigError, Paywall, PaywallBuilder};
pub use pricing::{Quota, Wanted};
pub use service::Priced;
pub use sold::Sold;

use farthing_protocol::Amount;

/// An extension of a handler's response: captures this much, in atomic units, instead of all that is held.
///
/// More than is held, or less where the scheme is `exact`, is the handler's error: it is voided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Captured(pub Amount);

/// An extension of a handler's response: refuses to sell to this payer, for the reason given, which the
/// payer is told. The payment is voided and answered 403.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusePaid(pub String);
