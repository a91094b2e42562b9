//! What every service must do (doc/service-spec.md), asked of each in the same words.
//!
//! A service joins with a [`Subject`] and one line in [`conforms!`] below.

use std::collections::BTreeSet;

use serde_json::Value;
use simulator::{Fault, Language, Options, Profile, Record};

use crate::base::{Shelf, Way, night, percent_decoded, same};
use crate::harness::{Archive, Tenant, text, verify};
use crate::import::emptied_with;

/// Something that a service may be without.
pub enum Point {
    /// It has it: what its requests have in their paths.
    Asked(&'static str),
    /// It does not, and why. That it asks for nothing of the kind is tested instead.
    Void(&'static str),
}

/// A service as these tests see it.
pub struct Subject {
    /// Its name in `--service`.
    pub service: &'static str,
    /// What else an export is told, as `--group *`.
    pub arguments: &'static [&'static str],
    /// What the requests of its delta have in their paths.
    pub delta: Point,
    /// What requests for content have at the end of their paths; empty if there are none.
    pub contents: &'static [&'static str],
    /// What the request for an item's content that an item may have vanished before has in it.
    pub vanishing: Point,
    /// Changes one item that has content; its id.
    pub change: fn(&Tenant) -> String,
    /// Items of [`small`] whose content a base on a pipe does not vouch for: it tells what they
    /// lack only at its end, so they are made anew.
    pub unsure: u64,
    /// The ids of all that the service holds; none if other tests know better.
    pub held: Option<fn(&Tenant) -> BTreeSet<String>>,
}

macro_rules! conforms {
    ($($name:ident: $subject:expr;)+) => {$(
        mod $name {
            use super::*;

            const SUBJECT: Subject = $subject;

            #[test]
            fn order_pages_and_concurrency_are_of_no_matter() {
                super::order_pages_and_concurrency_are_of_no_matter(&SUBJECT);
            }

            #[test]
            fn a_lost_delta_token_is_of_no_matter() {
                super::a_lost_delta_token_is_of_no_matter(&SUBJECT);
            }

            #[test]
            fn throttling_and_outages_are_of_no_matter() {
                super::throttling_and_outages_are_of_no_matter(&SUBJECT);
            }

            #[test]
            fn what_is_said_to_be_missing_is_asked_for_again() {
                super::what_is_said_to_be_missing_is_asked_for_again(&SUBJECT);
            }

            #[test]
            fn what_vanishes_is_told_and_the_rest_is_there() {
                super::what_vanishes_is_told_and_the_rest_is_there(&SUBJECT);
            }

            #[test]
            fn all_there_is_arrives_whatever_it_is_called() {
                super::all_there_is_arrives_whatever_it_is_called(&SUBJECT);
            }

            #[test]
            fn nothing_is_a_section_too() {
                super::nothing_is_a_section_too(&SUBJECT);
            }

            #[test]
            fn a_second_night_asks_for_what_changed() {
                super::a_second_night_asks_for_what_changed(&SUBJECT);
            }

            #[test]
            fn listing_goes_on_from_where_it_ended() {
                super::listing_goes_on_from_where_it_ended(&SUBJECT);
            }
        }
    )+};
}

conforms! {
    mail: MAIL;
    calendar: crate::calendar::SUBJECT;
    contacts: crate::contacts::SUBJECT;
    tasks: crate::tasks::SUBJECT;
    settings: crate::settings::SUBJECT;
    conversations: crate::groups::SUBJECT;
    calendars_of_groups: crate::groups_calendar::SUBJECT;
    onedrive: ONEDRIVE;
}

const MAIL: Subject = Subject {
    service: "mail",
    arguments: &[],
    delta: Point::Asked("/messages/delta"),
    contents: &["/$value"],
    vanishing: Point::Asked("/$value"),
    change: |tenant| {
        let office = tenant.simulator.tenant();
        let user = &office.users()[0].id;
        let mail = office.messages(user).unwrap().remove(0);
        office.set_read(user, &mail.id, !mail.is_read).unwrap();
        mail.id
    },
    unsure: 0,
    held: None,
};

