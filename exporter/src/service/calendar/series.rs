//! What became of the occurrences of a series: exceptions, whole events each, and those that were
//! cancelled. Lists do not tell; each series is asked about (FACTS 3.5).

use std::collections::BTreeSet;

use chrono::{DateTime, Duration, NaiveDate, Utc};
use convert::event::Occurrences;
use graph::{ErrorKind, segment};
use serde_json::{Map, Value, json};

use super::listing::{Mailbox, of_event, plain};
use super::{preferences, scope};
use crate::Error;
use crate::error::{is_fatal, is_gone};
use crate::service::time;

/// Keys that are not the list's: what became of occurrences, and the tag of it all.
const OCCURRENCES: [&str; 3] = [EXCEPTIONS, CANCELLED, TAG];
pub(super) const EXCEPTIONS: &str = "exceptionOccurrences";
pub(super) const CANCELLED: &str = "cancelledOccurrences";
/// The tag of a series: it changes with each of its exceptions, which its change key need not.
pub(super) const TAG: &str = "cTag";

/// What of an instance tells which it is.
const INSTANCE: &str = "$select=id,type,start,originalStart";
/// Instances of a page.
const PAGE: u32 = 1000;
/// The longest window (FACTS 3.5: the service's own message says so).
const MOST_DAYS: i64 = 1825;
/// How far ahead of its last change exceptions of a series without an end are looked for, where
/// only instances tell.
const DAYS_AHEAD: i64 = 2 * MOST_DAYS;

/// What became of asking what became of the occurrences of a series.
pub(super) enum Occurring {
    Told,
    /// The series is gone itself.
    Gone,
    Unread(graph::Error),
}

/// Exceptions and cancelled occurrences of a series, or why it did not tell.
type Asked = Result<(Vec<Value>, Vec<Value>), graph::Error>;

/// A series as the list told it.
pub(super) fn without_occurrences(series: &Value) -> Map<String, Value> {
    let mut graph = series.as_object().cloned().unwrap_or_default();
    graph.retain(|key, _| !OCCURRENCES.contains(&key.as_str()));
    graph
}

/// Whether what is `known` of a series is what the list told now, with its occurrences.
pub(super) fn is_told(known: &Value, told: &Map<String, Value>) -> bool {
    known.get(TAG).is_some() && without_occurrences(known) == *told
}

/// An event without its texts.
pub(super) fn brief(event: &Value) -> Value {
    let mut graph = without_occurrences(event);
    graph.remove("body");
    graph.into()
}

