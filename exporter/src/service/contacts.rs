//! Contacts: the default folder and all others, each as the service lists it and then by delta,
//! one vCard a contact (FACTS 3.4).
//!
//! Delta does not give the extended properties that a whole card needs, and a list does not tell
//! what went on while it was read. So a folder is listed first, with those properties, and then
//! its delta says what of that still holds: what it tells that the list did not tell alike is asked
//! for one by one.

mod card;
mod estimate;
mod folder;
mod folders;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use archive::{Head, Outcome};
use futures::{StreamExt, TryStreamExt, stream};
use graph::{DeltaLink, ErrorKind, Graph, Prefer, Scope, segment};
use serde_json::{Map, Value};

use super::{About, Asked, Export, Fetched, Listing, NewName, Note, Opened, time, volatile};
use crate::Error;
use crate::base::BaseLines;
use crate::context::Context;
use crate::error::is_gone;
use crate::estimate::{Enquiry, Numbers};
use crate::follow::{CLOSING_ROUNDS, Followed, Still, at_once, replay_all, until_still};
use crate::inventory::{Inventory, Item, Name, Node};
use crate::options::Options;
use crate::owner::{Owner, OwnerKind};
use crate::remarks::Remarks;
use crate::state::Seeds;
use folder::Rows;

/// What Outlook knows of a contact and Graph shows only as MAPI properties (FACTS 3.4), besides what
/// a card has lines for: gender, hobbies, the four fields of the user, the address of the free/busy
/// data, private or not, and sensitivity.
const MORE_EXTENDED: [&str; 9] = [
    "Short 0x3A4D",
    "String 0x3A43",
    "String {00062004-0000-0000-C000-000000000046} Id 0x804F",
    "String {00062004-0000-0000-C000-000000000046} Id 0x8050",
    "String {00062004-0000-0000-C000-000000000046} Id 0x8051",
    "String {00062004-0000-0000-C000-000000000046} Id 0x8052",
    "String {00062004-0000-0000-C000-000000000046} Id 0x80D8",
    "Boolean {00062008-0000-0000-C000-000000000046} Id 0x8506",
    "Integer 0x0036",
];
/// Whether a contact has a photo.
const HAS_PICTURE: &str = "Boolean {00062004-0000-0000-C000-000000000046} Id 0x8015";

/// Keys that say nothing of a contact (FACTS 9): the type stands in some listings and not in others.
const VOLATILE: [&str; 1] = ["@odata.type"];

/// Contacts as vCards.
pub(super) struct Contacts;

impl Export for Contacts {
    const ABOUT: About = About {
        name: "contacts",
        roles: &["Contacts.Read", "Contacts.ReadWrite"],
        owners: &[OwnerKind::User],
        // FACTS 2.2: 4 per app and mailbox.
        owner_concurrency: 4,
        without_content: &[],
        not_covered: &[
            ("distribution-lists", "Graph does not give the distribution lists among contacts"),
            ("extensions", "data that other programs keep with contacts is not exported"),
        ],
    };

    const IMPOSSIBLE: &'static [&'static str] = &["distribution-lists"];

    /// The documented way to the default folder, which no list of folders names: any contact in it
    /// (FACTS 3.4).
    fn root(owner: &Owner) -> (Scope, String) {
        let user = segment(&owner.id);
        (scope(owner), format!("/users/{user}/contacts?$top=1&$select=parentFolderId"))
    }

    async fn list(of: Opened<'_>, seeds: Seeds) -> Result<Listing, Error> {
        list(of, seeds).await
    }

    async fn fetch(context: &Context, asked: Asked<'_>) -> Result<Fetched, Error> {
        card::fetch(context, asked).await
    }

    async fn estimate(
        graph: &Graph,
        owner: &Owner,
        enquiry: &Enquiry,
    ) -> Result<Option<Numbers>, graph::Error> {
        estimate::estimate(graph, owner, enquiry).await
    }

    /// When it was changed.
    fn mtime(kind: &str, graph: &Value) -> i64 {
        match kind {
            archive::metadata::FOLDER => 0,
            _ => mtime(graph),
        }
    }

    fn order(graph: &Value) -> i64 {
        order(graph)
    }

    /// A folder's own name; of a contact what it is called.
    fn name(graph: &Value, item: &Item) -> NewName {
        if item.kind == archive::metadata::FOLDER {
            let name = graph.get("displayName").and_then(Value::as_str).unwrap_or_default();
            return NewName::Native(name.to_owned());
        }
        NewName::Unique(file_name(graph, &item.id))
    }

    fn is_alike(head: &Head, options: &Options) -> bool {
        head.vcard == options.vcard
    }

    fn media(_json: &str) -> (Option<String>, Option<u64>) {
        (Some("text/vcard".to_owned()), None)
    }
}

