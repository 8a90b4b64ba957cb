//! Payments made by hand: a header as JSON text and back, and terms that no honest client would sign.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use farthing::farthing_ledger::terms::{Terms, payment_id};
use farthing::native::wire::Authorization;
use farthing::protocol::rail::SignedPayment;
use farthing::protocol::{SecretKey, Signature};

/// The JSON text inside a payment header's value.
pub fn open(header: &str) -> String {
    String::from_utf8(BASE64.decode(header).expect("base64")).expect("UTF-8")
}

/// The header value around some text.
pub fn seal(json: impl AsRef<[u8]>) -> String {
    BASE64.encode(json)
}

/// The signed bytes and the signature of a payment.
pub fn signed_part(payment: &SignedPayment) -> (Vec<u8>, Signature) {
    let part: Authorization = serde_json::from_str(payment.payload.get()).expect("a native payload");
    (BASE64.decode(part.authorization).expect("base64"), part.signature)
}

/// The terms that were signed.
pub fn terms(payment: &SignedPayment) -> Terms {
    Terms::decode(&signed_part(payment).0).expect("terms")
}

/// A payment with other terms, signed anew with `key`.
pub fn resign(payment: &SignedPayment, key: &SecretKey, change: impl FnOnce(&mut Terms)) -> SignedPayment {
    let mut terms = terms(payment);
    change(&mut terms);
    let bytes = terms.encode();
    let signature = key.sign(&bytes);
    with_part(payment, &bytes, signature)
}

/// A payment of these bytes and this signature, whether they fit or not.
pub fn with_part(payment: &SignedPayment, bytes: &[u8], signature: Signature) -> SignedPayment {
    let part = Authorization { authorization: BASE64.encode(bytes), signature };
    let payload = serde_json::value::to_raw_value(&part).expect("JSON");
    SignedPayment { id: payment_id(bytes), payload, ..payment.clone() }
}
