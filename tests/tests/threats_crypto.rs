//! Threats F: encoding and cryptography, over HTTP.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use axum::Router;
use axum::routing::get;
use farthing::facilitator::http::HttpOptions;
use farthing::farthing_ledger::terms::Terms;
use farthing::protocol::digest::{BodyHash, request_digest};
use farthing::protocol::layout::Writer;
use farthing::protocol::{PublicKey, Signature};
use farthing::{LocalLedger, Paywall, keyfile};
use farthing_testkit::forge::{open, resign, seal, signed_part, with_part};
use farthing_testkit::{Counter, SELLER, World, key};
use serde_json::{Value, json};

const PRICE: u128 = 10_000;
const START: u128 = 100_000_000;

fn routes(paywall: Paywall, hits: Counter) -> Router {
    let page = move || async move { format!("page {}", hits.hit("page")) };
    Router::new().route("/page", get(page).layer(paywall.price("0.01 XTS")))
}

/// H, L and B, where B counts what was spent.
async fn expect_counts(world: &World, runs: usize, captures: u64, spent: u128) {
    assert_eq!(world.hits.all(), runs, "H");
    assert_eq!(world.captures().await, captures, "L");
    assert_eq!(START - world.balance().await, spent, "B");
}

/// What is replaced in a payment's JSON, by what, and the member that the refusal names. The header itself
/// stands for JSON that is none.
const BAD_JSON: [(&str, &str, &str); 48] = [
    // Names given twice.
    ("{\"x402", "{\"x402Version\":2,\"x402", "x402Version"),
    ("{\"x402", "{\"\\u0078402Version\":2,\"x402", "x402Version"),
    ("{\"x402", "{\"payload\":{},\"x402", "payload"),
    ("\"amount\"", "\"amount\":\"10000\",\"amount\"", "amount"),
    ("\"signature\"", "\"signature\":\"\",\"signature\"", "signature"),
    ("\"extra\":{", "\"extra\":{\"a\":{\"b\":1,\"b\":2},", "b"),
    ("{\"x402", "{\"unknown\":[{\"c\":1,\"c\":1}],\"x402", "c"),
    // Amounts.
    ("\"10000\"", "10000", "accepted.amount"),
    ("\"10000\"", "1e4", "accepted.amount"),
    ("\"10000\"", "\"1e4\"", "accepted.amount"),
    ("\"10000\"", "\"10000.0\"", "accepted.amount"),
    ("\"10000\"", "\"-0\"", "accepted.amount"),
    ("\"10000\"", "\"-10000\"", "accepted.amount"),
    ("\"10000\"", "\"010000\"", "accepted.amount"),
    ("\"10000\"", "\"0x2710\"", "accepted.amount"),
    ("\"10000\"", "\"\\u0661\"", "accepted.amount"),
    ("\"10000\"", "\"\"", "accepted.amount"),
    ("\"10000\"", "null", "accepted.amount"),
    ("\"10000\"", "[\"10000\"]", "accepted.amount"),
    ("\"10000\"", "\"340282366920938463463374607431768211456\"", "accepted.amount"),
    // Numbers.
    ("Seconds\":300", "Seconds\":300.0", "accepted.maxTimeoutSeconds"),
    ("Seconds\":300", "Seconds\":3e2", "accepted.maxTimeoutSeconds"),
    ("Seconds\":300", "Seconds\":\"300\"", "accepted.maxTimeoutSeconds"),
    ("Seconds\":300", "Seconds\":-300", "accepted.maxTimeoutSeconds"),
    ("Seconds\":300", "Seconds\":-0", "accepted.maxTimeoutSeconds"),
    ("Seconds\":300", "Seconds\":0", "accepted.maxTimeoutSeconds"),
    ("Seconds\":300", "Seconds\":9007199254740992", "accepted.maxTimeoutSeconds"),
    ("Seconds\":300", "Seconds\":9007199254740993", "accepted.maxTimeoutSeconds"),
    ("Seconds\":300", "Seconds\":18446744073709551616", "accepted.maxTimeoutSeconds"),
    ("Version\":2", "Version\":2.0", "x402Version"),
    ("Version\":2", "Version\":-2", "x402Version"),
    ("Version\":2", "Version\":1", "x402Version"),
    ("Version\":2", "Version\":18446744073709551618", "x402Version"),
    ("Version\":2", "Version\":true", "x402Version"),
    // Members of the wrong kind, missing, or not known where nothing may be.
    ("\"accepted\":", "\"accepted_\":", "accepted"),
    ("\"payTo\":", "\"payTo_\":", "accepted.payTo"),
    ("\"XTS\"", "[\"XTS\"]", "accepted.asset"),
    ("\"extra\":{", "\"extra\":[],\"other\":{", "accepted.extra"),
    ("\"signature\"", "\"note\":1,\"signature\"", "payload"),
    ("\"signature\"", "\"signature_\"", "payload"),
    ("\"authorization\":\"", "\"authorization\":\"=", "payload.authorization"),
    // What is not JSON.
    ("Seconds\":300", "Seconds\":0300", "payment-signature"),
    ("Seconds\":300", "Seconds\":NaN", "payment-signature"),
    ("Seconds\":300", "Seconds\":Infinity", "payment-signature"),
    ("Seconds\":300", "Seconds\":300,", "payment-signature"),
    ("{\"x402", "{\"note\":\"\\ud800\",\"x402", "payment-signature"),
    ("{\"x402", "{\"note\":\"\\udc00\\ud800\",\"x402", "payment-signature"),
    ("{\"x402", "\u{feff}{\"x402", "payment-signature"),
];

