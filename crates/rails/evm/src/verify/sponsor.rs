//! What a payer without gas sends along, so that Permit2 may take its token: a permit (EIP-2612), or a signed
//! approval. Both are checked before anything is sent for them.

use alloy_consensus::{Transaction, TxEnvelope};
use alloy_eips::eip2718::Decodable2718;
use alloy_primitives::{B256, Bytes, U256};
use alloy_sol_types::SolCall;
use farthing_protocol::v2::Extensions;

use super::{Charge, Trouble, refuse};
use crate::contracts::Token;
use crate::wire::extensions::{self, ApprovalInfo, PermitInfo};
use crate::wire::signature::KeySignature;
use crate::wire::{Authorization, PERMIT2, Permit, reasons, typed, uint};

/// What came along with a Permit2 payment.
#[derive(Clone)]
pub(crate) enum Sponsor {
    /// It goes into the settlement.
    Permit(Box<PermitInfo>, KeySignature),
    /// It is sent before the settlement, if it is needed.
    Approval(Approval),
}

/// A payer's own transaction that approves Permit2.
#[derive(Clone)]
pub(crate) struct Approval {
    /// As it is broadcast.
    pub(crate) raw: Bytes,
    pub(crate) hash: B256,
    /// Wei that the payer needs for it, at most.
    pub(crate) cost: U256,
}

impl Sponsor {
    /// What came with `charge`, if it is what it has to be.
    pub(super) fn read(charge: &Charge, extensions: &Extensions) -> Result<Option<Self>, Trouble> {
        let Authorization::Permit2(permit) = &charge.signed.authorization else { return Ok(None) };
        let format = |reason| refuse(reason, "the extension's members cannot be read");
        if let Some(info) = extensions::permit(extensions).map_err(format)? {
            let key = check_permit(charge, permit, &info)?;
            return Ok(Some(Self::Permit(Box::new(info), key)));
        }
        match extensions::approval(extensions).map_err(format)? {
            Some(info) => check_approval(charge, permit, info).map(|approval| Some(Self::Approval(approval))),
            None => Ok(None),
        }
    }
}

fn check_permit(charge: &Charge, permit: &Permit, info: &PermitInfo) -> Result<KeySignature, Trouble> {
    if info.from != permit.from {
        return Err(refuse(reasons::EIP2612_FROM, "the permit is somebody else's"));
    }
    if info.asset != permit.permitted.token {
        return Err(refuse(reasons::EIP2612_ASSET, "the permit is for another token"));
    }
    if info.spender != PERMIT2 {
        return Err(refuse(reasons::EIP2612_SPENDER, "the permit is for somebody else than Permit2"));
    }
    if info.deadline < U256::from(permit.deadline) {
        return Err(refuse(reasons::EIP2612_DEADLINE, "the permit ends before the payment"));
    }
    if info.amount != uint(permit.permitted.amount) {
        return Err(refuse(
            reasons::PERMIT2_2612_AMOUNT,
            "the permit is for another amount than the payment",
        ));
    }
    let (owner, value) = (info.from, info.amount);
    let hash = typed::permit_hash(owner, PERMIT2, value, info.nonce, info.deadline, &charge.token);
    let key = KeySignature::read(&info.signature);
    key.filter(|key| key.signer(&hash) == Some(info.from))
        .ok_or_else(|| refuse(reasons::EIP2612_FORMAT, "the permit's signature is not the payer's"))
}

fn check_approval(charge: &Charge, permit: &Permit, info: ApprovalInfo) -> Result<Approval, Trouble> {
    if info.from != permit.from {
        return Err(refuse(reasons::ERC20_FROM, "the approval is somebody else's"));
    }
    if info.asset != permit.permitted.token {
        return Err(refuse(reasons::ERC20_ASSET, "the approval is for another token"));
    }
    if info.spender != PERMIT2 {
        return Err(refuse(reasons::ERC20_SPENDER, "the approval is for somebody else than Permit2"));
    }
    let transaction = TxEnvelope::decode_2718_exact(&info.signed_transaction);
    let Ok(TxEnvelope::Eip1559(transaction)) = transaction else {
        return Err(refuse(reasons::ERC20_TX_PARSE, "the approval is not a transaction of type 2"));
    };
    let sent = transaction.tx();
    if sent.chain_id != charge.token.chain_id {
        return Err(refuse(reasons::ERC20_TX_PARSE, "the approval is for another chain"));
    }
    if sent.to.to() != Some(&info.asset) || !sent.value.is_zero() {
        return Err(refuse(reasons::ERC20_TX_TARGET, "the approval does not only call the token"));
    }
    if sent.input.get(..4) != Some(&Token::approveCall::SELECTOR) {
        return Err(refuse(reasons::ERC20_TX_SELECTOR, "the approval calls another function"));
    }
    let Ok(approve) = Token::approveCall::abi_decode(&sent.input) else {
        return Err(refuse(reasons::ERC20_TX_CALLDATA, "the approval's call cannot be read"));
    };
    if approve.spender != PERMIT2 {
        return Err(refuse(reasons::ERC20_TX_SPENDER, "the approval approves somebody else than Permit2"));
    }
    if approve.value < uint(permit.permitted.amount) {
        return Err(refuse(reasons::ERC20_TX_CALLDATA, "the approval is for less than the payment"));
    }
    match transaction.recover_signer() {
        Ok(signer) if signer == info.from => {}
        Ok(_) => return Err(refuse(reasons::ERC20_TX_SIGNER, "the approval is signed by somebody else")),
        Err(_) => return Err(refuse(reasons::ERC20_TX_SIGNATURE, "the approval's signature is none")),
    }
    let cost = U256::from(sent.gas_limit()).saturating_mul(U256::from(sent.max_fee_per_gas()));
    Ok(Approval { hash: *transaction.hash(), raw: info.signed_transaction, cost })
}
