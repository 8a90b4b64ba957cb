//! Asks a resource server what it sells at a path, as anybody could: one GET without a payment.

use std::time::Duration;

use farthing_protocol::header::{self, PAYMENT_REQUIRED};
use farthing_protocol::v2::PaymentRequired;
use farthing_protocol::{Limits, Origin};
use reqwest::header::ACCEPT;
use reqwest::{Client, redirect, retry};

use crate::ConfigError;

/// How long a server may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of the longest terms: descriptions of inputs are longer than other terms.
const TERMS_BYTES: usize = 32 * 1024;

/// Asks resource servers.
#[derive(Clone)]
pub(super) struct Asker {
    client: Client,
}

impl Asker {
    pub(super) fn new() -> Result<Self, ConfigError> {
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .timeout(TIMEOUT)
            .no_proxy()
            .build()
            .map_err(|error| ConfigError::setting("catalogue", format!("cannot be prepared: {error}")))?;
        Ok(Self { client })
    }

    /// The terms at `path`, from the header of a 402. The body is not read.
    pub(super) async fn ask(&self, origin: &Origin, path: &str) -> Result<PaymentRequired, String> {
        let answer =
            self.client.get(format!("{origin}{path}")).header(ACCEPT, "application/json").send().await;
        // What went wrong on the way may quote addresses; that it did is enough.
        let answer = answer.map_err(|_| "its server did not answer".to_owned())?;
        if answer.status().as_u16() != 402 {
            return Err(format!("its server answered {} instead of 402", answer.status().as_u16()));
        }
        let mut values = answer.headers().get_all(PAYMENT_REQUIRED).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err("its server's 402 has no terms of version 2".into());
        };
        let limits = Limits { header_bytes: TERMS_BYTES, ..Limits::default() };
        header::decode_payment_required(value.as_bytes(), &limits)
            .map_err(|fault| format!("its server's terms: {fault}"))
    }
}
