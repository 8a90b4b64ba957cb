//! The first settlement: replay check, balance check and hold in one step.

use farthing_protocol::rail::PaymentId;
use farthing_protocol::{Amount, Binding};

use super::{
    Applied, Context, Judged, MAX_HOLD, MAX_RECORD, MAX_WINDOW, Rows, SKEW, accept, capture_postings,
};
use super::{ensure, post, transfer};
use crate::command::{Authorize, AuthorizeReply, Charge, Refusal, Reply, Standing, units};
use crate::entry::{Event, Evidence};
use crate::identity::Book;
use crate::operation::Action;
use crate::rows::{AccountKeys, Mode, Payment};
use crate::statement::PaymentState;
use crate::terms::{Scheme, Terms, TermsFlow};

/// Holds a payment, or says where it stands when it was presented before.
pub(super) fn authorize<R: Rows>(context: &Context, rows: &mut R, command: &Authorize) -> Judged<R::Error> {
    ensure!(command.terms.ledger == context.genesis.id(), Refusal::OtherLedger);
    ensure!(command.terms.flow == TermsFlow::Escrow, Refusal::Flow);
    if let Some(payment) = rows.payment(&command.id)? {
        return present_again(context, rows, command, payment);
    }
    accept!(judge(context, rows, &command.terms)?);

    let payment = new_payment(context, command, PaymentState::Held);
    let amount = payment.terms.max_amount.0 as i128;
    let postings =
        transfer(Book::Account(payment.terms.payer), Book::Held, payment.terms.asset, amount).to_vec();
    post(rows, &postings);
    rows.put_payment(&command.id, &payment);
    rows.put_replay(&payment.terms.payer, &payment.terms.nonce, &command.id);
    let standing = Standing::Owner { takeover: false };
    let reply = authorized(payment, standing);
    Ok(Ok(Applied::entry(reply, Event::Authorize(evidence(command)), postings)))
}

/// Takes a payment in one step: authorize and capture together.
pub(super) fn charge<R: Rows>(context: &Context, rows: &mut R, command: &Charge) -> Judged<R::Error> {
    let (authorize, operation) = (&command.authorize, &command.operation);
    ensure!(authorize.terms.ledger == context.genesis.id(), Refusal::OtherLedger);
    ensure!(authorize.terms.flow == TermsFlow::Charge, Refusal::Flow);
    let fits = operation.action == Action::Charge && operation.payment == authorize.id && operation.last;
    ensure!(fits, Refusal::Flow);
    if let Some(payment) = rows.payment(&authorize.id)? {
        ensure!(payment.captured == operation.cumulative, Refusal::AlreadyCaptured);
        return present_again(context, rows, authorize, payment);
    }
    accept!(judge(context, rows, &authorize.terms)?);
    let amount = operation.cumulative;
    ensure!(amount <= authorize.terms.max_amount, Refusal::AboveMaximum);
    let parts = authorize.terms.scheme.takes_parts();
    ensure!(parts || amount == authorize.terms.max_amount, Refusal::ExactAmount);

    let mut payment = new_payment(context, authorize, PaymentState::Captured);
    let payer = Book::Account(payment.terms.payer);
    let mut postings = transfer(payer, Book::Held, payment.terms.asset, amount.0 as i128).to_vec();
    postings.extend(capture_postings(&context.genesis, &payment, amount));
    post(rows, &postings);
    payment.captured = amount;
    rows.put_payment(&authorize.id, &payment);
    rows.put_replay(&payment.terms.payer, &payment.terms.nonce, &authorize.id);
    if let Some(answer) = &command.answer {
        rows.put_answer(&authorize.id, answer);
    }
    let standing = Standing::Ended(command.answer.clone());
    let reply = authorized(payment, standing);
    let event = Event::Charge(evidence(authorize), *operation, command.signature);
    Ok(Ok(Applied::entry(reply, event, postings)))
}

/// The same signed bytes once more.
fn present_again<R: Rows>(
    context: &Context,
    rows: &mut R,
    command: &Authorize,
    mut payment: Payment,
) -> Judged<R::Error> {
    if payment.state != PaymentState::Held {
        let mine = payment.tenant == command.tenant.0;
        let answer =
            if mine && context.now <= payment.answer_kept_until() { rows.answer(&command.id)? } else { None };
        let standing = Standing::Ended(answer);
        return Ok(Ok(Applied::unchanged(authorized(payment, standing))));
    }
    let mine = payment.owner == command.owner.id;
    if !mine && context.now < payment.lease_until {
        let standing = Standing::InProgress;
        return Ok(Ok(Applied::unchanged(authorized(payment, standing))));
    }
    payment.lease_until = lease(context, command);
    let mut event = None;
    if !mine {
        payment.owner = command.owner.id;
        payment.tenant.clone_from(&command.tenant.0);
        payment.epoch += 1;
        payment.changed_at = context.now;
        event = Some((Event::Takeover(command.id, payment.epoch), Vec::new()));
    }
    rows.put_payment(&command.id, &payment);
    let standing = Standing::Owner { takeover: !mine };
    let reply = authorized(payment, standing);
    Ok(Ok(Applied { reply, entry: event }))
}

