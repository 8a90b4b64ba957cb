//! A reverse proxy that charges, in front of any HTTP server: `spec/gateway.md`.
//!
//! A request is read strictly ([`path`]), finds its route by method and path ([`routes`]), goes through the
//! [paywall](crate::Paywall) of that route and then to the [upstream](Upstream), whose answer streams back. Payment
//! headers stay here; an answer that is an error costs nothing, because the payment is voided like that of any handler
//! that failed. [`serve`] is the loop around it.

mod carried;
mod listen;
pub mod path;
mod proxy;
mod refused;
pub mod routes;
mod served;
mod upstream;

pub use carried::{AMOUNT, NETWORK, PAYER, PAYMENT};
pub use listen::{ListenOptions, TlsError, roots, serve, tls};
pub use proxy::{Entrance, Proxy, ProxyBuilder};
pub use routes::{Methods, RESERVED, RouteError};
pub use served::Served;
pub use upstream::{Trust, Upstream, UpstreamError, UpstreamOptions};
