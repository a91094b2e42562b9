//! Groups and their mailboxes: conversations, and a calendar that only its window shows.

use std::sync::Mutex;

use serde_json::{Value, json};

use crate::calendar;
use crate::dice;
use crate::mail::Address;
use crate::seed;
use crate::shelf::{Kind, Shelf};

pub(crate) struct Group {
    pub(crate) id: String,
    pub(crate) address: Address,
    /// With a mailbox; otherwise a security group.
    pub(crate) unified: bool,
    /// The numbers of its members; the first owns it.
    pub(crate) members: Vec<usize>,
    pub(crate) shelf: Shelf,
    /// What every request to its mailbox is refused with: status and code.
    pub(crate) refusal: Mutex<Option<(u16, &'static str)>>,
}

impl Group {
    /// A group among users of whom there are so many, with an empty calendar if it has a mailbox.
    pub(crate) fn new(seed: u64, number: u64, domain: &str, people: usize) -> Group {
        let names = ["Projekt Größe", "Vertrieb & Einkauf", "Nur Sicherheit"];
        let unified = number % 3 != 2;
        let round = number / 3;
        let suffix = if round == 0 { String::new() } else { format!(" {}", round + 1) };
        let name = format!("{}{suffix}", names[(number % 3) as usize]);
        let local = seed::words::ascii(&name);
        let id = dice::guid(&[seed, dice::text(domain), 90, number]);
        let shelf = Shelf::new(seed, &id);
        let address = Address { name, address: format!("{local}@{domain}") };
        let members = (0..people.min(3 + number as usize)).collect();
        if unified {
            let calendar = calendar::new_calendar("Kalender", &address.name, &address.address);
            shelf.put(Kind::Calendar, None, calendar, seed::epoch());
        }
        Group { id, address, unified, members, shelf, refusal: Mutex::default() }
    }

    /// The group as the directory shows it.
    pub(crate) fn row(&self) -> Value {
        let mail = self.unified.then_some(self.address.address.as_str());
        json!({
            "id": self.id,
            "deletedDateTime": null,
            "classification": null,
            "createdDateTime": "2018-12-22T02:21:05Z",
            "description": format!("{} – Gruppe", self.address.name),
            "displayName": self.address.name,
            "expirationDateTime": null,
            "groupTypes": if self.unified { json!(["Unified"]) } else { json!([]) },
            "isAssignableToRole": null,
            "mail": mail,
            "mailEnabled": self.unified,
            "mailNickname": self.address.address.split('@').next(),
            "membershipRule": null,
            "membershipRuleProcessingState": null,
            "onPremisesLastSyncDateTime": null,
            "onPremisesSecurityIdentifier": null,
            "onPremisesSyncEnabled": null,
            "onPremisesProvisioningErrors": [],
            "preferredDataLocation": null,
            "preferredLanguage": null,
            "proxyAddresses": mail.map_or(json!([]), |mail| json!([format!("SMTP:{mail}")])),
            "renewedDateTime": "2018-12-22T02:21:05Z",
            "resourceBehaviorOptions": [],
            "resourceProvisioningOptions": [],
            "securityEnabled": !self.unified,
            "theme": null,
            "visibility": if self.unified { "Private".into() } else { Value::Null },
        })
    }
}