/// Whether a payment that the ledger has not seen may be taken.
pub(crate) fn judge<R: Rows>(
    context: &Context,
    rows: &mut R,
    terms: &Terms,
) -> Result<Result<(), Refusal>, R::Error> {
    let (genesis, now) = (&context.genesis, context.now);
    ensure!(rows.replay(&terms.payer, &terms.nonce)?.is_none(), Refusal::NonceConflict);
    ensure!(rows.asset(&terms.asset)?.is_some(), Refusal::UnknownAsset);
    let keys = rows.keys(&terms.payer)?.unwrap_or_else(|| AccountKeys::opening(&terms.payer));
    ensure!(keys.scope(&terms.signer, now).is_some(), Refusal::UnauthorizedSigner);
    ensure!(terms.mandate == [0; 32], Refusal::Mandate);
    ensure!(terms.valid_after <= now.saturating_add(SKEW), Refusal::NotYetValid);
    ensure!(now <= terms.valid_before.saturating_add(SKEW), Refusal::Expired);
    ensure!(terms.valid_before <= now.saturating_add(MAX_WINDOW + SKEW), Refusal::WindowTooLong);
    accept!(judge_deadlines(terms, now));
    if let Mode::ClosedLoop { seller, .. } = &genesis.mode {
        ensure!(terms.payee == *seller, Refusal::NotTheSeller);
    }
    let fee = &terms.fee;
    let rate_fits = (fee.min_bps..=fee.max_bps).contains(&genesis.fee_bps) && fee.max_bps <= 10_000;
    let recipient_fits = genesis.fee_bps == 0 || fee.recipient == genesis.fee_recipient.0;
    ensure!(rate_fits && recipient_fits, Refusal::Fee);
    let amount = accept!(units(terms.max_amount));
    ensure!(amount > 0, Refusal::Amount);
    let available = rows.balance(&Book::Account(terms.payer), &terms.asset)?;
    ensure!(available >= amount, Refusal::InsufficientFunds);
    Ok(Ok(()))
}

fn judge_deadlines(terms: &Terms, now: u64) -> Result<(), Refusal> {
    let capture_fits = match terms.flow {
        TermsFlow::Escrow => {
            terms.capture_deadline > now && terms.capture_deadline <= now.saturating_add(MAX_HOLD)
        }
        TermsFlow::Charge => terms.capture_deadline == 0,
    };
    let refund_fits = match terms.scheme {
        Scheme::Exact | Scheme::Upto => terms.refund_deadline == 0,
        Scheme::AuthCapture => {
            let none = terms.refund_deadline == 0;
            none || (terms.refund_deadline >= terms.capture_deadline
                && terms.refund_deadline <= now.saturating_add(MAX_RECORD))
        }
    };
    if capture_fits && refund_fits { Ok(()) } else { Err(Refusal::Deadline) }
}

fn new_payment(context: &Context, command: &Authorize, state: PaymentState) -> Payment {
    debug_assert!(matches!(command.terms.binding, Binding::Body | Binding::Open));
    Payment {
        terms: command.terms.clone(),
        state,
        captured: Amount::ZERO,
        refunded: Amount::ZERO,
        fee_bps: context.genesis.fee_bps,
        owner: command.owner.id,
        epoch: 1,
        lease_until: lease(context, command),
        tenant: command.tenant.0.clone(),
        changed_at: context.now,
        ended_at: if state == PaymentState::Held { 0 } else { context.now },
    }
}

fn authorized(payment: Payment, standing: Standing) -> Reply {
    Reply::Authorized(Box::new(AuthorizeReply { payment, standing }))
}

fn lease(context: &Context, command: &Authorize) -> u64 {
    let end = context.now.saturating_add(u64::from(command.owner.lease_seconds));
    end.min(command.terms.capture_deadline)
}

fn evidence(command: &Authorize) -> Evidence {
    Evidence { signed: command.signed.clone(), signature: command.signature }
}

/// Whether `id` is a payment that could be authorized now; changes nothing.
pub(crate) fn probe<R: Rows>(
    context: &Context,
    rows: &mut R,
    id: &PaymentId,
    terms: &Terms,
) -> Result<Result<(), Refusal>, R::Error> {
    ensure!(terms.ledger == context.genesis.id(), Refusal::OtherLedger);
    if let Some(payment) = rows.payment(id)? {
        ensure!(payment.state == PaymentState::Held, Refusal::HoldEnded);
        return Ok(Ok(()));
    }
    judge(context, rows, terms)
}
