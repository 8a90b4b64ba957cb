//! What counts against the budgets, and the budgets that hold for everyone: a row for each scope of an asset.

use farthing_protocol::Amount;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::rows::{Read, damaged, moment, optional, parsed};
use crate::budget::{AssetId, Charge, KEPT, Limit, Limits, Scope, Spending};

/// What counts in each of the charge's scopes.
pub(super) fn counted(step: &Connection, charge: &Charge) -> Read<Vec<(Scope, Amount)>> {
    let scopes = charge.scopes().into_iter();
    scopes.map(|scope| Ok((scope.clone(), count(step, charge, &scope)?.unwrap_or_default()))).collect()
}

/// Counts the charge, without asking, and drops what counted in windows that are long over.
pub(super) fn add(step: &Connection, charge: &Charge) -> Read<()> {
    for scope in charge.scopes() {
        add_to(step, charge, &scope, charge.amount)?;
    }
    drop_windows(step, charge.at)
}

/// Counts an amount in one of the charge's scopes.
pub(super) fn add_to(step: &Connection, charge: &Charge, scope: &Scope, amount: Amount) -> Read<()> {
    let before = count(step, charge, scope)?.unwrap_or_default();
    put(step, charge, scope, Amount(before.0.saturating_add(amount.0)))
}

/// Says what counts in one of the charge's scopes from now on.
fn put(step: &Connection, charge: &Charge, scope: &Scope, amount: Amount) -> Read<()> {
    let mut write = step.prepare_cached(
        "REPLACE INTO counts (network, asset, kind, name, amount, ends) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    write.execute(params![
        charge.asset.network.to_string(),
        charge.asset.asset,
        scope.limit().name(),
        scope.name(),
        amount.to_string(),
        scope.ends().map(moment)
    ])?;
    Ok(())
}

/// Ends a reservation of which `taken` was taken: the rest is given back where it was counted.
pub(super) fn settle(step: &Connection, charge: &Charge, taken: Amount) -> Read<()> {
    charge.scopes().iter().try_for_each(|scope| settle_in(step, charge, scope, taken))
}

/// As [`settle`], in one of the charge's scopes.
pub(super) fn settle_in(step: &Connection, charge: &Charge, scope: &Scope, taken: Amount) -> Read<()> {
    // A window that is long over does not count any more.
    let Some(counted) = count(step, charge, scope)? else { return Ok(()) };
    let back = charge.amount.0.saturating_sub(taken.0);
    put(step, charge, scope, Amount(counted.0.saturating_sub(back)))
}

/// Drops what counted in windows that were over a day before `now`.
pub(super) fn drop_windows(step: &Connection, now: u64) -> Read<()> {
    let mut drop = step.prepare_cached("DELETE FROM counts WHERE ends <= ?1")?;
    drop.execute([moment(now.saturating_sub(KEPT))])?;
    Ok(())
}

/// Everything that counts.
pub(super) fn spending(step: &Connection) -> Read<Spending> {
    let mut spending = Spending::default();
    let mut all = step.prepare_cached("SELECT network, asset, kind, name, amount FROM counts")?;
    let mut rows = all.query([])?;
    while let Some(row) = rows.next()? {
        let asset = AssetId { network: parsed(row, "network")?, asset: row.get("asset")? };
        let name: String = row.get("name")?;
        let scope = Scope::named(parsed(row, "kind")?, &name).ok_or_else(|| damaged("kind"))?;
        spending.set(asset, scope, parsed(row, "amount")?);
    }
    Ok(spending)
}

fn count(step: &Connection, charge: &Charge, scope: &Scope) -> Read<Option<Amount>> {
    let mut select = step.prepare_cached(
        "SELECT amount FROM counts WHERE network = ?1 AND asset = ?2 AND kind = ?3 AND name = ?4",
    )?;
    let network = charge.asset.network.to_string();
    let key = params![network, charge.asset.asset, scope.limit().name(), scope.name()];
    select.query_row(key, |row| parsed(row, "amount")).optional()
}

/// The limits in the file for an asset. Its columns have the limits' names.
pub(super) fn limits(step: &Connection, asset: &AssetId) -> Read<Option<Limits>> {
    let mut select = step.prepare_cached("SELECT * FROM budgets WHERE network = ?1 AND asset = ?2")?;
    let limits = |row: &Row<'_>| {
        let mut limits = Limits::of(parsed(row, Limit::Total.name())?);
        for limit in Limit::ALL {
            if let Some(amount) = optional(row, limit.name())? {
                limits = limits.with(limit, amount);
            }
        }
        Ok(limits)
    };
    select.query_row(params![asset.network.to_string(), asset.asset], limits).optional()
}

pub(super) fn write_limits(step: &Connection, asset: &AssetId, limits: &Limits) -> Read<()> {
    let names = Limit::ALL.map(Limit::name).join(", ");
    let places = ["?"; Limit::ALL.len()].join(", ");
    let values = Limit::ALL.map(|limit| limits.get(limit).map(|amount| amount.to_string()));
    let key = [asset.network.to_string(), asset.asset.clone()].map(Some);
    step.execute(
        &format!("REPLACE INTO budgets (network, asset, {names}) VALUES (?, ?, {places})"),
        params_from_iter(key.into_iter().chain(values)),
    )?;
    Ok(())
}
