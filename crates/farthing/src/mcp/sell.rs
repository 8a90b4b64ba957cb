//! Selling: a call of a priced tool goes through the paywall as the request that it stands for.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use farthing_protocol::header;
use farthing_protocol::rail::BoxFuture;
use farthing_server::{PaidBy, PriceLayer};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Request, Response};
use rmcp::model::{CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, MetaObject};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde_json::{Map, Value, json};
use tower::{BoxError, Layer as _, ServiceExt as _, service_fn};

use super::wire::{self, ERROR, NameError, PAYMENT, PAYMENT_RESPONSE, PROBLEM};

/// The media type of a tool's result, where it stands in an HTTP answer.
const RESULT: &str = "application/mcp-result+json";
/// The tool's own `_meta`, beside the result that receipts cover.
const META: &str = "mcp-meta";

/// The tools that have a price. Everything that a [`Paywall`](crate::Paywall) does for a route holds for them: the
/// money is held before the tool runs, captured with its result, given back when the result is an error; the same
/// payment again returns the stored result, and for other arguments it is refused.
///
/// ```
/// # #[cfg(feature = "facilitator")]
/// # mod shown {
/// use farthing::Paywall;
/// use farthing::mcp::ToolPaywall;
/// use rmcp::model::{CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock};
/// use rmcp::service::RequestContext;
/// use rmcp::{ErrorData, RoleServer, ServerHandler};
///
/// struct Forecasts {
///     priced: ToolPaywall,
/// }
///
/// impl Forecasts {
///     fn new(paywall: &Paywall) -> Result<Self, Box<dyn std::error::Error>> {
///         Ok(Self { priced: ToolPaywall::new().tool("forecast", paywall.price("$0.01"))? })
///     }
/// }
///
/// impl ServerHandler for Forecasts {
///     async fn call_tool(
///         &self,
///         call: CallToolRequestParams,
///         context: RequestContext<RoleServer>,
///     ) -> Result<CallToolResponse, ErrorData> {
///         let forecast = async |_call, _paid| Ok(CallToolResult::success(vec![ContentBlock::text("sunny")]));
///         self.priced.call(call, &context, forecast).await
///     }
/// }
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct ToolPaywall {
    prices: BTreeMap<String, PriceLayer>,
}

impl ToolPaywall {
    /// Sells nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives a tool its price, as [`Paywall::price`](crate::Paywall::price) makes it.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn tool(mut self, name: impl Into<String>, price: PriceLayer) -> Result<Self, NameError> {
        let name = name.into();
        wire::target(&name)?;
        self.prices.insert(name, price);
        Ok(self)
    }

    /// Answers a call: a tool without a price runs at once, one with a price when it is paid. `run` is the tool, and
    /// is told by whom it is paid. It runs at most once; where its caller goes away, it is finished and paid.
    ///
    /// # Errors
    /// Those of a tool without a price. Of a paid one they are results with `isError`, and it costs nothing.
    pub async fn call<F, R>(
        &self,
        call: CallToolRequestParams,
        context: &RequestContext<RoleServer>,
        run: F,
    ) -> Result<CallToolResponse, ErrorData>
    where
        F: FnOnce(CallToolRequestParams, Option<PaidBy>) -> R + Send + 'static,
        R: Future<Output = Result<CallToolResult, ErrorData>> + Send + 'static,
    {
        let Some(price) = self.prices.get(&*call.name) else {
            return run(call, None).await.map(CallToolResponse::from);
        };
        let internal = |error: &dyn std::fmt::Display| {
            tracing::error!(%error, "a priced tool cannot be served");
            ErrorData::internal_error("the tool cannot be served", None)
        };
        let name = call.name.to_string();
        let request = request(&call, context.meta.0.0.get(PAYMENT)).map_err(|error| internal(&error))?;
        let tool = Arc::new(Mutex::new(Some((run, call))));
        let tool = service_fn(move |request: Request<Body>| {
            let taken = tool.lock().unwrap_or_else(PoisonError::into_inner).take();
            async move {
                let (run, call) = taken.ok_or_else(|| BoxError::from("the tool was run before"))?;
                let paid_by = request.extensions().get::<PaidBy>().cloned();
                answer(&failed(run(call, paid_by).await))
            }
        });
        let paid: BoxFuture<'static, Result<Response<Body>, BoxError>> =
            Box::pin(price.layer(tool).oneshot(request));
        let response = tokio::select! {
            response = paid => response.map_err(|error| internal(&error))?,
            // A caller that has gone away: to the paywall the same as a connection that broke.
            () = context.ct.cancelled() => return Err(ErrorData::internal_error("the call was cancelled", None)),
        };
        result(&name, response).await.map(CallToolResponse::from).map_err(|error| internal(&error))
    }
}

