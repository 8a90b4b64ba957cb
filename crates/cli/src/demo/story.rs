//! The story: one payment from the price to the receipt, and the three ways in which it does not work twice.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use farthing::Client;
use farthing::client::{ClientError, PaymentReport, Prepared, Rule};
use farthing::protocol::header::{self, Decoded, PAYMENT_RESPONSE, PAYMENT_SIGNATURE};
use farthing::protocol::rail::{Confirmation, PaymentId};
use farthing::protocol::{Amount, Limits};

use super::PER_REQUEST;
use super::load::{Plan, money};
use super::pages::{FIRST, SECOND, TOO_EXPENSIVE};
use super::telling::{exchange, fixed, rows, say, short, status_line, title};
use super::world::{ASSET, World};
use crate::Failure;
use crate::inspect::{fetch, signed};
use crate::style::{BAD, GOOD, QUIET, TITLE, WIRE, grouped, moment, paint, safe, unix_now};

/// What the story did, for the table at the end.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) requests: u64,
    pub(super) paid: u64,
    pub(super) replayed: u64,
    pub(super) refused_by_server: u64,
    pub(super) refused_by_budget: u64,
    pub(super) spent: Amount,
    payment: PaymentId,
    /// The payment's header, for `curl -H @file`.
    header_file: PathBuf,
}

/// The story in the telling.
#[derive(Debug)]
pub(super) struct Story<'a> {
    world: &'a World,
    client: &'a Client,
    budget: Amount,
}

impl<'a> Story<'a> {
    /// A story about `client`, whose budget this is.
    pub(super) fn new(world: &'a World, client: &'a Client, budget: Amount) -> Self {
        Self { world, client, budget }
    }

    /// Tells it. Each step happens as it is told.
    ///
    /// # Errors
    /// The first thing that is not as told.
    pub(super) async fn tell(&self) -> Result<Told, Failure> {
        self.introduce().await?;
        self.price().await?;
        let prepared = self.sign().await?;
        let (first, body) = self.pay(&prepared).await?;
        self.again(&prepared, &body).await?;
        self.elsewhere(&prepared).await?;
        self.too_expensive().await?;
        Ok(Told {
            requests: 4,
            paid: 1,
            replayed: 1,
            refused_by_server: 1,
            refused_by_budget: 1,
            spent: first.amount,
            payment: first.id,
            header_file: self.keep_header(&prepared)?,
        })
    }

    async fn introduce(&self) -> Result<(), Failure> {
        let (agent, _) = self.world.balances().await?;
        let has = self.money(agent);
        title("farthing: an agent pays for web pages, one request at a time")?;
        say("Three parties are running on this machine now, and talk to each other over HTTP:")?;
        rows(&[
            (
                "a server",
                format!(
                    "at {}, selling the pages of farthing's specification",
                    paint(WIRE, &self.world.origin)
                ),
            ),
            ("a ledger", "which keeps everybody's money in a file, and signs what it says".into()),
            ("an agent", format!("a program that buys pages by itself; it has {has} on the ledger")),
        ])?;
        say(&format!(
            "The agent's owner gave it a budget: {} for today, and at most {PER_REQUEST} for one page.\n\
             {ASSET} is play money; everything else is real.",
            self.money(self.budget)
        ))
    }

    async fn price(&self) -> Result<(), Failure> {
        title("1  The agent asks for a page, and is told the price")?;
        let url = self.world.url(FIRST);
        let fetched = fetch(&url).await?;
        let terms = fetched.terms(&Limits::default()).map_err(Failure::unsound)?;
        let Some(Decoded::PaymentRequired(terms)) = terms.map(|message| message.decoded) else {
            return Err(Failure::unsound("step 1: the server did not name a price"));
        };
        let offer = terms.offers().next().ok_or_else(|| Failure::unsound("step 1: no way to pay"))?;
        exchange(&format!("GET {}", FIRST.path), &status_line(&fetched))?;
        say(
            "\"402 Payment Required\" is as old as HTTP itself, and was reserved for this. The answer has a\n\
             header, PAYMENT-REQUIRED, that a program can read. It says:",
        )?;
        rows(&[
            ("what is sold", safe(terms.resource.description.as_deref().unwrap_or(&terms.resource.url))),
            ("price", paint(GOOD, self.money(offer.amount))),
            ("paid to", format!("account {}, the server's", short(&offer.pay_to))),
            ("on the ledger", safe(offer.network.as_str())),
            ("good for", "this page only: the offer names a digest of exactly this request".into()),
        ])
    }

