//! `farthing completions` and `farthing man`: generated from the command line itself.

use clap::CommandFactory;

use crate::Failure;
use crate::args::Args;
use crate::args::manual::{CompletionsArgs, ManArgs};
use crate::style::{print, safe};

/// Runs `farthing completions`.
pub(crate) fn completions(options: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Args::command(), "farthing", &mut script);
    let script = String::from_utf8(script).map_err(Failure::unsound)?;
    print(&script).map_err(Failure::unsound)
}

/// Runs `farthing man`.
pub(crate) fn man(options: &ManArgs) -> Result<(), Failure> {
    let command = Args::command();
    let Some(directory) = &options.out else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page).map_err(Failure::unsound)?;
        let page = String::from_utf8(page).map_err(Failure::unsound)?;
        return print(&page).map_err(Failure::unsound);
    };
    let shown = safe(&directory.display().to_string());
    let cannot = |error: std::io::Error| Failure::bad_input(format!("{shown}: {error}"));
    std::fs::create_dir_all(directory).map_err(cannot)?;
    clap_mangen::generate_to(command, directory).map_err(cannot)?;
    print(&format!("The pages are in {shown}: try man -l {shown}/farthing.1\n")).map_err(Failure::unsound)
}
