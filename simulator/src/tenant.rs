//! The tenant: its users, what they own, and how tests look at it and change it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use chrono::{DateTime, SubsecRound, Utc};
use serde::Serialize;
use serde_json::json;

use crate::blob::Blob;
use crate::content::{self, Owner};
use crate::drive::Drive;
use crate::groups::Group;
use crate::mail::{Attached, Attachment};
use crate::mailbox::{Edition, Key, Mailbox};
use crate::person::{Person, Plan};
use crate::{Error, NewUser, Options, seed};

mod items;
mod posts;

pub use items::ItemInfo;
pub use posts::{GroupInfo, PostInfo};

/// What kind of user someone is, and so what the service says about him.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum UserKind {
    /// Mailbox, drive, licence.
    Member,
    /// Invited from outside: neither mailbox nor drive.
    Guest,
    /// A shared mailbox: the account is disabled, there is no drive.
    SharedMailbox,
    /// No licence: neither mailbox nor drive.
    Unlicensed,
    /// A room: a mailbox without a drive.
    Room,
    /// A mailbox, but OneDrive was never provisioned.
    NoDrive,
    /// The application may not read this mailbox.
    OutOfScope,
}

/// A user.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// The object id, a GUID.
    pub id: String,
    /// The user principal name.
    pub upn: String,
    /// The display name.
    pub display_name: String,
    /// What kind of user.
    pub kind: UserKind,
    /// The drive, where there is one.
    pub drive: Option<String>,
}

/// A mail folder.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MailFolder {
    /// Its id.
    pub id: String,
    /// Display names from the root of the mailbox down.
    pub path: Vec<String>,
    /// `inbox`, `drafts`, ...
    pub well_known: Option<&'static str>,
    /// Hidden from ordinary listings.
    pub hidden: bool,
    /// A search folder: its messages lie elsewhere.
    pub search: bool,
    /// Messages in it.
    pub total: u64,
}

/// A request to send something: nobody was mailed.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mailed {
    /// The id of the user in whose name.
    pub user: String,
    /// `sendMail`, `send`, `reply`, `replyAll` or `forward`; of events of which the service tells
    /// the attendees: `createEvent`, `updateEvent`, `deleteEvent`, `cancelEvent`, `accept`,
    /// `decline`, `tentativelyAccept` or `forward`.
    pub action: String,
    /// The immutable id of the message that was to be sent or answered, or of the event.
    pub message: Option<String>,
    /// The body of the request; of an event its subject, start and attendees.
    pub body: serde_json::Value,
}

/// An attachment of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachmentInfo {
    /// The file's name or the item's subject.
    pub name: String,
    /// The media type.
    pub content_type: String,
    /// Without the angle brackets.
    pub content_id: Option<String>,
    /// Shown in the text, not listed below it.
    pub inline: bool,
    /// `fileAttachment`, `itemAttachment` or `referenceAttachment`.
    pub kind: &'static str,
    /// Of the content, bytes; an item's is that of its MIME.
    pub len: u64,
    /// The content's SHA-256 in hex.
    pub sha256: String,
}

/// A message as it is now.
pub struct MailInfo {
    /// The immutable id.
    pub id: String,
    /// The folder's id.
    pub folder: String,
    /// The subject; a lone surrogate reads U+FFFD.
    pub subject: String,
    /// When it was received; some drafts never were.
    pub received: Option<DateTime<Utc>>,
    /// When it was created.
    pub created: DateTime<Utc>,
    /// MAPI's message class.
    pub class: &'static str,
    /// The change key.
    pub change_key: String,
    /// When it was sent.
    pub sent: Option<DateTime<Utc>>,
    /// The Message-ID header, with its angle brackets.
    pub message_id: Option<String>,
    /// Whether it was read.
    pub is_read: bool,
    /// Whether it was never sent.
    pub is_draft: bool,
    /// `notFlagged`, `flagged` or `complete`.
    pub flag: String,
    /// The categories, in order.
    pub categories: Vec<String>,
    /// `low`, `normal` or `high`.
    pub importance: &'static str,
    attached: Vec<Attachment>,
    person: Arc<Person>,
    key: Key,
}

impl MailInfo {
    /// The MIME that `$value` returns; boundaries as without the `unstable-mime` fault.
    pub fn mime(&self) -> Bytes {
        let mailbox = self.person.mailbox();
        mailbox.and_then(|mailbox| mailbox.mime(self.key, 0)).unwrap_or_default()
    }

