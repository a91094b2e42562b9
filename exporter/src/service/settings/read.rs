//! Reads the parts one after the other into the inventory.

use archive::Outcome;
use archive::metadata::{FOLDER, SETTING};
use graph::{ErrorKind, Prefer, Scope, segment};
use serde_json::{Map, Value, json};

use super::folders::Paths;
use super::{
    CATEGORIES, MAILBOX_SETTINGS, OVERRIDES, PHOTO, RULES, inventory_name, mailbox, name, profile,
};
use crate::Error;
use crate::error::is_fatal;
use crate::follow::{CLOSING_ROUNDS, Told, all_rows};
use crate::inventory::Node;
use crate::remarks::Remarks;
use crate::service::{Listing, Note, Opened, lacking, time, volatile};

/// All that is told comes from one listing.
const LISTING: &str = "settings";
/// Categories a page (FACTS 3.2); there are fewer.
const PAGE: u32 = 1000;

/// A part: its path in the section, and what it is called in messages.
type Part = (&'static str, &'static str);

const CATEGORIES_PART: Part = ("categories.json", "the categories");
const RULES_PART: Part = ("rules", "the inbox rules");
const OVERRIDES_PART: Part = ("focused-inbox.json", "the focused-inbox overrides");

/// Reads all parts.
pub(super) async fn list(of: Opened<'_>) -> Result<Listing, Error> {
    let reader = Reader { of, remarks: Remarks::default() };
    if reader.mailbox_settings().await? {
        reader.categories().await?;
        reader.rules().await?;
        reader.overrides().await?;
        reader.photo().await?;
    }
    profile::list(&reader).await?;
    Ok(reader.remarks.into_listing("", []))
}

/// Reads the parts of one owner.
pub(super) struct Reader<'a> {
    pub(super) of: Opened<'a>,
    remarks: Remarks,
}

