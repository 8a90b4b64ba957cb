//! What happened how often: a simulation in which nothing interesting happened proves nothing.

use std::fmt;
use std::ops::AddAssign;

use farthing::protocol::reason;

/// The counts, each with the name that it is printed under.
macro_rules! figures {
    ($($field:ident: $name:literal,)*) => {
        /// Counts over one seed or many.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[allow(missing_docs, reason = "each is called what it counts")]
        pub struct Figures {
            $(pub $field: u64,)*
        }

        impl Figures {
            fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$(($name, self.$field),)*]
            }
        }

        impl AddAssign for Figures {
            fn add_assign(&mut self, other: Self) {
                $(self.$field += other.$field;)*
            }
        }
    };
}

figures! {
    seeds: "seeds",
    payments: "payments",
    handler_runs: "handler runs",
    captures: "captures",
    parts: "captures of a stream on its way",
    streams: "streams delivered to their end",
    voids: "voids",
    reclaims: "reclaims",
    takeovers: "takeovers",
    crashes: "crashes",
    stalls: "stalls",
    failed_commits: "failed commits",
    dropped: "messages dropped",
    duplicated: "messages duplicated",
    unknown_outcomes: "unknown outcomes",
    replayed_answers: "stored answers given again",
    conflicts: "nonce conflicts refused",
    overdrafts_refused: "overdrafts refused",
    stale_owners_refused: "stale owners refused",
    grouped: "captures signed together",
    panics: "handler panics",
    commits: "commits",
    full_checks: "full checks",
    steps: "steps",
}

impl Figures {
    pub(crate) fn count_refusal(&mut self, why: &str) {
        match why {
            reason::PAYMENT_CONFLICT => self.conflicts += 1,
            reason::INSUFFICIENT_FUNDS => self.overdrafts_refused += 1,
            reason::STALE_OWNER => self.stale_owners_refused += 1,
            _ => {}
        }
    }

    /// What never happened. Over many seeds this must be empty.
    pub fn missing(&self) -> Vec<&'static str> {
        self.all().into_iter().filter(|(_, count)| *count == 0).map(|(name, _)| name).collect()
    }
}

/// One line.
impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts: Vec<String> =
            self.all().into_iter().map(|(name, count)| format!("{count} {name}")).collect();
        f.write_str(&counts.join(", "))
    }
}
