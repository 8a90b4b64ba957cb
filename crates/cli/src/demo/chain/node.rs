//! What the demonstration asks the chain itself, by JSON-RPC. The balances that it judges by are read here, past
//! everything that it demonstrates.

use std::time::{Duration, Instant};

use farthing::protocol::{Amount, Limits, Network, Origin, json};
use serde_json::{Value, json};

use crate::Failure;
use crate::style::safe;

/// How long the chain may take for one answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a transaction may take.
const MINING: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(50);

/// The first four bytes of calls.
const BALANCE_OF: &str = "0x70a08231";
const NAME: &str = "0x06fdde03";
const VERSION: &str = "0x54fd4d50";
const DECIMALS: &str = "0x313ce567";
const MINT: &str = "0x40c10f19";

/// A development chain.
#[derive(Debug)]
pub(super) struct Node {
    client: reqwest::Client,
    url: String,
    /// What people are shown of the URL, which may hold a key.
    origin: Origin,
}

/// Why there is no result: the chain says so, or nobody answers.
enum Silence {
    Refused(String),
    Unreachable(String),
}

impl Node {
    /// Looks whether a development chain with this id answers at `url`.
    ///
    /// # Errors
    /// One sentence about what is not so.
    pub(super) async fn connect(url: &str, network: &Network) -> Result<Self, Failure> {
        let parsed = Origin::of_url(url);
        let (origin, _) = parsed.map_err(|fault| {
            Failure::bad_input(format!("--rpc: {fault}; write it like http://127.0.0.1:8545"))
        })?;
        let builder = reqwest::Client::builder().timeout(PATIENCE).no_proxy();
        let client = builder.build().map_err(Failure::unsound)?;
        let node = Self { client, url: url.to_owned(), origin };

        let id = node.ask("eth_chainId", json!([])).await.map_err(|silence| node.unreachable(&silence))?;
        let id =
            number(&id).ok_or_else(|| Failure::bad_input(format!("--rpc: {} is no chain", node.origin)))?;
        if id.to_string() != network.reference() {
            return Err(Failure::bad_input(format!(
                "--rpc: the chain at {} has id {id}, not that of {network}; start it with --chain-id {}",
                node.origin,
                network.reference()
            )));
        }
        let program = node.ask("web3_clientVersion", json!([])).await;
        let program = program.ok().and_then(|said| said.as_str().map(str::to_lowercase)).unwrap_or_default();
        if !["anvil", "hardhat"].iter().any(|known| program.starts_with(known)) {
            return Err(Failure::bad_input(format!(
                "--rpc: the chain at {} is run by {:?} and not by anvil or hardhat; the demonstration only uses the \
                 accounts that these begin with",
                node.origin,
                safe(&program)
            )));
        }
        Ok(node)
    }

    /// Where it answers, for people.
    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Where it answers.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Looks whether there is a token.
    ///
    /// # Errors
    /// One sentence about how there could be one.
    pub(super) async fn needs_code(&self, token: &str) -> Result<(), Failure> {
        let code = self.ask("eth_getCode", json!([token, "latest"])).await;
        let code = code.map_err(|silence| self.unreachable(&silence))?;
        if code.as_str().is_none_or(|code| code.len() <= 2) {
            return Err(Failure::bad_input(format!(
                "there is no token at {token} on the chain at {}: place one there that knows EIP-3009, or name \
                 another with --token",
                self.origin
            )));
        }
        Ok(())
    }

    /// A token's name and version, which it signs by, and its decimal places.
    pub(super) async fn describe(&self, token: &str) -> Result<(String, String, u8), Failure> {
        let fault = |what: &str| {
            Failure::bad_input(format!("--token: {token} does not say its {what}: it is no token like USDC"))
        };
        let name = self.call(token, NAME).await?.as_deref().and_then(text).ok_or_else(|| fault("name"))?;
        let version = self.call(token, VERSION).await?.as_deref().and_then(text);
        let version = version.ok_or_else(|| fault("version"))?;
        let decimals = self.call(token, DECIMALS).await?.as_deref().and_then(word);
        let decimals =
            decimals.and_then(|decimals| u8::try_from(decimals).ok()).filter(|decimals| *decimals <= 36);
        Ok((name, version, decimals.ok_or_else(|| fault("decimal places"))?))
    }

    /// How much of a token an account has, in atomic units.
    pub(super) async fn balance(&self, token: &str, account: &str) -> Result<Amount, Failure> {
        let data = format!("{BALANCE_OF}{}", padded(account));
        let balance = self.call(token, &data).await?.as_deref().and_then(word);
        let no_token =
            || Failure::bad_input(format!("{token} does not say what an account has: it is no token"));
        balance.map(Amount).ok_or_else(no_token)
    }

