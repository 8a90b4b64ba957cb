//! The call that settles a payment.

use alloy_primitives::{Bytes, U256};
use alloy_sol_types::SolCall;

use super::{Charge, Sponsor, Verifier};
use crate::chain::Call;
use crate::contracts::{
    ExactProxy, ExactWitness, Permit2612, PermitTransferFrom, Token, TokenPermissions, UptoProxy, UptoWitness,
};
use crate::multicall::{aggregate, part};
use crate::wire::signature::{KeySignature, Wrapped};
use crate::wire::{Authorization, EXACT_PROXY, Permit, Transfer, UPTO_PROXY, uint};

/// Who vouches for a payment, and with what.
#[derive(Clone, Debug)]
pub(crate) enum How {
    /// The payer's key.
    Key(KeySignature),
    /// The payer's account, which has code.
    Account(Bytes),
    /// The payer's wallet, once it is deployed.
    Deploy(Wrapped),
}

impl Verifier {
    /// What settles a payment when it is sent.
    pub(super) fn settlement(&self, charge: &Charge, how: &How) -> Call {
        let signature = match how {
            How::Key(_) => &charge.signed.signature,
            How::Account(signature) => signature,
            How::Deploy(wrapped) => &wrapped.signature,
        };
        let call = match &charge.signed.authorization {
            Authorization::Eip3009(transfer) => by_3009(charge, transfer, how, signature),
            Authorization::Permit2(permit) => self.by_permit2(charge, permit, signature),
        };
        match how {
            How::Deploy(wrapped) => {
                let deployment = Call::new(wrapped.factory, wrapped.calldata.clone());
                aggregate(vec![part(&deployment, false), part(&call, false)])
            }
            How::Key(_) | How::Account(_) => call,
        }
    }

    fn by_permit2(&self, charge: &Charge, signed: &Permit, signature: &Bytes) -> Call {
        let permit = PermitTransferFrom {
            permitted: TokenPermissions {
                token: signed.permitted.token,
                amount: uint(signed.permitted.amount),
            },
            nonce: signed.nonce,
            deadline: U256::from(signed.deadline),
        };
        let (owner, to, signature) = (signed.from, signed.witness.to, signature.clone());
        let valid_after = U256::from(signed.witness.valid_after);
        let permit2612 = match &charge.sponsor {
            Some(Sponsor::Permit(info, key)) => {
                Some(Permit2612 { value: info.amount, deadline: info.deadline, r: key.r, s: key.s, v: key.v })
            }
            _ => None,
        };
        let Some(facilitator) = signed.witness.facilitator else {
            let witness = ExactWitness { to, validAfter: valid_after };
            let data = match permit2612 {
                None => ExactProxy::settleCall { permit, owner, witness, signature }.abi_encode(),
                Some(permit2612) => {
                    ExactProxy::settleWithPermitCall { permit2612, permit, owner, witness, signature }
                        .abi_encode()
                }
            };
            return Call::new(EXACT_PROXY, data);
        };
        let (witness, amount) =
            (UptoWitness { to, facilitator, validAfter: valid_after }, uint(charge.amount));
        let data = match permit2612 {
            None => UptoProxy::settleCall { permit, amount, owner, witness, signature }.abi_encode(),
            Some(permit2612) => {
                UptoProxy::settleWithPermitCall { permit2612, permit, amount, owner, witness, signature }
                    .abi_encode()
            }
        };
        // The proxy takes it from nobody else.
        Call::new(UPTO_PROXY, data).from(self.facilitator)
    }
}

fn by_3009(charge: &Charge, transfer: &Transfer, how: &How, signature: &Bytes) -> Call {
    let &Transfer { from, to, value, valid_after, valid_before, nonce } = transfer;
    let (value, valid_after, valid_before) = (uint(value), U256::from(valid_after), U256::from(valid_before));
    let data = match how {
        How::Key(KeySignature { r, s, v }) => Token::transferWithAuthorization_0Call {
            from,
            to,
            value,
            validAfter: valid_after,
            validBefore: valid_before,
            nonce,
            v: *v,
            r: *r,
            s: *s,
        }
        .abi_encode(),
        How::Account(_) | How::Deploy(_) => Token::transferWithAuthorization_1Call {
            from,
            to,
            value,
            validAfter: valid_after,
            validBefore: valid_before,
            nonce,
            signature: signature.clone(),
        }
        .abi_encode(),
    };
    Call::new(charge.token.token, data)
}