const ONEDRIVE: Subject = Subject {
    service: "onedrive",
    arguments: &[],
    delta: Point::Asked("/root/delta"),
    contents: &["/content"],
    vanishing: Point::Asked("/content"),
    change: |tenant| {
        let office = tenant.simulator.tenant();
        let user = &office.users()[0].id;
        let file = office.files(user).unwrap().into_iter().find(|file| !file.malware).unwrap();
        office.put_file(user, &file.path.join("/"), b"another version").unwrap();
        file.id
    },
    unsure: 0,
    held: None,
};

/// A small tenant: two users, few items.
pub fn small() -> Options {
    Options {
        users: 2,
        special_users: false,
        mails: 16,
        files: 12,
        events: 12,
        contacts: 12,
        tasks: 8,
        ..Options::default()
    }
}

impl Subject {
    fn arguments<'a>(&self, others: &[&'a str]) -> Vec<&'a str>
    where
        'static: 'a,
    {
        [&["--service", self.service], self.arguments, others].concat()
    }

    #[track_caller]
    fn export(&self, tenant: &Tenant, others: &[&str]) -> Vec<u8> {
        let bytes = tenant.export(&self.arguments(others)).expect(0).stdout;
        verify(&bytes);
        bytes
    }

    /// With these faults; what it asked for, too.
    #[track_caller]
    fn export_through(&self, faults: &[&str], options: Options) -> (Vec<u8>, Vec<Record>) {
        let faults = faults.iter().map(|fault| fault.parse::<Fault>().unwrap()).collect();
        let tenant = Tenant::start(Options { faults, ..options });
        let bytes = self.export(&tenant, &[]);
        (bytes, tenant.simulator.log().records())
    }

    /// Its metadata lines, of all owners, but those of owners and folders.
    fn items(&self, archive: &Archive) -> Vec<Value> {
        let ending = format!("/{}.ndjson", self.service);
        let sections = archive.members.iter().filter_map(|member| {
            member.path.ends_with(&ending).then(|| member.path.strip_suffix(".ndjson"))?
        });
        let lines = sections.flat_map(|section| archive.lines(section));
        lines.filter(|line| !matches!(text(line, "kind"), "owner" | "folder")).collect()
    }

    /// It has nothing of the kind, and so it asked for none.
    #[track_caller]
    fn asks_for_no(&self, what: &[&str], tenant: &Tenant, why: &str) {
        let what =
            what.iter().filter(|what| !self.contents.iter().any(|own| own.ends_with(**what)));
        for what in what {
            let asked = tenant.simulator.log().count(|record| record.path.contains(what));
            assert_eq!(asked, 0, "{} is asked for {what}, but {why}", self.service);
        }
    }

    /// The paths of requests for content that were answered with some.
    fn contents(&self, asked: &[Record]) -> Vec<String> {
        let answered = asked.iter().filter(|record| (200..400).contains(&record.status));
        let is_content = |record: &&Record| self.contents.iter().any(|e| record.path.ends_with(e));
        answered.filter(is_content).map(|record| percent_decoded(&record.path)).collect()
    }
}

#[track_caller]
fn order_pages_and_concurrency_are_of_no_matter(of: &Subject) {
    let plain = of.export(&Tenant::start(small()), &[]);
    for (page_cap, concurrency) in [(Some(1), "1"), (Some(3), "8"), (None, "1")] {
        let tenant = Tenant::start(Options { page_cap, reorder: true, ..small() });
        let other = of.export(&tenant, &["--concurrency", concurrency]);
        same(&other, &plain, &format!("pages of {page_cap:?}, {concurrency} at a time"));
    }
}

