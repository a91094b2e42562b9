//! OneDrive: the whole drive by delta, native bytes.
//!
//! FACTS 3.6: the last occurrence of an id wins; paths in rows are stale, so they are rebuilt
//! from parent ids; children may come before their parents; a folder that is said to be deleted
//! while its children are not is no reason to lose the children.

mod estimate;

use std::sync::atomic::Ordering;

use archive::Outcome;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use graph::{ErrorKind, Graph, Prefer, Scope, segment};
use quickxorhash::QuickXorHash;
use serde_json::{Map, Value};

use super::{
    About, Asked, Export, Fetched, Listing, NewName, Note, Opened, Service, time, volatile,
};
use crate::Error;
use crate::base::BaseLines;
use crate::context::{Context, unless_silent};
use crate::error::is_fatal;
use crate::estimate::{Enquiry, Numbers};
use crate::follow::{Followed, Listed, Refusal};
use crate::inventory::{Inventory, Item, Name, Node, Unwanted};
use crate::large::{Large, listed_hash};
use crate::owner::{Owner, OwnerKind};
use crate::remarks::Remarks;
use crate::spool::Draft;
use crate::state::Seeds;

/// Items a page; the service gives fewer if it likes (FACTS 3.2).
const PAGE: u32 = 999;
/// Downloads of one file before it counts as failed.
const TRIES: usize = 6;
const LISTING: &str = "drive";
/// Kinds of what never has content.
const SHORTCUT: &str = "shortcut";
const OTHER: &str = "other";
/// MIME type of the files in a OneNote package.
const NOTEBOOK_PART: &str = "application/msonenote";

/// Keys that change without the file, carry tokens, or are computed from content (FACTS 8.5, 9).
const VOLATILE: [&str; 17] = [
    "@odata.etag",
    "@odata.context",
    "@microsoft.graph.downloadUrl",
    "@content.downloadUrl",
    "content.downloadUrl",
    "@microsoft.graph.sharedChanged",
    "audio",
    "image",
    "location",
    "photo",
    "video",
    "pendingOperations",
    "searchResult",
    "thumbnails",
    "webDavUrl",
    "webUrl",
    "@microsoft.graph.decorator",
];

/// The user's drive, native files.
pub(super) struct OneDrive;

impl Export for OneDrive {
    const ABOUT: About = About {
        name: "onedrive",
        roles: &[
            "Files.Read.All",
            "Files.ReadWrite.All",
            "Sites.Read.All",
            "Sites.ReadWrite.All",
            "Sites.FullControl.All",
        ],
        owners: &[OwnerKind::User],
        owner_concurrency: 16,
        without_content: &[SHORTCUT, OTHER],
        not_covered: &[
            ("versions", "earlier versions of files are not exported"),
            ("sharing", "sharing permissions and links are not exported"),
        ],
    };

    const IS_WEIGHED: bool = true;

    /// Which drive is the owner's OneDrive.
    fn root(owner: &Owner) -> (Scope, String) {
        (Scope::SharePoint, format!("/users/{}/drive", segment(&owner.id)))
    }

    async fn list(of: Opened<'_>, seeds: Seeds) -> Result<Listing, Error> {
        list(of, seeds).await
    }

    async fn fetch(context: &Context, asked: Asked<'_>) -> Result<Fetched, Error> {
        fetch(context, asked).await
    }

    async fn estimate(
        graph: &Graph,
        owner: &Owner,
        enquiry: &Enquiry,
    ) -> Result<Option<Numbers>, graph::Error> {
        estimate::estimate(graph, owner, enquiry).await.map(Some)
    }

    fn mtime(_kind: &str, graph: &Value) -> i64 {
        mtime(graph)
    }

    fn order(graph: &Value) -> i64 {
        order(graph)
    }

    /// The file's or folder's own name.
    fn name(graph: &Value, _item: &Item) -> NewName {
        let name = graph.get("name").and_then(Value::as_str).unwrap_or_default();
        NewName::Native(name.to_owned())
    }

    /// What the listing says of a file's content.
    fn media(json: &str) -> (Option<String>, Option<u64>) {
        let item: Value = serde_json::from_str(json).unwrap_or_default();
        let media_type = item.pointer("/file/mimeType").and_then(Value::as_str);
        (media_type.map(str::to_owned), item["size"].as_u64())
    }

    async fn refusal(context: &Context, large: &Large, error: &graph::Error) -> Note {
        refusal(context, &large.drive, &large.id, large.mime.as_deref(), error).await
    }
}

/// When a file or folder was changed, seconds since 1970; by its owner's clock if that is known.
fn mtime(item: &Value) -> i64 {
    let changed = ["/fileSystemInfo/lastModifiedDateTime", "/lastModifiedDateTime"];
    time::seconds(time::first(item, &changed))
}

