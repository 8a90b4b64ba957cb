//! What the service tells: budgets, payments and balances.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use farthing::client::journal::JournalError;
use farthing::client::sqlite::Filter;
use serde::Deserialize;
use serde_json::{Value, json as value};

use super::Service;
use super::problem::Problem;
use crate::style::ascii_json;
use crate::told::{self, Known};

/// How many payments are told unless more are asked for, and at most.
const RECEIPTS: u32 = 100;
const MOST_RECEIPTS: u32 = 10_000;

/// An answer that is JSON.
pub(super) fn json(told: &Value) -> impl IntoResponse + use<> {
    ([(CONTENT_TYPE, "application/json")], format!("{}\n", ascii_json(&told.to_string())))
}

/// That somebody is here, and nothing more.
pub(super) async fn health() -> impl IntoResponse {
    json(&value!({ "status": "ok" }))
}

/// What may be spent, what was, and what is left.
pub(super) async fn budget(State(service): State<Arc<Service>>) -> Result<impl IntoResponse, Problem> {
    let lines = service.agent.budgets().map_err(failed)?;
    let frozen = service.agent.journal().frozen_since().map_err(failed)?;
    let budgets: Vec<_> = lines.iter().map(told::budget).collect();
    Ok(json(&value!({ "budgets": budgets, "frozen_since": frozen })))
}

/// What the accounts have, as the networks say now.
pub(super) async fn balance(State(service): State<Arc<Service>>) -> Result<impl IntoResponse, Problem> {
    let balances = service.agent.balances().await.map_err(failed)?;
    Ok(json(&value!({ "balances": balances.iter().map(told::balance).collect::<Vec<_>>() })))
}

/// Which payments are asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    since: Option<u64>,
    until: Option<u64>,
    origin: Option<String>,
    limit: Option<u32>,
}

/// The payments of the journal, newest first.
pub(super) async fn receipts(
    State(service): State<Arc<Service>>,
    query: Result<Query<Which>, QueryRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Query(which) = query.map_err(|rejected| Problem::bad_request(&rejected.body_text()))?;
    let origin = which.origin.map(|origin| origin.parse()).transpose();
    let filter = Filter {
        since: which.since,
        until: which.until,
        origin: origin.map_err(|_| Problem::bad_request("`origin` is not one, such as https://a.example"))?,
        limit: Some(which.limit.unwrap_or(RECEIPTS).min(MOST_RECEIPTS)),
        ..Filter::default()
    };
    let lines = service.agent.budgets().map_err(failed)?;
    let journal = service.agent.journal().clone();
    // Many payments take a while to read.
    let read = tokio::task::spawn_blocking(move || journal.payments(&filter)).await;
    let records = read.map_err(|_| Problem::internal("internal", "the payments were not read"))?;
    let known = |record: &farthing::client::Record| {
        let asset = &record.charge.asset;
        let line = lines.iter().find(|line| line.network == asset.network && line.asset == asset.asset)?;
        Some(Known { currency: line.currency.clone(), scale: line.scale })
    };
    let receipts: Vec<_> =
        records.map_err(failed)?.iter().map(|record| told::record(record, known(record).as_ref())).collect();
    Ok(json(&value!({ "receipts": receipts })))
}

fn failed(error: JournalError) -> Problem {
    Problem::internal("journal", &error.to_string())
}
