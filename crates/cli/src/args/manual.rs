//! The command line of `farthing completions` and `farthing man`.

use std::path::PathBuf;

use clap_complete::Shell;

pub(super) const COMPLETIONS_AFTER: &str = "\
EXAMPLES
  farthing completions bash > farthing.bash
  farthing completions zsh > _farthing
  farthing completions fish > farthing.fish

Put the file where your shell looks for completions, or source it.

EXIT STATUS
  0  The completions were printed.
  2  The shell is not known.";

/// Options of `farthing completions`.
#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: Shell,
}

pub(super) const MAN_AFTER: &str = "\
EXAMPLES
  farthing man > farthing.1
  farthing man --out ./man

EXIT STATUS
  0  The pages were written.
  2  The directory cannot be written.";

/// Options of `farthing man`.
#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// Write a page for each command into this directory, which is made if it is not there
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

/// What is laid out by hand.
#[cfg(test)]
pub(super) const LAID_OUT: [&str; 2] = [COMPLETIONS_AFTER, MAN_AFTER];
