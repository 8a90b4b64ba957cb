//! Floods: unpaid requests and refused payments must leave memory and disk as they are.

use crate::Result;
use crate::case::Case;
use crate::measure::round;
use crate::requests::Payers;
use crate::server::Server;

/// Requests that are signed and sent at once.
const PORTION: usize = 20_000;
/// A flood that is smaller than this is not judged.
const JUDGED: usize = 10_000;
/// Bytes by which memory may grow: what an allocator keeps, not what a request leaves.
const MEMORY: u64 = 16 << 20;
/// Bytes by which the disk may grow: the ledger writes down its clock once a second.
const DISK: u64 = 4 << 20;

/// What one flood left behind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flood {
    pub(crate) case: Case,
    pub(crate) requests: usize,
    /// Bytes resident before and after.
    pub(crate) memory: (u64, u64),
    /// Bytes on disk before and after.
    pub(crate) disk: (u64, u64),
}

/// Floods a fresh server with `requests` unpaid requests, then with as many refused payments.
///
/// # Errors
/// When one is answered otherwise, runs a handler or moves money, or memory or disk grow.
pub(crate) fn run(requests: usize, connections: usize) -> Result<Vec<Flood>> {
    if requests == 0 {
        return Ok(Vec::new());
    }
    let server = Server::start(false)?;
    round(&Payers::connect(Case::Exact, &server)?, Case::Exact, &server, PORTION.min(requests), connections)?;
    [Case::Unpaid, Case::Refused]
        .map(|case| flood(case, &server, requests, connections))
        .into_iter()
        .collect()
}

fn flood(case: Case, server: &Server, requests: usize, connections: usize) -> Result<Flood> {
    let payers = Payers::connect(case, server)?;
    let send = |mut left: usize| -> Result {
        while left > 0 {
            let portion = left.min(PORTION);
            round(&payers, case, server, portion, connections)?;
            left -= portion;
            if requests > PORTION {
                eprint!("\r{case}: {left} left  ");
            }
        }
        Ok(())
    };
    // The first portion fills what is filled once: connections, caches, the allocator's pages.
    send(requests.min(PORTION))?;
    let before = (server.memory()?, server.disk()?);
    send(requests)?;
    let after = (server.memory()?, server.disk()?);
    let flood = Flood { case, requests, memory: (before.0, after.0), disk: (before.1, after.1) };
    let grew = after.0 > before.0 + MEMORY || after.1 > before.1 + DISK;
    if grew && requests >= JUDGED {
        return Err(format!("a flood left something behind: {flood:?}").into());
    }
    Ok(flood)
}
