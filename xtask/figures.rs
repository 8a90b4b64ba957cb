//! What the benchmarks that write figures share, each by `#[path]`: the machine, and a document's sections.

use std::path::Path;
use std::process::Command;

/// The date, the machine, and what else ran on it: the load of the last minute, this run's own included.
pub(crate) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = std::fs::read_to_string("/proc/cpuinfo").ok().and_then(|info| {
        let line = info.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let date = Command::new("date").arg("+%Y-%m-%d").output();
    let date =
        date.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    format!("{date}, {cores} cores ({}), load {load} at the end", model.as_deref().unwrap_or("unknown"))
}

/// Replaces the section of this name in a document, or adds it at the end.
///
/// # Errors
/// When the document cannot be written.
pub(crate) fn replace(path: &Path, name: &str, text: &str) -> std::io::Result<()> {
    let old = std::fs::read_to_string(path).unwrap_or_default();
    std::fs::write(path, replaced(&old, name, text))
}

fn replaced(old: &str, name: &str, text: &str) -> String {
    let (begin, end) = (format!("<!-- {name}: begin -->"), format!("<!-- {name}: end -->"));
    let section = format!("{begin}\n{}\n{end}", text.trim_end());
    let found = old.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(&end)?.1)));
    match found {
        Some((before, after)) => format!("{before}{section}{after}"),
        None => format!("{old}\n{section}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::replaced;

    #[test]
    fn a_section_is_replaced_and_the_words_around_it_stay() {
        let first = replaced("# Results\n", "one", "one\n");
        assert_eq!(first, "# Results\n\n<!-- one: begin -->\none\n<!-- one: end -->\n");
        let second = replaced(&format!("{first}more\n"), "one", "two");
        assert_eq!(second, "# Results\n\n<!-- one: begin -->\ntwo\n<!-- one: end -->\nmore\n");
    }
}
