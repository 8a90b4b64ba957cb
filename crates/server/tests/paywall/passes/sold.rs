//! What a payment opens, for whom and how long.

use super::*;

#[tokio::test]
async fn a_payment_opens_its_path_to_its_payer_for_a_period() {
    let shop = Shop::new();
    let bought = shop.buy(&article(1)).await;
    assert_eq!((bought.text(), shop.count()), ("run 1: alice paid", (1, 1)));
    let token = token(&bought);
    let by_header = article(1).with("pass-token", &token);
    let by_cookie = article(1).with("cookie", format!("a=1; farthing-pass={token}; b=2"));
    assert_eq!(shop.send(&by_header).await.text(), "run 2: alice until 100");
    assert_eq!(shop.send(&by_cookie).await.text(), "run 3: alice until 100");
    let query = get("/articles/1?page=2").with("pass-token", &token);
    assert_eq!(shop.send(&query).await.text(), "run 4: alice until 100");
    let head = Asking { method: http::Method::HEAD, ..by_header.clone() };
    let head = shop.send(&head).await;
    assert_eq!((head.status, head.body.len(), shop.count()), (StatusCode::OK, 0, (5, 1)));
    // And to nothing else.
    for other in [article(2), get("/dear"), get("/once"), get("/articles/1/"), post("/articles/1", b"")] {
        assert_ne!(shop.send(&other.with("pass-token", &token)).await.status, 200);
    }
    assert_eq!(refused(&shop.send(&article(1)).await), not_in("payment-required", "payment_required"));
    assert_eq!(shop.count(), (5, 1));
}

#[tokio::test]
async fn answers_to_holders_are_private_and_vary_with_what_lets_them_in() {
    let shop = Shop::new();
    let bought = shop.buy(&article(1)).await;
    let read = shop.send(&article(1).with("pass-token", token(&bought))).await;
    let unpaid = shop.send(&article(1)).await;
    let private: http::HeaderValue = "private".parse().unwrap();
    for got in [&bought, &read, &unpaid] {
        let vary = got.headers["vary"].to_str().unwrap();
        for name in ["PAYMENT-SIGNATURE", "Cookie", "SIGN-IN-WITH-X", "PASS-TOKEN"] {
            assert!(vary.split(", ").any(|member| member == name), "{vary}");
        }
        assert!(got.headers["access-control-expose-headers"].to_str().unwrap().contains("PASS-TOKEN"));
    }
    assert_eq!((&bought.headers["cache-control"], &read.headers["cache-control"]), (&private, &private));
    // A session is not prolonged by being used: the key is proven again.
    assert!(!read.headers.contains_key("pass-token") && !read.headers.contains_key("set-cookie"));
    assert!(!read.headers.contains_key("payment-response"));
    let cookie = bought.headers["set-cookie"].to_str().unwrap();
    assert!(
        cookie.ends_with("; Path=/articles/1; Max-Age=100; HttpOnly; SameSite=Strict; Secure"),
        "{cookie}"
    );
}

#[tokio::test]
async fn a_route_without_a_pass_gives_and_takes_none() {
    let shop = Shop::new();
    let bought = shop.buy(&get("/once")).await;
    assert!(!bought.headers.contains_key("pass-token") && !bought.headers.contains_key("set-cookie"));
    assert!(shop.send(&get("/once")).await.terms().extensions.is_empty());
    let pass = token(&shop.buy(&article(1)).await);
    let asked = shop.send(&get("/once").with("pass-token", &pass).with("sign-in-with-x", "junk")).await;
    assert_eq!(asked.code().1, "payment-required");
    // Nor does its handler see what belongs to other routes.
    let paid = shop.signed(&get("/once")).await.request().with("cookie", format!("farthing-pass={pass}"));
    assert_eq!(shop.send(&paid).await.text(), "run 3: alice paid");
}

#[tokio::test]
async fn terms_say_what_a_payment_buys() {
    let shop = Shop::new();
    let said = |terms: farthing_protocol::v2::PaymentRequired| {
        serde_json::from_str::<serde_json::Value>(terms.extensions["farthing-pass"].get()).unwrap()
    };
    let path = said(shop.send(&article(1)).await.terms());
    assert_eq!(path, serde_json::json!({"info": {"seconds": 100, "opens": "path"}}));
    let plan = said(shop.send(&get("/pro/a")).await.terms());
    assert_eq!(plan, serde_json::json!({"info": {"seconds": 100, "opens": "plan", "plan": "pro"}}));
}

#[tokio::test]
async fn t12_the_resource_that_a_payment_names_opens_nothing() {
    let shop = Shop::new();
    let mut signed = shop.signed(&article(1)).await;
    signed.payment["resource"] = serde_json::json!({"url": "https://shop.example/dear"});
    signed.payment["extensions"] = serde_json::json!({"sign-in-with-x": {"info": {
        "uri": "https://shop.example/dear", "resources": ["https://shop.example/dear"]}}});
    let bought = signed.send(&shop.app).await;
    assert_eq!((bought.status.as_u16(), shop.count()), (200, (1, 1)));
    let dear = shop.proven(&get("/dear"), "alice").await;
    assert_eq!(refused(&shop.send(&dear).await).1, "payment_required");
    let dear = get("/dear").with("pass-token", token(&bought));
    assert_eq!(refused(&shop.send(&dear).await).1, "payment_required");
    // The challenge of one path, which names it, opens another if that was paid for, and only that.
    let named = challenge(&shop.send(&get("/dear")).await).info;
    let own = article(1).with("sign-in-with-x", proof(named, "alice").encode().unwrap());
    assert_eq!(shop.send(&own).await.text(), "run 2: alice until 100");
    assert_eq!(shop.count(), (2, 1));
}

