//! The header codecs against the golden vectors of `spec/vectors`, against every example of the public
//! x402 specifications, and against bytes that nobody should send.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "refusals are timed")]

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use farthing_protocol::header::{self, Decoded};
use farthing_protocol::price::PriceError;
use farthing_protocol::v1::{
    PaymentPayloadV1, PaymentRequiredV1, PaymentRequirementsV1, SettlementResponseV1,
};
use farthing_protocol::v2::{
    FacilitatorRequest, PaymentPayload, PaymentRequired, PaymentRequirements, ResourceInfo,
    SettlementResponse, SupportedResponse, VerifyResponse,
};
use farthing_protocol::{Amount, Limits, Network, Price, Verbatim, WireError, json};
use proptest::prelude::*;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

const LIMITS: &Limits = &Limits {
    header_bytes: 8192,
    json_body_bytes: 65536,
    json_depth: 32,
    json_members: 256,
    bound_body_bytes: 0,
    answer_bytes: 0,
};

const HEADERS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/vectors/headers.json"));
const PRICES: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/vectors/prices.json"));
const AMOUNTS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/vectors/amounts.json"));

fn rows<'a>(vectors: &'a Value, list: &str) -> &'a [Value] {
    let rows = vectors[list].as_array().unwrap();
    assert!(!rows.is_empty());
    rows
}

fn text<'a>(row: &'a Value, member: &str) -> &'a str {
    row[member].as_str().unwrap_or_else(|| panic!("`{member}` of {row}"))
}

/// Decodes `value` as the header `name`, and writes what was understood as JSON and as a header again.
fn decode(name: &str, value: &[u8], limits: &Limits) -> Result<(Value, String), WireError> {
    fn back<T: Serialize>(message: T) -> (Value, String) {
        (serde_json::to_value(&message).unwrap(), header::encode(&message).unwrap())
    }
    match name {
        header::PAYMENT_REQUIRED => header::decode_payment_required(value, limits).map(back),
        header::PAYMENT_SIGNATURE => header::decode_payment(value, limits).map(back),
        header::PAYMENT_RESPONSE => header::decode_settlement(value, limits).map(back),
        header::X_PAYMENT => header::decode_payment_v1(value, limits).map(back),
        header::X_PAYMENT_RESPONSE => header::decode_settlement_v1(value, limits).map(back),
        other => panic!("no header `{other}`"),
    }
}

const NAMES: [&str; 5] = [
    header::PAYMENT_REQUIRED,
    header::PAYMENT_SIGNATURE,
    header::PAYMENT_RESPONSE,
    header::X_PAYMENT,
    header::X_PAYMENT_RESPONSE,
];

fn kind(decoded: &Decoded) -> &'static str {
    match decoded {
        Decoded::PaymentRequired(_) => header::PAYMENT_REQUIRED,
        Decoded::Payment(_) => header::PAYMENT_SIGNATURE,
        Decoded::Settlement(_) => header::PAYMENT_RESPONSE,
        Decoded::PaymentRequiredV1(_) => "body of version 1",
        Decoded::PaymentV1(_) => header::X_PAYMENT,
        Decoded::SettlementV1(_) => header::X_PAYMENT_RESPONSE,
    }
}

#[test]
fn golden_headers_decode_to_their_json_and_are_told_apart() {
    let vectors: Value = serde_json::from_str(HEADERS).unwrap();
    for row in rows(&vectors, "decode") {
        let (name, value) = (text(row, "header"), text(row, "value").as_bytes());
        let (json, again) =
            decode(name, value, LIMITS).unwrap_or_else(|fault| panic!("{}: {fault}", row["name"]));
        assert_eq!(json, row["json"], "{}", row["name"]);
        assert_eq!(decode(name, again.as_bytes(), LIMITS).unwrap(), (json, again), "{}", row["name"]);
        assert_eq!(kind(&header::decode_any(value, LIMITS).unwrap()), name, "{}", row["name"]);
    }
}

