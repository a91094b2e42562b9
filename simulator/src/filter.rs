//! The part of `$filter` that backup tools use: comparisons, `startswith`, `any` of a list of texts
//! and, for one extended property, `singleValueExtendedProperties/Any(...)`, joined by `and` and
//! `or` (`and` binds closer, no other parentheses).

use serde_json::Value;

use crate::error::Refusal;
use crate::extended;
use crate::mailbox::index_key;

/// Alternatives, each a list of conditions.
pub(crate) struct Filter(Vec<Vec<Condition>>);

struct Condition {
    property: String,
    operator: Operator,
    value: Value,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operator {
    Eq,
    Ne,
    Gt,
    Ge,
    Lt,
    Le,
    StartsWith,
    /// The extended property of this id has this value.
    Extended,
    /// One of the texts is this one.
    Any,
}

impl Filter {
    pub(crate) fn new(text: Option<&str>) -> Result<Option<Filter>, Refusal> {
        let Some(text) = text else { return Ok(None) };
        let all = split(text, " or ").into_iter().map(|side| {
            split(side, " and ").into_iter().map(condition).collect::<Option<Vec<_>>>()
        });
        let all = all.collect::<Option<Vec<_>>>();
        let all = all.ok_or_else(|| {
            Refusal::new(
                400,
                "Request_UnsupportedQuery",
                "Unsupported or invalid query filter clause specified.",
            )
        })?;
        Ok(Some(Filter(all)))
    }

    pub(crate) fn accepts(&self, row: &Value) -> bool {
        self.0.iter().any(|all| all.iter().all(|condition| condition.holds(row)))
    }

    /// Where an index finds all messages that can be accepted, if each alternative asks for a
    /// property by which messages are indexed.
    pub(crate) fn index_keys(&self) -> Option<Vec<u64>> {
        self.0.iter().map(|all| all.iter().find_map(Condition::index_key)).collect()
    }
}

impl Condition {
    fn index_key(&self) -> Option<u64> {
        let indexed = self.operator == Operator::Extended
            || self.operator == Operator::Eq && self.property == "internetMessageId";
        indexed.then(|| index_key(&self.property, self.value.as_str().unwrap_or_default()))
    }

    fn holds(&self, row: &Value) -> bool {
        if self.operator == Operator::Extended {
            let mut all = row["singleValueExtendedProperties"].as_array().into_iter().flatten();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_lowercase();
            let wanted = text(&self.value);
            // The service compares values whatever their case.
            let is_wanted = |property: &Value| {
                extended::same(property["id"].as_str().unwrap_or_default(), &self.property)
                    && text(&property["value"]) == wanted
            };
            return all.any(is_wanted);
        }
        let found = row.pointer(&format!("/{}", self.property)).unwrap_or(&Value::Null);
        if self.operator == Operator::Any {
            return found.as_array().is_some_and(|all| all.contains(&self.value));
        }
        let order = match (found, &self.value) {
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Value::Number(a), Value::Number(b)) => {
                let both = (a.as_f64().unwrap_or(0.0), b.as_f64().unwrap_or(0.0));
                both.0.total_cmp(&both.1)
            }
            // Directory strings compare without case; dates are of one form and compare as text.
            (Value::String(a), Value::String(b)) => {
                let (a, b) = (a.to_lowercase(), b.to_lowercase());
                if self.operator == Operator::StartsWith {
                    return a.starts_with(&b);
                }
                a.cmp(&b)
            }
            (a, b) => return (a == b) == (self.operator == Operator::Eq),
        };
        match self.operator {
            Operator::Eq => order.is_eq(),
            Operator::Ne => order.is_ne(),
            Operator::Gt => order.is_gt(),
            Operator::Ge => order.is_ge(),
            Operator::Lt => order.is_lt(),
            Operator::Le => order.is_le(),
            Operator::StartsWith | Operator::Extended | Operator::Any => false,
        }
    }
}

/// Splits outside quotes and parentheses.
fn split<'a>(text: &'a str, word: &str) -> Vec<&'a str> {
    let mut parts = Vec::new();
    let (mut start, mut quoted, mut depth) = (0, false, 0_u32);
    for (at, letter) in text.char_indices() {
        if letter == '\'' {
            quoted = !quoted;
        } else if !quoted && letter == '(' {
            depth += 1;
        } else if !quoted && letter == ')' {
            depth = depth.saturating_sub(1);
        } else if !quoted && depth == 0 && at >= start && text[at..].starts_with(word) {
            parts.push(text[start..at].trim());
            start = at + word.len();
        }
    }
    parts.push(text[start..].trim());
    parts
}

