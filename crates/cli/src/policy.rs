//! `farthing policy`: what an agent may pay, in one file.

use std::io::Write;
use std::os::unix::fs::DirBuilderExt;

use farthing::agent::Home;
use farthing::client::keystore::Name;
use farthing::client::policy_file::PolicyFile;
use farthing::facilitator::RemoteFacilitator;
use farthing::protocol::rail::Facilitator;
use farthing::protocol::{Network, Origin, Price};
use serde_json::{Value, json};

use crate::Failure;
use crate::args::policy::{CheckArgs, InitArgs, PolicyCommand};
use crate::home;
use crate::ledger::file::make;
use crate::style::{print, safe};

/// Runs one of the commands.
pub(crate) fn run(command: &PolicyCommand) -> Result<(), Failure> {
    match command {
        PolicyCommand::Init(options) => init(options),
        PolicyCommand::Check(options) => check(options),
    }
}

/// What is paid with: a network, and the word for the asset there.
struct Money {
    network: Network,
    asset: String,
    /// The line of `[[wallet]]` that says how the network is reached.
    reached: String,
}

fn init(options: &InitArgs) -> Result<(), Failure> {
    let home = home::directory(options.place.home.as_ref())?;
    let path = home.policy();
    if path.exists() {
        return Err(refused(format!("{} is there already", path.display())));
    }
    let _: Name = options.account.parse().map_err(refused)?;
    let total = price(&options.total)?;
    let money = match (&options.ledger, &options.network) {
        (Some(url), _) => on_ledger(url, &total)?,
        (None, Some(network)) => on_chain(network, &options.rpc, &total)?,
        (None, None) => return Err(refused("say where to pay: --ledger or --network")),
    };
    let origins = origins(options)?;
    let text = written(options, &origins, &money, &total)?;
    // What it says is read the way it will be read when something is paid.
    PolicyFile::parse(&path, &text).map_err(refused)?;
    write(&home, &text)?;
    let said = match options.place.json {
        true => json!({ "policy": path, "network": money.network, "asset": money.asset }).to_string(),
        false => safe(&format!("{} allows {total} at {}", path.display(), origins.join(", "))),
    };
    print(&format!("{said}\n")).map_err(Failure::unsound)
}

fn check(options: &CheckArgs) -> Result<(), Failure> {
    let home = home::directory(options.place.home.as_ref())?;
    let policy = PolicyFile::read(home.policy()).map_err(|error| home::policy_failed(&home, &error))?;
    let text = match options.place.json {
        true => {
            let wallet = |wallet: &farthing::client::policy_file::WalletEntry| json!({ "network": wallet.network, "account": wallet.account });
            let wallets: Vec<Value> = policy.wallets().iter().map(wallet).collect();
            format!(
                "{}\n",
                json!({ "agent": policy.agent(), "wallets": wallets, "allows": policy.to_string() })
            )
        }
        false => policy.to_string().lines().map(|line| format!("{}\n", safe(line))).collect(),
    };
    print(&text).map_err(Failure::unsound)
}

/// Where it pays: as asked, else where the ledger is.
fn origins(options: &InitArgs) -> Result<Vec<String>, Failure> {
    match &options.ledger {
        Some(url) if options.origin.is_empty() => {
            let (origin, _) = Origin::of_url(url).map_err(refused)?;
            Ok(vec![origin.to_string()])
        }
        _ => Ok(options.origin.clone()),
    }
}

