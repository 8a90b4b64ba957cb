//! Who is let in without a payment: whoever shows a token, or proves the key of an account that bought the period.

use farthing_protocol::records::RecordsError;
use farthing_protocol::siwx::Proof;
use farthing_protocol::{WireError, siwx};
use http::HeaderMap;

use super::carried::{self, Several};
use super::token::Session;
use super::{Offered, PassHolder};
use crate::answer::{Refusal, Situation};

/// What is said to a request that brings no payment.
#[derive(Debug)]
pub(crate) enum Admission {
    /// It is served.
    In(Admitted),
    /// It is asked to pay; with these words, when it brought something that does not let it in.
    Out(Option<Refusal>),
}

/// A request that is let in.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) holder: PassHolder,
    /// The key was proven just now: its answer takes a token along.
    proven: bool,
}

/// How a payer stands with a scope.
enum Standing {
    Good {
        until: u64,
        since: u64,
    },
    Over,
    /// It holds a plan, and not this one.
    OtherPlan,
    Nothing,
}

impl Offered {
    /// Looks at what a request brings besides payments.
    ///
    /// # Errors
    /// What makes it no request to be answered: a proof that cannot be read, or a store that does not answer.
    pub(crate) async fn admit(&self, headers: &HeaderMap, now: u64) -> Result<Admission, Refusal> {
        let tokens = carried::tokens(headers).map_err(several)?;
        let (scope, mut stale) = (self.scope.digest(), None);
        for session in tokens.into_iter().filter_map(|token| self.pass.passes.tokens.read(token)) {
            if session.scope == scope && now < session.expires {
                let Session { network, payer, until, .. } = session;
                let holder = PassHolder { payer, network, until };
                return Ok(Admission::In(Admitted { holder, proven: false }));
            }
            stale.get_or_insert(session);
        }
        if let Some(value) = carried::proof(headers).map_err(several)? {
            let proof = Proof::decode(value.as_bytes(), &self.pass.passes.seller.limits);
            return self.prove(&proof.map_err(|error| unread(&error))?, now).await;
        }
        match stale {
            None => Ok(Admission::Out(None)),
            Some(session) => {
                let standing = self.standing(&session.network, &session.payer, now).await?;
                let again = "the session is over: prove the account's key again, or pay";
                Ok(Admission::Out(Some(self.out(&standing, Situation::Unpaid, again))))
            }
        }
    }

    /// Lets the answer of a request that was let in take along what its payer needs for the next one.
    pub(crate) fn see_off(&self, admitted: Admitted, headers: &mut HeaderMap, now: u64) {
        let Admitted { holder: PassHolder { payer, network, until }, proven } = admitted;
        if proven {
            self.give(headers, network, payer, until, now);
        }
    }

    async fn prove(&self, proof: &Proof, now: u64) -> Result<Admission, Refusal> {
        let passes = &self.pass.passes;
        let refused = |why: &str| Ok(Admission::Out(Some(refused(why))));
        if let Err(fault) = proof.info.is_for(&passes.seller.origin, now) {
            return refused(&fault.to_string());
        }
        let Some(nonce) = passes.nonces.read(&proof.info.nonce, now) else {
            return refused("its nonce is none of this server's, or too old");
        };
        let mut rails = passes.seller.rails.iter();
        let signs_in = |kind| kind == Some(proof.kind);
        let rail = rails.find(|rail| *rail.network() == proof.chain_id && signs_in(rail.sign_in()));
        let Some(rail) = rail else {
            return refused("accounts of its network do not sign in here like this");
        };
        let Some(payer) = rail.signed_in(&proof.address, &proof.text(), &proof.signature) else {
            return refused("its signature is not the account's");
        };
        let network = rail.network().clone();
        match self.standing(&network, &payer, now).await? {
            // It may have been seen by others before there was anything to be had for it.
            Standing::Good { since, .. } if nonce.made < since => {
                refused("it was made before the pass was: sign the challenge of a fresh answer")
            }
            Standing::Good { until, .. } => match passes.use_up(&nonce, now).await {
                Ok(true) => {
                    Ok(Admission::In(Admitted { holder: PassHolder { payer, network, until }, proven: true }))
                }
                Ok(false) => refused("it was used before: sign the challenge of a fresh answer"),
                Err(error) => Err(unavailable(&error)),
            },
            standing => {
                let nothing = "this account has not paid for it";
                Ok(Admission::Out(Some(self.out(&standing, Situation::Unpaid, nothing))))
            }
        }
    }

    async fn standing(
        &self,
        network: &farthing_protocol::Network,
        payer: &str,
        now: u64,
    ) -> Result<Standing, Refusal> {
        let key = self.scope.key(network, payer);
        let (held, _) = self.pass.passes.held(&key).await.map_err(|error| unavailable(&error))?;
        Ok(match held.pass(&self.scope.name()) {
            Some(pass) if now < pass.until => Standing::Good { until: pass.until, since: pass.since },
            Some(_) => Standing::Over,
            None if held.any(now) => Standing::OtherPlan,
            None => Standing::Nothing,
        })
    }

    /// What a known account is told that is not let in.
    fn out(&self, standing: &Standing, otherwise: Situation, why: &'static str) -> Refusal {
        let plan = self.scope.name();
        match standing {
            Standing::Over => Refusal::new(
                Situation::SubscriptionExpired,
                "what this account has paid for is over: renew it",
            ),
            Standing::OtherPlan => {
                let detail = format!("this account holds another plan than \"{plan}\", which this needs");
                Refusal::new(Situation::PlanRequired, detail)
            }
            Standing::Nothing if self.scope.is_plan => {
                Refusal::new(Situation::PlanRequired, format!("this needs the plan \"{plan}\""))
            }
            Standing::Nothing | Standing::Good { .. } => Refusal::new(otherwise, why),
        }
    }
}

fn several(Several(name): Several) -> Refusal {
    let detail = format!("exactly one header {name} may be sent, once");
    Refusal::new(Situation::MalformedSignIn, detail).field(name.to_ascii_lowercase())
}

fn unread(error: &WireError) -> Refusal {
    let situation = match error {
        WireError::TooLarge { .. } => Situation::SignInTooLarge,
        _ => Situation::MalformedSignIn,
    };
    let field = error.field().unwrap_or(siwx::HEADER).to_owned();
    Refusal::new(situation, format!("header SIGN-IN-WITH-X: {error}")).field(field)
}

fn refused(why: &str) -> Refusal {
    let detail = format!("the proof of the account's key is not accepted: {why}");
    Refusal::new(Situation::SignInRefused, detail).field(siwx::HEADER)
}

fn unavailable(error: &RecordsError) -> Refusal {
    tracing::error!(%error, "a pass cannot be looked up");
    Refusal::new(
        Situation::PassesUnavailable,
        "passes cannot be looked up at the moment: nothing is to be paid",
    )
}
