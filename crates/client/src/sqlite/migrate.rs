//! Files of older formats, brought to the current one.

use farthing_protocol::Amount;
use rusqlite::{Connection, Row};

use super::rows::{Read, charge, state, unix_now};
use super::{counts, schema};
use crate::budget::Scope;
use crate::journal::State;

/// From format 2, which knew no receipts of x402's `offer-receipt`, to format 3.
pub(super) fn from_2(step: &Connection) -> Read<()> {
    step.execute_batch("ALTER TABLE payments ADD COLUMN receipt_jws TEXT;")
}

/// From format 1, which counted by origin and altogether, to format 2, which counts in every scope.
///
/// What was counted stays counted as it is; the new scopes are summed up from the payments. Reservations that
/// are not signed for are given back: no process of the older format can sign for them any more.
pub(super) fn from_1(step: &Connection) -> Read<()> {
    step.execute_batch(
        "ALTER TABLE tickets ADD COLUMN payee TEXT NOT NULL DEFAULT '';
         ALTER TABLE tickets ADD COLUMN agent TEXT;
         ALTER TABLE tickets ADD COLUMN task TEXT;
         ALTER TABLE tickets ADD COLUMN charged_at INTEGER NOT NULL DEFAULT 0;
         ALTER TABLE payments ADD COLUMN agent TEXT;
         ALTER TABLE payments ADD COLUMN task TEXT;
         ALTER TABLE payments ADD COLUMN charged_at INTEGER NOT NULL DEFAULT 0;
         ALTER TABLE payments ADD COLUMN status INTEGER;
         ALTER TABLE payments ADD COLUMN settled TEXT;
         ALTER TABLE payments ADD COLUMN receipt TEXT;
         UPDATE payments SET charged_at = signed_at;
         ALTER TABLE budgets ADD COLUMN per_payee TEXT;
         ALTER TABLE budgets ADD COLUMN per_agent TEXT;
         ALTER TABLE budgets ADD COLUMN per_task TEXT;
         ALTER TABLE budgets ADD COLUMN per_hour TEXT;
         ALTER TABLE budgets ADD COLUMN per_day TEXT;
         ALTER TABLE budgets ADD COLUMN per_month TEXT;
         ALTER TABLE counts RENAME TO counts_1;",
    )?;
    step.execute_batch(schema::TABLES_OF_2)?;
    step.execute_batch(
        "INSERT INTO counts (network, asset, kind, name, amount)
             SELECT network, asset, iif(origin = '', 'total', 'per_host'), origin, amount FROM counts_1;
         DROP TABLE counts_1;
         REPLACE INTO prices (origin, method, path, network, asset, amount)
             SELECT origin, method, iif(instr(target, '?') = 0, target, substr(target, 1, instr(target, '?') - 1)),
                 network, asset, amount FROM payments ORDER BY ticket;",
    )?;
    sum_up(step)?;
    let mut tickets = step.prepare("SELECT * FROM tickets")?;
    for reserved in tickets.query_map([], charge)? {
        let reserved = reserved?;
        for scope in [Scope::Host(reserved.origin.clone()), Scope::Total] {
            counts::settle_in(step, &reserved, &scope, Amount::ZERO)?;
        }
    }
    step.execute("DELETE FROM tickets", [])?;
    counts::drop_windows(step, unix_now().cast_unsigned())
}

/// Counts the payments in the scopes that the older format did not have.
fn sum_up(step: &Connection) -> Read<()> {
    let mut payments = step.prepare("SELECT * FROM payments")?;
    let payment = |row: &Row<'_>| Ok((charge(row)?, state(row)?));
    for payment in payments.query_map([], payment)? {
        let (charge, state) = payment?;
        let amount = match state {
            State::Confirmed(taken) => taken,
            State::Released => continue,
            _ => charge.amount,
        };
        for scope in charge.scopes() {
            if !matches!(scope, Scope::Host(_) | Scope::Total) {
                counts::add_to(step, &charge, &scope, amount)?;
            }
        }
    }
    Ok(())
}
