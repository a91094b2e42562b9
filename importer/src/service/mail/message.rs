//! From the bytes of a mail and its metadata line to what the service is given (FACTS 5.1).
//!
//! MIME that is posted becomes a draft, so a mail is restored as JSON: every leaf of the mail is
//! its body, an attachment, or counted as a [`Loss`]. Nothing here talks to the service.

use std::collections::HashSet;
use std::io;

use serde_json::{Value, json};

use super::head::{Head, text_of};
use super::name::{self, Names};
use super::outline::{Disposition, Entity, Outline};
use super::part::Part;
use super::properties::Known;
use super::raw::Raw;
use crate::error::Error;
use crate::item::Item;
use crate::place::Loss;

/// Largest body, in bytes of JSON: the rest of the 4 MB of a request (FACTS 5.1) is for headers
/// and recipients.
const MOST_BODY: u64 = 3_000_000;
/// Largest mail in a mail, in bytes of JSON: it is posted in one request.
const MOST_NESTED: u64 = 2_500_000;
/// Most bytes of mails in one mail that are taken apart: this is what they cost in memory.
const MOST_NESTED_BYTES: u64 = 16 * 1024 * 1024;
/// Deepest mail in a mail that is taken apart.
const DEEPEST: usize = 8;

/// A mail as it is posted.
#[derive(Debug)]
pub(crate) struct Message {
    /// The body of `POST /mailFolders/{id}/messages`, without attachments.
    pub(crate) json: Value,
    /// What is added to it, in the order of the mail.
    pub(crate) attachments: Vec<Attachment>,
    /// What of the mail is lost, also of the mails in it. Sorted, each once.
    pub(crate) losses: Vec<Loss>,
}

/// An attachment of a message.
#[derive(Debug)]
pub(crate) struct Attachment {
    /// Never empty, without path separators.
    pub(crate) name: String,
    /// `type/subtype`.
    pub(crate) content_type: String,
    /// Without angle brackets.
    pub(crate) content_id: Option<String>,
    /// The HTML body shows it.
    pub(crate) is_inline: bool,
    /// What it is.
    pub(crate) body: AttachmentBody,
}

/// See [`Attachment::body`].
#[derive(Debug)]
pub(crate) enum AttachmentBody {
    /// Bytes.
    File(Part),
    /// A mail, small enough to be posted in one request.
    Item(Box<Message>),
}

impl Message {
    /// Takes the mail apart. Reads all of it, which proves it, and keeps little in memory: large
    /// parts stay where they are.
    ///
    /// # Errors
    /// If the content can't be read or is not what the archive says. Whatever the mail is made
    /// of is no error.
    pub(crate) fn read(item: &Item) -> Result<Self, Error> {
        Self::take_apart(item).map_err(|source| Error::Content { path: item.path.clone(), source })
    }

    fn take_apart(item: &Item) -> io::Result<Self> {
        let raw = Raw::of(&item.content)?;
        let outline = Outline::read(item.content.open()?)?;
        let mut mail = Mail {
            raw: &raw,
            outline: &outline,
            depth: 0,
            budget: MOST_NESTED_BYTES,
            losses: Vec::new(),
        };
        if item.converted {
            mail.losses.push(Loss::Converted);
        }
        mail.message(&item.line.graph, Some(item.mtime))
    }
}

/// A mail, or a mail in a mail, while it is taken apart.
struct Mail<'a> {
    raw: &'a Raw,
    outline: &'a Outline,
    /// Mails it is in.
    depth: usize,
    /// Bytes of mails in it that may still be taken apart.
    budget: u64,
    losses: Vec<Loss>,
}

/// The body, and what it leaves for the attachments.
struct Body {
    json: Value,
    /// Leaves that are no attachments.
    used: HashSet<usize>,
    /// Content-IDs that it shows; none unless it is HTML.
    shown: Option<HashSet<String>>,
    /// The leaf that is too large for a body, and the name for it.
    attached: Option<(usize, &'static str)>,
}

impl Mail<'_> {
    fn message(mut self, graph: &Value, received: Option<i64>) -> io::Result<Message> {
        let head = Head::new(&self.outline.head);
        let root = &self.outline.entities[0].fields.content_type;
        let known = Known {
            head: &head,
            head_size: self.outline.head_size,
            graph,
            received,
            is_opaque: is_opaque(root),
        };
        let mut json = known.properties(&mut self.losses);
        let body = self.body()?;
        let attachments = self.attachments(&body)?;
        json.insert("body".into(), body.json);
        if self
            .outline
            .entities
            .iter()
            .any(|entity| entity.fields.content_type == "multipart/signed")
        {
            self.losses.push(Loss::Signature);
        }
        self.losses.sort_unstable();
        self.losses.dedup();
        Ok(Message { json: json.into(), attachments, losses: self.losses })
    }

    fn part(&self, entity: &Entity) -> io::Result<Part> {
        Part::new(self.raw.slice(entity.body.start, entity.body.end), entity.fields.encoding)
    }

