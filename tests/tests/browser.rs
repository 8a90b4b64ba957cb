//! The paywall's page in a real browser: somebody reads, pays and gets the content. What is counted is handler runs,
//! captures and balances; what is seen comes from `tests/browser/paywall.mjs`.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Response, StatusCode};
use axum::middleware::{self, Next};
use axum::response::IntoResponse;
use axum::routing::get;
use farthing::facilitator::http::HttpOptions;
use farthing::faucet::Faucet;
use farthing::server::{PageOptions, Paywall};
use farthing::{LocalLedger, protocol::PublicKey};
use farthing_testkit::key;
use serde_json::Value;

/// What a proof of a pass that is none is told.
const NOTICE: &str = "無法讀取您的通行證證明。未扣款。";
const PRICE: u128 = 10_000;
/// What the faucet gives.
const GIFT: u128 = 1_000_000;
const HOSTILE: &str = "<img src=x onerror=hacked=1>\"'--></script><script>hacked=1</script>\u{202e}\u{1b}[2J";
const MARKUP: &str = "<h1>Sold</h1><script>top.hacked = 1</script><img src=x onerror='top.hacked = 1'>";
/// One red pixel.
const PNG: &[u8] = &[
    0x89, b'P', b'N', b'G', 13, 10, 26, 10, 0, 0, 0, 13, b'I', b'H', b'D', b'R', 0, 0, 0, 1, 0, 0, 0, 1, 8,
    2, 0, 0, 0, 0x90, 0x77, 0x53, 0xde, 0, 0, 0, 12, b'I', b'D', b'A', b'T', 8, 0xd7, 0x63, 0xf8, 0xcf, 0xc0,
    0, 0, 3, 1, 1, 0, 0x18, 0xdd, 0x8d, 0xb0, 0, 0, 0, 0, b'I', b'E', b'N', b'D', 0xae, 0x42, 0x60, 0x82,
];

/// A shop that a browser can reach.
struct Shop {
    origin: String,
    ledger: LocalLedger,
    /// Handler runs.
    hits: Arc<AtomicUsize>,
}

impl Shop {
    async fn open() -> Self {
        let seller = key(101).public();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let ledger = LocalLedger::memory(seller).await.unwrap();
        let hits = Arc::new(AtomicUsize::new(0));
        let mut builder = Paywall::builder(origin.parse().unwrap())
            .facilitator(ledger.facilitator())
            .receipt_key(key(105))
            .records(ledger.records().unwrap())
            .page(PageOptions {
                title: Some("The Daily Farthing".into()),
                top_up: Some("/faucet".into()),
                ledger: Some("/ledger".into()),
                ..PageOptions::default()
            });
        for rail in farthing::rails(seller, &key(102), ledger.facilitator().as_ref()).await.unwrap() {
            builder = builder.rail(rail);
        }
        let app = routes(&builder.build().unwrap(), &hits)
            .nest("/faucet", ledger.faucet(Faucet::default()).unwrap())
            .nest("/ledger", ledger.service(HttpOptions::default()));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { origin, ledger, hits }
    }

    /// What one visit has seen. Nothing may have been complained of by the browser.
    async fn visit(&self, visit: &str) -> Value {
        let mut node = tokio::process::Command::new("node");
        node.arg(scripts().join("paywall.mjs")).arg(modules()).arg(&self.origin).arg(pictures()).arg(visit);
        node.stdin(Stdio::null()).kill_on_drop(true);
        let output =
            tokio::time::timeout(Duration::from_secs(180), node.output()).await.expect("in time").unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "visit {visit}: {}\n{said}", output.status);
        let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(seen["complaints"], serde_json::json!([]), "{seen:#}");
        seen
    }

    fn runs(&self) -> usize {
        self.hits.load(Ordering::SeqCst)
    }

    /// Captures. Verifies the whole ledger on the way.
    async fn captures(&self) -> u64 {
        let report = self.ledger.ledger().check().await.unwrap();
        assert!(report.balanced(), "{:?}", report.faults);
        report.payments.get("captured").copied().unwrap_or(0)
    }

    async fn balance(&self, seen: &Value) -> u128 {
        let account: PublicKey = seen["account"].as_str().unwrap().parse().unwrap();
        self.ledger.balance(account, "XTS").await.unwrap().0
    }

    /// This many were sold, at the one price.
    async fn has_sold(&self, times: usize, seen: &Value) {
        assert_eq!((self.runs(), self.captures().await), (times, times as u64));
        assert_eq!(self.balance(seen).await, GIFT - PRICE * times as u128);
    }
}

