//! Extension `payment-identifier` of x402: a name that a client gives to what it pays for, so that the same
//! name never pays for two things. `spec/extension-payment-identifier.md` has all of it.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use crate::layout::Writer;
use crate::rail::PaymentId;
use crate::v2::Extensions;
use crate::{WireError, digest};

/// The extension's name, in terms and payments.
pub const EXTENSION: &str = "payment-identifier";
/// Where the identifier stands in a payment.
pub const FIELD: &str = "extensions.payment-identifier.info.id";

const SHORTEST: usize = 16;
const LONGEST: usize = 128;

/// 16 to 128 letters, digits, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identifier(String);

impl Identifier {
    /// The identifier of a payment whose client has none of its own: the same each time that it is presented.
    #[must_use]
    pub fn of(payment: &PaymentId) -> Self {
        let layout = Writer::new("farthing/payment-identifier", 1).fixed(&payment.0).finish();
        Self(format!("pay_{}", hex::encode(&digest::sha256(&layout)[..16])))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Identifier {
    type Err = WireError;

    fn from_str(text: &str) -> Result<Self, WireError> {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if !(SHORTEST..=LONGEST).contains(&text.len()) || !text.bytes().all(known) {
            let why = format!("must be {SHORTEST} to {LONGEST} letters, digits, hyphens and underscores");
            return Err(WireError::Field { field: FIELD, why });
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The extension in terms.
#[must_use]
pub fn declaration(required: bool) -> Value {
    json!({
        "info": { "required": required },
        "schema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "required": { "type": "boolean" },
                "id": {
                    "type": "string",
                    "minLength": SHORTEST,
                    "maxLength": LONGEST,
                    "pattern": "^[a-zA-Z0-9_-]+$",
                },
            },
            "required": ["required"],
        },
    })
}

/// The identifier in a payment; `None` where there is none.
///
/// # Errors
/// [`WireError::Field`] for one that is there and is none.
pub fn read(extensions: &Extensions) -> Result<Option<Identifier>, WireError> {
    #[derive(Deserialize)]
    struct Said {
        #[serde(default)]
        info: Option<Info>,
    }
    #[derive(Deserialize)]
    struct Info {
        #[serde(default)]
        id: Option<Value>,
    }
    let Some(raw) = extensions.get(EXTENSION) else { return Ok(None) };
    let unreadable =
        || WireError::Field { field: FIELD, why: "stands in an extension that is no object".into() };
    if !raw.get().trim_start().starts_with('{') {
        return Err(unreadable());
    }
    let said: Said = serde_json::from_str(raw.get()).map_err(|_| unreadable())?;
    match said.info.and_then(|info| info.id) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id)) => id.parse().map(Some),
        Some(_) => Err(WireError::Field { field: FIELD, why: "must be a string".into() }),
    }
}

/// What a client sends for the extension as the server issued it: the same, with `id` in its `info`. `None`
/// where the server's is not the extension.
#[must_use]
pub fn answer(issued: &RawValue, id: &Identifier) -> Option<Box<RawValue>> {
    let mut members: Map<String, Value> = serde_json::from_str(issued.get()).ok()?;
    let info = members.get_mut("info")?.as_object_mut()?;
    if !info.get("required").is_some_and(Value::is_boolean) {
        return None;
    }
    info.insert("id".to_owned(), id.as_str().into());
    to_raw_value(&members).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extensions(value: &Value) -> Extensions {
        Extensions::from([(EXTENSION.to_owned(), to_raw_value(value).unwrap())])
    }

    #[test]
    fn an_identifier_is_read_from_where_its_client_put_it() {
        let id: Identifier = "pay_7d5d747be160e280504c099d984bcfe0".parse().unwrap();
        let issued = to_raw_value(&declaration(true)).unwrap();
        let sent = answer(&issued, &id).unwrap();
        let sent = Extensions::from([(EXTENSION.to_owned(), sent)]);
        assert_eq!(read(&sent), Ok(Some(id)));
        assert_eq!(
            serde_json::from_str::<Value>(sent[EXTENSION].get()).unwrap()["schema"],
            declaration(true)["schema"]
        );
        for none in [json!({}), declaration(true), json!({"info": null}), json!({"info": {"id": null}})] {
            assert_eq!(read(&extensions(&none)), Ok(None), "{none}");
        }
        assert_eq!(read(&Extensions::new()), Ok(None));
    }

    #[test]
    fn what_is_no_identifier_is_refused_with_its_place() {
        let of = |id: Value| read(&extensions(&json!({"info": {"required": true, "id": id}})));
        for good in ["a".repeat(16), "Z".repeat(128), "0123456789-_abcDEF".into()] {
            assert_eq!(of(json!(good)).unwrap().unwrap().as_str(), good);
        }
        for bad in [
            json!("a".repeat(15)),
            json!("a".repeat(129)),
            json!(""),
            json!("0123456789 abcdef"),
            json!("0123456789abcdef\n"),
            json!("0123456789abcdé_"),
            json!(1_234_567_890_123_456_u64),
            json!(["0123456789abcdef"]),
        ] {
            assert_eq!(of(bad.clone()).unwrap_err().field(), Some(FIELD), "{bad}");
        }
        for strange in [json!([]), json!("0123456789abcdef"), json!({"info": 7}), json!([{"info": {}}])] {
            assert!(read(&extensions(&strange)).is_err(), "{strange}");
        }
    }

    #[test]
    fn a_payment_without_an_identifier_of_its_own_always_gets_the_same_one() {
        let (one, two) = (Identifier::of(&PaymentId([1; 32])), Identifier::of(&PaymentId([2; 32])));
        assert_eq!(one, Identifier::of(&PaymentId([1; 32])));
        assert_ne!(one, two);
        assert_eq!(one.as_str().parse(), Ok(one.clone()));
        assert!(!one.as_str().contains("0101"));
        let no_extension = RawValue::from_string("{\"info\":{}}".into()).unwrap();
        assert!(answer(&no_extension, &one).is_none());
    }
}
