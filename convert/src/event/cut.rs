//! The first pass over a file: takes the attachments out, decoded to where the caller wants them,
//! so that what is parsed is small whatever was attached.

use std::io::{BufRead, BufReader, Read, Write};

use data_encoding::{BASE64, BASE64_NOPAD};

use super::Error;
use crate::loss::Losses;

/// Stands for an attachment that was taken out; its value is the attachment's number.
pub(super) const CUT: &str = "X-TAR365-CUT";
/// Stand for a space and a tab in parameters: of the private use area, so that no file has them.
pub(super) const SPACE: char = '\u{f8f0}';
/// See [`SPACE`].
pub(super) const TAB: char = '\u{f8f1}';
/// What a line of a file that already has such a property becomes.
const NOT_OURS: &[u8] = b"X-TAR365-CUT-FOREIGN";
/// Text kept in memory, attachments apart.
const MOST_TEXT: usize = 64 << 20;
/// Longer than any name of a property that matters here, and than any sane list of parameters.
const LONGEST_NAME: usize = 32;
const LONGEST_HEAD: usize = 64 << 10;
/// Base64 decoded at once: a multiple of four.
const CHUNK: usize = 64 << 10;

/// A file without its attachments.
pub(super) struct Cut {
    pub(super) text: String,
    /// Content lines, empty ones not counted.
    pub(super) lines: usize,
    /// Bytes of each attachment.
    pub(super) sizes: Vec<u64>,
}

pub(super) fn cut<'w>(
    input: impl Read,
    sink: &mut dyn FnMut(usize) -> std::io::Result<Box<dyn Write + 'w>>,
    losses: &mut Losses,
) -> Result<Cut, Error> {
    let mut cutter = Cutter {
        text: Vec::new(),
        lines: 0,
        sizes: Vec::new(),
        line: Line::Name(Vec::new()),
        sink,
        losses,
    };
    let mut input = BufReader::with_capacity(CHUNK, input);
    let mut ended = Ended::No;
    loop {
        let bytes = input.fill_buf()?;
        if bytes.is_empty() {
            break;
        }
        for &byte in bytes {
            // A line goes on where the next one begins with a space (RFC 5545, 3.1).
            match (ended, byte) {
                (Ended::Cr, b'\n') => {
                    ended = Ended::Yes;
                    continue;
                }
                (Ended::Cr | Ended::Yes, b' ' | b'\t') => {
                    ended = Ended::No;
                    continue;
                }
                (Ended::Cr | Ended::Yes, _) => cutter.end_line()?,
                (Ended::No, _) => {}
            }
            ended = match byte {
                b'\r' => Ended::Cr,
                b'\n' => Ended::Yes,
                byte => {
                    cutter.push(byte)?;
                    Ended::No
                }
            };
        }
        let read = bytes.len();
        input.consume(read);
    }
    cutter.end_line()?;
    let Cutter { text, lines, sizes, losses, .. } = cutter;
    let text = String::from_utf8(text).unwrap_or_else(|error| {
        losses.add("VCALENDAR", "not in UTF-8, read as Windows-1252");
        encoding_rs::WINDOWS_1252.decode_without_bom_handling(error.as_bytes()).0.into_owned()
    });
    Ok(Cut { text, lines, sizes })
}

#[derive(Clone, Copy)]
enum Ended {
    No,
    Cr,
    Yes,
}

/// A content line, as far as it was read.
enum Line<'w> {
    /// Its name, of which it depends what is done with it.
    Name(Vec<u8>),
    /// Its name and parameters.
    Head { head: Vec<u8>, quoted: bool },
    /// Copied.
    Text,
    /// The value of an attachment.
    Content(Content<'w>),
}

struct Content<'w> {
    base64: Vec<u8>,
    out: Box<dyn Write + 'w>,
    size: u64,
    damaged: bool,
}

struct Cutter<'a, 'w> {
    text: Vec<u8>,
    lines: usize,
    sizes: Vec<u64>,
    line: Line<'w>,
    sink: &'a mut dyn FnMut(usize) -> std::io::Result<Box<dyn Write + 'w>>,
    losses: &'a mut Losses,
}

impl Cutter<'_, '_> {
    fn push(&mut self, byte: u8) -> Result<(), Error> {
        match &mut self.line {
            Line::Name(name) => {
                name.push(byte);
                if matches!(byte, b':' | b';') || name.len() > LONGEST_NAME {
                    self.named()?;
                }
            }
            Line::Head { head, quoted } => {
                head.push(byte);
                *quoted ^= byte == b'"';
                if byte == b':' && !*quoted {
                    self.headed()?;
                } else if head.len() > LONGEST_HEAD {
                    self.text.append(head);
                    self.line = Line::Text;
                }
            }
            Line::Text => self.text.push(byte),
            Line::Content(content) => {
                if !byte.is_ascii_whitespace() {
                    content.base64.push(byte);
                }
                if content.base64.len() == CHUNK {
                    let number = self.sizes.len() - 1;
                    content.decode().map_err(|source| failed(number, source))?;
                }
            }
        }
        if self.text.len() > MOST_TEXT {
            return Err(Error::TooLarge(MOST_TEXT));
        }
        Ok(())
    }

