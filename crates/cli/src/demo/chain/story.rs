//! The story on a chain: one payment from the price to the balances, and the three ways in which it does not work
//! twice.

use farthing::Client;
use farthing::client::{ClientError, Prepared, Rule};
use farthing::protocol::header::{self, Decoded, PAYMENT_RESPONSE};
use farthing::protocol::{Amount, Limits};
use serde_json::Value;

use super::PER_REQUEST;
use super::world::World;
use crate::Failure;
use crate::demo::load::Plan;
use crate::demo::pages::{AFFORDABLE, FIRST, TOO_EXPENSIVE};
use crate::demo::telling::{exchange, fixed, rows, say, status_line, title};
use crate::inspect::fetch;
use crate::style::{BAD, GOOD, QUIET, TITLE, WIRE, grouped, moment, money, paint, safe, unix_now};

/// What the story did, for the table at the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) requests: u64,
    pub(super) paid: u64,
    pub(super) replayed: u64,
    pub(super) refused_by_server: u64,
    pub(super) refused_by_budget: u64,
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
        let body = self.pay(&prepared).await?;
        self.again(&prepared, &body).await?;
        self.elsewhere(&prepared).await?;
        self.too_expensive().await?;
        Ok(Told { requests: 4, paid: 1, replayed: 1, refused_by_server: 1, refused_by_budget: 1 })
    }

    async fn introduce(&self) -> Result<(), Failure> {
        let world = self.world;
        let (has, _) = world.balances().await?;
        title("farthing: an agent pays for web pages with a token on a chain")?;
        say("Four parties are running on this machine now, and talk to each other over HTTP:")?;
        rows(&[
            ("a chain", format!("{} at {}", world.network, paint(WIRE, world.node.origin()))),
            (
                "a server",
                format!("at {}, selling the pages of farthing's specification", paint(WIRE, &world.origin)),
            ),
            ("a facilitator", format!("which sends to the chain, as {}", world.facilitator)),
            ("an agent", format!("which buys pages by itself, as {}", world.agent)),
        ])?;
        let asset = &world.asset;
        say(&format!("The money is {}, the token at {}.", safe(&asset.name), asset.address))?;
        if let Some(given) = world.given {
            say(&format!(
                "None of the chain's accounts had any, so the agent was given {}: a development chain\n\
                 lets anybody do that.",
                self.money(given)
            ))?;
        }
        say(&format!(
            "The agent has {}. Its owner gave it a budget: {} for today, and at most\n\
             {PER_REQUEST} {} for one page.",
            self.money(has),
            self.money(self.budget),
            asset.currency
        ))
    }

    async fn price(&self) -> Result<(), Failure> {
        title("1  The agent asks for a page, and is told the price")?;
        let fetched = fetch(&self.world.url(FIRST)).await?;
        let terms = fetched.terms(&Limits::default()).map_err(Failure::unsound)?;
        let Some(Decoded::PaymentRequired(terms)) = terms.map(|message| message.decoded) else {
            return Err(Failure::unsound("step 1: the server did not name a price"));
        };
        let offer = terms.offers().next().ok_or_else(|| Failure::unsound("step 1: no way to pay"))?;
        exchange(&format!("GET {}", FIRST.path), &status_line(&fetched))?;
        say("The answer has a header, PAYMENT-REQUIRED, that a program can read. It says:")?;
        rows(&[
            ("what is sold", safe(terms.resource.description.as_deref().unwrap_or(&terms.resource.url))),
            ("price", paint(GOOD, self.money(offer.amount))),
            ("paid to", format!("{}, the server's address", safe(&offer.pay_to))),
            ("on the chain", safe(offer.network.as_str())),
            ("in the token", safe(&offer.asset)),
        ])
    }

    async fn sign(&self) -> Result<Prepared, Failure> {
        title("2  The agent signs, and sends nothing to the chain")?;
        let signed = self.client.get(&self.world.url(FIRST)).sign().await.map_err(Failure::unsound)?;
        let prepared = signed.ok_or_else(|| Failure::unsound("step 2: the page is free"))?;
        let payment = header::decode_payment(prepared.header().expose().as_bytes(), &Limits::default());
        let payload: Value = serde_json::from_str(payment.map_err(Failure::unsound)?.payload.get())
            .map_err(Failure::unsound)?;
        let signed = |name: &str| {
            let value = payload.pointer(&format!("/authorization/{name}")).and_then(Value::as_str);
            value.map(safe).ok_or_else(|| Failure::unsound(format!("step 2: nothing is signed as {name}")))
        };
        say(
            "The price is within its budget, so it reserves the money there and signs with its own key, which\n\
             never leaves it. The token itself will check this signature (EIP-3009). It covers:",
        )?;
        rows(&[
            ("from", signed("from")?),
            ("to", signed("to")?),
            ("amount", self.money(prepared.max_amount())),
            ("to be used by", moment(prepared.valid_before(), unix_now())),
            ("once only", format!("nonce {}...", signed("nonce")?.chars().take(18).collect::<String>())),
        ])?;
        say(
            "It needs no ether for that: who sends the transaction pays for its gas, and that is not the agent.",
        )?;
        Ok(prepared)
    }

    async fn pay(&self, prepared: &Prepared) -> Result<String, Failure> {
        title("3  The agent sends the signature along, and gets the page")?;
        let before = self.world.balances().await?;
        let answer = self.client.present(prepared).await.map_err(Failure::unsound)?;
        let status = answer.status;
        let settlement = answer.headers.get(PAYMENT_RESPONSE).map(|value| value.as_bytes().to_vec());
        let settlement =
            settlement.ok_or_else(|| Failure::unsound("step 3: the answer does not say what it cost"))?;
        let settlement =
            header::decode_settlement(&settlement, &Limits::default()).map_err(Failure::unsound)?;
        let body = answer.text().await.map_err(Failure::unsound)?;
        exchange(
            &format!("GET {}\n> PAYMENT-SIGNATURE: (the signature)", FIRST.path),
            &format!("HTTP/1.1 {status}\n< PAYMENT-RESPONSE: (what became of it)"),
        )?;
        if !status.is_success() || !settlement.success {
            return Err(Failure::unsound("step 3: the page was not paid for"));
        }
        let first_line = body.lines().next().unwrap_or_default();
        say(&format!(
            "   {}\n   {}",
            safe(first_line),
            paint(QUIET, format!("... and {} bytes more", body.len() - first_line.len()))
        ))?;
        say(
            "The server claimed the signature, so that it is good for one request. Its facilitator looked whether\n\
             the chain would take it, and sent it. The page came when the chain had it in a block:",
        )?;
        rows(&[("the transaction", paint(WIRE, safe(&settlement.transaction)))])?;
        let after = self.compare(before).await?;
        let price = prepared.max_amount();
        if Some(after.0) != before.0.checked_sub(price) || Some(after.1) != before.1.checked_add(price) {
            return Err(Failure::unsound("step 3: the balances on the chain did not move by the price"));
        }
        Ok(body)
    }

    async fn again(&self, prepared: &Prepared, body: &str) -> Result<(), Failure> {
        title("4  The same signature again: the same answer, and nothing is charged")?;
        let before = self.world.balances().await?;
        let answer = self.client.present(prepared).await.map_err(Failure::unsound)?;
        let status = answer.status;
        let same = answer.text().await.map_err(Failure::unsound)? == body;
        exchange(
            &format!("GET {}\n> PAYMENT-SIGNATURE: (the same one)", FIRST.path),
            &format!("HTTP/1.1 {status}"),
        )?;
        say(
            "Networks lose answers. An agent that did not get one may simply present its payment again: the\n\
             server finds the answer that it kept. The token would refuse the same nonce a second time, anyway.",
        )?;
        let unchanged = self.compare(before).await? == before;
        if !unchanged || !same {
            return Err(Failure::unsound("step 4: the same payment was not answered from what was stored"));
        }
        Ok(())
    }

    async fn elsewhere(&self, prepared: &Prepared) -> Result<(), Failure> {
        title("5  The same signature on another page of the same price: refused")?;
        let before = self.world.balances().await?;
        // Of the same price, so that nothing but the server's claim tells the two apart.
        let other = AFFORDABLE.iter().find(|page| page.path != FIRST.path && page.price == FIRST.price);
        let other = other.ok_or_else(|| Failure::unsound("step 5: no page has the same price"))?;
        let refused = match self.client.present_at(prepared, &self.world.url(other)).await {
            Err(ClientError::PaymentRefused(refused)) if refused.status.is_client_error() => refused,
            other => return Err(Failure::unsound(format!("step 5: not refused: {other:?}"))),
        };
        exchange(
            &format!("GET {}\n> PAYMENT-SIGNATURE: (the same one)", other.path),
            &format!("HTTP/1.1 {}", refused.status),
        )?;
        let said = refused.said.message.as_deref().unwrap_or("refused");
        say(&format!(
            "The server says: \"{}\"\n\
             The price is the same, and the token could not tell: the server's claim does.",
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
        let currency = &self.world.asset.currency;
        say(&format!(
            "{} is asked, and the agent may spend {PER_REQUEST} {currency} on one page. It signs nothing, so\n\
             there is nothing that anybody could take.",
            paint(BAD, TOO_EXPENSIVE.price_in(currency))
        ))?;
        if self.world.balances().await? != before {
            return Err(Failure::unsound("step 6: money moved without a payment"));
        }
        Ok(())
    }

    /// Shows what everybody had and has on the chain, and returns the latter.
    async fn compare(&self, before: (Amount, Amount)) -> Result<(Amount, Amount), Failure> {
        let after = self.world.balances().await?;
        say(compared(self.world, before, after).trim_end_matches('\n'))?;
        Ok(after)
    }

    fn money(&self, amount: Amount) -> String {
        money(amount, self.world.asset.decimals, &self.world.asset.currency)
    }
}

/// What the agent and the server had and have on the chain, in two lines.
pub(super) fn compared(world: &World, before: (Amount, Amount), after: (Amount, Amount)) -> String {
    let whole = |amount: Amount| fixed(amount, world.asset.decimals);
    let line = |name: &str, before: Amount, after: Amount| {
        let (then, now) = (whole(before), whole(after));
        let change = if before == after { "   unchanged" } else { "" };
        format!("   {name:<22}{then:>14}  ->{now:>14} {}{}\n", world.asset.currency, paint(QUIET, change))
    };
    line("agent", before.0, after.0) + &line("server", before.1, after.1)
}

/// Step 7, before it happens.
pub(super) fn many_requests(world: &World, plan: &Plan, budget: Amount) -> String {
    let money = |amount| money(amount, world.asset.decimals, &world.asset.currency);
    format!(
        "\n{}\n\n   {} is left of the budget of {}. The agent goes on until it is used up;\n   \
         what it asks for after that, it does not pay. Each payment is a transaction.\n\n",
        paint(
            TITLE,
            format!("7  {} more requests, until the budget is used up and beyond", grouped(plan.requests()))
        ),
        money(plan.cost),
        money(budget),
    )
}
