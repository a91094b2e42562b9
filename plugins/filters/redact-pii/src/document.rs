//! Documents: which ones can be looked into, and the looking into.

use std::collections::BTreeSet;
use std::io::{Cursor, Read, Write};

use sha2::{Digest, Sha256};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::charset;
use crate::content::{About, FILE, Kind, Verdict, decide, opaque};
use crate::settings::Rules;
use crate::text::Form;
use crate::view::Dialect;

/// What stands in place of something dropped from within a mail or text.
#[must_use]
pub(crate) fn stub(original: &[u8], reason: &str, line_end: &str) -> String {
    use std::fmt::Write as _;
    let digest = Sha256::digest(original).iter().fold(String::new(), |mut hex, byte| {
        // Writing to a text does not fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    format!(
        "Removed by redact-pii: {reason}.{line_end}Size: {} bytes{line_end}SHA-256: {digest}{line_end}",
        original.len()
    )
}

/// What a file's first bytes show it to be. `None` for text and for what is not known.
#[must_use]
pub(crate) fn by_magic(bytes: &[u8]) -> Option<Kind> {
    let at =
        |offset: usize, magic: &[u8]| bytes.get(offset..).is_some_and(|b| b.starts_with(magic));
    let any = |magics: &[&[u8]]| magics.iter().any(|magic| bytes.starts_with(magic));
    if at(0, b"PK\x03\x04") || at(0, b"PK\x05\x06") {
        return Some(Kind::Zip);
    }
    // A PDF may begin with other bytes.
    let start = &bytes[..bytes.len().min(1024)];
    if memchr::memmem::find(start, b"%PDF-").is_some() {
        return Some(Kind::Opaque);
    }
    if at(0, b"{\\rtf") {
        return Some(Kind::Text(Form::Rtf));
    }
    let opaque: [&[u8]; 18] = [
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", // compound files: old Office, Outlook, encrypted Office
        b"x\x9f>\x22",                       // TNEF
        b"7z\xbc\xaf\x27\x1c",
        b"Rar!\x1a\x07",
        b"\x1f\x8b", // gzip
        b"BZh",
        b"\xfd7zXZ\x00",
        b"\x28\xb5\x2f\xfd", // Zstandard
        b"\x04\x22\x4d\x18", // LZ4
        b"MSCF",             // cabinet
        b"!BDN",             // Outlook store
        b"\xc5\xd0\xd3\xc6", // EPS
        b"SQLite format 3\x00",
        b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d", // OneNote
        b"\x00\x01\x00\x00Standard ",        // Access
        b"PAR1",
        b"AT&TFORM", // DjVu
        b"ITSF",     // compiled help
    ];
    // A text may begin with the letters that others begin with.
    let is_text = charset::is_text(bytes);
    if (any(&opaque) && !is_text) || at(257, b"ustar") || at(0, b"%!PS") {
        return Some(Kind::Opaque);
    }
    let media: [&[u8]; 24] = [
        b"\xff\xd8\xff",
        b"\x89PNG\r\n",
        b"GIF87a",
        b"GIF89a",
        b"II*\x00",
        b"MM\x00*",
        b"8BPS",
        b"ID3",
        b"\xff\xfb",
        b"\xff\xf3",
        b"\xff\xf1",
        b"OggS",
        b"fLaC",
        b"RIFF",
        b"MThd",
        b"FORM",
        b"\x1aE\xdf\xa3",
        b"\x00\x00\x01\xba",
        b"\x30\x26\xb2\x75",
        b"FLV\x01",
        b"wOFF",
        b"wOF2",
        b"OTTO",
        b"\x00\x00\x01\x00",
    ];
    let is_bitmap = at(0, b"BM") && at(6, b"\0\0\0\0");
    let is_font = at(0, b"\x00\x01\x00\x00\x00");
    let is_metafile = at(40, b" EMF") || at(0, b"\xd7\xcd\xc6\x9a");
    let is_media = any(&media) || at(4, b"ftyp") || is_bitmap || is_font || is_metafile;
    (is_media && !is_text).then_some(Kind::Media)
}

/// Redacts the texts in a ZIP file.
#[must_use]
pub(crate) fn redact(rules: &Rules, bytes: &[u8], depth: usize) -> Verdict {
    match rewrite(rules, bytes, depth) {
        Ok(verdict) => verdict,
        Err(Closed(reason)) => opaque(rules.opaque, reason),
    }
}

/// Why a document can't be looked into.
struct Closed(&'static str);

impl From<zip::result::ZipError> for Closed {
    fn from(_: zip::result::ZipError) -> Self {
        Self("it is a document that is damaged or packed in an unknown way")
    }
}

impl From<std::io::Error> for Closed {
    fn from(_: std::io::Error) -> Self {
        Self("it is a document that is damaged")
    }
}

/// An entry that is to be other than it is.
struct Changed {
    index: usize,
    name: Option<String>,
    bytes: Option<Vec<u8>>,
}

fn rewrite(rules: &Rules, bytes: &[u8], depth: usize) -> Result<Verdict, Closed> {
    let mut archive = ZipArchive::new(Cursor::new(bytes))?;
    let mut changed: Vec<Changed> = Vec::new();
    let mut held = 0;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        if entry.encrypted() {
            return Err(Closed("it is an encrypted document"));
        }
        let name = entry.name()?.into_owned();
        let new_name = rules.finder.redact_name(&name);
        let mut content = Vec::new();
        let room = rules.max_held.saturating_sub(held);
        (&mut entry).take(room as u64 + 1).read_to_end(&mut content)?;
        if content.len() > room {
            return Err(Closed("it is a document that is too large to be looked into"));
        }
        let new_bytes = match part(rules, &name, &content, depth) {
            Verdict::Keep => None,
            Verdict::Change { bytes, .. } => Some(bytes),
            Verdict::Drop(reason) => return Ok(Verdict::Drop(reason)),
        };
        if new_name.is_some() || new_bytes.is_some() {
            held += new_bytes.as_ref().map_or(0, Vec::len);
            changed.push(Changed { index, name: new_name, bytes: new_bytes });
        }
    }
    let comment = String::from_utf8_lossy(archive.comment()).into_owned();
    if changed.is_empty() && rules.finder.find(&comment).is_empty() {
        return Ok(Verdict::Keep);
    }
    let bytes = write(archive, changed)?;
    Ok(Verdict::Change { bytes, is_utf8_now: false })
}

/// What becomes of one part of a document.
fn part(rules: &Rules, name: &str, content: &[u8], depth: usize) -> Verdict {
    let lower = name.to_ascii_lowercase();
    let is_xml = [".xml", ".rels", ".vml"].iter().any(|end| lower.ends_with(end));
    if !is_xml {
        return decide(
            rules,
            &About { name: name.into(), ..About::default() },
            content,
            depth + FILE,
        );
    }
    let is_sheet = lower.starts_with("xl/worksheets/") || lower.starts_with("xl/externallinks/");
    let form = if is_sheet { Form::Sheet } else { Form::Markup(Dialect::Office) };
    match charset::redact(&rules.finder, content, None, form) {
        Some(redacted) => Verdict::Change { bytes: redacted.bytes, is_utf8_now: false },
        None => Verdict::Keep,
    }
}

/// The archive with some entries changed; the others are copied as they are packed.
fn write(mut archive: ZipArchive<Cursor<&[u8]>>, changed: Vec<Changed>) -> Result<Vec<u8>, Closed> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let mut names = BTreeSet::new();
    let mut changed = changed.into_iter().peekable();
    for index in 0..archive.len() {
        let change = changed.next_if(|change| change.index == index);
        let entry = archive.by_index_raw(index)?;
        let old = entry.name()?.into_owned();
        let (name, bytes) = change.map_or((None, None), |change| (change.name, change.bytes));
        let name = name.unwrap_or(old);
        if !names.insert(name.clone()) {
            return Err(Closed("names of files in it can't be redacted"));
        }
        let Some(bytes) = bytes else {
            writer.raw_copy_file_rename(entry, name)?;
            continue;
        };
        let method = match entry.compression() {
            CompressionMethod::Stored => CompressionMethod::Stored,
            _ => CompressionMethod::Deflated,
        };
        let mut options = SimpleFileOptions::default().compression_method(method);
        if let Some(time) = entry.last_modified() {
            options = options.last_modified_time(time);
        }
        if let Some(mode) = entry.unix_mode() {
            options = options.unix_permissions(mode);
        }
        writer.start_file(name, options)?;
        writer.write_all(&bytes)?;
    }
    Ok(writer.finish()?.into_inner())
}
