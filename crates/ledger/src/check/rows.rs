//! Rows of storage against what history says they must be.

use std::collections::BTreeMap;

use farthing_protocol::layout::Reader;
use farthing_protocol::rail::PaymentId;
use sha2::{Digest, Sha256};

use super::Audit;
use crate::core::{MAX_RECORD, REPLAY_KEPT};
use crate::rows::{Payment, Table, encode_asset};
use crate::statement::PaymentState;

/// Rows that history determines byte for byte.
pub(super) type Registers = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

impl Audit {
    pub(super) fn genesis_row(&mut self, row: Option<&Vec<u8>>) {
        let same = self.ledger.as_ref().is_some_and(|(genesis, _)| row == Some(&genesis.encode()));
        if !same {
            self.fault("the genesis is not the one that history begins with".into());
        }
    }

    pub(super) fn balance_row(&mut self, key: &[u8], bytes: &[u8]) {
        self.rows_seen += 1;
        let stored = <[u8; 16]>::try_from(bytes).map(i128::from_be_bytes).ok();
        match self.balances.get(key) {
            Some((_, _, balance)) if stored == Some(*balance) => {}
            Some((book, asset, balance)) => {
                let text = format!("{book:?} holds {stored:?} {asset} where history says {balance}");
                self.fault(text);
            }
            None if stored == Some(0) => self.rows_seen -= 1,
            None => self.fault(format!("a balance of {stored:?} that no entry explains")),
        }
    }

    pub(super) fn payment_row(&mut self, key: &[u8], bytes: &[u8]) {
        let id = <[u8; 32]>::try_from(key).map(PaymentId);
        let (Ok(id), Ok(row)) = (id, Payment::decode(bytes)) else {
            return self.fault("a payment row is damaged".into());
        };
        let fee_bps = self.ledger.as_ref().map(|(genesis, _)| genesis.fee_bps);
        let Some(seen) = self.payments.get_mut(&id) else {
            return self.fault(format!("payment {id} has no entry"));
        };
        seen.row = true;
        let same = row.terms == seen.terms
            && row.state == seen.state
            && row.captured.0 == seen.captured
            && row.refunded.0 == seen.refunded
            && row.epoch == seen.epoch
            && row.changed_at == seen.changed_at
            && row.ended_at == seen.ended_at
            && fee_bps == Some(row.fee_bps);
        if !same {
            self.fault(format!("payment {id} is not what history says"));
        }
    }

    pub(super) fn due_row(&mut self, key: &[u8]) {
        self.due_seen += 1;
        let mut from = Reader::bare(key);
        let (deadline, id) = (from.u64().unwrap_or(0), PaymentId(from.fixed().unwrap_or_default()));
        let open = self
            .payments
            .get(&id)
            .is_some_and(|seen| seen.state == PaymentState::Held && seen.terms.capture_deadline == deadline);
        if !open {
            self.fault(format!("payment {id} is listed as held and is not"));
        }
    }

    pub(super) fn replay_row(&mut self, key: &[u8], bytes: &[u8]) {
        let id = self.nonces.get(key).copied().filter(|id| id.0 == bytes);
        match id.and_then(|id| self.payments.get_mut(&id)) {
            Some(seen) => seen.replay = true,
            None => self.fault("a replay key names another payment than history".into()),
        }
    }

    pub(super) fn answer_row(&mut self, key: &[u8], bytes: &[u8]) {
        let id = <[u8; 32]>::try_from(key).map(PaymentId).unwrap_or(PaymentId([0; 32]));
        let hash: [u8; 32] = Sha256::digest(bytes).into();
        if self.payments.get(&id).is_none_or(|seen| seen.answer != hash) {
            self.fault(format!("the stored answer of payment {id} is not the one that was signed for"));
        }
    }

    /// The rows of assets, account keys and deposits.
    pub(super) fn registers(&self) -> Registers {
        let mut rows = Registers::new();
        for (code, asset) in &self.assets {
            rows.insert((Table::Asset, code.as_str().as_bytes().to_vec()), encode_asset(asset));
        }
        for (account, keys) in self.keys.iter().filter(|(_, keys)| keys.sequence > 0) {
            rows.insert((Table::Keys, account.0.to_vec()), keys.encode());
        }
        for (reference, signed) in &self.deposits {
            rows.insert((Table::Deposit, reference.to_vec()), signed.clone());
        }
        rows
    }

    pub(super) fn register_row(&mut self, registers: &mut Registers, table: Table, key: &[u8], bytes: &[u8]) {
        match registers.remove(&(table, key.to_vec())) {
            Some(expected) if expected == bytes => {}
            Some(_) => self.fault(format!("a row of {table:?} is not what history says")),
            None => self.fault(format!("a row of {table:?} that no entry explains")),
        }
    }

    pub(super) fn registers_without_rows(&mut self, registers: &Registers) {
        for (table, _) in registers.keys() {
            self.fault(format!("a row of {table:?} is missing"));
        }
    }

    /// Payments and replay keys that time has not made useless have rows.
    pub(super) fn missing_rows(&mut self) {
        let clock = self.head_clock;
        let gone = |seen: &&super::Seen| {
            let record = !seen.row && seen.at.saturating_add(MAX_RECORD) >= clock;
            record || (!seen.replay && seen.at.saturating_add(REPLAY_KEPT) >= clock)
        };
        let missing = self.payments.values().filter(gone).count();
        if missing > 0 {
            self.fault(format!("{missing} payments have no row or no replay key"));
        }
    }
}