/// What files are ordered by.
fn order(item: &Value) -> i64 {
    time::order_key(time::first(item, &["/createdDateTime"]))
}

fn drive_id(drive: &Value) -> &str {
    drive.get("id").and_then(Value::as_str).unwrap_or_default()
}

/// Lists the drive, then what changed meanwhile.
async fn list(of: Opened<'_>, mut seeds: Seeds) -> Result<Listing, Error> {
    let mut drive = Drive {
        owner: of.owner,
        id: drive_id(of.root),
        inventory: of.inventory,
        remarks: Remarks::default(),
        root: String::new(),
        page: Some(PAGE),
    };
    let start = seeds.link(LISTING);
    if let (Some(lines), true) = (seeds.lines.take(), start.is_some()) {
        drive.seed(lines)?;
    }
    let graph = of.context.graph();
    let mut followed = Followed::begin(graph, drive, start).await?;
    followed.settle(graph).await?;
    let Followed { listed: Drive { remarks, root, .. }, link, .. } = followed;
    Ok(remarks.into_listing(root, link.map(|link| (LISTING.to_owned(), link))))
}

struct Drive<'a> {
    owner: &'a Owner,
    id: &'a str,
    inventory: &'a Inventory,
    remarks: Remarks,
    /// Id of the root folder, once it was told of.
    root: String,
    /// Page size to ask for; none once the service refused it.
    page: Option<u32>,
}

impl Listed for Drive<'_> {
    fn scope(&self) -> Scope {
        Scope::SharePoint
    }

    fn beginning(&mut self) -> String {
        let mut path = format!("/drives/{}/root/delta", segment(self.id));
        if let Some(page) = self.page {
            path.push_str(&format!("?$top={page}"));
        }
        path
    }

    /// The root comes with every answer, and is worth none.
    fn take_row(&mut self, row: Value) -> Result<bool, Error> {
        let Value::Object(mut graph) = row else {
            return Ok(false);
        };
        let Some(id) = graph.get("id").and_then(Value::as_str).map(str::to_owned) else {
            return Ok(false);
        };
        if graph.contains_key("deleted") || graph.contains_key("@removed") {
            self.inventory.remove(LISTING, &id)?;
            return Ok(true);
        }
        let is_root = graph.contains_key("root");
        if is_root {
            self.root.clone_from(&id);
        }
        strip(&mut graph);
        let json = archive::json::canonical(&Value::Object(graph.clone()));
        Ok(self.put(&id, is_root, &Value::Object(graph), &json)? && !is_root)
    }

    fn told(&self) -> (&Inventory, &str) {
        (self.inventory, LISTING)
    }

    fn container(&self) -> Option<String> {
        Some(format!("/drives/{}?$select=id", segment(self.id)))
    }

    fn vanished(&mut self, error: &graph::Error) -> Result<(), Error> {
        self.inventory.forget(LISTING)?;
        self.remarks.vanished("", "drive", error);
        Ok(())
    }

    fn refused(&mut self, error: graph::Error, _is_closing: bool) -> Result<Refusal, Error> {
        if *error.kind() == ErrorKind::BadRequest && self.page.take().is_some() {
            return Ok(Refusal::Again);
        }
        let message = "the drive could not be listed to its end";
        let note = Note::new(Outcome::Failed, "listing", message);
        self.remarks.failed("", note.with_code(&error));
        Ok(Refusal::Over)
    }

    fn gave_up(&mut self) {
        let message = "the service lost the listing again and again";
        self.remarks.failed("", Note::new(Outcome::Failed, "listing", message));
    }

    fn fatal(&self, error: graph::Error) -> Error {
        Error::graph(format!("listing the OneDrive of {}", self.owner.upn), error)
    }
}

impl Drive<'_> {
    /// Takes what an earlier run knew of the drive: its listing goes on from there.
    fn seed(&mut self, mut lines: BaseLines) -> Result<(), Error> {
        tokio::task::block_in_place(|| {
            while let Some(line) = lines.next_line()? {
                if line.kind != archive::metadata::OWNER {
                    self.take_row(line.graph)?;
                }
            }
            Ok(())
        })
    }

    /// True if that is news.
    fn put(&self, id: &str, is_root: bool, graph: &Value, json: &str) -> Result<bool, Error> {
        let kind = kind(graph);
        let parent = graph.pointer("/parentReference/id").and_then(Value::as_str);
        let name = graph.get("name").and_then(Value::as_str).unwrap_or_default();
        self.inventory.update(&Node {
            id,
            listing: LISTING,
            parent: if is_root { "" } else { parent.unwrap_or_default() },
            kind: kind.name,
            folder: is_root || kind.folder,
            key: order(graph),
            mtime: mtime(graph),
            name: Name::Native(name),
            json,
            unwanted: kind.unwanted,
        })
    }
}

