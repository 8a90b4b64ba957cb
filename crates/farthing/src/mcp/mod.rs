//! Tools of the Model Context Protocol that cost something: x402 over MCP, as `spec/transport-mcp.md` has it.
//!
//! A call of a tool is treated as the HTTP request that it stands for (see [`wire`]), so that selling and buying are
//! the paywall and the client themselves: hold, binding, capture, stored answers, budgets and journal included.
//! [`ToolPaywall`] sells, [`ToolClient`] buys.

#[cfg(feature = "client")]
mod buy;
#[cfg(feature = "server")]
mod sell;
pub mod wire;

#[cfg(feature = "client")]
pub use buy::{Bought, ToolClient, ToolError};
#[cfg(feature = "server")]
pub use sell::ToolPaywall;
