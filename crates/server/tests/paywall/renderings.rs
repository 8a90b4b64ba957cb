//! A refusal as its reader likes it: formats, languages, and words of others that stay words.

use axum::Router;
use axum::routing::{get as route_get, post as route_post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use farthing_protocol::digest::sha256;
use farthing_server::PageOptions;
use http::Method;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::scripted::*;
use crate::shopping::*;

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
const FORMATS: [(&str, &str); 5] = [
    ("application/problem+json", "application/problem+json"),
    ("application/json", "application/json"),
    ("application/xml", "application/xml; charset=utf-8"),
    ("text/plain", "text/plain; charset=utf-8"),
    ("text/html", "text/html; charset=utf-8"),
];
/// What ends an attribute, an element, a line, a comment and a screen, and turns text around.
const HOSTILE: &str =
    "\"'></script><script>alert(1)</script><!-- ]]> &amp; \r\nSet-Cookie: a=1\u{1b}[2J\u{202e}\u{0}";

fn shop(world: &World) -> Router {
    let layer = world.paywall.price("$0.001").description("A page").mime_type("text/plain");
    let hostile = world.paywall.price("$0.001").description(HOSTILE).mime_type(HOSTILE);
    Router::new()
        .route("/a", route_get(async || "content").layer(layer.clone()))
        .route("/form", route_post(async || "content").layer(layer))
        .route("/hostile/{*rest}", route_get(async || "content").layer(hostile))
}

async fn ask(app: &Router, accept: &str, language: &str) -> Got {
    get("/a").with("accept", accept).with("accept-language", language).send(app).await
}

/// What the page's script is given.
fn data(page: &Got) -> Value {
    let (_, data) = page.text().split_once("<script type=\"application/json\" id=\"farthing\">").unwrap();
    serde_json::from_str(data.split_once("</script>").unwrap().0).unwrap()
}

#[tokio::test]
async fn whoever_has_no_wish_is_sent_a_problem_with_the_terms_mirrored() {
    let app = shop(&World::new());
    let plain = get("/a").send(&app).await;
    assert_eq!(plain.code(), (402, "payment-required".into(), "new".into()));
    let problem = plain.problem();
    assert_eq!(problem["reason"], "payment_required");
    assert_eq!(problem["message"], "This has a price. Pay it, and the content follows at once.");
    let docs = problem["doc_url"].as_str().unwrap();
    assert!(docs.starts_with("https://") && docs.ends_with("#payment-required"), "{docs}");
    let header = STANDARD.decode(&plain.headers["payment-required"]).unwrap();
    assert_eq!(problem["terms"], serde_json::from_slice::<Value>(&header).unwrap());
    for same in [get("/a").with("accept", "*/*"), get("/a").with("accept", "image/png")] {
        let got = same.send(&app).await;
        assert_eq!((got.status, got.body), (plain.status, plain.body.clone()));
        assert_eq!(got.headers, plain.headers);
    }
}

#[tokio::test]
async fn every_format_is_given_to_whoever_asks_for_it() {
    let app = shop(&World::new());
    for (accept, content_type) in FORMATS {
        let got = ask(&app, accept, "en").await;
        assert_eq!(
            (got.status.as_u16(), &got.headers["content-type"]),
            (402, &content_type.parse().unwrap())
        );
        assert_eq!(got.headers["vary"], "PAYMENT-SIGNATURE, X-PAYMENT, Accept, Accept-Language");
        assert_eq!(got.headers["content-language"], "en");
        assert_eq!(got.headers["cache-control"], "no-store");
        assert_eq!(got.headers["link"], "<https://shop.example/a>; rel=\"payment\"");
        assert_eq!(got.terms().offers().count(), 1, "the terms are in the header whatever the body is");
        let nosniff = got.headers.get("x-content-type-options").is_some();
        assert_eq!(nosniff, accept != "application/problem+json");
    }
    let browser = ask(&app, BROWSER, "en").await;
    assert_eq!(browser.headers["content-type"], "text/html; charset=utf-8");
    let weighed = ask(&app, "text/html;q=0.3, text/*;q=0.4, application/xml;q=0.1", "en").await;
    assert_eq!(weighed.headers["content-type"], "text/plain; charset=utf-8");
}

#[tokio::test]
async fn every_format_says_the_same() {
    let app = shop(&World::new());
    let problem = ask(&app, "*/*", "en").await;
    assert_eq!(ask(&app, "application/json", "en").await.body, problem.body);
    let problem = problem.problem();

    let xml = ask(&app, "application/xml", "en").await;
    let xml = roxmltree::Document::parse(xml.text()).unwrap();
    let root = xml.root_element();
    assert_eq!((root.tag_name().name(), root.tag_name().namespace()), ("problem", Some("urn:ietf:rfc:7807")));
    let member = |names: &[&str]| {
        let found = names.iter().try_fold(root, |at, name| {
            at.children().find(|child| child.tag_name().name() == *name).ok_or_else(|| (*name).to_owned())
        });
        found.unwrap().text().unwrap_or_default().to_owned()
    };
    assert_eq!(member(&["code"]), "payment-required");
    assert_eq!(member(&["status"]), "402");
    assert_eq!(member(&["message"]), problem["message"].as_str().unwrap());
    assert_eq!(member(&["terms", "resource", "url"]), "https://shop.example/a");
    assert_eq!(member(&["terms", "accepts", "i", "amount"]), "1000");

    let text = ask(&app, "text/plain", "en").await;
    for line in [
        "This has a price. Pay it, and the content follows at once.",
        "Price: 0.001 USD",
        "Address: https://shop.example/a",
        "Paid to: seller (0.001 USD, auth-capture, test:one)",
        "From a terminal: farthing pay 'https://shop.example/a'",
        "Code: payment-required",
    ] {
        assert!(text.text().lines().any(|found| found == line), "{line:?} is not in {}", text.text());
    }

    let page = ask(&app, "text/html", "en").await;
    for part in ["<h1 id=\"what\" dir=\"auto\">A page</h1>", "0.001 USD", "https://shop.example/a", "seller"]
    {
        assert!(page.text().contains(part), "{part}");
    }
    assert_eq!(data(&page)["terms"], problem["terms"]);
    assert_eq!(data(&page)["now"], NOW);
}

#[tokio::test]
async fn the_message_is_in_the_readers_language_and_nothing_else_changes() {
    let app = shop(&World::new());
    let english = ask(&app, "*/*", "en").await.problem();
    for (language, tag, message, page) in [
        ("zh-TW,zh;q=0.9,en;q=0.8", "zh-TW", "此內容需要付費。付款後立即提供內容。", "其他付款方式"),
        ("zh-CN", "zh-CN", "此内容需要付费。付款后立即提供内容。", "其他付款方式"),
        ("ja", "ja", "この内容は有料です。お支払い後すぐに提供されます。", "その他の支払い方法"),
        (
            "fr, de;q=0.5",
            "en",
            "This has a price. Pay it, and the content follows at once.",
            "Other ways to pay",
        ),
    ] {
        let got = ask(&app, "*/*", language).await;
        assert_eq!(got.headers["content-language"], tag);
        let mut problem = got.problem();
        assert_eq!(problem["message"], message);
        problem["message"] = english["message"].clone();
        assert_eq!(problem, english);
        for (accept, _) in &FORMATS[1..] {
            let got = ask(&app, accept, language).await;
            assert_eq!(got.headers["content-language"], tag);
            assert!(got.text().contains(message), "{accept} {tag}");
        }
        let html = ask(&app, "text/html", language).await;
        assert!(html.text().contains(&format!("<html lang=\"{tag}\">")) && html.text().contains(page));
        assert_eq!(data(&html)["lang"], tag);
    }
}

#[tokio::test]
async fn a_refusal_without_terms_is_written_for_its_reader_too() {
    let app = shop(&World::new());
    let large = vec![b'x'; 2 << 20];
    let too_large = |accept: &'static str| post("/form", &large).with("accept", accept);
    for (accept, content_type) in FORMATS {
        let got = too_large(accept).with("accept-language", "zh-TW").send(&app).await;
        assert_eq!(
            (got.status.as_u16(), &got.headers["content-type"]),
            (413, &content_type.parse().unwrap())
        );
        assert!(
            got.text().contains("請求內容過長，無法付費。未扣款。") && got.text().contains("body-too-large")
        );
        assert!(!got.headers.contains_key("link") && !got.headers.contains_key("payment-required"));
    }
    let page = too_large(BROWSER).send(&app).await;
    assert!(!page.text().contains("<script") && page.headers.contains_key("content-security-policy"));
}

#[tokio::test]
async fn whoever_brings_a_payment_reads_in_json_what_to_do_with_it() {
    let app = shop(&World::new());
    for accept in [BROWSER, "text/html", "text/plain", "application/xml", "*/*"] {
        let got = get("/a").with("payment-signature", "!").with("accept", accept).send(&app).await;
        assert_eq!(got.code(), (400, "malformed-payment".into(), "new".into()));
    }
    let json = get("/a").with("payment-signature", "!").with("accept", "application/json").send(&app).await;
    assert_eq!(json.headers["content-type"], "application/json");
}

#[tokio::test]
async fn paid_answers_are_left_as_the_handler_made_them() {
    let app = shop(&World::new());
    let ask = get("/a").with("accept", BROWSER).with("accept-language", "ja");
    let terms = ask.send(&app).await.terms();
    let got = Signed::new(ask, &terms).send(&app).await;
    assert_eq!((got.status.as_u16(), got.text()), (200, "content"));
    for name in ["content-language", "link", "content-security-policy"] {
        assert!(!got.headers.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn t41_words_of_a_seller_or_a_url_stay_words_in_every_format() {
    let app = shop(&World::new());
    let target = "/hostile/'%22%3E%3Cscript%3E?q='%3Cscript%3Ealert(1)%3C/script%3E";
    for (accept, _) in FORMATS {
        let got = get(target).with("accept", accept).send(&app).await;
        assert_eq!(got.status, 402, "{accept}");
        let link = got.headers["link"].to_str().unwrap();
        assert_eq!(link.matches(['<', '>', '"', '\'']).count(), 4, "{link}");
        assert!(!got.headers.contains_key("set-cookie"));
        let text = got.text();
        let is_steered = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!text.contains(is_steered) || accept.ends_with("json"), "{accept}");
        assert!(
            accept.ends_with("json") || accept == "text/plain" || !text.contains("<script>alert"),
            "{accept}"
        );
    }
    let page = get(target).with("accept", BROWSER).send(&app).await;
    assert_eq!(page.text().matches("</script>").count(), 2, "the page's own two scripts");
    assert_eq!(data(&page)["terms"]["resource"]["description"], HOSTILE);
    let xml = get(target).with("accept", "application/xml").send(&app).await;
    let xml = roxmltree::Document::parse(xml.text()).unwrap();
    let said = xml.descendants().find(|node| node.tag_name().name() == "description").unwrap();
    assert!(said.text().unwrap().starts_with("\"'></script><script>alert(1)</script><!-- ]]> &amp; "));
    let text = get(target).with("accept", "text/plain").send(&app).await;
    assert!(!text.text().contains("\nSet-Cookie"), "{}", text.text());
    let command = text.text().lines().find(|line| line.starts_with("From a terminal: ")).unwrap();
    assert_eq!(command.matches('\'').count(), 2, "{command}");
}

#[tokio::test]
async fn the_page_runs_its_own_script_and_nothing_else() {
    let app = shop(&World::new());
    for language in ["en", "zh-TW", "zh-CN", "ja"] {
        let page = ask(&app, BROWSER, language).await;
        assert!(page.body.len() < 40_000, "{} bytes in {language}", page.body.len());
        let policy = page.headers["content-security-policy"].to_str().unwrap();
        for directive in [
            "default-src 'none'",
            "connect-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'none'",
        ] {
            assert!(policy.split("; ").any(|found| found == directive), "{directive} is not in {policy}");
        }
        let inner = |open: &str, close: &str| {
            let (_, text) = page.text().split_once(open).unwrap();
            format!("'sha256-{}'", STANDARD.encode(sha256(text.split_once(close).unwrap().0.as_bytes())))
        };
        assert!(policy.contains(&format!("script-src {};", inner("<script type=\"module\">", "</script>"))));
        assert!(policy.contains(&format!("style-src {};", inner("<style>", "</style>"))));
        for never in ["src=\"", "style=\"", "onclick=\"", "@import", "url(", "{{"] {
            assert!(!page.text().contains(never), "{never}");
        }
        assert_eq!(page.headers["referrer-policy"], "no-referrer");
        assert_eq!(page.headers["x-content-type-options"], "nosniff");
    }
}

#[tokio::test]
async fn what_a_seller_sets_is_on_the_page() {
    let page = PageOptions {
        title: Some("A <shop>".into()),
        top_up: Some("/faucet".into()),
        ledger: Some("/ledger/".into()),
        docs: Some("https://docs.example/problems".into()),
    };
    let app = shop(&World::with(rail("auth-capture"), |builder| builder.page(page)));
    let got = ask(&app, BROWSER, "en").await;
    assert!(got.text().contains("<header><p>A &lt;shop&gt;</p></header>"));
    assert!(got.text().contains("href=\"https://docs.example/problems#payment-required\""));
    assert_eq!((&data(&got)["topUp"], &data(&got)["ledger"]), (&"/faucet".into(), &"/ledger".into()));
    let problem = ask(&app, "*/*", "en").await.problem();
    assert_eq!(problem["doc_url"], "https://docs.example/problems#payment-required");
    let plain = ask(&shop(&World::new()), BROWSER, "en").await;
    assert!(plain.text().contains("<header><p>shop.example</p></header>"));
    assert_eq!((&data(&plain)["topUp"], &data(&plain)["ledger"]), (&Value::Null, &Value::Null));
    let form = post("/form", b"x").with("accept", BROWSER).send(&app).await;
    assert_eq!(data(&form)["method"], "POST");
}

#[tokio::test]
async fn t37_an_unpaid_head_has_no_length_of_a_body_in_any_format() {
    let app = shop(&World::new());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    for (accept, content_type) in FORMATS {
        let mut connection = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!(
            "HEAD /a HTTP/1.1\r\nhost: shop.example\r\naccept: {accept}\r\nconnection: close\r\n\r\n"
        );
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        let answer = answer.to_ascii_lowercase();
        assert!(answer.starts_with("http/1.1 402 ") && answer.ends_with("\r\n\r\n"), "{answer}");
        assert!(answer.contains(&format!("\r\ncontent-type: {content_type}\r\n")), "{answer}");
        let length = answer.lines().find_map(|line| line.strip_prefix("content-length: "));
        assert!(length.is_none_or(|length| length == "0") && !answer.contains("\r\netag:"), "{answer}");
    }
    server.abort();
    let head = Asking { method: Method::HEAD, ..get("/a") };
    assert!(head.with("accept", BROWSER).send(&shop(&World::new())).await.body.is_empty());
}
