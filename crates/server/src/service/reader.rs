//! Who reads the answer, and how it leaves.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::MatchedPath;
use http::request::Parts;
use http::{Method, Response};

use super::steps::received;
use super::{Ended, Sale};
use crate::answer::{Answer, Content, Situation};
use crate::observe::Stopwatch;
use crate::page::Visitor;
use crate::passes::PassHolder;
use crate::serving::Process as _;
use crate::shell::Shell;
use crate::sold::Sold;
use crate::{headers, page};

/// A request, as far as its answer depends on it.
pub(super) struct Reader {
    shell: Arc<Shell>,
    /// The route's name, for logs, sales and metrics.
    pub(super) label: Arc<str>,
    pub(super) stopwatch: Stopwatch,
    is_head: bool,
    visitor: Visitor,
}

impl Reader {
    pub(super) fn of(sale: &Sale, parts: &Parts) -> Self {
        let visitor = Visitor::of(parts, received(parts));
        let matched = || parts.extensions.get::<MatchedPath>().map(|path| Arc::from(path.as_str()));
        let label = sale.route.name.clone().or_else(matched).unwrap_or_else(|| Arc::from("*"));
        Self {
            shell: sale.shell.clone(),
            label,
            stopwatch: Stopwatch::start(),
            is_head: parts.method == Method::HEAD,
            visitor,
        }
    }

    /// The response, with what was [`Sold`] in its extensions.
    pub(super) fn respond(&self, ended: Ended) -> Response<Body> {
        let (mut response, mut sold) = match ended {
            Ended::Passed(response, situation) => {
                let mut sold = Sold::nothing(situation);
                if let Some(holder) = response.extensions().get::<PassHolder>() {
                    (sold.payer, sold.network) = (Some(holder.payer.clone()), Some(holder.network.clone()));
                }
                (response, sold)
            }
            Ended::Refused(answer) => self.send(*answer),
            Ended::Served(answer) => {
                // Told of by the task that served it, which goes on when nobody waits here.
                let (mut response, sold) = self.send(*answer);
                response.extensions_mut().insert(sold);
                return response;
            }
        };
        sold.route = self.label.clone();
        self.shell.ended(&sold);
        response.extensions_mut().insert(sold);
        response
    }

    fn send(&self, mut answer: Answer<Body>) -> (Response<Body>, Sold) {
        page::render(&mut answer, &self.visitor, self.shell.seller(), self.shell.page(), self.shell.now());
        let passed_on =
            matches!(answer.situation, Situation::Paid | Situation::HandlerFailed | Situation::PaidFailed);
        let body = match answer.content {
            _ if self.is_head && !passed_on => Body::empty(),
            Content::Whole(body) => Body::from(body),
            Content::Long(body) => body,
        };
        let mut response = Response::new(body);
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        (response, *answer.sold)
    }
}

/// The headers of an answer that is free for this caller alone, and not for the next one.
pub(super) fn for_one_caller(response: &mut Response<Body>) {
    let paid = response.status().as_u16() < 400;
    headers::of_handler(response.headers_mut(), paid);
}
