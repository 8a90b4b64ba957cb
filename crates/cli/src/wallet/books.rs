//! What an account has on a ledger in a directory, and play money for it.

use std::path::Path;

use farthing::client::keystore::{Kind, Name};
use farthing::farthing_ledger::engine::{EmbeddedStorage, Storage};
use farthing::farthing_ledger::rows::{Genesis, Mode, Table};
use farthing::protocol::{Price, PublicKey};
use farthing::{Ledger, LocalLedger, Options};
use serde_json::json;

use super::{account, say};
use crate::Failure;
use crate::args::wallet::{BalanceArgs, DepositArgs, Place};
use crate::style::{money, safe};

/// The play money of ISO 4217.
const PLAY: &str = "XTS";

/// `farthing wallet balance`.
pub(super) fn balance(options: &BalanceArgs) -> Result<(), Failure> {
    let key = key(&options.place, &options.name)?;
    let genesis = genesis(&options.data)?;
    let mut rows = Vec::new();
    block_on(async {
        let ledger = Ledger::open(&options.data, Options::of(&genesis)).map_err(refused)?;
        for asset in ledger.terms().await.map_err(refused)?.assets {
            let code = asset.code.parse().map_err(refused)?;
            rows.push((ledger.balance(key, code).await.map_err(refused)?, asset));
        }
        Ok(())
    })?;
    let text = match options.place.json {
        true => {
            let told = rows.iter().map(|(amount, asset)| {
                json!({ "asset": asset.code, "amount": amount.to_string(), "scale": asset.scale })
            });
            format!("{}\n", json!({ "name": options.name, "balances": told.collect::<Vec<_>>() }))
        }
        false => rows
            .iter()
            .map(|(amount, asset)| format!("{}\n", money(*amount, asset.scale, &asset.code)))
            .collect(),
    };
    say(&text)
}

/// `farthing wallet deposit`.
pub(super) fn deposit(options: &DepositArgs) -> Result<(), Failure> {
    let price: Price =
        options.amount.parse().map_err(|error| refused(format!("{:?}: {error}", options.amount)))?;
    if price.currency() != PLAY {
        return Err(refused(format!("only play money can be deposited: an amount of {PLAY}")));
    }
    let key = key(&options.place, &options.name)?;
    let Mode::ClosedLoop { seller, .. } = genesis(&options.data)?.mode else {
        return Err(refused(format!("{} holds no ledger with play money", options.data.display())));
    };
    if !options.data.join("issuer.key").is_file() {
        return Err(refused(format!("{} has no issuer.key to deposit with", options.data.display())));
    }
    let amount = block_on(async {
        let ledger = LocalLedger::open(&options.data, seller).await.map_err(refused)?;
        ledger.deposit(key, &options.amount).await.map_err(refused)
    })?;
    let text = match options.place.json {
        true => json!({ "name": options.name, "asset": PLAY, "deposited": amount.to_string() }).to_string(),
        false => format!("{} deposited to {}", safe(&options.amount), options.name),
    };
    say(&format!("{text}\n"))
}

/// The public key of an account that is on farthing ledgers.
fn key(place: &Place, name: &Name) -> Result<PublicKey, Failure> {
    let account = account(place, name)?;
    if account.kind != Kind::Farthing {
        return Err(refused(format!("{name} is an account on EVM chains, not on farthing ledgers")));
    }
    let key = farthing::protocol::signature::lower_hex::<32>(&account.public).map(PublicKey);
    key.ok_or_else(|| refused(format!("{name} has no public key")))
}

/// What the ledger in `directory` was made with.
fn genesis(directory: &Path) -> Result<Genesis, Failure> {
    let mut storage = EmbeddedStorage::read(directory).map_err(refused)?;
    let genesis = storage.get(Table::Meta, b"genesis").map_err(refused)?;
    let genesis = genesis.and_then(|genesis| Genesis::read(&genesis).ok());
    genesis
        .ok_or_else(|| refused(format!("{} holds no ledger that was made to its end", directory.display())))
}

fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Failure::unsound)?.block_on(work)
}

fn refused(why: impl std::fmt::Display) -> Failure {
    Failure::bad_input(safe(&why.to_string()))
}
