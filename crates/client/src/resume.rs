//! Payments that an earlier process left open: from the journal's record back to the same payment.

use std::sync::Arc;

use farthing_protocol::digest::sha256;
use farthing_protocol::rail::PaymentId;
use http::Method;

use crate::error::ResumeError;
use crate::journal::{Record, State};
use crate::policy::Policy;
use crate::prepared::{Parts, Prepared};
use crate::request::Request;
use crate::text::{SHOWN, plain};

impl Policy {
    /// The payment `id` as it was signed, for the request it was signed for: `request`, or the one in the
    /// journal where that says everything. Signs nothing and reserves nothing.
    ///
    /// # Errors
    /// [`ResumeError`].
    pub fn resume(&self, id: &PaymentId, request: Option<Request>) -> Result<Prepared, ResumeError> {
        let record = self.journal.find(id)?.ok_or(ResumeError::NoPayment(*id))?;
        if record.state == State::Released {
            return Err(ResumeError::Released(*id));
        }
        let network = &record.charge.asset.network;
        let no_rail = || ResumeError::NoRail { network: network.to_string() };
        let rail = self.rails.iter().find(|rail| rail.network() == network).ok_or_else(no_rail)?;
        let scale = rail.scale(&record.charge.asset.asset).ok_or_else(no_rail)?;
        let request = match request {
            Some(request) => same(&record, request)?,
            None => again(&record)?,
        };
        Ok(Prepared(Arc::new(Parts {
            request,
            rail: rail.clone(),
            currency: plain(&rail.currency(&record.charge.asset.asset), SHOWN),
            scale,
            payment: record.payment,
            header: record.header,
            charge: record.charge,
            payee: record.payee,
            digest: record.digest,
            receipt_key: record.receipt_key,
        })))
    }
}

/// The request in the journal, if that says everything about it.
fn again(record: &Record) -> Result<Request, ResumeError> {
    let mut missing = record.header_names.clone();
    if record.has_body() {
        missing.insert(0, "body".to_owned());
    }
    if !missing.is_empty() {
        return Err(ResumeError::RequestNeeded { missing });
    }
    let method: Method =
        record.method.parse().map_err(|_| ResumeError::Request("its method is not valid".into()))?;
    Request::new(method, &record.url()).map_err(|error| ResumeError::Request(error.to_string()))
}

/// `request`, if it is the one in the journal as far as the journal knows.
fn same(record: &Record, request: Request) -> Result<Request, ResumeError> {
    let differs = if request.method().as_str() != record.method {
        "method"
    } else if *request.origin() != record.charge.origin || request.target() != record.target {
        "url"
    } else if sha256(request.body()) != record.body_hash {
        "body"
    } else {
        let is_missing = |name: &&String| !request.headers().contains_key(name.as_str());
        let missing: Vec<_> = record.header_names.iter().filter(is_missing).cloned().collect();
        return if missing.is_empty() { Ok(request) } else { Err(ResumeError::RequestNeeded { missing }) };
    };
    Err(ResumeError::OtherRequest { differs })
}
