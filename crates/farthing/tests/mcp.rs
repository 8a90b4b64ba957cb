//! Tools are sold and bought as requests are: held, bound, captured once, given again to the same payment.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use farthing::client::{ClientError, Rule};
use farthing::mcp::wire::{ERROR, PAYMENT, PAYMENT_RESPONSE, PROBLEM};
use farthing::mcp::{Bought, ToolClient, ToolError, ToolPaywall};
use farthing::native::NativePay;
use farthing::protocol::SecretKey;
use farthing::{Budget, Client, LocalLedger};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, JsonObject, RequestMetaObject,
    ServerCapabilities, ServerConfig,
};
use rmcp::service::{RequestContext, RunningService};
use rmcp::{ErrorData, RoleClient, RoleServer, ServerHandler, ServiceExt};
use serde_json::{Value, json};

const ORIGIN: &str = "https://shop.example";

fn key(role: u8) -> SecretKey {
    SecretKey::from_seed([role; 32])
}

/// A server with a priced tool, a priced one that fails, and a free one. Counts how often tools ran.
#[derive(Clone)]
struct Shop {
    priced: ToolPaywall,
    runs: Arc<AtomicUsize>,
}

impl ServerHandler for Shop {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn call_tool(
        &self,
        call: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let runs = self.runs.clone();
        let tool = async move |call: CallToolRequestParams, _paid| {
            let run = runs.fetch_add(1, Ordering::SeqCst) + 1;
            let city = call.arguments.unwrap_or_default().remove("city").unwrap_or_default();
            let mut result = match &*call.name {
                "fails" => CallToolResult::error(vec![ContentBlock::text("no forecast")]),
                "breaks" => return Err(ErrorData::internal_error("broke", None)),
                _ => CallToolResult::success(vec![ContentBlock::text(format!("sunny in {city}, run {run}"))]),
            };
            result.structured_content = Some(json!({"city": city, "degrees": 21.3e-7}));
            Ok(result)
        };
        self.priced.call(call, &context, tool).await
    }
}

struct Market {
    ledger: LocalLedger,
    runs: Arc<AtomicUsize>,
    server: RunningService<RoleClient, ()>,
}

impl Market {
    async fn open() -> Self {
        let ledger = LocalLedger::memory(key(1).public()).await.unwrap();
        ledger.deposit(key(3).public(), "1 XTS").await.unwrap();
        let paywall = farthing::paywall(ORIGIN, key(1).public(), key(2), &ledger).await.unwrap();
        let price = || paywall.price("0.01 XTS").description("A forecast");
        let priced = ToolPaywall::new().tool("forecast", price()).unwrap();
        let priced = priced.tool("fails", price()).unwrap().tool("breaks", price()).unwrap();
        let runs = Arc::new(AtomicUsize::new(0));
        let shop = Shop { priced, runs: runs.clone() };
        let (near, far) = tokio::io::duplex(1 << 16);
        let (shop, server) = tokio::join!(shop.serve(far), ().serve(near));
        tokio::spawn(shop.unwrap().waiting());
        Self { ledger, runs, server: server.unwrap() }
    }

    async fn wallet(&self) -> Arc<NativePay> {
        Arc::new(NativePay::connect(self.ledger.facilitator(), None, key(3)).await.unwrap())
    }

    async fn client(&self, budget: &str) -> Client {
        let budget = Budget::new(budget).unwrap();
        Client::builder().allow_origin(ORIGIN).rail(self.wallet().await).budget(budget).build().unwrap()
    }

    async fn tools(&self, budget: &str) -> ToolClient {
        ToolClient::new(&self.client(budget).await, self.server.peer().clone(), ORIGIN).unwrap()
    }

    /// What the seller has, in atomic units.
    async fn earned(&self) -> u128 {
        self.ledger.balance(key(1).public(), "XTS").await.unwrap().0
    }

    /// What the payer can spend, in atomic units.
    async fn left(&self) -> u128 {
        self.ledger.balance(key(3).public(), "XTS").await.unwrap().0
    }

    fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }

    /// A call as a client makes it that knows nothing of payments, or brings one.
    async fn raw(&self, call: CallToolRequestParams, payment: Option<&Value>) -> CallToolResult {
        let mut call = call;
        if let Some(payment) = payment {
            let meta = call.meta.get_or_insert_with(RequestMetaObject::new);
            meta.0.0.insert(PAYMENT.into(), payment.clone());
        }
        self.server.call_tool(call).await.unwrap()
    }

    /// A payment for a call, signed and not sent.
    async fn payment(&self, call: &CallToolRequestParams) -> Value {
        use farthing::mcp::wire;
        use farthing::protocol::header;
        // The call stands for this request; a server that answers it is made of the tool's own terms.
        let asked = self.raw(call.clone(), None).await;
        let terms = header::encode(&wire::terms(&asked).unwrap()).unwrap();
        let client = self.client("1 XTS").await;
        let mut request = farthing::client::Request::new(
            http::Method::POST,
            &wire::url(&ORIGIN.parse().unwrap(), &call.name).unwrap(),
        )
        .unwrap();
        request.set_body(wire::body(call).into());
        let mut flow = farthing::client::Flow::sign(client.policy(), request);
        let mut event = farthing::client::flow::Event::Start;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        loop {
            use farthing::client::flow::{Action, Answer, End, Event};
            event = match flow.step(event, now, [7; 32]) {
                Action::Send => {
                    let mut headers = http::HeaderMap::new();
                    headers.insert("payment-required", terms.parse().unwrap());
                    let (status, body) = (http::StatusCode::PAYMENT_REQUIRED, bytes::Bytes::new());
                    Event::Answered(Answer { status, headers, body, complete: true })
                }
                Action::LookUp => Event::LookedUp(flow.look_up().unwrap().await),
                Action::Done(end) => {
                    let End::Signed(prepared) = end.unwrap() else { panic!("not signed") };
                    use base64::Engine as _;
                    let header = base64::engine::general_purpose::STANDARD.decode(prepared.header().expose());
                    return serde_json::from_slice(&header.unwrap()).unwrap();
                }
                action => panic!("{action:?}"),
            };
        }
    }
}

fn call(name: &'static str, city: &str) -> CallToolRequestParams {
    let mut arguments = JsonObject::new();
    arguments.insert("city".into(), city.into());
    CallToolRequestParams::new(name).with_arguments(arguments)
}

fn text(result: &CallToolResult) -> &str {
    match &result.content[0] {
        ContentBlock::Text(text) => &text.text,
        other => panic!("{other:?}"),
    }
}

fn settlement(result: &CallToolResult) -> &Value {
    &result.meta.as_ref().expect("_meta").0[PAYMENT_RESPONSE]
}

#[tokio::test]
async fn a_paid_tool_runs_once_and_its_payment_is_captured_once() {
    let market = Market::open().await;
    let tools = market.tools("0.05 XTS").await;
    let Bought { result, payment } = tools.call(call("forecast", "Oslo")).await.unwrap();
    assert_eq!((text(&result), market.runs()), ("sunny in \"Oslo\", run 1", 1));
    assert_eq!(settlement(&result)["success"], true);
    let payment = payment.expect("a payment");
    assert!(payment.is_proven() && payment.receipt.is_some(), "{payment:?}");
    assert_eq!(payment.cost(), "0.01 XTS");
    assert_eq!((market.earned().await, market.left().await), (10_000, 990_000));
}

#[tokio::test]
async fn without_a_payment_the_terms_are_in_both_places_and_nothing_runs() {
    let market = Market::open().await;
    let result = market.raw(call("forecast", "Oslo"), None).await;
    assert_eq!((result.is_error, market.runs()), (Some(true), 0));
    let structured = result.structured_content.clone().unwrap();
    assert_eq!(
        (&structured["x402Version"], &structured["resource"]["url"]),
        (&json!(2), &json!("mcp://tool/forecast"))
    );
    assert_eq!(structured["accepts"][0]["amount"], "10000");
    let wrapper: Value = serde_json::from_str(text(&result)).unwrap();
    assert_eq!(wrapper[ERROR]["code"], 402);
    assert_eq!(wrapper[ERROR]["data"]["accepts"], structured["accepts"]);
    assert!(result.meta.is_none_or(|meta| !meta.0.contains_key(PAYMENT_RESPONSE)));
    // And a tool without a price runs.
    let free = market.raw(call("free", "Oslo"), None).await;
    assert_eq!((text(&free), market.earned().await), ("sunny in \"Oslo\", run 1", 0));
}

