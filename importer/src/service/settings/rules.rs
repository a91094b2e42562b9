//! Inbox rules. A rule carries no mark: it is known by its name and by what it does.

use std::collections::BTreeSet;

use graph::{Prefer, segment};
use serde_json::{Map, Value, json};

use super::part::rows;
use super::place::SettingsPlace;
use crate::error::Error;
use crate::item::Item;
use crate::mailbox::{Mailbox, id};
use crate::options::OnConflict;
use crate::place::{How, Loss, Made, Restored, Undone};
use crate::section::Folder;

/// What the service takes of a rule (FACTS 8.2); the rest it finds out by itself.
const SETTABLE: [&str; 6] =
    ["displayName", "sequence", "isEnabled", "conditions", "exceptions", "actions"];
/// By which a rule is the same.
const IDENTITY: [&str; 4] = ["displayName", "conditions", "exceptions", "actions"];
/// The actions that name a folder.
const FOLDER_ACTIONS: [&str; 2] = ["moveToFolder", "copyToFolder"];

impl SettingsPlace {
    fn rules(&self) -> String {
        format!("{}/mailFolders/inbox/messageRules", self.mailbox.root)
    }

    fn rule(&self, id: &str) -> String {
        format!("{}/{}", self.rules(), segment(id))
    }

    /// Sees to it that the rule is there.
    pub(super) async fn put_rule(&self, item: &Item) -> Result<Restored, Error> {
        let failed = |source| Error::Graph { doing: format!("restoring {}", item.path), source };
        let mut losses = Vec::new();
        let body = self.body(&item.line.graph, &mut losses).await?;
        // Held until the end: the next one is not to find what this one is about to make.
        let mut taken = self.taken.lock().await;
        let live = rows(&self.mailbox, &self.rules()).await.map_err(failed)?;
        let free: Vec<_> = live.iter().filter(|rule| !taken.contains(&id(rule))).collect();
        if let Some(same) = free.iter().find(|rule| identity(rule) == identity(&body)) {
            taken.insert(id(same));
            let etag = Some(state(same));
            return Ok(Restored { how: How::Present, id: id(same), etag, losses: Vec::new() });
        }
        // Of another run that changed something since nobody knows: it is another rule.
        let namesake =
            free.into_iter().find(|rule| rule.get("displayName") == body.get("displayName"));
        let (how, made) = match (namesake, self.on_conflict) {
            (Some(_), OnConflict::Skip) if !self.beside => {
                let what = "another rule with this name is there; --on-conflict copy or replace \
                            tells what to do";
                return Err(Error::Item { cause: "exists", what: what.to_owned() });
            }
            (Some(old), OnConflict::Replace) if !self.beside => {
                let former = settable(old).to_string();
                self.journal.replaces(&self.section, &item.path, &former)?;
                self.journal.spot(&self.section, &item.path, &id(old))?;
                let Mailbox { graph, scope, .. } = &self.mailbox;
                let change = whole(body.clone(), old);
                graph.patch(scope, &self.rule(&id(old)), &change, None).await.map_err(failed)?;
                (How::Replaced { old: former }, id(old))
            }
            _ => {
                self.journal.spot(&self.section, &item.path, &state(&body))?;
                let made = self.create(&body, &live).await.map_err(failed)?;
                (How::Created, made)
            }
        };
        taken.insert(made.clone());
        let Mailbox { graph, scope, .. } = &self.mailbox;
        let now = graph.get(scope, &self.rule(&made), Prefer::none()).await.map_err(failed)?;
        if state(&now) != state(&body) {
            losses.push(Loss::Setting);
        }
        losses.sort_unstable();
        losses.dedup();
        Ok(Restored { how, id: made, etag: Some(state(&now)), losses })
    }

    /// Makes the rule; its id. What is there already is not it.
    async fn create(&self, body: &Value, there: &[Value]) -> Result<String, graph::Error> {
        let known: Vec<_> = there.iter().map(id).collect();
        let found = || async {
            let live = rows(&self.mailbox, &self.rules()).await?;
            let is_it =
                |rule: &Value| !known.contains(&id(rule)) && identity(rule) == identity(body);
            Ok(live.into_iter().find(is_it))
        };
        let Mailbox { graph, scope, .. } = &self.mailbox;
        graph.create(scope, &self.rules(), body, found).await.map(|made| id(&made))
    }

