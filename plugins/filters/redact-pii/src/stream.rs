//! Content as a stream: what fits into memory is decided on as a whole, text beyond that piece by
//! piece.

use std::io::{self, Read, Write};

use thiserror::Error;

use crate::charset;
use crate::content::{About, Kind, Verdict, decide, is_found_raw, kind, opaque};
use crate::settings::{Documents, Other, Rules};
use crate::text::Form;

/// Bytes of text that are searched at a time, when there are more than can be held.
const WINDOW: usize = 8 << 20;
/// Bytes around a cut in which nothing may be found across it.
const MARGIN: usize = 4 << 10;
/// Cuts that are tried before one is taken in any case.
const TRIES: usize = 64;

/// Why a content can't be decided on.
#[derive(Debug, Error)]
pub enum Failed {
    /// The host's reader or writer.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A mail that can't be held in memory.
    #[error("the mail is larger than {0} MiB (setting max_held_mib), too large to be redacted")]
    TooLarge(usize),
}

/// Redacts a content; the verdict's bytes are written, not returned.
///
/// # Errors
/// If a mail is too large, or reading or writing fails.
pub fn redact<C: Read + Write>(
    rules: &Rules,
    about: &About<'_>,
    size: Option<u64>,
    content: &mut C,
) -> Result<Done, Failed> {
    // Room for all of it at once: growing would take it twice.
    let hint = usize::try_from(size.unwrap_or(0)).unwrap_or(usize::MAX).min(rules.max_held);
    let mut bytes = Vec::with_capacity(hint + 1);
    content.take(rules.max_held as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > rules.max_held {
        return large(rules, about, bytes, content);
    }
    match decide(rules, about, &bytes, 0) {
        Verdict::Keep => Ok(Done::Keep),
        Verdict::Drop(reason) => Ok(Done::Drop(reason)),
        Verdict::Change { bytes, .. } => {
            content.write_all(&bytes)?;
            Ok(Done::Written)
        }
    }
}

/// What became of a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// It stays as it is.
    Keep,
    /// It must not stay, for this reason.
    Drop(&'static str),
    /// Its other bytes are written.
    Written,
}

fn large<C: Read + Write>(
    rules: &Rules,
    about: &About<'_>,
    start: Vec<u8>,
    content: &mut C,
) -> Result<Done, Failed> {
    let verdict = match kind(about, &start) {
        Kind::Text(form) => return pieces(rules, form, start, content),
        Kind::Other if rules.other == Other::Inspect => return inspected(rules, start, content),
        Kind::Mail | Kind::Mbox => return Err(Failed::TooLarge(rules.max_held >> 20)),
        Kind::Zip if rules.documents == Documents::Pass => Verdict::Keep,
        Kind::Zip => opaque(rules.opaque, "it is a document that is too large to be looked into"),
        Kind::Opaque | Kind::Media | Kind::Other => decide(rules, about, &start[..MARGIN], 0),
    };
    Ok(match verdict {
        Verdict::Drop(reason) => Done::Drop(reason),
        Verdict::Keep | Verdict::Change { .. } => Done::Keep,
    })
}

/// Text of any length.
fn pieces<C: Read + Write>(
    rules: &Rules,
    form: Form,
    mut held: Vec<u8>,
    content: &mut C,
) -> Result<Done, Failed> {
    let label = charset::shown(&held);
    let mut changed = false;
    loop {
        let is_end = held.len() < WINDOW && fill(&mut held, content)? < WINDOW;
        let cut = if is_end { held.len() } else { quiet(rules, &held, form, label) };
        match charset::redact(&rules.finder, &held[..cut], Some(label), form) {
            Some(redacted) => {
                changed = true;
                content.write_all(&redacted.bytes)?;
            }
            None => content.write_all(&held[..cut])?,
        }
        if is_end {
            return Ok(if changed { Done::Written } else { Done::Keep });
        }
        held.drain(..cut);
    }
}

/// Reads until a window is full; its length.
fn fill(held: &mut Vec<u8>, content: &mut impl Read) -> io::Result<usize> {
    let room = WINDOW.saturating_sub(held.len());
    content.take(room as u64).read_to_end(held)?;
    Ok(held.len())
}

/// Where the first window can be cut: at the end of a line, or else of a word, that nothing found
/// goes across.
fn quiet(rules: &Rules, held: &[u8], form: Form, label: &str) -> usize {
    let end = held.len().min(WINDOW) - MARGIN;
    let is_wide = label.starts_with("utf-16");
    for sign in [b'\n', b' '] {
        let mut from = end;
        for _ in 0..TRIES {
            let Some(found) = held[WINDOW / 2..from].iter().rposition(|byte| *byte == sign) else {
                break;
            };
            let found = found + WINDOW / 2;
            // Characters of two bytes stay whole.
            let cut = if is_wide { (found + 2) & !1 } else { found + 1 };
            if is_quiet(rules, &held[cut - MARGIN..cut + MARGIN], form, label) {
                return cut;
            }
            from = found;
        }
    }
    // Many megabytes without a blank: at least between characters.
    let mut cut = end & !3;
    while held[cut] & 0xc0 == 0x80 && cut > end - 8 && !is_wide {
        cut -= 1;
    }
    cut
}

/// Whether the halves of a text read as the whole does.
fn is_quiet(rules: &Rules, around: &[u8], form: Form, label: &str) -> bool {
    let read = |bytes: &[u8]| {
        let redacted = charset::redact(&rules.finder, bytes, Some(label), form);
        redacted.map_or_else(|| bytes.to_vec(), |redacted| redacted.bytes)
    };
    let (before, behind) = around.split_at(MARGIN);
    read(around) == [read(before), read(behind)].concat()
}

/// A file of unknown kind and any length.
fn inspected<C: Read>(rules: &Rules, mut held: Vec<u8>, content: &mut C) -> Result<Done, Failed> {
    loop {
        for start in (0..held.len()).step_by(WINDOW / 8) {
            let end = held.len().min(start + WINDOW / 8 + MARGIN);
            if is_found_raw(rules, &held[start..end]) {
                return Ok(Done::Drop("something was found in a file of unknown kind"));
            }
        }
        held.drain(..held.len().saturating_sub(MARGIN));
        let before = held.len();
        if fill(&mut held, content)? == before {
            return Ok(Done::Keep);
        }
    }
}
