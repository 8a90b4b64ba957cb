//! A ledger in a process: the real ledger, rail and facilitator over the simulated disk.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use farthing::facilitator::{LocalFacilitator, carried};
use farthing::farthing_ledger::admin::{Deposit, NewAsset};
use farthing::farthing_ledger::command::Signed;
use farthing::farthing_ledger::engine::Stepper;
use farthing::farthing_ledger::{Ledger, Options};
use farthing::native::NativeSettle;
use farthing::protocol::rail::{
    BoxFuture, Facilitator, FacilitatorError, Outcome, PaymentId, Tenant, UnknownOutcome,
};
use farthing::protocol::v2::{FacilitatorRequest, SettlementResponse, SupportedResponse, VerifyResponse};
use farthing::protocol::{Amount, PublicKey, SecretKey};
use serde_json::Value;

use super::asked::Asked;
use super::disk::{Disk, Opened};
use super::host::Host;
use super::link::{Call, Message};
use super::plan::Place;
use super::planted;
use super::world::BEGINNING;

/// The only asset.
pub(crate) const ASSET: &str = "XTS";
const SCALE: u8 = 6;

/// The ledger of one process, while it is open.
#[derive(Clone)]
pub(crate) struct Books {
    host: Host,
    disk: Disk,
    open: Arc<Mutex<Option<Arc<LocalFacilitator>>>>,
}

/// The keys of everybody who is not a payer.
pub(crate) fn ledger_key() -> SecretKey {
    crate::key(103)
}

fn issuer() -> SecretKey {
    crate::key(104)
}

fn options(clock: impl Fn() -> u64 + Send + Sync + 'static) -> Options {
    let mut options = Options::closed_loop(crate::key(crate::SELLER).public(), Amount(1_000_000_000_000));
    options.clock = Arc::new(clock);
    options
}

/// Makes the ledger, gives the accounts money, and returns what a facilitator of it announces.
pub(crate) fn make(disk: &Disk, accounts: &[(PublicKey, u128)]) -> SupportedResponse {
    let (ledger, mut stepper) =
        Ledger::stepped(disk.open(None, None), ledger_key(), options(|| BEGINNING)).expect("an empty disk");
    let code = ASSET.parse().expect("a code");
    let asset = NewAsset { code, scale: SCALE, issuer: issuer().public() };
    now(ledger.register(asset), &mut stepper).expect("a new asset");
    for (n, (account, amount)) in accounts.iter().enumerate() {
        let reference = [u8::try_from(n).unwrap_or(0); 32];
        let deposit = Deposit { asset: code, account: *account, amount: Amount(*amount), reference };
        let deposit = Signed::<Deposit>::sign(&ledger.id(), deposit, &issuer());
        now(ledger.deposit(deposit), &mut stepper).expect("a deposit");
    }
    let rail = now(NativeSettle::new(ledger), &mut stepper).expect("a rail");
    let local = LocalFacilitator::new(vec![Arc::new(rail)]).expect("one rail");
    now(local.supported(), &mut stepper).expect("kinds")
}

/// Runs `work` to its end, applying what it queues.
fn now<T>(work: impl Future<Output = T>, stepper: &mut Stepper<Opened>) -> T {
    let mut work = pin!(work);
    loop {
        match work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(done) => return done,
            Poll::Pending => drop(stepper.step().expect("no fault is planted yet")),
        }
    }
}

impl Books {
    /// Opens the ledger in `host`'s process.
    pub(crate) fn open(host: &Host, disk: &Disk) -> Self {
        let books = Self { host: host.clone(), disk: disk.clone(), open: Arc::default() };
        books.reopen();
        books
    }

