//! What the gateway says of each request: one line for people, or one object for programs.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use farthing_protocol::{Amount, Network};
use farthing_server::Sold;
use farthing_server::answer::Situation;
use farthing_server::gateway::Served;
use serde_json::{Value, json};

/// Decimal places of the assets of the gateway's own ledger.
const SCALE: u8 = 6;
/// Characters of a payer that a line shows.
const SHORT: usize = 8;

/// One request, after its answer. `Display` writes it for people, safely whatever the client sent: the path without
/// its query, and no header.
#[derive(Clone, Debug)]
pub struct Line<'a> {
    served: &'a Served,
    at: u64,
}

/// What a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Free,
    Admitted,
    Unpaid,
    Refused,
    Captured,
    Replayed,
    Authorized,
    Voided,
    Undelivered,
    Unknown,
}

impl<'a> Line<'a> {
    pub(super) fn new(served: &'a Served) -> Self {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self { served, at }
    }

    /// What is told.
    #[must_use]
    pub fn served(&self) -> &Served {
        self.served
    }

    /// The same for programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let Served { method, path, status, sold, took, whole, .. } = self.served;
        let sold = sold.as_ref();
        let money = sold.and_then(|sold| money(sold, sold.amount?));
        json!({
            "at": self.at,
            "method": method.as_str(),
            "path": path,
            "status": status.as_u16(),
            "outcome": outcome(self.served).word(),
            "route": sold.map(|sold| &*sold.route),
            "amount": sold.and_then(|sold| sold.amount).map(|amount| amount.to_string()),
            "price": money,
            "payer": sold.and_then(|sold| sold.payer.as_deref()),
            "payment": sold.and_then(|sold| sold.payment).map(|id| id.to_string()),
            "network": sold.and_then(|sold| sold.network.as_ref()).map(Network::as_str),
            "milliseconds": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "whole": whole,
        })
    }
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Served { method, path, status, sold, took, whole, .. } = self.served;
        let (hour, minute, second) = (self.at / 3600 % 24, self.at / 60 % 60, self.at % 60);
        write!(f, "{hour:02}:{minute:02}:{second:02} ")?;
        plain(f, method.as_str(), 16)?;
        f.write_str(" ")?;
        plain(f, path, 200)?;
        write!(f, " {}", status.as_u16())?;
        let outcome = outcome(self.served);
        let status = status.as_u16();
        match (outcome, sold) {
            (Outcome::Free, _) => {}
            (Outcome::Voided, Some(sold)) => write!(f, " voided ({})", why(sold.situation, status))?,
            (Outcome::Refused, Some(sold)) => write!(f, " refused ({})", sold.situation.row().code)?,
            (outcome, Some(sold)) => {
                write!(f, " {}", outcome.word())?;
                let amount = if outcome == Outcome::Authorized { sold.held } else { sold.amount };
                if let Some(money) = amount.and_then(|amount| money(sold, amount)) {
                    write!(f, " {money}")?;
                }
                if let Some(payer) = sold.payer.as_deref().filter(|_| outcome != Outcome::Unpaid) {
                    f.write_str(" from ")?;
                    plain(f, payer, SHORT)?;
                }
            }
            (outcome, None) => write!(f, " {}", outcome.word())?,
        }
        if !whole {
            f.write_str(" broke off")?;
        }
        write!(f, " {} ms", took.as_millis())
    }
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Admitted => "admitted",
            Self::Unpaid => "unpaid",
            Self::Refused => "refused",
            Self::Captured => "captured",
            Self::Replayed => "replayed",
            Self::Authorized => "authorized",
            Self::Voided => "voided",
            Self::Undelivered => "undelivered",
            Self::Unknown => "unknown",
        }
    }
}