#[tokio::test]
async fn the_same_payment_again_gets_the_stored_result_and_other_arguments_are_refused() {
    let market = Market::open().await;
    let payment = market.payment(&call("forecast", "Oslo")).await;
    let first = market.raw(call("forecast", "Oslo"), Some(&payment)).await;
    assert_eq!(text(&first), "sunny in \"Oslo\", run 1");
    let again = market.raw(call("forecast", "Oslo"), Some(&payment)).await;
    assert_eq!((&again.content, &again.structured_content), (&first.content, &first.structured_content));
    assert_eq!(settlement(&again)["transaction"], settlement(&first)["transaction"]);
    for other in [call("forecast", "Rome"), call("fails", "Oslo"), CallToolRequestParams::new("forecast")] {
        let refused = market.raw(other, Some(&payment)).await;
        let structured = refused.structured_content.clone().unwrap();
        assert_eq!(structured[PROBLEM]["status"], 409, "{structured}");
        assert_eq!(structured[PROBLEM]["code"], "bound-to-other-request");
        assert_eq!((refused.is_error, structured.get("accepts")), (Some(true), None));
        assert_eq!(serde_json::from_str::<Value>(text(&refused)).unwrap()[ERROR]["code"], 409);
    }
    assert_eq!((market.runs(), market.earned().await), (1, 10_000));
}

#[tokio::test]
async fn a_payment_for_other_arguments_is_refused_before_anything_runs() {
    let market = Market::open().await;
    let payment = market.payment(&call("forecast", "Oslo")).await;
    let refused = market.raw(call("forecast", "Rome"), Some(&payment)).await;
    assert_eq!(refused.structured_content.unwrap()[PROBLEM]["status"], 409);
    for broken in [json!({}), json!("x"), json!({"x402Version": 2})] {
        let refused = market.raw(call("forecast", "Oslo"), Some(&broken)).await;
        assert_eq!(refused.structured_content.unwrap()[PROBLEM]["status"], 400, "{broken}");
    }
    assert_eq!((market.runs(), market.earned().await, market.left().await), (0, 0, 1_000_000));
    // It is good for what it was signed for.
    market.raw(call("forecast", "Oslo"), Some(&payment)).await;
    assert_eq!((market.runs(), market.earned().await), (1, 10_000));
}

#[tokio::test]
async fn a_tool_that_fails_costs_nothing() {
    let market = Market::open().await;
    let tools = market.tools("0.05 XTS").await;
    for (name, why) in [("fails", "no forecast"), ("breaks", "the tool failed: broke (-32603)")] {
        let Bought { result, payment } = tools.call(call(name, "Oslo")).await.unwrap();
        assert_eq!((result.is_error, text(&result)), (Some(true), why));
        assert_eq!(settlement(&result)["success"], false);
        let payment = payment.expect("a payment that was given back");
        assert_eq!(payment.amount.0, 0, "{payment:?}");
    }
    assert_eq!((market.runs(), market.earned().await, market.left().await), (2, 0, 1_000_000));
}

#[tokio::test]
async fn above_the_budget_nothing_is_signed_and_nothing_runs() {
    let market = Market::open().await;
    let tools = market.tools("0.025 XTS").await;
    for city in ["Oslo", "Rome"] {
        assert!(tools.call(call("forecast", city)).await.unwrap().payment.is_some());
    }
    let refused = tools.call(call("forecast", "Bern")).await.unwrap_err();
    let ToolError::Client(ClientError::Refused(refused)) = refused else { panic!("{refused:?}") };
    assert!(matches!(refused.rule, Rule::OverBudget(_)), "{refused:?}");
    assert_eq!((market.runs(), market.earned().await, market.left().await), (2, 20_000, 980_000));
    // What is free needs no budget.
    assert!(tools.call(call("free", "Bern")).await.unwrap().payment.is_none());
}

#[tokio::test]
async fn terms_for_another_call_are_not_signed_for() {
    let market = Market::open().await;
    // A client that knows the server under another name than the server's own would sign for another request.
    let client = market.client("1 XTS").await;
    let elsewhere = ToolClient::new(&client, market.server.peer().clone(), "https://other.example").unwrap();
    let refused = elsewhere.call(call("forecast", "Oslo")).await.unwrap_err();
    assert!(matches!(refused, ToolError::Client(ClientError::Refused(_))), "{refused:?}");
    assert!(matches!(elsewhere.call(call("..", "Oslo")).await, Err(ToolError::Name(_))));
    assert_eq!((market.runs(), market.earned().await), (0, 0));
}
