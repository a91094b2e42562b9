//! What of an archive is restored: the selection of an export, and what only makes sense for
//! single items.

use archive::metadata::{self, Line};
use archive::{OwnerNames, Selection, Selector};
use globset::{GlobBuilder, GlobMatcher};
use serde_json::Value;

use crate::Service;
use crate::error::Error;

/// What is wanted; of each list one must match, of all that is given everything.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// Users, services, globs on paths, times.
    pub selection: Selection,
    /// Words in the subject of a mail, or a glob of all of it; case does not matter.
    pub subjects: Vec<String>,
    /// Words in the sender's name or address, likewise.
    pub senders: Vec<String>,
    /// Words in the name or address of anybody the mail went to, likewise.
    pub recipients: Vec<String>,
    /// Message-IDs, with or without their angle brackets.
    pub message_ids: Vec<String>,
    /// Paths in the archive, of items or folders: exact, or globs. Relative to the archive or to
    /// the owner's folder of the service.
    pub paths: Vec<String>,
}

/// A [`Choice`], compiled.
#[derive(Debug)]
pub(crate) struct Chooser {
    selector: Selector,
    literal_users: Option<usize>,
    subjects: Vec<Words>,
    senders: Vec<Words>,
    recipients: Vec<Words>,
    message_ids: Vec<String>,
    paths: Vec<Place>,
    /// Those that can have what is asked for: only mail and posts have subjects.
    services: Vec<Service>,
    /// How many of them users can have.
    services_of_users: usize,
}

impl Choice {
    /// True if single items are asked for: folders are then only made for what is put into them.
    #[must_use]
    pub fn names_items(&self) -> bool {
        let lists =
            [&self.subjects, &self.senders, &self.recipients, &self.message_ids, &self.paths];
        let timed = self.selection.since.is_some() || self.selection.until.is_some();
        timed || lists.iter().any(|list| !list.is_empty())
    }

    /// Finds mistakes before anything is opened.
    ///
    /// # Errors
    /// For a glob that can't be read, and for a service that can't be restored.
    pub fn check(&self) -> Result<(), Error> {
        self.compile().map(drop)
    }

    /// Checks and compiles it.
    ///
    /// # Errors
    /// For a glob that can't be read, and for a service that can't be restored.
    pub(crate) fn compile(&self) -> Result<Chooser, Error> {
        for name in &self.selection.services {
            if Service::from_name(name).is_none() {
                let known = Service::ALL.map(Service::name).join(", ");
                let what = format!("no service is called {name:?}; services are: {known}");
                return Err(Error::Usage { what, hint: "--service names one of them" });
            }
        }
        // Of a name of groups there may be several; of one of users there is one.
        let users = &self.selection.users;
        let literal = self.selection.groups.is_empty()
            && !users.is_empty()
            && users.iter().all(|user| is_literal(user));
        let of_mail = [&self.subjects, &self.senders, &self.recipients, &self.message_ids];
        let is_mail = of_mail.iter().any(|list| !list.is_empty());
        let wanted = |service: &&Service| {
            let names = &self.selection.services;
            let is_named = names.is_empty() || names.contains(service.name());
            let has_subjects = matches!(service, Service::Mail | Service::Conversations);
            is_named && (!is_mail || has_subjects)
        };
        let services: Vec<_> = Service::ALL.iter().filter(wanted).copied().collect();
        let of_users = services.iter().filter(|service| **service != Service::Conversations);
        Ok(Chooser {
            selector: self.selection.compile()?,
            literal_users: literal.then_some(users.len()),
            subjects: words(&self.subjects)?,
            senders: words(&self.senders)?,
            recipients: words(&self.recipients)?,
            message_ids: self.message_ids.iter().map(|id| bare_id(id).to_owned()).collect(),
            paths: self.paths.iter().map(|path| Place::new(path)).collect::<Result<_, _>>()?,
            services_of_users: of_users.count(),
            services,
        })
    }
}

