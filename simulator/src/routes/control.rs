//! The control API: what tests in another process do instead of calling [`Tenant`](crate::Tenant).
//!
//! Bodies and replies are JSON; a failure is 400 with `{"error": TEXT}`. Names are as in `Tenant`.
//!
//! ```text
//! GET  /_sim                  addresses, tenant, client, secret
//! GET  /_sim/users            every user: id, upn, displayName, kind, drive
//! GET  /_sim/folders?user=U   id, path, wellKnown, hidden, search, total
//! GET  /_sim/messages?user=U[&skip=N][&top=N]   id, folder, subject, received, sent, isRead, ...,
//!                             size, sha256
//! GET  /_sim/files?drive=D    id, path, size, etag, malware, sha256 (drive: id or user)
//! GET  /_sim/log[?since=SEQ]  {"requests": [...]}
//! GET  /_sim/counts           totals, see `Counts`
//! GET  /_sim/items?user=U     events, contacts and tasks: id, kind, folder, properties, ...
//! GET  /_sim/mailed           what would have been sent: user, action, message, body
//! GET  /_sim/faults           the faults in force
//! POST /_sim/faults           ["NAME:key=value", ...] puts others in force
//! GET  /_sim/limits           what the limits are multiplied by, see `Factors`
//! POST /_sim/limits           {"sharepoint": 0.5, ...} changes those named, from now on
//! POST /_sim/clear_log
//! POST /_sim/set_read         {"user", "message", "read"}
//! POST /_sim/set_flag         {"user", "message", "flagged"}
//! POST /_sim/set_categories   {"user", "message", "categories": [...]}
//! POST /_sim/delete_message   {"user", "message"}
//! POST /_sim/move_message     {"user", "message", "folder"}
//! POST /_sim/delete_item      {"user", "item"}: an event, occurrence, contact or task
//! POST /_sim/change_item      {"user", "item", "properties": {...}}
//! POST /_sim/add_message      {"user", "folder", "eml" or "base64"} -> {"id"}
//! POST /_sim/add_folder       {"user", "parent", "name"} -> {"id"}
//! POST /_sim/delete_folder    {"user", "folder"}
//! POST /_sim/rename_folder    {"user", "folder", "name"}
//! POST /_sim/rename_user      {"user", "upn"}
//! POST /_sim/put_file         {"drive", "path", "text" or "base64"} -> {"id"}
//! POST /_sim/delete_file      {"drive", "path"}
//! POST /_sim/rename_file      {"drive", "path", "name"}
//! POST /_sim/move_file        {"drive", "path", "folder"}
//! POST /_sim/touch            {"drive", "path"}
//! POST /_sim/set_quota        {"drive", "bytes"}
//! POST /_sim/set_mailbox_quota {"user", "bytes" or null}
//! ```

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};

use crate::Error;
use crate::call::Call;
use crate::faults::Fault;
use crate::reply::Reply;
use crate::server::World;

pub(crate) fn answer(world: &World, call: &Call) -> Reply {
    let segments: Vec<&str> = call.segments.iter().skip(1).map(String::as_str).collect();
    let result = match (&call.method, segments.as_slice()) {
        (&Method::GET, segments) => look(world, call, segments),
        (&Method::POST, [action]) => {
            let body = call.json().unwrap_or(Value::Null);
            act(world, action, &Body(body))
        }
        _ => Err(unknown("request", call.path.as_str())),
    };
    match result {
        Ok(body) => Reply::json_status(200, body),
        Err(error) => Reply::json_status(400, json!({"error": error.to_string()})),
    }
}

fn unknown(what: &'static str, name: &str) -> Error {
    Error::unknown(what, name)
}

fn look(world: &World, call: &Call, segments: &[&str]) -> Result<Value, Error> {
    let named = |name: &'static str| call.option(name).ok_or(unknown("option", name));
    let tenant = &world.tenant;
    let value = match segments {
        [] => {
            let credentials = &world.authority.credentials;
            json!({
                "graphUrl": call.roots.graph,
                "loginUrl": call.roots.login,
                "imdsUrl": call.roots.graph,
                "downloadUrl": call.roots.download,
                "tenantId": credentials.tenant_id,
                "clientId": credentials.client_id,
                "clientSecret": credentials.client_secret,
            })
        }
        ["users"] => json!(tenant.users()),
        ["folders"] => json!(tenant.folders(named("user")?)?),
        ["messages"] => {
            let all = tenant.messages(named("user")?)?;
            let skip = call.number("skip").unwrap_or(0);
            let shown = all.iter().skip(skip).take(call.number("top").unwrap_or(1000));
            let view = |mail: &crate::MailInfo| {
                let mime = mail.mime();
                json!({"id": mail.id, "folder": mail.folder, "subject": mail.subject, "received": mail.received, "sent": mail.sent, "isRead": mail.is_read, "isDraft": mail.is_draft, "flag": mail.flag, "categories": mail.categories, "class": mail.class, "changeKey": mail.change_key, "size": mime.len(), "sha256": mail.sha256()})
            };
            shown.map(view).collect::<Vec<_>>().into()
        }
        ["files"] => {
            let view = |file: crate::FileInfo| json!({"id": file.id, "path": file.path, "size": file.size, "etag": file.etag, "malware": file.malware, "sha256": file.sha256()});
            tenant.files(named("drive")?)?.into_iter().map(view).collect::<Vec<_>>().into()
        }
        ["log"] => {
            let since = call.number("since").unwrap_or(0) as u64;
            let mut requests = world.log.records();
            requests.retain(|record| record.seq > since);
            json!({"requests": requests})
        }
        ["counts"] => json!(world.log.counts()),
        ["items"] => json!(tenant.items(named("user")?)?),
        ["mailed"] => json!(tenant.mailed()),
        ["faults"] => json!(world.faults.texts()),
        ["limits"] => json!(world.throttle.factors()),
        _ => return Err(unknown("request", call.path.as_str())),
    };
    Ok(value)
}

