//! What all priced routes of one paywall share.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use farthing_protocol::rail::{Facilitator, Outcome, PaymentId};
use farthing_protocol::records::Records;
use farthing_protocol::v2::FacilitatorRequest;

use tracing::Instrument as _;

use crate::claims::Claims;
use crate::desk::Desk;
use crate::flow::{Claiming, Kept, Later, Reply, Seller};
use crate::identifiers::Identifiers;
use crate::metering::Streams;
use crate::observe;
use crate::page::PageOptions;
use crate::passes::Passes;
use crate::paywall::Clock;
use crate::pricing::quotes::QuoteKeys;
use crate::sales::SalesLog;
use crate::serving::Process;
use crate::sold::Sold;
use crate::till::Till;

/// What all priced routes of one paywall share.
pub(crate) struct Shell {
    seller: Arc<Seller>,
    facilitator: Arc<dyn Facilitator>,
    /// For the rails that cannot hold money.
    claims: Option<Claims>,
    desk: Mutex<Desk<Kept<Body>>>,
    till: Till,
    streams: Streams,
    clock: Clock,
    sales: Option<SalesLog>,
    quotes: Arc<QuoteKeys>,
    page: PageOptions,
    /// Where payers name what they pay for; none without records.
    identifiers: Option<Identifiers>,
    /// What was bought for a period; none without records.
    passes: Option<Arc<Passes>>,
    /// Whether every offer is signed.
    signed_offers: bool,
}

/// What a shell is made of.
pub(crate) struct Setup {
    pub(crate) seller: Arc<Seller>,
    pub(crate) facilitator: Arc<dyn Facilitator>,
    pub(crate) records: Option<Arc<dyn Records>>,
    pub(crate) in_flight: usize,
    pub(crate) clock: Clock,
    pub(crate) sales: Option<SalesLog>,
    pub(crate) quotes: QuoteKeys,
    pub(crate) page: PageOptions,
    pub(crate) signed_offers: bool,
}

impl Shell {
    pub(crate) fn new(setup: Setup) -> Self {
        let Setup { seller, facilitator, records, in_flight, clock, sales, quotes, page, signed_offers } =
            setup;
        let identifiers = records.clone().map(Identifiers::new);
        let passes = records.clone().map(|records| Arc::new(Passes::new(seller.clone(), records)));
        let claims = records.map(|records| Claims::new(records, facilitator.clone(), clock.clone()));
        let (desk, quotes) = (Mutex::new(Desk::new(in_flight)), Arc::new(quotes));
        let till = Till::default();
        Self {
            seller,
            facilitator,
            claims,
            desk,
            till,
            streams: Streams::default(),
            clock,
            sales,
            quotes,
            page,
            identifiers,
            passes,
            signed_offers,
        }
    }

    /// Where payers name what they pay for; none without records.
    pub(crate) fn identifiers(&self) -> Option<&Identifiers> {
        self.identifiers.as_ref()
    }

    /// Whether every offer is signed.
    pub(crate) fn signs_offers(&self) -> bool {
        self.signed_offers
    }

    /// What was bought for a period; none without records.
    pub(crate) fn passes(&self) -> Option<&Arc<Passes>> {
        self.passes.as_ref()
    }

    /// The page that people are shown.
    pub(crate) fn page(&self) -> &PageOptions {
        &self.page
    }

    /// What dynamic prices are quoted with.
    pub(crate) fn quotes(&self) -> &Arc<QuoteKeys> {
        &self.quotes
    }

    /// The answers that are paid for while they flow.
    pub(crate) fn streams(&self) -> &Streams {
        &self.streams
    }

    pub(crate) fn facilitator(&self) -> &Arc<dyn Facilitator> {
        &self.facilitator
    }

    pub(crate) fn seller(&self) -> &Arc<Seller> {
        &self.seller
    }

    /// Whether money is held or was taken for a payment, as far as anybody knows. It decides nothing about
    /// money: who is not turned away here goes through the flow.
    pub(crate) async fn may_have_taken(&self, payment: &PaymentId) -> bool {
        if let Some(claims) = &self.claims
            && claims.may_know(payment).await
        {
            return true;
        }
        match self.facilitator.payment(payment).await {
            Ok(Some(said)) => matches!(said["state"].as_str(), Some("held" | "captured")),
            Ok(None) => false,
            Err(_) => true,
        }
    }

    /// Told of every answer, once, when it is made: also of one whose client has gone.
    pub(crate) fn ended(&self, sold: &Sold) {
        tracing::Span::current().record("situation", sold.situation.row().code);
        tracing::debug!(route = %sold.route, situation = ?sold.situation, amount = ?sold.amount, "answered");
        observe::answered(sold);
        if let Some(sales) = &self.sales {
            sales.note(sold, (self.clock)());
        }
    }
}

impl Process for Shell {
    type Body = Body;

    fn now(&self) -> u64 {
        (self.clock)()
    }

    fn desk(&self) -> &Mutex<Desk<Kept<Body>>> {
        &self.desk
    }

    async fn settle(&self, request: &FacilitatorRequest) -> Outcome {
        self.facilitator.settle(request).instrument(tracing::debug_span!("settle")).await
    }

    async fn settle_later(&self, later: &Arc<Later>) -> Outcome {
        self.till.settle(self, later).await
    }

    async fn claim(&self, claiming: &Claiming) -> Reply {
        match &self.claims {
            Some(claims) => claims.ask(claiming).await,
            None => Reply::unknown("this paywall keeps no claims"),
        }
    }

    fn pause(&self, length: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(length)
    }
}

impl std::fmt::Debug for Shell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shell").field("seller", &self.seller).finish_non_exhaustive()
    }
}
