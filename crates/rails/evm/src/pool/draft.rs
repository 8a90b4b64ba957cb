//! A signed transaction, before the chain has it.

use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::{Decodable2718, Encodable2718};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};

use super::{Errand, Fee};
use crate::EvmKey;

/// A signed transaction of type 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Draft {
    pub(crate) signer: Address,
    pub(crate) nonce: u64,
    pub(crate) fee: Fee,
    pub(crate) hash: B256,
    /// As it is broadcast (EIP-2718).
    pub(crate) raw: Bytes,
    to: Address,
    value: U256,
    data: Bytes,
    gas: u64,
}

impl Draft {
    pub(super) fn sign(key: &EvmKey, chain_id: u64, nonce: u64, fee: Fee, errand: &Errand) -> Option<Self> {
        let transaction = TxEip1559 {
            chain_id,
            nonce,
            gas_limit: errand.gas,
            max_fee_per_gas: fee.most,
            max_priority_fee_per_gas: fee.tip,
            to: TxKind::Call(errand.to),
            value: errand.value,
            access_list: alloy_eips::eip2930::AccessList::default(),
            input: errand.data.clone(),
        };
        let signature = key.sign(&transaction.signature_hash()).ok()?;
        let signed = TxEnvelope::from(transaction.into_signed(signature));
        Some(Self {
            signer: key.account(),
            nonce,
            fee,
            hash: *signed.tx_hash(),
            raw: signed.encoded_2718().into(),
            to: errand.to,
            value: errand.value,
            data: errand.data.clone(),
            gas: errand.gas,
        })
    }

    /// Reads what was written down.
    pub(crate) fn read(raw: &Bytes) -> Option<Self> {
        let TxEnvelope::Eip1559(signed) = TxEnvelope::decode_2718_exact(raw).ok()? else { return None };
        let transaction = signed.tx();
        let fee = Fee { most: transaction.max_fee_per_gas, tip: transaction.max_priority_fee_per_gas };
        Some(Self {
            signer: signed.recover_signer().ok()?,
            nonce: transaction.nonce,
            fee,
            hash: *signed.hash(),
            raw: raw.clone(),
            to: *transaction.to.to()?,
            value: transaction.value,
            data: transaction.input.clone(),
            gas: transaction.gas_limit,
        })
    }

    /// What it does.
    pub(super) fn errand(&self) -> Errand {
        let (only, data) = (Some(self.signer), self.data.clone());
        Errand { only, to: self.to, value: self.value, data, gas: self.gas }
    }
}