    /// The rule as it is to be made: off unless asked for, with the folders of this mailbox.
    async fn body(&self, rule: &Value, losses: &mut Vec<Loss>) -> Result<Value, Error> {
        let mut body = settable(rule);
        let is_on = rule.get("isEnabled").and_then(Value::as_bool).unwrap_or(true);
        losses.extend((is_on && !self.enable_rules).then_some(Loss::Disabled));
        body["isEnabled"] = (is_on && self.enable_rules).into();
        for action in FOLDER_ACTIONS {
            let Some(named) = rule.pointer(&format!("/actions/{action}")).and_then(Value::as_str)
            else {
                continue;
            };
            let way = rule.get("folders").and_then(|folders| folders.get(named));
            body["actions"][action] = self.folder_of(named, way).await?.into();
        }
        Ok(body)
    }

    /// The folder of this mailbox that the rule means: by its id at home, else by its names. In
    /// place it is made if it is not there, for mail may be on its way into it.
    async fn folder_of(&self, named: &str, way: Option<&Value>) -> Result<String, Error> {
        let failed = |source| Error::Graph { doing: "looking for a rule's folder".into(), source };
        if self.is_home {
            let path = format!("{}/mailFolders/{}?$select=id", self.mailbox.root, segment(named));
            match self.mailbox.look(&path).await {
                Ok(Some(_)) => return Ok(named.to_owned()),
                // An id that is none may be answered with 400.
                Err(error) if error.status() != Some(400) => return Err(failed(error)),
                _ => {}
            }
        }
        let trail: Vec<_> = way.and_then(Value::as_array).into_iter().flatten().map(step).collect();
        if !self.beside && !trail.is_empty() && !self.folders.is_aside(&trail) {
            return self.folders.at(&trail).await.map(|folder| folder.id.clone());
        }
        if let Some(found) = self.find(&trail).await.map_err(failed)? {
            return Ok(found);
        }
        let names: Vec<_> = trail.iter().map(|folder| folder.name.as_str()).collect();
        let what = match names.as_slice() {
            [] => "the archive does not say which folder the rule puts mail into".to_owned(),
            names => format!("the folder {:?} of the rule is not there", names.join("/")),
        };
        Err(Error::Item { cause: "folder", what })
    }

    /// The folder at the end of `trail`, if it is there.
    async fn find(&self, trail: &[Folder]) -> Result<Option<String>, graph::Error> {
        let all = format!("{}/mailFolders", self.mailbox.root);
        let mut at = None;
        for folder in trail {
            if let Some(name) = &folder.well_known
                && let Some(found) =
                    self.mailbox.look(&format!("{all}/{}?$select=id", segment(name))).await?
            {
                at = Some(id(&found));
                continue;
            }
            let parent = at.take().unwrap_or_else(|| "msgfolderroot".to_owned());
            let quoted = folder.name.replace('\'', "''");
            let filter = segment(&format!("displayName eq '{quoted}'")).to_string();
            let path = format!(
                "{all}/{}/childFolders?includeHiddenFolders=true&$select=id,displayName\
                 &$filter={filter}",
                segment(&parent)
            );
            at = rows(&self.mailbox, &path).await?.first().map(id);
            if at.is_none() {
                return Ok(None);
            }
        }
        Ok(at)
    }

    /// Takes a rule away that was made, or gives it back what it was, unless somebody changed it.
    /// One that was begun is not one of the `others` that the journal knows.
    pub(super) async fn undo_rule(
        &self,
        made: &Made,
        others: &BTreeSet<String>,
    ) -> Result<Undone, graph::Error> {
        let Mailbox { graph, scope, .. } = &self.mailbox;
        let found = match (&made.id, &made.old, &made.spot) {
            (Some(id), ..) => self.mailbox.look(&self.rule(id)).await?,
            (None, Some(_), Some(id)) => self.mailbox.look(&self.rule(id)).await?,
            // It was begun, and may be there.
            (None, None, Some(made)) => {
                let live = rows(&self.mailbox, &self.rules()).await?;
                live.into_iter().find(|rule| !others.contains(&id(rule)) && state(rule) == *made)
            }
            _ => None,
        };
        let Some(found) = found else { return Ok(Undone::Removed) };
        if made.etag.as_ref().is_some_and(|made| state(&found) != *made) {
            return Ok(Undone::Kept);
        }
        let path = self.rule(&id(&found));
        match made.old.as_deref().and_then(|old| serde_json::from_str::<Value>(old).ok()) {
            Some(old) => graph.patch(scope, &path, &whole(old, &found), None).await.map(drop)?,
            None => self.mailbox.delete(&path).await?,
        }
        Ok(Undone::Removed)
    }
}

