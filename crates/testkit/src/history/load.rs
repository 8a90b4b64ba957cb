//! Concurrent clients that fight over a few payments of each payer, and record what happens.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use farthing::Ledger;
use farthing::farthing_ledger::admin::{Deposit, NewAsset};
use farthing::farthing_ledger::command::Signed;
use farthing::farthing_ledger::operation::{Action, Op, signed_bytes};
use farthing::farthing_ledger::terms::{FeeTerms, Scheme, Terms, TermsFlow};
use farthing::farthing_ledger::{AssetCode, LedgerId};
use farthing::protocol::{Amount, Binding, PublicKey, RequestDigest, SecretKey};

use super::ask::{ASSET, Ask, Desk, Heard};
use super::record::{Found, History, Outcome, Pays, Recorder, Status, Step};
use crate::world::{ISSUER, key};

/// Payments of one payer that clients fight over at the same time.
const WINDOW: usize = 6;
/// Operations of a client after which its window moves on by one payment.
const PACE: usize = 4;

/// A load: payers, the clients of each, and what each client does.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// What is drawn is drawn from this; keys and nonces too.
    pub seed: u64,
    /// Payers.
    pub accounts: usize,
    /// Clients that work on one payer's payments at the same time.
    pub clients: usize,
    /// Operations of each client.
    pub operations: usize,
    /// Payments that each payer signs, ten at least. It has money for some of them, not for all.
    pub payments: usize,
    /// Unix seconds: when the ledger's clock stands at the start.
    pub now: u64,
}

/// A load that was run.
#[derive(Clone, Debug)]
pub struct Ran {
    /// What happened.
    pub history: History,
    /// How often each answer came, by name.
    pub heard: BTreeMap<&'static str, usize>,
}

impl Load {
    /// Gives each payer its money, and the payee enough for every refund.
    ///
    /// # Panics
    /// When the ledger refuses.
    pub async fn fund(&self, ledger: &Ledger) {
        let issuer = key(ISSUER);
        ledger.register(NewAsset { code: asset(), scale: 6, issuer: issuer.public() }).await.unwrap();
        let mut accounts: Vec<_> =
            (0..self.accounts).map(|nth| (self.payer(nth).public(), self.funds())).collect();
        accounts.push((self.key(b's', 0).public(), 1_000_000_000));
        for (account, amount) in accounts {
            let reference = account.0;
            let deposit = Deposit { asset: asset(), account, amount: Amount(amount), reference };
            ledger.deposit(Signed::<Deposit>::sign(&ledger.id(), deposit, &issuer)).await.unwrap();
        }
    }

    /// Runs it: each client puts its operations one after the other, each at one of the `desks`. In the end
    /// everything is read once more; at the first desk, which must answer by then.
    ///
    /// # Panics
    /// When the last reads are not answered.
    pub async fn run(&self, ledger: LedgerId, desks: Vec<Arc<dyn Desk>>) -> Ran {
        self.run_until(ledger, desks, Arc::new(AtomicBool::new(false)), async {}).await
    }

    /// As [`run`](Self::run). Clients end early once `stop` is set, and the last reads wait for `calm`.
    ///
    /// # Panics
    /// As [`run`](Self::run).
    pub async fn run_until(
        &self,
        ledger: LedgerId,
        desks: Vec<Arc<dyn Desk>>,
        stop: Arc<AtomicBool>,
        calm: impl Future<Output = ()>,
    ) -> Ran {
        let recorder = Recorder::default();
        let heard = Arc::new(Mutex::new(BTreeMap::new()));
        let mut clients = tokio::task::JoinSet::new();
        let mut payers = Vec::new();
        for nth in 0..self.accounts {
            let payer = Arc::new(self.sign(ledger, nth));
            recorder.opens(payer.account, self.funds());
            for client in 0..self.clients {
                let dice =
                    fastrand::Rng::with_seed(self.seed ^ ((nth * self.clients + client) as u64 + 1) << 20);
                let (recorder, heard) = (recorder.clone(), heard.clone());
                let client =
                    Client { payer: payer.clone(), desks: desks.clone(), recorder, heard, dice, nth: client };
                clients.spawn(client.run(self.operations, stop.clone()));
            }
            payers.push(payer);
        }
        while let Some(ended) = clients.join_next().await {
            ended.unwrap();
        }
        calm.await;
        for payer in &payers {
            let reads = payer.payments.iter().map(Draw::Read);
            for draw in [Draw::Balance].into_iter().chain(reads) {
                let (step, ask) = payer.step(&draw);
                let call = recorder.sends(payer.account, step);
                match desks[0].ask(ask).await {
                    Heard::Answered(outcome) => call.answered(outcome),
                    other => panic!("the last reads must be answered: {other:?}"),
                }
            }
        }
        let heard = heard.lock().unwrap().clone();
        Ran { history: recorder.history(), heard }
    }

