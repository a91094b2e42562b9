//! Query options: `$select`, `$expand` and the rest, at the top and inside an `$expand`.

use std::borrow::Cow;
use std::collections::BTreeSet;

use percent_encoding::percent_decode_str;

use super::Refusal;
use super::filter;
use super::model::{Model, Shape, Type, Value};
use super::path::Resource;

/// What the options apply to: nothing known, or items of a type.
#[derive(Clone, Copy)]
struct Target {
    of: Option<&'static Type>,
    many: bool,
}

/// System options of a request. All may be written without the `$`, but only these are then
/// recognised: `search` and `token` are parameters of their own in some places.
const OPTIONS: [&str; 7] = ["select", "expand", "filter", "orderby", "top", "skip", "count"];
const OPTIONS_WITH_DOLLAR: [&str; 4] = ["search", "format", "skiptoken", "deltatoken"];
const OPTIONS_OF_COLLECTIONS: [&str; 6] = ["filter", "orderby", "top", "skip", "count", "search"];
const OPTIONS_OF_EXPAND: [&str; 9] =
    ["select", "expand", "filter", "orderby", "top", "skip", "count", "search", "levels"];

/// Checks the options of `query`, percent-encoded, against the resource.
pub(super) fn check(model: &'static Model, resource: Resource, query: &str) -> Result<(), Refusal> {
    let target = match resource {
        Resource::Items(of) | Resource::Found(of) | Resource::Count(of) => {
            Target { of: Some(of), many: true }
        }
        Resource::Item(of) | Resource::ByPath(of) => Target { of: Some(of), many: false },
        Resource::Complex(of, many) => Target { of: Some(of), many },
        _ => Target { of: None, many: true },
    };
    let mut seen = BTreeSet::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decode(name)?, decode(value)?);
        let Some(option) = option(&name)? else {
            continue;
        };
        if !seen.insert(option.clone()) {
            return Err(Refusal::bad_request(format!(
                "Query option '${option}' was specified more than once, \
                 but it must be specified at most once."
            )));
        }
        check_one(model, target, &option, &value)?;
    }
    Ok(())
}

/// Form decoding: in a query `+` is a space.
fn decode(text: &str) -> Result<String, Refusal> {
    percent_decode_str(&text.replace('+', " "))
        .decode_utf8()
        .map(Cow::into_owned)
        .map_err(|_| Refusal::bad_request("The request URI is not valid UTF-8."))
}

/// The system option that a name stands for, in lower case and without `$`; none for the
/// parameters of a single API such as `includeHiddenFolders`.
fn option(name: &str) -> Result<Option<String>, Refusal> {
    match name.strip_prefix('$') {
        Some(bare) => {
            let lower = bare.to_ascii_lowercase();
            let known = OPTIONS.contains(&&*lower) || OPTIONS_WITH_DOLLAR.contains(&&*lower);
            match known {
                true => Ok(Some(lower)),
                false => Err(Refusal::bad_request(format!(
                    "The query parameter '{name}' is not supported."
                ))),
            }
        }
        None => Ok(OPTIONS.contains(&name).then(|| name.to_owned())),
    }
}

fn check_one(
    model: &'static Model,
    target: Target,
    option: &str,
    value: &str,
) -> Result<(), Refusal> {
    if !target.many && OPTIONS_OF_COLLECTIONS.contains(&option) {
        return Err(Refusal::bad_request(format!(
            "The query parameter '${option}' cannot be applied to a single resource."
        )));
    }
    match option {
        "top" | "skip" if value.parse::<u32>().is_err() => Err(Refusal::bad_request(format!(
            "Invalid value '{value}' for ${option} query option found. \
             The ${option} query option requires a non-negative integer value."
        ))),
        "count" if !matches!(value, "true" | "false") => Err(Refusal::bad_request(format!(
            "Invalid value '{value}' for $count query option found. \
             Valid values are 'true' and 'false'."
        ))),
        _ => match (target.of, option) {
            (Some(of), "select") => select(model, of, value),
            (Some(of), "expand") => expand(model, of, value),
            (Some(of), "orderby") => orderby(model, of, value),
            (Some(of), "filter") => filter::check(model, of, value)
                .map_err(|why| Refusal::bad_request(format!("Invalid filter clause: {why}"))),
            _ => Ok(()),
        },
    }
}

fn unparsed(why: impl std::fmt::Display) -> Refusal {
    Refusal::bad_request(format!("Parsing OData Select and Expand failed: {why}"))
}

fn bad_term(term: &str) -> Refusal {
    unparsed(format!("Term '{term}' is not valid in a $select or $expand expression."))
}

fn select(model: &'static Model, of: &'static Type, list: &str) -> Result<(), Refusal> {
    for term in list.split(',').map(str::trim) {
        if term == "*" || model.member(of, |t| t.annotations.get(term)).is_some() {
            continue;
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '.');
        if term.is_empty() || !term.chars().all(plain) {
            return Err(bad_term(term));
        }
        resolve(model, of, term).map_err(unparsed)?;
    }
    Ok(())
}

