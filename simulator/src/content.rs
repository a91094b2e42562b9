//! A tenant made of real files: `DIR/<upn>/mail/<Folder>/.../*.eml` and `DIR/<upn>/onedrive/**`.
//! Where no such layout is found, every `*.eml` below becomes mail of one user, its directory
//! being its folder, and every other file goes to his OneDrive.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use chrono::{DateTime, Datelike, SubsecRound, Utc};
use mail_parser::{HeaderName, Message, MessageParser, MessagePart, MimeHeaders, PartType};

use crate::Error;
use crate::blob::Blob;
use crate::dice;
use crate::drive::{Facet, Node};
use crate::mail::{Address, Attached, Attachment, Mail};
use crate::mailbox::Mailbox;
use crate::seed::folders::{ROOT, known_by};

/// What one user of the folder has.
pub(crate) struct Owner {
    pub(crate) upn: String,
    mails: Vec<Found>,
    files: Vec<Found>,
}

/// A file and the names that lead to it.
struct Found {
    trail: Vec<String>,
    path: PathBuf,
    len: u64,
    modified: DateTime<Utc>,
}

/// Finds out what the folder holds; nothing is read yet.
pub(crate) fn owners(dir: &Path, domain: &str) -> Result<Vec<Owner>, Error> {
    let mut owners = Vec::new();
    for entry in list(dir)? {
        let (mail, drive) = (entry.join("mail"), entry.join("onedrive"));
        if mail.is_dir() || drive.is_dir() {
            owners.push(Owner {
                upn: qualified(&name_of(&entry), domain),
                mails: if mail.is_dir() { walk(&mail)? } else { Vec::new() },
                files: if drive.is_dir() { walk(&drive)? } else { Vec::new() },
            });
        }
    }
    if owners.is_empty() {
        let is_mail = |found: &Found| found.path.extension().is_some_and(|e| e == "eml");
        let (mails, files) = walk(dir)?.into_iter().partition(is_mail);
        owners.push(Owner { upn: qualified("content", domain), mails, files });
    }
    Ok(owners)
}

