//! What is paid for once, and used for a period.

mod plans;
mod proofs;
mod sold;
mod stores;

use std::sync::Arc;
use std::time::Duration;

use axum::routing::get as route_get;
use axum::{Extension, Router};
use farthing_protocol::records::Records;
use farthing_protocol::siwx::{self, Challenge, Info, Proof, SignInKind};
use farthing_protocol::{Limits, Network, SecretKey};
use farthing_server::{Captured, PaidBy, PassHolder, Paywall, Sold};
use http::{HeaderMap, StatusCode};

use crate::chain::Memory;
use crate::scripted::{self, NOW};
use crate::shopping::*;

/// Seconds that everything here is sold for.
const LENGTH: u64 = 100;

/// A seller with passes.
struct Shop {
    world: World,
    app: Router,
}

impl Shop {
    fn new() -> Self {
        Self::keeping(Arc::new(Memory::default()))
    }

    fn keeping(records: Arc<dyn Records>) -> Self {
        let world = World::with(rail("auth-capture"), |builder| builder.records(records));
        let app = app(&world, &world.paywall);
        Self { world, app }
    }

    /// Handler runs and captures.
    fn count(&self) -> (usize, usize) {
        (self.world.hits.get(), self.world.ledger.captures())
    }

    async fn send(&self, asking: &Asking) -> Got {
        asking.send(&self.app).await
    }

    /// Pays for it; the answer.
    async fn buy(&self, asking: &Asking) -> Got {
        let bought = self.signed(asking).await.send(&self.app).await;
        assert_eq!(bought.status, 200, "{}", bought.text());
        bought
    }

    /// A payment for it, which can be authorized in this minute.
    async fn signed(&self, asking: &Asking) -> Signed {
        let until = self.now() + 60;
        asking.pay(&self.app).await.change("/payload/signed/validBefore", until)
    }

    fn now(&self) -> u64 {
        self.world.clock.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// The request with a fresh proof of this account's.
    async fn proven(&self, asking: &Asking, account: &str) -> Asking {
        let unpaid = self.send(asking).await;
        asking.clone().with("sign-in-with-x", proof(challenge(&unpaid).info, account).encode().unwrap())
    }
}

fn app(world: &World, paywall: &Paywall) -> Router {
    let hits = world.hits.clone();
    let page = move |headers: HeaderMap,
                     paid: Option<Extension<PaidBy>>,
                     holder: Option<Extension<PassHolder>>| async move {
        let run = hits.hit();
        assert!(!headers.contains_key("sign-in-with-x") && !headers.contains_key("pass-token"));
        assert!(!headers.contains_key("payment-signature"));
        assert!(!headers.get_all("cookie").iter().any(|c| c.to_str().unwrap().contains("farthing-pass")));
        match (paid, holder) {
            (Some(paid), None) => format!("run {run}: {} paid", paid.payer),
            (None, Some(holder)) => format!("run {run}: {} until {}", holder.payer, holder.until - NOW),
            other => panic!("{other:?}"),
        }
    };
    let fails = || async { (StatusCode::NOT_FOUND, "nothing there") };
    let gives = || async { (Extension(Captured(farthing_protocol::Amount::ZERO)), "a present") };
    let length = Duration::from_secs(LENGTH);
    let article = paywall.price("$0.001").pass(length);
    let plan = |name: &str| paywall.price("$0.001").subscription(name, length);
    Router::new()
        .route("/articles/{id}", route_get(page.clone()).post(page.clone()).layer(article.clone()))
        .route("/dear", route_get(page.clone()).layer(paywall.price("$0.5").pass(length)))
        .route("/once", route_get(page.clone()).layer(paywall.price("$0.001")))
        .route("/fails", route_get(fails).layer(article.clone()))
        .route("/gives", route_get(gives).layer(article))
        .route("/pro/a", route_get(page.clone()).layer(plan("pro")))
        .route("/pro/b", route_get(page.clone()).layer(plan("pro")))
        .route("/basic", route_get(page).layer(plan("basic")))
}

/// Another process of the same seller, or another seller.
fn process(shop: &Shop, origin: &str, seed: u8, records: Arc<dyn Records>) -> Router {
    let time = shop.world.clock.clone();
    let paywall = Paywall::builder(origin.parse().unwrap())
        .rail(Arc::new(rail("auth-capture")))
        .facilitator(shop.world.ledger.clone())
        .receipt_key(SecretKey::from_seed([seed; 32]))
        .records(records)
        .clock(move || time.load(std::sync::atomic::Ordering::SeqCst))
        .build()
        .unwrap();
    app(&shop.world, &paywall)
}

fn article(id: u32) -> Asking {
    get(&format!("/articles/{id}"))
}

/// The token of an answer, which came as a header and as a cookie.
fn token(got: &Got) -> String {
    let token = got.headers["pass-token"].to_str().unwrap().to_owned();
    let cookie = got.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with(&format!("farthing-pass={token}; Path=/")), "{cookie}");
    token
}

fn challenge(unpaid: &Got) -> Challenge {
    assert_eq!(unpaid.status, 402);
    Challenge::read(&unpaid.terms().extensions[siwx::EXTENSION], &Limits::default()).unwrap()
}

fn proof(info: Info, account: &str) -> Proof {
    let network: Network = "test:one".parse().unwrap();
    let sign = |text: &str| Some(scripted::sign_in(account, text));
    info.prove(&network, SignInKind::Ed25519, account.to_owned(), sign).unwrap()
}

/// Status, code and reason of a refusal with terms, whose challenge is a fresh one.
fn refused(got: &Got) -> (String, String) {
    let (status, code, retry) = got.code();
    assert_eq!((status, retry.as_str()), (402, "new"), "{}", got.text());
    assert_eq!(got.headers["cache-control"], "no-store");
    let challenge = challenge(got);
    assert_eq!(challenge.info.domain, "shop.example");
    let reason = got.problem()["reason"].as_str().unwrap_or_default().to_owned();
    (code, reason)
}

fn not_in(code: &str, reason: &str) -> (String, String) {
    (code.to_owned(), reason.to_owned())
}
