//! Server-sent events, byte by byte: where one begins and where it ends.
//!
//! An event is dispatched at the empty line behind it, when it has a line of field `data`. Lines end with LF,
//! CR, or both. Comments, by which servers keep connections open, belong to no event.

/// How far a stream of events is read.
#[derive(Clone, Debug)]
pub(crate) struct Scanner {
    line: Line,
    /// The last byte was a CR: an LF now belongs to it.
    after_cr: bool,
    /// A line that is no comment has begun since the last empty one.
    open: bool,
    has_data: bool,
    /// Bytes of a byte order mark that were read; 3 when there can be none any more.
    mark: u8,
}

/// The line that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// Nothing of it yet.
    Start,
    /// The field's name so far is this much of `data`.
    Data(u8),
    /// Anything else.
    Other,
}

/// What a byte ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// An event that its reader dispatches.
    Event,
    /// Fields without data, of which its reader makes no event.
    Nothing,
}

const NAME: &[u8; 4] = b"data";
const MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

impl Scanner {
    pub(crate) fn new() -> Self {
        Self { line: Line::Start, after_cr: false, open: false, has_data: false, mark: 0 }
    }

    /// Whether the next byte is the first of a new event.
    pub(crate) fn begins(&self, byte: u8) -> bool {
        let mark = MARK.get(usize::from(self.mark)) == Some(&byte);
        self.line == Line::Start && !self.open && !mark && !matches!(byte, b'\r' | b'\n' | b':')
    }

    /// Reads one byte.
    pub(crate) fn step(&mut self, byte: u8) -> Option<Ended> {
        if MARK.get(usize::from(self.mark)) == Some(&byte) && self.line == Line::Start {
            self.mark += 1;
            return None;
        }
        self.mark = 3;
        let follows_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
        match (byte, self.line) {
            (b'\n', _) if follows_cr => None,
            (b'\r' | b'\n', Line::Start) => self.dispatch(),
            (b'\r' | b'\n', _) => {
                self.end_line();
                None
            }
            (b':', Line::Start) => {
                self.line = Line::Other;
                None
            }
            (_, Line::Start) => {
                self.open = true;
                self.line = if byte == NAME[0] { Line::Data(1) } else { Line::Other };
                None
            }
            (b':', Line::Data(4)) => {
                (self.has_data, self.line) = (true, Line::Other);
                None
            }
            (_, Line::Data(read)) => {
                let goes_on = NAME.get(usize::from(read)) == Some(&byte);
                self.line = if goes_on { Line::Data(read + 1) } else { Line::Other };
                None
            }
            (_, Line::Other) => None,
        }
    }

    /// Reads what costs nothing.
    pub(crate) fn read(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.step(*byte);
        }
    }

    fn end_line(&mut self) {
        self.has_data |= self.line == Line::Data(4);
        self.line = Line::Start;
    }

    fn dispatch(&mut self) -> Option<Ended> {
        let (open, has_data) = (self.open, self.has_data);
        (self.open, self.has_data) = (false, false);
        match (open, has_data) {
            (false, _) => None,
            (true, true) => Some(Ended::Event),
            (true, false) => Some(Ended::Nothing),
        }
    }

    /// Ends whatever is open, as two line ends do: what must be written for it, and what it ended.
    pub(crate) fn finish(&mut self) -> (&'static str, Option<Ended>) {
        let text = match (self.line, self.open) {
            (Line::Start, false) => return ("", None),
            (Line::Start, true) => "\n",
            (_, false) => "\n",
            (_, true) => "\n\n",
        };
        // A line feed right behind a CR would belong to it.
        let text = if self.after_cr && self.open { "\n\n" } else { text };
        (text, text.bytes().fold(None, |ended, byte| self.step(byte).or(ended)))
    }

    /// Whether no event is open: another may be written here, behind what [`finish`](Self::finish) says.
    pub(crate) fn is_between(&self) -> bool {
        !self.open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> (usize, usize, Scanner) {
        let mut scanner = Scanner::new();
        let (mut begun, mut events) = (0, 0);
        for byte in text {
            begun += usize::from(scanner.begins(*byte));
            events += usize::from(scanner.step(*byte) == Some(Ended::Event));
        }
        (begun, events, scanner)
    }

    #[test]
    fn events_end_at_an_empty_line_whatever_ends_lines() {
        for (text, begun, events) in [
            (&b"data: a\n\ndata: b\n\n"[..], 2, 2),
            (b"data: a\r\n\r\ndata: b\r\n\r\n", 2, 2),
            (b"data: a\r\rdata: b\r\r", 2, 2),
            (b"data: a\r\n\ndata: b\n\r\n", 2, 2),
            (b"data: a\ndata: b\n\n", 1, 1),
            (b"event: x\nid: 1\ndata\n\n\n\n\n", 1, 1),
            (b"data: a\n", 1, 0),
            (b"", 0, 0),
        ] {
            let (b, e, _) = read(text);
            assert_eq!((b, e), (begun, events), "{:?}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn comments_and_fields_without_data_are_no_events() {
        assert_eq!(read(b":\n\n: keep me open\r\n\r\n:::\n").0, 0);
        assert_eq!(read(b"\xef\xbb\xbf: hello\n\ndata: a\n\n").0, 1);
        let (begun, events, scanner) = read(b"retry: 3000\n\ndatable: 1\n\ndat\n\nid: 4\n\n");
        assert_eq!((begun, events), (4, 0));
        assert!(scanner.is_between());
        // A comment within an event does not end it.
        assert_eq!(read(b"data: a\n: still\ndata: b\n\n").1, 1);
    }

    #[test]
    fn what_is_open_at_the_end_is_ended_once() {
        for (text, ended) in [
            (&b"data: a"[..], Some(Ended::Event)),
            (b"data: a\n", Some(Ended::Event)),
            (b"data: a\r", Some(Ended::Event)),
            (b"data", Some(Ended::Event)),
            (b"id: 3", Some(Ended::Nothing)),
            (b": comment", None),
            (b"data: a\n\n", None),
            (b"data: a\r\n\r", None),
            (b"", None),
        ] {
            let (_, before, mut scanner) = read(text);
            let (tail, found) = scanner.finish();
            assert_eq!(found, ended, "{:?}", String::from_utf8_lossy(text));
            assert!(scanner.is_between());
            let whole = [text, tail.as_bytes(), b"event: last\ndata: x\n\n"].concat();
            let events = before + usize::from(ended == Some(Ended::Event)) + 1;
            assert_eq!(read(&whole).1, events, "{:?}", String::from_utf8_lossy(&whole));
        }
    }
}
