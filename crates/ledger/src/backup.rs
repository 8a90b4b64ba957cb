//! A backup: all rows of a ledger at one moment, in one file that says itself whether it is whole.
//!
//! It is a logical copy: tables, keys and values, without anything of the engine that they came from. The form is
//! in `spec/ledger.md`. A backup is not believed: whoever restores one runs the [check](crate::check) over it.

use std::io::{self, Read, Write};

use farthing_protocol::SecretKey;
use farthing_protocol::layout::{Reader, Writer};
use sha2::{Digest, Sha256};

use crate::engine::{Row, Snapshot, StorageError};
use crate::identity::LedgerId;
use crate::rows::{Genesis, Head, MAX_ROW, Table, key};

#[cfg(feature = "embedded")]
mod restore;

#[cfg(feature = "embedded")]
pub use self::restore::{RestoreError, Restored, restore};

const DOMAIN: &str = "farthing/backup";
/// The form that this program writes and reads.
const VERSION: u8 = 1;
/// What only the directory that a ledger lives in has.
const NOT_COPIED: &[u8] = b"format";

/// Rows that are read at a time.
const PAGE: usize = 512;
/// Bytes of the longest key.
const MAX_KEY: usize = 1024;
/// Bytes of the longest value: an entry that carries many operations is longer than any other row.
const MAX_VALUE: usize = 16 * MAX_ROW;
/// Bytes of SHA-256.
const HASH: usize = 32;

/// The seed of a ledger's key: 32 bytes that are as good as the ledger.
#[derive(Clone)]
pub struct Seed(pub [u8; 32]);

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(..)")
    }
}

impl Seed {
    /// The key.
    #[must_use]
    pub fn key(&self) -> SecretKey {
        SecretKey::from_seed(self.0)
    }
}

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The ledger.
    pub ledger: LedgerId,
    /// Unix seconds by the ledger's clock: what happened later is not in it.
    pub clock: u64,
    /// Entries of history.
    pub entries: u64,
    /// Rows of all tables.
    pub rows: u64,
    /// Whether the ledger's key is in it.
    pub has_key: bool,
}

/// A file that is not a backup, or not a whole one.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It was never one.
    #[error("it is not a backup of a farthing ledger")]
    Foreign,
    /// A newer program wrote it.
    #[error("it has form {found}, and this program reads form {VERSION}: a newer farthing wrote it")]
    Newer {
        /// The form it has.
        found: u8,
    },
    /// It ends too early.
    #[error("it is cut short: the copy is not whole")]
    Short,
    /// Some of its bytes are not what was written.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    /// It cannot be read, or its copy not written.
    #[error(transparent)]
    Io(io::Error),
    /// The ledger's rows cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<io::Error> for BackupError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Short,
            _ => Self::Io(error),
        }
    }
}

// ---- Writing

/// Writes all of `rows` to `out`, with the ledger's key when `seed` is given.
///
/// # Errors
/// Those of storage and of `out`. What was written then is no backup, and [`verify`] says so.
pub fn write(
    rows: &mut dyn Snapshot,
    seed: Option<&Seed>,
    out: &mut dyn Write,
) -> Result<Summary, BackupError> {
    let genesis = rows.get(Table::Meta, b"genesis")?.ok_or(StorageError::failed("there is no ledger"))?;
    let ledger = Genesis::decode(&genesis).map_err(StorageError::from)?.id();
    let clock = clock(rows)?;
    let mut out = Hashing { inner: out, hash: Sha256::new() };
    let header = Writer::new(DOMAIN, VERSION).var(&genesis).u64(clock);
    let header = match seed {
        Some(seed) => header.u8(1).fixed(&seed.0),
        None => header.u8(0),
    };
    out.write_all(&header.finish())?;
    let mut counts = [0_u64; Table::ALL.len()];
    for (at, table) in Table::ALL.into_iter().enumerate() {
        let mut from = Vec::new();
        loop {
            let page = rows.scan(table, &from, PAGE)?;
            for (key, value) in page.iter().filter(|(key, _)| table != Table::Meta || key != NOT_COPIED) {
                let row = Writer::bare().u8(code(at)).var(key).var(value);
                out.write_all(&row.finish())?;
                counts[at] += 1;
            }
            match page.last() {
                Some((last, _)) if page.len() == PAGE => from = key::after(last),
                _ => break,
            }
        }
    }
    let end = counts.iter().fold(Writer::bare().u8(0), |end, count| end.u64(*count));
    out.write_all(&end.finish())?;
    let Hashing { inner, hash } = out;
    inner.write_all(&hash.finalize())?;
    Ok(Summary::of(ledger, clock, &counts, seed.is_some()))
}

impl Summary {
    fn of(ledger: LedgerId, clock: u64, counts: &[u64; Table::ALL.len()], has_key: bool) -> Self {
        let entries = Table::ALL.iter().position(|table| *table == Table::Entry);
        let entries = entries.and_then(|at| counts.get(at)).copied().unwrap_or(0);
        Self { ledger, clock, entries, rows: counts.iter().sum(), has_key }
    }
}

/// The number of a table in a backup; 0 ends the rows.
fn code(at: usize) -> u8 {
    // There are ten tables.
    at as u8 + 1
}

