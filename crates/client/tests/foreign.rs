//! Sellers that are not farthing's: version 1 of x402, chains, extensions, and what they leave out.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod scripted;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use farthing_client::{
    AssetId, Budget, Client, ClientBuilder, ClientError, Flag, Journal, MemoryJournal, Patience, Rule,
    Version,
};
use farthing_protocol::header::{self, PAYMENT_REQUIRED, X_PAYMENT, X_PAYMENT_RESPONSE};
use farthing_protocol::rail::{BoxFuture, Confirmation, OfferError, Pay, SignedPayment};
use farthing_protocol::v2::{Extensions, PaymentRequirements, SettlementResponse};
use farthing_protocol::{Amount, Limits, Network, RequestDigest, Retry};
use scripted::*;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

const CHAIN: &str = "eip155:84532";
const TOKEN: &str = "0x036cbd";
const HASH: &str = "0x8f3d";

/// Pays in one token of a chain, as the scripted rail does.
#[derive(Debug)]
struct Wallet {
    rail: Rail,
    network: Network,
    speaks_v1: bool,
    /// What it says besides the payload.
    extensions: Extensions,
    looked: AtomicUsize,
    /// What the chain says about offers to this payee.
    unpayable: Mutex<Option<(String, OfferError)>>,
}

impl Wallet {
    fn new() -> Self {
        Self {
            rail: Rail::reaching(300),
            network: CHAIN.parse().unwrap(),
            speaks_v1: true,
            extensions: Extensions::new(),
            looked: AtomicUsize::new(0),
            unpayable: Mutex::default(),
        }
    }

    fn saying(name: &str, extension: &Value) -> Self {
        let extensions = [(name.to_owned(), to_raw_value(extension).unwrap())].into();
        Self { extensions, ..Self::new() }
    }

    fn looked(&self) -> usize {
        self.looked.load(Ordering::SeqCst)
    }
}

impl Pay for Wallet {
    fn network(&self) -> &Network {
        &self.network
    }

    fn scale(&self, asset: &str) -> Option<u8> {
        asset.eq_ignore_ascii_case(TOKEN).then_some(6)
    }

    fn asset(&self, name: &str) -> Option<String> {
        (name == "USD" || name.eq_ignore_ascii_case(TOKEN)).then(|| TOKEN.to_owned())
    }

    fn currency(&self, _: &str) -> String {
        "USD".into()
    }

    fn speaks_v1(&self) -> bool {
        self.speaks_v1
    }

    fn look_up<'a>(&'a self, offer: &'a PaymentRequirements) -> BoxFuture<'a, Result<(), OfferError>> {
        self.looked.fetch_add(1, Ordering::SeqCst);
        let unpayable = self.unpayable.lock().unwrap().clone();
        let said = unpayable.filter(|(payee, _)| *payee == offer.pay_to).map(|(_, error)| error);
        Box::pin(async move { said.map_or(Ok(()), Err) })
    }

    fn judge(&self, offer: &PaymentRequirements, digest: &RequestDigest, now: u64) -> Result<(), OfferError> {
        self.rail.judge(offer, digest, now)
    }

    fn pay(
        &self,
        offer: &PaymentRequirements,
        digest: &RequestDigest,
        now: u64,
        random: [u8; 32],
    ) -> Result<SignedPayment, OfferError> {
        let payment = self.rail.pay(offer, digest, now, random)?;
        Ok(SignedPayment { extensions: self.extensions.clone(), ..payment })
    }

    fn confirm(&self, payment: &SignedPayment, settlement: &SettlementResponse) -> Confirmation {
        self.rail.confirm(payment, settlement)
    }

    fn status<'a>(&'a self, payment: &'a SignedPayment) -> BoxFuture<'a, Confirmation> {
        self.rail.status(payment)
    }
}

fn agent(wallet: &Arc<Wallet>) -> ClientBuilder {
    let pause = std::time::Duration::from_millis(5);
    let patience = Patience { pause, ..Patience::default() };
    Client::builder()
        .allow_any_origin()
        .rail(wallet.clone())
        .budget(Budget::new("$0.01").unwrap())
        .patience(patience)
}

/// What counts: (taken, reserved).
fn spent_on_chain(client: &Client) -> (u128, u128) {
    let spent = client.spent(&AssetId { network: CHAIN.parse().unwrap(), asset: TOKEN.into() }).unwrap();
    (spent.taken.0, spent.reserved.0)
}

