//! The facilitator's look at a payment: what is signed, by whom, and whether the chain would settle it now.
//!
//! The order is that of the reference: scheme, network, the token's domain, payee, window, amount, signature,
//! and last the trial on chain. A payer whose account has code is asked by EIP-1271 and nothing else; one
//! without code has to have signed with its key. A wallet that is not deployed yet (ERC-6492) is tried together
//! with its deployment, if its factory is on the list.

mod diagnosis;
mod settlement;
mod sponsor;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes};
use alloy_sol_types::SolCall;
use farthing_protocol::rail::{FacilitatorError, PaymentFault, PaymentId};
use farthing_protocol::v2::{FacilitatorRequest, PaymentRequirements, VerifyResponse};
use farthing_protocol::{Amount, Network, reason};
use serde_json::Value;

pub(crate) use self::diagnosis::{Proof, is_used};
use self::settlement::How;
pub(crate) use self::sponsor::{Approval, Sponsor};
use crate::chain::{At, Call};
use crate::contracts::{Account, IS_VALID};
use crate::multicall::{Trial, Trials};
use crate::rpc::{Rpc, RpcError};
use crate::wire::signature::{KeySignature, Wrapped};
use crate::wire::{
    Authorization, EXACT, Signed, TokenDomain, UPTO, WINDOW_PADDING, agreement, payload, reasons, text,
};

/// Looks at payments on one chain.
#[derive(Debug)]
pub(crate) struct Verifier {
    pub(crate) network: Network,
    pub(crate) rpc: Rpc,
    pub(crate) trials: Trials,
    /// The tokens that are settled here, as the chain confirmed them.
    pub(crate) tokens: HashMap<Address, Arc<TokenDomain>>,
    /// The one address that settles `upto`.
    pub(crate) facilitator: Address,
    /// Contracts that may deploy a payer's wallet.
    pub(crate) factories: Vec<Address>,
    pub(crate) deployed: Deployed,
}

/// Which of the contracts that are the same on each chain are on this one. A call of what is not there succeeds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deployed {
    pub(crate) multicall: bool,
    /// Permit2 and the proxy of `exact`.
    pub(crate) exact: bool,
    /// Permit2 and the proxy of `upto`.
    pub(crate) upto: bool,
}

/// A payment that agrees with its offer. Nobody has looked at its signature or the chain yet.
#[derive(Clone)]
pub(crate) struct Charge {
    pub(crate) id: PaymentId,
    /// As the server made it; at settlement, its amount is what `upto` takes.
    pub(crate) offer: Arc<PaymentRequirements>,
    pub(crate) signed: Arc<Signed>,
    pub(crate) token: Arc<TokenDomain>,
    /// What the payer signed.
    pub(crate) hash: B256,
    /// Atomic units to take: for `upto`, at most what is signed for.
    pub(crate) amount: Amount,
    pub(crate) sponsor: Option<Sponsor>,
}

/// A payment that the chain would settle now.
#[derive(Clone)]
pub(crate) struct Ready {
    /// What settles it, from whatever signer.
    pub(crate) call: Call,
    /// What has to be sent before.
    pub(crate) approval: Option<Approval>,
}

/// What a payment is looked at for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Verify,
    /// The offer's amount is what `upto` takes.
    Settle,
}

/// Why a payment is not settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The payment is at fault.
    Refused {
        /// The x402 reason.
        reason: Cow<'static, str>,
        /// For people.
        message: String,
    },
    /// The chain does not answer.
    Chain(RpcError),
}

