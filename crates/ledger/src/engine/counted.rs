//! Refunds in numbers, for whoever has installed a recorder of the crate `metrics`. Only the ledger sees all of
//! them: a server does not, and neither does the command that asks for one.

use metrics::{Label, Unit};

use crate::core::Applied;
use crate::entry::Event;
use crate::identity::{AssetCode, Book};
use crate::rows::Genesis;

const REFUNDS: &str = "farthing_refunds_total";
const REFUNDED: &str = "farthing_refunded_units_total";

/// Describes the metrics of ledgers to the recorder that is installed.
pub fn describe() {
    metrics::describe_counter!(REFUNDS, Unit::Count, "Refunds that the ledger of this process made");
    metrics::describe_counter!(REFUNDED, Unit::Count, "Atomic units given back after they were taken");
}

/// Refunds of a batch, counted when it is durable.
#[derive(Debug, Default)]
pub(super) struct Refunds(Vec<(AssetCode, u128)>);

impl Refunds {
    /// Remembers what a command gave back: of all operations, only a refund takes from an account.
    pub(super) fn note(&mut self, applied: &Applied) {
        if let Some((Event::Operate(..), postings)) = &applied.entry {
            let taken = postings.iter().filter(|posting| posting.amount < 0);
            let refunds = taken.filter(|posting| matches!(posting.book, Book::Account(_)));
            self.0.extend(refunds.map(|posting| (posting.asset, posting.amount.unsigned_abs())));
        }
    }

    /// They are durable.
    pub(super) fn count(self, genesis: &Genesis) {
        if self.0.is_empty() {
            return;
        }
        let network = genesis.id().network().to_string();
        for (asset, units) in self.0 {
            let labels = vec![Label::new("network", network.clone()), Label::new("asset", asset.to_string())];
            metrics::counter!(REFUNDS, labels.clone()).increment(1);
            let units = u64::try_from(units).unwrap_or(u64::MAX);
            metrics::counter!(REFUNDED, labels).increment(units);
        }
    }
}
