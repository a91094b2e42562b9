//! The organisation and the application's registration.

use serde_json::{Value, json};

use crate::dice;
use crate::error::Refusal;
use crate::filter::Filter;
use crate::page::{Page, Select};
use crate::reply::Reply;
use crate::routes::{Answer, Asked};

/// Graph's own application, the same in every tenant.
const GRAPH_APP: &str = "00000003-0000-0000-c000-000000000000";

pub(crate) fn organization(asked: &Asked<'_>, rest: &[&str]) -> Answer {
    asked.need_directory(&["Organization.Read.All", "Directory.Read.All", "User.Read.All"])?;
    let credentials = &asked.world.authority.credentials;
    let row = json!({
        "id": credentials.tenant_id,
        "deletedDateTime": null,
        "businessPhones": ["+49 89 5550100"],
        "city": "München",
        "country": null,
        "countryLetterCode": "DE",
        "createdDateTime": "2016-01-04T07:00:00Z",
        "defaultUsageLocation": "DE",
        "displayName": "Contoso GmbH",
        "onPremisesSyncEnabled": null,
        "preferredLanguage": "de",
        "technicalNotificationMails": [format!("it@{}", credentials.domain)],
        "tenantType": "AAD",
        "assignedPlans": [{
            "assignedDateTime": "2016-01-04T07:00:00Z",
            "capabilityStatus": "Enabled",
            "service": "exchange",
            "servicePlanId": "efb87545-963c-4e0d-99df-69c6916d9eb0",
        }],
        "verifiedDomains": [{
            "capabilities": "Email, OfficeCommunicationsOnline",
            "isDefault": true,
            "isInitial": true,
            "name": credentials.domain,
            "type": "Managed",
        }],
    });
    match rest {
        [] => one_page(asked, "organization", vec![row]),
        [id] if *id == credentials.tenant_id => Ok(entity(asked, "organization", row)),
        [id] => Err(not_found(id)),
        [_, segment, ..] => Err(Refusal::unknown_segment(segment)),
    }
}

pub(crate) fn applications(asked: &Asked<'_>, rest: &[&str]) -> Answer {
    asked.need_directory(&["Application.Read.All", "Application.ReadWrite.All"])?;
    let credentials = &asked.world.authority.credentials;
    let end = credentials.secret_expires.map_or("2099-12-31T23:59:59Z".to_owned(), |end| {
        end.format("%Y-%m-%dT%H:%M:%SZ").to_string()
    });
    let id = dice::guid(&[dice::text(&credentials.client_id), 1]);
    let row = json!({
        "id": id,
        "appId": credentials.client_id,
        "displayName": "tar365",
        "createdDateTime": "2026-01-04T07:00:00Z",
        "signInAudience": "AzureADMyOrg",
        "passwordCredentials": [{
            "customKeyIdentifier": null,
            "displayName": "backup",
            "endDateTime": end,
            "hint": "sim",
            "keyId": dice::guid(&[dice::text(&credentials.client_id), 2]),
            "secretText": null,
            "startDateTime": "2026-01-04T07:00:00Z",
        }],
        "keyCredentials": [],
    });
    match rest {
        [] => one_page(asked, "applications", vec![row]),
        [wanted] if *wanted == id => Ok(entity(asked, "applications", row)),
        [wanted] => Err(not_found(wanted)),
        [_, segment, ..] => Err(Refusal::unknown_segment(segment)),
    }
}

pub(crate) fn service_principals(asked: &Asked<'_>, rest: &[&str]) -> Answer {
    asked.need_directory(&["Application.Read.All", "Directory.Read.All"])?;
    let credentials = &asked.world.authority.credentials;
    let row = |app: &str, name: &str, roles: Value| {
        json!({
            "id": dice::guid(&[dice::text(app)]),
            "appId": app,
            "displayName": name,
            "servicePrincipalType": "Application",
            "appRoles": roles,
        })
    };
    let role = |name: &String| {
        json!({
            "allowedMemberTypes": ["Application"],
            "id": dice::guid(&[dice::text(name), 3]),
            "isEnabled": true,
            "value": name,
        })
    };
    let roles: Vec<Value> = credentials.roles.iter().map(role).collect();
    let rows = vec![
        row(&credentials.client_id, "tar365", json!([])),
        row(GRAPH_APP, "Microsoft Graph", roles.into()),
    ];
    match rest {
        [] => one_page(asked, "servicePrincipals", rows),
        [segment, ..] => Err(not_found(segment)),
    }
}

/// A collection that fits on a page, filtered and cut down to the selection.
pub(crate) fn one_page(asked: &Asked<'_>, context: &str, mut rows: Vec<Value>) -> Answer {
    if let Some(filter) = Filter::new(asked.call.option("filter"))? {
        rows.retain(|row| filter.accepts(row));
    }
    let select = Select::new(asked.call.option("select"));
    for row in rows.iter_mut().filter_map(Value::as_object_mut) {
        select.apply(row);
    }
    let page = Page { context: context.into(), rows, ..Page::default() };
    Ok(page.reply(asked.world, asked.call))
}

/// A single entity, cut down to the selection.
pub(crate) fn entity(asked: &Asked<'_>, set: &str, mut row: Value) -> Reply {
    if let Some(row) = row.as_object_mut() {
        Select::new(asked.call.option("select")).apply(row);
        let context = format!("{}/v1.0/$metadata#{set}/$entity", asked.call.roots.graph);
        row.insert("@odata.context".into(), context.into());
    }
    Reply::json(row)
}

/// What the directory says about an id it does not know.
pub(crate) fn not_found(id: &str) -> Refusal {
    Refusal::new(
        404,
        "Request_ResourceNotFound",
        format!(
            "Resource '{id}' does not exist or one of its queried reference-property objects are not present."
        ),
    )
}
