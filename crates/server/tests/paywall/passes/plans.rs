//! Plans: one pass for all routes that sell under one name.

use super::*;

#[tokio::test]
async fn a_plan_opens_all_its_routes_and_no_other_plans() {
    let shop = Shop::new();
    let bought = shop.buy(&get("/pro/a")).await;
    assert!(bought.headers["set-cookie"].to_str().unwrap().contains("; Path=/; "));
    let pro = token(&bought);
    for target in ["/pro/a", "/pro/b", "/pro/b?q"] {
        let read = shop.send(&get(target).with("pass-token", &pro)).await;
        assert!(read.text().ends_with("alice until 100"), "{}", read.text());
    }
    let needed = not_in("plan-required", "plan_required");
    let basic = shop.send(&get("/basic").with("pass-token", &pro)).await;
    assert_eq!(refused(&basic), needed);
    assert!(basic.text().contains("basic"), "{}", basic.text());
    assert_eq!(refused(&shop.send(&shop.proven(&get("/basic"), "alice").await).await), needed);
    assert_eq!(refused(&shop.send(&get("/dear").with("pass-token", &pro)).await).1, "payment_required");
    assert_eq!(shop.count(), (4, 1));
    // Whoever buys the other one too has both.
    let basic = shop.buy(&get("/basic")).await;
    assert_eq!(shop.send(&get("/basic").with("pass-token", token(&basic))).await.status, 200);
    assert_eq!(shop.send(&shop.proven(&get("/pro/b"), "alice").await).await.status, 200);
    assert_eq!(shop.count(), (7, 2));
}

#[tokio::test]
async fn who_is_known_and_has_no_plan_is_told_that_one_is_needed() {
    let shop = Shop::new();
    assert_eq!(refused(&shop.send(&get("/pro/a")).await), not_in("payment-required", "payment_required"));
    let needed = not_in("plan-required", "plan_required");
    assert_eq!(refused(&shop.send(&shop.proven(&get("/pro/a"), "alice").await).await), needed);
    let article = token(&shop.buy(&article(1)).await);
    assert_eq!(refused(&shop.send(&get("/pro/a").with("pass-token", article)).await), needed);
    assert_eq!(shop.count(), (1, 1));
}

#[tokio::test]
async fn a_plan_that_is_over_is_renewed_at_any_of_its_routes() {
    let shop = Shop::new();
    let bought = token(&shop.buy(&get("/pro/a")).await);
    shop.world.pass(LENGTH);
    let over = not_in("subscription-expired", "subscription_expired");
    assert_eq!(refused(&shop.send(&get("/pro/b").with("pass-token", &bought)).await), over);
    assert_eq!(refused(&shop.send(&shop.proven(&get("/pro/b"), "alice").await).await), over);
    let renewed = token(&shop.buy(&get("/pro/b")).await);
    assert_eq!(shop.send(&get("/pro/a").with("pass-token", &renewed)).await.text(), "run 3: alice until 200");
    assert_eq!(shop.count(), (3, 2));
}
