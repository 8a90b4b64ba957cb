//! Files stay short enough to be read: above 500 lines is reported, above 800 fails.

use crate::sources::{self, Source};
use crate::step::Fallible;
use std::path::Path;

const AIM: usize = 500;
const LIMIT: usize = 800;

/// # Errors
/// When a file is above the limit.
pub(crate) fn check(root: &Path) -> Fallible {
    let sources = sources::all(root)?;
    let (long, too_long) = judge(&sources);
    for line in long.iter().chain(&too_long) {
        println!("{line}");
    }
    let total: usize = sources.iter().map(lines).sum();
    println!("{} files, {total} lines", sources.len());
    if too_long.is_empty() {
        Ok(())
    } else {
        Err(format!("split by idea: {} files above {LIMIT}", too_long.len()))
    }
}

/// What is to say about the files above the aim, and about those above the limit.
fn judge(sources: &[Source]) -> (Vec<String>, Vec<String>) {
    let above = |from: usize, to: usize, verdict: &str| {
        let wanted = |source: &&Source| (from + 1..=to).contains(&lines(source));
        let text = |source: &Source| format!("{}: {} lines, {verdict}", source.path.display(), lines(source));
        sources.iter().filter(wanted).map(text).collect()
    };
    (above(AIM, LIMIT, "long"), above(LIMIT, usize::MAX, "TOO LONG"))
}

fn lines(source: &Source) -> usize {
    source.text.lines().count()
}

#[cfg(test)]
mod tests {
    use super::judge;
    use crate::sources::Source;

    #[test]
    fn a_file_is_long_above_500_lines_and_too_long_above_800() {
        let file = |count: usize| Source { path: format!("{count}.rs").into(), text: "x\n".repeat(count) };
        let (long, too_long) = judge(&[file(500), file(501), file(800), file(801)]);
        assert_eq!(long, ["501.rs: 501 lines, long", "800.rs: 800 lines, long"]);
        assert_eq!(too_long, ["801.rs: 801 lines, TOO LONG"]);
    }
}
