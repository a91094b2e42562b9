//! What the service refuses before it stores anything.

use serde_json::Value;

use super::{AT_CREATION, Object, parse_time};
use crate::call::Call;
use crate::error::Refusal;
use crate::extended;
use crate::schema::{self, Shape, Type, model};

/// The largest body of a request that is not an upload.
const MOST: usize = 4 << 20;

/// The most recipients of a message, all lists together.
const MOST_RECIPIENTS: usize = 500;

/// The body of a write, if it is JSON and fits.
pub(crate) fn body(call: &Call) -> Result<Object, Refusal> {
    fits(call)?;
    let unreadable = || {
        let text = "Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of valid JSON format.";
        Refusal::bad_request(text)
    };
    let is_json = call.header("content-type").is_some_and(|t| t.starts_with("application/json"));
    match call.json().filter(|_| is_json) {
        Some(Value::Object(body)) => Ok(body),
        _ => Err(unreadable()),
    }
}

/// Refuses bodies that are too large for anything but an upload session.
pub(crate) fn fits(call: &Call) -> Result<(), Refusal> {
    match call.body.len() > MOST {
        true => Err(Refusal::new(
            413,
            "ErrorMessageSizeExceeded",
            "The message exceeds the maximum supported size.",
        )),
        false => Ok(()),
    }
}

fn unread(text: impl Into<String>) -> Refusal {
    Refusal::new(400, "RequestBodyRead", text)
}

/// Checks an object of the schema's type, down to every property of every part.
pub(crate) fn conforms(of: &'static str, object: &Object) -> Result<(), Refusal> {
    let of = model().get(of).expect("the table describes the types that are written");
    object_conforms(of, object)
}

fn object_conforms(of: &'static Type, object: &Object) -> Result<(), Refusal> {
    let model = model();
    let cast = object.get("@odata.type").and_then(Value::as_str);
    let of = match cast.map(|name| name.trim_start_matches('#')) {
        Some(name) => model.cast(of, name).ok_or_else(|| {
            unread(format!("A type named '{name}' could not be resolved by the model."))
        })?,
        None => of,
    };
    for (name, value) in object.iter().filter(|(name, _)| !name.contains('@')) {
        let known = model
            .member(of, |t| t.properties.get(name.as_str()).or(t.navigation.get(name.as_str())));
        let shape = known.ok_or_else(|| {
            unread(format!("The property '{name}' does not exist on type 'microsoft.graph.{}'. Make sure to only use property names that are defined by the type.", of.name))
        })?;
        value_conforms(of.name, *shape, name, value)?;
    }
    Ok(())
}

/// Truth values whose names do not begin with `is` or `has`.
const BOOLEANS: [&str; 12] = [
    "allowNewTimeProposals",
    "delete",
    "hideAttendees",
    "markAsRead",
    "notSentToMe",
    "permanentDelete",
    "responseRequested",
    "sentCcMe",
    "sentOnlyToMe",
    "sentToMe",
    "sentToOrCcMe",
    "stopProcessingRules",
];

/// The members of enumerations, of those that have but one spelling in requests.
fn words(of: &str, name: &str) -> &'static [&'static str] {
    match (of, name) {
        (_, "importance") => &["low", "normal", "high"],
        (_, "inferenceClassification") => &["focused", "other"],
        (_, "flagStatus") => &["notFlagged", "complete", "flagged"],
        (_, "sensitivity") => &["normal", "personal", "private", "confidential"],
        ("event", "showAs") => &["unknown", "free", "tentative", "busy", "oof", "workingElsewhere"],
        ("attendee", "type") => &["required", "optional", "resource"],
        ("todoTask", "status") => {
            &["notStarted", "inProgress", "completed", "waitingOnOthers", "deferred"]
        }
        ("automaticRepliesSetting", "status") => &["disabled", "alwaysEnabled", "scheduled"],
        ("automaticRepliesSetting", "externalAudience") => &["none", "contactsOnly", "all"],
        _ => &[],
    }
}

fn value_conforms(
    of: &'static str,
    shape: Shape,
    name: &str,
    value: &Value,
) -> Result<(), Refusal> {
    let wrong = || unread(format!("Cannot convert the value of '{name}' to the expected type."));
    if value.is_null() {
        return Ok(());
    }
    if shape.many {
        let one = Shape { many: false, ..shape };
        let all = value.as_array().ok_or_else(wrong)?;
        return all.iter().try_for_each(|value| value_conforms(of, one, name, value));
    }
    match shape.value {
        schema::Value::Named(of) => {
            let object = value.as_object().ok_or_else(wrong)?;
            model().get(of).map_or(Ok(()), |of| object_conforms(of, object))
        }
        _ => {
            let is_flag = |prefix| {
                name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(char::is_uppercase))
            };
            let fits = match is_flag("is") || is_flag("has") || BOOLEANS.contains(&name) {
                true => value.is_boolean(),
                false => value.is_string() || value.is_number(),
            };
            let words = words(of, name);
            let known = words.is_empty() || words.iter().any(|word| value == word);
            if fits && known { Ok(()) } else { Err(wrong()) }
        }
    }
}

/// Checks the properties of a message to be created or changed, and those of what it contains.
pub(crate) fn message_properties(json: &Object) -> Result<(), Refusal> {
    conforms("message", json)?;
    item_properties(json)
}

