//! Stores of passes: shared, broken, or missing; and clients that do not wait.

use std::sync::atomic::Ordering;

use farthing_server::ConfigError;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_asks_nobody_to_pay_again() {
    let store = Arc::new(Memory::default());
    let shop = Shop::keeping(store.clone());
    let bought = shop.buy(&article(1)).await;
    let proven = shop.proven(&article(1), "alice").await;
    let over = article(2).with("pass-token", token(&bought));
    store.is_away.store(true, Ordering::SeqCst);
    for asking in [&proven, &over] {
        let got = shop.send(asking).await;
        assert_eq!(got.code(), (503, "passes-unavailable".into(), "same".into()));
        assert!(got.headers.contains_key("retry-after") && !got.headers.contains_key("payment-required"));
    }
    // A token needs no store.
    assert_eq!(shop.send(&article(1).with("pass-token", token(&bought))).await.status, 200);
    store.is_away.store(false, Ordering::SeqCst);
    assert_eq!(shop.send(&proven).await.text(), "run 3: alice until 100");
    assert_eq!(shop.count(), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn a_pass_that_could_not_be_written_down_is_given_when_the_payment_comes_again() {
    let store = Arc::new(Memory::default());
    let shop = Shop::keeping(store.clone());
    let signed = shop.signed(&article(1)).await;
    store.is_away.store(true, Ordering::SeqCst);
    let bought = signed.send(&shop.app).await;
    assert_eq!((bought.text(), bought.headers.contains_key("pass-token")), ("run 1: alice paid", false));
    store.is_away.store(false, Ordering::SeqCst);
    let again = signed.send(&shop.app).await;
    assert_eq!((again.text(), shop.count()), ("run 1: alice paid", (1, 1)));
    assert_eq!(
        shop.send(&article(1).with("pass-token", token(&again))).await.text(),
        "run 2: alice until 100"
    );
}

#[tokio::test]
async fn processes_that_share_a_store_share_passes_and_nonces() {
    let records = Arc::new(Memory::default());
    let shop = Shop::keeping(records.clone());
    let other = process(&shop, "https://shop.example", 5, records);
    let bought = token(&shop.buy(&article(1)).await);
    assert_eq!(article(1).with("pass-token", &bought).send(&other).await.text(), "run 2: alice until 100");
    let proven = shop.proven(&article(1), "alice").await;
    assert_eq!(proven.send(&other).await.text(), "run 3: alice until 100");
    assert_eq!(refused(&shop.send(&proven).await).0, "sign-in-refused");
    // Of both at once, one.
    let proven = shop.proven(&article(1), "alice").await;
    let (here, there) = tokio::join!(shop.send(&proven), proven.send(&other));
    let mut both = [here.status.as_u16(), there.status.as_u16()];
    both.sort_unstable();
    assert_eq!((both, shop.count()), ([200, 402], (4, 1)));
    // Renewals at both at once both count.
    let (one, two) = (shop.signed(&article(1)).await, shop.signed(&article(1)).await);
    let (one, two) = tokio::join!(one.send(&shop.app), two.send(&other));
    assert_eq!((one.status.as_u16(), two.status.as_u16(), shop.count()), (200, 200, (6, 3)));
    shop.world.pass(3 * LENGTH - 1);
    let proven = shop.proven(&article(1), "alice").await;
    assert_eq!(shop.send(&proven).await.text(), "run 7: alice until 300");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_longer_of_use_is_forgotten() {
    let records = Arc::new(Memory::default());
    let shop = Shop::keeping(records.clone());
    for id in 0..3 {
        shop.buy(&article(id)).await;
        shop.send(&shop.proven(&article(id), "alice").await).await;
    }
    assert_eq!(records.len(), 6);
    shop.world.pass(600);
    shop.buy(&article(9)).await;
    assert_eq!(records.len(), 4, "nonces");
    shop.world.pass(100 * 86_400);
    shop.buy(&article(9)).await;
    assert_eq!(records.len(), 1, "passes that were over for long");
    // Nothing is kept of those who only ask.
    for _ in 0..9 {
        shop.send(&shop.proven(&article(5), "mallory").await).await;
    }
    assert_eq!(records.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn t22_a_client_that_goes_away_has_its_pass_all_the_same() {
    let records = Arc::new(Memory::default());
    let world = World::with(rail("auth-capture"), |builder| builder.records(records));
    let (hits, gate) = (world.hits.clone(), Arc::new(tokio::sync::Semaphore::new(0)));
    let waits = gate.clone();
    let page = move || async move {
        waits.acquire().await.unwrap().forget();
        format!("run {}", hits.hit())
    };
    let layer = world.paywall.price("$0.001").pass(Duration::from_secs(LENGTH));
    let app = Router::new().route("/a", route_get(page).layer(layer));
    let shop = Shop { world, app };
    let signed = shop.signed(&get("/a")).await;
    let gone = tokio::time::timeout(Duration::from_secs(1), signed.send(&shop.app)).await;
    assert!(gone.is_err(), "answered before the client went away");
    gate.add_permits(2);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(shop.count(), (1, 1));
    let proven = shop.proven(&get("/a"), "alice").await;
    assert_eq!((shop.send(&proven).await.text(), shop.count()), ("run 2", (2, 1)));
}

#[tokio::test]
async fn a_pass_that_nobody_could_use_stops_the_start() {
    let hour = Duration::from_secs(3600);
    let without = World::new().paywall.price("$0.001");
    assert_eq!(without.clone().try_pass(hour).err(), Some(ConfigError::PassWithoutRecords));
    assert_eq!(without.try_subscription("pro", hour).err(), Some(ConfigError::PassWithoutRecords));
    let records = Arc::new(Memory::default());
    let with = World::with(rail("auth-capture"), |builder| builder.records(records)).paywall.price("$0.001");
    assert!(with.clone().try_pass(hour).is_ok() && with.clone().try_subscription("pro", hour).is_ok());
    let is_refused = |layer: Result<_, ConfigError>| matches!(layer, Err(ConfigError::Pass(_)));
    assert!(is_refused(with.clone().try_pass(Duration::from_millis(999))));
    for name in ["", "two words", "l\n", &"x".repeat(65)] {
        assert!(is_refused(with.clone().try_subscription(name, hour)), "{name}");
    }
}

/// A metered answer begins before anything of it is paid for: whoever leaves then would have a pass for nothing.
#[tokio::test]
async fn a_pass_is_not_sold_by_what_is_used() {
    let hour = Duration::from_secs(3600);
    let records = Arc::new(Memory::default());
    let paywall = World::with(rail("upto"), |builder| builder.records(records)).paywall;
    let is_refused = |layer: Result<_, ConfigError>| match layer {
        Err(ConfigError::Pass(why)) => why.contains("up_to"),
        _ => false,
    };
    assert!(is_refused(paywall.up_to("$1").try_pass(hour)));
    assert!(is_refused(paywall.up_to("$1").per_event("$0.001").try_subscription("pro", hour)));
}
