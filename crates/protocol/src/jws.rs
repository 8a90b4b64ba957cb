//! JSON Web Signatures (RFC 7515) in compact form, with ed25519 (`alg` `EdDSA`, RFC 8037) only.
//!
//! There is no choice of algorithms that a sender could turn against a reader: whatever is not `EdDSA` is
//! refused, and the key comes from a [`did:key`](crate::did_key) in `kid` or from the reader, never from a
//! place that the header points to. The signature is judged by the [one predicate](crate::signature).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Value, json};
use thiserror::Error;

use crate::did_key::{self, DidKeyError};
use crate::fault::shown;
use crate::signature::{SignatureFault, verify};
use crate::{Limits, PublicKey, SecretKey, Signature, WireError, canonical};

/// The one algorithm.
pub const ALGORITHM: &str = "EdDSA";
/// Most bytes of a JWS that are read.
pub const MAX_BYTES: usize = 16 * 1024;

/// Signs `payload` with `key`, which its header names as a `did:key`. The same payload gives the same JWS.
#[must_use]
pub fn sign(payload: &[u8], key: &SecretKey) -> String {
    let header = canonical::canonical(&json!({ "alg": ALGORITHM, "kid": did_key::key_id(&key.public()) }));
    let mut text = URL_SAFE_NO_PAD.encode(header);
    text.push('.');
    URL_SAFE_NO_PAD.encode_string(payload, &mut text);
    let signature = key.sign(text.as_bytes());
    text.push('.');
    URL_SAFE_NO_PAD.encode_string(signature.0, &mut text);
    text
}

/// A JWS that was read. Nothing of it may be believed before [`verify`](Self::verify).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jws {
    /// Header and payload as they came, with the dot between them: what is signed.
    signed: String,
    kid: String,
    /// The key in the header, where there is one.
    embedded: Option<PublicKey>,
    payload: Vec<u8>,
    signature: Signature,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
    #[serde(default)]
    jwk: Option<Jwk>,
    #[serde(default)]
    crit: Option<Value>,
    #[serde(default)]
    b64: Option<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: String,
    x: String,
    #[serde(default)]
    d: Option<Value>,
}

/// Why a JWS proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum JwsError {
    /// Longer than [`MAX_BYTES`]; nothing was decoded.
    #[error("it has {0} bytes, which is more than is read")]
    TooLarge(usize),
    /// Not three parts joined by dots.
    #[error("it is no compact JWS, which has three parts joined by dots")]
    Parts,
    /// A part is not base64url in its one form.
    #[error("its {0} is not base64url (no padding, no white space)")]
    Base64(&'static str),
    /// The header is not the JSON that it should be.
    #[error("its header {0}")]
    Header(WireError),
    /// Signed with something else, or with nothing.
    #[error("its `alg` is \"{0}\", and only \"EdDSA\" is taken")]
    Algorithm(String),
    /// The header asks for an extension of JWS that is not known here.
    #[error("its header has `{0}`: it asks for an extension that is not known here")]
    Critical(&'static str),
    /// The key in the header is none for this algorithm.
    #[error("the `jwk` in its header is no public ed25519 key")]
    Jwk,
    /// The key in the header is not the one that `kid` names.
    #[error("its header names two different keys")]
    TwoKeys,
    /// `kid` does not say which key it is.
    #[error("its `kid` {0}")]
    KeyId(DidKeyError),
    /// It was signed with another key than the reader expects.
    #[error("it names another key than the one that is expected")]
    ForeignKey,
    /// The signature is refused.
    #[error("{0}")]
    Signature(SignatureFault),
}

impl Jws {
    /// Reads a JWS, and checks everything but its signature.
    ///
    /// # Errors
    /// [`JwsError`].
    pub fn read(text: &str) -> Result<Self, JwsError> {
        if text.len() > MAX_BYTES {
            return Err(JwsError::TooLarge(text.len()));
        }
        let mut parts = text.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(JwsError::Parts);
        };
        let bytes = |text: &str, what| URL_SAFE_NO_PAD.decode(text).map_err(move |_| JwsError::Base64(what));
        let signed = format!("{header}.{payload}");
        let header = bytes(header, "header")?;
        let (payload, signature) = (bytes(payload, "payload")?, bytes(signature, "signature")?);
        let header: Header = crate::json::read(&header, &Limits::default()).map_err(JwsError::Header)?;
        if header.alg != ALGORITHM {
            return Err(JwsError::Algorithm(shown(&header.alg, 32)));
        }
        for (name, there) in [("crit", header.crit.is_some()), ("b64", header.b64.is_some())] {
            if there {
                return Err(JwsError::Critical(name));
            }
        }
        let embedded = header.jwk.as_ref().map(|jwk| jwk.key().ok_or(JwsError::Jwk)).transpose()?;
        if let (Some(embedded), Ok(named)) = (embedded, did_key::read(&header.kid))
            && embedded != named
        {
            return Err(JwsError::TwoKeys);
        }
        let signature = signature.try_into().map_err(|_| JwsError::Signature(SignatureFault::Mismatch))?;
        Ok(Self { signed, kid: header.kid, embedded, payload, signature: Signature(signature) })
    }

    /// What the header calls the key; unbelieved.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The key that the header carries: in its `kid`, when that is a `did:key`, or else in its `jwk`.
    ///
    /// # Errors
    /// [`JwsError::KeyId`] when it carries none.
    pub fn key(&self) -> Result<PublicKey, JwsError> {
        match (did_key::read(&self.kid), self.embedded) {
            (Err(DidKeyError::Method), Some(embedded)) => Ok(embedded),
            (named, _) => named.map_err(JwsError::KeyId),
        }
    }

    /// The payload, when it is signed with `expected`. A `did:key` in the header must name that key; other
    /// names are the reader's to know.
    ///
    /// # Errors
    /// [`JwsError::ForeignKey`] and [`JwsError::Signature`].
    pub fn verify(&self, expected: &PublicKey) -> Result<&[u8], JwsError> {
        let names_another = match did_key::read(&self.kid) {
            Ok(named) => named != *expected,
            Err(DidKeyError::Method) => false,
            // A `did:key` that is no ed25519 key, or none at all.
            Err(_) => true,
        };
        if names_another || self.embedded.is_some_and(|embedded| embedded != *expected) {
            return Err(JwsError::ForeignKey);
        }
        verify(expected, self.signed.as_bytes(), &self.signature).map_err(JwsError::Signature)?;
        Ok(&self.payload)
    }

    /// The payload without any proof: for showing what somebody claims.
    #[must_use]
    pub fn unverified_payload(&self) -> &[u8] {
        &self.payload
    }
}

