//! Tokens whose signing domains are known, by network.
//!
//! A signature for a token is bound to the token's own EIP-712 domain, its name and version there. Both come
//! from this table or from configuration, never from an offer, and are compared with the chain where there is
//! a connection to it.

use std::borrow::Cow;

use alloy_primitives::Address;
use farthing_protocol::Network;

use crate::ConfigError;
use crate::wire::text::read_address;
use crate::wire::{TokenDomain, configured_chain};

/// How a token is moved when the offer does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transfer {
    /// By the token's own `transferWithAuthorization`.
    Eip3009,
    /// By Permit2, which works for each ERC-20 token once its holder has approved Permit2.
    Permit2,
}

/// A token on one network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asset {
    /// Its contract: `0x` and 40 hex digits.
    pub address: Cow<'static, str>,
    /// The name in its EIP-712 domain.
    pub name: Cow<'static, str>,
    /// The version in its EIP-712 domain.
    pub version: Cow<'static, str>,
    /// Decimal places of one whole unit.
    pub decimals: u8,
    /// The currency of prices that it pays, such as `USD`.
    pub currency: Cow<'static, str>,
    /// How it is moved when the offer does not say.
    pub transfer: Transfer,
    /// Whether it takes EIP-2612 permits, so that its holders need no gas to approve Permit2.
    pub eip2612: bool,
}

impl Asset {
    /// A token that is not in the table, with EIP-2612.
    ///
    /// # Errors
    /// [`ConfigError::Field`] when the address is none, or a name is missing.
    pub fn new(
        address: &str,
        name: &str,
        version: &str,
        decimals: u8,
        currency: &str,
        transfer: Transfer,
    ) -> Result<Self, ConfigError> {
        let [address, name, version, currency] =
            [address, name, version, currency].map(|text| Cow::Owned(text.to_owned()));
        let asset = Self { address, name, version, decimals, currency, transfer, eip2612: true };
        asset.contract()?;
        if asset.currency.is_empty() || (asset.name.is_empty() && transfer == Transfer::Eip3009) {
            return Err(ConfigError::new("asset", "needs a name and a currency"));
        }
        Ok(asset)
    }

    /// The same token without EIP-2612.
    #[must_use]
    pub fn without_eip2612(self) -> Self {
        Self { eip2612: false, ..self }
    }

    /// The same token, moved by `transfer`.
    #[must_use]
    pub fn moved_by(self, transfer: Transfer) -> Self {
        Self { transfer, ..self }
    }

    /// The contract's address as bytes.
    pub(crate) fn contract(&self) -> Result<Address, ConfigError> {
        let address = read_address(&self.address).filter(|address| !address.is_zero());
        address.ok_or_else(|| ConfigError::new("asset.address", "must be 0x and 40 hex digits, not all zero"))
    }

    /// What its own signatures are bound to on `network`.
    pub(crate) fn domain(&self, network: &Network) -> Result<TokenDomain, ConfigError> {
        let (chain_id, token) = (configured_chain(network)?, self.contract()?);
        Ok(TokenDomain { chain_id, token, name: self.name.to_string(), version: self.version.to_string() })
    }
}

/// The known tokens of a network; the first is its default.
pub fn of_network(network: &Network) -> &'static [Asset] {
    let found = TABLE.iter().find(|(known, _)| *known == network.as_str());
    found.map_or(&[], |(_, assets)| assets)
}

/// The known networks.
pub fn networks() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(network, _)| *network)
}

/// A token for dollars that is moved by EIP-3009, with 6 decimals and EIP-2612.
const fn usd(address: &'static str, name: &'static str, version: &'static str) -> Asset {
    Asset {
        address: Cow::Borrowed(address),
        name: Cow::Borrowed(name),
        version: Cow::Borrowed(version),
        decimals: 6,
        currency: Cow::Borrowed("USD"),
        transfer: Transfer::Eip3009,
        eip2612: true,
    }
}

/// A token for dollars that is moved by Permit2.
const fn by_permit2(
    address: &'static str,
    name: &'static str,
    version: &'static str,
    decimals: u8,
    eip2612: bool,
) -> Asset {
    let (address, name, version) = (Cow::Borrowed(address), Cow::Borrowed(name), Cow::Borrowed(version));
    let currency = Cow::Borrowed("USD");
    Asset { address, name, version, decimals, currency, transfer: Transfer::Permit2, eip2612 }
}

