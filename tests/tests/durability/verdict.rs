//! What a ledger that opens again must still know: whatever it had acknowledged, and nothing that nobody asked for.

use std::collections::BTreeMap;
use std::path::Path;

use farthing_ledger::admin::Deposit;
use farthing_ledger::command::{Operate, Signed};
use farthing_ledger::operation::{Action, Op};
use farthing_ledger::rows::Payment;
use farthing_ledger::statement::PaymentState;
use farthing_ledger::{Ledger, LedgerId};
use farthing_protocol::Amount;
use farthing_protocol::rail::PaymentId;
use farthing_tests::line::{self, Kind, Line, PAYERS};

/// What was asked about one payment, or acknowledged.
#[derive(Clone, Debug, Default)]
struct Words {
    held: bool,
    captured: Vec<u128>,
    voided: bool,
    refunded: u128,
}

impl Words {
    fn hear(&mut self, line: &Line) {
        match line.kind {
            Kind::Authorize => self.held = true,
            Kind::Capture => self.captured.push(line.amount),
            Kind::Charge => {
                self.held = true;
                self.captured.push(line.amount);
            }
            Kind::Void => self.voided = true,
            Kind::Refund => self.refunded = self.refunded.max(line.amount),
            Kind::Open | Kind::Deposit => {}
        }
    }
}

/// All lines up to a point.
#[derive(Clone, Debug, Default)]
pub(crate) struct Story {
    ledger: Option<LedgerId>,
    payments: BTreeMap<[u8; 32], (u8, Words, Words)>,
    /// By payer: deposits asked for, and acknowledged.
    deposits: BTreeMap<u8, (u128, u128)>,
    /// Lines that acknowledge something.
    pub(crate) acknowledged: u64,
}

/// A ledger that opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) entries: u64,
    pub(crate) payments: u64,
}

impl Story {
    pub(crate) fn hear(&mut self, line: &Line) {
        self.acknowledged += u64::from(line.acknowledged);
        match line.kind {
            Kind::Open if !line.acknowledged => {}
            Kind::Open => {
                let id = line.id.first_chunk().copied().unwrap_or_default();
                self.ledger = Some(LedgerId(id));
            }
            Kind::Deposit => {
                let (asked, granted) = self.deposits.entry(line.payer).or_default();
                *(if line.acknowledged { granted } else { asked }) += line.amount;
            }
            _ => {
                let (_, asked, granted) =
                    self.payments.entry(line.id).or_insert((line.payer, Words::default(), Words::default()));
                (if line.acknowledged { granted } else { asked }).hear(line);
            }
        }
    }

    /// Compares an open ledger with what was said.
    ///
    /// # Errors
    /// What it has lost or invented.
    pub(crate) async fn compare(&self, ledger: &Ledger) -> Result<Opened, String> {
        if self.ledger.is_some_and(|id| id != ledger.id()) {
            return Err("it is another ledger".into());
        }
        let report = ledger.check().await.map_err(|error| format!("it cannot be checked: {error}"))?;
        if !report.balanced() {
            return Err(format!("the check finds: {:?}", report.faults));
        }
        // By payer: what payments took out of the balance.
        let (mut spent, mut earned, mut found) = (BTreeMap::<u8, u128>::new(), 0, 0);
        for (id, (payer, asked, granted)) in &self.payments {
            let payment = ledger.payment(PaymentId(*id)).await.map_err(|error| error.to_string())?.0;
            let name = hex::encode(&id[..4]);
            judge(payment.as_ref(), asked, granted).map_err(|fault| format!("payment {name}: {fault}"))?;
            let Some(payment) = payment else { continue };
            found += 1;
            let kept = payment.captured.0 - payment.refunded.0;
            *spent.entry(*payer).or_default() += payment.held().0 + kept;
            earned += kept;
        }
        let known: u64 = report.payments.values().sum();
        if known != found {
            return Err(format!("{known} payments, and {found} of them were asked for"));
        }
        let balance = async |account| ledger.balance(account, line::asset()).await.map(|amount| amount.0);
        let mut issued = 0;
        for payer in 0..PAYERS {
            let balance = balance(line::payer(payer).public()).await.map_err(|error| error.to_string())?;
            let given = balance + spent.get(&payer).copied().unwrap_or(0);
            let (asked, granted) = self.deposits.get(&payer).copied().unwrap_or_default();
            if given < granted || given > asked {
                return Err(format!(
                    "payer {payer} was given {given}; {granted} acknowledged, {asked} asked for"
                ));
            }
            issued += given;
        }
        let seller = balance(line::seller()).await.map_err(|error| error.to_string())?;
        let total = report.assets.get("XTS").copied().unwrap_or_default();
        if seller != earned || total.issued != i128::try_from(issued).unwrap_or(-1) {
            return Err(format!(
                "the seller has {seller} of {earned}; {total:?}, and payers were given {issued}"
            ));
        }
        Ok(Opened { entries: report.entries, payments: found })
    }
}

