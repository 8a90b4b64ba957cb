//! The EIP-712 structs that payers sign, and their domains.

use std::borrow::Cow;

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::{Eip712Domain, SolStruct};

use super::payload::{Permit, Transfer};
use super::{PERMIT2, uint};

#[allow(missing_docs, unreachable_pub, reason = "the macro writes these, named as the contracts name them")]
pub(crate) mod sol {
    use alloy_sol_types::sol;

    sol! {
        struct TransferWithAuthorization {
            address from;
            address to;
            uint256 value;
            uint256 validAfter;
            uint256 validBefore;
            bytes32 nonce;
        }

        /// EIP-2612.
        struct Permit {
            address owner;
            address spender;
            uint256 value;
            uint256 nonce;
            uint256 deadline;
        }
    }

    /// The structs of the scheme `exact`.
    pub(crate) mod exact {
        use alloy_sol_types::sol;

        sol! {
            struct TokenPermissions {
                address token;
                uint256 amount;
            }
            struct Witness {
                address to;
                uint256 validAfter;
            }
            struct PermitWitnessTransferFrom {
                TokenPermissions permitted;
                address spender;
                uint256 nonce;
                uint256 deadline;
                Witness witness;
            }
        }
    }

    /// The structs of the scheme `upto`.
    pub(crate) mod upto {
        use alloy_sol_types::sol;

        sol! {
            struct TokenPermissions {
                address token;
                uint256 amount;
            }
            struct Witness {
                address to;
                address facilitator;
                uint256 validAfter;
            }
            struct PermitWitnessTransferFrom {
                TokenPermissions permitted;
                address spender;
                uint256 nonce;
                uint256 deadline;
                Witness witness;
            }
        }
    }
}

/// What a token's own signatures are bound to: its EIP-712 domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenDomain {
    /// The chain's number.
    pub(crate) chain_id: u64,
    /// The token's contract.
    pub(crate) token: Address,
    /// The domain's name.
    pub(crate) name: String,
    /// The domain's version.
    pub(crate) version: String,
}

impl TokenDomain {
    fn domain(&self) -> Eip712Domain {
        let text = |text: &str| Some(Cow::Owned(text.to_owned()));
        let chain = Some(U256::from(self.chain_id));
        Eip712Domain::new(text(&self.name), text(&self.version), chain, Some(self.token), None)
    }

    /// The hash that the token's `DOMAIN_SEPARATOR()` returns.
    pub(crate) fn separator(&self) -> B256 {
        self.domain().separator()
    }
}

/// What is signed for EIP-3009.
pub(crate) fn transfer_hash(transfer: &Transfer, token: &TokenDomain) -> B256 {
    let signed = sol::TransferWithAuthorization {
        from: transfer.from,
        to: transfer.to,
        value: uint(transfer.value),
        validAfter: U256::from(transfer.valid_after),
        validBefore: U256::from(transfer.valid_before),
        nonce: transfer.nonce,
    };
    signed.eip712_signing_hash(&token.domain())
}

/// What is signed for Permit2, `exact` or `upto` by its witness.
pub(crate) fn permit2_hash(permit: &Permit, chain_id: u64) -> B256 {
    let domain = Eip712Domain::new(
        Some(Cow::Borrowed("Permit2")),
        None,
        Some(U256::from(chain_id)),
        Some(PERMIT2),
        None,
    );
    let (token, amount) = (permit.permitted.token, uint(permit.permitted.amount));
    let (spender, nonce, deadline) = (permit.spender, permit.nonce, U256::from(permit.deadline));
    let (to, valid_after) = (permit.witness.to, U256::from(permit.witness.valid_after));
    match permit.witness.facilitator {
        None => {
            let permitted = sol::exact::TokenPermissions { token, amount };
            let witness = sol::exact::Witness { to, validAfter: valid_after };
            sol::exact::PermitWitnessTransferFrom { permitted, spender, nonce, deadline, witness }
                .eip712_signing_hash(&domain)
        }
        Some(facilitator) => {
            let permitted = sol::upto::TokenPermissions { token, amount };
            let witness = sol::upto::Witness { to, facilitator, validAfter: valid_after };
            sol::upto::PermitWitnessTransferFrom { permitted, spender, nonce, deadline, witness }
                .eip712_signing_hash(&domain)
        }
    }
}

/// What is signed for EIP-2612.
pub(crate) fn permit_hash(
    owner: Address,
    spender: Address,
    value: U256,
    nonce: U256,
    deadline: U256,
    token: &TokenDomain,
) -> B256 {
    sol::Permit { owner, spender, value, nonce, deadline }.eip712_signing_hash(&token.domain())
}
