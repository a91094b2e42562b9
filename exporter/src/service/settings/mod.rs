//! What a mailbox is set to, and who its owner is (FACTS 3.3, 4.7, 8.2, 8.7): documents of JSON as
//! the service tells them, and a picture. Each part is asked for by itself: what is refused or
//! missing is said of that part, and the others are here.

mod estimate;
mod folders;
mod profile;
mod read;

use archive::Outcome;
use graph::{ErrorKind, Graph, Scope, segment};
use serde_json::Value;

use super::{About, Asked, Export, Fetched, Listing, NewName, Note, Opened, time};
use crate::Error;
use crate::context::Context;
use crate::estimate::{Enquiry, Numbers};
use crate::inventory::{Item, Name};
use crate::owner::{Owner, OwnerKind};
use crate::state::Seeds;

/// Ids of what there is one of in a mailbox; a rule has its own.
const MAILBOX_SETTINGS: &str = "mailboxSettings";
const CATEGORIES: &str = "masterCategories";
const OVERRIDES: &str = "inferenceClassification";
const PHOTO: &str = "photo";
const PROFILE: &str = "profile";
/// The folder that rules stand in.
const RULES: &str = "messageRules";

/// What a mailbox is set to.
pub(super) struct Settings;

impl Export for Settings {
    const ABOUT: About = About {
        name: "settings",
        roles: &["MailboxSettings.Read", "MailboxSettings.ReadWrite"],
        owners: &[OwnerKind::User],
        // FACTS 2.2: 4 per app and mailbox.
        owner_concurrency: 4,
        without_content: &[],
        not_covered: &[
            ("signatures", "Graph does not give the signatures of a mailbox"),
            ("junk-senders", "Graph does not give the safe and blocked senders of a mailbox"),
            ("delegates", "Graph does not tell who else may open a mailbox or send as it"),
        ],
    };

    const IMPOSSIBLE: &'static [&'static str] = &["signatures", "junk-senders", "delegates"];

    /// Asks the directory, which knows also those whose mailbox is refused to us: what each part
    /// says decides about that part only.
    fn root(owner: &Owner) -> (Scope, String) {
        (Scope::Directory, format!("/users/{}?$select=id", segment(&owner.id)))
    }

    fn probe(owner: &Owner) -> (Scope, String) {
        (mailbox(owner), format!("/users/{}/mailboxSettings", segment(&owner.id)))
    }

    async fn list(of: Opened<'_>, _: Seeds) -> Result<Listing, Error> {
        read::list(of).await
    }

    /// A document is what was listed; a picture is fetched.
    async fn fetch(context: &Context, asked: Asked<'_>) -> Result<Fetched, Error> {
        if asked.item.id == PHOTO {
            return photo(context, asked).await;
        }
        let mut draft = context.spool.draft(asked.turn);
        context.write(&mut draft, asked.item.json.as_bytes()).await?;
        context.write(&mut draft, b"\n").await?;
        Ok(Fetched::Whole(context.finish(draft)?, None))
    }

    async fn estimate(
        graph: &Graph,
        owner: &Owner,
        _enquiry: &Enquiry,
    ) -> Result<Option<Numbers>, graph::Error> {
        estimate::estimate(graph, owner).await
    }

    /// Nothing tells when something was set.
    fn mtime(_kind: &str, _graph: &Value) -> i64 {
        0
    }

    /// Of all of these only a person has a date.
    fn order(graph: &Value) -> i64 {
        time::order_key(time::first(graph, &["/createdDateTime"]))
    }

    fn name(graph: &Value, item: &Item) -> NewName {
        match name(&item.id, graph) {
            (name, true) => NewName::Native(name),
            (name, false) => NewName::Unique(name),
        }
    }

    fn media(json: &str) -> (Option<String>, Option<u64>) {
        let graph: Value = serde_json::from_str(json).unwrap_or_default();
        let picture = graph.get("@odata.mediaContentType").and_then(Value::as_str);
        (Some(picture.unwrap_or("application/json").to_owned()), None)
    }

    /// Documents are what was listed of them. A picture is known by the tag of its bytes; without
    /// one nobody can tell.
    fn is_same_content(earlier: &Value, now: &Value) -> bool {
        let is_document = now.get("@odata.mediaContentType").or(now.get("width")).is_none();
        earlier == now && (is_document || now.get("@odata.mediaEtag").is_some_and(Value::is_string))
    }
}

/// The file name of a part, and whether people gave it.
fn name(id: &str, graph: &Value) -> (String, bool) {
    let text = |key: &str| graph.get(key).and_then(Value::as_str).unwrap_or_default();
    let own = match id {
        MAILBOX_SETTINGS => "mailbox-settings.json",
        CATEGORIES => "categories.json",
        OVERRIDES => "focused-inbox.json",
        PROFILE => "profile.json",
        RULES => "rules",
        PHOTO => match text("@odata.mediaContentType") {
            "image/png" => "photo.png",
            "image/gif" => "photo.gif",
            "image/bmp" => "photo.bmp",
            _ => "photo.jpg",
        },
        _ if text("displayName").is_empty() => return ("rule.json".to_owned(), true),
        _ => return (format!("{}.json", text("displayName")), true),
    };
    (own.to_owned(), false)
}

/// The same for the inventory.
fn inventory_name((name, is_native): &(String, bool)) -> Name<'_> {
    if *is_native { Name::Native(name) } else { Name::Unique(name) }
}

fn mailbox(owner: &Owner) -> Scope {
    Scope::Mailbox(owner.id.clone())
}

/// The picture in its largest size, as the bytes come (FACTS 4.7).
async fn photo(context: &Context, asked: Asked<'_>) -> Result<Fetched, Error> {
    let path = format!("/users/{}/photo/$value", segment(&asked.owner.id));
    let doing = format!("reading {}", asked.item.path);
    let scope = mailbox(asked.owner);
    let error = match context.spool_value(&scope, &path, asked.turn, &doing).await? {
        Ok(content) => return Ok(Fetched::Whole(content, None)),
        Err(error) => error,
    };
    let note = match error.kind() {
        ErrorKind::ItemGone | ErrorKind::NotFound | ErrorKind::NoMailbox => {
            Note::new(Outcome::Skipped, "vanished", "the picture was gone when it was read")
        }
        ErrorKind::Permission => {
            Note::new(Outcome::Skipped, "refused", "the service refuses the picture to the app")
        }
        _ => Note::new(Outcome::Failed, "content", "the picture could not be read"),
    };
    Ok(Fetched::Without(note.with_code(&error)))
}
