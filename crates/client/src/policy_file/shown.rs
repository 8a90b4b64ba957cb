//! What a policy allows, in words.

use std::fmt;

use super::{BudgetEntry, PolicyFile};
use crate::rules::{OriginRule, PriceRise};

impl fmt::Display for PolicyFile {
    /// One line for each thing that it allows or asks for; every text in it is the file's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(agent) = &self.agent {
            writeln!(f, "agent     {agent}")?;
        }
        for wallet in &self.wallets {
            writeln!(f, "wallet    {} from account {}", wallet.network, wallet.account)?;
        }
        for origin in &self.origins {
            writeln!(f, "origin    {origin}")?;
        }
        if self.origins.is_empty() {
            writeln!(f, "origin    none: nothing is paid")?;
        }
        for payee in &self.payees {
            writeln!(f, "payee     {} on {} at {}", payee.payee, payee.network, payee.origin)?;
        }
        for BudgetEntry { network, asset: (asset, _), limits } in &self.budgets {
            write!(f, "budget    {asset} on {network}:")?;
            for (at, (limit, price, _)) in limits.iter().enumerate() {
                let amount = price.to_string();
                let amount = amount.split(' ').next().unwrap_or_default();
                write!(f, "{} {} {amount}", if at == 0 { "" } else { "," }, limit.name())?;
            }
            writeln!(f)?;
        }
        if self.budgets.is_empty() {
            writeln!(f, "budget    none: nothing is paid")?;
        }
        writeln!(f, "signature at most {} s valid, captured within {} s", self.validity, self.capture)?;
        if let Some(hours) = &self.hours {
            writeln!(f, "hours     {hours}")?;
        }
        match self.price_rise {
            PriceRise::Refuse => writeln!(f, "price     a higher one than before is refused")?,
            PriceRise::Allow => writeln!(f, "price     a higher one than before is paid")?,
        }
        match &self.approval {
            None => write!(f, "approval  nobody is asked"),
            Some(approval) => {
                let above: Vec<String> = approval.above.iter().map(|(price, _)| price.to_string()).collect();
                let whom =
                    if approval.webhook.is_some() { "the webhook" } else { "whoever is at the terminal" };
                let (above, seconds) = (above.join(", "), approval.timeout.as_secs());
                write!(f, "approval  {whom} is asked above {above}, and has {seconds} s to answer")
            }
        }
    }
}

impl fmt::Display for OriginRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::One(origin) => write!(f, "{origin}"),
            Self::Below(parent) => write!(f, "https://*.{parent}"),
        }
    }
}
