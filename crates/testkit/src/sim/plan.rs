//! What a seed decides before anything happens: who there is, and how bad the weather is.

/// Chances are in a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Links {
    pub(crate) drops: u32,
    pub(crate) doubles: u32,
    pub(crate) delays: u32,
}

/// Where the ledger is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the one server's process.
    Server,
    /// In a facilitator's process, behind a link.
    Facilitator,
    /// In storage that the committers of all servers share.
    Shared,
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Server processes.
    pub(crate) servers: usize,
    pub(crate) place: Place,
    pub(crate) payers: usize,
    /// Logical requests of each payer.
    pub(crate) errands: usize,
    /// Rounds of the hostile payer.
    pub(crate) attacks: usize,
    pub(crate) links: Links,
    /// At each named point.
    pub(crate) crashes: u32,
    pub(crate) stalls: u32,
    /// Of each commit of the ledger.
    pub(crate) failed_commits: u32,
    /// Of each handler run.
    pub(crate) bad_handlers: u32,
    /// Of each errand: its client hangs up in the middle.
    pub(crate) hangs_up: u32,
    /// The ledger's storage can be opened again in the same process.
    pub(crate) recovers: bool,
}

impl Plan {
    /// Each kind of fault is there in most histories and absent in some, so that one never hides another.
    pub(crate) fn draw(random: &mut fastrand::Rng) -> Self {
        let mut often = |most: u32| if random.u32(0..4) == 0 { 0 } else { random.u32(1..=most) };
        let links = Links { drops: often(120), doubles: often(120), delays: often(120) };
        let (crashes, stalls) = (often(20), often(40));
        let (failed_commits, bad_handlers, hangs_up) = (often(40), often(500), often(300));
        let place = [Place::Server, Place::Facilitator, Place::Shared][random.usize(0..3)];
        Self {
            servers: if place == Place::Server { 1 } else { random.usize(1..=3) },
            place,
            payers: random.usize(1..=3),
            errands: random.usize(2..=6),
            attacks: random.usize(0..=4),
            links,
            crashes,
            stalls,
            failed_commits,
            bad_handlers,
            hangs_up,
            recovers: random.bool(),
        }
    }

    /// In one line, for the head of a trace.
    pub(crate) fn words(&self) -> String {
        let place = match self.place {
            Place::Server => "in the server's process",
            Place::Facilitator => "behind a link",
            Place::Shared => "in storage that the servers share",
        };
        format!(
            "{} servers, ledger {place}, {} payers with {} errands, {} attacks; per mille: {} crashes, {} stalls, \
             {} failed commits, {} drops, {} doubles, {} delays, {} bad handlers, {} hang-ups",
            self.servers,
            self.payers,
            self.errands,
            self.attacks,
            self.crashes,
            self.stalls,
            self.failed_commits,
            self.links.drops,
            self.links.doubles,
            self.links.delays,
            self.bad_handlers,
            self.hangs_up
        )
    }
}