fn offer_v1(amount: u64) -> Value {
    json!({"scheme": "exact", "network": "base-sepolia", "maxAmountRequired": amount.to_string(),
        "resource": "https://shop.example/", "description": "goods", "mimeType": "", "payTo": "0xseller",
        "maxTimeoutSeconds": 60, "asset": "0x036CBD", "extra": {"name": "USDC", "version": "2"}})
}

fn unpaid_v1(error: &str, offers: &[Value]) -> Reply {
    Reply::new(402, json!({"x402Version": 1, "error": error, "accepts": offers}).to_string())
}

fn settled_v1(network: &str) -> Reply {
    let settlement = json!({"success": true, "transaction": HASH, "network": network, "payer": "0xpayer"});
    Reply::new(200, "goods").header(X_PAYMENT_RESPONSE, &header::encode(&settlement).unwrap())
}

fn chain_offer(amount: u64) -> Value {
    json!({"scheme": "exact", "network": CHAIN, "amount": amount.to_string(), "asset": "0x036CBD",
        "payTo": "0xseller", "maxTimeoutSeconds": 60, "extra": {"name": "USDC", "version": "2"}})
}

/// Terms as another implementation writes them.
fn terms(error: &str, offers: &[Value], extensions: Value) -> String {
    let terms = json!({"x402Version": 2, "error": error, "resource": {"url": "https://shop.example/",
        "description": "goods", "mimeType": ""}, "accepts": offers, "extensions": extensions});
    header::encode(&terms).unwrap()
}

fn asks(offers: &[Value], extensions: Value) -> Reply {
    Reply::new(402, "{}").header(PAYMENT_REQUIRED, &terms("Payment required", offers, extensions))
}

fn settled(status: u16) -> Reply {
    let settlement = json!({"success": true, "transaction": HASH, "network": CHAIN, "payer": "0xpayer"});
    Reply::new(status, "goods").settling(&settlement)
}

/// A seller of another implementation.
async fn foreign_shop(extensions: Value) -> Server {
    Server::start(move |seen| match seen.payment() {
        None => asks(&[chain_offer(1_000)], extensions.clone()),
        Some(_) => settled(200),
    })
    .await
}

#[tokio::test]
async fn a_seller_of_version_1_is_paid_in_version_1() {
    let wallet = Arc::new(Wallet::new());
    let server = Server::start(|seen| match (seen.payment(), seen.header(X_PAYMENT)) {
        (None, None) => unpaid_v1("X-PAYMENT header is required", &[offer_v1(1_000)]),
        (None, Some(_)) => settled_v1("base-sepolia"),
        (Some(_), _) => Reply::new(500, "a payment of version 2"),
    })
    .await;
    let journal = Arc::new(MemoryJournal::new());
    let client = agent(&wallet).journal(journal.clone()).build().unwrap();
    let answer = client.get(&server.at("/goods")).await.unwrap();
    let report = answer.payment().unwrap().clone();
    assert_eq!((report.confirmation.clone(), report.flags.clone()), (Confirmation::Unproven, vec![]));
    assert_eq!((report.cost().as_str(), report.asset.as_str()), ("0.001 USD", TOKEN));
    assert_eq!(answer.text().await.unwrap(), "goods");
    let sent: Vec<_> =
        server.seen().iter().filter_map(|seen| seen.header(X_PAYMENT).map(str::to_owned)).collect();
    let payment = header::decode_payment_v1(sent[0].as_bytes(), &Limits::default()).unwrap();
    assert_eq!((payment.x402_version, payment.network.as_str()), (1, "base-sepolia"));
    assert_eq!(payment.scheme, "exact");
    let payload: Value = serde_json::from_str(payment.payload.get()).unwrap();
    assert_eq!((&payload["payee"], &payload["amount"]), (&json!("0xseller"), &json!("1000")));
    assert_eq!((sent.len(), wallet.rail.signed(), spent_on_chain(&client)), (1, 1, (0, 1_000)));
    let record = journal.open().unwrap().remove(0);
    assert_eq!((record.header.version(), record.header.expose()), (Version::V1, sent[0].as_str()));
    // The chain says how it ended.
    wallet.rail.says(Confirmation::Taken(Amount(1_000)));
    client.reconcile().await.unwrap();
    assert_eq!(spent_on_chain(&client), (1_000, 0));
}

