//! Keys that are proven again, and proofs and tokens that do not let anybody in.

use super::*;
use crate::log::Log;

const REFUSED: &str = "sign-in-refused";

#[tokio::test]
async fn a_payer_that_proves_its_key_is_let_in_and_has_a_token_for_ten_minutes() {
    let shop = Shop::new();
    shop.buy(&article(1)).await;
    let proven = shop.proven(&article(1), "alice").await;
    let read = shop.send(&proven).await;
    assert_eq!((read.text(), shop.count()), ("run 2: alice until 100", (2, 1)));
    let session = article(1).with("pass-token", token(&read));
    assert_eq!(shop.send(&session).await.text(), "run 3: alice until 100");
}

#[tokio::test]
async fn a_session_ends_before_its_pass_does_and_the_key_is_proven_again() {
    let records = Arc::new(Memory::default());
    let world = World::with(rail("auth-capture"), |builder| builder.records(records));
    let hits = world.hits.clone();
    let page = move || async move { format!("run {}", hits.hit()) };
    let layer = world.paywall.price("$0.001").pass(Duration::from_secs(86_400));
    let app = Router::new().route("/a", route_get(page).layer(layer));
    let shop = Shop { world, app };
    let bought = shop.buy(&get("/a")).await;
    assert!(bought.headers["set-cookie"].to_str().unwrap().contains("; Max-Age=600; "));
    let session = get("/a").with("pass-token", token(&bought));
    shop.world.pass(599);
    assert_eq!(shop.send(&session).await.text(), "run 2");
    shop.world.pass(1);
    let over = shop.send(&session).await;
    assert_eq!(refused(&over), not_in("payment-required", "payment_required"));
    assert!(over.problem()["detail"].as_str().unwrap().contains("prove"), "{}", over.text());
    // An old token does not stand in the way of a proof.
    let proven = shop.proven(&get("/a"), "alice").await.with("pass-token", token(&bought));
    let read = shop.send(&proven).await;
    assert_eq!((read.text(), shop.count()), ("run 3", (3, 1)));
    shop.world.pass(599);
    assert_eq!(shop.send(&get("/a").with("pass-token", token(&read))).await.text(), "run 4");
}

#[tokio::test]
async fn a_proof_is_good_once() {
    let shop = Shop::new();
    shop.buy(&article(1)).await;
    shop.buy(&article(2)).await;
    let proven = shop.proven(&article(1), "alice").await;
    assert_eq!(shop.send(&proven).await.status, 200);
    let (again, elsewhere) = (shop.send(&proven).await, Asking { target: "/articles/2".into(), ..proven });
    assert_eq!(refused(&again), not_in(REFUSED, "payment_required"));
    assert!(again.text().contains("used before"), "{}", again.text());
    assert_eq!(refused(&shop.send(&elsewhere).await).0, REFUSED);
    // Nor may another account use the same challenge.
    let info = challenge(&shop.send(&article(1)).await).info;
    let sent = |account| article(1).with("sign-in-with-x", proof(info.clone(), account).encode().unwrap());
    assert_eq!(shop.send(&sent("alice")).await.status, 200);
    assert_eq!(refused(&shop.send(&sent("alice")).await).0, REFUSED);
    assert_eq!(shop.count(), (4, 2));
}

#[tokio::test]
async fn many_at_once_with_one_proof_let_one_in() {
    let shop = Shop::new();
    shop.buy(&article(1)).await;
    let proven = shop.proven(&article(1), "alice").await;
    let all = futures_util::future::join_all((0..50).map(|_| shop.send(&proven))).await;
    assert_eq!(all.iter().filter(|got| got.status == 200).count(), 1);
    assert_eq!(shop.count(), (2, 1));
}

#[tokio::test]
async fn a_proof_that_was_made_before_the_pass_opens_nothing() {
    let shop = Shop::new();
    let early = shop.proven(&article(1), "alice").await;
    assert_eq!(refused(&shop.send(&early).await).0, "payment-required");
    shop.world.pass(1);
    shop.buy(&article(1)).await;
    assert_eq!(refused(&shop.send(&early).await).0, REFUSED);
    let fresh = shop.proven(&article(1), "alice").await;
    assert_eq!(shop.send(&fresh).await.status, 200);
}

