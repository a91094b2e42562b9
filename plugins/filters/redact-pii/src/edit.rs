//! Changes to a text, made elsewhere than where they are found.
//!
//! Everything here keeps to one rule: what no edit covers comes out byte for byte.

use std::ops::Range;

/// Bytes of a source that give way to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Where in the source.
    pub range: Range<usize>,
    /// What stands there instead; empty takes the bytes away.
    pub with: Vec<u8>,
}

/// The source with the edits made. They are in order and do not overlap.
#[must_use]
pub fn apply(source: &[u8], edits: &[Edit]) -> Vec<u8> {
    let added: usize = edits.iter().map(|edit| edit.with.len()).sum();
    let mut out = Vec::with_capacity(source.len() + added);
    let mut at = 0;
    for edit in edits {
        out.extend_from_slice(&source[at..edit.range.start]);
        out.extend_from_slice(&edit.with);
        at = edit.range.end;
    }
    out.extend_from_slice(&source[at..]);
    out
}

/// [`apply`] to a text, by texts.
#[must_use]
pub fn apply_text(source: &str, edits: &[Edit]) -> String {
    // Ranges of views and hits are whole characters, and replacements are texts.
    match String::from_utf8(apply(source.as_bytes(), edits)) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    }
}

/// Puts edits of several searches in order. Where two overlap, both sources go and the text of the
/// first stays.
#[must_use]
pub fn merge(mut edits: Vec<Edit>) -> Vec<Edit> {
    edits.sort_by_key(|edit| (edit.range.start, std::cmp::Reverse(edit.range.end)));
    let mut merged: Vec<Edit> = Vec::with_capacity(edits.len());
    for edit in edits {
        match merged.last_mut() {
            Some(last) if edit.range.start < last.range.end => {
                last.range.end = last.range.end.max(edit.range.end);
                if last.with.is_empty() {
                    last.with = edit.with;
                }
            }
            _ => merged.push(edit),
        }
    }
    merged
}

/// The part of the edits that lies in one piece of the source, counted from its beginning. The text
/// of an edit that spans pieces goes to the first of them.
#[must_use]
pub fn clip(edits: &[Edit], piece: &Range<usize>) -> Vec<Edit> {
    edits
        .iter()
        .filter(|edit| edit.range.start < piece.end && edit.range.end > piece.start)
        .map(|edit| {
            let start = edit.range.start.max(piece.start);
            let end = edit.range.end.min(piece.end);
            let first = edit.range.start >= piece.start;
            Edit {
                range: start - piece.start..end - piece.start,
                with: if first { edit.with.clone() } else { Vec::new() },
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(range: Range<usize>, with: &str) -> Edit {
        Edit { range, with: with.as_bytes().to_vec() }
    }

    #[test]
    fn overlapping_edits_become_one() {
        let merged = merge(vec![edit(4..6, "b"), edit(0..5, "a"), edit(7..8, "")]);
        assert_eq!(merged, [edit(0..6, "a"), edit(7..8, "")]);
        assert_eq!(apply(b"0123456789", &merged), b"a689");
    }

    #[test]
    fn an_edit_over_two_pieces_is_in_both() {
        let edits = [edit(2..6, "x")];
        assert_eq!(clip(&edits, &(0..4)), [edit(2..4, "x")]);
        assert_eq!(clip(&edits, &(4..9)), [edit(0..2, "")]);
        assert!(clip(&edits, &(6..9)).is_empty());
    }
}
