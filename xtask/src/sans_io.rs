//! Proof that the pure crates cannot do I/O.
//!
//! Three checks. Their dependency tree holds only crates that were looked at and are listed here with what they are
//! for. Clippy, with the list of forbidden calls in `crates/protocol/clippy.toml`, finds none in their library code,
//! and no `#[allow]` can overrule it. And that list is known to work: planted calls in a throw-away crate are found.

use crate::step::{self, Fallible};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A crate that may not do I/O, with the features that are held to it.
#[derive(Debug)]
struct Pure {
    package: &'static str,
    features: &'static str,
}

const PURE: &[Pure] = &[
    Pure { package: "farthing-protocol", features: "--all-features" },
    // Without features the ledger is its pure core; engines are what the features add.
    Pure { package: "farthing-ledger", features: "--no-default-features" },
];

/// The directory whose `clippy.toml` lists what pure code may not call.
const FORBIDDEN: &str = "crates/protocol";

/// The clippy lints that read that list.
pub(crate) const LINTS: [&str; 3] =
    ["clippy::disallowed_methods", "clippy::disallowed_macros", "clippy::disallowed_types"];

/// Every crate that a pure crate may contain, and why it does no I/O or is trusted not to be asked for it.
/// Macros that run in the compiler are not part of the tree.
const ALLOWED: &[(&str, &[&str])] = &[
    ("our own words", &["farthing-protocol", "farthing-ledger"]),
    (
        "JSON to types and back, from slices only",
        &["serde", "serde_core", "serde_json", "itoa", "memchr", "zmij"],
    ),
    ("bytes to text and back", &["base64", "bs58", "hex"]),
    ("error enums", &["thiserror"]),
    ("SHA-2", &["sha2", "digest", "block-buffer", "crypto-common", "hybrid-array", "typenum", "const-oid"]),
    (
        "ed25519; its generators of keys need a random source that is not compiled in",
        &["curve25519-dalek", "ed25519", "ed25519-dalek", "fiat-crypto", "signature", "subtle", "zeroize"],
    ),
    (
        "compile-time choices, and what the processor can do; libc only for that question",
        &["cfg-if", "cpufeatures", "libc"],
    ),
    (
        "URLs and host names, with tables that are compiled in",
        &[
            "url",
            "form_urlencoded",
            "percent-encoding",
            "idna",
            "idna_adapter",
            "icu_collections",
            "icu_locale_core",
            "icu_normalizer",
            "icu_normalizer_data",
            "icu_properties",
            "icu_properties_data",
            "icu_provider",
            "litemap",
            "potential_utf",
            "smallvec",
            "stable_deref_trait",
            "tinystr",
            "utf8_iter",
            "utf_types",
            "writeable",
            "yoke",
            "zerofrom",
            "zerotrie",
            "zerovec",
        ],
    ),
];

/// # Errors
/// What a pure crate depends on or calls and may not.
pub(crate) fn check(root: &Path) -> Fallible {
    let mut findings = Vec::new();
    for pure in PURE {
        findings.extend(listed(root, pure).err());
        findings.extend(calls(root, pure).err());
    }
    findings.extend(planted_calls_are_found(root).err());
    if findings.is_empty() { Ok(()) } else { Err(findings.join("\n")) }
}

/// The dependency tree of a pure crate against the list.
fn listed(root: &Path, pure: &Pure) -> Fallible {
    let Pure { package, features } = pure;
    let strangers = strangers(&tree(root, pure)?);
    if strangers.is_empty() {
        println!("{package}: its dependency tree is as listed");
        return Ok(());
    }
    Err(format!(
        "{package} would contain {}: see `cargo tree -p {package} {features} -e normal -i <crate>`; a crate that does \
         no I/O is added, with its purpose, to ALLOWED in xtask/src/sans_io.rs",
        strangers.join(", ")
    ))
}

/// What cargo would compile into the crate on any platform.
///
/// `cargo tree` and not `cargo metadata`: the latter mixes in the features that other members of the workspace turn on.
fn tree(root: &Path, pure: &Pure) -> Fallible<String> {
    step::read(step::cargo(root).args([
        "tree",
        "--quiet",
        "--package",
        pure.package,
        pure.features,
        "--edges",
        "normal,no-proc-macro",
        "--target",
        "all",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ]))
}

