//! As much of HTTP/1.1 as the load generator needs: one complete answer with a `Content-Length`.

use memchr::{memchr_iter, memmem};

use crate::Result;

/// The longest head that is read.
const MAX_HEAD: usize = 64 * 1024;

/// An answer that is complete: where its parts are in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Where the head ends and the body begins.
    pub(crate) body: usize,
    /// Where the answer ends.
    pub(crate) end: usize,
}

/// The answer at the beginning of `bytes`; `None` while it is not complete.
///
/// # Errors
/// When it is no answer, or one that does not say its length.
pub(crate) fn answer(bytes: &[u8]) -> Result<Option<Answer>> {
    let Some(head) = memmem::find(bytes, b"\r\n\r\n") else {
        return if bytes.len() > MAX_HEAD {
            Err("an answer without an end of its head".into())
        } else {
            Ok(None)
        };
    };
    let status = bytes.strip_prefix(b"HTTP/1.1 ").and_then(|rest| std::str::from_utf8(rest.get(..3)?).ok());
    let status = status.and_then(|digits| digits.parse().ok()).ok_or("an answer without a status")?;
    let length = header(&bytes[..head], "content-length").ok_or("an answer without its length")?;
    let body = head + 4;
    let end = body + std::str::from_utf8(length)?.parse::<usize>()?;
    Ok((bytes.len() >= end).then_some(Answer { status, body, end }))
}

/// The value of a header.
pub(crate) fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut ends = memchr_iter(b'\n', head).chain([head.len()]);
    let mut begin = ends.next()? + 1;
    for end in ends {
        if let Some((found, value)) = head[begin..end].split_at_checked(name.len())
            && found.eq_ignore_ascii_case(name.as_bytes())
            && let Some(value) = value.strip_prefix(b":")
        {
            return Some(value.trim_ascii());
        }
        begin = end + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Answer, answer, header};

    const WHOLE: &[u8] = b"HTTP/1.1 402 Payment Required\r\nX: y\r\ncontent-LENGTH: 5\r\n\r\nhello";

    #[test]
    fn an_answer_is_complete_with_its_last_byte_and_not_before() {
        for length in 0..WHOLE.len() {
            assert_eq!(answer(&WHOLE[..length]).unwrap(), None, "{length}");
        }
        let expected = Answer { status: 402, body: WHOLE.len() - 5, end: WHOLE.len() };
        assert_eq!(answer(WHOLE).unwrap(), Some(expected));
        assert_eq!(answer(&[WHOLE, b"HTTP/1.1 2"].concat()).unwrap(), Some(expected));
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        assert!(answer(b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n").is_err());
        assert!(answer(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(answer(b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n").is_err());
        assert!(answer(&vec![b'x'; 100_000]).is_err());
    }

    #[test]
    fn headers_are_found_by_their_whole_name() {
        assert_eq!(header(WHOLE, "x"), Some(&b"y"[..]));
        assert_eq!(header(WHOLE, "content"), None);
        assert_eq!(header(WHOLE, "http/1.1 402 payment required"), None);
    }
}
