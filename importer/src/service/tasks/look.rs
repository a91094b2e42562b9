//! A task as the service has it, and what of it must be as it was: to compare what was made with
//! what it was made of, two archives, and what is there now with what a restore left.

use std::sync::atomic::{AtomicBool, Ordering};

use graph::{ErrorKind, Json, Prefer};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::task::{Task, mark_of};
use crate::mailbox::Mailbox;
use crate::place::Loss;

/// What belongs to a task without being a property of it.
const PARTS: [&str; 3] = ["attachments", "checklistItems", "linkedResources"];

/// Looks at tasks, with what belongs to them: in the answer if the service puts it there, else
/// asked apart (FACTS 3.8).
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// The service refuses to put it there.
    apart: AtomicBool,
}

impl Looks {
    /// The task at `path`.
    pub(super) async fn task(&self, mailbox: &Mailbox, path: &str) -> Result<Json, graph::Error> {
        let expand = PARTS.join(",");
        let mut task = loop {
            let apart = self.apart.load(Ordering::Relaxed);
            let query = if apart { String::new() } else { format!("?$expand={expand}") };
            let path = format!("{path}{query}");
            match mailbox.graph.get(&mailbox.scope, &path, Prefer::none()).await {
                Err(error) if !apart && is_refusal(&error) => {
                    self.apart.store(true, Ordering::Relaxed);
                }
                task => break task?,
            }
        };
        for part in PARTS {
            if part == "attachments" && task.get("hasAttachments") == Some(&Value::Bool(false)) {
                task[part] = json!([]);
            }
            self.fill(mailbox, path, &mut task, part).await?;
        }
        Ok(task)
    }

