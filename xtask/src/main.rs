//! One place for the set-up, tests, checks and benches of this workspace.
//!
//! `cargo xtask test` runs everything, `cargo xtask lint` holds the house rules, `cargo xtask bench` measures.
//! Each command is one module; [`step`] starts programs and [`workspace`] knows where things are.

mod bench;
mod ignores;
mod interop;
mod lengths;
mod licences;
mod lint;
mod mutants;
mod npm;
mod parts;
mod sans_io;
mod sim;
mod soak;
mod sources;
mod spdx;
mod step;
mod tally;
mod test;
mod versions;
mod workspace;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Sets up, tests, checks and measures the farthing workspace.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask", disable_help_subcommand = true, max_term_width = 100)]
struct Xtask {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    Test(test::Args),
    Lint(lint::Args),
    #[command(subcommand)]
    Bench(bench::Bench),
    Interop(interop::Args),
    Sim(sim::Args),
    Soak(soak::Args),
    Mutants(mutants::Args),
}

fn main() -> ExitCode {
    let result = match Xtask::parse().task {
        Task::Test(args) => test::run(&args),
        Task::Lint(args) => lint::run(&args),
        Task::Bench(bench) => bench::run(&bench),
        Task::Interop(args) => interop::run(&args),
        Task::Sim(args) => sim::run(&args),
        Task::Soak(args) => soak::run(&args),
        Task::Mutants(args) => mutants::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\ncargo xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Xtask;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Xtask::command().debug_assert();
    }
}
