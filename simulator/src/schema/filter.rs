//! `$filter`: only names are checked, of properties and functions. Whether an operand fits its
//! operator is left to the code that evaluates the filter.

use std::collections::BTreeMap;

use super::model::{Model, Type, Value};
use super::options::resolve;

/// Words that are neither a property nor a value of their own.
const KEYWORDS: [&str; 17] = [
    "and", "or", "not", "eq", "ne", "gt", "ge", "lt", "le", "in", "has", "add", "sub", "mul",
    "true", "false", "null",
];

const FUNCTIONS: [&str; 24] = [
    "contains",
    "startswith",
    "endswith",
    "length",
    "indexof",
    "substring",
    "tolower",
    "toupper",
    "trim",
    "concat",
    "year",
    "month",
    "day",
    "hour",
    "minute",
    "second",
    "date",
    "time",
    "now",
    "round",
    "floor",
    "ceiling",
    "isof",
    "cast",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Value,
    Mark(char),
}

/// Checks a filter on items of a type; the error is the service's text.
pub(super) fn check(model: &'static Model, of: &'static Type, filter: &str) -> Result<(), String> {
    let tokens = tokens(filter)?;
    if tokens.is_empty() {
        return Err("Expression expected at position 0 in ''.".into());
    }
    // Range variables of `any` and `all`: none if the collection's members are not described.
    let mut variables: BTreeMap<&str, Option<&'static Type>> = BTreeMap::new();
    for (at, token) in tokens.iter().enumerate() {
        let Token::Word(word) = *token else { continue };
        if tokens.get(at + 1) == Some(&Token::Mark('(')) {
            // Outlook's own documentation writes `Any`.
            let lambda = ["/any", "/all", "/Any", "/All"].into_iter();
            let lambda = lambda.filter_map(|end| word.strip_suffix(end)).next();
            if let Some(collection) = lambda {
                let members = member_type(model, of, &variables, collection)?;
                if let Some(&Token::Word(variable)) = tokens.get(at + 2) {
                    variables.insert(variable, members);
                }
            } else if !KEYWORDS.contains(&word) && !FUNCTIONS.contains(&word) {
                return Err(format!("An unknown function with name '{word}' was found."));
            }
        } else if !KEYWORDS.contains(&word) && !is_guid(word) {
            member_type(model, of, &variables, word)?;
        }
    }
    Ok(())
}

/// The described type that a path leads to, from the filtered type or from a range variable.
fn member_type(
    model: &'static Model,
    of: &'static Type,
    variables: &BTreeMap<&str, Option<&'static Type>>,
    path: &str,
) -> Result<Option<&'static Type>, String> {
    if path.starts_with("microsoft.graph.") && !path.contains('/') {
        return Ok(None); // an operand of isof or cast
    }
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    let shape = match variables.get(first) {
        None => resolve(model, of, path)?,
        Some(None) => None,
        Some(&Some(at)) if rest.is_empty() => return Ok(Some(at)),
        Some(&Some(at)) => resolve(model, at, rest)?,
    };
    Ok(shape.and_then(|shape| match shape.value {
        Value::Named(name) => model.get(name),
        Value::Primitive | Value::Stream => None,
    }))
}

fn is_guid(word: &str) -> bool {
    word.len() == 36 && word.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
}

fn tokens(text: &str) -> Result<Vec<Token<'_>>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '\'' => (Token::Value, string(rest).ok_or_else(|| unterminated(text))?),
            '(' | ')' | ',' | ':' => (Token::Mark(first), 1),
            _ if first.is_ascii_digit() || first == '-' => {
                let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "-+:.".contains(c)));
                (Token::Value, end.unwrap_or(rest.len()))
            }
            _ if first.is_ascii_alphabetic() || first == '_' => {
                let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "_/.$-".contains(c)));
                let end = end.unwrap_or(rest.len());
                (Token::Word(&rest[..end]), end)
            }
            _ => {
                let at = text.len() - rest.len();
                return Err(format!("Syntax error at position {at} in '{text}'."));
            }
        };
        tokens.push(token);
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

/// The length of the string literal at the start; a quote inside is doubled.
fn string(text: &str) -> Option<usize> {
    let mut at = 1;
    loop {
        at += text[at..].find('\'')? + 1;
        if !text[at..].starts_with('\'') {
            return Some(at);
        }
        at += 1;
    }
}

fn unterminated(text: &str) -> String {
    format!("There is an unterminated string literal at position {} in '{text}'.", text.len())
}
