//! Conversations in the mailbox of a group (FACTS 3.11): threads as folders, posts as EML of our
//! own, because the service has no MIME of them.
//!
//! A conversation nearly always has one thread, of the same topic. So the threads are the folders,
//! and the line of each carries its conversation. All that a post says comes with the listing; only
//! its attachments are asked for, and the service gives those to nobody but a person (FACTS 1.8).

mod estimate;

use archive::{Outcome, metadata};
use futures::{StreamExt, TryStreamExt, stream};
use graph::{ErrorKind, Graph, Pages, Prefer, Scope, segment};
use serde_json::{Map, Value, json};

use super::{About, Asked, Export, Fetched, Listing, NewName, Note, Opened, time, volatile};
use crate::context::Context;
use crate::error::{is_fatal, is_gone};
use crate::estimate::{Enquiry, Numbers};
use crate::follow::{Listed, Refusal, Still, may_begin_anew, until_still};
use crate::inventory::{Inventory, Item, Name, Node};
use crate::kept::Level;
use crate::owner::{Owner, OwnerKind};
use crate::remarks::Remarks;
use crate::state::Seeds;
use crate::{Error, substitute};

/// Conversations, threads or posts a page; a post comes with its text.
const PAGE: u32 = 50;
/// Conversations whose threads are listed at the same time (FACTS 2.2: 4 per app and mailbox).
const AT_ONCE: usize = 4;
/// What tells of conversations.
const CONVERSATIONS: &str = "conversations";

/// What is asked for with each post, and the less that is asked where a service refuses it. Who a
/// post answers, and (MS-OXOMSG 2.2.1) its Message-ID, References and In-Reply-To, which are in no
/// property of Graph.
const EXPANDS: [&str; 3] = [
    "?$expand=inReplyTo($select=id),singleValueExtendedProperties($filter=id%20eq%20\
     'String%200x1035'%20or%20id%20eq%20'String%200x1039'%20or%20id%20eq%20'String%200x1042')",
    "?$expand=singleValueExtendedProperties($filter=id%20eq%20\
     'String%200x1035'%20or%20id%20eq%20'String%200x1039'%20or%20id%20eq%20'String%200x1042')",
    "",
];
const MESSAGE_ID: &str = "String 0x1035";
const REFERENCES: &str = "String 0x1039";
const IN_REPLY_TO: &str = "String 0x1042";

/// When a post came.
const DATES: [&str; 2] = ["/receivedDateTime", "/createdDateTime"];

/// Conversations of a group.
pub(super) struct Conversations;

impl Export for Conversations {
    const ABOUT: About = About {
        name: "conversations",
        roles: &["Group-Conversation.Read.All", "Group.Read.All", "Group.ReadWrite.All"],
        owners: &[OwnerKind::Group],
        // FACTS 2.2: 4 per app and mailbox.
        owner_concurrency: 4,
        without_content: &[],
        not_covered: &[(
            "post-attachments",
            "Graph gives attachments of posts only to a person who is signed in",
        )],
    };

    /// The first conversations: without options, for this service knows few of them.
    fn root(owner: &Owner) -> (Scope, String) {
        (scope(owner), format!("{}/conversations", group(owner)))
    }

    async fn list(of: Opened<'_>, _seeds: Seeds) -> Result<Listing, Error> {
        let Opened { context, owner, inventory, .. } = of;
        let level = Level::new(&context.kept);
        let mailbox = Mailbox { context, owner, inventory, level, remarks: Remarks::default() };
        // What a conversation says tells whether anything in it changed while we listed.
        let known = context.inventory()?;
        let rows = Rows { mailbox: &mailbox, known: &known, changed: Vec::new() };
        let mut all = [Still::new(rows)];
        until_still(context.graph(), &mut all, 1).await?;
        Ok(mailbox.remarks.into_listing("", []))
    }

    async fn fetch(context: &Context, asked: Asked<'_>) -> Result<Fetched, Error> {
        let post: Value = serde_json::from_str(&asked.item.json)
            .map_err(|_| Error::Internal("the inventory gave back bad JSON"))?;
        let base = format!(
            "{}/threads/{}/posts/{}",
            group(asked.owner),
            segment(text(&post, "parentFolderId")),
            segment(&asked.item.id)
        );
        substitute::post(context, asked, base, &message(&post, &asked)).await
    }

