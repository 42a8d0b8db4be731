//! Where each request of a connection begins and ends. This is the only place that decides it.
//!
//! ```text
//! head ──► empty line ──► no body ──────────────────────────────────► the next head
//!   │                     Content-Length ──► that many bytes ────────► the next head
//!   │                     Transfer-Encoding: chunked ──► chunks, trailers ──► the next head
//!   └──► refused: two lengths, a length and an encoding, an encoding other than `chunked`, a bare line feed, too many bytes
//! ```
//!
//! `hyper` accepts heads that another server may read in another way: a length given twice, a length beside an encoding, lines that end in a bare
//! line feed. A proxy before the node that reads them the other way takes a body for the next request of another caller. RFC 9112 (2.2, 6.1, 6.3)
//! allows to refuse them. So `hyper` gets a head once it is whole and was checked here; what passes is read by `hyper` in the same way, or refused.
//! Lines are checked one by one, each once and whole: in which pieces they arrive changes nothing.

use crate::core::problem::Code;
use std::io::BufRead;

/// Longest line with the size of a chunk, in bytes: 16 digits, and extensions, which are ignored.
const CHUNK_LINE_MAX: usize = 256;
/// Digits in the size of a chunk: as many as 64 bits have.
const CHUNK_DIGITS_MAX: usize = 16;

/// Why no more bytes of a connection are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A head that is answered with this code, and what is wrong with it.
    Head(Code, &'static str),
    /// What is wrong with a chunked body.
    Body(&'static str),
}

/// How the body behind a head is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyFrame {
    Length(u64),
    Chunked,
}

/// What is known of a head after its bytes so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scanned {
    Incomplete,
    /// The number of its bytes, and its body.
    Whole(usize, BodyFrame),
    /// The code of the answer, and what is wrong.
    Refused(Code, &'static str),
}

/// A head, read line by line.
#[derive(Debug, Default)]
pub(super) struct HeadScan {
    /// The beginning of the line that is not complete yet.
    line_start: usize,
    /// Bytes that were searched for the end of that line.
    searched: usize,
    /// Was the request line read?
    begun: bool,
    length: Option<u64>,
    chunked: bool,
}

impl HeadScan {
    /// Reads on. `bytes`: all since the beginning of the head; `bytes_max`: the greatest number of bytes of a head.
    pub(super) fn scan(&mut self, bytes: &[u8], bytes_max: usize) -> Scanned {
        // A method is a token, and empty lines before a request are ignored.
        if !self.begun && bytes.first().is_some_and(|byte| !byte.is_ascii_alphabetic() && *byte != b'\r') {
            return Scanned::Refused(Code::MalformedRequest, "the head of the request cannot be parsed");
        }
        loop {
            let mut rest = bytes.get(self.searched..).unwrap_or_default();
            let searched = rest.skip_until(b'\n').unwrap_or(0);
            let end = self.searched.saturating_add(searched);
            let line = bytes.get(self.line_start..end).unwrap_or_default();
            self.searched = end;
            if end > bytes_max {
                return Scanned::Refused(Code::HeadTooLarge, "the head of the request is too long");
            }
            let Some(line) = line.strip_suffix(b"\n") else { return Scanned::Incomplete };
            self.line_start = end;
            match self.line(line) {
                Ok(None) => {}
                Ok(Some(body)) => return Scanned::Whole(end, body),
                Err(detail) => return Scanned::Refused(Code::MalformedRequest, detail),
            }
        }
    }

    /// Reads a line without its line feed; `Some`: it ends the head.
    fn line(&mut self, line: &[u8]) -> Result<Option<BodyFrame>, &'static str> {
        let line = line.strip_suffix(b"\r").ok_or("a line of the head does not end with CR LF")?;
        if line.contains(&b'\r') {
            return Err("a line of the head contains a carriage return");
        }
        if line.is_empty() {
            let body = if self.chunked { BodyFrame::Chunked } else { BodyFrame::Length(self.length.unwrap_or(0)) };
            return Ok(self.begun.then_some(body));
        }
        if self.begun {
            self.field(line)?;
        }
        self.begun = true;
        Ok(None)
    }

    fn field(&mut self, line: &[u8]) -> Result<(), &'static str> {
        match line.first() {
            Some(b'c' | b'C') => {
                let Some(value) = value_of(line, b"content-length:") else { return Ok(()) };
                let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
                let length = digits.and_then(|digits| digits.parse().ok()).ok_or("Content-Length is no number")?;
                if self.length.replace(length).is_some() {
                    return Err("the length of the body is given more than once");
                }
            }
            Some(b't' | b'T') => {
                let Some(value) = value_of(line, b"transfer-encoding:") else { return Ok(()) };
                if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err("the only Transfer-Encoding is chunked, given once");
                }
                self.chunked = true;
            }
            _ => return Ok(()),
        }
        if self.chunked && self.length.is_some() {
            return Err("the length of the body is given more than once");
        }
        Ok(())
    }
}