    /// The attachments, in order.
    pub fn attachments(&self) -> Vec<AttachmentInfo> {
        self.attached.iter().map(attachment_info).collect()
    }

    /// Its SHA-256 in hex.
    pub fn sha256(&self) -> String {
        Blob::Stored(self.mime()).sha256()
    }
}

/// A file as it was when it was looked up.
pub struct FileInfo {
    /// The item's id, unique in its drive.
    pub id: String,
    /// Names from the root of the drive down.
    pub path: Vec<String>,
    /// Its true size.
    pub size: u64,
    /// The entity tag.
    pub etag: String,
    /// The service refuses to hand it out.
    pub malware: bool,
    blob: Blob,
}

impl FileInfo {
    /// The whole content; mind the big one.
    pub fn bytes(&self) -> Bytes {
        self.blob.bytes()
    }

    /// Its SHA-256 in hex, computed as it is read.
    pub fn sha256(&self) -> String {
        self.blob.sha256()
    }
}

/// The simulated tenant. Users are named by id or user principal name, folders by id, well-known
/// name or display names joined with `/`, messages by any id form, drives by id or user, files by
/// path.
pub struct Tenant {
    pub(crate) people: Vec<Arc<Person>>,
    pub(crate) groups: Vec<Group>,
    pub(crate) domain: String,
    by_id: HashMap<String, usize>,
    by_drive: HashMap<String, usize>,
    mailed: Mutex<Vec<Mailed>>,
}

impl Tenant {
    pub(crate) fn new(options: &Options) -> Result<Tenant, Error> {
        let domain = options.credentials.domain.clone();
        let mut tenant = Tenant {
            people: Vec::new(),
            groups: Vec::new(),
            domain,
            by_id: HashMap::new(),
            by_drive: HashMap::new(),
            mailed: Mutex::default(),
        };
        if let Some(users) = &options.empty {
            users.iter().try_for_each(|user| tenant.add_new(options, user))?;
            let groups = (0..options.empty_groups).map(|number| tenant.new_group(options, number));
            tenant.groups = groups.collect();
            return Ok(tenant);
        }
        if let Some(dir) = &options.content {
            for owner in content::owners(dir, &tenant.domain)? {
                let local = owner.upn.split('@').next().unwrap_or_default().to_owned();
                let upn = owner.upn.clone();
                tenant.add(options, UserKind::Member, [&local, ""], upn, Some(owner));
            }
            return Ok(tenant);
        }
        for number in 0..u64::from(options.users) {
            let (given, surname) = seed::person(number);
            let upn = seed::address(number, &tenant.domain).address;
            tenant.add(options, UserKind::Member, [&given, &surname], upn, None);
        }
        if options.special_users {
            tenant.add_special(options);
        }
        let groups = (0..options.groups).map(|number| tenant.new_group(options, number));
        tenant.groups = groups.collect();
        for group in tenant.groups.iter().filter(|group| group.unified) {
            seed::groups::fill(group, options.seed, &tenant.domain);
        }
        Ok(tenant)
    }

    fn new_group(&self, options: &Options, number: u64) -> Group {
        Group::new(options.seed, number, &self.domain, self.people.len())
    }

    fn add_new(&mut self, options: &Options, user: &NewUser) -> Result<(), Error> {
        if self.person(&user.id).or_else(|| self.person(&user.upn)).is_some() {
            return Err(Error::Setting(format!("there are two users {} or {}", user.id, user.upn)));
        }
        let number = self.people.len() as u64;
        let plan = self.plan(options, UserKind::Member, Some(Owner::nothing(&user.upn)));
        let person = Arc::new(Person::given(number, user, plan));
        self.enter(person);
        Ok(())
    }

    fn enter(&mut self, person: Arc<Person>) {
        let number = self.people.len();
        self.by_id.insert(person.id.clone(), number);
        self.by_drive.extend(person.drive_id.clone().map(|id| (id, number)));
        self.people.push(person);
    }

    fn add_special(&mut self, options: &Options) {
        let at = |local: &str| format!("{local}@{}", options.credentials.domain);
        let guest = at("robin_fabrikam.example#EXT#");
        self.add(options, UserKind::Guest, ["Robin", "Fabrikam"], guest, None);
        self.add(options, UserKind::SharedMailbox, ["Buchhaltung", ""], at("buchhaltung"), None);
        self.add(options, UserKind::Unlicensed, ["Nora", "Neu"], at("nora.neu"), None);
        self.add(options, UserKind::Room, ["Raum Isar", ""], at("raum.isar"), None);
        self.add(options, UserKind::NoDrive, ["Otto", "Ohne"], at("otto.ohne"), None);
        self.add(options, UserKind::OutOfScope, ["Vera", "Vorstand"], at("vera.vorstand"), None);
    }

