//! T44: what nobody may read in a log, in a `Debug` text, in a panic or in an answer. Alone in its file: the
//! log is the whole process's, with every trace of every crate in it.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use farthing::client::{Journal as _, MemoryJournal};
use farthing::facilitator::RemoteFacilitator;
use farthing::facilitator::http::HttpOptions;
use farthing::native::NativePay;
use farthing::protocol::rail::{BoxFuture, Facilitator, FacilitatorError, Outcome, PaymentId};
use farthing::protocol::v2::{FacilitatorRequest, SupportedResponse, VerifyResponse};
use farthing::protocol::{Amount, Limits, SecretKey, header};
use farthing::{Budget, Client, Ledger, LocalLedger, Options, Paywall};
use farthing_testkit::{Counter, Log, SELLER, Secrets, TestClock, World, forge, key};
use serde_json::Value;

const CONTENT: &str = "what-was-paid-for-and-is-stored-with-the-capture";
const TOKEN: &str = "a-bearer-token-of-the-facilitator-0123456789";

/// Marks what is logged to see that it would be found.
const ON_PURPOSE: &str = "logged on purpose";

/// What was logged, by every test in this file, without what one has logged on purpose.
fn accidental(log: &Log) -> String {
    let text = log.text();
    text.lines().filter(|line| !line.contains(ON_PURPOSE)).flat_map(|line| [line, "\n"]).collect()
}

/// Hears what a server asks its facilitator.
#[derive(Debug)]
struct Eavesdropper(Arc<dyn Facilitator>, Mutex<Vec<Value>>);

impl Facilitator for Eavesdropper {
    fn supported(&self) -> BoxFuture<'_, Result<SupportedResponse, FacilitatorError>> {
        self.0.supported()
    }

    fn verify<'a>(
        &'a self,
        request: &'a FacilitatorRequest,
    ) -> BoxFuture<'a, Result<VerifyResponse, FacilitatorError>> {
        self.0.verify(request)
    }

    fn settle<'a>(&'a self, request: &'a FacilitatorRequest) -> BoxFuture<'a, Outcome> {
        self.1.lock().unwrap().push(serde_json::to_value(request).unwrap());
        self.0.settle(request)
    }

    fn payment<'a>(&'a self, id: &'a PaymentId) -> BoxFuture<'a, Result<Option<Value>, FacilitatorError>> {
        self.0.payment(id)
    }
}

fn routes(paywall: Paywall, hits: Counter) -> Router {
    let price = || paywall.price("0.01 XTS");
    let page = move || async move {
        hits.hit("page");
        CONTENT
    };
    Router::new()
        .route("/page", get(page).layer(price()))
        .route("/fails", get(|| async { StatusCode::BAD_GATEWAY }).layer(price()))
        .route(
            "/panics",
            get(|| async {
                if true {
                    panic!("the handler's own words")
                }
            })
            .layer(price()),
        )
}

/// Every seed in play.
fn seeds() -> Secrets {
    let mut secrets = Secrets::default();
    let named = [("payer", 1), ("seller", SELLER), ("authorizer", 102), ("ledger", 103), ("issuer", 104)];
    for (what, seed) in named.into_iter().chain([("receipt key", 105)]) {
        secrets.add_key(what, &[seed; 32]);
    }
    secrets
}

