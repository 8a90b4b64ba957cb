//! What the model asks: the arguments of each tool.

use std::collections::BTreeMap;

use farthing::client::{Client, RequestBuilder};
use rmcp::ErrorData;
use rmcp::model::JsonObject;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A request that may cost something.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fetch {
    url: String,
    method: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<String>,
    max_price: Option<String>,
    task: Option<String>,
}

/// A request whose price is asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ask {
    url: String,
    method: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<String>,
}

/// Which payments.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Receipts {
    /// How many at most.
    pub(super) limit: Option<u32>,
    /// Only those to this origin.
    pub(super) origin: Option<String>,
}

/// No arguments.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// Reads a tool's arguments; none are unknown.
///
/// # Errors
/// Invalid parameters, saying which.
pub(super) fn read<T: DeserializeOwned>(arguments: JsonObject) -> Result<T, ErrorData> {
    serde_json::from_value(Value::Object(arguments)).map_err(|error| {
        let why: String = error.to_string().chars().take(200).collect();
        ErrorData::invalid_params(format!("arguments: {}", crate::style::safe(&why)), None)
    })
}

impl Fetch {
    /// The URL, as asked.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The request.
    ///
    /// # Errors
    /// A method that is none; all else comes out when the request is sent.
    pub(super) fn request(&self, client: &Client) -> Result<RequestBuilder, String> {
        let (method, body) = (self.method.as_deref(), self.body.as_deref());
        let mut request = request(client, &self.url, method, &self.headers, body)?;
        if let Some(price) = &self.max_price {
            request = request.max_price(price);
        }
        if let Some(task) = &self.task {
            request = request.task(task);
        }
        Ok(request)
    }
}

impl Ask {
    /// The request; see [`Fetch::request`].
    pub(super) fn request(&self, client: &Client) -> Result<RequestBuilder, String> {
        request(client, &self.url, self.method.as_deref(), &self.headers, self.body.as_deref())
    }
}

fn request(
    client: &Client,
    url: &str,
    method: Option<&str>,
    headers: &BTreeMap<String, String>,
    body: Option<&str>,
) -> Result<RequestBuilder, String> {
    let default = if body.is_some() { "POST" } else { "GET" };
    let method = method.unwrap_or(default).parse().map_err(|_| "`method` is no HTTP method".to_owned())?;
    let mut request = client.request(method, url);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    if let Some(body) = body {
        request = request.body(body.to_owned());
    }
    Ok(request)
}
