//! Where the parts of a mail are (RFC 2046), found in one pass in bounded memory: a mail of
//! 150 MB costs what its header blocks cost.
//!
//! Mails inside the mail are not looked into: they are leaves here.

use std::io::{self, BufRead, BufReader, Read};
use std::ops::Range;

use mail_parser::{ContentType, HeaderValue};

use super::head::{Head, decode_words};
use super::part::Encoding;

/// Most parts told apart; the last one has the bytes of all that follow.
const MOST_PARTS: usize = 1000;
/// Deepest nesting of multiparts; a deeper one is a leaf.
const DEEPEST: usize = 64;
/// Most bytes of a header block that are looked at.
const MOST_HEAD: usize = 1024 * 1024;
/// Most bytes of the header block of a part that are looked at.
const MOST_PART_HEAD: usize = 64 * 1024;
/// Most bytes of a line that are looked at.
const MOST_LINE: usize = MOST_HEAD;

/// The structure of a mail.
#[derive(Debug)]
pub(super) struct Outline {
    /// The header block of the mail, at most [`MOST_HEAD`] of it.
    pub(super) head: Vec<u8>,
    /// Bytes of the header block.
    pub(super) head_size: u64,
    /// In the order of the mail. The first is the mail itself; a parent precedes its parts.
    pub(super) entities: Vec<Entity>,
}

/// The mail or a part of it.
#[derive(Debug)]
pub(super) struct Entity {
    /// What its header block says.
    pub(super) fields: Fields,
    /// Where its content is, encoded. Of a multipart all of it.
    pub(super) body: Range<u64>,
    /// The multipart it belongs to.
    pub(super) parent: Option<usize>,
    /// It has parts of its own.
    pub(super) is_multipart: bool,
}

/// What matters of the header block of a part.
#[derive(Debug, Default)]
pub(super) struct Fields {
    /// `type/subtype` in small letters.
    pub(super) content_type: String,
    pub(super) charset: Option<String>,
    boundary: Option<String>,
    /// The file name it declares, decoded, as it stands.
    pub(super) name: Option<String>,
    pub(super) disposition: Option<Disposition>,
    /// Without angle brackets.
    pub(super) content_id: Option<String>,
    pub(super) encoding: Encoding,
}

/// RFC 2183.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disposition {
    Inline,
    /// Also whatever is not known.
    Attachment,
}

impl Fields {
    fn new(head: &Head, in_digest: bool) -> Self {
        let content_type = head.parsed("content-type", "Content-Type");
        let content_type = content_type.and_then(HeaderValue::into_content_type);
        let disposition = head.parsed("content-disposition", "Content-Disposition");
        let disposition = disposition.and_then(HeaderValue::into_content_type);
        let attribute = |of: &Option<ContentType<'static>>, name| {
            of.as_ref().and_then(|of| of.attribute(name)).map(str::to_owned)
        };
        let declared = content_type.as_ref().and_then(|declared| {
            Some(format!("{}/{}", declared.ctype(), declared.subtype()?).to_lowercase())
        });
        let default =
            if in_digest && content_type.is_none() { "message/rfc822" } else { "text/plain" };
        let name = attribute(&disposition, "filename").or_else(|| attribute(&content_type, "name"));
        let content_id = head.unfolded("content-id");
        let content_id = content_id.map(|id| id.trim_matches(['<', '>', ' ', '\t']).to_owned());
        Self {
            content_type: declared.unwrap_or_else(|| default.to_owned()),
            charset: attribute(&content_type, "charset"),
            boundary: attribute(&content_type, "boundary")
                .map(|boundary| boundary.trim_end().to_owned())
                .filter(|boundary| !boundary.is_empty()),
            name: name.map(|name| if name.contains("=?") { decode_words(&name) } else { name }),
            disposition: disposition.map(|disposition| match disposition.is_inline() {
                true => Disposition::Inline,
                false => Disposition::Attachment,
            }),
            content_id: content_id.filter(|id| !id.is_empty()),
            encoding: head
                .unfolded("content-transfer-encoding")
                .map_or(Encoding::Identity, |name| Encoding::from_name(&name)),
        }
    }

    pub(super) fn is_multipart(&self) -> bool {
        self.content_type.starts_with("multipart/")
    }

    /// A mail in the mail.
    pub(super) fn is_message(&self) -> bool {
        matches!(self.content_type.as_str(), "message/rfc822" | "message/global")
    }
}