    async fn sign(&self) -> Result<Prepared, Failure> {
        title("2  The agent signs a payment for exactly this request")?;
        let signed = self.client.get(&self.world.url(FIRST)).sign().await.map_err(Failure::unsound)?;
        let prepared = signed.ok_or_else(|| Failure::unsound("step 2: the page is free"))?;
        let payment = header::decode_payment(prepared.header().expose().as_bytes(), &Limits::default());
        let terms = signed::read(&payment.map_err(Failure::unsound)?).map_err(Failure::unsound)?;
        terms.verdict.map_err(Failure::unsound)?;
        let (id, terms) = (terms.id.to_string(), terms.terms);
        let request = prepared.request();
        say(
            "The price is within its budget, so it reserves the money there and signs with its own key, which\n\
             never leaves it. What the signature covers, and nobody can change afterwards:",
        )?;
        rows(&[
            ("the request", format!("{} {}, with an empty body", request.method(), request.url())),
            ("the most it costs", self.money(terms.max_amount)),
            ("who pays", format!("account {}, the agent's", short(&terms.payer.to_string()))),
            ("who is paid", format!("account {}, the server's", short(&terms.payee.to_string()))),
            ("to be used by", moment(terms.valid_before, unix_now())),
        ])?;
        say(&format!("The payment's id is {}: a hash of all of this.", paint(WIRE, short(&id))))?;
        Ok(prepared)
    }

    async fn pay(&self, prepared: &Prepared) -> Result<(PaymentReport, String), Failure> {
        title("3  The agent sends the payment along, and gets the page")?;
        let before = self.world.balances().await?;
        let answer = self.client.present(prepared).await.map_err(Failure::unsound)?;
        let report = answer.payment().cloned();
        let report =
            report.ok_or_else(|| Failure::unsound("step 3: the answer does not say what it cost"))?;
        let status = answer.status;
        let settlement = answer.headers.get(PAYMENT_RESPONSE).map(|value| value.as_bytes().to_vec());
        let body = answer.text().await.map_err(Failure::unsound)?;
        exchange(
            &format!("GET {}\n> PAYMENT-SIGNATURE: (the payment)", FIRST.path),
            &format!("HTTP/1.1 {status}\n< PAYMENT-RESPONSE: (what became of it)"),
        )?;
        let first_line = body.lines().next().unwrap_or_default();
        say(&format!(
            "   {}\n   {}",
            safe(first_line),
            paint(QUIET, format!("... and {} bytes more", body.len() - first_line.len()))
        ))?;
        say(
            "The ledger held the money before the server did any work, and handed it over together with the\n\
             answer. The agent believes nobody about that. It checks two signatures:",
        )?;
        let Confirmation::Taken(taken) = &report.confirmation else {
            return Err(Failure::unsound(format!(
                "step 3: the ledger does not confirm: {:?}",
                report.confirmation
            )));
        };
        let Some(receipt) = report.receipt.as_ref().filter(|_| report.flags.is_empty()) else {
            return Err(Failure::unsound(format!("step 3: there is no valid receipt: {:?}", report.flags)));
        };
        let as_of = settlement.and_then(|value| as_of(&value)).unwrap_or(receipt.issued_at);
        let valid = paint(GOOD, "valid");
        rows(&[
            (
                "the ledger's word",
                format!("{valid}: {} was taken, as of {}", self.money(*taken), moment(as_of, unix_now())),
            ),
            (
                "the server's receipt",
                format!("{valid}: {} for this request, and this very page", self.money(receipt.amount)),
            ),
        ])?;
        self.compare(before).await?;
        Ok((report, body))
    }

    async fn again(&self, prepared: &Prepared, body: &str) -> Result<(), Failure> {
        title("4  The same payment again: the same answer, and nothing is charged")?;
        let before = self.world.balances().await?;
        let answer = self.client.present(prepared).await.map_err(Failure::unsound)?;
        let (status, report) = (answer.status, answer.payment().cloned());
        let same = answer.text().await.map_err(Failure::unsound)? == body;
        exchange(
            &format!("GET {}\n> PAYMENT-SIGNATURE: (the same one)", FIRST.path),
            &format!("HTTP/1.1 {status}"),
        )?;
        say(
            "Networks lose answers. An agent that did not get one may simply present its payment again: the\n\
             server finds the answer that it kept, and the page is not even made a second time.",
        )?;
        self.compare(before).await?;
        let unchanged = self.world.balances().await? == before;
        if !unchanged || !same || !report.is_some_and(|report| report.replayed && report.is_proven()) {
            return Err(Failure::unsound("step 4: the same payment was not answered from what was stored"));
        }
        Ok(())
    }

    async fn elsewhere(&self, prepared: &Prepared) -> Result<(), Failure> {
        title("5  The same payment on another page: refused")?;
        let before = self.world.balances().await?;
        let refused = match self.client.present_at(prepared, &self.world.url(SECOND)).await {
            Err(ClientError::PaymentRefused(refused)) if refused.status.as_u16() == 409 => refused,
            other => return Err(Failure::unsound(format!("step 5: not refused with 409: {other:?}"))),
        };
        exchange(
            &format!("GET {}\n> PAYMENT-SIGNATURE: (the same one)", SECOND.path),
            &format!("HTTP/1.1 {}", refused.status),
        )?;
        let said = refused.said.message.as_deref().unwrap_or("409 Conflict");
        say(&format!(
            "The server says: \"{}\"\n\
             Whoever steals a payment on its way can get with it what was paid for, and nothing else.",
            safe(said)
        ))?;
        if self.world.balances().await? != before {
            return Err(Failure::unsound("step 5: a refused payment moved money"));
        }
        Ok(())
    }