fn step(of: &Value) -> Folder {
    let text = |key: &str| of.get(key).and_then(Value::as_str).map(str::to_owned);
    let name = text("displayName").unwrap_or_default();
    Folder {
        id: String::new(),
        path: name.clone(),
        name,
        well_known: text("wellKnownName"),
        graph: Value::Null,
    }
}

/// What can be set of it.
fn settable(rule: &Value) -> Value {
    let told = SETTABLE.iter().filter_map(|key| {
        let value = rule.get(*key).filter(|value| !value.is_null())?;
        Some(((*key).to_owned(), plain(value)))
    });
    Value::Object(told.collect())
}

/// Also takes away what `live` has and the rule does not.
fn whole(mut rule: Value, live: &Value) -> Value {
    for key in ["conditions", "exceptions"] {
        let is_told = |of: &Value| of.get(key).is_some_and(|value| !value.is_null());
        if is_told(live) && !is_told(&rule) {
            rule[key] = Value::Null;
        }
    }
    rule
}

/// Without nulls and annotations.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let told = members.iter().filter(|(key, value)| !value.is_null() && !key.contains('@'));
            Value::Object(told.map(|(key, value)| (key.clone(), plain(value))).collect())
        }
        Value::Array(values) => values.iter().map(plain).collect(),
        other => other.clone(),
    }
}

/// What a rule is known by. Who somebody is says his address, whatever name goes with it; what is
/// false or empty says nothing.
fn identity(rule: &Value) -> Value {
    let told = IDENTITY.iter().filter_map(|key| {
        let value = bare(rule.get(*key)?)?;
        Some(((*key).to_owned(), value))
    });
    Value::Object(told.collect::<Map<_, _>>())
}

fn bare(value: &Value) -> Option<Value> {
    match value {
        Value::Null | Value::Bool(false) => None,
        Value::Object(members) => {
            if let Some(address) = members.get("address").and_then(Value::as_str) {
                return Some(address.to_lowercase().into());
            }
            let told = members.iter().filter(|(key, _)| !key.contains('@'));
            let told = told.filter_map(|(key, value)| Some((key.clone(), bare(value)?)));
            let told: Map<_, _> = told.collect();
            (!told.is_empty()).then(|| told.into())
        }
        Value::Array(values) => {
            let told: Vec<_> = values.iter().filter_map(bare).collect();
            (!told.is_empty()).then(|| told.into())
        }
        other => Some(other.clone()),
    }
}

/// All of it that somebody may change.
fn state(rule: &Value) -> String {
    let mut state = identity(rule);
    for key in ["sequence", "isEnabled"] {
        state[key] = rule.get(key).cloned().unwrap_or_default();
    }
    archive::json::canonical(&state)
}

/// What is compared of a rule in two archives: folders are what they are called.
pub(super) fn comparable(rule: &Value) -> Value {
    let mut all = plain(rule);
    let folders = rule.get("folders").cloned().unwrap_or_default();
    for action in FOLDER_ACTIONS {
        let pointer = format!("/actions/{action}");
        let Some(named) = all.pointer_mut(&pointer) else { continue };
        let way = named.as_str().and_then(|id| folders.get(id)).and_then(Value::as_array);
        let names = way.into_iter().flatten().map(|step| {
            step.get("wellKnownName")
                .or_else(|| step.get("displayName"))
                .cloned()
                .unwrap_or_default()
        });
        *named = json!(names.collect::<Vec<_>>());
    }
    for key in ["id", "folders", "parentFolderId", "hasError", "isReadOnly"] {
        super::remove(&mut all, key);
    }
    all
}