    /// Tells `take` of each task of the list at `path`, with its links.
    pub(super) async fn all<E: From<graph::Error>>(
        &self,
        mailbox: &Mailbox,
        path: &str,
        mut take: impl FnMut(Json) -> Result<(), E> + Send,
    ) -> Result<(), E> {
        let apart = self.apart.load(Ordering::Relaxed);
        let query = if apart { "" } else { "?$expand=linkedResources" };
        let mut is_first = true;
        let list = |query: &str| {
            mailbox.graph.pages(mailbox.scope.clone(), &format!("{path}{query}"), Prefer::none())
        };
        let mut pages = list(query);
        loop {
            let page = match pages.next().await {
                Ok(Some(page)) => page,
                Ok(None) => return Ok(()),
                Err(error) if is_first && !apart && is_refusal(&error) => {
                    self.apart.store(true, Ordering::Relaxed);
                    is_first = false;
                    pages = list("");
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            is_first = false;
            // The page is given back first: what a task lacks is asked for as pages, too.
            let tasks: Result<Vec<Json>, _> = page.items.iter().map(|item| item.parse()).collect();
            drop(page);
            for mut task in tasks? {
                let at = format!("{path}/{}", graph::segment(&crate::mailbox::id(&task)));
                self.fill(mailbox, &at, &mut task, "linkedResources").await?;
                take(task)?;
            }
        }
    }

    /// Asks for a part that the answer does not have, or not to its end.
    async fn fill(
        &self,
        mailbox: &Mailbox,
        path: &str,
        task: &mut Json,
        part: &str,
    ) -> Result<(), graph::Error> {
        let is_cut = task.get(format!("{part}@odata.nextLink")).is_some();
        if task.get(part).is_some_and(Value::is_array) && !is_cut {
            return Ok(());
        }
        let path = format!("{path}/{part}");
        let mut pages = mailbox.graph.pages(mailbox.scope.clone(), &path, Prefer::none());
        let mut all = Vec::new();
        while let Some(page) = pages.next().await? {
            for item in &page.items {
                all.push(item.parse()?);
            }
        }
        task[part] = all.into();
        Ok(())
    }
}

fn is_refusal(error: &graph::Error) -> bool {
    matches!(error.kind(), ErrorKind::BadRequest | ErrorKind::Invalid | ErrorKind::Unsupported)
}

/// What a task says to people and programs, but for its attachments: without ids and marks, with
/// what the service fills in, its parts in an order of their own.
pub(super) fn said(task: &Value) -> Value {
    let text = |of: &Value, key: &str| {
        of.get(key).and_then(Value::as_str).unwrap_or_default().replace("\r\n", "\n")
    };
    let or = |key: &str, usual: Value| match task.get(key) {
        None | Some(Value::Null) => usual,
        Some(value) => value.clone(),
    };
    let parts = |part: &str| task.get(part).and_then(Value::as_array).into_iter().flatten();
    let body = task.get("body").cloned().unwrap_or_default();
    let content = text(&body, "content").trim().to_owned();
    let kind = if content.is_empty() { String::new() } else { text(&body, "contentType") };
    let steps = parts("checklistItems").map(|step| {
        let is_checked = step.get("isChecked") == Some(&Value::Bool(true));
        let second = step.get("checkedDateTime").and_then(Value::as_str);
        let second = second.filter(|_| is_checked).and_then(|text| text.get(..19));
        json!([text(step, "displayName").trim(), is_checked, second])
    });
    let links = parts("linkedResources").filter(|link| mark_of(link).is_none()).map(|link| {
        let keys = ["applicationName", "displayName", "externalId", "webUrl"];
        keys.map(|key| text(link, key).trim().to_owned()).to_vec().into()
    });
    json!({
        "title": text(task, "title").trim(),
        "body": [kind, content],
        "importance": or("importance", "normal".into()),
        "status": or("status", "notStarted".into()),
        "categories": sorted(or("categories", json!([])).as_array().into_iter().flatten().cloned()),
        "isReminderOn": or("isReminderOn", false.into()),
        "reminderDateTime": time(task, "reminderDateTime"),
        "startDateTime": time(task, "startDateTime"),
        "dueDateTime": time(task, "dueDateTime"),
        "completedDateTime": time(task, "completedDateTime"),
        "recurrence": recurrence(task.get("recurrence").unwrap_or(&Value::Null)),
        "checklistItems": sorted(steps),
        "linkedResources": sorted(links),
    })
}

fn sorted(values: impl Iterator<Item = Value>) -> Value {
    let mut all: Vec<_> = values.collect();
    all.sort_by_cached_key(Value::to_string);
    all.into()
}

/// To the second, with its zone.
fn time(task: &Value, key: &str) -> Value {
    let text = |member: &str| task.get(key)?.get(member)?.as_str();
    let second = text("dateTime").and_then(|time| time.get(..19));
    second.map_or(Value::Null, |second| json!([second, text("timeZone").unwrap_or("UTC")]))
}

/// A recurrence without what its type has no use for, which the service fills in.
fn recurrence(given: &Value) -> Value {
    let of = |part: &str, key: &str| given.get(part)?.get(key).filter(|value| !value.is_null());
    let kind = |part: &str| of(part, "type").and_then(Value::as_str);
    let (Some(pattern), Some(range)) = (kind("pattern"), kind("range")) else {
        return Value::Null;
    };
    let used: &[&str] = match pattern {
        "weekly" => &["daysOfWeek", "firstDayOfWeek"],
        "absoluteMonthly" => &["dayOfMonth"],
        "relativeMonthly" => &["daysOfWeek", "index"],
        "absoluteYearly" => &["dayOfMonth", "month"],
        "relativeYearly" => &["daysOfWeek", "index", "month"],
        _ => &[],
    };
    let bounds: &[&str] = match range {
        "endDate" => &["startDate", "endDate"],
        "numbered" => &["startDate", "numberOfOccurrences"],
        _ => &["startDate"],
    };
    let mut all = Map::new();
    for (part, keys) in [
        ("pattern", [&["type", "interval"], used].concat()),
        ("range", [&["type"], bounds].concat()),
    ] {
        for key in keys {
            let usual = match key {
                "firstDayOfWeek" => "sunday".into(),
                "index" => "first".into(),
                "interval" => 1.into(),
                _ => Value::Null,
            };
            let value = of(part, key).cloned().unwrap_or(usual);
            let value = match value.as_array() {
                Some(days) => sorted(days.iter().cloned()),
                None => value,
            };
            all.insert(format!("{part} {key}"), value);
        }
    }
    all.into()
}

/// The state of a task, by which an undo knows whether somebody changed it since.
pub(super) fn state(task: &Value) -> String {
    let mut said = said(task);
    said["attachments"] = sorted(attached(task).map(|(name, size)| json!([name, size])));
    archive::hex(&Sha256::digest(archive::json::canonical(&said)).into())
}

/// Names and sizes of the attachments of a task.
fn attached(task: &Value) -> impl Iterator<Item = (&str, u64)> {
    let all = task.get("attachments").and_then(Value::as_array).into_iter().flatten();
    all.map(|one| {
        let name = one.get("name").and_then(Value::as_str).unwrap_or_default();
        (name, one.get("size").and_then(Value::as_u64).unwrap_or(0))
    })
}

/// The properties of a task that are not as they were given and can be set again. One that recurs
/// is not completed twice: that makes the next one.
pub(super) fn corrections(task: &Task, made: &Value) -> Map<String, Value> {
    let (expected, is) = (expected(task), said(made));
    let recurs = !expected["recurrence"].is_null();
    let of_completion = ["status", "completedDateTime"];
    let given = task.body.as_object().into_iter().flatten();
    let differs = |key: &str| !is_alike(&expected[key], &is[key]);
    given
        .filter(|(key, _)| !(recurs && of_completion.contains(&key.as_str())) && key != &"body")
        .filter(|(key, _)| differs(key) || (*key == "status" && differs("completedDateTime")))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// What the service did not keep of a task; an error if that makes it another one.
pub(super) fn losses(task: &Task, made: &Value) -> Result<Vec<Loss>, String> {
    let (expected, is) = (expected(task), said(made));
    let differs = |key: &&str| !is_alike(&expected[*key], &is[*key]);
    if differs(&"title") {
        return Err("its title is another".into());
    }
    if !expected["body"][1].as_str().unwrap_or_default().is_empty() && is["body"][1] == "" {
        return Err("its body is empty".into());
    }
    let steps = |of: &Value| -> Vec<Value> {
        let steps = of["checklistItems"].as_array().into_iter().flatten();
        steps.map(|step| json!([step[0], step[1]])).collect()
    };
    if steps(&expected) != steps(&is) {
        return Err("its steps are not those of the archive".into());
    }
    let count = |of: &Value| of["linkedResources"].as_array().map_or(0, Vec::len);
    if count(&expected) != count(&is) {
        return Err("its links are not all there".into());
    }
    let mut losses = Vec::new();
    if attachments(task, made)? {
        losses.push(Loss::Name);
    }
    let checks: [(Loss, &[&str]); 5] = [
        (Loss::Body, &["body"]),
        (Loss::Flags, &["importance", "status", "categories", "isReminderOn"]),
        (
            Loss::Date,
            &[
                "reminderDateTime",
                "startDateTime",
                "dueDateTime",
                "completedDateTime",
                "checklistItems",
            ],
        ),
        (Loss::Recurrence, &["recurrence"]),
        (Loss::Link, &["linkedResources"]),
    ];
    let lost = checks.into_iter().filter(|(_, keys)| keys.iter().any(&differs));
    losses.extend(lost.map(|(loss, _)| loss));
    Ok(losses)
}

/// Whether attachments were renamed; an error if one is not there, or not whole.
fn attachments(task: &Task, made: &Value) -> Result<bool, String> {
    let mut given: Vec<_> = task.files.iter().map(|file| (file.name.as_str(), file.size)).collect();
    let mut is: Vec<_> = attached(made).collect();
    // What the service says of sizes may have something on top (FACTS 4.2).
    for all in [&mut given, &mut is] {
        all.sort_unstable_by_key(|(_, size)| *size);
    }
    if given.len() != is.len() || given.iter().zip(&is).any(|(given, is)| is.1 < given.1) {
        return Err("its attachments are not all there".into());
    }
    let names = |of: &[(&str, u64)]| {
        let mut names: Vec<String> = of.iter().map(|(name, _)| (*name).to_owned()).collect();
        names.sort_unstable();
        names
    };
    Ok(names(&given) != names(&is))
}

fn expected(task: &Task) -> Value {
    let mut whole = task.body.clone();
    whole["checklistItems"] = task.steps.clone().into();
    whole["linkedResources"] = task.links.clone().into();
    said(&whole)
}

/// Times in two zones can't be told apart here, and are not.
fn is_alike(one: &Value, other: &Value) -> bool {
    let zone = |time: &Value| time.get(1).and_then(Value::as_str).map(str::to_owned);
    let is_time = |time: &Value| time.as_array().is_some_and(|parts| parts.len() == 2);
    let other_zones = is_time(one) && is_time(other) && zone(one) != zone(other);
    one == other || (other_zones && is_clock(one) && is_clock(other))
}

fn is_clock(time: &Value) -> bool {
    time[0].as_str().is_some_and(|text| text.len() == 19 && text.as_bytes()[10] == b'T')
}