    async fn too_expensive(&self) -> Result<(), Failure> {
        title("6  A page that is too expensive: the agent refuses")?;
        let before = self.world.balances().await?;
        match self.client.get(&self.world.url(TOO_EXPENSIVE)).await {
            Err(ClientError::Refused(refused)) if matches!(refused.rule, Rule::OverBudget(_)) => {}
            other => return Err(Failure::unsound(format!("step 6: not refused by the budget: {other:?}"))),
        }
        exchange(&format!("GET {}", TOO_EXPENSIVE.path), "HTTP/1.1 402 Payment Required")?;
        say(&format!(
            "{} is asked, and the agent may spend {PER_REQUEST} on one page. It signs nothing, so\n\
             there is nothing that anybody could take: no clever server changes what its owner allowed.",
            paint(BAD, TOO_EXPENSIVE.price)
        ))?;
        if self.world.balances().await? != before {
            return Err(Failure::unsound("step 6: money moved without a payment"));
        }
        Ok(())
    }

    /// Shows what everybody had and has.
    async fn compare(&self, before: (Amount, Amount)) -> Result<(), Failure> {
        let after = self.world.balances().await?;
        let whole = |amount: Amount| fixed(amount, self.world.scale());
        let line = |name: &str, before: Amount, after: Amount| {
            let (then, now) = (whole(before), whole(after));
            let change = if before == after { "   unchanged" } else { "" };
            format!("   {name:<22}{then:>11}  ->{now:>14} {ASSET}{}\n", paint(QUIET, change))
        };
        let lines = line("agent", before.0, after.0) + &line("server", before.1, after.1);
        say(lines.trim_end_matches('\n'))
    }

    fn money(&self, amount: Amount) -> String {
        money(amount, self.world.scale())
    }

    /// Writes the payment's header where its owner alone can read it, for trying things out.
    fn keep_header(&self, prepared: &Prepared) -> Result<PathBuf, Failure> {
        let path = self.world.data.join("payment.header");
        let _ = std::fs::remove_file(&path);
        let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path);
        let header = format!("{PAYMENT_SIGNATURE}: {}\n", prepared.header().expose());
        file.and_then(|mut file| file.write_all(header.as_bytes())).map_err(Failure::unsound)?;
        Ok(path)
    }
}

/// Step 7, before it happens.
pub(super) fn many_requests(world: &World, plan: &Plan, budget: Amount) -> String {
    let (left, scale) = (plan.cost, world.scale());
    let requests = grouped(plan.requests());
    format!(
        "\n{}\n\n   {} is left of the budget of {}. The agent goes on until it is used up;\n   \
         what it asks for after that, it does not pay.\n\n",
        paint(TITLE, format!("7  {requests} more requests, until the budget is used up and beyond")),
        money(left, scale),
        money(budget, scale),
    )
}

/// Commands for another terminal.
pub(super) fn things_to_try(world: &World, told: Option<&Told>) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "farthing".into());
    let (first, second) = (world.url(FIRST), world.url(SECOND));
    let mut out =
        format!("\n{}\n", paint(TITLE, "The server keeps running. Try this from another terminal:"));
    let mut command = |what: &str, text: String| {
        out.push_str(&format!("\n   {}\n   {}\n", paint(QUIET, format!("# {what}")), paint(WIRE, text)));
    };
    command("what is for sale; this page is free", format!("curl {}/", world.origin));
    command("a page, without paying", format!("curl -i {first}"));
    command("what that answer asks for, in words", format!("{program} inspect {first}"));
    if let Some(told) = told {
        let header = told.header_file.display();
        command("the payment of step 2, in words", format!("{program} inspect - < {header}"));
        command(
            "the same payment again: the stored page, nothing charged",
            format!("curl -i -H @{header} {first}"),
        );
        command("the same payment on another page: 409", format!("curl -i -H @{header} {second}"));
        let payment = format!("curl {}/payments/{}", world.ledger_url(), told.payment);
        command("what the ledger says about that payment, signed", payment);
    }
    command(
        "what the ledger settles, and its signed terms",
        format!("curl {}/supported", world.ledger_url()),
    );
    let data = world.data.display();
    command(
        "verify the ledger's whole history, while it is in use",
        format!("{program} ledger check --data {data}"),
    );
    out.push_str("\nPress ctrl-c to stop.\n");
    out
}

/// The ledger's time in a settlement's statement.
fn as_of(settlement: &[u8]) -> Option<u64> {
    let settlement = header::decode_settlement(settlement, &Limits::default()).ok()?;
    settlement.extra.get("statement")?.get("asOf")?.as_u64()
}
