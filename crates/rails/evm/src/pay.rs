//! The client's role: judging offers, signing payments, and asking the chain what became of them.
//!
//! What is signed comes from this side's own list of tokens; of an offer, only the amount, the payee and the
//! facilitator's address are taken. With a connection to the chain, a payer whose token does not yet let
//! Permit2 take it signs for that too, so that it needs no gas.

mod allowance;
mod status;

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::SolCall;
use farthing_protocol::rail::{BoxFuture, Confirmation, NoBalance, OfferError, Pay, SignedPayment};
use farthing_protocol::siwx::{Info, Proof};
use farthing_protocol::v2::{Extensions, PaymentRequirements, SettlementResponse};
use farthing_protocol::{Amount, Network, RequestDigest, v1};
use serde_json::Value;

use self::allowance::Allowances;
use self::status::Settlements;
use crate::chain::{At, Call};
use crate::contracts::Token as Erc20;
use crate::rpc::{Rpc, malformed};
use crate::wire::payload::{Permitted, payment_id};
use crate::wire::text::read_address;
use crate::wire::{self, Authorization, EXACT, Permit, Signed, TokenDomain, UPTO, Witness};
use crate::{Asset, ConfigError, EvmKey, Transfer, sign_in};

/// Seconds that a signature is valid for at most, whatever the offer asks for.
const LONGEST_WINDOW: u64 = 3600;

/// Pays on one EVM chain from one key, in the tokens that it is told to trust.
#[derive(Debug)]
pub struct EvmPay {
    network: Network,
    key: EvmKey,
    tokens: Vec<Token>,
    rpc: Option<Rpc>,
    allowances: Allowances,
    settlements: Settlements,
}

/// A token that is trusted, with its domain on this chain.
#[derive(Debug)]
struct Token {
    asset: Asset,
    domain: TokenDomain,
}

impl EvmPay {
    /// Pays with `key` in `assets` alone, such as those of [`of_network`](crate::assets::of_network).
    ///
    /// # Errors
    /// [`ConfigError`] when the network is no EVM chain, or there is no asset, or one twice, or one has no
    /// address.
    pub fn new(network: &Network, key: EvmKey, assets: Vec<Asset>) -> Result<Self, ConfigError> {
        let mut tokens: Vec<Token> = Vec::with_capacity(assets.len());
        for asset in assets {
            let domain = asset.domain(network)?;
            if tokens.iter().any(|token| token.domain.token == domain.token) {
                return Err(ConfigError::new("assets", format!("has {} twice", asset.address)));
            }
            tokens.push(Token { asset, domain });
        }
        if tokens.is_empty() {
            return Err(ConfigError::new("assets", format!("has no token of {network}")));
        }
        let (allowances, settlements) = (Allowances::default(), Settlements::default());
        Ok(Self { network: network.clone(), key, tokens, rpc: None, allowances, settlements })
    }

    /// Asks the chain there: for what Permit2 may take, and for what became of payments. Without it, Permit2
    /// is paid with only where that was approved before, and payments stay unproven.
    #[must_use]
    pub fn rpc(self, rpc: Rpc) -> Self {
        Self { rpc: Some(rpc), ..self }
    }

    /// The address that pays.
    pub fn address(&self) -> String {
        self.key.address()
    }

    fn token(&self, asset: &str) -> Option<&Token> {
        let address = read_address(asset)?;
        self.tokens.iter().find(|token| token.domain.token == address)
    }

