//! How the command ends without what was asked for: exit status, words, and what to do.

use std::path::Path;

use farthing::client::{ClientError, Record, ResumeError, Rule};
use farthing::protocol::Retry;
use farthing::protocol::rail::PaymentId;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::content::Broken;
use super::said;
use crate::args::pay::PayArgs;
use crate::style::{WIRE, paint, safe};
use crate::{Failure, told};

/// The answer has another status than 2xx, or the server ended it before it was complete.
pub(super) const STATUS: u8 = 1;
/// It could not be carried out as given.
const USAGE: u8 = 2;
/// By the policy or a budget.
pub(super) const REFUSED: u8 = 3;
/// By the server.
const PAYMENT_REFUSED: u8 = 4;
/// Another system's 402.
const NOT_PAYABLE: u8 = 5;
/// No answer, and nothing was paid.
const NO_ANSWER: u8 = 6;
/// The same payment again: `EX_TEMPFAIL` of sysexits.h.
const UNKNOWN: u8 = 75;

/// The end.
#[derive(Debug)]
pub(super) struct Ended {
    status: u8,
    why: String,
    /// For programs; `None` when they were told already.
    told: Option<Value>,
    /// The command that presents the payment again.
    resume: Option<String>,
}

impl Ended {
    fn new(status: u8, code: &str, why: impl std::fmt::Display) -> Self {
        let why = safe(&why.to_string());
        let told = Some(json!({ "code": code, "detail": why }));
        Self { status, why, told, resume: None }
    }

    /// What was asked makes no sense, or cannot be done. Nothing was paid.
    pub(super) fn usage(why: impl std::fmt::Display) -> Self {
        Self::new(USAGE, "bad-request", why)
    }

    /// The agent cannot be opened. Nothing was paid.
    pub(super) fn unopened(failure: Failure) -> Self {
        Self::new(USAGE, "not-opened", failure.why)
    }

    /// Something of this program's own failed before anything was sent.
    pub(super) fn failed(failure: Failure) -> Self {
        Self::new(USAGE, "internal", failure.why)
    }

    /// Something came, but not what was asked for; what was paid has been said.
    pub(super) fn status(status: StatusCode) -> Self {
        Self { told: None, ..Self::new(STATUS, "status", format!("the server answered {status}")) }
    }

    /// The server ended what it was paid for while it came, for this reason; what was paid has been said.
    pub(super) fn cut(why: &str) -> Self {
        Self { told: None, ..Self::new(STATUS, "cut", format!("the answer is not complete: {why}")) }
    }

    /// Of several offers none would be paid; the words are on standard output.
    pub(super) fn would_not_pay() -> Self {
        Self { status: REFUSED, why: String::new(), told: None, resume: None }
    }

    /// There is no answer. `resume` is the command that presents its payment again.
    pub(super) fn of(error: &ClientError, resume: Option<String>) -> Self {
        let status = match error {
            ClientError::Refused(_) => REFUSED,
            ClientError::PaymentRefused(_) => PAYMENT_REFUSED,
            ClientError::NotPayable(_) => NOT_PAYABLE,
            // The network says that nothing was taken and nothing can be.
            ClientError::Unknown(_) if error.retry() == Retry::New => NO_ANSWER,
            ClientError::Unknown(_) => UNKNOWN,
            ClientError::Network { .. } | ClientError::Broken { .. } => NO_ANSWER,
            _ => USAGE,
        };
        let mut why = safe(&error.to_string());
        if let ClientError::Refused(refused) = error
            && let Some(how) = how_here(&refused.rule)
        {
            why += &format!(" ({how})");
        }
        let resume = resume.filter(|_| status == UNKNOWN);
        Self { status, why, told: Some(told::error(error)), resume }
    }