impl Reader<'_> {
    pub(super) fn scope(&self) -> Scope {
        mailbox(self.of.owner)
    }

    /// A path below the owner's.
    pub(super) fn path(&self, rest: &str) -> String {
        format!("/users/{}{rest}", segment(&self.of.owner.id))
    }

    pub(super) fn doing(&self) -> String {
        format!("reading the settings of {}", self.of.owner.upn)
    }

    pub(super) async fn ask(
        &self,
        scope: &Scope,
        path: &str,
    ) -> Result<Result<Value, graph::Error>, Error> {
        self.of.context.ask(scope, path, Prefer::none(), &self.doing()).await
    }

    /// Says why a part is not here.
    pub(super) fn remark(&self, (part, what): Part, error: &graph::Error) {
        let (cause, message) = match error.kind() {
            ErrorKind::Permission => ("refused", format!("the service refuses {what} to the app")),
            ErrorKind::Locked => ("locked", format!("the service keeps {what} locked")),
            ErrorKind::Unsupported => {
                ("unsupported", format!("this cloud or version does not give {what}"))
            }
            ErrorKind::NotFound
            | ErrorKind::ItemGone
            | ErrorKind::FolderGone
            | ErrorKind::NoMailbox => ("no-service", format!("the service does not have {what}")),
            _ => {
                let note =
                    Note::new(Outcome::Failed, "listing", &format!("{what} could not be read"));
                return self.remarks.failed("", note.with_code(error).of_part(part));
            }
        };
        self.note(part, Note::new(Outcome::Skipped, cause, &message).with_code(error));
    }

    pub(super) fn note(&self, part: &str, note: Note) {
        self.remarks.note("", note.of_part(part));
    }

    /// Puts a document in.
    pub(super) fn put(
        &self,
        id: &str,
        parent: &str,
        mut graph: Map<String, Value>,
    ) -> Result<(), Error> {
        volatile::strip(&mut graph, &["@odata.etag"]);
        let graph = Value::Object(graph);
        let name = name(id, &graph);
        let is_folder = id == RULES;
        self.of.inventory.put(&Node {
            id,
            listing: LISTING,
            parent,
            kind: if is_folder { FOLDER } else { SETTING },
            folder: is_folder,
            key: time::order_key(time::first(&graph, &["/createdDateTime"])),
            mtime: 0,
            name: inventory_name(&name),
            json: &archive::json::canonical(&graph),
            unwanted: None,
        })
    }

    /// False if there is no mailbox.
    async fn mailbox_settings(&self) -> Result<bool, Error> {
        let path = self.path("/mailboxSettings");
        match self.ask(&self.scope(), &path).await? {
            Ok(Value::Object(mut settings)) => {
                forget_schedule(&mut settings);
                self.put(MAILBOX_SETTINGS, "", settings)?;
            }
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::NoMailbox | ErrorKind::NotFound) => {
                let (cause, message) = lacking(self.of.owner);
                let note = Note::new(Outcome::Skipped, cause, message).with_code(&error);
                self.remarks.note("", note);
                return Ok(false);
            }
            Err(error) => self.remark(("mailbox-settings.json", "the mailbox settings"), &error),
        }
        Ok(true)
    }

    async fn categories(&self) -> Result<(), Error> {
        let path = self.path(&format!("/outlook/masterCategories?$top={PAGE}"));
        let Some(mut rows) = self.rows(&path, CATEGORIES_PART).await? else { return Ok(()) };
        sort(&mut rows, |row| (text(row, "/displayName"), text(row, "/id")));
        self.put(CATEGORIES, "", Map::from_iter([("value".to_owned(), rows.into())]))
    }

    async fn overrides(&self) -> Result<(), Error> {
        let path = self.path("/inferenceClassification/overrides");
        let Some(mut rows) = self.rows(&path, OVERRIDES_PART).await? else { return Ok(()) };
        sort(&mut rows, |row| (text(row, "/senderEmailAddress/address"), text(row, "/id")));
        self.put(OVERRIDES, "", Map::from_iter([("value".to_owned(), rows.into())]))
    }

    /// Rules name folders by ids, which say nothing in another mailbox: the names stand beside.
    async fn rules(&self) -> Result<(), Error> {
        let path = self.path("/mailFolders/inbox/messageRules");
        let Some(rows) = self.rows(&path, RULES_PART).await? else { return Ok(()) };
        let mut paths = Paths::new(self);
        let is_empty = rows.is_empty();
        for mut row in rows {
            let id = text(&row, "/id").to_owned();
            let folders = paths.of_rule(&row).await?;
            if let Some(rule) = row.as_object_mut().filter(|_| !id.is_empty()) {
                if !folders.is_empty() {
                    rule.insert("folders".to_owned(), folders.into());
                }
                // By which readers know the folder that its file is in.
                rule.insert("parentFolderId".to_owned(), RULES.into());
                self.put(&id, RULES, std::mem::take(rule))?;
            }
        }
        if let Some(error) = paths.into_refusal() {
            self.remark(("rules", "the names of the folders that rules use"), &error);
        }
        if is_empty {
            return Ok(());
        }
        let folder = json!({ "id": RULES, "displayName": "rules", "parentFolderId": "" });
        self.put(RULES, "", folder.as_object().cloned().unwrap_or_default())
    }

    /// Who has no picture has none: nothing is missing then.
    async fn photo(&self) -> Result<(), Error> {
        match self.ask(&self.scope(), &self.path("/photo")).await? {
            Ok(Value::Object(photo)) => self.put(PHOTO, "", photo),
            Ok(_) => Ok(()),
            Err(error) => {
                let none = matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::ItemGone | ErrorKind::NoMailbox
                );
                if !none {
                    self.remark(("photo.jpg", "the picture"), &error);
                }
                Ok(())
            }
        }
    }

    /// All rows of a short list, or a remark. There is no delta: a list of more than one page is
    /// read until two readings agree, for what changes meanwhile may slip from page to page.
    async fn rows(&self, path: &str, part: Part) -> Result<Option<Vec<Value>>, Error> {
        let mut before = None;
        for _ in 0..=CLOSING_ROUNDS {
            let graph = self.of.context.graph();
            let Told { rows, pages, ended } = all_rows(graph, &self.scope(), path).await;
            match ended {
                Ok(()) => {}
                Err(error) if is_fatal(&error) => return Err(Error::graph(self.doing(), error)),
                Err(error) => {
                    self.remark(part, &error);
                    return Ok(None);
                }
            }
            if pages <= 1 || before.as_ref() == Some(&rows) {
                return Ok(Some(rows));
            }
            before = Some(rows);
        }
        Ok(before)
    }
}

/// Replies without a schedule have no times (FACTS 8.2): what stands there may follow the clock.
fn forget_schedule(settings: &mut Map<String, Value>) {
    let replies = settings.get_mut("automaticRepliesSetting").and_then(Value::as_object_mut);
    let Some(replies) = replies else { return };
    let status = replies.get("status").and_then(Value::as_str);
    if status.is_some_and(|status| !status.eq_ignore_ascii_case("scheduled")) {
        replies.retain(|key, _| !key.starts_with("scheduled"));
    }
}

/// What the service gives in no order.
fn sort(rows: &mut [Value], key: impl Fn(&Value) -> (&str, &str)) {
    rows.sort_by(|one, other| key(one).cmp(&key(other)));
}

pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
