//! Walking a resource path, segment by segment, to the resource that it addresses.

use percent_encoding::percent_decode_str;

use super::model::{Model, Shape, Type, Value};
use super::{Kind, Refusal};

/// What a path leads to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Resource {
    /// The service itself; its members are the entity sets.
    Root,
    /// `$batch`.
    Batch,
    /// A collection of entities.
    Items(&'static Type),
    /// One entity.
    Item(&'static Type),
    /// What a function returned: readable only.
    Found(&'static Type),
    /// A property of a complex type, or a collection of such.
    Complex(&'static Type, bool),
    /// A property without members.
    Primitive,
    /// Bytes.
    Stream,
    /// The number of items of a collection.
    Count(&'static Type),
    /// What an action did; only POST reaches it.
    Done,
    /// A type that the table does not describe: anything may follow.
    Undescribed,
    /// Inside `root:/a/b:`, which ends in an item of this type.
    ByPath(&'static Type),
}

impl Resource {
    pub(super) fn allows(self, method: &str) -> bool {
        match self {
            Self::Root | Self::Found(_) | Self::Count(_) | Self::Primitive => method == "GET",
            Self::Batch | Self::Done => method == "POST",
            Self::Items(_) => matches!(method, "GET" | "POST"),
            Self::Item(_) | Self::ByPath(_) => matches!(method, "GET" | "PATCH" | "PUT" | "DELETE"),
            Self::Complex(..) => matches!(method, "GET" | "PATCH"),
            Self::Stream => matches!(method, "GET" | "PUT" | "PATCH" | "DELETE"),
            Self::Undescribed => true,
        }
    }
}

/// Follows `path`, percent-encoded and with or without its first slash.
pub(super) fn walk(model: &'static Model, path: &str) -> Result<Resource, Refusal> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut resource = Resource::Root;
    if path.is_empty() {
        return Ok(resource);
    }
    for raw in path.split('/') {
        if raw.is_empty() && !matches!(resource, Resource::ByPath(_)) {
            return Err(Refusal::bad_request(
                "Invalid request. Empty segments cannot be included in the middle of a request path.",
            ));
        }
        let (segment, colon) = match raw.strip_suffix(':') {
            Some(segment) => (segment, true),
            None => (raw, false),
        };
        let segment = percent_decode_str(segment)
            .decode_utf8()
            .map_err(|_| Refusal::bad_request("The request URI is not valid UTF-8."))?;
        resource = match (resource, colon) {
            (Resource::ByPath(found), true) => Resource::Item(found),
            (Resource::ByPath(found), false) => Resource::ByPath(found),
            (before, true) => match step(model, before, &segment)? {
                Resource::Item(found) if matches!(found.name, "driveItem" | "site") => {
                    Resource::ByPath(found)
                }
                _ => return Err(Refusal::no_segment(raw)),
            },
            (before, false) => step(model, before, &segment)?,
        };
    }
    Ok(resource)
}

fn step(model: &'static Model, from: Resource, segment: &str) -> Result<Resource, Refusal> {
    let next = match from {
        Resource::Undescribed => return Ok(Resource::Undescribed),
        Resource::Root => root(model, segment)?,
        Resource::Items(of) => return items(model, of, segment),
        Resource::Found(of) if segment == "$count" => Some(Resource::Count(of)),
        Resource::Item(of) | Resource::Complex(of, false) => item(model, of, segment)?,
        Resource::Primitive if segment == "$value" => Some(Resource::Primitive),
        _ => None,
    };
    next.ok_or_else(|| Refusal::no_segment(segment))
}

fn root(model: &'static Model, segment: &str) -> Result<Option<Resource>, Refusal> {
    if segment == "$batch" {
        return Ok(Some(Resource::Batch));
    }
    let (name, arguments) = call(segment)?;
    let Some(&shape) = model.roots.get(name) else {
        return Ok(None);
    };
    keyed(model, shape, arguments)
}

fn items(model: &'static Model, of: &'static Type, segment: &str) -> Result<Resource, Refusal> {
    if segment == "$count" {
        return Ok(Resource::Count(of));
    }
    if segment == "$ref" {
        return Ok(Resource::Undescribed);
    }
    if let Some(to) = model.cast(of, segment) {
        return Ok(Resource::Items(to));
    }
    if let Ok((name, _)) = call(segment) {
        let name = name.strip_prefix("microsoft.graph.").unwrap_or(name);
        if let Some(shape) = model.member(of, |t| t.collection_functions.get(name)) {
            return Ok(found(model, *shape));
        }
        if model.member(of, |t| t.collection_actions.get(name)).is_some() {
            return Ok(Resource::Done);
        }
    }
    // What is left is a key. One that begins with `$` must be written in parentheses.
    match segment.starts_with('$') || segment.starts_with("microsoft.graph.") {
        true => Err(Refusal::no_segment(segment)),
        false => Ok(Resource::Item(of)),
    }
}

fn item(
    model: &'static Model,
    of: &'static Type,
    segment: &str,
) -> Result<Option<Resource>, Refusal> {
    let stream = || model.member(of, |t| t.stream.then_some(())).is_some();
    if segment == "$value" {
        return Ok(stream().then_some(Resource::Stream));
    }
    if segment == "$ref" && of.kind == Kind::Entity {
        return Ok(Some(Resource::Undescribed));
    }
    if let Some(to) = model.cast(of, segment) {
        return Ok(Some(Resource::Item(to)));
    }
    let (name, arguments) = call(segment)?;
    if let Some(&shape) = model.member(of, |t| t.navigation.get(name)) {
        return keyed(model, shape, arguments);
    }
    let name = name.strip_prefix("microsoft.graph.").unwrap_or(name);
    if let Some(&shape) = model.member(of, |t| t.functions.get(name)) {
        return Ok(Some(found(model, shape)));
    }
    if arguments.is_some() {
        return Ok(None);
    }
    if model.member(of, |t| t.actions.get(name)).is_some() {
        return Ok(Some(Resource::Done));
    }
    Ok(model.member(of, |t| t.properties.get(name)).map(|shape| property(model, *shape)))
}

/// A set or navigation, with the key that may stand in parentheses behind it.
fn keyed(
    model: &'static Model,
    shape: Shape,
    key: Option<&str>,
) -> Result<Option<Resource>, Refusal> {
    let Value::Named(name) = shape.value else {
        return Ok(None);
    };
    let Some(of) = model.get(name) else {
        return Ok(Some(Resource::Undescribed));
    };
    Ok(match (shape.many, key) {
        (true, None) => Some(Resource::Items(of)),
        (true, Some("")) | (false, Some(_)) => None,
        (true, Some(key)) => {
            if key.contains('\'') && !quoted(key) {
                return Err(Refusal::bad_request(format!("Bad Request - Error in key ({key}).")));
            }
            Some(Resource::Item(of))
        }
        (false, None) => Some(Resource::Item(of)),
    })
}

fn quoted(key: &str) -> bool {
    let key = key.split_once('=').map_or(key, |(_alternate_key, value)| value);
    key.len() >= 2
        && key.starts_with('\'')
        && key.ends_with('\'')
        && key[1..key.len() - 1].matches('\'').count().is_multiple_of(2)
}

fn found(model: &'static Model, shape: Shape) -> Resource {
    match shape.value {
        Value::Named(name) => match (model.get(name), shape.many) {
            (Some(of), true) => Resource::Found(of),
            (Some(of), false) => Resource::Item(of),
            (None, _) => Resource::Undescribed,
        },
        Value::Primitive | Value::Stream => Resource::Undescribed,
    }
}

fn property(model: &'static Model, shape: Shape) -> Resource {
    match shape.value {
        Value::Primitive => Resource::Primitive,
        Value::Stream => Resource::Stream,
        Value::Named(name) => match model.get(name) {
            Some(of) => Resource::Complex(of, shape.many),
            None => Resource::Undescribed,
        },
    }
}

/// `name(arguments)` taken apart.
fn call(segment: &str) -> Result<(&str, Option<&str>), Refusal> {
    match segment.split_once('(') {
        None => Ok((segment, None)),
        Some((name, rest)) => match rest.strip_suffix(')') {
            Some(arguments) => Ok((name, Some(arguments))),
            None => Err(Refusal::no_segment(segment)),
        },
    }
}