#[tokio::test]
async fn a_seller_of_both_versions_is_paid_in_version_2() {
    let wallet = Arc::new(Wallet::new());
    let server = Server::start(|seen| match (seen.payment(), seen.header(X_PAYMENT)) {
        (None, None) => {
            let body = json!({"x402Version": 1, "error": "", "accepts": [offer_v1(1_000)]});
            let terms = terms("Payment required", &[chain_offer(1_000)], json!({}));
            Reply::new(402, body.to_string()).header(PAYMENT_REQUIRED, &terms)
        }
        (Some(_), None) => settled(200),
        _ => Reply::new(400, "a payment of version 1"),
    })
    .await;
    let answer = agent(&wallet).build().unwrap().get(&server.url).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.payment().unwrap().flags.len()), (200, 0));
    assert_eq!(server.payments().len(), 1);
}

#[tokio::test]
async fn version_1_terms_are_paid_by_rails_that_speak_it_and_no_others() {
    let payable = || unpaid_v1("X-PAYMENT header is required", &[offer_v1(1_000)]);
    let server = Server::start(move |_| payable()).await;
    let silent = Arc::new(Wallet { speaks_v1: false, ..Wallet::new() });
    let error = agent(&silent).build().unwrap().get(&server.url).await.unwrap_err();
    assert!(
        matches!(error, ClientError::NotPayable(_)) && error.to_string().contains("version 1"),
        "{error}"
    );
    // Another wallet of the client speaks it, but not that network's.
    let elsewhere = Arc::new(Wallet { network: "eip155:8453".parse().unwrap(), ..Wallet::new() });
    let both = Client::builder().allow_any_origin().rail(silent.clone()).rail(elsewhere.clone());
    let error = both.build().unwrap().get(&server.url).await.unwrap_err();
    assert!(matches!(&error, ClientError::Refused(no) if no.rule == Rule::NoRail), "{error}");
    assert_eq!((silent.rail.signed(), elsewhere.rail.signed(), server.seen().len()), (0, 0, 2));
    let speaks = Arc::new(Wallet::new());
    assert!(agent(&speaks).build().unwrap().get(&server.url).sign().await.unwrap().is_some());
    let quote = agent(&speaks).build().unwrap().quote(&server.url).await.unwrap();
    assert_eq!(quote.payable().unwrap().price.as_deref(), Some("0.001 USD"));
    assert_eq!(quote.description.as_deref(), Some("goods"));
}

#[tokio::test]
async fn a_settlement_of_version_1_is_compared_with_what_was_signed() {
    for (network, honest) in [("base-sepolia", true), ("base", false), ("", false)] {
        let wallet = Arc::new(Wallet::new());
        let server = Server::start(move |seen| match seen.header(X_PAYMENT) {
            None => unpaid_v1("", &[offer_v1(1_000)]),
            Some(_) => settled_v1(network),
        })
        .await;
        let client = agent(&wallet).build().unwrap();
        let report = client.get(&server.url).await.unwrap().payment().unwrap().clone();
        assert_eq!(report.flags.is_empty(), honest, "{network}: {report:?}");
        assert_eq!(wallet.rail.asked() == 0, honest, "a doubtful word is checked with the network");
    }
}

#[tokio::test]
async fn a_refusal_of_version_1_says_why() {
    let wallet = Arc::new(Wallet::new());
    let server = Server::start(|seen| match seen.header(X_PAYMENT) {
        None => unpaid_v1("X-PAYMENT header is required", &[offer_v1(1_000)]),
        Some(_) => unpaid_v1("insufficient_funds", &[offer_v1(1_000)]),
    })
    .await;
    let error = agent(&wallet).build().unwrap().get(&server.url).await.unwrap_err();
    let ClientError::PaymentRefused(refused) = &error else { panic!("{error}") };
    assert_eq!((refused.status.as_u16(), refused.reason.as_deref()), (402, Some("insufficient_funds")));
    assert_eq!((server.seen().len(), wallet.rail.signed()), (2, 1));
}

#[tokio::test]
async fn a_chain_hash_without_receipt_and_extra_is_an_honest_result() {
    let wallet = Arc::new(Wallet::new());
    let server = foreign_shop(json!({})).await;
    let client = agent(&wallet).build().unwrap();
    let report = client.get(&server.url).await.unwrap().payment().unwrap().clone();
    assert_eq!((report.flags, report.confirmation), (vec![], Confirmation::Unproven));
    assert_eq!((report.receipt, report.amount), (None, Amount(1_000)));
    assert_eq!(wallet.rail.asked(), 0);
    // The same answer from a seller that announced receipts lacks one.
    let mut promising = chain_offer(1_000);
    promising["extra"]["receiptKey"] = json!(receipt_key().public().to_string());
    let server = Server::start(move |seen| match seen.payment() {
        None => asks(&[promising.clone()], json!({})),
        Some(_) => settled(200),
    })
    .await;
    let report = client.get(&server.url).await.unwrap().payment().unwrap().clone();
    assert_eq!(report.flags, [Flag::ReceiptMissing]);
    // No settlement at all is still missed, and the network asked.
    let server = Server::start(|seen| match seen.payment() {
        None => asks(&[chain_offer(1_000)], json!({})),
        Some(_) => Reply::new(200, "goods"),
    })
    .await;
    let report = client.get(&server.url).await.unwrap().payment().unwrap().clone();
    assert_eq!((report.flags, wallet.rail.asked()), (vec![Flag::SettlementMissing], 1));
}