    fn reopen(&self) {
        let shared = self.host.world.lock().plan.place == Place::Shared;
        if !shared {
            self.disk.lose_what_is_not_flushed();
        }
        let chain = shared.then(|| u32::try_from(self.host.id).unwrap_or(0) + 1);
        let clock = self.host.clone();
        let opened = self.disk.open(Some(self.host.clone()), chain);
        let (ledger, mut stepper) =
            match Ledger::stepped(opened, ledger_key(), options(move || clock.unix_now())) {
                Ok(opened) => opened,
                Err(error) => {
                    let mut state = self.host.world.lock();
                    return state.oracle.fail(format!("the ledger cannot be opened: {error}"));
                }
            };
        let closing = self.clone();
        self.host.keeps_books(Box::new(move || stepper.step().is_ok()), move |_| closing.close());
        let open = self.open.clone();
        self.host.spawn(async move {
            // A ledger that was closed meanwhile is opened again by whoever closed it.
            let Ok(rail) = NativeSettle::new(ledger).await else { return };
            let local = LocalFacilitator::new(vec![Arc::new(rail)]).expect("one rail");
            *open.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(local));
        });
    }

    /// A batch failed: the ledger is opened again, in this process or in its next.
    fn close(&self) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let (recovers, pause) = {
            let mut state = self.host.world.lock();
            (state.plan.recovers, state.random.u64(20..3_000))
        };
        if !recovers {
            return self.host.die("its ledger is closed until it is opened again");
        }
        self.host.say("its ledger is closed until its storage is back");
        let books = self.clone();
        self.host.spawn(async move {
            books.host.sleep_ms(pause).await;
            books.reopen();
        });
    }

    fn local(&self) -> Option<Arc<LocalFacilitator>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Settles on behalf of the shop.
    pub(crate) async fn settle(&self, request: &FacilitatorRequest) -> Outcome {
        let Some(local) = self.local() else {
            return Outcome::Unknown(UnknownOutcome("the ledger is not open".into()));
        };
        let asked = Asked::of(request);
        planted::before_ledger(&self.host.world, &asked);
        let outcome = local.settle_as(&Tenant("shop".into()), request).await;
        let mut state = self.host.world.lock();
        let state = &mut *state;
        for (payment, outcome) in asked.payments.iter().zip(each(&outcome, asked.payments.len())) {
            state.oracle.settled(payment, &outcome);
            if let Outcome::NotSettled(said) = &outcome {
                let why = said.error_reason.as_deref().unwrap_or_default();
                state.figures.count_refusal(why);
                let (who, name) = (state.hosts[self.host.id].name.clone(), state.oracle.name(payment));
                state.say(&who, &format!("the ledger refuses to {} {name}: {why}", asked.word()));
            }
        }
        outcome
    }

    /// The ledger's word on a payment.
    pub(crate) async fn payment(&self, id: &PaymentId) -> Option<Value> {
        let statement = self.local()?.payment(id).await.ok()??;
        self.host.world.lock().oracle.stated(id, &statement);
        Some(statement)
    }

    /// Answers a question that came over a link; `false` when it is none for a ledger.
    pub(crate) fn answer(&self, call: &Call) -> bool {
        let (books, call) = (self.clone(), call.clone());
        match call.message.clone() {
            Message::Settle(json) => self.host.spawn(async move {
                books.host.point("a settlement arrived").await;
                let Ok(request) = serde_json::from_slice::<FacilitatorRequest>(&json) else { return };
                let outcome = books.settle(&request).await;
                let (status, message) = carried::answer(&request, &outcome);
                let json = serde_json::to_vec(message.as_ref()).unwrap_or_default();
                call.reply(Message::Settled(status, json.into()));
            }),
            Message::Status(id) => self.host.spawn(async move {
                let statement = books.payment(&id).await;
                let json = statement.and_then(|said| serde_json::to_vec(&said).ok());
                call.reply(Message::Statement(json.map(Bytes::from)));
            }),
            _ => return false,
        }
        true
    }
}

/// The outcome for each payment of a settlement for several.
fn each(outcome: &Outcome, payments: usize) -> Vec<Outcome> {
    let results = match outcome {
        Outcome::Settled(said) if payments > 1 => said.extra.get("results").and_then(Value::as_array),
        _ => None,
    };
    let Some(results) = results else { return vec![outcome.clone(); payments] };
    let read = |result: &Value| match serde_json::from_value::<SettlementResponse>(result.clone()) {
        Ok(said) if said.success => Outcome::Settled(said),
        Ok(said) => Outcome::NotSettled(said),
        Err(error) => Outcome::Unknown(UnknownOutcome(error.to_string())),
    };
    results.iter().map(read).collect()
}

/// Asks for settlements over a link.
pub(crate) async fn settle_over_link(host: &Host, to: usize, request: &FacilitatorRequest) -> Outcome {
    let unknown = |why: &str| Outcome::Unknown(UnknownOutcome(why.to_owned()));
    let Ok(json) = serde_json::to_vec(request) else { return unknown("no JSON") };
    match host.ask(to, Message::Settle(json.into()), Duration::from_secs(10)).await {
        Ok(Message::Settled(status, json)) => match serde_json::from_slice(&json) {
            Ok(message) => carried::outcome(request, status, message),
            Err(_) => unknown("the answer is not JSON"),
        },
        Ok(_) => unknown("a foreign answer"),
        Err(why) => unknown(why),
    }
}

/// The facilitator as a payer knows it: terms, and statements over a link.
pub(crate) struct Teller {
    pub(crate) host: Host,
    pub(crate) at: usize,
    pub(crate) supported: SupportedResponse,
}

impl fmt::Debug for Teller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Teller")
    }
}

impl Facilitator for Teller {
    fn supported(&self) -> BoxFuture<'_, Result<SupportedResponse, FacilitatorError>> {
        Box::pin(async { Ok(self.supported.clone()) })
    }

    fn verify<'a>(
        &'a self,
        _: &'a FacilitatorRequest,
    ) -> BoxFuture<'a, Result<VerifyResponse, FacilitatorError>> {
        Box::pin(async { Err(FacilitatorError::Unreachable("payers do not verify".into())) })
    }

    fn settle<'a>(&'a self, _: &'a FacilitatorRequest) -> BoxFuture<'a, Outcome> {
        Box::pin(async { Outcome::Unknown(UnknownOutcome("payers do not settle".into())) })
    }

    fn payment<'a>(&'a self, id: &'a PaymentId) -> BoxFuture<'a, Result<Option<Value>, FacilitatorError>> {
        Box::pin(async move {
            let unreachable = |why: &str| FacilitatorError::Unreachable(why.to_owned());
            // Whatever incarnation of this host asks.
            let incarnation = self.host.world.lock().hosts[self.host.id].incarnation;
            let host = Host { incarnation, ..self.host.clone() };
            match host.ask(self.at, Message::Status(*id), Duration::from_secs(10)).await {
                Ok(Message::Statement(Some(json))) => {
                    serde_json::from_slice(&json).map_err(|_| unreachable("not JSON"))
                }
                Ok(_) => Err(unreachable("the ledger could not say")),
                Err(why) => Err(unreachable(why)),
            }
        })
    }
}