struct Body(Value);

impl Body {
    fn text(&self, name: &'static str) -> Result<&str, Error> {
        self.0[name].as_str().ok_or(unknown("field", name))
    }

    fn flag(&self, name: &'static str) -> Result<bool, Error> {
        self.0[name].as_bool().ok_or(unknown("field", name))
    }

    fn bytes(&self, text: &'static str) -> Result<Vec<u8>, Error> {
        if let Some(encoded) = self.0["base64"].as_str() {
            return STANDARD.decode(encoded).map_err(|e| Error::Setting(e.to_string()));
        }
        self.text(text).map(|text| text.as_bytes().to_vec())
    }

    fn texts(&self) -> Result<Vec<String>, Error> {
        serde_json::from_value(self.0.clone()).map_err(|e| Error::Setting(e.to_string()))
    }
}

fn act(world: &World, action: &str, body: &Body) -> Result<Value, Error> {
    let tenant = &world.tenant;
    let text = |name| body.text(name);
    let made = |id: String| json!({"id": id});
    match action {
        "add_message" => {
            let eml = body.bytes("eml")?;
            return tenant.add_message(text("user")?, text("folder")?, &eml).map(made);
        }
        "add_folder" => {
            return tenant.add_folder(text("user")?, text("parent")?, text("name")?).map(made);
        }
        "put_file" => {
            let bytes = body.bytes("text")?;
            return tenant.put_file(text("drive")?, text("path")?, &bytes).map(made);
        }
        "set_read" => tenant.set_read(text("user")?, text("message")?, body.flag("read")?),
        "set_flag" => tenant.set_flag(text("user")?, text("message")?, body.flag("flagged")?),
        "set_categories" => {
            let categories = Body(body.0["categories"].clone()).texts()?;
            tenant.set_categories(text("user")?, text("message")?, categories)
        }
        "delete_message" => tenant.delete_message(text("user")?, text("message")?),
        "move_message" => tenant.move_message(text("user")?, text("message")?, text("folder")?),
        "delete_item" => tenant.delete_item(text("user")?, text("item")?),
        "change_item" => {
            tenant.change_item(text("user")?, text("item")?, body.0["properties"].clone())
        }
        "rename_folder" => tenant.rename_folder(text("user")?, text("folder")?, text("name")?),
        "delete_folder" => tenant.delete_folder(text("user")?, text("folder")?),
        "rename_user" => tenant.rename_user(text("user")?, text("upn")?),
        "delete_file" => tenant.delete_file(text("drive")?, text("path")?),
        "rename_file" => tenant.rename_file(text("drive")?, text("path")?, text("name")?),
        "move_file" => tenant.move_file(text("drive")?, text("path")?, text("folder")?),
        "touch" => tenant.touch(text("drive")?, text("path")?),
        "set_mailbox_quota" => tenant.set_mailbox_quota(text("user")?, body.0["bytes"].as_u64()),
        "set_quota" => {
            let bytes = body.0["bytes"].as_u64().ok_or(unknown("field", "bytes"))?;
            tenant.set_quota(text("drive")?, bytes)
        }
        "faults" => {
            let faults = body.texts()?.into_iter().map(|text| text.parse::<Fault>());
            world.faults.replace(faults.collect::<Result<_, _>>()?);
            Ok(())
        }
        "limits" => {
            let mut factors = json!(world.throttle.factors());
            for (name, factor) in body.0.as_object().into_iter().flatten() {
                factors[name] = factor.clone();
            }
            let factors = serde_json::from_value(factors);
            world.throttle.set_factors(factors.map_err(|e| Error::Setting(e.to_string()))?)
        }
        "clear_log" => {
            world.log.clear();
            Ok(())
        }
        other => Err(unknown("action", other)),
    }?;
    Ok(json!({}))
}
