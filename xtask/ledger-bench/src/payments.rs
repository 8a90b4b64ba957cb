//! What is paid: accounts, and payments that were signed and checked before the clock started.
//!
//! One payment is two commands, each answered when it is durable: the *authorize* of an escrow payment (replay check,
//! balance check and hold) and its *capture* in full, which stores an answer of [`ANSWER`] bytes. All engines run the
//! same ledger, so that one set of payments serves them all.

use std::time::{SystemTime, UNIX_EPOCH};

use farthing_ledger::command::{Authorize, Checked, Operate};
use farthing_ledger::operation::{Action, Op, answer_hash};
use farthing_ledger::terms::{FeeTerms, Scheme, Terms, TermsFlow};
use farthing_ledger::{AssetCode, LedgerId};
use farthing_protocol::rail::{Owner, PaymentId, Tenant};
use farthing_protocol::{Amount, Binding, PublicKey, RequestDigest, SecretKey};
use sha2::{Digest, Sha256};

use crate::Result;

/// Bytes of the answer that is stored with a capture.
pub(crate) const ANSWER: usize = 256;
/// Atomic units that one payment moves.
pub(crate) const PRICE: u128 = 10;
/// Seconds for which payments can be authorized: what the ledger allows at most, less the time to get there.
const WINDOW: u64 = 3_000;
/// Payments that are checked together.
const TOGETHER: usize = 64;

/// Whoever has a part in the bench.
#[derive(Clone, Copy)]
pub(crate) enum Role {
    Issuer,
    Authorizer,
    Payer(usize),
    Payee(usize),
}

/// The secret key of a role: the same in every run and every process.
pub(crate) fn secret(role: Role) -> SecretKey {
    SecretKey::from_seed(hash(&match role {
        Role::Issuer => "issuer".into(),
        Role::Authorizer => "authorizer".into(),
        Role::Payer(number) => format!("payer {number}"),
        Role::Payee(number) => format!("payee {number}"),
    }))
}

/// 32 bytes that look like a key.
pub(crate) fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// The asset.
pub(crate) fn asset() -> Result<AssetCode> {
    Ok("XTS".parse()?)
}

/// Who pays whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parties {
    /// Accounts that pay, in no order.
    pub(crate) payers: usize,
    /// Accounts that are paid, in turn.
    pub(crate) payees: usize,
}

/// A payment, ready to be made.
#[derive(Clone, Debug)]
pub(crate) struct Payment {
    pub(crate) authorize: Checked<Authorize>,
    pub(crate) capture: Checked<Operate>,
}

/// Signs and checks `count` payments on all cores. `set` tells sets apart that go to the same ledger.
///
/// # Errors
/// When anything does not sign or check.
pub(crate) fn sign(ledger: LedgerId, parties: Parties, set: &str, count: usize) -> Result<Vec<Payment>> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = count.div_ceil(cores).max(1);
    let payees: Vec<PublicKey> = (0..parties.payees).map(|n| secret(Role::Payee(n)).public()).collect();
    std::thread::scope(|scope| {
        let payees = &payees;
        let of = |from: usize| {
            let numbers = from..(from + share).min(count);
            scope.spawn(move || sign_share(ledger, parties, payees, set, numbers))
        };
        let shares: Vec<_> = (0..count).step_by(share).map(of).collect();
        let mut payments = Vec::with_capacity(count);
        for share in shares {
            payments.extend(share.join().map_err(|_| "a signing thread panicked")??);
        }
        Ok(payments)
    })
}

fn sign_share(
    ledger: LedgerId,
    parties: Parties,
    payees: &[PublicKey],
    set: &str,
    numbers: std::ops::Range<usize>,
) -> Result<Vec<Payment>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let authorizer = secret(Role::Authorizer);
    let mut payments = Vec::with_capacity(numbers.len());
    let mut signed = Vec::with_capacity(numbers.len());
    for number in numbers {
        let nonce = hash(&format!("{set} {number}"));
        let draw = u64::from_be_bytes(nonce[..8].try_into()?) as usize;
        let payer = secret(Role::Payer(draw % parties.payers));
        let payee = payees[number % payees.len()];
        let terms = terms(ledger, payer.public(), payee, authorizer.public(), now, nonce)?;
        let bytes = terms.encode();
        let signature = payer.sign(&bytes);
        let owner = Owner { id: [1; 16], lease_seconds: 60 };
        signed.push(Authorize::read(bytes, signature, owner, Tenant::local())?);
    }
    while !signed.is_empty() {
        let rest = signed.split_off(signed.len().min(TOGETHER));
        let some = std::mem::replace(&mut signed, rest);
        let ids: Vec<_> = some.iter().map(Authorize::id).collect();
        for (authorize, id) in Authorize::check_all(some).into_iter().zip(ids) {
            payments.push(Payment { authorize: authorize?, capture: capture(&authorizer, &ledger, id)? });
        }
    }
    Ok(payments)
}

fn terms(
    ledger: LedgerId,
    payer: PublicKey,
    payee: PublicKey,
    receiver_authorizer: PublicKey,
    now: u64,
    nonce: [u8; 32],
) -> Result<Terms> {
    Ok(Terms {
        ledger,
        scheme: Scheme::AuthCapture,
        flow: TermsFlow::Escrow,
        payer,
        signer: payer,
        payee,
        receiver_authorizer,
        asset: asset()?,
        max_amount: Amount(PRICE),
        valid_after: 0,
        valid_before: now + WINDOW,
        capture_deadline: now + 2 * WINDOW,
        refund_deadline: 0,
        fee: FeeTerms::default(),
        mandate: [0; 32],
        nonce,
        binding: Binding::Body,
        digest: RequestDigest(nonce),
    })
}

fn capture(authorizer: &SecretKey, ledger: &LedgerId, payment: PaymentId) -> Result<Checked<Operate>> {
    let answer: Vec<u8> = payment.0.iter().copied().cycle().take(ANSWER).collect();
    let op = Op {
        payment,
        action: Action::Capture,
        cumulative: Amount(PRICE),
        last: true,
        epoch: 1,
        answer: answer_hash(Some(&answer)),
    };
    Ok(Operate::sign(ledger, authorizer, vec![(op, Some(answer))]).check(ledger)?)
}
