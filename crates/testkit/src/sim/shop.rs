//! A server process: the real flow, desk and serving, with handlers that succeed, fail, panic and dawdle.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use farthing::farthing_ledger::terms::Scheme;
use farthing::native::NativeOffer;
use farthing::protocol::digest::BodyHash;
use farthing::protocol::header::{PAYMENT_RESPONSE, decode_settlement};
use farthing::protocol::rail::{BoxFuture, Offer, Outcome, PaymentId};
use farthing::protocol::v2::{FacilitatorRequest, SupportedResponse};
use farthing::protocol::{Amount, Limits};
use farthing::server::answer::{Answer, Content, Situation};
use farthing::server::desk::Desk;
use farthing::server::flow::{HandlerAnswer, Kept, Later, OnDisconnect, Route, Seller};
use farthing::server::metering::{Meter, Metered, Tap, Unit};
use farthing::server::pricing::Prices;
use farthing::server::serving::{Process, Serving, Visit};
use farthing::server::till::Till;
use farthing::server::{Durability, PaidBy};
use futures_util::{Stream, stream};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;

use super::asked::{Asked, What};
use super::books::{Books, settle_over_link};
use super::disk::Disk;
use super::host::Host;
use super::link::{Call, Message, WebAnswer, WebRequest};
use super::oracle::{RunEnd, run_mark};
use super::planted::{self, Planted, Usurper};
use crate::key;

pub(crate) const ORIGIN: &str = "https://shop.example";
pub(crate) const PRICE: u128 = 10_000;
/// Of one event of a stream.
const EVENT: u128 = 1_000;
/// Bytes of an answer that are kept.
const KEPT: usize = 1024;

/// The routes, by the first segment of their path.
pub(crate) const ROUTES: [&str; 7] = ["sun", "post", "metered", "quick", "stream", "long", "flow"];

/// Who settles for a server.
#[derive(Clone)]
enum Settler {
    Here(Books),
    Behind(usize),
}

/// A server process.
pub(crate) struct Shop {
    host: Host,
    settler: Settler,
    routes: BTreeMap<&'static str, Arc<Route>>,
    desk: Mutex<Desk<Kept<Bytes>>>,
    till: Till,
    /// The owner epoch that the ledger gave this process, by payment.
    epochs: Mutex<BTreeMap<PaymentId, u64>>,
}

/// Starts a server in `host`'s process; with `disk` the ledger is in it too, else behind `facilitator`.
pub(crate) fn boot(host: &Host, supported: &SupportedResponse, disk: Option<&Disk>, facilitator: usize) {
    let settler = match disk {
        Some(disk) => Settler::Here(Books::open(host, disk)),
        None => Settler::Behind(facilitator),
    };
    let (owner_id, room) = {
        let mut state = host.world.lock();
        let mut id = [0; 16];
        state.random.fill(&mut id);
        (id, state.random.usize(4..64))
    };
    let shop = Arc::new(Shop {
        host: host.clone(),
        settler,
        routes: routes(host, supported, owner_id),
        desk: Mutex::new(Desk::new(room)),
        till: Till::default(),
        epochs: Mutex::default(),
    });
    host.listen(move |call| {
        if let Settler::Here(books) = &shop.settler
            && books.answer(&call)
        {
            return;
        }
        if let Message::Request(request) = call.message.clone() {
            let shop = shop.clone();
            shop.host.clone().spawn(serve(shop, call, request));
        }
    });
}

fn rail(host: &Host, supported: &SupportedResponse, scheme: Scheme) -> Arc<dyn Offer> {
    let kind =
        supported.kinds.iter().find(|kind| kind.scheme == scheme.name()).expect("the scheme is settled");
    let network = kind.network.parse().expect("a network");
    let terms = Value::Object(kind.extra.clone().unwrap_or_default());
    let terms = serde_json::from_value(terms).expect("the ledger's terms");
    let rail = NativeOffer::new(scheme, &network, terms, key(crate::SELLER).public(), key(102));
    let rail: Arc<dyn Offer> = Arc::new(rail.expect("the ledger's own terms"));
    match host.world.lock().planted {
        Some(Planted::StaleOwnerCaptures) => Arc::new(Usurper { world: host.world.clone(), rail }),
        _ => rail,
    }
}

