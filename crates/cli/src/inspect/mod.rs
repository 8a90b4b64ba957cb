//! `farthing inspect`: decodes what travels, and says in words what it asks or proves.

pub(crate) mod asset;
mod fetch;
pub(crate) mod message;
mod outcome;
pub(crate) mod signed;
mod words;

use crate::Failure;
use crate::args::InspectArgs;
use crate::given::{LIMITS, standard_input};
use crate::style::{print, safe};
use message::Message;
use words::Words;

pub(crate) use fetch::{Fetched, fetch};

/// Runs the command.
pub(crate) fn run(options: &InspectArgs) -> Result<(), Failure> {
    let input = match options.input.as_str() {
        "-" => standard_input().map_err(Failure::bad_input)?,
        text => text.to_owned(),
    };
    let input = input.trim();
    let is_url = ["http://", "https://"]
        .iter()
        .any(|scheme| input.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
    if is_url {
        return url(input, options.json);
    }
    let message = message::read(input, &LIMITS).map_err(|why| Failure::bad_input(safe(&why)))?;
    let words = Words::of(&message, None);
    let text = if options.json { message.ascii() + "\n" } else { words.text() };
    finish(&text, &words)
}

/// Asks a URL, once and without a payment, and explains its answer.
fn url(url: &str, json: bool) -> Result<(), Failure> {
    let fetched = fetch::blocking(url)?;
    let terms = match fetched.terms(&LIMITS) {
        // Whatever another server's 402 holds, it is an answer, and the command was carried out.
        Err(_) if fetched.status != 402 => None,
        Err(why) => {
            let why = safe(&why);
            return Err(Failure::bad_input(format!(
                "{url} answers 402 with terms that cannot be read: {why}"
            )));
        }
        Ok(terms) => terms,
    };
    if json {
        let terms = terms.as_ref().map_or("null".to_owned(), Message::ascii);
        let text = format!("{{\"status\":{},\"terms\":{terms}}}\n", fetched.status);
        return print(&text).map_err(Failure::unsound);
    }
    let words = Words::of_answer(&fetched, terms.as_ref());
    finish(&words.text(), &words)
}

fn finish(text: &str, words: &Words) -> Result<(), Failure> {
    print(text).map_err(Failure::unsound)?;
    match words.unsound() {
        [] => Ok(()),
        [first, ..] => Err(Failure::unsound(first)),
    }
}