#[tokio::test]
async fn t44_no_log_of_any_crate_holds_a_payment_a_signature_a_key_or_a_stored_answer() {
    let log = Log::of_process();
    let clock = TestClock::default();
    let directory = tempfile::tempdir().unwrap();
    let options = Options::closed_loop(key(SELLER).public(), Amount(1_000_000_000_000));
    let ledger = Ledger::open(directory.path(), options).unwrap();
    let world = World::on(ledger, clock, routes).await;
    // A server that settles over HTTP, with every message overheard.
    let remote = RemoteFacilitator::builder(format!("{}/ledger", world.origin)).token(TOKEN).build().unwrap();
    let heard = Arc::new(Eavesdropper(Arc::new(remote), Mutex::default()));
    let shop = world.branch(heard.clone(), routes).await;

    // The real client: good, again, failing, panicking.
    let wallet = farthing::wallet(&format!("{}/ledger", world.origin), key(1)).await.unwrap();
    let journal = Arc::new(MemoryJournal::new());
    let client = Client::builder()
        .allow_any_origin()
        .rail(wallet)
        .budget(Budget::new("10 XTS").unwrap())
        .journal(journal.clone());
    let client = client.build().unwrap();
    let prepared = client.get(&format!("{}/page", shop.origin)).sign().await.unwrap().unwrap();
    let mut payments = vec![prepared.header().expose().to_owned()];
    for _ in 0..2 {
        let answer = client.present(&prepared).await.unwrap();
        assert!(answer.payment().unwrap().is_proven());
        assert_eq!(answer.text().await.unwrap(), CONTENT);
    }
    for (target, status) in [("/fails", 502), ("/panics", 500)] {
        let url = format!("{}{target}", shop.origin);
        let prepared = client.get(&url).sign().await.unwrap().unwrap();
        payments.push(prepared.header().expose().to_owned());
        match client.present(&prepared).await {
            Ok(answer) => assert_eq!(answer.status, status),
            Err(error) => assert!(status == 500, "{error}"),
        }
    }

    // Bad payments: forged, spoilt in every string, for elsewhere, malformed, of version 1.
    let good = shop.pay("GET", "/page", b"").await;
    let text = forge::open(&good);
    let payment: Value = serde_json::from_str(&text).unwrap();
    let authorization = payment["payload"]["authorization"].as_str().unwrap();
    let signature = payment["payload"]["signature"].as_str().unwrap();
    let mut bad = vec![
        text.replace(&signature[..8], "00000000"),
        text.replace(&signature[120..], "zzzzzzzz"),
        text.replace(&authorization[8..16], "AAAAAAAA"),
        text.replace(authorization, signature),
        text.replace(signature, authorization),
        text.replacen("\"x402Version\":2", &format!("\"x402Version\":\"{signature}\""), 1),
        text.replacen("\"scheme\":\"auth-capture\"", &format!("\"scheme\":[\"{signature}\"]"), 1),
        text.replacen("\"amount\":\"10000\"", &format!("\"amount\":\"{signature}\""), 1),
        text.replacen("\"network\":\"farthing:", &format!("\"network\":\"{signature}:"), 1),
        text[..text.len() - 1].to_owned(),
    ];
    bad.retain(|changed| *changed != text);
    assert!(bad.len() >= 9);
    for json in &bad {
        let header = forge::seal(json);
        let reply = shop.send_paid("GET", "/page", &header, b"").await;
        assert!((400..500).contains(&reply.status), "{}", reply.status);
        shop.send("GET", "/page", &[("X-PAYMENT", &header)], b"").await;
    }
    assert_eq!(shop.send_paid("GET", "/fails", &good, b"").await.status, 409);
    let joined = format!("{good},{good}");
    assert_eq!(shop.send_paid("GET", "/page", &joined, b"").await.status, 400);
    payments.push(good.clone());

    let mut secrets = seeds();
    secrets.add("the facilitator's token", TOKEN);
    secrets.add_text("a stored answer", CONTENT);
    payments.iter().for_each(|payment| secrets.add_payment(payment));
    for request in heard.1.lock().unwrap().iter() {
        secrets.add_long("a settlement", &request["paymentPayload"]["payload"]);
    }
    assert!(secrets.count() > 60, "{}", secrets.count());

    let text = accidental(&log);
    // The log is there, and says what it may say.
    for expected in ["payment signed", "payment sent", "held", "handler broke off", "hyper", "reqwest"] {
        assert!(text.contains(expected), "no {expected:?} in {} bytes of log", text.len());
    }
    assert!(text.contains(&prepared.id().to_string()) && text.contains("panic: "));
    assert_eq!((shop.hits.of("page"), world.captures().await), (1, 1));
    secrets.are_not_in("the log", &text);
    // The search would find it.
    tracing::trace!(header = %good, "{ON_PURPOSE}");
    assert!(secrets.find(&log.text()).is_some(), "a payment that was logged on purpose is found");

    // What the client keeps and says.
    let record = journal.find(&prepared.id()).unwrap().unwrap();
    let shown = format!("{client:?}\n{prepared:#?}\n{record:#?}\n{journal:?}\n{heard:?}", heard = heard.0);
    secrets.are_not_in("what the client shows", &shown);
    assert!(shown.contains(&prepared.id().to_string()));
    // And the directory holds only what is public, or must be kept: no key of the payer or the seller.
    let mut of_others = Secrets::default();
    for (what, seed) in [("payer", 1), ("seller", SELLER), ("authorizer", 102)] {
        of_others.add_key(what, &[seed; 32]);
    }
    for file in std::fs::read_dir(directory.path()).unwrap().flatten().filter(|file| file.path().is_file()) {
        let bytes = std::fs::read(file.path()).unwrap();
        of_others.are_not_in(&format!("{:?}", file.path()), &String::from_utf8_lossy(&bytes));
    }
}

