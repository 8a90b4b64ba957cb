//! The floor: append each batch as one CRC-framed record, `fdatasync`, keep all rows but the entries in memory.
//! It shows what durability alone costs. It is not a candidate as it stands: its state must fit in memory.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use super::{Engine, Rows, Table, Writes};
use crate::Result;

const DELETED: u32 = u32::MAX;

pub(crate) struct RawLog {
    log: File,
    rows: HashMap<(Table, Vec<u8>), Vec<u8>>,
}

impl RawLog {
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let log = File::options().create(true).append(true).open(dir.join("log"))?;
        Ok(Self { log, rows: HashMap::new() })
    }
}

impl Rows for RawLog {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.rows.get(&(table, key.to_vec())).cloned())
    }
}

impl Engine for RawLog {
    fn apply(&mut self, batch: &mut dyn FnMut(&dyn Rows) -> Result<Writes>) -> Result<()> {
        let writes = batch(self)?;
        let mut frame = vec![0; 8];
        for ((table, key), value) in &writes {
            frame.push(*table as u8);
            frame.extend(u16::try_from(key.len())?.to_le_bytes());
            let len = value.as_ref().map_or(Ok(DELETED), |value| u32::try_from(value.len()))?;
            frame.extend(len.to_le_bytes());
            frame.extend(key);
            frame.extend(value.iter().flatten());
        }
        let (len, crc) = (u32::try_from(frame.len() - 8)?, crc32fast::hash(&frame[8..]));
        frame[..4].copy_from_slice(&len.to_le_bytes());
        frame[4..8].copy_from_slice(&crc.to_le_bytes());
        self.log.write_all(&frame)?;
        self.log.sync_data()?;
        for ((table, key), value) in writes {
            match value {
                Some(_) if table == Table::Entry => {}
                Some(value) => drop(self.rows.insert((table, key), value)),
                None => drop(self.rows.remove(&(table, key))),
            }
        }
        Ok(())
    }
}
