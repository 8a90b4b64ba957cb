//! Where the time goes: a perf profile of the server while it serves one case, by component.

use std::process::{Command, Stdio};

use crate::case::Case;
use crate::load;
use crate::requests::Payers;
use crate::server::Server;
use crate::{Args, Result};

/// Seconds that are profiled.
const SECONDS: usize = 4;
/// Requests of the round that tells how many are needed.
const TRIAL: usize = 10_000;

/// Shares of the server's CPU time, in percent, the largest first.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    pub(crate) case: Case,
    pub(crate) shares: Vec<(&'static str, f64)>,
    /// The symbols that take most.
    pub(crate) symbols: Vec<(String, f64)>,
}

/// A component, and what its symbols contain. The first that fits is it.
const COMPONENTS: [(&str, &[&str]); 10] = [
    ("signatures", &["curve25519_dalek", "ed25519"]),
    ("hashes", &["sha2", "sha256", "sha512", "digest::"]),
    ("JSON, base64, hex", &["serde", "base64", "hex::", "itoa", "RawValue", "farthing_protocol::json"]),
    (
        "storage engine",
        &["fjall", "lsm_tree", "sfa::", "value_log", "quick_cache", "crossbeam_skiplist", "xxh"],
    ),
    ("farthing: ledger", &["farthing_ledger"]),
    ("farthing: the rest", &["farthing_"]),
    (
        "HTTP",
        &["hyper", "axum", "http::", "http_body", "httparse", "tower", "matchit", "httpdate", "reqwest"],
    ),
    (
        "memory",
        &[
            "malloc",
            "cfree",
            "realloc",
            "free",
            "memmove",
            "memcpy",
            "memset",
            "memcmp",
            "unlink_chunk",
            "mi_",
        ],
    ),
    ("runtime", &["tokio", "mio", "parking_lot", "futures", "tracing", "core::", "alloc::", "std::"]),
    ("the rest", &[""]),
];

/// Profiles a server of its own.
///
/// # Errors
/// When perf is not there or may not look.
pub(crate) fn take(case: Case, args: &Args) -> Result<Profile> {
    let server = Server::start(case == Case::ExactRemote)?;
    let payers = Payers::connect(case, &server)?;
    let trial = payers.requests(TRIAL, &server)?;
    let rate = load::drive(case, &server, &trial, TRIAL, args.connections)?.rate;
    let count = (rate * (SECONDS + 1) as f64) as usize;
    let requests = payers.requests(count, &server)?;

    let directory = tempfile::tempdir()?;
    let data = args.perf_data.clone().unwrap_or_else(|| directory.path().join("perf.data"));
    let mut record = Command::new("perf");
    let how: &[&str] = match args.perf_data {
        Some(_) => &["-F", "499", "--call-graph", "dwarf,8192"],
        None => &["-F", "1999"],
    };
    record.arg("record").args(how).arg("-o").arg(&data).arg("-p").arg(server.child.id().to_string());
    let mut record = record.args(["--", "sleep", &SECONDS.to_string()]).stdout(Stdio::null()).spawn()?;
    load::drive(case, &server, &requests, count, args.connections)?;
    if !record.wait()?.success() {
        return Err("perf record failed".into());
    }
    let mut report = Command::new("perf");
    report
        .args(["report", "--stdio", "--no-children", "-F", "overhead,symbol", "-g", "none", "-i"])
        .arg(&data);
    let report = report.stderr(Stdio::null()).output()?;
    Ok(read(case, &String::from_utf8_lossy(&report.stdout)))
}

/// Adds up the lines of `perf report`: `12.34%  [.] symbol`.
fn read(case: Case, report: &str) -> Profile {
    let mut shares: Vec<(&'static str, f64)> = std::iter::once("kernel")
        .chain(COMPONENTS.iter().map(|(name, _)| *name))
        .map(|name| (name, 0.0))
        .collect();
    let mut symbols = Vec::new();
    for line in report.lines().filter(|line| !line.starts_with('#')) {
        let Some((percent, rest)) = line.trim().split_once('%') else { continue };
        let Ok(percent) = percent.trim().parse::<f64>() else { continue };
        let (place, symbol) = rest.trim().split_once(' ').unwrap_or(("", rest));
        let of = COMPONENTS.iter().find(|(_, parts)| parts.iter().any(|part| symbol.contains(part)));
        let name = if place == "[k]" { "kernel" } else { of.map_or("the rest", |(name, _)| name) };
        shares
            .iter_mut()
            .filter(|(component, _)| *component == name)
            .for_each(|(_, share)| *share += percent);
        symbols.push((format!("{place} {}", symbol.trim()), percent));
    }
    shares.sort_by(|one, other| other.1.total_cmp(&one.1));
    symbols.sort_by(|one, other| other.1.total_cmp(&one.1));
    symbols.truncate(60);
    Profile { case, shares, symbols }
}

#[cfg(test)]
mod tests {
    use super::{Case, read};

    #[test]
    fn a_report_is_added_up_by_component() {
        let report = "# Overhead  Symbol\n    40.50%  [.] curve25519_dalek::edwards::mul\n     9.50%  [k] tcp_sendmsg\n\
                      \n     2.00%  [.] <farthing_ledger::rows::Payment>::decode\n     1.00%  [.] ed25519_dalek::sign\n";
        let profile = read(Case::Exact, report);
        assert_eq!(profile.shares[..3], [("signatures", 41.5), ("kernel", 9.5), ("farthing: ledger", 2.0)]);
        assert_eq!(profile.symbols.len(), 4);
    }
}
