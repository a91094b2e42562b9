//! An EML of our own, for a message whose MIME the service can't give (FACTS 4.1: S/MIME
//! classes, failed conversions), and for a post, of which it has none (FACTS 3.11). It keeps the
//! headers as received where the service has them, the body, and every attachment; of a message
//! the ledger says `converted`.
//!
//! Attachments may be 150 MB, so they are read and encoded chunk by chunk.

use std::borrow::Cow;

use archive::Outcome;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use graph::{ErrorKind, Prefer, Scope, segment};
use mail_builder::headers::address::{Address, EmailAddress};
use mail_builder::headers::content_type::ContentType;
use mail_builder::headers::date::Date;
use mail_builder::headers::message_id::MessageId;
use mail_builder::headers::raw::Raw;
use mail_builder::headers::text::Text;
use mail_builder::headers::{Header, HeaderType};
use mail_builder::mime::{BodyPart, MimePart};
use serde_json::Value;

use crate::Error;
use crate::attached::attachments;
use crate::context::Context;
use crate::service::{Asked, Fetched, Note};
use crate::spool::{Draft, Spooled};

/// Bytes of one line of base64 (RFC 2045: 76 characters).
const BASE64_LINE: usize = 57;
/// Headers that describe the structure the message had, not the one we give it.
const STRUCTURE: [&str; 4] =
    ["content-type", "content-transfer-encoding", "mime-version", "content-length"];

/// No rendering of ours ends with more bytes than this that tell so.
pub(crate) const LONGEST_END: usize = 64;
/// The last line of ours in a calendar file that lacks an attachment.
const INCOMPLETE: &str = "\r\nX-TAR365-INCOMPLETE:TRUE\r\n";

/// Whether a message that ends so is a rendering of ours, or a calendar file lacks something.
pub(crate) fn is_end(content: &[u8], id: &str) -> bool {
    let holds = |text: &str| content.windows(text.len()).any(|part| part == text.as_bytes());
    content.ends_with(end(&boundary(id)).as_bytes()) || holds(INCOMPLETE)
}

fn boundary(id: &str) -> String {
    format!("=_tar365_{}", archive::path::tag(id))
}

fn end(boundary: &str) -> String {
    format!("\r\n--{boundary}--\r\n")
}

/// Writes the message into `draft` from its JSON and attachments.
pub(crate) async fn message(
    context: &Context,
    asked: Asked<'_>,
    mut draft: Draft,
    cause: &graph::Error,
) -> Result<Fetched, Error> {
    let substitute = Substitute {
        context,
        asked,
        scope: Scope::Mailbox(asked.owner.id.clone()),
        base: format!("/users/{}/messages/{}", segment(&asked.owner.id), segment(&asked.item.id)),
    };
    match substitute.write(&mut draft).await? {
        Ok(missing) => {
            // The member is there, so it is `converted` in either case; the cause tells.
            let (cause_word, message) = match missing {
                0 => (
                    "no-mime",
                    "the service has no MIME of the message; an EML of ours has its headers, body \
                     and attachments"
                        .to_owned(),
                ),
                n => (
                    "no-mime-incomplete",
                    format!(
                        "the service has no MIME of the message; an EML of ours has its headers \
                         and body, but {n} of its attachments could not be read"
                    ),
                ),
            };
            let note = Note::new(Outcome::Converted, cause_word, &message).with_code(cause);
            Ok(Fetched::Whole(context.finish(draft)?, Some(note)))
        }
        Err(error) => {
            let gone = matches!(error.kind(), ErrorKind::ItemGone | ErrorKind::NotFound);
            let (outcome, cause) =
                if gone { (Outcome::Skipped, "vanished") } else { (Outcome::Failed, "content") };
            let message = "neither the MIME nor the properties of the message could be read";
            Ok(Fetched::Without(Note::new(outcome, cause, message).with_code(&error)))
        }
    }
}

