//! JSON, strictly: what two parsers could read differently is refused before anything is typed.
//!
//! [`check`] walks the text once and refuses duplicate member names, too much depth, too many members,
//! a byte order mark, lone surrogates and whatever follows the value. [`read`] checks, then parses.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};

use crate::fault::shown;
use crate::{Limits, WireError};

/// Longest text quoted from the input.
const QUOTE: usize = 64;

/// Whether `bytes` are one JSON value within `limits`. Their number is the caller's to limit.
///
/// # Errors
/// [`WireError::NotUtf8`], [`WireError::Json`], [`WireError::DuplicateKey`], [`WireError::TooDeep`] or
/// [`WireError::TooManyMembers`].
pub fn check(bytes: &[u8], limits: &Limits) -> Result<(), WireError> {
    check_text(text(bytes)?, limits)
}

/// Checks `bytes`, then reads them as the message `T`, which is a JSON object.
///
/// # Errors
/// As [`check`], and [`WireError::Member`] when a member is missing or of the wrong type.
pub fn read<T: DeserializeOwned>(bytes: &[u8], limits: &Limits) -> Result<T, WireError> {
    let text = text(bytes)?;
    check_text(text, limits)?;
    if !text.trim_start().starts_with('{') {
        // serde would take a message's members from an array, too.
        return Err(WireError::Json { message: "a JSON object is expected".into() });
    }
    serde_json::from_str(text).map_err(|error| typed(text, &error))
}

fn text(bytes: &[u8]) -> Result<&str, WireError> {
    let text = std::str::from_utf8(bytes).map_err(|_| WireError::NotUtf8)?;
    if text.starts_with('\u{feff}') {
        return Err(WireError::Json { message: "it begins with a byte order mark".into() });
    }
    Ok(text)
}

fn check_text(text: &str, limits: &Limits) -> Result<(), WireError> {
    let fault = Cell::new(None);
    let mut parser = serde_json::Deserializer::from_str(text);
    Walk { depth: 0, limits, fault: &fault }
        .deserialize(&mut parser)
        .and_then(|()| parser.end())
        .map_err(|error| fault.take().unwrap_or_else(|| untyped(&error)))
}

/// Visits a value and all values in it, and keeps none.
#[derive(Clone, Copy)]
struct Walk<'a> {
    depth: usize,
    limits: &'a Limits,
    /// serde's errors are texts; ours is left here.
    fault: &'a Cell<Option<WireError>>,
}

