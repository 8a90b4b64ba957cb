//! An x402 message, read strictly from whatever form it was pasted in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use farthing::protocol::header::{self, Decoded};
use farthing::protocol::{Limits, WireError};

use crate::style::ascii_json;

/// A message and the JSON that it was.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) decoded: Decoded,
    json: String,
}

impl Message {
    /// Its JSON as it came, in ASCII.
    pub(crate) fn ascii(&self) -> String {
        ascii_json(self.json.trim())
    }
}

/// Reads `Name: value`, a value, or JSON.
///
/// # Errors
/// A sentence about what is wrong with it.
pub(crate) fn read(text: &str, limits: &Limits) -> Result<Message, String> {
    let text = unquoted(text.trim());
    if text.is_empty() {
        return Err("there is nothing to decode".into());
    }
    if text.starts_with(['{', '[']) {
        return read_json(text.as_bytes(), limits);
    }
    let (decoded, value) = match text.split_once(':') {
        None => (header::decode_any(text.as_bytes(), limits), text),
        Some((name, value)) => {
            let value = unquoted(value.trim());
            let decoded = named(name.trim(), value, limits).ok_or_else(|| {
                let names = NAMES.map(str::to_ascii_uppercase).join(", ");
                format!("\"{}\" is not a header of x402, which are {names}", shortened(name))
            })?;
            (decoded, value)
        }
    };
    let decoded = decoded.map_err(|error| format!("the value {}", said(&error)))?;
    // It was decoded before: neither of these can fail.
    let json = STANDARD.decode(value).map_err(|error| error.to_string())?;
    let json = String::from_utf8(json).map_err(|error| error.to_string())?;
    Ok(Message { decoded, json })
}

/// Every header that carries a message.
const NAMES: [&str; 5] = [
    header::PAYMENT_REQUIRED,
    header::PAYMENT_SIGNATURE,
    header::PAYMENT_RESPONSE,
    header::X_PAYMENT,
    header::X_PAYMENT_RESPONSE,
];

/// Decodes what the header of this name carries; `None` for a header that is none of x402's.
fn named(name: &str, value: &str, limits: &Limits) -> Option<Result<Decoded, WireError>> {
    let value = value.as_bytes();
    Some(match name.to_ascii_lowercase().as_str() {
        header::PAYMENT_REQUIRED => {
            header::decode_payment_required(value, limits).map(Decoded::PaymentRequired)
        }
        header::PAYMENT_SIGNATURE => header::decode_payment(value, limits).map(Decoded::Payment),
        header::PAYMENT_RESPONSE => header::decode_settlement(value, limits).map(Decoded::Settlement),
        header::X_PAYMENT => header::decode_payment_v1(value, limits).map(Decoded::PaymentV1),
        header::X_PAYMENT_RESPONSE => header::decode_settlement_v1(value, limits).map(Decoded::SettlementV1),
        _ => return None,
    })
}

/// Reads the JSON of a message.
///
/// # Errors
/// A sentence about what is wrong with it.
pub(crate) fn read_json(json: &[u8], limits: &Limits) -> Result<Message, String> {
    let decoded = header::read_any(json, limits).map_err(|error| format!("the JSON {}", said(&error)))?;
    let json = String::from_utf8(json.to_vec()).map_err(|error| error.to_string())?;
    Ok(Message { decoded, json })
}

/// The fault as the end of a sentence that begins with what was read.
fn said(error: &WireError) -> String {
    let text = error.to_string();
    let is_predicate = ["is ", "has ", "holds "].iter().any(|verb| text.starts_with(verb));
    if is_predicate { text } else { format!("cannot be read: {text}") }
}

fn unquoted(text: &str) -> &str {
    for quote in ['"', '\''] {
        let inner = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        if let Some(inner) = inner {
            return inner.trim();
        }
    }
    text
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= 40 {
        text.to_owned()
    } else {
        text.chars().take(40).collect::<String>() + "..."
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: &str =
        r#"{"x402Version":2,"resource":{"url":"https://a.example/"},"accepts":[{"new":"ü"}]}"#;

    fn is_terms(text: &str) -> bool {
        let message = read(text, &Limits::default());
        matches!(message, Ok(Message { decoded: Decoded::PaymentRequired(_), .. }))
    }

    #[test]
    fn a_header_is_read_in_every_form_in_which_people_paste_it() {
        let value = STANDARD.encode(TERMS);
        for text in [
            value.clone(),
            format!("  {value}\r\n"),
            format!("\"{value}\""),
            format!("PAYMENT-REQUIRED: {value}"),
            format!("payment-required:{value}\n"),
            format!("'Payment-Required: {value}'"),
            TERMS.to_owned(),
            format!("\n {TERMS} \n"),
        ] {
            assert!(is_terms(&text), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_message_is_refused_with_a_reason() {
        let value = STANDARD.encode(TERMS);
        for (text, why) in [
            (String::new(), "nothing"),
            ("hello!".into(), "base64"),
            (format!("Authorization: {value}"), "is not a header of x402"),
            (format!("{value},{value}"), "comma"),
            (value.trim_end_matches('=').to_owned() + "=", "base64"),
            ("{}".into(), "no x402 message"),
            ("[1]".into(), "object"),
            (STANDARD.encode("{\"x402Version\":2,\"x402Version\":2}"), "twice"),
        ] {
            let error = read(&text, &Limits::default()).map(|_| ()).unwrap_err();
            assert!(error.contains(why), "{text:?}: {error}");
        }
    }

    #[test]
    fn json_comes_out_as_it_came_in() {
        let message = read(&STANDARD.encode(TERMS), &Limits::default()).unwrap();
        assert_eq!(message.ascii(), TERMS.replace('ü', "\\u00fc"));
    }
}
