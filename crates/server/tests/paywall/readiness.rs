//! The service behind the price is called when it said that it is ready, and only then.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use axum::body::Body;
use farthing_server::Priced;
use http::{Request, Response};
use tower::{Layer as _, Service, ServiceExt};

use crate::shopping::*;

/// Panics when it is called without having been ready before. A clone is never ready by itself.
#[derive(Debug)]
struct Strict {
    hits: Counter,
    ready: bool,
    /// Said once before it is ready.
    waits: usize,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self { hits: self.hits.clone(), ready: false, waits: self.waits }
    }
}

impl Service<Request<Body>> for Strict {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if self.waits > 0 {
            self.waits -= 1;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called before it was ready");
        self.hits.hit();
        ready(Ok(Response::new(Body::from("content"))))
    }
}

async fn ask(shop: &mut Priced<Strict>, asking: &Asking) -> Got {
    let ready = ServiceExt::<Request<Body>>::ready(shop).await.unwrap();
    let response = ready.call(asking.build()).await.unwrap();
    Got::read(response).await
}

#[tokio::test]
async fn the_service_that_was_ready_is_the_one_that_is_called() {
    let world = World::new();
    let inner = Strict { hits: world.hits.clone(), ready: false, waits: 2 };
    let mut shop = world.paywall.price("$0.01").free_paths(["/free"]).layer(inner);
    for round in 1..=3 {
        let unpaid = ask(&mut shop, &get("/a")).await;
        assert_eq!(unpaid.status, 402);
        let signed = Signed::new(get("/a"), &unpaid.terms());
        assert_eq!(ask(&mut shop, &signed.request()).await.text(), "content");
        assert_eq!(ask(&mut shop, &signed.request()).await.text(), "content");
        assert_eq!(ask(&mut shop, &get("/free")).await.text(), "content");
        assert_eq!((world.hits.get(), world.ledger.captures()), (2 * round, round));
    }
}

/// Has no room, and says so when it is asked whether it is ready.
#[derive(Clone, Debug)]
struct Overloaded;

#[derive(Debug, PartialEq)]
struct NoRoom;

impl std::fmt::Display for NoRoom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no room")
    }
}

impl std::error::Error for NoRoom {}

impl Service<Request<Body>> for Overloaded {
    type Response = Response<Body>;
    type Error = NoRoom;
    type Future = Ready<Result<Response<Body>, NoRoom>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NoRoom>> {
        Poll::Ready(Err(NoRoom))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        ready(Err(NoRoom))
    }
}

#[tokio::test]
async fn a_service_without_room_is_heard_before_money_is_asked_for() {
    let world = World::new();
    let mut shop = world.paywall.price("$0.01").layer(Overloaded);
    let ready = ServiceExt::<Request<Body>>::ready(&mut shop).await;
    assert_eq!(ready.unwrap_err(), NoRoom);
    assert_eq!(world.count(), (0, 0, vec![]));
}

#[tokio::test]
async fn an_error_of_the_service_itself_passes_where_nothing_is_paid_and_voids_where_it_is() {
    let world = World::new();
    let mut shop = world.paywall.price("$0.01").free_paths(["/free"]).layer(Overloaded);
    assert_eq!(shop.call(get("/free").build()).await.unwrap_err(), NoRoom);
    let unpaid = Got::read(shop.call(get("/a").build()).await.unwrap()).await;
    let signed = Signed::new(get("/a"), &unpaid.terms());
    let got = Got::read(shop.call(signed.request().build()).await.unwrap()).await;
    assert_eq!(got.code(), (500, "handler-failed".into(), "new".into()));
    assert_eq!((world.ledger.captures(), world.ledger.state(&signed.id())), (0, "voided"));
}
