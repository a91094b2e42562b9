//! A drive as the place of a restore (FACTS 5.6).
//!
//! Every file that has bytes goes through an upload session: it takes the times with it, where a
//! plain upload would need a second request, and make a second version in a library that keeps
//! them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use graph::{ErrorKind, Graph, Json, Prefer, Scope, Upload, segment};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

mod content;
mod import;
mod name;
mod undo;

use crate::error::Error;
use crate::item::Item;
use crate::journal::Journal;
use crate::options::{OnConflict, Options};
use crate::place::{How, Loss, Made, Place, Restored, Undone, What};
use crate::section::{Folder, Section};
use crate::sequential::Sequential;
use crate::target::User;
use content::Likeness;
pub(super) use import::OneDrive;

/// Bytes of a part: a multiple of 320 KiB, 5 to 10 MiB are recommended (FACTS 5.6).
const CHUNK: u64 = 16 * 327_680;
/// What is asked of an item.
const LOOK: &str =
    "$select=id,name,size,eTag,createdDateTime,file,folder,fileSystemInfo,parentReference";
/// Names that are tried for a copy beside a file.
const COPIES: usize = 50;

/// A folder that is there.
#[derive(Debug, Clone)]
struct Target {
    id: String,
    /// As the service has it: it takes names that differ in case for the same.
    name: String,
    /// Made by this run: nothing is in it but what this run put there.
    is_new: bool,
    /// Its name had to be changed, or one of those above it.
    renamed: bool,
}

type Cell = Arc<OnceCell<Target>>;

/// A file that is there.
struct Put {
    how: How,
    made: Json,
    like: Likeness,
    /// Under another name than it was given.
    renamed: bool,
}

/// What was there before a file that replaces it.
struct Replaced {
    version: String,
    etag: String,
}

/// A file that is being put somewhere, for an undo that finds it there.
#[derive(Serialize, Deserialize)]
struct Spot {
    parent: String,
    name: String,
    size: u64,
    hash: Option<String>,
    /// eTag of what is to be replaced.
    #[serde(default)]
    before: Option<String>,
}

/// A drive.
pub(crate) struct DrivePlace {
    graph: Graph,
    drive: String,
    root: String,
    upn: String,
    beside: Option<String>,
    /// Files go back to where they were exported from: there they keep their ids.
    is_home: bool,
    spool_dir: PathBuf,
    on_conflict: OnConflict,
    section: String,
    journal: Arc<Journal>,
    /// By the names on the way down.
    known: Mutex<HashMap<String, Cell>>,
    /// Folders whose times are set at the end, when nothing more is put into them.
    dated: Mutex<Vec<(String, Value)>>,
}

impl DrivePlace {
    pub(crate) async fn open(
        graph: Graph,
        user: &User,
        section: &Section,
        options: &Options,
        journal: Arc<Journal>,
    ) -> Result<Self, Error> {
        let failed = |source| Error::Graph {
            doing: format!("opening the OneDrive of {}", user.upn),
            source,
        };
        let path = format!("/users/{}/drive?$select=id", segment(&user.id));
        let drive = graph.get(&Scope::SharePoint, &path, Prefer::none()).await.map_err(failed)?;
        let drive = text(&drive, "id");
        let path = format!("/drives/{}/root?$select=id", segment(&drive));
        let root = graph.get(&Scope::SharePoint, &path, Prefer::none()).await.map_err(failed)?;
        let beside = options.beside(section).map(|name| name::accepted(&name, true).0);
        journal.place(&section.prefix, &drive)?;
        Ok(Self {
            drive,
            root: text(&root, "id"),
            upn: user.upn.clone(),
            is_home: beside.is_none() && user.id.eq_ignore_ascii_case(&section.owner.id),
            spool_dir: options.spool_dir.clone(),
            beside,
            on_conflict: options.on_conflict,
            ..Self::reopen(graph, &section.prefix, "", journal)
        })
    }

    /// For an undo: `address` is the drive's id.
    pub(crate) fn reopen(
        graph: Graph,
        section: &str,
        address: &str,
        journal: Arc<Journal>,
    ) -> Self {
        Self {
            graph,
            drive: address.to_owned(),
            root: String::new(),
            upn: String::new(),
            beside: None,
            is_home: false,
            spool_dir: PathBuf::new(),
            on_conflict: OnConflict::Skip,
            section: section.to_owned(),
            journal,
            known: Mutex::default(),
            dated: Mutex::default(),
        }
    }

