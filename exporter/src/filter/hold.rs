//! Contents that are decided on and wait for their section's metadata to be written.

use std::fs::File;
use std::io;
use std::sync::Arc;

use archive::{Region, Sha256Digest};

use crate::spool::{Reserved, Spool, Spooled, Turn};

/// One unlinked file a section, as far as the spool has room to spare. What does not fit is
/// fetched, and decided on, once more.
pub(crate) struct Hold {
    spool: Arc<Spool>,
    file: Arc<File>,
    length: u64,
    room: Reserved,
}

/// Where a content is in a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Extent {
    offset: u64,
    size: u64,
    pub(super) sha256: Sha256Digest,
}

impl Hold {
    pub(super) fn new(spool: &Arc<Spool>) -> io::Result<Self> {
        let file = Arc::new(tempfile::tempfile_in(spool.dir())?);
        Ok(Self { spool: Arc::clone(spool), file, length: 0, room: spool.reserve() })
    }

    /// Keeps a content if there is room.
    pub(super) fn keep(&mut self, content: &mut Spooled) -> io::Result<Option<Extent>> {
        if !self.room.grow(content.size) {
            return Ok(None);
        }
        let extent = Extent { offset: self.length, size: content.size, sha256: content.sha256 };
        self.length += io::copy(content, &mut self.file.as_ref())?;
        Ok(Some(extent))
    }

    /// A content that was kept. All of them share one handle: more may wait to be written than a
    /// process may have files open.
    pub(super) fn get(&self, extent: Extent, turn: Turn) -> Spooled {
        let region = Region::new(Arc::clone(&self.file), extent.offset, extent.size);
        Spooled::in_base(&self.spool, &region, extent.sha256, turn)
    }
}