impl Chooser {
    /// The service of a section that is wanted.
    pub(crate) fn service(&self, name: &str) -> Option<Service> {
        Service::from_name(name).filter(|service| self.services.contains(service))
    }

    pub(crate) fn owner(&self, names: &OwnerNames) -> bool {
        self.selector.matches_owner(names)
    }

    /// Whether a folder may hold what is wanted, by its path in the archive.
    pub(crate) fn folder(&self, path: &str) -> bool {
        self.selector.matches_path(path)
    }

    /// Whether an item is wanted. `section` is the prefix of its section.
    pub(crate) fn item(&self, line: &Line, section: &str) -> bool {
        let path = line.path.as_deref().unwrap_or_default();
        let relative = path.strip_prefix(section).unwrap_or(path).trim_start_matches('/');
        let mtime = Service::of_section(section).map_or(0, |service| service.mtime(line));
        self.selector.matches_path(path)
            && self.selector.matches_time(mtime)
            && (self.paths.is_empty()
                || self.paths.iter().any(|wanted| wanted.is(path) || wanted.is(relative)))
            && self.is_mail_wanted(line)
    }

    /// Subject, sender and Message-ID are those of mail, and of posts, whose subject is the topic:
    /// nothing else has them.
    fn is_mail_wanted(&self, line: &Line) -> bool {
        let lists = [&self.subjects, &self.senders, &self.recipients];
        if lists.iter().all(|list| list.is_empty()) && self.message_ids.is_empty() {
            return true;
        }
        let subject = match line.kind.as_str() {
            metadata::MESSAGE => "/subject",
            metadata::POST => "/topic",
            _ => return false,
        };
        let text = |pointer: &str| line.graph.pointer(pointer).and_then(Value::as_str);
        let subject = text(subject).unwrap_or_default();
        let id = bare_id(text("/internetMessageId").unwrap_or_default());
        let is_person = |words: &Words, person: &Value| {
            let part = |part| person.pointer(part).and_then(Value::as_str).unwrap_or_default();
            words.is(part("/emailAddress/name")) || words.is(part("/emailAddress/address"))
        };
        let from = |words: &Words| {
            let mut senders = ["from", "sender"].into_iter().filter_map(|who| line.graph.get(who));
            senders.any(|person| is_person(words, person))
        };
        let to = |words: &Words| {
            let lists = ["toRecipients", "ccRecipients", "bccRecipients"];
            let people = lists.into_iter().filter_map(|list| line.graph.get(list)?.as_array());
            people.flatten().any(|person| is_person(words, person))
        };
        (self.subjects.is_empty() || self.subjects.iter().any(|words| words.is(subject)))
            && (self.senders.is_empty() || self.senders.iter().any(from))
            && (self.recipients.is_empty() || self.recipients.iter().any(to))
            && (self.message_ids.is_empty() || self.message_ids.iter().any(|wanted| wanted == id))
    }

    /// Whether nothing behind the last of `sections` sections of `owners` wanted owners can be
    /// wanted: each user was named outright, and all of them had all that is asked for.
    pub(crate) fn is_over(&self, owners: usize, sections_of_last: usize) -> bool {
        self.literal_users.is_some_and(|users| owners >= users)
            && sections_of_last >= self.services_of_users
    }

    /// Whether another owner can still be wanted.
    pub(crate) fn knows_all(&self, owners: usize) -> bool {
        self.literal_users.is_some_and(|users| owners >= users)
    }
}

/// Words to look for: a part of the text, or all of it if they are a glob.
#[derive(Debug)]
enum Words {
    Part(String),
    Glob(GlobMatcher),
}

impl Words {
    fn is(&self, text: &str) -> bool {
        match self {
            Self::Part(part) => text.to_lowercase().contains(part),
            Self::Glob(glob) => glob.is_match(text),
        }
    }
}

fn words(texts: &[String]) -> Result<Vec<Words>, Error> {
    let word = |text: &String| match is_literal(text) {
        true => Ok(Words::Part(text.to_lowercase())),
        false => glob(text, true).map(Words::Glob),
    };
    texts.iter().map(word).collect()
}

