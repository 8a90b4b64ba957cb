//! `POST /fetch` and `/quote`: the requests of programs, made and paid for.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use farthing::Client;
use farthing::client::Paid;
use serde::Deserialize;

use super::Service;
use super::asked::Asked;
use super::problem::Problem;
use super::{answer, tell};
use crate::told;

/// Makes a request and pays for it if it must be paid for.
pub(super) async fn fetch(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let asked = Asked::read(&headers, body)?;
    let is_head = asked.is_head();
    let client = service.agent.client().clone();
    let paying = service.paying.clone().read_owned().await;
    // A payment that was begun is presented to its end, also when the program that asked has gone away.
    let made = tokio::spawn(async move {
        let made = make(&client, asked).await;
        drop(paying);
        made
    });
    let paid = made.await.map_err(|_| Problem::internal("internal", "the request was not carried out"))?;
    Ok(answer::passed_on(paid?, is_head))
}

async fn make(client: &Client, asked: Asked) -> Result<Paid, Problem> {
    let made = match asked.resumes()? {
        None => asked.request(client)?.send().await,
        Some(id) => {
            let prepared = match asked.names_no_request()? {
                true => client.resume(&id),
                false => asked.request(client)?.resume(&id),
            };
            client.present(&prepared.map_err(|error| Problem::no_resume(&error))?).await
        }
    };
    made.map_err(|error| Problem::no_answer(&error))
}

/// What a request would cost.
pub(super) async fn quote(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let asked = Asked::read(&headers, body)?;
    quoted(&service, asked).await
}

/// The only query of `GET /quote`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Url {
    url: String,
}

/// What a GET of a URL would cost.
pub(super) async fn quote_url(
    State(service): State<Arc<Service>>,
    query: Result<Query<Url>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(Url { url }) = query.map_err(|rejected| Problem::bad_request(&rejected.body_text()))?;
    quoted(&service, Asked::url(url)).await
}

async fn quoted(service: &Service, asked: Asked) -> Result<Response, Problem> {
    if asked.resumes()?.is_some() {
        return Err(Problem::bad_request("a payment that is resumed has its price"));
    }
    let quote = asked.request(service.agent.client())?.quote().await;
    let quote = quote.map_err(|error| Problem::no_answer(&error))?;
    Ok(tell::json(&told::quote(&quote)).into_response())
}