    fn add(
        &mut self,
        options: &Options,
        kind: UserKind,
        name: [&str; 2],
        upn: String,
        content: Option<Owner>,
    ) {
        let plan = self.plan(options, kind, content);
        let number = self.people.len() as u64;
        self.enter(Arc::new(Person::new(number, kind, name, upn, plan)));
    }

    fn plan(&self, options: &Options, kind: UserKind, content: Option<Owner>) -> Plan {
        let number = self.people.len() as u64;
        let small = kind != UserKind::Member;
        Plan {
            seed: options.seed,
            domain: self.domain.clone(),
            mails: if small { options.mails.min(20) } else { options.mails },
            files: if small { options.files.min(10) } else { options.files },
            events: if small { options.events.min(12) } else { options.events },
            contacts: if small { options.contacts.min(5) } else { options.contacts },
            tasks: if small { options.tasks.min(4) } else { options.tasks },
            profile: options.profile,
            big_file: options.big_file.filter(|_| number == 0),
            content,
            mailbox_quota: options.mailbox_quota,
        }
    }

    /// A user by id or by user principal name in any case.
    pub(crate) fn person(&self, name: &str) -> Option<&Arc<Person>> {
        if let Some(number) = self.by_id.get(name) {
            return self.people.get(*number);
        }
        let lower = name.to_lowercase();
        let named =
            |p: &&Arc<Person>| p.id.eq_ignore_ascii_case(name) || p.upn().to_lowercase() == lower;
        self.people.iter().find(named)
    }

    /// The owner of a drive.
    pub(crate) fn drive_owner(&self, drive: &str) -> Option<&Arc<Person>> {
        self.people.get(*self.by_drive.get(drive)?)
    }

    fn known(&self, name: &str) -> Result<&Arc<Person>, Error> {
        self.person(name).ok_or_else(|| Error::unknown("user", name))
    }

    fn mailbox(&self, user: &str) -> Result<&Mailbox, Error> {
        self.known(user)?.mailbox().ok_or_else(|| Error::unknown("mailbox", user))
    }

    fn drive(&self, drive: &str) -> Result<&Drive, Error> {
        let person = self.drive_owner(drive).or_else(|| self.person(drive));
        person.and_then(|p| p.drive()).ok_or_else(|| Error::unknown("drive", drive))
    }

    /// All users.
    pub fn users(&self) -> Vec<User> {
        self.people.iter().map(|person| person.view()).collect()
    }

    /// The folders of a mailbox, those apart from the tree included.
    pub fn folders(&self, user: &str) -> Result<Vec<MailFolder>, Error> {
        let mailbox = self.mailbox(user)?;
        let folders = mailbox.folders();
        let view = |(number, folder): (usize, &seed::folders::Folder)| MailFolder {
            id: mailbox.ids.folder(number as u32),
            path: mailbox.trail(number as u32),
            well_known: folder.well_known,
            hidden: folder.hidden,
            search: folder.search,
            total: if folder.search { 0 } else { mailbox.counts(number as u32).0 },
        };
        let alive = folders.iter().enumerate().filter(|(_, folder)| !folder.gone);
        Ok(alive.map(view).collect())
    }

    /// Every message of a mailbox in every folder.
    pub fn messages(&self, user: &str) -> Result<Vec<MailInfo>, Error> {
        let person = self.known(user)?;
        let mailbox = self.mailbox(user)?;
        let mut all = Vec::new();
        for (number, folder) in mailbox.folders().iter().enumerate() {
            if !folder.search && !folder.gone {
                all.extend(mailbox.keys_after(number as u32, None, usize::MAX));
            }
        }
        all.sort_unstable();
        Ok(all.into_iter().filter_map(|key| info(person, mailbox, key)).collect())
    }

    /// The messages of one folder, in the order in which they came to be.
    pub fn folder_messages(&self, user: &str, folder: &str) -> Result<Vec<MailInfo>, Error> {
        let (person, mailbox) = (self.known(user)?, self.mailbox(user)?);
        let folder = self.folder(mailbox, folder)?;
        let keys = mailbox.keys_after(folder, None, usize::MAX);
        Ok(keys.into_iter().filter_map(|key| info(person, mailbox, key)).collect())
    }

    /// What clients have asked to be sent.
    pub fn mailed(&self) -> Vec<Mailed> {
        self.mailed.lock().expect("no panic under this lock").clone()
    }

