//! Where an event is: LOCATION and GEO for everybody, X-MICROSOFT-LOCATIONS with all there is of
//! each place.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::{Value, json};

use crate::json::says_something;
use crate::line::{Lines, has_controls};
use crate::loss::Losses;

/// The members that Exchange's own form of the property has, under its names; the rest of a place
/// stands under Graph's.
const EXCHANGE: [(&str, &str); 2] =
    [("displayName", "DisplayName"), ("locationUri", "LocationUri")];

pub(super) fn write<W: Write>(
    event: &Value,
    lines: &mut Lines<'_, W>,
    losses: &mut Losses,
) -> io::Result<()> {
    let location = &event["location"];
    let name = location["displayName"].as_str().unwrap_or_default();
    if has_controls(name) {
        losses.add("location/displayName", "control characters are left out");
    }
    if !name.is_empty() {
        lines.text("LOCATION", name)?;
    }
    let locations = event["locations"].as_array().map(Vec::as_slice).unwrap_or_default();
    let places = std::iter::once(location).chain(locations);
    if let Some((latitude, longitude)) = places.filter_map(position).next() {
        lines.raw("GEO", &format!("{latitude};{longitude}"))?;
    }
    let told: Vec<Value> =
        locations.iter().filter(|place| says_something(place)).map(told).collect();
    if !told.is_empty() {
        lines.text("X-MICROSOFT-LOCATIONS", &Value::from(told).to_string())?;
    }
    for (name, value) in location.as_object().into_iter().flatten() {
        let elsewhere = locations.iter().any(|place| place[name] == *value);
        let derived = matches!(name.as_str(), "displayName" | "uniqueId" | "uniqueIdType");
        let default = name == "locationType" && value == "default";
        let written = name == "coordinates" && position(location).is_some();
        if says_something(value) && !elsewhere && !derived && !default && !written {
            losses.add(format!("location/{name}"), "only a place in `locations` has it");
        }
    }
    Ok(())
}

fn position(place: &Value) -> Option<(f64, f64)> {
    let coordinates = &place["coordinates"];
    Some((coordinates["latitude"].as_f64()?, coordinates["longitude"].as_f64()?))
}

/// A place with sorted members: their order in Graph's JSON says nothing.
fn told(place: &Value) -> Value {
    let members: BTreeMap<&str, Value> = place
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, value)| says_something(value))
        .map(|(name, value)| {
            let known = EXCHANGE.iter().find(|known| known.0 == name);
            (known.map_or(name.as_str(), |known| known.1), sorted(value))
        })
        .collect();
    json!(members)
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members: BTreeMap<_, _> =
                members.iter().map(|(name, value)| (name, sorted(value))).collect();
            json!(members)
        }
        other => other.clone(),
    }
}

/// Reads X-MICROSOFT-LOCATIONS.
pub(super) fn read(text: &str) -> Option<Vec<Value>> {
    let places: Vec<Value> = serde_json::from_str(text).ok()?;
    places.into_iter().map(place).collect()
}

fn place(value: Value) -> Option<Value> {
    let Value::Object(members) = value else { return None };
    let members = members.into_iter().map(|(name, value)| {
        let known = EXCHANGE.iter().find(|known| known.1 == name);
        (known.map_or(name.clone(), |known| known.0.to_owned()), value)
    });
    Some(Value::Object(members.collect()))
}
