//! Proving a ledger: everything that history claims is verified again, and every row against history.
//!
//! This reads entries and believes none of them: the hash chain and the signed head, the signature of
//! every debit, deposit and operation, the sum of every entry's postings, and what the balances, holds
//! and payments must be after them. It shares no code with the core that wrote them.

pub(crate) mod history;
mod rows;

use std::collections::{BTreeMap, HashMap};

use farthing_protocol::layout::{LayoutError, Reader};
use farthing_protocol::rail::PaymentId;
use farthing_protocol::{PublicKey, Signature, signature};
use serde::Serialize;

use self::history::History;
use crate::admin::{Deposit, KeyChange, NewAsset, Scope};
use crate::core::SKEW;
use crate::entry::{Entry, Event, Evidence, Posting};
use crate::identity::{AssetCode, Book, LedgerId};
use crate::operation::{self, Action, Op};
use crate::rows::{AccountKey, AccountKeys, Genesis, Head, Mode, Table, key};
use crate::statement::PaymentState;
use crate::terms::{Terms, TermsFlow, payment_id};

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Chains of entries, one for each committer; each with a signed head.
    pub chains: u64,
    /// Entries read.
    pub entries: u64,
    /// Signatures verified.
    pub signatures: u64,
    /// Payments by state.
    pub payments: BTreeMap<&'static str, u64>,
    /// Totals by asset.
    pub assets: BTreeMap<String, Totals>,
    /// What does not fit, each in one sentence; empty when the ledger balances.
    pub faults: Vec<String>,
}

/// One asset's totals, in atomic units; as text in JSON, where numbers are smaller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Decimal places; `None` when no entry registers the asset.
    pub scale: Option<u8>,
    /// Ever issued.
    #[serde(serialize_with = "as_text")]
    pub issued: i128,
    /// In accounts.
    #[serde(serialize_with = "as_text")]
    pub accounts: i128,
    /// Held for payments.
    #[serde(serialize_with = "as_text")]
    pub held: i128,
}

fn as_text<S: serde::Serializer>(units: &i128, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(units)
}

impl Report {
    /// Whether nothing is wrong.
    pub fn balanced(&self) -> bool {
        self.faults.is_empty()
    }
}

/// Rows of a table from a key on, at most so many: how the check reads storage.
pub type Scan<'a, E> = &'a mut dyn FnMut(Table, &[u8], usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>, E>;

/// The faults that are written out; the rest are counted.
const MAX_FAULTS: usize = 50;
const PAGE: usize = 1024;
/// Chains that a ledger has at most, one for each process that ever wrote at the same time as others.
const MAX_CHAINS: usize = 16_384;
/// All of an amount, in basis points.
const MAX_BPS: u16 = 10_000;

/// Verifies everything that `scan` shows.
///
/// # Errors
/// Those of `scan` only. Damage is a fault in the report, not an error.
pub fn check<E>(scan: Scan<'_, E>) -> Result<Report, E> {
    let mut audit = Audit::default();
    let meta: BTreeMap<Vec<u8>, Vec<u8>> = scan(Table::Meta, &[], MAX_CHAINS)?.into_iter().collect();
    let mut history = History::open(scan, &meta)?;
    while let Some((key, bytes)) = history.next(scan)? {
        audit.entry(&key, &bytes);
    }
    if history.strays > 0 {
        audit.fault(format!("{} chains of entries have no head", history.strays));
    }
    for chain in history.chains() {
        audit.report.chains += 1;
        audit.head(chain, meta.get(&key::of_chain(b"head", chain)));
    }
    audit.genesis_row(meta.get(&b"genesis"[..]));
    for_each(scan, Table::Balance, &mut |key, bytes| audit.balance_row(key, bytes))?;
    for_each(scan, Table::Payment, &mut |key, bytes| audit.payment_row(key, bytes))?;
    for_each(scan, Table::Due, &mut |key, _| audit.due_row(key))?;
    for_each(scan, Table::Replay, &mut |key, bytes| audit.replay_row(key, bytes))?;
    for_each(scan, Table::Answer, &mut |key, bytes| audit.answer_row(key, bytes))?;
    let mut registers = audit.registers();
    for table in [Table::Asset, Table::Keys, Table::Deposit] {
        for_each(scan, table, &mut |key, bytes| audit.register_row(&mut registers, table, key, bytes))?;
    }
    audit.registers_without_rows(&registers);
    Ok(audit.finish())
}

type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]);