    /// Gives an account `amount` of a token out of nothing, as development chains let anybody do.
    pub(super) async fn give(
        &self,
        token: &str,
        account: &str,
        amount: Amount,
        from: &str,
    ) -> Result<bool, Failure> {
        let before = self.balance(token, account).await?;
        let data = format!("{MINT}{}{:064x}", padded(account), amount.0);
        let minted =
            self.ask("eth_sendTransaction", json!([{ "from": from, "to": token, "data": data }])).await;
        if let Ok(hash) = minted {
            self.mined(&hash).await?;
        } else {
            let dealt = json!([account, token, format!("{:#x}", amount.0)]);
            // Not every program knows it; the balance tells.
            let _ = self.ask("anvil_dealERC20", dealt).await;
        }
        Ok(self.balance(token, account).await? > before)
    }

    async fn mined(&self, hash: &Value) -> Result<(), Failure> {
        let start = Instant::now();
        while start.elapsed() < MINING {
            match self.ask("eth_getTransactionReceipt", json!([hash])).await {
                Ok(receipt) if !receipt.is_null() => return Ok(()),
                _ => tokio::time::sleep(POLL).await,
            }
        }
        Err(Failure::bad_input(format!(
            "the chain at {} mines no transactions; start it with --block-time 1 --mixed-mining",
            self.origin
        )))
    }

    /// The bytes that a call returns; `None` when it fails.
    async fn call(&self, to: &str, data: &str) -> Result<Option<Vec<u8>>, Failure> {
        match self.ask("eth_call", json!([{ "to": to, "data": data }, "latest"])).await {
            Ok(answer) => Ok(answer.as_str().and_then(bytes)),
            Err(Silence::Refused(_)) => Ok(None),
            Err(silence) => Err(self.unreachable(&silence)),
        }
    }

    async fn ask(&self, method: &str, params: Value) -> Result<Value, Silence> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let request = self.client.post(&self.url).header("content-type", "application/json").body(body);
        // The error of the connection may quote the URL.
        let silent = |error: reqwest::Error| Silence::Unreachable(error.without_url().to_string());
        let answer = request.send().await.map_err(silent)?;
        let answer = answer.bytes().await.map_err(silent)?;
        let limits = Limits { json_members: 4096, ..Limits::default() };
        let answer: Value = json::read(&answer, &limits)
            .map_err(|_| Silence::Unreachable("what answers there is no chain".into()))?;
        match (answer.get("result"), answer.get("error")) {
            (_, Some(error)) if !error.is_null() => Err(Silence::Refused(error.to_string())),
            (Some(result), _) => Ok(result.clone()),
            _ => Err(Silence::Unreachable("what answers there is no chain".into())),
        }
    }

    fn unreachable(&self, silence: &Silence) -> Failure {
        let why = match silence {
            Silence::Refused(why) | Silence::Unreachable(why) => safe(why),
        };
        Failure::bad_input(format!("--rpc: no chain answers at {}: {why}", self.origin))
    }
}

/// An address as a word of a call.
fn padded(address: &str) -> String {
    format!("{:0>64}", address.trim_start_matches("0x").to_lowercase())
}

fn number(value: &Value) -> Option<u64> {
    u64::from_str_radix(value.as_str()?.strip_prefix("0x")?, 16).ok()
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.strip_prefix("0x")?;
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// A number of 32 bytes, if it fits.
fn word(bytes: &[u8]) -> Option<u128> {
    let (high, low) = bytes.get(..32)?.split_at(16);
    if high.iter().any(|byte| *byte != 0) {
        return None;
    }
    Some(u128::from_be_bytes(low.try_into().ok()?))
}

/// A text as calls return it: where it begins, its length, its bytes.
fn text(bytes: &[u8]) -> Option<String> {
    let start = usize::try_from(word(bytes)?).ok()?;
    let rest = bytes.get(start..)?;
    let length = usize::try_from(word(rest)?).ok()?;
    let text = rest.get(32..length.checked_add(32)?)?;
    String::from_utf8(text.to_vec()).ok().filter(|text| !text.is_empty() && text.len() <= 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_calls_return_is_read() {
        let mut answer = vec![0; 96];
        (answer[31], answer[63]) = (32, 4);
        answer[64..68].copy_from_slice(b"USDC");
        assert_eq!(text(&answer).as_deref(), Some("USDC"));
        answer[63] = 33;
        assert_eq!(text(&answer), None, "longer than it is");
        assert_eq!(text(&[0; 31]), None);
        assert_eq!(word(&[&[0; 31][..], &[7]].concat()), Some(7));
        assert_eq!(word(&[1; 32]), None, "more than fits");
        assert_eq!(bytes("0x0aff"), Some(vec![10, 255]));
        assert_eq!(bytes("0x0g"), None);
        assert_eq!(padded("0xAb").len(), 64);
        assert!(padded("0xAb").ends_with("0ab"));
    }
}
