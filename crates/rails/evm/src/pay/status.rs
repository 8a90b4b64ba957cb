//! What the chain says about a payment.
//!
//! The nonce of the authorization decides: it is used once, by its settlement, and this client never uses one to
//! cancel. Unused at a block after the window, it can no longer be used.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use alloy_primitives::{B256, U256, hex};
use alloy_sol_types::SolCall;
use farthing_protocol::rail::{Confirmation, PaymentId, SignedPayment};
use farthing_protocol::v2::SettlementResponse;
use farthing_protocol::{Amount, v1};

use super::allowance::word;
use super::{EvmPay, Token};
use crate::chain::transfer_topics;
use crate::contracts::{Permit2, Token as Erc20};
use crate::rpc::{self, Rpc, RpcError};
use crate::wire::text::read_address;
use crate::wire::{Authorization, PERMIT2, Signed, UPTO};

/// Seconds after the window's end until a block that says so is taken to stay.
const FINALITY_SECONDS: u64 = 60;
/// How many settlements are kept in mind.
const KEPT: usize = 4096;

/// The transactions that sellers named, by payment.
#[derive(Debug, Default)]
pub(super) struct Settlements(Mutex<HashMap<PaymentId, B256>>);

impl Settlements {
    fn note(&self, payment: PaymentId, transaction: B256) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(payment, transaction);
    }

    fn of(&self, payment: &PaymentId) -> Option<B256> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(payment).copied()
    }
}

impl EvmPay {
    /// Remembers what a seller says, if it can be true.
    pub(super) fn hear(&self, payment: &SignedPayment, settlement: &SettlementResponse) -> Confirmation {
        if !settlement.success {
            return Confirmation::Unproven;
        }
        let names = [self.network.as_str(), v1::name_of(&self.network).unwrap_or_default(), ""];
        if !names.contains(&settlement.network.as_str()) {
            return Confirmation::Contradicted("it is said to be settled on another network".into());
        }
        let payer = settlement.payer.as_deref();
        if payer.is_some_and(|payer| read_address(payer) != Some(self.key.account())) {
            return Confirmation::Contradicted("another is said to have paid".into());
        }
        if settlement.amount.is_some_and(|amount| amount > payment.max_amount) {
            return Confirmation::Contradicted("more is said to be taken than was signed for".into());
        }
        if let Ok(transaction) = settlement.transaction.parse() {
            self.settlements.note(payment.id, transaction);
        }
        Confirmation::Unproven
    }

    /// Asks the chain; `None` when it does not say.
    pub(super) async fn ask_chain(&self, payment: &SignedPayment) -> Option<Confirmation> {
        let rpc = self.rpc.as_ref()?;
        let signed = Signed::read(payment.payload.get()).ok()?;
        let authorization = &signed.authorization;
        let token = self.tokens.iter().find(|token| authorization.payment_id(&token.domain) == payment.id)?;
        let block = rpc.last_block().await.ok()?;
        if used(rpc, token, authorization, block.number).await.ok()? {
            return match authorization.scheme() {
                UPTO => self.ask_amount(rpc, token, authorization, payment).await,
                _ => Some(Confirmation::Taken(authorization.amount())),
            };
        }
        let end = authorization.valid_before().saturating_add(FINALITY_SECONDS);
        Some(if block.timestamp > end { Confirmation::NotTaken } else { Confirmation::Open })
    }

    /// How much the settlement that the seller named has taken. It is believed only if the nonce was used in
    /// its very block.
    async fn ask_amount(
        &self,
        rpc: &Rpc,
        token: &Token,
        authorization: &Authorization,
        payment: &SignedPayment,
    ) -> Option<Confirmation> {
        let receipt = rpc.receipt(self.settlements.of(&payment.id)?).await.ok()??;
        let before = receipt.block.checked_sub(1)?;
        if used(rpc, token, authorization, before).await.ok()?
            || !used(rpc, token, authorization, receipt.block).await.ok()?
        {
            return None;
        }
        let topics = transfer_topics(authorization.payer(), authorization.payee());
        let mut moved = receipt
            .logs
            .iter()
            .filter(|log| log.address == token.domain.token && log.topics == topics && log.data.len() == 32);
        let (Some(log), None) = (moved.next(), moved.next()) else { return None };
        let amount = u128::try_from(U256::from_be_slice(&log.data)).ok()?;
        Some(Confirmation::Taken(Amount(amount)))
    }
}

/// Whether the authorization's nonce was used at the end of `block`.
async fn used(rpc: &Rpc, token: &Token, authorization: &Authorization, block: u64) -> Result<bool, RpcError> {
    let (contract, call, bit) = match authorization {
        Authorization::Eip3009(transfer) => {
            let (authorizer, nonce) = (transfer.from, transfer.nonce);
            (token.domain.token, Erc20::authorizationStateCall { authorizer, nonce }.abi_encode(), 0)
        }
        Authorization::Permit2(permit) => {
            let (owner, word) = (permit.from, permit.nonce >> 8);
            (PERMIT2, Permit2::nonceBitmapCall { owner, word }.abi_encode(), permit.nonce.byte(0))
        }
    };
    let call = hex::encode_prefixed(call);
    let params = format!(r#"[{{"to":"{contract:#x}","data":"{call}"}},"{block:#x}"]"#);
    let answer = rpc::bytes(rpc.ask("eth_call", params).await?.as_ref())?;
    Ok(word(&answer)?.bit(usize::from(bit)))
}