fn for_each<E>(scan: Scan<'_, E>, table: Table, visit: Visit<'_>) -> Result<(), E> {
    let mut from = Vec::new();
    loop {
        let rows = scan(table, &from, PAGE)?;
        for (key, value) in &rows {
            visit(key, value);
        }
        match rows.last() {
            Some((last, _)) if rows.len() == PAGE => from = [last.as_slice(), &[0]].concat(),
            _ => return Ok(()),
        }
    }
}

/// What history says of one payment.
struct Seen {
    terms: Terms,
    state: PaymentState,
    captured: u128,
    refunded: u128,
    epoch: u64,
    /// Unix seconds of its first entry.
    at: u64,
    /// Unix seconds of its last change, and of its hold's end; 0 while that lasts.
    changed_at: u64,
    ended_at: u64,
    /// Hash of the stored answer; zero for none.
    answer: [u8; 32],
    /// Whether storage has its row and its replay key.
    row: bool,
    replay: bool,
}

impl Seen {
    fn held(&self) -> i128 {
        match self.state {
            // Both are at most what a posting can carry: `money` saw them.
            PaymentState::Held => self.terms.max_amount.0.saturating_sub(self.captured) as i128,
            _ => 0,
        }
    }

    fn end(&mut self, state: PaymentState, at: u64) {
        (self.state, self.changed_at, self.ended_at) = (state, at, at);
    }
}

/// How far a chain has been read.
#[derive(Clone, Copy, Default)]
struct End {
    sequence: u64,
    hash: [u8; 32],
    /// Unix seconds of its last entry.
    clock: u64,
}

#[derive(Default)]
struct Audit {
    report: Report,
    more_faults: u64,
    ledger: Option<(Genesis, LedgerId)>,
    /// Hash of the first entry, from which every further chain begins.
    genesis_hash: [u8; 32],
    ends: BTreeMap<u32, End>,
    assets: HashMap<AssetCode, NewAsset>,
    deposits: HashMap<[u8; 32], Vec<u8>>,
    /// The last time that a head names.
    head_clock: u64,
    keys: HashMap<PublicKey, AccountKeys>,
    balances: HashMap<Vec<u8>, (Book, AssetCode, i128)>,
    payments: HashMap<PaymentId, Seen>,
    nonces: HashMap<Vec<u8>, PaymentId>,
    rows_seen: u64,
    due_seen: u64,
}

impl Audit {
    fn fault(&mut self, text: String) {
        if self.report.faults.len() < MAX_FAULTS {
            self.report.faults.push(text);
        } else {
            self.more_faults += 1;
        }
    }

    fn entry(&mut self, key: &[u8], bytes: &[u8]) {
        self.report.entries += 1;
        let (chain, _) = key::entry_of(key).unwrap_or_default();
        let end = self.end_of(chain);
        let expected = end.sequence.saturating_add(1);
        let entry = match Entry::decode(bytes) {
            Ok(entry) => entry,
            Err(error) => {
                self.ends.insert(chain, End { sequence: expected, ..end });
                return self.fault(format!("{} cannot be read: {error}", name(chain, expected)));
            }
        };
        if key != key::entry(entry.chain, entry.sequence) || entry.sequence != expected {
            self.fault(format!("{} is missing or out of place", name(chain, expected)));
        }
        let this = name(chain, entry.sequence);
        if entry.previous != end.hash {
            self.fault(format!("{this} does not follow from the one before it"));
        }
        if entry.at < end.clock {
            self.fault(format!("{this} is older than the one before it"));
        }
        let hash = Entry::hash(bytes);
        if self.ends.is_empty() {
            self.genesis_hash = hash;
        }
        self.ends.insert(chain, End { sequence: entry.sequence, hash, clock: entry.at });
        if let Err(why) = self.event(&entry) {
            self.fault(format!("{this} ({}): {why}", entry.event.name()));
        }
        self.post(&entry);
    }

    /// How far a chain has been read: before its first entry, where it must begin.
    fn end_of(&self, chain: u32) -> End {
        let hash = if chain == 0 { [0; 32] } else { self.genesis_hash };
        self.ends.get(&chain).copied().unwrap_or(End { hash, ..End::default() })
    }