#[tokio::test]
async fn a_precondition_of_the_payer_is_an_ordinary_refusal_with_its_reason() {
    let reason = "permit2_allowance_required";
    let wallet = Arc::new(Wallet::new());
    let server = Server::start(move |seen| match seen.payment() {
        None => asks(&[chain_offer(1_000)], json!({})),
        Some(_) => {
            let again = terms(reason, &[chain_offer(1_000)], json!({}));
            Reply::new(412, "{}").header(PAYMENT_REQUIRED, &again)
        }
    })
    .await;
    let client = agent(&wallet).build().unwrap();
    let error = client.get(&server.url).await.unwrap_err();
    let ClientError::PaymentRefused(refused) = &error else { panic!("{error}") };
    assert_eq!((refused.status.as_u16(), refused.reason.as_deref()), (412, Some(reason)));
    assert_eq!((error.retry(), server.payments().len(), wallet.rail.signed()), (Retry::None, 1, 1));
    assert_eq!(spent_on_chain(&client), (0, 1_000), "reserved until the chain says otherwise");
    // A handler's own 412 is a paid answer.
    let server = Server::start(|seen| match seen.payment() {
        None => asks(&[chain_offer(1_000)], json!({})),
        Some(_) => settled(412),
    })
    .await;
    let answer = client.get(&server.url).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.payment().unwrap().flags.len()), (412, 0));
}

#[tokio::test]
async fn the_servers_extensions_are_echoed_and_the_rail_answers_in_them() {
    let sponsoring = "eip2612GasSponsoring";
    let said = json!({"info": {"from": "0xpayer", "version": "1"}, "schema": {"of": "the rail"}});
    let wallet = Arc::new(Wallet::saying(sponsoring, &said));
    let issued = json!({
        sponsoring: {"info": {"version": "1", "description": "free gas"}, "schema": {"type": "object"}},
        "bazaar": {"info": {"z": 1, "a": [1.50, {"b": null}]}, "schema": {"y": 2, "x": 1}},
    });
    let server = foreign_shop(issued.clone()).await;
    let journal = Arc::new(MemoryJournal::new());
    let client = agent(&wallet).journal(journal.clone()).build().unwrap();
    client.get(&server.url).await.unwrap();
    let payment = presented(&server.payments()[0]).payment;
    assert_eq!(payment.extensions["bazaar"].get(), issued["bazaar"].to_string(), "verbatim");
    let expected = json!({"info": {"description": "free gas", "from": "0xpayer", "version": "1"},
        "schema": {"type": "object"}});
    let answered: Value = serde_json::from_str(payment.extensions[sponsoring].get()).unwrap();
    assert_eq!(answered, expected);
    assert_eq!(payment.extensions.len(), 2, "no receipt was announced");
    assert_eq!(payment.resource.unwrap().url, "https://shop.example/");
    assert_eq!(payment.accepted.text(), chain_offer(1_000).to_string(), "verbatim");
    let record = journal.open().unwrap().remove(0);
    assert_eq!(record.payment.extensions[sponsoring].get(), said.to_string());
    // Where the server did not issue it, the rail's own word goes along.
    let server = foreign_shop(json!({})).await;
    client.get(&server.url).await.unwrap();
    let payment = presented(&server.payments()[0]).payment;
    assert_eq!(payment.extensions[sponsoring].get(), said.to_string());
}

