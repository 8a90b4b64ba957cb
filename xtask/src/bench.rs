//! `cargo xtask bench`: the measurements behind the design decisions.

use crate::step::{self, Fallible};
use crate::{interop, npm, parts, workspace};

/// Where figures are kept.
const RESULTS: &str = "docs/bench/RESULTS.md";
/// Where the figures of the EVM rail are kept.
const EVM: &str = "docs/bench/EVM.md";
/// Where the ledger's figures are kept.
const LEDGER: &str = "docs/bench/LEDGER.md";

/// Measures on this machine what the design decisions rest on.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Bench {
    /// Compares embedded storage engines on the ledger's own row shapes.
    ///
    /// The bench is a crate of its own outside the workspace, so that the engines that were not chosen never enter
    /// the dependency tree of farthing.
    Engines {
        /// Passed to the bench as they are; its `src/main.rs` names them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Measures verifications and paid calls on a private chain, beside the TypeScript reference.
    ///
    /// A full run replaces the figures in docs/bench/EVM.md.
    Evm {
        /// Passed to the bench as they are; `cargo xtask bench evm -- --help` names them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Measures durable payments per second of each of the ledger's engines.
    ///
    /// A full run replaces its section of docs/bench/LEDGER.md.
    Ledger {
        /// Passed to the bench as they are; `cargo xtask bench ledger -- --help` names them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Compares paid requests with free ones, on one handler in one run.
    ///
    /// A full run replaces its section of docs/bench/RESULTS.md.
    Pay {
        /// Passed to the bench as they are; `cargo xtask bench pay -- --help` names them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

/// # Errors
/// When the bench cannot be built or fails.
pub(crate) fn run(bench: &Bench) -> Fallible {
    let root = workspace::root()?;
    match bench {
        Bench::Engines { arguments } => step::run(
            step::cargo(&root)
                .args(["run", "--release", "--manifest-path", "xtask/engine-bench/Cargo.toml", "--"])
                .args(arguments),
        ),
        Bench::Evm { arguments } => {
            parts::set_up()?;
            npm::contracts(&root)?;
            let reference = interop::node(&root, &root.join("tests/interop/node"))?;
            step::run(
                step::cargo(&root)
                    .args(["run", "--release", "--package", "farthing-evm-bench", "--"])
                    .args(["--results", EVM, "--reference"])
                    .arg(reference)
                    .args(arguments),
            )
        }
        Bench::Ledger { arguments } => step::run(
            step::cargo(&root)
                .args(["run", "--release", "--package", "farthing-ledger-bench", "--"])
                .args(["--directory", "target", "--results", LEDGER])
                .args(arguments),
        ),
        Bench::Pay { arguments } => step::run(
            step::cargo(&root)
                .args(["run", "--release", "--package", "farthing-pay-bench", "--"])
                .args(["--results", RESULTS])
                .args(arguments),
        ),
    }
}