fn routes(paywall: &Paywall, hits: &Arc<AtomicUsize>) -> Router {
    let price =
        || paywall.price("0.01 XTS").description("How letters crossed the sea").mime_type("text/plain");
    let article = {
        let hits = hits.clone();
        move || async move {
            let run = hits.fetch_add(1, Ordering::SeqCst) + 1;
            format!("Letters took three weeks, and cost a day's wages. (run {run})\n")
        }
    };
    let counted = |kind: &'static str, body: &'static [u8]| {
        let hits = hits.clone();
        move || async move {
            hits.fetch_add(1, Ordering::SeqCst);
            ([("content-type", kind)], body).into_response()
        }
    };
    let kinds = Router::new()
        .route("/json", get(counted("application/json", b"{\"n\":1}")))
        .route("/html", get(counted("text/html; charset=utf-8", MARKUP.as_bytes())))
        .route("/png", get(counted("image/png", PNG)))
        .route("/binary", get(counted("application/zip", b"PK\x03\x04")));
    let lost = Arc::new(AtomicUsize::new(0));
    let flaky = get(article.clone()).layer(price()).layer(middleware::from_fn_with_state(lost, lose_one));
    let broken = {
        let hits = hits.clone();
        move || async move {
            hits.fetch_add(1, Ordering::SeqCst);
            (StatusCode::INTERNAL_SERVER_ERROR, "out of order")
        }
    };
    let holder = {
        let hits = hits.clone();
        move || async move {
            hits.fetch_add(1, Ordering::SeqCst);
            (
                [("content-type", "text/html")],
                "<!doctype html><link rel=icon href=data:,><title>Own</title><p>for the holder of a pass",
            )
        }
    };
    let events = counted("text/event-stream", b"data: one\n\ndata: two\n\n");
    let hostile = paywall.price("0.01 XTS").description(HOSTILE).mime_type(HOSTILE);
    Router::new()
        .route("/article", get(article.clone()).layer(price()))
        .route("/flaky", flaky)
        .route("/either", get(article.clone()).layer(price().or_price("0.02 USD")))
        .route("/events", get(events).layer(paywall.up_to("0.1 XTS").per_event("0.01 XTS")))
        .route("/dear", get(article.clone()).layer(paywall.price("5 XTS")))
        .route("/broken", get(broken.clone()).layer(price()))
        .route("/masked", get(broken).layer(price()).layer(middleware::from_fn(hide_all)))
        .route("/pass", get(holder).layer(price().pass(Duration::from_secs(3600))))
        .route("/hostile/{*rest}", get(article).layer(hostile))
        .nest("/kinds", kinds.layer(price()))
}

/// No answer to a payment comes through.
async fn hide_all(request: Request, next: Next) -> Response<Body> {
    let is_paid = request.headers().contains_key("payment-signature");
    let response = next.run(request).await;
    if is_paid { (StatusCode::BAD_GATEWAY, "upstream went away").into_response() } else { response }
}

/// The first answer to a payment is lost on its way, and another one said in its place.
async fn lose_one(State(lost): State<Arc<AtomicUsize>>, request: Request, next: Next) -> Response<Body> {
    let is_paid = request.headers().contains_key("payment-signature");
    let response = next.run(request).await;
    if !is_paid || lost.fetch_add(1, Ordering::SeqCst) > 0 {
        return response;
    }
    let mut response = Response::new(Body::from("upstream went away"));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert("retry-after", HeaderValue::from_static("20"));
    response
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("browser")
}

fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let marked = |directory: &&Path| directory.join("CACHEDIR.TAG").is_file();
    program.ancestors().skip(1).find(marked).unwrap().to_owned()
}

/// Where `cargo xtask test` puts npm's packages.
fn modules() -> PathBuf {
    let root = std::env::var_os("FARTHING_NPM").map_or_else(|| target().join("npm"), PathBuf::from);
    let modules = root.join("browser/node_modules");
    assert!(modules.is_dir(), "no packages in {}; `cargo xtask test` installs them", modules.display());
    modules
}

/// Where what was seen is kept.
fn pictures() -> PathBuf {
    let pictures = target().join("artefacts");
    std::fs::create_dir_all(&pictures).unwrap();
    pictures
}

fn text<'a>(seen: &'a Value, path: &str) -> &'a str {
    seen.pointer(path).and_then(Value::as_str).unwrap_or_else(|| panic!("no {path} in {seen:#}"))
}