    fn post(&mut self, entry: &Entry) {
        let mut sums: BTreeMap<AssetCode, i128> = BTreeMap::new();
        for posting in &entry.postings {
            let sum = sums.entry(posting.asset).or_default();
            *sum = sum.saturating_add(posting.amount);
            let row = key::balance(&posting.book, &posting.asset);
            let balance = self.balances.entry(row).or_insert((posting.book, posting.asset, 0));
            balance.2 = balance.2.saturating_add(posting.amount);
        }
        for (asset, sum) in sums {
            if sum != 0 {
                let entry = name(entry.chain, entry.sequence);
                self.fault(format!("{entry} makes or loses {sum} of {asset}"));
            }
        }
        for posting in &entry.postings {
            let row = key::balance(&posting.book, &posting.asset);
            let negative = self.balances.get(&row).is_some_and(|(_, _, balance)| *balance < 0);
            if negative && posting.book != Book::Issued {
                let entry = name(entry.chain, entry.sequence);
                self.fault(format!("{entry} overdraws {:?}", posting.book));
            }
        }
    }

    /// Verifies one event's evidence and that its postings are what it allows.
    fn event(&mut self, entry: &Entry) -> Result<(), String> {
        if let Event::Genesis(genesis) = &entry.event {
            let first = entry.chain == 0 && entry.sequence == 1;
            expect(first && entry.postings.is_empty(), "a second genesis")?;
            expect(genesis.fee_bps <= MAX_BPS, "takes more than everything as its fee")?;
            self.ledger = Some((genesis.clone(), genesis.id()));
            return Ok(());
        }
        let Some((genesis, ledger)) = self.ledger.clone() else {
            return Err("comes before the genesis".into());
        };
        match &entry.event {
            Event::Genesis(_) => Ok(()),
            Event::Asset(evidence) => {
                self.verify(&genesis.key, &evidence.signed, &evidence.signature)?;
                let asset = NewAsset::decode(&evidence.signed, &ledger).map_err(|e| e.to_string())?;
                expect(self.assets.insert(asset.code, asset).is_none(), "the asset exists")?;
                expect(entry.postings.is_empty(), "moves money")
            }
            Event::Deposit(evidence) => self.deposit(&ledger, evidence, &entry.postings),
            Event::Keys(signer, evidence) => {
                self.verify(signer, &evidence.signed, &evidence.signature)?;
                let change = KeyChange::decode(&evidence.signed, &ledger).map_err(|e| e.to_string())?;
                expect(entry.postings.is_empty(), "moves money")?;
                self.change_keys(signer, &change, entry.at)
            }
            Event::Authorize(evidence) => {
                let (id, terms) = self.authorized(&genesis, evidence, entry.at)?;
                expect(terms.flow == TermsFlow::Escrow, "holds what was signed to be charged")?;
                let in_time = entry.at < terms.capture_deadline;
                expect(in_time, "holds after the capture deadline")?;
                let amount = money(terms.max_amount.0)?;
                let payer = Book::Account(terms.payer);
                expect_net(
                    &entry.postings,
                    &[(payer, terms.asset, -amount), (Book::Held, terms.asset, amount)],
                )?;
                self.remember(id, terms, PaymentState::Held, 0, [0; 32], entry.at)
            }
            Event::Charge(evidence, operation, signature) => {
                let (id, terms) = self.authorized(&genesis, evidence, entry.at)?;
                expect(terms.flow == TermsFlow::Charge, "charges what was signed to be held")?;
                let bytes = operation::signed_bytes(&ledger, std::slice::from_ref(operation));
                self.verify(&terms.receiver_authorizer, &bytes, signature)?;
                expect(
                    operation.action == Action::Charge && operation.payment == id,
                    "charges another payment",
                )?;
                expect(operation.cumulative <= terms.max_amount, "charges more than was signed")?;
                let whole = operation.cumulative == terms.max_amount;
                expect(whole || terms.scheme.takes_parts(), "charges less than an exact amount")?;
                let (asset, amount) = (terms.asset, money(operation.cumulative.0)?);
                let mut net = payout(&genesis, &terms, 0, operation.cumulative.0);
                net.push((Book::Held, asset, amount));
                net.push((Book::Account(terms.payer), asset, -amount));
                expect_net(&entry.postings, &net)?;
                self.remember(
                    id,
                    terms,
                    PaymentState::Captured,
                    operation.cumulative.0,
                    operation.answer,
                    entry.at,
                )
            }
            Event::Takeover(id, epoch) => {
                let seen = self.payments.get_mut(id).ok_or("an unknown payment")?;
                let next = seen.epoch.checked_add(1) == Some(*epoch) && seen.state == PaymentState::Held;
                seen.epoch = *epoch;
                seen.changed_at = entry.at;
                expect(next && entry.postings.is_empty(), "is not the next epoch of a hold")
            }
            Event::Operate(signer, signature, operations) => {
                let list: Vec<Op> = operations.iter().map(|(op, _)| *op).collect();
                self.verify(signer, &operation::signed_bytes(&ledger, &list), signature)?;
                let mut net = Vec::new();
                for (op, _) in operations.iter().filter(|(_, applied)| *applied) {
                    net.extend(self.operation(&genesis, signer, op, entry.at)?);
                }
                expect_net(&entry.postings, &net)
            }
            Event::Reclaim(payments) => {
                let mut net = Vec::new();
                for id in payments {
                    let seen = self.payments.get_mut(id).ok_or("an unknown payment")?;
                    let due = seen.state == PaymentState::Held && entry.at > seen.terms.capture_deadline;
                    expect(due, "ends a hold before its deadline")?;
                    net.extend(release(seen));
                    seen.end(ended(seen, PaymentState::Reclaimed), entry.at);
                }
                expect_net(&entry.postings, &net)
            }
        }
    }

