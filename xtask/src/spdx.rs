//! SPDX licence expressions: can the user of a package choose only licences that are accepted?
//!
//! Grammar (SPDX 2.3, annex D): `OR` binds weaker than `AND`, `AND` weaker than `WITH`. The old spelling `MIT/Apache-2.0`
//! of crates.io means `OR`.

use std::iter::Peekable;

/// Whether the expression can be met with accepted licences alone. `accepted` is asked about `ID` or
/// `ID WITH EXCEPTION`.
///
/// # Errors
/// When the text is no expression.
pub(crate) fn satisfied(expression: &str, accepted: &dyn Fn(&str) -> bool) -> Result<bool, String> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let verdict = any(&mut words, accepted).and_then(|verdict| match words.next() {
        None => Ok(verdict),
        Some(word) => Err(format!("unexpected `{word}`")),
    });
    verdict.map_err(|error| format!("`{expression}` is no licence expression: {error}"))
}

type Words<'a> = Peekable<std::str::SplitWhitespace<'a>>;

fn any(words: &mut Words<'_>, accepted: &dyn Fn(&str) -> bool) -> Result<bool, String> {
    let mut verdict = all(words, accepted)?;
    while words.next_if_eq(&"OR").is_some() {
        verdict |= all(words, accepted)?;
    }
    Ok(verdict)
}

fn all(words: &mut Words<'_>, accepted: &dyn Fn(&str) -> bool) -> Result<bool, String> {
    let mut verdict = one(words, accepted)?;
    while words.next_if_eq(&"AND").is_some() {
        verdict &= one(words, accepted)?;
    }
    Ok(verdict)
}

fn one(words: &mut Words<'_>, accepted: &dyn Fn(&str) -> bool) -> Result<bool, String> {
    if words.next_if_eq(&"(").is_some() {
        let verdict = any(words, accepted)?;
        return words.next_if_eq(&")").map(|_| verdict).ok_or_else(|| "`(` is not closed".to_owned());
    }
    let licence = name(words)?;
    if words.next_if_eq(&"WITH").is_some() {
        return Ok(accepted(&format!("{licence} WITH {}", name(words)?)));
    }
    Ok(accepted(licence))
}

fn name<'a>(words: &mut Words<'a>) -> Result<&'a str, String> {
    match words.next() {
        Some(word) if !["(", ")", "AND", "OR", "WITH"].contains(&word) => Ok(word),
        Some(word) => Err(format!("a licence is missing before `{word}`")),
        None => Err("a licence is missing at the end".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::satisfied;

    fn verdict(expression: &str) -> Result<bool, String> {
        satisfied(expression, &|licence| ["A", "B", "C WITH X"].contains(&licence))
    }

    #[test]
    fn one_accepted_choice_is_enough_but_all_of_a_conjunction_are_needed() {
        for (expression, expected) in [
            ("A", true),
            ("N", false),
            ("A OR N", true),
            ("N OR A", true),
            ("N/A", true),
            ("A AND B", true),
            ("A AND N", false),
            ("N AND A", false),
        ] {
            assert_eq!(verdict(expression), Ok(expected), "{expression}");
        }
    }

    #[test]
    fn and_binds_stronger_than_or_and_parentheses_stronger_than_both() {
        assert_eq!(verdict("A OR N AND N"), Ok(true));
        assert_eq!(verdict("(A OR N) AND N"), Ok(false));
        assert_eq!(verdict("(N OR (A AND B)) AND B"), Ok(true));
    }

    #[test]
    fn an_exception_is_part_of_the_licence_it_modifies() {
        assert_eq!(verdict("C WITH X"), Ok(true));
        assert_eq!(verdict("C"), Ok(false));
        assert_eq!(verdict("A WITH X"), Ok(false));
    }

    #[test]
    fn what_is_no_expression_is_refused_and_not_guessed() {
        for text in ["", "A B", "A OR", "OR A", "(A", "A)", "A WITH", "A AND OR B"] {
            assert!(verdict(text).is_err(), "{text}");
        }
        assert_eq!(verdict(" ( A ) "), Ok(true));
    }
}
