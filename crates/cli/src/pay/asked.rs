//! The request on the command line.

use std::fs::File;
use std::io::{self, Read};

use farthing::Client;
use farthing::client::RequestBuilder;
use reqwest::Method;

use super::ended::Ended;
use crate::args::pay::PayArgs;
use crate::style::safe;

/// Bytes of the longest body.
const MAX_BODY: u64 = 64 * 1024 * 1024;
/// What a body is unless somebody says otherwise, as with curl.
const FORM: &str = "application/x-www-form-urlencoded";

/// One request, ready to be made.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) url: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    max_price: Option<String>,
    task: Option<String>,
}

impl Asked {
    /// The request, or `None` when the journal has it.
    pub(super) fn of_payment(options: &PayArgs) -> Result<Option<Self>, Ended> {
        if options.url.is_some() {
            return Self::read(options).map(Some);
        }
        if options.request.is_some() || options.data.is_some() || !options.headers.is_empty() {
            return Err(Ended::usage("-X, -H and -d say how a URL is asked for: give the URL, too"));
        }
        Ok(None)
    }

    /// The request, with its body.
    pub(super) fn read(options: &PayArgs) -> Result<Self, Ended> {
        let url = options.url.clone().ok_or_else(|| Ended::usage("there is no URL"))?;
        let method = match (&options.request, &options.data) {
            (Some(name), _) => {
                name.parse().map_err(|_| Ended::usage(format!("{} is no method", safe(name))))?
            }
            (None, Some(_)) => Method::POST,
            (None, None) => Method::GET,
        };
        let mut headers = options.headers.iter().map(|line| header(line)).collect::<Result<Vec<_>, _>>()?;
        let body = options.data.as_deref().map(body).transpose()?.unwrap_or_default();
        let is_typed = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        if options.data.is_some() && !is_typed {
            headers.push(("content-type".to_owned(), FORM.to_owned()));
        }
        let (max_price, task) = (options.max_price.clone(), options.task.clone());
        Ok(Self { method, url, headers, body, max_price, task })
    }

    /// The request, for a client.
    pub(super) fn builder(&self, client: &Client) -> RequestBuilder {
        let mut builder = client.request(self.method.clone(), &self.url);
        for (name, value) in &self.headers {
            builder = builder.header(name, value);
        }
        if !self.body.is_empty() {
            builder = builder.body(self.body.clone());
        }
        if let Some(price) = &self.max_price {
            builder = builder.max_price(price);
        }
        if let Some(task) = &self.task {
            builder = builder.task(task);
        }
        builder
    }
}

/// `Name: value`.
fn header(line: &str) -> Result<(String, String), Ended> {
    let parts = line.split_once(':').map(|(name, value)| (name.trim(), value.trim()));
    match parts {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        // What stands there may be a secret.
        _ => Err(Ended::usage("a header is written `Name: value`")),
    }
}

/// The text itself, or what is in `@FILE`, or `@-` for standard input.
fn body(data: &str) -> Result<Vec<u8>, Ended> {
    let mut body = Vec::new();
    let (name, read) = match data.strip_prefix('@') {
        None => return Ok(data.as_bytes().to_vec()),
        Some("-") => ("standard input", io::stdin().lock().take(MAX_BODY + 1).read_to_end(&mut body)),
        Some(path) => {
            let read = |file: File| file.take(MAX_BODY + 1).read_to_end(&mut body);
            (path, File::open(path).and_then(read))
        }
    };
    let name = safe(name);
    let read = read.map_err(|error| Ended::usage(format!("{name}: {error}")))?;
    if read as u64 > MAX_BODY {
        return Err(Ended::usage(format!("{name} has more than {MAX_BODY} bytes")));
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_split_at_their_first_colon() {
        let split = |line: &str| header(line).ok();
        let pair = |name: &str, value: &str| Some((name.to_owned(), value.to_owned()));
        assert_eq!(split("Accept: text/plain"), pair("Accept", "text/plain"));
        assert_eq!(split("X-Time:12:30"), pair("X-Time", "12:30"));
        assert_eq!(split("X-Empty:"), pair("X-Empty", ""));
        assert!(split("Accept").is_none() && split(": x").is_none());
    }

    #[test]
    fn a_body_is_a_text_or_a_file_byte_for_byte() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("body");
        std::fs::write(&path, b"a\r\n\0\xff").unwrap();
        assert_eq!(body("q=1\n").unwrap(), b"q=1\n");
        assert_eq!(body(&format!("@{}", path.display())).unwrap(), b"a\r\n\0\xff");
        assert!(body(&format!("@{}", home.path().join("nothing").display())).is_err());
    }
}
