//! Asking a service over HTTP, with a signed request: `spec/policy.md`, "The webhook".

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use farthing_protocol::Origin;
use farthing_protocol::rail::BoxFuture;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use serde::Deserialize;
use serde_json::json;
use sha2::Sha256;
use thiserror::Error;
use url::Url;
use zeroize::Zeroizing;

use super::{ApprovalError, ApprovalRequest, Approve, Decision};

/// The header that signs a question: `t=<Unix seconds>,v1=<hex HMAC-SHA256 of "t.body">`.
pub const SIGNATURE: &str = "farthing-signature";

/// Bytes of a key, at least.
const SHORTEST_KEY: usize = 32;
/// Bytes of an answer, at most.
const LONGEST_ANSWER: usize = 4 * 1024;
/// How long a service may let somebody think, whatever the client's own time is.
const LONGEST: Duration = Duration::from_secs(3600);

/// Asks a service, which answers `{"decision":"once"}`, `{"decision":"trust_payee"}`, or no.
pub struct Webhook {
    url: Url,
    key: Zeroizing<Vec<u8>>,
    http: reqwest::Client,
}

/// A webhook that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WebhookError {
    /// Not a URL that could be asked.
    #[error("the webhook's URL must be https, or http on this machine, without a user")]
    Url,
    /// Too short to keep others from signing.
    #[error("the webhook's key must have {SHORTEST_KEY} bytes at least, in hexadecimal digits")]
    Key,
    /// Its file cannot be used.
    #[error("the file of the webhook's key {0}")]
    KeyFile(String),
    /// The HTTP library does not start.
    #[error("http: {0}")]
    Http(String),
}

impl Webhook {
    /// Asks at `url`: https, or http on this machine. `key` is shared with the service.
    ///
    /// # Errors
    /// [`WebhookError`].
    pub fn new(url: &str, key: &[u8]) -> Result<Self, WebhookError> {
        let url = webhook_url(url)?;
        if key.len() < SHORTEST_KEY {
            return Err(WebhookError::Key);
        }
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            .connect_timeout(Duration::from_secs(5))
            .timeout(LONGEST)
            .user_agent(concat!("farthing/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| WebhookError::Http(error.without_url().to_string()))?;
        Ok(Self { url, key: Zeroizing::new(key.to_vec()), http })
    }

    /// As [`new`](Self::new), with the key in hexadecimal digits from a file that only its owner may read.
    ///
    /// # Errors
    /// [`WebhookError`].
    pub fn with_key_file(url: &str, path: &Path) -> Result<Self, WebhookError> {
        let failed = |error: std::io::Error| WebhookError::KeyFile(format!("cannot be read: {error}"));
        let file = File::open(path).map_err(failed)?;
        #[cfg(unix)]
        {
            let metadata = file.metadata().map_err(failed)?;
            let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777;
            if mode & 0o077 != 0 {
                let why = format!("may be read by others (mode {mode:03o}): make it 600");
                return Err(WebhookError::KeyFile(why));
            }
        }
        let mut text = Zeroizing::new(String::new());
        file.take(4 * 1024).read_to_string(&mut text).map_err(failed)?;
        let key = Zeroizing::new(hex::decode(text.trim()).map_err(|_| WebhookError::Key)?);
        Self::new(url, &key)
    }

    async fn ask(&self, request: &ApprovalRequest) -> Result<Decision, ApprovalError> {
        let body = question(request).to_string();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut signature = self.sign(now, &body)?;
        signature.set_sensitive(true);
        let sent = self.http.post(self.url.clone()).header(CONTENT_TYPE, "application/json");
        let sent = sent.header(SIGNATURE, signature).body(body).send().await;
        let mut answer = sent.map_err(failed)?;
        if answer.status() != reqwest::StatusCode::OK {
            let why = format!("the webhook answered {}", answer.status().as_u16());
            return Err(ApprovalError::Failed(why));
        }
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(failed)? {
            body.extend_from_slice(&piece);
            if body.len() > LONGEST_ANSWER {
                return Err(ApprovalError::Failed("the webhook's answer is too long".into()));
            }
        }
        Ok(read(&body))
    }

    fn sign(&self, now: u64, body: &str) -> Result<HeaderValue, ApprovalError> {
        let unfit = |_| ApprovalError::Failed("the question cannot be signed".into());
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).map_err(|_| unfit(()))?;
        mac.update(format!("{now}.{body}").as_bytes());
        let tag = hex::encode(mac.finalize().into_bytes());
        HeaderValue::from_str(&format!("t={now},v1={tag}")).map_err(|_| unfit(()))
    }
}

impl Approve for Webhook {
    fn decide<'a>(&'a self, request: &'a ApprovalRequest) -> BoxFuture<'a, Result<Decision, ApprovalError>> {
        Box::pin(self.ask(request))
    }
}

/// Shows neither the key nor the URL, which may hold one too.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Webhook(..)")
    }
}

