//! An honest payer: the real client flow, policy, budget and journal, and a program that obeys their advice.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use farthing::client::budget::{Charge, Limits, Spending};
use farthing::client::flow::{Action, Answer, End, Event};
use farthing::client::journal::{Answered, Journal, JournalError, PricedPlace, ReserveError, Ticket};
use farthing::client::{
    AssetId, Budget, Client, ClientError, Flow, MemoryJournal, PaymentHeader, Policy, Record, Request, State,
};
use farthing::native::NativePay;
use farthing::native::pay::Reach;
use farthing::protocol::rail::{Confirmation, Facilitator, Pay, PaymentId};
use farthing::protocol::v2::SupportedResponse;
use farthing::protocol::{Amount, Network, Origin, PublicKey, Retry, SecretKey};
use http::{HeaderMap, HeaderValue, Method};

use super::books::{ASSET, Teller};
use super::host::Host;
use super::link::{Message, WebAnswer, WebRequest};
use super::shop::{ORIGIN, ROUTES};
use super::world::World;

/// How often one logical request may be signed for.
const SIGNATURES: u32 = 3;

/// What a payer's machine keeps over crashes.
#[derive(Clone)]
pub(crate) struct Purse {
    pub(crate) account: PublicKey,
    journal: Arc<Flushed>,
    asset: AssetId,
    policy: Arc<Policy>,
    errands: Arc<Mutex<Vec<Errand>>>,
    servers: Vec<usize>,
}

/// One logical request: what somebody wants, once.
#[derive(Clone, Debug)]
struct Errand {
    method: Method,
    target: String,
    body: Bytes,
    /// Milliseconds.
    starts_at: u64,
    /// Milliseconds after which its client hangs up, once.
    hangs_up: Option<u64>,
    signatures: u32,
    over: bool,
}

/// A journal whose process may crash before and after it has written a payment down.
#[derive(Debug)]
pub(crate) struct Flushed {
    journal: MemoryJournal,
    /// Payments by the target of their request.
    signed: Mutex<Vec<(String, PaymentId)>>,
    at: Place,
}

struct Place {
    world: World,
    host: usize,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host {}", self.host)
    }
}

impl Flushed {
    /// The payments for one request, the last one first.
    fn payments_for(&self, target: &str) -> Vec<Record> {
        let signed = self.signed.lock().unwrap_or_else(PoisonError::into_inner);
        let of = signed.iter().rev().filter(|(other, _)| other == target);
        of.filter_map(|(_, id)| self.journal.find(id).ok().flatten()).collect()
    }

    fn host(&self) -> Host {
        let incarnation = self.at.world.lock().hosts[self.at.host].incarnation;
        Host { world: self.at.world.clone(), id: self.at.host, incarnation }
    }
}

impl Journal for Flushed {
    fn reserve(&self, charge: &Charge, limits: &Limits) -> Result<Ticket, ReserveError> {
        self.journal.reserve(charge, limits)
    }

    fn cancel(&self, ticket: Ticket) {
        self.journal.cancel(ticket);
    }

    fn record(&self, ticket: Ticket, record: Record) -> Result<(), JournalError> {
        let dead = || Err(JournalError::Failed("the process is gone".into()));
        let host = self.host();
        if host.crashes_at("before the journal is flushed") {
            return dead();
        }
        let (id, errand, valid_before) = (record.id(), record.target.clone(), record.payment.valid_before);
        self.journal.record(ticket, record)?;
        self.signed.lock().unwrap_or_else(PoisonError::into_inner).push((errand.clone(), id));
        {
            let mut state = host.world.lock();
            let state = &mut *state;
            let (who, name) = (state.hosts[host.id].name.clone(), state.oracle.name(&id));
            state.say(&who, &format!("signs {name} for {errand}"));
            state.oracle.signs(&format!("{who} {errand}"), id, valid_before);
        }
        if host.crashes_at("after the journal is flushed") {
            return dead();
        }
        Ok(())
    }

