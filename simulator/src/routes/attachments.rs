//! Attachments: the list, one of them, its bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::content;
use crate::error::Refusal;
use crate::ids::MailIds;
use crate::mail::{Attached, Attachment};
use crate::mailbox::{Mailbox, Message};
use crate::page::{Page, Select, escaped};
use crate::person::Person;
use crate::reply::Reply;
use crate::routes::message::date;
use crate::routes::{Answer, Asked};

/// What attachments hang on.
pub(crate) struct Holder<'a> {
    pub(crate) ids: &'a MailIds,
    /// The id as the caller wants it, and the forms that it has.
    pub(crate) id: String,
    pub(crate) forms: [String; 2],
    pub(crate) attached: &'a [Attachment],
    pub(crate) modified: DateTime<Utc>,
    /// `users('U')/messages('M')`
    pub(crate) context: String,
}

impl<'a> Holder<'a> {
    fn message(
        asked: &Asked<'_>,
        person: &Person,
        mailbox: &'a Mailbox,
        message: &'a Message,
    ) -> Holder<'a> {
        let ids = &mailbox.ids;
        let forms = [ids.immutable(message.key), ids.classic(message.key, message.folder)];
        let id = forms[usize::from(!asked.call.preferences().immutable_ids)].clone();
        let context = format!("users('{}')/messages('{}')", escaped(&person.id), escaped(&id));
        let attached = &message.mail.attachments;
        Holder { ids, id, forms, attached, modified: message.modified, context }
    }

    /// The attachment of that id, whichever form of the holder's id it was made from.
    fn find(&self, wanted: &str) -> Result<(usize, &'a Attachment), Refusal> {
        let named =
            |number: &usize| self.forms.iter().any(|id| self.ids.attachment(id, *number) == wanted);
        let found = (0..self.attached.len()).find(named);
        let number = found.ok_or_else(Refusal::item_not_found)?;
        Ok((number, &self.attached[number]))
    }

    pub(crate) fn rows(&self, select: &Select) -> Vec<Value> {
        let all = self.attached.iter().enumerate();
        all.map(|numbered| self.row(numbered, select).into()).collect()
    }

    fn row(
        &self,
        (number, attachment): (usize, &Attachment),
        select: &Select,
    ) -> Map<String, Value> {
        let id = self.ids.attachment(&self.id, number);
        row(id, attachment, self.modified, select)
    }

    /// `.../attachments/...`, read.
    pub(crate) fn route(&self, asked: &Asked<'_>, rest: &[&str]) -> Answer {
        let call = asked.call;
        let select = Select::new(call.option("select"));
        let [wanted, rest @ ..] = rest else {
            let context = format!("{}/attachments", self.context);
            let page = Page { context, rows: self.rows(&select), ..Page::default() };
            return Ok(page.reply(asked.world, call));
        };
        let (number, attachment) = self.find(wanted)?;
        match rest {
            [] => {
                let mut body = self.row((number, attachment), &select);
                let expand = call.option("expand").unwrap_or_default();
                if expand.contains("itemattachment/item") {
                    expand_item(attachment, self.modified, &mut body);
                }
                Ok(self.entity(asked, body))
            }
            ["$value"] => value(attachment),
            [segment, ..] => Err(Refusal::unknown_segment(segment)),
        }
    }

    /// The reply to a request that made an attachment.
    pub(crate) fn made(&self, asked: &Asked<'_>, number: usize) -> Reply {
        let body = self.row((number, &self.attached[number]), &Select::new(None));
        let mut reply = self.entity(asked, body);
        reply.status = http::StatusCode::CREATED;
        reply
    }

    fn entity(&self, asked: &Asked<'_>, mut body: Map<String, Value>) -> Reply {
        let root = &asked.call.roots.graph;
        let context = format!("{root}/v1.0/$metadata#{}/attachments/$entity", self.context);
        body.insert("@odata.context".into(), context.into());
        Reply::json(body.into())
    }
}

/// `.../messages/{message}/attachments/...`
pub(crate) fn route(
    asked: &Asked<'_>,
    person: &Person,
    mailbox: &Mailbox,
    message: &Message,
    rest: &[&str],
) -> Answer {
    Holder::message(asked, person, mailbox, message).route(asked, rest)
}

/// The reply to a request that made an attachment of a message.
pub(crate) fn made(
    asked: &Asked<'_>,
    person: &Person,
    mailbox: &Mailbox,
    message: &Message,
    number: usize,
) -> Reply {
    Holder::message(asked, person, mailbox, message).made(asked, number)
}

/// The attachments of a message that goes by some id.
pub(crate) fn rows(
    mailbox: &Mailbox,
    message: &Message,
    message_id: &str,
    select: &Select,
) -> Vec<Value> {
    let all = message.mail.attachments.iter().enumerate();
    let id = |number| mailbox.ids.attachment(message_id, number);
    all.map(|(number, one)| row(id(number), one, message.modified, select).into()).collect()
}

fn row(
    id: String,
    attachment: &Attachment,
    modified: DateTime<Utc>,
    select: &Select,
) -> Map<String, Value> {
    let mut row = Map::new();
    let mut add = |name: &str, value: Value| row.insert(name.to_owned(), value);
    let content_type = match attachment.what {
        Attached::File(_) => attachment.content_type.as_str().into(),
        _ => Value::Null,
    };
    add("id", id.into());
    add("lastModifiedDateTime", date(modified));
    add("name", attachment.name.as_str().into());
    add("contentType", content_type);
    add("size", attachment.size().into());
    add("isInline", attachment.inline.into());
    let kind = match &attachment.what {
        Attached::File(blob) => {
            add("contentId", attachment.content_id.clone().into());
            add("contentLocation", Value::Null);
            if select.wants("contentBytes") {
                add("contentBytes", STANDARD.encode(blob.bytes()).into());
            }
            add("@odata.mediaContentType", attachment.content_type.as_str().into());
            "#microsoft.graph.fileAttachment"
        }
        Attached::Item(_) => "#microsoft.graph.itemAttachment",
        Attached::Reference => "#microsoft.graph.referenceAttachment",
    };
    add("@odata.type", kind.into());
    select.apply(&mut row);
    row
}

/// The attached message as JSON, as far as anyone needs it.
fn expand_item(attachment: &Attachment, modified: DateTime<Utc>, row: &mut Map<String, Value>) {
    let Attached::Item(mime) = &attachment.what else {
        return;
    };
    let inner = content::parse(&mime.bytes(), modified);
    let body = match &inner.html {
        Some(html) => json!({"contentType": "html", "content": html}),
        None => json!({"contentType": "text", "content": inner.text}),
    };
    row.insert(
        "item".into(),
        json!({
            "@odata.type": "#microsoft.graph.message",
            "id": "",
            "subject": inner.subject,
            "internetMessageId": inner.message_id,
            "sentDateTime": inner.sent.map(date),
            "hasAttachments": inner.has_attachments(),
            "body": body,
        }),
    );
}

fn value(attachment: &Attachment) -> Answer {
    match &attachment.what {
        Attached::File(blob) => {
            let length = blob.len();
            Ok(Reply::blob(200, blob.clone(), 0..length)
                .with("content-type", &attachment.content_type))
        }
        Attached::Item(mime) => Ok(Reply::bytes("text/plain", mime.bytes())),
        Attached::Reference => Err(Refusal::new(
            405,
            "ErrorInvalidRequest",
            "Requests for $value are not supported for reference attachments.",
        )),
    }
}
