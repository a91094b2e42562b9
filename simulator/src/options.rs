//! What the simulated tenant is like and how badly it behaves.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::faults::Fault;
use crate::limits::Limits;

/// How the simulator is set up. Start from `Options::default()`.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where Graph, login and IMDS listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Where file contents are served from: another port stands for another host.
    pub download_listen: SocketAddr,
    /// The addresses clients use when a proxy or a TLS front stands before the listeners.
    pub public: Option<PublicUrls>,
    /// Everything generated is a function of this number.
    pub seed: u64,
    /// Ordinary users: mailbox, drive, licence.
    pub users: u32,
    /// Adds a guest, a shared mailbox, an unlicensed user, a room, a user without a drive and a
    /// user outside the application's scope. They have at most 20 mails and 10 files.
    pub special_users: bool,
    /// Mails in each ordinary mailbox.
    pub mails: u64,
    /// Files in each ordinary drive.
    pub files: u64,
    /// Events of an ordinary mailbox, in its own calendars; twelve have every kind once.
    pub events: u64,
    /// Contacts of an ordinary mailbox.
    pub contacts: u64,
    /// Events tell of their exceptions and cancelled occurrences, as only the global cloud's do.
    pub tells_occurrences: bool,
    /// The longest window that a calendar shows, in days.
    pub view_days: i64,
    /// Tasks of an ordinary mailbox.
    pub tasks: u64,
    /// What becomes of an `$expand` of what belongs to tasks.
    pub task_parts: TaskParts,
    /// An upload session of a task takes parts at its address itself, and has no `content`.
    pub bare_task_sessions: bool,
    /// What becomes of an `$expand` of extended properties of contacts.
    pub contact_properties: ContactProperties,
    /// Groups of a generated tenant; every third one is without a mailbox.
    pub groups: u64,
    /// Ordinary content or every hazard known.
    pub profile: Profile,
    /// A folder of real files that makes up the tenant instead of generated content.
    pub content: Option<PathBuf>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// Decides which requests a fault with a rate hits.
    pub fault_seed: u64,
    /// The server returns at most this many rows a page, whatever was asked.
    pub page_cap: Option<usize>,
    /// Rows arrive shuffled within their page.
    pub reorder: bool,
    /// How long an access token is valid.
    pub token_lifetime: Duration,
    /// How long a download URL is valid.
    pub url_lifetime: Duration,
    /// Uploaded contents larger than this are not kept, only their size and hashes; generated
    /// content is known by its looks and can be read all the same.
    pub forget_content_over: Option<u64>,
    /// Uploaded Office files come to differ from what was sent, in size and hash, as SharePoint
    /// writes its properties into them.
    pub rewrite_office: bool,
    /// How long an upload session lives after its last fragment.
    pub upload_lifetime: Duration,
    /// These users with empty mailboxes and drives make up the tenant, instead of generated or
    /// real content.
    pub empty: Option<Vec<NewUser>>,
    /// How many of `groups` such a tenant has, with a mailbox of theirs and nothing in it.
    pub empty_groups: u64,
    /// Bytes a mailbox takes in before it answers 507; `None`: any number.
    pub mailbox_quota: Option<u64>,
    /// The service's limits; `None` only counts.
    pub limits: Option<Limits>,
    /// The tenant's identity and its application registration.
    pub credentials: Credentials,
    /// Adds a file of this many bytes to the first drive; generated as it is read.
    pub big_file: Option<u64>,
    /// Every reply waits this long.
    pub latency: Duration,
    /// Replies are gzipped for clients that accept it.
    pub gzip: bool,
    /// Polls of a device code that find it pending.
    pub device_polls: u32,
    /// Requests the log remembers in full; counters never forget.
    pub log_capacity: usize,
}