/// The value of a header line, if it begins with this name in lower case and a colon.
fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, value) = line.split_at_checked(name.len())?;
    start.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    /// Bytes of the body that are still to come.
    Length(u64),
    ChunkSize,
    /// Bytes of the chunk that are still to come.
    Chunk(u64),
    /// The line end behind a chunk.
    ChunkEnd,
    Trailers,
}

/// Follows the bytes of one connection from request to request.
#[derive(Debug)]
pub(super) struct Framing {
    state: State,
    head: HeadScan,
    /// The line of a chunked body that is not complete yet.
    line: Vec<u8>,
    /// Bytes of the trailers so far.
    trailers: usize,
    head_bytes_max: usize,
}

impl Framing {
    pub(super) fn new(head_bytes_max: usize) -> Self {
        Self { state: State::Head, head: HeadScan::default(), line: Vec::new(), trailers: 0, head_bytes_max }
    }

    /// Checks bytes. Returns how many of them may be passed on, and why the next one may not; without a reason the rest is a head that is not
    /// whole, to be given again with more bytes behind it.
    pub(super) fn check(&mut self, bytes: &[u8]) -> (usize, Option<Refusal>) {
        let mut passed = 0;
        loop {
            let rest = bytes.get(passed..).unwrap_or_default();
            if rest.is_empty() {
                return (passed, None);
            }
            let taken = match self.state {
                State::Head => match self.head.scan(rest, self.head_bytes_max) {
                    Scanned::Incomplete => return (passed, None),
                    Scanned::Refused(code, detail) => return (passed, Some(Refusal::Head(code, detail))),
                    Scanned::Whole(length, body) => {
                        self.head = HeadScan::default();
                        self.state = match body {
                            BodyFrame::Length(0) => State::Head,
                            BodyFrame::Length(length) => State::Length(length),
                            BodyFrame::Chunked => State::ChunkSize,
                        };
                        length
                    }
                },
                State::Length(left) => {
                    let (taken, left) = taken_of(left, rest);
                    self.state = if left == 0 { State::Head } else { State::Length(left) };
                    taken
                }
                State::Chunk(left) => {
                    let (taken, left) = taken_of(left, rest);
                    self.state = if left == 0 { State::ChunkEnd } else { State::Chunk(left) };
                    taken
                }
                State::ChunkSize | State::ChunkEnd | State::Trailers => match self.chunk_line(rest) {
                    Ok(taken) => taken,
                    Err(detail) => return (passed, Some(Refusal::Body(detail))),
                },
            };
            passed = passed.saturating_add(taken);
        }
    }

    /// Reads a line between chunks, as far as it is there.
    fn chunk_line(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        let mut rest = bytes;
        let taken = rest.skip_until(b'\n').unwrap_or(0);
        let (piece, trailers) = (bytes.get(..taken).unwrap_or_default(), self.state == State::Trailers);
        let line_max = if trailers { self.head_bytes_max } else { CHUNK_LINE_MAX };
        if self.trailers.saturating_add(self.line.len()).saturating_add(taken) > line_max {
            return Err("a line of the chunked body is too long");
        }
        self.line.extend_from_slice(piece);
        if piece.last() != Some(&b'\n') {
            return Ok(taken);
        }
        let line = std::mem::take(&mut self.line);
        let text = line.strip_suffix(b"\r\n").ok_or("a line of the chunked body does not end with CR LF")?;
        self.state = match self.state {
            State::ChunkEnd if text.is_empty() => State::ChunkSize,
            State::ChunkEnd => return Err("a chunk is longer than its size"),
            State::Trailers if text.is_empty() => State::Head,
            State::Trailers => State::Trailers,
            _ => match chunk_size(text).ok_or("the size of a chunk is no number")? {
                0 => State::Trailers,
                size => State::Chunk(size),
            },
        };
        self.trailers = if self.state == State::Trailers { self.trailers.saturating_add(line.len()) } else { 0 };
        Ok(taken)
    }
}

