//! Buying: a call of a tool is paid for as the request that it stands for, under the client's policy.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use farthing_client::approval::ApprovalError;
use farthing_client::flow::{Action, Answer, End, Event, Flow};
use farthing_client::{Client, ClientError, PaymentHeader, PaymentReport, Request};
use farthing_protocol::rail::{Confirmation, OfferError};
use farthing_protocol::{Origin, WireError, header};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use rmcp::model::{CallToolRequestParams, CallToolResponse, CallToolResult, RequestMetaObject};
use rmcp::service::ServiceError;
use rmcp::{Peer, RoleClient};
use serde_json::Value;

use super::wire::{self, NameError, PAYMENT};

/// How long a call may take.
const TIMEOUT: Duration = Duration::from_secs(120);
/// How long a network may take for a question.
const ASKED: Duration = Duration::from_secs(10);

/// Calls tools of one server, and pays for those that ask for it, with the budgets and the journal of a [`Client`].
///
/// ```
/// use farthing::Client;
/// use farthing::mcp::{ToolClient, ToolError};
/// use rmcp::model::CallToolRequestParams;
/// use rmcp::{Peer, RoleClient};
///
/// async fn forecast(client: &Client, server: Peer<RoleClient>) -> Result<(), Box<dyn std::error::Error>> {
///     let tools = ToolClient::new(client, server, "https://weather.example")?;
///     let bought = tools.call(CallToolRequestParams::new("forecast")).await?;
///     if let Some(payment) = &bought.payment {
///         println!("paid {} to {}", payment.cost(), payment.payee);
///     }
///     println!("{:?}", bought.result.content);
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct ToolClient {
    client: Client,
    server: Peer<RoleClient>,
    origin: Origin,
    timeout: Duration,
}

/// A result, and what it cost. A tool's own errors are results too: look at `is_error`.
#[derive(Clone, Debug)]
pub struct Bought {
    /// As the server sent it.
    pub result: CallToolResult,
    /// `None` when it was free.
    pub payment: Option<PaymentReport>,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The tool's name cannot be called.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Not paid, or the outcome is unknown; as with requests over HTTP.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The server refused the call itself. If a payment was sent with it, it is in the journal.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

impl ToolClient {
    /// Calls tools of `server`. `origin` (`https://api.example.com`) is whom the policy knows it as: payees are pinned
    /// to it, and farthing payments are bound to it; it must be what the server's operator configured.
    ///
    /// # Errors
    /// When `origin` is not one.
    pub fn new(client: &Client, server: Peer<RoleClient>, origin: &str) -> Result<Self, WireError> {
        Ok(Self { client: client.clone(), server, origin: origin.parse()?, timeout: TIMEOUT })
    }

    /// How long one call may take; two minutes unless set.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Calls a tool, and pays for its result if the budgets allow.
    ///
    /// # Errors
    /// [`ToolError`].
    pub async fn call(&self, call: CallToolRequestParams) -> Result<Bought, ToolError> {
        let mut request = Request::new(Method::POST, &wire::url(&self.origin, &call.name)?)?;
        request.set_body(Bytes::from(wire::body(&call)));
        let mut flow = Flow::pay(self.client.policy(), request);
        let (mut event, mut last) = (Event::Start, None);
        loop {
            event = match flow.step(event, unix_now(), random()?) {
                Action::Send => self.exchange(&call, None, &mut last).await,
                Action::SendPaid { header } => self.exchange(&call, Some(&header), &mut last).await,
                Action::LookUp => {
                    let asked = flow.look_up().ok_or(ClientError::OutOfTurn)?;
                    let late = |_| Err(OfferError::Unavailable("it did not answer in time".into()));
                    Event::LookedUp(tokio::time::timeout(ASKED, asked).await.unwrap_or_else(late))
                }
                Action::Approve(within) => {
                    let asked = flow.approval().ok_or(ClientError::OutOfTurn)?;
                    let asked = tokio::time::timeout(within, asked).await;
                    Event::Decided(asked.unwrap_or(Err(ApprovalError::Late)))
                }
                Action::Wait(pause) => {
                    tokio::time::sleep(pause).await;
                    Event::Waited
                }
                Action::AskStatus => {
                    let status = flow.status().ok_or(ClientError::OutOfTurn)?;
                    let status = tokio::time::timeout(ASKED, status).await;
                    Event::Status(status.unwrap_or(Confirmation::Unproven))
                }
                Action::Done(end) => {
                    let payment = match (*end)? {
                        End::Paid(report) => Some(*report),
                        _ => None,
                    };
                    let result = last.ok_or(ClientError::OutOfTurn)??;
                    return Ok(Bought { result, payment });
                }
            };
        }
    }