    fn item(&self, id: &str) -> String {
        format!("/drives/{}/items/{}", segment(&self.drive), segment(id))
    }

    fn child(&self, parent: &str, name: &str) -> String {
        format!("{}:/{}:", self.item(parent), segment(name))
    }

    async fn look(&self, path: &str) -> Result<Option<Json>, graph::Error> {
        let path = format!("{path}?{LOOK}");
        match self.graph.get(&Scope::SharePoint, &path, Prefer::none()).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn folder_at(&self, trail: &[Folder]) -> Result<Target, Error> {
        let mut at =
            Target { id: self.root.clone(), name: String::new(), is_new: false, renamed: false };
        let mut key = String::new();
        let names = self.beside.iter().map(|name| (name.as_str(), None));
        let names = names.chain(trail.iter().map(|f| (f.name.as_str(), Some(f))));
        for (name, folder) in names {
            let (name, changed) = name::accepted(name, key.is_empty());
            key.push('/');
            key.push_str(&name.to_lowercase());
            let cell = {
                let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                Arc::clone(known.entry(key.clone()).or_default())
            };
            let parent = at;
            let made = cell.get_or_try_init(|| self.make_folder(&parent, &name, folder)).await?;
            let renamed = parent.renamed || changed || made.name != name;
            at = Target { renamed, ..made.clone() };
        }
        Ok(at)
    }

    async fn make_folder(
        &self,
        parent: &Target,
        name: &str,
        folder: Option<&Folder>,
    ) -> Result<Target, Error> {
        let failed = |source| Error::Graph { doing: format!("making the folder {name:?}"), source };
        let place = self.child(&parent.id, name);
        // As the journal knows it before it has an id; no id of the service has a slash.
        let begun = format!("{}/{name}", parent.id);
        let target =
            |id: String, is_new| Target { id, name: name.to_owned(), is_new, renamed: false };
        let there = |found: Json| {
            let id = self.usable(&found, name)?;
            Ok(Target { name: text(&found, "name"), ..target(id, false) })
        };
        if !parent.is_new
            && let Some(found) = self.look(&place).await.map_err(failed)?
        {
            // The run that made it may have died before it set its times.
            let is_dated = folder.is_none_or(|folder| has_times(&found, &folder.graph));
            let found = there(found)?;
            if self.journal.found_folder(&self.section, &begun, &found.id)? && !is_dated {
                self.date(&found.id, folder);
            }
            return Ok(found);
        }
        let body = json!({
            "name": name,
            "folder": {},
            "@microsoft.graph.conflictBehavior": "fail",
        });
        let path = format!("{}/children", self.item(&parent.id));
        let found = || self.look(&place);
        self.journal.begin_folder(&self.section, &begun)?;
        let made = match self.graph.create(&Scope::SharePoint, &path, &body, found).await {
            Ok(made) => made,
            // Somebody else was faster.
            Err(error) if *error.kind() == ErrorKind::Conflict => {
                self.journal.foreign_folder(&self.section, &begun)?;
                let found = self.look(&place).await.map_err(failed)?;
                return there(found.ok_or_else(|| failed(error))?);
            }
            Err(error) => return Err(failed(error)),
        };
        let id = text(&made, "id");
        self.journal.made_folder(&self.section, &begun, &id)?;
        self.date(&id, folder);
        Ok(target(id, true))
    }

    /// Remembers the times of a folder of ours: what is put into it changes them.
    fn date(&self, id: &str, folder: Option<&Folder>) {
        if let Some(times) = folder.and_then(|folder| times(&folder.graph)) {
            let mut dated = self.dated.lock().unwrap_or_else(PoisonError::into_inner);
            dated.push((id.to_owned(), times));
        }
    }

    fn usable(&self, found: &Json, name: &str) -> Result<String, Error> {
        match found.get("folder") {
            Some(_) => Ok(text(found, "id")),
            None => Err(Error::Item {
                cause: "exists",
                what: format!("{name:?} is a file there, not a folder"),
            }),
        }
    }

    /// Puts the file under `name`, where nothing is but what it is to replace.
    async fn upload(
        &self,
        item: &Item,
        folder: &Target,
        name: &str,
        replaced: Option<&Replaced>,
    ) -> Result<(Json, Likeness), Error> {
        let failed = |source| Error::Graph { doing: format!("restoring {}", item.path), source };
        let place = self.child(&folder.id, name);
        let behavior = if replaced.is_some() { "replace" } else { "fail" };
        self.remember(item, folder, name, replaced)?;
        let times = times(&item.line.graph);
        // Found after a doubtful answer: only a file that is this one is ours.
        let found = || async {
            let found = self.look(&place).await?;
            Ok(found.filter(|found| is_made(found, item, replaced)))
        };
        if item.size == 0 {
            let path = format!("{place}/content?@microsoft.graph.conflictBehavior={behavior}");
            let kind = "application/octet-stream";
            let put = self.graph.put(&Scope::SharePoint, &path, Bytes::new(), kind, found);
            let made = put.await.map_err(failed)?;
            let Some(times) = times else { return Ok((made, Likeness::Same)) };
            let (path, change) =
                (self.item(&text(&made, "id")), json!({ "fileSystemInfo": times }));
            let patched = self.graph.patch(&Scope::SharePoint, &path, &change, None).await;
            return Ok((patched.map_err(failed)?, Likeness::Same));
        }
        let mut about = json!({ "@microsoft.graph.conflictBehavior": behavior, "name": name });
        if let Some(times) = times {
            about["fileSystemInfo"] = times;
        }
        let upload = Upload {
            scope: Scope::SharePoint,
            path: format!("{place}/createUploadSession"),
            body: json!({ "item": about }),
            total: item.size,
            chunk: CHUNK,
            resource: false,
        };
        let mut source = source(item);
        let made = self.graph.upload(&upload, &mut source, found).await.map_err(failed)?;
        let made = match made.item.get("id") {
            Some(_) => made.item,
            None => self.look(&place).await.map_err(failed)?.unwrap_or_default(),
        };
        self.check(item, &made, source.quick_xor_hash(), replaced).await
    }

    /// Until its id is known, name and bytes tell which file is ours.
    fn remember(
        &self,
        item: &Item,
        folder: &Target,
        name: &str,
        replaced: Option<&Replaced>,
    ) -> Result<(), Error> {
        let spot = Spot {
            parent: folder.id.clone(),
            name: name.to_owned(),
            size: item.size,
            hash: hash(&item.line.graph),
            before: replaced.map(|replaced| replaced.etag.clone()),
        };
        let spot = serde_json::to_string(&spot).unwrap_or_default();
        if let Some(replaced) = replaced {
            self.journal.replaces(&self.section, &item.path, &replaced.version)?;
        }
        self.journal.spot(&self.section, &item.path, &spot)
    }

    /// Reads the file again and compares. What is not the item does not stay.
    async fn check(
        &self,
        item: &Item,
        made: &Json,
        own: Option<String>,
        replaced: Option<&Replaced>,
    ) -> Result<(Json, Likeness), Error> {
        let failed = |source| Error::Graph { doing: format!("checking {}", item.path), source };
        let id = text(made, "id");
        let Some(made) = self.look(&self.item(&id)).await.map_err(failed)? else {
            let what = "the service has it no more".to_owned();
            return Err(Error::Unequal { path: item.path.clone(), what });
        };
        let like = self.likeness(item, &made, own.as_deref()).await?;
        if like != Likeness::Other {
            return Ok((made, like));
        }
        match replaced {
            Some(replaced) => {
                self.bring_back(&id, &replaced.version).await.map_err(failed)?;
            }
            None => {
                let gone = self.graph.delete(&Scope::SharePoint, &self.item(&id), None).await;
                gone.map_err(failed)?;
            }
        }
        let what = "the service has other bytes than it was given; they were removed".to_owned();
        Err(Error::Unequal { path: item.path.clone(), what })
    }

    /// Puts the file there, or beside what is in its way.
    async fn put_as(&self, item: &Item, folder: &Target, name: &str) -> Result<Put, Error> {
        let failed = |source| Error::Graph { doing: format!("restoring {}", item.path), source };
        let place = self.child(&folder.id, name);
        let mut there = match folder.is_new {
            true => None,
            false => self.look(&place).await.map_err(failed)?,
        };
        if there.is_none() {
            if let Some(made) = self.moved(item).await? {
                let like = Likeness::Same;
                return Ok(Put { how: How::Foreign, made, like, renamed: false });
            }
            match self.upload(item, folder, name, None).await {
                Ok((made, like)) => {
                    return Ok(Put { how: How::Created, made, like, renamed: false });
                }
                Err(error) if error.cause() != "exists" => return Err(error),
                Err(error) => {
                    there = self.look(&place).await.map_err(failed)?;
                    if there.is_none() {
                        return Err(error);
                    }
                }
            }
        }
        let there = there.unwrap_or_default();
        if let Some(like) = self.is_this(item, &there).await? {
            return Ok(Put { how: found(item), made: there, like, renamed: false });
        }
        match self.on_conflict {
            // In a folder of our own only another item of the archive can be in the way: names
            // that differed there are one here.
            _ if folder.is_new => self.put_beside(item, folder, name, true).await,
            OnConflict::Skip => self.put_beside(item, folder, name, false).await,
            OnConflict::Copy => self.put_beside(item, folder, name, true).await,
            OnConflict::Replace => {
                let version = self.version(&text(&there, "id")).await.map_err(failed)?;
                let replaced = Replaced { version, etag: text(&there, "eTag") };
                let (made, like) = self.upload(item, folder, name, Some(&replaced)).await?;
                let how = How::Replaced { old: replaced.version };
                Ok(Put { how, made, like, renamed: false })
            }
        }
    }

    /// Under the first name that is free, or that is this file from an earlier run; only the
    /// latter unless `makes`.
    async fn put_beside(
        &self,
        item: &Item,
        folder: &Target,
        name: &str,
        makes: bool,
    ) -> Result<Put, Error> {
        let failed = |source| Error::Graph { doing: format!("restoring {}", item.path), source };
        for number in 1..=COPIES {
            let name = name::numbered(name, number);
            match self.look(&self.child(&folder.id, &name)).await.map_err(failed)? {
                None if makes => match self.upload(item, folder, &name, None).await {
                    Ok((made, like)) => {
                        return Ok(Put { how: How::Created, made, like, renamed: true });
                    }
                    // Another item of this run was faster.
                    Err(error) if error.cause() == "exists" => {}
                    Err(error) => return Err(error),
                },
                None => break,
                Some(made) => {
                    if let Some(like) = self.is_this(item, &made).await? {
                        return Ok(Put { how: found(item), made, like, renamed: true });
                    }
                }
            }
        }
        let what = match makes {
            true => format!("there are {COPIES} copies beside it already"),
            false => "another file with this name is there; --on-conflict copy or replace tells \
                      what to do"
                .to_owned(),
        };
        Err(Error::Item { cause: "exists", what })
    }

    /// The version that a file has now.
    async fn version(&self, id: &str) -> Result<String, graph::Error> {
        let path = format!("{}/versions?$select=id", self.item(id));
        let mut pages = self.graph.pages(Scope::SharePoint, &path, Prefer::none());
        while let Some(page) = pages.next().await? {
            if let Some(version) = page.items.first() {
                return Ok(text(&version.parse()?, "id"));
            }
        }
        Ok(String::new())
    }
}

impl Place for DrivePlace {
    fn shown(&self) -> String {
        match &self.beside {
            None => format!("OneDrive of {}: in place", self.upn),
            Some(folder) => format!("OneDrive of {}: folder {folder:?}", self.upn),
        }
    }

