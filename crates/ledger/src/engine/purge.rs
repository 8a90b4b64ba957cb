//! Forgetting what time has made useless, a few rows with each commit.
//!
//! Entries are never removed. Two cursors walk them in order: behind the first, replay keys and stored
//! answers are past every date on which they could matter; behind the second, payment records are.

use farthing_protocol::rail::PaymentId;

use super::overlay::Overlay;
use super::storage::{Storage, StorageError};
use crate::core::{Context, MAX_RECORD, REPLAY_KEPT, Rows};
use crate::entry::{Entry, Event, Evidence};
use crate::rows::{Table, key};
use crate::statement::PaymentState;
use crate::terms::{Terms, payment_id};

/// Entries that one commit looks at for each cursor, besides twice as many as it wrote: so the cursors keep
/// up at every load.
const STEP: usize = 8;

/// The last times, in Unix seconds, at which the oldest entry before each cursor is still too young: until then
/// nothing needs to be read. Zero when that is not known.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Young {
    answers: u64,
    records: u64,
}

/// Moves both cursors of a chain, in a commit that has written `written` entries.
pub(super) fn step<S: Storage>(
    context: &Context,
    overlay: &mut Overlay<'_, S>,
    chain: u32,
    written: usize,
    young: &mut Young,
) -> Result<(), StorageError> {
    let limit = written.saturating_mul(2).saturating_add(STEP);
    if young.answers < context.now {
        let answers = Cursor { chain, name: b"purge-answers", age: REPLAY_KEPT, limit };
        young.answers = walk(context, overlay, &answers, forget_answers)?;
    }
    if young.records < context.now {
        let records = Cursor { chain, name: b"purge-records", age: MAX_RECORD, limit };
        young.records = walk(context, overlay, &records, forget_record)?;
    }
    Ok(())
}

/// A walk over one chain's entries that are older than `age` seconds.
struct Cursor {
    chain: u32,
    name: &'static [u8],
    age: u64,
    limit: usize,
}

type Forget<S> = fn(&Context, &mut Overlay<'_, S>, &Entry) -> Result<(), StorageError>;

/// Until when the oldest entry that is left is too young, or zero.
fn walk<S: Storage>(
    context: &Context,
    overlay: &mut Overlay<'_, S>,
    cursor: &Cursor,
    forget: Forget<S>,
) -> Result<u64, StorageError> {
    let row = key::of_chain(cursor.name, cursor.chain);
    let from = overlay.get(Table::Meta, &row)?.unwrap_or_else(|| key::entry(cursor.chain, 0));
    let end = key::entries_end(cursor.chain);
    let young_until = |entry: &Entry| entry.at.saturating_add(cursor.age);
    let is_old = |entry: &Entry| young_until(entry) < context.now;
    // Nearly always the oldest is too young, and nothing else needs to be read.
    let oldest = overlay.scan_between(Table::Entry, &from, &end, 1)?;
    match oldest.first().map(|(_, bytes)| Entry::decode(bytes)).transpose()? {
        Some(entry) if is_old(&entry) => {}
        young => return Ok(young.map_or(0, |entry| young_until(&entry))),
    }
    let mut reached = None;
    for (sequence, bytes) in overlay.scan_between(Table::Entry, &from, &end, cursor.limit)? {
        let entry = Entry::decode(&bytes)?;
        if !is_old(&entry) {
            break;
        }
        forget(context, overlay, &entry)?;
        reached = Some(key::after(&sequence));
    }
    if let Some(reached) = reached {
        overlay.put(Table::Meta, row, reached);
    }
    Ok(0)
}

fn forget_answers<S: Storage>(
    context: &Context,
    overlay: &mut Overlay<'_, S>,
    entry: &Entry,
) -> Result<(), StorageError> {
    match &entry.event {
        Event::Authorize(evidence) => forget_replay(overlay, evidence),
        Event::Charge(evidence, ..) => {
            forget_replay(overlay, evidence)?;
            forget_answer(context, overlay, &payment_id(&evidence.signed))
        }
        Event::Operate(_, _, operations) => {
            let mut applied = operations.iter().filter(|(_, applied)| *applied);
            applied.try_for_each(|(operation, _)| forget_answer(context, overlay, &operation.payment))
        }
        Event::Reclaim(payments) => payments.iter().try_for_each(|id| forget_answer(context, overlay, id)),
        _ => Ok(()),
    }
}

fn forget_replay<S: Storage>(overlay: &mut Overlay<'_, S>, evidence: &Evidence) -> Result<(), StorageError> {
    let terms = Terms::decode(&evidence.signed)?;
    overlay.remove(Table::Replay, key::replay(&terms.payer, &terms.nonce));
    Ok(())
}

/// An answer that is still given out is forgotten later, with the entry that ended its hold.
fn forget_answer<S: Storage>(
    context: &Context,
    overlay: &mut Overlay<'_, S>,
    id: &PaymentId,
) -> Result<(), StorageError> {
    let kept = overlay
        .payment(id)?
        .is_some_and(|p| p.state == PaymentState::Held || context.now <= p.answer_kept_until());
    if !kept && overlay.get(Table::Answer, &id.0)?.is_some() {
        overlay.remove(Table::Answer, id.0.to_vec());
    }
    Ok(())
}

fn forget_record<S: Storage>(
    _: &Context,
    overlay: &mut Overlay<'_, S>,
    entry: &Entry,
) -> Result<(), StorageError> {
    if let Event::Authorize(evidence) | Event::Charge(evidence, ..) = &entry.event {
        let id = payment_id(&evidence.signed);
        if overlay.payment(&id)?.is_some_and(|p| p.state != PaymentState::Held) {
            overlay.remove(Table::Payment, id.0.to_vec());
        }
    }
    Ok(())
}
