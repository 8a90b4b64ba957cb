//! `farthing pay`: curl for what must be paid for.
//!
//! Read it in this order: [`asked`], the request; this file, what is done with it; [`content`], where the answer
//! goes; [`said`] and [`ended`], what standard error and the exit status say about it.

mod asked;
mod content;
mod ended;
mod offers;
mod said;
mod terminal;

use std::sync::Arc;

use farthing::agent::Agent;
use farthing::client::{ClientError, Journal, Paid, Record};
use farthing::protocol::Origin;
use farthing::protocol::rail::PaymentId;

use crate::args::pay::PayArgs;
use crate::stop::Stop;
use crate::style::unix_now;
use crate::{Failure, home, told};
use asked::Asked;
use content::Output;
use ended::Ended;
use terminal::Terminal;

/// Runs the command.
pub(crate) fn run(options: &PayArgs) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Failure::unsound)?;
    let done = runtime.block_on(async {
        match options.dry_run {
            true => dry_run(options).await,
            false => pay(options).await,
        }
    });
    // Somebody may still be thinking about a question that nobody waits for any more.
    runtime.shutdown_background();
    done.or_else(|ended| ended.tell(options.json))
}

async fn dry_run(options: &PayArgs) -> Result<(), Ended> {
    let asked = Asked::read(options)?;
    let agent = home::open(&options.home).await.map_err(Ended::unopened)?;
    let quote = asked.builder(agent.client()).quote().await.map_err(|error| Ended::of(&error, None))?;
    offers::show(&asked, &quote, options.json)
}

async fn pay(options: &PayArgs) -> Result<(), Ended> {
    let asked = Asked::of_payment(options)?;
    // A file that cannot be written costs nothing.
    let output = Output::prepare(options.output.as_deref())?;
    let agent = home::open_with(&options.home, |builder| builder.approver(Arc::new(Terminal)));
    let agent = agent.await.map_err(Ended::unopened)?;
    let stop = Stop::listen().map_err(Ended::failed)?;
    let paying = Paying { options, agent, asked, since: unix_now() };
    tokio::select! {
        done = paying.run(output) => done,
        () = stop.wanted() => Err(paying.interrupted()),
    }
}

struct Paying<'a> {
    options: &'a PayArgs,
    agent: Agent,
    /// `None` when the journal has the request.
    asked: Option<Asked>,
    since: u64,
}

impl Paying<'_> {
    async fn run(&self, output: Output) -> Result<(), Ended> {
        let mut answer = self.answer().await?;
        let status = answer.status;
        let written = output.write(&mut answer).await;
        // Known at the end of what is paid for while it comes.
        let payment = answer.close().await;
        let id = payment.as_ref().map(|payment| payment.id);
        let bytes = written.map_err(|broken| self.broken(&broken, id))?;
        said::paid(status, bytes, payment.as_ref(), self.options.json);
        match payment.as_ref().and_then(told::cut) {
            _ if !status.is_success() => Err(Ended::status(status)),
            Some(why) => Err(Ended::cut(&why)),
            None => Ok(()),
        }
    }

    async fn answer(&self) -> Result<Paid, Ended> {
        let client = self.agent.client();
        let Some(id) = &self.options.resume else {
            let asked = self.asked.as_ref().ok_or_else(|| Ended::usage("there is no URL"))?;
            return asked.builder(client).send().await.map_err(|error| self.ended(&error));
        };
        let prepared = match &self.asked {
            None => client.resume(id),
            Some(asked) => asked.builder(client).resume(id),
        };
        let prepared = prepared.map_err(|error| Ended::not_resumed(&error))?;
        client.present(&prepared).await.map_err(|error| self.ended(&error))
    }

    fn ended(&self, error: &ClientError) -> Ended {
        let prepared = error.prepared();
        Ended::of(error, prepared.and_then(|prepared| self.again(&prepared.id())))
    }

    /// The answer broke off, or could not be written: what was paid for can be had again.
    fn broken(&self, broken: &content::Broken, id: Option<PaymentId>) -> Ended {
        Ended::broken(broken, id, id.and_then(|id| self.again(&id)))
    }

    /// What the journal has of this request, when this program is told to stop.
    fn interrupted(&self) -> Ended {
        let ours = |record: &Record| match (&self.options.resume, &self.asked) {
            (Some(id), _) => record.id() == *id,
            (None, Some(asked)) => {
                let origin = Origin::of_url(&asked.url).map(|(origin, _)| origin);
                record.signed_at >= self.since && origin.is_ok_and(|origin| origin == record.charge.origin)
            }
            (None, None) => false,
        };
        let open = self.agent.client().unfinished().unwrap_or_default();
        let id = open.iter().rfind(|record| ours(record)).map(Record::id);
        Ended::interrupted(id, id.and_then(|id| self.again(&id)))
    }

    /// The command that presents a payment again.
    fn again(&self, id: &PaymentId) -> Option<String> {
        let record = self.agent.journal().find(id).ok().flatten()?;
        Some(ended::command(&record, self.options))
    }
}
