//! Assets that many offers name by an address: what people call them, and their decimal places.
//!
//! Only for showing. What an offer itself says about its asset is not believed anywhere.

use farthing::protocol::Amount;

use crate::style::{money, safe};

/// Network, address, name, decimal places.
const KNOWN: &[(&str, &str, &str, u8)] = &[
    ("eip155:1", "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48", "USDC", 6),
    ("eip155:137", "0x3c499c542cEF5E3811e1192ce70d8cC03d5c3359", "USDC", 6),
    ("eip155:8453", "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", "USDC", 6),
    ("eip155:42161", "0xaf88d065e77c8cC2239327C5EDb3A432268e5831", "USDC", 6),
    ("eip155:43114", "0xB97EF9Ef8734C71904D8002F8b6Bc66Dd9c48a6E", "USDC", 6),
    ("eip155:84532", "0x036CbD53842c5426634e7929541eC2318f3dCF7e", "USDC (test money)", 6),
    ("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v", "USDC", 6),
    (
        "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1",
        "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU",
        "USDC (test money)",
        6,
    ),
];

/// What people call a network.
const NETWORKS: &[(&str, &str)] = &[
    ("eip155:1", "Ethereum"),
    ("eip155:137", "Polygon"),
    ("eip155:8453", "Base"),
    ("eip155:42161", "Arbitrum One"),
    ("eip155:43114", "Avalanche"),
    ("eip155:84532", "Base Sepolia, a test network"),
    ("eip155:11155111", "Sepolia, a test network"),
    ("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "Solana"),
    ("solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1", "Solana devnet, a test network"),
];

/// What people call an asset, and its decimal places.
pub(crate) fn known(network: &str, asset: &str) -> Option<(&'static str, u8)> {
    // Hex addresses are the same in any case; Solana's are not.
    let same = |known: &str| known == asset || known.starts_with("0x") && known.eq_ignore_ascii_case(asset);
    let known = KNOWN.iter().find(|(on, address, ..)| *on == network && same(address));
    known.map(|(_, _, name, scale)| (*name, *scale))
}

/// An amount with its asset: in whole units where the asset is known here, else in atomic units.
pub(super) fn amount(network: &str, asset: &str, amount: Amount) -> String {
    match known(network, asset) {
        Some((name, scale)) => {
            format!("{} ({amount} atomic units of {})", money(amount, scale, name), safe(asset))
        }
        None => format!("{amount} atomic units of {}", safe(asset)),
    }
}

/// A network's id, with the name that people use.
pub(super) fn network(id: &str) -> String {
    let name = NETWORKS.iter().find(|(known, _)| *known == id).map(|(_, name)| *name);
    match name {
        Some(name) => format!("{id} ({name})"),
        None if id.starts_with("farthing:") => format!("{} (a farthing ledger)", safe(id)),
        None => safe(id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_asset_has_a_scale_only_on_its_own_network() {
        let address = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";
        let told = |network, asset: &str| amount(network, asset, Amount(10_000));
        assert!(told("eip155:84532", address).starts_with("0.01 USDC (test money) (10000"));
        assert!(told("eip155:84532", &address.to_lowercase()).starts_with("0.01 USDC"));
        assert!(told("eip155:8453", address).starts_with("10000 atomic units"));
        assert_eq!(told("farthing:00", "XTS"), "10000 atomic units of XTS");
    }
}