impl Outline {
    /// Reads the mail to its end.
    pub(super) fn read(mail: impl Read) -> io::Result<Self> {
        let mut lines = Lines { input: BufReader::with_capacity(64 * 1024, mail), at: 0 };
        let mut line = Line::default();
        let mut scan = Scan::new();
        while lines.next(&mut line)? {
            scan.line(&line);
        }
        Ok(scan.finish(lines.at))
    }

    /// The multiparts an entity is in, the innermost first, each with its part that leads there.
    pub(super) fn ancestors(&self, entity: usize) -> impl Iterator<Item = (usize, usize)> {
        std::iter::successors(Some(entity), |at| self.entities[*at].parent)
            .filter_map(|at| Some((self.entities[at].parent?, at)))
    }
}

/// A line: where it is, and its beginning.
#[derive(Debug, Default)]
struct Line {
    start: u64,
    end: u64,
    /// At most [`MOST_LINE`] bytes, without the line end.
    text: Vec<u8>,
    /// 0 (at the end of the mail), 1 or 2.
    ending: u64,
}

struct Lines<R> {
    input: BufReader<R>,
    at: u64,
}

impl<R: Read> Lines<R> {
    fn next(&mut self, line: &mut Line) -> io::Result<bool> {
        line.start = self.at;
        line.text.clear();
        line.ending = 0;
        // The last byte, which `text` may not have any more.
        let mut last = 0;
        loop {
            let chunk = self.input.fill_buf()?;
            if chunk.is_empty() {
                break;
            }
            let newline = chunk.iter().position(|byte| *byte == b'\n');
            let piece = &chunk[..newline.unwrap_or(chunk.len())];
            let room = (MOST_LINE - line.text.len()).min(piece.len());
            line.text.extend_from_slice(&piece[..room]);
            last = piece.last().copied().unwrap_or(last);
            let used = piece.len() + usize::from(newline.is_some());
            self.input.consume(used);
            self.at += used as u64;
            if newline.is_some() {
                line.ending = if last == b'\r' { 2 } else { 1 };
                break;
            }
        }
        line.end = self.at;
        if line.ending == 2 && line.end - line.start - 1 == line.text.len() as u64 {
            line.text.pop();
        }
        Ok(line.end > line.start)
    }
}

/// A multipart whose end was not seen yet.
struct Open {
    entity: usize,
    boundary: Vec<u8>,
}

enum State {
    /// In the header block of the last entity.
    Head,
    /// In the content of the last entity, a leaf.
    Body,
    /// Before the first or after the last part of a multipart: nobody is shown this.
    Between,
}

struct Scan {
    entities: Vec<Entity>,
    open: Vec<Open>,
    state: State,
    /// Header block of the last entity.
    head: Vec<u8>,
    root_head: Vec<u8>,
    head_size: u64,
    /// Of the line before.
    ending: u64,
}

impl Scan {
    fn new() -> Self {
        let root =
            Entity { fields: Fields::default(), body: 0..0, parent: None, is_multipart: false };
        Self {
            entities: vec![root],
            open: Vec::new(),
            state: State::Head,
            head: Vec::new(),
            root_head: Vec::new(),
            head_size: 0,
            ending: 0,
        }
    }

    fn line(&mut self, line: &Line) {
        // A line that ends a header block, being no field, may be a delimiter of the multipart
        // that starts with it.
        while self.delimiter_line(line).is_none()
            && matches!(self.state, State::Head)
            && !self.head_line(line)
        {}
        self.ending = line.ending;
    }

    /// Deals with a delimiter, if the line is one.
    fn delimiter_line(&mut self, line: &Line) -> Option<()> {
        let (level, last) = self.delimiter(&line.text)?;
        if last {
            self.end_multipart(level, line);
        } else {
            self.next_part(level, line);
        }
        Some(())
    }