    /// The leaf that is the body, and the plain text that says the same: the first text that is
    /// shown, or the HTML beside it.
    fn choose(&self) -> (Option<usize>, Option<usize>) {
        let mut texts = (0..self.outline.entities.len()).filter(|leaf| self.is_shown_text(*leaf));
        let is_html = |leaf: usize| self.outline.entities[leaf].fields.content_type == "text/html";
        let Some(first) = texts.next() else {
            return (None, None);
        };
        let beside = texts
            .find(|leaf| is_html(*leaf) != is_html(first) && self.are_alternatives(first, *leaf));
        match beside {
            Some(html) if is_html(html) => (Some(html), Some(first)),
            plain => (Some(first), plain),
        }
    }

    /// A text that mail readers show without being asked.
    fn is_shown_text(&self, leaf: usize) -> bool {
        let entity = &self.outline.entities[leaf];
        !entity.is_multipart
            && matches!(entity.fields.content_type.as_str(), "text/plain" | "text/html")
            && entity.fields.disposition != Some(Disposition::Attachment)
            && (entity.fields.name.is_none() || leaf == 0)
    }

    /// Whether a reader shows the one or the other (RFC 2046 section 5.1.4).
    fn are_alternatives(&self, one: usize, other: usize) -> bool {
        self.outline.ancestors(one).any(|(parent, child)| {
            self.outline.entities[parent].fields.content_type == "multipart/alternative"
                && self.outline.ancestors(other).any(|(p, c)| p == parent && c != child)
        })
    }

    fn body(&mut self) -> io::Result<Body> {
        let (chosen, beside) = self.choose();
        let Some(leaf) = chosen else {
            return Ok(Body::plain("", HashSet::new()));
        };
        if beside.is_some() {
            self.losses.push(Loss::TextAlternative);
        }
        let used: HashSet<usize> = beside.into_iter().chain([leaf]).collect();
        let entity = &self.outline.entities[leaf];
        let is_html = entity.fields.content_type == "text/html";
        let part = self.part(entity)?;
        let text = if part.size() > MOST_BODY {
            None
        } else {
            let bytes = part.bytes()?;
            let declared = entity.fields.charset.clone();
            let charset = declared.or_else(|| is_html.then(|| charset_of_html(&bytes)).flatten());
            // The service's strings end with the first zero byte.
            Some(text_of(&bytes, charset.as_deref()).replace('\0', ""))
        };
        let Some(text) = text.filter(|text| json!(text).to_string().len() as u64 <= MOST_BODY)
        else {
            self.losses.push(Loss::BodyAsAttachment);
            let name = if is_html { "body.html" } else { "body.txt" };
            let notice = format!("The text of this mail is too large to stand here: see {name}.");
            return Ok(Body { attached: Some((leaf, name)), ..Body::plain(&notice, used) });
        };
        Ok(if is_html {
            Body {
                json: json!({"contentType": "html", "content": text}),
                used,
                shown: Some(shown_ids(&text)),
                attached: None,
            }
        } else {
            Body::plain(&text, used)
        })
    }

    fn attachments(&mut self, body: &Body) -> io::Result<Vec<Attachment>> {
        let mut names = Names::default();
        let mut attachments = Vec::new();
        let outline = self.outline;
        for (leaf, entity) in outline.entities.iter().enumerate() {
            if let Some((_, name)) = body.attached.filter(|(attached, _)| *attached == leaf) {
                attachments.push(Attachment {
                    is_inline: false,
                    ..self.attachment(leaf, entity, Some(name), &mut names, body)?
                });
            } else if !entity.is_multipart
                && !body.used.contains(&leaf)
                && !self.is_nothing(leaf, entity)
            {
                attachments.push(self.attachment(leaf, entity, None, &mut names, body)?);
            }
        }
        Ok(attachments)
    }

    /// A mail of headers only has no content, whatever type it declares.
    fn is_nothing(&self, leaf: usize, entity: &Entity) -> bool {
        leaf == 0 && entity.body.is_empty() && !self.is_declared_file(entity)
    }

    fn is_declared_file(&self, entity: &Entity) -> bool {
        entity.fields.name.is_some() || entity.fields.disposition.is_some()
    }

    fn attachment(
        &mut self,
        leaf: usize,
        entity: &Entity,
        forced: Option<&str>,
        names: &mut Names,
        body: &Body,
    ) -> io::Result<Attachment> {
        let part = self.part(entity)?;
        let content_type = declared_type(entity);
        let declared = forced.or(entity.fields.name.as_deref()).and_then(name::cleaned);
        if declared.as_ref().is_some_and(|(_, changed)| *changed) {
            self.losses.push(Loss::Name);
        }
        let declared = declared.map(|(name, _)| name);
        let is_inline = self.is_inline(leaf, entity, body);
        let content_id = entity.fields.content_id.clone();
        if entity.fields.is_message() {
            let nested = self.nested(&part)?;
            let (name, body) = if let Some(message) = nested {
                let subject = message.json["subject"].as_str().and_then(name::cleaned);
                let name = subject.map(|(name, _)| name).or(declared);
                (name, AttachmentBody::Item(Box::new(message)))
            } else {
                self.losses.push(Loss::NestedAsFile);
                (declared.map(with_eml), AttachmentBody::File(part))
            };
            let name = name.unwrap_or_else(|| names.next(&content_type));
            let content_type = "message/rfc822".to_owned();
            return Ok(Attachment { name, content_type, content_id, is_inline: false, body });
        }
        let name = declared.unwrap_or_else(|| names.next(&content_type));
        let body = AttachmentBody::File(part);
        Ok(Attachment { name, content_type, content_id, is_inline, body })
    }

