//! What a transaction pays for gas (EIP-1559), within the operator's caps.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::SendError;
use crate::rpc::Rpc;

/// How long a quote stands.
const FRESH: Duration = Duration::from_secs(1);
/// The tip where the node advises none, in wei.
const TIP: u128 = 1_000_000_000;

/// Wei for one unit of gas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fee {
    /// In all, at most.
    pub(crate) most: u128,
    /// For whoever makes the block, at most.
    pub(crate) tip: u128,
}

/// The operator's caps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caps {
    pub(crate) most: u128,
    pub(crate) tip: u128,
}

#[derive(Debug)]
pub(super) struct Fees {
    rpc: Rpc,
    caps: Caps,
    last: Mutex<Option<(Instant, Fee)>>,
}

impl Fees {
    pub(super) fn new(rpc: Rpc, caps: Caps) -> Self {
        Self { rpc, caps, last: Mutex::new(None) }
    }

    /// What is paid now: room for the base fee to double, and the tip that the node advises.
    pub(super) async fn quote(&self) -> Result<Fee, SendError> {
        if let Some((at, fee)) = *self.last()
            && at.elapsed() < FRESH
        {
            return Ok(fee);
        }
        let (block, tip) = tokio::join!(self.rpc.last_block(), self.rpc.advised_tip());
        let Some(base) = block?.base_fee else {
            return Err(SendError::TooDear("the chain has no base fee (EIP-1559)".into()));
        };
        let tip = tip?.unwrap_or(TIP).min(self.caps.tip);
        if base.saturating_add(tip) > self.caps.most {
            let cap = self.caps.most;
            return Err(SendError::TooDear(format!("{} wei are asked for, and {cap} allowed", base + tip)));
        }
        let fee = Fee { most: base.saturating_mul(2).saturating_add(tip).min(self.caps.most), tip };
        *self.last() = Some((Instant::now(), fee));
        Ok(fee)
    }

    /// What takes the place of a transaction that paid `fee`; `None` when the caps do not allow it.
    pub(super) async fn dearer(&self, fee: Fee) -> Result<Option<Fee>, SendError> {
        let now = self.quote().await?;
        // Nodes want a tenth more of both.
        let more = |paid: u128, quoted: u128| quoted.max(paid.saturating_add(paid / 4).saturating_add(1));
        let fee = Fee { most: more(fee.most, now.most), tip: more(fee.tip, now.tip) };
        Ok((fee.most <= self.caps.most && fee.tip <= self.caps.tip).then_some(fee))
    }

    /// The last quote was too low.
    pub(super) fn forget(&self) {
        *self.last() = None;
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<(Instant, Fee)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
