//! The walk over a mail: where its parts begin and end.

use std::io::{self, Read};

use crate::part::{Form, Part};

/// Longest head of a part, in bytes; a longer one is an error. Exchange takes 256 KiB.
pub const MAX_HEAD: usize = 1024 * 1024;

/// Bytes that are read, and given out, at once.
const PIECE: usize = 64 * 1024;
/// A line that is longer is given out in pieces; no boundary line is (RFC 2046 5.1.1: at most 70
/// characters).
const LONG: usize = 4096;
/// Deepest nesting; what is deeper is an error. Exchange takes 30 levels of embedded messages.
const MAX_DEPTH: usize = 200;

/// What a mail consists of. The bytes of all events, one after the other, are the mail.
#[derive(Debug)]
pub enum Event<'a> {
    /// What is between parts: preambles, boundary lines with the line end before, epilogues.
    Between(&'a [u8]),
    /// The head of the mail, of an embedded message or of a part; its bytes are [`Part::raw`].
    Head(&'a Part),
    /// A piece of the body of the leaf whose head came last.
    Body(&'a [u8]),
    /// That leaf is at its end.
    End {
        /// True if no line end follows before the next boundary: a body that is put in place of
        /// this one has to end its last line itself.
        open_line: bool,
    },
}

/// Reads a mail as [`Event`]s, in memory that does not depend on its length.
#[derive(Debug)]
pub struct Walk<R> {
    input: R,
    /// What is read and not given out begins at `at`.
    buffer: Vec<u8>,
    at: usize,
    /// The input is at its end.
    ended: bool,
    /// What the place read is in, outermost first.
    levels: Vec<Level>,
    state: State,
    /// The line end read last, if it is not given out: it is a boundary's if one follows.
    held: Vec<u8>,
    /// The next byte begins a line.
    fresh: bool,
    /// Embedded messages are leaves.
    whole_messages: bool,
    /// What the last event shows.
    out: Vec<u8>,
    part: Part,
}

#[derive(Debug)]
struct Level {
    media_type: String,
    /// Of a multipart; none of a message.
    boundary: Option<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Head,
    Body,
    /// The body is given out, its end is not; true: no line end was held back.
    End,
    Between,
}

/// A line at the read position, or a piece of a long one.
struct Line {
    /// Without its end.
    length: usize,
    /// Bytes of its end: 0 for a piece and for the last line of the mail, else 1 or 2.
    end: usize,
}

/// A boundary line.
struct Boundary {
    /// Index of its level.
    level: usize,
    /// It closes the multipart.
    closes: bool,
}

impl<R: Read> Walk<R> {
    /// Begins at the first byte of a mail.
    pub fn new(input: R) -> Self {
        Walk {
            input,
            buffer: Vec::new(),
            at: 0,
            ended: false,
            levels: Vec::new(),
            state: State::Head,
            held: Vec::new(),
            fresh: true,
            whole_messages: false,
            out: Vec::new(),
            part: Part::default(),
        }
    }

    /// Likewise, and does not look into embedded messages: they are leaves.
    pub fn with_whole_messages(input: R) -> Self {
        Walk { whole_messages: true, ..Walk::new(input) }
    }

    /// What comes next; none at the end of the mail. Fails if the input does, and with
    /// [`io::ErrorKind::InvalidData`] for a head over [`MAX_HEAD`] and for nesting without end.
    pub fn next_event(&mut self) -> io::Result<Option<Event<'_>>> {
        self.out.clear();
        loop {
            match self.state {
                State::Head => {
                    self.read_head()?;
                    return Ok(Some(Event::Head(&self.part)));
                }
                State::Body => {
                    if self.read_body()? {
                        self.state = State::End;
                    }
                    if !self.out.is_empty() {
                        return Ok(Some(Event::Body(&self.out)));
                    }
                }
                State::End => {
                    self.state = State::Between;
                    return Ok(Some(Event::End { open_line: self.held.is_empty() }));
                }
                State::Between => {
                    self.read_between()?;
                    let event = (!self.out.is_empty()).then_some(Event::Between(&self.out));
                    return Ok(event);
                }
            }
        }
    }

    /// Reads a head and what its part is.
    fn read_head(&mut self) -> io::Result<()> {
        let mut raw = std::mem::take(&mut self.held);
        // The line before was given out with the boundary, so there is nothing held here; a head
        // that begins in the middle of a line can't be.
        debug_assert!(raw.is_empty() && self.fresh);
        while let Some(line) = self.line()? {
            let text = &self.buffer[self.at..self.at + line.length];
            if self.fresh {
                let is_end = text.is_empty();
                if !is_end && (self.boundary(text).is_some() || !is_field(text, raw.is_empty())) {
                    break;
                }
                self.take(&line, &mut raw);
                if is_end {
                    break;
                }
            } else {
                self.take(&line, &mut raw);
            }
            if raw.len() > MAX_HEAD {
                return Err(invalid("the head of a part is over 1 MiB"));
            }
        }
        self.fresh = true;
        let in_digest = self.levels.last().is_some_and(|level| {
            level.boundary.is_some() && level.media_type == "multipart/digest"
        });
        let within = self.levels.iter().map(|level| level.media_type.clone()).collect();
        self.part = Part::parse(raw, within, in_digest);
        if self.whole_messages && self.part.form == Form::Message {
            self.part.form = Form::Leaf;
        }
        let boundary = match &self.part.form {
            Form::Leaf => {
                self.state = State::Body;
                return Ok(());
            }
            Form::Multipart { boundary } => {
                self.state = State::Between;
                Some(boundary.clone())
            }
            Form::Message => None,
        };
        if self.levels.len() == MAX_DEPTH {
            return Err(invalid("parts are nested over 200 deep"));
        }
        self.levels.push(Level { media_type: self.part.media_type.clone(), boundary });
        Ok(())
    }

    /// Reads a piece of a body into `out`; true at its end. The line end before a boundary is
    /// held back.
    fn read_body(&mut self) -> io::Result<bool> {
        while self.out.len() < PIECE {
            let Some(line) = self.line()? else {
                self.out.append(&mut self.held);
                return Ok(true);
            };
            if self.fresh && self.boundary(&self.buffer[self.at..self.at + line.length]).is_some() {
                return Ok(true);
            }
            self.out.append(&mut self.held);
            self.out.extend_from_slice(&self.buffer[self.at..self.at + line.length]);
            self.at += line.length;
            self.held.extend_from_slice(&self.buffer[self.at..self.at + line.end]);
            self.at += line.end;
            self.fresh = line.end > 0;
        }
        Ok(false)
    }

    /// Reads what is between parts into `out`, up to where the next part begins.
    fn read_between(&mut self) -> io::Result<()> {
        self.out.append(&mut self.held);
        while self.out.len() < PIECE {
            let Some(line) = self.line()? else {
                return Ok(());
            };
            let boundary = if self.fresh {
                self.boundary(&self.buffer[self.at..self.at + line.length])
            } else {
                None
            };
            let mut out = std::mem::take(&mut self.out);
            self.take(&line, &mut out);
            self.out = out;
            if let Some(Boundary { level, closes }) = boundary {
                self.levels.truncate(level + 1);
                // A boundary line that the mail ends with has no part after it.
                if !closes && self.fresh {
                    self.state = State::Head;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Moves a line with its end to `out`.
    fn take(&mut self, line: &Line, out: &mut Vec<u8>) {
        let end = self.at + line.length + line.end;
        out.extend_from_slice(&self.buffer[self.at..end]);
        self.at = end;
        self.fresh = line.end > 0;
    }

    /// Which boundary a line is: the innermost of those that are the same.
    fn boundary(&self, line: &[u8]) -> Option<Boundary> {
        let rest = line.strip_prefix(b"--")?;
        let rest = rest.trim_ascii_end();
        // One boundary may be another and "--": a line that is one as it stands is that one.
        let find = |text: &[u8]| {
            self.levels.iter().rposition(|level| level.boundary.as_deref() == Some(text))
        };
        if let Some(level) = find(rest) {
            return Some(Boundary { level, closes: false });
        }
        let level = find(rest.strip_suffix(b"--")?)?;
        Some(Boundary { level, closes: true })
    }

    /// The line at the read position, or a piece of it if it is long. None at the end.
    fn line(&mut self) -> io::Result<Option<Line>> {
        let mut searched = 0;
        loop {
            let rest = &self.buffer[self.at..];
            if let Some(offset) = memchr::memchr2(b'\n', b'\r', &rest[searched..]) {
                let length = searched + offset;
                if rest[length] == b'\n' {
                    return Ok(Some(Line { length, end: 1 }));
                }
                match rest.get(length + 1) {
                    Some(b'\n') => return Ok(Some(Line { length, end: 2 })),
                    Some(_) => return Ok(Some(Line { length, end: 1 })),
                    None if self.ended => return Ok(Some(Line { length, end: 1 })),
                    None => searched = length,
                }
            } else {
                searched = rest.len();
                if searched >= LONG || self.ended {
                    return Ok((searched > 0).then_some(Line { length: searched, end: 0 }));
                }
            }
            self.fill()?;
        }
    }

    /// Reads more of the input.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.at);
        self.at = 0;
        let length = self.buffer.len();
        self.buffer.resize(length + PIECE, 0);
        let read = loop {
            match self.input.read(&mut self.buffer[length..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        self.buffer.truncate(length + read.as_ref().map_or(0, |read| *read));
        self.ended = read? == 0;
        Ok(())
    }
}

/// Whether a line belongs to a head: a field, the continuation of one, or mbox's first line.
fn is_field(line: &[u8], first: bool) -> bool {
    if first && (line.starts_with(b"From ") || line.starts_with(b">From ")) {
        return true;
    }
    if !first && (line[0] == b' ' || line[0] == b'\t') {
        return true;
    }
    // RFC 5322 4.5: obsolete mails have white space before the colon.
    let name =
        line.iter().position(|byte| *byte == b':').map(|colon| line[..colon].trim_ascii_end());
    name.is_some_and(|name| !name.is_empty() && name.iter().all(u8::is_ascii_graphic))
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests;
