//! Generated tasks.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::blob::Blob;
use crate::compose::object;
use crate::mail::{Attached, Attachment};
use crate::seed::outlook::{CATEGORIES, Source};
use crate::seed::words;
use crate::shelf::{Kind, Number, Shelf};
use crate::todo;

/// Streams of numbers.
const SORT: u64 = 80;

/// The lists and tasks of a mailbox; the first list is the default one.
pub(crate) fn fill(shelf: &Shelf, source: &Source) {
    let name = ["Aufgaben", "Tasks", "タスク"][source.language % 3];
    let default = list(shelf, source, name, "defaultList", true);
    let flagged =
        ["Gekennzeichnete E-Mails", "Flagged Emails", "フラグ付きメール"][source.language % 3];
    list(shelf, source, flagged, "flaggedEmails", true);
    if !source.lived_in {
        return;
    }
    let shopping = list(shelf, source, "Einkauf 🛒", "none", true);
    list(shelf, source, "Leer", "none", true);
    list(shelf, source, "Von Ben geteilt", "none", false);
    for number in 0..source.tasks {
        let at = if number % 4 == 3 { shopping } else { default };
        let task =
            todo::created(object(task(source, number))).expect("generated tasks are accepted");
        let when = source.made(SORT, number);
        let id = shelf.put(Kind::Task, Some(at), task, when);
        if number.is_multiple_of(4) {
            belongings(shelf, source, id, number);
        }
    }
}

fn list(shelf: &Shelf, source: &Source, name: &str, known: &str, owner: bool) -> Number {
    let list = json!({"displayName": name, "isOwner": owner, "isShared": !owner, "wellknownListName": known});
    shelf.put(Kind::TaskList, None, object(list), source.made(SORT, 0))
}

fn task(source: &Source, number: u64) -> Value {
    let mut dice = source.dice(SORT + 1, number);
    let title = format!("{} {}", words::topic(&mut dice), number + 1);
    let time =
        |day: &str, zone: &str| json!({"dateTime": format!("{day}.0000000"), "timeZone": zone});
    match number % 8 {
        0 => json!({
            "title": title, "importance": "high", "categories": [CATEGORIES[0].0],
            "body": {"contentType": "html", "content": "<html><body><p>Bitte <b>bald</b> – 至急</p></body></html>"},
            "dueDateTime": time("2026-03-30T00:00:00", "W. Europe Standard Time"),
            "startDateTime": time("2026-03-28T00:00:00", "W. Europe Standard Time"),
            "isReminderOn": true, "reminderDateTime": time("2026-03-29T09:00:00", "W. Europe Standard Time"),
        }),
        1 => json!({
            "title": title, "dueDateTime": time("2026-01-31T00:00:00", "UTC"),
            "recurrence": {"pattern": {"type": "absoluteMonthly", "interval": 1, "dayOfMonth": 31}, "range": {"type": "noEnd", "startDate": "2026-01-31"}},
        }),
        2 => {
            json!({"title": title, "status": "completed", "completedDateTime": time("2025-06-02T00:00:00", "UTC")})
        }
        3 => json!({"title": "Milch; Eier, Brot\\Käse 🥚"}),
        4 => json!({
            "title": title, "status": "inProgress", "dueDateTime": time("2026-02-02T00:00:00", "Tokyo Standard Time"),
            "recurrence": {"pattern": {"type": "weekly", "interval": 2, "daysOfWeek": ["monday", "friday"], "firstDayOfWeek": "monday"}, "range": {"type": "numbered", "startDate": "2026-02-02", "numberOfOccurrences": 8}},
        }),
        5 => {
            json!({"title": title, "status": "waitingOnOthers", "importance": "low", "body": {"contentType": "text", "content": "Zeile eins\r\nZeile zwei"}})
        }
        6 => {
            json!({"title": title, "status": "deferred", "startDateTime": time("2026-10-25T00:00:00", "UTC")})
        }
        _ => json!({"title": title, "categories": [CATEGORIES[1].0, CATEGORIES[3].0]}),
    }
}

/// Steps, links and a file.
fn belongings(shelf: &Shelf, source: &Source, task: Number, number: u64) {
    let when = source.made(SORT + 2, number);
    for (name, done) in [("Erstens", true), ("Zweitens: „größer“", false)] {
        let mut item = object(json!({"displayName": name, "isChecked": done}));
        if done {
            item.insert("checkedDateTime".into(), crate::calendar::stamp(when));
        }
        shelf.put(Kind::ChecklistItem, Some(task), item, when);
    }
    let link = json!({"applicationName": "Fabrikam", "displayName": "Vorgang 17", "externalId": format!("f-{number}"), "webUrl": "https://fabrikam.example/17?x=1"});
    shelf.put(Kind::LinkedResource, Some(task), object(link), when);
    let text = words::prose(&mut source.dice(SORT + 3, number), 700);
    let file = Attachment {
        name: "Notiz Größe.txt".into(),
        content_type: "text/plain".into(),
        content_id: None,
        inline: false,
        what: Attached::File(Blob::Stored(Bytes::from(text))),
    };
    shelf.change(task.into(), when, |thing| thing.attachments.push(file));
}
