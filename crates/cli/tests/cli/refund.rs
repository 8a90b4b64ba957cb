//! `farthing refund`: given back once, never above what was captured, and every refusal in a sentence.

use farthing::farthing_ledger::terms::{Scheme, Terms};
use serde_json::json;

use crate::program::{Run, farthing};
use crate::sales::Shop;

fn refund(shop: &Shop, payment: &str, more: &[&str]) -> Run {
    let data = shop.path("");
    farthing(&[&["refund", payment, "--data", data.trim_end_matches('/')][..], more].concat())
}

#[test]
fn a_refund_said_twice_is_one_entry_whoever_has_the_directory() {
    for in_use in [true, false] {
        let mut shop = Shop::new();
        let payment = shop.sell(30_000).to_string();
        if !in_use {
            shop.close();
        }
        let before = shop.entries();
        let told = refund(&shop, &payment, &["--amount", "0.01", "--json"]).ends_with(0).json();
        assert_eq!(
            (&told["changed"], &told["scale"], &told["asset"]),
            (&json!(true), &json!(6), &json!("XTS"))
        );
        assert_eq!(
            (&told["before"]["refunded"]["decimal"], &told["before"]["net"]["decimal"]),
            (&json!("0"), &json!("0.03"))
        );
        assert_eq!(
            (&told["after"]["refunded"]["decimal"], &told["after"]["net"]["decimal"]),
            (&json!("0.01"), &json!("0.02"))
        );
        assert_eq!(shop.entries(), before + 1);

        let again = refund(&shop, &payment, &["--amount", "0.01 XTS", "--json"]).ends_with(0).json();
        assert_eq!((&again["changed"], &again["after"]), (&json!(false), &told["after"]));
        assert_eq!(shop.entries(), before + 1, "the same total is nothing more");
        let words = refund(&shop, &payment, &["--amount", "0.01"]).ends_with(0).out;
        assert!(words.contains("nothing was done") && words.contains("total of this payment"), "{words}");

        let less = refund(&shop, &payment, &["--amount", "0.009999"]).ends_with(1);
        assert!(less.err.contains("cannot be taken back: 0.01 XTS"), "{less:?}");
        let more = refund(&shop, &payment, &["--amount", "0.030001"]).ends_with(1);
        assert!(more.err.contains("than was captured: 0.03 XTS"), "{more:?}");
        assert_eq!(shop.entries(), before + 1, "what was refused left nothing");

        let rest = refund(&shop, &payment, &[]).ends_with(0).out;
        assert!(rest.contains("0.01 XTS before, 0.03 XTS now"), "{rest}");
        assert_eq!(shop.entries(), before + 2);
        refund(&shop, &payment, &[]).ends_with(0);
        assert_eq!(shop.entries(), before + 2);
        let data = shop.path("ledger");
        let check = farthing(&["ledger", "check", "--json", "--data", &data]).ends_with(0).json();
        assert_eq!(check["balanced"], true);
        let sales = farthing(&["sales", "--data", &data, "--json"]).ends_with(0).json();
        assert_eq!(sales["totals"][0]["refunded"]["decimal"], "0.03");
    }
}

#[test]
fn what_cannot_be_refunded_says_why_and_changes_nothing() {
    let mut shop = Shop::new();
    let good = shop.sell(1_000).to_string();
    let exact = Terms { scheme: Scheme::Exact, refund_deadline: 0, ..shop.terms(10) };
    let exact_id = shop.hold(&exact);
    shop.capture(exact_id, 10);
    let terms = shop.terms(20);
    let held = shop.hold(&terms);
    let never = Terms { refund_deadline: 0, ..shop.terms(30) };
    let never_id = shop.hold(&never);
    shop.capture(never_id, 30);
    let before = shop.entries();
    for (payment, why, reason) in [
        (exact_id, "scheme exact cannot be refunded", "scheme_not_refundable"),
        (held, "which is held: there is nothing to give back", "nothing_captured"),
        (never_id, "without a refundDeadline", "no_refund_deadline"),
    ] {
        let payment = payment.to_string();
        let run = refund(&shop, &payment, &[]).ends_with(1);
        assert!(run.err.contains(why) && run.out.is_empty(), "{run:?}");
        let told = refund(&shop, &payment, &["--json"]).ends_with(1);
        assert_eq!(told.json()["refused"]["reason"], reason);
        assert!(told.err.is_empty(), "whoever asked for JSON has been told: {told:?}");
    }
    let key = shop.path("other.key");
    let foreign = refund(&shop, &good, &["--authorizer", &key]).ends_with(1);
    assert!(foreign.err.contains("not the authorizer of the payment"), "{foreign:?}");
    assert_eq!(shop.entries(), before);
    // Its twin goes through.
    refund(&shop, &good, &["--authorizer", &shop.path("authorizer.key")]).ends_with(0);
    assert_eq!(shop.entries(), before + 1);
}

