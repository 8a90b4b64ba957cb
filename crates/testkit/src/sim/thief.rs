//! A hostile payer: presents payments twice at once, reuses nonces, overdraws, and replays everything later.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use farthing::client::PaymentHeader;
use farthing::native::NativePay;
use farthing::protocol::header::{self, PAYMENT_REQUIRED};
use farthing::protocol::rail::Pay;
use farthing::protocol::v2::{Offer, PaymentPayload, VERSION};
use farthing::protocol::{Limits, RequestDigest};
use http::{HeaderMap, Method};

use super::host::Host;
use super::link::{Message, WebRequest};
use super::payer::{pay_with, random};
use super::shop::ROUTES;

/// What the hostile payer has.
#[derive(Clone)]
pub(crate) struct Thief {
    pub(crate) wallet: Arc<NativePay>,
    pub(crate) servers: Vec<usize>,
    loot: Arc<Mutex<Vec<Loot>>>,
}

/// A payment that was presented before.
#[derive(Clone)]
struct Loot {
    target: String,
    header: PaymentHeader,
}

#[derive(Clone, Copy, Debug)]
enum Attack {
    TwiceAtOnce,
    NonceAgain,
    Overdraw,
    Replay,
    OtherRequest,
}

impl Thief {
    pub(crate) fn new(wallet: Arc<NativePay>, servers: &[usize]) -> Self {
        Self { wallet, servers: servers.to_vec(), loot: Arc::default() }
    }

    pub(crate) fn boot(&self, host: &Host) {
        let attacks = host.world.lock().plan.attacks;
        for n in 0..attacks {
            let (thief, at) = (self.clone(), host.clone());
            host.spawn(async move {
                let pause = at.world.lock().random.u64(0..150_000);
                at.sleep_ms(pause).await;
                thief.attack(&at, n).await;
            });
        }
    }

    /// Presents everything once more.
    pub(crate) fn replay_all(&self, host: &Host) {
        for loot in self.loot() {
            self.present(host, loot.target, loot.header);
        }
    }

    async fn attack(&self, host: &Host, n: usize) {
        use Attack::{NonceAgain, OtherRequest, Overdraw, Replay, TwiceAtOnce};
        let attack = {
            let mut state = host.world.lock();
            [TwiceAtOnce, NonceAgain, Overdraw, Overdraw, Replay, OtherRequest][state.random.usize(0..6)]
        };
        host.say(&format!("attacks: {attack:?}"));
        let target =
            |k: usize| format!("/{}?theft={n}-{k}", ROUTES[(n + k) % ROUTES.len()].replace("post", "sun"));
        match attack {
            TwiceAtOnce => {
                let Some(payment) = self.sign(host, &target(0), random(host)).await else { return };
                for _ in 0..4 {
                    self.present(host, target(0), payment.clone());
                }
            }
            NonceAgain => {
                let nonce = random(host);
                for k in 0..3 {
                    let Some(payment) = self.sign(host, &target(k), nonce).await else { return };
                    self.present(host, target(k), payment);
                    let pause = host.world.lock().random.u64(0..4_000);
                    host.sleep_ms(pause).await;
                }
            }
            Overdraw => {
                let mut payments = Vec::new();
                for k in 0..8 {
                    payments
                        .extend(self.sign(host, &target(k), random(host)).await.map(|payment| (k, payment)));
                }
                payments.into_iter().for_each(|(k, payment)| self.present(host, target(k), payment));
            }
            Replay => {
                for _ in 0..3 {
                    self.replay_all(host);
                    host.sleep_ms(20_000).await;
                }
            }
            OtherRequest => {
                let Some(payment) = self.sign(host, &target(0), random(host)).await else { return };
                self.present(host, target(1), payment.clone());
                self.present(host, target(0), payment);
            }
        }
    }

    /// Asks for the terms of a request and signs what they ask for, with any nonce.
    async fn sign(&self, host: &Host, target: &str, nonce: [u8; 32]) -> Option<PaymentHeader> {
        for _ in 0..5 {
            let request = web_request(target, None);
            let answer =
                host.ask(self.server(host), Message::Request(request), Duration::from_secs(10)).await;
            let Ok(Message::Answer(answer)) = answer else { continue };
            let terms = answer.headers.get(PAYMENT_REQUIRED)?;
            let terms = header::decode_payment_required(terms.as_bytes(), &Limits::default()).ok()?;
            let offer: Offer = terms.offers().next()?;
            let digest: RequestDigest = offer.extra.get("requestDigest")?.as_str()?.parse().ok()?;
            let signed = self.wallet.pay(&offer, &digest, host.unix_now(), nonce).ok()?;
            {
                let mut state = host.world.lock();
                let state = &mut *state;
                let (who, name) = (state.hosts[host.id].name.clone(), state.oracle.name(&signed.id));
                state.say(&who, &format!("signs {name} for {target}"));
            }
            let payload = PaymentPayload {
                x402_version: VERSION,
                resource: None,
                accepted: offer,
                payload: signed.payload.into(),
                extensions: Default::default(),
            };
            let header = PaymentHeader::new(header::encode(&payload).ok()?);
            let loot = Loot { target: target.to_owned(), header: header.clone() };
            self.loot.lock().unwrap_or_else(PoisonError::into_inner).push(loot);
            return Some(header);
        }
        None
    }

    /// Presents a payment, and does not care what comes of it.
    fn present(&self, host: &Host, target: String, payment: PaymentHeader) {
        let (thief, at) = (self.clone(), host.clone());
        host.spawn(async move {
            let request = web_request(&target, Some(&payment));
            let patience = at.world.lock().random.u64(100..20_000);
            let patience = Duration::from_millis(patience);
            drop(at.ask(thief.server(&at), Message::Request(request), patience).await);
        });
    }

    fn server(&self, host: &Host) -> usize {
        self.servers[host.world.lock().random.usize(0..self.servers.len())]
    }

    fn loot(&self) -> Vec<Loot> {
        self.loot.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn web_request(target: &str, payment: Option<&PaymentHeader>) -> WebRequest {
    let mut headers = HeaderMap::new();
    pay_with(&mut headers, payment);
    WebRequest { method: Method::GET, target: target.to_owned(), headers, body: Bytes::new() }
}
