//! One request without a payment, and its answer.

use std::time::Duration;

use farthing::protocol::header::PAYMENT_REQUIRED;
use farthing::protocol::{Limits, Origin};

use super::message::{self, Message};
use crate::Failure;
use crate::style::safe;

/// Seconds after which a server is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a server answered to `GET`.
#[derive(Debug)]
pub(crate) struct Fetched {
    /// As asked, without a fragment.
    pub(crate) url: String,
    pub(crate) status: u16,
    /// The status with its words: `402 Payment Required`.
    pub(crate) status_line: String,
    pub(crate) content_type: Option<String>,
    pub(crate) location: Option<String>,
    terms: Vec<Vec<u8>>,
    /// The beginning of the body, or all of it.
    pub(crate) body: Vec<u8>,
}

impl Fetched {
    /// The terms of a 402: from the header, else from the body; `None` when it has none.
    ///
    /// # Errors
    /// A sentence about terms that are there and cannot be read.
    pub(crate) fn terms(&self, limits: &Limits) -> Result<Option<Message>, String> {
        match self.terms.as_slice() {
            [] => {
                let is_message = self.body.windows(13).any(|w| w == b"\"x402Version\"");
                let is_terms = self.status == 402 && is_message;
                if is_terms { message::read_json(&self.body, limits).map(Some) } else { Ok(None) }
            }
            [value] => {
                let value = std::str::from_utf8(value).map_err(|_| "PAYMENT-REQUIRED is not text")?;
                message::read(&format!("{PAYMENT_REQUIRED}: {value}"), limits).map(Some)
            }
            _ => Err("there is more than one PAYMENT-REQUIRED header".into()),
        }
    }
}

/// Asks `url`, from a program that is not asynchronous.
pub(super) fn blocking(url: &str) -> Result<Fetched, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Failure::unsound)?.block_on(fetch(url))
}

/// Asks `url` once, without a payment; no redirect is followed.
///
/// # Errors
/// A URL that is neither https nor on this machine, or a server that does not answer.
pub(crate) async fn fetch(url: &str) -> Result<Fetched, Failure> {
    let (origin, target) =
        Origin::of_url(url).map_err(|error| Failure::bad_input(format!("the URL: {error}")))?;
    if !origin.is_https() && !origin.is_loopback() {
        return Err(Failure::bad_input("plain http is only asked on this machine: use https"));
    }
    let builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(PATIENCE);
    let builder = builder.user_agent(concat!("farthing-inspect/", env!("CARGO_PKG_VERSION")));
    let builder = if origin.is_loopback() { builder.no_proxy() } else { builder };
    let silent = |error: reqwest::Error| {
        Failure::unsound(format!("{origin} does not answer: {}", safe(&causes(&error.without_url()))))
    };
    let client = builder.build().map_err(silent)?;
    let mut answer = client.get(format!("{origin}{target}")).send().await.map_err(silent)?;

    let header = |name: &str| {
        let value = answer.headers().get(name)?.as_bytes();
        Some(String::from_utf8_lossy(value).into_owned())
    };
    let (content_type, location) = (header("content-type"), header("location"));
    let terms = answer.headers().get_all(PAYMENT_REQUIRED).iter();
    let terms = terms.map(|value| value.as_bytes().to_vec()).collect();
    let status = answer.status();
    let mut body = Vec::new();
    while let Ok(Some(piece)) = answer.chunk().await {
        body.extend_from_slice(&piece);
        if body.len() > super::LIMITS.json_body_bytes {
            break;
        }
    }
    Ok(Fetched {
        url: format!("{origin}{target}"),
        status: status.as_u16(),
        status_line: status.to_string(),
        content_type,
        location,
        terms,
        body,
    })
}

/// An error with what caused it.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
