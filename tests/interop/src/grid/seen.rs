//! What a client reports of its job, and what the chain adds to it.

use farthing_testkit::anvil;
use serde::Deserialize;

use super::cells::{Case, Cell, Method, Version};
use super::programs::{PRICE, USED};

/// What a client saw.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Seen {
    status: Option<u16>,
    #[serde(default)]
    body: String,
    /// The header that the settlement came in.
    header: Option<String>,
    settlement: Option<Settlement>,
    /// Why it was refused, as the server says.
    reason: Option<String>,
    /// Why there is nothing to see.
    error: Option<String>,
    /// What the first of two presentations of a payment was answered with.
    first: Option<Box<Self>>,
}

/// What the server says of the settlement, as the client's own decoder read it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Settlement {
    success: bool,
    #[serde(default)]
    transaction: String,
    #[serde(default)]
    network: String,
    payer: Option<String>,
    error_reason: Option<String>,
}

/// What an account lost, and what another one got, in atomic units.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moved {
    /// The payer's loss.
    pub(crate) paid: i128,
    /// The payee's gain.
    pub(crate) received: i128,
}

/// A cell's end.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// Whether everything was as it must be.
    pub(crate) green: bool,
    /// What was seen: one line, the same in each run that ends the same way.
    pub(crate) seen: String,
}

impl Seen {
    /// # Errors
    /// When it is not what a client reports.
    pub(crate) fn read(body: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(body).map_err(|error| format!("{error}: {}", String::from_utf8_lossy(body)))
    }

    /// Nothing, because of `error`.
    pub(crate) fn failed(error: String) -> Self {
        Self { error: Some(error), ..Self::default() }
    }

    /// Judges a cell: `payer` is who paid.
    pub(crate) fn judge(&self, cell: &Cell, payer: &str, moved: Moved) -> Verdict {
        let path = cell.path();
        let complaint = match cell.case {
            Case::Pays => self.paid(cell, path, payer).and_then(|()| exactly(price(cell), moved)),
            Case::Replayed => match &self.first {
                Some(first) => first
                    .paid(cell, path, payer)
                    .and_then(|()| self.refused(&format!("{path}/other")))
                    .and_then(|()| exactly(price(cell), moved)),
                None => Err("nothing was presented twice".into()),
            },
            _ => self.refused(path).and_then(|()| exactly(0, moved)),
        };
        let Moved { paid, received } = moved;
        let seen = match complaint {
            Ok(()) if cell.case == Case::Pays => format!("200, settled; payer -{paid}, payee +{received}"),
            Ok(()) if cell.case == Case::Replayed => {
                format!("{}; payer -{paid}, payee +{received}, once", self.refusal())
            }
            Ok(()) => format!("{}; nothing moved", self.refusal()),
            Err(why) => {
                let seen = format!("{why}; seen {}; payer -{paid}, payee +{received}", self.refusal());
                return Verdict { green: false, seen: seen.replace('|', "/").replace('\n', " ") };
            }
        };
        Verdict { green: true, seen }
    }

    /// The content came, and a settlement that says so.
    fn paid(&self, cell: &Cell, path: &str, payer: &str) -> Result<(), String> {
        if self.status != Some(200) || self.body != format!("sold: {path}") {
            return Err("the content did not come".into());
        }
        let (header, network) = match cell.version {
            Version::V1 => ("X-PAYMENT-RESPONSE", "base-sepolia"),
            Version::V2 => ("PAYMENT-RESPONSE", anvil::NETWORK),
        };
        if self.header.as_deref() != Some(header) {
            return Err(format!("no settlement in {header}"));
        }
        let settlement = self.settlement.as_ref().ok_or("the settlement does not decode")?;
        let hash = settlement.transaction.strip_prefix("0x").unwrap_or_default();
        let is_hash = hash.len() == 64 && hash.bytes().all(|digit| digit.is_ascii_hexdigit());
        if !settlement.success || !is_hash || settlement.network != network {
            return Err(format!("the settlement says {settlement:?}"));
        }
        match &settlement.payer {
            Some(named) if !named.eq_ignore_ascii_case(payer) => Err(format!("the settlement names {named}")),
            _ => Ok(()),
        }
    }

    /// The content did not come, and the server says no.
    fn refused(&self, path: &str) -> Result<(), String> {
        match self.status {
            _ if self.body.contains(&format!("sold: {path}")) => Err("the content came".into()),
            _ if self.refusal().contains("acilitator") => Err("the facilitator failed".into()),
            Some(400..=499) => Ok(()),
            _ => Err("there is no refusal".into()),
        }
    }