impl Verifier {
    /// `POST /verify`.
    pub(crate) async fn verify(
        &self,
        request: &FacilitatorRequest,
        now: u64,
    ) -> Result<VerifyResponse, FacilitatorError> {
        let (payer, looked) = match self.read(request, Task::Verify) {
            Ok(charge) => {
                let looked = match in_window(&charge, now) {
                    Ok(()) => self.check(&charge).await.map(|_| ()),
                    Err(trouble) => Err(trouble),
                };
                (Some(charge.payer().to_checksum(None)), looked)
            }
            Err(trouble) => (None, Err(trouble)),
        };
        match looked {
            Ok(()) => Ok(VerifyResponse { is_valid: true, payer, ..VerifyResponse::default() }),
            Err(Trouble::Refused { reason, message }) => Ok(VerifyResponse {
                invalid_reason: Some(reason.into_owned()),
                invalid_message: Some(message),
                payer,
                ..VerifyResponse::default()
            }),
            Err(Trouble::Chain(error)) => Err(FacilitatorError::Unreachable(error.to_string())),
        }
    }

    /// What a request asks for, if its payment agrees with its offer, the time aside.
    pub(crate) fn read(&self, request: &FacilitatorRequest, task: Task) -> Result<Charge, Trouble> {
        let offer = &*request.payment_requirements;
        if offer.scheme != EXACT && offer.scheme != UPTO {
            return Err(refuse(reason::UNSUPPORTED_SCHEME, "this scheme is not settled here"));
        }
        if offer.network != self.network {
            let reason = pick(offer, reasons::EXACT_NETWORK_MISMATCH, reasons::UPTO_NETWORK_MISMATCH);
            return Err(refuse(reason, "the offer is for another network"));
        }
        let signed = Signed::of_payment(&request.payment_payload).map_err(Trouble::from)?;
        let token = self.token(offer)?;
        self.agrees(&signed, offer, task)?;
        let amount = if task == Task::Settle { offer.amount } else { signed.authorization.amount() };
        let hash = signed.authorization.signing_hash(&token);
        let id = payload::payment_id(signed.authorization.payer(), hash);
        let offer = request.payment_requirements.clone();
        let mut charge = Charge { id, offer, signed, token, hash, amount, sponsor: None };
        charge.sponsor = Sponsor::read(&charge, &request.payment_payload.extensions)?;
        Ok(charge)
    }

    /// The token of an offer, as the chain has it and not as the offer says.
    fn token(&self, offer: &PaymentRequirements) -> Result<Arc<TokenDomain>, Trouble> {
        let token = text::read_address(&offer.asset).and_then(|address| self.tokens.get(&address));
        let Some(token) = token else {
            return Err(refuse(reason::INVALID_PAYMENT_REQUIREMENTS, "this asset is not settled here"));
        };
        let by_3009 = offer.scheme == EXACT && !agreement::asks_for_permit2(offer);
        for (member, known, reason) in [
            ("name", &token.name, reasons::EXACT_TOKEN_NAME),
            ("version", &token.version, reasons::EXACT_TOKEN_VERSION),
        ] {
            match offer.extra.get(member) {
                None | Some(Value::Null) if by_3009 => {
                    let message = format!("the offer does not say the {member} of the token's domain");
                    return Err(refuse(reasons::EXACT_MISSING_DOMAIN, message));
                }
                None | Some(Value::Null) => {}
                Some(Value::String(said)) if said == known => {}
                Some(_) => return Err(refuse(reason, format!("the token's domain has another {member}"))),
            }
        }
        Ok(token.clone())
    }

    fn agrees(&self, signed: &Signed, offer: &PaymentRequirements, task: Task) -> Result<(), Trouble> {
        let authorization = &signed.authorization;
        if let Authorization::Permit2(permit) = authorization
            && permit.witness.facilitator.is_some_and(|named| named != self.facilitator)
        {
            let message = "the payment is signed for another facilitator";
            return Err(refuse(reasons::UPTO_FACILITATOR_MISMATCH, message));
        }
        // The window is judged by itself: a payment that was settled stays settled when it has ended.
        let within = authorization.valid_before().saturating_sub(WINDOW_PADDING);
        let within = within.max(authorization.valid_after());
        if task == Task::Settle && offer.scheme == UPTO {
            if offer.amount > authorization.amount() {
                let message = "more would be taken than the payment allows";
                return Err(refuse(reasons::UPTO_EXCEEDS_AMOUNT, message));
            }
            let signed_for = PaymentRequirements { amount: authorization.amount(), ..offer.clone() };
            return Ok(agreement::agrees(authorization, &signed_for, within)?);
        }
        Ok(agreement::agrees(authorization, offer, within)?)
    }