fn judge(payment: Option<&Payment>, asked: &Words, granted: &Words) -> Result<(), String> {
    let Some(payment) = payment else {
        let anything = granted.held || !granted.captured.is_empty() || granted.voided;
        return if anything { Err(format!("lost, and acknowledged: {granted:?}")) } else { Ok(()) };
    };
    let (state, captured, refunded) = (payment.state, payment.captured.0, payment.refunded.0);
    let fits = match state {
        PaymentState::Held => granted.captured.is_empty() && !granted.voided && captured == 0,
        PaymentState::Captured => asked.captured.contains(&captured) && !granted.voided,
        PaymentState::Voided => asked.voided && granted.captured.is_empty() && captured == 0,
        PaymentState::Absent | PaymentState::Reclaimed => false,
    };
    if fits && asked.held && (granted.refunded..=asked.refunded).contains(&refunded) {
        return Ok(());
    }
    Err(format!(
        "{state:?}, captured {captured}, refunded {refunded}; asked {asked:?}, acknowledged {granted:?}"
    ))
}

/// How a directory was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It opens, has all that was acknowledged, and works on.
    Whole(Opened),
    /// It does not open, and says why.
    Refused(String),
    /// It opens, and something is missing or invented.
    Wrong(String),
}

/// Opens a directory, twice, with work in between.
pub(crate) async fn judge_directory(directory: &Path, story: &Story) -> Verdict {
    let ledger = match Ledger::open(directory, line::options()) {
        Ok(ledger) => ledger,
        Err(refused) => {
            // What refused once must not open with a part of the truth when it is tried again.
            return match Ledger::open(directory, line::options()) {
                Err(_) => Verdict::Refused(refused.to_string()),
                Ok(ledger) => match story.compare(&ledger).await {
                    Ok(_) => Verdict::Refused(format!("{refused}; and not the second time")),
                    Err(fault) => Verdict::Wrong(format!("refused at first ({refused}), and then: {fault}")),
                },
            };
        }
    };
    match compare_and_work(ledger, directory, story).await {
        Ok(opened) => Verdict::Whole(opened),
        Err(fault) => Verdict::Wrong(fault),
    }
}

async fn compare_and_work(ledger: Ledger, directory: &Path, story: &Story) -> Result<Opened, String> {
    let opened = story.compare(&ledger).await?;
    let mut story = story.clone();
    story.ledger = Some(ledger.id());
    for line in work(&ledger, &story).await.map_err(|fault| format!("it does not work on: {fault}"))? {
        story.hear(&line);
        story.hear(&line.granted());
    }
    drop(ledger);
    let again = Ledger::open(directory, line::options()).map_err(|error| format!("opened again: {error}"))?;
    story.compare(&again).await.map_err(|fault| format!("opened again: {fault}"))?;
    Ok(opened)
}

/// A deposit, and the end of a hold that is open.
async fn work(ledger: &Ledger, story: &Story) -> Result<Vec<Line>, String> {
    let asset =
        farthing_ledger::admin::NewAsset { code: line::asset(), scale: 6, issuer: line::issuer().public() };
    ledger.register(asset).await.map_err(|error| error.to_string())?;
    let (account, reference) = (line::payer(0).public(), [0xee; 32]);
    let deposit = Deposit { asset: line::asset(), account, amount: Amount(5), reference };
    let signed = Signed::<Deposit>::sign(&ledger.id(), deposit, &line::issuer());
    ledger.deposit(signed).await.map_err(|error| error.to_string())?;
    let mut lines = vec![Line::ask(Kind::Deposit, reference, 0, 5)];
    for (id, (payer, ..)) in &story.payments {
        let payment = ledger.payment(PaymentId(*id)).await.map_err(|error| error.to_string())?.0;
        let Some(payment) = payment.filter(|payment| payment.state == PaymentState::Held) else { continue };
        let op = Op {
            payment: PaymentId(*id),
            action: Action::Capture,
            cumulative: Amount(1),
            last: true,
            epoch: payment.epoch,
            answer: [0; 32],
        };
        let operate = Operate::sign(&ledger.id(), &line::authorizer(), vec![(op, None)]);
        let results = ledger.operate(operate).await.map_err(|error| error.to_string())?;
        if let Some(Err(refused)) = results.into_iter().next() {
            return Err(refused.to_string());
        }
        lines.push(Line::ask(Kind::Capture, *id, *payer, 1));
        break;
    }
    Ok(lines)
}