/// The post in `message`, which has the properties of one, as an EML. Its attachments are at `base`.
///
/// What is in the listing is always written: without the attachments it is `converted`.
pub(crate) async fn post(
    context: &Context,
    asked: Asked<'_>,
    base: String,
    message: &Value,
) -> Result<Fetched, Error> {
    let scope = Scope::Mailbox(asked.owner.id.clone());
    let substitute = Substitute { context, asked, scope, base };
    // An inline picture alone does not count as an attachment.
    let shows_picture = text(&message["body"], "content").contains("cid:");
    let has_attachments = message["hasAttachments"] == true || shows_picture;
    let attachments = match has_attachments {
        true => {
            attachments(context, &substitute.scope, &substitute.base, &substitute.doing()).await?
        }
        false => Ok(Vec::new()),
    };
    let (attachments, mut note) = match attachments {
        Ok(attachments) => (attachments, None),
        Err(error) if *error.kind() == ErrorKind::Permission => {
            let message = "the service gives attachments of posts to no application: the EML is \
                           without them";
            let note = Note::new(Outcome::Converted, "attachments-refused", message);
            (Vec::new(), Some(note.with_code(&error)))
        }
        Err(error) => {
            let gone = matches!(error.kind(), ErrorKind::ItemGone | ErrorKind::NotFound);
            let note = match gone {
                true => {
                    Note::new(Outcome::Skipped, "vanished", "the post was gone when it was read")
                }
                false => Note::new(Outcome::Failed, "content", "the attachments could not be read"),
            };
            return Ok(Fetched::Without(note.with_code(&error)));
        }
    };
    let boundary = match has_attachments {
        true => boundary(&asked.item.id),
        // No rendering in place of something else: a base on a pipe gives it as it is.
        false => format!("=_tar365_post_{}", archive::path::tag(&asked.item.id)),
    };
    let mut draft = context.spool.draft(asked.turn);
    let missing = substitute.render(message, &attachments, &boundary, &mut draft).await?;
    if missing > 0 {
        let message = format!("{missing} of the attachments of the post could not be read");
        note = Some(Note::new(Outcome::Converted, "attachments-incomplete", &message));
    }
    Ok(Fetched::Whole(context.finish(draft)?, note))
}

/// The Message-ID of what has none of its own, in angle brackets.
pub(crate) fn message_id(id: &str) -> String {
    format!("<{}@tar365.invalid>", archive::path::tag(id))
}

struct Substitute<'a> {
    context: &'a Context,
    asked: Asked<'a>,
    scope: Scope,
    base: String,
}

