//! The catalogue lists what servers say of themselves, and nothing that clients say of them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod scripted;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::response::IntoResponse;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use farthing_facilitator::http::HttpOptions;
use farthing_facilitator::{Catalogue, ConfigError};
use farthing_protocol::rail::{BoxFuture, Outcome};
use farthing_protocol::records::{CATALOGUE, Record, Records, RecordsError, Replaced};
use farthing_protocol::v2::VerifyResponse;
use scripted::{Script, TOKEN, refused, request_json, serve};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const OTHER_TOKEN: &str = "other-token-0123456789-abcdef";

/// Records in memory.
#[derive(Debug, Default)]
struct Kept(Mutex<BTreeMap<Vec<u8>, Record>>);

impl Records for Kept {
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Record>, RecordsError>> {
        Box::pin(async move { Ok(self.0.lock().unwrap().get(key).cloned()) })
    }

    fn replace<'a>(
        &'a self,
        key: &'a [u8],
        expected: Option<&'a [u8]>,
        new: Option<Record>,
    ) -> BoxFuture<'a, Result<Replaced, RecordsError>> {
        Box::pin(async move {
            let mut records = self.0.lock().unwrap();
            let there = records.get(key).cloned();
            if there.as_ref().map(|record| record.value.as_slice()) != expected {
                return Ok(Replaced::Found(there));
            }
            match new {
                Some(record) => records.insert(key.to_vec(), record),
                None => records.remove(key),
            };
            Ok(Replaced::Done)
        })
    }

    fn scan<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<(Vec<u8>, Record)>, RecordsError>> {
        Box::pin(async move {
            let records = self.0.lock().unwrap();
            let wanted = records.iter().filter(|(key, _)| {
                key.starts_with(prefix) && after.is_none_or(|after| key.as_slice() > after)
            });
            Ok(wanted.take(limit).map(|(key, record)| (key.clone(), record.clone())).collect())
        })
    }

    fn purge(&self, _: u64, _: usize) -> BoxFuture<'_, Result<usize, RecordsError>> {
        Box::pin(async { Ok(0) })
    }
}

/// A resource server: `/items/:id`, `/weather`, and paths whose terms lie or are missing.
#[derive(Clone)]
struct Shop {
    origin: String,
    asked: Arc<AtomicUsize>,
}

impl Shop {
    async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let shop = Self { origin, asked: Arc::default() };
        let answering = shop.clone();
        let router = Router::new().fallback(async move |uri: Uri| answering.answer(uri.path()));
        tokio::spawn(async move { axum::serve(listener, router).await });
        shop
    }

    fn answer(&self, path: &str) -> axum::response::Response {
        self.asked.fetch_add(1, SeqCst);
        let mut terms = self.terms(path);
        match path {
            "/free" => return "free".into_response(),
            "/elsewhere" => terms["resource"]["url"] = format!("{}/weather", self.origin).into(),
            "/proxied" => terms["resource"]["url"] = "http://10.0.0.1/proxied".into(),
            "/private" => terms.as_object_mut().unwrap().retain(|name, _| name != "extensions"),
            "/dear" => terms["accepts"][0]["payTo"] = "ff".repeat(32).into(),
            "/odd" => terms["extensions"]["bazaar"]["info"]["input"]["type"] = "carrier-pigeon".into(),
            "/misrouted" => terms["extensions"]["bazaar"]["routeTemplate"] = "/items/:id".into(),
            path if path.starts_with("/items/") => {
                terms["extensions"]["bazaar"]["routeTemplate"] = "/items/:id".into();
            }
            "/ugly" => {
                terms["extensions"]["bazaar"]["routeTemplate"] = "/../admin".into();
                terms["resource"]["description"] = "a\u{1b}[31mred".into();
                terms["resource"]["iconUrl"] = "javascript:alert(1)".into();
            }
            _ => {}
        }
        (StatusCode::PAYMENT_REQUIRED, [("payment-required", STANDARD.encode(terms.to_string()))], "{}")
            .into_response()
    }

    fn terms(&self, path: &str) -> Value {
        json!({
            "x402Version": 2,
            "error": "Payment required",
            "resource": {
                "url": format!("{}{path}?q=1", self.origin), "description": "as the server says",
                "mimeType": "text/plain", "serviceName": "Shop", "tags": ["weather"],
            },
            "accepts": [request_json()["paymentRequirements"]],
            "extensions": {
                "bazaar": { "info": { "input": { "type": "http", "method": "GET" } }, "schema": {} },
                "other": { "info": {} },
            },
        })
    }

    /// A payment for `path`, with what a client says about it.
    fn payment(&self, path: &str) -> Value {
        let mut request = request_json();
        let payment = request["paymentPayload"].as_object_mut().unwrap();
        payment.insert(
            "resource".into(),
            json!({ "url": format!("{}{path}", self.origin), "description": "a bargain", "serviceName": "Evil" }),
        );
        payment.insert(
            "extensions".into(),
            json!({ "bazaar": {
                "info": { "input": { "type": "mcp", "toolName": "evil", "inputSchema": {} } },
                "schema": {}, "routeTemplate": "/evil/:path",
            } }),
        );
        request
    }
}

