//! Captures that wait at the same time are signed for and sent together; each has its own outcome.

use std::sync::Arc;

use axum::Router;
use axum::routing::get as route_get;
use futures_util::future::join_all;
use tokio::sync::Semaphore;

use crate::scripted::*;
use crate::shopping::*;

const MANY: usize = 8;

/// Pages whose handlers all wait for the gate.
struct Shop {
    world: World,
    app: Router,
    gate: Arc<Semaphore>,
    payments: Vec<Signed>,
}

impl Shop {
    async fn open() -> Self {
        let world = World::new();
        let gate = Arc::new(Semaphore::new(0));
        let (hits, waits) = (world.hits.clone(), gate.clone());
        let page = move || async move {
            hits.hit();
            waits.acquire().await.unwrap().forget();
            "page"
        };
        let app = Router::new().route("/a", route_get(page).layer(world.paywall.price("$0.001")));
        let mut payments = Vec::new();
        for _ in 0..MANY {
            payments.push(get("/a").pay(&app).await);
        }
        Self { world, app, gate, payments }
    }

    /// Presents all payments; once all handlers run, `meanwhile` happens and they end together.
    async fn present(&self, meanwhile: impl FnOnce()) -> Vec<Got> {
        let opens = async {
            while self.world.hits.get() < MANY {
                tokio::task::yield_now().await;
            }
            meanwhile();
            self.gate.add_permits(MANY);
        };
        let sends = join_all(self.payments.iter().map(|payment| payment.send(&self.app)));
        futures_util::future::join(sends, opens).await.0
    }

    fn calls(&self, kind: &str) -> usize {
        self.world.ledger.calls().iter().filter(|call| *call == kind).count()
    }
}

fn own(got: &Got, payment: &Signed) {
    assert_eq!((got.status.as_u16(), got.text()), (200, "page"));
    assert_eq!(got.settlement().transaction, payment.id().to_string());
}

#[tokio::test]
async fn captures_that_wait_at_the_same_time_are_sent_together() {
    let shop = Shop::open().await;
    let answers = shop.present(|| {}).await;
    answers.iter().zip(&shop.payments).for_each(|(got, payment)| own(got, payment));
    assert_eq!((shop.world.hits.get(), shop.world.ledger.captures()), (MANY, MANY));
    assert!(shop.calls("captures") >= 1 && shop.calls("captures") + shop.calls("capture") < MANY);
    assert_eq!(shop.world.ledger.balance("alice"), 1_000_000 - 1_000 * MANY as u128);
}

#[tokio::test]
async fn a_capture_that_is_refused_does_not_stop_the_others() {
    let shop = Shop::open().await;
    let answers = shop.present(|| shop.world.ledger.seize_one(&shop.payments[3].id())).await;
    for (at, (got, payment)) in answers.iter().zip(&shop.payments).enumerate() {
        match at {
            3 => assert_eq!(got.code(), (409, "payment-in-progress".into(), "same".into())),
            _ => own(got, payment),
        }
    }
    assert_eq!((shop.world.hits.get(), shop.world.ledger.captures()), (MANY, MANY - 1));
}

#[tokio::test]
async fn captures_that_are_refused_together_are_asked_for_one_by_one() {
    let shop = Shop::open().await;
    shop.world.ledger.fail("captures", Fault::Refused("invalid_payload"));
    let answers = shop.present(|| {}).await;
    answers.iter().zip(&shop.payments).for_each(|(got, payment)| own(got, payment));
    assert_eq!((shop.world.hits.get(), shop.world.ledger.captures()), (MANY, MANY));
    assert!(shop.calls("capture") > 1);
}

#[tokio::test]
async fn captures_whose_outcome_is_lost_together_are_all_pending_and_taken_once() {
    for fault in [Fault::Lost, Fault::Silent] {
        let shop = Shop::open().await;
        shop.world.ledger.fail("captures", fault);
        let answers = shop.present(|| {}).await;
        let pending = answers.iter().filter(|got| got.status == 503).count();
        assert!(pending > 1, "{fault:?}");
        for payment in &shop.payments {
            own(&payment.send(&shop.app).await, payment);
        }
        assert_eq!((shop.world.hits.get(), shop.world.ledger.captures()), (MANY, MANY), "{fault:?}");
    }
}
