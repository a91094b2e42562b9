//! The way through a mail.

use std::io::{self, Read, Write};

use mime_edit::{Decoder, Deferred, Event, Form, Part, Walk};
use sha2::{Digest, Sha256};

use crate::settings::{Messages, Settings, Size, Verdict};
use crate::stub::stub;

/// Encoded bytes of one attachment that are held at most while its size is not known. With sizes
/// up to [`MAX_SIZE`](crate::MAX_SIZE) that is reached only by encodings which are mostly padding.
const MAX_HELD: usize = 128 * 1024 * 1024;

/// An attachment that is not in the mail any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// The name of the file, if it had one.
    pub name: Option<String>,
    /// Its media type.
    pub media_type: String,
    /// Bytes, decoded.
    pub size: u64,
}

/// Copies a mail without the attachments that the settings drop. If it returns none, the mail is
/// as it was, and what was written, if anything, can be forgotten.
///
/// Memory does not depend on the mail, only on the sizes that the settings name. Fails as input
/// and output do, and for mails that [`Walk`] refuses.
pub fn rewrite<R: Read, W: Write>(
    settings: &Settings,
    input: R,
    output: W,
) -> io::Result<Vec<Dropped>> {
    let mut walk = if settings.messages == Messages::Whole {
        Walk::with_whole_messages(input)
    } else {
        Walk::new(input)
    };
    let mut output = Deferred::new(output);
    let mut dropped = Vec::new();
    let mut undecided: Option<Candidate> = None;
    while let Some(event) = walk.next_event()? {
        match (event, &mut undecided) {
            (Event::Head(part), _) => {
                if part.form == Form::Leaf {
                    undecided = Candidate::new(part, settings);
                }
                if undecided.is_none() {
                    output.pass(&part.raw)?;
                }
            }
            (Event::Body(bytes), Some(candidate)) => {
                if candidate.push(bytes, settings)? == Verdict::Keep {
                    candidate.keep(&mut output)?;
                    undecided = None;
                }
            }
            (Event::End { open_line }, Some(candidate)) => {
                if candidate.end(settings) == Verdict::Drop {
                    output.change(&candidate.stub(open_line))?;
                    dropped.push(candidate.dropped());
                } else {
                    candidate.keep(&mut output)?;
                }
                undecided = None;
            }
            (Event::Between(bytes) | Event::Body(bytes), _) => output.pass(bytes)?,
            (Event::End { .. }, None) => {}
        }
    }
    Ok(dropped)
}

/// A leaf that is dropped, or may be.
struct Candidate {
    part: Part,
    verdict: Verdict,
    decoder: Decoder,
    hash: Sha256,
    size: u64,
    /// The body so far, while it may have to be written yet.
    held: Vec<Vec<u8>>,
    held_bytes: usize,
    /// What a piece is decoded into.
    decoded: Vec<u8>,
}

impl Candidate {
    /// None for a part that stays whatever its size.
    fn new(part: &Part, settings: &Settings) -> Option<Self> {
        let verdict = settings.verdict(part, Size::AtLeast(0));
        (verdict != Verdict::Keep).then(|| Candidate {
            part: part.clone(),
            verdict,
            decoder: Decoder::new(part.encoding),
            hash: Sha256::new(),
            size: 0,
            held: Vec::new(),
            held_bytes: 0,
            decoded: Vec::new(),
        })
    }

    fn push(&mut self, piece: &[u8], settings: &Settings) -> io::Result<Verdict> {
        self.decoder.push(piece, &mut self.decoded);
        self.count();
        if self.verdict == Verdict::Unknown {
            self.held.push(piece.to_vec());
            self.held_bytes += piece.len();
            self.decide(settings, Size::AtLeast(self.size));
            if self.verdict == Verdict::Unknown && self.held_bytes > MAX_HELD {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the encoding of an attachment is much longer than what it encodes",
                ));
            }
        }
        Ok(self.verdict)
    }

    fn end(&mut self, settings: &Settings) -> Verdict {
        self.decoder.finish(&mut self.decoded);
        self.count();
        if self.verdict == Verdict::Unknown {
            self.decide(settings, Size::Exactly(self.size));
        }
        self.verdict
    }

    fn decide(&mut self, settings: &Settings, size: Size) {
        self.verdict = settings.verdict(&self.part, size);
        if self.verdict == Verdict::Drop {
            self.held.clear();
        }
    }

    /// Counts what was decoded.
    fn count(&mut self) {
        self.hash.update(&self.decoded);
        self.size += self.decoded.len() as u64;
        self.decoded.clear();
    }

    /// Writes it as it was.
    fn keep<W: Write>(&mut self, output: &mut Deferred<W>) -> io::Result<()> {
        output.pass(&self.part.raw)?;
        self.held.drain(..).try_for_each(|piece| output.pass(&piece))
    }

    fn stub(&self, open_line: bool) -> Vec<u8> {
        let digest = self.hash.clone().finalize();
        let sha256: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        stub(&self.part, self.size, &sha256, open_line)
    }

    fn dropped(&self) -> Dropped {
        Dropped {
            name: self.part.name.clone(),
            media_type: self.part.media_type.clone(),
            size: self.size,
        }
    }
}
