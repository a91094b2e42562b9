//! A calendar object or a card as it goes over the wire.
//!
//! It is what stands in the archive, byte for byte, but for two things: a METHOD, which a stored
//! object must not have (RFC 4791, 4.1), and, on a server that mails people by itself (RFC 6638),
//! the word at every person that says it shall not. Who has to change it writes all lines anew.

use std::io::{self, Read};

use super::likeness::{Likeness, Measure};
use super::line::{Folded, Head, Lines, Piece, parameter};
use crate::content::Content;
use crate::error::Error;
use crate::item::Item;

/// Bytes read at a time.
const PIECE: usize = 64 * 1024;
/// An item that passes by can be read once; up to this size it is kept in memory then.
const MOST_IN_MEMORY: u64 = 160 << 20;

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Event,
    Task,
    Card,
}

impl Kind {
    /// The component of that name.
    pub(super) fn of(component: &str) -> Option<Self> {
        [Self::Event, Self::Task, Self::Card].into_iter().find(|kind| kind.component() == component)
    }

    /// The name of its component.
    pub(super) const fn component(self) -> &'static str {
        match self {
            Self::Event => "VEVENT",
            Self::Task => "VTODO",
            Self::Card => "VCARD",
        }
    }

    pub(super) const fn media_type(self) -> &'static str {
        match self {
            Self::Event | Self::Task => "text/calendar; charset=utf-8",
            Self::Card => "text/vcard; charset=utf-8",
        }
    }

    const fn extension(self) -> &'static str {
        match self {
            Self::Event | Self::Task => "ics",
            Self::Card => "vcf",
        }
    }
}

/// What is known of an object before it is sent. It is read once for this, and again for each
/// sending: none is ever whole in memory.
#[derive(Debug)]
pub(super) struct Object {
    content: Content,
    /// How to write it; none as it is.
    rewriting: Option<Rewriting>,
    /// Path of its member, for messages.
    pub(super) path: String,
    pub(super) kind: Kind,
    pub(super) uid: String,
    /// Bytes over the wire.
    pub(super) size: u64,
    /// What it says.
    pub(super) likeness: Likeness,
    /// People in it are marked, so that the server does not mail them.
    pub(super) is_silenced: bool,
}

/// What may be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rewriting {
    /// The server is told not to mail anybody.
    silence: bool,
}

impl Object {
    /// Reads all of it, to its proven end. `silence` is for a server that mails people by itself.
    ///
    /// # Errors
    /// If it can't be read, or is nothing that such a server takes.
    pub(super) fn measure(item: &Item, silence: bool) -> Result<Self, Error> {
        let unreadable = |source: io::Error| Error::Content { path: item.path.clone(), source };
        let content = match item.content.is_repeatable() {
            true => item.content.again(),
            false => match item.bytes(MOST_IN_MEMORY) {
                Ok(bytes) => Content::Memory(bytes),
                Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                    return Err(Error::Item {
                        cause: "too-large",
                        what: format!("{} on a pipe is too large to be sent", item.path),
                    });
                }
                Err(error) => return Err(unreadable(error)),
            },
        };
        let rewriting = Rewriting { silence };
        let (mut rewriter, mut measure) = (Rewriter::new(rewriting), Measure::new());
        let (mut raw, mut rewritten, mut out) = (0_u64, 0_u64, Vec::new());
        let mut input = content.open().map_err(unreadable)?;
        let mut buffer = vec![0; PIECE];
        loop {
            let read = match input.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(unreadable(error)),
            };
            raw += read as u64;
            measure.push(&buffer[..read]);
            rewriter.push(&buffer[..read], &mut out);
            rewritten += out.len() as u64;
            out.clear();
        }
        rewriter.finish(&mut out);
        rewritten += out.len() as u64;
        let measured = measure.end();
        let Some(kind) = measured.kind else {
            let what = format!("{} holds no event, task or card", item.path);
            return Err(Error::Item { cause: "invalid", what });
        };
        let changes = rewriter.writing.is_changed || rewriter.lines.bare;
        Ok(Self {
            content,
            rewriting: changes.then_some(rewriting),
            path: item.path.clone(),
            kind,
            uid: measured.uid.unwrap_or_else(|| item.line.id.clone()),
            size: if changes { rewritten } else { raw },
            likeness: measured.likeness,
            is_silenced: rewriter.writing.is_silenced,
        })
    }

    /// What it is called in its collection: by its UID, so that a second run comes to the same.
    pub(super) fn name(&self) -> String {
        let digest = archive::hex(&sha(&self.uid));
        format!("tar365-{}.{}", digest.get(..32).unwrap_or(&digest), self.kind.extension())
    }

    /// Reads it from the start, as it goes over the wire.
    pub(super) fn pieces(&self) -> io::Result<Pieces> {
        Ok(Pieces {
            input: self.content.open()?,
            buffer: vec![0; PIECE],
            rewriter: self.rewriting.map(Rewriter::new),
            is_over: false,
        })
    }
}