    /// The refusal in few words.
    fn refusal(&self) -> String {
        let reason = self.settlement.as_ref().and_then(|settlement| settlement.error_reason.as_ref());
        match (self.status, reason.or(self.reason.as_ref()), &self.error) {
            (Some(status), Some(reason), _) => format!("{status} {reason}"),
            (Some(status), None, _) => status.to_string(),
            (None, _, Some(error)) => format!("the client's error: {error}"),
            (None, _, None) => "nothing".into(),
        }
    }
}

/// What a cell's payment costs.
fn price(cell: &Cell) -> i128 {
    let price = if cell.method == Method::Upto { USED } else { PRICE };
    i128::try_from(price).unwrap_or(i128::MAX)
}

fn exactly(price: i128, moved: Moved) -> Result<(), String> {
    if (moved.paid, moved.received) == (price, price) {
        Ok(())
    } else {
        Err(format!("{price} should have moved"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Moved, Seen};
    use crate::grid::cells::{Case, Cell, Client, Facilitator, Method, Server, Version};

    const PAYER: &str = "0x00000000000000000000000000000000000000Aa";

    fn cell(method: Method, case: Case) -> Cell {
        let (version, client, server) = (Version::V2, Client::Fetch, Server::Farthing);
        Cell { version, method, client, server, facilitator: Facilitator::Farthing, case }
    }

    fn answer(status: u16, body: &str, success: bool) -> String {
        let transaction = format!("0x{}", "5".repeat(64));
        let settlement = format!(
            r#"{{"success":{success},"transaction":"{transaction}","network":"eip155:84532","payer":"{PAYER}"}}"#
        );
        format!(
            r#"{{"status":{status},"body":"{body}","header":"PAYMENT-RESPONSE","settlement":{settlement}}}"#
        )
    }

    fn green(cell: &Cell, report: &str, paid: i128, received: i128) -> bool {
        let seen = Seen::read(report.as_bytes()).unwrap();
        seen.judge(cell, &PAYER.to_lowercase(), Moved { paid, received }).green
    }

    #[test]
    fn a_payment_is_green_only_with_content_settlement_and_exactly_the_price() {
        let exact = cell(Method::Eip3009, Case::Pays);
        let good = answer(200, "sold: /eip3009", true);
        assert!(green(&exact, &good, 1000, 1000));
        for (paid, received) in [(0, 0), (999, 999), (1001, 1001), (1000, 999), (2000, 2000)] {
            assert!(!green(&exact, &good, paid, received), "{paid} {received}");
        }
        for bad in [
            answer(200, "sold: /other", true),
            answer(402, "", true),
            answer(200, "sold: /eip3009", false),
            good.replace("PAYMENT-RESPONSE", "X-PAYMENT-RESPONSE"),
            good.replace("eip155:84532", "eip155:8453"),
            good.replace("0x5", "5"),
            good.replace("0Aa", "0Bb"),
            r#"{"status":200,"body":"sold: /eip3009"}"#.into(),
            r#"{"error":"broken"}"#.into(),
        ] {
            assert!(!green(&exact, &bad, 1000, 1000), "{bad}");
        }
        let upto = answer(200, "sold: /upto", true);
        assert!(green(&cell(Method::Upto, Case::Pays), &upto, 600, 600));
        assert!(!green(&cell(Method::Upto, Case::Pays), &upto, 1000, 1000));
    }

    #[test]
    fn a_refusal_is_green_only_when_nothing_came_and_nothing_moved() {
        let expired = cell(Method::Eip3009, Case::Expired);
        let refused = r#"{"status":402,"body":"{}","reason":"expired"}"#;
        assert!(green(&expired, refused, 0, 0));
        assert!(!green(&expired, refused, 1000, 1000));
        assert!(!green(&expired, &answer(200, "sold: /eip3009", true), 0, 0));
        // A program that breaks refuses nothing.
        for broken in [
            r#"{"status":500,"body":""}"#,
            r#"{"error":"fetch failed"}"#,
            r#"{"status":402,"body":"","reason":"Facilitator verify failed (500)"}"#,
        ] {
            assert!(!green(&expired, broken, 0, 0), "{broken}");
        }
    }

    #[test]
    fn a_payment_presented_twice_pays_once_and_opens_one_thing() {
        let replayed = cell(Method::Eip3009, Case::Replayed);
        let first = answer(200, "sold: /eip3009", true);
        let second = |status, body: &str| format!(r#"{{"status":{status},"body":"{body}","first":{first}}}"#);
        assert!(green(&replayed, &second(409, ""), 1000, 1000));
        assert!(!green(&replayed, &second(409, ""), 2000, 2000));
        assert!(!green(&replayed, &second(200, "sold: /eip3009/other"), 1000, 1000));
    }
}