/// A URL that may be asked.
pub(crate) fn webhook_url(text: &str) -> Result<Url, WebhookError> {
    let (origin, _) = Origin::of_url(text).map_err(|_| WebhookError::Url)?;
    if !origin.is_https() && !origin.is_loopback() {
        return Err(WebhookError::Url);
    }
    Url::parse(text).map_err(|_| WebhookError::Url)
}

fn question(request: &ApprovalRequest) -> serde_json::Value {
    json!({
        "id": request.id,
        "expiresAt": request.expires_at,
        "origin": request.origin.as_str(),
        "method": request.method,
        "url": request.url,
        "payee": request.payee,
        "network": request.network.as_str(),
        "asset": request.asset,
        "price": request.price,
        "amount": request.amount,
        "description": request.description,
        "agent": request.agent,
        "task": request.task,
    })
}

#[derive(Deserialize)]
struct Answer {
    decision: String,
}

/// Anything but a clear yes is a no.
fn read(body: &[u8]) -> Decision {
    match serde_json::from_slice::<Answer>(body).as_ref().map(|answer| answer.decision.as_str()) {
        Ok("once") => Decision::Once,
        Ok("trust_payee") => Decision::TrustPayee,
        _ => Decision::No,
    }
}

fn failed(error: reqwest::Error) -> ApprovalError {
    ApprovalError::Failed(format!("the webhook cannot be reached: {}", error.without_url()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_yes_is_one() {
        for (body, decision) in [
            (r#"{"decision":"once"}"#, Decision::Once),
            (r#"{"decision":"trust_payee","by":"Ada"}"#, Decision::TrustPayee),
            (r#"{"decision":"no"}"#, Decision::No),
            (r#"{"decision":"Once"}"#, Decision::No),
            (r#"{"decision":true}"#, Decision::No),
            (r#"{"decision":"no","decision":"once"}"#, Decision::No),
            (r#"{"decision":"once"} and more"#, Decision::No),
            ("once", Decision::No),
            ("", Decision::No),
        ] {
            assert_eq!(read(body.as_bytes()), decision, "{body}");
        }
    }

    #[test]
    fn a_webhook_is_encrypted_or_on_this_machine_and_has_a_real_key() {
        for url in ["https://a.example/ask?x=1", "http://127.0.0.1:1/", "http://localhost:80"] {
            assert!(Webhook::new(url, &[1; 32]).is_ok(), "{url}");
        }
        for url in [
            "http://a.example/",
            "https://u:p@a.example/",
            "ask",
            "file:///ask",
            "http://127.0.0.1.evil.example/",
        ] {
            assert_eq!(Webhook::new(url, &[1; 32]).err(), Some(WebhookError::Url), "{url}");
        }
        assert_eq!(Webhook::new("https://a.example", &[1; 31]).err(), Some(WebhookError::Key));
    }
}