/// What may be there, and changes nothing.
const GOOD_JSON: [(&str, &str); 7] = [
    ("{\"x402", "{\"note\":[1e3,-0,1.0,9007199254740993,null],\"x402"),
    ("{\"x402", "{\"note\":\"\\ud83d\\ude00 \\u0000 \\\" \u{202e}\",\"x402"),
    ("{\"x402", " {\r\n\t\"x402"),
    ("\"extra\":{", "\"extra\":{\"note\":{\"amount\":1},"),
    ("\"accepted\":{", "\"accepted\":{\"note\":1e-7,"),
    ("Version\":2", "Version\": 2 "),
    ("\"10000\"", "\"1000\\u0030\""),
];

fn changed(json: &str, from: &str, to: &str) -> String {
    assert!(json.contains(from), "{from} is not in {json}");
    json.replacen(from, to, 1)
}

#[tokio::test]
async fn t46_json_that_two_parsers_could_read_differently_is_refused_with_its_member_named() {
    let world = World::start(routes).await;
    for (run, (from, to)) in GOOD_JSON.into_iter().enumerate() {
        let json = open(&world.pay("GET", "/page", b"").await);
        for (from, to, field) in BAD_JSON {
            let reply = world.send_paid("GET", "/page", &seal(changed(&json, from, to)), b"").await;
            let problem = reply.json();
            assert_eq!((reply.status, reply.problem().1.as_str()), (400, "new"), "{to}: {problem}");
            assert_eq!(problem["field"], field, "{to}: {problem}");
        }
        expect_counts(&world, run, run as u64, run as u128 * PRICE).await;
        let reply = world.send_paid("GET", "/page", &seal(changed(&json, from, to)), b"").await;
        assert_eq!((reply.status, reply.text()), (200, format!("page {}", run + 1)), "{to}");
    }
}

#[tokio::test]
async fn t46_the_facilitator_reads_json_as_strictly() {
    let world = World::start(routes).await;
    let payment = open(&world.pay("GET", "/page", b"").await);
    let accepted = serde_json::from_str::<Value>(&payment).unwrap()["accepted"].to_string();
    let json =
        format!("{{\"x402Version\":2,\"paymentRequirements\":{accepted},\"paymentPayload\":{payment}}}");
    let settle = async |body: String| {
        world.send("POST", "/ledger/settle", &[("Content-Type", "application/json")], body.as_bytes()).await
    };
    for (from, to, field) in
        BAD_JSON.into_iter().filter(|(_, _, field)| *field != "payload" && *field != "payload.authorization")
    {
        let last = json.rfind(from).unwrap();
        let bad = format!("{}{}", &json[..last], json[last..].replacen(from, to, 1));
        let reply = settle(bad).await;
        assert_eq!((reply.status, reply.problem().0.as_str()), (400, "malformed"), "{to}: {}", reply.text());
        if field != "payment-signature" {
            let named = reply.json()["field"].as_str().unwrap().to_owned();
            assert!(named.ends_with(field.rsplit('.').next().unwrap()), "{to}: {named}");
        }
    }
    expect_counts(&world, 0, 0, 0).await;
    let held = settle(json).await.json();
    assert_eq!((&held["success"], &held["extra"]["state"]), (&json!(true), &json!("held")));
    assert_eq!(START - world.balance().await, PRICE);
}

/// The encodings of the points of order 1, 2, 4 and 8, and other encodings of some of them.
const SMALL_ORDER: [&str; 12] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];
/// The base point, which is `S·B` for `S` = 1.
const BASE: &str = "5866666666666666666666666666666666666666666666666666666666666666";
/// The group's order, least byte first.
const ORDER: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";

