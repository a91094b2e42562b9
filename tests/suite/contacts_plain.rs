//! A service that does not know extended properties: contacts come with what it gives, and what is
//! missing is told.

use std::collections::BTreeMap;

use serde_json::Value;
use simulator::{ContactProperties, Language, Options};

use crate::contacts::{assert_same, contacts, held, sections};
use crate::harness::{Archive, Tenant, text, verify};
use crate::import::{Saved, counts, emptied, writable};

fn start(contact_properties: ContactProperties) -> Tenant {
    let options = Options { users: 2, mails: 1, files: 1, contacts: 12, ..Options::default() };
    writable(Options { contact_properties, ..options })
}

fn export(tenant: &Tenant, more: &[&str]) -> Vec<u8> {
    let bytes = tenant.export(&[&["--service", "contacts"], more].concat()).expect(0).stdout;
    verify(&bytes);
    bytes
}

/// The JSON of all contacts by id.
fn lines(archive: &Archive) -> BTreeMap<String, Value> {
    let lines = sections(archive).into_iter().flat_map(|section| archive.lines(&section));
    let contacts = lines.filter(|line| line["kind"] == "contact");
    contacts.map(|line| (text(&line, "id").to_owned(), line["graph"].clone())).collect()
}

/// The sections of which the ledger says that extended properties are missing.
fn told(archive: &Archive) -> Vec<String> {
    let lines = archive.ledger().into_iter();
    let lines = lines.filter(|line| line["cause"] == "extended-properties");
    lines
        .map(|line| {
            assert_eq!(line["outcome"], "skipped");
            text(&line, "scope").to_owned()
        })
        .collect()
}

#[test]
fn contacts_without_extended_properties_are_there_and_the_loss_is_told() {
    let given = Archive::new(&export(&start(ContactProperties::Given), &[]));
    assert_eq!(told(&given), Vec::<String>::new());
    for properties in [ContactProperties::Refused, ContactProperties::Ignored] {
        let tenant = start(properties);
        let bytes = export(&tenant, &[]);
        let archive = Archive::new(&bytes);
        assert_eq!(told(&archive), sections(&archive), "{properties:?}");
        let mut wanted = lines(&given);
        for contact in wanted.values_mut() {
            contact.as_object_mut().unwrap().remove("singleValueExtendedProperties");
        }
        assert_eq!(lines(&archive), wanted, "{properties:?}");
        assert_eq!(wanted.len(), held(&tenant).len());
        // What a card has beside: the photo is asked for all the same.
        for section in sections(&archive) {
            let photos = |archive: &Archive| {
                let cards = archive.items(&section);
                cards.values().filter(|card| has_photo(&card.content)).count()
            };
            assert!(photos(&given) > 0, "no photo");
            assert_eq!(photos(&archive), photos(&given), "{properties:?}");
        }
        // A second night says the same of it.
        let saved = Saved::new(bytes);
        assert!(export(&tenant, &["--base", &saved.path()]) == saved.bytes, "{properties:?}");
        // And what is there comes back.
        let target = emptied(&tenant, Language::German);
        let run = saved.import(&target, "journal", &["--in-place"]).expect(0);
        assert_eq!(counts(&run), [24, 0, 0, 0, 0], "{}", run.stderr);
        let after = Archive::new(&export(&target, &[]));
        for section in sections(&archive) {
            let bare = |archive: &Archive| {
                let mut all = contacts(archive, &section, None);
                for (_, graph, card) in &mut all {
                    *graph = without_extended(graph);
                    *card = String::new();
                }
                all.sort();
                all
            };
            assert_same(&bare(&after), &bare(&archive));
        }
    }
}

fn has_photo(card: &[u8]) -> bool {
    String::from_utf8_lossy(card).contains("\r\nPHOTO;")
}

/// A restored contact says at least what it was made of.
fn without_extended(graph: &str) -> String {
    let mut graph: Value = serde_json::from_str(graph).unwrap();
    graph.as_object_mut().unwrap().remove("singleValueExtendedProperties");
    graph.to_string()
}

/// Nothing of it is missing, although the service refused it.
#[test]
fn a_mailbox_without_contacts_lacks_nothing() {
    let tenant = start(ContactProperties::Refused);
    let office = tenant.simulator.tenant();
    let user = office.users().remove(0);
    for item in office.items(&user.id).unwrap() {
        if item.kind == "contact" {
            office.delete_item(&user.id, &item.id).unwrap();
        }
    }
    let archive = Archive::new(&export(&tenant, &[]));
    let section = format!("users/{}/contacts", user.upn);
    assert!(!told(&archive).contains(&section));
    assert_eq!(told(&archive).len(), 1);
}
