//! The facilitator: verifies and settles payments for resource servers.
//!
//! A server talks to the trait [`Facilitator`](farthing_protocol::rail::Facilitator); this crate has its implementations and the HTTP API
//! between them (`spec/facilitator-http.md`):
//!
//! - [`LocalFacilitator`] routes each request to the [rail](farthing_protocol::rail::Settle) that settles its scheme on its network;
//! - [`http::service`] offers a local one to other processes, as an axum router;
//! - [`RemoteFacilitator`] is the client of such a service, or of any other x402 facilitator;
//! - [`ByNetwork`] makes one of several, each for its own networks.
//!
//! Local or remote is one line in a server, and both give the same answers:
//!
//! ```
//! use std::sync::Arc;
//! use farthing_facilitator::http::{self, HttpOptions};
//! use farthing_facilitator::{LocalFacilitator, RemoteFacilitator};
//! use farthing_protocol::rail::Facilitator;
//! # use farthing_protocol::rail::{BoxFuture, FacilitatorError, Outcome, PaymentId, Settle, Tenant};
//! # use farthing_protocol::rail::UnknownOutcome;
//! # use farthing_protocol::v2::{FacilitatorRequest, SupportedKind, VerifyResponse};
//! # #[derive(Debug)]
//! # struct Rail;
//! # impl Settle for Rail {
//! #     fn kinds(&self) -> Vec<SupportedKind> {
//! #         let (scheme, network) = ("exact".to_owned(), "farthing:00112233445566778899aabbccddeeff".to_owned());
//! #         vec![SupportedKind { x402_version: 2, scheme, network, extra: None }]
//! #     }
//! #     fn verify<'a>(
//! #         &'a self, _: &'a Tenant, _: &'a FacilitatorRequest,
//! #     ) -> BoxFuture<'a, Result<VerifyResponse, FacilitatorError>> {
//! #         Box::pin(async { Ok(VerifyResponse { is_valid: true, ..VerifyResponse::default() }) })
//! #     }
//! #     fn settle<'a>(&'a self, _: &'a Tenant, _: &'a FacilitatorRequest) -> BoxFuture<'a, Outcome> {
//! #         Box::pin(async { Outcome::Unknown(UnknownOutcome("an example".into())) })
//! #     }
//! #     fn payment<'a>(
//! #         &'a self, _: &'a PaymentId,
//! #     ) -> BoxFuture<'a, Result<Option<serde_json::Value>, FacilitatorError>> {
//! #         Box::pin(async { Ok(None) })
//! #     }
//! # }
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let rail = Rail;
//! let local = LocalFacilitator::new(vec![Arc::new(rail)])?;
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let url = format!("http://{}", listener.local_addr()?);
//! let service = http::service(local.clone(), HttpOptions::default());
//! tokio::spawn(async move { axum::serve(listener, service).await });
//!
//! let remote = RemoteFacilitator::builder(&url).build()?;
//! assert_eq!(remote.supported().await?, local.supported().await?);
//! # Ok(())
//! # }
//! ```

mod by_network;
pub mod carried;
mod config;
#[cfg(feature = "http")]
mod discovery;
#[cfg(feature = "http")]
pub mod http;
mod judge;
mod local;
#[cfg(feature = "remote")]
mod remote;
mod v1;

pub use by_network::ByNetwork;
pub use config::ConfigError;
#[cfg(feature = "http")]
pub use discovery::Catalogue;
pub use local::{LocalBuilder, LocalFacilitator};
#[cfg(feature = "remote")]
pub use remote::{RemoteBuilder, RemoteFacilitator};
pub use v1::FacilitatorRequestV1;
