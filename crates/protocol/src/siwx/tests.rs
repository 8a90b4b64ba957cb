use serde_json::{Value, json};

use super::*;
use crate::layout::{LayoutError, Reader};

const NOW: u64 = 1_705_314_600;

fn origin(text: &str) -> Origin {
    text.parse().unwrap()
}

fn network(text: &str) -> Network {
    text.parse().unwrap()
}

fn info() -> Info {
    let origin = origin("https://api.example.com:8443");
    Info::new(&origin, "/premium-data?q=1", "a1b2c3d4e5f67890a1b2c3d4e5f67890".into(), NOW).unwrap()
}

fn proof() -> Proof {
    let (network, address) = (network("farthing:00112233445566778899aabbccddeeff"), "ab".repeat(32));
    info().prove(&network, SignInKind::Ed25519, address, |_| Some("cd".repeat(64))).unwrap()
}

/// The specification's own example.
fn example() -> Info {
    serde_json::from_value(json!({
        "domain": "api.example.com", "uri": "https://api.example.com/premium-data", "version": "1",
        "nonce": "a1b2c3d4e5f67890a1b2c3d4e5f67890", "issuedAt": "2024-01-15T10:30:00.000Z",
        "expirationTime": "2024-01-15T10:35:00.000Z", "statement": "Sign in to access premium data",
        "resources": ["https://api.example.com/premium-data"],
    }))
    .unwrap()
}

const EXAMPLE: &str = "\
{domain} wants you to sign in with your {family} account:
{address}

Sign in to access premium data

URI: https://api.example.com/premium-data
Version: 1
Chain ID: {chain}
Nonce: a1b2c3d4e5f67890a1b2c3d4e5f67890
Issued At: 2024-01-15T10:30:00.000Z
Expiration Time: 2024-01-15T10:35:00.000Z
Resources:
- https://api.example.com/premium-data";

