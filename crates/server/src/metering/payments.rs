//! `GET /payments/{id}`: where a payment stands, by the word of whoever settles it.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::routing::get;
use farthing_protocol::rail::{Facilitator, PaymentId};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};

use crate::headers;

/// Seconds after which it is worth asking again when nobody said anything.
const RETRY: u32 = 2;

pub(crate) fn routes(facilitator: Arc<dyn Facilitator>) -> Router {
    let handler = async move |Path(id): Path<String>| payment(facilitator.as_ref(), &id).await;
    Router::new().route("/payments/{id}", get(handler))
}

async fn payment(facilitator: &dyn Facilitator, id: &str) -> Response<Body> {
    let Ok(id) = id.parse::<PaymentId>() else { return empty(StatusCode::NOT_FOUND) };
    let said = match facilitator.payment(&id).await {
        Ok(Some(said)) => said,
        Ok(None) => return empty(StatusCode::NOT_FOUND),
        Err(error) => {
            tracing::warn!(payment = %id, %error, "nobody says what became of a payment");
            let mut response = empty(StatusCode::SERVICE_UNAVAILABLE);
            response.headers_mut().insert(RETRY_AFTER, RETRY.into());
            return response;
        }
    };
    let mut response = empty(StatusCode::OK);
    *response.body_mut() = Body::from(said.to_string());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers::cross_origin(response.headers_mut());
    response
}
