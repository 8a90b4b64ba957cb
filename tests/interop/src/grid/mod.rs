//! The runner: starts the chain and every program, has the clients pay, and judges each cell by what the chain says.
//!
//! Facilitators work at the same time, each with servers of its own; the cells of one facilitator run one after the
//! other. Each cell has its own payer, and each server its own payee, so that balances tell what a cell moved.

mod cells;
mod programs;
mod results;
mod seen;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use alloy_signer_local::PrivateKeySigner;
use farthing_testkit::anvil::Anvil;
use sha2::{Digest, Sha256};

use cells::{Case, Cell, Client, Facilitator, Method, Server};
use programs::{Job, PRICE, Program, Starter};
use results::Results;
use seen::{Moved, Seen, Verdict};

/// Runs the grid and prints its table.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// The programs of `node/` with their packages beside them.
    #[arg(long)]
    node: PathBuf,
    /// The Python environment that has the packages of `python/`.
    #[arg(long)]
    python: PathBuf,
    /// The programs of `python/`.
    #[arg(long)]
    programs: PathBuf,
    /// Where what the programs complain about goes.
    #[arg(long)]
    logs: PathBuf,
    /// Where the table is written.
    #[arg(long)]
    results: Option<PathBuf>,
    /// Runs only the cells whose names contain this; the table is printed, not written.
    #[arg(long)]
    only: Option<String>,
}

/// A key of the grid's own, by what it is for.
struct Account {
    key: String,
    address: String,
}

impl Account {
    fn of(purpose: &str) -> Result<Self, String> {
        let secret: [u8; 32] = Sha256::digest(format!("farthing interop {purpose}")).into();
        let signer = PrivateKeySigner::from_slice(&secret).map_err(|error| error.to_string())?;
        let key = secret.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        Ok(Self { key: format!("0x{key}"), address: signer.address().to_checksum(None) })
    }
}