#[track_caller]
fn a_lost_delta_token_is_of_no_matter(of: &Subject) {
    let options = Options { page_cap: Some(3), ..small() };
    let tenant = Tenant::start(options.clone());
    let plain = of.export(&tenant, &[]);
    let delta = match of.delta {
        Point::Asked(delta) => delta,
        Point::Void(why) => return of.asks_for_no(&["delta"], &tenant, why),
    };
    for after in [0, 3] {
        let fault = format!("delta-gone:times=1,after={after},match={delta}");
        let (other, asked) = of.export_through(&[&fault], options.clone());
        assert!(asked.iter().any(|record| record.status == 410), "no token was lost");
        same(&other, &plain, &format!("lost after {after} requests"));
    }
}

#[track_caller]
fn throttling_and_outages_are_of_no_matter(of: &Subject) {
    let plain = of.export(&Tenant::start(small()), &[]);
    let storms = [
        &["throttle:rate=0.3,seconds=0.05", "throttle-bare:rate=0.02"][..],
        &["unavailable:rate=0.3,seconds=0.05", "empty-503:rate=0.05"],
        &["reset:rate=0.1", "truncate:rate=0.1"],
        &["repeat", "token-expiry:after=9"],
    ];
    for storm in storms {
        let (other, asked) = of.export_through(storm, Options { page_cap: Some(5), ..small() });
        assert!(asked.iter().any(|record| record.fault.is_some()), "no storm: {storm:?}");
        same(&other, &plain, &storm.join(" "));
    }
}

#[track_caller]
fn what_is_said_to_be_missing_is_asked_for_again(of: &Subject) {
    let plain = of.export(&Tenant::start(small()), &[]);
    let mut struck = 0;
    for fault_seed in 1..=9 {
        let options = Options { page_cap: Some(5), fault_seed, ..small() };
        let (other, asked) = of.export_through(&["missing:rate=0.03"], options);
        struck += asked.iter().filter(|record| record.fault.is_some()).count();
        same(&other, &plain, &format!("missing, seed {fault_seed}"));
    }
    assert!(struck > 0, "nothing was missing");
}

#[track_caller]
fn what_vanishes_is_told_and_the_rest_is_there(of: &Subject) {
    let tenant = Tenant::start(small());
    let plain = Archive::new(&of.export(&tenant, &[]));
    let vanishing = match of.vanishing {
        Point::Asked(vanishing) => vanishing,
        // A picture is no item that can vanish: there is none then.
        Point::Void(why) => {
            return of.asks_for_no(&["/$value", "/content", "/attachments"], &tenant, why);
        }
    };
    let fault = format!("vanish:rate=0.4,match={vanishing}");
    let other = Archive::new(&of.export_through(&[&fault], small()).0);
    let ledger = other.ledger();
    let vanished: BTreeSet<&str> = ledger
        .iter()
        .filter(|line| text(line, "cause") == "vanished")
        .map(|line| text(line, "path"))
        .collect();
    assert!(!vanished.is_empty(), "nothing vanished: {ledger:?}");
    // Also of what vanished there is all that was listed.
    assert_eq!(of.items(&other), of.items(&plain));
    for member in &plain.members {
        let found = other.member(&member.path);
        match vanished.contains(member.path.as_str()) {
            true => assert!(found.is_none(), "{} vanished and is there", member.path),
            false if member.path.starts_with(".tar365/") => {}
            false => {
                let found = found.unwrap_or_else(|| panic!("{} is missing", member.path));
                assert!(found.content == member.content, "{} has other bytes", member.path);
            }
        }
    }
}

