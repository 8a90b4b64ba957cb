//! Why the chain would not settle a payment.

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::{SolCall, SolError, decode_revert_reason};

use super::{Charge, Trouble, Verifier, refuse};
use crate::chain::{At, Call};
use crate::contracts::{Permit2, ProxyErrors, Token};
use crate::rpc::{Rpc, RpcError};
use crate::wire::{Authorization, PERMIT2, reasons, uint};

/// What was found out about a payment that would be reverted.
#[derive(Clone, Debug)]
pub(super) struct Diagnosis {
    permit2: bool,
    no_3009: bool,
    used: bool,
    poor: bool,
    not_allowed: bool,
    reverted: (&'static str, String),
}

impl Diagnosis {
    /// The payment would be settled if Permit2 were allowed to.
    pub(super) fn only_allowance_is_missing(&self) -> bool {
        self.permit2 && self.not_allowed && !(self.used || self.poor)
    }

    pub(super) fn trouble(self) -> Trouble {
        let either = |permit2, exact| if self.permit2 { permit2 } else { exact };
        if self.no_3009 {
            return refuse(reasons::EXACT_EIP3009_NOT_SUPPORTED, "the token has no EIP-3009");
        }
        if self.used {
            let reason = either(reasons::PERMIT2_INVALID_NONCE, reasons::EXACT_NONCE_USED);
            return refuse(reason, "the authorization was used or cancelled before");
        }
        if self.poor {
            let reason = either(reasons::PERMIT2_BALANCE, reasons::EXACT_BALANCE);
            return refuse(reason, "the payer has too little of the token");
        }
        if self.not_allowed {
            return refuse(reasons::PERMIT2_ALLOWANCE, "the payer has not allowed Permit2 to take the token");
        }
        let (reason, message) = self.reverted;
        refuse(reason, message)
    }
}

impl Verifier {
    /// Asks the chain what it has against a payment that it refused with `data`.
    pub(super) async fn diagnose(&self, charge: &Charge, data: &Bytes) -> Result<Diagnosis, Trouble> {
        let (payer, token) = (charge.payer(), charge.token.token);
        let permit2 = matches!(charge.signed.authorization, Authorization::Permit2(_));
        let balance = Call::new(token, Token::balanceOfCall { account: payer }.abi_encode());
        let mut calls = vec![balance];
        if permit2 {
            let allowance = Token::allowanceCall { owner: payer, spender: PERMIT2 };
            calls.push(Call::new(token, allowance.abi_encode()));
        }
        let (numbers, used) = tokio::join!(
            self.rpc.call_all(&calls, At::Pending),
            is_used(&self.rpc, charge.proof(), token, At::Pending)
        );
        let mut numbers = numbers.into_iter().map(number);
        let poor =
            matches!(numbers.next().transpose()?.flatten(), Some(balance) if balance < uint(charge.amount));
        let not_allowed =
            matches!(numbers.next().transpose()?.flatten(), Some(allowed) if allowed < uint(charge.amount));
        let used = used?;
        Ok(Diagnosis {
            permit2,
            no_3009: used.is_none() && !permit2,
            used: used == Some(true),
            poor,
            not_allowed,
            reverted: said(permit2, data),
        })
    }
}

/// What on chain tells whether an authorization was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// The token's `authorizationState`.
    Eip3009 {
        /// Who pays.
        payer: Address,
        /// Of the authorization.
        nonce: B256,
    },
    /// Permit2's `nonceBitmap`.
    Permit2 {
        /// Who pays.
        payer: Address,
        /// Of the authorization.
        nonce: U256,
    },
}

impl Charge {
    pub(crate) fn proof(&self) -> Proof {
        match &self.signed.authorization {
            Authorization::Eip3009(transfer) => {
                Proof::Eip3009 { payer: transfer.from, nonce: transfer.nonce }
            }
            Authorization::Permit2(permit) => Proof::Permit2 { payer: permit.from, nonce: permit.nonce },
        }
    }
}

/// Whether an authorization was used, by the chain's word; `None` when the contract does not know such a thing.
pub(crate) async fn is_used(
    rpc: &Rpc,
    proof: Proof,
    token: Address,
    at: At,
) -> Result<Option<bool>, RpcError> {
    let (call, bit) = match proof {
        Proof::Eip3009 { payer, nonce } => {
            let asked = Token::authorizationStateCall { authorizer: payer, nonce };
            (Call::new(token, asked.abi_encode()), U256::ONE)
        }
        Proof::Permit2 { payer, nonce } => {
            let asked = Permit2::nonceBitmapCall { owner: payer, word: nonce >> 8 };
            (Call::new(PERMIT2, asked.abi_encode()), U256::ONE << (nonce & U256::from(0xff)))
        }
    };
    Ok(number(rpc.call(&call, at).await)?.map(|found| !(found & bit).is_zero()))
}

/// A number that a contract returned; `None` when it returned none.
fn number(answer: Result<Bytes, RpcError>) -> Result<Option<U256>, RpcError> {
    match answer {
        Ok(bytes) => Ok((bytes.len() == 32).then(|| U256::from_be_slice(&bytes))),
        Err(error @ RpcError::Unreachable(_)) => Err(error),
        Err(_) => Ok(None),
    }
}

/// What the contract said itself.
fn said(permit2: bool, data: &[u8]) -> (&'static str, String) {
    let known = [
        (ProxyErrors::InvalidDestination::SELECTOR, reasons::PERMIT2_INVALID_DESTINATION),
        (ProxyErrors::InvalidOwner::SELECTOR, reasons::PERMIT2_INVALID_OWNER),
        (ProxyErrors::InvalidAmount::SELECTOR, reasons::PERMIT2_INVALID_AMOUNT),
        (ProxyErrors::PaymentTooEarly::SELECTOR, reasons::PERMIT2_TOO_EARLY),
        (ProxyErrors::Permit2612AmountMismatch::SELECTOR, reasons::PERMIT2_2612_AMOUNT),
        (ProxyErrors::UnauthorizedFacilitator::SELECTOR, reasons::UPTO_UNAUTHORIZED_FACILITATOR),
        (ProxyErrors::AmountExceedsPermitted::SELECTOR, reasons::UPTO_EXCEEDS_PERMITTED),
        (Permit2::InvalidNonce::SELECTOR, reasons::PERMIT2_INVALID_NONCE),
        (Permit2::SignatureExpired::SELECTOR, reasons::PERMIT2_DEADLINE),
        (Permit2::InvalidSigner::SELECTOR, reasons::PERMIT2_SIGNATURE),
        (Permit2::InvalidSignature::SELECTOR, reasons::PERMIT2_SIGNATURE),
        (Permit2::InvalidSignatureLength::SELECTOR, reasons::PERMIT2_SIGNATURE),
        (Permit2::InvalidContractSignature::SELECTOR, reasons::PERMIT2_SIGNATURE),
    ];
    if permit2 && let Some((_, reason)) = known.iter().find(|(selector, _)| data.get(..4) == Some(selector)) {
        return (reason, "the contract refuses the payment".into());
    }
    let reason = if permit2 { reasons::PERMIT2_SIMULATION_FAILED } else { reasons::EXACT_SIMULATION_FAILED };
    let words: Option<String> = decode_revert_reason(data)
        .map(|words| words.chars().filter(|c| *c == ' ' || c.is_ascii_graphic()).take(120).collect());
    (
        reason,
        words.map_or_else(
            || "the chain would revert it".into(),
            |words| format!("the chain would revert it: {words}"),
        ),
    )
}
