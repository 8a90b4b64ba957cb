//! T04: a spent payment in other clothes.

use farthing_testkit::World;
use farthing_testkit::forge::{open, seal};
use serde_json::{Value, json};

use crate::{PRICE, expect_counts, routes};

const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64 whose last digit has bits that stand for nothing.
fn with_trailing_bits(base64: &str) -> String {
    let body = base64.trim_end_matches('=');
    assert_ne!(body.len(), base64.len(), "no padding, no spare bits");
    let (head, last) = body.split_at(body.len() - 1);
    let digit = ALPHABET.iter().position(|d| *d == last.as_bytes()[0]).unwrap();
    format!("{head}{}{}", char::from(ALPHABET[digit + 1]), &base64[body.len()..])
}

/// Each character as a JSON escape.
fn escaped(text: &str) -> String {
    text.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect()
}

/// One payment, and ways to write it differently.
struct Payment {
    header: String,
    json: String,
    value: Value,
    signature: String,
    authorization: String,
}

impl Payment {
    fn new(header: &str) -> Self {
        let json = open(header);
        let value: Value = serde_json::from_str(&json).unwrap();
        let text = |at: &str| value.pointer(at).unwrap().as_str().unwrap().to_owned();
        let (signature, authorization) = (text("/payload/signature"), text("/payload/authorization"));
        Self { header: header.to_owned(), json, value, signature, authorization }
    }

    /// Its text with one thing changed.
    fn swap(&self, from: &str, to: &str) -> String {
        assert!(self.json.contains(from), "{from} is not in {}", self.json);
        seal(self.json.replacen(from, to, 1))
    }

    /// Its JSON with one member changed.
    fn with(&self, at: &str, value: Value) -> String {
        let mut json = self.value.clone();
        *json.pointer_mut(at).unwrap() = value;
        seal(json.to_string())
    }

    /// Its members in another order and with other white space.
    fn arranged(&self, envelope: [&str; 3], sections: impl Fn(&Value) -> String) -> String {
        let member = |name: &&str| format!("\"{name}\":{}", sections(&self.value[*name]));
        let version = "\"x402Version\":2".to_owned();
        let all: Vec<String> = envelope.iter().map(member).chain([version]).collect();
        seal(format!("{{{}}}", all.join(",")))
    }

    /// What means the same, and may be answered with the stored answer.
    fn same(&self) -> Vec<(&'static str, String)> {
        let order = ["payload", "extensions", "accepted"];
        let backwards = |value: &Value| {
            let members = value.as_object().unwrap().iter().rev();
            let members: Vec<String> = members.map(|(name, value)| format!("\"{name}\":{value}")).collect();
            format!("{{{}}}", members.join(","))
        };
        let mut more = self.value.clone();
        more["from"] = json!("somebody");
        more["accepted"]["note"] = json!(1);
        more["accepted"]["extra"]["note"] = json!([1.5]);
        let mut less = self.value.clone();
        less.as_object_mut().unwrap().remove("extensions");
        vec![
            ("as it is", self.header.clone()),
            ("white space around the value", format!("  {}\t", self.header)),
            ("space before the JSON", seal(format!(" {}", self.json))),
            ("lines after the JSON", seal(format!("{}\r\n\t ", self.json))),
            ("pretty", seal(serde_json::to_string_pretty(&self.value).unwrap())),
            ("members of the envelope in another order", self.arranged(order, Value::to_string)),
            ("all members backwards", self.arranged(order, backwards)),
            ("an escape in a name", self.swap("\"accepted\"", "\"\\u0061ccepted\"")),
            ("an escape in a name of the payload", self.swap("\"signature\"", "\"sign\\u0061ture\"")),
            ("the signature in escapes", self.swap(&self.signature, &escaped(&self.signature))),
            ("the terms in escapes", self.swap(&self.authorization, &escaped(&self.authorization))),
            ("escaped slashes", self.swap(&self.authorization, &self.authorization.replace('/', "\\/"))),
            ("the amount in escapes", self.swap("\"10000\"", "\"\\u0031\\u0030000\"")),
            ("the network in escapes", self.swap("\"farthing:", "\"farthing\\u003a")),
            ("digits that the url alphabet has not", self.spicy()),
            ("members that nobody knows", seal(more.to_string())),
            ("no extensions", seal(less.to_string())),
            ("extensions null", self.with("/extensions", json!(null))),
            ("another digest in the offer", self.with("/accepted/extra/requestDigest", json!("00"))),
            ("another deadline in the offer", self.with("/accepted/extra/captureDeadline", json!(1))),
        ]
    }