fn routes(
    host: &Host,
    supported: &SupportedResponse,
    owner_id: [u8; 16],
) -> BTreeMap<&'static str, Arc<Route>> {
    let seller = |schemes: &[Scheme]| {
        Arc::new(Seller {
            origin: ORIGIN.parse().expect("an origin"),
            rails: schemes.iter().map(|scheme| rail(host, supported, *scheme)).collect(),
            receipt_key: key(105),
            limits: Limits { answer_bytes: KEPT, ..Limits::default() },
            owner_id,
            payments: "".into(),
        })
    };
    let exact = seller(&[Scheme::Exact]);
    let metered = seller(&[Scheme::AuthCapture, Scheme::Exact]);
    let flows = seller(&[Scheme::Upto]);
    let unit = Unit::Event { price: "0.001 XTS".parse().expect("a price") };
    let flow =
        Metered { unit, every: NonZeroU64::new(2), longest: Duration::from_secs(60), ..Metered::default() };
    let prices = Prices::of("0.01 XTS".parse().expect("a price"));
    let plain = Route { handler_deadline: Duration::from_secs(12), ..Route::new(exact, prices) };
    let of = |name: &'static str| {
        let route = plain.clone();
        let route = match name {
            "post" => Route { handler_deadline: Duration::from_secs(8), ..route },
            "metered" => Route { seller: metered.clone(), max_timeout_seconds: 90, ..route },
            "quick" => {
                let handler_deadline = Duration::from_secs(4);
                Route { seller: metered.clone(), durability: Durability::Relaxed, handler_deadline, ..route }
            }
            "stream" => {
                let handler_deadline = Duration::from_secs(30);
                Route { on_disconnect: OnDisconnect::Cancel, handler_deadline, ..route }
            }
            "flow" => Route { seller: flows.clone(), metered: Some(flow.clone()), ..route },
            _ => route,
        };
        (name, Arc::new(route))
    };
    ROUTES.into_iter().map(of).collect()
}

async fn serve(shop: Arc<Shop>, call: Call, request: WebRequest) {
    shop.host.point("a request arrived").await;
    let WebRequest { method, target, headers, body } = request;
    let name = target.trim_start_matches('/').split(['?', '/']).next().unwrap_or_default();
    let Some(route) = shop.routes.get(name) else { return };
    let opened = match route.open(&method, &target, &headers) {
        Ok(opened) => opened,
        Err(answer) => return reply(&call, None, *answer),
    };
    let bound = if opened.binds_body() { BodyHash::of(&body) } else { BodyHash::Unbound };
    let action = opened.bound(bound, shop.now());
    let visit = Visiting {
        shop: shop.clone(),
        call: call.clone(),
        payment: None,
        name: name.to_owned(),
        flowing: Arc::default(),
    };
    match Serving::enter(&shop, action) {
        Err(answer) => reply(&call, None, *answer),
        Ok(serving) => {
            let visit = Visiting { payment: Some(serving.id()), ..visit };
            shop.host.spawn(serving.serve(visit));
        }
    }
}

/// Sends an answer. What it says of its payment must be true.
fn reply(call: &Call, payment: Option<PaymentId>, answer: Answer<Bytes>) {
    let Answer { situation, status, headers, content, .. } = answer;
    if let Some(payment) = payment {
        let settlement = headers.get(PAYMENT_RESPONSE);
        let settlement =
            settlement.and_then(|said| decode_settlement(said.as_bytes(), &Limits::default()).ok());
        let mut state = call.host.world.lock();
        let state = &mut *state;
        if let Some(settlement) = settlement {
            state.oracle.answered(&payment, &settlement);
        }
        let (who, name) = (state.hosts[call.host.id].name.clone(), state.oracle.name(&payment));
        state.say(&who, &format!("answers {} for {name} ({situation:?})", status.as_u16()));
    }
    let body = match content {
        Content::Whole(body) | Content::Long(body) => body,
    };
    call.reply(Message::Answer(WebAnswer { status, headers, body }));
}

impl Process for Shop {
    type Body = Bytes;

    fn now(&self) -> u64 {
        self.host.unix_now()
    }

    fn desk(&self) -> &Mutex<Desk<Kept<Bytes>>> {
        &self.desk
    }

    async fn settle(&self, request: &FacilitatorRequest) -> Outcome {
        let (world, asked) = (&self.host.world, Asked::of(request));
        self.host.point("before asking the facilitator").await;
        if let Some(believed) = planted::instead_of_asking(world, request, &asked) {
            return believed;
        }
        let outcome = match &self.settler {
            Settler::Here(books) => books.settle(request).await,
            Settler::Behind(facilitator) => settle_over_link(&self.host, *facilitator, request).await,
        };
        if let Outcome::Unknown(why) = &outcome {
            let mut state = world.lock();
            let state = &mut *state;
            state.figures.unknown_outcomes += 1;
            let names: Vec<_> = asked.payments.iter().map(|payment| state.oracle.name(payment)).collect();
            let name = names.join(", ");
            let who = state.hosts[self.host.id].name.clone();
            state.say(
                &who,
                &format!("does not know whether its {} of {name} settled: {}", asked.word(), why.0),
            );
        }
        if let (Outcome::Settled(said), What::Authorize, [payment]) =
            (&outcome, asked.what, asked.payments.as_slice())
            && let Some(epoch) = said.extra.get("epoch").and_then(Value::as_u64)
        {
            self.epochs.lock().unwrap_or_else(PoisonError::into_inner).insert(*payment, epoch);
        }
        let outcome = planted::after_asking(world, request, &asked, outcome);
        self.host.point("after the facilitator answered").await;
        outcome
    }

