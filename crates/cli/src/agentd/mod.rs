//! `farthing agentd`: one wallet, one policy and one budget for programs in any language, as a service on
//! this machine only. `spec/agentd.md` describes it.
//!
//! [`listen`] says where it is reached, [`guard`] who may reach it, [`asked`] what it reads, [`fetch`] what it
//! does, [`answer`] and [`problem`] what it answers, [`tell`] what else it tells.

mod answer;
mod asked;
mod fetch;
mod guard;
mod listen;
mod problem;
mod tell;
mod token;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use farthing::Client;
use farthing::agent::Agent;
use serde_json::json;
use tokio::sync::RwLock;

use crate::args::agentd::AgentdArgs;
use crate::stop::Stop;
use crate::style::{QUIET, TITLE, paint, print, safe};
use crate::{Failure, home};
use guard::Door;
use listen::Socket;
use token::Token;

/// Bytes of the largest request, as JSON.
const MAX_REQUEST: usize = 16 * 1024 * 1024;
/// How often the networks are asked about payments whose outcome is not known.
const RECONCILES: Duration = Duration::from_secs(60);

/// What all requests share.
#[derive(Debug)]
struct Service {
    agent: Agent,
    /// Read by each request that may pay, to its end, also when its caller has gone away.
    paying: Arc<RwLock<()>>,
}

/// Runs the command.
pub(crate) fn run(options: &AgentdArgs) -> Result<(), Failure> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::unsound)?;
    runtime.block_on(serve(options))
}

async fn serve(options: &AgentdArgs) -> Result<(), Failure> {
    let stop = Stop::listen()?;
    let (listener, address) = listen::tcp(options.port).await?;
    let socket = options.socket.as_deref().map(Socket::bind).transpose()?;
    let home = home::of(&options.home)?;
    let agent = tokio::select! {
        agent = home::open(&options.home) => agent?,
        () = stop.wanted() => return Ok(()),
    };
    let (token, token_file) = match &options.token_file {
        Some(path) => (Token::kept(path)?, path.clone()),
        None => {
            let path = home.directory().join("agentd.token");
            (Token::drawn(&path)?, path)
        }
    };
    let token = Arc::new(token);
    let paying = Arc::new(RwLock::new(()));
    let reconciling = tokio::spawn(reconcile(agent.client().clone()));
    let service = Arc::new(Service { agent, paying: paying.clone() });

    let door = Door::new(token.clone(), Some(address.to_string()));
    let listener = listener.tap_io(|stream| {
        // Small answers are not held back to be sent with later ones.
        let _ = stream.set_nodelay(true);
    });
    let wanted = stop.clone();
    let tcp = axum::serve(listener, router(service.clone(), door))
        .with_graceful_shutdown(async move { wanted.wanted().await });
    let (file, unix) = match socket {
        Some((file, listener)) => {
            let wanted = stop.clone();
            let served = axum::serve(listener, router(service.clone(), Door::new(token, None)))
                .with_graceful_shutdown(async move { wanted.wanted().await });
            (Some(file), Some(served))
        }
        None => (None, None),
    };
    let unix = async move {
        match unix {
            Some(served) => served.await,
            None => Ok(()),
        }
    };

    let shown = |path: &std::path::Path| path.display().to_string();
    let text = match options.json {
        true => format!(
            "{}\n",
            json!({
                "listening": format!("http://{address}"),
                "token_file": shown(&token_file),
                "socket": options.socket.as_deref().map(shown),
            })
        ),
        false => format!(
            "{} http://{address}\n{}\nPress ctrl-c to stop.\n",
            paint(TITLE, "Listening on"),
            paint(QUIET, format!("The token is in {}", safe(&shown(&token_file)))),
        ),
    };
    print(&text).map_err(Failure::unsound)?;
    let served = tokio::try_join!(async { tcp.await }, unix);
    reconciling.abort();
    // Payments whose caller went away are presented to their end.
    let _ = paying.write().await;
    drop(file);
    served.map(|_| ()).map_err(Failure::unsound)
}

fn router(service: Arc<Service>, door: Door) -> Router {
    Router::new()
        .route("/fetch", post(fetch::fetch))
        .route("/quote", get(fetch::quote_url).post(fetch::quote))
        .route("/budget", get(tell::budget))
        .route("/receipts", get(tell::receipts))
        .route("/balance", get(tell::balance))
        .route(guard::HEALTH, get(tell::health))
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(DefaultBodyLimit::max(MAX_REQUEST))
        .layer(from_fn_with_state(Arc::new(door), guard::guard))
        .with_state(service)
}

/// Asks the networks, now and then, what became of payments that an earlier process or a broken connection
/// left open, so that their reservations end.
async fn reconcile(client: Client) {
    loop {
        // Nothing depends on it: what stays open is asked about again.
        let _ = client.reconcile().await;
        tokio::time::sleep(RECONCILES).await;
    }
}