/// Whether the service does not know what it is asked for.
fn is_refusal(error: &graph::Error) -> bool {
    matches!(error.kind(), ErrorKind::BadRequest | ErrorKind::Unsupported)
}

fn scope(owner: &Owner) -> Scope {
    Scope::Mailbox(owner.id.clone())
}

/// Asks for extended properties.
fn expansion<'a>(ids: impl IntoIterator<Item = &'a &'a str>) -> String {
    let wanted: Vec<_> = ids.into_iter().map(|id| format!("id eq '{id}'")).collect();
    let filter = segment(&wanted.join(" or "));
    format!("$expand=singleValueExtendedProperties($filter={filter})")
}

fn mtime(contact: &Value) -> i64 {
    let changed = ["/lastModifiedDateTime", "/createdDateTime"];
    time::seconds(time::first_real(contact, &changed))
}

fn order(contact: &Value) -> i64 {
    time::order_key(time::first(contact, &["/createdDateTime"]))
}

/// The name of a contact's file. It always has the tag: two may be called alike, and then neither
/// is to be renamed because of the other.
fn file_name(contact: &Value, id: &str) -> String {
    let names = ["/displayName", "/fileAs", "/companyName", "/emailAddresses/0/address"];
    let texts = names.iter().filter_map(|name| contact.pointer(name)?.as_str()).map(str::trim);
    let name = texts.into_iter().find(|text| !text.is_empty()).unwrap_or("unnamed");
    archive::path::tagged_component(&format!("{name}.vcf"), id)
}

/// Whether somebody was told that the service refuses extended properties: once is enough.
#[derive(Debug, Default)]
struct Told(AtomicBool);

/// The contacts of a mailbox while they are listed.
struct Desk<'a> {
    context: &'a Context,
    owner: &'a Owner,
    inventory: &'a Inventory,
    /// The mailbox refuses extended properties. Another may give them: it is asked itself, so that
    /// nothing depends on which was first.
    plain: AtomicBool,
    told: Arc<Told>,
    /// Where listings of folders go on.
    links: BTreeMap<String, DeltaLink>,
    remarks: Remarks,
}

/// Lists folders, then the contacts of each, then what moved meanwhile.
async fn list(of: Opened<'_>, seeds: Seeds) -> Result<Listing, Error> {
    let Opened { context, owner, root, inventory } = of;
    let Seeds { links, lines } = seeds;
    let (plain, told, remarks) = (AtomicBool::new(false), context.kept.get(), Remarks::default());
    let desk = Desk { context, owner, inventory, plain, told, links, remarks };
    let mut tree = desk.watch_tree().await?;
    let default = desk.default_folder(root).await?;
    let ids = desk.folders(default.as_deref()).await?;
    let mut known: BTreeSet<String> = ids.iter().cloned().collect();
    if let Some(lines) = lines {
        tokio::task::block_in_place(|| desk.seed(lines, &known))?;
    }
    let mut folders = desk.all_contacts(ids).await?;
    for _ in 0..CLOSING_ROUNDS {
        let grown = tree.has_changed(context.graph()).await.map_err(|e| desk.fatal(e))?;
        if grown {
            let mut new = desk.folders(default.as_deref()).await?;
            new.retain(|id| known.insert(id.clone()));
            folders.append(&mut desk.all_contacts(new).await?);
        }
        // A contact moved meanwhile is in the changes of both folders.
        let quiet = replay_all(context.graph(), &mut folders).await?;
        if quiet && !(grown && tree.can_tell()) {
            break;
        }
    }
    // A service that does not know what it is asked for may simply leave it out (FACTS 3.0).
    let gives = inventory.holds(archive::metadata::CONTACT, "singleValueExtendedProperties")?;
    if gives.is_some_and(|gives| !gives || desk.is_plain()) {
        let message = "the service gave no extended properties of contacts";
        desk.remarks.note("", Note::new(Outcome::Skipped, "extended-properties", message));
    }
    let links: Vec<_> =
        folders.into_iter().filter_map(|folder| Some((folder.listed.id, folder.link?))).collect();
    Ok(desk.remarks.into_listing("", links))
}

impl<'a> Desk<'a> {
    fn user(&self) -> String {
        segment(&self.owner.id)
    }

    fn is_plain(&self) -> bool {
        self.plain.load(Ordering::Relaxed)
    }

    /// Takes the contacts of an earlier run from its metadata, of the folders whose listing goes
    /// on from there.
    fn seed(&self, mut lines: BaseLines, folders: &BTreeSet<String>) -> Result<(), Error> {
        while let Some(line) = lines.next_line()? {
            let Value::Object(graph) = line.graph else { continue };
            let folder = graph.get("parentFolderId").and_then(Value::as_str).unwrap_or_default();
            let goes_on = self.links.contains_key(folder) && folders.contains(folder);
            if line.kind == archive::metadata::CONTACT && goes_on {
                let folder = folder.to_owned();
                self.put_contact(&folder, &line.id, graph)?;
            }
        }
        Ok(())
    }