    async fn estimate(
        graph: &Graph,
        owner: &Owner,
        enquiry: &Enquiry,
    ) -> Result<Option<Numbers>, graph::Error> {
        estimate::estimate(graph, owner, enquiry).await
    }

    fn mtime(kind: &str, graph: &Value) -> i64 {
        if kind == metadata::FOLDER { 0 } else { mtime(graph) }
    }

    fn order(graph: &Value) -> i64 {
        order(graph)
    }

    fn name(graph: &Value, item: &Item) -> NewName {
        let topic = text(graph, "topic");
        if item.kind == metadata::FOLDER {
            return NewName::Native(topic.to_owned());
        }
        NewName::Unique(archive::path::mail_name(item.mtime, topic, &item.id))
    }

    fn media(_json: &str) -> (Option<String>, Option<u64>) {
        (Some("message/rfc822".to_owned()), None)
    }
}

fn scope(owner: &Owner) -> Scope {
    Scope::Mailbox(owner.id.clone())
}

fn group(owner: &Owner) -> String {
    format!("/groups/{}", segment(&owner.id))
}

/// When a post came, seconds since 1970.
fn mtime(post: &Value) -> i64 {
    time::seconds(time::first_real(post, &DATES))
}

/// What posts are ordered by.
fn order(post: &Value) -> i64 {
    time::order_key(time::first(post, &DATES))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A post as the message it was: to the group, and to whom it brought into the thread.
fn message(post: &Value, asked: &Asked<'_>) -> Value {
    let group = &asked.owner.graph;
    let to = group.get("mail").and_then(Value::as_str).filter(|mail| !mail.is_empty());
    let to = to.map(|mail| json!({ "emailAddress": { "address": mail } }));
    let extended = |id: &str| {
        let all = post.get("singleValueExtendedProperties").and_then(Value::as_array);
        let found = all.into_iter().flatten().find(|property| is_property(property, id));
        found.map(|property| text(property, "value")).unwrap_or_default()
    };
    let own_id = extended(MESSAGE_ID);
    let answered = match extended(IN_REPLY_TO) {
        // Both ids are made of ours, or neither is: else nothing would fit together.
        "" if own_id.is_empty() => {
            let id = post.pointer("/inReplyTo/id").and_then(Value::as_str);
            id.map(substitute::message_id).unwrap_or_default()
        }
        answered => answered.to_owned(),
    };
    let references = match extended(REFERENCES) {
        "" => answered.clone(),
        references => references.to_owned(),
    };
    let sender = post.get("sender").filter(|sender| Some(*sender) != post.get("from"));
    json!({
        "subject": text(post, "topic"),
        "from": post.get("from"),
        "sender": sender,
        "toRecipients": to.into_iter().collect::<Vec<_>>(),
        "ccRecipients": post.get("newParticipants"),
        "receivedDateTime": post.get("receivedDateTime"),
        "createdDateTime": post.get("createdDateTime"),
        "internetMessageId": own_id,
        "inReplyTo": answered,
        "references": references,
        "body": post.get("body"),
        "hasAttachments": post.get("hasAttachments"),
    })
}

/// Ids come back with their numbers written in another way.
fn is_property(property: &Value, id: &str) -> bool {
    text(property, "id").eq_ignore_ascii_case(id)
}

/// A group's mailbox while it is listed.
struct Mailbox<'a> {
    context: &'a Context,
    owner: &'a Owner,
    inventory: &'a Inventory,
    /// An index into [`EXPANDS`].
    level: Level<Conversations>,
    remarks: Remarks,
}

/// What comes of asking for a page.
enum Next {
    Rows(Vec<Value>),
    End,
    Refused(graph::Error),
}

