//! Asks on the terminal whether a payment may be made.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::sync::Mutex;

use farthing::client::approval::{ApprovalError, ApprovalRequest, Approve, Decision};
use farthing::protocol::rail::BoxFuture;

use crate::style::safe;

/// The terminal that this program was started from, if there is one, whatever its input and output are.
#[derive(Debug)]
pub(crate) struct Terminal;

/// One question at a time.
static ASKING: Mutex<()> = Mutex::new(());

impl Approve for Terminal {
    fn decide<'a>(&'a self, request: &'a ApprovalRequest) -> BoxFuture<'a, Result<Decision, ApprovalError>> {
        let question = question(request);
        Box::pin(async move {
            let asked = tokio::task::spawn_blocking(move || ask(&question)).await;
            asked.map_err(|error| ApprovalError::Failed(error.to_string()))?
        })
    }
}

fn ask(question: &str) -> Result<Decision, ApprovalError> {
    let _one = ASKING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let terminal = File::options().read(true).write(true).open("/dev/tty");
    // A program without a terminal has nobody to ask.
    let mut terminal = terminal.map_err(|_| ApprovalError::Nobody)?;
    let failed = |error: std::io::Error| ApprovalError::Failed(error.to_string());
    terminal.write_all(question.as_bytes()).and_then(|()| terminal.flush()).map_err(failed)?;
    let mut line = String::new();
    BufReader::new(terminal).read_line(&mut line).map_err(failed)?;
    Ok(meant(&line))
}

fn question(request: &ApprovalRequest) -> String {
    let ApprovalRequest { price, origin, payee, network, method, url, .. } = request;
    let mut text = format!(
        "\nPay {}?\n   for   {} {}\n   at    {origin}\n   to    {} on {network}\n",
        safe(price),
        safe(method),
        safe(url),
        safe(payee)
    );
    for (what, words) in [("it says", &request.description), ("task", &request.task)] {
        if let Some(words) = words {
            text += &format!("   {what}: {}\n", safe(words));
        }
    }
    text + "[y/N/a = trust this payee] "
}

/// A clear yes, or no: also at the end of the terminal's input.
fn meant(line: &str) -> Decision {
    match line.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Decision::Once,
        "a" => Decision::TrustPayee,
        _ => Decision::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_yes_is_one() {
        for (line, decision) in [
            ("y\n", Decision::Once),
            ("Yes\r\n", Decision::Once),
            ("a\n", Decision::TrustPayee),
            ("\n", Decision::No),
            ("", Decision::No),
            ("n\n", Decision::No),
            ("all\n", Decision::No),
            ("yy\n", Decision::No),
        ] {
            assert_eq!(meant(line), decision, "{line:?}");
        }
    }
}
