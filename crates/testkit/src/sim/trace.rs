//! What happened, line by line, in plain words; and a hash of it, by which two histories are compared.

use farthing::protocol::digest::sha256;

/// The lines of one history. Payments are called P1, P2 and so on, in the order in which they were seen; no
/// signature and no key is ever written.
#[derive(Clone, Debug)]
pub struct Trace {
    lines: Option<Vec<String>>,
    hash: [u8; 32],
    count: u64,
}

impl Trace {
    pub(crate) fn new(keep: bool) -> Self {
        Self { lines: keep.then(Vec::new), hash: [0; 32], count: 0 }
    }

    /// Adds a line. `at` is in milliseconds.
    pub(crate) fn line(&mut self, at: u64, who: &str, what: &str) {
        let line = format!("{:>8}.{:03} s  {who:<14} {what}", at / 1000, at % 1000);
        let mut bytes = self.hash.to_vec();
        bytes.extend_from_slice(line.as_bytes());
        self.hash = sha256(&bytes);
        self.count += 1;
        if let Some(lines) = &mut self.lines {
            lines.push(line);
        }
    }

    /// The lines, when they were kept.
    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }

    /// Hash of all lines, as hex.
    pub fn hash(&self) -> String {
        self.hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// How many lines there were.
    pub fn count(&self) -> u64 {
        self.count
    }
}
