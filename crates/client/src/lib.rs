//! The payer's side of x402: an HTTP client that pays for what it asks for, under a budget.
//!
//! ```
//! use std::sync::Arc;
//!
//! use farthing_client::{Budget, Client};
//! use farthing_protocol::rail::Pay;
//!
//! async fn weather(wallet: Arc<dyn Pay>) -> Result<(), Box<dyn std::error::Error>> {
//!     let budget = Budget::new("0.05 XTS")?.per_request("0.01 XTS")?.per_host("0.03 XTS")?;
//!     let client = Client::builder().allow_origin("http://127.0.0.1:4021").rail(wallet).budget(budget).build()?;
//!     let answer = client.get("http://127.0.0.1:4021/weather").await?;
//!     if let Some(payment) = answer.payment() {
//!         println!("paid {} to {}", payment.cost(), payment.payee);
//!     }
//!     println!("{}", answer.text().await?);
//!     Ok(())
//! }
//! ```
//!
//! What was paid for before and is still good is used first: where a server asks for it, the client proves the key
//! of its account, once for each request, and pays only when that does not help. It signs such a proof for the origin
//! that it asked, over a private connection, where it would be allowed to pay, and for one known statement, which says
//! that nothing is paid. Budgets are not touched by it.
//!
//! What it will not do: pay an origin that was not allowed, sign without a [`Budget`] for the asset, sign twice
//! for one request, send a payment over plain http or to another origin, pay an origin at another payee than
//! before, or take a payment with an unknown outcome for one that failed. It presents that same payment again,
//! and gives its budget back only when the network says that it was not taken.
//!
//! Read it in this order: [`flow`], the state machine of one request; [`budget`] and [`journal`], what it
//! decides with; [`Client`], which drives it over HTTP.

mod answer;
pub mod approval;
mod attested;
pub mod budget;
mod builder;
mod calendar;
mod client;
pub mod error;
mod events;
pub mod flow;
mod http;
pub mod journal;
#[cfg(feature = "keystore")]
pub mod keystore;
mod line;
mod metered;
#[cfg(feature = "middleware")]
pub mod middleware;
mod paying;
mod policy;
#[cfg(feature = "policy")]
pub mod policy_file;
mod prepared;
mod quote;
mod report;
mod request;
mod resume;
mod rules;
mod sign_in;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod terms;
mod text;

pub use answer::Paid;
pub use budget::{AssetId, Budget, BudgetError};
pub use builder::ClientBuilder;
pub use client::{Client, Reconciled, RequestBuilder};
pub use error::{
    ClientError, ConfigError, Fault, NotPayable, PaymentRefused, Refused, ResumeError, Rule, UnknownPayment,
};
pub use events::{Events, ServerEvent};
pub use flow::{Flow, Patience};
pub use journal::{Journal, MemoryJournal, Record, Spent, Standing, State};
pub use line::BudgetLine;
pub use paying::{PayingClient, PayingError, PayingRequest};
pub use policy::Policy;
pub use prepared::{PaymentHeader, Prepared, Version};
pub use quote::{Quote, QuotedOffer};
pub use report::{Flag, PaymentReport, Unsigned};
pub use request::Request;
pub use rules::{Hours, MAX_CAPTURE, MAX_VALIDITY, PriceRise, RuleError};
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteJournal;
pub use terms::Said;