    async fn all_contacts(&self, ids: Vec<String>) -> Result<Vec<Followed<Rows<'_>>>, Error> {
        if self.context.options.without_message_delta {
            // FACTS 10: no contact delta in 21Vianet.
            let mut all: Vec<_> = ids.into_iter().map(|id| Rows::still(self, id)).collect();
            let at_once = at_once(&self.links);
            until_still(self.context.graph(), &mut all, at_once).await?;
            let followed =
                |one: Still<_>| Followed { listed: one.listed, link: None, is_over: false };
            return Ok(all.into_iter().map(followed).collect());
        }
        stream::iter(ids)
            .map(|id| self.contacts(id))
            .buffered(at_once(&self.links))
            .try_filter_map(|folder| async { Ok(folder) })
            .try_collect()
            .await
    }

    /// Lists one folder to its end. None when it vanished or could not be listed.
    async fn contacts(&self, id: String) -> Result<Option<Followed<Rows<'_>>>, Error> {
        let graph = self.context.graph();
        let start = self.links.get(&id).cloned();
        let mut rows = Rows::new(self, id.clone());
        if start.is_none() {
            if !rows.whole().await? {
                return Ok(None);
            }
            self.inventory.outdate(&id)?;
        }
        let followed = Followed::begin(graph, rows, start).await?;
        Ok(Some(followed).filter(|followed| !followed.is_over))
    }

    /// Puts a contact in. True if that is news.
    fn put_contact(
        &self,
        folder: &str,
        id: &str,
        mut graph: Map<String, Value>,
    ) -> Result<bool, Error> {
        volatile::strip(&mut graph, &VOLATILE);
        if graph.contains_key("changeKey") {
            graph.remove("@odata.etag");
        }
        graph.entry("parentFolderId").or_insert_with(|| folder.into());
        if let Some(Value::Array(properties)) = graph.get_mut("singleValueExtendedProperties") {
            properties.sort_by_cached_key(|property| property["id"].to_string());
        }
        let graph = Value::Object(graph);
        self.inventory.update(&Node {
            id,
            listing: folder,
            parent: folder,
            kind: archive::metadata::CONTACT,
            folder: false,
            key: order(&graph),
            mtime: mtime(&graph),
            name: Name::Unique(&file_name(&graph, id)),
            json: &archive::json::canonical(&graph),
            unwanted: None,
        })
    }

    /// Asks for the whole of a contact that changed.
    async fn complete(&self, folder: &str, id: &str) -> Result<(), Error> {
        let (user, parent, contact) = (self.user(), segment(folder), segment(id));
        let path = format!("/users/{user}/contactFolders/{parent}/contacts/{contact}");
        let doing = format!("listing the contacts of {}", self.owner.upn);
        let ask = async || {
            let path = format!("{path}{}", self.query("?"));
            self.context.ask(&scope(self.owner), &path, Prefer::none(), &doing).await
        };
        let wants_all = !self.is_plain();
        let mut asked = ask().await?;
        if matches!(&asked, Err(error) if wants_all && is_refusal(error)) {
            self.ask_less();
            asked = ask().await?;
        }
        // One 404 does not prove it.
        if matches!(&asked, Err(error) if is_gone(error)) {
            asked = ask().await?;
        }
        match asked {
            Ok(Value::Object(graph)) => self.put_contact(folder, id, graph).map(drop),
            Ok(_) => Ok(()),
            Err(error) if is_gone(&error) => self.inventory.remove(folder, id),
            Err(error) => {
                let message = "a changed contact could not be read";
                let note = Note::new(Outcome::Failed, "listing", message).with_code(&error);
                self.remarks.failed(folder, note);
                self.inventory.keep(folder, id)
            }
        }
    }

    /// What is asked for besides what the service gives by itself, after `before` if it is
    /// anything.
    fn query(&self, before: &str) -> String {
        if self.is_plain() {
            return String::new();
        }
        let own = convert::contact::EXTENDED.iter().chain(&MORE_EXTENDED).chain([&HAS_PICTURE]);
        format!("{before}{}", expansion(own))
    }

    /// A mailbox that refuses the extended properties is not asked for them from now on.
    fn ask_less(&self) {
        self.plain.store(true, Ordering::Relaxed);
        if !self.told.0.swap(true, Ordering::Relaxed) {
            let message = "the service refuses extended properties of contacts; going on without";
            self.context.monitor.warn(message);
        }
    }

    fn fatal(&self, error: graph::Error) -> Error {
        Error::graph(format!("listing the contacts of {}", self.owner.upn), error)
    }
}
