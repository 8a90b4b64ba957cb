//! Looking payments up.

use farthing_protocol::Origin;
use rusqlite::named_params;

use super::{SqliteJournal, rows};
use crate::journal::{JournalError, Record, Standing};

/// Which payments are meant; all of them, by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those signed at this moment or later, in Unix seconds.
    pub since: Option<u64>,
    /// Those signed before this moment, in Unix seconds.
    pub until: Option<u64>,
    /// Those for requests to this origin.
    pub origin: Option<Origin>,
    /// Those that stand like this.
    pub state: Option<Standing>,
    /// At most so many, the newest.
    pub limit: Option<u32>,
}

impl SqliteJournal {
    /// The payments that `filter` lets through, newest first.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn payments(&self, filter: &Filter) -> Result<Vec<Record>, JournalError> {
        let columns = rows::RECORD;
        let select = format!(
            "SELECT {columns} FROM payments \
             WHERE (:since IS NULL OR signed_at >= :since) AND (:until IS NULL OR signed_at < :until) \
             AND (:origin IS NULL OR origin = :origin) AND (:state IS NULL OR state = :state) \
             ORDER BY ticket DESC LIMIT :limit"
        );
        self.read(|step| {
            let mut select = step.prepare_cached(&select)?;
            let wanted = named_params! {
                ":since": filter.since.map(rows::moment),
                ":until": filter.until.map(rows::moment),
                ":origin": filter.origin.as_ref().map(Origin::as_str),
                ":state": filter.state.map(Standing::name),
                // Without a limit where it is negative.
                ":limit": filter.limit.map_or(-1, i64::from),
            };
            select.query_map(wanted, rows::record)?.collect()
        })
    }
}
