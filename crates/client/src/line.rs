//! What a client may spend and has spent, asset by asset.

use farthing_protocol::Network;

use crate::budget::{AssetId, Limits};
use crate::client::Client;
use crate::journal::{JournalError, Spent};
use crate::policy::Policy;
use crate::text::{SHOWN, plain};

/// One asset's budget, and what counts against it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetLine {
    /// The network.
    pub network: Network,
    /// The asset, in the network's own words.
    pub asset: String,
    /// What people call it; safe to show.
    pub currency: String,
    /// Its decimal places, from the wallet's rail.
    pub scale: u8,
    /// The limits, in atomic units.
    pub limits: Limits,
    /// What was taken and what is reserved, in atomic units.
    pub spent: Spent,
}

impl Client {
    /// The budgets, and what counts against each.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn budgets(&self) -> Result<Vec<BudgetLine>, JournalError> {
        self.policy().budget_lines()
    }
}

impl Policy {
    fn budget_lines(&self) -> Result<Vec<BudgetLine>, JournalError> {
        let (spending, open) = (self.journal.spending()?, self.journal.open()?);
        let line = |(asset, limits): (&AssetId, &Limits)| {
            let rail = self.rails.iter().find(|rail| *rail.network() == asset.network);
            let rail = rail.ok_or_else(|| JournalError::Failed(format!("no wallet on {}", asset.network)))?;
            Ok(BudgetLine {
                network: asset.network.clone(),
                asset: asset.asset.clone(),
                currency: plain(&rail.currency(&asset.asset), SHOWN),
                scale: rail.scale(&asset.asset).unwrap_or_default(),
                limits: *limits,
                spent: Spent::among(&spending, &open, asset),
            })
        };
        self.budgets.iter().map(line).collect()
    }
}
