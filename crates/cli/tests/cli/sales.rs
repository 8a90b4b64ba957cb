//! `farthing sales`: what a ledger and the log of sales say together, whoever has the directory.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;

use farthing::farthing_ledger::admin::{Deposit, NewAsset};
use farthing::farthing_ledger::command::{Authorize, Operate, Signed};
use farthing::farthing_ledger::operation::{Action, Op};
use farthing::farthing_ledger::terms::{FeeTerms, Scheme, Terms, TermsFlow};
use farthing::protocol::rail::{Owner, PaymentId, Tenant};
use farthing::protocol::{Amount, Binding, RequestDigest, SecretKey};
use farthing::{Ledger, Options};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::program::{Run, farthing};

const ISSUER: u8 = 1;
pub(crate) const PAYER: u8 = 2;
const AUTHORIZER: u8 = 3;
pub(crate) const SELLER: u8 = 9;

pub(crate) fn key(role: u8) -> SecretKey {
    SecretKey::from_seed([role; 32])
}

/// Makes XTS on the ledger, and gives the payer 5.
pub(crate) async fn fund(ledger: &Ledger) {
    let code = "XTS".parse().unwrap();
    ledger.register(NewAsset { code, scale: 6, issuer: key(ISSUER).public() }).await.unwrap();
    let (account, amount) = (key(PAYER).public(), Amount(5_000_000));
    let deposit = Deposit { asset: code, account, amount, reference: [1; 32] };
    ledger.deposit(Signed::<Deposit>::sign(&ledger.id(), deposit, &key(ISSUER))).await.unwrap();
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// A seller's directory: the ledger in `ledger`, and beside it keys and the log of sales.
pub(crate) struct Shop {
    home: TempDir,
    runtime: Runtime,
    ledger: Option<Ledger>,
    nonce: u8,
}

impl Shop {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(home.path().join("ledger"), Options::open_to_all()).unwrap();
        Self::with(home, ledger)
    }

    pub(crate) fn with(home: TempDir, ledger: Ledger) -> Self {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(fund(&ledger));
        for (name, role) in [("authorizer.key", AUTHORIZER), ("other.key", 7), ("operator.key", 5)] {
            let path = home.path().join(name);
            fs::write(&path, format!("{}\n", format!("{role:02x}").repeat(32))).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        Self { home, runtime, ledger: Some(ledger), nonce: 0 }
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        self.ledger.as_ref().unwrap()
    }

    pub(crate) fn close(&mut self) {
        self.ledger = None;
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.home.path().join(name).to_str().unwrap().to_owned()
    }

    /// Entries of the ledger's history.
    pub(crate) fn entries(&self) -> u64 {
        let check =
            farthing(&["ledger", "check", "--json", "--data", &self.path("ledger")]).ends_with(0).json();
        check["entries"].as_u64().unwrap()
    }

    pub(crate) fn terms(&mut self, amount: u128) -> Terms {
        self.nonce += 1;
        let now = now();
        Terms {
            ledger: self.ledger().id(),
            scheme: Scheme::AuthCapture,
            flow: TermsFlow::Escrow,
            payer: key(PAYER).public(),
            signer: key(PAYER).public(),
            payee: key(SELLER).public(),
            receiver_authorizer: key(AUTHORIZER).public(),
            asset: "XTS".parse().unwrap(),
            max_amount: Amount(amount),
            valid_after: 0,
            valid_before: now + 300,
            capture_deadline: now + 900,
            refund_deadline: now + 86_400,
            fee: FeeTerms::default(),
            mandate: [0; 32],
            nonce: [self.nonce; 32],
            binding: Binding::Body,
            digest: RequestDigest([7; 32]),
        }
    }

    pub(crate) fn hold(&self, terms: &Terms) -> PaymentId {
        let signed = terms.encode();
        let signature = key(PAYER).sign(&signed);
        let owner = Owner { id: [1; 16], lease_seconds: 60 };
        let authorize = Authorize::read(signed, signature, owner, Tenant("local".into())).unwrap();
        self.runtime.block_on(self.ledger().authorize(authorize)).unwrap();
        terms.id()
    }

    fn operate(&self, payment: PaymentId, action: Action, units: u128) {
        let (cumulative, last) = (Amount(units), action == Action::Capture);
        let epoch = u64::from(action != Action::Refund);
        let op = Op { payment, action, cumulative, last, epoch, answer: [0; 32] };
        let operate = Operate::sign(&self.ledger().id(), &key(AUTHORIZER), vec![(op, None)]);
        self.runtime.block_on(self.ledger().operate(operate)).unwrap().remove(0).unwrap();
    }

    /// A payment of which `units` were captured.
    pub(crate) fn sell(&mut self, units: u128) -> PaymentId {
        let terms = self.terms(units);
        let payment = self.hold(&terms);
        self.operate(payment, Action::Capture, units);
        payment
    }

    pub(crate) fn capture(&self, payment: PaymentId, units: u128) {
        self.operate(payment, Action::Capture, units);
    }

    pub(crate) fn pay_out(&self, units: u128) {
        let terms = Terms {
            payer: key(SELLER).public(),
            signer: key(SELLER).public(),
            payee: key(PAYER).public(),
            max_amount: Amount(units),
            nonce: [200; 32],
            ledger: self.ledger().id(),
            scheme: Scheme::AuthCapture,
            flow: TermsFlow::Escrow,
            receiver_authorizer: key(AUTHORIZER).public(),
            asset: "XTS".parse().unwrap(),
            valid_after: 0,
            valid_before: now() + 300,
            capture_deadline: now() + 900,
            refund_deadline: 0,
            fee: FeeTerms::default(),
            mandate: [0; 32],
            binding: Binding::Body,
            digest: RequestDigest([7; 32]),
        };
        let signed = terms.encode();
        let signature = key(SELLER).sign(&signed);
        let owner = Owner { id: [1; 16], lease_seconds: 60 };
        let authorize = Authorize::read(signed, signature, owner, Tenant("local".into())).unwrap();
        self.runtime.block_on(self.ledger().authorize(authorize)).unwrap();
    }

    fn note(&self, line: &Value) {
        let mut log =
            fs::OpenOptions::new().append(true).create(true).open(self.path("sales.jsonl")).unwrap();
        writeln!(log, "{line}").unwrap();
    }

    fn named(&self, payment: PaymentId, route: &str) {
        let network = self.ledger().network().to_string();
        self.note(&json!({ "at": now(), "route": route, "outcome": "paid", "payment": payment.to_string(),
            "payer": "p", "network": network, "asset": "XTS", "amount": "1", "held": "1" }));
    }

    fn sales(&self, more: &[&str]) -> Run {
        let data = self.path("");
        farthing(&[&["sales", "--data", data.trim_end_matches('/')][..], more].concat())
    }
}

/// Two sales of weather, one with a refund, one of news, one of which the log knows nothing; one voided, one held.
fn busy() -> (Shop, [PaymentId; 6]) {
    let mut shop = Shop::new();
    let payments = [shop.sell(10_000), shop.sell(20_000), shop.sell(300_000), shop.sell(7)];
    let [first, second, news, _] = payments;
    shop.operate(second, Action::Refund, 5_000);
    let terms = shop.terms(40_000);
    let voided = shop.hold(&terms);
    shop.operate(voided, Action::Void, 0);
    let terms = shop.terms(50_000);
    let held = shop.hold(&terms);
    for payment in [first, second, voided, held] {
        shop.named(payment, "weather");
    }
    shop.named(news, "news, daily");
    (shop, [first, second, news, payments[3], voided, held])
}

#[test]
fn sales_are_added_up_by_route_whoever_has_the_directory() {
    let (mut shop, _) = busy();
    let mut seen = Vec::new();
    for in_use in [true, false] {
        if !in_use {
            shop.close();
        }
        let told = shop.sales(&["--json"]).ends_with(0).json();
        let groups = told["groups"].as_array().unwrap().clone();
        let route = |name: &str| groups.iter().find(|group| group["route"] == name).unwrap().clone();
        let weather = route("weather");
        assert_eq!((&weather["sold"], &weather["captured"]["atomic"]), (&json!(2), &json!("30000")));
        assert_eq!((&weather["refunds"], &weather["refunded"]["decimal"]), (&json!(1), &json!("0.005")));
        assert_eq!((&weather["net"]["decimal"], &weather["scale"]), (&json!("0.025"), &json!(6)));
        assert_eq!((&weather["pending"], &weather["held"]["decimal"]), (&json!(1), &json!("0.05")));
        assert_eq!(weather["unsold"], 1);
        assert_eq!(route("news, daily")["net"]["decimal"], "0.3");
        assert_eq!(route("(unnamed)")["captured"]["atomic"], "7");
        let total = &told["totals"][0];
        assert_eq!((&total["sold"], &total["captured"]["atomic"]), (&json!(4), &json!("330007")));
        assert_eq!(total["net"]["decimal"], "0.325007");
        assert_eq!(told["log"], json!({ "lines": 5, "unreadable": 0 }));
        seen.push(groups);

        let words = shop.sales(&[]).ends_with(0).out;
        for part in ["ROUTE", "weather", "0.03 XTS", "0.005 XTS (1)", "0.05 XTS (1)", "TOTAL", "0.325007 XTS"]
        {
            assert!(words.contains(part), "{part}: {words}");
        }
        assert_eq!(words.contains("In use"), in_use, "{words}");
    }
    assert_eq!(seen[0], seen[1]);
}

#[test]
fn sales_are_listed_by_day_by_payer_and_one_by_one_and_as_csv() {
    let (shop, payments) = busy();
    let day = shop.sales(&["--by", "day", "--json"]).ends_with(0).json();
    let today = day["groups"].as_array().unwrap().last().unwrap()["day"].as_str().unwrap().to_owned();
    assert!(today.starts_with("20") && today.len() == 10, "{today}");
    let payer = shop.sales(&["--by", "payer", "--json"]).ends_with(0).json();
    assert_eq!(payer["groups"].as_array().unwrap().len(), 1);
    assert_eq!(payer["groups"][0]["payer"], key(PAYER).public().to_string());
    let each = shop.sales(&["--by", "payment", "--json"]).ends_with(0).json();
    let each = each["groups"].as_array().unwrap();
    assert_eq!(each.len(), 6);
    let second = each.iter().find(|sale| sale["payment"] == payments[1].to_string()).unwrap();
    assert_eq!((&second["route"], &second["state"]), (&json!("weather"), &json!("captured")));
    assert!(shop.sales(&["--by", "payment"]).ends_with(0).out.contains(&payments[0].to_string()));

    let csv = shop.sales(&["--csv"]).ends_with(0).out;
    let lines: Vec<_> = csv.lines().collect();
    assert_eq!(
        lines[0],
        "route,network,asset,scale,sold,captured,fee,refunds,refunded,net,pending,held,unsold"
    );
    let network = shop.ledger().network();
    assert!(lines.contains(&&*format!("weather,{network},XTS,6,2,0.03,0,1,0.005,0.025,1,0.05,1")), "{csv}");
    assert!(csv.contains("\"news, daily\""), "{csv}");
    let csv = shop.sales(&["--by", "payment", "--csv"]).ends_with(0).out;
    assert_eq!(csv.lines().count(), 7);
}

#[test]
fn what_is_pending_is_listed_and_times_choose() {
    let (shop, payments) = busy();
    let pending = shop.sales(&["--pending", "--json"]).ends_with(0).json();
    let pending = pending["pending"].as_array().unwrap().clone();
    assert_eq!(pending.len(), 1);
    assert_eq!(
        (&pending[0]["payment"], &pending[0]["route"]),
        (&json!(payments[5].to_string()), &json!("weather"))
    );
    assert_eq!(pending[0]["held"]["decimal"], "0.05");
    let words = shop.sales(&["--pending"]).ends_with(0).out;
    assert!(words.contains(&payments[5].to_string()) && words.contains("0.05 XTS for weather"), "{words}");
    assert!(shop.sales(&["--pending", "--csv"]).ends_with(0).out.starts_with("payment,at,route"));

    let sold = |more: &[&str]| {
        shop.sales(&[more, &["--json"]].concat()).ends_with(0).json()["groups"].as_array().unwrap().len()
    };
    assert_eq!((sold(&["--since", "1h"]), sold(&["--until", "1h"])), (3, 0));
    assert_eq!(sold(&["--since", "2020-01-01", "--until", "2100-01-01"]), 3);
    let (seller, other) = (key(SELLER).public().to_string(), key(4).public().to_string());
    assert_eq!((sold(&["--payee", &seller]), sold(&["--payee", &other])), (3, 0));
    assert!(shop.sales(&["--until", "1h"]).ends_with(0).out.contains("Nothing was sold."));
    assert!(shop.sales(&["--since", "yesterday"]).ends_with(2).err.contains("is no time"));
    assert!(shop.sales(&["--pending", "--by", "day"]).ends_with(2).err.contains("--by"));
}

#[test]
fn payments_on_chains_come_from_the_log_and_a_torn_line_is_passed_over() {
    let mut shop = Shop::new();
    let sold = shop.sell(10);
    shop.named(sold, "weather");
    let on_chain = |payment: &str, outcome: &str, asset: &str| {
        json!({ "at": now(), "route": "weather", "outcome": outcome, "payment": payment.repeat(32),
            "payer": "0xabc", "network": "eip155:84532", "asset": asset, "amount": "2500000", "held": "2500000" })
    };
    let usdc = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";
    for line in [
        on_chain("aa", "unknown", usdc),
        on_chain("aa", "paid", usdc),
        on_chain("bb", "unknown", "0x\u{1b}[2Jevil"),
    ] {
        shop.note(&line);
    }
    let log = fs::read_to_string(shop.path("sales.jsonl")).unwrap();
    fs::write(shop.path("sales.jsonl"), format!("{log}{}", &log[..40])).unwrap();

    let told = shop.sales(&["--json"]).ends_with(0).json();
    let groups = told["groups"].as_array().unwrap();
    assert_eq!(groups.len(), 3, "one for each asset: {told}");
    let chain = groups.iter().find(|group| group["asset"] == usdc).unwrap();
    assert_eq!((&chain["sold"], &chain["captured"]["decimal"]), (&json!(1), &json!("2.5")));
    assert_eq!((&chain["network"], &chain["pending"]), (&json!("eip155:84532"), &json!(0)));
    let unknown = groups.iter().find(|group| group["asset"].as_str().unwrap().contains("evil")).unwrap();
    assert_eq!((&unknown["pending"], &unknown["captured"]["decimal"]), (&json!(1), &Value::Null));
    assert_eq!(told["log"], json!({ "lines": 4, "unreadable": 1 }));
    let words = shop.sales(&[]).ends_with(0).out;
    assert!(words.contains("2.5 USDC") && words.contains("1 line of the log"), "{words}");
    let pending = shop.sales(&["--pending"]).ends_with(0).out;
    assert!(pending.contains("nobody knows whether it was settled"), "{pending}");
    for text in [words, pending] {
        assert!(!text.contains("\u{1b}[2J"), "{text:?}");
    }
}

#[test]
fn without_a_log_routes_have_no_names_and_without_a_ledger_there_is_nothing() {
    let mut shop = Shop::new();
    shop.sell(10);
    // The directory of the ledger itself is as good.
    let words = farthing(&["sales", "--data", &shop.path("ledger")]).ends_with(0).out;
    assert!(words.contains("(unnamed)") && words.contains("There is no log of sales"), "{words}");
    let named =
        farthing(&["sales", "--data", &shop.path("ledger"), "--log", &shop.path("no.jsonl")]).ends_with(2);
    assert!(named.err.contains("no.jsonl"), "{named:?}");
    let nothing = farthing(&["sales", "--data", &shop.path("nothing")]).ends_with(2);
    assert!(nothing.err.contains("no ledger"), "{nothing:?}");
}