    /// Whether the body shows it. What nothing refers to is not inline, though it may say so:
    /// mail readers would hide it.
    fn is_inline(&self, leaf: usize, entity: &Entity, body: &Body) -> bool {
        let (Some(shown), Some(id)) = (&body.shown, &entity.fields.content_id) else {
            return false;
        };
        let is_related = || {
            self.outline.ancestors(leaf).any(|(parent, _)| {
                self.outline.entities[parent].fields.content_type == "multipart/related"
            })
        };
        shown.contains(id)
            || match entity.fields.disposition {
                Some(Disposition::Inline) => true,
                Some(Disposition::Attachment) => false,
                None => is_related(),
            }
    }

    /// The mail in `part`, unless it is too large or too deep, or no mail.
    fn nested(&mut self, part: &Part) -> io::Result<Option<Message>> {
        if self.depth >= DEEPEST || part.size() > self.budget || part.size() > 2 * MOST_NESTED {
            return Ok(None);
        }
        let raw = match part.plain() {
            Some(raw) => raw.clone(),
            None => Raw::from_bytes(part.bytes()?.into()),
        };
        let outline = Outline::read(raw.reader())?;
        if outline.head.is_empty() {
            return Ok(None);
        }
        let mail = Mail {
            raw: &raw,
            outline: &outline,
            depth: self.depth + 1,
            // Its own mails are a part of it.
            budget: part.size(),
            losses: Vec::new(),
        };
        let message = mail.message(&Value::Null, None)?;
        if message.json_size() > MOST_NESTED {
            return Ok(None);
        }
        self.budget -= part.size();
        self.losses.extend_from_slice(&message.losses);
        Ok(Some(message))
    }
}

impl Body {
    fn plain(text: &str, used: HashSet<usize>) -> Self {
        let json = json!({"contentType": "text", "content": text});
        Self { json, used, shown: None, attached: None }
    }
}

/// S/MIME whose content is one blob (RFC 8551 section 3.2).
fn is_opaque(content_type: &str) -> bool {
    matches!(content_type, "application/pkcs7-mime" | "application/x-pkcs7-mime")
}

/// The type, and of a text its charset: without it nobody could read what is not UTF-8.
fn declared_type(entity: &Entity) -> String {
    let content_type = sound_type(&entity.fields.content_type);
    let is_token = |charset: &&str| {
        !charset.is_empty()
            && charset.len() <= 40
            && charset.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:+".contains(&b))
    };
    match entity.fields.charset.as_deref().filter(is_token) {
        Some(charset) if content_type.starts_with("text/") => {
            format!("{content_type}; charset={charset}")
        }
        _ => content_type,
    }
}

/// The type, if the service can be given it.
fn sound_type(content_type: &str) -> String {
    let is_sound = content_type.len() <= 127
        && content_type.split('/').count() == 2
        && content_type.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>,;()".contains(&byte));
    if is_sound { content_type } else { "application/octet-stream" }.to_owned()
}

fn with_eml(name: String) -> String {
    let has_it = name.to_ascii_lowercase().ends_with(".eml");
    if has_it { name } else { name + ".eml" }
}

/// The character set that HTML declares itself, near its start.
fn charset_of_html(html: &[u8]) -> Option<String> {
    let start = String::from_utf8_lossy(&html[..html.len().min(1024)]).to_ascii_lowercase();
    let (_, rest) = start.split_once("charset=")?;
    let rest = rest.trim_start_matches(['"', '\'']);
    let ends = |c: char| !(c.is_ascii_alphanumeric() || "-_.:".contains(c));
    rest.split(ends).next().map(str::to_owned)
}

/// The Content-IDs that an HTML body refers to by `cid:` (RFC 2392).
fn shown_ids(html: &str) -> HashSet<String> {
    let mut ids = HashSet::new();
    for (at, _) in html.match_indices(':') {
        let scheme = at.checked_sub(3).and_then(|from| html.get(from..at));
        if scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("cid")) {
            let rest = &html[at + 1..];
            let ends = |c: char| c.is_whitespace() || "\"'<>()".contains(c);
            let id = rest.split(ends).next().unwrap_or_default();
            ids.insert(percent_decoded(id));
            ids.insert(id.to_owned());
        }
    }
    ids
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let pair = tail.get(..2).filter(|_| *first == b'%');
        let pair = pair.and_then(|pair| std::str::from_utf8(pair).ok());
        if let Some(byte) = pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            bytes.push(byte);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