static TABLE: &[(&str, &[Asset])] = &[
    ("eip155:1", &[usd("0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48", "USD Coin", "2")]),
    ("eip155:14", &[usd("0xe7cd86e13AC4309349F30B3435a9d337750fC82D", "USD\u{20ae}0", "1")]),
    ("eip155:50", &[usd("0xfA2958CB79b0491CC627c1557F441eF849Ca8eb1", "USDC", "2")]),
    ("eip155:51", &[usd("0xb5AB69F7bBada22B28e79C8FFAECe55eF1c771D4", "USDC", "2")]),
    ("eip155:137", &[usd("0x3c499c542cEF5E3811e1192ce70d8cC03d5c3359", "USD Coin", "2")]),
    ("eip155:143", &[usd("0x754704Bc059F8C67012fEd69BC8A327a5aafb603", "USDC", "2")]),
    ("eip155:988", &[usd("0x779Ded0c9e1022225f8E0630b35a9b54bE713736", "USDT0", "1")]),
    ("eip155:1328", &[usd("0x4fCF1784B31630811181f670Aea7A7bEF803eaED", "USDC", "2")]),
    ("eip155:1329", &[usd("0xe15fC38F6D8c56aF07bbCBe3BAf5708A2Bf42392", "USDC", "2")]),
    ("eip155:2201", &[usd("0x78Cf24370174180738C5B8E352B6D14c83a6c9A9", "USDT0", "1")]),
    ("eip155:4326", &[by_permit2("0xFAfDdbb3FC7688494971a79cc65DCa3EF82079E7", "MegaUSD", "1", 18, true)]),
    ("eip155:8453", &[usd("0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", "USD Coin", "2")]),
    ("eip155:31611", &[by_permit2("0x118917a40FAF1CD7a13dB0Ef56C86De7973Ac503", "Mezo USD", "1", 18, true)]),
    ("eip155:31612", &[by_permit2("0xdD468A1DDc392dcdbEf6db6e34E89AA338F9F186", "Mezo USD", "1", 18, true)]),
    ("eip155:36900", &[usd("0x9cb8142aEBBcdc60AF7c97Af897A67A8f3CA71C2", "USDC.e", "2")]),
    ("eip155:38833", &[by_permit2("0xA5b8BF902b2844dA17d4506cc827F7F1681735E7", "USDC", "1", 6, false)]),
    (
        "eip155:42220",
        &[
            usd("0xcebA9300f2b948710d2653dD7B07f33A8B32118C", "USDC", "2"),
            usd("0x48065fbBE25f71C9282ddf5e1cD6D6A887483D5e", "Tether USD", "1"),
            usd("0xD2ab3C9A02DBBAB236BfEC45D1d755DF4267F771", "Tether America USD", "1"),
        ],
    ),
    ("eip155:42161", &[usd("0xaf88d065e77c8cC2239327C5EDb3A432268e5831", "USD Coin", "2")]),
    ("eip155:43114", &[usd("0xB97EF9Ef8734C71904D8002F8b6Bc66Dd9c48a6E", "USD Coin", "2")]),
    (
        "eip155:72344",
        &[by_permit2("0x33ad9e4BD16B69B5BFdED37D8B5D9fF9aba014Fb", "Stable Coin", "1", 6, true)],
    ),
    ("eip155:84532", &[usd("0x036CbD53842c5426634e7929541eC2318f3dCF7e", "USDC", "2")]),
    ("eip155:181228", &[usd("0x401eCb1D350407f13ba348573E5630B83638E30D", "Bridged USDC", "2")]),
    ("eip155:190415", &[usd("0x401eCb1D350407f13ba348573E5630B83638E30D", "Bridged USDC", "2")]),
    ("eip155:421614", &[usd("0x75faf114eafb1BDbe2F0316DF893fd58CE46AA4d", "USD Coin", "2")]),
    (
        "eip155:723487",
        &[by_permit2("0x33ad9e4BD16B69B5BFdED37D8B5D9fF9aba014Fb", "Stable Coin", "1", 6, true)],
    ),
    ("eip155:11142220", &[usd("0x01C5C0122039549AD1493B8220cABEdD739BC44E", "USDC", "2")]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_of_the_table_has_the_right_checksum_and_each_network_stands_there_once() {
        let mut seen = std::collections::BTreeSet::new();
        for (network, assets) in TABLE {
            assert!(seen.insert(network), "{network} stands there twice");
            let network: Network = network.parse().unwrap();
            assert!(!assets.is_empty());
            for asset in *assets {
                assert_eq!(asset.contract().unwrap().to_checksum(None), asset.address);
                assert!(asset.domain(&network).is_ok());
            }
        }
    }

    #[test]
    fn a_price_in_dollars_finds_usdc_of_the_network() {
        let assets = of_network(&"eip155:84532".parse().unwrap());
        assert_eq!(assets[0].address, "0x036CbD53842c5426634e7929541eC2318f3dCF7e");
        assert_eq!((&*assets[0].name, &*assets[0].version, assets[0].decimals), ("USDC", "2", 6));
        assert_eq!(of_network(&"eip155:999999".parse().unwrap()), []);
    }

    #[test]
    fn a_token_of_ones_own_needs_an_address() {
        let with = |address: &str| Asset::new(address, "Play", "1", 18, "XTS", Transfer::Permit2);
        let play = with("0x036cbd53842c5426634e7929541ec2318f3dcf7e").unwrap();
        assert!(play.eip2612 && !play.clone().without_eip2612().eip2612);
        assert_eq!(play.moved_by(Transfer::Eip3009).transfer, Transfer::Eip3009);
        for wrong in
            ["", "0x0000000000000000000000000000000000000000", "036cbd53842c5426634e7929541ec2318f3dcf7e"]
        {
            assert!(matches!(with(wrong), Err(ConfigError::Field { field: "asset.address", .. })), "{wrong}");
        }
        assert!(
            Asset::new(
                &with("0x036cbd53842c5426634e7929541ec2318f3dcf7e").unwrap().address,
                "",
                "1",
                6,
                "USD",
                Transfer::Eip3009
            )
            .is_err()
        );
    }
}
