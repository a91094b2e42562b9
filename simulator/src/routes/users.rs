//! Users: the list, and one of them.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::dice;
use crate::error::Refusal;
use crate::filter::Filter;
use crate::page::{self, Page, Select};
use crate::person::Person;
use crate::routes::directory::{entity, not_found};
use crate::routes::{Answer, Asked};
use crate::seed::words;
use crate::tenant::UserKind;

/// Returned when nothing is selected.
const DEFAULT: &str = "id,displayName,givenName,surname,mail,userPrincipalName,jobTitle,mobilePhone,businessPhones,officeLocation,preferredLanguage";

/// Known for single users only; selecting them in a list is not implemented.
const SINGLE_ONLY: [&str; 11] = [
    "aboutMe",
    "birthday",
    "hireDate",
    "interests",
    "mySite",
    "pastProjects",
    "preferredName",
    "responsibilities",
    "schools",
    "skills",
    "mailboxSettings",
];

const READERS: [&str; 3] = ["User.Read.All", "User.ReadBasic.All", "Directory.Read.All"];

/// Where a list goes on. The position is among all users, so that changes do not shift it.
#[derive(Serialize, Deserialize)]
struct Place {
    from: usize,
}

pub(crate) fn route(asked: &Asked<'_>, rest: &[&str]) -> Answer {
    match rest {
        [] => list(asked),
        [user] => single(asked, user),
        [_, segment, ..] => Err(Refusal::unknown_segment(segment)),
    }
}

fn list(asked: &Asked<'_>) -> Answer {
    asked.need_directory(&READERS)?;
    let call = asked.call;
    let select = Select::new(Some(call.option("select").unwrap_or(DEFAULT)));
    if SINGLE_ONLY.iter().any(|name| select.names(name)) {
        let text = "This operation target is not yet supported.";
        return Err(Refusal::new(501, "NotImplemented", text));
    }
    if call.option("skip").is_some() {
        let text = "'$skip' is not supported by the service.";
        return Err(Refusal::new(400, "Request_BadRequest", text));
    }
    let asked_for = call.number("top");
    if asked_for.is_some_and(|top| !(1..=999).contains(&top)) {
        let text = "Invalid page size specified. Must be between 1 and 999 inclusive.";
        return Err(Refusal::new(400, "Request_UnsupportedQuery", text));
    }
    let filter = Filter::new(call.option("filter"))?;
    let from = match call.raw_option("skiptoken") {
        Some(raw) => page::open::<Place>(raw)?.from,
        None => 0,
    };
    let size = page::size(asked.world, asked_for, 100, 999);
    let people = &asked.world.tenant.people;
    let mut rows = Vec::new();
    let mut next = None;
    for (at, person) in people.iter().enumerate().skip(from) {
        let row = properties(asked, person);
        if filter.as_ref().is_some_and(|filter| !filter.accepts(&row)) {
            continue;
        }
        if rows.len() == size {
            next = Some(page::link(call, "skiptoken", &page::seal(&Place { from: at })));
            break;
        }
        rows.push(row);
    }
    for row in rows.iter_mut().filter_map(Value::as_object_mut) {
        select.apply(row);
        if !select.names("id") {
            row.remove("id");
        }
    }
    let count = (call.option("count") == Some("true")).then_some(people.len() as u64);
    let context = "users".to_owned();
    Ok(Page { context, rows, next, delta: None, count }.reply(asked.world, call))
}

fn single(asked: &Asked<'_>, name: &str) -> Answer {
    let own = asked.who.user.as_deref() == Some(name) && asked.who.has(&["User.Read"]);
    if !own {
        asked.need_directory(&READERS)?;
    }
    let person = asked.world.tenant.person(name).ok_or_else(|| not_found(name))?;
    let mut row = properties(asked, person);
    match (row.as_object_mut(), asked.call.option("select")) {
        (Some(row), None) => Select::new(Some(DEFAULT)).apply(row),
        (Some(row), Some(_)) if person.kind == UserKind::Member => {
            row.insert("aboutMe".into(), format!("I am {}.", person.display_name()).into());
            row.insert("skills".into(), json!(["Größen schätzen", "Listening"]));
            row.insert("birthday".into(), "1980-02-29T00:00:00Z".into());
        }
        _ => {}
    }
    Ok(entity(asked, "users", row))
}

fn properties(asked: &Asked<'_>, person: &Person) -> Value {
    let mut dice = dice::Dice::new(&[dice::text(&person.id), 41]);
    let upn = person.upn();
    let guest = person.kind == UserKind::Guest;
    let account = person.kind == UserKind::Member || person.kind == UserKind::OutOfScope;
    let licensed = account || person.kind == UserKind::NoDrive;
    let mail = match person.kind {
        UserKind::Guest => Some("robin@fabrikam.example".to_owned()),
        UserKind::Unlicensed => None,
        _ => Some(person.mail()),
    };
    let domain = &asked.world.tenant.domain;
    json!({
        "id": person.id,
        "accountEnabled": person.kind != UserKind::SharedMailbox && person.kind != UserKind::Room,
        "assignedLicenses": if licensed {
            json!([{"disabledPlans": [], "skuId": "05e9a617-0261-4cee-bb44-138d3ef5d965"}])
        } else {
            json!([])
        },
        "assignedPlans": if licensed {
            json!([{"assignedDateTime": "2016-01-04T07:00:00Z", "capabilityStatus": "Enabled", "service": "exchange", "servicePlanId": "efb87545-963c-4e0d-99df-69c6916d9eb0"}])
        } else {
            json!([])
        },
        "businessPhones": if account { json!([format!("+49 89 555{:04}", dice.below(10_000))]) } else { json!([]) },
        "city": if guest { Value::Null } else { "München".into() },
        "companyName": null,
        "country": null,
        "createdDateTime": "2016-01-04T07:00:00Z",
        "creationType": if guest { "Invitation".into() } else { Value::Null },
        "department": if account { dice.pick(words::JOBS).into() } else { Value::Null },
        "displayName": person.display_name(),
        "externalUserState": if guest { "Accepted".into() } else { Value::Null },
        "givenName": if person.surname.is_empty() { Value::Null } else { person.given.as_str().into() },
        "jobTitle": if account { dice.pick(words::JOBS).into() } else { Value::Null },
        "mail": mail,
        "mailNickname": upn.split('@').next(),
        "mobilePhone": null,
        "officeLocation": if account { format!("{}/{}", dice.below(9), dice.below(400)).into() } else { Value::Null },
        "onPremisesImmutableId": null,
        "onPremisesSyncEnabled": null,
        "otherMails": if guest { json!(["robin@fabrikam.example"]) } else { json!([]) },
        "preferredLanguage": if account { "de-DE".into() } else { Value::Null },
        "proxyAddresses": match &mail {
            Some(mail) => json!([format!("SMTP:{mail}"), format!("smtp:{}@alias.{domain}", person.number)]),
            None => json!([]),
        },
        "surname": if person.surname.is_empty() { Value::Null } else { person.surname.as_str().into() },
        "usageLocation": if guest { Value::Null } else { "DE".into() },
        "userPrincipalName": upn,
        "userType": if guest { "Guest" } else { "Member" },
    })
}
