//! Who the owner is, as the directory says (FACTS 3.11, 8.7).

use archive::Outcome;
use graph::{ErrorKind, Scope};
use serde_json::{Map, Value};

use super::PROFILE;
use super::read::Reader;
use crate::Error;
use crate::service::Note;

const FILE: &str = "profile.json";
/// What every role for users lets read.
const BASIC: &str = "id,displayName,givenName,surname,mail,userPrincipalName";
/// What FACTS 8.7 lists of a user, less what changes by itself (FACTS 9).
const ALL: &str = "id,userPrincipalName,mail,proxyAddresses,otherMails,displayName,givenName,\
    surname,mailNickname,accountEnabled,userType,usageLocation,preferredLanguage,\
    preferredDataLocation,jobTitle,department,companyName,officeLocation,employeeId,employeeType,\
    employeeOrgData,streetAddress,city,state,postalCode,country,businessPhones,mobilePhone,\
    faxNumber,createdDateTime,creationType,externalUserState,assignedLicenses,assignedPlans,\
    onPremisesImmutableId,onPremisesSecurityIdentifier,onPremisesDistinguishedName,\
    onPremisesSamAccountName,onPremisesUserPrincipalName,onPremisesSyncEnabled,\
    onPremisesExtensionAttributes,identities,showInAddressList,ageGroup";
/// What people say of themselves: kept elsewhere, and only told of one user at a time (FACTS 3.11).
const PERSONAL: &str = "aboutMe,birthday,hireDate,interests,mySite,pastProjects,preferredName,\
    responsibilities,schools,skills";
/// Lists that the directory keeps in no order.
const UNORDERED: [&str; 5] =
    ["proxyAddresses", "otherMails", "assignedLicenses", "assignedPlans", "identities"];

/// Puts the profile in.
pub(super) async fn list(reader: &Reader<'_>) -> Result<(), Error> {
    let Some(mut profile) = directory(reader).await? else { return Ok(()) };
    let path = reader.path(&format!("?$select={PERSONAL}"));
    match reader.ask(&Scope::Directory, &path).await? {
        Ok(Value::Object(personal)) => {
            for (key, value) in personal {
                profile.entry(key).or_insert(value);
            }
        }
        Ok(_) => {}
        // Where the tenant, the user or the app has no such profile the service says so in many
        // ways.
        Err(error) if !error.is_retryable() => {
            let message =
                "the service does not give what people say of themselves in their profile";
            let cause = match error.kind() {
                ErrorKind::Permission => "refused",
                _ => "unsupported",
            };
            let note = Note::new(Outcome::Skipped, cause, message).with_code(&error);
            reader.note(FILE, note);
        }
        Err(error) => reader.remark((FILE, "what people say of themselves"), &error),
    }
    for key in UNORDERED {
        if let Some(Value::Array(values)) = profile.get_mut(key) {
            for value in values.iter_mut().filter_map(Value::as_object_mut) {
                value.remove("assignedDateTime");
            }
            values.sort_by_cached_key(archive::json::canonical);
        }
    }
    reader.put(PROFILE, "", profile)
}

/// What the directory tells; the least of it where the app may not read all.
async fn directory(reader: &Reader<'_>) -> Result<Option<Map<String, Value>>, Error> {
    let refusal = match reader.ask(&Scope::Directory, &select(reader, ALL)).await? {
        Ok(profile) => return Ok(profile.as_object().cloned()),
        Err(error) => error,
    };
    if *refusal.kind() == ErrorKind::Permission
        && let Ok(Value::Object(profile)) =
            reader.ask(&Scope::Directory, &select(reader, BASIC)).await?
    {
        let message = "the service refuses all but the names in the profile to the app";
        let note = Note::new(Outcome::Skipped, "refused", message).with_code(&refusal);
        reader.note(FILE, note);
        return Ok(Some(profile));
    }
    reader.remark((FILE, "the profile"), &refusal);
    Ok(None)
}

fn select(reader: &Reader<'_>, properties: &str) -> String {
    reader.path(&format!("?$select={properties}"))
}