    /// The token that an offer asks for, if everything else in the offer is as it should be, and how it is
    /// moved.
    fn chosen(&self, offer: &PaymentRequirements) -> Result<(&Token, Transfer), OfferError> {
        if offer.network != self.network {
            return Err(field("network", "is not the one that this wallet pays on"));
        }
        let token = self.token(&offer.asset).ok_or_else(|| OfferError::UnknownAsset {
            asset: offer.asset.clone(),
            network: self.network.to_string(),
        })?;
        let asset = &token.asset;
        for (key, field_name, ours) in
            [("name", "extra.name", &asset.name), ("version", "extra.version", &asset.version)]
        {
            if text(offer, key, field_name)?.is_some_and(|theirs| theirs != &**ours) {
                return Err(field(field_name, "is not what the token of this address signs by"));
            }
        }
        match text(offer, "paymentFlow", "extra.paymentFlow")? {
            None | Some("authorization" | "upfront") => {}
            Some(_) => return Err(field("extra.paymentFlow", "is not one that this rail pays by")),
        }
        let method = text(offer, "assetTransferMethod", "extra.assetTransferMethod")?;
        match (&*offer.scheme, method) {
            (EXACT, None | Some("eip3009")) if asset.transfer == Transfer::Eip3009 => {
                Ok((token, Transfer::Eip3009))
            }
            (EXACT | UPTO, Some("permit2")) | (UPTO, None) => Ok((token, Transfer::Permit2)),
            (EXACT | UPTO, _) => {
                Err(field("extra.assetTransferMethod", "is not one by which this token is moved"))
            }
            _ => Err(field("scheme", "is not one that this rail pays")),
        }
    }

    /// What would be signed for an offer.
    fn draft(
        &self,
        offer: &PaymentRequirements,
        now: u64,
        nonce: [u8; 32],
    ) -> Result<(&Token, Authorization), OfferError> {
        let (token, transfer) = self.chosen(offer)?;
        let from = self.key.account();
        let to = address(&offer.pay_to, "payTo")?;
        let end = now.saturating_add(offer.max_timeout_seconds.min(LONGEST_WINDOW));
        let authorization = match transfer {
            Transfer::Eip3009 => Authorization::Eip3009(wire::Transfer {
                from,
                to,
                value: offer.amount,
                // The chain's clock may be behind this one, and nothing is gained by a later start.
                valid_after: 0,
                valid_before: end,
                nonce: B256::from(nonce),
            }),
            Transfer::Permit2 => {
                let facilitator = match &*offer.scheme {
                    UPTO => {
                        let name = "extra.facilitatorAddress";
                        let text = text(offer, "facilitatorAddress", name)?;
                        Some(address(text.ok_or_else(|| field(name, "is missing"))?, name)?)
                    }
                    _ => None,
                };
                Authorization::Permit2(Permit {
                    from,
                    permitted: Permitted { token: token.domain.token, amount: offer.amount },
                    spender: if facilitator.is_some() { wire::UPTO_PROXY } else { wire::EXACT_PROXY },
                    nonce: U256::from_be_bytes(nonce),
                    deadline: end,
                    witness: Witness { to, facilitator, valid_after: now.saturating_sub(wire::BACKDATE) },
                })
            }
        };
        Ok((token, authorization))
    }

    fn sign(&self, hash: &B256) -> Result<Bytes, OfferError> {
        let signature = self.key.sign(hash).map_err(|error| field("payload.signature", error.to_string()))?;
        Ok(Bytes::from(signature.as_bytes()))
    }
}

impl Pay for EvmPay {
    fn network(&self) -> &Network {
        &self.network
    }

    fn scale(&self, asset: &str) -> Option<u8> {
        self.token(asset).map(|token| token.asset.decimals)
    }

    /// A currency such as `USD` means the first token of it, the default.
    fn asset(&self, name: &str) -> Option<String> {
        let of_currency = || self.tokens.iter().find(|token| token.asset.currency == name);
        let token = self.token(name).or_else(of_currency)?;
        Some(token.domain.token.to_checksum(None))
    }

    fn currency(&self, asset: &str) -> String {
        self.token(asset).map_or(asset, |token| &*token.asset.currency).to_owned()
    }

    /// Version 1 knows transfers by EIP-3009 only, on networks that it has a name for.
    fn speaks_v1(&self) -> bool {
        let by_3009 = |token: &Token| token.asset.transfer == Transfer::Eip3009;
        v1::name_of(&self.network).is_some() && self.tokens.iter().any(by_3009)
    }