impl Jwk {
    fn key(&self) -> Option<PublicKey> {
        let fits = self.kty == "OKP" && self.crv == "Ed25519" && self.d.is_none();
        let bytes = URL_SAFE_NO_PAD.decode(&self.x).ok().filter(|_| fits)?;
        bytes.try_into().ok().map(PublicKey)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed([seed; 32])
    }

    /// Signed with `key(1)`, whatever the header says.
    fn with_header(header: &str) -> String {
        let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode("{}"));
        let signature = URL_SAFE_NO_PAD.encode(key(1).sign(text.as_bytes()).0);
        format!("{text}.{signature}")
    }

    fn header(change: impl FnOnce(&mut Value)) -> String {
        let mut header = json!({ "alg": "EdDSA", "kid": did_key::key_id(&key(1).public()) });
        change(&mut header);
        with_header(&header.to_string())
    }

    fn verdict(text: &str) -> Result<(), JwsError> {
        let jws = Jws::read(text)?;
        jws.verify(&jws.key()?).map(|_| ())
    }

    #[test]
    fn a_payload_survives_signing_and_verification() {
        let text = sign(b"{\"a\":1}", &key(1));
        let jws = Jws::read(&text).unwrap();
        assert_eq!(jws.key(), Ok(key(1).public()));
        assert_eq!(jws.verify(&key(1).public()), Ok(&b"{\"a\":1}"[..]));
        assert_eq!(jws.verify(&key(2).public()), Err(JwsError::ForeignKey));
        assert_eq!(sign(b"{\"a\":1}", &key(1)), text);
    }

    #[test]
    fn the_example_of_rfc_8037_verifies_once_its_header_names_the_key() {
        // Its header has no `kid`, so only its key and its deterministic signature can be compared.
        let seed = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
        let key = SecretKey::from_seed(seed.try_into().unwrap());
        let signed = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let expected =
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        assert_eq!(URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()).0), expected);
        assert!(matches!(Jws::read(&format!("{signed}.{expected}")), Err(JwsError::Header(_))));
    }

    #[test]
    fn no_other_algorithm_is_taken_whatever_it_is_signed_with() {
        assert_eq!(verdict(&header(|_| ())), Ok(()));
        for alg in ["none", "None", "NONE", "HS256", "ES256K", "RS256", "eddsa", "EdDSA ", ""] {
            assert_eq!(verdict(&header(|it| it["alg"] = alg.into())), Err(JwsError::Algorithm(alg.into())));
        }
        let unsigned = header(|it| it["alg"] = "none".into());
        let unsigned = unsigned.rsplit_once('.').unwrap().0.to_owned() + ".";
        assert_eq!(verdict(&unsigned), Err(JwsError::Algorithm("none".into())));
        // An empty signature under the right name is none either.
        let empty = header(|_| ()).rsplit_once('.').unwrap().0.to_owned() + ".";
        assert_eq!(verdict(&empty), Err(JwsError::Signature(SignatureFault::Mismatch)));
        for strange in [json!(null), json!(1), json!(["EdDSA"])] {
            assert!(matches!(verdict(&header(|it| it["alg"] = strange)), Err(JwsError::Header(_))));
        }
    }

    #[test]
    fn what_a_header_asks_for_besides_is_refused_and_what_it_merely_says_is_not() {
        for (name, value) in [("typ", json!("JWT")), ("cty", json!("json")), ("jku", json!("https://x"))] {
            assert_eq!(verdict(&header(|it| it[name] = value)), Ok(()), "{name}");
        }
        for value in [json!([]), json!(["b64"]), json!(["exp"]), json!("exp")] {
            assert_eq!(verdict(&header(|it| it["crit"] = value)), Err(JwsError::Critical("crit")));
        }
        assert_eq!(verdict(&header(|it| it["b64"] = false.into())), Err(JwsError::Critical("b64")));
    }

    #[test]
    fn a_key_in_the_header_must_be_the_one_that_it_names() {
        let jwk = |seed| {
            json!({"kty": "OKP", "crv": "Ed25519",
            "x": URL_SAFE_NO_PAD.encode(key(seed).public().0)})
        };
        assert_eq!(verdict(&header(|it| it["jwk"] = jwk(1))), Ok(()));
        assert_eq!(verdict(&header(|it| it["jwk"] = jwk(2))), Err(JwsError::TwoKeys));
        let mut secret = jwk(1);
        secret["d"] = "AAAA".into();
        let symmetric = json!({"kty": "oct", "crv": "Ed25519", "x": jwk(1)["x"]});
        for bad in [secret, symmetric] {
            assert_eq!(verdict(&header(|it| it["jwk"] = bad)), Err(JwsError::Jwk));
        }
    }

    #[test]
    fn a_key_that_is_somewhere_else_must_be_brought_by_the_reader() {
        let text = header(|it| it["kid"] = "did:web:shop.example#key-1".into());
        let jws = Jws::read(&text).unwrap();
        assert_eq!(jws.key(), Err(JwsError::KeyId(DidKeyError::Method)));
        assert_eq!(jws.verify(&key(1).public()), Ok(&b"{}"[..]));
        assert_eq!(jws.verify(&key(2).public()), Err(JwsError::Signature(SignatureFault::Mismatch)));
        let carried = header(|it| {
            it["kid"] = "did:web:shop.example#key-1".into();
            it["jwk"] = json!({"kty": "OKP", "crv": "Ed25519",
                "x": URL_SAFE_NO_PAD.encode(key(1).public().0)});
        });
        assert_eq!(verdict(&carried), Ok(()));
        for kid in ["did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme", "did:key:z0"] {
            let named = Jws::read(&header(|it| it["kid"] = kid.into())).unwrap();
            assert_eq!(named.verify(&key(1).public()), Err(JwsError::ForeignKey), "{kid}");
        }
        assert_eq!(Jws::read(&carried).unwrap().verify(&key(2).public()), Err(JwsError::ForeignKey));
    }

    #[test]
    fn one_signature_has_one_text() {
        let text = sign(b"{}", &key(1));
        assert_eq!(verdict(&text), Ok(()));
        let (head, signature) = text.rsplit_once('.').unwrap();
        // The last character carries four unused bits, which must be zero.
        let last = signature.chars().last().unwrap();
        let other = if last == 'g' { 'h' } else { char::from(last as u8 + 1) };
        let sloppy = format!("{head}.{}{other}", &signature[..signature.len() - 1]);
        for bad in
            [format!("{text}=="), format!("{text} "), format!("{text}\n"), sloppy, text.replace('.', ".\n")]
        {
            assert!(matches!(verdict(&bad), Err(JwsError::Base64(_))), "{bad:?}");
        }
        for bad in [head.to_owned(), format!("{text}."), format!("{text}.e30"), String::new()] {
            assert_eq!(verdict(&bad), Err(JwsError::Parts), "{bad:?}");
        }
        assert!(matches!(verdict(&"a".repeat(MAX_BYTES + 1)), Err(JwsError::TooLarge(_))));
        let twice = format!(
            "{{\"alg\":\"none\",\"alg\":\"EdDSA\",\"kid\":\"{}\"}}",
            did_key::key_id(&key(1).public())
        );
        assert!(matches!(
            verdict(&with_header(&twice)),
            Err(JwsError::Header(WireError::DuplicateKey { .. }))
        ));
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in ".*", header in "\\PC*") {
            let _ = (Jws::read(&text), did_key::read(&text));
            let _ = verdict(&with_header(&header));
        }
    }

    #[test]
    fn header_and_payload_are_both_signed() {
        let (one, two) = (sign(b"{\"a\":1}", &key(1)), sign(b"{\"a\":2}", &key(1)));
        let (one, two): (Vec<_>, Vec<_>) = (one.split('.').collect(), two.split('.').collect());
        let mixed = [one[0], two[1], one[2]].join(".");
        assert_eq!(verdict(&mixed), Err(JwsError::Signature(SignatureFault::Mismatch)));
        let renamed = sign(b"{\"a\":1}", &key(2));
        let renamed = [renamed.split('.').next().unwrap(), one[1], one[2]].join(".");
        assert_eq!(verdict(&renamed), Err(JwsError::Signature(SignatureFault::Mismatch)));
    }
}
