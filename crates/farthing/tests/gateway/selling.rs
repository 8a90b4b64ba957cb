//! What a route can sell besides one answer: a period, what flows, test money on a page.

use http::Response;

use crate::raw;
use crate::upstream::{Upstream, text};
use crate::world::{ROUTES, World};

#[tokio::test]
async fn a_pass_is_paid_for_once_and_its_holder_is_named_to_the_upstream() {
    let routes = "[[route]]\npath = \"/paid/{id}\"\nprice = \"0.01 XTS\"\npass = \"1h\"";
    let world = World::of(Upstream::start(|_| text("open")).await, routes).await;
    let paid = world.client().await.get(&world.url("/paid/a")).send().await.unwrap();
    assert_eq!((paid.status.as_u16(), world.charged().await.0), (200, 10_000));
    let token = format!("PASS-TOKEN: {}", paid.headers["pass-token"].to_str().unwrap());

    let again = raw::get(world.address(), "/paid/a", &[&token]).await;
    assert_eq!((again.status(), again.body()), (200, "open"));
    assert_eq!(raw::get(world.address(), "/paid/b", &[&token]).await.status(), 402);
    assert_eq!(world.charged().await.0, 10_000);
    let [first, second] = &world.hits()[..] else { panic!("{:?}", world.hits()) };
    assert_eq!(first.header("farthing-payer"), second.header("farthing-payer"));
    assert_eq!((second.header("pass-token"), second.header("farthing-payment")), (None, None));
    let line = world.line("200 admitted").await;
    assert!(line.starts_with("GET /paid/a 200 admitted"), "{line}");
}

#[tokio::test]
async fn what_flows_is_charged_by_its_length() {
    let routes = "[[route]]\npath = \"/paid/{id}\"\nprice = \"1 XTS\"\nup_to = true\n\
                  per_bytes = { bytes = 1000, price = \"0.001 XTS\" }";
    let world = World::of(Upstream::start(|_| Response::new("x".repeat(2500).into())).await, routes).await;
    let paid = world.client().await.get(&world.url("/paid/a")).send().await.unwrap();
    assert_eq!(paid.bytes().await.unwrap().len(), 2500);
    let charged = async {
        while world.charged().await.0 != 3000 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), charged)
        .await
        .expect("three blocks are charged");
    // It ends with a trailer.
    let line = world.line("authorized").await;
    assert!(line.starts_with("GET /paid/a 200 authorized") && !line.contains("broke off"), "{line}");
}

#[tokio::test]
async fn a_person_sees_a_page_that_names_the_site_and_its_test_money() {
    let upstream = Upstream::start(|_| text("ok")).await;
    let world = World::before(&upstream.origin, "top_up = true\ntitle = \"The Almanac\"", ROUTES).await;
    let page = raw::get(world.address(), "/paid/a", &["Accept: text/html"]).await;
    assert_eq!(page.status(), 402);
    assert!(page.header("content-type").unwrap().starts_with("text/html"), "{page:?}");
    assert!(page.0.contains("The Almanac") && page.0.contains("/.farthing/faucet"), "{page:?}");

    let account = format!("{{\"account\":\"{}\"}}", "0a".repeat(32));
    let length = format!("Content-Length: {}", account.len());
    let headers = ["Content-Type: application/json", &length];
    let given = raw::request(world.address(), "POST", "/.farthing/faucet", &headers, &account).await;
    assert!(given.status() == 200 || given.status() == 400, "{given:?}");
    assert_eq!(upstream.hits().len(), 0);
}

#[tokio::test]
async fn what_became_of_a_payment_is_told_by_the_ledger() {
    let world = World::of(Upstream::start(|_| text("ok")).await, ROUTES).await;
    let paid = world.client().await.get(&world.url("/paid/a")).send().await.unwrap();
    let path = format!("/.farthing/payments/{}", paid.payment().unwrap().id);
    let said = raw::get(world.address(), &path, &[]).await;
    assert_eq!(said.status(), 200);
    assert!(said.body().contains("captured"), "{said:?}");
}

#[tokio::test]
async fn sales_are_logged_and_counted_on_a_listener_of_their_own() {
    let upstream = Upstream::start(|_| text("ok")).await;
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let world = World::before(&upstream.origin, &format!("metrics = \"{free}\""), ROUTES).await;
    world.client().await.get(&world.url("/paid/a")).send().await.unwrap();
    world.line("captured").await;
    let counts = raw::get(&free.to_string(), "/metrics", &[]).await;
    assert_eq!(counts.status(), 200);
    assert!(counts.0.contains("/paid/{*rest}"), "{counts:?}");
    assert_eq!(raw::get(world.address(), "/metrics", &[]).await.status(), 404);
}