#[tokio::test]
async fn t44_nothing_that_holds_a_key_or_a_payment_shows_it() {
    let world = World::start(routes).await;
    let facilitator = world.ledger.facilitator();
    let wallet = Arc::new(NativePay::connect(facilitator.clone(), None, key(1)).await.unwrap());
    let (offer, signed) = world.sign("GET", "/page", b"").await;
    let header = World::header(&offer, &signed);
    let payload = header::decode_payment(header.as_bytes(), &Limits::default()).unwrap();
    let request = FacilitatorRequest {
        x402_version: 2,
        payment_payload: payload.clone(),
        payment_requirements: offer.clone().into_parsed().into(),
    };
    let builder =
        Client::builder().allow_any_origin().rail(wallet.clone()).budget(Budget::new("1 XTS").unwrap());
    let paywall =
        farthing::paywall("https://shop.example", key(SELLER).public(), key(102), facilitator.clone());
    let paywall = paywall.await.unwrap();
    let rails = farthing::rails(key(SELLER).public(), &key(102), facilitator.as_ref()).await.unwrap();
    let options = HttpOptions::default().tenant("shop", TOKEN).unwrap();
    let remote = RemoteFacilitator::builder("https://ledger.example").token(TOKEN);
    let mut shown = Vec::new();
    let mut show =
        |what: &'static str, value: &dyn Debug| shown.push((what, format!("{value:?}\n{value:#?}")));
    show("SecretKey", &key(1));
    show("NativePay", &wallet);
    show("NativeOffer", &rails);
    show("LocalLedger", &world.ledger);
    show("Ledger", world.ledger.ledger());
    show("Paywall", &paywall);
    show("PaywallBuilder", &Paywall::builder("https://shop.example".parse().unwrap()).receipt_key(key(105)));
    show("PriceLayer", &paywall.price("0.01 XTS"));
    show("World", &world);
    show("ClientBuilder", &builder);
    show("RemoteBuilder", &remote);
    show("HttpOptions", &options);
    show("SignedPayment", &signed);
    show("PaymentPayload", &payload);
    show("FacilitatorRequest", &request);
    let client = builder.build().unwrap();
    show("RequestBuilder", &client.get("https://shop.example/?q=1").header("authorization", TOKEN));
    show("Client", &client);
    show("RemoteFacilitator", &remote.build().unwrap());
    let prepared = client.get(&format!("{}/page", world.origin)).sign().await.unwrap().unwrap();
    show("Prepared", &prepared);
    show("PaymentHeader", prepared.header());
    show("Paid", &client.present(&prepared).await.unwrap());

    let mut secrets = seeds();
    secrets.add("a token", TOKEN);
    secrets.add_payment(&header);
    secrets.add_payment(prepared.header().expose());
    for (what, text) in &shown {
        assert!(text.len() > 4, "{what} shows something");
        secrets.are_not_in(what, text);
    }
}