#[tokio::test]
async fn t13_another_account_is_not_let_in_by_what_this_one_paid() {
    let shop = Shop::new();
    shop.buy(&article(1)).await;
    let mallory = shop.proven(&article(1), "mallory").await;
    assert_eq!(refused(&shop.send(&mallory).await), not_in("payment-required", "payment_required"));
    // Claiming to be alice takes her signature.
    let info = challenge(&shop.send(&article(1)).await).info;
    let claims = Proof { address: "alice".into(), ..proof(info.clone(), "mallory") };
    let claimed = article(1).with("sign-in-with-x", claims.encode().unwrap());
    assert_eq!(refused(&shop.send(&claimed).await), not_in(REFUSED, "payment_required"));
    assert_eq!(shop.count(), (1, 1));
    let alice = article(1).with("sign-in-with-x", proof(info, "alice").encode().unwrap());
    assert_eq!(shop.send(&alice).await.status, 200, "and nobody has used her challenge up");
}

#[tokio::test]
async fn a_proof_for_another_server_or_statement_or_time_is_refused() {
    let shop = Shop::new();
    shop.buy(&article(1)).await;
    let good = challenge(&shop.send(&article(1)).await).info;
    let evil = || "https://evil.example/articles/1".to_owned();
    let earlier = Some("2026-01-01T00:00:00.000Z".to_owned());
    let wrong = [
        Info { domain: "evil.example".into(), ..good.clone() },
        Info { uri: evil(), ..good.clone() },
        Info { uri: "http://shop.example/articles/1".into(), ..good.clone() },
        Info { uri: "https://shop.example:8443/articles/1".into(), ..good.clone() },
        Info { resources: Some(vec![evil()]), ..good.clone() },
        Info { statement: None, ..good.clone() },
        Info { statement: Some("Buy everything".into()), ..good.clone() },
        Info { issued_at: "2099-01-01T00:00:00.000Z".into(), expiration_time: None, ..good.clone() },
        Info { issued_at: "2026-01-01T00:00:00.000Z".into(), expiration_time: None, ..good.clone() },
        Info { expiration_time: earlier, ..good.clone() },
        Info { not_before: Some("2099-01-01T00:00:00.000Z".into()), ..good.clone() },
        // Of somebody else's making.
        Info { nonce: "0".repeat(32), ..good.clone() },
        Info { nonce: good.nonce.to_uppercase().replace(char::is_numeric, "7"), ..good.clone() },
    ];
    for info in wrong {
        let sent = article(1).with("sign-in-with-x", proof(info.clone(), "alice").encode().unwrap());
        assert_eq!(refused(&shop.send(&sent).await), not_in(REFUSED, "payment_required"), "{info:?}");
    }
    let unsigned = Proof { signature: "good".into(), ..proof(good.clone(), "alice") };
    let on_other = Proof { chain_id: "test:two".parse().unwrap(), ..proof(good.clone(), "alice") };
    let otherwise = Proof { kind: SignInKind::Eip191, ..proof(good.clone(), "alice") };
    let changed = Proof {
        info: Info { uri: format!("{}?x", good.uri), ..good.clone() },
        ..proof(good.clone(), "alice")
    };
    for proof in [unsigned, on_other, otherwise, changed] {
        let sent = article(1).with("sign-in-with-x", proof.encode().unwrap());
        assert_eq!(refused(&shop.send(&sent).await).0, REFUSED, "{}", proof.text());
    }
    assert_eq!(shop.count(), (1, 1));
    let sent = article(1).with("sign-in-with-x", proof(good, "alice").encode().unwrap());
    shop.world.pass(99);
    assert_eq!(shop.send(&sent).await.status, 200);
}

