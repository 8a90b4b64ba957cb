//! The till: later settlements of many requests, signed for and sent together.
//!
//! A signature costs as much as the rest of a capture, and one may cover many. So captures that come while
//! others are under way wait for these, and go together then: no timer, and no wait where there is no load.

use std::sync::Arc;

use farthing_protocol::rail::{Outcome, UnknownOutcome};
use farthing_protocol::rounds::Rounds;
use futures_util::future::join_all;

use crate::flow::Later;
use crate::serving::{Process, settle_alone};

/// Bytes of one message, about, before its base64: well within what a facilitator reads.
const MESSAGE_BYTES: usize = 96 * 1024;

/// Later settlements on their way. One per process.
#[derive(Debug)]
pub struct Till {
    rounds: Rounds<Arc<Later>, Outcome>,
}

impl Default for Till {
    fn default() -> Self {
        Self { rounds: Rounds::new(MESSAGE_BYTES) }
    }
}

impl Till {
    /// Settles one, with all that wait at the same time.
    pub async fn settle<P: Process>(&self, process: &P, later: &Arc<Later>) -> Outcome {
        let outcome = self.rounds.join(later.clone(), later.weight(), |all| settle_all(process, all)).await;
        outcome.unwrap_or_else(|| Outcome::Unknown(UnknownOutcome("whoever asked for it stopped".into())))
    }
}

/// One outcome for each, in their order.
async fn settle_all<P: Process>(process: &P, all: Vec<Arc<Later>>) -> Vec<Outcome> {
    let mut groups: Vec<(Vec<usize>, Vec<Arc<Later>>)> = Vec::new();
    for (at, later) in all.iter().enumerate() {
        match groups.iter_mut().find(|(_, group)| group[0].goes_with(later)) {
            Some((places, group)) => {
                places.push(at);
                group.push(later.clone());
            }
            None => groups.push((vec![at], vec![later.clone()])),
        }
    }
    let settled = groups.iter().map(|(_, group)| settle_group(process, group));
    let outcomes = join_all(settled).await.into_iter().flatten();
    let mut placed: Vec<_> = groups.iter().flat_map(|(places, _)| places).zip(outcomes).collect();
    placed.sort_by_key(|(place, _)| **place);
    placed.into_iter().map(|(_, outcome)| outcome).collect()
}

/// One signature for all. A group that is refused as a whole says nothing about its members: each is asked
/// for by itself then.
async fn settle_group<P: Process>(process: &P, group: &[Arc<Later>]) -> Vec<Outcome> {
    if let Some(request) = Later::together(group) {
        match process.settle(&request).await {
            Outcome::Settled(settlement) => return Later::outcomes(group, settlement),
            Outcome::Unknown(unknown) => {
                return group.iter().map(|_| Outcome::Unknown(unknown.clone())).collect();
            }
            Outcome::NotSettled(refused) => {
                tracing::warn!(reason = ?refused.error_reason, "captures are refused together, and go one by one");
            }
        }
    }
    join_all(group.iter().map(|later| settle_alone(process, later))).await
}
