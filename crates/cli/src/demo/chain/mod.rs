//! `farthing demo --network`: the same agent and server, with a token on a development chain for money.
//!
//! [`node`] asks the chain, [`accounts`] are those that development chains begin with, [`world`] starts the
//! facilitator, the server and the wallet, [`story`] tells what happens, [`report`] judges by the balances on the
//! chain.

mod accounts;
mod node;
mod report;
mod story;
mod world;

use farthing::client::AssetId;
use farthing::evm::{Asset, Transfer, assets};
use farthing::protocol::{Amount, Network, v1};
use farthing::{Budget, Client};

use super::load::{self, Plan, units};
use super::pages::FIRST;
use crate::Failure;
use crate::args::DemoArgs;
use crate::style::print;
use node::Node;
use report::Report;
use story::Story;
use world::World;

/// How many requests the agent makes, unless asked otherwise: each is a transaction.
const REQUESTS: u32 = 20;
/// What the agent may spend on one request, in whole units of the token.
const PER_REQUEST: &str = "0.01";

/// Starts everything, tells the story, and judges.
pub(super) async fn run(options: &DemoArgs, network: &str, rpc: &str) -> Result<(), Failure> {
    let network = chain(network, options.token.is_some())?;
    let node = Node::connect(rpc, &network).await?;
    let asset = token(&node, &network, options.token.as_deref()).await?;
    let plan = Plan::new(options.requests.unwrap_or(REQUESTS) as usize, asset.decimals)?;
    let budget = Amount(plan.cost.0 + units(FIRST, asset.decimals)?.0);
    let world = World::start(node, network, asset, budget, options.port).await?;
    let told = tell(options, &world, &plan, budget).await;
    let closed = world.close().await;
    told.and(closed)
}

async fn tell(options: &DemoArgs, world: &World, plan: &Plan, budget: Amount) -> Result<(), Failure> {
    let before = world.balances().await?;
    let (outcome, told) = if options.json {
        let client = agent(world, plan.cost)?;
        (load::run(&world.origin, &client, plan, true).await?, None)
    } else {
        let client = agent(world, budget)?;
        let told = Story::new(world, &client, budget).tell().await?;
        if plan.requests() > 0 {
            print(&story::many_requests(world, plan, budget)).map_err(Failure::unsound)?;
        }
        (load::run(&world.origin, &client, plan, false).await?, Some(told))
    };
    let report = Report::new(world, &outcome, told, before, world.balances().await?)?;
    let text = if options.json { report.line() } else { report.table() };
    print(&text).map_err(Failure::unsound)?;
    report.verdict()
}

/// The agent: a client with a wallet and a budget.
fn agent(world: &World, budget: Amount) -> Result<Client, Failure> {
    let asset = AssetId { network: world.network.clone(), asset: world.asset.address.to_string() };
    let limit: farthing::protocol::Price =
        format!("{PER_REQUEST} {}", world.asset.currency).parse().map_err(Failure::unsound)?;
    let limit = limit.to_atomic(world.asset.decimals).map_err(Failure::unsound)?;
    let budget = Budget::units(asset, budget).per_request_units(limit);
    Client::builder()
        .allow_any_origin()
        .rail(world.wallet.clone())
        .budget(budget)
        .build()
        .map_err(Failure::unsound)
}

/// The chain that `--network` names.
fn chain(text: &str, with_token: bool) -> Result<Network, Failure> {
    let network: Option<Network> = v1::network_of(text).or_else(|| text.parse().ok());
    let is_chain = |network: &Network| {
        network.namespace() == "eip155" && network.reference().parse::<u64>().is_ok_and(|id| id > 0)
    };
    let Some(network) = network.filter(is_chain) else {
        return Err(Failure::bad_input(format!(
            "--network: {text:?} is no EVM chain; write it like eip155:84532"
        )));
    };
    if assets::of_network(&network).is_empty() && !with_token {
        return Err(Failure::bad_input(format!(
            "--network: no token of {network} is known; name one with --token"
        )));
    }
    Ok(network)
}

/// The token that is paid with: known from the table, else by its own words.
async fn token(node: &Node, network: &Network, named: Option<&str>) -> Result<Asset, Failure> {
    let known = assets::of_network(network);
    let same = |asset: &&Asset| named.is_none_or(|named| asset.address.eq_ignore_ascii_case(named));
    let asset = match (known.iter().find(same), named) {
        (Some(known), _) => {
            node.needs_code(&known.address).await?;
            known.clone()
        }
        (None, Some(named)) => {
            // Only to look at its address before the chain is asked about it.
            let with = |name: &str, version: &str, decimals| {
                Asset::new(named, name, version, decimals, "USD", Transfer::Eip3009)
                    .map_err(|error| Failure::bad_input(format!("--token: {error}")))
            };
            with("?", "?", 0)?;
            node.needs_code(named).await?;
            let (name, version, decimals) = node.describe(named).await?;
            with(&name, &version, decimals)?
        }
        (None, None) => return Err(Failure::bad_input(format!("--network: no token of {network} is known"))),
    };
    if asset.transfer != Transfer::Eip3009 {
        return Err(Failure::bad_input(format!(
            "--network: the known token of {network} has no EIP-3009, which this demonstration shows; name another with --token"
        )));
    }
    Ok(asset)
}
