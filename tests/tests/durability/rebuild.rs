//! A directory as it may be found after a crash: what was flushed, and of the rest what a seed decides.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use crate::disk::{Body, Change, Content, Disk, Node, ROOT, apply};

/// What becomes of what was not flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Variant {
    /// All of it is lost, in files and in directories.
    Lost,
    /// A part of the writes arrived, in another order; all names did.
    Reordered,
    /// All or a part of the writes arrived, of each file one only in part; all names did.
    Torn,
    /// No write arrived, and a part of the names.
    Names,
    /// All of this at once.
    Storm,
}

pub(crate) const VARIANTS: [Variant; 5] =
    [Variant::Lost, Variant::Reordered, Variant::Torn, Variant::Names, Variant::Storm];

/// Small numbers that look random, and are the same for the same seed.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    /// An index into so many items, of which there is one at least.
    pub(crate) fn index(&mut self, count: usize) -> usize {
        usize::try_from(self.below(count as u64)).expect("less than a usize")
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.index(last + 1));
        }
    }
}

/// Writes the directory to `target`, which is there and empty.
pub(crate) fn rebuild(disk: &Disk<'_>, variant: Variant, seed: u64, target: &Path) -> std::io::Result<()> {
    Builder { disk, variant, dice: Dice::new(seed) }.directory(ROOT, target)
}

struct Builder<'a> {
    disk: &'a Disk<'a>,
    variant: Variant,
    dice: Dice,
}

impl Builder<'_> {
    fn directory(&mut self, node: Node, target: &Path) -> std::io::Result<()> {
        let Body::Directory { durable, pending, .. } = self.disk.node(node) else { return Ok(()) };
        let mut names = durable.clone();
        for (_, naming) in pending {
            let kept = match self.variant {
                Variant::Lost => false,
                Variant::Reordered | Variant::Torn => true,
                Variant::Names | Variant::Storm => self.dice.coin(),
            };
            if kept {
                apply(&mut names, naming);
            }
        }
        for (name, node) in names {
            let path = target.join(name);
            match self.disk.node(node) {
                Body::Socket => drop(UnixListener::bind(&path)?),
                Body::Directory { .. } => {
                    fs::create_dir(&path)?;
                    self.directory(node, &path)?;
                }
                Body::File { durable, pending, mode, .. } => {
                    let content = self.content(durable, pending);
                    let mut file = OpenOptions::new().write(true).create_new(true).mode(*mode).open(&path)?;
                    file.write_all(&content.bytes)?;
                    file.set_len(content.length)?;
                }
            }
        }
        Ok(())
    }

    fn content(&mut self, durable: &Content, pending: &[(u64, Change<'_>)]) -> Content {
        let mut content = durable.clone();
        if matches!(self.variant, Variant::Lost | Variant::Names) || pending.is_empty() {
            return content;
        }
        let torn = self.dice.index(pending.len());
        // Often nothing but the torn one is missing.
        let rest = self.variant == Variant::Torn && self.dice.coin();
        let mut kept: Vec<(bool, &Change<'_>)> = Vec::new();
        for (at, (_, change)) in pending.iter().enumerate() {
            let tear = at == torn && self.variant != Variant::Reordered;
            if tear || rest || self.dice.coin() {
                kept.push((tear, change));
            }
        }
        if self.variant != Variant::Torn {
            // A file's length does not change in another order than it was changed in.
            for run in kept.split_mut(|(_, change)| matches!(change, Change::Resize(_))) {
                self.dice.shuffle(run);
            }
        }
        for (tear, change) in kept {
            match change {
                Change::Write { at, bytes } if tear => self.tear(&mut content, *at, bytes),
                change => content.change(change),
            }
        }
        content
    }

    /// Writes a part of `bytes`.
    fn tear(&mut self, content: &mut Content, at: u64, bytes: &[u8]) {
        let end = at + bytes.len() as u64;
        match self.dice.below(4) {
            // As far as any byte.
            0 => {
                let length = self.dice.index(bytes.len() + 1);
                content.write(at, &bytes[..length]);
            }
            // The length, and zeros.
            1 => content.length = content.length.max(end),
            // Some sectors of the disk, or pages of memory.
            kind => {
                let size = if kind == 2 { 512 } else { 4096 };
                let sectors: BTreeSet<u64> =
                    (at / size..end.div_ceil(size)).filter(|_| self.dice.coin()).collect();
                for sector in sectors {
                    let (from, to) = ((sector * size).max(at), ((sector + 1) * size).min(end));
                    let part = usize::try_from(from - at).unwrap_or(0)..usize::try_from(to - at).unwrap_or(0);
                    content.write(from, &bytes[part]);
                }
            }
        }
    }
}
