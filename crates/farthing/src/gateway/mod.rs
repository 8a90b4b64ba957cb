//! A reverse proxy that charges, in front of any HTTP server, from one file: `spec/gateway.md`.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use farthing::gateway::{Config, Gateway};
//!
//! let gateway = Gateway::build(Config::read("gateway.toml")?).await?;
//! let listener = gateway.bind().await?;
//! gateway.on_request(|line| println!("{line}")).serve(listener, std::future::pending()).await?;
//! # Ok(())
//! # }
//! ```

mod build;
mod check;
mod config;
mod example;
mod line;
mod place;
mod read;
mod tables;

pub use build::Gateway;
pub use check::Finding;
pub use config::Config;
pub use line::Line;
pub use place::ConfigError;
