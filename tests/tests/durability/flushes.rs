//! Each reply follows its flush: what the ledger acknowledged was in a journal that was flushed before.

use std::collections::HashMap;
use std::path::Path;

use farthing_tests::line::{Kind, Line};

use crate::disk::Disk;
use crate::recorder::{Call, Recording, Step};

/// Bytes that were written to a journal, or a flush of one, from step to step.
struct Journaled<'a> {
    bytes: Option<&'a [u8]>,
    begun: usize,
    ended: usize,
}

/// Replies that were on their way before the flush of what they acknowledge, and how many replies there were.
pub(crate) fn early(root: &Path, recording: &Recording) -> (Vec<Line>, usize) {
    let mut disk = Disk::new(root, recording);
    let mut begun: HashMap<usize, usize> = HashMap::new();
    let mut journaled: Vec<Journaled<'_>> = Vec::new();
    let mut asked: Vec<(Line, usize)> = Vec::new();
    let (mut early, mut replies) = (Vec::new(), 0);
    for (now, step) in recording.steps.iter().enumerate() {
        disk.follow(step);
        match *step {
            Step::Begin(at) => {
                match &recording.calls[at] {
                    Call::Say { line } => {
                        let Ok(line) = line.parse::<Line>() else { continue };
                        if line.kind == Kind::Open {
                            continue;
                        }
                        if !line.acknowledged {
                            asked.push((line, now));
                            continue;
                        }
                        replies += 1;
                        let since = asked.iter().rev().find(|(asked, _)| asked.granted() == line);
                        let (_, since) = since.expect("what is acknowledged was asked for");
                        if !flushed(&journaled, &line.id, *since) {
                            early.push(line);
                        }
                    }
                    Call::Write { fd, .. } | Call::Sync { fd } => {
                        let journal = |path: &Path| path.extension().is_some_and(|end| end == "jnl");
                        if disk.path(*fd).is_some_and(journal) {
                            begun.insert(at, now);
                        }
                    }
                    _ => {}
                };
            }
            Step::End(at) => {
                if let Some(begun) = begun.remove(&at) {
                    let bytes = match &recording.calls[at] {
                        Call::Write { bytes, .. } => Some(bytes.as_slice()),
                        _ => None,
                    };
                    journaled.push(Journaled { bytes, begun, ended: now });
                }
            }
        }
    }
    (early, replies)
}

/// Whether `id` was journaled after `since` and flushed after that.
fn flushed(journaled: &[Journaled<'_>], id: &[u8; 32], since: usize) -> bool {
    let recent = || journaled.iter().filter(|journaled| journaled.begun > since);
    recent().filter(|journaled| journaled.bytes.is_none()).any(|flush| {
        let before = recent().filter(|journaled| journaled.ended < flush.begun);
        let bytes: Vec<u8> = before.filter_map(|journaled| journaled.bytes).flatten().copied().collect();
        bytes.windows(id.len()).any(|window| window == id)
    })
}