    fn look_up<'a>(&'a self, offer: &'a PaymentRequirements) -> BoxFuture<'a, Result<(), OfferError>> {
        Box::pin(self.look_up_allowance(offer))
    }

    fn judge(
        &self,
        offer: &PaymentRequirements,
        _digest: &RequestDigest,
        now: u64,
    ) -> Result<(), OfferError> {
        self.draft(offer, now, [0; 32]).map(|_| ())
    }

    fn pay(
        &self,
        offer: &PaymentRequirements,
        _digest: &RequestDigest,
        now: u64,
        random: [u8; 32],
    ) -> Result<SignedPayment, OfferError> {
        let (token, authorization) = self.draft(offer, now, random)?;
        let extensions = match &authorization {
            Authorization::Eip3009(_) => Extensions::default(),
            Authorization::Permit2(permit) => self.sponsoring(token, permit)?,
        };
        let hash = authorization.signing_hash(&token.domain);
        let (max_amount, end) = (authorization.amount(), authorization.valid_before());
        let id = payment_id(authorization.payer(), hash);
        let signed = Signed { signature: self.sign(&hash)?, authorization };
        let payload = serde_json::value::to_raw_value(&signed);
        Ok(SignedPayment {
            id,
            payload: payload.map_err(|error| field("payload", error.to_string()))?,
            extensions,
            max_amount,
            valid_before: end,
            capture_deadline: end,
        })
    }

    /// A seller's word alone proves nothing here; the chain is asked by [`status`](Self::status).
    fn confirm(&self, payment: &SignedPayment, settlement: &SettlementResponse) -> Confirmation {
        self.hear(payment, settlement)
    }

    fn status<'a>(&'a self, payment: &'a SignedPayment) -> BoxFuture<'a, Confirmation> {
        Box::pin(async move { self.ask_chain(payment).await.unwrap_or(Confirmation::Unproven) })
    }

    fn sign_in(&self, info: &Info) -> Option<Proof> {
        sign_in::prove(info, &self.network, &self.key)
    }

    fn balance<'a>(&'a self, asset: &'a str, _now: u64) -> BoxFuture<'a, Result<Amount, NoBalance>> {
        Box::pin(async move {
            let unknown = |why: String| NoBalance(why);
            let token =
                self.token(asset).ok_or_else(|| unknown(format!("{asset} is not a token of this wallet")))?;
            let rpc = self.rpc.as_ref().ok_or_else(|| unknown("this wallet has no node to ask".into()))?;
            let asked = Erc20::balanceOfCall { account: self.key.account() }.abi_encode();
            let calls = [Call::new(token.domain.token, asked)];
            let answer = rpc.call_all(&calls, At::Latest).await.into_iter().next();
            let answer =
                answer.unwrap_or_else(|| Err(malformed())).map_err(|error| unknown(error.to_string()))?;
            let owned = <[u8; 32]>::try_from(answer.as_ref()).ok().map(U256::from_be_bytes);
            let owned = owned.and_then(|owned| u128::try_from(owned).ok());
            owned.map(Amount).ok_or_else(|| unknown("the token's answer is no amount".into()))
        })
    }
}

fn field(field: &str, why: impl Into<String>) -> OfferError {
    OfferError::Field { field: field.to_owned(), why: why.into() }
}

/// A text of `extra`; `null` is none.
fn text<'a>(offer: &'a PaymentRequirements, key: &str, name: &str) -> Result<Option<&'a str>, OfferError> {
    match offer.extra.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(field(name, "is not a string")),
    }
}

fn address(text: &str, name: &str) -> Result<Address, OfferError> {
    let address = read_address(text).filter(|address| !address.is_zero());
    address.ok_or_else(|| field(name, "must be 0x and 40 hex digits, not all zero"))
}

#[cfg(test)]
mod tests;