impl Mailbox<'_> {
    /// The series with its exceptions, its cancelled occurrences and their tag; as it was listed
    /// where these can't be had.
    pub(super) async fn with_occurrences(
        &self,
        series: Map<String, Value>,
    ) -> Result<(Value, Occurring), Error> {
        let asked = match self.together(&series).await? {
            Some(asked) => asked,
            None => self.by_instances(&series).await?,
        };
        let (exceptions, cancelled) = match asked {
            Ok(asked) => asked,
            Err(error) => {
                let event = of_event(self, &series);
                let is_gone = is_gone(&error) && self.is_missing(&event).await?;
                let told = if is_gone { Occurring::Gone } else { Occurring::Unread(error) };
                return Ok((series.into(), told));
            }
        };
        let mut series = series;
        let tag =
            json!([series.get("changeKey"), series.get("@odata.etag"), exceptions, cancelled]);
        let tag = archive::path::long_tag(&archive::json::canonical(&tag));
        series.insert(EXCEPTIONS.to_owned(), exceptions.into());
        series.insert(CANCELLED.to_owned(), cancelled.into());
        series.insert(TAG.to_owned(), tag.into());
        Ok((series.into(), Occurring::Told))
    }

    pub(super) fn doing(&self) -> String {
        format!("listing the calendars of {}", self.owner.upn)
    }

    /// As the service has them together; none where it has not (FACTS 10). Who asks first is
    /// waited for: what he is refused would be refused to all.
    async fn together(&self, series: &Map<String, Value>) -> Result<Option<Asked>, Error> {
        let mut is_answered = self.is_answered.lock().await;
        if self.occurrences.now() > 0 {
            return Ok(None);
        }
        if *is_answered {
            drop(is_answered);
            return self.unless_refused(series).await;
        }
        let told = self.unless_refused(series).await?;
        *is_answered = true;
        Ok(told)
    }

    async fn unless_refused(&self, series: &Map<String, Value>) -> Result<Option<Asked>, Error> {
        match self.expanded(series).await? {
            Err(error)
                if matches!(error.kind(), ErrorKind::BadRequest | ErrorKind::Unsupported) =>
            {
                if self.occurrences.lower(0) {
                    let message = "the service does not tell the exceptions of a series; \
                                   its instances are looked through instead";
                    self.context.monitor.warn(message);
                }
                Ok(None)
            }
            asked => Ok(Some(asked)),
        }
    }

    async fn expanded(&self, series: &Map<String, Value>) -> Result<Asked, Error> {
        let base = of_event(self, series);
        let path = format!("{base}?$select=id,{CANCELLED}&$expand={EXCEPTIONS}");
        let asked =
            self.context.ask(&scope(self.owner), &path, preferences(), &self.doing()).await?;
        let mut told = match asked {
            Ok(told) => told,
            Err(error) => return Ok(Err(error)),
        };
        // What is not understood may be ignored (FACTS 3.0).
        if told.get(EXCEPTIONS).is_none() || told.get(CANCELLED).is_none() {
            return self.by_instances(series).await;
        }
        let list = |value: Value| match value {
            Value::Array(rows) => rows,
            _ => Vec::new(),
        };
        let has_more = told.get(format!("{EXCEPTIONS}@odata.nextLink")).is_some();
        let exceptions = match has_more {
            false => list(told[EXCEPTIONS].take()),
            true => {
                let path = format!("{base}/{EXCEPTIONS}?$top={PAGE}");
                match self.rows(&path, |_| true).await? {
                    Ok(rows) => rows,
                    Err(error) => return Ok(Err(error)),
                }
            }
        };
        let mut cancelled = list(told[CANCELLED].take());
        cancelled.sort_by_cached_key(Value::to_string);
        Ok(Ok((in_order(exceptions), cancelled)))
    }

    /// From the instances, compared with the pattern.
    async fn by_instances(&self, series: &Map<String, Value>) -> Result<Asked, Error> {
        let event = Value::Object(series.clone());
        let Some(occurrences) = Occurrences::of(&event) else {
            return Ok(Ok((Vec::new(), Vec::new())));
        };
        let id = super::text(&event, "id");
        let mut missing = BTreeSet::new();
        let mut changed = BTreeSet::new();
        for (from, until) in windows(&event, &occurrences) {
            let path = instances(&of_event(self, series), from, until);
            let mut there = BTreeSet::new();
            let take = |row: &Value| {
                there.extend(day_of(&occurrences, row));
                row["type"] == "exception"
            };
            let rows = match self.rows(&path, take).await? {
                Ok(rows) => rows,
                Err(error) => return Ok(Err(error)),
            };
            changed.extend(rows.iter().map(|row| super::text(row, "id").to_owned()));
            let days = occurrences.days().skip_while(|day| occurrences.instant(*day) < from);
            let days = days.take_while(|day| occurrences.instant(*day) < until);
            missing.extend(days.filter(|day| !there.contains(day)));
        }
        let mut exceptions = Vec::new();
        for id in changed {
            let path = super::event_path(self.owner, &id);
            let (scope, doing) = (scope(self.owner), self.doing());
            let ask = || self.context.ask(&scope, &path, preferences(), &doing);
            let mut asked = ask().await?;
            // One 404 does not prove it.
            if matches!(&asked, Err(error) if is_gone(error)) {
                asked = ask().await?;
            }
            match asked {
                Ok(exception) => exceptions.push(exception),
                Err(error) if is_gone(&error) => {}
                Err(error) => return Ok(Err(error)),
            }
        }
        // One that was moved out of the window it belongs to is there all the same.
        let moved: BTreeSet<NaiveDate> =
            exceptions.iter().filter_map(|row| occurrences.day_of(row)).collect();
        let cancelled = missing.difference(&moved).map(|day| format!("OID.{id}.{day}").into());
        Ok(Ok((in_order(exceptions), cancelled.collect())))
    }

    /// The rows of a list that `take` wants.
    async fn rows(
        &self,
        path: &str,
        mut take: impl FnMut(&Value) -> bool,
    ) -> Result<Result<Vec<Value>, graph::Error>, Error> {
        let mut pages = self.context.graph().pages(scope(self.owner), path, preferences());
        let mut rows = Vec::new();
        loop {
            let page = match pages.next().await {
                Ok(Some(page)) => page,
                Ok(None) => return Ok(Ok(rows)),
                Err(error) if is_fatal(&error) => return Err(Error::graph(self.doing(), error)),
                Err(error) => return Ok(Err(error)),
            };
            for item in &page.items {
                match item.parse() {
                    Ok(row) => rows.extend(Some(row).filter(&mut take)),
                    Err(error) => return Ok(Err(error)),
                }
            }
        }
    }
}

