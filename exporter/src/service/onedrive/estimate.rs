//! What exporting a OneDrive takes, by its used space and the files of its listing.

use graph::{Graph, Page, Prefer, Scope, segment};
use serde_json::Value;

use super::{PAGE, drive_id, kind};
use crate::error::is_fatal;
use crate::estimate::{Depth, Enquiry, Known, Load, Numbers};
use crate::owner::Owner;

/// Bytes of a file, where none is looked at.
const ASSUMED_BYTES: u64 = 1_000_000;
/// What [`kind`] looks at.
const SELECT: &str = "id,size,file,folder,package,root,remoteItem,malware,deleted";

/// What a listing has told.
#[derive(Default)]
struct Seen {
    pages: u64,
    files: u64,
    bytes: u64,
    /// To its end.
    whole: bool,
}

pub(super) async fn estimate(
    graph: &Graph,
    owner: &Owner,
    enquiry: &Enquiry,
) -> Result<Numbers, graph::Error> {
    let path = format!("/users/{}/drive?$select=id,quota", segment(&owner.id));
    let drive = graph.get(&Scope::SharePoint, &path, Prefer::none()).await?;
    // With what lies in the recycle bin, and all versions of files: more than is exported.
    let used = drive.pointer("/quota/used").and_then(Value::as_u64);
    let seen = match enquiry.depth {
        Depth::Quick => Seen::default(),
        depth => listing(graph, drive_id(&drive), depth).await?,
    };
    Ok(seen.numbers(used))
}

async fn listing(graph: &Graph, drive: &str, depth: Depth) -> Result<Seen, graph::Error> {
    let path = format!("/drives/{}/root/delta?$select={SELECT}&$top={PAGE}", segment(drive));
    let mut pages = graph.pages(Scope::SharePoint, &path, Prefer::none());
    let mut seen = Seen::default();
    loop {
        match pages.next().await {
            Ok(Some(page)) => {
                seen.take(&page)?;
                if !page.next || depth == Depth::Sampled {
                    seen.whole = !page.next;
                    return Ok(seen);
                }
            }
            Ok(None) => return Ok(seen),
            // What was read of it so far is a sample, too.
            Err(error) if seen.pages > 0 && !is_fatal(&error) => return Ok(seen),
            Err(error) => return Err(error),
        }
    }
}

impl Seen {
    /// Rows that come again count again: an export reads them, too.
    fn take(&mut self, page: &Page) -> Result<(), graph::Error> {
        self.pages += 1;
        for item in &page.items {
            let row = item.parse()?;
            let kind = kind(&row);
            if !kind.folder && kind.unwanted.is_none() && row.get("deleted").is_none() {
                self.files += 1;
                self.bytes += row.get("size").and_then(Value::as_u64).unwrap_or_default();
            }
        }
        Ok(())
    }

    fn numbers(&self, used: Option<u64>) -> Numbers {
        if self.whole {
            let load = load(self.files, self.bytes, self.pages);
            return Numbers { load, items: Known::Counted, bytes: Known::Counted };
        }
        let (known, mean) = match self.bytes.checked_div(self.files).filter(|mean| *mean > 0) {
            Some(mean) => (Known::Sampled, mean),
            None => (Known::Assumed, ASSUMED_BYTES),
        };
        let used = used.unwrap_or_default().max(self.bytes);
        let files = (used / mean).max(self.files);
        // As many pages for each file as there were so far.
        let (pages, of) =
            if self.files > 0 { (self.pages, self.files) } else { (1, u64::from(PAGE)) };
        let pages = (u128::from(files) * u128::from(pages)).div_ceil(u128::from(of));
        let pages = u64::try_from(pages).unwrap_or(u64::MAX).max(self.pages).max(1);
        Numbers { load: load(files, used, pages), items: known, bytes: known }
    }
}

/// As [`super::list`] and [`super::fetch`] ask when nothing changes meanwhile: the drive, its pages
/// (the first for 2 units, FACTS 2.3), once what changed, and each file at a download host.
fn load(files: u64, bytes: u64, pages: u64) -> Load {
    let requests = 1 + pages + 1 + files;
    Load {
        items: files,
        bytes,
        sharepoint: requests,
        units: requests + 1,
        downloads: files,
        egress: bytes,
        ..Load::default()
    }
}