    /// The open multipart whose boundary the line is, and whether it is the last one.
    fn delimiter(&self, text: &[u8]) -> Option<(usize, bool)> {
        let text = text.strip_prefix(b"--")?.trim_ascii_end();
        let found = self.open.iter().enumerate().rev().find_map(|(level, open)| {
            match text.strip_prefix(open.boundary.as_slice())? {
                b"" => Some((level, false)),
                b"--" => Some((level, true)),
                _ => None,
            }
        });
        found.filter(|(_, last)| *last || self.entities.len() < MOST_PARTS)
    }

    /// Ends the leaf before a delimiter; the line end before that belongs to the delimiter.
    fn end_leaf(&mut self, at: u64) {
        let last = self.entities.len() - 1;
        match self.state {
            State::Head => {
                self.end_head(at);
                self.entities[last].body = at..at;
            }
            State::Body => {
                let body = &mut self.entities[last].body;
                body.end = body.start.max(at.saturating_sub(self.ending));
            }
            State::Between => (),
        }
    }

    /// Ends the multiparts inside the one at `level`.
    fn end_inner(&mut self, level: usize, at: u64) {
        for open in self.open.drain(level..) {
            self.entities[open.entity].body.end = at;
        }
    }

    fn next_part(&mut self, level: usize, line: &Line) {
        // Ending a header block may open a multipart: that one is inside, too.
        self.end_leaf(line.start);
        self.end_inner(level + 1, line.start);
        let parent = self.open[level].entity;
        self.entities.push(Entity {
            fields: Fields::default(),
            body: line.end..line.end,
            parent: Some(parent),
            is_multipart: false,
        });
        self.entities[parent].is_multipart = true;
        self.head.clear();
        self.state = State::Head;
    }

    fn end_multipart(&mut self, level: usize, line: &Line) {
        self.end_leaf(line.start);
        self.end_inner(level, line.start);
        self.state = State::Between;
    }

    /// Takes a line into the header block. False if it is content already.
    fn head_line(&mut self, line: &Line) -> bool {
        if line.text.is_empty() {
            self.end_head(line.end);
            return true;
        }
        let envelope = line.start == 0 && line.text.starts_with(b"From ");
        if !envelope && !is_field(&line.text, self.head.is_empty()) {
            // The empty line is missing.
            self.end_head(line.start);
            return false;
        }
        let root = self.entities.len() == 1;
        let most = if root { MOST_HEAD } else { MOST_PART_HEAD };
        if !envelope && self.head.len() + line.text.len() + 2 <= most {
            self.head.extend_from_slice(&line.text);
            self.head.extend_from_slice(if line.ending == 1 { b"\n" } else { b"\r\n" });
        }
        if root {
            self.head_size = line.end;
        }
        true
    }

    /// The content of the last entity starts at `at`.
    fn end_head(&mut self, at: u64) {
        let last = self.entities.len() - 1;
        let parent = self.entities[last].parent;
        let in_digest = parent
            .is_some_and(|parent| self.entities[parent].fields.content_type == "multipart/digest");
        let fields = Fields::new(&Head::new(&self.head), in_digest);
        if last == 0 {
            self.root_head = std::mem::take(&mut self.head);
        }
        self.state = State::Body;
        if fields.is_multipart()
            && let Some(boundary) = &fields.boundary
            && self.open.len() < DEEPEST
        {
            self.open.push(Open { entity: last, boundary: boundary.clone().into_bytes() });
            self.state = State::Between;
        }
        let entity = &mut self.entities[last];
        entity.fields = fields;
        entity.body = at..at;
    }

    fn finish(mut self, end: u64) -> Outline {
        // The line end before the end of the mail belongs to the content.
        self.ending = 0;
        self.end_leaf(end);
        self.end_inner(0, end);
        for entity in &mut self.entities {
            if entity.fields.is_multipart() && !entity.is_multipart {
                // A multipart without parts: what stands there is better shown than lost.
                entity.fields.content_type = "text/plain".into();
            }
        }
        Outline { head: self.root_head, head_size: self.head_size, entities: self.entities }
    }
}

/// Whether a line belongs to a header block (RFC 5322 section 2.2, white space before the colon
/// as in its section 4.5.8).
fn is_field(line: &[u8], first: bool) -> bool {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return !first;
    }
    let Some(colon) = line.iter().position(|byte| *byte == b':') else {
        return false;
    };
    let name = line[..colon].trim_ascii_end();
    !name.is_empty() && name.iter().all(u8::is_ascii_graphic)
}