fn sha(text: &str) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(text).into()
}

/// An object's bytes, a piece at a time.
pub(super) struct Pieces {
    input: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    rewriter: Option<Rewriter>,
    is_over: bool,
}

impl Pieces {
    /// The next bytes; none at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        while !self.is_over {
            let read = match self.input.read(&mut self.buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.is_over = read == 0;
            let mut out = Vec::new();
            match &mut self.rewriter {
                None => out.extend_from_slice(&self.buffer[..read]),
                Some(rewriter) if read == 0 => rewriter.finish(&mut out),
                Some(rewriter) => rewriter.push(&self.buffer[..read], &mut out),
            }
            if !out.is_empty() {
                return Ok(Some(out));
            }
        }
        Ok(None)
    }
}

/// Writes an object as a server may have it, and finds out what it is on the way.
#[derive(Debug)]
struct Rewriter {
    lines: Lines,
    writing: Writing,
}

#[derive(Debug)]
struct Writing {
    rewriting: Rewriting,
    folded: Folded,
    /// The line at hand is left out.
    is_dropped: bool,
    /// Components that are open.
    depth: usize,
    is_changed: bool,
    is_silenced: bool,
}

impl Rewriter {
    fn new(rewriting: Rewriting) -> Self {
        let writing = Writing {
            rewriting,
            folded: Folded::default(),
            is_dropped: false,
            depth: 0,
            is_changed: false,
            is_silenced: false,
        };
        Self { lines: Lines::default(), writing }
    }

    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let writing = &mut self.writing;
        self.lines.push(bytes, &mut |piece| writing.piece(piece, out));
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        let writing = &mut self.writing;
        self.lines.finish(&mut |piece| writing.piece(piece, out));
    }
}

impl Writing {
    fn piece(&mut self, piece: Piece<'_>, out: &mut Vec<u8>) {
        match piece {
            Piece::Head(head) => self.head(head, out),
            Piece::Value(_) | Piece::End if self.is_dropped => {}
            Piece::Value(value) => self.folded.text(value, out),
            Piece::End => self.folded.end(out),
        }
    }

    fn head(&mut self, written: &[u8], out: &mut Vec<u8>) {
        let head = Head::parse(written);
        let name = head.as_ref().map_or("", |head| head.name.as_str());
        self.is_dropped = self.depth == 1 && name == "METHOD";
        match name {
            "BEGIN" => self.depth += 1,
            "END" => self.depth = self.depth.saturating_sub(1),
            "METHOD" if self.is_dropped => {
                self.is_changed = true;
                return;
            }
            // The people of the event, not those of its alarms.
            "ORGANIZER" | "ATTENDEE" if self.rewriting.silence && self.depth == 2 => {
                if let Some(head) = &head {
                    (self.is_changed, self.is_silenced) = (true, true);
                    return self.folded.text(silenced(head).as_bytes(), out);
                }
            }
            _ => {}
        }
        self.folded.text(written, out);
    }
}

