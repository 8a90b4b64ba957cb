//! A small program that works an embedded ledger and says what it asked and what it was told. The tests of
//! durability record its writes and flushes.
//!
//! `recorded DIRECTORY [--payments N] [--answer BYTES] [--small-tables] [--reply-early]`: twice in a row it opens
//! the ledger, lets every payer make N payments beside the others, and closes it.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use farthing_ledger::Ledger;
use farthing_ledger::admin::{Deposit, NewAsset};
use farthing_ledger::command::{Authorize, Charge, Operate, Signed};
use farthing_ledger::operation::{Action, Op, answer_hash, signed_bytes};
use farthing_ledger::terms::{FeeTerms, Scheme, Terms, TermsFlow};
use farthing_protocol::rail::{Owner, PaymentId, Tenant};
use farthing_protocol::{Amount, Binding, RequestDigest};
use farthing_tests::line::{self, Kind, Line, NOW, PAYERS};

/// Times that the ledger is opened and closed.
const LIVES: u8 = 2;
/// What a payer gets at a time, in atomic units.
const FUNDS: u128 = 1_000_000;
/// The most that one payment costs.
const MOST: u128 = 1_000;
/// Memory of one table before it is sorted into files, with `--small-tables`.
const SMALL_TABLE: u64 = 8 << 10;

/// What the command line says.
struct Settings {
    directory: PathBuf,
    payments: u64,
    answer: usize,
    small_tables: bool,
    reply_early: bool,
}

impl Settings {
    fn read() -> Self {
        let mut words = std::env::args().skip(1);
        let directory = words.next().expect("a directory").into();
        let mut settings =
            Self { directory, payments: 10, answer: 100, small_tables: false, reply_early: false };
        while let Some(word) = words.next() {
            let mut number = || words.next().and_then(|n| n.parse::<u64>().ok()).expect("a number");
            match word.as_str() {
                "--payments" => settings.payments = number(),
                "--answer" => settings.answer = usize::try_from(number()).expect("a length"),
                "--small-tables" => settings.small_tables = true,
                "--reply-early" => settings.reply_early = true,
                other => panic!("unknown: {other}"),
            }
        }
        settings
    }
}

/// Standard output without a buffer: every line is one write.
struct Replies {
    file: File,
    early: bool,
}

impl Replies {
    fn say(&self, line: Line) {
        (&self.file).write_all(format!("{line}\n").as_bytes()).expect("standard output can be written");
    }

    fn ask(&self, line: Line) {
        self.say(line);
        // The planted fault: the reply is there before anything was flushed.
        if self.early {
            self.say(line.granted());
        }
    }

    fn grant(&self, line: Line) {
        if !self.early {
            self.say(line.granted());
        }
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let settings = Settings::read();
    let file = std::io::stdout().as_fd().try_clone_to_owned().expect("standard output").into();
    let replies = Arc::new(Replies { file, early: settings.reply_early });
    if settings.small_tables {
        make_small_tables(&settings.directory);
    }
    for life in 0..LIVES {
        // A crash may come from here on.
        replies.say(Line::ask(Kind::Open, [0; 32], 0, 0));
        let ledger = Ledger::open(&settings.directory, line::options()).expect("the ledger opens");
        let mut id = [0; 32];
        id[..16].copy_from_slice(&ledger.id().0);
        replies.say(Line::ask(Kind::Open, id, 0, 0).granted());
        let asset = NewAsset { code: line::asset(), scale: 6, issuer: line::issuer().public() };
        ledger.register(asset).await.expect("the asset is registered");
        let payers = (0..PAYERS).map(|number| {
            let (ledger, replies) = (ledger.clone(), replies.clone());
            let payer = Payer { ledger, replies, number, life, answer: vec![number; settings.answer] };
            tokio::spawn(payer.pay(settings.payments))
        });
        for payer in payers.collect::<Vec<_>>() {
            payer.await.expect("a payer did not panic");
        }
    }
}

/// The database, with tables that are sorted into files very often. The sizes are kept with the tables.
fn make_small_tables(directory: &Path) {
    std::fs::create_dir_all(directory).expect("a directory");
    let database = fjall::Database::builder(directory.join("rows")).open().expect("a new database");
    for name in ["meta", "balance", "payment", "replay", "due", "answer", "deposit", "entry", "recent"] {
        let small = || fjall::KeyspaceCreateOptions::default().max_memtable_size(SMALL_TABLE);
        database.keyspace(name, small).expect("a new table");
    }
    // The ledger makes its own tables so that a crash finds all of them or none; of these, none is lost.
    for made in directory.join("rows/keyspaces").ancestors().take(4) {
        File::open(made).and_then(|made| made.sync_all()).expect("names are flushed");
    }
}

/// One of several that pay the same seller at the same time.
struct Payer {
    ledger: Ledger,
    replies: Arc<Replies>,
    number: u8,
    life: u8,
    answer: Vec<u8>,
}

impl Payer {
    async fn pay(self, payments: u64) {
        for nth in 0..payments {
            if nth % 8 == 0 {
                self.deposit(nth).await;
            }
            let amount = MOST - u128::from(nth % 7);
            let terms = self.terms(nth, amount);
            match nth % 5 {
                0 => {
                    self.authorize(&terms).await;
                    self.operate(&[(self.op(&terms, Action::Capture, amount / 2), Kind::Capture)]).await;
                }
                1 => {
                    self.authorize(&terms).await;
                    self.operate(&[(self.op(&terms, Action::Void, 0), Kind::Void)]).await;
                }
                2 => {
                    self.authorize(&terms).await;
                    self.operate(&[(self.op(&terms, Action::Capture, amount), Kind::Capture)]).await;
                    for refunded in [amount / 4, amount / 2] {
                        self.operate(&[(self.op(&terms, Action::Refund, refunded), Kind::Refund)]).await;
                    }
                }
                3 => {
                    // One is left held, two others are captured under one signature.
                    let others = [self.terms(nth + (1 << 32), amount), self.terms(nth + (2 << 32), amount)];
                    self.authorize(&terms).await;
                    for terms in &others {
                        self.authorize(terms).await;
                    }
                    let capture = |terms| (self.op(terms, Action::Capture, amount / 3), Kind::Capture);
                    self.operate(&others.each_ref().map(capture)).await;
                }
                _ => self.charge(Terms { flow: TermsFlow::Charge, capture_deadline: 0, ..terms }).await,
            }
        }
    }

