//! What a request costs, and which requests cost nothing.
//!
//! [`Prices`] is a route's list: one price or several for any method, or for each method its own. A dynamic
//! route asks a closure instead, and is held to what it said by a [quote](quotes). `Rules` are what is looked
//! at before money is asked for: free methods and paths, the seller's own check, a free [`Quota`].

mod paths;
mod prices;
mod quota;
pub mod quotes;
mod rules;
mod wanted;

pub use paths::is_unambiguous;
pub use prices::Prices;
pub(crate) use quota::Allowance;
pub use quota::Quota;
pub(crate) use rules::{Gate, Rules};
pub use wanted::Wanted;
