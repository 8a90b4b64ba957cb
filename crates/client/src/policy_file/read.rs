//! From the tables of a policy file to a policy whose every value was checked.

use std::path::Path;
use std::time::Duration;

use farthing_protocol::{Network, Origin, Price};
use toml::Spanned;
use url::Url;

use super::place::{Place, PolicyFileError};
use super::tables::{self, Document, Text};
use super::{ApprovalEntry, BudgetEntry, PayeeEntry, PolicyFile, WalletEntry};
use crate::budget::{Limit, is_name};
use crate::rules::{Hours, MAX_CAPTURE, MAX_VALIDITY, OriginRule, PriceRise, RuleError, seconds};
use crate::text::{SHOWN, plain};

/// Seconds, where the file does not say.
const VALIDITY: u64 = 600;
const CAPTURE: u64 = 900;
const ANSWER: u64 = 60;
/// Seconds that a person may have to answer.
const LONGEST_ANSWER: u64 = 3600;

/// A file and its text, to say where in it something is wrong.
pub(super) struct Source<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
}

type Checked<T> = Result<T, PolicyFileError>;

impl Source<'_> {
    pub(super) fn read(&self) -> Checked<PolicyFile> {
        let document: Document = toml::from_str(self.text).map_err(|error| match error.span() {
            Some(span) => Place::of(self.text, &span).fault(self.path, plain(error.message(), SHOWN)),
            None => PolicyFileError::whole(self.path, plain(error.message(), SHOWN)),
        })?;
        let agent = document.agent.as_ref().map(|name| self.name(name)).transpose()?;
        let mut wallets: Vec<WalletEntry> = Vec::new();
        for table in &document.wallet {
            let wallet = self.wallet(table)?;
            if wallets.iter().any(|other| other.network == wallet.network) {
                return Err(self.fault(&table.network, "has a wallet already"));
            }
            wallets.push(wallet);
        }
        let mut budgets: Vec<BudgetEntry> = Vec::new();
        for table in &document.budget {
            let budget = self.budget(table)?;
            if !wallets.iter().any(|wallet| wallet.network == budget.network) {
                return Err(self.fault(&table.network, "has no [[wallet]] in this file"));
            }
            if budgets
                .iter()
                .any(|other| (&other.network, &other.asset.0) == (&budget.network, &budget.asset.0))
            {
                return Err(self.fault(&table.asset, "has a budget on this network already"));
            }
            budgets.push(budget);
        }
        if let [_, _, ..] = document.origins[..]
            && let Some(any) = document.origins.iter().find(|rule| rule.get_ref() == "*")
        {
            return Err(self.fault(any, "`*` allows every origin: it must be the only entry"));
        }
        let limits = &document.limits;
        Ok(PolicyFile {
            path: self.path.to_owned(),
            agent,
            origins: document.origins.iter().map(|rule| self.origin_rule(rule)).collect::<Checked<_>>()?,
            wallets,
            budgets,
            payees: document.payee.iter().map(|table| self.payee(table)).collect::<Checked<_>>()?,
            validity: self.seconds(limits.validity_seconds.as_ref(), VALIDITY, MAX_VALIDITY)?,
            capture: self.seconds(limits.capture_seconds.as_ref(), CAPTURE, MAX_CAPTURE)?,
            hours: limits.hours.as_ref().map(|text| self.hours(text)).transpose()?,
            price_rise: self.price_rise(limits.price_rise.as_ref())?,
            approval: document.approval.as_ref().map(|table| self.approval(table)).transpose()?,
        })
    }

    fn fault<T>(&self, at: &Spanned<T>, why: impl Into<String>) -> PolicyFileError {
        self.place(at).fault(self.path, why)
    }

    fn place<T>(&self, at: &Spanned<T>) -> Place {
        Place::of(self.text, &at.span())
    }

    fn name(&self, text: &Text) -> Checked<String> {
        match text.get_ref() {
            name if is_name(name) => Ok(name.clone()),
            _ => Err(self.fault(text, "must be a name of 1 to 64 visible characters")),
        }
    }

    fn network(&self, text: &Text) -> Checked<Network> {
        text.get_ref()
            .parse()
            .map_err(|error: farthing_protocol::WireError| self.fault(text, error.to_string()))
    }

    fn origin_rule(&self, text: &Text) -> Checked<OriginRule> {
        match text.get_ref().as_str() {
            "*" => Ok(OriginRule::Any),
            rule => rule.parse().map_err(|error: RuleError| self.fault(text, error.to_string())),
        }
    }

    fn wallet(&self, table: &tables::Wallet) -> Checked<WalletEntry> {
        let network = self.network(&table.network)?;
        let needs = |why: &str| Err(self.fault(&table.network, why));
        match (network.namespace(), &table.ledger, &table.rpc) {
            ("farthing", None, _) => return needs("needs `ledger`, the URL of its facilitator"),
            ("farthing", _, Some(rpc)) => return Err(self.fault(rpc, "is for eip155 networks only")),
            ("eip155", _, None) => return needs("needs `rpc`, a list of URLs"),
            ("eip155", Some(ledger), _) => return Err(self.fault(ledger, "is for farthing networks only")),
            _ => {}
        }
        if table.account.get_ref().is_empty() {
            return Err(self.fault(&table.account, "must name an account of the wallet"));
        }
        let mut rpc = Vec::new();
        if let Some(urls) = &table.rpc {
            if urls.get_ref().is_empty() {
                return Err(self.fault(urls, "must name one URL at least"));
            }
            for url in urls.get_ref() {
                rpc.push(self.url(url)?);
            }
        }
        let ledger = table.ledger.as_ref().map(|url| self.url(url)).transpose()?;
        Ok(WalletEntry { network, ledger, rpc, account: table.account.get_ref().clone() })
    }

    /// A URL, which is not repeated in messages: it may hold a key.
    fn url(&self, text: &Text) -> Checked<String> {
        match Url::parse(text.get_ref()) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
                Ok(text.get_ref().clone())
            }
            _ => Err(self.fault(text, "must be an http or https URL")),
        }
    }

    fn budget(&self, table: &tables::Budget) -> Checked<BudgetEntry> {
        let asset = table.asset.get_ref();
        if asset.is_empty() || !asset.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(self.fault(&table.asset, "must be an asset's code or address"));
        }
        let mut limits = Vec::new();
        for (kind, limit) in [
            (Limit::Total, Some(&table.total)),
            (Limit::PerRequest, table.per_request.as_ref()),
            (Limit::PerHost, table.per_host.as_ref()),
            (Limit::PerPayee, table.per_payee.as_ref()),
            (Limit::PerAgent, table.per_agent.as_ref()),
            (Limit::PerTask, table.per_task.as_ref()),
            (Limit::PerHour, table.per_hour.as_ref()),
            (Limit::PerDay, table.per_day.as_ref()),
            (Limit::PerMonth, table.per_month.as_ref()),
        ] {
            let Some(text) = limit else { continue };
            // A price needs a currency; which one does not matter to its digits.
            let price: Result<Price, _> = format!("{} X", text.get_ref()).parse();
            let why = "must be whole units as a decimal number in quotes, such as \"0.05\"";
            limits.push((kind, price.map_err(|_| self.fault(text, why))?, self.place(text)));
        }
        let asset = (asset.clone(), self.place(&table.asset));
        Ok(BudgetEntry { network: self.network(&table.network)?, asset, limits })
    }

    fn payee(&self, table: &tables::Payee) -> Checked<PayeeEntry> {
        let origin: Origin = match self.origin_rule(&table.origin)? {
            OriginRule::One(origin) => origin,
            _ => return Err(self.fault(&table.origin, "must be one origin, without `*`")),
        };
        let payee = table.payee.get_ref();
        if payee.is_empty() || !payee.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(self.fault(&table.payee, "must be an account in its network's own words"));
        }
        Ok(PayeeEntry { origin, network: self.network(&table.network)?, payee: payee.clone() })
    }

    fn seconds(&self, asked: Option<&Spanned<u64>>, default: u64, most: u64) -> Checked<u64> {
        let Some(asked) = asked else { return Ok(default) };
        let why = |_| self.fault(asked, format!("must be 1 to {most}"));
        seconds("", *asked.get_ref(), most).map_err(why)
    }

    fn hours(&self, text: &Text) -> Checked<Hours> {
        text.get_ref().parse().map_err(|error: RuleError| self.fault(text, error.to_string()))
    }

    fn price_rise(&self, text: Option<&Text>) -> Checked<PriceRise> {
        let Some(text) = text else { return Ok(PriceRise::Refuse) };
        match text.get_ref().as_str() {
            "refuse" => Ok(PriceRise::Refuse),
            "allow" => Ok(PriceRise::Allow),
            _ => Err(self.fault(text, "must be \"refuse\" or \"allow\"")),
        }
    }

    fn approval(&self, table: &tables::Approval) -> Checked<ApprovalEntry> {
        if table.above.get_ref().is_empty() {
            return Err(self.fault(&table.above, "must name one amount at least, such as \"0.5 XTS\""));
        }
        let mut above = Vec::new();
        for text in table.above.get_ref() {
            let why = "must be an amount with its currency, such as \"0.5 XTS\"";
            let price: Price = text.get_ref().parse().map_err(|_| self.fault(text, why))?;
            above.push((price, self.place(text)));
        }
        let webhook = match (&table.webhook, &table.webhook_key_file) {
            (None, None) => None,
            (Some(url), None) => return Err(self.fault(url, "needs `webhook_key_file`")),
            (None, Some(key)) => return Err(self.fault(key, "needs `webhook`")),
            (Some(url), Some(key)) => {
                let checked = crate::approval::webhook_url(url.get_ref());
                let checked = checked.map_err(|error| self.fault(url, error.to_string()))?;
                // Beside the policy, unless it says where.
                let file = self.path.parent().unwrap_or(Path::new("")).join(key.get_ref());
                Some((checked, file, self.place(key)))
            }
        };
        let timeout = self.seconds(table.timeout_seconds.as_ref(), ANSWER, LONGEST_ANSWER)?;
        Ok(ApprovalEntry { above, timeout: Duration::from_secs(timeout), webhook })
    }
}
