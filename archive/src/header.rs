//! The blocks before a member's content: ustar, and PAX where ustar is too small.
//!
//! There is one spelling: what [`encode`] makes of a member is what a reader must find, so that
//! verification compares whole headers.
//!
//! Measured with GNU tar 1.34, bsdtar 3.6.2, BusyBox 1.35 and python 3.11 tarfile on a member of
//! 9 GiB from a pipe: with PAX `size` and base-256 in the ustar field all four read the size and
//! the member after it. With 0 or the largest octal number in the ustar field BusyBox, which
//! knows no PAX `size`, loses the rest. A nameless `x` header breaks BusyBox too, and a keyword
//! other than `comment` makes GNU tar warn.

use crate::{
    digest::{Sha256Digest, base32, hex, parse_hex},
    reader::Kind,
};

pub(crate) const BLOCK: usize = 512;
/// Largest body of an `x`, `g` or GNU long name header we read, in bytes: room for a comment that
/// fills [`MAX_ALIGN`] and for the longest path.
pub(crate) const MAX_EXTENSION: u64 = 256 * 1024;
/// Largest alignment of content.
pub(crate) const MAX_ALIGN: u64 = 65536;
/// Times outside are clamped: GNU tar warns before 1970, and older readers end in 2038.
pub(crate) const MAX_MTIME: i64 = i32::MAX as i64;
/// From here on a size does not fit into 11 octal digits.
const LARGE: u64 = 1 << 33;
/// Characters of a digest in the stand-in names of the format.
const STAND_IN: usize = 26;

/// What the header says of a member.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a> {
    /// Without a trailing slash.
    pub(crate) path: &'a str,
    pub(crate) kind: Kind,
    pub(crate) size: u64,
    pub(crate) mtime: i64,
}

/// All blocks before the content, with the PAX comment if there is one.
pub(crate) fn encode(fields: &Fields<'_>, comment: Option<&str>) -> Vec<u8> {
    let slash = if fields.kind == Kind::Directory { "/" } else { "" };
    let full = format!("{}{slash}", fields.path);
    let fits = full.is_ascii() && full.len() <= 100;
    let mut records = Vec::new();
    if let Some(comment) = comment {
        push_record(&mut records, "comment", comment);
    }
    if !fits {
        push_record(&mut records, "path", &full);
    }
    if fields.size >= LARGE {
        push_record(&mut records, "size", &fields.size.to_string());
    }
    let mut blocks = Vec::new();
    if !records.is_empty() {
        let name = format!("PaxHeaders/{}", base32(fields.path, STAND_IN));
        blocks.extend(ustar(&name, b'x', 0o644, records.len() as u64, 0));
        blocks.append(&mut records);
        blocks.resize(blocks.len().next_multiple_of(BLOCK), 0);
    }
    let name = if fits { full } else { stand_in(fields.path) + slash };
    let (flag, mode) = match fields.kind {
        Kind::File => (b'0', 0o644),
        Kind::Directory => (b'5', 0o755),
        Kind::Other(flag) => (flag, 0o644),
    };
    blocks.extend(ustar(&name, flag, mode, fields.size, fields.mtime));
    blocks
}

/// As [`encode`], with filler in the comment so that content that follows at `position` + the
/// blocks starts at a multiple of `align`.
pub(crate) fn encode_aligned(
    fields: &Fields<'_>,
    sha256: Option<&Sha256Digest>,
    position: u64,
    align: Option<u64>,
) -> Vec<u8> {
    let plain = encode(fields, comment(sha256, 0).as_deref());
    let Some(align) = align.filter(|_| fields.size > 0) else {
        return plain;
    };
    let end = position + plain.len() as u64;
    let mut gap = end.next_multiple_of(align) - end;
    if gap == 0 {
        return plain;
    }
    // Without an x header yet, the first filler costs a block for it and one for its body.
    let mut extra = 0;
    if plain.len() == BLOCK {
        extra = BLOCK as u64;
        if gap <= extra {
            gap += align;
        }
    }
    // The record's own length and the padding make the blocks jump, so take the longest that fits.
    (0..=gap - extra)
        .rev()
        .map(|filler| encode(fields, comment(sha256, filler as usize).as_deref()))
        .find(|blocks| blocks.len() as u64 == plain.len() as u64 + gap)
        .unwrap_or(plain)
}

/// The PAX comment: the digest, then spaces up to the alignment.
fn comment(sha256: Option<&Sha256Digest>, filler: usize) -> Option<String> {
    match sha256 {
        None if filler == 0 => None,
        None => Some(" ".repeat(filler)),
        Some(digest) => Some(format!("sha256:{}{}", hex(digest), " ".repeat(filler))),
    }
}