    /// What is not the same, or not what it should be.
    fn refused(&self) -> Vec<(&'static str, String)> {
        let padded = (0..3).map(|n| seal(format!("{}{}", self.json, " ".repeat(n))));
        let padded = padded.into_iter().find(|text| text.ends_with('=')).unwrap();
        let bare = padded.trim_end_matches('=').to_owned();
        let upper = self.signature.to_ascii_uppercase();
        let again = format!("{{\"accepted\":{},", self.value["accepted"]);
        let sneaky = format!("{{\"\\u0061ccepted\":{},", self.value["accepted"]);
        let sign = format!("\"signature\":\"{}\"", self.signature);
        let terms = &self.authorization;
        vec![
            ("no padding", bare.clone()),
            ("too much padding", format!("{bare}====")),
            ("escaped padding", format!("{bare}%3D")),
            ("trailing bits", with_trailing_bits(&padded)),
            ("url alphabet", self.spicy().replace('+', "-").replace('/', "_")),
            ("a space inside", self.header.replacen('A', " A", 1)),
            ("a tab inside", self.header.replacen('J', "\tJ", 1)),
            ("lower case", self.header.to_ascii_lowercase()),
            ("base64 twice", seal(&self.header)),
            ("quoted", format!("\"{}\"", self.header)),
            ("hex", hex::encode(&self.json)),
            ("plain JSON", self.json.clone()),
            ("two values", format!("{}, {}", self.header, self.header)),
            ("a comma", format!("{},", self.header)),
            ("percent-encoded", self.header.replacen('e', "%65", 1)),
            ("byte order mark", seal(format!("\u{feff}{}", self.json))),
            ("two documents", seal(format!("{0}{0}", self.json))),
            ("text after the JSON", seal(format!("{};", self.json))),
            ("a comment", seal(format!("/**/{}", self.json))),
            ("an array", seal(format!("[{}]", self.json))),
            ("UTF-16", seal(self.json.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>())),
            ("a name twice", self.swap("{", &again)),
            ("a name twice, once in escapes", self.swap("{", &sneaky)),
            ("a signature twice", self.swap(&sign, &format!("{sign},{sign}"))),
            ("signature in upper case", self.swap(&self.signature, &upper)),
            ("signature with 0x", self.swap(&self.signature, &format!("0x{}", self.signature))),
            ("signature with a space", self.swap(&self.signature, &format!("{} ", self.signature))),
            ("signature cut", self.swap(&self.signature, &self.signature[..126])),
            ("terms without padding", self.swap(terms, terms.trim_end_matches('='))),
            ("terms with trailing bits", self.swap(terms, &with_trailing_bits(terms))),
            ("terms with a line end", self.swap(terms, &format!("{terms}\\n"))),
            ("terms in hex", self.swap(terms, &hex::encode(terms))),
            ("terms and one byte", self.swap(terms, &format!("{}AAAA", terms.trim_end_matches('=')))),
            ("an unknown member in the payload", self.swap("\"signature\"", "\"note\":1,\"signature\"")),
            ("a type in the payload", self.swap("\"signature\"", "\"type\":\"authorize\",\"signature\"")),
            ("the payload as text", self.with("/payload", json!(self.value["payload"].to_string()))),
            ("amount with a zero before", self.swap("\"10000\"", "\"010000\"")),
            ("amount with a sign", self.swap("\"10000\"", "\"+10000\"")),
            ("amount with a point", self.swap("\"10000\"", "\"10000.0\"")),
            ("amount with an exponent", self.swap("\"10000\"", "\"1e4\"")),
            ("amount with a space", self.swap("\"10000\"", "\" 10000\"")),
            ("amount as a number", self.swap("\"10000\"", "10000")),
            ("version as a fraction", self.swap("\"x402Version\":2", "\"x402Version\":2.0")),
            ("version as text", self.swap("\"x402Version\":2", "\"x402Version\":\"2\"")),
            ("version with a zero before", self.swap("\"x402Version\":2", "\"x402Version\":02")),
            ("version 1", self.swap("\"x402Version\":2", "\"x402Version\":1")),
            ("payTo in upper case", self.with("/accepted/payTo", json!(self.upper("/accepted/payTo")))),
            ("asset in lower case", self.swap("\"XTS\"", "\"xts\"")),
            ("network in upper case", self.swap("\"farthing:", "\"FARTHING:")),
            ("scheme in upper case", self.swap("\"auth-capture\"", "\"AUTH-CAPTURE\"")),
            ("seconds as text", self.with("/accepted/maxTimeoutSeconds", json!("300"))),
            ("seconds as a fraction", self.with("/accepted/maxTimeoutSeconds", json!(300.0))),
            ("binding as text", self.with("/accepted/extra/binding", json!("1"))),
            ("extra as a list", self.with("/accepted/extra", json!([]))),
        ]
    }