    /// A number that no other payment or deposit of the same kind has.
    fn number(&self, nth: u64) -> [u8; 32] {
        let mut bytes = [0x5a; 32];
        bytes[0] = self.number;
        bytes[1] = self.life;
        bytes[2..10].copy_from_slice(&nth.to_be_bytes());
        bytes
    }

    fn terms(&self, nth: u64, amount: u128) -> Terms {
        let payer = line::payer(self.number).public();
        Terms {
            ledger: self.ledger.id(),
            scheme: Scheme::AuthCapture,
            flow: TermsFlow::Escrow,
            payer,
            signer: payer,
            payee: line::seller(),
            receiver_authorizer: line::authorizer().public(),
            asset: line::asset(),
            max_amount: Amount(amount),
            valid_after: 0,
            valid_before: NOW + 300,
            capture_deadline: NOW + 900,
            refund_deadline: NOW + 86_400,
            fee: FeeTerms::default(),
            mandate: [0; 32],
            nonce: self.number(nth),
            binding: Binding::Body,
            digest: RequestDigest([7; 32]),
        }
    }

    fn op(&self, terms: &Terms, action: Action, cumulative: u128) -> Op {
        let (payment, cumulative) = (terms.id(), Amount(cumulative));
        let ends = matches!(action, Action::Capture | Action::Charge);
        let answer = if ends { answer_hash(Some(&self.answer)) } else { [0; 32] };
        let epoch = u64::from(matches!(action, Action::Capture | Action::Void));
        Op { payment, action, cumulative, last: ends, epoch, answer }
    }

    fn line(&self, kind: Kind, payment: PaymentId, amount: u128) -> Line {
        Line::ask(kind, payment.0, self.number, amount)
    }

    fn signed(&self, terms: &Terms) -> Authorize {
        let bytes = terms.encode();
        let signature = line::payer(self.number).sign(&bytes);
        let owner = Owner { id: [1; 16], lease_seconds: 60 };
        Authorize::read(bytes, signature, owner, Tenant("recorded".into())).expect("terms as encoded")
    }

    async fn deposit(&self, nth: u64) {
        let (account, reference) = (line::payer(self.number).public(), self.number(nth));
        let deposit = Deposit { asset: line::asset(), account, amount: Amount(FUNDS), reference };
        let line = Line::ask(Kind::Deposit, reference, self.number, FUNDS);
        self.replies.ask(line);
        let signed = Signed::<Deposit>::sign(&self.ledger.id(), deposit, &line::issuer());
        self.ledger.deposit(signed).await.expect("a deposit is taken");
        self.replies.grant(line);
    }

    async fn authorize(&self, terms: &Terms) {
        let line = self.line(Kind::Authorize, terms.id(), terms.max_amount.0);
        self.replies.ask(line);
        self.ledger.authorize(self.signed(terms)).await.expect("a payment is authorized");
        self.replies.grant(line);
    }

    async fn charge(&self, terms: Terms) {
        let op = self.op(&terms, Action::Charge, terms.max_amount.0);
        let signature = line::authorizer().sign(&signed_bytes(&self.ledger.id(), &[op]));
        let charge = Charge::check(self.signed(&terms), op, Some(self.answer.clone()), signature);
        let line = self.line(Kind::Charge, terms.id(), terms.max_amount.0);
        self.replies.ask(line);
        self.ledger.charge(charge.expect("signatures fit")).await.expect("a payment is charged");
        self.replies.grant(line);
    }

    async fn operate(&self, operations: &[(Op, Kind)]) {
        let lines: Vec<_> =
            operations.iter().map(|(op, kind)| self.line(*kind, op.payment, op.cumulative.0)).collect();
        lines.iter().for_each(|line| self.replies.ask(*line));
        let answered =
            operations.iter().map(|(op, _)| (*op, (op.answer != [0; 32]).then(|| self.answer.clone())));
        let operate = Operate::sign(&self.ledger.id(), &line::authorizer(), answered.collect());
        let results = self.ledger.operate(operate).await.expect("operations are taken");
        assert!(results.iter().all(Result::is_ok), "{results:?}");
        lines.iter().for_each(|line| self.replies.grant(*line));
    }
}
