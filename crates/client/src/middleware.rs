//! Paying as a layer of `reqwest-middleware`.

use async_trait::async_trait;
use http::{Extensions, Method};
use reqwest_middleware::{Middleware, Next};
use url::Url;

use crate::client::Client;
use crate::error::ClientError;
use crate::flow::{End, Flow};
use crate::paying::{PayingError, answered, is_stream, replayable, without_body};
use crate::prepared::Prepared;
use crate::terms::asks_for_payment;

/// Pays for 402s. The [`PaymentReport`](crate::PaymentReport) of an answer that was paid for is in its
/// extensions; errors are [`PayingError`]s in [`reqwest_middleware::Error::Middleware`].
///
/// ```
/// use farthing_client::Client;
/// use farthing_client::middleware::Pays;
/// use reqwest_middleware::ClientBuilder;
///
/// async fn weather(client: Client) -> Result<(), Box<dyn std::error::Error>> {
///     let http = ClientBuilder::new(reqwest::Client::new()).with(Pays::new(client)).build();
///     println!("{}", http.get("http://127.0.0.1:4021/weather").send().await?.text().await?);
///     Ok(())
/// }
/// ```
///
/// What is below this layer, down to reqwest's own client, carries requests without payment only. When one is
/// answered with terms, the [`Client`] sends the request with its payment itself: a redirect, a retry or a proxy below
/// could carry the payment elsewhere. So headers that are set below, such as default headers and
/// cookies of reqwest's client, are not in the request that is paid; set those on the request.
///
/// A layer above that sends a request again, with the extensions that reqwest-middleware gave it, has the same
/// payment presented again: one payment is signed for each request, however often it is tried.
///
/// Returned as they are, unpaid: answers other than 402; 402s that cannot be paid, with a
/// [`NotPayable`](crate::NotPayable) in their extensions that says why; and 402s of another origin, where reqwest's
/// client followed a redirect. A 402 to a body that is a stream is [`PayingError::NotReplayable`].
#[derive(Clone, Debug)]
pub struct Pays {
    client: Client,
}

impl Pays {
    /// Pays as `client` does, with its budgets and its journal.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    async fn pay(
        &self,
        asked: Option<reqwest::Request>,
        bare: Result<crate::Request, ClientError>,
        answer: reqwest::Response,
        extensions: &mut Extensions,
    ) -> Result<reqwest::Response, PayingError> {
        let (client, first) = (&self.client, self.client.http().received(answer));
        let Some(asked) = asked else { return client.not_replayable(bare?, first).await };
        let asked = replayable(&asked)?;
        let before = extensions.get::<Prepared>().filter(|prepared| {
            let request = prepared.request();
            (request.method(), request.url(), request.body()) == (asked.method(), asked.url(), asked.body())
        });
        let prepared = match before {
            Some(prepared) => prepared.clone(),
            None => {
                let mut flow = Flow::sign(client.policy(), asked);
                match client.drive(&mut flow, Some(first)).await {
                    (Ok(End::Signed(prepared)), _) => prepared,
                    (end, last) => return Ok(answered(end, last, &flow)?),
                }
            }
        };
        // Kept before it is sent: whoever tries again finds it, even if this was given up in between.
        extensions.insert(prepared.clone());
        let mut flow = Flow::present(client.policy(), prepared);
        let (end, last) = client.drive(&mut flow, None).await;
        Ok(answered(end, last, &flow)?)
    }
}

#[async_trait]
impl Middleware for Pays {
    async fn handle(
        &self,
        request: reqwest::Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<reqwest::Response> {
        let (mut asked, bare, url) = (request.try_clone(), without_body(&request), request.url().clone());
        debug_assert_eq!(asked.is_none(), is_stream(&request));
        let answer = next.run(request, extensions).await?;
        if !asks_for_payment(answer.status()) {
            return Ok(answer);
        }
        if !same(&url, answer.url()) {
            match &mut asked {
                Some(asked) if follows(asked, answer.url()) => *asked.url_mut() = answer.url().clone(),
                _ => return Ok(answer),
            }
        }
        let paid = self.pay(asked, bare, answer, extensions).await;
        paid.map_err(reqwest_middleware::Error::middleware)
    }
}

fn same(one: &Url, other: &Url) -> bool {
    let [mut one, mut other] = [one.clone(), other.clone()];
    one.set_fragment(None);
    other.set_fragment(None);
    one == other
}

/// Whether `asked` is what was asked at `url` too, where a redirect led within the origin.
fn follows(asked: &reqwest::Request, url: &Url) -> bool {
    matches!(*asked.method(), Method::GET | Method::HEAD) && asked.url().origin() == url.origin()
}
