//! Where secrets come in: a private file, the environment, or a terminal that does not show them.

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use farthing::client::keystore::Passphrase;
use zeroize::Zeroizing;

use super::failure;
use crate::Failure;
use crate::args::wallet::Opening;
use crate::style::safe;

const VARIABLE: &str = "FARTHING_PASSPHRASE";

/// Bytes of the largest file with a secret.
const MAX_FILE: u64 = 4096;

/// The passphrase; for a new wallet a terminal is asked for it twice.
pub(super) fn of(opening: &Opening, is_new: bool) -> Result<Passphrase, Failure> {
    if let Some(path) = &opening.passphrase_file {
        let text = private(path)?;
        let line = text.lines().next().unwrap_or_default();
        return Passphrase::new(line.to_owned()).map_err(failure);
    }
    if let Some(text) = std::env::var_os(VARIABLE) {
        let text = text.into_string().map(Zeroizing::new);
        let text = text.map_err(|_| Failure::bad_input(format!("{VARIABLE} is not text")))?;
        return Passphrase::new(text).map_err(failure);
    }
    if !std::io::stdin().is_terminal() {
        let why =
            format!("there is no terminal to ask for the passphrase: set {VARIABLE} or --passphrase-file");
        return Err(Failure::bad_input(why));
    }
    let passphrase = ask(if is_new { "New passphrase: " } else { "Passphrase: " })?;
    if is_new && !ask("The same again: ")?.is(&passphrase) {
        return Err(Failure::bad_input("these are two passphrases"));
    }
    Ok(passphrase)
}

fn ask(prompt: &str) -> Result<Passphrase, Failure> {
    let text = rpassword::prompt_password(prompt).map(Zeroizing::new);
    let text = text.map_err(|error| Failure::bad_input(format!("the terminal cannot be read: {error}")))?;
    Passphrase::new(text).map_err(failure)
}

/// Reads a small text that only its owner can read.
pub(super) fn private(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let shown = safe(&path.display().to_string());
    let cannot = |why: &dyn std::fmt::Display| Failure::bad_input(format!("{shown}: {why}"));
    let file = File::open(path).map_err(|error| cannot(&error))?;
    let metadata = file.metadata().map_err(|error| cannot(&error))?;
    if !metadata.is_file() || metadata.len() > MAX_FILE {
        return Err(cannot(&"it is not a small file"));
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        let why = format!(
            "{shown} can be used by others (mode {mode:o}): run chmod 600 on it, and replace what is in it if it leaked"
        );
        return Err(Failure::unsound(why));
    }
    let mut text = Zeroizing::new(String::with_capacity(MAX_FILE as usize));
    file.take(MAX_FILE).read_to_string(&mut text).map_err(|error| cannot(&error))?;
    Ok(text)
}