/// The crates of a tree, one `name version ...` a line, that are not in the list.
fn strangers(tree: &str) -> Vec<String> {
    let names: BTreeSet<_> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let allowed: BTreeSet<_> = ALLOWED.iter().flat_map(|(_, names)| *names).copied().collect();
    names.difference(&allowed).map(ToString::to_string).collect()
}

/// Clippy's verdict on the library code alone; `forbid`, so that no attribute in the code can allow a call.
fn calls(root: &Path, pure: &Pure) -> Fallible {
    let mut command = step::cargo(root);
    command.env("CLIPPY_CONF_DIR", root.join(FORBIDDEN));
    command.args(["clippy", "--quiet", "--package", pure.package, pure.features, "--lib", "--"]);
    // Other warnings are the clippy check's business; without its features a crate has code that nobody calls.
    command.args(["-A", "warnings"]);
    for lint in LINTS {
        command.args(["-F", lint]);
    }
    step::run(&mut command)?;
    println!("{}: it calls nothing that reaches outside", pure.package);
    Ok(())
}

/// Calls that clippy must find, one from each family of the list, with the lint that finds it.
const PLANTED: &[(&str, &str)] = &[
    ("std::time::SystemTime::now()", "disallowed_methods"),
    ("std::time::Instant::now()", "disallowed_methods"),
    ("std::fs::read(\"x\")", "disallowed_methods"),
    ("std::fs::File::open(\"x\")", "disallowed_types"),
    ("std::path::Path::new(\"x\").exists()", "disallowed_methods"),
    ("std::net::TcpStream::connect(\"[::1]:1\")", "disallowed_types"),
    ("std::net::ToSocketAddrs::to_socket_addrs(\"localhost:1\").is_ok()", "disallowed_methods"),
    ("std::env::var(\"X\")", "disallowed_methods"),
    ("std::thread::sleep(std::time::Duration::ZERO)", "disallowed_methods"),
    ("std::thread::spawn(|| ())", "disallowed_methods"),
    ("std::process::Command::new(\"x\")", "disallowed_types"),
    ("std::process::id()", "disallowed_methods"),
    ("std::io::stdin()", "disallowed_methods"),
    ("println!(\"x\")", "disallowed_macros"),
    ("dbg!(1)", "disallowed_macros"),
];

/// Builds a throw-away workspace that is laid out like ours, with a crate that makes every planted call and some
/// innocent ones, and compares what clippy finds with what was planted.
fn planted_calls_are_found(root: &Path) -> Fallible {
    let place = Place::new()?;
    let crate_dir = place.0.join(FORBIDDEN);
    let write =
        |path: PathBuf, text: &str| fs::write(&path, text).map_err(|error| format!("{path:?}: {error}"));
    fs::create_dir_all(crate_dir.join("src")).map_err(|error| error.to_string())?;
    for list in ["clippy.toml", &format!("{FORBIDDEN}/clippy.toml")] {
        let text = fs::read_to_string(root.join(list)).map_err(|error| format!("{list}: {error}"))?;
        write(place.0.join(list), &text)?;
    }
    write(
        place.0.join("Cargo.toml"),
        &format!("[workspace]\nresolver = \"3\"\nmembers = [\"{FORBIDDEN}\"]\n"),
    )?;
    write(crate_dir.join("Cargo.toml"), "[package]\nname = \"planted\"\nedition = \"2024\"\n")?;
    write(crate_dir.join("src/lib.rs"), &planted_source())?;

    let mut command = step::cargo(&place.0);
    command.args(["clippy", "--quiet", "--offline", "--message-format", "json", "--target-dir"]);
    command.arg(place.0.join("target"));
    let found = findings(&step::read(&mut command)?);
    let planted: BTreeSet<_> =
        (1..).zip(PLANTED).map(|(line, (_, lint))| (line, format!("clippy::{lint}"))).collect();
    let wrong: Vec<_> = found.symmetric_difference(&planted).collect();
    if wrong.is_empty() {
        println!("{FORBIDDEN}/clippy.toml: {} planted calls found", PLANTED.len());
        return Ok(());
    }
    let call = |line: usize| match line.checked_sub(1) {
        None => "the list itself",
        Some(index) => PLANTED.get(index).map_or("an innocent line", |(call, _)| *call),
    };
    let texts: Vec<_> = wrong
        .iter()
        .map(|(line, lint)| {
            let verdict =
                if found.contains(&(*line, lint.clone())) { "found, not planted" } else { "not found" };
            format!("  {}: {lint} {verdict}", call(*line))
        })
        .collect();
    Err(format!("clippy and {FORBIDDEN}/clippy.toml disagree with what was planted:\n{}", texts.join("\n")))
}

