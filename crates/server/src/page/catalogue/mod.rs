//! What people are told, in every language that is spoken here: one table for all formats.
//!
//! A text is an array of one string for each language, so that none can be missing. Words in braces, such as
//! `{price}`, are filled in.

mod page;
mod problems;

pub(super) use page::PAGE;
use problems::PROBLEMS;

/// A language that is spoken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    /// English.
    En,
    /// Chinese, traditional script, as in Taiwan.
    ZhTw,
    /// Chinese, simplified script.
    ZhCn,
    /// Japanese.
    Ja,
}

/// One text in all languages, in the order of [`Language`].
pub(super) type Text = [&'static str; 4];

impl Language {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::En, Self::ZhTw, Self::ZhCn, Self::Ja];

    /// Its tag (RFC 5646), as in `Content-Language`.
    pub(crate) const fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::ZhTw => "zh-TW",
            Self::ZhCn => "zh-CN",
            Self::Ja => "ja",
        }
    }

    pub(super) const fn of(self, text: &Text) -> &'static str {
        match self {
            Self::En => text[0],
            Self::ZhTw => text[1],
            Self::ZhCn => text[2],
            Self::Ja => text[3],
        }
    }

    /// What a problem means. `paid` tells those apart in which the money has moved. Empty for a code that is not in
    /// the table, which a test forbids.
    pub(crate) fn message(self, code: &str, paid: bool) -> &'static str {
        let find = |is_paid| PROBLEMS.iter().find(|(key, of_paid, _)| (*key, *of_paid) == (code, is_paid));
        let found = find(paid).or_else(|| find(false));
        found.map_or("", |(_, _, text)| self.of(text))
    }

    /// A text of the page; empty for a key that is not in the table, which a test forbids.
    pub(super) fn page(self, key: &str) -> &'static str {
        PAGE.iter().find(|(known, _)| *known == key).map_or("", |(_, text)| self.of(text))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Situations in which somebody else's answer is passed on, so that nothing is said.
    const PASSED_ON: [&str; 4] = ["admitted", "free", "turned-away", "within-quota"];

    /// The codes of problems in the table of answers.
    fn codes() -> BTreeSet<&'static str> {
        let source = include_str!("../../answer.rs");
        let rows = source.split("Row::new(").skip(1);
        let code = |row: &'static str| {
            let text = row.split('"').nth(1).unwrap();
            text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-').then_some(text)
        };
        rows.filter_map(code).filter(|code| !PASSED_ON.contains(code)).collect()
    }

    #[test]
    fn every_problem_has_a_message_in_every_language() {
        let codes = codes();
        assert!(codes.len() > 20 && codes.contains("payment-required"), "{codes:?}");
        for code in codes {
            for language in Language::ALL {
                assert!(
                    !language.message(code, false).is_empty(),
                    "{code} has no message: catalogue/problems.rs"
                );
            }
        }
    }

    #[test]
    fn no_text_is_empty_or_left_in_english_or_has_other_words_to_fill_in() {
        let words = |text: &str| -> BTreeSet<String> {
            text.split('{').skip(1).filter_map(|rest| rest.split('}').next()).map(str::to_owned).collect()
        };
        let problems = PROBLEMS.iter().map(|(code, _, text)| (*code, text));
        for (key, text) in problems.chain(PAGE.iter().map(|(key, text)| (*key, text))) {
            assert!(text.iter().all(|text| !text.trim().is_empty()), "{key}");
            for other in &text[1..] {
                assert!(!other.is_ascii(), "{key} is not translated: {other}");
                assert_eq!(words(other), words(text[0]), "{key}: {other}");
            }
        }
    }

    #[test]
    fn every_key_is_there_once() {
        let mut keys = BTreeSet::new();
        for (key, _) in PAGE {
            assert!(keys.insert(*key), "{key}");
        }
        let mut codes = BTreeSet::new();
        for (code, paid, _) in PROBLEMS {
            assert!(codes.insert((*code, *paid)), "{code}");
        }
    }
}
