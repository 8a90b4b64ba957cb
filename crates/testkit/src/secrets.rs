//! Texts that give something away wherever they appear, and the search for them.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::forge;

/// What must not be read anywhere: what it is, and a text of it.
#[derive(Clone, Default)]
pub struct Secrets(Vec<(String, String)>);

impl Secrets {
    /// A text as it is.
    pub fn add(&mut self, what: &str, text: impl Into<String>) {
        let text = text.into();
        assert!(text.len() >= 8, "{what} is too short to be looked for");
        self.0.push((what.to_owned(), text));
    }

    /// A key, in the ways in which bytes are printed.
    pub fn add_key(&mut self, what: &str, bytes: &[u8; 32]) {
        let hex: String = bytes[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        let list: Vec<String> = bytes[..8].iter().map(ToString::to_string).collect();
        self.add(what, hex.to_uppercase());
        self.add(what, hex);
        self.add(what, list.join(", "));
        self.add(what, STANDARD.encode(&bytes[..30]));
    }

    /// A text, and what base64 makes of it wherever it begins.
    pub fn add_text(&mut self, what: &str, text: &str) {
        self.add(what, text);
        for before in 0..3 {
            let coded = STANDARD.encode([vec![0; before], text.as_bytes().to_vec()].concat());
            self.add(what, &coded[4..coded.len() - 4]);
        }
    }

    /// A payment header: in pieces, and the long strings of its signed part.
    pub fn add_payment(&mut self, header: &str) {
        for piece in header.as_bytes().chunks(96).filter(|piece| piece.len() == 96) {
            self.add("a piece of a payment header", String::from_utf8(piece.to_vec()).unwrap());
        }
        let payment: Value = serde_json::from_str(&forge::open(header)).unwrap();
        self.add_long("payment", &payment["payload"]);
    }

    /// Strings that are longer than a public key or an id.
    pub fn add_long(&mut self, what: &str, value: &Value) {
        match value {
            Value::String(text) if text.len() > 64 => {
                self.add(what, text);
                self.add(what, &text[text.len() / 2..text.len() / 2 + 32]);
            }
            Value::Array(items) => items.iter().for_each(|item| self.add_long(what, item)),
            Value::Object(members) => members.values().for_each(|member| self.add_long(what, member)),
            _ => {}
        }
    }

    /// How many texts are looked for.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The first of them that is in a text, and the line that it is in.
    pub fn find(&self, text: &str) -> Option<String> {
        self.0.iter().find_map(|(what, secret)| {
            let at = text.find(secret)?;
            let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
            let line: String = text[line..].chars().take(400).collect();
            Some(format!("{what} is in {line}"))
        })
    }

    /// Fails when one of them is in a text.
    #[track_caller]
    pub fn are_not_in(&self, place: &str, text: &str) {
        if let Some(found) = self.find(text) {
            panic!("{place}: {found}");
        }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.count())
    }
}
