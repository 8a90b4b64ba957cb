//! Small records that several processes share: what must be known before money moves where a network cannot
//! hold it.
//!
//! A record is bytes under a key. It changes by [`Records::replace`] only, which compares first: of several
//! processes that want the same record, one gets it. When `replace` returns, the change survives a crash.
//!
//! The first byte of a key tells whose record it is ([`CLAIMS`], [`SETTLEMENTS`], [`CATALOGUE`], [`PASSES`],
//! [`IDENTIFIERS`], [`NONCES`]).

use std::fmt;

use thiserror::Error;

use crate::rail::BoxFuture;

/// First byte of the keys of a resource server's claims on payments.
pub const CLAIMS: u8 = 1;
/// First byte of the keys of a facilitator's settlements under way.
pub const SETTLEMENTS: u8 = 2;
/// First byte of the keys of a facilitator's catalogue of resources.
pub const CATALOGUE: u8 = 3;
/// First byte of the keys of a resource server's passes: what was bought for a period.
pub const PASSES: u8 = 4;
/// First byte of the keys of a resource server's payment identifiers.
pub const IDENTIFIERS: u8 = 5;
/// First byte of the keys of a resource server's sign-in nonces that were used.
pub const NONCES: u8 = 6;

/// Most bytes of a key.
pub const KEY_BYTES: usize = 256;
/// Most bytes of a record: a stored answer of 64 KiB with its headers, and room.
pub const VALUE_BYTES: usize = 256 * 1024;

/// What is stored under a key.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// At most [`VALUE_BYTES`].
    pub value: Vec<u8>,
    /// Unix seconds after which the record is of no use and may be [purged](Records::purge).
    pub until: u64,
}

// Records hold signed payments and answers.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("until", &self.until).finish_non_exhaustive()
    }
}

/// What came of [`Records::replace`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// The change is durable.
    Done,
    /// Nothing was changed: this is there instead of what was expected.
    Found(Option<Record>),
}

/// Keys with their records, in the order of the keys.
pub type Page = Vec<(Vec<u8>, Record)>;

/// Why nothing is known of records.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecordsError {
    /// Nothing was changed.
    #[error("the record store is not available: {0}")]
    Unavailable(String),
    /// The change may have been made: [`get`](Records::get) tells, later.
    #[error("nobody knows whether a record was changed: {0}")]
    Unknown(String),
}

/// A store of records, shared by all processes of one operator.
pub trait Records: Send + Sync + fmt::Debug {
    /// What is stored under `key`.
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Record>, RecordsError>>;

    /// Stores `new` under `key`, or removes what is there, if what is there still has the value of `expected`
    /// (`None`: nothing). Atomic, and durable when it returns [`Replaced::Done`].
    fn replace<'a>(
        &'a self,
        key: &'a [u8],
        expected: Option<&'a [u8]>,
        new: Option<Record>,
    ) -> BoxFuture<'a, Result<Replaced, RecordsError>>;

    /// At most `limit` records whose keys begin with `prefix` and come after `after`, in the order of their
    /// keys.
    fn scan<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, RecordsError>>;

    /// Removes at most `limit` records that are of no use at `now` (Unix seconds); how many it removed.
    fn purge(&self, now: u64, limit: usize) -> BoxFuture<'_, Result<usize, RecordsError>>;
}