    fn deposit(
        &mut self,
        ledger: &LedgerId,
        evidence: &Evidence,
        postings: &[Posting],
    ) -> Result<(), String> {
        let deposit = Deposit::decode(&evidence.signed, ledger).map_err(|e| e.to_string())?;
        let issuer = self.assets.get(&deposit.asset).ok_or("an unknown asset")?.issuer;
        self.verify(&issuer, &evidence.signed, &evidence.signature)?;
        let again = self.deposits.insert(deposit.reference, evidence.signed.clone());
        expect(again.is_none(), "issues the same deposit twice")?;
        let (asset, amount) = (deposit.asset, money(deposit.amount.0)?);
        expect_net(
            postings,
            &[(Book::Issued, asset, -amount), (Book::Account(deposit.account), asset, amount)],
        )
    }

    fn change_keys(&mut self, signer: &PublicKey, change: &KeyChange, at: u64) -> Result<(), String> {
        let keys = self.keys.entry(change.account).or_insert_with(|| AccountKeys::opening(&change.account));
        expect(keys.scope(signer, at) == Some(Scope::Full), "is not signed by a key of full scope")?;
        expect(change.sequence == keys.sequence + 1, "is not the account's next change")?;
        keys.sequence = change.sequence;
        keys.keys.retain(|k| k.key != change.key);
        if let Some(scope) = change.scope {
            keys.keys.push(AccountKey { key: change.key, scope, expiry: change.expiry });
        }
        Ok(())
    }

    fn authorized(
        &mut self,
        genesis: &Genesis,
        evidence: &Evidence,
        at: u64,
    ) -> Result<(PaymentId, Terms), String> {
        let terms = Terms::decode(&evidence.signed).map_err(|e| e.to_string())?;
        self.verify(&terms.signer, &evidence.signed, &evidence.signature)?;
        expect(terms.ledger == genesis.id(), "is signed for another ledger")?;
        let opening = AccountKeys::opening(&terms.payer);
        let keys = self.keys.get(&terms.payer).unwrap_or(&opening);
        expect(keys.scope(&terms.signer, at).is_some(), "is signed by a key that is not the payer's")?;
        let from = terms.valid_after.saturating_sub(SKEW);
        let window = from..=terms.valid_before.saturating_add(SKEW);
        expect(window.contains(&at), "is outside the time for which it was signed")?;
        if let Mode::ClosedLoop { seller, .. } = &genesis.mode {
            expect(terms.payee == *seller, "pays somebody else than the only seller")?;
        }
        let fee = &terms.fee;
        let taken = genesis.fee_bps;
        let fits = (fee.min_bps..=fee.max_bps).contains(&taken)
            && (taken == 0 || fee.recipient == genesis.fee_recipient.0);
        expect(fits, "takes a fee that the payer did not allow")?;
        expect(terms.mandate == [0; 32], "has a mandate, and mandates are not kept here")?;
        money(terms.max_amount.0)?;
        Ok((payment_id(&evidence.signed), terms))
    }