fn condition(text: &str) -> Option<Condition> {
    if let Some(inside) = text.strip_prefix("startswith(").and_then(|t| t.strip_suffix(')')) {
        let (property, value) = inside.split_once(',')?;
        return Some(Condition {
            property: property.trim().to_owned(),
            operator: Operator::StartsWith,
            value: literal(value.trim())?,
        });
    }
    if text.to_lowercase().starts_with("singlevalueextendedproperties/any(") {
        return any(text.split_once('(')?.1.strip_suffix(')')?);
    }
    if let Some((property, inside)) = text.split_once("/any(") {
        let (variable, inside) = inside.strip_suffix(')')?.split_once(':')?;
        let inside = condition(inside.trim())?;
        let plain = inside.property == variable.trim() && inside.operator == Operator::Eq;
        return plain.then(|| Condition {
            property: property.to_owned(),
            operator: Operator::Any,
            value: inside.value,
        });
    }
    let (property, rest) = text.split_once(' ')?;
    let (operator, value) = rest.trim_start().split_once(' ')?;
    let operator = match operator {
        "eq" => Operator::Eq,
        "ne" => Operator::Ne,
        "gt" => Operator::Gt,
        "ge" => Operator::Ge,
        "lt" => Operator::Lt,
        "le" => Operator::Le,
        _ => return None,
    };
    Some(Condition { property: property.to_owned(), operator, value: literal(value.trim())? })
}

/// `ep: ep/id eq 'ID' and ep/value eq 'VALUE'`, in either order.
fn any(inside: &str) -> Option<Condition> {
    let (variable, conditions) = inside.split_once(':')?;
    let (mut id, mut value) = (None, None);
    for one in split(conditions, " and ") {
        let one = condition(one)?;
        let of_ours = one.property.strip_prefix(variable.trim())?.strip_prefix('/')?;
        match (of_ours, one.operator) {
            ("id", Operator::Eq) => id = one.value.as_str().map(str::to_owned),
            ("value", Operator::Eq) => value = Some(one.value),
            _ => return None,
        }
    }
    Some(Condition { property: id?, operator: Operator::Extended, value: value? })
}

fn literal(text: &str) -> Option<Value> {
    if let Some(inside) = text.strip_prefix('\'').and_then(|t| t.strip_suffix('\'')) {
        return Some(inside.replace("''", "'").into());
    }
    match text {
        "true" => Some(true.into()),
        "false" => Some(false.into()),
        "null" => Some(Value::Null),
        _ => match text.parse::<i64>() {
            Ok(number) => Some(number.into()),
            // A date and time, unquoted.
            Err(_) if text.starts_with(|c: char| c.is_ascii_digit()) => Some(text.into()),
            Err(_) => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn conditions() {
        let row = json!({"userPrincipalName": "Anna@contoso.com", "isRead": false, "receivedDateTime": "2026-01-02T00:00:00Z", "from": {"x": 1}});
        let accepts = |text| Filter::new(Some(text)).unwrap().unwrap().accepts(&row);
        assert!(accepts("userPrincipalName eq 'anna@contoso.com'"));
        assert!(accepts("startswith(userPrincipalName,'ann')"));
        assert!(accepts("receivedDateTime ge 2026-01-01T00:00:00Z and isRead eq false"));
        assert!(!accepts("receivedDateTime lt 2026-01-01T00:00:00Z"));
        assert!(accepts("isRead eq true or from/x eq 1"));
        assert!(accepts("jobTitle eq null") && accepts("jobTitle ne 'a or b'"));
        assert!(Filter::new(Some("nonsense")).is_err());
    }

    #[test]
    fn extended_properties_are_compared_in_canonical_form() {
        let id = "String {00020386-0000-0000-c000-000000000046} Name origin";
        let row = json!({"isRead": true, "singleValueExtendedProperties": [{"id": id, "value": "a (and) b"}]});
        let accepts = |text: &str| Filter::new(Some(text)).unwrap().unwrap().accepts(&row);
        let any = |id: &str, value: &str| {
            format!(
                "singleValueExtendedProperties/Any(ep: ep/id eq '{id}' and ep/value eq '{value}')"
            )
        };
        assert!(accepts(&any(
            &id.replace("00020386-0000-0000-c", "00020386-0000-0000-C"),
            "a (and) b"
        )));
        assert!(accepts(&format!("{} and isRead eq true", any(id, "a (and) b"))));
        assert!(!accepts(&any(id, "a")) && !accepts(&any("String 0x1a", "a (and) b")));
        let keys = |text: &str| Filter::new(Some(text)).unwrap().unwrap().index_keys();
        assert_eq!(keys(&any(id, "x")).unwrap(), keys(&any(&id.replace("-c", "-C"), "x")).unwrap());
        assert_eq!(keys("internetMessageId eq '<a>' or isRead eq true"), None);
    }
}