    fn answered(&self, id: &PaymentId, news: State, said: Answered) -> Result<Option<State>, JournalError> {
        self.journal.answered(id, news, said)
    }

    fn find(&self, id: &PaymentId) -> Result<Option<Record>, JournalError> {
        self.journal.find(id)
    }

    fn open(&self) -> Result<Vec<Record>, JournalError> {
        self.journal.open()
    }

    fn spending(&self) -> Result<Spending, JournalError> {
        self.journal.spending()
    }

    fn payees(&self, origin: &Origin, network: &Network) -> Result<Vec<String>, JournalError> {
        self.journal.payees(origin, network)
    }

    fn accepted_price(&self, place: &PricedPlace) -> Result<Option<Amount>, JournalError> {
        self.journal.accepted_price(place)
    }

    fn approve(&self, origin: &Origin, network: &Network, payee: &str) -> Result<(), JournalError> {
        self.journal.approve(origin, network, payee)
    }
}

/// A wallet whose statements come over a link from `teller`.
pub(crate) fn wallet(host: &Host, teller: usize, supported: &SupportedResponse, key: SecretKey) -> NativePay {
    let reach = {
        let mut state = host.world.lock();
        let capture = [90, 200, 900][state.random.usize(0..3)];
        Reach { valid: state.random.u64(60..300), capture, ..Reach::default() }
    };
    let source: Arc<dyn Facilitator> =
        Arc::new(Teller { host: host.clone(), at: teller, supported: supported.clone() });
    let mut connecting = pin!(NativePay::connect(source, None, key));
    // The terms are known already, so nothing is waited for.
    match connecting.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(wallet)) => wallet.reach(reach),
        other => panic!("the terms are at hand: {:?}", other.map(|wallet| wallet.map(|_| ()))),
    }
}

/// What a payer has before its host is started for the first time.
pub(crate) fn purse(
    host: &Host,
    teller: usize,
    servers: &[usize],
    supported: &SupportedResponse,
    key: SecretKey,
) -> Purse {
    let account = key.public();
    let rail = Arc::new(wallet(host, teller, supported, key));
    let asset = AssetId { network: rail.network().clone(), asset: ASSET.into() };
    let at = Place { world: host.world.clone(), host: host.id };
    let journal = Arc::new(Flushed { journal: MemoryJournal::new(), signed: Mutex::default(), at });
    let budget = Budget::new("2 XTS").expect("a budget");
    let policy =
        Client::builder().allow_any_origin().rail(rail).budget(budget).journal(journal.clone()).policy();
    let count = host.world.lock().plan.errands;
    let errands = (0..count).map(|n| errand(host, n)).collect();
    Purse {
        account,
        journal,
        asset,
        policy: policy.expect("a policy"),
        errands: Arc::new(Mutex::new(errands)),
        servers: servers.to_vec(),
    }
}

fn errand(host: &Host, n: usize) -> Errand {
    let mut state = host.world.lock();
    let state = &mut *state;
    let route = ROUTES[state.random.usize(0..ROUTES.len())];
    let (method, body) = match route {
        "post" => (Method::POST, Bytes::from(format!("order {n}"))),
        _ => (Method::GET, Bytes::new()),
    };
    let per_mille = state.plan.hangs_up;
    Errand {
        method,
        target: format!("/{route}?errand={}-{n}", host.id),
        body,
        starts_at: state.random.u64(0..150_000),
        hangs_up: state.chance(per_mille).then(|| state.random.u64(1..8_000)),
        signatures: 0,
        over: false,
    }
}

impl Purse {
    /// Starts the payer's process: every errand that is not over goes on, and the ledger is asked about every
    /// payment that is open.
    pub(crate) fn boot(&self, host: &Host) {
        let (purse, at) = (self.clone(), host.clone());
        host.spawn(async move { purse.reconcile(&at).await });
        for at in 0..self.errands().len() {
            let (purse, host) = (self.clone(), host.clone());
            host.clone().spawn(async move { purse.run(host, at).await });
        }
    }