    fn remember(
        &mut self,
        id: PaymentId,
        terms: Terms,
        state: PaymentState,
        captured: u128,
        answer: [u8; 32],
        at: u64,
    ) -> Result<(), String> {
        self.nonces.insert(key::replay(&terms.payer, &terms.nonce), id);
        let ended_at = if state == PaymentState::Held { 0 } else { at };
        let seen = Seen {
            terms,
            state,
            captured,
            refunded: 0,
            epoch: 1,
            at,
            changed_at: at,
            ended_at,
            answer,
            row: false,
            replay: false,
        };
        expect(self.payments.insert(id, seen).is_none(), "pays the same payment twice")
    }

    /// One applied operation: its net effect.
    fn operation(
        &mut self,
        genesis: &Genesis,
        signer: &PublicKey,
        op: &Op,
        at: u64,
    ) -> Result<Vec<Net>, String> {
        let seen = self.payments.get_mut(&op.payment).ok_or("an unknown payment")?;
        expect(seen.terms.receiver_authorizer == *signer, "is not signed by the receiverAuthorizer")?;
        let cumulative = op.cumulative.0;
        match op.action {
            Action::Charge => Err("charges within a list".into()),
            Action::Refund => {
                let fits = cumulative >= seen.refunded && cumulative <= seen.captured;
                expect(fits, "refunds more than was captured")?;
                let may = seen.terms.scheme.refunds() && at <= seen.terms.refund_deadline;
                expect(may || cumulative == seen.refunded, "refunds what can no longer be refunded")?;
                let delta = (cumulative - seen.refunded) as i128;
                if delta != 0 {
                    seen.changed_at = at;
                }
                seen.refunded = cumulative;
                let (payee, payer, asset) = (seen.terms.payee, seen.terms.payer, seen.terms.asset);
                Ok(vec![(Book::Account(payee), asset, -delta), (Book::Account(payer), asset, delta)])
            }
            // An operation that was applied before changes nothing.
            Action::Capture if seen.state == PaymentState::Captured && cumulative == seen.captured => {
                Ok(Vec::new())
            }
            Action::Void if seen.state == PaymentState::Voided => Ok(Vec::new()),
            Action::Capture | Action::Void => {
                expect(seen.state == PaymentState::Held, "touches a hold that has ended")?;
                expect(op.epoch == seen.epoch, "is an earlier owner's")?;
                expect(at <= seen.terms.capture_deadline, "comes after the capture deadline")?;
                let mut net = Vec::new();
                if op.action == Action::Capture {
                    let fits = cumulative >= seen.captured && cumulative <= seen.terms.max_amount.0;
                    expect(fits, "captures more than was signed")?;
                    let whole = op.last && cumulative == seen.terms.max_amount.0;
                    let may = whole || seen.terms.scheme.takes_parts();
                    expect(may, "captures a part of an exact amount")?;
                    if op.last || cumulative != seen.captured {
                        seen.changed_at = at;
                        if op.answer != [0; 32] {
                            seen.answer = op.answer;
                        }
                    }
                    net = payout(genesis, &seen.terms, seen.captured, cumulative);
                    seen.captured = cumulative;
                }
                match op.action {
                    Action::Void => {
                        net.extend(release(seen));
                        seen.end(ended(seen, PaymentState::Voided), at);
                    }
                    _ if op.last => {
                        net.extend(release(seen));
                        seen.end(PaymentState::Captured, at);
                    }
                    _ => {}
                }
                Ok(net)
            }
        }
    }

    fn verify(&mut self, key: &PublicKey, message: &[u8], sig: &Signature) -> Result<(), String> {
        self.report.signatures += 1;
        signature::verify(key, message, sig).map_err(|_| "its signature is wrong".into())
    }

    fn head(&mut self, chain: u32, row: Option<&Vec<u8>>) {
        let read = |bytes: &[u8]| {
            let mut from = Reader::bare(bytes);
            let head = Head::read(&mut from)?;
            let signature = Signature(from.fixed()?);
            from.finish()?;
            Ok::<_, LayoutError>((head, signature))
        };
        let (Some((genesis, ledger)), Some(Ok((head, sig)))) = (self.ledger.clone(), row.map(|r| read(r)))
        else {
            return self.fault("the genesis or the head is missing".into());
        };
        self.head_clock = self.head_clock.max(head.clock);
        let end = self.end_of(chain);
        if head.sequence != end.sequence || head.hash != end.hash || head.clock < end.clock {
            self.fault("the head does not name the last entry".into());
        }
        if self.verify(&genesis.key, &head.signed_bytes(&ledger), &sig).is_err() {
            self.fault("the head's signature is wrong".into());
        }
    }

