//! `farthing demo`: an agent buys pages from a server, with everything between them real but the money.
//!
//! [`world`] starts it all, [`story`] tells what happens step by step, [`load`] makes many requests,
//! [`report`] adds up and judges. [`chain`] does the same with a token on a development chain.

#[cfg(feature = "evm")]
mod chain;
mod load;
mod pages;
mod report;
mod story;
mod telling;
mod world;

use farthing::client::AssetId;
use farthing::protocol::Amount;
use farthing::{Budget, Client};
use serde_json::json;

use crate::Failure;
use crate::args::DemoArgs;
use crate::stop::Stop;
use crate::style::print;
use load::{Plan, units};
use report::Report;
use story::{Story, Told};
use world::{ASSET, World};

/// What the agent may spend on one request.
const PER_REQUEST: &str = "0.01 XTS";

/// How many requests the agent makes, unless asked otherwise.
const REQUESTS: u32 = 50;

/// Runs the command.
pub(crate) fn run(options: &DemoArgs) -> Result<(), Failure> {
    #[cfg(not(feature = "evm"))]
    if options.network.is_some() {
        return Err(Failure::bad_input(
            "this program was built without the feature `evm`, which --network needs",
        ));
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::unsound)?;
    runtime.block_on(async {
        let stop = Stop::listen()?;
        #[cfg(feature = "evm")]
        if let (Some(network), Some(rpc)) = (&options.network, &options.rpc) {
            return tokio::select! {
                told = chain::run(options, network, rpc) => told,
                () = stop.wanted() => Err(Failure::unsound("stopped before the end")),
            };
        }
        let world = World::start(options.data.as_deref(), options.port).await?;
        let done = demonstrate(options, &world, &stop).await;
        let closed = world.close().await;
        done.and(closed)
    })
}

async fn demonstrate(options: &DemoArgs, world: &World, stop: &Stop) -> Result<(), Failure> {
    if options.serve && options.json {
        print(&format!("{}\n", ready(world))).map_err(Failure::unsound)?;
    }
    let told = match options.no_story {
        true => None,
        false => tokio::select! {
            told = tell(options, world) => told?,
            () = stop.wanted() => return Err(Failure::unsound("stopped before the end")),
        },
    };
    if options.serve {
        if !options.json {
            print(&story::things_to_try(world, told.as_ref())).map_err(Failure::unsound)?;
        }
        stop.wanted().await;
    }
    Ok(())
}

/// The story, the many requests and the judgement.
async fn tell(options: &DemoArgs, world: &World) -> Result<Option<Told>, Failure> {
    let plan = Plan::new(options.requests.unwrap_or(REQUESTS) as usize, world.scale())?;
    let (outcome, told) = if options.json {
        let client = agent(world, plan.cost)?;
        (load::run(&world.origin, &client, &plan, true).await?, None)
    } else {
        let budget = Amount(plan.cost.0 + units(pages::FIRST, world.scale())?.0);
        let client = agent(world, budget)?;
        let told = Story::new(world, &client, budget).tell().await?;
        if plan.requests() > 0 {
            print(&story::many_requests(world, &plan, budget)).map_err(Failure::unsound)?;
        }
        (load::run(&world.origin, &client, &plan, false).await?, Some(told))
    };
    let report = Report::new(world, &outcome, told.as_ref()).await?;
    let text = if options.json { report.line() } else { report.table() };
    print(&text).map_err(Failure::unsound)?;
    report.verdict().map(|()| told)
}

/// The agent: a client with a wallet and a budget.
fn agent(world: &World, budget: Amount) -> Result<Client, Failure> {
    let asset = AssetId { network: world.network().clone(), asset: ASSET.into() };
    let budget = Budget::units(asset, budget).per_request(PER_REQUEST).map_err(Failure::unsound)?;
    Client::builder()
        .allow_any_origin()
        .rail(world.wallet.clone())
        .budget(budget)
        .build()
        .map_err(Failure::unsound)
}

/// What programs need to know about a server that is ready.
fn ready(world: &World) -> String {
    let page = |page: &pages::Page| json!({ "path": page.path, "price": page.price });
    json!({
        "listening": world.origin,
        "ledger": world.ledger_url(),
        "network": world.network().to_string(),
        "data": world.data.display().to_string(),
        "agent_key": world.data.join("agent.key").display().to_string(),
        "pages": pages::all().map(page).collect::<Vec<_>>(),
    })
    .to_string()
}