#[test]
fn the_text_is_the_specifications() {
    for (chain, family, address) in [
        ("eip155:8453", "Ethereum", "0x857b06519E91e3A54538791bDbb0E22373e36b66"),
        ("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "Solana", "BSmWDgE9ex6dZYbiTsJGcwMEgFp8q4aWh92hdErQPeVW"),
        ("farthing:00112233445566778899aabbccddeeff", "farthing", "ab"),
    ] {
        let network = network(chain);
        let expected = EXAMPLE
            .replace("{domain}", "api.example.com")
            .replace("{family}", family)
            .replace("{address}", address)
            .replace("{chain}", network.reference());
        assert_eq!(example().text(&network, address), expected);
    }
}

#[test]
fn a_text_without_a_statement_keeps_eip_4361s_empty_line() {
    let info = Info { statement: None, expiration_time: None, resources: None, ..example() };
    let text = info.text(&network("eip155:1"), "0x0");
    assert!(text.contains("account:\n0x0\n\n\nURI: "), "{text}");
    assert!(text.ends_with("Issued At: 2024-01-15T10:30:00.000Z"), "{text}");
    let text = info.text(&network("solana:1"), "B");
    assert!(text.contains("account:\nB\n\nURI: "), "{text}");
    let named = Info { request_id: Some("7".into()), not_before: Some(info.issued_at.clone()), ..info };
    let text = named.text(&network("solana:1"), "B");
    assert!(text.ends_with("\nNot Before: 2024-01-15T10:30:00.000Z\nRequest ID: 7"), "{text}");
}

#[test]
fn a_challenge_is_written_as_it_is_read() {
    let chains = vec![Chain::new(&network("farthing:00"), SignInKind::Ed25519)];
    let challenge = Challenge { info: info(), supported_chains: chains };
    let written = challenge.write().unwrap();
    assert_eq!(Challenge::read(&written, &Limits::default()).unwrap(), challenge);
    let value: Value = serde_json::from_str(written.get()).unwrap();
    assert_eq!(value["info"]["domain"], "api.example.com:8443");
    assert_eq!(value["info"]["uri"], "https://api.example.com:8443/premium-data?q=1");
    assert_eq!(value["info"]["expirationTime"], "2024-01-15T10:35:00.000Z");
    assert_eq!(value["supportedChains"], json!([{"chainId": "farthing:00", "type": "ed25519"}]));
    assert_eq!(value["schema"]["required"].as_array().unwrap().len(), 9);
}

#[test]
fn a_proof_is_read_back_as_it_was_sent() {
    let read = Proof::decode(proof().encode().unwrap().as_bytes(), &Limits::default()).unwrap();
    assert_eq!(read, proof());
    assert_eq!(read.text(), info().text(&proof().chain_id, &proof().address));
    assert!(!format!("{read:?}").contains("cdcd"));
}

#[test]
fn a_proof_that_is_not_strict_json_of_the_right_size_is_not_read() {
    let limits = Limits::default();
    let good = serde_json::to_value(proof()).unwrap();
    let read = |text: &str| Proof::decode(header::encode_text(text).as_bytes(), &limits);
    assert!(read(&good.to_string()).is_ok());
    // x402's clients add how they signed.
    let mut more = good.clone();
    more["signatureScheme"] = "siws".into();
    assert!(read(&more.to_string()).is_ok());

    let twice = good.to_string().replacen('{', "{\"nonce\":\"00000000\",", 1);
    assert!(matches!(read(&twice), Err(WireError::DuplicateKey { .. })));
    let long = good.to_string().replace("Prove", &"P".repeat(4096));
    assert!(matches!(read(&long), Err(WireError::TooLarge { .. })));
    assert_eq!(Proof::decode(b"!", &limits), Err(WireError::Base64));
    assert_eq!(Proof::decode(b"YQ==,YQ==", &limits), Err(WireError::Combined));
    for text in ["", "null", "[]", "{}", "\"x\""] {
        assert!(read(text).is_err(), "{text}");
    }
    for name in ["domain", "address", "uri", "version", "chainId", "type", "nonce", "issuedAt", "signature"] {
        let mut less = good.clone();
        less.as_object_mut().unwrap().remove(name);
        assert!(read(&less.to_string()).is_err(), "{name}");
        less[name] = 7.into();
        assert!(read(&less.to_string()).is_err(), "{name}");
    }
}

#[test]
fn a_member_that_would_be_more_than_one_line_is_refused() {
    let good = info();
    assert_eq!(good.check(), Ok(()));
    let line = || "a\nURI: https://evil.example/".to_owned();
    let wrong = [
        Info { domain: line(), ..good.clone() },
        Info { domain: "api.example.com/x".into(), ..good.clone() },
        Info { domain: String::new(), ..good.clone() },
        Info { uri: line(), ..good.clone() },
        Info { version: "2".into(), ..good.clone() },
        Info { nonce: "1234567".into(), ..good.clone() },
        Info { nonce: "1234 5678".into(), ..good.clone() },
        Info { nonce: "1".repeat(65), ..good.clone() },
        Info { issued_at: "yesterday".into(), ..good.clone() },
        Info { expiration_time: Some("tomorrow".into()), ..good.clone() },
        Info { not_before: Some(line()), ..good.clone() },
        Info { request_id: Some(line()), ..good.clone() },
        Info { statement: Some(line()), ..good.clone() },
        Info { statement: Some("\u{202e}".into()), ..good.clone() },
        Info { statement: Some("x".repeat(2049)), ..good.clone() },
        Info { resources: Some(vec![line()]), ..good.clone() },
        Info { resources: Some(vec!["https://a.example/".into(); 9]), ..good.clone() },
    ];
    for info in wrong {
        assert!(matches!(info.check(), Err(SignInFault::Field { .. })), "{info:?}");
        let proof = info.prove(&network("eip155:1"), SignInKind::Eip191, "0x0".into(), |_| Some("0x".into()));
        assert_eq!(proof, None, "{info:?}");
    }
}

#[test]
fn a_proof_is_for_one_origin() {
    let good = info();
    let (here, now) = (origin("https://api.example.com:8443"), NOW);
    assert_eq!(good.is_for(&here, now), Ok(()));
    let without_port = Info { domain: "api.example.com".into(), ..good.clone() };
    assert_eq!(without_port.is_for(&here, now), Ok(()));
    for other in [
        "https://api.example.com",
        "http://api.example.com:8443",
        "https://api.example.com.evil.example:8443",
        "https://example.com:8443",
    ] {
        assert_eq!(good.is_for(&origin(other), now), Err(SignInFault::Domain), "{other}");
    }
    let evil = || "https://evil.example/".to_owned();
    for wrong in [
        Info { domain: "evil.example".into(), ..good.clone() },
        Info { domain: "api.example.com:443".into(), ..good.clone() },
        Info { domain: "example.com".into(), ..good.clone() },
        Info { uri: evil(), ..good.clone() },
        Info { uri: "/premium-data".into(), ..good.clone() },
        Info { resources: Some(vec![good.uri.clone(), evil()]), ..good.clone() },
    ] {
        assert_eq!(wrong.is_for(&here, now), Err(SignInFault::Domain), "{wrong:?}");
    }
    for statement in [None, Some("Send all my money".to_owned())] {
        let wrong = Info { statement, ..good.clone() };
        assert_eq!(wrong.is_for(&here, now), Err(SignInFault::Statement));
    }
}

#[test]
fn a_proof_is_good_for_five_minutes() {
    let (good, here) = (info(), origin("https://api.example.com:8443"));
    let at = |info: &Info, now| info.is_for(&here, now);
    assert_eq!(at(&good, NOW - SKEW), Ok(()));
    assert_eq!(at(&good, NOW - SKEW - 1), Err(SignInFault::TooEarly));
    assert_eq!(at(&good, NOW + MAX_AGE - 1), Ok(()));
    assert_eq!(at(&good, NOW + MAX_AGE), Err(SignInFault::TooOld));
    let endless = Info { expiration_time: None, ..good.clone() };
    assert_eq!(at(&endless, NOW + MAX_AGE), Ok(()));
    assert_eq!(at(&endless, NOW + MAX_AGE + 1), Err(SignInFault::TooOld));
    let longer = Info { expiration_time: Some("2099-01-01T00:00:00Z".into()), ..good.clone() };
    assert_eq!(at(&longer, NOW + MAX_AGE + 1), Err(SignInFault::TooOld));
    let later = Info { not_before: Some("2024-01-15T10:31:00Z".into()), ..good };
    assert_eq!(at(&later, NOW + 54), Err(SignInFault::TooEarly));
    assert_eq!(at(&later, NOW + 60), Ok(()));
}

/// Layouts that are signed begin with the length of their domain, and no domain is as long as the first letter of a
/// host is: no text is a layout, whoever signs it.
#[test]
fn no_text_is_a_layout_that_moves_money() {
    for host in [
        "https://a.example",
        "https://0.example",
        "http://127.0.0.1:4021",
        "http://[::1]",
        "https://zz.example",
    ] {
        let info = Info::new(&origin(host), "/", "0".repeat(32), NOW).unwrap();
        let text = info.text(&network("farthing:00"), "ab");
        assert!(text.as_bytes()[0] >= b'0', "{text}");
        for domain in ["farthing/payment", "farthing/operation", "farthing/balances", "farthing/receipt"] {
            let read = Reader::open(text.as_bytes(), domain, 1);
            assert_eq!(read.err(), Some(LayoutError::Domain), "{host} {domain}");
        }
    }
}