/// How many of `left` bytes are in `bytes`, and how many are left then.
fn taken_of(left: u64, bytes: &[u8]) -> (usize, u64) {
    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
    (taken, left.saturating_sub(u64::try_from(taken).unwrap_or(u64::MAX)))
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, rest) = line.split_at_checked(digits)?;
    let is_end = rest.first().is_none_or(|byte| matches!(byte, b';' | b' ' | b'\t'));
    let lawful = (1..=CHUNK_DIGITS_MAX).contains(&digits.len()) && is_end && !rest.contains(&b'\r');
    let digits = std::str::from_utf8(digits).ok().filter(|_| lawful)?;
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1_024;
    const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

    /// All that passes of bytes that arrive in pieces of these lengths, and the refusal.
    fn passed_in_pieces(bytes: &[u8], cuts: &[usize]) -> (Vec<u8>, Option<Refusal>) {
        let (mut framing, mut held, mut passed) = (Framing::new(MAX), Vec::new(), Vec::new());
        let ends = cuts.iter().copied().chain([bytes.len()]);
        let mut begin = 0;
        for end in ends {
            held.extend_from_slice(&bytes[begin..end]);
            begin = end;
            let (taken, refusal) = framing.check(&held);
            passed.extend(held.drain(..taken));
            if refusal.is_some() {
                return (passed, refusal);
            }
        }
        (passed, None)
    }

    /// The same in one piece, in any two pieces, and byte by byte.
    fn in_any_pieces(bytes: &[u8]) -> (Vec<u8>, Option<Refusal>) {
        let whole = passed_in_pieces(bytes, &[]);
        for cut in 0..bytes.len() {
            assert_eq!(passed_in_pieces(bytes, &[cut]), whole, "cut at {cut}");
        }
        let all: Vec<usize> = (0..bytes.len()).collect();
        assert_eq!(passed_in_pieces(bytes, &all), whole, "byte by byte");
        whole
    }

    fn refusal_of(head: &str) -> Option<&'static str> {
        match in_any_pieces(&[GET, head.as_bytes(), GET].concat()) {
            (passed, Some(Refusal::Head(Code::MalformedRequest, detail))) => {
                assert_eq!(passed, GET, "what is before it passes, and nothing of it");
                Some(detail)
            }
            (_, None) => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_head_that_can_be_read_in_two_ways_is_refused_wherever_it_is_cut() {
        for lines in [
            "Content-Length: 3\r\nTransfer-Encoding: chunked",
            "transfer-encoding: chunked\r\ncontent-length: 3",
            "Content-Length: 3\r\nCONTENT-LENGTH: 3",
            "Content-Length: 3\r\nContent-Length: 4",
            "Content-Length: 3, 3",
            "Content-Length: +3",
            "Content-Length: ",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked, chunked",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: identity",
            "Transfer-Encoding: \u{b}chunked",
            "X: y\nContent-Length: 3",
            "X: y\rContent-Length: 3",
        ] {
            assert!(refusal_of(&format!("POST / HTTP/1.1\r\n{lines}\r\n\r\n")).is_some(), "{lines}");
        }
        for head in ["POST / HTTP/1.1\nHost: x\r\n\r\n", "POST / HTTP/1.1\r\nHost: x\r\n\n", "\nGET", "\0", "\x16\x03"]
        {
            assert!(refusal_of(head).is_some(), "{head:?}");
        }
    }

    #[test]
    fn the_text_of_a_body_is_no_head() {
        let body = "\r\n\r\nPOST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\n\n";
        let sized = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let chunked = format!(
            "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n{:x};a=b\r\n{body}\r\n0\r\nX: y\r\n\r\n",
            body.len()
        );
        let all = [sized.as_bytes(), GET, chunked.as_bytes(), b"\r\n", GET].concat();
        assert_eq!(in_any_pieces(&all), (all, None));
    }

    #[test]
    fn what_is_no_whole_head_is_held_back() {
        let (passed, refusal) = in_any_pieces(&[GET, &GET[..GET.len() - 1]].concat());
        assert_eq!((passed, refusal), (GET.to_vec(), None));
    }

    #[test]
    fn a_head_has_a_greatest_length_however_it_comes() {
        let head = |length: usize| format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(length - 23));
        assert_eq!(in_any_pieces(head(MAX).as_bytes()).1, None);
        let too_long = in_any_pieces(head(MAX + 1).as_bytes()).1;
        assert!(matches!(too_long, Some(Refusal::Head(Code::HeadTooLarge, _))), "{too_long:?}");
        assert_eq!(
            in_any_pieces("\r\n".repeat(MAX).as_bytes()).1,
            too_long,
            "empty lines before a request are bytes too"
        );
    }

    #[test]
    fn a_chunked_body_that_can_be_read_in_two_ways_is_refused() {
        for chunks in [
            "3\nabc\r\n",
            "3\r\nabcd\r\n",
            "3\r\nabc\n0\r\n\r\n",
            "\r\n",
            "0x3\r\nabc\r\n",
            "3x\r\nabc\r\n",
            "fffffffffffffffff\r\n",
            "3;a\rb\r\nabc\r\n",
            "0\r\nX: y\n\r\n",
        ] {
            let all = format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
            // Of a body each piece passes as it comes, so only the refusal is the same for all.
            let refusal = passed_in_pieces(all.as_bytes(), &[]).1;
            assert!(matches!(refusal, Some(Refusal::Body(_))), "{chunks:?}");
            for cut in 0..all.len() {
                assert_eq!(passed_in_pieces(all.as_bytes(), &[cut]).1, refusal, "{chunks:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_chunk_line_and_trailers_have_a_greatest_length() {
        for chunks in
            [format!("3;{}\r\n", "x".repeat(CHUNK_LINE_MAX)), format!("0\r\n{}", "X: y\r\n".repeat(MAX / 6 + 1))]
        {
            let all = format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
            let refusal = passed_in_pieces(all.as_bytes(), &[]).1;
            assert_eq!(refusal, Some(Refusal::Body("a line of the chunked body is too long")));
        }
    }
}
