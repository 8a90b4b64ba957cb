//! The HTTP request and answer that a tool's call and result stand for.
//!
//! A call is `POST {origin}/mcp/tools/{name}`, with the name percent-encoded, and its arguments in canonical JSON (RFC
//! 8785) as the body. A result is the answer 200, or 422 where it is an error, with its members `content`, `isError` and
//! `structuredContent` in canonical JSON as the body. Payments and receipts are bound to these.

use farthing_protocol::Origin;
use farthing_protocol::canonical::canonical;
use rmcp::model::{CallToolRequestParams, CallToolResult, JsonObject};
use serde_json::{Map, Value};

/// Member of a call's `_meta`: the payment, as a JSON object.
pub const PAYMENT: &str = "x402/payment";
/// Member of a result's `_meta`: what became of the payment.
pub const PAYMENT_RESPONSE: &str = "x402/payment-response";
/// The wrapper in `content[0].text` of a refusal.
pub const ERROR: &str = "x402/error";
/// Member of `structuredContent` of a refusal by a farthing server: an RFC 9457 problem with retry advice.
pub const PROBLEM: &str = "farthing/problem";

/// Bytes of a tool's name.
const MAX_NAME: usize = 128;

/// Why a tool cannot be called or sold under its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tool's name has 1 to 128 visible ASCII characters, and is neither `.` nor `..`")]
pub struct NameError;

/// The request target of a tool: `/mcp/tools/{name}`.
///
/// # Errors
/// [`NameError`].
pub fn target(name: &str) -> Result<String, NameError> {
    let visible = !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(|b| b.is_ascii_graphic());
    if !visible || matches!(name, "." | "..") {
        return Err(NameError);
    }
    let mut target = String::from("/mcp/tools/");
    for byte in name.bytes() {
        match byte {
            b'-' | b'.' | b'_' | b'~' => target.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => target.push(char::from(byte)),
            byte => target.push_str(&format!("%{byte:02X}")),
        }
    }
    Ok(target)
}

/// The URL that a call to a server at `origin` stands for.
///
/// # Errors
/// [`NameError`].
pub fn url(origin: &Origin, name: &str) -> Result<String, NameError> {
    Ok(format!("{origin}{}", target(name)?))
}

/// What terms name as the resource.
#[must_use]
pub fn resource(name: &str) -> String {
    format!("mcp://tool/{name}")
}

/// The body that a call stands for: its arguments, `{}` when it has none.
#[must_use]
pub fn body(call: &CallToolRequestParams) -> String {
    canonical(&Value::Object(call.arguments.clone().unwrap_or_default()))
}

/// The status that a result stands for.
#[must_use]
pub fn status(result: &CallToolResult) -> http::StatusCode {
    match result.is_error {
        Some(true) => http::StatusCode::UNPROCESSABLE_ENTITY,
        _ => http::StatusCode::OK,
    }
}

/// The body that a result stands for.
#[must_use]
pub fn result_body(result: &CallToolResult) -> String {
    let mut body = Map::new();
    body.insert("content".into(), serde_json::to_value(&result.content).unwrap_or_default());
    if let Some(is_error) = result.is_error {
        body.insert("isError".into(), is_error.into());
    }
    if let Some(structured) = &result.structured_content {
        body.insert("structuredContent".into(), structured.clone());
    }
    canonical(&Value::Object(body))
}

/// The terms in a result that asks for payment: in `structuredContent`, directly or wrapped, or in the first text.
#[must_use]
pub fn terms(result: &CallToolResult) -> Option<Value> {
    if result.is_error != Some(true) {
        return None;
    }
    let structured = result.structured_content.as_ref().and_then(terms_in);
    structured.or_else(|| terms_in(&first_text(result)?))
}

/// The problem in a result that refuses a call for the sake of its payment.
#[must_use]
pub fn problem(result: &CallToolResult) -> Option<JsonObject> {
    if result.is_error != Some(true) {
        return None;
    }
    match result.structured_content.as_ref()?.get(PROBLEM)? {
        Value::Object(problem) => Some(problem.clone()),
        _ => None,
    }
}

/// What a result says about its payment.
#[must_use]
pub fn settlement(result: &CallToolResult) -> Option<Value> {
    let meta = result.meta.as_ref().and_then(|meta| meta.0.get(PAYMENT_RESPONSE));
    let structured = || result.structured_content.as_ref()?.get(PAYMENT_RESPONSE);
    meta.or_else(structured).filter(|settlement| settlement.is_object()).cloned()
}

/// Terms as such, or within the wrapper.
pub(super) fn terms_in(value: &Value) -> Option<Value> {
    let is_terms = |value: &Value| value["x402Version"].is_u64() && value["accepts"].is_array();
    if is_terms(value) {
        return Some(value.clone());
    }
    value.get(ERROR)?.get("data").filter(|data| is_terms(data)).cloned()
}

fn first_text(result: &CallToolResult) -> Option<Value> {
    let rmcp::model::ContentBlock::Text(text) = result.content.first()? else { return None };
    serde_json::from_str(&text.text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rmcp::model::ContentBlock;
    use serde_json::json;

    #[test]
    fn a_name_has_one_target_and_cannot_leave_its_place() {
        assert_eq!(target("get_weather.v2").unwrap(), "/mcp/tools/get_weather.v2");
        assert_eq!(target("a/../b?c#d%").unwrap(), "/mcp/tools/a%2F..%2Fb%3Fc%23d%25");
        for name in ["", ".", "..", "a b", "ü", &"x".repeat(129)] {
            assert_eq!(target(name), Err(NameError), "{name}");
        }
    }

    #[test]
    fn terms_are_found_in_each_of_the_three_places_and_in_errors_only() {
        let terms = json!({"x402Version": 2, "accepts": []});
        let wrapped = json!({ERROR: {"code": 402, "message": "m", "data": terms}});
        let text = |value: &Value| CallToolResult::error(vec![ContentBlock::text(value.to_string())]);
        let structured = |value: &Value| CallToolResult::structured_error(value.clone());
        for result in [structured(&terms), structured(&wrapped), text(&terms), text(&wrapped)] {
            assert_eq!(super::terms(&result), Some(terms.clone()), "{result:?}");
            let mut fine = result.clone();
            fine.is_error = None;
            assert_eq!(super::terms(&fine), None);
        }
        for other in [json!({}), json!({"x402Version": 2}), json!({"accepts": []}), json!(7)] {
            assert_eq!(super::terms(&structured(&other)), None, "{other}");
        }
    }
}
