//! Trials of settlements: whether the chain would settle a payment now, found by calling and not sending.
//!
//! Trials that come at the same time are made together: in one request, and in one call of Multicall3 as far
//! as one cannot change what another sees. Nobody waits for others to come, and a trial that fails in company
//! is made again alone, so that nobody is refused for another's sake.

use std::collections::{HashMap, HashSet};

use alloy_primitives::{Address, Bytes};
use alloy_sol_types::SolCall;
use farthing_protocol::rounds::Rounds;

use crate::chain::{At, Call, ask_code};
use crate::contracts::Multicall;
use crate::rpc::{Rpc, RpcError, bytes};
use crate::wire::MULTICALL3;

/// Most trials of one round.
const TOGETHER: usize = 64;

/// A settlement to try.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    pub(crate) call: Call,
    pub(crate) payer: Address,
    pub(crate) payee: Address,
    /// It may run code of the payer's own, which could use up the gas of a call that it shares.
    pub(crate) alone: bool,
}

/// What came of a trial.
#[derive(Clone, Debug)]
pub(crate) struct Tried {
    pub(crate) result: Result<Bytes, RpcError>,
    /// Whether the payer's account has code.
    pub(crate) has_code: Result<bool, RpcError>,
}

/// Where trials are made.
#[derive(Debug)]
pub(crate) struct Trials {
    rpc: Rpc,
    /// Multicall3 is on this chain.
    multicall: bool,
    rounds: Rounds<Trial, Tried>,
}

impl Trials {
    pub(crate) fn new(rpc: Rpc, multicall: bool) -> Self {
        Self { rpc, multicall, rounds: Rounds::new(TOGETHER) }
    }

    /// Tries one settlement in the block that is being made.
    pub(crate) async fn make(&self, trial: Trial) -> Tried {
        let together = self.rounds.join(trial.clone(), 1, async |trials| self.make_all(&trials).await).await;
        // Whoever worked for all may have gone away in the middle.
        let tried = match together {
            None => self.make_all(&[trial]).await.pop(),
            tried => tried,
        };
        tried.unwrap_or_else(|| Tried { result: Err(lost()), has_code: Err(lost()) })
    }

    async fn make_all(&self, trials: &[Trial]) -> Vec<Tried> {
        let plan = Plan::of(trials, self.multicall);
        let mut requests: Vec<_> = plan.calls(trials).map(|call| call.ask(At::Pending)).collect();
        let calls = requests.len();
        requests.extend(trials.iter().map(|trial| ask_code(trial.payer)));
        let mut replies = self.rpc.ask_all(requests).await.into_iter();
        let results = replies.by_ref().take(calls).map(|reply| bytes(reply?.as_ref())).collect();
        let mut results = plan.results(results);
        self.again_alone(trials, &plan, &mut results).await;

        let has_code = replies.map(|reply| bytes(reply?.as_ref()).map(|code| !code.is_empty()));
        (plan.places.iter().zip(has_code))
            .map(|(place, has_code)| Tried {
                result: results.get(*place).cloned().unwrap_or_else(|| Err(lost())),
                has_code,
            })
            .collect()
    }

    /// Who failed in company is tried alone.
    async fn again_alone(&self, trials: &[Trial], plan: &Plan, results: &mut [Result<Bytes, RpcError>]) {
        let failed: Vec<usize> = (0..plan.together).filter(|at| results[*at].is_err()).collect();
        if failed.is_empty() {
            return;
        }
        let calls: Vec<Call> = failed.iter().map(|at| trials[plan.slots[*at]].call.clone()).collect();
        for (at, result) in failed.into_iter().zip(self.rpc.call_all(&calls, At::Pending).await) {
            results[at] = result;
        }
    }
}

/// How the trials of a round are made: the first `together` slots in one call, each other in its own.
struct Plan {
    /// The trial that stands for each slot.
    slots: Vec<usize>,
    together: usize,
    /// The slot of each trial.
    places: Vec<usize>,
}

