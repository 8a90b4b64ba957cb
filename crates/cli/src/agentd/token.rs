//! The token: whoever has it can spend the budget.

use std::io::Write;
use std::path::Path;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::style::safe;
use crate::{Failure, wallet};

/// Characters of the shortest token that is used from a file.
const SHORTEST: usize = 32;

/// A token. It has no `Debug`.
pub(super) struct Token(Zeroizing<String>);

impl Token {
    /// A new one, which replaces the one in the file at `path`.
    pub(super) fn drawn(path: &Path) -> Result<Self, Failure> {
        let cannot = |error: &dyn std::fmt::Display| {
            Failure::bad_input(format!("{}: {error}", safe(&path.display().to_string())))
        };
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(bytes.as_mut()).map_err(Failure::unsound)?;
        let mut text = Zeroizing::new(String::with_capacity(64));
        for byte in bytes.iter() {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
            }
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        // Temporary files have mode 0600 from their first moment.
        let file = tempfile::NamedTempFile::new_in(parent.unwrap_or(Path::new(".")));
        let mut file = file.map_err(|error| cannot(&error))?;
        file.write_all(text.as_bytes()).map_err(|error| cannot(&error))?;
        file.write_all(b"\n").map_err(|error| cannot(&error))?;
        file.persist(path).map_err(|error| cannot(&error.error))?;
        Ok(Self(text))
    }

    /// The one in the file at `path`, which only its owner can read; drawn if there is no file.
    pub(super) fn kept(path: &Path) -> Result<Self, Failure> {
        if !path.exists() {
            return Self::drawn(path);
        }
        let text = wallet::private(path)?;
        let text = Zeroizing::new(text.trim().to_owned());
        if text.len() < SHORTEST || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let shown = safe(&path.display().to_string());
            let why = format!("{shown}: a token is {SHORTEST} or more visible ASCII characters");
            return Err(Failure::bad_input(why));
        }
        Ok(Self(text))
    }

    /// Whether `given` is this token, in a time that does not tell how far it is.
    pub(super) fn is(&self, given: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(given).into()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_token_is_drawn_into_a_private_file_and_opens_for_itself_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let token = Token::kept(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(text.trim().len() == 64 && token.is(text.trim().as_bytes()));
        for wrong in ["", "0", &text[..63], &format!("{}0", &text[..63]), &"0".repeat(64)] {
            assert!(wrong == text.trim() || !token.is(wrong.as_bytes()), "{wrong}");
        }
        // What is there is kept, unless a new one is drawn.
        assert!(Token::kept(&path).unwrap().is(text.trim().as_bytes()));
        assert!(!Token::drawn(&path).unwrap().is(text.trim().as_bytes()));
    }

    #[test]
    fn a_token_that_is_short_or_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let kept = |text: &str, mode| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            Token::kept(&path).map(|_| ()).map_err(|failure| failure.status)
        };
        let long = "x".repeat(32);
        assert_eq!(kept(&long, 0o600), Ok(()));
        assert_eq!(kept(&long, 0o644), Err(1));
        assert_eq!(kept(&long[1..], 0o600), Err(2));
        assert_eq!(kept(&format!("{long} {long}"), 0o600), Err(2));
    }
}
