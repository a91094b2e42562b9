//! Takes the binary content of attachments out of an iCalendar file as it streams by, so that only
//! the rest of it is held in memory and parsed.

use std::io::{self, BufRead, BufReader, Read};

use data_encoding::{BASE64, BASE64_NOPAD};

use crate::encoding::decode;
use crate::error::Error;

/// The line that stands in the text where content was taken out; its value counts from 0.
pub(crate) const CUT: &str = "X-TAR365-CUT";

/// Bytes of text, content of attachments apart, that are held in memory.
const TEXT_LIMIT: usize = 64 << 20;

/// What stood before the colon of a line whose content was taken out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CutHead {
    parameters: Vec<(String, String)>,
}

impl CutHead {
    /// The value of a parameter.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let mut found = self.parameters.iter().filter(|(is, _)| is.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.as_str())
    }

    /// Splits a head in its parameters, with the escapes of RFC 6868.
    fn parse(head: &str) -> Self {
        let mut parameters = Vec::new();
        let mut is_quoted = false;
        let split = head.split(|c| {
            is_quoted ^= c == '"';
            c == ';' && !is_quoted
        });
        for parameter in split.skip(1) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = value.trim().trim_matches('"');
            let mut plain = String::with_capacity(value.len());
            let mut rest = value.chars();
            while let Some(c) = rest.next() {
                match (c, rest.as_str().chars().next()) {
                    ('^', Some(escaped @ ('^' | '\'' | 'n'))) => {
                        plain.push(match escaped {
                            '\'' => '"',
                            'n' => '\n',
                            other => other,
                        });
                        rest.next();
                    }
                    _ => plain.push(c),
                }
            }
            parameters.push((name.trim().to_ascii_uppercase(), plain));
        }
        Self { parameters }
    }

    fn is_base64(&self) -> bool {
        self.parameter("ENCODING").is_some_and(|encoding| {
            encoding.eq_ignore_ascii_case("BASE64") || encoding.eq_ignore_ascii_case("B")
        })
    }
}

/// Reads a file to its end. Each content in base64 is given to `content`, which need not read all
/// of it, and replaced by a line [`CUT`]. Returns the rest as text, with the heads of what was taken
/// out, and whether its character set was guessed.
///
/// # Errors
/// [`Error::TooLarge`], [`Error::Io`] of the input, [`Error::Attachment`] of `content`, or when it
/// is not base64.
pub(crate) fn cut(
    input: &mut dyn Read,
    mut content: impl FnMut(usize, &CutHead, &mut dyn Read) -> io::Result<()>,
) -> Result<(String, Vec<CutHead>, bool), Error> {
    let mut lines = Unfolded { input: BufReader::new(input), failure: None };
    let mut text = Vec::new();
    let mut heads = Vec::new();
    loop {
        let start = text.len();
        let Some(end) = lines.head(&mut text)? else { break };
        if end == b':' {
            let head = CutHead::parse(&String::from_utf8_lossy(&text[start..text.len() - 1]));
            if head.is_base64() {
                text.truncate(start);
                text.extend(format!("{CUT}:{}\r\n", heads.len()).bytes());
                lines.content(heads.len(), &head, &mut content)?;
                heads.push(head);
            } else {
                lines.rest(&mut text)?;
            }
        }
    }
    let (text, guessed) = decode(text);
    Ok((text, heads, guessed))
}

/// Lines without their folds.
struct Unfolded<R> {
    input: R,
    /// What went wrong inside of a content.
    failure: Option<io::Error>,
}

impl<R: BufRead> Unfolded<R> {
    fn peek(&mut self) -> io::Result<Option<u8>> {
        loop {
            match self.input.fill_buf() {
                Ok(buffer) => return Ok(buffer.first().copied()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The next byte; LF is the end of a whole line.
    fn next(&mut self) -> io::Result<Option<u8>> {
        loop {
            let Some(byte) = self.peek()? else { return Ok(None) };
            self.input.consume(1);
            let is_end = byte == b'\n' || byte == b'\r' && self.peek()? == Some(b'\n');
            if byte == b'\r' && is_end {
                continue;
            }
            if is_end && matches!(self.peek()?, Some(b' ' | b'\t')) {
                self.input.consume(1);
                continue;
            }
            return Ok(Some(byte));
        }
    }

    /// Appends a line up to its colon or its end and says which it was; none at the end of the file.
    fn head(&mut self, text: &mut Vec<u8>) -> Result<Option<u8>, Error> {
        let mut is_quoted = false;
        let start = text.len();
        while let Some(byte) = self.next()? {
            push(text, byte)?;
            match byte {
                b'"' => is_quoted = !is_quoted,
                b':' if !is_quoted => return Ok(Some(byte)),
                b'\n' => return Ok(Some(byte)),
                _ => {}
            }
        }
        Ok((text.len() > start).then_some(b'\n'))
    }

    /// Appends the rest of a line.
    fn rest(&mut self, text: &mut Vec<u8>) -> Result<(), Error> {
        while let Some(byte) = self.next()? {
            push(text, byte)?;
            if byte == b'\n' {
                break;
            }
        }
        Ok(())
    }

    fn content(
        &mut self,
        number: usize,
        head: &CutHead,
        take: &mut impl FnMut(usize, &CutHead, &mut dyn Read) -> io::Result<()>,
    ) -> Result<(), Error> {
        let mut decoded = Decoded { lines: self, plain: Vec::new(), at: 0, is_over: false };
        let taken = take(number, head, &mut decoded);
        // What was not read is passed over.
        let drained = io::copy(&mut decoded, &mut io::sink());
        let failed = |source| {
            let name = head.parameter("X-FILENAME").or(head.parameter("FILENAME"));
            Error::Attachment { name: name.map_or(number.to_string(), str::to_owned), source }
        };
        if let Some(failure) = self.failure.take() {
            return Err(failure.into());
        }
        taken.and(drained.map(|_| ())).map_err(failed)
    }
}

fn push(text: &mut Vec<u8>, byte: u8) -> Result<(), Error> {
    if text.len() == TEXT_LIMIT {
        return Err(Error::TooLarge(TEXT_LIMIT));
    }
    text.push(byte);
    Ok(())
}

/// The rest of a line, decoded.
struct Decoded<'a, R> {
    lines: &'a mut Unfolded<R>,
    plain: Vec<u8>,
    at: usize,
    is_over: bool,
}

impl<R: BufRead> Decoded<'_, R> {
    /// Decodes the next piece.
    fn refill(&mut self) -> io::Result<()> {
        let mut encoded = Vec::with_capacity(8192);
        while encoded.len() < 8192 && !self.is_over {
            match self.lines.next() {
                Ok(None | Some(b'\n')) => self.is_over = true,
                Ok(Some(byte)) if byte.is_ascii_whitespace() => {}
                Ok(Some(byte)) => encoded.push(byte),
                Err(error) => {
                    self.is_over = true;
                    let told = io::Error::new(error.kind(), error.to_string());
                    self.lines.failure = Some(error);
                    return Err(told);
                }
            }
        }
        let padded = if encoded.len() % 4 == 0 { BASE64 } else { BASE64_NOPAD };
        self.at = 0;
        self.plain = padded
            .decode(&encoded)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not base64"))?;
        Ok(())
    }
}

impl<R: BufRead> Read for Decoded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.plain.len() && !self.is_over {
            self.refill()?;
        }
        let count = (self.plain.len() - self.at).min(buffer.len());
        buffer[..count].copy_from_slice(&self.plain[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}
