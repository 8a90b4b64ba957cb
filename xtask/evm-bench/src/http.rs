//! As much of HTTP/1.1 as the load generator needs: a request, and its complete answer on the same connection.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use crate::Result;

/// A connection that stays open.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    head: String,
}

impl Connection {
    /// # Errors
    /// When nobody listens there.
    pub(crate) fn open(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        let head = format!("host: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n");
        Ok(Self { stream: BufReader::new(stream), head })
    }

    /// Posts `body` and returns the body that comes back with status 200.
    ///
    /// # Errors
    /// At any other answer.
    pub(crate) fn post(&mut self, path: &str, body: &[u8]) -> Result<Vec<u8>> {
        let Self { stream, head } = self;
        let mut request = format!("POST {path} HTTP/1.1\r\n{head}content-length: {}\r\n\r\n", body.len());
        let request = [std::mem::take(&mut request).into_bytes(), body.to_vec()].concat();
        stream.get_mut().write_all(&request)?;
        answer(stream)
    }
}

fn answer(stream: &mut impl BufRead) -> Result<Vec<u8>> {
    let status = line(stream)?;
    let (mut length, mut chunked) = (0, false);
    loop {
        let header = line(stream)?.to_ascii_lowercase();
        match header.split_once(':') {
            Some(("content-length", value)) => length = value.trim().parse()?,
            Some(("transfer-encoding", _)) => chunked = true,
            Some(_) => {}
            None => break,
        }
    }
    let mut body = Vec::new();
    if chunked {
        loop {
            let size = usize::from_str_radix(&line(stream)?, 16)?;
            stream.by_ref().take(size as u64).read_to_end(&mut body)?;
            line(stream)?;
            if size == 0 {
                break;
            }
        }
    } else {
        stream.by_ref().take(length).read_to_end(&mut body)?;
    }
    if status.split(' ').nth(1) == Some("200") {
        return Ok(body);
    }
    Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into())
}

fn line(stream: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err("the facilitator hung up".into());
    }
    Ok(line.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::answer;

    #[test]
    fn an_answer_is_read_by_its_length_or_by_its_chunks_and_not_beyond() {
        let by_length = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello more";
        assert_eq!(answer(&mut &by_length[..]).unwrap(), b"hello");
        let in_chunks =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\nmore";
        let mut rest = &in_chunks[..];
        assert_eq!(answer(&mut rest).unwrap(), b"hello");
        assert_eq!(rest, b"more");
    }

    #[test]
    fn an_answer_that_is_no_success_is_an_error() {
        let said = answer(&mut &b"HTTP/1.1 503 no\r\nContent-Length: 2\r\n\r\nno"[..]).unwrap_err();
        assert_eq!(said.to_string(), "HTTP/1.1 503 no: no");
        assert!(answer(&mut &b""[..]).is_err());
    }
}