    async fn settle_later(&self, later: &Arc<Later>) -> Outcome {
        self.till.settle(self, later).await
    }

    async fn pause(&self, length: Duration) {
        self.host.sleep(length).await;
    }
}

/// One request, and the call that waits for its answer.
struct Visiting {
    shop: Arc<Shop>,
    call: Call,
    payment: Option<PaymentId>,
    name: String,
    /// The run of a stream, between its handler's answer and its first piece.
    flowing: Flowing,
}

type Flowing = Arc<Mutex<Option<Running>>>;

impl Visit<Bytes> for Visiting {
    fn handle(
        &mut self,
        paid_by: PaidBy,
        _meter: Option<Meter>,
    ) -> BoxFuture<'static, Result<HandlerAnswer<Bytes>, Box<dyn std::error::Error + Send + Sync>>> {
        let epochs = self.shop.epochs.lock().unwrap_or_else(PoisonError::into_inner);
        let epoch = epochs.get(&paid_by.payment).copied().unwrap_or(0);
        drop(epochs);
        let flowing = self.flowing.clone();
        Box::pin(handle(self.shop.host.clone(), paid_by, epoch, self.name.clone(), flowing))
    }

    fn meter(&mut self, body: Bytes, tap: Tap) -> Bytes {
        let (running, host) = (take(&self.flowing), self.shop.host.clone());
        if let (Some(running), Some(payment)) = (running, self.payment) {
            let pieces = pieces(host.clone(), body);
            host.spawn(deliver(running, payment, tap.meter(Body::from_stream(pieces))));
        }
        Bytes::new()
    }

    fn is_gone(&self) -> bool {
        self.call.is_gone()
    }

    async fn gone(&mut self) {
        self.call.gone().await;
    }

    fn answer(&mut self, answer: Answer<Bytes>) {
        if self.shop.host.crashes_at("before an answer leaves") {
            return;
        }
        if answer.situation == Situation::Paid {
            let replayed = answer.headers.get("x-run").is_some_and(|run| {
                let mine = self.shop.host.incarnation.to_string();
                run.to_str().is_ok_and(|run| run != format!("{}-{mine}", self.shop.host.id))
            });
            if replayed {
                self.shop.host.world.lock().figures.replayed_answers += 1;
            }
        }
        reply(&self.call, self.payment, answer);
        self.shop.host.crashes_at("after an answer left");
    }
}

/// Notes how a handler ended, even when it is dropped in the middle.
struct Running {
    host: Host,
    run: usize,
}

impl Running {
    fn ends(&self, end: RunEnd) {
        let mut state = self.host.world.lock();
        let now = state.now;
        state.oracle.run_ends(self.run, end, now);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.ends(if self.host.is_alive() { RunEnd::Failed } else { RunEnd::Crashed });
    }
}