impl Default for Options {
    fn default() -> Self {
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Options {
            listen: loopback,
            download_listen: loopback,
            public: None,
            seed: 365,
            users: 3,
            special_users: true,
            mails: 60,
            files: 40,
            events: 12,
            tells_occurrences: true,
            view_days: 1825,
            contacts: 10,
            tasks: 8,
            task_parts: TaskParts::Given,
            bare_task_sessions: false,
            contact_properties: ContactProperties::Given,
            groups: 3,
            profile: Profile::Plain,
            content: None,
            faults: Vec::new(),
            fault_seed: 1,
            page_cap: None,
            reorder: false,
            token_lifetime: Duration::from_secs(3599),
            url_lifetime: Duration::from_secs(3600),
            forget_content_over: None,
            rewrite_office: false,
            upload_lifetime: Duration::from_secs(900),
            empty: None,
            empty_groups: 0,
            mailbox_quota: None,
            limits: Some(Limits::default()),
            credentials: Credentials::default(),
            big_file: None,
            latency: Duration::ZERO,
            gzip: true,
            device_polls: 2,
            log_capacity: 100_000,
        }
    }
}

/// Which options a listing of tasks takes is not documented (FACTS 3.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TaskParts {
    /// Steps, links and attachments come with the rows.
    #[default]
    Given,
    /// The option is ignored.
    Ignored,
    /// The option is refused with 400.
    Refused,
}

/// Servers that are none of Microsoft's may know no extended properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ContactProperties {
    /// They come with the rows.
    #[default]
    Given,
    /// The option is ignored.
    Ignored,
    /// The option is refused with 400.
    Refused,
}

/// The roots that stand in links, without a trailing slash.
#[derive(Debug, Clone)]
pub struct PublicUrls {
    /// Instead of `https://graph.microsoft.com`.
    pub graph: String,
    /// Instead of `https://login.microsoftonline.com`.
    pub login: String,
    /// Instead of `https://contoso-my.sharepoint.com`.
    pub download: String,
}

/// What generated content looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// An ordinary tenant.
    #[default]
    Plain,
    /// Names no file system likes, broken Unicode, deceptive delta rows.
    Nasty,
}

/// A user of an empty tenant: a member with an empty mailbox and an empty drive.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// The object id, a GUID.
    pub id: String,
    /// The user principal name.
    pub upn: String,
    /// The display name.
    pub display_name: String,
    /// The primary mail address.
    pub mail: String,
    /// What the well-known folders are called.
    pub language: Language,
}

/// The language of a mailbox's well-known folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// `Posteingang`, `Gesendete Elemente`, ...
    German,
    /// `Inbox`, `Sent Items`, ...
    English,
    /// `受信トレイ`, `送信済みアイテム`, ...
    Japanese,
}

/// The tenant and the application that may read it.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The tenant's GUID.
    pub tenant_id: String,
    /// The tenant's default domain.
    pub domain: String,
    /// The application's GUID.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// When the secret ends; past: AADSTS7000222.
    pub secret_expires: Option<DateTime<Utc>>,
    /// Its registered certificates, PEM.
    pub certificates: Vec<String>,
    /// Tokens of an outside issuer that are accepted as they are.
    pub federated_tokens: Vec<String>,
    /// Application roles an administrator consented to.
    pub roles: Vec<String>,
}

impl Credentials {
    /// Those of an application that may also restore.
    pub fn restoring() -> Self {
        let mut credentials = Credentials::default();
        let writing = [
            "Mail.ReadWrite",
            "Files.ReadWrite.All",
            "Calendars.ReadWrite",
            "Contacts.ReadWrite",
            "Tasks.ReadWrite.All",
            "MailboxSettings.ReadWrite",
            "ProfilePhoto.ReadWrite.All",
        ];
        credentials.roles.extend(writing.map(String::from));
        credentials
    }
}

impl Default for Credentials {
    fn default() -> Self {
        let roles = [
            "User.Read.All",
            "Group.Read.All",
            "Organization.Read.All",
            "Application.Read.All",
            "Mail.Read",
            "MailboxSettings.Read",
            "Contacts.Read",
            "Calendars.Read",
            "Tasks.Read.All",
            "Files.Read.All",
            "Sites.Read.All",
        ];
        Credentials {
            tenant_id: "7b1c6e0a-3f52-4d0b-9a51-6f3a2d9e8b10".into(),
            domain: "contoso.onmicrosoft.com".into(),
            client_id: "d2f0c1a4-58be-4c57-8d4c-0e6b8a7f9c33".into(),
            client_secret: "simulated~not-a-secret+/=&%".into(),
            secret_expires: None,
            certificates: Vec::new(),
            federated_tokens: Vec::new(),
            roles: roles.map(String::from).to_vec(),
        }
    }
}