impl Plan {
    fn of(trials: &[Trial], multicall: bool) -> Self {
        let (mut company, mut single) = (Vec::new(), Vec::new());
        let (mut same, mut payees) = (HashMap::new(), HashSet::new());
        for (index, trial) in trials.iter().enumerate() {
            if *same.entry((trial.call.from, trial.call.to, &trial.call.data)).or_insert(index) != index {
                continue;
            }
            // Who is paid by an earlier trial of the same call could seem to have what it has not.
            let apart = trial.alone || trial.call.from.is_some() || payees.contains(&trial.payer);
            if apart || !multicall {
                single.push(index);
            } else {
                payees.insert(trial.payee);
                company.push(index);
            }
        }
        if company.len() == 1 {
            single.append(&mut company);
        }
        let together = company.len();
        let slots: Vec<usize> = company.into_iter().chain(single).collect();
        let first = |trial: &Trial| same.get(&(trial.call.from, trial.call.to, &trial.call.data)).copied();
        let slot_of: HashMap<usize, usize> =
            slots.iter().enumerate().map(|(slot, index)| (*index, slot)).collect();
        let place = |trial: &Trial| first(trial).and_then(|index| slot_of.get(&index).copied());
        let places = trials.iter().map(|trial| place(trial).unwrap_or(usize::MAX)).collect();
        Self { slots, together, places }
    }

    fn calls<'a>(&'a self, trials: &'a [Trial]) -> impl Iterator<Item = Call> + 'a {
        let (company, single) = self.slots.split_at(self.together);
        let shared = (!company.is_empty()).then(|| {
            let part = |index: &usize| part(&trials[*index].call, true);
            aggregate(company.iter().map(part).collect())
        });
        shared.into_iter().chain(single.iter().map(|index| trials[*index].call.clone()))
    }

    /// One result for each slot, from one for each call.
    fn results(&self, mut calls: Vec<Result<Bytes, RpcError>>) -> Vec<Result<Bytes, RpcError>> {
        if self.together == 0 {
            return calls;
        }
        let shared = if calls.is_empty() { Err(lost()) } else { calls.remove(0) };
        let shared =
            shared.and_then(|data| Multicall::aggregate3Call::abi_decode_returns(&data).map_err(|_| lost()));
        let mut results = match shared {
            Ok(parts) => parts
                .into_iter()
                .map(|part| {
                    if part.success { Ok(part.returnData) } else { Err(RpcError::Reverted(part.returnData)) }
                })
                .collect(),
            Err(error) => vec![Err(error); self.together],
        };
        results.resize(self.together, Err(lost()));
        results.extend(calls);
        results
    }
}

/// A call as a part of one to Multicall3.
pub(crate) fn part(call: &Call, may_fail: bool) -> Multicall::Call3 {
    Multicall::Call3 { target: call.to, allowFailure: may_fail, callData: call.data.clone() }
}

/// One call that makes several, in their order.
pub(crate) fn aggregate(calls: Vec<Multicall::Call3>) -> Call {
    Call::new(MULTICALL3, Multicall::aggregate3Call { calls }.abi_encode())
}

fn lost() -> RpcError {
    RpcError::Unreachable("the answer of the joined call cannot be read".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(payer: u8, payee: u8, data: u8) -> Trial {
        let account = Address::repeat_byte;
        let call = Call::new(account(0xaa), vec![data]);
        Trial { call, payer: account(payer), payee: account(payee), alone: false }
    }

    #[test]
    fn trials_share_a_call_as_far_as_one_cannot_change_what_another_sees() {
        let wallet = Trial { alone: true, ..trial(4, 9, 4) };
        let upto = Trial { call: trial(5, 9, 5).call.from(Address::ZERO), ..trial(5, 9, 5) };
        // The payer of the third is paid by the first; the last is the first once more.
        let trials = [trial(1, 3, 1), trial(2, 9, 2), trial(3, 9, 3), wallet, upto, trial(1, 3, 1)];
        let plan = Plan::of(&trials, true);
        assert_eq!((plan.together, &plan.slots[..]), (2, &[0, 1, 2, 3, 4][..]));
        assert_eq!(plan.places, [0, 1, 2, 3, 4, 0]);
        assert_eq!(plan.calls(&trials).count(), 4);
    }

    #[test]
    fn one_alone_and_all_without_multicall_are_called_as_they_are() {
        let trials = [trial(1, 9, 1), trial(2, 9, 2)];
        for (plan, trials) in
            [(Plan::of(&trials[..1], true), &trials[..1]), (Plan::of(&trials, false), &trials[..])]
        {
            assert_eq!(plan.together, 0);
            let calls: Vec<Call> = plan.calls(trials).collect();
            assert_eq!(calls, trials.iter().map(|trial| trial.call.clone()).collect::<Vec<_>>());
        }
    }
}
