//! What everything that sells over HTTP is tried with, whatever is behind it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::exchange::{Reply, exchange, request};

/// Spellings of `path` that somebody might hope lead to its content without leading through its price,
/// with `/free` and what is below it as paths that are free.
pub fn spellings(path: &str) -> Vec<String> {
    let (head, tail) = path.rsplit_once('/').unwrap();
    let encoded = format!("%{:02x}", tail.as_bytes()[0]);
    let rest = &tail[1..];
    let mut spellings = vec![
        format!("{path}/"),
        format!("{path}//"),
        format!("/{path}"),
        format!("//{path}"),
        format!("{head}//{tail}"),
        format!("/.{path}"),
        format!("{head}/./{tail}"),
        format!("/free/..{path}"),
        format!("/free/x/../..{path}"),
        format!("/free/../free/..{path}"),
        format!("/%2e{path}"),
        format!("/free/%2e%2e{path}"),
        format!("/free/%2E%2E{path}"),
        format!("/free/.%2e{path}"),
        format!("/free/%252e%252e{path}"),
        format!("/free/..%2f{}", &path[1..]),
        format!("/free/..%5c{}", &path[1..]),
        format!("/free/..\\{}", &path[1..]),
        format!("/free%2f..{path}"),
        format!("/free/..;{path}"),
        format!("/free/..;x=1{path}"),
        format!("/free/..%00{path}"),
        format!("/free/..%20{path}"),
        format!("/free/..%c0%af{}", &path[1..]),
        format!("/free/%c0%ae%c0%ae{path}"),
        format!("/free/..%ef%bc%8f{}", &path[1..]),
        format!("{head}%2f{tail}"),
        format!("{head}%2F{tail}"),
        format!("{head}%252f{tail}"),
        format!("{head}\\{tail}"),
        format!("{head}%5c{tail}"),
        format!("{head}/{encoded}{rest}"),
        format!("{head}/{}{rest}", encoded.to_uppercase()),
        format!("{head}/%25{}{rest}", &encoded[1..]),
        format!("{head}/%u00{}{rest}", &encoded[1..]),
        path.to_uppercase(),
        format!("{head}/{}", tail.to_uppercase()),
        format!("{path};x=/free"),
        format!("{path};/free/x"),
        format!("{path};"),
        format!("{head};v=1/{tail}"),
        format!("{path}%3b"),
        format!("{path}%00"),
        format!("{path}%00.txt"),
        format!("{path}%0a"),
        format!("{path}%"),
        format!("{path}%2"),
        format!("{path}%zz"),
        format!("{path}."),
        format!("{path}.."),
        format!("{path}%2e"),
        format!("{path}%20"),
        format!("{path}+"),
        format!("{path}%3f"),
        format!("{path}%3f/free"),
        format!("{path}%23"),
        format!("{path}?/free"),
        format!("{path}??a=1"),
        format!("{path}?/../../free/x"),
        format!("{path}#/free/x"),
        format!("{path}/..;/free"),
        format!("{path}/."),
        format!("{path}/x/.."),
        format!("{path}/%2e"),
        format!(".{path}"),
        format!("free/..{path}"),
        path[1..].to_owned(),
    ];
    spellings.dedup();
    spellings
}