    /// The payer of this number.
    pub fn payer(&self, nth: usize) -> SecretKey {
        self.key(b'p', nth)
    }

    /// What each payer has at the start, in atomic units; a payment is of 500 to 1,400.
    fn funds(&self) -> u128 {
        self.payments as u128 * 300
    }

    fn key(&self, role: u8, nth: usize) -> SecretKey {
        let mut seed = [role; 32];
        seed[..8].copy_from_slice(&self.seed.to_be_bytes());
        seed[8..16].copy_from_slice(&(nth as u64).to_be_bytes());
        SecretKey::from_seed(seed)
    }

    fn sign(&self, ledger: LedgerId, nth: usize) -> Payer {
        let (key, authorizer) = (self.payer(nth), self.key(b'a', 0));
        let mut dice = fastrand::Rng::with_seed(self.seed.wrapping_mul(31) + nth as u64);
        let mut payments = Vec::new();
        for number in 0..self.payments as u64 {
            let (exact, charged) = (number % 5 == 4, number % 5 == 3);
            // Of each ten, the last one has the nonce of the seventh: at most one of them can be.
            let mut nonce = [0; 32];
            let shared = if number % 10 == 9 { number - 3 } else { number };
            nonce[..8].copy_from_slice(&shared.to_be_bytes());
            let terms = Terms {
                ledger,
                scheme: if exact { Scheme::Exact } else { Scheme::AuthCapture },
                flow: if charged { TermsFlow::Charge } else { TermsFlow::Escrow },
                payer: key.public(),
                signer: key.public(),
                payee: self.key(b's', 0).public(),
                receiver_authorizer: authorizer.public(),
                asset: asset(),
                max_amount: Amount(u128::from(500 + 100 * dice.u64(..10))),
                valid_after: 0,
                valid_before: self.now + 3_000,
                capture_deadline: if charged { 0 } else { self.now + 86_400 },
                refund_deadline: if exact { 0 } else { self.now + 86_400 },
                fee: FeeTerms::default(),
                mandate: [0; 32],
                nonce,
                binding: Binding::Body,
                digest: RequestDigest([7; 32]),
            };
            let signed = terms.encode();
            let pays = Pays { payment: terms.id(), maximum: terms.max_amount.0, nonce, exact };
            let epoch = AtomicU64::new(1);
            payments.push(Payment { signature: key.sign(&signed), signed, pays, charged, epoch });
        }
        Payer { account: key.public(), ledger, authorizer, payments }
    }
}

fn asset() -> AssetCode {
    ASSET.parse().unwrap()
}

/// A payment that was signed.
struct Payment {
    signed: Vec<u8>,
    signature: farthing::protocol::Signature,
    pays: Pays,
    charged: bool,
    /// The last epoch that anybody heard of.
    epoch: AtomicU64,
}

struct Payer {
    account: PublicKey,
    ledger: LedgerId,
    authorizer: SecretKey,
    payments: Vec<Payment>,
}