struct World {
    rail: Arc<Script>,
    shop: Shop,
    address: SocketAddr,
    records: Arc<Kept>,
    http: reqwest::Client,
}

impl World {
    async fn start(adjust: fn(Catalogue) -> Catalogue) -> Self {
        let (rail, shop, records) = (Script::new(), Shop::open().await, Arc::new(Kept::default()));
        let catalogue = adjust(Catalogue::new(records.clone()).unwrap());
        let options = HttpOptions::default().tenant("shop", TOKEN).unwrap();
        let options = options.tenant("other", OTHER_TOKEN).unwrap();
        let options = options.sells_at("shop", &shop.origin).unwrap().catalogue(catalogue);
        let address = serve(rail.local(), options).await;
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { rail, shop, address, records, http }
    }

    async fn post(&self, path: &str, token: &str, body: &Value) {
        let request = self.http.post(format!("http://{}{path}", self.address)).bearer_auth(token);
        let request = request.header("content-type", "application/json").body(body.to_string());
        assert_eq!(request.send().await.unwrap().status(), 200);
    }

    async fn pay(&self, path: &str) {
        self.post("/verify", TOKEN, &self.shop.payment(path)).await;
    }

    async fn list(&self, query: &str) -> (u16, Value) {
        let url = format!("http://{}/discovery/resources{query}", self.address);
        let answer = self.http.get(url).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
    }