/// Checks what the schema cannot say about a message or another item, and about what it contains.
pub(crate) fn item_properties(json: &Object) -> Result<(), Refusal> {
    recipients(json)?;
    extended_properties(json)?;
    flag(json)?;
    let attachments = json.get("attachments").and_then(Value::as_array).into_iter().flatten();
    let items = attachments.filter_map(|attachment| attachment["item"].as_object());
    for item in items {
        item_properties(item)?;
    }
    Ok(())
}

/// A flag has no end without a start.
fn flag(json: &Object) -> Result<(), Refusal> {
    let has = |key: &str| json.get("flag").is_some_and(|flag| flag[key].is_object());
    match has("dueDateTime") && !has("startDateTime") {
        true => Err(Refusal::new(400, "ErrorInvalidArgument", "dueDateTime needs startDateTime")),
        false => Ok(()),
    }
}

/// Checks the extended properties of anything that has them.
pub(crate) fn extended_properties(json: &Object) -> Result<(), Refusal> {
    let all = json.get("singleValueExtendedProperties").and_then(Value::as_array);
    all.into_iter().flatten().try_for_each(extended_property)
}

fn extended_property(property: &Value) -> Result<(), Refusal> {
    let invalid = |text: &str| Refusal::new(400, "ErrorInvalidExtendedProperty", text);
    let id = property["id"].as_str().unwrap_or_default();
    let canonical =
        extended::canonical(id).ok_or_else(|| invalid("The extended property id is malformed."))?;
    let value = property["value"].as_str();
    let value = value.ok_or_else(|| invalid("The extended property value must be a string."))?;
    let fits = match canonical.split(' ').next().unwrap_or_default() {
        "Integer" | "Long" | "Short" => value.trim().parse::<i64>().is_ok(),
        "SystemTime" => parse_time(value).is_some(),
        "Boolean" => matches!(value.to_lowercase().as_str(), "true" | "false"),
        _ => true,
    };
    match fits {
        true => Ok(()),
        false => Err(invalid("The extended property value does not match its type.")),
    }
}

/// Whether a property takes effect at creation only.
pub(crate) fn at_creation_only(id: &str) -> bool {
    AT_CREATION.iter().any(|known| extended::same(known, id))
}

fn recipients(json: &Object) -> Result<(), Refusal> {
    let lists = ["toRecipients", "ccRecipients", "bccRecipients", "replyTo"];
    let list = |name: &&str| json.get(*name).and_then(Value::as_array);
    let mut count = 0;
    for one in lists.iter().filter_map(list).flatten() {
        count += 1;
        let address = one["emailAddress"]["address"].as_str().unwrap_or_default();
        if !is_address(address) {
            let text = "At least one recipient isn't valid.";
            return Err(Refusal::new(400, "ErrorInvalidRecipients", text));
        }
    }
    match count > MOST_RECIPIENTS {
        true => {
            let text = "The message has more recipients than the service allows.";
            Err(Refusal::new(400, "ErrorInvalidRecipients", text))
        }
        false => Ok(()),
    }
}

/// Whether a text can be an SMTP address.
fn is_address(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    let quoted = local.len() > 2 && local.starts_with('"') && local.ends_with('"');
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !"<>()[],;:\\\"@".contains(c);
    let local_fits = !local.is_empty() && (quoted || local.chars().all(plain));
    local_fits && !domain.is_empty() && domain.chars().all(|c| plain(c) || "[]:".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn checked(json: Value) -> Result<(), String> {
        let object = json.as_object().cloned().unwrap_or_default();
        message_properties(&object).map_err(|refusal| refusal.code)
    }

    #[test]
    fn what_the_schema_does_not_know_is_refused() {
        let to = |address: &str| json!([{"emailAddress": {"address": address}}]);
        assert_eq!(checked(json!({"subject": "a", "toRecipients": to("a@b.example")})), Ok(()));
        for (json, code) in [
            (json!({"subjekt": "a"}), "RequestBodyRead"),
            (json!({"isRead": "true"}), "RequestBodyRead"),
            (json!({"importance": "urgent"}), "RequestBodyRead"),
            (json!({"toRecipients": {}}), "RequestBodyRead"),
            (json!({"body": {"kontent": ""}}), "RequestBodyRead"),
            (json!({"attachments": [{"contentBytes": ""}]}), "RequestBodyRead"),
            (json!({"toRecipients": to("nobody")}), "ErrorInvalidRecipients"),
            (json!({"replyTo": to("a b@c.example")}), "ErrorInvalidRecipients"),
            (json!({"toRecipients": [{}]}), "ErrorInvalidRecipients"),
            (
                json!({"singleValueExtendedProperties": [{"id": "String 37", "value": ""}]}),
                "ErrorInvalidExtendedProperty",
            ),
            (
                json!({"singleValueExtendedProperties": [{"id": "SystemTime 0xe06", "value": "now"}]}),
                "ErrorInvalidExtendedProperty",
            ),
        ] {
            assert_eq!(checked(json.clone()), Err(code.to_owned()), "{json}");
        }
        let item = json!({"@odata.type": "#microsoft.graph.message", "subject": "a"});
        let file =
            json!({"@odata.type": "#microsoft.graph.itemAttachment", "name": "a", "item": item});
        assert_eq!(checked(json!({"attachments": [file]})), Ok(()));
    }
}
