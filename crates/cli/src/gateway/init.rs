//! `farthing gateway init`: a file to begin with.

use std::path::Path;

use farthing::gateway::Config;
use farthing::protocol::{Origin, Price};

use crate::Failure;
use crate::args::gateway::InitArgs;
use crate::ledger::file::make;
use crate::style::{print, safe};

/// Runs the command.
pub(super) fn run(options: &InitArgs) -> Result<(), Failure> {
    let refused = |why: String| Failure::bad_input(safe(&why));
    let upstream: Origin =
        options.upstream.parse().map_err(|error| refused(format!("{}: {error}", options.upstream)))?;
    let price = price(&options.price).map_err(refused)?;
    let text = Config::example(&upstream, &price);
    let path = options.config.as_path();
    // What is written is read the way it will be read when it is served.
    let directory = path.parent().unwrap_or(Path::new(""));
    Config::parse(&text, directory).map_err(|error| refused(error.why))?;
    if options.force {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(refused(format!("{}: {error}", path.display())));
            }
            _ => {}
        }
    }
    let written =
        make(path, |out| out.write_all(text.as_bytes()).map_err(|error| error.to_string()), |_| Ok(()));
    written.map_err(refused)?;
    let shown = path.display();
    let config = if path == Path::new("gateway.toml") { String::new() } else { format!(" --config {shown}") };
    let said =
        format!("{shown} charges {price} for each request to {upstream}; next: farthing gateway{config}");
    print(&format!("{}\n", safe(&said))).map_err(Failure::unsound)
}

/// A price; a number alone is in dollars.
fn price(text: &str) -> Result<Price, String> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let text = if is_number { format!("${text}") } else { text.to_owned() };
    text.parse().map_err(|error: farthing::protocol::price::PriceError| error.to_string())
}