/// One planted call a line, so that a line number names a call; then code that must be left alone.
fn planted_source() -> String {
    let mut source = String::new();
    for (index, (call, _)) in PLANTED.iter().enumerate() {
        source += &format!("pub fn f{index}() {{ let _ = {call}; }}\n");
    }
    source + "pub fn innocent(at: std::time::SystemTime) -> bool { at > std::time::SystemTime::UNIX_EPOCH }\n"
}

/// The (line, lint) pairs that our three lints report in the planted source; a complaint about the list itself, which
/// has no lint but a place, gets line 0.
fn findings(messages: &str) -> BTreeSet<(usize, String)> {
    let mut found = BTreeSet::new();
    for line in messages.lines() {
        let Ok(line) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        let message = &line["message"];
        let Some(spans) = message["spans"].as_array() else { continue };
        match message["code"]["code"].as_str() {
            Some(lint) if LINTS.contains(&lint) => {
                // A macro of std that calls another one is reported inside std too.
                let here = spans
                    .iter()
                    .filter(|span| span["file_name"].as_str().is_some_and(|f| f.ends_with("src/lib.rs")));
                let lines = here.filter_map(|span| usize::try_from(span["line_start"].as_u64()?).ok());
                found.extend(lines.map(|line| (line, lint.to_owned())));
            }
            None if !spans.is_empty() => {
                found.insert((0, message["message"].as_str().unwrap_or_default().to_owned()));
            }
            _ => {}
        }
    }
    found
}

/// A directory of our own under the system's temporary one, removed at the end.
#[derive(Debug)]
struct Place(PathBuf);

impl Place {
    fn new() -> Fallible<Self> {
        let path = std::env::temp_dir().join(format!("farthing-planted-{}", std::process::id()));
        fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::{ALLOWED, findings, strangers};

    #[test]
    fn a_tree_of_listed_crates_has_no_strangers() {
        assert!(strangers("farthing-protocol v0.1.0 (/x)\nserde v1.0.0\nsha2 v0.11.0 (*)\n\n").is_empty());
    }

    #[test]
    fn a_runtime_or_a_random_source_in_the_tree_is_a_stranger() {
        assert_eq!(
            strangers("serde v1.0.0\ntokio v1.0.0\ngetrandom v0.4.0\ntokio v1.0.0 (*)"),
            ["getrandom", "tokio"]
        );
    }

    #[test]
    fn no_crate_that_is_made_for_io_is_on_the_list() {
        let mut allowed = ALLOWED.iter().flat_map(|(_, names)| *names);
        let made_for_io = [
            "tokio",
            "mio",
            "socket2",
            "hyper",
            "reqwest",
            "axum",
            "getrandom",
            "rand",
            "tempfile",
            "chrono",
        ];
        assert!(!allowed.any(|name| made_for_io.contains(name)));
    }

    #[test]
    fn a_message_of_clippy_is_a_line_and_a_lint() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact"}"#,
            "\n",
            r#"{"reason":"compiler-message","message":{"message":"use of a disallowed method","code":{"code":"clippy::disallowed_methods"},"spans":[{"file_name":"src/lib.rs","line_start":3}]}}"#,
            "\n",
            r#"{"reason":"compiler-message","message":{"message":"1 warning emitted","code":null,"spans":[]}}"#,
        );
        assert_eq!(
            findings(messages).into_iter().collect::<Vec<_>>(),
            [(3, "clippy::disallowed_methods".to_owned())]
        );
    }

    #[test]
    fn an_entry_of_the_list_that_names_nothing_is_reported() {
        let message = r#"{"reason":"compiler-message","message":{"message":"`std::fs::gone` does not refer to a reachable function","code":null,"spans":[{"file_name":"crates/protocol/clippy.toml","line_start":9}]}}"#;
        assert_eq!(findings(message).first().map(|(line, _)| *line), Some(0));
    }
}