    fn finish(mut self) -> Report {
        self.missing_rows();
        if self.rows_seen != self.balances.len() as u64 {
            self.fault("a balance that history explains has no row".into());
        }
        let open = self.payments.values().filter(|s| s.state == PaymentState::Held).count() as u64;
        if open != self.due_seen {
            self.fault(format!("{open} holds are open and {} are listed", self.due_seen));
        }
        let mut held: HashMap<AssetCode, i128> = HashMap::new();
        for seen in self.payments.values() {
            let sum = held.entry(seen.terms.asset).or_default();
            *sum = sum.saturating_add(seen.held());
            *self.report.payments.entry(seen.state.name()).or_default() += 1;
        }
        for (book, asset, balance) in self.balances.values() {
            let totals = self.report.assets.entry(asset.to_string()).or_default();
            totals.scale = self.assets.get(asset).map(|asset| asset.scale);
            match book {
                Book::Account(_) => totals.accounts = totals.accounts.saturating_add(*balance),
                Book::Held => totals.held = totals.held.saturating_add(*balance),
                Book::Issued => totals.issued = totals.issued.saturating_sub(*balance),
            }
        }
        let mut faults = Vec::new();
        for (asset, totals) in &self.report.assets {
            if totals.issued != totals.accounts.saturating_add(totals.held) {
                faults.push(format!("{asset}: issued {} is not accounts + held", totals.issued));
            }
            let code = asset.parse().ok();
            let open = code.and_then(|c: AssetCode| held.get(&c).copied()).unwrap_or(0);
            if totals.held != open {
                faults.push(format!("{asset}: {} is held where open payments say {open}", totals.held));
            }
        }
        faults.into_iter().for_each(|f| self.fault(f));
        if self.more_faults > 0 {
            self.report.faults.push(format!("and {} more", self.more_faults));
        }
        self.report
    }
}

/// What an entry is called.
fn name(chain: u32, sequence: u64) -> String {
    if chain == 0 { format!("entry {sequence}") } else { format!("entry {sequence} of chain {chain}") }
}

type Net = (Book, AssetCode, i128);

/// What a capture pays out of the hold between two cumulative amounts.
fn payout(genesis: &Genesis, terms: &Terms, before: u128, after: u128) -> Vec<Net> {
    let rate = u128::from(genesis.fee_bps);
    let fee = |amount: u128| (amount / 10_000) * rate + (amount % 10_000) * rate / 10_000;
    let (total, fee) = ((after - before) as i128, (fee(after) - fee(before)) as i128);
    vec![
        (Book::Held, terms.asset, -total),
        (Book::Account(terms.payee), terms.asset, total - fee),
        (Book::Account(genesis.fee_recipient), terms.asset, fee),
    ]
}

fn release(seen: &Seen) -> Vec<Net> {
    let (rest, asset) = (seen.held(), seen.terms.asset);
    vec![(Book::Held, asset, -rest), (Book::Account(seen.terms.payer), asset, rest)]
}

fn ended(seen: &Seen, otherwise: PaymentState) -> PaymentState {
    if seen.captured == 0 { otherwise } else { PaymentState::Captured }
}

fn expect(condition: bool, why: &str) -> Result<(), String> {
    if condition { Ok(()) } else { Err(why.to_owned()) }
}

/// The postings, summed by book and asset, are exactly `net`.
fn expect_net(postings: &[Posting], net: &[Net]) -> Result<(), String> {
    let mut sums: BTreeMap<(Book, AssetCode), i128> = BTreeMap::new();
    let allowed = net.iter().map(|(book, asset, amount)| (*book, *asset, amount.checked_neg()));
    let posted = postings.iter().map(|p| (p.book, p.asset, Some(p.amount)));
    for (book, asset, amount) in posted.chain(allowed) {
        let sum = sums.entry((book, asset)).or_default();
        *sum = amount.and_then(|a| sum.checked_add(a)).ok_or("its postings are beyond counting")?;
    }
    expect(sums.values().all(|sum| *sum == 0), "its postings are not what it allows")
}

/// An amount as postings carry it.
fn money(amount: u128) -> Result<i128, String> {
    i128::try_from(amount).map_err(|_| "moves more than a posting can carry".into())
}