/// The last time that any head names.
fn clock(rows: &mut dyn Snapshot) -> Result<u64, StorageError> {
    let mut clock = 0;
    let mut from = b"head".to_vec();
    loop {
        let page = rows.scan(Table::Meta, &from, PAGE)?;
        for (_, row) in page.iter().filter(|(key, _)| key.starts_with(b"head")) {
            clock = clock.max(Head::read(&mut Reader::bare(row))?.clock);
        }
        match page.last() {
            Some((last, _)) if page.len() == PAGE => from = key::after(last),
            _ => return Ok(clock),
        }
    }
}

/// Hashes what passes through.
struct Hashing<T> {
    inner: T,
    hash: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

// ---- Reading

/// Reads a backup to its end.
///
/// # Errors
/// [`BackupError`] unless every byte is as it was written. What the rows mean is the check's to say.
pub fn verify(from: &mut dyn Read) -> Result<Summary, BackupError> {
    let mut backup = Backup::open(from)?;
    while backup.row()?.is_some() {}
    backup.summary()
}

/// A backup that is being read, row after row.
pub(crate) struct Backup<'a> {
    from: &'a mut dyn Read,
    hash: Sha256,
    pub(crate) genesis: Genesis,
    clock: u64,
    pub(crate) seed: Option<Seed>,
    counts: [u64; Table::ALL.len()],
    whole: bool,
}

impl<'a> Backup<'a> {
    /// Reads what comes before the rows.
    pub(crate) fn open(from: &'a mut dyn Read) -> Result<Self, BackupError> {
        let genesis = Genesis {
            key: farthing_protocol::PublicKey([0; 32]),
            mode: crate::rows::Mode::Open,
            fee_bps: 0,
            fee_recipient: farthing_protocol::PublicKey([0; 32]),
            created_at: 0,
        };
        let counts = [0; Table::ALL.len()];
        let mut backup =
            Self { from, hash: Sha256::new(), genesis, clock: 0, seed: None, counts, whole: false };
        let foreign = |error| match BackupError::from(error) {
            BackupError::Short => BackupError::Foreign,
            other => other,
        };
        let mut domain = [0; 1 + DOMAIN.len()];
        backup.fill(&mut domain).map_err(foreign)?;
        if usize::from(domain[0]) != DOMAIN.len() || domain[1..] != *DOMAIN.as_bytes() {
            return Err(BackupError::Foreign);
        }
        match backup.u8()? {
            VERSION => {}
            0 => return Err(BackupError::Damaged("it has no form")),
            found => return Err(BackupError::Newer { found }),
        }
        let genesis = backup.var(MAX_ROW)?;
        backup.genesis =
            Genesis::decode(&genesis).map_err(|_| BackupError::Damaged("its genesis cannot be read"))?;
        backup.clock = backup.u64()?;
        backup.seed = match backup.u8()? {
            0 => None,
            1 => {
                let mut seed = Seed([0; 32]);
                backup.fill(&mut seed.0)?;
                Some(seed)
            }
            _ => return Err(BackupError::Damaged("nobody knows whether it has a key")),
        };
        Ok(backup)
    }

    /// The next row, or `None` when the end was reached and everything fits.
    pub(crate) fn row(&mut self) -> Result<Option<(Table, Row)>, BackupError> {
        let code = usize::from(self.u8()?);
        if code == 0 {
            self.finish()?;
            return Ok(None);
        }
        let table = Table::ALL.get(code - 1).copied();
        let table = table.ok_or(BackupError::Damaged("it has a table that no ledger has"))?;
        let row = (self.var(MAX_KEY)?, self.var(MAX_VALUE)?);
        self.counts[code - 1] += 1;
        Ok(Some((table, row)))
    }

    fn finish(&mut self) -> Result<(), BackupError> {
        for at in 0..self.counts.len() {
            if self.u64()? != self.counts[at] {
                return Err(BackupError::Damaged("rows are missing"));
            }
        }
        let hash: [u8; HASH] = self.hash.clone().finalize().into();
        let mut written = [0; HASH];
        self.fill(&mut written)?;
        if written != hash {
            return Err(BackupError::Damaged("its SHA-256 is not the one that was written"));
        }
        if self.from.read(&mut [0])? != 0 {
            return Err(BackupError::Damaged("more follows after its end"));
        }
        self.whole = true;
        Ok(())
    }

    /// What it held, once it was read to its end.
    pub(crate) fn summary(&self) -> Result<Summary, BackupError> {
        if !self.whole {
            return Err(BackupError::Short);
        }
        Ok(Summary::of(self.genesis.id(), self.clock, &self.counts, self.seed.is_some()))
    }

    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.from.read_exact(bytes)?;
        self.hash.update(bytes);
        Ok(())
    }

    fn u8(&mut self) -> Result<u8, BackupError> {
        let mut bytes = [0; 1];
        self.fill(&mut bytes)?;
        Ok(bytes[0])
    }

    fn u64(&mut self) -> Result<u64, BackupError> {
        let mut bytes = [0; 8];
        self.fill(&mut bytes)?;
        Ok(u64::from_be_bytes(bytes))
    }

    /// Bytes behind their length, of which no more are asked for than there are.
    fn var(&mut self, limit: usize) -> Result<Vec<u8>, BackupError> {
        let mut length = [0; 4];
        self.fill(&mut length)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > limit {
            return Err(BackupError::Damaged("a field is longer than any can be"));
        }
        let mut bytes = Vec::new();
        Read::take(&mut *self.from, length as u64).read_to_end(&mut bytes)?;
        if bytes.len() != length {
            return Err(BackupError::Short);
        }
        self.hash.update(&bytes);
        Ok(bytes)
    }
}