    pub(crate) fn note_mailed(&self, mailed: Mailed) {
        self.mailed.lock().expect("no panic under this lock").push(mailed);
    }

    /// How many bytes clients may write to a mailbox, all in all; `None`: any number.
    pub fn set_mailbox_quota(&self, user: &str, bytes: Option<u64>) -> Result<(), Error> {
        self.mailbox(user)?.set_quota(bytes);
        Ok(())
    }

    /// One message by any form of its id.
    pub fn message(&self, user: &str, id: &str) -> Result<MailInfo, Error> {
        let (person, mailbox) = (self.known(user)?, self.mailbox(user)?);
        let key = self.key(mailbox, id)?;
        info(person, mailbox, key).ok_or_else(|| Error::unknown("message", id))
    }

    /// Every file of a drive that can be listed, packages' files included.
    pub fn files(&self, drive: &str) -> Result<Vec<FileInfo>, Error> {
        let drive = self.drive(drive)?;
        let view = |number: u32| {
            let node = drive.node(number)?;
            Some(FileInfo {
                id: drive.ids.item(number),
                path: drive.trail(number),
                size: node.current()?.blob.len(),
                etag: format!("\"{{{}}},{}\"", drive.ids.unique(number), node.etag),
                malware: node.malware,
                blob: node.current()?.blob.clone(),
            })
        };
        Ok(drive.files().into_iter().filter_map(view).collect())
    }

    fn key(&self, mailbox: &Mailbox, id: &str) -> Result<Key, Error> {
        mailbox.find(id).map_err(|_| Error::unknown("message", id))
    }

    fn folder(&self, mailbox: &Mailbox, name: &str) -> Result<u32, Error> {
        let by_path = || {
            let numbers = 0..mailbox.folders().len() as u32;
            numbers.into_iter().find(|n| mailbox.trail(*n).join("/") == name)
        };
        mailbox.folder(name).or_else(by_path).ok_or_else(|| Error::unknown("folder", name))
    }

    fn edit(&self, user: &str, message: &str, edition: Edition) -> Result<(), Error> {
        let mailbox = self.mailbox(user)?;
        mailbox.edit(self.key(mailbox, message)?, edition);
        Ok(())
    }

    /// Marks a message as read or unread.
    pub fn set_read(&self, user: &str, message: &str, read: bool) -> Result<(), Error> {
        self.edit(user, message, Edition::Read(read))
    }

    /// Flags a message for follow-up or takes the flag off.
    pub fn set_flag(&self, user: &str, message: &str, flagged: bool) -> Result<(), Error> {
        self.edit(
            user,
            message,
            Edition::Flag(json!({"flagStatus": if flagged { "flagged" } else { "notFlagged" }})),
        )
    }

    /// Gives a message other categories.
    pub fn set_categories(
        &self,
        user: &str,
        message: &str,
        categories: Vec<String>,
    ) -> Result<(), Error> {
        self.edit(user, message, Edition::Categories(categories))
    }

    /// Deletes a message for good.
    pub fn delete_message(&self, user: &str, message: &str) -> Result<(), Error> {
        self.edit(user, message, Edition::Delete)
    }

    /// Moves a message to another folder of its mailbox.
    pub fn move_message(&self, user: &str, message: &str, folder: &str) -> Result<(), Error> {
        let folder = self.folder(self.mailbox(user)?, folder)?;
        self.edit(user, message, Edition::Move(folder))
    }

    /// Delivers a message given as MIME, now; returns its immutable id.
    pub fn add_message(&self, user: &str, folder: &str, eml: &[u8]) -> Result<String, Error> {
        let mailbox = self.mailbox(user)?;
        let folder = self.folder(mailbox, folder)?;
        let blob = Blob::Stored(Bytes::copy_from_slice(eml));
        let key = mailbox.add(folder, blob, Utc::now().trunc_subsecs(0));
        Ok(mailbox.ids.immutable(key))
    }

    /// Makes a folder; returns its id.
    pub fn add_folder(&self, user: &str, parent: &str, name: &str) -> Result<String, Error> {
        let mailbox = self.mailbox(user)?;
        let parent = self.folder(mailbox, parent)?;
        Ok(mailbox.ids.folder(mailbox.add_folder(parent, name)))
    }

    /// Gives a folder another name.
    pub fn rename_folder(&self, user: &str, folder: &str, name: &str) -> Result<(), Error> {
        let mailbox = self.mailbox(user)?;
        mailbox.rename_folder(self.folder(mailbox, folder)?, name);
        Ok(())
    }

