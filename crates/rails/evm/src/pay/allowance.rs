//! What Permit2 may take of a payer's tokens, and how a payer without gas lets it take more.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use alloy_consensus::{SignableTransaction, TxEip1559};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, Bytes, TxKind, U256};
use alloy_sol_types::SolCall;
use farthing_protocol::rail::OfferError;
use farthing_protocol::v2::{Extensions, PaymentRequirements};

use super::{EvmPay, Token, field};
use crate::Transfer;
use crate::chain::{At, Call};
use crate::contracts::Token as Erc20;
use crate::rpc::{Rpc, RpcError};
use crate::wire::extensions::{self, ApprovalInfo, EIP2612, ERC20_APPROVAL, PermitInfo};
use crate::wire::payload::Permit;
use crate::wire::typed::permit_hash;
use crate::wire::{PERMIT2, uint};

/// Version of both extensions.
const VERSION: &str = "1";
/// Gas of an approval.
const APPROVAL_GAS: u64 = 70_000;
/// Wei for one unit of gas when the chain does not say what it costs.
const MAX_FEE: u128 = 1_000_000_000;
/// The tip in it.
const TIP: u128 = 100_000_000;

/// What is known of the payer's allowances, by token.
#[derive(Debug, Default)]
pub(super) struct Allowances(Mutex<HashMap<Address, Allowance>>);

/// What Permit2 may take of one token.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    amount: U256,
    /// How it can be told to take more.
    more: More,
}

#[derive(Clone, Copy, Debug)]
enum More {
    /// By an EIP-2612 permit with this nonce of the token's.
    Permit(U256),
    /// By a transaction of the payer's.
    Approval { nonce: u64, max_fee: u128, tip: u128 },
    /// Nobody asked how, because this is enough for ever.
    Never,
}

impl Allowances {
    fn of(&self, token: Address) -> Option<Allowance> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&token).copied()
    }

    fn note(&self, token: Address, allowance: Allowance) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(token, allowance);
    }
}

impl EvmPay {
    /// Learns what Permit2 may take, if this offer is paid by Permit2 and there is a chain to ask.
    pub(super) async fn look_up_allowance(&self, offer: &PaymentRequirements) -> Result<(), OfferError> {
        let (token, Transfer::Permit2) = self.chosen(offer)? else { return Ok(()) };
        let contract = token.domain.token;
        let Some(rpc) = &self.rpc else { return Ok(()) };
        // An allowance without end is not spent: it needs no second look.
        if self.allowances.of(contract).is_some_and(|known| matches!(known.more, More::Never)) {
            return Ok(());
        }
        let silent = |error: RpcError| OfferError::Unavailable(error.to_string());
        let allowance = self.ask_allowance(rpc, token, uint(offer.amount)).await.map_err(silent)?;
        self.allowances.note(contract, allowance);
        Ok(())
    }

    async fn ask_allowance(&self, rpc: &Rpc, token: &Token, price: U256) -> Result<Allowance, RpcError> {
        let owner = self.key.account();
        let contract = token.domain.token;
        let mut calls =
            vec![Call::new(contract, Erc20::allowanceCall { owner, spender: PERMIT2 }.abi_encode())];
        if token.asset.eip2612 {
            calls.push(Call::new(contract, Erc20::noncesCall { owner }.abi_encode()));
        }
        let mut answers = rpc.call_all(&calls, At::Latest).await.into_iter();
        let amount = word(&answers.next().unwrap_or_else(|| Err(crate::rpc::malformed()))?)?;
        if amount.bit(255) {
            return Ok(Allowance { amount, more: More::Never });
        }
        match answers.next().transpose() {
            Ok(Some(nonce)) => return Ok(Allowance { amount, more: More::Permit(word(&nonce)?) }),
            Err(RpcError::Unreachable(why)) => return Err(RpcError::Unreachable(why)),
            // The token has no EIP-2612.
            Ok(None) | Err(_) => {}
        }
        if amount >= price {
            return Ok(Allowance { amount, more: More::Approval { nonce: 0, max_fee: MAX_FEE, tip: TIP } });
        }
        let nonce = rpc.transaction_count(owner, At::Pending).await?;
        let tip = rpc.advised_tip().await?.unwrap_or(TIP);
        let base_fee = rpc.last_block().await?.base_fee;
        let max_fee = base_fee.map_or(MAX_FEE, |base| base.saturating_mul(2).saturating_add(tip));
        Ok(Allowance { amount, more: More::Approval { nonce, max_fee, tip } })
    }

    /// What lets Permit2 take what `permit` allows, if it may not take as much yet. The look-up before was for
    /// this payment; two payments at once may find the same nonce, and then one of them does not settle.
    pub(super) fn sponsoring(&self, token: &Token, permit: &Permit) -> Result<Extensions, OfferError> {
        let price = uint(permit.permitted.amount);
        let mut extensions = Extensions::default();
        let Some(known) = self.allowances.of(token.domain.token) else { return Ok(extensions) };
        if known.amount >= price {
            return Ok(extensions);
        }
        let unwritable = |error: serde_json::Error| field("extensions", error.to_string());
        match known.more {
            More::Permit(nonce) => {
                let info = self.permit_info(token, permit, nonce)?;
                extensions.insert(EIP2612.to_owned(), extensions::write_permit(&info).map_err(unwritable)?);
            }
            More::Approval { nonce, max_fee, tip } => {
                let info = self.approval_info(token, nonce, max_fee, tip)?;
                extensions.insert(
                    ERC20_APPROVAL.to_owned(),
                    extensions::write_approval(&info).map_err(unwritable)?,
                );
            }
            More::Never => {}
        }
        Ok(extensions)
    }

    fn permit_info(&self, token: &Token, permit: &Permit, nonce: U256) -> Result<PermitInfo, OfferError> {
        let (from, amount) = (self.key.account(), uint(permit.permitted.amount));
        let deadline = U256::from(permit.deadline);
        let hash = permit_hash(from, PERMIT2, amount, nonce, deadline, &token.domain);
        Ok(PermitInfo {
            from,
            asset: token.domain.token,
            spender: PERMIT2,
            amount,
            nonce,
            deadline,
            signature: self.sign(&hash)?,
            version: VERSION.to_owned(),
        })
    }

    fn approval_info(
        &self,
        token: &Token,
        nonce: u64,
        max_fee: u128,
        tip: u128,
    ) -> Result<ApprovalInfo, OfferError> {
        let (from, asset, amount) = (self.key.account(), token.domain.token, U256::MAX);
        let transaction = TxEip1559 {
            chain_id: token.domain.chain_id,
            nonce,
            gas_limit: APPROVAL_GAS,
            max_fee_per_gas: max_fee.max(tip),
            max_priority_fee_per_gas: tip,
            to: TxKind::Call(asset),
            value: U256::ZERO,
            access_list: Default::default(),
            input: Erc20::approveCall { spender: PERMIT2, value: amount }.abi_encode().into(),
        };
        let signature = self.key.sign(&transaction.signature_hash());
        let signature = signature.map_err(|error| field("extensions", error.to_string()))?;
        let signed_transaction = Bytes::from(transaction.into_signed(signature).encoded_2718());
        let (spender, version) = (PERMIT2, VERSION.to_owned());
        Ok(ApprovalInfo { from, asset, spender, amount, signed_transaction, version })
    }
}

/// The one number that a call returns.
pub(super) fn word(answer: &Bytes) -> Result<U256, RpcError> {
    if answer.len() == 32 { Ok(U256::from_be_slice(answer)) } else { Err(crate::rpc::malformed()) }
}