#[tokio::test]
async fn t38_the_host_header_makes_no_challenge_and_no_proof_good() {
    let shop = Shop::new();
    shop.buy(&article(1)).await;
    let spoofed = || {
        let asking =
            article(1).with("x-forwarded-host", "evil.example").with("forwarded", "host=evil.example");
        Asking {
            headers: [vec![("host", b"evil.example".to_vec())], asking.headers.clone()].concat(),
            ..asking
        }
    };
    let info = challenge(&shop.send(&spoofed()).await).info;
    assert_eq!(
        (info.domain.as_str(), info.uri.as_str()),
        ("shop.example", "https://shop.example/articles/1")
    );
    let foreign = Info { domain: "evil.example".into(), ..info.clone() };
    let sent = spoofed().with("sign-in-with-x", proof(foreign, "alice").encode().unwrap());
    assert_eq!(refused(&shop.send(&sent).await).0, REFUSED);
    let sent = spoofed().with("sign-in-with-x", proof(info, "alice").encode().unwrap());
    assert_eq!(shop.send(&sent).await.status, 200);
}

#[tokio::test]
async fn t40_what_cannot_be_read_is_refused_before_anything_is_looked_up() {
    let shop = Shop::new();
    shop.buy(&article(1)).await;
    let good = proof(challenge(&shop.send(&article(1)).await).info, "alice").encode().unwrap();
    let malformed = (400, "malformed-sign-in".to_owned(), "new".to_owned());
    let sent = |value: &str| article(1).with("sign-in-with-x", value);
    for value in ["", "!", "e30=", "bnVsbA==", &good[1..], &format!("{good},{good}"), &good.replace('=', "")]
    {
        if *value != good {
            assert_eq!(shop.send(&sent(value)).await.code(), malformed, "{value}");
        }
    }
    let twice = sent(&good).with("sign-in-with-x", &good);
    assert_eq!(shop.send(&twice).await.code(), malformed);
    let tokens = article(1).with("pass-token", "a").with("pass-token", "a");
    assert_eq!(shop.send(&tokens).await.code(), malformed);
    let long = shop.send(&sent(&"A".repeat(4097))).await;
    assert_eq!(long.code(), (431, "sign-in-too-large".into(), "new".into()));
    assert_eq!(shop.count(), (1, 1));
    assert_eq!(shop.send(&sent(&good)).await.status, 200);
}

#[tokio::test]
async fn t49_tokens_of_other_scopes_sellers_and_origins_open_nothing() {
    let shop = Shop::new();
    let bought = token(&shop.buy(&article(1)).await);
    let records: Arc<dyn Records> = Arc::new(Memory::default());
    let mut elsewhere = Vec::new();
    for (origin, seed) in [("https://other.example", 5), ("https://shop.example", 6)] {
        let other = Shop { app: process(&shop, origin, seed, records.clone()), world: World::new() };
        let got = other.signed(&article(1)).await.send(&other.app).await;
        elsewhere.push(token(&got));
    }
    let tampered = |at: usize| {
        let mut other = bought.clone().into_bytes();
        other[at] = if other[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(other).unwrap()
    };
    let mut wrong =
        vec![String::new(), "x".into(), format!("{bought}A"), bought[..bought.len() - 4].to_owned()];
    wrong.extend((0..bought.len() - 1).map(tampered));
    wrong.extend(elsewhere);
    for token in wrong {
        let by_header = shop.send(&article(1).with("pass-token", &token)).await;
        let by_cookie = shop.send(&article(1).with("cookie", format!("farthing-pass={token}"))).await;
        for got in [by_header, by_cookie] {
            assert_eq!(refused(&got), not_in("payment-required", "payment_required"), "{token}");
        }
    }
    // Whoever has several, in a browser, is let in by the one that fits.
    let all = format!("farthing-pass=junk; farthing-pass={}; farthing-pass={bought}", tampered(3));
    assert_eq!(shop.send(&article(1).with("cookie", all)).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn t44_neither_proof_nor_token_is_ever_logged() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let shop = Shop::new();
    let bought = token(&shop.buy(&article(1)).await);
    let proven = shop.proven(&article(1), "alice").await;
    let read = shop.send(&proven).await;
    shop.send(&proven).await;
    shop.send(&article(2).with("pass-token", &bought)).await;
    drop(guard);
    let text = log.text();
    assert!(text.contains("Admitted") || text.contains("admitted"), "nothing is logged at all: {text}");
    let value = String::from_utf8(proven.headers[0].1.clone()).unwrap();
    for secret in [bought, token(&read), value] {
        assert!(!text.contains(&secret[..40]), "{secret} is in the log");
    }
}