    /// Waits until the records hold `entries`.
    async fn settle_at(&self, entries: usize) {
        let held = || self.records.0.lock().unwrap().len();
        for _ in 0..500 {
            if held() >= entries {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(held(), entries);
    }

    /// Waits until the shop was asked `times`.
    async fn asked(&self, times: usize) {
        for _ in 0..500 {
            if self.shop.asked.load(SeqCst) >= times {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(self.shop.asked.load(SeqCst), times);
    }
}

fn eager(catalogue: Catalogue) -> Catalogue {
    catalogue.refresh(Duration::ZERO)
}

#[tokio::test]
async fn a_resource_that_was_paid_for_is_listed_as_its_server_describes_it() {
    let world = World::start(eager).await;
    assert_eq!(world.list("").await.1["pagination"], json!({ "limit": 20, "offset": 0, "total": 0 }));
    world.pay("/weather?city=x").await;
    world.settle_at(1).await;
    let (status, page) = world.list("").await;
    assert_eq!((status, &page["x402Version"]), (200, &json!(2)));
    assert_eq!(page["pagination"]["total"], 1);
    let item = &page["items"][0];
    assert_eq!(item["resource"], format!("{}/weather", world.shop.origin));
    assert_eq!((&item["type"], &item["x402Version"]), (&json!("http"), &json!(2)));
    assert_eq!(item["description"], "as the server says");
    assert_eq!((&item["serviceName"], &item["tags"]), (&json!("Shop"), &json!(["weather"])));
    assert_eq!(item["accepts"], world.shop.terms("/weather")["accepts"]);
    assert_eq!(item["metadata"], json!({ "method": "GET" }));
    let terms = world.shop.terms("/weather");
    assert_eq!(item["extensions"], json!({ "bazaar": terms["extensions"]["bazaar"] }));
    assert!(item["lastUpdated"].as_str().unwrap().ends_with('Z'));
    assert!(!page.to_string().to_lowercase().contains("evil"), "the client's words are not there");
    assert!(world.records.0.lock().unwrap().keys().all(|key| key[0] == CATALOGUE));

    let supported = world.http.get(format!("http://{}/supported", world.address)).send().await.unwrap();
    let supported: Value = serde_json::from_slice(&supported.bytes().await.unwrap()).unwrap();
    assert_eq!(supported["extensions"], json!(["bazaar"]));
}

#[tokio::test]
async fn a_settlement_lists_as_well_and_paths_of_one_route_are_one_entry() {
    let world = World::start(eager).await;
    world.post("/settle", TOKEN, &world.shop.payment("/items/1")).await;
    world.settle_at(1).await;
    world.pay("/items/2").await;
    world.asked(2).await;
    world.settle_at(1).await;
    let page = world.list("").await.1;
    assert_eq!(page["items"][0]["resource"], format!("{}/items/:id", world.shop.origin));
    assert_eq!(page["items"][0]["metadata"], json!({ "method": "GET", "routeTemplate": "/items/:id" }));
}

#[tokio::test]
async fn what_the_server_does_not_say_itself_is_not_listed() {
    let world = World::start(eager).await;
    let refused_paths = ["/free", "/elsewhere", "/proxied", "/private", "/dear", "/odd", "/misrouted"];
    for (times, path) in (1..).zip(refused_paths) {
        world.pay(path).await;
        world.asked(times).await;
    }
    // The twin, asked about last.
    world.pay("/weather").await;
    world.settle_at(1).await;
    let page = world.list("").await.1;
    assert_eq!(page["items"][0]["resource"], format!("{}/weather", world.shop.origin));
}

#[tokio::test]
async fn only_good_payments_of_the_seller_at_its_own_origin_are_followed() {
    let world = World::start(eager).await;
    // Another tenant, which does not sell there.
    world.post("/verify", OTHER_TOKEN, &world.shop.payment("/weather")).await;
    // Another origin, whoever serves it.
    let elsewhere = Shop::open().await;
    world.post("/verify", TOKEN, &elsewhere.payment("/weather")).await;
    // A client that does not echo the extension, and one that names no resource.
    for member in ["extensions", "resource"] {
        let mut payment = world.shop.payment("/weather");
        payment["paymentPayload"].as_object_mut().unwrap().remove(member);
        world.post("/verify", TOKEN, &payment).await;
    }
    // A payment that is not good.
    *world.rail.verify.lock().unwrap() = Ok(VerifyResponse::default());
    world.pay("/weather").await;
    *world.rail.settle.lock().unwrap() = Outcome::NotSettled(refused("insufficient_funds"));
    world.post("/settle", TOKEN, &world.shop.payment("/weather")).await;

    *world.rail.verify.lock().unwrap() = Ok(VerifyResponse { is_valid: true, ..VerifyResponse::default() });
    world.pay("/items/1").await;
    world.settle_at(1).await;
    assert_eq!((world.shop.asked.load(SeqCst), elsewhere.asked.load(SeqCst)), (1, 0));
}

#[tokio::test]
async fn a_server_is_not_asked_again_soon_and_entries_are_bounded() {
    let world = World::start(|catalogue| catalogue.capacity(10, 2)).await;
    for _ in 0..3 {
        world.pay("/weather").await;
    }
    world.settle_at(1).await;
    world.pay("/a").await;
    world.settle_at(2).await;
    world.pay("/b").await;
    world.asked(3).await;
    world.pay("/c").await;
    world.asked(4).await;
    world.settle_at(2).await;
}

#[tokio::test]
async fn texts_that_cannot_be_shown_are_left_out() {
    let world = World::start(eager).await;
    world.pay("/ugly").await;
    world.settle_at(1).await;
    let item = world.list("").await.1["items"][0].clone();
    assert_eq!(item["resource"], format!("{}/ugly", world.shop.origin), "its template is none");
    assert!(item.get("description").is_none() && item.get("iconUrl").is_none(), "{item}");
    assert_eq!(item["serviceName"], "Shop");
}

#[tokio::test]
async fn pages_and_filters_show_a_part() {
    let world = World::start(eager).await;
    for (entries, path) in (1..).zip(["/a", "/b", "/c"]) {
        world.pay(path).await;
        world.settle_at(entries).await;
    }
    let everything = world.list("?type=http&scheme=auth-capture").await.1;
    assert_eq!(everything["pagination"], json!({ "limit": 20, "offset": 0, "total": 3 }));
    let mut seen = Vec::new();
    for offset in 0..3 {
        let page = world.list(&format!("?limit=1&offset={offset}")).await.1;
        assert_eq!(page["pagination"], json!({ "limit": 1, "offset": offset, "total": 3 }));
        seen.push(page["items"][0].clone());
    }
    assert_eq!(Value::Array(seen), everything["items"]);
    for (query, found) in [
        ("?type=mcp", 0),
        ("?scheme=upto", 0),
        ("?network=eip155:1", 0),
        ("?payTo=nobody", 0),
        ("?offset=3", 0),
        ("?limit=0", 0),
        ("?limit=1000000&unknown=1", 3),
        (&format!("?payTo={}", "EE".repeat(32)), 3),
    ] {
        let (status, page) = world.list(query).await;
        assert_eq!((status, page["items"].as_array().unwrap().len()), (200, found), "{query}");
    }
    for query in ["?limit=x", "?limit=-1", "?offset=1.5", "?limit=1&limit=2"] {
        let (status, problem) = world.list(query).await;
        assert_eq!((status, &problem["code"]), (400, &json!("malformed")), "{query}");
    }
}

#[tokio::test]
async fn without_a_catalogue_there_is_no_such_path() {
    let address = serve(Script::new().local(), HttpOptions::default()).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.get(format!("http://{address}/discovery/resources")).send().await.unwrap();
    assert_eq!(answer.status(), 404);

    let of =
        |tenant: &str, origin: &str| HttpOptions::default().tenant("shop", TOKEN)?.sells_at(tenant, origin);
    assert!(of("shop", "https://shop.example").is_ok());
    for (tenant, origin) in [
        ("nobody", "https://shop.example"),
        ("shop", "http://shop.example"),
        ("shop", "https://shop.example/path"),
        ("shop", "shop.example"),
    ] {
        assert!(matches!(of(tenant, origin), Err(ConfigError::Setting { .. })), "{tenant} {origin}");
    }
}
