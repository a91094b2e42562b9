//! `$batch`: up to twenty requests in one, answered in any order.

use std::collections::{HashMap, HashSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use serde_json::{Map, Value, json};

use crate::call::Call;
use crate::error::Refusal;
use crate::log::Host;
use crate::reply::{Payload, Reply};
use crate::routes::{self, Answer, Asked};

const MOST: usize = 20;

pub(crate) fn answer(asked: &Asked<'_>) -> Answer {
    if asked.call.method != Method::POST {
        return Err(Refusal::method_not_allowed());
    }
    if asked.call.batched {
        return Err(Refusal::bad_request("Batch requests cannot be nested."));
    }
    let body = asked.call.json();
    let requests = body.as_ref().and_then(|body| body["requests"].as_array());
    let requests = requests.ok_or_else(|| Refusal::bad_request("Invalid batch payload format."))?;
    check(requests)?;
    let mut statuses: HashMap<String, u16> = HashMap::new();
    let mut responses = Vec::new();
    for request in requests {
        let id = id(request).unwrap_or_default();
        let before = request["dependsOn"].as_array().into_iter().flatten();
        let failed = before
            .filter_map(|id| id.as_str())
            .any(|id| statuses.get(&id.to_lowercase()).is_none_or(|status| *status >= 400));
        let response = if failed { dependency_failed(&id) } else { one(asked, &id, request) };
        let status = response["status"].as_u64().unwrap_or(500) as u16;
        statuses.insert(id.to_lowercase(), status);
        responses.push(response);
    }
    // Any order is allowed, so another one than asked is given.
    let middle = responses.len() / 2;
    responses.rotate_left(middle);
    Ok(Reply::json(json!({"responses": responses})))
}

fn id(request: &Value) -> Option<String> {
    match &request["id"] {
        Value::String(id) => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    }
}

fn check(requests: &[Value]) -> Result<(), Refusal> {
    if requests.is_empty() || requests.len() > MOST {
        let text = format!("Number of batch request steps exceeds the maximum value of {MOST}.");
        return Err(Refusal::bad_request(text));
    }
    let mut known = HashSet::new();
    for request in requests {
        let id = id(request).ok_or_else(|| Refusal::bad_request("Request id is missing."))?;
        if !known.insert(id.to_lowercase()) {
            return Err(Refusal::bad_request("Request ids must be unique."));
        }
        let line = request["method"].as_str().zip(request["url"].as_str());
        line.ok_or_else(|| Refusal::bad_request("Method and url are required."))?;
        let has_type = request["headers"].as_object().is_some_and(|headers| {
            headers.keys().any(|name| name.eq_ignore_ascii_case("content-type"))
        });
        if !request["body"].is_null() && !has_type {
            let text =
                format!("Write request id : {id} does not contain Content-Type header or body.");
            return Err(Refusal::bad_request(text));
        }
    }
    Ok(())
}

fn dependency_failed(id: &str) -> Value {
    json!({
        "id": id,
        "status": 424,
        "headers": {"Content-Type": "application/json"},
        "body": {"error": {"code": "FailedDependency", "message": "A request this one depends on has failed."}},
    })
}

/// One request, through the same door as any other; only the token is shared.
fn one(asked: &Asked<'_>, id: &str, request: &Value) -> Value {
    let outer = asked.call;
    let mut headers = HeaderMap::new();
    for (name, value) in request["headers"].as_object().into_iter().flatten() {
        let name = HeaderName::from_bytes(name.as_bytes());
        let value = value.as_str().map(HeaderValue::from_str);
        if let (Ok(name), Some(Ok(value))) = (name, value) {
            headers.insert(name, value);
        }
    }
    if let Some(token) = outer.headers.get(header::AUTHORIZATION) {
        headers.insert(header::AUTHORIZATION, token.clone());
    }
    let method = request["method"].as_str().unwrap_or_default().to_uppercase();
    let method = Method::from_bytes(method.as_bytes()).unwrap_or_default();
    let url = request["url"].as_str().unwrap_or_default().trim_start_matches('/');
    let body = Bytes::from(request["body"].to_string());
    let target = format!("/v1.0/{url}");
    let mut call = Call::new(Host::Graph, method, &target, headers, body, outer.roots.clone());
    call.batched = true;
    call.arrived = outer.arrived;
    let mut outcome = routes::answer(asked.world, &call);
    asked.world.write_down(&call, &outcome);
    routes::stamp(&call, &mut outcome.reply);
    enclosed(id, outcome.reply)
}

fn enclosed(id: &str, reply: Reply) -> Value {
    let mut headers = Map::new();
    for (name, value) in &reply.headers {
        let name: Vec<String> = name.as_str().split('-').map(capitalised).collect();
        headers.insert(name.join("-"), value.to_str().unwrap_or_default().into());
    }
    // A connection cannot be closed inside an envelope: the service's own words for it.
    let status = if reply.reset { 504 } else { reply.status.as_u16() };
    let body = match reply.body {
        Payload::Json(value) => value,
        Payload::Bytes(bytes) => STANDARD.encode(bytes).into(),
        Payload::Blob(blob, _) => STANDARD.encode(blob.bytes()).into(),
        Payload::Empty => Value::Null,
    };
    let mut response = json!({"id": id, "status": status, "headers": headers});
    if !body.is_null() {
        response["body"] = body;
    }
    response
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}