    fn concurrency(&self) -> usize {
        8
    }

    async fn folder(&self, trail: &[Folder]) -> Result<(), Error> {
        self.folder_at(trail).await.map(drop)
    }

    async fn put(&self, item: &Item, trail: &[Folder]) -> Result<Restored, Error> {
        let folder = self.folder_at(trail).await?;
        let graph = &item.line.graph;
        let own = graph.get("name").and_then(Value::as_str).unwrap_or_else(|| item.file_name());
        let (name, changed) = name::accepted(own, false);
        let Put { how, made, like, renamed } = self.put_as(item, &folder, &name).await?;
        let mut losses = Vec::new();
        if changed || renamed || folder.renamed {
            losses.push(Loss::Name);
        }
        // A notebook is a package, which no client can make: its files are restored.
        if trail.iter().any(|folder| folder.graph.get("package").is_some()) {
            losses.push(Loss::Folder);
        }
        losses.extend(like.loss());
        if !has_times(&made, graph) {
            losses.push(Loss::Date);
        }
        let etag = made.get("eTag").and_then(Value::as_str).map(str::to_owned);
        Ok(Restored { how, id: text(&made, "id"), etag, losses })
    }

    async fn finish(&self) -> Result<(), Error> {
        let dated = std::mem::take(&mut *self.dated.lock().unwrap_or_else(PoisonError::into_inner));
        // Those made last are the deepest: setting the time of one touches the one above it.
        for (id, times) in dated.into_iter().rev() {
            let change = json!({ "fileSystemInfo": times });
            let item = self.item(&id);
            match self.graph.patch(&Scope::SharePoint, &item, &change, None).await {
                Err(source) if crate::target::is_fatal(&source) => {
                    let doing = "setting the times of folders".to_owned();
                    return Err(Error::Graph { doing, source });
                }
                // A folder that keeps its new time is no reason to fail anything.
                _ => {}
            }
        }
        Ok(())
    }