    /// The name of a line is known, with the colon or semicolon after it.
    fn named(&mut self) -> Result<(), Error> {
        let Line::Name(name) = std::mem::replace(&mut self.line, Line::Text) else { return Ok(()) };
        let (bare, stop) = name.split_at(name.len() - 1);
        let bare = if bare.eq_ignore_ascii_case(CUT.as_bytes()) { NOT_OURS } else { bare };
        if stop == b";" {
            self.line = Line::Head { head: [bare, stop].concat(), quoted: false };
        } else {
            self.text.extend(bare);
            self.text.extend(stop);
        }
        Ok(())
    }

    /// All parameters of a line are known.
    fn headed(&mut self) -> Result<(), Error> {
        let Line::Head { head, .. } = std::mem::replace(&mut self.line, Line::Text) else {
            return Ok(());
        };
        let parameters = parameters(&head[..head.len() - 1]);
        let is = |parameter: &[u8], wanted: &str| parameter.eq_ignore_ascii_case(wanted.as_bytes());
        let encoded =
            parameters.iter().any(|one| is(one, "ENCODING=BASE64") || is(one, "ENCODING=B"));
        let name = head.split(|&byte| byte == b';').next().unwrap_or_default();
        if !encoded || !is(name, "ATTACH") {
            self.text.extend(guarded(&head));
            return Ok(());
        }
        let number = self.sizes.len();
        self.text.extend(CUT.as_bytes());
        for parameter in parameters.iter().filter(|one| {
            let name = one.split(|&byte| byte == b'=').next().unwrap_or_default();
            !is(name, "ENCODING") && !is(name, "VALUE")
        }) {
            self.text.push(b';');
            self.text.extend(guarded(parameter));
        }
        self.text.extend(format!(":{number}").as_bytes());
        let out = (self.sink)(number).map_err(|source| failed(number, source))?;
        self.sizes.push(0);
        self.line = Line::Content(Content {
            base64: Vec::with_capacity(CHUNK),
            out,
            size: 0,
            damaged: false,
        });
        Ok(())
    }

    fn end_line(&mut self) -> Result<(), Error> {
        let empty = matches!(&self.line, Line::Name(name) if name.is_empty());
        match std::mem::replace(&mut self.line, Line::Name(Vec::new())) {
            Line::Name(text) | Line::Head { head: text, .. } => self.text.extend(text),
            Line::Text => {}
            Line::Content(mut content) => {
                let number = self.sizes.len() - 1;
                content.finish().map_err(|source| failed(number, source))?;
                self.sizes[number] = content.size;
                if content.damaged {
                    self.losses.add("VEVENT/ATTACH", "its base64 is damaged");
                }
            }
        }
        if !empty {
            self.lines += 1;
            self.text.push(b'\n');
        }
        Ok(())
    }
}

impl Content<'_> {
    fn decode(&mut self) -> std::io::Result<()> {
        let decoded = BASE64.decode(&self.base64);
        self.base64.clear();
        self.put(decoded.ok())
    }

    fn finish(&mut self) -> std::io::Result<()> {
        // Padding may be missing: what decodes without it is whole.
        let end = self.base64.iter().rposition(|&byte| byte != b'=').map_or(0, |last| last + 1);
        let decoded = BASE64_NOPAD.decode(&self.base64[..end]);
        self.put(decoded.ok())?;
        self.out.flush()
    }

    /// What follows on damage is not what was attached, and is left out.
    fn put(&mut self, decoded: Option<Vec<u8>>) -> std::io::Result<()> {
        let Some(bytes) = decoded.filter(|_| !self.damaged) else {
            self.damaged = true;
            return Ok(());
        };
        self.size += bytes.len() as u64;
        self.out.write_all(&bytes)
    }
}

/// Parameters for the parser, which takes a backslash for an escape, and several spaces or tabs for one; by
/// RFC 5545, 3.2 they are what they are.
fn guarded(head: &[u8]) -> Vec<u8> {
    let mut guarded = Vec::with_capacity(head.len());
    for &byte in head {
        match byte {
            b'\\' => guarded.extend(b"\\\\"),
            b' ' => guarded.extend(SPACE.to_string().bytes()),
            b'\t' => guarded.extend(TAB.to_string().bytes()),
            other => guarded.push(other),
        }
    }
    guarded
}

/// The parameters in a head, which begins with the name; semicolons may be quoted.
fn parameters(head: &[u8]) -> Vec<&[u8]> {
    let mut quoted = false;
    let parts = head.split(|&byte| {
        quoted ^= byte == b'"';
        byte == b';' && !quoted
    });
    parts.skip(1).collect()
}

fn failed(number: usize, source: std::io::Error) -> Error {
    Error::Attachment { name: number.to_string(), source }
}