    /// Its base64 with digits that are others in the url alphabet.
    fn spicy(&self) -> String {
        let json = self.json.replacen('{', "{\"note\":\"~~~???\",", 1);
        let mut shifted = (0..3).map(|n| seal(format!("{}{json}", " ".repeat(n))));
        shifted.find(|text| text.contains('+') && text.contains('/')).unwrap()
    }

    fn upper(&self, at: &str) -> String {
        self.value.pointer(at).unwrap().as_str().unwrap().to_ascii_uppercase()
    }
}

#[tokio::test]
async fn t04_a_payment_written_differently_is_refused_or_answered_from_the_store() {
    let world = World::start(routes).await;
    for spent in [true, false] {
        let header = world.pay("GET", "/page", b"").await;
        let payment = Payment::new(&header);
        let page = format!("page {}", world.hits.all() + 1);
        if spent {
            assert_eq!(world.send_paid("GET", "/page", &header, b"").await.text(), page);
        }
        let before = (world.hits.all(), world.balance().await);
        let refused = payment.refused();
        assert!(refused.len() >= 50, "{}", refused.len());
        for (what, value) in refused {
            let reply = world.send_paid("GET", "/page", &value, b"").await;
            assert!((400..500).contains(&reply.status), "{what}: {}", reply.status);
            assert!(!reply.text().contains(&page), "{what}");
            assert_eq!((world.hits.all(), world.balance().await), before, "{what}");
        }
        // The twins, and the first of them pays when nothing did before.
        for (what, value) in payment.same() {
            let reply = world.send_paid("GET", "/page", &value, b"").await;
            assert_eq!((reply.status, reply.text()), (200, page.clone()), "{what}");
        }
    }
    expect_counts(&world, 2, 2, 2 * PRICE).await;
}

#[tokio::test]
async fn t04_a_header_in_another_place_or_twice_is_refused() {
    let world = World::start(routes).await;
    let payment = world.pay("GET", "/page", b"").await;
    let value = payment.as_str();
    for headers in [
        vec![("X-PAYMENT", value)],
        vec![("PAYMENT-SIGNATURE", value), ("PAYMENT-SIGNATURE", value)],
        vec![("PAYMENT-SIGNATURE", value), ("X-PAYMENT", value)],
        vec![("PAYMENT-SIGNATURE", value), ("PAYMENT-SIGNATURE", "")],
    ] {
        assert_eq!(world.send("GET", "/page", &headers, b"").await.status, 400);
    }
    for headers in [[("Authorization", value)], [("Payment", value)], [("Cookie", value)]] {
        assert_eq!(world.send("GET", "/page", &headers, b"").await.status, 402);
    }
    expect_counts(&world, 0, 0, 0).await;
    for name in ["PAYMENT-SIGNATURE", "payment-signature", "Payment-Signature"] {
        assert_eq!(world.send("GET", "/page", &[(name, value)], b"").await.text(), "page 1");
    }
    expect_counts(&world, 1, 1, PRICE).await;
}