/// The file's text. Nothing in it can be more than the value of its key: each value is checked or quoted.
fn written(options: &InitArgs, origins: &[String], money: &Money, total: &Price) -> Result<String, Failure> {
    let Money { network, asset, reached } = money;
    let quoted = |text: &str| Value::from(text).to_string();
    let origins: Vec<String> = origins.iter().map(|origin| quoted(origin)).collect();
    let mut text = format!(
        "# What this agent may pay. Nothing else is paid; `farthing policy check` says what this allows.\n\n\
         origins = [{}]\n\n[[wallet]]\nnetwork = \"{network}\"\n{reached}\naccount = {}\n\n\
         [[budget]]\nnetwork = \"{network}\"\nasset = {}\ntotal = \"{}\"\n",
        origins.join(", "),
        quoted(&options.account),
        quoted(asset),
        number(total)
    );
    for (key, limit) in [("per_request", &options.per_request), ("per_day", &options.per_day)] {
        if let Some(limit) = limit {
            let limit = price(limit)?;
            if limit.currency() != total.currency() {
                return Err(refused(format!("--total is in {}, and {key} is not", total.currency())));
            }
            text += &format!("{key} = \"{}\"\n", number(&limit));
        }
    }
    Ok(text)
}

/// The ledger behind a facilitator, by its own signed word.
fn on_ledger(url: &str, total: &Price) -> Result<Money, Failure> {
    let remote = RemoteFacilitator::builder(url).build().map_err(refused)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let supported = runtime.map_err(Failure::unsound)?.block_on(remote.supported());
    let supported = supported.map_err(|error| Failure::unsound(safe(&format!("{url}: {error}"))))?;
    let ledgers = supported.kinds.iter().filter(|kind| kind.network.starts_with("farthing:"));
    let mut networks: Vec<&str> = ledgers.clone().map(|kind| kind.network.as_str()).collect();
    networks.dedup();
    let [network] = networks[..] else {
        return Err(refused(format!("{url} settles on {} farthing ledgers, not on one", networks.len())));
    };
    let has = |kind: &farthing::protocol::v2::SupportedKind| {
        let assets = kind.extra.as_ref().and_then(|extra| extra.get("assets")?.as_array());
        assets.is_some_and(|assets| assets.iter().any(|asset| asset["code"] == total.currency()))
    };
    if !ledgers.clone().any(has) {
        return Err(refused(format!("the ledger at {url} has no asset {}", total.currency())));
    }
    Ok(Money {
        network: network.parse().map_err(refused)?,
        asset: total.currency().to_owned(),
        reached: format!("ledger = {}", Value::from(url)),
    })
}

#[cfg(feature = "evm")]
fn on_chain(network: &str, rpc: &[String], total: &Price) -> Result<Money, Failure> {
    let network: Network = network.parse().map_err(refused)?;
    let known = farthing::evm::assets::of_network(&network);
    let asset = known.iter().find(|asset| &*asset.currency == total.currency());
    let unknown = || refused(format!("no token of {network} is known for {}", total.currency()));
    let asset = asset.ok_or_else(unknown)?.address.to_string();
    let rpc: Vec<String> = rpc.iter().map(|url| Value::from(url.as_str()).to_string()).collect();
    Ok(Money { network, asset, reached: format!("rpc = [{}]", rpc.join(", ")) })
}

#[cfg(not(feature = "evm"))]
fn on_chain(_network: &str, _rpc: &[String], _total: &Price) -> Result<Money, Failure> {
    Err(refused("this program was built without chains"))
}

/// Writes the file with mode 0600, and never over another.
fn write(home: &Home, text: &str) -> Result<(), Failure> {
    let path = home.policy();
    let failed = |error: std::io::Error| refused(format!("{}: {error}", path.display()));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(home.directory()).map_err(failed)?;
    let write = |out: &mut dyn Write| out.write_all(text.as_bytes()).map_err(|error| error.to_string());
    make(&path, write, |_| Ok(())).map_err(refused)
}

fn price(text: &str) -> Result<Price, Failure> {
    text.parse().map_err(|error| refused(format!("{text:?}: {error}")))
}

/// A price without its currency.
fn number(price: &Price) -> String {
    let text = price.to_string();
    text.chars().filter(|c| c.is_ascii_digit() || *c == '.').collect()
}

fn refused(why: impl std::fmt::Display) -> Failure {
    Failure::bad_input(safe(&why.to_string()))
}