#[tokio::test]
async fn what_is_over_is_renewed_by_paying_again() {
    let shop = Shop::new();
    let bought = token(&shop.buy(&article(1)).await);
    shop.world.pass(LENGTH - 1);
    assert_eq!(shop.send(&article(1).with("pass-token", &bought)).await.status, 200);
    shop.world.pass(1);
    let expired = not_in("subscription-expired", "subscription_expired");
    let over = shop.send(&article(1).with("pass-token", &bought)).await;
    assert_eq!(refused(&over), expired);
    assert_eq!(over.terms().error.as_deref(), Some("subscription_expired"));
    let proven = shop.proven(&article(1), "alice").await;
    assert_eq!(refused(&shop.send(&proven).await), expired);
    assert_eq!(shop.count(), (2, 1));
    let renewed = shop.buy(&article(1)).await;
    let read = shop.send(&article(1).with("pass-token", token(&renewed))).await;
    assert_eq!((read.text(), shop.count()), ("run 4: alice until 200", (4, 2)));
    // The old token tells whose it was, and nothing more.
    let old = shop.send(&article(1).with("pass-token", &bought)).await;
    assert_eq!(refused(&old), not_in("payment-required", "payment_required"));
}

#[tokio::test]
async fn a_renewal_before_the_end_adds_to_what_is_left() {
    let shop = Shop::new();
    let bought = token(&shop.buy(&article(1)).await);
    shop.world.pass(40);
    // Whoever brings a payment pays, also with a token.
    let renewal = shop.signed(&article(1)).await.request().with("pass-token", &bought);
    let renewed = shop.send(&renewal).await;
    assert_eq!((renewed.text(), shop.count()), ("run 2: alice paid", (2, 2)));
    shop.world.pass(159);
    let read = shop.send(&article(1).with("pass-token", token(&renewed))).await;
    assert_eq!(read.text(), "run 3: alice until 200");
    shop.world.pass(1);
    let over = shop.send(&article(1).with("pass-token", token(&renewed))).await;
    assert_eq!(refused(&over).1, "subscription_expired");
}

#[tokio::test]
async fn a_payment_that_is_answered_again_buys_its_period_once() {
    let shop = Shop::new();
    let signed = shop.signed(&article(1)).await;
    for again in 0..3 {
        let got = signed.send(&shop.app).await;
        assert_eq!((got.text(), shop.count()), ("run 1: alice paid", (1 + again, 1)));
        let read = shop.send(&article(1).with("pass-token", token(&got))).await;
        assert_eq!(read.text(), format!("run {}: alice until 100", 2 + again));
        shop.world.pass(10);
    }
    shop.world.pass(70);
    let late = signed.send(&shop.app).await;
    assert_eq!((late.status.as_u16(), late.headers.contains_key("pass-token")), (200, false));
    let proven = shop.proven(&article(1), "alice").await;
    assert_eq!(refused(&shop.send(&proven).await).1, "subscription_expired");
}

#[tokio::test]
async fn nothing_is_open_where_nothing_was_paid() {
    let shop = Shop::new();
    let failed = shop.signed(&get("/fails")).await.send(&shop.app).await;
    assert_eq!((failed.status.as_u16(), failed.headers.contains_key("pass-token")), (404, false));
    let given = shop.signed(&get("/gives")).await.send(&shop.app).await;
    assert_eq!((given.text(), given.headers.contains_key("pass-token")), ("a present", false));
    for target in ["/fails", "/gives"] {
        let proven = shop.proven(&get(target), "alice").await;
        assert_eq!(refused(&shop.send(&proven).await), not_in("payment-required", "payment_required"));
    }
    assert_eq!(shop.world.ledger.balance("alice"), 1_000_000);
}

#[tokio::test]
async fn an_answer_says_who_was_let_in() {
    let shop = Shop::new();
    let bought = token(&shop.buy(&article(1)).await);
    let request = article(1).with("pass-token", &bought).build();
    let response = tower::ServiceExt::oneshot(shop.app.clone(), request).await.unwrap();
    let sold = response.extensions().get::<Sold>().unwrap();
    assert_eq!(sold.situation, farthing_server::answer::Situation::Admitted);
    assert_eq!((sold.payer.as_deref(), sold.amount, sold.payment), (Some("alice"), None, None));
    assert_eq!(&*sold.route, "/articles/{id}");
    let network = sold.network.as_ref().unwrap().as_str();
    let holder = response.extensions().get::<PassHolder>().unwrap();
    assert_eq!((network, holder.until), ("test:one", NOW + LENGTH));
}

#[tokio::test]
async fn where_the_price_is_by_request_the_query_counts() {
    let records = Arc::new(Memory::default());
    let world = World::with(rail("auth-capture"), |builder| builder.records(records));
    let price = async |wanted: farthing_server::Wanted| {
        let dear = wanted.uri.query() == Some("dear");
        let price: farthing_protocol::Price = if dear { "$0.5" } else { "$0.001" }.parse().unwrap();
        Ok::<_, StatusCode>(price)
    };
    let layer = world.paywall.dynamic(price).pass(Duration::from_secs(LENGTH));
    let hits = world.hits.clone();
    let page = move || async move { format!("run {}", hits.hit()) };
    let app = Router::new().route("/a", route_get(page).layer(layer));
    let bought = get("/a?cheap").pay(&app).await.send(&app).await;
    let pass = token(&bought);
    assert_eq!(get("/a?cheap").with("pass-token", &pass).send(&app).await.text(), "run 2");
    for target in ["/a?dear", "/a", "/a?cheap&dear"] {
        assert_eq!(get(target).with("pass-token", &pass).send(&app).await.status, 402, "{target}");
    }
    assert_eq!((world.hits.get(), world.ledger.captures()), (2, 1));
}