#[tokio::test]
async fn the_network_is_asked_about_an_offer_before_it_is_signed() {
    let wallet = Arc::new(Wallet::new());
    let client = agent(&wallet).build().unwrap();
    let refuses = |payee: &str, error: OfferError| {
        *wallet.unpayable.lock().unwrap() = Some((payee.to_owned(), error));
    };
    let other = with(chain_offer(2_000), "payTo", json!("0xother"));
    let server = Server::start(move |seen| match seen.payment() {
        None => asks(&[chain_offer(1_000), other.clone()], json!({})),
        Some(_) => settled(200),
    })
    .await;
    let field = OfferError::Field { field: "asset".into(), why: "has no allowance".into() };
    for (error, rule) in [(field, Rule::Offer), (OfferError::Unavailable("no route".into()), Rule::Network)] {
        // The second offer is above what is allowed for the request: nobody asks about it.
        refuses("0xseller", error);
        let before = wallet.looked();
        let refused = client.get(&server.url).max_price("$0.001").await.unwrap_err();
        let ClientError::Refused(refused) = refused else { panic!("{refused}") };
        let furthest = if rule == Rule::Network { Rule::Network } else { Rule::MaxPrice };
        assert_eq!(refused.rule, furthest, "{refused}");
        assert_eq!((wallet.looked() - before, wallet.rail.signed()), (1, 0));
        assert_eq!(spent_on_chain(&client), (0, 0), "nothing is reserved for it");
    }
    // The next offer is paid instead, and pins its payee.
    let answer = client.get(&server.url).await.unwrap();
    assert_eq!(answer.payment().unwrap().payee, "0xother");
    assert_eq!((wallet.looked(), wallet.rail.signed()), (4, 1));
    *wallet.unpayable.lock().unwrap() = None;
    let fresh = Server::start(|seen| match seen.payment() {
        None => asks(&[chain_offer(1_000)], json!({})),
        Some(_) => settled(200),
    })
    .await;
    assert_eq!(client.get(&fresh.url).await.unwrap().payment().unwrap().payee, "0xseller");
}

#[tokio::test]
async fn a_server_cannot_make_a_client_ask_without_end() {
    let wallet = Arc::new(Wallet::new());
    *wallet.unpayable.lock().unwrap() = Some(("0xseller".into(), OfferError::Unavailable("slow".into())));
    let server = Server::start(|_| asks(&vec![chain_offer(1_000); 12], json!({}))).await;
    let error = agent(&wallet).build().unwrap().get(&server.url).await.unwrap_err();
    assert!(matches!(&error, ClientError::Refused(no) if no.rule == Rule::Network), "{error}");
    assert_eq!((wallet.looked(), wallet.rail.signed()), (4, 0));
}

#[tokio::test]
async fn assets_are_named_by_their_currency_and_compared_in_one_spelling() {
    let wallet = Arc::new(Wallet::new());
    let server = foreign_shop(json!({})).await;
    let twice = agent(&wallet).budget(Budget::units(
        AssetId { network: CHAIN.parse().unwrap(), asset: TOKEN.to_uppercase().replace("0X", "0x") },
        Amount(1),
    ));
    assert!(twice.build().is_err(), "two budgets for one asset");
    let client = agent(&wallet).build().unwrap();
    for (most, pays) in [("$0.0009", false), ("0.001 EUR", false), ("$0.001", true)] {
        let paid = client.get(&server.url).max_price(most).await;
        assert_eq!(paid.is_ok(), pays, "{most}");
    }
    assert_eq!((wallet.rail.signed(), spent_on_chain(&client)), (1, (0, 1_000)));
    let by_currency = with(chain_offer(1_000), "asset", json!("USD"));
    let other = Server::start(move |_| asks(std::slice::from_ref(&by_currency), json!({}))).await;
    let error = client.get(&other.url).await.unwrap_err();
    assert!(matches!(&error, ClientError::Refused(no) if no.rule == Rule::UnknownAsset), "{error}");
    let quote = client.quote(&server.url).await.unwrap();
    assert_eq!(
        (quote.offers[0].price.as_deref(), quote.offers[0].asset.as_str()),
        (Some("0.001 USD"), TOKEN)
    );
    assert!(client.get(&server.url).quoted(&quote).await.is_ok());
}

#[tokio::test]
async fn a_settlement_in_the_header_of_the_other_version_is_none() {
    // A payment of version 2 is settled in PAYMENT-RESPONSE, whatever else is said.
    let wallet = Arc::new(Wallet::new());
    let server = Server::start(|seen| match seen.payment() {
        None => asks(&[chain_offer(1_000)], json!({})),
        Some(_) => settled_v1("base-sepolia"),
    })
    .await;
    let client = agent(&wallet).build().unwrap();
    let report = client.get(&server.url).await.unwrap().payment().unwrap().clone();
    assert_eq!(report.flags, [Flag::SettlementMissing]);
}
