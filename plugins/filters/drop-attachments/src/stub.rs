//! The note that stands in place of an attachment.

use mime_edit::{Encoding, Part, encode, line_end};

/// Head and body of the note for `part`, whose content was `size` bytes with this SHA-256 (in
/// hex). Its lines end as those of the part do; the last line of the body has an end only if
/// `open_line` says that none follows.
///
/// It is a text that is shown in the mail, without a name: so no reader takes it for an
/// attachment, nor does this filter when it sees the mail again. Fields that tell of the content
/// go; `Content-ID`, that the text refers to, stays, as do all fields of the mail itself.
pub(crate) fn stub(part: &Part, size: u64, sha256: &str, open_line: bool) -> Vec<u8> {
    let end = line_end(&part.raw);
    let name = part.name.as_deref().map_or_else(String::new, one_line);
    let mut text: Vec<u8> = Vec::new();
    let mut line = |line: String| {
        text.extend_from_slice(line.as_bytes());
        text.extend_from_slice(end);
    };
    line("This attachment was removed when the mail was exported.".into());
    if !name.is_empty() {
        line(format!("Name: {name}"));
    }
    line(format!("Type: {}", one_line(&part.media_type)));
    line(format!("Size: {size} bytes"));
    line(format!("SHA-256: {sha256}"));
    if !open_line {
        text.truncate(text.len() - end.len());
    }
    let (encoding, encoding_name) = if text.is_ascii() {
        (Encoding::Identity, "7bit")
    } else {
        (Encoding::QuotedPrintable, "quoted-printable")
    };
    let mut stub = head(part, end, encoding_name);
    stub.extend(encode(encoding, &text, &part.raw));
    stub
}

/// The head of the part with new fields where the first about the content was.
fn head(part: &Part, end: &[u8], encoding: &str) -> Vec<u8> {
    let mut new: Vec<u8> = Vec::new();
    for field in [
        "Content-Type: text/plain; charset=utf-8",
        &format!("Content-Transfer-Encoding: {encoding}"),
        "Content-Disposition: inline",
    ] {
        new.extend_from_slice(field.as_bytes());
        new.extend_from_slice(end);
    }
    let mut head = Vec::with_capacity(part.raw.len() + new.len());
    for field in part.fields() {
        let name = field.name.to_ascii_lowercase();
        if !name.starts_with("content-") || name == "content-id" {
            head.extend_from_slice(field.raw);
        } else {
            head.append(&mut new);
        }
    }
    // A part of a digest may have no fields at all.
    head.append(&mut new);
    head.extend_from_slice(end);
    head
}

/// Without the control characters that could make more lines of it.
fn one_line(text: &str) -> String {
    text.chars().map(|one| if one.is_control() { ' ' } else { one }).collect()
}