fn outcome(served: &Served) -> Outcome {
    use Situation as S;
    let Some(sold) = &served.sold else { return Outcome::Free };
    match sold.situation {
        S::Free | S::WithinQuota | S::TurnedAway => Outcome::Free,
        S::Admitted => Outcome::Admitted,
        S::Unpaid | S::QuotaExceeded | S::SubscriptionExpired | S::PlanRequired => Outcome::Unpaid,
        S::Paid if sold.replayed => Outcome::Replayed,
        S::Paid if sold.amount.is_none() || sold.amount == Some(Amount(0)) => Outcome::Authorized,
        S::Paid => Outcome::Captured,
        S::HandlerFailed | S::HandlerBroke | S::HandlerTimeout | S::Disconnected | S::Policy => {
            Outcome::Voided
        }
        S::PaidFailed | S::PaidBroke | S::PaidTimeout | S::PaidDisconnected | S::PaidPolicy => {
            Outcome::Undelivered
        }
        S::Pending => Outcome::Unknown,
        _ => Outcome::Refused,
    }
}

/// Why nothing was charged.
fn why(situation: Situation, status: u16) -> String {
    match situation {
        Situation::HandlerFailed => format!("upstream {status}"),
        Situation::HandlerBroke => "upstream broke off".to_owned(),
        Situation::HandlerTimeout => "upstream took too long".to_owned(),
        Situation::Disconnected => "client gone".to_owned(),
        _ => "not sold".to_owned(),
    }
}

/// Money in whole units, such as `0.01 USD`, where the asset is known.
fn money(sold: &Sold, amount: Amount) -> Option<String> {
    let (network, asset) = (sold.network.as_ref()?, sold.asset.as_deref()?);
    match network.namespace() {
        "farthing" => Some(format!("{} {asset}", amount.decimal(SCALE))),
        #[cfg(feature = "evm")]
        "eip155" => {
            let known = farthing_rail_evm::assets::of_network(network);
            let known = known.iter().find(|known| known.address.to_string().eq_ignore_ascii_case(asset))?;
            Some(format!("{} {}", amount.decimal(known.decimals), known.currency))
        }
        _ => None,
    }
}

/// Writes at most `most` characters, and everything that is not plainly visible as an escape.
fn plain(f: &mut fmt::Formatter<'_>, text: &str, most: usize) -> fmt::Result {
    use fmt::Write as _;
    let mut shown = text.chars();
    for c in shown.by_ref().take(most) {
        match c.is_ascii_graphic() {
            true => f.write_char(c)?,
            false => write!(f, "{}", c.escape_unicode())?,
        }
    }
    match shown.next() {
        Some(_) => f.write_str("…"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    fn served(path: &str, status: u16, sold: Option<Sold>) -> Served {
        Served {
            method: "GET".parse().unwrap(),
            path: path.to_owned(),
            peer: None,
            status: status.try_into().unwrap(),
            sold,
            took: Duration::from_millis(12),
            whole: true,
        }
    }

    fn line(served: &Served) -> String {
        Line { served, at: 45_001 }.to_string()
    }

    fn sold(situation: Situation, amount: Option<Amount>) -> Option<Sold> {
        Some(Sold {
            route: Arc::from("/a"),
            payer: Some("3fa9c1d2e3".to_owned()),
            network: Some("farthing:abc".parse().unwrap()),
            asset: Some("USD".to_owned()),
            amount,
            ..Sold::nothing(situation)
        })
    }

    #[test]
    fn a_request_is_one_readable_line() {
        let paid = served("/articles/1", 200, sold(Situation::Paid, Some(Amount(10_000))));
        assert_eq!(line(&paid), "12:30:01 GET /articles/1 200 captured 0.01 USD from 3fa9c1d2… 12 ms");
        let unpaid = served("/articles/1", 402, Some(Sold::nothing(Situation::Unpaid)));
        assert_eq!(line(&unpaid), "12:30:01 GET /articles/1 402 unpaid 12 ms");
        let voided = served("/articles/1", 502, sold(Situation::HandlerFailed, None));
        assert_eq!(line(&voided), "12:30:01 GET /articles/1 502 voided (upstream 502) 12 ms");
        assert_eq!(line(&served("/", 200, None)), "12:30:01 GET / 200 12 ms");
    }

    #[test]
    fn t44_what_a_client_sends_cannot_move_the_cursor() {
        let path = format!("/\u{1b}[2J\u{202e}{}", "a".repeat(300));
        let line = line(&served(&path, 400, None));
        assert!(line.is_ascii() || line.contains('…'));
        assert!(line.contains("/\\u{1b}[2J\\u{202e}aaa") && line.len() < 300, "{line}");
    }
}