    /// Whether the chain would settle a payment now, and how.
    pub(crate) async fn check(&self, charge: &Charge) -> Result<Ready, Trouble> {
        let there = match charge.signed.authorization {
            Authorization::Eip3009(_) => true,
            Authorization::Permit2(_) if charge.scheme() == UPTO => self.deployed.upto,
            Authorization::Permit2(_) => self.deployed.exact,
        };
        if !there {
            let message = "the scheme's contract is not on this chain";
            return Err(refuse(reasons::PERMIT2_PROXY_NOT_DEPLOYED, message));
        }
        let presented = &charge.signed.signature;
        let key =
            KeySignature::read(presented).filter(|key| key.signer(&charge.hash) == Some(charge.payer()));
        let wrapped = match Wrapped::is(presented).then(|| Wrapped::read(presented)) {
            None => None,
            Some(Some(wrapped)) => Some(wrapped),
            Some(None) => {
                let message = "the signature ends like one of ERC-6492 and is none";
                return Err(refuse(reasons::EXACT_UNREADABLE_SIGNATURE, message));
            }
        };
        let own = wrapped.as_ref().map_or(presented, |wrapped| &wrapped.signature).clone();
        let how = key.map_or_else(|| How::Account(own.clone()), How::Key);
        let call = self.settlement(charge, &how);
        let tried = self.trials.make(charge.trial(call.clone(), key.is_none())).await;
        match (tried.has_code?, key, wrapped) {
            (false, Some(_), _) => self.conclude(charge, call, tried.result).await,
            (true, _, _) => self.check_account(charge, own).await,
            (false, None, Some(wrapped)) => self.check_deployment(charge, wrapped).await,
            (false, None, None) => Err(charge.bad_signature("the signature is not the payer's")),
        }
    }

    /// An account with code says itself what it signed.
    async fn check_account(&self, charge: &Charge, signature: Bytes) -> Result<Ready, Trouble> {
        let asked = Account::isValidSignatureCall { hash: charge.hash, signature: signature.clone() };
        let call = self.settlement(charge, &How::Account(signature));
        let asked = Call::new(charge.payer(), asked.abi_encode());
        let (valid, tried) = tokio::join!(
            self.rpc.call(&asked, At::Pending),
            self.trials.make(charge.trial(call.clone(), true)),
        );
        match valid {
            Ok(answer) if answer.get(..4) == Some(&IS_VALID) && answer.len() == 32 => {}
            Err(error @ RpcError::Unreachable(_)) => return Err(Trouble::Chain(error)),
            Ok(_) | Err(_) => return Err(charge.bad_signature("the payer's account refuses the signature")),
        }
        self.conclude(charge, call, tried.result).await
    }

    /// A wallet that is not there yet is deployed and asked in one call.
    async fn check_deployment(&self, charge: &Charge, wrapped: Wrapped) -> Result<Ready, Trouble> {
        if !self.factories.contains(&wrapped.factory) {
            let message = "the payer's wallet would be deployed by a contract that is not on the list";
            return Err(refuse(reasons::FACTORY_NOT_ALLOWED, message));
        }
        if charge.scheme() == UPTO || !self.deployed.multicall {
            let message = "the payer's wallet has to be deployed before it pays";
            return Err(refuse(reasons::EXACT_UNDEPLOYED_WALLET, message));
        }
        let deployment = Call::new(wrapped.factory, wrapped.calldata.clone());
        let call = self.settlement(charge, &How::Deploy(wrapped));
        let tried = self.trials.make(charge.trial(call.clone(), true)).await;
        if let Err(RpcError::Reverted(_)) = &tried.result
            && let Err(RpcError::Reverted(_)) = self.rpc.call(&deployment, At::Pending).await
        {
            return Err(refuse(reasons::WALLET_DEPLOYMENT_FAILED, "the payer's wallet cannot be deployed"));
        }
        self.conclude(charge, call, tried.result).await
    }