/// Runs the grid.
///
/// # Errors
/// When a program does not start, or a cell is red.
pub(crate) async fn run(args: &Args) -> Result<(), String> {
    let start = Instant::now();
    std::fs::create_dir_all(&args.logs).map_err(|error| format!("{}: {error}", args.logs.display()))?;
    let wanted = |cell: &&Cell| args.only.as_ref().is_none_or(|part| cell.to_string().contains(part));
    let cells: Vec<Cell> = Cell::all().iter().filter(wanted).copied().collect();
    let (left_out, cells): (Vec<_>, Vec<_>) = cells.into_iter().partition(|cell| cell.left_out().is_some());

    let chain = Arc::new(Chain { anvil: Anvil::start(), funding: Mutex::new(()) });
    let starter = Starter::new(args, chain.anvil.url());
    let clients = Arc::new(start_clients(&starter, &cells).await?);
    let mut lanes = Vec::new();
    for &facilitator in Facilitator::ALL {
        let of = |cell: &&Cell| cell.facilitator == facilitator;
        let cells: Vec<Cell> = cells.iter().filter(of).copied().collect();
        if !cells.is_empty() {
            let lane = Lane { chain: chain.clone(), starter: starter.clone(), clients: clients.clone() };
            lanes.push(tokio::spawn(lane.run(facilitator, cells)));
        }
    }
    let mut results = Results::new(&cells, &left_out);
    for lane in lanes {
        for (cell, verdict) in lane.await.map_err(|error| error.to_string())?? {
            results.put(&cell, verdict);
        }
    }
    println!("{}", results.for_people());
    println!("{} in {:.0} s", results.summary(), start.elapsed().as_secs_f64());
    if let (Some(path), None) = (&args.results, &args.only) {
        std::fs::write(path, results.markdown()).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if results.all_green() { Ok(()) } else { Err(results.summary()) }
}

type Clients = HashMap<String, Program>;

async fn start_clients(starter: &Starter, cells: &[Cell]) -> Result<Clients, String> {
    let needed = |client: &&Client| cells.iter().any(|cell| cell.client == **client);
    let starting = Client::ALL.iter().filter(needed).map(|&client| {
        let starter = starter.clone();
        tokio::spawn(async move { starter.client(client).await.map(|program| (client.to_string(), program)) })
    });
    let mut clients = Clients::new();
    for client in starting.collect::<Vec<_>>() {
        let (name, program) = client.await.map_err(|error| error.to_string())??;
        clients.insert(name, program);
    }
    Ok(clients)
}

/// The private chain.
struct Chain {
    anvil: Anvil,
    /// Whoever mints sends from the same account as everybody who does.
    funding: Mutex<()>,
}

impl Chain {
    /// Gives a payer what its cell needs.
    fn fund(&self, cell: &Cell, payer: &str) {
        let _turn = self.funding.lock().unwrap_or_else(PoisonError::into_inner);
        let funds = if cell.case == Case::Underfunded { PRICE - 1 } else { PRICE * 10 };
        self.anvil.mint(cell.token(), payer, funds);
        match cell.method {
            Method::Permit2 | Method::Upto => self.anvil.approve_permit2(cell.token(), payer),
            // The approval is the payer's own transaction, whoever sends it.
            Method::Erc20 => self.anvil.give_ether(payer, 10_u128.pow(18)),
            Method::Eip3009 | Method::Eip2612 => {}
        }
    }

    /// The tokens of an account, in atomic units.
    fn balance(&self, token: &str, account: &str) -> i128 {
        i128::try_from(self.anvil.balance(token, account)).unwrap_or(i128::MAX)
    }
}

/// The cells of one facilitator.
struct Lane {
    chain: Arc<Chain>,
    starter: Starter,
    clients: Arc<Clients>,
}

/// A server, and who is paid there.
struct Shop {
    program: Program,
    payee: String,
}

impl Lane {
    async fn run(self, facilitator: Facilitator, cells: Vec<Cell>) -> Result<Vec<(Cell, Verdict)>, String> {
        let account = Account::of(&format!("facilitator {facilitator}"))?;
        self.chain.anvil.give_ether(&account.address, 10_u128.pow(20));
        let program = self.starter.facilitator(facilitator, &account.key).await?;
        let shops = self.shops((facilitator, program.port()), &cells).await?;
        let mut verdicts = Vec::new();
        for cell in cells {
            let verdict = self.cell(&cell, &shops[&cell.server.to_string()]).await?;
            println!("{} {cell}: {}", if verdict.green { "green" } else { "RED  " }, verdict.seen);
            verdicts.push((cell, verdict));
        }
        Ok(verdicts)
    }

    async fn shops(
        &self,
        facilitator: (Facilitator, u16),
        cells: &[Cell],
    ) -> Result<HashMap<String, Shop>, String> {
        let needed = |server: &&Server| cells.iter().any(|cell| cell.server == **server);
        let mut starting = Vec::new();
        for &server in Server::ALL.iter().filter(needed) {
            let payee = Account::of(&format!("payee {server} {}", facilitator.0))?.address;
            let starter = self.starter.clone();
            starting.push(tokio::spawn(async move {
                let program = starter.server(server, &payee, facilitator).await?;
                Ok::<_, String>((server.to_string(), Shop { program, payee }))
            }));
        }
        let mut shops = HashMap::new();
        for shop in starting {
            let (server, shop) = shop.await.map_err(|error| error.to_string())??;
            shops.insert(server, shop);
        }
        Ok(shops)
    }

    async fn cell(&self, cell: &Cell, shop: &Shop) -> Result<Verdict, String> {
        let payer = Account::of(&format!("payer {cell}"))?;
        self.chain.fund(cell, &payer.address);
        let balance = |account| self.chain.balance(cell.token(), account);
        let balances = || (balance(&payer.address), balance(&shop.payee));
        let before = balances();
        let seen = self.seen(cell, &payer, shop).await;
        let after = balances();
        let moved = Moved { paid: before.0 - after.0, received: after.1 - before.1 };
        Ok(seen.judge(cell, &payer.address, moved))
    }

    async fn seen(&self, cell: &Cell, payer: &Account, shop: &Shop) -> Seen {
        let lie = match cell.case {
            Case::Pays | Case::Replayed | Case::Underfunded => None,
            lie => Some(lie.to_string()),
        };
        let again =
            (cell.case == Case::Replayed).then(|| shop.program.url(&format!("{}/other", cell.path())));
        let job =
            Job { key: &payer.key, url: shop.program.url(cell.path()), version: cell.version, lie, again };
        self.starter.job(&self.clients[&cell.client.to_string()], &job).await
    }
}