impl Substitute<'_> {
    /// The number of attachments that are missing; the inner error is the item's, the outer the
    /// run's.
    async fn write(&self, draft: &mut Draft) -> Result<Result<u64, graph::Error>, Error> {
        let select = "body,internetMessageHeaders,subject,from,sender,toRecipients,ccRecipients,\
                      bccRecipients,replyTo,internetMessageId,sentDateTime,receivedDateTime,\
                      hasAttachments";
        let path = format!("{}?$select={select}", self.base);
        let preferences = Prefer::none()
            .and("outlook.body-content-type=\"html\"")
            .and("outlook.allow-unsafe-html");
        let message = match self.context.ask(&self.scope, &path, preferences, &self.doing()).await?
        {
            Ok(message) => message,
            Err(error) => return Ok(Err(error)),
        };
        let attachments =
            match attachments(self.context, &self.scope, &self.base, &self.doing()).await? {
                Ok(attachments) => attachments,
                Err(error) => return Ok(Err(error)),
            };
        let boundary = boundary(&self.asked.item.id);
        self.render(&message, &attachments, &boundary, draft).await.map(Ok)
    }

    /// Writes the EML. The number of attachments that are missing in it.
    async fn render(
        &self,
        message: &Value,
        attachments: &[Value],
        boundary: &str,
        draft: &mut Draft,
    ) -> Result<u64, Error> {
        let mut text = Vec::new();
        write_headers(message, &self.asked.item.id, boundary, &mut text);
        open_part(boundary, &mut text);
        body_part(message).write_part(&mut text);
        self.context.write(draft, &text).await?;
        let mut missing = 0;
        for attachment in attachments {
            if !self.attachment(attachment, boundary, draft).await? {
                missing += 1;
            }
        }
        self.context.write(draft, end(boundary).as_bytes()).await?;
        Ok(missing)
    }

    fn doing(&self) -> String {
        format!("reading {}", self.asked.item.path)
    }

    /// One attachment as a part. False when its bytes could not be had.
    async fn attachment(
        &self,
        attachment: &Value,
        boundary: &str,
        draft: &mut Draft,
    ) -> Result<bool, Error> {
        let kind = text(attachment, "@odata.type");
        let name = text(attachment, "name");
        if kind.ends_with("referenceAttachment") {
            // FACTS 4.2: v1.0 shows no link; the name is all there is.
            let note = format!("Link to a file in the cloud: {name}\r\n");
            let mut part = Vec::new();
            open_part(boundary, &mut part);
            MimePart::new(utf8("text/plain"), BodyPart::Text(note.into()))
                .attachment(format!("{name}.txt"))
                .write_part(&mut part);
            self.context.write(draft, &part).await?;
            return Ok(true);
        }
        let path = format!("{}/attachments/{}/$value", self.base, segment(text(attachment, "id")));
        // On its own first: a body torn half-way must not leave half a part.
        let content =
            self.context.spool_value(&self.scope, &path, self.asked.turn, &self.doing()).await?;
        match content {
            Ok(content) => {
                self.part(attachment, kind, boundary, content, draft).await?;
                Ok(true)
            }
            Err(_) => Ok(false),
        }
    }

    async fn part(
        &self,
        attachment: &Value,
        kind: &str,
        boundary: &str,
        mut content: Spooled,
        draft: &mut Draft,
    ) -> Result<(), Error> {
        let mut buffer = vec![0; BASE64_LINE * 256];
        let mut filled =
            fill(&mut content, &mut buffer).map_err(|e| self.context.spool_error(e))?;
        let item = kind.ends_with("itemAttachment");
        let rfc822 = item && !buffer[..filled].starts_with(b"BEGIN:");
        let declared = match text(attachment, "contentType") {
            _ if rfc822 => "message/rfc822",
            _ if item && buffer.starts_with(b"BEGIN:VCARD") => "text/vcard",
            _ if item => "text/calendar",
            "" => "application/octet-stream",
            declared => declared,
        };
        // RFC 2046 5.2.1: message/rfc822 is never base64.
        let encoding = if rfc822 { "8bit" } else { "base64" };
        let inline = attachment.get("isInline").and_then(Value::as_bool) == Some(true);
        let mut part = MimePart::new(ContentType::new(clean(declared)), BodyPart::Text("".into()))
            .transfer_encoding(encoding);
        let disposition = if inline { "inline" } else { "attachment" };
        let name = ContentType::new(disposition)
            .attribute("filename", text(attachment, "name").to_owned());
        part.headers.push(("Content-Disposition".into(), name.into()));
        let content_id = text(attachment, "contentId");
        if !content_id.is_empty() {
            part = part.cid(clean(content_id).trim_matches(['<', '>']).to_owned());
        }
        let mut text = Vec::new();
        open_part(boundary, &mut text);
        part.write_part(&mut text);
        self.context.write(draft, &text).await?;
        while filled > 0 {
            let bytes = &buffer[..filled];
            if rfc822 {
                self.context.write(draft, bytes).await?;
            } else {
                let mut lines = String::with_capacity(bytes.len() * 3 / 2);
                for line in bytes.chunks(BASE64_LINE) {
                    STANDARD.encode_string(line, &mut lines);
                    lines.push_str("\r\n");
                }
                self.context.write(draft, lines.as_bytes()).await?;
            }
            filled = fill(&mut content, &mut buffer).map_err(|e| self.context.spool_error(e))?;
        }
        Ok(())
    }
}

