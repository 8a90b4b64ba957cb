//! The cells of the grid: who pays whom, through whom, how, and what is expected; and what is left out, with reasons.

use std::fmt;

use farthing_testkit::anvil;

/// Declares one side of the grid: its values and what they are called in the names of cells.
macro_rules! side {
    ($(#[$doc:meta])* $name:ident { $($value:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name { $($value),+ }

        impl $name {
            /// Every value.
            pub(crate) const ALL: &[Self] = &[$(Self::$value),+];
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$value => $text),+ })
            }
        }
    };
}

side!(
    /// The version of x402.
    Version { V2 = "v2", V1 = "v1" }
);
side!(
    /// The scheme and how the token moves, as names of cells have it.
    Method {
        Eip3009 = "exact",
        Permit2 = "exact-permit2",
        Eip2612 = "exact-permit2-eip2612",
        Erc20 = "exact-permit2-erc20",
        Upto = "upto",
    }
);
side!(
    /// Who pays.
    Client { Fetch = "fetch", Httpx = "httpx", Fetch1 = "fetch1", Farthing = "farthing" }
);
side!(
    /// Who sells.
    Server { Express = "express", Hono = "hono", Fastapi = "fastapi", Express1 = "express1", Farthing = "farthing" }
);
side!(
    /// Who settles.
    Facilitator { Typescript = "typescript", Python = "python", Farthing = "farthing" }
);
side!(
    /// What the client does.
    Case {
        Pays = "pays",
        WrongAmount = "wrong-amount",
        WrongPayee = "wrong-payee",
        Expired = "expired",
        Replayed = "replayed",
        Underfunded = "underfunded",
    }
);

/// One cell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    /// The version of x402.
    pub(crate) version: Version,
    /// The scheme.
    pub(crate) method: Method,
    /// Who pays.
    pub(crate) client: Client,
    /// Who sells.
    pub(crate) server: Server,
    /// Who settles.
    pub(crate) facilitator: Facilitator,
    /// What the client does.
    pub(crate) case: Case,
}

/// version-namespace-scheme-client-server-facilitator, and what is refused.
impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, method, client, server, facilitator, case } = self;
        write!(f, "{version}-eip155-{method}-{client}-{server}-{facilitator}")?;
        if *case == Case::Pays { Ok(()) } else { write!(f, "-{case}") }
    }
}

/// Cells that cannot be green, because one of the reference's programs does not do that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LeftOut {
    /// Which, for people.
    pub(crate) what: &'static str,
    /// Why.
    pub(crate) why: &'static str,
    /// Whether a cell is one of them.
    covers: fn(&Cell) -> bool,
}

/// Everything that is left out. The first row that covers a cell counts.
pub(crate) const LEFT_OUT: &[LeftOut] = &[
    LeftOut {
        what: "v1 with all but exact",
        why: "version 1 knows the scheme exact with EIP-3009 only",
        covers: |cell| cell.version == Version::V1 && cell.method != Method::Eip3009,
    },
    LeftOut {
        what: "v1 with the servers express, hono, fastapi",
        why: "the reference's servers of version 2 answer no client of version 1",
        covers: |cell| {
            let newer = [Server::Express, Server::Hono, Server::Fastapi];
            cell.version == Version::V1 && newer.contains(&cell.server)
        },
    },
    LeftOut {
        what: "v2 with the client fetch1 or the server express1",
        why: "the legacy packages speak version 1 only",
        covers: |cell| {
            let older = cell.client == Client::Fetch1 || cell.server == Server::Express1;
            cell.version == Version::V2 && older
        },
    },
    LeftOut {
        what: "v1 between the clients fetch, httpx, farthing and the server farthing",
        why: "both speak version 2 and choose it; only a client that lies chooses by itself",
        covers: |cell| {
            let newer = cell.client != Client::Fetch1 && cell.server == Server::Farthing;
            cell.version == Version::V1 && newer && matches!(cell.case, Case::Pays | Case::Underfunded)
        },
    },
    LeftOut {
        what: "refusals with exact-permit2-eip2612 and exact-permit2-erc20",
        why: "they are those of exact-permit2: only the approval is different",
        covers: |cell| cell.case != Case::Pays && matches!(cell.method, Method::Eip2612 | Method::Erc20),
    },
    LeftOut {
        what: "wrong-amount, wrong-payee, expired, replayed with clients other than fetch",
        why: "one client lies for all: it is the server and the facilitator that refuse",
        covers: |cell| !matches!(cell.case, Case::Pays | Case::Underfunded) && cell.client != Client::Fetch,
    },
];

impl Cell {
    /// Every combination there is.
    pub(crate) fn all() -> Vec<Self> {
        let mut cells = Vec::new();
        for &version in Version::ALL {
            for &case in Case::ALL {
                for &method in Method::ALL {
                    for &facilitator in Facilitator::ALL {
                        for &server in Server::ALL {
                            for &client in Client::ALL {
                                cells.push(Self { version, method, client, server, facilitator, case });
                            }
                        }
                    }
                }
            }
        }
        cells
    }

    /// Why this cell is not run, if it is not.
    pub(crate) fn left_out(&self) -> Option<&'static LeftOut> {
        LEFT_OUT.iter().find(|row| (row.covers)(self))
    }

    /// The token that pays.
    pub(crate) fn token(&self) -> &'static str {
        if self.method == Method::Erc20 { anvil::PLAIN } else { anvil::USDC }
    }

    /// The path that sells by this cell's scheme.
    pub(crate) fn path(&self) -> &'static str {
        match self.method {
            Method::Eip3009 => "/eip3009",
            Method::Permit2 => "/permit2",
            Method::Eip2612 => "/eip2612",
            Method::Erc20 => "/erc20",
            Method::Upto => "/upto",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Case, Cell, Client, Facilitator, LEFT_OUT, Server};

    #[test]
    fn a_cell_is_named_by_its_version_namespace_scheme_and_who_takes_part() {
        let names: Vec<_> = Cell::all().iter().map(ToString::to_string).collect();
        for name in [
            "v2-eip155-exact-farthing-express-farthing",
            "v2-eip155-exact-permit2-fetch-farthing-typescript",
            "v1-eip155-exact-fetch-farthing-python-replayed",
        ] {
            assert_eq!(names.iter().filter(|it| *it == name).count(), 1, "{name}");
        }
    }

    #[test]
    fn every_reason_leaves_something_out_and_farthing_is_everywhere() {
        let (left_out, run): (Vec<_>, Vec<_>) =
            Cell::all().into_iter().partition(|it| it.left_out().is_some());
        for row in LEFT_OUT {
            assert!(left_out.iter().any(|cell| cell.left_out().is_some_and(|by| by.what == row.what)));
        }
        // In version 2 nothing is left out of what farthing takes part in, but lies of other clients.
        for cell in left_out.iter().filter(|cell| cell.case == Case::Pays) {
            let legacy = cell.client == Client::Fetch1 || cell.server == Server::Express1;
            assert!(legacy || cell.version == super::Version::V1, "{cell}");
        }
        assert!(
            run.iter()
                .any(|cell| cell.facilitator == Facilitator::Farthing && cell.server == Server::Express1)
        );
    }
}