    async fn conclude(
        &self,
        charge: &Charge,
        call: Call,
        tried: Result<Bytes, RpcError>,
    ) -> Result<Ready, Trouble> {
        let data = match tried {
            Ok(_) => return Ok(Ready { call, approval: None }),
            Err(error @ RpcError::Unreachable(_)) => return Err(Trouble::Chain(error)),
            Err(RpcError::Reverted(data)) => data,
            Err(RpcError::Rejected { .. }) => Bytes::new(),
        };
        let found = self.diagnose(charge, &data).await?;
        match &charge.sponsor {
            Some(Sponsor::Approval(approval)) if found.only_allowance_is_missing() => {
                Ok(Ready { call, approval: Some(approval.clone()) })
            }
            _ => Err(found.trouble()),
        }
    }
}

impl Charge {
    pub(crate) fn payer(&self) -> Address {
        self.signed.authorization.payer()
    }

    pub(crate) fn payee(&self) -> Address {
        self.signed.authorization.payee()
    }

    pub(crate) fn scheme(&self) -> &'static str {
        self.signed.authorization.scheme()
    }

    fn trial(&self, call: Call, alone: bool) -> Trial {
        Trial { call, payer: self.payer(), payee: self.payee(), alone }
    }

    fn bad_signature(&self, message: &str) -> Trouble {
        match self.signed.authorization {
            Authorization::Eip3009(_) => refuse(reasons::EXACT_SIGNATURE, message),
            Authorization::Permit2(_) => refuse(reasons::PERMIT2_SIGNATURE, message),
        }
    }
}

/// Whether a payment can be settled at `now`, and will still be when its transaction lands.
pub(crate) fn in_window(charge: &Charge, now: u64) -> Result<(), Trouble> {
    let authorization = &charge.signed.authorization;
    let (ended, early) = match authorization {
        Authorization::Eip3009(_) => (reasons::EXACT_VALID_BEFORE, reasons::EXACT_VALID_AFTER),
        Authorization::Permit2(_) => (reasons::PERMIT2_DEADLINE, reasons::PERMIT2_NOT_YET_VALID),
    };
    if authorization.valid_before() < now.saturating_add(WINDOW_PADDING) {
        return Err(refuse(ended, "the payment has expired, or expires too soon to be settled"));
    }
    if authorization.valid_before() > agreement::latest_end(&charge.offer, now) {
        return Err(refuse(ended, "the payment stays valid for too long"));
    }
    if authorization.valid_after() > now {
        return Err(refuse(early, "the payment is not yet valid"));
    }
    Ok(())
}

pub(crate) fn refuse(reason: &'static str, message: impl Into<String>) -> Trouble {
    Trouble::Refused { reason: reason.into(), message: message.into() }
}

fn pick(offer: &PaymentRequirements, exact: &'static str, upto: &'static str) -> &'static str {
    if offer.scheme == UPTO { upto } else { exact }
}

impl From<RpcError> for Trouble {
    fn from(error: RpcError) -> Self {
        Self::Chain(error)
    }
}

impl From<PaymentFault> for Trouble {
    fn from(fault: PaymentFault) -> Self {
        match fault {
            PaymentFault::Refused { reason, message } => Self::Refused { reason: reason.into(), message },
            fault @ PaymentFault::Malformed { .. } => refuse(reason::INVALID_PAYLOAD, fault.to_string()),
        }
    }
}
