//! `farthing pay`, `receipts` and `budget`: what is paid, what is refused, and what is known afterwards.

use std::convert::Infallible;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use farthing::LocalLedger;
use farthing::protocol::SecretKey;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::{Run, Server, farthing, farthing_with};

const PAGE: &str = "/spec/receipt.md";
/// 0.25 XTS.
const EXPENSIVE: &str = "/spec/everything.md";

/// An agent's home: at most 0.01 XTS for a request.
pub(crate) struct Home {
    pub(crate) directory: TempDir,
    pub(crate) key: String,
}

impl Home {
    fn new(origin: &str, network: &str, key: &str, total: &str, more: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let policy = format!(
            "origins = [\"{origin}\"]\n\n[[wallet]]\nnetwork = \"{network}\"\nledger = \"{origin}/ledger\"\n\
             account = \"agent\"\n\n[[budget]]\nnetwork = \"{network}\"\nasset = \"XTS\"\ntotal = \"{total}\"\n\
             per_request = \"0.01\"\nper_task = \"0.005\"\n{more}"
        );
        fs::write(directory.path().join("policy.toml"), policy).unwrap();
        Self { directory, key: key.to_owned() }
    }

    /// The home of the demonstration's agent.
    fn of(server: &Server, total: &str) -> Self {
        let key = fs::read_to_string(server.ready["agent_key"].as_str().unwrap()).unwrap();
        Self::new(server.origin(), server.ready["network"].as_str().unwrap(), key.trim(), total, "")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Run {
        self.run_with(arguments, "")
    }

    fn run_with(&self, arguments: &[&str], input: &str) -> Run {
        let home = self.directory.path().to_str().unwrap();
        let run =
            farthing_with(arguments, input, &[("FARTHING_HOME", home), ("FARTHING_KEY_AGENT", &self.key)]);
        assert!(!run.out.contains(&self.key) && !run.err.contains(&self.key), "{run:?}");
        run
    }

    fn receipts(&self) -> Vec<Value> {
        let told = self.run(&["receipts", "--json"]).ends_with(0).json();
        told["payments"].as_array().unwrap().clone()
    }
}

fn captured(server: &Server) -> u64 {
    let data = server.ready["data"].as_str().unwrap();
    let check = farthing(&["ledger", "check", "--json", "--data", data]).ends_with(0).json();
    check["payments"]["captured"].as_u64().unwrap_or(0)
}

fn demo() -> (TempDir, Server) {
    let ledger = tempfile::tempdir().unwrap();
    let server = Server::start(ledger.path(), 0);
    (ledger, server)
}

/// The one line of JSON on standard error.
fn told(run: &Run) -> Value {
    assert_eq!(run.err.lines().count(), 1, "{run:?}");
    serde_json::from_str(&run.err).unwrap()
}

#[test]
fn a_page_is_paid_for_and_standard_output_is_the_page_and_nothing_else() {
    let (_ledger, server) = demo();
    let home = Home::of(&server, "5");
    // With the key in an encrypted wallet, as its owner would have it.
    let (wallet, key) = (home.path("wallet.json"), server.ready["agent_key"].as_str().unwrap());
    let passphrase = [("FARTHING_PASSPHRASE", "correct horse battery")];
    let import = ["wallet", "import", "agent", "--wallet", wallet.to_str().unwrap(), "--from", key];
    farthing_with(&import, "", &passphrase).ends_with(0);
    let url = format!("{}{PAGE}", server.origin());
    let pay = ["pay", "--home", home.directory.path().to_str().unwrap(), url.as_str()];
    let run = farthing_with(&pay, "", &passphrase).ends_with(0);
    assert_eq!(run.out.as_bytes(), include_bytes!("../../../../spec/receipt.md"));
    for part in ["paid 0.001 XTS", "confirmed by the network", "receipt is valid"] {
        assert!(run.err.contains(part), "{part}: {run:?}");
    }
    assert!(!run.err.contains('\u{1b}') && captured(&server) == 1);

    let run = home.run(&["pay", "--json", &url]).ends_with(0);
    let line = told(&run);
    assert_eq!(
        (&line["exit"], &line["status"], &line["bytes"]),
        (&json!(0), &json!(200), &json!(run.out.len()))
    );
    assert_eq!(
        (&line["payment"]["cost"], &line["payment"]["confirmed"]),
        (&json!("0.001 XTS"), &json!(true))
    );
    let free = home.run(&["pay", "--json", &format!("{}/", server.origin())]).ends_with(0);
    assert_eq!(told(&free)["payment"], Value::Null);
    assert_eq!(captured(&server), 2);
}

#[test]
fn a_dry_run_shows_what_would_be_paid_and_pays_nothing() {
    let (_ledger, server) = demo();
    let home = Home::of(&server, "5");
    let url = format!("{}{PAGE}", server.origin());
    let run = home.run(&["pay", "--dry-run", &url]).ends_with(0);
    for part in
        ["2 offers", "0.001 XTS", "auth-capture", "would be paid", "is not the first", "Nothing was paid"]
    {
        assert!(run.out.contains(part), "{part}: {run:?}");
    }
    let quote = home.run(&["pay", "--dry-run", "--json", &url]).ends_with(0).json()["quote"].clone();
    assert_eq!((&quote["chosen"], &quote["offers"][0]["would_pay"]), (&json!(0), &json!(true)));
    let refused = home.run(&["pay", "--dry-run", "--max-price", "0.0001 XTS", &url]).ends_with(3);
    assert!(refused.out.contains("would not be paid") && refused.out.contains("To go on"), "{refused:?}");
    let json =
        home.run(&["pay", "--dry-run", "--json", &format!("{}{EXPENSIVE}", server.origin())]).ends_with(3);
    assert_eq!(json.json()["quote"]["offers"][0]["refused"]["rule"], "over_budget");
    assert_eq!((captured(&server), home.receipts().len()), (0, 0));
    home.run(&["pay", &url]).ends_with(0);
    assert_eq!((captured(&server), home.receipts().len()), (1, 1));
}

#[test]
fn what_is_over_a_limit_ends_with_3_names_the_rule_and_costs_nothing() {
    let (_ledger, server) = demo();
    let home = Home::of(&server, "0.0075");
    let url = |path: &str| format!("{}{path}", server.origin());
    let refused = home.run(&["pay", &url(EXPENSIVE)]).ends_with(3);
    assert!(refused.err.contains("per request") && refused.err.contains("policy.toml"), "{refused:?}");
    assert!(refused.out.is_empty(), "{refused:?}");
    let line = told(&home.run(&["pay", "--json", &url(EXPENSIVE)]).ends_with(3));
    assert_eq!((&line["exit"], &line["error"]["refused"]["rule"]), (&json!(3), &json!("over_budget")));
    let dear = home.run(&["pay", "--max-price", "0.0005 XTS", &url(PAGE)]).ends_with(3);
    assert!(dear.err.contains("--max-price"), "{dear:?}");
    assert_eq!(captured(&server), 0);
    home.run(&["pay", "--max-price", "0.001 XTS", "--task", "reading", &url(PAGE)]).ends_with(0);
    // The task may cost 0.005 XTS, and this page costs as much; another task is not this one.
    let scheme = url("/spec/scheme-auth-capture-farthing.md");
    home.run(&["pay", "--task", "reading", &scheme]).ends_with(3);
    home.run(&["pay", "--task", "writing", &scheme]).ends_with(0);
    // 0.0015 XTS are left altogether.
    home.run(&["pay", &url("/spec/request-digest.md")]).ends_with(3);
    assert_eq!(captured(&server), 2);

    let words = home.run(&["budget"]).ends_with(0).out;
    for part in
        ["XTS on farthing:", "0.006 XTS spent", "per request", "per task", "reading", "0.0015 XTS left"]
    {
        assert!(words.contains(part), "{part}: {words}");
    }
    let budget = home.run(&["budget", "--json"]).ends_with(0).json();
    assert_eq!((&budget["open"], &budget["frozen_since"]), (&json!(0), &Value::Null));
    assert_eq!(budget["budgets"][0]["taken"]["atomic"], "6000");
    let counted = budget["budgets"][0]["counted"].as_array().unwrap();
    let reading =
        json!({"limit": "per_task", "of": "reading", "amount": {"atomic": "1000", "decimal": "0.001"}});
    assert!(counted.contains(&reading), "{budget}");
}

#[test]
fn frozen_budgets_pay_nothing_until_they_are_unfrozen() {
    let (_ledger, server) = demo();
    let home = Home::of(&server, "5");
    let url = format!("{}{PAGE}", server.origin());
    let freeze = home.run(&["budget", "freeze"]).ends_with(0);
    assert!(freeze.out.contains("Frozen"), "{freeze:?}");
    let refused = home.run(&["pay", &url]).ends_with(3);
    assert!(refused.err.contains("farthing budget unfreeze"), "{refused:?}");
    assert!(home.run(&["budget"]).ends_with(0).out.contains("Frozen"));
    assert_eq!(captured(&server), 0);
    home.run(&["budget", "unfreeze"]).ends_with(0);
    home.run(&["pay", &url]).ends_with(0);
    assert_eq!(captured(&server), 1);
}

#[test]
fn receipts_are_listed_shown_and_exported() {
    let (_ledger, server) = demo();
    let home = Home::of(&server, "5");
    assert_eq!(home.run(&["receipts"]).ends_with(0).out, "No payments.\n");
    let url = format!("{}{PAGE}", server.origin());
    home.run(&["pay", "--task", "reading", &url]).ends_with(0);
    home.run(&["pay", &format!("{}/spec/ledger.md", server.origin())]).ends_with(0);
    let words = home.run(&["receipts"]).ends_with(0).out;
    for part in
        ["2 payments", "1000 atomic units of XTS", "confirmed", "5000 confirmed, 0 by the seller's word only"]
    {
        assert!(words.contains(part), "{part}: {words}");
    }
    let payments = home.receipts();
    assert_eq!((&payments[1]["url"], &payments[1]["task"]), (&json!(url), &json!("reading")));
    assert!(payments.iter().all(|payment| payment["confirmed"] == true && payment["receipt"].is_object()));
    let of = |arguments: &[&str]| {
        let all: Vec<_> = ["receipts", "--json"].iter().chain(arguments).copied().collect();
        home.run(&all).ends_with(0).json()["payments"].as_array().unwrap().len()
    };
    assert_eq!([of(&["--since", "1h"]), of(&["--until", "1h"]), of(&["-n", "1"])], [2, 0, 1]);
    assert_eq!([of(&["--origin", server.origin()]), of(&["--origin", "https://a.example"])], [2, 0]);
    assert!(home.run(&["receipts", "--since", "yesterday"]).ends_with(2).err.contains("yesterday"));

    let id = payments[1]["id"].as_str().unwrap();
    let shown = home.run(&["receipts", "show", id]).ends_with(0).out;
    for part in [id, &url, "the seller's, valid", "1000 atomic units of XTS", "reading", "answer     200"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(shown.contains("x402") && shown.contains("by did:key:z6Mk"), "{shown}");
    let last = home.run(&["receipts", "show", "last", "--json"]).ends_with(0);
    assert_eq!(last.json(), payments[0]);
    let page = format!("{}/spec/ledger.md", server.origin());
    let verified = farthing_with(&["receipt", "verify", "--json", "--url", &page], &last.out, &[]);
    let signed = verified.ends_with(0).json()["signed"].as_array().unwrap().clone();
    let formats: Vec<_> = signed.iter().map(|one| one["format"].as_str().unwrap()).collect();
    assert_eq!((formats, &signed[0]["key"]), (vec!["farthing", "jws"], &signed[1]["key"]));
    let another = farthing_with(&["receipt", "verify", "--url", &url], &last.out, &[]).ends_with(1);
    assert!(another.err.contains("another URL"), "{another:?}");
    home.run(&["receipts", "show", &"0".repeat(64)]).ends_with(2);

    let out = home.path("payments.csv");
    let export = ["receipts", "export", "--format", "csv", "--out", out.to_str().unwrap()];
    assert!(home.run(&export).ends_with(0).out.contains("2 payments"));
    assert_eq!(fs::read_to_string(&out).unwrap().lines().count(), 3);
    assert!(home.run(&export).ends_with(2).err.contains("there already"));
    let lines = home.run(&["receipts", "export", "--format", "jsonl"]).ends_with(0).out;
    assert!(lines.lines().count() == 2 && lines.contains(id), "{lines}");
}

#[test]
fn a_payee_is_approved_and_nothing_open_is_reconciled() {
    let (_ledger, server) = demo();
    let home = Home::of(&server, "5");
    let network = server.ready["network"].as_str().unwrap();
    home.run(&["budget", "approve-payee", server.origin(), network, "somebody-else"]).ends_with(0);
    let url = format!("{}{PAGE}", server.origin());
    let refused = home.run(&["pay", &url]).ends_with(3);
    assert!(refused.err.contains("farthing budget approve-payee"), "{refused:?}");
    let quote = home.run(&["pay", "--dry-run", "--json", &url]).ends_with(3).json();
    let payee = quote["quote"]["offers"][0]["payee"].as_str().unwrap();
    let approved = home.run(&["budget", "approve-payee", server.origin(), network, payee]).ends_with(0);
    assert!(approved.out.contains(payee), "{approved:?}");
    home.run(&["pay", &url]).ends_with(0);
    assert!(home.run(&["budget", "reconcile"]).ends_with(0).out.contains("Nothing was open"));
    home.run(&["budget", "approve-payee", "nowhere", network, payee]).ends_with(2);
}

// ---- A seller that loses answers

/// 256 different bytes, as often as a seller keeps them to be fetched again.
fn bytes() -> Vec<u8> {
    (0..=255).cycle().take(60_000).collect()
}

/// A stream of that many server-sent events.
fn events(count: usize) -> Response {
    let events = stream::iter(0..count).map(|n| Ok::<_, Infallible>(format!("data: {n}\n\n")));
    ([("content-type", "text/event-stream")], Body::from_stream(events)).into_response()
}

pub(crate) struct Shop {
    origin: String,
    ledger: LocalLedger,
    seller: farthing::protocol::PublicKey,
    loses: Arc<AtomicBool>,
    /// Neither the seller nor its ledger says what became of a payment.
    hides: Arc<AtomicBool>,
    agent: String,
}

impl Shop {
    pub(crate) async fn open() -> Self {
        let (seller, authorizer) = (SecretKey::from_seed([1; 32]).public(), SecretKey::from_seed([2; 32]));
        let agent = SecretKey::from_seed([3; 32]);
        let ledger = LocalLedger::memory(seller).await.unwrap();
        ledger.deposit(agent.public(), "1 XTS").await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let paywall = farthing::paywall(&origin, seller, authorizer, &ledger).await.unwrap();
        let (loses, hides) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (losing, hiding) = (loses.clone(), hides.clone());
        let meddle = from_fn(move |request: Request, next: Next| {
            let is_paid = request.headers().contains_key("payment-signature");
            let is_status = request.uri().path().starts_with("/ledger/payments");
            let (loses, hides) = (losing.load(Ordering::SeqCst), hiding.load(Ordering::SeqCst));
            async move {
                if is_status && hides {
                    return StatusCode::SERVICE_UNAVAILABLE.into_response();
                }
                let mut answer: Response = next.run(request).await;
                if is_paid && hides {
                    answer.headers_mut().remove("payment-response");
                }
                if is_paid && loses { StatusCode::BAD_GATEWAY.into_response() } else { answer }
            }
        });
        let foreign = || async {
            let error = json!({"code": "card_declined", "message": "No\u{1b}[2J card", "doc_url": "https://docs.example/c"});
            (StatusCode::PAYMENT_REQUIRED, Json(json!({ "error": error })))
        };
        let cut = || async {
            let pieces = [Ok(Bytes::from_static(b"half")), Err(std::io::Error::other("cut"))];
            Body::from_stream(stream::iter(pieces))
        };
        let price = || paywall.price("0.001 XTS");
        let most = || paywall.up_to("0.004 XTS").per_event("0.001 XTS");
        let router = Router::new()
            .route("/bytes", get(async || bytes()).layer(price()))
            .route("/echo", post(async |body: Bytes| body).layer(price()))
            .route("/broken", get(async || (StatusCode::NOT_FOUND, "no such thing")))
            .route("/foreign", get(foreign))
            .route("/cut", get(cut))
            .route("/long", get(async || "x".repeat(64 * 1024 + 1)).layer(price()))
            .route("/few", get(async || events(3)).layer(most()))
            .route("/many", get(async || events(9)).layer(most()))
            .nest("/ledger", ledger.service(Default::default()))
            .layer(meddle);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { origin, ledger, seller, loses, hides, agent: "03".repeat(32) }
    }

    pub(crate) fn home(&self, more: &str) -> Home {
        Home::new(&self.origin, self.ledger.ledger().network().as_str(), &self.agent, "5", more)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// Atomic units that the seller has.
    pub(crate) async fn taken(&self) -> u128 {
        self.ledger.balance(self.seller, "XTS").await.unwrap().0
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_the_content_byte_for_byte_and_bodies_arrive_as_they_are() {
    let shop = Shop::open().await;
    let home = shop.home("");
    let (file, text) = (home.path("bytes"), home.path("text"));
    home.run(&["pay", "-o", file.to_str().unwrap(), &shop.url("/bytes")]).ends_with(0);
    assert_eq!(fs::read(&file).unwrap(), bytes());
    fs::write(&text, "a\r\nü").unwrap();
    let from = format!("@{}", text.display());
    assert_eq!(home.run(&["pay", "-d", &from, &shop.url("/echo")]).ends_with(0).out, "a\r\nü");
    let typed = ["pay", "-H", "Content-Type: text/plain", "-d", "@-", "-X", "POST", &shop.url("/echo")];
    assert_eq!(home.run_with(&typed, "from standard input").ends_with(0).out, "from standard input");
    assert_eq!(shop.taken().await, 3000);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_outcome_ends_with_75_and_resuming_it_gets_the_answer_for_one_charge() {
    let shop = Shop::open().await;
    let home = shop.home("");
    shop.loses.store(true, Ordering::SeqCst);
    let run = home.run(&["pay", &shop.url("/bytes")]).ends_with(75);
    let id = home.receipts()[0]["id"].as_str().unwrap().to_owned();
    let resume = format!("farthing pay --resume {id}");
    assert!(run.err.contains(&resume) && run.out.is_empty(), "{run:?}");
    let again = home.run(&["pay", "--json", "--resume", &id]).ends_with(75);
    assert_eq!(told(&again)["resume"], json!(resume));
    shop.loses.store(false, Ordering::SeqCst);
    let file = home.path("bytes");
    let run = home.run(&["pay", "--resume", &id, "-o", file.to_str().unwrap()]).ends_with(0);
    assert_eq!(fs::read(&file).unwrap(), bytes());
    assert!(run.err.contains(&id), "{run:?}");
    assert_eq!((shop.taken().await, home.receipts().len()), (1000, 1));
    home.run(&["pay", "--resume", &"0".repeat(64)]).ends_with(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_a_confirmed_settlement_is_reported_as_such() {
    let shop = Shop::open().await;
    let home = shop.home("");
    shop.hides.store(true, Ordering::SeqCst);
    let pay = ["pay", "-o", "/dev/null", &shop.url("/bytes")];
    let run = home.run(&pay).ends_with(0);
    for part in
        ["NOT CONFIRMED", "does not say what became of the payment", "receipt that was promised is missing"]
    {
        assert!(run.err.contains(part), "{part}: {run:?}");
    }
    let line = told(&home.run(&["pay", "--json", "-o", "/dev/null", &shop.url("/bytes")]).ends_with(0));
    assert_eq!(
        (&line["payment"]["confirmed"], &line["payment"]["confirmation"]),
        (&json!(false), &json!("unproven"))
    );
    assert_eq!(home.receipts()[0]["state"], "unknown");
    assert!(home.run(&["receipts"]).out.contains("at most 2000 unknown"));
    let open = home.run(&["budget", "reconcile", "--json"]).ends_with(75);
    assert_eq!(open.json()["open"].as_array().map(Vec::len), Some(2));
    shop.hides.store(false, Ordering::SeqCst);
    let done = home.run(&["budget", "reconcile", "--json"]).ends_with(0);
    assert_eq!(done.json()["taken"].as_array().map(Vec::len), Some(2));
    assert!(!home.run(&pay).ends_with(0).err.contains("NOT CONFIRMED"));
    assert_eq!(shop.taken().await, 3000);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_the_server_ended_at_the_maximum_is_not_complete_and_says_so() {
    let shop = Shop::open().await;
    let home = shop.home("");
    let run = home.run(&["pay", "--task", "1", &shop.url("/few")]).ends_with(0);
    assert!(run.out.contains("data: 2\n\n"), "{run:?}");
    for part in ["paid 0.003 XTS", "confirmed by the network; no receipt: it was paid for while it came"] {
        assert!(run.err.contains(part), "{part}: {run:?}");
    }
    assert!(!run.err.contains("missing") && !run.err.contains("not complete"), "{run:?}");
    let line = told(&home.run(&["pay", "--json", "--task", "2", &shop.url("/few")]).ends_with(0));
    assert_eq!((&line["exit"], &line["payment"]["ended"]), (&json!(0), &json!("complete")));

    let file = home.path("events");
    let run =
        home.run(&["pay", "--task", "3", "-o", file.to_str().unwrap(), &shop.url("/many")]).ends_with(1);
    for part in ["paid 0.004 XTS", "the answer is not complete: the maximum of 0.004 XTS was used up"] {
        assert!(run.err.contains(part), "{part}: {run:?}");
    }
    let kept = fs::read_to_string(file).unwrap();
    assert!(kept.contains("data: 3\n\n") && !kept.contains("data: 4"), "what came was paid for: {kept}");
    let line = told(&home.run(&["pay", "--json", "--task", "4", &shop.url("/many")]).ends_with(1));
    assert_eq!((&line["exit"], &line["payment"]["ended"]), (&json!(1), &json!("exhausted")));
    assert_eq!((&line["payment"]["no_receipt"], &line["payment"]["flags"]), (&json!("metered"), &json!([])));
    assert_eq!(shop.taken().await, 2 * 3_000 + 2 * 4_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_blamed_for_the_receipt_of_an_answer_that_is_too_long_for_one() {
    let shop = Shop::open().await;
    let home = shop.home("");
    let run = home.run(&["pay", &shop.url("/long")]).ends_with(0);
    assert!(
        run.err.contains("confirmed by the network; no receipt: the answer was too long for one"),
        "{run:?}"
    );
    assert!(!run.err.contains("missing"), "{run:?}");
    let told =
        |path: &str| told(&home.run(&["pay", "--json", "-o", "/dev/null", &shop.url(path)]).ends_with(0));
    let line = told("/long");
    assert_eq!(
        (&line["payment"]["receipt"], &line["payment"]["no_receipt"]),
        (&json!(false), &json!("too-long"))
    );
    assert_eq!((&line["payment"]["flags"], &line["payment"]["ended"]), (&json!([]), &Value::Null));
    let line = told("/bytes");
    assert_eq!((&line["payment"]["receipt"], &line["payment"]["no_receipt"]), (&json!(true), &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_a_body_is_resumed_with_the_same_body_and_no_other() {
    let shop = Shop::open().await;
    let home = shop.home("");
    shop.loses.store(true, Ordering::SeqCst);
    let url = shop.url("/echo");
    let run = home.run(&["pay", "-d", "one", &url]).ends_with(75);
    assert!(run.err.contains(&url) && run.err.contains("-d as before"), "{run:?}");
    let id = home.receipts()[0]["id"].as_str().unwrap().to_owned();
    shop.loses.store(false, Ordering::SeqCst);
    assert!(home.run(&["pay", "--resume", &id]).ends_with(2).err.contains("body"));
    let other = home.run(&["pay", "--resume", &id, "-d", "two", &url]).ends_with(2);
    assert!(other.err.contains("another request"), "{other:?}");
    assert_eq!(home.run(&["pay", "--resume", &id, "-d", "one", &url]).ends_with(0).out, "one");
    assert_eq!(shop.taken().await, 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_not_paid_for_have_their_own_exit_status() {
    let shop = Shop::open().await;
    let home = shop.home("");
    let file = home.path("file");
    let out = file.to_str().unwrap();
    let missing = home.run(&["pay", "-o", out, &shop.url("/broken")]).ends_with(1);
    assert!(missing.out == "no such thing" && missing.err.contains("404"), "{missing:?}");
    let foreign = home.run(&["pay", &shop.url("/foreign")]).ends_with(5);
    for part in ["card_declined", "No\\u{1b}[2J card", "https://docs.example/c"] {
        assert!(foreign.err.contains(part), "{part}: {foreign:?}");
    }
    home.run(&["pay", "-o", out, &shop.url("/cut")]).ends_with(6);
    let names: Vec<_> =
        fs::read_dir(home.directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| !name.to_string_lossy().contains("part") && name != "file"), "{names:?}");
    home.run(&["pay", "http://127.0.0.1:1/"]).ends_with(6);
    for arguments in [&["pay", "ftp://a.example/"][..], &["pay"], &["pay", "-H", "x", "http://127.0.0.1:1/"]]
    {
        home.run(arguments).ends_with(2);
    }
    home.run(&["pay", "-o", "/no/such/place", &shop.url("/bytes")]).ends_with(2);
    assert_eq!(shop.taken().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_needs_a_yes_is_not_made_where_nobody_can_be_asked() {
    let shop = Shop::open().await;
    // Without a terminal of its own, the program has nobody to ask.
    let alone = |home: &Home| {
        let command = std::process::Command::new("setsid")
            .args(["-w", env!("CARGO_BIN_EXE_farthing"), "pay", &shop.url("/bytes"), "-o", "/dev/null"])
            .env("FARTHING_HOME", home.directory.path())
            .env("FARTHING_KEY_AGENT", &home.key)
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        (command.status.code(), String::from_utf8(command.stderr).unwrap())
    };
    let (status, said) = alone(&shop.home("\n[approval]\nabove = [\"0.0005 XTS\"]\n"));
    assert_eq!(status, Some(3), "{said}");
    assert!(said.contains("a person's yes"), "{said}");
    assert_eq!(shop.taken().await, 0);
    let (status, said) = alone(&shop.home("\n[approval]\nabove = [\"0.001 XTS\"]\n"));
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(shop.taken().await, 1000);
}

/// Runs the command on a terminal of its own, and answers its question.
const ON_A_TERMINAL: &str = "
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[2], sys.argv[2:])
shown = b''
while True:
    try:
        piece = os.read(terminal, 4096)
    except OSError:
        break
    if not piece:
        break
    was_asked = b'trust this payee]' in shown
    shown += piece
    if not was_asked and b'trust this payee]' in shown:
        os.write(terminal, sys.argv[1].encode())
sys.stdout.buffer.write(shown)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
";

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_needs_a_yes_is_asked_about_on_the_terminal() {
    let shop = Shop::open().await;
    let home = shop.home("\n[approval]\nabove = [\"0.0005 XTS\"]\n");
    let answered = |answer: &str| {
        let run = std::process::Command::new("python3")
            .args(["-c", ON_A_TERMINAL, answer, env!("CARGO_BIN_EXE_farthing"), "pay"])
            .args([&shop.url("/bytes"), "-o", "/dev/null"])
            .env("FARTHING_HOME", home.directory.path())
            .env("FARTHING_KEY_AGENT", &home.key)
            .output()
            .unwrap();
        (run.status.code(), String::from_utf8_lossy(&run.stdout).into_owned())
    };
    for (answer, status, taken) in [("\n", 3, 0), ("\u{4}", 3, 0), ("y\n", 0, 1000), ("a\n", 0, 2000)] {
        let (ended, shown) = answered(answer);
        assert_eq!((ended, shop.taken().await), (Some(status), taken), "{answer:?}: {shown}");
        assert!(shown.contains("Pay 0.001 XTS?") && shown.contains("[y/N/a = trust this payee]"), "{shown}");
    }
    // The payee is trusted now.
    let (ended, shown) = answered("n\n");
    assert_eq!((ended, shop.taken().await), (Some(0), 3000), "{shown}");
    assert!(!shown.contains("trust this payee"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_a_killed_process_left_open_is_resumed_for_one_charge() {
    let shop = Shop::open().await;
    let home = shop.home("");
    shop.loses.store(true, Ordering::SeqCst);
    let start = || {
        std::process::Command::new(env!("CARGO_BIN_EXE_farthing"))
            .args(["pay", &shop.url("/bytes"), "-o", home.path("bytes").to_str().unwrap()])
            .env("FARTHING_HOME", home.directory.path())
            .env("FARTHING_KEY_AGENT", &home.key)
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap()
    };
    // One is killed, and one is told to stop, each while it presents its payment again.
    let (mut killed, taken) = (start(), std::time::Instant::now() + std::time::Duration::from_secs(30));
    while shop.taken().await < 1000 {
        assert!(std::time::Instant::now() < taken && killed.try_wait().unwrap().is_none());
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let mut told = start();
    while shop.taken().await < 2000 {
        assert!(std::time::Instant::now() < taken && told.try_wait().unwrap().is_none());
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let interrupt = std::process::Command::new("kill").args(["-INT", &told.id().to_string()]).status();
    assert!(interrupt.unwrap().success());
    let told = told.wait_with_output().unwrap();
    let said = String::from_utf8(told.stderr).unwrap();
    assert!(told.status.code() == Some(75) && said.contains("farthing pay --resume"), "{said}");
    shop.loses.store(false, Ordering::SeqCst);
    let open = home.receipts();
    assert_eq!(open.len(), 2, "{open:?}");
    for payment in open {
        home.run(&["pay", "--resume", payment["id"].as_str().unwrap(), "-o", "/dev/null"]).ends_with(0);
    }
    assert_eq!((shop.taken().await, home.path("bytes").exists()), (2000, false));
    assert!(home.receipts().iter().all(|payment| payment["confirmed"] == true));
}

#[test]
fn completions_and_manual_pages_are_of_this_command() {
    for (shell, part) in
        [("bash", "_farthing"), ("zsh", "#compdef farthing"), ("fish", "complete -c farthing")]
    {
        let script = farthing(&["completions", shell]).ends_with(0).out;
        assert!(script.contains(part) && script.contains("receipts"), "{shell}");
    }
    farthing(&["completions", "cmd"]).ends_with(2);
    let page = farthing(&["man"]).ends_with(0).out;
    assert!(page.contains(".TH farthing 1") && page.contains("EXIT STATUS"), "{page}");
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("man");
    farthing(&["man", "--out", out.to_str().unwrap()]).ends_with(0);
    for name in ["farthing.1", "farthing-pay.1", "farthing-budget-freeze.1", "farthing-wallet-new.1"] {
        assert!(out.join(name).is_file(), "{name}");
    }
}
