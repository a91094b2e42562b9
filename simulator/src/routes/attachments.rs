//! Attachments: the list, one of them, its bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::content;
use crate::error::Refusal;
use crate::mail::{Attached, Attachment};
use crate::mailbox::{Mailbox, Message};
use crate::page::{Page, Select, escaped};
use crate::person::Person;
use crate::reply::Reply;
use crate::routes::message::date;
use crate::routes::{Answer, Asked};

pub(crate) fn route(
    asked: &Asked<'_>,
    person: &Person,
    mailbox: &Mailbox,
    message: &Message,
    rest: &[&str],
) -> Answer {
    let call = asked.call;
    let id = match call.preferences().immutable_ids {
        true => mailbox.ids.immutable(message.key),
        false => mailbox.ids.classic(message.key, message.folder),
    };
    let select = Select::new(call.option("select"));
    let context =
        format!("users('{}')/messages('{}')/attachments", escaped(&person.id), escaped(&id));
    let wanted = match rest {
        [] => {
            let rows = rows(mailbox, message, &id, &select);
            return Ok(Page { context, rows, ..Page::default() }.reply(asked.world, call));
        }
        [wanted, ..] => *wanted,
    };
    let (number, attachment) = find(mailbox, message, wanted)?;
    match &rest[1..] {
        [] => {
            let mut body = row(mailbox, message, (number, attachment), &id, &select);
            if call.option("expand").is_some_and(|text| text.contains("itemattachment/item")) {
                expand_item(attachment, message, &mut body);
            }
            let context = format!("{}/v1.0/$metadata#{context}/$entity", call.roots.graph);
            body.insert("@odata.context".into(), context.into());
            Ok(Reply::json(body.into()))
        }
        ["$value"] => value(attachment),
        [segment, ..] => Err(Refusal::unknown_segment(segment)),
    }
}

/// The reply to a request that made an attachment.
pub(crate) fn made(
    asked: &Asked<'_>,
    person: &Person,
    mailbox: &Mailbox,
    message: &Message,
    number: usize,
) -> Reply {
    let id = match asked.call.preferences().immutable_ids {
        true => mailbox.ids.immutable(message.key),
        false => mailbox.ids.classic(message.key, message.folder),
    };
    let attachment = &message.mail.attachments[number];
    let mut body = row(mailbox, message, (number, attachment), &id, &Select::new(None));
    let context = format!(
        "{}/v1.0/$metadata#users('{}')/messages('{}')/attachments/$entity",
        asked.call.roots.graph,
        escaped(&person.id),
        escaped(&id)
    );
    body.insert("@odata.context".into(), context.into());
    let mut reply = Reply::json(body.into());
    reply.status = http::StatusCode::CREATED;
    reply
}

/// The attachment of that id, whichever form of the message's id it was made from.
fn find<'a>(
    mailbox: &Mailbox,
    message: &'a Message,
    wanted: &str,
) -> Result<(usize, &'a Attachment), Refusal> {
    let forms =
        [mailbox.ids.immutable(message.key), mailbox.ids.classic(message.key, message.folder)];
    let named =
        |number: &usize| forms.iter().any(|id| mailbox.ids.attachment(id, *number) == wanted);
    let found = (0..message.mail.attachments.len()).find(named);
    let number = found.ok_or_else(Refusal::item_not_found)?;
    Ok((number, &message.mail.attachments[number]))
}

pub(crate) fn rows(
    mailbox: &Mailbox,
    message: &Message,
    message_id: &str,
    select: &Select,
) -> Vec<Value> {
    let all = message.mail.attachments.iter().enumerate();
    all.map(|numbered| row(mailbox, message, numbered, message_id, select).into()).collect()
}

fn row(
    mailbox: &Mailbox,
    message: &Message,
    (number, attachment): (usize, &Attachment),
    message_id: &str,
    select: &Select,
) -> Map<String, Value> {
    let mut row = Map::new();
    let mut add = |name: &str, value: Value| row.insert(name.to_owned(), value);
    let content_type = match attachment.what {
        Attached::File(_) => attachment.content_type.as_str().into(),
        _ => Value::Null,
    };
    add("id", mailbox.ids.attachment(message_id, number).into());
    add("lastModifiedDateTime", date(message.modified));
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
fn expand_item(attachment: &Attachment, message: &Message, row: &mut Map<String, Value>) {
    let Attached::Item(mime) = &attachment.what else {
        return;
    };
    let inner = content::parse(&mime.bytes(), message.modified);
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