fn qualified(name: &str, domain: &str) -> String {
    if name.contains('@') { name.to_owned() } else { format!("{name}@{domain}") }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn list(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::Io { what: format!("read {}", dir.display()), source };
    let entries = fs::read_dir(dir).map_err(failed)?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>();
    let mut paths = paths.map_err(failed)?;
    paths.sort();
    Ok(paths)
}

fn walk(dir: &Path) -> Result<Vec<Found>, Error> {
    let mut found = Vec::new();
    let mut open = vec![(dir.to_owned(), Vec::new())];
    while let Some((dir, trail)) = open.pop() {
        for path in list(&dir)? {
            let mut trail: Vec<String> = trail.clone();
            trail.push(name_of(&path));
            let Ok(meta) = fs::metadata(&path) else {
                continue;
            };
            if meta.is_dir() {
                open.push((path, trail));
            } else if meta.is_file() {
                let modified = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                let modified = DateTime::<Utc>::from(modified).trunc_subsecs(0);
                found.push(Found { trail, path, len: meta.len(), modified });
            }
        }
    }
    found.sort_by(|a, b| a.trail.cmp(&b.trail));
    Ok(found)
}

impl Owner {
    /// Of someone who has nothing yet.
    pub(crate) fn nothing(upn: &str) -> Owner {
        Owner { upn: upn.to_owned(), mails: Vec::new(), files: Vec::new() }
    }

    /// Puts the owner's mails into an empty mailbox.
    pub(crate) fn fill(&self, mailbox: &Mailbox) {
        for found in &self.mails {
            let mut folder = ROOT;
            let (_, folders) = found.trail.split_last().expect("a file has a name");
            for (depth, name) in folders.iter().enumerate() {
                let known = known_by(name).filter(|_| depth == 0);
                folder = known
                    .and_then(|known| mailbox.folder(known))
                    .unwrap_or_else(|| mailbox.add_folder(folder, name));
            }
            if folders.is_empty() {
                folder = mailbox.folder("inbox").unwrap_or(ROOT);
            }
            let blob = Blob::OnDisk { path: found.path.clone(), len: found.len };
            let when = arrival(&blob.bytes()).unwrap_or(found.modified);
            mailbox.add(folder, blob, when);
        }
    }

    /// His drive.
    pub(crate) fn nodes(&self) -> Vec<Node> {
        let start = self.files.iter().map(|f| f.modified).min().unwrap_or_default();
        let mut nodes = vec![Node::new(None, "root", Facet::Root, start, start)];
        for found in &self.files {
            let (name, folders) = found.trail.split_last().expect("a file has a name");
            let mut parent = 0;
            for folder in folders {
                let known =
                    nodes.iter().position(|n| n.parent == Some(parent) && n.name == *folder);
                parent = known.map_or_else(
                    || {
                        nodes.push(Node::new(Some(parent), folder, Facet::Folder, start, start));
                        nodes.len() as u32 - 1
                    },
                    |at| at as u32,
                );
            }
            let when = found.modified;
            let mut node = Node::new(Some(parent), name, Facet::File, when, when);
            node.push_version(Blob::OnDisk { path: found.path.clone(), len: found.len }, when);
            nodes.push(node);
        }
        nodes
    }
}

/// When a mail arrived, by its own account.
pub(crate) fn arrival(mime: &[u8]) -> Option<DateTime<Utc>> {
    let message = MessageParser::default().parse_headers(mime)?;
    let received = message.received().and_then(|received| received.date());
    received.or_else(|| message.date().copied()).and_then(plausible)
}

/// Dates Graph could hold.
fn plausible(date: mail_parser::DateTime) -> Option<DateTime<Utc>> {
    let date = date.is_valid().then(|| date.to_timestamp())?;
    DateTime::from_timestamp(date, 0).filter(|date| (1601..=9999).contains(&date.year()))
}

/// The properties of a mail that arrived at `when`; anything may be missing or broken.
pub(crate) fn parse(mime: &Bytes, when: DateTime<Utc>) -> Mail {
    let bare = Mail {
        created: when,
        received: Some(when),
        class: "IPM.Note",
        importance: "normal",
        conversation: dice::hash(&[mime.len() as u64]),
        ..Mail::default()
    };
    match MessageParser::default().parse(mime.as_ref()) {
        Some(message) => read(&message, bare),
        None => bare,
    }
}

fn read(message: &Message<'_>, bare: Mail) -> Mail {
    let subject = message.subject().unwrap_or_default();
    let sent = message.date().copied().and_then(plausible);
    let text = message.body_text(0).map(|text| text.into_owned()).unwrap_or_default();
    let html = message.html_body.iter().find_map(|part| match &message.part(*part)?.body {
        PartType::Html(html) => Some(html.clone().into_owned()),
        _ => None,
    });
    let header = |name: &str| {
        let value = message.header(HeaderName::Other(name.to_owned().into()))?.as_text()?;
        Some(value.to_lowercase())
    };
    let importance = match header("Importance").as_deref() {
        Some("high") => "high",
        Some("low") => "low",
        _ => "normal",
    };
    Mail {
        subject: unfolded(subject),
        from: recipients(message.from()).into_iter().next(),
        to: recipients(message.to()),
        cc: recipients(message.cc()),
        bcc: recipients(message.bcc()),
        reply_to: recipients(message.reply_to()),
        sent: sent.or(bare.received),
        message_id: message.message_id().map(|id| format!("<{id}>")),
        conversation: dice::text(message.thread_name().unwrap_or(subject)),
        headers: headers(message),
        attachments: message.attachments().enumerate().map(attachment).collect(),
        class: class(message),
        importance,
        text,
        html,
        ..bare
    }
}

fn recipients(addresses: Option<&mail_parser::Address<'_>>) -> Vec<Address> {
    let all = addresses.into_iter().flat_map(|addresses| addresses.iter());
    let one = |a: &mail_parser::Addr<'_>| Address {
        name: unfolded(a.name().or(a.address()).unwrap_or_default()),
        address: a.address().unwrap_or_default().to_owned(),
    };
    all.map(one).collect()
}

fn unfolded(text: &str) -> String {
    text.replace("\r\n", "").replace('\n', "")
}

fn class(message: &Message<'_>) -> &'static str {
    let root = message.root_part();
    if root.is_content_type("application", "pkcs7-mime")
        || root.is_content_type("application", "x-pkcs7-mime")
    {
        "IPM.Note.SMIME"
    } else if root.is_content_type("multipart", "signed") {
        "IPM.Note.SMIME.MultipartSigned"
    } else if root.is_content_type("multipart", "report") {
        "REPORT.IPM.Note.NDR"
    } else {
        "IPM.Note"
    }
}

fn headers(message: &Message<'_>) -> Vec<(String, String)> {
    let text = |from: u32, to: u32| {
        let bytes = message.raw_message.get(from as usize..to as usize).unwrap_or_default();
        String::from_utf8_lossy(bytes).trim().to_owned()
    };
    let one = |header: &mail_parser::Header<'_>| {
        (header.name().to_owned(), text(header.offset_start, header.offset_end))
    };
    message.headers().iter().map(one).collect()
}

fn attachment((number, part): (usize, &MessagePart<'_>)) -> Attachment {
    let content_type = part.content_type().map(|t| match t.subtype() {
        Some(subtype) => format!("{}/{subtype}", t.ctype()),
        None => t.ctype().to_owned(),
    });
    let what = match &part.body {
        PartType::Message(inner) => {
            Attached::Item(Blob::Stored(Bytes::copy_from_slice(inner.raw_message.as_ref())))
        }
        _ => Attached::File(Blob::Stored(Bytes::copy_from_slice(part.contents()))),
    };
    Attachment {
        name: part.attachment_name().map_or_else(|| format!("ATT{:05}", number + 1), unfolded),
        content_type: content_type.unwrap_or_else(|| "application/octet-stream".into()),
        content_id: part.content_id().map(str::to_owned),
        inline: matches!(part.body, PartType::InlineBinary(_)),
        what,
    }
}
