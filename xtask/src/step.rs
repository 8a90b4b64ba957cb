//! Starting programs: a heading, the program with our terminal, and one error text when it fails.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

/// The result of a task; the error is a sentence for the terminal.
pub(crate) type Fallible<T = ()> = Result<T, String>;

/// Prints the heading of a step.
pub(crate) fn heading(text: &str) {
    println!("\n== {text}");
}

/// The cargo that started us, at the root of the workspace.
///
/// What `cargo run` told this program about its own package is taken out again: build scripts that watch those
/// variables would otherwise rebuild every time a task follows a plain `cargo build`, and the other way round.
pub(crate) fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs a program with its output on our terminal.
///
/// # Errors
/// When it cannot be started or ends with anything but success.
pub(crate) fn run(command: &mut Command) -> Fallible {
    let status = command.status().map_err(|error| format!("cannot start {}: {error}", shown(command)))?;
    if status.success() { Ok(()) } else { Err(format!("{} failed ({status})", shown(command))) }
}

/// Runs a program and returns what it wrote to standard output.
///
/// # Errors
/// When it cannot be started or fails; the text ends with what it wrote to standard error.
pub(crate) fn read(command: &mut Command) -> Fallible<String> {
    let output = command.output().map_err(|error| format!("cannot start {}: {error}", shown(command)))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{} failed ({})\n{}", shown(command), output.status, complaint.trim_end()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a program runs and reports success, with all its output thrown away.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The command as one would type it, without the directory of the program.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    std::iter::once(program)
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::{read, shown, succeeds};
    use std::process::Command;

    #[test]
    fn a_command_is_shown_as_one_would_type_it() {
        let mut command = Command::new("/somewhere/bin/cargo");
        assert_eq!(shown(command.args(["test", "--workspace"])), "cargo test --workspace");
    }

    #[test]
    fn a_missing_program_is_no_success_and_names_itself() {
        let missing = || Command::new("no-such-program-anywhere");
        assert!(!succeeds(&mut missing()));
        assert!(read(&mut missing()).unwrap_err().contains("no-such-program-anywhere"));
    }
}
