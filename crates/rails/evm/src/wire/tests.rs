//! The golden vectors of `spec/vectors/evm`, which were computed by another implementation than this one, and
//! how strictly payloads are read.

use alloy_primitives::{Address, B256, Bytes, U256, hex};
use alloy_sol_types::SolValue;
use farthing_protocol::v2::{Extensions, PaymentRequirements};
use farthing_protocol::{Amount, Network};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::extensions::{self, EIP2612, ERC20_APPROVAL};
use super::payload::Permitted;
use super::signature::{KeySignature, Wrapped};
use super::*;

/// `spec/vectors/evm/signatures.json`.
#[derive(Deserialize)]
pub(crate) struct Vectors {
    pub(crate) key: String,
    golden: Vec<Golden>,
    pub(crate) pay: Vec<Paid>,
    keys: Vec<Form>,
    pub(crate) eip2612: Vec<PermitVector>,
    pub(crate) approval: Vec<ApprovalVector>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Golden {
    pub(crate) name: String,
    pub(crate) token: TokenVector,
    pub(crate) payload: String,
    payer: String,
    signing_hash: B256,
    pub(crate) payment: String,
}

#[derive(Deserialize)]
pub(crate) struct Paid {
    #[serde(flatten)]
    pub(crate) golden: Golden,
    pub(crate) offer: PaymentRequirements,
    pub(crate) now: u64,
    pub(crate) random: String,
}

#[derive(Deserialize)]
pub(crate) struct TokenVector {
    pub(crate) network: Network,
    pub(crate) address: String,
    pub(crate) name: String,
    pub(crate) version: String,
}

#[derive(Deserialize)]
struct Form {
    name: String,
    hash: B256,
    signature: Bytes,
    signer: Option<Address>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PermitVector {
    token: TokenVector,
    signing_hash: B256,
    pub(crate) info: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ApprovalVector {
    pub(crate) nonce: u64,
    pub(crate) max_fee: u128,
    pub(crate) tip: u128,
    pub(crate) info: Value,
}

impl TokenVector {
    fn domain(&self) -> TokenDomain {
        TokenDomain {
            chain_id: chain_id(&self.network).unwrap(),
            token: text::read_address(&self.address).unwrap(),
            name: self.name.clone(),
            version: self.version.clone(),
        }
    }
}

pub(crate) fn vectors() -> Vectors {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../spec/vectors/evm/signatures.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn read(payload: &Value) -> Option<Signed> {
    Signed::read(&payload.to_string()).ok()
}

/// A payload that can be read, by EIP-3009.
fn by_3009() -> Value {
    serde_json::from_str(&vectors().golden[0].payload).unwrap()
}

/// A payload that can be read, of `upto`.
fn by_permit2() -> Value {
    serde_json::from_str(&vectors().golden[5].payload).unwrap()
}

#[test]
fn what_is_signed_and_the_payments_name_are_those_of_the_vectors() {
    let vectors = vectors();
    let all = vectors.golden.iter().chain(vectors.pay.iter().map(|paid| &paid.golden));
    for Golden { name, token, payload, payer, signing_hash, payment } in all {
        let signed = Signed::read(payload).unwrap();
        let domain = token.domain();
        assert_eq!(signed.authorization.signing_hash(&domain), *signing_hash, "{name}");
        assert_eq!(signed.authorization.payment_id(&domain).to_string(), *payment, "{name}");
        assert_eq!(signed.authorization.payer().to_checksum(None), *payer, "{name}");
        let signer = KeySignature::read(&signed.signature).unwrap().signer(signing_hash);
        assert_eq!(signer, Some(signed.authorization.payer()), "{name}");
        let written = serde_json::to_value(&signed).unwrap();
        assert_eq!(written, serde_json::from_str::<Value>(payload).unwrap(), "{name}");
    }
}

#[test]
fn a_name_does_not_depend_on_how_the_payload_is_written() {
    let token = vectors().golden[0].token.domain();
    let id = |payload: &Value| read(payload).unwrap().authorization.payment_id(&token);
    let written = by_3009();
    let (mut lower, mut other_signature) = (written.clone(), written.clone());
    lower["authorization"]["from"] = json!(written["authorization"]["from"].as_str().unwrap().to_lowercase());
    other_signature["signature"] = json!("0x01");
    assert_eq!(id(&lower), id(&written));
    assert_eq!(id(&other_signature), id(&written));
    let mut another = written.clone();
    another["authorization"]["value"] = json!("1001");
    assert_ne!(id(&another), id(&written));
}

#[test]
fn a_keys_signature_has_one_form() {
    for Form { name, hash, signature, signer } in vectors().keys {
        let read = KeySignature::read(&signature);
        assert_eq!(read.and_then(|signature| signature.signer(&hash)), signer, "{name}");
    }
}

#[test]
fn a_permit_is_signed_and_travels_as_in_the_vectors() {
    for PermitVector { token, signing_hash, info } in vectors().eip2612 {
        let text = json!({ "info": info }).to_string();
        let extensions = Extensions::from([(EIP2612.to_owned(), RawValue::from_string(text).unwrap())]);
        let read = extensions::permit(&extensions).unwrap().unwrap();
        let hash = typed::permit_hash(
            read.from,
            read.spender,
            read.amount,
            read.nonce,
            read.deadline,
            &token.domain(),
        );
        assert_eq!(hash, signing_hash);
        assert_eq!(KeySignature::read(&read.signature).unwrap().signer(&hash), Some(read.from));
        let written: Value = serde_json::from_str(extensions::write_permit(&read).unwrap().get()).unwrap();
        assert_eq!(written["info"], info);
        assert_eq!(written["schema"]["required"].as_array().unwrap().len(), 8);
    }
}

#[test]
fn an_extension_without_a_signature_is_the_servers_own_and_one_that_cannot_be_read_is_refused() {
    let of = |name: &str, text: Value| {
        Extensions::from([(name.to_owned(), RawValue::from_string(text.to_string()).unwrap())])
    };
    let info = vectors().eip2612[0].info.clone();
    for own in
        [json!(null), json!({}), json!({ "info": null }), json!({ "info": { "version": "1" }, "schema": {} })]
    {
        assert!(matches!(extensions::permit(&of(EIP2612, own.clone())), Ok(None)), "{own}");
        assert!(matches!(extensions::approval(&of(ERC20_APPROVAL, own)), Ok(None)));
    }
    assert!(extensions::permit(&of(EIP2612, json!({ "info": info }))).unwrap().is_some());
    for (member, wrong) in [
        ("from", json!("0x12")),
        ("amount", json!(1000)),
        ("nonce", json!("-1")),
        ("deadline", json!("0x1")),
        ("signature", json!("zz")),
        ("version", json!(null)),
    ] {
        let mut broken = info.clone();
        broken[member] = wrong;
        let read = extensions::permit(&of(EIP2612, json!({ "info": broken })));
        assert_eq!(read.err(), Some(reasons::EIP2612_FORMAT), "{member}");
    }
    for wrong in [json!([]), json!({ "info": "x" })] {
        assert_eq!(extensions::permit(&of(EIP2612, wrong.clone())).err(), Some(reasons::EIP2612_FORMAT));
        assert_eq!(extensions::approval(&of(ERC20_APPROVAL, wrong)).err(), Some(reasons::ERC20_FORMAT));
    }
}

#[test]
fn a_wallets_wrapped_signature_is_taken_apart_and_a_torn_one_is_not() {
    let parts = (Address::repeat_byte(1), Bytes::from(vec![2; 70]), Bytes::from(vec![3; 65]));
    let suffix = hex::decode("64926492".repeat(8)).unwrap();
    let whole = [parts.abi_encode_params(), suffix.clone()].concat();
    let (factory, calldata, signature) = parts;
    assert_eq!(Wrapped::read(&whole), Some(Wrapped { factory, calldata, signature }));
    assert!(!Wrapped::is(&whole[..whole.len() - 1]) && Wrapped::read(&whole[..whole.len() - 32]).is_none());
    let torn = [whole[..96].to_vec(), suffix].concat();
    assert!(Wrapped::is(&torn) && Wrapped::read(&torn).is_none());
}

#[test]
fn the_scheme_is_the_one_that_the_witness_names() {
    let mut payload = by_permit2();
    assert_eq!(read(&payload).unwrap().authorization.scheme(), UPTO);
    payload["permit2Authorization"]["witness"]["facilitator"] = json!(null);
    assert_eq!(read(&payload).unwrap().authorization.scheme(), EXACT);
    assert_eq!(read(&by_3009()).unwrap().authorization.scheme(), EXACT);
}

#[test]
fn a_nonce_of_permit2_is_the_same_number_in_decimal_and_in_hex() {
    let mut payload = by_permit2();
    let with = |payload: &mut Value, nonce: &str| {
        payload["permit2Authorization"]["nonce"] = json!(nonce);
        read(payload)
    };
    assert_eq!(with(&mut payload, "255"), with(&mut payload, "0xff"));
    assert!(with(&mut payload, "255").is_some());
    for wrong in ["0x", "0xg", "ff", "", "-1", &format!("0x1{}", "0".repeat(64))] {
        assert!(with(&mut payload, wrong).is_none(), "{wrong}");
    }
}

/// Each text member of the payloads, with texts that it must not be.
#[test]
fn what_is_not_in_its_form_is_refused_and_members_that_nobody_knows_are_ignored() {
    let decimal: &[&str] = &["", "01", "+1", "-1", " 1", "1.0", "1e3", "0x1", "one", "\u{0661}"];
    let address: &[&str] = &["", "0x", "0x12", "70997970C51812dc3A010C7d01b50e0d17dc79C8"];
    let word: &[&str] = &["", "0x", "0x01", "7"];
    let signature: &[&str] = &["", "0x", "0x1", "0xgg", "ab"];
    let members = [
        (by_3009(), "/signature", signature),
        (by_3009(), "/authorization/from", address),
        (by_3009(), "/authorization/to", address),
        (by_3009(), "/authorization/value", decimal),
        (by_3009(), "/authorization/validAfter", decimal),
        (by_3009(), "/authorization/validBefore", decimal),
        (by_3009(), "/authorization/nonce", word),
        (by_permit2(), "/permit2Authorization/from", address),
        (by_permit2(), "/permit2Authorization/spender", address),
        (by_permit2(), "/permit2Authorization/permitted/token", address),
        (by_permit2(), "/permit2Authorization/permitted/amount", decimal),
        (by_permit2(), "/permit2Authorization/deadline", decimal),
        (by_permit2(), "/permit2Authorization/witness/to", address),
        (by_permit2(), "/permit2Authorization/witness/facilitator", address),
        (by_permit2(), "/permit2Authorization/witness/validAfter", decimal),
    ];
    for (payload, pointer, wrong) in members {
        assert!(read(&payload).is_some());
        let set = |value: Value| {
            let mut payload = payload.clone();
            *payload.pointer_mut(pointer).unwrap() = value;
            read(&payload)
        };
        for text in wrong {
            assert!(set(json!(text)).is_none(), "{pointer} {text:?}");
        }
        for value in [json!(1), json!(true), json!([]), json!({})] {
            assert!(set(value).is_none(), "{pointer}");
        }
    }
    let mut more = by_3009();
    more["authorization"]["memo"] = json!("unsigned");
    assert_eq!(read(&more), read(&by_3009()));
}

#[test]
fn numbers_have_their_range() {
    let with = |member: &str, value: String| {
        let mut payload = by_3009();
        payload["authorization"][member] = json!(value);
        read(&payload)
    };
    assert!(with("value", u128::MAX.to_string()).is_some());
    assert!(with("value", format!("{}0", u128::MAX)).is_none());
    assert!(with("validBefore", u64::MAX.to_string()).is_some());
    assert!(with("validBefore", (u128::from(u64::MAX) + 1).to_string()).is_none());
    assert!(text::read_decimal(&U256::MAX.to_string()).is_some());
    assert!(
        text::read_decimal("115792089237316195423570985008687907853269984665640564039457584007913129639936")
            .is_none()
    );
}

#[test]
fn a_payload_has_one_authorization_and_is_an_object() {
    let (mut both, permit2) = (by_3009(), by_permit2());
    both["permit2Authorization"] = permit2["permit2Authorization"].clone();
    assert!(read(&both).is_none());
    both["permit2Authorization"] = json!(null);
    assert!(read(&both).is_some());
    both["authorization"] = json!(null);
    assert!(read(&both).is_none());
    for text in ["null", "[]", "\"x\"", "{}", "", "{\"signature\":\"0x01\"}"] {
        assert!(Signed::read(text).is_err(), "{text}");
    }
    let twice = by_3009().to_string().replacen('{', "{\"signature\":\"0x02\",", 1);
    assert!(Signed::read(&twice).is_err());
}

#[test]
fn a_signature_may_be_long_and_not_longer() {
    let with = |bytes: usize| {
        let mut payload = by_3009();
        payload["signature"] = json!(format!("0x{}", "ab".repeat(bytes)));
        read(&payload).is_some()
    };
    assert!(with(1) && with(text::MAX_SIGNATURE));
    assert!(!with(text::MAX_SIGNATURE + 1));
}

#[test]
fn a_chain_has_one_spelling() {
    let of = |text: &str| chain_id(&text.parse().unwrap());
    assert_eq!(of("eip155:84532"), Some(84532));
    for other in ["eip155:084532", "eip155:0", "eip155:+1", "eip155:base", "solana:84532"] {
        assert_eq!(of(other), None, "{other}");
    }
}

prop_compose! {
    fn any_address()(bytes in any::<[u8; 20]>()) -> Address { Address::from(bytes) }
}

fn any_authorization() -> impl Strategy<Value = Authorization> {
    let times = (any::<u64>(), any::<u64>());
    let addresses = (any_address(), any_address(), any_address(), any_address());
    let facilitator = prop::option::of(any_address());
    (any::<bool>(), addresses, any::<u128>(), times, any::<[u8; 32]>(), facilitator).prop_map(
        |(by_3009, (from, to, token, spender), amount, (valid_after, end), nonce, facilitator)| {
            if by_3009 {
                let (value, nonce) = (Amount(amount), B256::from(nonce));
                Authorization::Eip3009(Transfer { from, to, value, valid_after, valid_before: end, nonce })
            } else {
                let permitted = Permitted { token, amount: Amount(amount) };
                let witness = Witness { to, facilitator, valid_after };
                let nonce = U256::from_be_bytes(nonce);
                Authorization::Permit2(Permit { from, permitted, spender, nonce, deadline: end, witness })
            }
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_it_was(authorization in any_authorization(), signature in prop::collection::vec(any::<u8>(), 1..200)) {
        let signed = Signed { signature: Bytes::from(signature), authorization };
        let text = serde_json::to_string(&signed).unwrap();
        prop_assert!(Signed::read(&text).unwrap() == signed);
    }

    #[test]
    fn of_two_authorizations_that_differ_no_hash_is_the_same(a in any_authorization(), b in any_authorization()) {
        let token = vectors().golden[0].token.domain();
        prop_assert_eq!(a == b, a.payment_id(&token) == b.payment_id(&token));
    }

    #[test]
    fn reading_never_panics(text in ".{0,200}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Signed::read(&text);
        let _ = KeySignature::read(&bytes);
        let _ = Wrapped::read(&[&bytes[..], &hex::decode("64926492".repeat(8)).unwrap()].concat());
    }

    #[test]
    fn an_address_is_the_same_in_any_letter_case(address in any_address(), flips in any::<u64>()) {
        let text: String = format!("{address:#x}").char_indices().map(|(at, c)| {
            if at > 1 && flips >> (at % 64) & 1 == 1 { c.to_ascii_uppercase() } else { c }
        }).collect();
        prop_assert_eq!(text::read_address(&text), Some(address));
    }
}