#[tokio::test]
async fn t44_no_panic_error_or_answer_repeats_a_secret() {
    let log = Log::of_process();
    let world = World::start(routes).await;
    let mut secrets = seeds();
    // Keys that are not quite keys: the error does not repeat them.
    let seed = "01".repeat(32);
    for text in
        [format!("{seed} "), seed.to_uppercase().replace('0', "A"), format!("0x{seed}"), seed[..62].into()]
    {
        let error = SecretKey::from_hex(&text).unwrap_err();
        for shown in [error.to_string(), format!("{error:?}")] {
            assert!(!shown.contains(&text.trim()[..60]), "{shown}");
        }
    }
    assert!(SecretKey::from_hex(&seed).is_ok());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("agent.key");
    std::fs::write(&file, format!("{seed}\n{seed}")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode;
    for bits in [0o600, 0o644] {
        std::fs::set_permissions(&file, mode(bits)).unwrap();
        let error = farthing::keyfile::load(&file).unwrap_err();
        secrets.are_not_in("a key file's error", &format!("{error} {error:?}"));
    }
    // A start that panics, on purpose.
    let paywall = World::paywall(&world.origin, &world.ledger, &world.clock).await;
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| paywall.price("free"))).is_err());
    // A handler that panics: its words stay on the server, and the payment stays out of both.
    let payment = world.pay("GET", "/panics", b"").await;
    secrets.add_payment(&payment);
    let reply = world.send_paid("GET", "/panics", &payment, b"").await;
    assert_eq!(reply.status, 500);
    assert!(!reply.text().contains("own words"), "{}", reply.text());
    let told: String = reply.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    secrets.are_not_in("an answer", &format!("{told}{}", reply.text()));
    let text = accidental(&log);
    assert!(text.contains("own words") && text.contains("price \"free\" is not understood"));
    secrets.are_not_in("the log", &text);
    // What is wrong with a payment is said without the payment.
    let good = world.pay("GET", "/page", b"").await;
    let json = forge::open(&good);
    secrets.add_payment(&good);
    for changed in
        [json.replace("\"signature\":\"", "\"signature\":\"!"), json.replace("\"accepted\":", "\"a\":")]
    {
        let reply = world.send_paid("GET", "/page", &forge::seal(changed), b"").await;
        assert_eq!(reply.status, 400);
        secrets.are_not_in("an answer", &reply.text());
    }
    assert_eq!((world.hits.of("page"), world.captures().await), (0, 0));
    assert_eq!(world.send_paid("GET", "/page", &good, b"").await.text(), CONTENT);
}

#[tokio::test]
async fn t44_a_payment_is_in_no_url_and_no_referer() {
    let world = World::start(routes).await;
    let pricing = farthing_testkit::hostile::Pricing::of(&world).await;
    let server = farthing_testkit::hostile::Hostile::start(move |origin, seen| match seen.payment() {
        None if seen.target == "/moved" => farthing_testkit::hostile::redirect(302, "/page"),
        None => farthing_testkit::hostile::asks(&[pricing.offer(origin, seen, "0.01 XTS")]),
        Some(_) => farthing_testkit::hostile::say(200, "paid"),
    })
    .await;
    let facilitator = world.ledger.facilitator();
    let wallet = Arc::new(NativePay::connect(facilitator, None, key(1)).await.unwrap());
    let client = Client::builder()
        .allow_any_origin()
        .rail(wallet)
        .budget(Budget::new("1 XTS").unwrap())
        .build()
        .unwrap();
    assert_eq!(client.get(&server.at("/moved")).await.unwrap().status, 200);
    let seen = server.seen();
    assert_eq!(seen.len(), 3);
    for (request, target) in seen.iter().zip(["/moved", "/page", "/page"]) {
        assert_eq!(request.target, target);
        for name in ["referer", "cookie", "authorization", "x-payment"] {
            assert!(!request.headers.contains_key(name), "{name}");
        }
    }
    assert_eq!(server.payments().len(), 1);
}

/// A ledger in a directory is opened with keys in files: nothing of them is in its `Debug` either.
#[tokio::test]
async fn t44_a_ledger_in_a_directory_shows_no_key() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = LocalLedger::open(directory.path(), key(SELLER).public()).await.unwrap();
    let shown = format!("{ledger:?} {ledger:#?}");
    let mut keys = 0;
    for file in std::fs::read_dir(directory.path()).unwrap().flatten() {
        if file.path().extension().is_some_and(|extension| extension == "key") {
            let seed = std::fs::read_to_string(file.path()).unwrap();
            assert!(!shown.contains(seed.trim()), "{:?}", file.path());
            keys += 1;
        }
    }
    assert_eq!(keys, 2);
}