fn no_faults(seen: &Value, paths: &[&str]) {
    for path in paths {
        assert_eq!(seen.pointer(path), Some(&serde_json::json!([])), "{path}: {seen:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "cargo xtask test"]
async fn a_person_pays_by_keyboard_reads_the_content_and_reloads_for_nothing() {
    let shop = Shop::open().await;
    let seen = shop.visit("keyboard").await;
    assert_eq!(seen["status"], 402);
    let policy = text(&seen, "/headers/content-security-policy");
    assert!(
        policy.starts_with("default-src 'none';") && policy.contains("frame-ancestors 'none'"),
        "{policy}"
    );
    no_faults(&seen, &["/before/faults", "/ready/faults", "/paid/faults"]);
    let tree = text(&seen, "/before/tree");
    for part in [
        "- banner",
        "- main",
        "- heading \"How letters crossed the sea\" [level=1]",
        "0.01 XTS",
        "- button \"Set up a wallet\"",
        "- heading \"Your wallet\" [level=2]",
        "- status",
        "- alert",
    ] {
        // Live regions are empty here, and then not in the tree.
        assert!(tree.contains(part) || matches!(part, "- status" | "- alert"), "{part}: {tree}");
    }
    assert_eq!(text(&seen, "/ready/balance"), "1 XTS");
    assert_eq!(text(&seen, "/focus"), "bought-title");
    for state in ["paid", "again"] {
        assert_eq!(
            text(&seen, &format!("/{state}/content")),
            "Letters took three weeks, and cost a day's wages. (run 1)\n"
        );
        let receipt = text(&seen, &format!("/{state}/receipt"));
        assert!(receipt.starts_with("Signed by the seller, for this payment and this content"), "{receipt}");
        assert_eq!(text(&seen, &format!("/{state}/status")), "Paid. Here is your content.");
    }
    shop.has_sold(1, &seen).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "cargo xtask test"]
async fn a_double_click_and_two_windows_pay_once() {
    let shop = Shop::open().await;
    let seen = shop.visit("double").await;
    shop.has_sold(1, &seen).await;
    let shop = Shop::open().await;
    let seen = shop.visit("windows").await;
    assert_eq!(seen["contents"][0], seen["contents"][1]);
    shop.has_sold(1, &seen).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "cargo xtask test"]
async fn while_the_outcome_is_unknown_the_same_payment_is_presented_and_nothing_else_signed() {
    let shop = Shop::open().await;
    let seen = shop.visit("unknown").await;
    assert_eq!(seen["during"]["act"], Value::Bool(false));
    assert!(text(&seen, "/during/more").starts_with("Try now"), "{seen}");
    assert!(text(&seen, "/content").ends_with("(run 1)\n"));
    shop.has_sold(1, &seen).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "cargo xtask test"]
async fn when_the_line_breaks_the_same_payment_is_presented_again() {
    let shop = Shop::open().await;
    let seen = shop.visit("line").await;
    assert_eq!(seen["payments"], 1);
    assert!(text(&seen, "/content").ends_with("(run 1)\n"));
    shop.has_sold(1, &seen).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "cargo xtask test"]
async fn when_every_answer_is_hidden_the_ledger_says_what_became_of_the_payment() {
    let shop = Shop::open().await;
    let seen = shop.visit("masked").await;
    assert_eq!((shop.captures().await, shop.balance(&seen).await), (0, GIFT));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "cargo xtask test"]
async fn a_price_is_chosen_and_an_old_one_is_not_paid() {
    let shop = Shop::open().await;
    let seen = shop.visit("choice").await;
    assert_eq!(seen["prices"], 2);
    assert_eq!((text(&seen, "/poor/price"), &seen["poor"]["test"]), ("0.02 USD", &Value::Bool(false)));
    no_faults(&seen, &["/faults"]);
    shop.has_sold(1, &seen).await;
    let late = shop.visit("late").await;
    assert_eq!((text(&late, "/act"), text(&late, "/remaining")), ("Get the current price", "0:00"));
    assert_eq!(shop.runs(), 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "cargo xtask test"]
async fn paying_a_second_time_is_asked_about_first() {
    let shop = Shop::open().await;
    let seen = shop.visit("anew").await;
    assert!(text(&seen, "/asked").contains("costs another 0.01 XTS"), "{seen}");
    assert_eq!(text(&seen, "/focus"), "sure-no");
    assert!(text(&seen, "/content").ends_with("(run 2)\n"));
    shop.has_sold(2, &seen).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "cargo xtask test"]
async fn what_fails_is_said_and_costs_nothing() {
    let shop = Shop::open().await;
    let seen = shop.visit("failing").await;
    assert_eq!((text(&seen, "/poor/balance"), text(&seen, "/poor/act")), ("1 XTS", "Add test money"));
    assert!(text(&seen, "/refused").contains("was given its test money for this hour"), "{seen}");
    assert_eq!((shop.runs(), shop.captures().await, shop.balance(&seen).await), (1, 0, GIFT));
    assert_eq!(text(&seen, "/balance"), "1 XTS");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "cargo xtask test"]
async fn what_was_bought_is_shown_as_what_it_is_and_does_nothing() {
    let shop = Shop::open().await;
    let seen = shop.visit("kinds").await;
    assert_eq!(text(&seen, "/hacked"), "no");
    for (kind, element) in [("json", "PRE"), ("html", "IFRAME"), ("png", "IMG"), ("binary", "P")] {
        assert_eq!(text(&seen, &format!("/seen/{kind}/element")), element);
        assert!(text(&seen, &format!("/seen/{kind}/receipt")).starts_with("Signed by the seller"), "{kind}");
    }
    assert_eq!(text(&seen, "/seen/json/text"), "{\"n\":1}");
    assert_eq!(text(&seen, "/seen/html/sandbox"), "");
    assert_eq!(seen["seen"]["png"]["width"], 1);
    assert!(text(&seen, "/seen/binary/text").contains("application/zip, 4 bytes"));
    shop.has_sold(4, &seen).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "cargo xtask test"]
async fn whoever_pays_for_a_pass_gets_the_page_itself_as_often_as_it_is_loaded() {
    let shop = Shop::open().await;
    let seen = shop.visit("pass").await;
    for what in ["/content", "/frame"] {
        assert!(text(&seen, what).contains("for the holder of a pass"), "{seen}");
    }
    assert!(shop.runs() >= 3, "once paid, once shown, once loaded again");
    assert_eq!((shop.captures().await, shop.balance(&seen).await), (1, GIFT - PRICE));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "cargo xtask test"]
async fn events_are_shown_as_they_come_and_only_what_was_used_is_paid() {
    let shop = Shop::open().await;
    let seen = shop.visit("events").await;
    assert!(text(&seen, "/per").starts_with("at most"), "{seen}");
    assert!(text(&seen, "/content").starts_with("data: one\n\ndata: two\n\n"), "{seen}");
    assert!(text(&seen, "/receipt").contains("0.02 XTS"), "{seen}");
    assert_eq!(text(&seen, "/act"), "Buy it anew for 0.1 XTS");
    assert_eq!((shop.runs(), shop.captures().await, shop.balance(&seen).await), (1, 1, GIFT - 2 * PRICE));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "cargo xtask test"]
async fn t41_words_of_a_hostile_seller_stay_words() {
    let shop = Shop::open().await;
    let seen = shop.visit("hostile").await;
    assert_eq!(seen["hacked"], serde_json::json!(["no", 0]));
    assert!(text(&seen, "/heading").starts_with("<img src=x onerror=hacked=1>\"'--></script>"), "{seen}");
    assert!(!text(&seen, "/heading").contains(['\u{202e}', '\u{1b}']));
    assert!(text(&seen, "/content").ends_with("(run 1)\n"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "cargo xtask test"]
async fn it_looks_right_in_chinese_on_a_telephone_and_in_the_dark() {
    let shop = Shop::open().await;
    let seen = shop.visit("looks").await;
    assert_eq!((text(&seen, "/chinese/lang"), text(&seen, "/chinese/act")), ("zh-TW", "建立錢包"));
    assert_eq!(text(&seen, "/japanese"), "ウォレットを作成");
    assert!(seen["overflow"].as_i64().unwrap() <= 0, "{seen}");
    no_faults(&seen, &["/chinese/faults", "/faults"]);
    let notice = shop.visit("notice").await;
    assert_eq!(text(&notice, "/heading"), NOTICE);
    no_faults(&notice, &["/faults"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "cargo xtask test"]
async fn where_a_browser_cannot_pay_it_is_said_how_else_to() {
    let shop = Shop::open().await;
    let seen = shop.visit("cannot").await;
    let command = format!("farthing pay '{}/article'", shop.origin);
    assert_eq!(
        (&seen["unable"]["act"], text(&seen, "/unable/command")),
        (&Value::Bool(false), command.as_str())
    );
    assert!(text(&seen, "/still").contains(&command) && text(&seen, "/price").contains("0.01 XTS"));
}