    /// The content did not come whole, or could not be kept.
    pub(super) fn broken(broken: &Broken, payment: Option<PaymentId>, resume: Option<String>) -> Self {
        let (code, why) = match broken {
            Broken::Answer(error) => (told::code(error), safe(&error.to_string())),
            Broken::Output(why) => ("output", why.clone()),
        };
        let (status, why) = match (payment, broken) {
            (Some(id), _) => (UNKNOWN, format!("{why}; it was paid for with payment {id}")),
            (None, Broken::Answer(_)) => (NO_ANSWER, why),
            (None, Broken::Output(_)) => (USAGE, why),
        };
        Self { resume, ..Self::new(status, code, why) }
    }

    /// Somebody told this program to stop. `payment` is what the journal has of it.
    pub(super) fn interrupted(payment: Option<PaymentId>, resume: Option<String>) -> Self {
        match payment {
            None => Self::new(NO_ANSWER, "interrupted", "interrupted; nothing is on its way"),
            Some(id) => {
                let why = format!("interrupted; payment {id} may be on its way");
                Self { resume, ..Self::new(UNKNOWN, "interrupted", why) }
            }
        }
    }

    /// The payment cannot be presented again like this.
    pub(super) fn not_resumed(error: &ResumeError) -> Self {
        let mut why = safe(&error.to_string());
        let status = match error {
            ResumeError::Released(_) => NO_ANSWER,
            _ => USAGE,
        };
        if let ResumeError::RequestNeeded { .. } = error {
            why += " (the URL, and -X, -H and -d as before)";
        }
        Self { status, why, told: Some(told::resume_error(error)), resume: None }
    }

    /// Says it on standard error, in words or as JSON; what is left for the caller is the exit status.
    pub(super) fn tell(self, as_json: bool) -> Result<(), Failure> {
        let Self { status, why, told, resume } = self;
        if as_json {
            if let Some(error) = told {
                said::line(&json!({ "exit": status, "error": error, "resume": resume }));
            }
            return Err(Failure { status, why: String::new() });
        }
        let why = match resume {
            None => why,
            Some(resume) => format!("{why}\n   The same payment again: {}", paint(WIRE, safe(&resume))),
        };
        Err(Failure { status, why })
    }
}

/// What a person would do about a refusal with this program.
fn how_here(rule: &Rule) -> Option<&'static str> {
    Some(match rule {
        Rule::Frozen => "farthing budget unfreeze",
        Rule::PayeeChanged => "farthing budget approve-payee",
        Rule::MaxPrice => "--max-price",
        Rule::OverBudget(_) => "policy.toml; farthing budget shows what is left",
        Rule::NoBudget | Rule::NoRail => "policy.toml",
        _ => return None,
    })
}

/// The command that presents the payment in `record` again. Values of headers and bodies are not repeated: they
/// may be secret, and the journal does not have them.
pub(super) fn command(record: &Record, options: &PayArgs) -> String {
    let mut words = vec!["farthing".to_owned(), "pay".into(), "--resume".into(), record.id().to_string()];
    let mut path = |option: &str, path: &Option<std::path::PathBuf>| {
        if let Some(path) = path {
            words.extend([option.to_owned(), quoted(&path.display().to_string())]);
        }
    };
    path("--home", &options.home.home.clone().filter(|home| !is_of_environment(home)));
    path("--passphrase-file", &options.home.opening.passphrase_file);
    path("-o", &options.output);
    if !record.header_names.is_empty() || record.has_body() {
        let default = if options.data.is_some() { "POST" } else { "GET" };
        if record.method != default {
            words.extend(["-X".into(), quoted(&record.method)]);
        }
        words.push(quoted(&record.url()));
        words.push("(and -H and -d as before)".into());
    }
    words.join(" ")
}

/// Whether the home is named by the environment, where the next command finds it too.
fn is_of_environment(home: &Path) -> bool {
    std::env::var_os("FARTHING_HOME").is_some_and(|named| named == home)
}

/// A word of a shell's command line.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_command_stay_one_word() {
        for (word, shown) in [
            ("plain/path.md", "plain/path.md"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("https://a.example/?q=1&b", "'https://a.example/?q=1&b'"),
            ("$(x)", "'$(x)'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), shown);
        }
    }
}
