//! Assets, deposits and account keys.

use super::{Applied, Context, Judged, Rows, accept, ensure, post, transfer};
use crate::admin::{Deposit, KeyChange, NewAsset, Scope};
use crate::command::{Refusal, Reply, Signed, units};
use crate::entry::{Event, Evidence};
use crate::identity::Book;
use crate::rows::{AccountKey, AccountKeys, Mode};

/// The most keys that one account may have.
const MAX_KEYS: usize = 64;
/// The most that one asset may have issued: a quarter of what a posting can carry.
const MAX_ISSUED: i128 = i128::MAX / 4;

fn evidence<T>(command: &Signed<T>) -> Evidence {
    Evidence { signed: command.signed.clone(), signature: command.signature }
}

/// Registers an asset once; the same registration again changes nothing.
pub(super) fn asset<R: Rows>(
    context: &Context,
    rows: &mut R,
    command: &Signed<NewAsset>,
) -> Judged<R::Error> {
    ensure!(command.signer == context.genesis.key, Refusal::UnauthorizedSigner);
    ensure!(command.command.scale <= 30, Refusal::Amount);
    if let Some(known) = rows.asset(&command.command.code)? {
        ensure!(known == command.command, Refusal::AlreadyRegistered);
        return Ok(Ok(Applied::unchanged(Reply::Done)));
    }
    rows.put_asset(&command.command);
    Ok(Ok(Applied::entry(Reply::Done, Event::Asset(evidence(command)), Vec::new())))
}

/// Issues money to an account; the same reference again changes nothing.
pub(super) fn deposit<R: Rows>(
    context: &Context,
    rows: &mut R,
    command: &Signed<Deposit>,
) -> Judged<R::Error> {
    let deposit = &command.command;
    let Some(asset) = rows.asset(&deposit.asset)? else {
        return Ok(Err(Refusal::UnknownAsset));
    };
    ensure!(command.signer == asset.issuer, Refusal::UnauthorizedSigner);
    if let Some(known) = rows.deposit(&deposit.reference)? {
        ensure!(known == command.signed, Refusal::AlreadyRegistered);
        return Ok(Ok(Applied::unchanged(Reply::Done)));
    }
    let amount = accept!(units(deposit.amount));
    ensure!(amount > 0 && amount <= MAX_ISSUED, Refusal::Amount);
    let issued = -rows.balance(&Book::Issued, &deposit.asset)?;
    ensure!(issued <= MAX_ISSUED - amount, Refusal::Amount);
    let account = Book::Account(deposit.account);
    if let Mode::ClosedLoop { payer_cap, .. } = &context.genesis.mode {
        let balance = rows.balance(&account, &deposit.asset)?;
        let cap = i128::try_from(payer_cap.0).unwrap_or(i128::MAX);
        ensure!(balance.saturating_add(amount) <= cap, Refusal::PayerCap);
    }
    let postings = transfer(Book::Issued, account, deposit.asset, amount).to_vec();
    post(rows, &postings);
    rows.put_deposit(&deposit.reference, &command.signed);
    Ok(Ok(Applied::entry(Reply::Done, Event::Deposit(evidence(command)), postings)))
}

/// Adds, replaces or removes one key of an account.
pub(super) fn keys<R: Rows>(
    context: &Context,
    rows: &mut R,
    command: &Signed<KeyChange>,
) -> Judged<R::Error> {
    let change = &command.command;
    let mut keys = rows.keys(&change.account)?.unwrap_or_else(|| AccountKeys::opening(&change.account));
    let may = keys.scope(&command.signer, context.now) == Some(Scope::Full);
    ensure!(may, Refusal::UnauthorizedSigner);
    ensure!(change.sequence == keys.sequence + 1, Refusal::Sequence);
    keys.sequence = change.sequence;
    keys.keys.retain(|k| k.key != change.key);
    if let Some(scope) = change.scope {
        keys.keys.push(AccountKey { key: change.key, scope, expiry: change.expiry });
    }
    let full = keys.keys.iter().any(|k| k.scope == Scope::Full && k.expiry == 0);
    ensure!(full && keys.keys.len() <= MAX_KEYS, Refusal::LastKey);
    rows.put_keys(&change.account, &keys);
    let event = Event::Keys(command.signer, evidence(command));
    Ok(Ok(Applied::entry(Reply::Done, event, Vec::new())))
}