fn take(flowing: &Flowing) -> Option<Running> {
    flowing.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// An answer that is paid for while it flows: fewer events than its payment covers, or more.
fn events(running: Running, payment: &PaymentId, flowing: Flowing) -> HandlerAnswer<Bytes> {
    let count = {
        let mut state = running.host.world.lock();
        state.oracle.flows(payment);
        state.random.usize(0..=14)
    };
    *flowing.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
    let content = Content::Long("data: x\n\n".repeat(count).into());
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    HandlerAnswer { status: StatusCode::OK, headers, content, captured: None, refused: None }
}

/// A stream's pieces as they are written: of any length, with pauses, and sometimes without an end.
fn pieces(host: Host, text: Bytes) -> impl Stream<Item = Result<Bytes, &'static str>> + Send + 'static {
    stream::unfold((host, text), |(host, mut text)| async move {
        let (pause, length, breaks) = {
            let mut state = host.world.lock();
            let state = &mut *state;
            let per_mille = state.plan.bad_handlers / 8;
            let pause = if state.random.u32(0..6) == 0 { 8_000 } else { 600 };
            (state.random.u64(1..pause), state.random.usize(1..=24), !state.calm && state.chance(per_mille))
        };
        host.sleep_ms(pause).await;
        if breaks {
            return Some((Err("the handler broke off"), (host, text)));
        }
        let piece = text.split_to(length.min(text.len()));
        (!piece.is_empty()).then(|| (Ok(piece), (host, text)))
    })
}

/// Delivers a stream to a client that may go away, as its connection would.
async fn deliver(running: Running, payment: PaymentId, mut body: Body) {
    let host = running.host.clone();
    let (mut text, mut ended) = (Vec::new(), false);
    loop {
        let leaves = {
            let mut state = host.world.lock();
            let per_mille = state.plan.hangs_up / 8;
            !state.calm && state.chance(per_mille)
        };
        let frame = if leaves { None } else { body.frame().await };
        ended |= !leaves && frame.is_none();
        let Some(Ok(frame)) = frame else { break };
        text.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        let shown = String::from_utf8_lossy(&text);
        let own = shown.split("event: payment-response").next().unwrap_or_default();
        let delivered = own.matches("data: x\n\n").count() as u128 * EVENT;
        host.world.lock().oracle.delivers(&payment, delivered);
        host.point("in a stream").await;
    }
    let mut state = host.world.lock();
    state.figures.streams += u64::from(ended);
    let is_empty = !String::from_utf8_lossy(&text).contains("data: x\n\n");
    drop(state);
    drop(body);
    running.ends(if is_empty { RunEnd::Failed } else { RunEnd::Succeeded });
}

/// What a handler does, drawn for each run.
#[derive(Clone, Copy, Debug)]
enum Mood {
    Good,
    Fails,
    Panics,
    Breaks,
    Refuses,
    Dawdles,
    Greedy,
}

async fn handle(
    host: Host,
    paid_by: PaidBy,
    epoch: u64,
    route: String,
    flowing: Flowing,
) -> Result<HandlerAnswer<Bytes>, Box<dyn std::error::Error + Send + Sync>> {
    host.point("before the handler").await;
    let (running, mood, length, part) = {
        let mut state = host.world.lock();
        let state = &mut *state;
        let run = state.oracle.run_starts(paid_by.payment, host.id, host.incarnation, epoch);
        state.figures.handler_runs += 1;
        let (who, name) = (state.hosts[host.id].name.clone(), state.oracle.name(&paid_by.payment));
        let per_mille = state.plan.bad_handlers;
        let moods = [Mood::Fails, Mood::Panics, Mood::Breaks, Mood::Refuses, Mood::Dawdles, Mood::Greedy];
        let bad = !state.calm && state.chance(per_mille);
        let mood = if bad { moods[state.random.usize(0..moods.len())] } else { Mood::Good };
        state.say(&who, &format!("runs its handler for {name} (run {run}, {mood:?})"));
        let length = match mood {
            Mood::Dawdles => state.random.u64(20_000..200_000),
            _ if state.random.u32(0..4) == 0 => state.random.u64(1_000..8_000),
            _ => state.random.u64(1..400),
        };
        (Running { host: host.clone(), run }, mood, length, state.random.u128(0..=PRICE))
    };
    for _ in 0..4 {
        host.sleep_ms(length / 4).await;
        host.point("in the handler").await;
    }
    let held = paid_by.amount.0;
    let mut captured = match route.as_str() {
        "metered" | "quick" => Some(Amount(part)),
        _ => None,
    };
    let (mut status, mut refused) = (StatusCode::OK, None);
    match mood {
        Mood::Good | Mood::Dawdles => {}
        Mood::Fails => status = StatusCode::BAD_GATEWAY,
        Mood::Refuses => refused = Some("not to you".to_owned()),
        Mood::Greedy => captured = Some(Amount(held + 1)),
        Mood::Breaks => {
            running.ends(RunEnd::Failed);
            return Err("the body broke off".into());
        }
        Mood::Panics => {
            running.ends(RunEnd::Panicked);
            host.world.lock().figures.panics += 1;
            // Quietly: nobody needs to read about a panic that is part of the play.
            std::panic::resume_unwind(Box::new("the handler panics"));
        }
    }
    if route == "flow" && matches!(mood, Mood::Good | Mood::Dawdles) {
        return Ok(events(running, &paid_by.payment, flowing));
    }
    running.ends(if matches!(mood, Mood::Good | Mood::Dawdles) { RunEnd::Succeeded } else { RunEnd::Failed });
    let mut text = run_mark(running.run);
    if route == "long" {
        text.push_str(&"long ".repeat(KEPT / 4));
    }
    let body = Bytes::from(text);
    let content = if body.len() > KEPT { Content::Long(body) } else { Content::Whole(body) };
    let mut headers = HeaderMap::new();
    if let Ok(mark) = format!("{}-{}", host.id, host.incarnation).parse() {
        headers.insert("x-run", mark);
    }
    Ok(HandlerAnswer { status, headers, content, captured, refused })
}
