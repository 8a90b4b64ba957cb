//! What an account has: asked for by its owner, with a signature, because a ledger tells nobody else.
//!
//! Signed (layout version 1): domain `farthing/balances`, ledger (16 bytes), account (32), asOf (`u64`, Unix seconds).

use farthing_ledger::LedgerId;
use farthing_protocol::layout::Writer;
use farthing_protocol::rail::BalancesRequest;
use farthing_protocol::{Network, PublicKey, SecretKey, Signature, signature};

/// Seconds by which the time of asking may differ from the ledger's clock: as long can it be asked again by whoever
/// saw it.
pub const SKEW: u64 = 60;

/// The owner of `key` asks what its account has.
pub fn ask(network: &Network, ledger: &LedgerId, key: &SecretKey, now: u64) -> BalancesRequest {
    let account = key.public();
    let signature = key.sign(&signed(ledger, &account, now));
    BalancesRequest {
        network: network.clone(),
        account: account.to_string(),
        as_of: now,
        signature: signature.to_string(),
    }
}

/// The account that asks; `None` unless its own key signed this for `ledger` about `now`.
pub fn asker(request: &BalancesRequest, ledger: &LedgerId, now: u64) -> Option<PublicKey> {
    let account: PublicKey = request.account.parse().ok()?;
    let given: Signature = request.signature.parse().ok()?;
    let bytes = signed(ledger, &account, request.as_of);
    let is_fresh = request.as_of.abs_diff(now) <= SKEW;
    (is_fresh && signature::verify(&account, &bytes, &given).is_ok()).then_some(account)
}

fn signed(ledger: &LedgerId, account: &PublicKey, as_of: u64) -> Vec<u8> {
    Writer::new("farthing/balances", 1).fixed(&ledger.0).fixed(&account.0).u64(as_of).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_asks_and_only_about_now() {
        let key = SecretKey::from_seed([7; 32]);
        let ledger = LedgerId::of(&SecretKey::from_seed([8; 32]).public());
        let other = LedgerId::of(&SecretKey::from_seed([9; 32]).public());
        let network: Network = ledger.network();
        let asked = ask(&network, &ledger, &key, 1000);
        assert_eq!(asker(&asked, &ledger, 1000 + SKEW), Some(key.public()));
        assert_eq!(asker(&asked, &ledger, 1001 + SKEW), None, "too old");
        assert_eq!(asker(&asked, &ledger, 999 - SKEW), None, "from the future");
        assert_eq!(asker(&asked, &other, 1000), None, "for another ledger");
        let thief = SecretKey::from_seed([6; 32]);
        let stolen = BalancesRequest { account: thief.public().to_string(), ..asked.clone() };
        assert_eq!(asker(&stolen, &ledger, 1000), None, "for another account");
        let later = BalancesRequest { as_of: 1001, ..asked };
        assert_eq!(asker(&later, &ledger, 1000), None, "another time");
    }
}
