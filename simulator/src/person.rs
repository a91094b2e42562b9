//! One user and what is his, made when first asked for.

use std::sync::{OnceLock, RwLock};

use crate::content::Owner;
use crate::drive::Drive;
use crate::ids::{DriveIds, MailIds};
use crate::mail::Address;
use crate::mailbox::Mailbox;
use crate::seed::mail::Source;
use crate::seed::outlook;
use crate::shelf::Shelf;
use crate::tenant::{User, UserKind};
use crate::{NewUser, Profile, dice, seed};

pub(crate) struct Person {
    pub(crate) id: String,
    pub(crate) number: u64,
    pub(crate) kind: UserKind,
    pub(crate) given: String,
    pub(crate) surname: String,
    /// The drive's id, where there is a drive.
    pub(crate) drive_id: Option<String>,
    upn: RwLock<String>,
    /// Where it is not the user principal name.
    mail: Option<String>,
    /// 0: German, 1: English, 2: Japanese.
    language: usize,
    plan: Plan,
    mailbox: OnceLock<Mailbox>,
    shelf: OnceLock<Shelf>,
    drive: OnceLock<Drive>,
}

/// How a person's belongings come about when first asked for.
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) domain: String,
    pub(crate) mails: u64,
    pub(crate) files: u64,
    pub(crate) events: u64,
    pub(crate) contacts: u64,
    pub(crate) tasks: u64,
    pub(crate) profile: Profile,
    pub(crate) big_file: Option<u64>,
    pub(crate) content: Option<Owner>,
    pub(crate) mailbox_quota: Option<u64>,
}

impl Person {
    pub(crate) fn new(
        number: u64,
        kind: UserKind,
        [given, surname]: [&str; 2],
        upn: String,
        plan: Plan,
    ) -> Person {
        let id = dice::guid(&[plan.seed, dice::text(&upn)]);
        let has_drive = matches!(kind, UserKind::Member | UserKind::OutOfScope);
        Person {
            drive_id: has_drive.then(|| DriveIds::new(plan.seed, &id).drive),
            id,
            number,
            kind,
            given: given.to_owned(),
            surname: surname.to_owned(),
            upn: RwLock::new(upn),
            mail: None,
            // In turn.
            language: (number % 3) as usize,
            plan,
            mailbox: OnceLock::new(),
            shelf: OnceLock::new(),
            drive: OnceLock::new(),
        }
    }

    /// Someone as a test wants him, an ordinary member.
    pub(crate) fn given(number: u64, user: &NewUser, plan: Plan) -> Person {
        let seed = plan.seed;
        let name = [user.display_name.as_str(), ""];
        let person = Person::new(number, UserKind::Member, name, user.upn.clone(), plan);
        Person {
            id: user.id.clone(),
            drive_id: Some(DriveIds::new(seed, &user.id).drive),
            mail: Some(user.mail.clone()),
            language: user.language as usize,
            ..person
        }
    }

    pub(crate) fn set_upn(&self, upn: &str) {
        // What was generated for him keeps the old address.
        self.mailbox();
        self.shelf();
        *self.upn.write().expect("no panic under this lock") = upn.to_owned();
    }

    pub(crate) fn upn(&self) -> String {
        self.upn.read().expect("no panic under this lock").clone()
    }

    /// The primary mail address.
    pub(crate) fn mail(&self) -> String {
        self.mail.clone().unwrap_or_else(|| self.upn())
    }

    pub(crate) fn display_name(&self) -> String {
        match self.kind {
            UserKind::SharedMailbox | UserKind::Room => self.given.clone(),
            _ => format!("{} {}", self.given, self.surname).trim_end().to_owned(),
        }
    }

    pub(crate) fn has_mailbox(&self) -> bool {
        !matches!(self.kind, UserKind::Guest | UserKind::Unlicensed)
    }

    pub(crate) fn mailbox(&self) -> Option<&Mailbox> {
        let made = || {
            let plan = &self.plan;
            let ids = MailIds::new(plan.seed, &self.id);
            let source = Source {
                seed: dice::hash(&[plan.seed, self.number]),
                owner: Address { name: self.display_name(), address: self.mail() },
                domain: plan.domain.clone(),
                count: plan.mails,
                profile: plan.profile,
            };
            let language = self.language;
            let mailbox = match &plan.content {
                Some(owner) => {
                    let mailbox = Mailbox::empty(ids, source, language);
                    owner.fill(&mailbox);
                    mailbox
                }
                None => Mailbox::generated(ids, source, language),
            };
            mailbox.set_quota(plan.mailbox_quota);
            mailbox
        };
        self.has_mailbox().then(|| self.mailbox.get_or_init(made))
    }

    /// What the mailbox holds besides mail.
    pub(crate) fn shelf(&self) -> Option<&Shelf> {
        let made = || {
            let plan = &self.plan;
            let shelf = Shelf::new(plan.seed, &self.id);
            let source = outlook::Source {
                seed: dice::hash(&[plan.seed, self.number, 2]),
                owner: Address { name: self.display_name(), address: self.mail() },
                domain: plan.domain.clone(),
                language: self.language,
                events: plan.events,
                contacts: plan.contacts,
                tasks: plan.tasks,
                lived_in: plan.content.is_none(),
            };
            outlook::fill(&shelf, &source);
            shelf
        };
        self.has_mailbox().then(|| self.shelf.get_or_init(made))
    }

    pub(crate) fn drive(&self) -> Option<&Drive> {
        let made = || {
            let plan = &self.plan;
            let ids = DriveIds::new(plan.seed, &self.id);
            let mut nodes = match &plan.content {
                Some(owner) => owner.nodes(),
                None => seed::drive::nodes(plan.seed, &self.id, plan.files, plan.profile),
            };
            if let Some(len) = plan.big_file {
                nodes.push(seed::drive::big(plan.seed, nodes.len() as u32, len));
            }
            Drive::new(ids, nodes)
        };
        self.drive_id.is_some().then(|| self.drive.get_or_init(made))
    }

    pub(crate) fn view(&self) -> User {
        User {
            id: self.id.clone(),
            upn: self.upn(),
            display_name: self.display_name(),
            kind: self.kind,
            drive: self.drive_id.clone(),
        }
    }
}
