//! The resource server's role: offers, and whether a payment is what was offered.

use farthing_protocol::rail::{Ask, Authorized, Flow, Offer, OfferError, Operation, Owner, PaymentFault};
use farthing_protocol::rail::{Presented, UnknownOutcome};
use farthing_protocol::siwx::SignInKind;
use farthing_protocol::v2::{PaymentPayload, PaymentRequirements, SettlementResponse};
use farthing_protocol::{Amount, Network, Price, v1};
use serde_json::{Map, Value, json};

use crate::wire::text::read_address;
use crate::wire::{EXACT, Signed, TokenDomain, UPTO, agreement};
use crate::{Asset, ConfigError, Transfer, sign_in};

/// Offers of one scheme on one EVM chain, in one token, paid to one address.
#[derive(Clone, Debug)]
pub struct EvmOffer {
    network: Network,
    asset: Asset,
    domain: TokenDomain,
    /// With a checksum, as all addresses here.
    pay_to: String,
    /// Who alone may settle; then the scheme is `upto`.
    facilitator: Option<String>,
}

impl EvmOffer {
    /// Offers of the scheme `exact`: the price is taken, all of it.
    ///
    /// # Errors
    /// [`ConfigError`] when the network is no EVM chain, or an address is none.
    pub fn exact(network: &Network, pay_to: &str, asset: Asset) -> Result<Self, ConfigError> {
        let domain = asset.domain(network)?;
        let pay_to = configured_address("payTo", pay_to)?;
        Ok(Self { network: network.clone(), asset, domain, pay_to, facilitator: None })
    }

    /// Offers of the scheme `upto`: at most the price is taken, by Permit2, and by `facilitator_address` alone,
    /// which is one of the signers that the facilitator names.
    ///
    /// # Errors
    /// As [`exact`](Self::exact).
    pub fn upto(
        network: &Network,
        pay_to: &str,
        asset: Asset,
        facilitator_address: &str,
    ) -> Result<Self, ConfigError> {
        let facilitator = Some(configured_address("facilitatorAddress", facilitator_address)?);
        Ok(Self { facilitator, ..Self::exact(network, pay_to, asset.moved_by(Transfer::Permit2))? })
    }

    fn extra(&self, ask: &Ask<'_>) -> Map<String, Value> {
        let mut extra = Map::new();
        let mut put = |key: &str, value: &str| extra.insert(key.to_owned(), json!(value));
        if self.asset.transfer == Transfer::Eip3009 || self.asset.eip2612 {
            put("name", &self.asset.name);
            put("version", &self.asset.version);
        }
        if self.asset.transfer == Transfer::Permit2 {
            put("assetTransferMethod", "permit2");
        }
        if let Some(facilitator) = &self.facilitator {
            put("facilitatorAddress", facilitator);
        }
        // What `upto` takes is known only after the request.
        if !ask.is_safe && self.facilitator.is_none() {
            put("paymentFlow", "upfront");
        }
        extra
    }
}

impl Offer for EvmOffer {
    fn network(&self) -> &Network {
        &self.network
    }

    fn scheme(&self) -> &str {
        if self.facilitator.is_some() { UPTO } else { EXACT }
    }

    fn flow(&self) -> Flow {
        Flow::Authorization
    }

    fn speaks_v1(&self) -> bool {
        let exact_3009 = self.facilitator.is_none() && self.asset.transfer == Transfer::Eip3009;
        exact_3009 && v1::name_of(&self.network).is_some()
    }

    fn amount(&self, price: &Price) -> Result<Amount, OfferError> {
        if price.currency() != self.asset.currency {
            let (asset, network) = (price.currency().to_owned(), self.network.to_string());
            return Err(OfferError::UnknownAsset { asset, network });
        }
        Ok(price.to_atomic(self.asset.decimals)?)
    }

    fn offer(&self, ask: &Ask<'_>) -> Result<PaymentRequirements, OfferError> {
        Ok(PaymentRequirements {
            scheme: self.scheme().to_owned(),
            network: self.network.clone(),
            amount: self.amount(ask.price)?,
            asset: self.domain.token.to_checksum(None),
            pay_to: self.pay_to.clone(),
            max_timeout_seconds: ask.max_timeout_seconds,
            extra: self.extra(ask),
        })
    }

    fn shown(&self, asset: &str, amount: Amount) -> Option<(String, String)> {
        let is_ours = asset.eq_ignore_ascii_case(&self.domain.token.to_checksum(None));
        is_ours.then(|| (amount.decimal(self.asset.decimals), self.asset.currency.clone().into_owned()))
    }

    fn dynamic_extra(&self) -> &[&str] {
        &[]
    }

    fn read(&self, payment: &PaymentPayload) -> Result<Presented, PaymentFault> {
        let signed = Signed::of_payment(payment)?;
        let authorization = &signed.authorization;
        Ok(Presented {
            id: authorization.payment_id(&self.domain),
            payer: authorization.payer().to_checksum(None),
            digest: None,
            max_amount: authorization.amount(),
            valid_before: authorization.valid_before(),
            capture_deadline: authorization.valid_before(),
        })
    }

    fn agrees(
        &self,
        payment: &PaymentPayload,
        offer: &PaymentRequirements,
        now: u64,
    ) -> Result<(), PaymentFault> {
        agreement::agrees(&Signed::of_payment(payment)?.authorization, offer, now)
    }

    fn sign_in(&self) -> Option<SignInKind> {
        Some(SignInKind::Eip191)
    }

    fn signed_in(&self, address: &str, text: &str, signature: &str) -> Option<String> {
        sign_in::signed(address, text, signature)
    }

    fn authorize(&self, payment: &PaymentPayload, _owner: &Owner) -> Result<PaymentPayload, PaymentFault> {
        Ok(payment.clone())
    }

    fn authorized(&self, _settlement: &SettlementResponse) -> Result<Authorized, UnknownOutcome> {
        Err(UnknownOutcome("nothing is held on an EVM chain".into()))
    }

    fn operate(
        &self,
        payment: &PaymentPayload,
        _presented: &Presented,
        _epoch: u64,
        _operation: &Operation,
    ) -> Result<PaymentPayload, PaymentFault> {
        Ok(payment.clone())
    }
}

/// Reads an address of a set-up; returns it with its checksum.
fn configured_address(field: &'static str, text: &str) -> Result<String, ConfigError> {
    let address = read_address(text).filter(|address| !address.is_zero());
    let address = address.map(|address| address.to_checksum(None));
    address.ok_or_else(|| ConfigError::new(field, "must be 0x and 40 hex digits, not all zero"))
}

#[cfg(test)]
mod tests;