    /// Deletes a folder with all that is in it, for good.
    pub fn delete_folder(&self, user: &str, folder: &str) -> Result<(), Error> {
        let mailbox = self.mailbox(user)?;
        mailbox.delete_folder(self.folder(mailbox, folder)?);
        Ok(())
    }

    /// Gives a user another user principal name; his id stays.
    pub fn rename_user(&self, user: &str, upn: &str) -> Result<(), Error> {
        self.known(user)?.set_upn(upn);
        Ok(())
    }

    /// Stores a file, as a new version where there is one; returns its id.
    pub fn put_file(&self, drive: &str, path: &str, bytes: &[u8]) -> Result<String, Error> {
        let drive = self.drive(drive)?;
        let number = drive.put(path, Bytes::copy_from_slice(bytes));
        Ok(drive.ids.item(number))
    }

    fn item(&self, drive: &Drive, path: &str) -> Result<u32, Error> {
        let number = drive.at_path(path).or_else(|| drive.ids.item_number(path));
        number.filter(|n| *n != 0).ok_or_else(|| Error::unknown("file", path))
    }

    /// Deletes a file, or a folder with all that is in it.
    pub fn delete_file(&self, drive: &str, path: &str) -> Result<(), Error> {
        let drive = self.drive(drive)?;
        drive.delete(self.item(drive, path)?);
        Ok(())
    }

    /// Gives a file or folder another name: the eTag changes, the cTag does not.
    pub fn rename_file(&self, drive: &str, path: &str, name: &str) -> Result<(), Error> {
        let drive = self.drive(drive)?;
        drive.change(self.item(drive, path)?, |node| node.name = name.to_owned());
        Ok(())
    }

    /// Moves a file or folder into another folder, which is made where missing.
    pub fn move_file(&self, drive: &str, path: &str, folder: &str) -> Result<(), Error> {
        let drive = self.drive(drive)?;
        let parent = drive.folder_at(folder);
        drive.change(self.item(drive, path)?, |node| node.parent = Some(parent));
        Ok(())
    }

    /// Gives a drive room for so many bytes; what is beyond is refused with 507.
    pub fn set_quota(&self, drive: &str, bytes: u64) -> Result<(), Error> {
        self.drive(drive)?.set_quota(bytes);
        Ok(())
    }

    /// The paths of what lies in a drive's recycle bin, without what is below.
    pub fn recycle_bin(&self, drive: &str) -> Result<Vec<Vec<String>>, Error> {
        let drive = self.drive(drive)?;
        Ok(drive.recycled().into_iter().map(|number| drive.trail(number)).collect())
    }

    /// Changes a file's metadata only.
    pub fn touch(&self, drive: &str, path: &str) -> Result<(), Error> {
        let drive = self.drive(drive)?;
        drive.change(self.item(drive, path)?, |_| {});
        Ok(())
    }
}

fn info(person: &Arc<Person>, mailbox: &Mailbox, key: Key) -> Option<MailInfo> {
    let message = mailbox.message(key)?;
    Some(MailInfo {
        id: mailbox.ids.immutable(key),
        folder: mailbox.ids.folder(message.folder),
        subject: message.mail.subject.replace(crate::mail::LONE_SURROGATE, "\u{fffd}"),
        received: message.mail.received,
        created: message.mail.created,
        class: message.mail.class,
        change_key: message.change_key,
        sent: message.mail.sent,
        message_id: message.mail.message_id,
        is_read: message.mail.read,
        is_draft: message.mail.draft,
        flag: match &message.mail.flag {
            Some(flag) => flag["flagStatus"].as_str().unwrap_or("notFlagged").to_owned(),
            None => if message.mail.flagged { "flagged" } else { "notFlagged" }.to_owned(),
        },
        categories: message.mail.categories,
        importance: message.mail.importance,
        attached: message.mail.attachments,
        person: Arc::clone(person),
        key,
    })
}

fn attachment_info(attachment: &Attachment) -> AttachmentInfo {
    let nothing = Blob::Stored(Bytes::new());
    let (kind, content) = match &attachment.what {
        Attached::File(blob) => ("fileAttachment", blob),
        Attached::Item(mime) => ("itemAttachment", mime),
        Attached::Reference => ("referenceAttachment", &nothing),
    };
    AttachmentInfo {
        name: attachment.name.clone(),
        content_type: attachment.content_type.clone(),
        content_id: attachment.content_id.clone(),
        inline: attachment.inline,
        kind,
        len: content.len(),
        sha256: content.sha256(),
    }
}
