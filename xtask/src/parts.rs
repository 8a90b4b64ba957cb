//! The outside parts that the tests need, how to see that one is there, and how to install it.
//!
//! A new need is one more row of [`PARTS`]. cargo, a linker and a C compiler are not in the list: without them this
//! program could not have been built.

use crate::step::{self, Fallible};
use std::process::Command;

/// One program or service that some tests need and cargo does not bring.
#[derive(Debug)]
struct Part {
    /// What it is called.
    name: &'static str,
    /// Which tests need it.
    needed_for: &'static str,
    /// A program and its arguments that succeed when the part is there.
    check: &'static [&'static str],
    /// The Debian packages that bring it.
    apt: &'static [&'static str],
}

const PARTS: &[Part] = &[
    // Chinese and Japanese are boxes without a font that has them.
    Part {
        name: "chromium",
        needed_for: "paying on the paywall's page in a browser",
        check: &["sh", "-c", "command -v chromium && fc-list :lang=zh-tw | grep -q ."],
        apt: &["chromium", "fonts-noto-cjk", "fontconfig"],
    },
    Part {
        name: "curl",
        needed_for: "the curl lines of the README, the manual and the demonstration",
        check: &["curl", "--version"],
        apt: &["curl"],
    },
    Part { name: "jq", needed_for: "the jq lines of the manual", check: &["jq", "--version"], apt: &["jq"] },
    Part {
        name: "nginx",
        needed_for: "a shared cache in front of the gateway, started and stopped by the tests",
        check: &["nginx", "-v"],
        apt: &["nginx-light"],
    },
    // With its node, which compiles the contracts of the tests.
    Part {
        name: "npm",
        needed_for: "the EVM rail, on a private chain with contracts of our own, and the tools for language models",
        check: &["npm", "--version"],
        apt: &["nodejs", "npm"],
    },
    Part {
        name: "postgresql",
        needed_for: "the PostgreSQL engine, on private servers that the tests start and stop",
        // The package keeps its servers' programs where no PATH leads.
        check: &["sh", "-c", "ls /usr/lib/postgresql/*/bin/initdb"],
        apt: &["postgresql"],
    },
    Part {
        name: "python3",
        needed_for: "reading the golden vectors in a second language, and paying from it through agentd",
        check: &["python3", "--version"],
        apt: &["python3"],
    },
    // Debian keeps what fills an environment in a package of its own.
    Part {
        name: "venv",
        needed_for: "the reference SDK of x402 in Python",
        check: &["python3", "-c", "import venv, ensurepip"],
        apt: &["python3-venv"],
    },
    // It must be allowed to trace, too, which it is not everywhere.
    Part {
        name: "strace",
        needed_for: "recording what the ledger writes and flushes, by tracing a process",
        check: &["strace", "-o", "/dev/null", "true"],
        apt: &["strace"],
    },
];

/// Servers of the system that come with a part and that no test uses, by the part's name: they are not left running.
const SERVICES: &[(&str, &str)] = &[("nginx", "nginx.service")];

/// Makes every part present, installing what is missing with apt.
///
/// # Errors
/// When a part is missing and cannot be installed; the text says which ones, what for, and what to type.
pub(crate) fn set_up() -> Fallible {
    step::heading("parts");
    let mut missing = Vec::new();
    for part in PARTS {
        let found = part.is_there() || part.install();
        println!("{:<10} {}", part.name, if found { "there" } else { "MISSING" });
        if !found {
            missing.push(part);
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(explain(&missing)) }
}

impl Part {
    fn is_there(&self) -> bool {
        let [program, args @ ..] = self.check else { return false };
        step::succeeds(Command::new(program).args(args))
    }

    /// Tries to install the part; true when it is there afterwards.
    fn install(&self) -> bool {
        if !step::succeeds(Command::new("apt-get").arg("--version")) {
            return false;
        }
        println!("{} is missing (for {}), installing it with apt", self.name, self.needed_for);
        // Package lists may be absent or stale on a fresh machine; when updating fails, the install says the rest.
        let install = ["install", "--yes", "--no-install-recommends"];
        for command in [apt_get().arg("update"), apt_get().args(install).args(self.apt)] {
            if let Err(failure) = step::run(command) {
                println!("{failure}");
            }
        }
        for (_, service) in SERVICES.iter().filter(|(part, _)| *part == self.name) {
            // There is nothing to stop where no init system starts services.
            step::succeeds(as_root("systemctl").args(["disable", "--now", service]));
        }
        self.is_there()
    }
}

/// apt-get that asks nothing.
fn apt_get() -> Command {
    let mut command = as_root("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").stdin(std::process::Stdio::null());
    command
}

/// A program as root, through sudo when we are not and sudo needs no password.
fn as_root(program: &str) -> Command {
    let is_root = step::read(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    if is_root {
        return Command::new(program);
    }
    let mut sudo = Command::new("sudo");
    sudo.args(["-n", program]);
    sudo
}

fn explain(missing: &[&Part]) -> String {
    let mut text = String::from("the tests need parts that are missing and could not be installed:\n");
    for part in missing {
        text += &format!("  {} (for {})\n", part.name, part.needed_for);
    }
    let packages: Vec<_> = missing.iter().flat_map(|part| part.apt).copied().collect();
    text + &format!("on Debian or Ubuntu: sudo apt-get install {}", packages.join(" "))
}

#[cfg(test)]
mod tests {
    use super::{PARTS, Part, explain};

    #[test]
    fn every_part_says_how_to_see_it_and_how_to_get_it() {
        for part in PARTS {
            assert!(
                !part.check.is_empty() && !part.apt.is_empty() && !part.needed_for.is_empty(),
                "{part:?}"
            );
        }
    }

    #[test]
    fn a_program_that_runs_is_there_and_one_that_does_not_is_missing() {
        let part = |check| Part { name: "x", needed_for: "y", check, apt: &["z"] };
        assert!(part(&["true"]).is_there());
        assert!(!part(&["false"]).is_there());
        assert!(!part(&["no-such-program-anywhere"]).is_there());
    }

    #[test]
    fn what_is_missing_is_named_with_its_reason_and_the_line_to_type() {
        let part = Part {
            name: "curl",
            needed_for: "the demo",
            check: &["false"],
            apt: &["curl", "ca-certificates"],
        };
        let text = explain(&[&part]);
        assert!(text.contains("curl (for the demo)"));
        assert!(text.ends_with("sudo apt-get install curl ca-certificates"));
    }
}
