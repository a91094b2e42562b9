//! Groups: who is in them, what was said, and the window of their calendar. An application may
//! read less here than a person (FACTS 1.8): neither attachments nor the list of events.

use http::Method;
use serde_json::{Value, json};

use crate::calendar::{self, stamp};
use crate::compose::Object;
use crate::error::Refusal;
use crate::groups::Group;
use crate::page::escaped;
use crate::routes::attachments::Holder;
use crate::routes::directory::{entity, not_found, one_page};
use crate::routes::things::{Access, Roles, denied};
use crate::routes::{Answer, Asked, settings};
use crate::shelf::{Kind, Number, Place};

const READERS: [&str; 4] =
    ["Group.Read.All", "GroupMember.Read.All", "Group.ReadWrite.All", "Directory.Read.All"];

const TALK: Roles = Roles {
    readers: &["Group.Read.All", "Group-Conversation.Read.All", "Group.ReadWrite.All"],
    writers: &[],
};

const DATES: Roles = Roles {
    readers: &["Calendars.Read", "Calendars.ReadBasic.All", "Calendars.ReadWrite"],
    writers: &[],
};

/// `/groups/...`
pub(crate) fn route(asked: &Asked<'_>, rest: &[&str]) -> Answer {
    let groups = &asked.world.tenant.groups;
    let [id, rest @ ..] = rest else {
        asked.need_directory(&READERS)?;
        return one_page(asked, "groups", groups.iter().map(Group::row).collect());
    };
    let group = groups.iter().find(|group| group.id.eq_ignore_ascii_case(id));
    let group = group.ok_or_else(|| not_found(id))?;
    match rest {
        [] => {
            asked.need_directory(&READERS)?;
            Ok(entity(asked, "groups", group.row()))
        }
        ["members"] => members(asked, group, usize::MAX),
        ["owners"] => members(asked, group, 1),
        ["photo", rest @ ..] => settings::photo(asked, None, "photo", rest),
        ["conversations", rest @ ..] => Desk::new(asked, group, &TALK)?.conversations(rest),
        ["threads", rest @ ..] => Desk::new(asked, group, &TALK)?.threads(None, rest),
        ["calendarView"] | ["calendar", "calendarView"] => {
            crate::routes::calendar::of_group(Desk::new(asked, group, &DATES)?.access)
        }
        ["events" | "calendar", ..] => Err(denied()),
        [segment, ..] => Err(Refusal::unknown_segment(segment)),
    }
}

fn members(asked: &Asked<'_>, group: &Group, most: usize) -> Answer {
    asked.need_directory(&READERS)?;
    let people = group.members.iter().take(most).filter_map(|n| asked.world.tenant.people.get(*n));
    let rows = people.map(|person| {
        json!({
            "@odata.type": "#microsoft.graph.user",
            "id": person.id,
            "displayName": person.display_name(),
            "mail": person.mail(),
            "userPrincipalName": person.upn(),
        })
    });
    one_page(asked, "directoryObjects", rows.collect())
}

/// A caller at the mailbox of a group.
struct Desk<'a> {
    access: Access<'a>,
}

