//! How tests look at the conversations of groups, and add to them behind a client's back.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{AttachmentInfo, Tenant, attachment_info};
use crate::Error;
use crate::compose::object;
use crate::groups::Group;
use crate::shelf::{Kind, Thing};

/// A group with a mailbox.
#[derive(Debug, Clone)]
pub struct GroupInfo {
    /// The object id, a GUID.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// Its address.
    pub mail: String,
}

/// A post as it is now.
#[derive(Debug, Clone)]
pub struct PostInfo {
    /// The immutable id.
    pub id: String,
    /// The topic of its thread.
    pub topic: String,
    /// What it is made of; what the service computes is not among it.
    pub properties: Value,
    /// When it came.
    pub received: DateTime<Utc>,
    /// Its attachments, in order.
    pub attachments: Vec<AttachmentInfo>,
}

impl Tenant {
    /// The groups that have a mailbox.
    pub fn groups(&self) -> Vec<GroupInfo> {
        let groups = self.groups.iter().filter(|group| group.unified);
        let info = |group: &Group| GroupInfo {
            id: group.id.clone(),
            name: group.address.name.clone(),
            mail: group.address.address.clone(),
        };
        groups.map(info).collect()
    }

    fn group(&self, id: &str) -> Result<&Group, Error> {
        let found = self.groups.iter().find(|group| group.id == id);
        found.ok_or_else(|| Error::unknown("group", id))
    }

    /// All posts of a group.
    pub fn posts(&self, group: &str) -> Result<Vec<PostInfo>, Error> {
        let shelf = &self.group(group)?.shelf;
        let info = |number| {
            let post = shelf.thing(number)?;
            let thread = shelf.thing(post.parent?)?;
            Some(PostInfo {
                id: shelf.id(number.into(), true),
                topic: topic(&thread).to_owned(),
                properties: post.properties.clone().into(),
                received: post.created,
                attachments: post.attachments.iter().map(attachment_info).collect(),
            })
        };
        Ok(shelf.all(Kind::Post).into_iter().filter_map(info).collect())
    }

    /// Adds a post to the first thread of that topic, which is made if there is none. Its id.
    pub fn add_post(
        &self,
        group: &str,
        topic: &str,
        html: &str,
        when: DateTime<Utc>,
    ) -> Result<String, Error> {
        let group = self.group(group)?;
        let shelf = &group.shelf;
        let is_of_topic =
            |number: &u32| shelf.thing(*number).is_some_and(|t| self::topic(&t) == topic);
        let thread = shelf.all(Kind::Thread).into_iter().find(is_of_topic).unwrap_or_else(|| {
            let about = object(json!({ "topic": topic }));
            let conversation = shelf.put(Kind::Conversation, None, about, when);
            let address = json!({"emailAddress": {"address": group.address.address}});
            let about = json!({"topic": topic, "isLocked": false, "toRecipients": [address], "ccRecipients": []});
            shelf.put(Kind::Thread, Some(conversation), object(about), when)
        });
        let sender =
            json!({"emailAddress": {"name": "Neu", "address": format!("neu@{}", self.domain)}});
        let post = object(json!({
            "body": {"contentType": "html", "content": html},
            "from": sender,
            "sender": sender,
            "newParticipants": [],
            "categories": [],
        }));
        Ok(shelf.id(shelf.put(Kind::Post, Some(thread), post, when).into(), true))
    }

    /// Refuses whatever is asked of a group's mailbox from now on, with this status and code.
    pub fn refuse_group(&self, group: &str, status: u16, code: &'static str) -> Result<(), Error> {
        let refusal = &self.group(group)?.refusal;
        *refusal.lock().expect("no panic under this lock") = Some((status, code));
        Ok(())
    }

    /// Deletes a post.
    pub fn delete_post(&self, group: &str, post: &str) -> Result<(), Error> {
        let shelf = &self.group(group)?.shelf;
        let place = shelf.find(Kind::Post, post).map_err(|_| Error::unknown("post", post))?;
        shelf.take_away(place, Utc::now());
        Ok(())
    }
}

fn topic(thread: &Thing) -> &str {
    thread.properties.get("topic").and_then(Value::as_str).unwrap_or_default()
}
