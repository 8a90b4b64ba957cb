//! Server-sent events, read from a body as it comes (WHATWG HTML, section 9.2.6).

use std::fmt;

use bytes::BytesMut;

use crate::error::ClientError;
use crate::http::Body;
use crate::metered::SETTLEMENT_EVENT;

/// Bytes of one event, or of one line, that are read.
const EVENT_BYTES: usize = 1024 * 1024;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerEvent {
    /// Its type; `message` where the server names none.
    pub event: String,
    /// Its data; lines are joined by line feeds.
    pub data: String,
    /// The last id that the server gave; empty where it gave none.
    pub id: String,
}

/// The events of an answer, one by one.
pub struct Events<'a> {
    body: &'a mut Body,
    parser: &'a mut Parser,
}

impl<'a> Events<'a> {
    pub(crate) fn new(body: &'a mut Body, parser: &'a mut Parser) -> Self {
        Self { body, parser }
    }

    /// The next event, as soon as it is there; `None` at the end. An event that the stream's end cuts off
    /// is dropped, and so is what the seller says about the payment of a stream that is paid for while it comes.
    ///
    /// # Errors
    /// [`ClientError::Broken`], also when nothing comes within the client's idle timeout;
    /// [`ClientError::TooLarge`] for an event of more than 1 MiB; [`ClientError::NotText`].
    pub async fn next(&mut self) -> Result<Option<ServerEvent>, ClientError> {
        loop {
            if let Some(event) = self.parser.next()? {
                if event.event == SETTLEMENT_EVENT && self.body.metered().is_some() {
                    continue;
                }
                return Ok(Some(event));
            }
            let piece = self.body.chunk().await.map_err(|why| ClientError::Broken { why })?;
            let Some(piece) = piece else { return Ok(None) };
            self.parser.unread.extend_from_slice(&piece);
        }
    }
}

impl fmt::Debug for Events<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("id", &self.parser.id).finish_non_exhaustive()
    }
}

/// Lines into events, whatever pieces they come in.
#[derive(Default)]
pub(crate) struct Parser {
    unread: BytesMut,
    /// Bytes of `unread` in which no line ends.
    searched: usize,
    /// A line began, so there is no byte order mark any more.
    began: bool,
    /// The last line ended in a carriage return: a line feed that follows belongs to it.
    after_return: bool,
    event: String,
    data: String,
    id: String,
}

impl Parser {
    fn next(&mut self) -> Result<Option<ServerEvent>, ClientError> {
        while let Some(line) = self.line() {
            let line = std::str::from_utf8(&line).map_err(|_| ClientError::NotText)?;
            if line.is_empty() {
                if let Some(event) = self.dispatch() {
                    return Ok(Some(event));
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut self.event),
                "data" => {
                    self.data.push_str(value);
                    self.data.push('\n');
                }
                "id" if !value.contains('\0') => value.clone_into(&mut self.id),
                _ => {}
            }
            self.bounded(self.data.len())?;
        }
        self.bounded(self.unread.len())?;
        Ok(None)
    }

    fn bounded(&self, bytes: usize) -> Result<(), ClientError> {
        if bytes > EVENT_BYTES { Err(ClientError::TooLarge { limit: EVENT_BYTES }) } else { Ok(()) }
    }

    /// The next whole line, without its end.
    fn line(&mut self) -> Option<BytesMut> {
        if self.after_return && !self.unread.is_empty() {
            self.after_return = false;
            if self.unread[0] == b'\n' {
                drop(self.unread.split_to(1));
            }
        }
        let end = self.unread[self.searched..].iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        let Some(end) = end.map(|end| self.searched + end) else {
            self.searched = self.unread.len();
            return None;
        };
        self.searched = 0;
        let mut line = self.unread.split_to(end);
        self.after_return = self.unread.split_to(1)[0] == b'\r';
        if !std::mem::replace(&mut self.began, true) && line.starts_with(b"\xef\xbb\xbf") {
            line = line.split_off(3);
        }
        Some(line)
    }

    fn dispatch(&mut self) -> Option<ServerEvent> {
        let (event, mut data) = (std::mem::take(&mut self.event), std::mem::take(&mut self.data));
        data.pop()?;
        let event = if event.is_empty() { "message".to_owned() } else { event };
        Some(ServerEvent { event, data, id: self.id.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&[u8]]) -> Result<Vec<(String, String, String)>, ClientError> {
        let (mut parser, mut events) = (Parser::default(), Vec::new());
        for piece in pieces {
            parser.unread.extend_from_slice(piece);
            while let Some(ServerEvent { event, data, id }) = parser.next()? {
                events.push((event, data, id));
            }
        }
        Ok(events)
    }

    fn event(event: &str, data: &str, id: &str) -> (String, String, String) {
        (event.into(), data.into(), id.into())
    }

    #[test]
    fn events_are_the_same_in_whatever_pieces_they_come() {
        let text = "\u{feff}: hello\r\ndata: a\r\ndata:b\r\rid: 7\nevent: price\ndata:  für 2\n\nevent: none\n\n\
            id: x\0y\nretry: 5\nunknown: z\ndata\n\ndata: cut off";
        let expected =
            [event("message", "a\nb", ""), event("price", " für 2", "7"), event("message", "", "7")];
        let bytes = text.as_bytes();
        assert_eq!(read(&[bytes]).unwrap(), expected);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(read(&single).unwrap(), expected);
        for at in 0..bytes.len() {
            assert_eq!(read(&[&bytes[..at], &bytes[at..]]).unwrap(), expected, "cut at {at}");
        }
    }

    #[test]
    fn an_event_without_end_and_one_that_is_no_text_are_refused() {
        let (line, piece) = (vec![b'x'; EVENT_BYTES + 1], [&b"data:"[..], &[b'y'; 1000], b"\n"].concat());
        assert_eq!(read(&[&line]), Err(ClientError::TooLarge { limit: EVENT_BYTES }));
        assert_eq!(read(&vec![&piece[..]; 1100]), Err(ClientError::TooLarge { limit: EVENT_BYTES }));
        assert_eq!(read(&[b"data: \xff\n\n"]), Err(ClientError::NotText));
        assert_eq!(
            read(&[&line[..EVENT_BYTES - 8], &b"\ndata:1\n\n"[..]]).unwrap(),
            [event("message", "1", "")]
        );
    }
}
