//! What an account has on a ledger in a directory, and play money for it.

use std::path::Path;

use farthing::client::keystore::{Kind, Name};
use farthing::farthing_ledger::engine::{EmbeddedStorage, Storage};
use farthing::farthing_ledger::rows::{Genesis, Mode, Table};
use farthing::farthing_ledger::statement::AssetTerms;
use farthing::protocol::rail::Pay;
use farthing::protocol::{Amount, Price, PublicKey};
use farthing::{Ledger, LocalLedger, Options};
use serde_json::json;

use super::{account, say};
use crate::Failure;
use crate::args::wallet::{BalanceArgs, DepositArgs, Place};
use crate::style::{money, safe, unix_now};

/// The play money of ISO 4217.
const PLAY: &str = "XTS";

/// `farthing wallet balance`.
pub(super) fn balance(options: &BalanceArgs) -> Result<(), Failure> {
    let key = key(&options.place, &options.name)?;
    let rows = match (&options.ledger, &options.data) {
        (Some(url), _) => asked(options, url)?,
        (None, Some(directory)) => read(directory, key)?,
        (None, None) => return Err(refused("say where the ledger is: --data or --ledger")),
    };
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

/// What the ledger in a directory says.
fn read(directory: &Path, key: PublicKey) -> Result<Vec<(Amount, AssetTerms)>, Failure> {
    let genesis = genesis(directory)?;
    block_on(async {
        let ledger = Ledger::open(directory, Options::of(&genesis)).map_err(refused)?;
        let mut rows = Vec::new();
        for asset in ledger.terms().await.map_err(refused)?.assets {
            let code = asset.code.parse().map_err(refused)?;
            rows.push((ledger.balance(key, code).await.map_err(refused)?, asset));
        }
        Ok(rows)
    })
}

/// What the ledger behind a URL says to the owner of the account.
fn asked(options: &BalanceArgs, url: &str) -> Result<Vec<(Amount, AssetTerms)>, Failure> {
    let secret = super::secret(&options.name, &options.place, &options.opening)?;
    let key = secret.farthing().ok_or_else(|| refused("this account is not for farthing ledgers"))?;
    block_on(async {
        let wallet = farthing::wallet(url, key).await.map_err(|error| match error {
            farthing::Error::Config(_) => refused(error),
            error => Failure::unsound(safe(&format!("{url}: {error}"))),
        })?;
        let mut rows = Vec::new();
        for asset in &wallet.terms().assets {
            let amount = wallet.balance(&asset.code, unix_now()).await;
            let unsound = |error| Failure::unsound(safe(&format!("{url}: {error}")));
            rows.push((amount.map_err(unsound)?, asset.clone()));
        }
        Ok(rows)
    })
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
