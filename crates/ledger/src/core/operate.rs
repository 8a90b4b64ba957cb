//! Captures, voids and refunds by the receiverAuthorizer, and the reclaim that needs nobody.

use farthing_protocol::Amount;
use farthing_protocol::rail::PaymentId;

use super::transfer;
use super::{
    Applied, Context, Judged, Rows, accept, capture_postings, ended, ensure, post, release_postings,
};
use crate::command::{Operate, Refusal, Reply, units};
use crate::entry::{Event, Posting};
use crate::identity::Book;
use crate::operation::{Action, Op};
use crate::rows::Payment;
use crate::statement::PaymentState;

/// An operation's end: the payment afterwards and what was posted.
type Operated<E> = Result<Result<(Payment, Vec<Posting>), Refusal>, E>;

/// Applies a list of operations in order; one refusal never fails another.
pub(super) fn operate<R: Rows>(context: &Context, rows: &mut R, command: &Operate) -> Judged<R::Error> {
    let mut results = Vec::with_capacity(command.operations.len());
    let mut evidence = Vec::with_capacity(command.operations.len());
    let mut postings = Vec::new();
    let mut changed = false;
    for (operation, answer) in &command.operations {
        let result = one(context, rows, command, operation, answer.as_deref())?;
        evidence.push((*operation, result.is_ok()));
        results.push(result.map(|(payment, posted, moved)| {
            changed |= moved;
            postings.extend(posted);
            payment
        }));
    }
    let reply = Reply::Operated(results);
    if !changed {
        return Ok(Ok(Applied::unchanged(reply)));
    }
    let event = Event::Operate(command.signer, command.signature, evidence);
    Ok(Ok(Applied::entry(reply, event, postings)))
}

/// The payment afterwards, what was posted, and whether anything changed.
type One = (Payment, Vec<Posting>, bool);

fn one<R: Rows>(
    context: &Context,
    rows: &mut R,
    command: &Operate,
    operation: &Op,
    answer: Option<&[u8]>,
) -> Result<Result<One, Refusal>, R::Error> {
    let Some(before) = rows.payment(&operation.payment)? else {
        return Ok(Err(Refusal::NoSuchPayment));
    };
    ensure!(before.terms.receiver_authorizer == command.signer, Refusal::NotReceiverAuthorizer);
    let leased = before.state == PaymentState::Held && context.now < before.lease_until;
    ensure!(!(command.spares_leases && leased), Refusal::LeaseRuns);
    let outcome = match operation.action {
        Action::Capture => capture(context, before.clone(), operation),
        Action::Void => void(before.clone(), operation),
        Action::Refund => refund(context, rows, before.clone(), operation)?,
        Action::Charge => Err(Refusal::Flow),
    };
    let (mut payment, postings) = accept!(outcome);
    let moved = payment != before;
    if moved {
        payment.changed_at = context.now;
        if before.state == PaymentState::Held && payment.state != PaymentState::Held {
            payment.ended_at = context.now;
        }
        post(rows, &postings);
        rows.put_payment(&operation.payment, &payment);
        if let (Action::Capture, Some(answer)) = (operation.action, answer) {
            rows.put_answer(&operation.payment, answer);
        }
    }
    Ok(Ok((payment, postings, moved)))
}

fn capture(context: &Context, before: Payment, operation: &Op) -> Result<(Payment, Vec<Posting>), Refusal> {
    if operation.epoch != before.epoch {
        return Err(Refusal::StaleOwner);
    }
    match before.state {
        PaymentState::Held => {}
        PaymentState::Captured if operation.cumulative == before.captured => return Ok((before, Vec::new())),
        PaymentState::Captured => return Err(Refusal::AlreadyCaptured),
        _ => return Err(Refusal::HoldEnded),
    }
    if context.now > before.terms.capture_deadline {
        return Err(Refusal::HoldEnded);
    }
    if operation.cumulative > before.terms.max_amount {
        return Err(Refusal::AboveMaximum);
    }
    if operation.cumulative < before.captured {
        return Err(Refusal::Decreased);
    }
    let whole = operation.last && operation.cumulative == before.terms.max_amount;
    if !before.terms.scheme.takes_parts() && !whole {
        return Err(Refusal::ExactAmount);
    }
    let mut postings = capture_postings(&context.genesis, &before, operation.cumulative);
    let mut after = Payment { captured: operation.cumulative, ..before };
    if operation.last {
        postings.extend(release_postings(&after));
        after.state = PaymentState::Captured;
    }
    Ok((after, postings))
}

fn void(before: Payment, operation: &Op) -> Result<(Payment, Vec<Posting>), Refusal> {
    if operation.epoch != before.epoch {
        return Err(Refusal::StaleOwner);
    }
    match before.state {
        PaymentState::Held => {}
        PaymentState::Voided => return Ok((before, Vec::new())),
        PaymentState::Captured => return Err(Refusal::AlreadyCaptured),
        _ => return Err(Refusal::HoldEnded),
    }
    if operation.cumulative != Amount::ZERO {
        return Err(Refusal::Amount);
    }
    let postings = release_postings(&before);
    let state = ended(&before, PaymentState::Voided);
    Ok((Payment { state, ..before }, postings))
}

fn refund<R: Rows>(context: &Context, rows: &mut R, before: Payment, operation: &Op) -> Operated<R::Error> {
    ensure!(operation.cumulative <= before.captured, Refusal::AboveMaximum);
    ensure!(operation.cumulative >= before.refunded, Refusal::Decreased);
    let delta = accept!(units(Amount(operation.cumulative.0 - before.refunded.0)));
    if delta == 0 {
        return Ok(Ok((before, Vec::new())));
    }
    let refundable = before.terms.scheme.refunds() && context.now <= before.terms.refund_deadline;
    ensure!(refundable, Refusal::NotRefundable);
    let (payee, payer) = (Book::Account(before.terms.payee), Book::Account(before.terms.payer));
    ensure!(rows.balance(&payee, &before.terms.asset)? >= delta, Refusal::InsufficientFunds);
    let postings = transfer(payee, payer, before.terms.asset, delta).to_vec();
    Ok(Ok((Payment { refunded: operation.cumulative, ..before }, postings)))
}

/// Ends the holds among `payments` whose capture deadline has passed; the others stay as they are.
pub(super) fn reclaim<R: Rows>(context: &Context, rows: &mut R, payments: &[PaymentId]) -> Judged<R::Error> {
    let mut reclaimed = Vec::new();
    let mut postings = Vec::new();
    for id in payments {
        let Some(mut payment) = rows.payment(id)? else { continue };
        if payment.state != PaymentState::Held || context.now <= payment.terms.capture_deadline {
            continue;
        }
        let posted = release_postings(&payment);
        post(rows, &posted);
        payment.state = ended(&payment, PaymentState::Reclaimed);
        payment.changed_at = context.now;
        payment.ended_at = context.now;
        rows.put_payment(id, &payment);
        postings.extend(posted);
        reclaimed.push(*id);
    }
    if reclaimed.is_empty() {
        return Ok(Ok(Applied::unchanged(Reply::Reclaimed(reclaimed))));
    }
    let event = Event::Reclaim(reclaimed.clone());
    Ok(Ok(Applied::entry(Reply::Reclaimed(reclaimed), event, postings)))
}