#[test]
fn a_seller_who_has_spent_the_money_is_told_so() {
    let mut shop = Shop::new();
    let payment = shop.sell(1_000).to_string();
    shop.pay_out(900);
    let run = refund(&shop, &payment, &[]).ends_with(1);
    assert!(run.err.contains("the seller's account, which has less"), "{run:?}");
    refund(&shop, &payment, &["--amount", "0.0001"]).ends_with(0);
}

#[test]
fn what_is_given_wrongly_ends_with_2() {
    let mut shop = Shop::new();
    let payment = shop.sell(1_000).to_string();
    for (arguments, why) in [
        (&["--amount", "0.0000001"][..], "--amount"),
        (&["--amount", "1 USD"], "made in XTS"),
        (&["--amount", "many"], "--amount many"),
        (&["--authorizer", "/no/such/key"], "/no/such/key"),
    ] {
        let run = refund(&shop, &payment, arguments).ends_with(2);
        assert!(run.err.contains(why), "{arguments:?}: {run:?}");
    }
    let unknown = refund(&shop, &"ab".repeat(32), &[]).ends_with(2);
    assert!(unknown.err.contains("knows no such payment"), "{unknown:?}");
    let no_id = refund(&shop, "abc", &[]).ends_with(2);
    assert!(no_id.err.contains("64 lower-case hex digits"), "{no_id:?}");
    std::fs::remove_file(shop.path("authorizer.key")).unwrap();
    let no_key = refund(&shop, &payment, &[]).ends_with(2);
    assert!(no_key.err.contains("--authorizer FILE"), "{no_key:?}");
}

/// A server has it; the command is a second process.
#[cfg(feature = "postgres")]
#[test]
#[ignore = "cargo xtask test"]
fn a_payment_on_a_ledger_on_postgresql_is_listed_and_refunded_while_a_server_has_it() {
    use farthing::farthing_ledger::engine::PostgresConfig;
    use farthing::{Ledger, Options};
    use farthing_testkit::postgres::Cluster;

    use crate::program::farthing_with;
    use crate::sales::key;

    let schema = Cluster::shared().schema();
    let url = schema.url();
    let run = |command: &[&str], more: &[&str]| {
        let place = ["--postgres", "-", "--schema", &schema.name];
        farthing_with(&[command, &place[..], more].concat(), &url, &[])
    };
    let database: PostgresConfig = url.parse().unwrap();
    let database = database.with_schema(&schema.name).unwrap();
    let ledger = Ledger::postgres(&database, key(5), Options::open_to_all()).unwrap();
    let mut shop = Shop::with(tempfile::tempdir().unwrap(), ledger);
    let payment = shop.sell(30_000).to_string();
    let sales = run(&["sales"], &["--json"]).ends_with(0).json();
    assert_eq!(sales["totals"][0]["captured"]["decimal"], "0.03");
    let no_key = run(&["refund", &payment], &[]).ends_with(2);
    assert!(no_key.err.contains("--authorizer FILE"), "{no_key:?}");
    let (operator, authorizer) = (shop.path("operator.key"), shop.path("authorizer.key"));
    let keys = ["--key", &operator, "--authorizer", &authorizer, "--amount", "0.01", "--json"];
    for changed in [true, false] {
        assert_eq!(run(&["refund", &payment], &keys).ends_with(0).json()["changed"], changed);
    }
    let sales = run(&["sales"], &["--json"]).ends_with(0).json();
    assert_eq!(sales["totals"][0]["net"]["decimal"], "0.02");
    assert!(!run(&["sales"], &[]).ends_with(0).out.contains("postgres:"));
}