/// A path that is wanted, with all below it.
#[derive(Debug)]
enum Place {
    Exact(String),
    Glob(GlobMatcher),
}

impl Place {
    fn new(text: &str) -> Result<Self, Error> {
        let text = text.trim_matches('/');
        match is_literal(text) {
            true => Ok(Self::Exact(text.to_owned())),
            false => glob(text, false).map(Self::Glob),
        }
    }

    fn is(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => {
                let rest = path.strip_prefix(exact.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            Self::Glob(glob) => glob.is_match(path),
        }
    }
}

fn is_literal(text: &str) -> bool {
    !text.contains(['*', '?', '[', ']', '{', '}', '\\'])
}

fn glob(text: &str, folds_case: bool) -> Result<GlobMatcher, Error> {
    let built = GlobBuilder::new(text)
        .literal_separator(!folds_case)
        .backslash_escape(true)
        .case_insensitive(folds_case)
        .build();
    let glob = built.map_err(|error| archive::Error::Selection {
        value: text.to_owned(),
        what: error.kind().to_string(),
    })?;
    Ok(glob.compile_matcher())
}

/// A Message-ID without its angle brackets.
fn bare_id(id: &str) -> &str {
    id.trim().trim_start_matches('<').trim_end_matches('>')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SECTION: &str = "users/a@b.c/mail";

    fn mail() -> Line {
        Line {
            kind: metadata::MESSAGE.into(),
            id: "1".into(),
            path: Some(format!("{SECTION}/Inbox/Q [1]/x.eml")),
            graph: json!({
                "subject": "Quarterly Report [draft]",
                "internetMessageId": "<1@x>",
                "from": {"emailAddress": {"name": "Ann Other", "address": "ann@x.example"}},
                "receivedDateTime": "2026-01-02T03:04:05Z",
            }),
        }
    }

    fn wants(change: impl FnOnce(&mut Choice)) -> bool {
        let mut choice = Choice::default();
        change(&mut choice);
        choice.compile().is_ok_and(|chooser| chooser.item(&mail(), SECTION))
    }

    #[test]
    fn items() {
        assert!(wants(|_| ()));
        assert!(wants(|c| c.subjects.push("quarterly".into())));
        assert!(wants(|c| c.subjects.push("*REPORT*".into())));
        assert!(!wants(|c| c.subjects.push("report*".into())));
        assert!(wants(|c| c.senders.push("ann@X".into())));
        assert!(wants(|c| c.senders.push("other".into())));
        assert!(!wants(|c| c.senders.push("bob".into())));
        assert!(wants(|c| c.message_ids.push("1@x".into())));
        assert!(!wants(|c| c.message_ids.push("1@".into())));
        assert!(wants(|c| c.paths.push("Inbox".into())));
        assert!(!wants(|c| c.paths.push("Inb".into())));
        assert!(wants(|c| c.paths.push("users/a@b.c/mail/Inbox/*/*.eml".into())));
        assert!(wants(|c| c.selection.since = Some(1_767_322_000)));
        assert!(!wants(|c| c.selection.since = Some(1_800_000_000)));
    }

    #[test]
    fn files_have_no_subject() {
        let mut file = mail();
        file.kind = metadata::FILE.into();
        let choice = Choice { subjects: vec!["quarterly".into()], ..Choice::default() };
        assert!(choice.compile().is_ok_and(|chooser| !chooser.item(&file, SECTION)));
    }

    #[test]
    fn the_end_is_known_when_users_are_named_outright() {
        let mut choice = Choice::default();
        choice.selection.users = vec!["a@b.c".into()];
        choice.selection.services.insert("mail".into());
        assert!(choice.compile().is_ok_and(|c| c.is_over(1, 1) && !c.is_over(0, 0)));
        choice.selection.users = vec!["a@*".into()];
        assert!(choice.compile().is_ok_and(|c| !c.is_over(1, 1)));
    }
}
