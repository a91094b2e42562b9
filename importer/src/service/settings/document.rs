//! Brings a part to what the archive says, and back.
//!
//! What was there and what is put there stand in the journal before the first request that changes
//! something, so an undo finds both however the run ended.

use graph::ErrorKind;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::part::{Part, Values};
use super::place::SettingsPlace;
use crate::error::Error;
use crate::item::Item;
use crate::place::{How, Loss, Made, Restored, Undone};

/// What was changed, by the same keys.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Change {
    was: Values,
    is: Values,
}

impl Change {
    /// Of the same part, made by a run that died: what was before it is what was.
    fn after(&mut self, earlier: Self) {
        self.was.extend(earlier.was);
        for (key, value) in earlier.is {
            self.is.entry(key).or_insert(value);
        }
    }

    fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl SettingsPlace {
    /// Brings a part to what the archive says.
    pub(super) async fn put_part(&self, item: &Item, part: Part) -> Result<Restored, Error> {
        let failed = |source| Error::Graph { doing: format!("restoring {}", item.path), source };
        if part == Part::Profile {
            return Ok(present(item, vec![Loss::Profile]));
        }
        let mut losses = Vec::new();
        let mut wanted = part.wanted(item)?;
        if let Some(replies) = wanted.get_mut("automaticRepliesSetting") {
            losses.extend(self.silenced(replies));
        }
        let live = part.read(&self.mailbox).await.map_err(failed)?;
        let mut change = Change::default();
        for (key, value) in wanted {
            let before = live.get(&key).cloned().unwrap_or_default();
            if part.is_same(&before, &value) {
                continue;
            }
            if self.beside && !(before.is_null() && part.adds_beside()) {
                // What is off there anyway is not off because of us.
                losses = vec![Loss::InPlaceOnly];
                continue;
            }
            change.was.insert(key.clone(), before);
            change.is.insert(key, value);
        }
        if change.is.is_empty() {
            return Ok(present(item, losses));
        }
        let (_, earlier) = self.journal.under_way(&self.section, &item.path)?;
        let mut whole = Change { was: change.was.clone(), is: change.is.clone() };
        if let Some(earlier) = earlier.and_then(|text| serde_json::from_str(&text).ok()) {
            whole.after(earlier);
        }
        self.journal.replaces(&self.section, &item.path, &whole.text())?;
        self.journal.spot(&self.section, &item.path, &item.line.id)?;
        let after = self.bring(part, &change.is, &live).await.map_err(failed)?;
        for (key, value) in &change.is {
            let now = after.get(key).cloned().unwrap_or_default();
            if !part.is_same(&now, value) {
                losses.push(match part {
                    Part::Photo => Loss::Photo,
                    _ if is_reworded(&now, value) => Loss::Body,
                    _ => Loss::Setting,
                });
            }
            // The service's own way to write it: by that an undo knows it.
            whole.is.insert(key.clone(), now);
        }
        losses.sort_unstable();
        losses.dedup();
        let (id, etag) = (whole.text(), None);
        Ok(match whole.was.values().all(Value::is_null) {
            true => Restored { how: How::Created, id, etag, losses },
            false => {
                let how = How::Replaced { old: id };
                Restored { how, id: item.line.id.clone(), etag, losses }
            }
        })
    }

    /// Automatic replies that were on are off, so that nobody gets an answer by surprise.
    fn silenced(&self, replies: &mut Value) -> Option<Loss> {
        let is_on = replies["status"].as_str().is_some_and(|s| !s.eq_ignore_ascii_case("disabled"));
        if !is_on || self.enable_replies {
            return None;
        }
        replies["status"] = "disabled".into();
        Some(Loss::Disabled)
    }

    /// Sets values one by one: what the service refuses leaves the others alone, and one may undo
    /// another, as a language does with the formats of dates. What it has then.
    async fn bring(
        &self,
        part: Part,
        values: &Values,
        before: &Values,
    ) -> Result<Values, graph::Error> {
        let mut live = before.clone();
        for _ in 0..2 {
            let mut is_so = true;
            for (key, value) in values {
                let now = live.get(key).unwrap_or(&Value::Null);
                if part.is_same(now, value) {
                    continue;
                }
                is_so = false;
                match part.set(&self.mailbox, key, value, now).await {
                    Err(error) if !is_of_the_value(&error) => return Err(error),
                    _ => {}
                }
            }
            if is_so {
                break;
            }
            live = part.read(&self.mailbox).await?;
        }
        Ok(live)
    }

    /// Brings back what was there before, where nobody has set something else since.
    pub(super) async fn undo_part(&self, made: &Made, part: Part) -> Result<Undone, graph::Error> {
        let text = made.old.as_ref().or(made.id.as_ref());
        let change = text.and_then(|text| serde_json::from_str(text).ok());
        let Some(Change { was, is }) = change else { return Ok(Undone::Removed) };
        let live = part.read(&self.mailbox).await?;
        let mut undone = Undone::Removed;
        for (key, was) in was {
            let now = live.get(&key).cloned().unwrap_or_default();
            let ours = is.get(&key).cloned().unwrap_or_default();
            if part.is_same(&now, &was) {
                continue;
            }
            match part.is_same(&now, &ours) {
                true => part.set(&self.mailbox, &key, &was, &now).await?,
                false => undone = Undone::Kept,
            }
        }
        Ok(undone)
    }
}

fn present(item: &Item, losses: Vec<Loss>) -> Restored {
    Restored { how: How::Present, id: item.line.id.clone(), etag: None, losses }
}

/// The service does not accept the value; another one it may.
fn is_of_the_value(error: &graph::Error) -> bool {
    matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Conflict | ErrorKind::TooLarge)
}

/// Whether two automatic replies differ in their texts only: the service cleans HTML.
fn is_reworded(one: &Value, other: &Value) -> bool {
    let without_text = |replies: &Value| {
        let mut replies = super::part::comparable(replies);
        let texts = ["internalReplyMessage", "externalReplyMessage"];
        texts.iter().for_each(|key| super::remove(&mut replies, key));
        replies
    };
    one.get("internalReplyMessage").is_some() && without_text(one) == without_text(other)
}