/// The day that an instance stands for. One that does not say is where it always was.
pub(super) fn day_of(occurrences: &Occurrences, row: &Value) -> Option<NaiveDate> {
    if row.get("originalStart").is_some_and(Value::is_string) {
        return occurrences.day_of(row);
    }
    let start = super::text(&row["start"], "dateTime").trim_end_matches('Z');
    let stands = json!({ "originalStart": format!("{start}Z") });
    occurrences.day_of(&stands)
}

/// The windows in which instances are looked for: from the first occurrence to the last, or where
/// there is none, to well after anybody changed the series.
pub(super) fn windows(
    event: &Value,
    occurrences: &Occurrences,
) -> impl Iterator<Item = (DateTime<Utc>, DateTime<Utc>)> {
    let first = occurrences.days().next();
    let from = first.map(|day| occurrences.instant(day) - Duration::days(1)).unwrap_or_default();
    let until = match occurrences.last_day() {
        Some(last) => occurrences.instant(last) + Duration::days(2),
        None => {
            let changed = time::seconds(time::first_real(event, &["/lastModifiedDateTime"]));
            let changed = DateTime::from_timestamp(changed, 0).unwrap_or_default();
            changed.max(from) + Duration::days(DAYS_AHEAD)
        }
    };
    let length = Duration::days(MOST_DAYS);
    std::iter::successors(Some(from), move |from| Some(*from + length))
        .take_while(move |from| *from < until && first.is_some())
        .map(move |from| (from, (from + length).min(until)))
}

/// The path of the instances of an event in a window.
pub(super) fn instances(event: &str, from: DateTime<Utc>, until: DateTime<Utc>) -> String {
    let (from, until) = (segment(&stamp(from)), segment(&stamp(until)));
    format!("{event}/instances?startDateTime={from}&endDateTime={until}&{INSTANCE}&$top={PAGE}")
}

fn stamp(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Exceptions without what is volatile, by where they stood in the series.
pub(super) fn in_order(exceptions: Vec<Value>) -> Vec<Value> {
    let plain = |exception: Value| {
        let mut graph = exception.as_object().cloned().unwrap_or_default();
        plain(&mut graph);
        Value::Object(graph)
    };
    let mut exceptions: Vec<Value> = exceptions.into_iter().map(plain).collect();
    exceptions.sort_by_cached_key(|exception| {
        let original = time::order_key(time::first(exception, &["/originalStart"]));
        (original, super::text(exception, "id").to_owned())
    });
    exceptions
}