/// Reads until the buffer is full or the content ends.
fn fill(content: &mut impl std::io::Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match content.read(&mut buffer[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Without what would end a header line.
fn clean(value: &str) -> String {
    value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn utf8(kind: &'static str) -> ContentType<'static> {
    ContentType::new(kind).attribute("charset", "utf-8")
}

fn open_part(boundary: &str, output: &mut Vec<u8>) {
    output.extend_from_slice(format!("\r\n--{boundary}\r\n").as_bytes());
}

fn body_part(message: &Value) -> MimePart<'static> {
    let body = &message["body"];
    let kind = if text(body, "contentType").eq_ignore_ascii_case("html") {
        "text/html"
    } else {
        "text/plain"
    };
    MimePart::new(utf8(kind), BodyPart::Text(text(body, "content").to_owned().into()))
}

/// The headers as received where the service has them, else made of the properties.
fn write_headers(message: &Value, id: &str, boundary: &str, output: &mut Vec<u8>) {
    let mut header = |name: &str, value: HeaderType<'_>| {
        output.extend_from_slice(name.as_bytes());
        output.extend_from_slice(b": ");
        value.write_header(output, name.len() + 2);
    };
    let received = message.get("internetMessageHeaders").and_then(Value::as_array);
    match received.filter(|headers| !headers.is_empty()) {
        Some(headers) => {
            for line in headers {
                let name = text(line, "name");
                let valid = !name.is_empty()
                    && name.bytes().all(|b| b.is_ascii_graphic() && b != b':')
                    && !STRUCTURE.contains(&name.to_ascii_lowercase().as_str());
                if valid {
                    let value = clean(text(line, "value"));
                    header(
                        name,
                        if value.is_ascii() {
                            Raw::new(value).into()
                        } else {
                            Text::new(value).into()
                        },
                    );
                }
            }
        }
        None => from_properties(message, id, &mut header),
    }
    header("MIME-Version", Raw::new("1.0").into());
    let kind = ContentType::new("multipart/mixed").attribute("boundary", boundary.to_owned());
    header("Content-Type", kind.into());
    output.extend_from_slice(b"\r\n");
}

fn from_properties(message: &Value, id: &str, header: &mut impl FnMut(&str, HeaderType<'_>)) {
    for (name, key) in [
        ("From", "from"),
        ("Sender", "sender"),
        ("Reply-To", "replyTo"),
        ("To", "toRecipients"),
        ("Cc", "ccRecipients"),
        ("Bcc", "bccRecipients"),
    ] {
        let people: Vec<Address<'_>> = match &message[key] {
            Value::Array(people) => people.iter().map(address).collect(),
            Value::Object(_) => vec![address(&message[key])],
            _ => Vec::new(),
        };
        if !people.is_empty() {
            header(name, Address::new_list(people).into());
        }
    }
    header("Subject", Text::new(clean(text(message, "subject"))).into());
    let date = ["sentDateTime", "receivedDateTime", "createdDateTime"]
        .iter()
        .find_map(|key| chrono::DateTime::parse_from_rfc3339(text(message, key)).ok());
    if let Some(date) = date {
        header("Date", Date::new(date.timestamp()).into());
    }
    let (made, own) = (message_id(id), text(message, "internetMessageId").trim());
    let own = if own.is_empty() { made.as_str() } else { own };
    header("Message-ID", MessageId::new(clean(own.trim_matches(['<', '>']))).into());
    for (name, key) in [("In-Reply-To", "inReplyTo"), ("References", "references")] {
        let ids = text(message, key);
        let ids = ids.split_whitespace().map(|id| clean(id.trim_matches(['<', '>'])));
        let ids: Vec<String> = ids.filter(|id| !id.is_empty()).collect();
        if !ids.is_empty() {
            header(name, MessageId::new_list(ids.into_iter()).into());
        }
    }
}

fn address(person: &Value) -> Address<'static> {
    let person = &person["emailAddress"];
    let name = clean(text(person, "name"));
    let email = clean(text(person, "address"));
    Address::Address(EmailAddress {
        name: (!name.is_empty()).then_some(Cow::Owned(name)),
        email: Cow::Owned(email),
    })
}