    /// Whether every errand is over.
    pub(crate) fn is_done(&self) -> bool {
        self.errands().iter().all(|errand| errand.over)
    }

    /// Atomic units that were taken, by the journal, once it knows of every payment.
    pub(crate) fn spent(&self) -> Option<u128> {
        let open = self.journal.open().ok()?;
        let spending = self.journal.spending().ok()?;
        open.is_empty().then(|| spending.total(&self.asset).0)
    }

    fn errands(&self) -> MutexGuard<'_, Vec<Errand>> {
        self.errands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(self, host: Host, at: usize) {
        let errand = self.errands()[at].clone();
        let now = host.world.now();
        host.sleep_ms(errand.starts_at.saturating_sub(now)).await;
        loop {
            if self.errands()[at].over {
                return;
            }
            // Whatever was signed for it before: first that must be known to be dead, or taken.
            while let Some(record) = self.first_alive(&errand) {
                if matches!(record.state, State::Confirmed(_)) {
                    self.fetch(&host, &errand, &record).await;
                    return self.over(&host, at, "was paid for");
                }
                self.ask_ledger(&host, &record).await;
                host.sleep_ms(7_000).await;
            }
            if self.errands()[at].signatures >= SIGNATURES {
                return self.over(&host, at, "is given up");
            }
            self.errands()[at].signatures += 1;
            let mut request = Request::new(errand.method.clone(), &format!("{ORIGIN}{}", errand.target))
                .expect("a request");
            request.set_body(errand.body.clone());
            let hangs_up = self.errands()[at].hangs_up.take();
            let paying = self.pay(&host, Flow::pay(self.policy.clone(), request));
            match hangs_up {
                None => {
                    if paying.await {
                        return self.over(&host, at, "is served");
                    }
                }
                Some(after) => {
                    let hung_up = first(paying, host.sleep_ms(after)).await;
                    match hung_up {
                        Some(true) => return self.over(&host, at, "is served"),
                        Some(false) => {}
                        None => host.say(&format!("hangs up on {}", errand.target)),
                    }
                }
            }
            host.sleep_ms(3_000).await;
        }
    }

    /// Whether the request was answered for good.
    async fn pay(&self, host: &Host, mut flow: Flow) -> bool {
        for _ in 0..6 {
            let error = match self.drive(host, flow).await {
                Ok(End::Paid(report)) => return report.confirmation != Confirmation::NotTaken,
                Ok(_) => return true,
                Err(error) => error,
            };
            match (error.retry(), error.prepared()) {
                (Retry::Same, Some(prepared)) => {
                    let pause = host.world.lock().random.u64(2_000..30_000);
                    host.sleep_ms(pause).await;
                    flow = Flow::present(self.policy.clone(), prepared.clone());
                }
                // Whether another may be signed is for the journal to say.
                _ => return false,
            }
        }
        false
    }

    /// Carries out a flow's actions until its end.
    async fn drive(&self, host: &Host, mut flow: Flow) -> Result<End, ClientError> {
        let mut event = Event::Start;
        loop {
            let (now, random) = (host.unix_now(), random(host));
            event = match flow.step(event, now, random) {
                Action::Done(end) => return *end,
                Action::Send => self.exchange(host, &flow, None).await,
                Action::SendPaid { header } => self.exchange(host, &flow, Some(&header)).await,
                Action::LookUp => {
                    let asked = flow.look_up().ok_or(ClientError::OutOfTurn)?;
                    Event::LookedUp(asked.await)
                }
                Action::Approve(_) => Event::Decided(Err(farthing::client::approval::ApprovalError::Nobody)),
                Action::Wait(pause) => {
                    host.sleep(pause).await;
                    Event::Waited
                }
                Action::AskStatus => {
                    let status = flow.status().ok_or(ClientError::OutOfTurn)?;
                    let status = first(status, host.sleep_ms(10_000)).await;
                    Event::Status(status.unwrap_or(Confirmation::Unproven))
                }
            };
        }
    }

