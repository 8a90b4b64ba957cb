//! The answer that is stored with its capture, so that the same payment returns it.

use bytes::Bytes;
use farthing_protocol::Amount;
use farthing_protocol::layout::{LayoutError, Reader, Writer};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::headers::without_hop_by_hop;

const DOMAIN: &str = "farthing/stored-answer";
const VERSION: u8 = 1;
/// Bytes of one header's name or value that are read back.
const MAX_HEADER: usize = 64 * 1024;
const MAX_HEADERS: u32 = 1024;

/// A paid answer as it was first given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredAnswer {
    pub(crate) status: StatusCode,
    /// Those of the handler that outlive the connection.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// What was captured for it, in atomic units.
    pub(crate) amount: Amount,
    /// When its receipt was signed: Unix seconds.
    pub(crate) issued_at: u64,
}

/// The bytes to store; the same answer gives the same bytes.
pub(crate) fn encode(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    amount: Amount,
    issued_at: u64,
) -> Vec<u8> {
    let headers = without_hop_by_hop(headers);
    let out = Writer::new(DOMAIN, VERSION).u16(status.as_u16()).u128(amount.0).u64(issued_at);
    let out = headers.iter().fold(out.u32(headers.len() as u32), |out, (name, value)| {
        out.var(name.as_str().as_bytes()).var(value.as_bytes())
    });
    out.var(body).finish()
}

/// Reads what [`encode`] wrote.
pub(crate) fn decode(bytes: &[u8]) -> Result<StoredAnswer, LayoutError> {
    let meaningless = |field| move |_| LayoutError::Value { field };
    let mut reader = Reader::open(bytes, DOMAIN, VERSION)?;
    let status = StatusCode::from_u16(reader.u16()?).map_err(|_| LayoutError::Value { field: "status" })?;
    let amount = Amount(reader.u128()?);
    let issued_at = reader.u64()?;
    let count = reader.u32()?;
    if count > MAX_HEADERS {
        return Err(LayoutError::Long { len: count, limit: MAX_HEADERS as usize });
    }
    let mut headers = HeaderMap::new();
    for _ in 0..count {
        let name = HeaderName::from_bytes(reader.var(MAX_HEADER)?);
        let value = HeaderValue::from_bytes(reader.var(MAX_HEADER)?);
        headers.append(
            name.map_err(|_| LayoutError::Value { field: "header name" })?,
            value.map_err(meaningless("header value"))?,
        );
    }
    let body = Bytes::copy_from_slice(reader.var(bytes.len())?);
    reader.finish()?;
    Ok(StoredAnswer { status, headers, body, amount, issued_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Vec<u8> {
        let mut headers = HeaderMap::new();
        headers.append("content-type", HeaderValue::from_static("text/plain"));
        headers.append("set-cookie", HeaderValue::from_static("a=1"));
        headers.append("set-cookie", HeaderValue::from_static("b=2"));
        headers.append("x-bytes", HeaderValue::from_bytes(b"caf\xe9").unwrap());
        headers.append("connection", HeaderValue::from_static("close"));
        encode(StatusCode::CREATED, &headers, b"hello\0", Amount(7), 1_800_000_000)
    }

    #[test]
    fn an_answer_comes_back_as_it_was_stored() {
        let read = decode(&answer()).unwrap();
        assert_eq!((read.status, &*read.body), (StatusCode::CREATED, &b"hello\0"[..]));
        assert_eq!((read.amount, read.issued_at), (Amount(7), 1_800_000_000));
        assert_eq!(read.headers.get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=1", "b=2"]);
        assert_eq!(read.headers["x-bytes"].as_bytes(), b"caf\xe9");
        assert!(!read.headers.contains_key("connection"));
        let again = encode(read.status, &read.headers, &read.body, read.amount, read.issued_at);
        assert_eq!(again, answer());
    }

    #[test]
    fn what_is_not_an_answer_is_refused_wherever_it_breaks_off() {
        let stored = answer();
        for length in 0..stored.len() {
            assert!(decode(&stored[..length]).is_err(), "{length}");
        }
        let mut long = stored.clone();
        long.push(0);
        assert_eq!(decode(&long), Err(LayoutError::Trailing));
        let mut newer = stored;
        newer[23] = 2;
        assert_eq!(decode(&newer), Err(LayoutError::Version { found: 2 }));
    }
}
