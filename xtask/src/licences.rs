//! Every dependency, also those of tests and tools, has a licence that we can live with.

use crate::spdx;
use crate::step::Fallible;
use crate::workspace;

/// The licences that we accept, by SPDX id; `WITH` marks an exception that only widens what is granted.
const ACCEPTED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "OpenSSL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// # Errors
/// The dependencies whose licence is missing, unreadable or not accepted.
pub(crate) fn check() -> Fallible {
    let metadata = workspace::metadata()?;
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        if let Err(why) = judge(package.license.as_deref()) {
            wrong.push(format!("  {} {}: {why}", package.name, package.version));
        }
    }
    println!("{} packages", metadata.packages.len());
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(format!("licences that are not accepted:\n{}", wrong.join("\n")))
    }
}

fn judge(licence: Option<&str>) -> Fallible {
    let expression = licence.ok_or("it names no licence")?;
    if spdx::satisfied(expression, &|licence| ACCEPTED.contains(&licence))? {
        Ok(())
    } else {
        Err(format!("`{expression}` cannot be met by what we accept"))
    }
}

#[cfg(test)]
mod tests {
    use super::judge;

    #[test]
    fn the_usual_licences_of_the_field_are_accepted() {
        for licence in
            ["MIT", "MIT OR Apache-2.0", "MIT OR Apache-2.0 OR LGPL-2.1-or-later", "ISC AND (MIT OR GPL-3.0)"]
        {
            assert_eq!(judge(Some(licence)), Ok(()), "{licence}");
        }
    }

    #[test]
    fn a_licence_that_binds_us_and_a_missing_one_are_refused() {
        for licence in [Some("GPL-3.0-only"), Some("MIT AND AGPL-3.0-only"), Some("MIT OR"), Some(""), None] {
            assert!(judge(licence).is_err(), "{licence:?}");
        }
    }
}