/// The request that a call stands for.
fn request(call: &CallToolRequestParams, payment: Option<&Value>) -> Result<Request<Body>, BoxError> {
    let mut request = Request::post(wire::target(&call.name)?).header(CONTENT_TYPE, "application/json");
    if let Some(payment) = payment {
        let name = match payment["x402Version"].as_u64() {
            Some(1) => header::X_PAYMENT,
            _ => header::PAYMENT_SIGNATURE,
        };
        let mut value = HeaderValue::try_from(header::encode(payment)?)?;
        value.set_sensitive(true);
        request = request.header(name, value);
    }
    Ok(request.body(Body::from(wire::body(call)))?)
}

/// An error of the protocol as a result, which can say what became of the payment.
fn failed(result: Result<CallToolResult, ErrorData>) -> CallToolResult {
    result.unwrap_or_else(|error| {
        let text = format!("the tool failed: {} ({})", error.message, error.code.0);
        CallToolResult::error(vec![ContentBlock::text(text)])
    })
}

/// The HTTP answer that a result stands for.
fn answer(result: &CallToolResult) -> Result<Response<Body>, BoxError> {
    let mut response = Response::builder().status(wire::status(result)).header(CONTENT_TYPE, RESULT);
    if let Some(meta) = &result.meta {
        response = response.header(META, header::encode(meta)?);
    }
    Ok(response.body(Body::from(wire::result_body(result)))?)
}

/// The result that an HTTP answer of the paywall stands for.
async fn result(name: &str, response: Response<Body>) -> Result<CallToolResult, BoxError> {
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await?;
    let settlement = message(&parts.headers, header::PAYMENT_RESPONSE)
        .or_else(|| message(&parts.headers, header::X_PAYMENT_RESPONSE));
    let is_result = parts.headers.get(CONTENT_TYPE).is_some_and(|value| value == RESULT);
    let mut result = if is_result {
        let mut result: CallToolResult = serde_json::from_slice(&body)?;
        result.meta = message(&parts.headers, META).and_then(|meta| serde_json::from_value(meta).ok());
        result
    } else {
        let terms = message(&parts.headers, header::PAYMENT_REQUIRED);
        refusal(name, parts.status.as_u16(), serde_json::from_slice(&body)?, terms, settlement.as_ref())
    };
    if let Some(settlement) = settlement {
        result.meta.get_or_insert_with(MetaObject::new).0.insert(PAYMENT_RESPONSE.into(), settlement);
    }
    Ok(result)
}

/// The JSON in a header that the paywall wrote.
fn message(headers: &HeaderMap, name: &str) -> Option<Value> {
    use base64::Engine as _;
    let json = base64::engine::general_purpose::STANDARD.decode(headers.get(name)?.as_bytes()).ok()?;
    serde_json::from_slice(&json).ok()
}

/// A result that delivers nothing: with terms where a payment helps, else with the problem alone.
fn refusal(
    name: &str,
    status: u16,
    problem: Value,
    terms: Option<Value>,
    settlement: Option<&Value>,
) -> CallToolResult {
    let member = |member: &str| problem[member].clone();
    let told =
        ["type", "title", "status", "detail", "code", "retry", "field"].map(|name| (name, member(name)));
    let told: Map<_, _> =
        told.into_iter().filter(|(_, value)| !value.is_null()).map(|(n, v)| (n.into(), v)).collect();
    let text = problem["detail"].as_str().or(problem["title"].as_str()).unwrap_or("refused").to_owned();
    let mut structured = match terms {
        Some(mut terms) => {
            terms["resource"]["url"] = wire::resource(name).into();
            terms
        }
        None => json!({}),
    };
    // What the wrapper carries is what any x402 client reads.
    let (code, data) = match structured.get("accepts") {
        Some(_) => (402, structured.clone()),
        None => (status, Value::Object(told.clone())),
    };
    structured[PROBLEM] = Value::Object(told);
    if let Some(settlement) = settlement {
        structured[PAYMENT_RESPONSE] = settlement.clone();
    }
    let wrapper = json!({ ERROR: { "code": code, "message": text, "data": data } });
    let mut result = CallToolResult::error(vec![ContentBlock::text(wrapper.to_string())]);
    result.structured_content = Some(structured);
    result
}