struct Kind {
    name: &'static str,
    folder: bool,
    unwanted: Option<Unwanted>,
}

/// What a row is, by its facets.
fn kind(graph: &Value) -> Kind {
    let has = |facet: &str| graph.get(facet).is_some_and(|value| !value.is_null());
    let unwanted = |cause: &str, code: &str, message: &str| {
        Some(Unwanted {
            cause: cause.to_owned(),
            code: code.to_owned(),
            message: message.to_owned(),
        })
    };
    if has("remoteItem") {
        let message = "a shortcut to another drive; its content belongs there";
        return Kind {
            name: SHORTCUT,
            folder: false,
            unwanted: unwanted("shortcut", "remoteItem", message),
        };
    }
    if has("malware") {
        let message = "the service calls the file malware and does not give it";
        return Kind {
            name: "file",
            folder: false,
            unwanted: unwanted("malware", "malwareDetected", message),
        };
    }
    // A package (a OneNote notebook) holds files like a folder.
    if has("folder") || has("root") || has("package") {
        return Kind { name: "folder", folder: true, unwanted: None };
    }
    if has("file") {
        return Kind { name: "file", folder: false, unwanted: None };
    }
    let message = "neither file nor folder";
    Kind { name: OTHER, folder: false, unwanted: unwanted("unsupported", "notSupported", message) }
}

/// Drops what is volatile (FACTS 9).
fn strip(graph: &mut Map<String, Value>) {
    volatile::strip(graph, &VOLATILE);
    let is_folder = ["folder", "root", "package"].iter().any(|facet| graph.contains_key(*facet));
    if is_folder {
        graph.remove("size");
    }
    let mut without = |object: &str, keys: &[&str]| {
        if let Some(Value::Object(inner)) = graph.get_mut(object) {
            keys.iter().for_each(|key| drop(inner.remove(*key)));
        }
    };
    // Paths and names of parents are stale after a move (FACTS 3.6 rule 2).
    without("parentReference", &["path", "name"]);
    without("fileSystemInfo", &["lastAccessedDateTime"]);
    without("folder", &["childCount"]);
    without("file", &["processingMetadata"]);
}

/// A file, whole and checked, or the promise to stream it.
async fn fetch(context: &Context, asked: Asked<'_>) -> Result<Fetched, Error> {
    let listed: Value = serde_json::from_str(&asked.item.json).unwrap_or_default();
    let mut file = File {
        context,
        drive: drive_id(asked.root),
        asked,
        listed: &listed,
        draft: context.spool.draft(asked.turn),
        earlier: None,
    };
    let mut last = None;
    for _ in 0..TRIES {
        match file.attempt().await? {
            Attempt::Whole(note) => return Ok(Fetched::Whole(context.finish(file.draft)?, note)),
            Attempt::TooLarge(length) => return Ok(file.too_large(length)),
            Attempt::Without(note) => return Ok(Fetched::Without(note)),
            Attempt::Again(note) => last = Some(note),
        }
        context.restart(&mut file.draft)?;
    }
    Ok(Fetched::Without(
        last.unwrap_or_else(|| Note::new(Outcome::Failed, "content", "no content")),
    ))
}

struct File<'a> {
    context: &'a Context,
    drive: &'a str,
    asked: Asked<'a>,
    listed: &'a Value,
    draft: Draft,
    /// Hash of an earlier download that did not agree with the service's.
    earlier: Option<String>,
}

enum Attempt {
    Whole(Option<Note>),
    TooLarge(u64),
    Without(Note),
    Again(Note),
}

