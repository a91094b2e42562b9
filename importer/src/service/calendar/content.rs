//! The attachments of an event and of its exceptions, from its file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::NaiveDate;
use serde_json::{Value, json};

use super::place::CalendarPlace;
use crate::error::Error;
use crate::item::Item;
use crate::mailbox::{self, LARGE};
use crate::place::Loss;
use crate::region::Region;

/// What is attached to an event and to its occurrences that differ.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) own: Vec<Attachment>,
    pub(super) exceptions: BTreeMap<NaiveDate, Vec<Attachment>>,
}

/// A file that is attached.
#[derive(Debug)]
pub(super) struct Attachment {
    pub(super) name: String,
    content_type: String,
    content_id: Option<String>,
    is_inline: bool,
    /// It was a mail, an event or a contact, and is a file of that kind now.
    is_item: bool,
    bytes: Region,
}

impl Content {
    /// Of an item's file; the bytes are in files in `spool_dir`.
    pub(super) fn read(item: &Item, spool_dir: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Content { path: item.path.clone(), source };
        let mut files: Vec<Arc<File>> = Vec::new();
        let input = item.content.open().map_err(failed)?;
        let read = convert::event::read(input, None, |number| {
            let file = Arc::new(tempfile::tempfile_in(spool_dir)?);
            debug_assert_eq!(number, files.len());
            files.push(Arc::clone(&file));
            Ok(Box::new(Shared(file)) as Box<dyn Write>)
        });
        let read = read.map_err(|error| failed(io::Error::other(error)))?;
        let Some(series) = read.series.into_iter().next() else {
            return Err(failed(io::Error::other("there is no event in the file")));
        };
        let all = |attachments: Vec<convert::event::Attachment>| -> Vec<Attachment> {
            let of = |one: convert::event::Attachment| Some(Attachment::of(&one, &files));
            attachments.into_iter().filter_map(of).flatten().collect()
        };
        let exceptions = series.exceptions.into_iter();
        Ok(Self {
            own: all(series.attachments),
            exceptions: exceptions.map(|one| (one.original, all(one.attachments))).collect(),
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.own.is_empty() && self.exceptions.values().all(Vec::is_empty)
    }

    /// What of them the service takes otherwise.
    pub(super) fn losses(&self) -> Option<Loss> {
        let mut all = self.own.iter().chain(self.exceptions.values().flatten());
        all.any(|attachment| attachment.is_item).then_some(Loss::NestedAsFile)
    }
}

impl Attachment {
    fn of(read: &convert::event::Attachment, files: &[Arc<File>]) -> Option<Self> {
        let bytes = Region::new(Arc::clone(files.get(read.number)?), 0, read.size);
        let text = |key: &str| read.json[key].as_str().filter(|text| !text.is_empty());
        let is_item = text("@odata.type").is_some_and(|kind| kind.ends_with("itemAttachment"));
        let content_type = text("contentType").unwrap_or("application/octet-stream");
        let name = text("name").unwrap_or("attachment");
        let ending = match content_type {
            _ if !is_item => "",
            "text/calendar" => ".ics",
            "text/vcard" => ".vcf",
            _ => ".eml",
        };
        // A file that was made of an item has its ending already.
        let ending = if name.ends_with(ending) { "" } else { ending };
        Some(Self {
            name: format!("{name}{ending}"),
            content_type: content_type.to_owned(),
            content_id: text("contentId").map(str::to_owned),
            is_inline: read.json["isInline"] == true,
            is_item,
            bytes,
        })
    }

    pub(super) fn open(&self) -> impl Read + Send + use<> {
        self.bytes.reader()
    }

    fn json(&self) -> io::Result<Value> {
        let mut bytes = Vec::new();
        self.open().read_to_end(&mut bytes)?;
        let mut json = json!({
            "@odata.type": "#microsoft.graph.fileAttachment",
            "name": self.name,
            "contentType": self.content_type,
            "isInline": self.is_inline,
            "contentBytes": STANDARD.encode(bytes),
        });
        if let Some(id) = &self.content_id {
            json["contentId"] = id.as_str().into();
        }
        Ok(json)
    }
}

impl CalendarPlace {
    /// Attaches to the event or occurrence with this id what it does not have: an occurrence has
    /// what its series has.
    pub(super) async fn attach(
        &self,
        item: &Item,
        id: &str,
        wanted: &[Attachment],
    ) -> Result<(), Error> {
        if wanted.is_empty() {
            return Ok(());
        }
        let event = self.event(id);
        let failed = |source| {
            let doing = format!("attaching to {}", item.path);
            Error::Graph { doing, source }
        };
        let there = self.mailbox.attached(&event).await.map_err(failed)?;
        let there = |name: &str| there.iter().filter(|one| one["name"] == name).count();
        for (at, attachment) in wanted.iter().enumerate() {
            let before = wanted[..at].iter().filter(|one| one.name == attachment.name).count();
            if before < there(&attachment.name) {
                continue;
            }
            if attachment.bytes.length() < LARGE {
                let unread = |source| Error::Content { path: item.path.clone(), source };
                let body = attachment.json().map_err(unread)?;
                self.mailbox.attach(&event, &body, before).await.map_err(failed)?;
                continue;
            }
            let file = mailbox::File {
                name: &attachment.name,
                content_type: &attachment.content_type,
                content_id: attachment.content_id.as_deref(),
                is_inline: attachment.is_inline,
                size: attachment.bytes.length(),
            };
            let bytes = attachment.bytes.clone();
            let open = Box::new(move || Ok(Box::new(bytes.reader()) as Box<dyn Read + Send>));
            self.mailbox.attach_large(&event, &file, before, open).await.map_err(failed)?;
        }
        let made = self.mailbox.attached(&event).await.map_err(failed)?;
        let is_there = |attachment: &Attachment| {
            let length = attachment.bytes.length();
            let size = |one: &Value| one["size"].as_u64().unwrap_or(u64::MAX);
            made.iter().any(|one| one["name"] == attachment.name.as_str() && size(one) >= length)
        };
        match wanted.iter().find(|attachment| !is_there(attachment)) {
            None => Ok(()),
            Some(missing) => {
                let what = format!("its attachment {:?} is not there", missing.name);
                Err(Error::Unequal { path: item.path.clone(), what })
            }
        }
    }
}

/// A file that is written to and read again.
struct Shared(Arc<File>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self.0).flush()
    }
}
