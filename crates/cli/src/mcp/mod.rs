//! `farthing mcp`: the tools of a paying agent, for a language model, over standard input and output.
//!
//! Read it in this order: [`offered`], what the model is told; [`asked`], what it asks; [`answered`], what it gets.
//! The policy is the agent's own: nothing here can change it.

mod answered;
mod asked;
mod offered;

use std::sync::Arc;
use std::time::Duration;

use farthing::agent::Agent;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, Implementation, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler, ServiceExt};
use tokio::sync::RwLock;

use crate::args::mcp::McpArgs;
use crate::{Failure, home};

/// How long a payment that is under way may take to end after the input has.
const LAST: Duration = Duration::from_secs(60);

/// Serves until the input ends.
pub(crate) fn run(options: &McpArgs) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(Failure::unsound)?;
    let served = runtime.block_on(serve(options));
    // A read of standard input cannot be called off.
    runtime.shutdown_background();
    served
}

async fn serve(options: &McpArgs) -> Result<(), Failure> {
    let agent = home::open(&options.home).await?;
    let tools = Tools { agent: Arc::new(agent), going: Arc::default() };
    let going = tools.going.clone();
    let input_ended = |error: &rmcp::service::ServerInitializeError| {
        matches!(error, rmcp::service::ServerInitializeError::ConnectionClosed(_))
    };
    match tools.serve(rmcp::transport::stdio()).await {
        Ok(service) => service.waiting().await.map(drop).map_err(Failure::unsound)?,
        Err(error) if input_ended(&error) => return Ok(()),
        Err(error) => return Err(Failure::unsound(crate::style::safe(&error.to_string()))),
    }
    // What was signed is presented until it has an answer; what has none by then is in the journal.
    let _ = tokio::time::timeout(LAST, going.write()).await;
    Ok(())
}

/// The tools of one agent.
#[derive(Clone, Debug)]
struct Tools {
    agent: Arc<Agent>,
    /// Read by every call that is under way.
    going: Arc<RwLock<()>>,
}

impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("farthing", env!("CARGO_PKG_VERSION")))
            .with_instructions(offered::INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(offered::tools()))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        offered::tools().into_iter().find(|tool| tool.name == name)
    }

    async fn call_tool(
        &self,
        call: CallToolRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let (agent, going) = (self.agent.clone(), self.going.clone().read_owned().await);
        // A task of its own: a payment is not left half done by a model that loses interest.
        let called = tokio::spawn(async move {
            let _going = going;
            called(&agent, &call).await
        });
        let result = called.await.map_err(|_| ErrorData::internal_error("the tool broke off", None))??;
        Ok(result.into())
    }
}

async fn called(agent: &Agent, call: &CallToolRequestParams) -> Result<CallToolResult, ErrorData> {
    let arguments = call.arguments.clone().unwrap_or_default();
    match &*call.name {
        "fetch_paid" => Ok(answered::fetched(agent, asked::read(arguments)?).await),
        "quote" => Ok(answered::quoted(agent, asked::read(arguments)?).await),
        "balance" => {
            let asked::Nothing {} = asked::read(arguments)?;
            Ok(answered::balance(agent).await)
        }
        "budget" => {
            let asked::Nothing {} = asked::read(arguments)?;
            Ok(answered::budget(agent))
        }
        "receipts" => Ok(answered::receipts(agent, &asked::read(arguments)?)),
        name => {
            let name = crate::style::safe(&name.chars().take(64).collect::<String>());
            Err(ErrorData::invalid_params(format!("there is no tool {name}"), None))
        }
    }
}
