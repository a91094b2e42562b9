//! An item on its way out of the archive.

use std::io::{self, Read};

use archive::metadata::Line;
use bytes::Bytes;

use crate::content::Content;

/// An item: what the archive says of it, and its bytes.
#[derive(Debug)]
pub(crate) struct Item {
    /// Its metadata line. Flags, dates and names come from here, never from the path.
    pub(crate) line: Line,
    /// Path of its member.
    pub(crate) path: String,
    /// The member's time, seconds since 1970: received time of a mail, change time of a file.
    pub(crate) mtime: i64,
    /// Bytes of content.
    pub(crate) size: u64,
    /// The exporter had to render it itself.
    pub(crate) converted: bool,
    /// An earlier run was making it and could not say what came of it: it may be in the target.
    pub(crate) is_doubtful: bool,
    /// That run died: it may be there and not show yet.
    pub(crate) may_be_late: bool,
    /// Its bytes.
    pub(crate) content: Content,
}

impl Item {
    /// The name of its member, without folders.
    pub(crate) fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// All its bytes, proven. At most `limit` of them: more is an error of kind `FileTooLarge`.
    pub(crate) fn bytes(&self, limit: u64) -> io::Result<Bytes> {
        if let Content::Memory(bytes) = &self.content {
            return Ok(bytes.clone());
        }
        if self.size > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut bytes = Vec::with_capacity(usize::try_from(self.size).unwrap_or(0));
        self.content.open()?.read_to_end(&mut bytes)?;
        Ok(bytes.into())
    }
}

/// The first date that is at one of these places (JSON pointers), in seconds since 1970, as the
/// time of a member; 0 if there is none.
pub(crate) fn mtime(line: &Line, pointers: &[&str]) -> i64 {
    let texts = pointers.iter().filter_map(|pointer| line.graph.pointer(pointer)?.as_str());
    let mut dates = texts.filter_map(|text| chrono::DateTime::parse_from_rfc3339(text).ok());
    dates.next().map_or(0, |date| date.timestamp().clamp(0, i64::from(i32::MAX)))
}