impl<'a> Desk<'a> {
    fn new(asked: &'a Asked<'a>, group: &'a Group, roles: &Roles) -> Result<Desk<'a>, Refusal> {
        roles.admit(asked)?;
        if !group.unified {
            let text = "The group has no mailbox.";
            return Err(Refusal::new(404, "MailboxNotEnabledForRESTAPI", text));
        }
        if let Some((status, code)) = *group.refusal.lock().expect("no panic under this lock") {
            return Err(Refusal::new(status, code, "The mailbox is not for everybody."));
        }
        let access = Access {
            asked,
            shelf: &group.shelf,
            prefer: asked.call.preferences(),
            id: group.id.clone(),
            owner: group.address.clone(),
            root: format!("groups('{}')", escaped(&group.id)),
        };
        Ok(Desk { access })
    }

    fn list(
        &self,
        path: &str,
        places: Vec<Place>,
        row: impl Fn(Place) -> Option<Object>,
    ) -> Answer {
        let select = self.access.select();
        self.access.list(path, places, 20, row, |_, row| self.access.cut(row, &select, &[]))
    }

    fn places(&self, kind: Kind, parent: Option<Number>) -> Vec<Place> {
        self.access.shelf.children(kind, parent).into_iter().map(Place::from).collect()
    }

    fn one(&self, path: &str, row: Option<Object>) -> Answer {
        let row = row.ok_or_else(Refusal::item_not_found)?;
        Ok(self.access.entity(path, self.access.cut(row, &self.access.select(), &[])))
    }

    /// All posts of a thread or of all threads of a conversation.
    fn posts_of(&self, place: Place) -> Vec<Place> {
        let threads = self.places(Kind::Thread, Some(place.number));
        let within = threads.iter().flat_map(|thread| self.places(Kind::Post, Some(thread.number)));
        let own = self.places(Kind::Post, Some(place.number));
        own.into_iter().chain(within).collect()
    }

    /// What conversations and threads say about their posts.
    fn summary(&self, place: Place) -> Option<Object> {
        let thing = self.access.shelf.thing(place.number)?;
        let mut row = thing.properties.clone();
        let posts = self.posts_of(place);
        let posts: Vec<_> =
            posts.iter().filter_map(|post| self.access.shelf.thing(post.number)).collect();
        let last = posts.iter().max_by_key(|post| post.created)?;
        let mut senders: Vec<&str> = Vec::new();
        for name in
            posts.iter().filter_map(|post| post.properties["from"]["emailAddress"]["name"].as_str())
        {
            if !senders.contains(&name) {
                senders.push(name);
            }
        }
        row.insert("id".into(), self.access.id_of(place).into());
        row.insert("uniqueSenders".into(), senders.into());
        row.insert(
            "hasAttachments".into(),
            posts.iter().any(|post| !post.attachments.is_empty()).into(),
        );
        row.insert("lastDeliveredDateTime".into(), stamp(last.created));
        row.insert("preview".into(), calendar::preview(&last.properties["body"]).into());
        Some(row)
    }

    fn conversations(&self, rest: &[&str]) -> Answer {
        match rest {
            [] => {
                let all = self.places(Kind::Conversation, None);
                self.list("conversations", all, |place| self.summary(place))
            }
            [id, rest @ ..] => {
                let place = self.access.find(Kind::Conversation, id)?;
                match rest {
                    [] => self.one("conversations", self.summary(place)),
                    ["threads", rest @ ..] => self.threads(Some(place.number), rest),
                    [segment, ..] => Err(Refusal::unknown_segment(segment)),
                }
            }
        }
    }

    /// The threads of a conversation, or all.
    fn threads(&self, conversation: Option<Number>, rest: &[&str]) -> Answer {
        match rest {
            [] => {
                let all = match conversation {
                    Some(_) => self.places(Kind::Thread, conversation),
                    None => {
                        self.access.shelf.all(Kind::Thread).into_iter().map(Place::from).collect()
                    }
                };
                self.list("threads", all, |place| self.summary(place))
            }
            [id, rest @ ..] => {
                let place = self.access.find(Kind::Thread, id)?;
                match rest {
                    [] => self.one("threads", self.summary(place)),
                    ["posts", rest @ ..] => self.posts(place, rest),
                    [segment, ..] => Err(Refusal::unknown_segment(segment)),
                }
            }
        }
    }

    fn posts(&self, thread: Place, rest: &[&str]) -> Answer {
        let path = format!("threads('{}')/posts", escaped(&self.access.id_of(thread)));
        match rest {
            [] => {
                let all = self.places(Kind::Post, Some(thread.number));
                self.list(&path, all, |place| self.post(place))
            }
            [id, rest @ ..] => {
                let place = self.access.find_in(Kind::Post, thread.number, id)?;
                match rest {
                    [] => {
                        self.access.weather(place)?;
                        self.one(&path, self.post(place))
                    }
                    ["attachments", rest @ ..] => {
                        self.access.weather(place)?;
                        self.attachments(place, &path, rest)
                    }
                    [segment, ..] => Err(Refusal::unknown_segment(segment)),
                }
            }
        }
    }

    fn post(&self, place: Place) -> Option<Object> {
        let thing = self.access.shelf.thing(place.number)?;
        let thread = self.access.shelf.thing(thing.parent?)?;
        let mut row = thing.properties.clone();
        let change_key = self.access.shelf.change_key(place.number, &thing);
        for (name, value) in [
            ("@odata.etag", Value::from(format!("W/\"{change_key}\""))),
            ("id", self.access.id_of(place).into()),
            ("changeKey", change_key.into()),
            ("createdDateTime", stamp(thing.created)),
            ("lastModifiedDateTime", stamp(thing.modified)),
            ("receivedDateTime", stamp(thing.created)),
            ("hasAttachments", (!thing.attachments.is_empty()).into()),
            ("conversationThreadId", self.access.id_of(thing.parent?.into()).into()),
            ("conversationId", self.access.id_of(thread.parent?.into()).into()),
        ] {
            row.insert(name.into(), value);
        }
        let extended = thing.extended.iter().map(|p| json!({"id": p.id, "value": p.value}));
        row.insert("singleValueExtendedProperties".into(), extended.collect());
        if self.access.expands("inReplyTo") {
            // The one before it in the thread; whole, whatever is selected of it.
            let siblings = self.access.shelf.children(Kind::Post, thing.parent);
            let before = siblings.into_iter().take_while(|sibling| *sibling < place.number).last();
            let answered = before.and_then(|before| {
                let mut answered = self.access.shelf.thing(before)?.properties.clone();
                answered.insert("id".into(), self.access.id_of(before.into()).into());
                Some(answered)
            });
            row.insert("inReplyTo".into(), answered.map_or(Value::Null, Value::from));
        }
        if self.access.prefer.text_body {
            let text = json!({"contentType": "text", "content": calendar::plain(&row["body"])});
            row.insert("body".into(), text);
        }
        Some(row)
    }

    fn attachments(&self, post: Place, path: &str, rest: &[&str]) -> Answer {
        if self.access.asked.who.user.is_none() || self.access.method() != Method::GET {
            return Err(denied());
        }
        let shelf = self.access.shelf;
        let thing = shelf.thing(post.number).ok_or_else(Refusal::item_not_found)?;
        let id = self.access.id_of(post);
        let context = format!("{}/{path}('{}')", self.access.root, escaped(&id));
        let forms = [id.clone(), id.clone()];
        let attached = &thing.attachments;
        let modified = thing.modified;
        Holder { ids: &shelf.ids, id, forms, attached, modified, context }
            .route(self.access.asked, rest)
    }
}