impl File<'_> {
    fn id(&self) -> &str {
        &self.asked.item.id
    }

    async fn attempt(&mut self) -> Result<Attempt, Error> {
        self.context.prepare(&mut self.draft).await?;
        let mut hash = QuickXorHash::new();
        let graph = &self.context.graph();
        let opened = match is_notebook_part(self.listed) {
            true => graph.open_file_briefly(self.drive, &self.asked.item.id).await,
            false => graph.open_file(self.drive, &self.asked.item.id).await,
        };
        let mut download = match opened {
            Ok(download) => download,
            Err(error) => return self.refused(error).await,
        };
        let longest = self.context.spool.longest();
        if let Some(length) = download.length.filter(|length| *length > longest) {
            return Ok(Attempt::TooLarge(length));
        }
        self.draft.expect(download.length);
        let mut reading = None;
        loop {
            match unless_silent(&mut reading, download.chunk()).await {
                Ok(Some(chunk)) => {
                    hash.update(&chunk);
                    if !self.context.take_in(&mut self.draft, &mut reading, &chunk).await? {
                        self.context.write(&mut self.draft, &chunk).await?;
                    }
                    // Only a download that tells no length gets here with too much.
                    if self.draft.size() > longest {
                        return Ok(Attempt::TooLarge(self.draft.size()));
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    drop(reading);
                    return self.refused(error).await;
                }
            }
        }
        drop(reading);
        self.check(STANDARD.encode(hash.finalize())).await
    }

    /// Compares with the hash of the listing; if that is not it, with the item as it is now.
    async fn check(&mut self, hash: String) -> Result<Attempt, Error> {
        let Some(listed) = listed_hash(self.listed) else {
            return Ok(Attempt::Whole(None));
        };
        if listed == hash {
            return Ok(Attempt::Whole(None));
        }
        let path = format!("/drives/{}/items/{}", segment(self.drive), segment(self.id()));
        match self.context.graph().get(&Scope::SharePoint, &path, Prefer::none()).await {
            Ok(now) => {
                let moved_on =
                    |key: &str| now.get(key).is_some() && now.get(key) != self.listed.get(key);
                // Changed since it was listed: the bytes are those of a later version. They came
                // in one piece (the download is pinned), so they are that version's.
                let is_other = listed_hash(&now) != Some(listed) && moved_on("eTag");
                if listed_hash(&now) == Some(hash.as_str()) || is_other {
                    return Ok(Attempt::Whole(None));
                }
            }
            Err(error) => return self.refused(error).await,
        }
        if self.earlier.as_deref() == Some(hash.as_str()) {
            self.context.tally.hash_mismatches.fetch_add(1, Ordering::Relaxed);
            let message = "the bytes are not those of the service's hash, in two downloads alike";
            return Ok(Attempt::Whole(Some(Note::new(
                Outcome::Converted,
                "hash-mismatch",
                message,
            ))));
        }
        self.earlier = Some(hash);
        let message = "the bytes differ from the service's hash and from each other";
        Ok(Attempt::Again(Note::new(Outcome::Failed, "hash-mismatch", message)))
    }

    async fn refused(&self, error: graph::Error) -> Result<Attempt, Error> {
        if is_fatal(&error) {
            return Err(Error::graph(format!("reading {}", self.asked.item.path), error));
        }
        if *error.kind() == ErrorKind::Changed {
            let message = "the file changed whenever it was read";
            return Ok(Attempt::Again(Note::new(Outcome::Failed, "changing", message)));
        }
        let mime = self.listed.pointer("/file/mimeType").and_then(Value::as_str);
        let note = refusal(self.context, self.drive, self.id(), mime, &error).await;
        Ok(Attempt::Without(note))
    }

    fn too_large(&self, length: u64) -> Fetched {
        Fetched::TooLarge(Box::new(Large {
            service: Service::OneDrive,
            drive: self.drive.to_owned(),
            id: self.id().to_owned(),
            path: self.asked.item.path.clone(),
            mtime: self.asked.item.mtime,
            length,
            hash: listed_hash(self.listed).map(str::to_owned),
            etag: self.listed.get("eTag").and_then(Value::as_str).map(str::to_owned),
            mime: self.listed.pointer("/file/mimeType").and_then(Value::as_str).map(str::to_owned),
        }))
    }
}

/// FACTS 3.6: downloads of these often fail; that is not worth many tries.
fn is_notebook_part(listed: &Value) -> bool {
    listed.pointer("/file/mimeType").and_then(Value::as_str) == Some(NOTEBOOK_PART)
}

/// Why a file is not here, of an error that no retry cures.
async fn refusal(
    context: &Context,
    drive: &str,
    id: &str,
    mime: Option<&str>,
    error: &graph::Error,
) -> Note {
    let note = match error.kind() {
        ErrorKind::ItemGone | ErrorKind::NotFound if is_gone(context, drive, id).await => {
            Note::new(Outcome::Skipped, "vanished", "the file was gone when it was read")
        }
        ErrorKind::Malware => {
            let message = "the service calls the file malware and does not give it";
            Note::new(Outcome::Skipped, "malware", message)
        }
        kind if mime == Some(NOTEBOOK_PART) && *kind != ErrorKind::Interrupted => {
            let message = "the service does not give this part of a notebook";
            Note::new(Outcome::Skipped, "onenote-package", message)
        }
        ErrorKind::Locked => {
            Note::new(Outcome::Skipped, "locked", "the service keeps the file locked")
        }
        _ => Note::new(Outcome::Failed, "content", "the file could not be read"),
    };
    note.with_code(error)
}

/// A download host that says 404 is not the last word: the drive knows.
async fn is_gone(context: &Context, drive: &str, id: &str) -> bool {
    let path = format!("/drives/{}/items/{}?$select=id", segment(drive), segment(id));
    match context.graph().get(&Scope::SharePoint, &path, Prefer::none()).await {
        Ok(item) => item.get("deleted").is_some(),
        Err(error) => matches!(error.kind(), ErrorKind::ItemGone | ErrorKind::NotFound),
    }
}