impl Mailbox<'_> {
    /// Lists the threads of a conversation with their posts.
    async fn conversation(&self, conversation: Value) -> Result<(), Error> {
        let id = text(&conversation, "id").to_owned();
        let path = format!("{}/conversations/{}/threads", group(self.owner), segment(&id));
        self.inventory.outdate(&id)?;
        let mut lost = 0;
        let mut pages = self.pages(&path);
        loop {
            match self.next(&mut pages).await? {
                Next::Rows(threads) => {
                    for thread in threads {
                        self.thread(thread, &conversation).await?;
                    }
                }
                Next::End => break,
                Next::Refused(error) if may_begin_anew(lost, &pages, &error) => {
                    lost += 1;
                    pages = self.pages(&path);
                }
                Next::Refused(error) => {
                    let path = format!("{}/conversations/{}", group(self.owner), segment(&id));
                    if self.is_missing(&path, &error).await? {
                        return self.inventory.forget(&id);
                    }
                    self.not_listed("", &error);
                    return Ok(());
                }
            }
        }
        // It may have been listed before, and have had more then.
        self.inventory.remove_outdated(&id)?;
        Ok(())
    }

    /// Whether what an error was about is gone, and was not only said to be.
    async fn is_missing(&self, path: &str, error: &graph::Error) -> Result<bool, Error> {
        let doing = self.doing();
        Ok(is_gone(error) && self.context.is_missing(&scope(self.owner), path, &doing).await?)
    }

    async fn thread(&self, thread: Value, conversation: &Value) -> Result<(), Error> {
        let Value::Object(mut graph) = thread else { return Ok(()) };
        let Some(id) = graph.get("id").and_then(Value::as_str).map(str::to_owned) else {
            return Ok(());
        };
        let listing = text(conversation, "id");
        let own = graph.get("topic").and_then(Value::as_str).filter(|topic| !topic.is_empty());
        let topic = own.unwrap_or_else(|| text(conversation, "topic")).to_owned();
        volatile::strip(&mut graph, &["@odata.etag"]);
        graph.insert("conversation".to_owned(), conversation.clone());
        graph.insert("topic".to_owned(), topic.as_str().into());
        self.inventory.put(&Node {
            id: &id,
            listing,
            parent: "",
            kind: metadata::FOLDER,
            folder: true,
            key: 0,
            mtime: 0,
            name: Name::Native(&topic),
            json: &archive::json::canonical(&Value::Object(graph)),
            unwanted: None,
        })?;
        loop {
            let level = self.level.now();
            let Some(error) = self.posts(&id, &topic, listing, EXPANDS[level]).await? else {
                return Ok(());
            };
            match error.kind() {
                ErrorKind::BadRequest | ErrorKind::Unsupported if level + 1 < EXPANDS.len() => {
                    self.ask_less(level);
                }
                _ => {
                    let path = format!("{}/threads/{}", group(self.owner), segment(&id));
                    if self.is_missing(&path, &error).await? {
                        self.inventory.remove(listing, &id)?;
                        self.remarks.vanished(&id, "thread", &error);
                    } else {
                        self.not_listed(&id, &error);
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Lists the posts of a thread. What the service refused, if it did.
    async fn posts(
        &self,
        thread: &str,
        topic: &str,
        listing: &str,
        expand: &str,
    ) -> Result<Option<graph::Error>, Error> {
        let path = format!("{}/threads/{}/posts{expand}", group(self.owner), segment(thread));
        let mut lost = 0;
        let mut pages = self.pages(&path);
        loop {
            match self.next(&mut pages).await? {
                Next::Rows(posts) => {
                    for post in posts {
                        self.put_post(post, thread, topic, listing)?;
                    }
                }
                Next::End => return Ok(None),
                Next::Refused(error) if may_begin_anew(lost, &pages, &error) => {
                    lost += 1;
                    pages = self.pages(&path);
                }
                Next::Refused(error) => return Ok(Some(error)),
            }
        }
    }

    fn put_post(&self, post: Value, thread: &str, topic: &str, listing: &str) -> Result<(), Error> {
        let Value::Object(mut graph) = post else { return Ok(()) };
        let Some(id) = graph.get("id").and_then(Value::as_str).map(str::to_owned) else {
            return Ok(());
        };
        tidy(&mut graph);
        graph.insert("parentFolderId".to_owned(), thread.into());
        graph.insert("topic".to_owned(), topic.into());
        let graph = Value::Object(graph);
        let mtime = mtime(&graph);
        self.inventory.put(&Node {
            id: &id,
            listing,
            parent: thread,
            kind: metadata::POST,
            folder: false,
            key: order(&graph),
            mtime,
            name: Name::Unique(&archive::path::mail_name(mtime, topic, &id)),
            json: &archive::json::canonical(&graph),
            unwanted: None,
        })
    }

    fn pages(&self, path: &str) -> Pages {
        self.context.graph().pages(scope(self.owner), path, Prefer::page_size(PAGE))
    }

    async fn next(&self, pages: &mut Pages) -> Result<Next, Error> {
        match pages.next().await {
            Ok(Some(page)) => {
                let rows = page.items.iter().map(|item| item.parse());
                rows.collect::<Result<_, _>>().map(Next::Rows).map_err(|error| self.fatal(error))
            }
            Ok(None) => Ok(Next::End),
            Err(error) if is_fatal(&error) => Err(self.fatal(error)),
            Err(error) => Ok(Next::Refused(error)),
        }
    }

    /// A folder, or a conversation that has none yet, of which not all is known.
    fn not_listed(&self, folder: &str, error: &graph::Error) {
        let message = match folder {
            "" => "the threads of a conversation could not be listed to their end",
            _ => "the thread could not be listed to its end",
        };
        let note = Note::new(Outcome::Failed, "listing", message);
        self.remarks.failed(folder, note.with_code(error));
    }

    /// A service that refuses what was asked at `level` is asked less from now on.
    fn ask_less(&self, level: usize) {
        if self.level.lower(level) {
            let what = ["who a post answers", "extended properties"][level];
            let message = format!("the service refuses {what} in listings of posts; without");
            self.context.monitor.warn(&message);
        }
    }

    fn doing(&self) -> String {
        format!("listing the conversations of {}", self.owner.upn)
    }

    fn fatal(&self, error: graph::Error) -> Error {
        Error::graph(self.doing(), error)
    }
}

/// Drops what changes by itself, and brings what was expanded into one form: of a post that is
/// answered its id, whether or not the service gave more.
fn tidy(post: &mut Map<String, Value>) {
    // A tag is kept, by which the content is known to be what it was.
    let has_key = post.get("changeKey").is_some_and(Value::is_string);
    volatile::strip(post, if has_key { &["@odata.etag"] } else { &[] });
    if let Some(answered) = post.remove("inReplyTo")
        && let Some(id) = answered.get("id")
    {
        post.insert("inReplyTo".to_owned(), json!({ "id": id }));
    }
    if let Some(Value::Array(properties)) = post.get_mut("singleValueExtendedProperties") {
        properties.sort_by_cached_key(|property| property["id"].to_string());
    }
}

/// The conversations of a group as they are listed.
struct Rows<'a> {
    mailbox: &'a Mailbox<'a>,
    /// What each said last.
    known: &'a Inventory,
    /// Those of the page at hand that are new, or say something else than before.
    changed: Vec<Value>,
}

impl Listed for Rows<'_> {
    fn scope(&self) -> Scope {
        scope(self.mailbox.owner)
    }

    fn prefer(&self) -> Prefer {
        Prefer::page_size(PAGE)
    }

    fn beginning(&mut self) -> String {
        format!("{}/conversations", group(self.mailbox.owner))
    }

    fn take_row(&mut self, row: Value) -> Result<bool, Error> {
        let Value::Object(mut graph) = row else { return Ok(false) };
        volatile::strip(&mut graph, &["@odata.etag"]);
        let conversation = Value::Object(graph);
        let Some(id) = conversation.get("id").and_then(Value::as_str) else { return Ok(false) };
        let is_news = self.known.update(&Node {
            id,
            listing: CONVERSATIONS,
            parent: "",
            kind: "conversation",
            folder: true,
            key: 0,
            mtime: 0,
            name: Name::Unique(id),
            json: &archive::json::canonical(&conversation),
            unwanted: None,
        })?;
        if is_news {
            self.changed.push(conversation);
        }
        Ok(is_news)
    }

    async fn end_page(&mut self) -> Result<(), Error> {
        let mailbox = self.mailbox;
        stream::iter(std::mem::take(&mut self.changed))
            .map(|conversation| mailbox.conversation(conversation))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    fn told(&self) -> (&Inventory, &str) {
        (self.known, CONVERSATIONS)
    }

    fn container(&self) -> Option<String> {
        Some(format!("{}?$select=id", group(self.mailbox.owner)))
    }

    fn vanished(&mut self, error: &graph::Error) -> Result<(), Error> {
        self.mailbox.remarks.vanished("", "group", error);
        Ok(())
    }

    fn refused(&mut self, error: graph::Error, _is_closing: bool) -> Result<Refusal, Error> {
        let message = "the conversations could not be listed to their end";
        let note = Note::new(Outcome::Failed, "listing", message);
        self.mailbox.remarks.failed("", note.with_code(&error));
        Ok(Refusal::Over)
    }

    fn gave_up(&mut self) {
        let message = "the service lost the listing again and again";
        self.mailbox.remarks.failed("", Note::new(Outcome::Failed, "listing", message));
    }

    fn fatal(&self, error: graph::Error) -> Error {
        self.mailbox.fatal(error)
    }
}
