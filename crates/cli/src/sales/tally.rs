//! Adding up.

use std::collections::BTreeMap;

use farthing::protocol::Amount;

use super::gather::{Sold, State};
use crate::args::sales::By;
use crate::style::utc;

/// Sales, added up or one by one.
pub(super) struct Tally {
    /// `None` when only what is pending is listed.
    by: Option<By>,
    pub(super) groups: BTreeMap<(String, String, String), Group>,
    /// By network and asset.
    pub(super) totals: BTreeMap<(String, String), Group>,
    /// The oldest first.
    pub(super) pending: BTreeMap<(u64, String), Sold>,
}

/// Sales that belong together, in one asset.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// What they have in common.
    pub(super) label: String,
    /// One of them: its asset is that of all.
    pub(super) example: Sold,
    pub(super) sums: Sums,
}

/// Amounts are in atomic units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) sold: u64,
    pub(super) captured: u128,
    pub(super) fee: u128,
    pub(super) refunds: u64,
    pub(super) refunded: u128,
    pub(super) pending: u64,
    pub(super) held: u128,
    pub(super) unsold: u64,
}

impl Sums {
    fn add(&mut self, sold: &Sold) {
        let plus = |sum: &mut u128, amount: Amount| *sum = sum.saturating_add(amount.0);
        plus(&mut self.captured, sold.captured);
        plus(&mut self.fee, sold.fee);
        plus(&mut self.refunded, sold.refunded);
        plus(&mut self.held, sold.held);
        self.sold += u64::from(sold.captured != Amount::ZERO);
        self.refunds += u64::from(sold.refunded != Amount::ZERO);
        self.pending += u64::from(sold.state.is_pending());
        self.unsold += u64::from(matches!(sold.state, State::Voided | State::Reclaimed));
    }

    /// What is left with the seller: below zero where more was kept and given back than taken.
    pub(super) fn net(&self) -> i128 {
        let signed = |amount: u128| i128::try_from(amount).unwrap_or(i128::MAX);
        signed(self.captured).saturating_sub(signed(self.fee)).saturating_sub(signed(self.refunded))
    }
}

impl Tally {
    pub(super) fn new(by: Option<By>) -> Self {
        Self { by, groups: BTreeMap::new(), totals: BTreeMap::new(), pending: BTreeMap::new() }
    }

    pub(super) fn add(&mut self, sold: Sold) {
        let Some(by) = self.by else {
            if sold.state.is_pending() {
                self.pending.insert((sold.at, sold.payment.clone()), sold);
            }
            return;
        };
        let label = label(by, &sold);
        let order = match by {
            By::Payment => format!("{:020}{label}", sold.at),
            _ => label.clone(),
        };
        let asset = (sold.network.to_string(), sold.asset.clone());
        let total = self.totals.entry(asset.clone()).or_insert_with(|| Group::new("TOTAL", &sold));
        total.sums.add(&sold);
        let group = self.groups.entry((order, asset.0, asset.1)).or_insert_with(|| Group::new(&label, &sold));
        group.sums.add(&sold);
    }
}

impl Group {
    fn new(label: &str, sold: &Sold) -> Self {
        Self { label: label.to_owned(), example: sold.clone(), sums: Sums::default() }
    }
}

fn label(by: By, sold: &Sold) -> String {
    match by {
        By::Route => sold.route.to_string(),
        By::Payer => sold.payer.clone(),
        By::Payment => sold.payment.clone(),
        // The date of a moment beyond the year 9999 is nobody's.
        By::Day => utc(sold.at).map_or_else(|| "(unknown)".into(), |moment| moment[..10].to_owned()),
    }
}