fn bytes(hex: &str) -> [u8; 32] {
    hex::decode(hex).unwrap().try_into().unwrap()
}

/// The same scalar, written with the order added.
fn not_canonical(signature: Signature) -> Signature {
    let (mut out, mut carry) = (signature, 0_u16);
    for (digit, add) in out.0[32..].iter_mut().zip(bytes(ORDER)) {
        let sum = u16::from(*digit) + u16::from(add) + carry;
        (*digit, carry) = (sum as u8, sum >> 8);
    }
    assert_eq!(carry, 0);
    out
}

#[tokio::test]
async fn t47_a_key_that_signs_anything_pays_for_nothing() {
    let world = World::start(routes).await;
    for weak in SMALL_ORDER {
        let account = PublicKey(bytes(weak));
        world.ledger.deposit(account, "1 XTS").await.unwrap();
        let (offer, signed) = world.sign("GET", "/page", b"").await;
        // With such a key, S·B = R + k·A holds (times the cofactor) for these, whatever was signed.
        let points = [(weak, 0), (SMALL_ORDER[0], 0), (SMALL_ORDER[4], 0), (BASE, 1)];
        for (point, scalar) in points {
            let mut forged = Signature([0; 64]);
            forged.0[..32].copy_from_slice(&bytes(point));
            forged.0[32] = scalar;
            let theirs = resign(&signed, &key(1), |t| (t.payer, t.signer) = (account, account));
            let mine = resign(&signed, &key(1), |t| t.signer = account);
            for terms in [&theirs, &mine] {
                let payment = with_part(terms, &signed_part(terms).0, forged);
                let reply = world.send_paid("GET", "/page", &World::header(&offer, &payment), b"").await;
                assert_eq!((reply.status, reply.problem().1.as_str()), (402, "new"), "{weak}");
                assert_eq!(reply.settlement().error_reason.as_deref(), Some("invalid_signature"), "{weak}");
            }
        }
        assert_eq!(world.balance_of(account).await, 1_000_000);
    }
    expect_counts(&world, 0, 0, 0).await;
    let payment = world.pay("GET", "/page", b"").await;
    assert_eq!(world.send_paid("GET", "/page", &payment, b"").await.text(), "page 1");
    expect_counts(&world, 1, 1, PRICE).await;
}

#[tokio::test]
async fn t47_a_signature_has_one_form_before_and_after_it_is_spent() {
    let world = World::start(routes).await;
    let (offer, signed) = world.sign("GET", "/page", b"").await;
    let (terms, signature) = signed_part(&signed);
    let change = |at: usize, bits: u8| {
        let mut other = signature;
        other.0[at] ^= bits;
        other
    };
    let mut others = vec![not_canonical(signature), Signature([0; 64]), Signature([0xff; 64])];
    others.extend(
        [(0, 1), (31, 0x80), (31, 1), (32, 1), (63, 0x10), (63, 0x20), (63, 0x80)]
            .map(|(at, b)| change(at, b)),
    );
    // By another key, of other bytes, and with R of small order.
    others.extend([key(2).sign(&terms), key(1).sign(&terms[1..]), key(1).sign(b"")]);
    others.extend(SMALL_ORDER.map(|point| {
        let mut other = signature;
        other.0[..32].copy_from_slice(&bytes(point));
        other
    }));
    for spent in [false, true] {
        for (number, other) in others.iter().enumerate() {
            let payment = with_part(&signed, &terms, *other);
            assert_eq!(payment.id, signed.id);
            let reply = world.send_paid("GET", "/page", &World::header(&offer, &payment), b"").await;
            assert_eq!(reply.status, 402, "{number}");
            assert_eq!(reply.settlement().error_reason.as_deref(), Some("invalid_signature"), "{number}");
            assert!(!reply.text().contains("page 1"));
        }
        let runs = usize::from(spent);
        expect_counts(&world, runs, runs as u64, runs as u128 * PRICE).await;
        let paid = world.send_paid("GET", "/page", &World::header(&offer, &signed), b"").await;
        assert_eq!((paid.status, paid.text().as_str()), (200, "page 1"));
    }
    expect_counts(&world, 1, 1, PRICE).await;
}