fn expand(model: &'static Model, of: &'static Type, list: &str) -> Result<(), Refusal> {
    let items = split(list, ',').ok_or_else(|| bad_term(list))?;
    for item in items.into_iter().map(str::trim) {
        let (path, nested) = match item.split_once('(') {
            None => (item, ""),
            Some((path, rest)) => {
                let nested = rest.strip_suffix(')').ok_or_else(|| bad_term(item))?;
                (path, nested)
            }
        };
        if path == "*" {
            continue;
        }
        if path.is_empty() {
            return Err(bad_term(path));
        }
        let Some(target) = navigation(model, of, path)? else {
            continue;
        };
        for option in split(nested, ';').ok_or_else(|| bad_term(item))? {
            if option.is_empty() {
                continue;
            }
            let known = option.trim().strip_prefix('$').and_then(|o| o.split_once('='));
            let known = known.filter(|(name, _)| OPTIONS_OF_EXPAND.contains(name));
            let (name, value) = known.ok_or_else(|| bad_term(&format!("({nested})")))?;
            check_one(model, target, name, value)?;
        }
    }
    Ok(())
}

/// Where a path of `$expand` leads; none if the table does not describe that type.
fn navigation(
    model: &'static Model,
    of: &'static Type,
    path: &str,
) -> Result<Option<Target>, Refusal> {
    let path = path.strip_suffix("/$ref").or(path.strip_suffix("/$count")).unwrap_or(path);
    let (mut at, mut name) = (of, path);
    while let Some((cast, rest)) = name.split_once('/') {
        at = model.cast(at, cast).ok_or_else(|| bad_term(path))?;
        name = rest;
    }
    if let Some(shape) = model.member(at, |t| t.navigation.get(name)) {
        let Value::Named(to) = shape.value else {
            return Ok(None);
        };
        return Ok(model.get(to).map(|to| Target { of: Some(to), many: shape.many }));
    }
    Err(unparsed(match model.member(at, |t| t.properties.get(name)) {
        Some(_) => format!(
            "Property '{name}' on type 'microsoft.graph.{}' is not a navigation property or \
             complex property. Only navigation properties can be expanded.",
            at.name
        ),
        None => no_property(name, at.name),
    }))
}

fn orderby(model: &'static Model, of: &'static Type, list: &str) -> Result<(), Refusal> {
    for term in list.split(',') {
        let mut words = term.split_whitespace();
        let path = words.next().unwrap_or("");
        let direction = words.next();
        if words.next().is_some() || !matches!(direction, None | Some("asc" | "desc")) {
            return Err(Refusal::bad_request(format!("Syntax error in $orderby: '{term}'.")));
        }
        resolve(model, of, path).map_err(Refusal::bad_request)?;
    }
    Ok(())
}

fn no_property(name: &str, of: &str) -> String {
    format!("Could not find a property named '{name}' on type 'microsoft.graph.{of}'.")
}

/// Follows a path of properties such as `flag/flagStatus` or `microsoft.graph.eventMessage/type`.
/// Yields none where it leaves what the table describes, else why it leads nowhere.
pub(super) fn resolve(
    model: &'static Model,
    of: &'static Type,
    path: &str,
) -> Result<Option<Shape>, String> {
    let mut at = of;
    let mut parts = path.split('/').peekable();
    while let Some(part) = parts.next() {
        if let Some(to) = model.cast(at, part) {
            at = to;
            continue;
        }
        let member = |t: &'static Type| t.properties.get(part).or(t.navigation.get(part));
        let Some(&shape) = model.member(at, member) else {
            // Directory extensions are properties that a tenant has added.
            let open = model.member(at, |t| t.open.then_some(())).is_some();
            return match open && part.starts_with("extension_") {
                true => Ok(None),
                false => Err(no_property(part, at.name)),
            };
        };
        match (parts.peek(), shape.value) {
            (None, _) => return Ok(Some(shape)),
            (Some(&"$count"), _) if shape.many => return Ok(None),
            (Some(_), Value::Named(name)) => match model.get(name) {
                Some(to) => at = to,
                None => return Ok(None),
            },
            (Some(more), _) => return Err(format!("'{part}' has no property named '{more}'.")),
        }
    }
    Ok(None)
}

/// Splits at a separator that stands outside quotes and parentheses; none if they don't match.
fn split(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut parts, mut start, mut depth, mut quoted) = (Vec::new(), 0, 0_u32, false);
    for (at, c) in text.char_indices() {
        match c {
            '\'' => quoted = !quoted,
            _ if quoted => {}
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1)?,
            _ if c == separator && depth == 0 => {
                parts.push(&text[start..at]);
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (depth == 0 && !quoted).then_some(parts)
}
