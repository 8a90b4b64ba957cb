//! `farthing gateway`: charges for each request in front of any HTTP server. `spec/gateway.md` describes it.

mod init;

use std::io::Write as _;

use farthing::Error;
use farthing::gateway::{Config, ConfigError, Gateway, Line};
use serde_json::json;

use crate::Failure;
use crate::args::gateway::{GatewayArgs, GatewayCommand, ServeArgs};
use crate::stop::Stop;
use crate::style::{BAD, GOOD, QUIET, TITLE, ascii_json, paint, print, safe};

/// Runs the command.
pub(crate) fn run(options: &GatewayArgs) -> Result<(), Failure> {
    if let Some(GatewayCommand::Init(options)) = &options.command {
        return init::run(options);
    }
    let options = &options.serve;
    let config = Config::read(&options.config).map_err(|error| absent(options, &error))?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::unsound)?;
    match options.check {
        true => runtime.block_on(check(options, &config)),
        false => runtime.block_on(serve(options, config)),
    }
}

/// A file that is not there is no riddle.
fn absent(options: &ServeArgs, error: &ConfigError) -> Failure {
    match options.config.try_exists() {
        Ok(false) => {
            let begin = "write one with `farthing gateway init URL --price 0.01`";
            Failure::bad_input(safe(&format!("there is no {}: {begin}", options.config.display())))
        }
        _ => Failure::bad_input(safe(&error.to_string())),
    }
}

async fn check(options: &ServeArgs, config: &Config) -> Result<(), Failure> {
    let findings = config.check().await;
    let is_sound = findings.iter().all(|finding| finding.found.is_ok());
    let mut text = String::new();
    for finding in &findings {
        text += &match options.json {
            true => {
                let (Ok(said) | Err(said)) = &finding.found;
                let line = json!({ "what": finding.what, "ok": finding.found.is_ok(), "found": said });
                ascii_json(&line.to_string())
            }
            false => {
                let (style, word) = if finding.found.is_ok() { (GOOD, "ok") } else { (BAD, "no") };
                format!("{} {}", paint(style, word), safe(&finding.to_string()))
            }
        };
        text.push('\n');
    }
    print(&text).map_err(Failure::unsound)?;
    match is_sound {
        true => Ok(()),
        false => Err(Failure::unsound(safe(&format!("{} cannot be served", config.path().display())))),
    }
}

async fn serve(options: &ServeArgs, config: Config) -> Result<(), Failure> {
    let stop = Stop::listen()?;
    let gateway = tokio::select! {
        gateway = Gateway::build(config) => gateway.map_err(failed)?,
        () = stop.wanted() => return Ok(()),
    };
    let listener = gateway.bind().await.map_err(|error| failed(error.into()))?;
    let scheme = if gateway.config().is_encrypted() { "https" } else { "http" };
    let address = format!("{scheme}://{}", listener.local_addr().map_err(Failure::unsound)?);
    print(&begun(options, &gateway, &address)).map_err(Failure::unsound)?;
    let json = options.json;
    let served = gateway.on_request(move |line| tell(line, json));
    served.serve(listener, async move { stop.wanted().await }).await.map_err(failed)
}

fn begun(options: &ServeArgs, gateway: &Gateway, address: &str) -> String {
    let (config, payee) = (gateway.config(), gateway.payee().to_string());
    let network = gateway.ledger().ledger().id().network().to_string();
    let (origin, upstream) = (config.origin().to_string(), config.upstream().to_string());
    if options.json {
        let line = json!({
            "listening": address, "origin": origin, "upstream": upstream, "payee": payee, "network": network,
        });
        return format!("{}\n", ascii_json(&line.to_string()));
    }
    let mut text = format!("{} {address} in front of {}\n", paint(TITLE, "Listening on"), safe(&upstream),);
    if !address.ends_with(origin.trim_start_matches("http://").trim_start_matches("https://")) {
        text += &format!("{}\n", paint(QUIET, format!("Clients reach it at {}", safe(&origin))));
    }
    text += &format!("{}\n", paint(QUIET, format!("Paid to {payee} on {network}")));
    for route in config.routes() {
        text += &format!("  {}\n", safe(&route));
    }
    text + "Press ctrl-c to stop.\n"
}

/// One line. A reader that has gone away does not stop the gateway.
fn tell(line: &Line<'_>, json: bool) {
    let text = match json {
        true => ascii_json(&line.to_json().to_string()),
        false => line.to_string(),
    };
    let _ = writeln!(anstream::stdout().lock(), "{text}");
}

fn failed(error: Error) -> Failure {
    let why = safe(&error.to_string());
    match error {
        Error::Gateway(_) => Failure::bad_input(why),
        _ => Failure::unsound(why),
    }
}