#[test]
fn t49_bytes_that_move_from_one_field_to_the_next_change_what_is_signed() {
    let text = b"GET/page?q=1";
    let origin = "https://a.example".parse().unwrap();
    let mut seen = std::collections::HashSet::new();
    for (at, _) in text.iter().enumerate() {
        let (one, two) = text.split_at(at);
        assert!(seen.insert(Writer::new("t", 1).var(one).var(two).finish()));
        let [method, target] = [one, two].map(|part| std::str::from_utf8(part).unwrap());
        assert!(seen.insert(request_digest(method, &origin, target, BodyHash::of(b"")).0.to_vec()));
        // From the target into the body, and from one domain into its first field.
        assert!(seen.insert(request_digest("POST", &origin, method, BodyHash::of(two)).0.to_vec()));
        let domain = std::str::from_utf8(one).unwrap();
        assert!(seen.insert(Writer::new(domain, 1).fixed(two).finish()));
    }
    assert_eq!(seen.len(), 4 * text.len());
    // An unbound body is not the body whose hash is zero.
    let bound = request_digest("GET", &origin, "/", BodyHash::Bound([0; 32]));
    assert_ne!(bound, request_digest("GET", &origin, "/", BodyHash::Unbound));
}

#[tokio::test]
async fn t49_terms_whose_fields_are_cut_elsewhere_are_refused() {
    let world = World::start(routes).await;
    let (offer, signed) = world.sign("GET", "/page", b"").await;
    let (terms, signature) = signed_part(&signed);
    let mut bad: Vec<Vec<u8>> = Vec::new();
    for at in (0..terms.len()).step_by(7) {
        bad.push(terms[..at].to_vec());
        bad.push([&terms[..at], &terms[at + 1..]].concat());
        bad.push([&terms[..at], &[0], &terms[at..]].concat());
    }
    bad.push([&terms[..], &[0]].concat());
    // The asset's code behind its length: one byte goes to the amount, or comes from there.
    let code = terms.windows(7).position(|w| w == [0, 0, 0, 3, b'X', b'T', b'S']).unwrap();
    for length in [0, 1, 2, 4, 5, 12, 13, 255] {
        let mut shifted = terms.clone();
        shifted[code + 3] = length;
        bad.push(shifted);
    }
    for bytes in &bad {
        assert!(Terms::decode(bytes).is_err(), "{}", hex::encode(bytes));
        // With the old signature, and with one of its own.
        for signature in [signature, key(1).sign(bytes)] {
            let payment = with_part(&signed, bytes, signature);
            let reply = world.send_paid("GET", "/page", &World::header(&offer, &payment), b"").await;
            assert_eq!((reply.status, reply.json()["field"].clone()), (400, json!("payload.authorization")));
        }
    }
    // Neighbours that change places are other terms, and the signature does not cover them: signer, payee and
    // authorizer, then the times.
    for (at, length) in [(69, 32), (101, 32), (code + 23, 8), (code + 31, 8), (code + 39, 8)] {
        let mut swapped = terms.clone();
        swapped[at..at + 2 * length].rotate_left(length);
        assert_ne!(swapped, terms);
        assert!(Terms::decode(&swapped).is_ok());
        let payment = with_part(&signed, &swapped, signature);
        let reply = world.send_paid("GET", "/page", &World::header(&offer, &payment), b"").await;
        assert_eq!(reply.status, 402, "at {at}");
    }
    expect_counts(&world, 0, 0, 0).await;
    let paid = world.send_paid("GET", "/page", &World::header(&offer, &signed), b"").await;
    assert_eq!(paid.text(), "page 1");
    expect_counts(&world, 1, 1, PRICE).await;
}

#[tokio::test]
async fn t49_an_empty_or_weak_key_stops_the_start() {
    let seller = key(SELLER).public();
    for name in ["ledger.key", "issuer.key"] {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path();
        drop(LocalLedger::open(place, seller).await.unwrap());
        let file = place.join(name);
        let good = std::fs::read(&file).unwrap();
        let upper = good.to_ascii_uppercase();
        let bad: [&[u8]; 8] = [
            b"",
            b"\n",
            &good[..63],
            &good[..32],
            &[b"0x", &good[..]].concat(),
            &upper,
            b"password\n",
            &[0; 32],
        ];
        for content in bad.into_iter().filter(|content| *content != &good[..]) {
            std::fs::write(&file, content).unwrap();
            assert!(keyfile::load(&file).is_err());
            assert!(LocalLedger::open(place, seller).await.is_err(), "{name}: {content:?}");
            assert_eq!(std::fs::read(&file).unwrap(), content, "left alone");
        }
        std::fs::write(&file, &good).unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        assert!(LocalLedger::open(place, seller).await.is_err(), "{name} is readable by others");
        std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        LocalLedger::open(place, seller).await.unwrap();
    }
    // Nor does a facilitator take a token that could be guessed.
    for weak in ["", " ", "secret", "1234567"] {
        assert!(HttpOptions::default().tenant("shop", weak).is_err(), "{weak:?}");
    }
    assert!(HttpOptions::default().tenant("shop", &"0123456789abcdef".repeat(4)).is_ok());
}