/// Also T04 (re-encodings) and T46 (JSON that parsers read differently).
#[test]
fn t04_t46_negative_headers_are_refused_for_the_right_reason() {
    let vectors: Value = serde_json::from_str(HEADERS).unwrap();
    for row in rows(&vectors, "refuse") {
        let fault =
            decode(text(row, "header"), text(row, "value").as_bytes(), LIMITS).expect_err(text(row, "name"));
        assert_eq!(fault.class(), text(row, "error"), "{}: {fault}", row["name"]);
        if let Some(field) = row["field"].as_str() {
            assert_eq!(fault.field(), Some(field), "{}: {fault}", row["name"]);
        }
        let said = fault.to_string();
        assert!(
            said.len() < 400 && said.chars().all(|c| c == ' ' || c.is_ascii_graphic()),
            "{}: {said}",
            row["name"]
        );
    }
}

#[test]
fn t46_a_verdict_is_strictly_a_boolean() {
    let read = |json: &str| json::read::<VerifyResponse>(json.as_bytes(), LIMITS);
    assert!(read(r#"{"isValid":true}"#).unwrap().is_valid);
    assert!(!read(r#"{"isValid":false,"invalidReason":null}"#).unwrap().is_valid);
    for wrong in
        ["1", "0", "1e3", "1.0", "-0", "\"true\"", "null", "[true]", "{}", "01", "NaN", "True", "\"\\ud800\""]
    {
        assert!(read(&format!(r#"{{"isValid":{wrong}}}"#)).is_err(), "{wrong}");
    }
    for wrong in [
        "{}",
        "[true]",
        r#"{"isValid":true,"isValid":false}"#,
        "\u{feff}{\"isValid\":true}",
        r#"{"isValid":true}x"#,
    ] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn golden_prices_are_read_exactly() {
    let vectors: Value = serde_json::from_str(PRICES).unwrap();
    for row in rows(&vectors, "parse") {
        let price: Price = text(row, "price").parse().unwrap();
        let digits: Amount = text(row, "digits").parse().unwrap();
        let scale = u8::try_from(row["decimals"].as_u64().unwrap()).unwrap();
        assert_eq!(price.currency(), text(row, "currency"));
        assert_eq!(price.to_string(), format!("{} {}", digits.decimal(scale), price.currency()));
        assert_eq!(price.to_string().parse(), Ok(price));
    }
    for row in rows(&vectors, "refuse") {
        assert!(text(row, "price").parse::<Price>().is_err(), "{row}");
    }
    let priced = |row: &Value| {
        let scale = u8::try_from(row["scale"].as_u64().unwrap()).unwrap();
        text(row, "price").parse::<Price>().unwrap().to_atomic(scale)
    };
    for row in rows(&vectors, "atomic") {
        assert_eq!(priced(row), Ok(text(row, "amount").parse().unwrap()), "{row}");
    }
    for row in rows(&vectors, "unpayable") {
        let error = match priced(row).expect_err(text(row, "price")) {
            PriceError::Zero { .. } => "zero",
            PriceError::TooFine { .. } => "too-fine",
            PriceError::TooLarge { .. } => "too-large",
            other => panic!("{row}: {other}"),
        };
        assert_eq!(error, text(row, "error"), "{row}");
    }
}

#[test]
fn golden_amounts_have_one_text_each() {
    use farthing_protocol::amount::AmountError;
    let vectors: Value = serde_json::from_str(AMOUNTS).unwrap();
    for row in rows(&vectors, "accept") {
        let amount: Amount = text(row, "amount").parse().unwrap();
        assert_eq!(amount.to_string(), text(row, "amount"));
        assert_eq!(serde_json::from_value::<Amount>(row["amount"].clone()).unwrap(), amount);
    }
    for row in rows(&vectors, "refuse") {
        let error = match text(row, "amount").parse::<Amount>().expect_err(text(row, "amount")) {
            AmountError::NotDecimal => "not-decimal",
            AmountError::LeadingZero => "leading-zero",
            AmountError::TooLarge => "too-large",
        };
        assert_eq!(error, text(row, "error"), "{row}");
        assert!(serde_json::from_value::<Amount>(row["amount"].clone()).is_err(), "{row}");
    }
    for row in rows(&vectors, "refuse_json") {
        assert!(serde_json::from_str::<Amount>(text(row, "json")).is_err(), "{row}");
    }
    for row in rows(&vectors, "decimal") {
        let scale = u8::try_from(row["scale"].as_u64().unwrap()).unwrap();
        assert_eq!(
            text(row, "amount").parse::<Amount>().unwrap().decimal(scale),
            text(row, "decimal"),
            "{row}"
        );
    }
}

/// The best of some tries, so that a busy machine does not count.
fn quickest(mut act: impl FnMut()) -> Duration {
    let one = |_| {
        let start = Instant::now();
        act();
        start.elapsed()
    };
    (0..5).map(one).min().unwrap()
}

#[test]
fn t40_oversize_values_are_refused_before_they_are_decoded() {
    let settled = r#"{"success":true,"transaction":"","network":"eip155:1""#;
    let full = format!("{settled}{}}}", " ".repeat(6144 - settled.len() - 1));
    let full = STANDARD.encode(full);
    assert_eq!(full.len(), 8192);
    assert!(header::decode_settlement(full.as_bytes(), LIMITS).is_ok());

    for size in [8193, 64 * 1024, 1024 * 1024] {
        let value = "A".repeat(size);
        for name in NAMES {
            let expected = WireError::TooLarge { what: name, bytes: size, limit: 8192 };
            let took = quickest(|| assert_eq!(decode(name, value.as_bytes(), LIMITS), Err(expected.clone())));
            assert!(took < Duration::from_millis(5), "{took:?}");
        }
    }
    let body = " ".repeat(65537);
    assert!(matches!(
        header::read_payment_required_v1(body.as_bytes(), LIMITS),
        Err(WireError::TooLarge { .. })
    ));
    assert!(matches!(header::read_any(body.as_bytes(), LIMITS), Err(WireError::TooLarge { .. })));
}

#[test]
fn t40_deep_json_is_refused_quickly_and_without_recursion() {
    let wide = Limits { header_bytes: usize::MAX, ..*LIMITS };
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{{\"success\":{}1{}}}", open.repeat(100_000), close.repeat(100_000));
        let took = quickest(|| {
            assert_eq!(json::check(deep.as_bytes(), LIMITS), Err(WireError::TooDeep { limit: 32 }))
        });
        assert!(took < Duration::from_millis(5), "{took:?}");
        let value = STANDARD.encode(&deep);
        for name in NAMES {
            assert_eq!(decode(name, value.as_bytes(), &wide), Err(WireError::TooDeep { limit: 32 }));
        }
    }
    // A caller that lifts our limit still meets the parser's own.
    let lifted = Limits { json_depth: usize::MAX, ..*LIMITS };
    assert!(json::check("[".repeat(100_000).as_bytes(), &lifted).is_err());
}

mod examples_of_the_specification {
    //! Sections 5 and 7 of both versions; the HTTP transports' examples are among the golden vectors.
    use super::*;

    const OFFER: &str = r#"{"scheme": "exact", "network": "eip155:84532", "amount": "10000",
        "asset": "0x036CbD53842c5426634e7929541eC2318f3dCF7e", "payTo": "0x209693Bc6afc0C5328bA36FaF03C514EF312287C",
        "maxTimeoutSeconds": 60, "extra": {"name": "USDC", "version": "2"}}"#;
    const OFFER_V1: &str = r#"{"scheme": "exact", "network": "base-sepolia", "maxAmountRequired": "10000",
        "asset": "0x036CbD53842c5426634e7929541eC2318f3dCF7e", "payTo": "0x209693Bc6afc0C5328bA36FaF03C514EF312287C",
        "resource": "https://api.example.com/premium-data", "description": "Access to premium market data",
        "mimeType": "application/json", "outputSchema": null, "maxTimeoutSeconds": 60,
        "extra": {"name": "USDC", "version": "2"}}"#;
    const RESOURCE: &str = r#"{"url": "https://api.example.com/premium-data",
        "description": "Access to premium market data", "mimeType": "application/json"}"#;
    const EIP3009: &str = r#"{"signature": "0x...", "authorization": {"from": "0x...", "to": "0x...", "value": "10000",
        "validAfter": "1740672089", "validBefore": "1740672154", "nonce": "0x..."}}"#;

    fn read<T: serde::de::DeserializeOwned>(json: &str) -> T {
        json::read(json.as_bytes(), LIMITS).unwrap_or_else(|fault| panic!("{fault}: {json}"))
    }

    #[test]
    fn version_2_messages_are_read() {
        let required = format!(
            r#"{{"x402Version": 2, "error": "PAYMENT-SIGNATURE header is required", "resource": {RESOURCE},
            "accepts": [{OFFER}], "extensions": {{}}}}"#
        );
        let required = header::decode_payment_required(STANDARD.encode(required).as_bytes(), LIMITS).unwrap();
        let offer = required.offers().next().unwrap();
        assert_eq!(offer.amount, Amount(10000));
        assert_eq!(offer.text(), OFFER);
        assert_eq!(offer.extra["name"], "USDC");
        assert_eq!(required.resource.mime_type.as_deref(), Some("application/json"));

        let payment = format!(
            r#"{{"x402Version": 2, "resource": {RESOURCE}, "accepted": {OFFER}, "payload": {EIP3009}, "extensions": {{}}}}"#
        );
        let decoded = header::decode_payment(STANDARD.encode(&payment).as_bytes(), LIMITS).unwrap();
        assert_eq!((decoded.accepted.text(), decoded.payload.get()), (OFFER, EIP3009));

        let request: FacilitatorRequest = read(&format!(
            r#"{{"x402Version": 2, "paymentPayload": {payment}, "paymentRequirements": {OFFER}}}"#
        ));
        assert_eq!(*request.payment_payload.accepted, *request.payment_requirements);
    }

    #[test]
    fn version_2_answers_are_read() {
        assert!(read::<VerifyResponse>(r#"{"isValid": true, "payer": "0x857b"}"#).is_valid);
        let invalid: VerifyResponse =
            read(r#"{"isValid": false, "invalidReason": "insufficient_funds", "payer": "0x857b"}"#);
        assert_eq!(invalid.invalid_reason.as_deref(), Some(farthing_protocol::reason::INSUFFICIENT_FUNDS));
        let settled: SettlementResponse = read(
            r#"{"success": true, "payer": "0x857b", "transaction": "0x1234", "network": "eip155:84532"}"#,
        );
        assert!(settled.success && settled.amount.is_none());
        let refused: SettlementResponse = read(
            r#"{"success": false, "errorReason": "insufficient_funds", "payer": "0x857b", "transaction": "",
            "network": "eip155:84532"}"#,
        );
        assert!(!refused.success && refused.transaction.is_empty());
        let supported: SupportedResponse = read(
            r#"{"kinds": [{"x402Version": 2, "scheme": "exact", "network": "eip155:84532"},
            {"x402Version": 2, "scheme": "exact", "network": "eip155:8453"}], "extensions": [],
            "signers": {"eip155:*": ["0x1234567890abcdef1234567890abcdef12345678"],
            "solana:*": ["CKPKJWNdJEqa81x7CkZ14BVPiY6y16Sxs7owznqtWYp5"]}}"#,
        );
        assert_eq!((supported.kinds.len(), supported.signers.len()), (2, 2));
    }

    #[test]
    fn version_1_messages_are_read() {
        let body = format!(
            r#"{{"x402Version": 1, "error": "X-PAYMENT header is required", "accepts": [{OFFER_V1}]}}"#
        );
        let required = header::read_payment_required_v1(body.as_bytes(), LIMITS).unwrap();
        let offer = required.offers().next().unwrap();
        assert_eq!((offer.max_amount_required, offer.max_timeout_seconds), (Amount(10000), 60));
        assert_eq!(farthing_protocol::v1::network_of(&offer.network), Some("eip155:84532".parse().unwrap()));
        assert_eq!(kind(&header::read_any(body.as_bytes(), LIMITS).unwrap()), "body of version 1");
        let version_2 = body.replace("\"x402Version\": 1", "\"x402Version\": 2");
        assert!(header::read_payment_required_v1(version_2.as_bytes(), LIMITS).is_err());

        let payment: PaymentPayloadV1 = read(&format!(
            r#"{{"x402Version": 1, "scheme": "exact", "network": "base-sepolia", "payload": {EIP3009}}}"#
        ));
        assert_eq!(payment.payload.get(), EIP3009);
        let refused: SettlementResponseV1 = read(
            r#"{"success": false, "errorReason": "insufficient_funds", "payer": "0x857b", "transaction": "",
            "network": "base-sepolia"}"#,
        );
        assert_eq!(refused.error_reason.as_deref(), Some("insufficient_funds"));
        let supported: SupportedResponse =
            read(r#"{"kinds": [{"x402Version": 1, "scheme": "exact", "network": "base-sepolia"}]}"#);
        assert_eq!(supported.kinds[0].x402_version, 1);
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(".{0,6}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn raw() -> impl Strategy<Value = Box<RawValue>> {
    json_value().prop_map(|value| to_raw_value(&value).unwrap())
}

fn members() -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::btree_map("[a-z]{1,6}", json_value(), 0..4).prop_map(|map| map.into_iter().collect())
}

fn extensions() -> impl Strategy<Value = std::collections::BTreeMap<String, Box<RawValue>>> {
    prop::collection::btree_map("[a-z-]{1,9}", raw(), 0..3)
}

fn maybe() -> impl Strategy<Value = Option<String>> {
    prop::option::of(".{0,20}")
}

fn network() -> impl Strategy<Value = Network> {
    "[a-z0-9-]{3,8}:[A-Za-z0-9=/_-]{1,64}".prop_map(|id| id.parse().unwrap())
}

fn resource() -> impl Strategy<Value = ResourceInfo> {
    (".{0,40}", maybe(), maybe(), maybe(), prop::option::of(prop::collection::vec(".{0,5}", 0..3)), maybe())
        .prop_map(|(url, description, mime_type, service_name, tags, icon_url)| ResourceInfo {
            url,
            description,
            mime_type,
            service_name,
            tags,
            icon_url,
        })
}

fn offer() -> impl Strategy<Value = PaymentRequirements> {
    (".{0,10}", network(), any::<u128>(), ".{0,10}", ".{0,10}", 1u64..1 << 53, members()).prop_map(
        |(scheme, network, amount, asset, pay_to, max_timeout_seconds, extra)| PaymentRequirements {
            scheme,
            network,
            amount: Amount(amount),
            asset,
            pay_to,
            max_timeout_seconds,
            extra,
        },
    )
}

fn offer_v1() -> impl Strategy<Value = PaymentRequirementsV1> {
    let schema = prop::option::of(members().prop_map(Value::Object));
    (offer(), ".{0,10}", ".{0,10}", maybe(), schema).prop_map(
        |(offer, resource, description, mime_type, output_schema)| PaymentRequirementsV1 {
            scheme: offer.scheme,
            network: offer.network.to_string(),
            max_amount_required: offer.amount,
            resource,
            description,
            mime_type,
            output_schema,
            pay_to: offer.pay_to,
            max_timeout_seconds: offer.max_timeout_seconds,
            asset: offer.asset,
            extra: offer.extra,
        },
    )
}

fn settlement() -> impl Strategy<Value = SettlementResponse> {
    (
        any::<bool>(),
        maybe(),
        maybe(),
        maybe(),
        ".{0,20}",
        network(),
        any::<Option<u128>>(),
        extensions(),
        members(),
    )
        .prop_map(
            |(
                success,
                error_reason,
                error_message,
                payer,
                transaction,
                network,
                amount,
                extensions,
                extra,
            )| {
                SettlementResponse {
                    success,
                    error_reason,
                    error_message,
                    payer,
                    transaction,
                    network: network.to_string(),
                    amount: amount.map(Amount),
                    extensions,
                    extra,
                    results: Vec::new(),
                }
            },
        )
}

fn same<T: Serialize>(name: &str, message: &T) -> Result<(), TestCaseError> {
    let value = header::encode(message).unwrap();
    let large = Limits { header_bytes: 1 << 20, ..*LIMITS };
    let decoded =
        decode(name, value.as_bytes(), &large).map_err(|fault| TestCaseError::fail(fault.to_string()))?;
    prop_assert_eq!(decoded, (serde_json::to_value(message).unwrap(), value));
    Ok(())
}

proptest! {
    #[test]
    fn terms_come_back(error in maybe(), resource in resource(), first in offer(), other in raw(), extensions in extensions()) {
        let accepts = vec![to_raw_value(&first).unwrap(), other];
        let message = PaymentRequired { x402_version: 2, error, resource, accepts, extensions };
        prop_assert_eq!(&*message.offers().next().unwrap(), &first);
        same(header::PAYMENT_REQUIRED, &message)?;
    }

    #[test]
    fn payments_come_back(resource in prop::option::of(resource()), offer in offer(), payload in raw(), extensions in extensions()) {
        let accepted = Verbatim::write(offer).unwrap();
        let message = PaymentPayload { x402_version: 2, resource, accepted, payload: payload.into(), extensions };
        same(header::PAYMENT_SIGNATURE, &message)?;
        let value = header::encode(&message).unwrap();
        let decoded = header::decode_payment(value.as_bytes(), &Limits { header_bytes: 1 << 20, ..*LIMITS }).unwrap();
        prop_assert_eq!(decoded.accepted.text(), message.accepted.text());
        prop_assert_eq!(&*decoded.accepted, &*message.accepted);
        prop_assert_eq!(decoded.payload.get(), message.payload.get());
    }

    #[test]
    fn settlements_come_back(message in settlement()) {
        same(header::PAYMENT_RESPONSE, &message)?;
    }

    #[test]
    fn version_1_messages_come_back(
        scheme in ".{0,10}", network in ".{0,10}", payload in raw(), offer in offer_v1(),
        success: bool, error_reason in maybe(), transaction in ".{0,10}", payer in maybe(), error in maybe(),
    ) {
        same(header::X_PAYMENT, &PaymentPayloadV1 { x402_version: 1, scheme, network: network.clone(), payload })?;
        same(header::X_PAYMENT_RESPONSE, &SettlementResponseV1 { success, error_reason, transaction, network, payer })?;
        let accepts = vec![to_raw_value(&offer).unwrap()];
        let body = serde_json::to_vec(&PaymentRequiredV1 { x402_version: 1, error, accepts }).unwrap();
        let back = header::read_payment_required_v1(&body, LIMITS).unwrap();
        prop_assert_eq!(serde_json::to_vec(&back).unwrap(), body);
        prop_assert_eq!(&*back.offers().next().unwrap(), &offer);
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let wrapped = STANDARD.encode(&bytes);
        for value in [bytes.as_slice(), wrapped.as_bytes()] {
            for name in NAMES {
                let _ = decode(name, value, LIMITS);
            }
            let _ = header::decode_any(value, LIMITS);
            let _ = header::read_any(value, LIMITS);
        }
    }

    /// One to three edits of a good header, in its base64 or in the JSON under it. What is still
    /// understood must mean the same after another trip.
    #[test]
    fn no_mutation_of_a_good_header_panics(
        pick: prop::sample::Index, inside: bool,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4), 1..4),
    ) {
        let vectors: Value = serde_json::from_str(HEADERS).unwrap();
        let row = pick.get(rows(&vectors, "decode"));
        let mut bytes = text(row, "value").as_bytes().to_vec();
        if inside {
            bytes = STANDARD.decode(bytes).unwrap();
        }
        for (place, byte, edit) in edits {
            if bytes.is_empty() {
                break;
            }
            let place = place.index(bytes.len());
            match edit {
                0 => bytes[place] = byte,
                1 => bytes.insert(place, byte),
                2 => drop(bytes.remove(place)),
                _ => bytes.truncate(place),
            }
        }
        if inside {
            bytes = STANDARD.encode(bytes).into_bytes();
        }
        let name = text(row, "header");
        if let Ok((json, again)) = decode(name, &bytes, LIMITS) {
            prop_assert_eq!(decode(name, again.as_bytes(), LIMITS).unwrap().0, json);
        }
        let _ = header::decode_any(&bytes, LIMITS);
    }
}
