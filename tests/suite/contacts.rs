//! Contacts: what is exported of them, and that it comes back.

use std::collections::BTreeSet;

use serde_json::json;

use crate::conformance::Subject;
use crate::harness::Tenant;

pub const SUBJECT: Subject = Subject {
    service: "contacts",
    arguments: &[],
    delta: Some("/contacts/delta"),
    contents: &["/photo/$value"],
    vanishing: Some("/photo/$value"),
    change: |tenant| {
        let office = tenant.simulator.tenant();
        let user = &office.users()[0].id;
        let items = office.items(user).unwrap();
        let contact = items.into_iter().find(|item| item.kind == "contact").unwrap();
        office.change_item(user, &contact.id, json!({"nickName": "Änne"})).unwrap();
        contact.id
    },
    held: Some(held),
};

/// The ids of all contacts of all users.
fn held(tenant: &Tenant) -> BTreeSet<String> {
    let office = tenant.simulator.tenant();
    let items = office.users().into_iter().flat_map(|user| office.items(&user.id).unwrap());
    items.filter(|item| item.kind == "contact").map(|item| item.id).collect()
}
