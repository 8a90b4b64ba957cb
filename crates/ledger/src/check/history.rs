//! The entries of all chains, in the order of their positions.

use std::collections::{BTreeMap, VecDeque};

use farthing_protocol::layout::Reader;

use super::{PAGE, Scan};
use crate::entry::Entry;
use crate::rows::{Table, key};

/// An entry's row.
type Row = (Vec<u8>, Vec<u8>);

/// A merge of all chains.
pub(crate) struct History {
    chains: BTreeMap<u32, Chain>,
    /// Chains that have entries and no head.
    pub(crate) strays: u64,
}

/// What of a chain has been read and not been given out.
struct Chain {
    page: VecDeque<(u64, Row)>,
    /// Where the next page begins; `None` behind the last.
    next: Option<Vec<u8>>,
}

impl History {
    /// All chains that have a head in `meta`. Chain 0 always is.
    pub(crate) fn open<E>(scan: Scan<'_, E>, meta: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<Self, E> {
        let number = |row: &Vec<u8>| {
            let chain = row.strip_prefix(b"head/")?;
            let mut from = Reader::bare(chain);
            from.u32().ok().filter(|chain| *chain > 0 && from.finish().is_ok())
        };
        let mut chains = BTreeMap::new();
        for chain in std::iter::once(0).chain(meta.keys().filter_map(number)) {
            let begin = if chain == 0 { Vec::new() } else { key::entry(chain, 0) };
            chains.insert(chain, Chain { page: VecDeque::new(), next: Some(begin) });
        }
        let strays = strays(scan, &chains)?;
        Ok(Self { chains, strays })
    }

    /// The numbers of the chains.
    pub(crate) fn chains(&self) -> impl Iterator<Item = u32> + use<> {
        self.chains.keys().copied().collect::<Vec<_>>().into_iter()
    }

    /// The next entry. One that cannot be read comes as early as it can.
    pub(crate) fn next<E>(&mut self, scan: Scan<'_, E>) -> Result<Option<Row>, E> {
        let mut first: Option<(u64, u32)> = None;
        for (number, chain) in &mut self.chains {
            if chain.page.is_empty() {
                chain.fill(scan, *number)?;
            }
            let place = chain.page.front().map(|(position, _)| (*position, *number));
            first = [first, place].into_iter().flatten().min();
        }
        let chain = first.and_then(|(_, number)| self.chains.get_mut(&number));
        Ok(chain.and_then(|chain| chain.page.pop_front()).map(|(_, row)| row))
    }
}

impl Chain {
    fn fill<E>(&mut self, scan: Scan<'_, E>, number: u32) -> Result<(), E> {
        let Some(from) = self.next.take() else { return Ok(()) };
        let end = key::entries_end(number);
        let rows = scan(Table::Entry, &from, PAGE)?;
        if rows.len() == PAGE {
            self.next = rows.last().map(|(last, _)| [last.as_slice(), &[0]].concat());
        }
        for (key, bytes) in rows {
            if key >= end {
                self.next = None;
                break;
            }
            let position = Entry::decode(&bytes).map_or(0, |entry| entry.position);
            self.page.push_back((position, (key, bytes)));
        }
        Ok(())
    }
}

/// Looks behind the end of each chain for entries of one that is not known.
fn strays<E>(scan: Scan<'_, E>, chains: &BTreeMap<u32, Chain>) -> Result<u64, E> {
    let known = |key: &[u8]| key::entry_of(key).is_some_and(|(chain, _)| chains.contains_key(&chain));
    let mut strays = 0;
    for chain in chains.keys() {
        let behind = scan(Table::Entry, &key::entries_end(*chain), 1)?;
        strays += behind.iter().filter(|(key, _)| !known(key)).count() as u64;
    }
    Ok(strays)
}