/// The digest in a PAX comment.
pub(crate) fn parse_comment(comment: &str) -> Option<Sha256Digest> {
    parse_hex(comment.trim_end_matches(' ').strip_prefix("sha256:")?)
}

/// Whether a comment is one we could have written.
pub(crate) fn is_canonical_comment(comment: &str) -> bool {
    let text = comment.trim_end_matches(' ');
    !comment.is_empty() && (text.is_empty() || parse_comment(text).is_some())
}

/// `<length> <key>=<value>\n`, where the length counts itself.
fn push_record(records: &mut Vec<u8>, key: &str, value: &str) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend(format!("{length} {key}={value}\n").into_bytes());
}

/// The ASCII name for readers that know no PAX, unique as the path is: `tar365/<digest>.<ext>`.
fn stand_in(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    let extension = match name.rsplit_once('.') {
        Some((_, extension))
            if (1..=8).contains(&extension.len())
                && extension.bytes().all(|byte| byte.is_ascii_alphanumeric()) =>
        {
            format!(".{extension}")
        }
        _ => String::new(),
    };
    format!("tar365/{}{extension}", base32(path, STAND_IN))
}

fn ustar(name: &str, flag: u8, mode: u32, size: u64, mtime: i64) -> [u8; BLOCK] {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::new(flag));
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size);
    header.set_mtime(mtime.clamp(0, MAX_MTIME) as u64);
    if let Some(ustar) = header.as_ustar_mut() {
        // Not set_path: it would split a long name into the prefix field.
        ustar.name[..name.len()].copy_from_slice(name.as_bytes());
        ustar.set_device_major(0);
        ustar.set_device_minor(0);
    }
    header.set_cksum();
    *header.as_bytes()
}

/// One 512-byte header as it stands.
pub(crate) struct Block {
    pub(crate) name: Vec<u8>,
    pub(crate) flag: u8,
    pub(crate) size: u64,
    pub(crate) mtime: i64,
}

impl Block {
    /// Reads a header block; the error says what is wrong with it.
    pub(crate) fn parse(bytes: &[u8; BLOCK]) -> Result<Self, &'static str> {
        let header = tar::Header::from_byte_slice(bytes);
        let mut summed = header.clone();
        summed.set_cksum();
        if header.cksum().ok() != summed.cksum().ok() {
            return Err("the checksum is wrong");
        }
        // "ustar\0" or GNU's "ustar ": archives that borg or GNU tar wrote again are readable.
        if &bytes[257..262] != b"ustar" {
            return Err("it is not ustar");
        }
        Ok(Block {
            name: header.path_bytes().into_owned(),
            flag: header.entry_type().as_byte(),
            size: header.entry_size().map_err(|_| "the size is not a number")?,
            mtime: header.mtime().map_or(0, |time| time.min(i64::MAX as u64) as i64),
        })
    }
}

/// What an `x` header says, as far as it matters here.
#[derive(Default)]
pub(crate) struct Extension {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) mtime: Option<i64>,
    pub(crate) comment: Option<String>,
}

impl Extension {
    /// Reads the body of an `x` header; the error says what is wrong with it.
    pub(crate) fn parse(mut body: &[u8]) -> Result<Self, &'static str> {
        const BAD: &str = "a PAX record is malformed";
        let mut extension = Extension::default();
        while !body.is_empty() {
            let digits = body.iter().take(8).position(|&byte| byte == b' ').ok_or(BAD)?;
            let length: usize = parse_ascii(&body[..digits]).ok_or(BAD)?;
            if length <= digits + 1 || length > body.len() {
                return Err(BAD);
            }
            let (record, rest) = body.split_at(length);
            let record = record[digits + 1..].strip_suffix(b"\n").ok_or(BAD)?;
            let equals = record.iter().position(|&byte| byte == b'=').ok_or(BAD)?;
            let value = &record[equals + 1..];
            match &record[..equals] {
                b"path" => extension.path = Some(value.to_vec()),
                b"size" => extension.size = Some(parse_ascii(value).ok_or(BAD)?),
                b"mtime" => extension.mtime = parse_mtime(value),
                b"comment" => extension.comment = String::from_utf8(value.to_vec()).ok(),
                _ => {}
            }
            body = rest;
        }
        Ok(extension)
    }
}

fn parse_ascii<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Whole seconds of a PAX time, which may have a sign and a fraction.
fn parse_mtime(value: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(value).ok()?;
    text.split('.').next()?.parse().ok()
}
