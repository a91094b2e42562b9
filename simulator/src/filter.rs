//! The part of `$filter` that backup tools use: comparisons and `startswith`, joined by `and` and
//! `or` (`and` binds closer, no parentheses).

use serde_json::Value;

use crate::error::Refusal;

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
}

impl Condition {
    fn holds(&self, row: &Value) -> bool {
        let found = row.pointer(&format!("/{}", self.property)).unwrap_or(&Value::Null);
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
            Operator::StartsWith => false,
        }
    }
}

/// Splits outside quotes.
fn split<'a>(text: &'a str, word: &str) -> Vec<&'a str> {
    let mut parts = Vec::new();
    let (mut start, mut quoted) = (0, false);
    for (at, letter) in text.char_indices() {
        if letter == '\'' {
            quoted = !quoted;
        } else if !quoted && at >= start && text[at..].starts_with(word) {
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
}
