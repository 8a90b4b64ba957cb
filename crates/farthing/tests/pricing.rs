//! Prices by request, free requests and free answers, over HTTP and on a real ledger.
#![cfg(all(feature = "server", feature = "client", feature = "facilitator"))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::{Method, StatusCode};
use axum::routing::{any, get};
use farthing::protocol::{Price, SecretKey};
use farthing::server::{Quota, Wanted};
use farthing::{Budget, Client, LocalLedger};

fn key(role: u8) -> SecretKey {
    SecretKey::from_seed([role; 32])
}

/// A shop at an address of its own.
struct Shop {
    url: String,
    ledger: LocalLedger,
    runs: Arc<AtomicUsize>,
    /// Hundredths of a cent for each byte.
    rate: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shop {
    async fn open() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let ledger = LocalLedger::memory(key(1).public()).await.unwrap();
        ledger.deposit(key(3).public(), "1 XTS").await.unwrap();
        let paywall = farthing::paywall(&url, key(1).public(), key(2), &ledger).await.unwrap();
        let (runs, rate) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicU64::new(1)));
        let by_length = {
            let rate = rate.clone();
            paywall.dynamic(move |wanted: Wanted| {
                let units = rate.load(Ordering::SeqCst) * wanted.body.len() as u64;
                std::future::ready(match units {
                    0 => Err(StatusCode::BAD_REQUEST),
                    units => Ok(format!("0.{units:04} XTS").parse::<Price>().unwrap()),
                })
            })
        };
        let found = async |wanted: Wanted| match wanted.path() {
            "/pages/1" => Ok(()),
            _ => Err(StatusCode::NOT_FOUND),
        };
        let paged = paywall.price("0.01 XTS").check(found);
        let quota = paywall.price("0.01 XTS").free_quota(Quota::new(2, Duration::from_secs(1 << 40)));
        let handler = || {
            let runs = runs.clone();
            move || async move { format!("run {}", runs.fetch_add(1, Ordering::SeqCst) + 1) }
        };
        let app = Router::new()
            .route("/words", any(handler()).layer(by_length))
            .route("/pages/{page}", get(handler()).layer(paged))
            .route("/quota", get(handler()).layer(quota));
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, ledger, runs, rate, task }
    }

    async fn client(&self) -> Client {
        let wallet = farthing::native::NativePay::connect(self.ledger.facilitator(), None, key(3)).await;
        let budget = Budget::new("1 XTS").unwrap();
        let client = Client::builder().allow_origin(&self.url).rail(Arc::new(wallet.unwrap()));
        client.budget(budget).build().unwrap()
    }

    /// What the seller has, in atomic units, and how often its handlers ran.
    async fn earned(&self) -> (u128, usize) {
        (self.ledger.balance(key(1).public(), "XTS").await.unwrap().0, self.runs.load(Ordering::SeqCst))
    }
}

#[tokio::test]
async fn a_client_pays_what_it_was_quoted_and_the_seller_keeps_its_word() {
    let shop = Shop::open().await;
    let client = shop.client().await;
    let url = format!("{}/words", shop.url);
    let words = |client: &Client| client.request(Method::POST, &url).body("three words here");
    let signed = words(&client).sign().await.unwrap().unwrap();
    shop.rate.store(50, Ordering::SeqCst);
    let paid = client.present(&signed).await.unwrap();
    assert_eq!(paid.text().await.unwrap(), "run 1");
    assert_eq!(shop.earned().await, (1600, 1));
    // Presented again, it returns the stored answer, still at the quoted price.
    assert_eq!(client.present(&signed).await.unwrap().text().await.unwrap(), "run 1");
    // Whoever paid less the last time does not pay more without being asked; somebody else may.
    assert!(words(&client).send().await.is_err());
    let dear = words(&shop.client().await).send().await.unwrap();
    assert!(dear.payment().unwrap().is_proven());
    assert_eq!(shop.earned().await, (1600 + 50 * 1600, 2));
}

#[tokio::test]
async fn what_is_not_there_costs_nothing_and_neither_do_the_first_requests() {
    let shop = Shop::open().await;
    let client = shop.client().await;
    let get = async |path: &str| client.get(&format!("{}{path}", shop.url)).send().await.unwrap();
    let missing = get("/pages/2").await;
    assert_eq!((missing.status.as_u16(), missing.payment().is_none()), (404, true));
    assert_eq!(shop.earned().await, (0, 0));
    assert!(get("/pages/1").await.payment().unwrap().is_proven());
    assert_eq!(shop.earned().await, (10_000, 1));
    for _ in 0..2 {
        assert!(get("/quota").await.payment().is_none());
    }
    assert_eq!(shop.earned().await, (10_000, 3));
    assert!(get("/quota").await.payment().unwrap().is_proven());
    assert_eq!(shop.earned().await, (20_000, 4));
}