/// Fails unless payment headers that are too large, too deep or junk are refused at `target`, which is sold for `GET`,
/// each within 5 ms at best, and all of them with less than 32 MiB more in memory.
pub async fn refuses_junk_quickly(address: SocketAddr, target: &str) {
    let deep = |levels: usize| STANDARD.encode(format!("{}1{}", "[".repeat(levels), "]".repeat(levels)));
    let deep_member = format!("{{\"x402Version\":2,\"a\":{}1{}}}", "{\"a\":".repeat(500), "}".repeat(500));
    let cases = [
        ("8 KiB and one byte", "A".repeat(8 * 1024 + 1), 431),
        ("60 KiB", "A".repeat(60 * 1024), 431),
        ("64 KiB", "A".repeat(64 * 1024), 431),
        ("1 MB", "A".repeat(1_000_000), 431),
        ("100,000 levels", deep(100_000), 431),
        ("3,000 levels", deep(3_000), 400),
        ("500 levels in a member", STANDARD.encode(deep_member), 400),
        ("all of the limit", "A".repeat(8 * 1024), 400),
        ("no base64", "!".repeat(8 * 1024), 400),
        ("base64 for URLs", "-_".repeat(4 * 1024), 400),
        ("padding only", "=".repeat(8 * 1024), 400),
        ("a member 2,000 times", STANDARD.encode(format!("{{{}}}", ["\"a\":1"; 1000].join(","))), 400),
        ("nothing", String::new(), 400),
    ];
    let before = resident();
    for (what, header, status) in &cases {
        let bytes = request(address, "GET", target, &[("PAYMENT-SIGNATURE", header)], b"");
        let mut quickest = Duration::MAX;
        for _ in 0..31 {
            let start = Instant::now();
            // None: the server closed before it had read everything, and its answer was lost on the way.
            let Some(reply) = exchange(address, &bytes).await else { continue };
            quickest = quickest.min(start.elapsed());
            assert_eq!(reply.status, *status, "{what}: {}", reply.text());
        }
        assert!(quickest < Duration::from_millis(5), "{what} took {quickest:?}");
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 32 * 1024 * 1024, "{grown} bytes more in memory");
}

/// Bytes of this process that are in memory.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Fails unless two payments for `GET` of `target` are refused when they come in one request.
pub async fn refuses_two_payments(address: SocketAddr, target: &str, one: &str, two: &str) {
    let (joined, spaced) = (format!("{one},{two}"), format!("{one}, {two}"));
    let cases: [&[(&str, &str)]; 8] = [
        &[("PAYMENT-SIGNATURE", one), ("PAYMENT-SIGNATURE", two)],
        &[("PAYMENT-SIGNATURE", one), ("payment-signature", one)],
        &[("PAYMENT-SIGNATURE", one), ("X-PAYMENT", two)],
        &[("X-PAYMENT", one), ("PAYMENT-SIGNATURE", one)],
        &[("X-PAYMENT", one), ("X-PAYMENT", two)],
        &[("PAYMENT-SIGNATURE", &joined)],
        &[("PAYMENT-SIGNATURE", &spaced)],
        &[("PAYMENT-SIGNATURE", one), ("PAYMENT-SIGNATURE", "")],
    ];
    for headers in cases {
        let reply =
            exchange(address, &request(address, "GET", target, headers, b"")).await.expect("an answer");
        let names: Vec<_> = headers.iter().map(|(name, _)| name).collect();
        assert_eq!(reply.status, 400, "{names:?}");
        assert_eq!(reply.problem(), ("several-payments".into(), "new".into()), "{names:?}");
    }
}

/// What a browser asks before a page of [`PAGE`] sends a payment and a header of its own.
pub const PREFLIGHT: [(&str, &str); 3] = [
    PAGE,
    ("Access-Control-Request-Method", "GET"),
    ("Access-Control-Request-Headers", "payment-signature, x-own"),
];

/// The header of a page of another origin.
pub const PAGE: (&str, &str) = ("Origin", "https://page.example");

/// Fails unless the answer to [`PREFLIGHT`] lets the page pay.
pub fn lets_a_page_pay(preflight: &Reply) {
    assert_eq!(preflight.status, 204);
    let allowed = preflight.header("access-control-allow-headers").unwrap().to_ascii_lowercase();
    for name in ["payment-signature", "x-payment", "content-type", "x-own"] {
        assert!(allowed.split(", ").any(|allowed| allowed == name), "{name} is not in {allowed}");
    }
}

/// Fails unless a page of any origin may read what an answer says of payments.
pub fn lets_a_page_read(reply: &Reply) {
    let exposed = reply.header("access-control-expose-headers").unwrap();
    for name in ["PAYMENT-REQUIRED", "PAYMENT-RESPONSE", "Retry-After"] {
        assert!(exposed.split(", ").any(|exposed| exposed == name), "{}: {exposed}", reply.status);
    }
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    assert_eq!(reply.header("access-control-allow-credentials"), None);
}

/// Fails unless an answer that allows credentials has this origin, which its handler chose, and never `*`.
pub fn leaves_credentials_to_the_handler(reply: &Reply, origin: Option<&str>) {
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(reply.header("access-control-allow-origin"), origin);
}