    /// One call, with a payment or without.
    async fn exchange(
        &self,
        call: &CallToolRequestParams,
        payment: Option<&PaymentHeader>,
        last: &mut Option<Result<CallToolResult, ServiceError>>,
    ) -> Event {
        let mut call = call.clone();
        if let Some(payment) = payment {
            match message(payment.expose()) {
                Some(payment) => {
                    let meta = call.meta.get_or_insert_with(RequestMetaObject::new);
                    meta.0.0.insert(PAYMENT.into(), payment);
                }
                None => return Event::Lost { why: "the payment cannot be written".into() },
            }
        }
        let answered = tokio::time::timeout(self.timeout, self.server.call_tool_once(call)).await;
        let answered = match answered {
            Err(_) => return Event::Lost { why: "timed out".into() },
            Ok(Ok(CallToolResponse::Complete(result))) => Ok(result),
            Ok(Ok(_)) => Err(ServiceError::UnexpectedResponse),
            Ok(Err(error @ ServiceError::McpError(_))) => Err(error),
            Ok(Err(error)) => return Event::Lost { why: error.to_string() },
        };
        let answer = match &answered {
            Ok(result) => answer(result),
            Err(error) => refused(error),
        };
        *last = Some(answered);
        Event::Answered(answer)
    }
}

/// The HTTP answer that a result stands for.
fn answer(result: &CallToolResult) -> Answer {
    let mut headers = HeaderMap::new();
    if let Some(settlement) = wire::settlement(result) {
        put(&mut headers, header::PAYMENT_RESPONSE, &settlement);
    }
    let problem = wire::problem(result);
    if let Some(terms) = wire::terms(result) {
        put(&mut headers, header::PAYMENT_REQUIRED, &terms);
        let body = problem.map_or_else(String::new, |problem| Value::Object(problem).to_string());
        return whole(StatusCode::PAYMENT_REQUIRED, headers, body);
    }
    if let Some(problem) = problem {
        let status =
            problem.get("status").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
        let status = status.and_then(|status| StatusCode::from_u16(status).ok());
        let status = status.filter(|status| status.as_u16() >= 400).unwrap_or(StatusCode::BAD_REQUEST);
        return whole(status, headers, Value::Object(problem).to_string());
    }
    whole(wire::status(result), headers, wire::result_body(result))
}

/// The HTTP answer that an error of the protocol stands for; some servers put terms into it.
fn refused(error: &ServiceError) -> Answer {
    let mut headers = HeaderMap::new();
    if let ServiceError::McpError(error) = error
        && let Some(terms) = error.data.as_ref().filter(|_| error.code.0 == 402).and_then(wire::terms_in)
    {
        put(&mut headers, header::PAYMENT_REQUIRED, &terms);
        return whole(StatusCode::PAYMENT_REQUIRED, headers, String::new());
    }
    whole(StatusCode::UNPROCESSABLE_ENTITY, headers, String::new())
}

fn whole(status: StatusCode, headers: HeaderMap, body: String) -> Answer {
    Answer { status, headers, body: Bytes::from(body), complete: true }
}

fn put(headers: &mut HeaderMap, name: &'static str, message: &Value) {
    if let Ok(value) = HeaderValue::try_from(header::encode_text(&message.to_string())) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

/// The JSON in a header that this client wrote.
fn message(value: &str) -> Option<Value> {
    use base64::Engine as _;
    serde_json::from_slice(&base64::engine::general_purpose::STANDARD.decode(value).ok()?).ok()
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn random() -> Result<[u8; 32], ClientError> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| ClientError::NoRandomness(error.to_string()))?;
    Ok(random)
}