    async fn exchange(&self, host: &Host, flow: &Flow, payment: Option<&PaymentHeader>) -> Event {
        let request = flow.request();
        let mut headers = request.headers().clone();
        pay_with(&mut headers, payment);
        let sent = WebRequest {
            method: request.method().clone(),
            target: request.target().to_owned(),
            headers,
            body: request.body().clone(),
        };
        match self.send(host, sent).await {
            Ok(WebAnswer { status, headers, body }) => {
                let limit = flow.body_limit(status, &headers);
                let complete = body.len() <= limit;
                let body = body.slice(..body.len().min(limit));
                Event::Answered(Answer { status, headers, body, complete })
            }
            Err(why) => Event::Lost { why: why.to_owned() },
        }
    }

    /// To any of the servers, as behind a balancer.
    async fn send(&self, host: &Host, request: WebRequest) -> Result<WebAnswer, &'static str> {
        host.point("before a request is sent").await;
        let (server, patience) = {
            let mut state = host.world.lock();
            (self.servers[state.random.usize(0..self.servers.len())], state.random.u64(4_000..40_000))
        };
        let answer = host.ask(server, Message::Request(request), Duration::from_millis(patience)).await;
        host.point("after an answer came").await;
        match answer {
            Ok(Message::Answer(answer)) => Ok(answer),
            Ok(_) => Err("a foreign answer"),
            Err(why) => Err(why),
        }
    }

    /// A payment for this errand that was taken, or may still be.
    fn first_alive(&self, errand: &Errand) -> Option<Record> {
        let payments = self.journal.payments_for(&errand.target);
        payments.into_iter().find(|record| record.state != State::Released)
    }

    /// Asks the ledger about a payment, and writes down what it says.
    async fn ask_ledger(&self, host: &Host, record: &Record) {
        let status = first(self.policy.status(record), host.sleep_ms(10_000)).await;
        if let Err(error) = self.policy.learn(record, status.unwrap_or(Confirmation::Unproven)) {
            host.world.lock().oracle.fail(error.to_string());
        }
    }

    async fn reconcile(&self, host: &Host) {
        loop {
            host.sleep(Duration::from_secs(60)).await;
            for record in self.policy.open_payments().unwrap_or_default() {
                self.ask_ledger(host, &record).await;
            }
        }
    }

    /// The answer to a payment that was taken is stored: the same payment gets it, and nothing runs again.
    async fn fetch(&self, host: &Host, errand: &Errand, record: &Record) {
        let mut headers = HeaderMap::new();
        pay_with(&mut headers, Some(&record.header));
        let (method, target, body) = (errand.method.clone(), errand.target.clone(), errand.body.clone());
        drop(self.send(host, WebRequest { method, target, headers, body }).await);
    }

    fn over(&self, host: &Host, at: usize, how: &str) {
        let target = {
            let mut errands = self.errands();
            errands[at].over = true;
            errands[at].target.clone()
        };
        host.say(&format!("{target} {how}"));
    }
}

pub(crate) fn pay_with(headers: &mut HeaderMap, payment: Option<&PaymentHeader>) {
    let Some(payment) = payment else { return };
    if let Ok(value) = HeaderValue::from_str(payment.expose()) {
        headers.insert(payment.name(), value);
    }
}

pub(crate) fn random(host: &Host) -> [u8; 32] {
    let mut bytes = [0; 32];
    host.world.lock().random.fill(&mut bytes);
    bytes
}

/// What `work` makes of it, unless `pause` is over first.
async fn first<T>(work: impl Future<Output = T>, pause: impl Future<Output = ()>) -> Option<T> {
    let (mut work, mut pause) = (pin!(work), pin!(pause));
    std::future::poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => pause.as_mut().poll(context).map(|()| None),
    })
    .await
}