#[track_caller]
fn all_there_is_arrives_whatever_it_is_called(of: &Subject) {
    for profile in [Profile::Plain, Profile::Nasty] {
        let tenant = Tenant::start(Options { profile, ..small() });
        let held = of.held.map(|held| held(&tenant));
        let archive = Archive::new(&of.export(&tenant, &[]));
        let items = of.items(&archive);
        assert!(!items.is_empty());
        let ids: BTreeSet<String> = items.iter().map(|item| text(item, "id").to_owned()).collect();
        // Each mailbox has its own settings.
        let section = |item| text(item, "path").split('/').nth(1).unwrap_or_default().to_owned();
        let places: BTreeSet<_> =
            items.iter().map(|item| (section(item), text(item, "id"))).collect();
        assert_eq!(places.len(), items.len(), "an id stands there twice");
        if let Some(held) = held {
            assert_eq!(ids, held, "{profile:?}");
        }
        let mut folded = BTreeSet::new();
        for member in &archive.members {
            archive::path::check(&member.path).unwrap();
            assert!(folded.insert(archive::path::fold(&member.path)), "{} twice", member.path);
        }
        let ledger = archive.ledger();
        let told: BTreeSet<&str> = ledger.iter().map(|line| text(line, "path")).collect();
        for path in items.iter().map(|item| text(item, "path")).filter(|path| !path.is_empty()) {
            assert!(archive.member(path).is_some() || told.contains(path), "{path} is nowhere");
        }
    }
}

#[track_caller]
fn nothing_is_a_section_too(of: &Subject) {
    let full = Tenant::start(small());
    let groups = Options { empty_groups: small().groups, ..Options::default() };
    let tenant = emptied_with(&full, Language::German, groups);
    let bytes = of.export(&tenant, &[]);
    let archive = Archive::new(&bytes);
    let has_content =
        |item: &Value| archive.member(text(item, "path")).is_some_and(|m| !m.is_directory);
    // Some services have what every mailbox has.
    let count = of.items(&archive).iter().filter(|item| has_content(item)).count();
    let full = of.items(&Archive::new(&of.export(&full, &[]))).len();
    assert!(count < full, "{count} of {full}");
    let failed: Vec<_> =
        archive.ledger().into_iter().filter(|line| text(line, "outcome") == "failed").collect();
    assert!(failed.is_empty(), "{failed:?}");
    same(&of.export(&tenant, &["--concurrency", "1"]), &bytes, "once more");
}

#[track_caller]
fn a_second_night_asks_for_what_changed(of: &Subject) {
    let tenant = Tenant::start(small());
    let arguments = of.arguments(&[]);
    let first = of.export(&tenant, &[]);
    let second = night(&tenant, &first, Way::File, &arguments);
    assert_eq!(of.contents(&second.asked), [""; 0]);
    assert_eq!(second.number("from_base"), second.number("items"));
    same(&second.run.expect(0).stdout, &first, "nothing has changed");
    let id = (of.change)(&tenant);
    for way in [Way::File, Way::Pipe] {
        let third = night(&tenant, &first, way, &arguments);
        let others: Vec<String> =
            of.contents(&third.asked).into_iter().filter(|path| !path.contains(&id)).collect();
        assert!(others.is_empty(), "{id} has changed, and asked for was {others:?}");
        let anew = if way == Way::Pipe { 1 + of.unsure } else { 1 };
        assert_eq!(third.number("from_base") + anew, third.number("items"), "{way:?}");
        let bytes = third.run.expect(0).stdout;
        assert!(bytes != first, "the change is not in the archive");
        same(&bytes, &of.export(&tenant, &[]), "one has changed");
    }
}

#[track_caller]
fn listing_goes_on_from_where_it_ended(of: &Subject) {
    let tenant = Tenant::start(small());
    let shelf = Shelf::new();
    let state = shelf.path("state");
    let state = state.to_str().unwrap();
    let arguments = of.arguments(&["--state", state]);
    let first = tenant.export(&arguments).expect(0).stdout;
    let second = night(&tenant, &first, Way::File, &arguments).run.expect(0).stdout;
    same(&second, &first, "nothing has changed");
    (of.change)(&tenant);
    let third = night(&tenant, &second, Way::File, &arguments).run.expect(0).stdout;
    same(&third, &of.export(&tenant, &[]), "one has changed");
}
