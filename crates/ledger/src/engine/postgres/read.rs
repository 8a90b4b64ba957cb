//! Reading rows by their keys, within a batch and beside it.

use tokio_postgres::types::ToSql;

use super::columns::{self, Bound, Cell};
use super::driver::Driver;
use super::error::sql;
use super::session::{Session, within};
use crate::engine::storage::{Row, Snapshot, StorageError};
use crate::rows::{self, Table};

/// Up to `limit` rows from `from` on, before `to` when there is one.
pub(super) async fn page(
    session: &Session,
    table: Table,
    from: &[u8],
    to: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<Row>, StorageError> {
    let shape = columns::shape(table);
    let mut cells: Vec<Cell> = Vec::new();
    let mut conditions = String::new();
    let mut condition = |comparison: &str, bound: Vec<Cell>| {
        let numbers = (cells.len() + 1..=cells.len() + bound.len()).map(|n| format!("${n}"));
        let numbers = numbers.collect::<Vec<_>>().join(", ");
        conditions += &format!(" AND ({}) {comparison} ({numbers})", shape.key);
        cells.extend(bound);
    };
    match columns::bound(table, from) {
        Bound::At(bound) => condition(">=", bound),
        Bound::Behind(bound) => condition(">", bound),
        Bound::End => return Ok(Vec::new()),
    }
    match to.map(|to| columns::bound(table, to)) {
        Some(Bound::At(bound)) => condition("<", bound),
        Some(Bound::Behind(bound)) => condition("<=", bound),
        Some(Bound::End) | None => {}
    }
    let (select, key, group) = (shape.select, shape.key, shape.group);
    let limit_at = cells.len() + 1;
    let statement = format!("SELECT {select}{conditions} {group} ORDER BY {key} LIMIT ${limit_at}::bigint");
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut parameters: Vec<&(dyn ToSql + Sync)> = Vec::with_capacity(limit_at);
    parameters.extend(cells.iter().map(|cell| cell as &(dyn ToSql + Sync)));
    parameters.push(&limit);
    let rows = session.query(&statement, &parameters).await?;
    rows.iter().map(|row| columns::row(table, row).map_err(sql)).collect()
}

/// One row.
pub(super) async fn get(
    session: &Session,
    table: Table,
    key: &[u8],
) -> Result<Option<Vec<u8>>, StorageError> {
    let behind = rows::key::after(key);
    let rows = page(session, table, key, Some(&behind), 1).await?;
    Ok(rows.into_iter().find(|(found, _)| found == key).map(|(_, value)| value))
}

/// All rows at the moment when it was made, over a connection of its own.
pub(super) struct Moment {
    pub(super) session: Session,
    pub(super) driver: Driver,
}

impl Snapshot for Moment {
    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.driver.run(within(get(&self.session, table, key)))?
    }

    fn scan(&mut self, table: Table, from: &[u8], limit: usize) -> Result<Vec<Row>, StorageError> {
        self.driver.run(within(page(&self.session, table, from, None, limit)))?
    }
}