/// The same person, of whom the server keeps its hands (RFC 6638, 7.1).
fn silenced(head: &Head<'_>) -> String {
    let mut text = format!("{};SCHEDULE-AGENT=NONE", head.name);
    for written in &head.parameters {
        if !matches!(parameter(written).0.as_str(), "SCHEDULE-AGENT" | "SCHEDULE-FORCE-SEND") {
            text.push(';');
            text.push_str(written);
        }
    }
    text.push(':');
    text
}

#[cfg(test)]
mod tests {
    use archive::metadata::Line;

    use super::*;

    fn item(text: &str) -> Item {
        Item {
            line: Line::parse(r#"{"id":"x","kind":"event","graph":{}}"#).unwrap(),
            path: "a.ics".to_owned(),
            mtime: 0,
            size: text.len() as u64,
            converted: false,
            is_doubtful: false,
            may_be_late: false,
            content: Content::Memory(text.as_bytes().to_vec().into()),
        }
    }

    fn sent(text: &str, silence: bool) -> (Object, String) {
        let object = Object::measure(&item(text), silence).unwrap();
        let mut pieces = object.pieces().unwrap();
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.next().unwrap() {
            bytes.extend(piece);
        }
        assert_eq!(bytes.len() as u64, object.size);
        (object, String::from_utf8(bytes).unwrap())
    }

    const EVENT: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:a\\,\r\n b\r\n\
        ORGANIZER;SCHEDULE-AGENT=SERVER;CN=\"A;B\":mailto:a@b.c\r\nATTENDEE:mailto:d@e.f\r\n\
        BEGIN:VALARM\r\nUID:alarm\r\nATTENDEE:mailto:g@h.i\r\nEND:VALARM\r\nEND:VEVENT\r\n\
        END:VCALENDAR\r\n";

    #[test]
    fn what_needs_no_change_goes_as_it_is() {
        let (object, text) = sent(EVENT, false);
        assert_eq!(text, EVENT);
        assert_eq!((object.kind, object.uid.as_str()), (Kind::Event, "a,b"));
        assert!(!object.is_silenced);
    }

    #[test]
    fn nobody_is_mailed() {
        let (object, text) = sent(EVENT, true);
        assert!(object.is_silenced);
        let unfolded = text.replace("\r\n ", "");
        assert!(unfolded.contains("\nORGANIZER;SCHEDULE-AGENT=NONE;CN=\"A;B\":mailto:a@b.c\r"));
        assert_eq!(unfolded.matches("SCHEDULE-AGENT=").count(), 2, "{unfolded}");
        assert!(unfolded.contains("\nATTENDEE;SCHEDULE-AGENT=NONE:mailto:d@e.f\r"));
        assert_eq!(object.likeness, sent(&text, false).0.likeness);
    }

    #[test]
    fn a_method_is_never_sent() {
        let with = EVENT.replace("VERSION:2.0\r\n", "VERSION:2.0\r\nmethod:REQUEST\r\n");
        let (object, text) = sent(&with, false);
        assert_eq!(text.replace("\r\n ", ""), EVENT.replace("\r\n ", ""));
        assert_eq!(object.likeness, sent(EVENT, false).0.likeness);
    }

    #[test]
    fn line_ends_are_those_of_the_standard() {
        let card = "BEGIN:VCARD\r\nUID:u\r\nFN:A\r\nEND:VCARD\r\n";
        let (object, text) = sent(&card.replace('\r', ""), true);
        assert_eq!((text.as_str(), object.kind, object.uid.as_str()), (card, Kind::Card, "u"));
        assert_eq!(object.name(), sent(card, false).0.name());
        assert!(object.name().ends_with(".vcf"));
    }

    #[test]
    fn other_things_are_refused() {
        for text in ["", "hello", "BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n"] {
            let error = Object::measure(&item(text), false).unwrap_err();
            assert_eq!(error.cause(), "invalid", "{text}");
        }
    }
}
