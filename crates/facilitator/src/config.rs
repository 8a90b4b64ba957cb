//! What stops a facilitator, or the client of one, from starting.

use thiserror::Error;

/// Fewest characters of a bearer token: with 22 of base64, 128 random bits fit.
#[cfg(any(feature = "http", feature = "remote"))]
pub(crate) const TOKEN_MIN: usize = 22;
/// Most characters of a bearer token.
#[cfg(any(feature = "http", feature = "remote"))]
pub(crate) const TOKEN_MAX: usize = 512;

/// Code of the problem by which the service says that a network's answer was not understood.
#[cfg(any(feature = "http", feature = "remote"))]
pub(crate) const NETWORK_MALFORMED: &str = "network-malformed";

/// A configuration that is refused at start. The operator is at fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// A facilitator without a rail can settle nothing.
    #[error("a facilitator needs at least one rail")]
    NoRails,
    /// Two rails claim the same kind, and a payment could go to either.
    #[error("two rails settle {scheme} on {network} (x402 version {version})")]
    KindTwice {
        /// `x402Version` of the kind.
        version: u64,
        /// Its scheme.
        scheme: String,
        /// Its network.
        network: String,
    },
    /// A kind of version 1 whose network has no name there.
    #[error("version 1 of x402 has no network called {network}")]
    NetworkName {
        /// As the rail calls it.
        network: String,
    },
    /// A setting is missing or outside what is allowed.
    #[error("`{setting}` {why}")]
    Setting {
        /// Its name, such as `url` or `token`.
        setting: &'static str,
        /// What is wrong with it; continues the sentence that the name begins, and never quotes a secret.
        why: String,
    },
}

impl ConfigError {
    #[cfg(any(feature = "http", feature = "remote"))]
    pub(crate) fn setting(setting: &'static str, why: impl Into<String>) -> Self {
        Self::Setting { setting, why: why.into() }
    }
}

/// Refuses what cannot be a bearer token (RFC 6750, section 2.1), or is too short to be a secret.
#[cfg(any(feature = "http", feature = "remote"))]
pub(crate) fn check_token(token: &str) -> Result<(), ConfigError> {
    if !(TOKEN_MIN..=TOKEN_MAX).contains(&token.len()) {
        return Err(ConfigError::setting(
            "token",
            format!("must have {TOKEN_MIN} to {TOKEN_MAX} characters, drawn at random"),
        ));
    }
    let body = token.trim_end_matches('=');
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    if body.is_empty() || !body.bytes().all(allowed) {
        return Err(ConfigError::setting(
            "token",
            "may only hold letters, digits and -._~+/, then = at the end",
        ));
    }
    Ok(())
}

#[cfg(all(test, any(feature = "http", feature = "remote")))]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_long_enough_and_fits_a_header() {
        assert_eq!(check_token("abcdefghijklmnopqrst0123456789-._~+/=="), Ok(()));
        for token in [
            "",
            "short",
            "=".repeat(40).as_str(),
            "with a space in the middle",
            "line\r\nbreak-line\r\nbreak",
        ] {
            let fault = check_token(token).unwrap_err();
            assert!(token.is_empty() || !fault.to_string().contains(token), "{fault}");
        }
        assert!(check_token(&"x".repeat(TOKEN_MAX + 1)).is_err());
        assert!(check_token(&"x".repeat(TOKEN_MAX)).is_ok());
    }
}