    async fn undo(&self, made: &Made) -> Result<Undone, Error> {
        let undone = match (made.what, &made.id) {
            (What::Folder, Some(id)) => self.undo_folder(id).await,
            (What::Folder, None) => match self.begun_folder(&made.path).await {
                Ok(Some(id)) => self.undo_folder(&id).await,
                Ok(None) => Ok(Undone::Removed),
                Err(error) => Err(error),
            },
            (What::Item, _) => self.undo_item(made).await,
        };
        undone.map_err(|source| Error::Graph { doing: format!("undoing {}", made.path), source })
    }
}

/// The item's bytes for an upload.
fn source(item: &Item) -> Sequential {
    let content = item.content.again();
    Sequential::new(Box::new(move || content.open()))
}

fn text(of: &Value, key: &str) -> String {
    of.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The times that can be set (FACTS 5.6).
fn times(graph: &Value) -> Option<Value> {
    let time = |key: &str| {
        let own = graph.pointer(&format!("/fileSystemInfo/{key}")).or_else(|| graph.get(key));
        own.filter(|time| time.is_string()).cloned()
    };
    let keys = ["createdDateTime", "lastModifiedDateTime"];
    let times = keys.iter().filter_map(|key| Some(((*key).to_owned(), time(key)?)));
    let times: serde_json::Map<_, _> = times.collect();
    (!times.is_empty()).then(|| times.into())
}

fn hash(of: &Value) -> Option<String> {
    of.pointer("/file/hashes/quickXorHash").and_then(Value::as_str).map(str::to_owned)
}

/// Whether the service has the times, to the second.
fn has_times(made: &Value, graph: &Value) -> bool {
    let Some(wanted) = times(graph) else { return true };
    let second = |time: &Value| time.as_str().and_then(|text| text.get(..19)).map(str::to_owned);
    ["createdDateTime", "lastModifiedDateTime"].iter().all(|key| {
        let Some(wanted) = wanted.get(key) else { return true };
        let made = made.pointer(&format!("/fileSystemInfo/{key}"));
        made.is_some_and(|made| second(made) == second(wanted))
    })
}

/// Whether a file that is found where one was being put is that one: it has the bytes, or it is
/// another than before and has the times, for the service may have rewritten it.
fn is_made(found: &Value, item: &Item, replaced: Option<&Replaced>) -> bool {
    let is_new = replaced.is_none_or(|replaced| replaced.etag != text(found, "eTag"));
    let graph = &item.line.graph;
    is_same_content(found, graph, item.size)
        || is_new && times(graph).is_some() && has_times(found, graph)
}

/// Size and hash make a file at a path the same (design 8).
fn is_same_content(there: &Value, graph: &Value, size: u64) -> bool {
    let same_hash = hash(there).zip(hash(graph)).is_none_or(|(there, here)| there == here);
    there.get("size").and_then(Value::as_u64) == Some(size) && same_hash
}

/// Of a file that is there already: ours only if a run before may have put it there.
const fn found(item: &Item) -> How {
    if item.is_doubtful { How::Present } else { How::Foreign }
}