/// What a client draws.
enum Draw<'a> {
    /// With the owner and its lease in seconds.
    Authorize(&'a Payment, [u8; 16], u32),
    Operate(&'a Payment, Action, u128, bool),
    Balance,
    Read(&'a Payment),
}

impl Payer {
    /// A draw as the model sees it, and as it is sent.
    fn step(&self, draw: &Draw<'_>) -> (Step, Ask) {
        match *draw {
            Draw::Authorize(payment, owner, lease) => (
                Step::Authorize(payment.pays, owner),
                Ask::Authorize(payment.signed.clone(), payment.signature, owner, lease),
            ),
            Draw::Operate(payment, action, amount, last) => self.operate(payment, action, amount, last),
            Draw::Balance => (Step::Balance, Ask::Balance(self.account)),
            Draw::Read(payment) => {
                (Step::Statement(payment.pays.payment), Ask::Payment(payment.pays.payment.0))
            }
        }
    }

    fn operate(&self, payment: &Payment, action: Action, cumulative: u128, last: bool) -> (Step, Ask) {
        let id = payment.pays.payment;
        let owned = matches!(action, Action::Capture | Action::Void);
        let epoch = if owned { payment.epoch.load(Ordering::SeqCst) } else { 0 };
        let step = match action {
            Action::Capture => Step::Capture { payment: id, cumulative, last, epoch },
            Action::Void => Step::Void { payment: id, epoch },
            Action::Refund => Step::Refund { payment: id, cumulative },
            Action::Charge => Step::Charge(payment.pays, cumulative),
        };
        let op = Op { payment: id, action, cumulative: Amount(cumulative), last, epoch, answer: [0; 32] };
        let signature = self.authorizer.sign(&signed_bytes(&self.ledger, &[op]));
        let ask = match action {
            Action::Charge => Ask::Charge(payment.signed.clone(), payment.signature, op.encode(), signature),
            _ => Ask::Operate(op.encode(), self.authorizer.public(), signature),
        };
        (step, ask)
    }
}

struct Client {
    payer: Arc<Payer>,
    desks: Vec<Arc<dyn Desk>>,
    recorder: Recorder,
    heard: Arc<Mutex<BTreeMap<&'static str, usize>>>,
    dice: fastrand::Rng,
    nth: usize,
}

impl Client {
    async fn run(mut self, operations: usize, stop: Arc<AtomicBool>) {
        let payer = self.payer.clone();
        for done in 0..operations {
            if stop.load(Ordering::SeqCst) {
                return;
            }
            let (step, ask) = payer.step(&self.draw(&payer, done));
            let mut heard = self.put(step, ask.clone()).await;
            // Who does not know says the same again, at any desk.
            for _ in 0..2 {
                if heard == Heard::Unknown && self.dice.u64(..2) == 0 {
                    heard = self.put(step, ask.clone()).await;
                }
            }
        }
    }

    async fn put(&mut self, step: Step, ask: Ask) -> Heard {
        let desk = self.desks[self.dice.usize(..self.desks.len())].clone();
        let call = self.recorder.sends(self.payer.account, step);
        let heard = desk.ask(ask).await;
        match heard {
            Heard::Answered(outcome) => call.answered(outcome),
            Heard::Untaken => call.untaken(),
            Heard::Unknown => drop(call),
        }
        if let Heard::Answered(Outcome::Authorized(_, Status { epoch, .. })) = heard {
            let id = match step {
                Step::Authorize(pays, _) | Step::Charge(pays, _) => pays.payment,
                _ => unreachable!("only these authorize"),
            };
            let signed = self.payer.payments.iter().find(|signed| signed.pays.payment == id);
            signed.unwrap().epoch.store(epoch, Ordering::SeqCst);
        }
        *self.heard.lock().unwrap().entry(name(&step, &heard)).or_default() += 1;
        if heard == Heard::Untaken {
            // Nobody is there: come again a little later.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        heard
    }

    fn draw<'a>(&mut self, payer: &'a Payer, done: usize) -> Draw<'a> {
        let from = (done / PACE).min(payer.payments.len() - WINDOW);
        let payment = &payer.payments[from + self.dice.usize(..WINDOW)];
        let parts = [0, payment.pays.maximum / 2, payment.pays.maximum, payment.pays.maximum + 1];
        let part = parts[[0, 1, 1, 1, 2, 2, 2, 2, 3][self.dice.usize(..9)]];
        match self.dice.u64(..20) {
            0..=7 if payment.charged => Draw::Operate(payment, Action::Charge, part, true),
            0..=7 => {
                let lease = if self.dice.u64(..3) == 0 { 0 } else { 3_600 };
                Draw::Authorize(payment, [self.nth as u8 % 2 + 1; 16], lease)
            }
            8..=11 => Draw::Operate(payment, Action::Capture, part, self.dice.u64(..4) > 0),
            12..=13 => Draw::Operate(payment, Action::Void, 0, false),
            14..=15 => Draw::Operate(payment, Action::Refund, part, false),
            16..=17 => Draw::Balance,
            _ => Draw::Read(payment),
        }
    }
}

fn name(step: &Step, heard: &Heard) -> &'static str {
    match (step, heard) {
        (_, Heard::Untaken) => "untaken",
        (_, Heard::Unknown) => "unknown",
        (_, Heard::Answered(Outcome::Refused(_))) => "refused",
        (Step::Charge(..), _) => "charged",
        (_, Heard::Answered(Outcome::Authorized(found, _))) => match found {
            Found::Owner => "held",
            Found::TakenOver => "taken over",
            Found::InProgress => "in progress",
            Found::Ended => "ended",
        },
        (Step::Capture { .. }, _) => "captured",
        (Step::Void { .. }, _) => "voided",
        (Step::Refund { .. }, _) => "refunded",
        _ => "read",
    }
}