impl Walk<'_> {
    fn refuse<E: Error>(&self, fault: WireError) -> E {
        self.fault.set(Some(fault));
        E::custom("refused")
    }

    fn enter<E: Error>(&self) -> Result<Self, E> {
        let depth = self.depth + 1;
        if depth > self.limits.json_depth {
            return Err(self.refuse(WireError::TooDeep { limit: self.limits.json_depth }));
        }
        Ok(Self { depth, ..*self })
    }

    fn one_more<E: Error>(&self, members: &mut usize) -> Result<(), E> {
        *members += 1;
        if *members > self.limits.json_members {
            return Err(self.refuse(WireError::TooManyMembers { limit: self.limits.json_members }));
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let inner = self.enter()?;
        let mut members = 0;
        while elements.next_element_seed(inner)?.is_some() {
            self.one_more(&mut members)?;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let inner = self.enter()?;
        let mut members = 0;
        let mut names = Names::default();
        while let Some(name) = entries.next_key_seed(Name)? {
            self.one_more(&mut members)?;
            if name.starts_with("$serde_json::") {
                // The parser gives these names a meaning of its own.
                return Err(self.refuse(WireError::Json { message: "a member's name is reserved".into() }));
            }
            if let Err(name) = names.insert(name) {
                return Err(self.refuse(WireError::DuplicateKey { key: shown(&name, QUOTE) }));
            }
            entries.next_value_seed(inner)?;
        }
        Ok(())
    }
}

/// A member's name, borrowed from the text unless it holds escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

/// The names of one object: the first few compared one by one, the rest kept sorted.
#[derive(Default)]
struct Names<'de> {
    first: [Cow<'de, str>; 12],
    count: usize,
    rest: BTreeSet<Cow<'de, str>>,
}

impl<'de> Names<'de> {
    /// Takes a new name; gives back one that was there.
    fn insert(&mut self, name: Cow<'de, str>) -> Result<(), Cow<'de, str>> {
        if self.first[..self.count].contains(&name) {
            return Err(name);
        }
        if let Some(free) = self.first.get_mut(self.count) {
            *free = name;
            self.count += 1;
        } else if self.rest.contains(&name) {
            return Err(name);
        } else {
            self.rest.insert(name);
        }
        Ok(())
    }
}

/// The parser's message, without its position.
fn message(error: &serde_json::Error) -> String {
    let mut message = error.to_string();
    if let Some(end) = message.find(" at line ") {
        message.truncate(end);
    }
    shown(&message, 200)
}

pub(crate) fn untyped(error: &serde_json::Error) -> WireError {
    WireError::Json {
        message: format!("{} (line {}, column {})", message(error), error.line(), error.column()),
    }
}

/// Names the member at which typed parsing of the (checked) `text` stopped.
pub(crate) fn typed(text: &str, error: &serde_json::Error) -> WireError {
    let message = message(error);
    let mut path = path_at(text, error.line(), error.column());
    let mut inside = |name: &str| {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(name);
    };
    let missing = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`'));
    // What is kept verbatim is parsed by itself, and has named its own member already.
    let verbatim = message.strip_prefix('`').and_then(|rest| rest.split_once("`: "));
    let why = match (missing, verbatim) {
        (Some(name), _) => {
            inside(name);
            "it is missing"
        }
        (None, Some((name, why))) => {
            inside(name);
            why
        }
        (None, None) => &message,
    };
    if path.is_empty() {
        return WireError::Json { message };
    }
    WireError::Member { path: shown(&path, QUOTE), why: why.to_owned() }
}

/// Where in `text`, which is valid JSON, the parser was when it had consumed `column` bytes of `line`.
fn path_at(text: &str, line: usize, column: usize) -> String {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let consumed = start.saturating_add(column).min(text.len());

    enum Step<'a> {
        Member(Option<&'a str>),
        Element(usize),
    }
    let mut steps: Vec<Step<'_>> = Vec::new();
    let mut at = 0;
    while at < consumed {
        match text.as_bytes()[at] {
            b'{' => steps.push(Step::Member(None)),
            b'[' => steps.push(Step::Element(0)),
            b'}' | b']' => drop(steps.pop()),
            b',' => match steps.last_mut() {
                Some(Step::Member(name)) => *name = None,
                Some(Step::Element(index)) => *index += 1,
                None => {}
            },
            b'"' => {
                let end = string_end(text, at);
                if let Some(Step::Member(name @ None)) = steps.last_mut() {
                    *name = text.get(at + 1..end);
                }
                at = end;
            }
            _ => {}
        }
        at += 1;
    }

    let mut path = String::new();
    for step in steps {
        match step {
            Step::Member(Some(name)) if path.is_empty() => path.push_str(name),
            Step::Member(Some(name)) => path.extend([".", name]),
            Step::Member(None) => {}
            Step::Element(index) => path.push_str(&format!("[{index}]")),
        }
    }
    path
}

/// Index of the quote that ends the string which begins at `open`.
fn string_end(text: &str, open: usize) -> usize {
    let mut escaped = false;
    for (offset, byte) in text.bytes().enumerate().skip(open + 1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return offset,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(json: &str) -> &'static str {
        check(json.as_bytes(), &Limits::default()).map_or_else(|fault| fault.class(), |()| "ok")
    }

    #[test]
    fn a_name_given_twice_is_refused_at_every_level_and_in_every_spelling() {
        assert_eq!(class(r#"{"a":1,"b":{"a":1},"c":[{"a":1},{"a":1}]}"#), "ok");
        assert_eq!(class(r#"{"a":1,"a":1}"#), "duplicate-key");
        assert_eq!(class(r#"{"a":1,"\u0061":2}"#), "duplicate-key");
        assert_eq!(class(r#"[{"x":{"a":1,"b":2,"a":3}}]"#), "duplicate-key");
        let many: Vec<String> = (0..200).map(|n| format!("\"k{n}\":{n}")).collect();
        assert_eq!(class(&format!("{{{}}}", many.join(","))), "ok");
        for again in [0, 11, 12, 13, 199] {
            assert_eq!(class(&format!("{{{},\"k{again}\":0}}", many.join(","))), "duplicate-key", "{again}");
        }
    }

    #[test]
    fn what_is_quoted_of_a_name_is_short_and_printable() {
        let name = format!("\\r\\n\\u001b{}", "x".repeat(5000));
        let fault =
            check(format!(r#"{{"{name}":1,"{name}":2}}"#).as_bytes(), &Limits::default()).unwrap_err();
        let said = fault.to_string();
        assert!(said.len() < 150 && said.chars().all(|c| c == ' ' || c.is_ascii_graphic()), "{said}");
    }

    #[test]
    fn limits_hold_exactly() {
        let limits = Limits { json_depth: 3, json_members: 2, ..Limits::default() };
        let refused = |json: &str| check(json.as_bytes(), &limits).map_err(|fault| fault.class());
        assert_eq!(refused("[[[1,2]]]"), Ok(()));
        assert_eq!(refused(r#"{"a":{"b":{"c":1}}}"#), Ok(()));
        assert_eq!(refused("[[[[]]]]"), Err("too-deep"));
        assert_eq!(refused(r#"{"a":[{"b":{}}]}"#), Err("too-deep"));
        assert_eq!(refused("[1,2,3]"), Err("too-many-members"));
        assert_eq!(refused(r#"{"a":1,"b":2,"c":3}"#), Err("too-many-members"));
    }

    #[test]
    fn what_is_not_strictly_json_is_refused() {
        for json in [
            "",
            " ",
            "{",
            "{}{}",
            "{} x",
            "NaN",
            "[NaN]",
            "[Infinity]",
            "[01]",
            "[-01]",
            "[+1]",
            "[.5]",
            "[1.]",
            "[1,]",
            "{\"a\":1,}",
            "{'a':1}",
            "{a:1}",
            "[0x1]",
            "[\"\\ud800\"]",
            "[\"\\udc00\"]",
            "{\"\\ud800\":1}",
            "[\"\n\"]",
            "\u{feff}{}",
            "[1e999]",
            "/**/{}",
            "{\"$serde_json::private::RawValue\":\"[1]\"}",
        ] {
            assert_eq!(class(json), "json", "{json:?}");
        }
        for json in ["{}", " {} \n", "0", "[\"\\ud83d\\ude00\"]", "[1e3,-0,1.5]", "null"] {
            assert_eq!(class(json), "ok", "{json:?}");
        }
        assert_eq!(check(b"\"\xff\"", &Limits::default()), Err(WireError::NotUtf8));
    }

    #[test]
    fn a_type_error_names_its_member() {
        use crate::v2::PaymentRequired;
        for (json, path) in [
            (r#"{"x402Version":2}"#, "resource"),
            (r#"{"x402Version":2,"resource":{"description":"d"},"accepts":[]}"#, "resource.url"),
            (r#"{"x402Version":2,"resource":{"url":5},"accepts":[]}"#, "resource.url"),
            (r#"{"x402Version":2,"resource":{"url":[]},"accepts":[]}"#, "resource.url"),
            (
                "{\"x402Version\":2,\n\"resource\":{\"url\":\"u\",\"tags\":[\"\\\"},\",7]},\"accepts\":[]}",
                "resource.tags[1]",
            ),
            (r#"{"x402Version":true,"resource":{"url":"u"},"accepts":[]}"#, "x402Version"),
        ] {
            let fault = read::<PaymentRequired>(json.as_bytes(), &Limits::default()).unwrap_err();
            assert_eq!(fault.field(), Some(path), "{json}: {fault}");
        }
        assert!(read::<PaymentRequired>(br#"[2,null,{"url":"u"},[]]"#, &Limits::default()).is_err());
        let good = br#"{"x402Version":2,"resource":{"url":"u"},"accepts":[]}"#;
        assert_eq!(read::<PaymentRequired>(good, &Limits::default()).unwrap().resource.url, "u");
    }
}
