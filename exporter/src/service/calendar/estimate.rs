//! What exporting calendars takes: the service has no counts, so next to nothing of each event is
//! listed. How large they are, what belongs to a series, and how many attachments there are, some
//! tell for all.

use std::collections::BTreeMap;

use convert::event::{Occurrences, Series};
use graph::{Graph, Prefer, Scope, segment};
use serde_json::Value;

use super::listing::{CALENDARS_PAGE, PAGE, addresses, is_own, zones};
use super::series::{CANCELLED, EXCEPTIONS, instances, windows};
use super::{event_path, preferences, scope, text, user};
use crate::error::is_fatal;
use crate::estimate::{
    Counter, Depth, Enquiry, Known, Load, Numbers, Sample, all_rows, is_bad_request, rows_of_any,
};
use crate::owner::Owner;

/// Events of a page that has next to nothing of each (FACTS 3.2).
const IDS: u32 = 1000;
/// Bytes of an event without attachments, where none could be looked at.
const ASSUMED_EVENT: u64 = 3_000;
/// Bytes of an attachment, likewise.
const ASSUMED_ATTACHMENT: u64 = 200_000;

/// What the calendars told.
#[derive(Default)]
struct Seen {
    /// Requests for calendars and their groups, each time.
    walk: u64,
    calendars: u64,
    events: u64,
    /// Pages of an export's listings.
    pages: u64,
    series: u64,
    attached: u64,
    /// Requests that are refused.
    refused: u64,
    whole: bool,
    /// Series, and events with attachments, that are looked at.
    some_series: Vec<String>,
    some_attached: Vec<String>,
}

/// Averages of what was looked at.
#[derive(Default)]
struct Looked {
    /// Requests for what belongs to a series, and exceptions of one.
    asked: Sample,
    exceptions: Sample,
    /// Bytes of an event, attachments of one that has some, bytes of one of these.
    sizes: Sample,
    attachments: Sample,
    attachment: Sample,
}

struct Enquirer<'a> {
    graph: &'a Graph,
    owner: &'a Owner,
    scope: Scope,
    depth: Depth,
}

pub(super) async fn estimate(
    graph: &Graph,
    owner: &Owner,
    enquiry: &Enquiry,
) -> Result<Option<Numbers>, graph::Error> {
    let of = Enquirer { graph, owner, scope: scope(owner), depth: enquiry.depth };
    let mut seen = Seen { whole: true, ..Seen::default() };
    let calendars = of.calendars(&mut seen).await?;
    let mut looked = Looked::default();
    for id in calendars {
        let path = format!("{}/calendars/{}/events", user(owner), segment(&id));
        let before = seen.events;
        of.events(&path, &mut seen).await?;
        if seen.events > before && (looked.sizes.of() == 0 || enquiry.depth == Depth::Exact) {
            of.sizes(&path, &mut looked.sizes).await?;
        }
    }
    for id in &seen.some_series {
        seen.refused |= u64::from(of.series(id, &mut looked).await?);
    }
    for id in &seen.some_attached {
        of.attachments(id, &mut looked).await?;
    }
    Ok(Some(numbers(&seen, &looked)))
}

impl Enquirer<'_> {
    /// Ids of the calendars that are the owner's own.
    async fn calendars(&self, seen: &mut Seen) -> Result<Vec<String>, graph::Error> {
        let mut found = BTreeMap::new();
        let list = format!("{}/calendars?$top={CALENDARS_PAGE}", user(self.owner));
        let mut rows = Vec::new();
        let (pages, whole) =
            all_rows(self.graph, &self.scope, &list, Prefer::none(), |row| rows.push(row)).await?;
        seen.walk += pages;
        seen.whole &= whole;
        let own = addresses(self.owner, &serde_json::json!({ "value": rows }));
        let mut groups = Vec::new();
        let all = format!("{}/calendarGroups", user(self.owner));
        let path = format!("{all}?$top={CALENDARS_PAGE}");
        let take = |row: Value| groups.push(segment(text(&row, "id")).to_string());
        // Not every cloud has groups (FACTS 6.2).
        seen.walk += self.listed(&path, take).await?.0;
        for group in groups {
            let path = format!("{all}/{group}/calendars?$top={CALENDARS_PAGE}");
            seen.walk += self.listed(&path, |row| rows.push(row)).await?.0;
        }
        for row in rows {
            if let Value::Object(calendar) = row {
                let id = calendar.get("id").and_then(Value::as_str).unwrap_or_default();
                found.insert(id.to_owned(), is_own(&calendar, &own));
            }
        }
        let own: Vec<String> =
            found.into_iter().filter_map(|(id, is_own)| is_own.then_some(id)).collect();
        seen.calendars = own.len() as u64;
        Ok(own)
    }

    /// Rows of what may not be had. Pages, and whether all was.
    async fn listed(
        &self,
        path: &str,
        take: impl FnMut(Value),
    ) -> Result<(u64, bool), graph::Error> {
        match all_rows(self.graph, &self.scope, path, Prefer::none(), take).await {
            Err(error) if is_fatal(&error) => Err(error),
            // It was asked for all the same.
            listed => Ok(listed.unwrap_or((1, false))),
        }
    }

    /// Counts the events of a calendar.
    async fn events(&self, path: &str, seen: &mut Seen) -> Result<(), graph::Error> {
        let before = seen.events;
        let some = Sample::size(self.depth);
        let select = "$select=id,type,recurrence,hasAttachments";
        let paths = [format!("{path}?$top={IDS}&{select}"), format!("{path}?$top={PAGE}")];
        let take = |row: Value| {
            let keep = |all: &mut Vec<String>| {
                if (all.len() as u64) < some {
                    all.push(text(&row, "id").to_owned());
                }
            };
            seen.events += 1;
            if row["recurrence"].is_object() {
                seen.series += 1;
                keep(&mut seen.some_series);
            }
            if row["hasAttachments"] == true {
                seen.attached += 1;
                keep(&mut seen.some_attached);
            }
        };
        match rows_of_any(self.graph, &self.scope, &paths, take).await {
            Ok((_, whole)) => seen.whole &= whole,
            Err(error) if is_fatal(&error) => return Err(error),
            Err(_) => seen.whole = false,
        }
        seen.pages += (seen.events - before).div_ceil(u64::from(PAGE)).max(1);
        Ok(())
    }

    /// Bytes of events, on the first page of a calendar or on all.
    async fn sizes(&self, path: &str, sizes: &mut Sample) -> Result<(), graph::Error> {
        // What the service refuses tells no size.
        for expansion in [format!("&$expand={}", zones()), String::new()] {
            let path = format!("{path}?$top={PAGE}{expansion}");
            let mut pages = self.graph.pages(self.scope.clone(), &path, preferences());
            loop {
                match pages.next().await {
                    Ok(Some(page)) => {
                        for item in &page.items {
                            sizes.add(size(&item.parse()?));
                        }
                    }
                    Err(error) if is_bad_request(&error) => break,
                    Err(error) if is_fatal(&error) => return Err(error),
                    Ok(None) | Err(_) => return Ok(()),
                }
                if self.depth != Depth::Exact {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// What belongs to a series, as an export asks for it. Whether it is refused what it asks first,
    /// and once only.
    async fn series(&self, id: &str, looked: &mut Looked) -> Result<bool, graph::Error> {
        let select = "id,type,start,end,recurrence,originalStartTimeZone,lastModifiedDateTime";
        let base = event_path(self.owner, id);
        let path = format!("{base}?$select={select},{CANCELLED}&$expand={EXCEPTIONS}");
        let told = self.graph.get(&self.scope, &path, preferences()).await;
        let is_refused = told.is_err();
        let (asked, exceptions) = match told {
            Ok(told) => match told[EXCEPTIONS].as_array() {
                Some(exceptions) => (1, exceptions.len() as u64),
                None => {
                    let (asked, exceptions) = self.instances(&base, &told).await?;
                    (1 + asked, exceptions)
                }
            },
            Err(error) if is_fatal(&error) => return Err(error),
            Err(_) => {
                let path = format!("{base}?$select={select}");
                match self.graph.get(&self.scope, &path, preferences()).await {
                    Ok(told) => self.instances(&base, &told).await?,
                    Err(error) if is_fatal(&error) => return Err(error),
                    Err(_) => return Ok(is_refused),
                }
            }
        };
        looked.asked.add(asked);
        looked.exceptions.add(exceptions);
        Ok(is_refused)
    }

    /// Requests for the exceptions of a series where only its instances tell, and exceptions.
    async fn instances(&self, base: &str, event: &Value) -> Result<(u64, u64), graph::Error> {
        let (mut asked, mut exceptions) = (0, 0);
        let Some(occurrences) = Occurrences::of(event) else { return Ok((0, 0)) };
        for (from, until) in windows(event, &occurrences) {
            let take = |row: Value| exceptions += u64::from(row["type"] == "exception");
            asked += self.listed(&instances(base, from, until), take).await?.0;
        }
        Ok((asked + exceptions, exceptions))
    }

    async fn attachments(&self, id: &str, looked: &mut Looked) -> Result<(), graph::Error> {
        let path = format!("{}/attachments?$select=id,size", event_path(self.owner, id));
        let mut count = 0;
        let take = |row: Value| {
            // What a link leads to is not asked for.
            if text(&row, "@odata.type").ends_with("referenceAttachment") {
                return;
            }
            count += 1;
            // In base64.
            looked.attachment.add(row["size"].as_u64().unwrap_or_default() / 3 * 4);
        };
        if self.listed(&path, take).await?.1 {
            looked.attachments.add(count);
        }
        Ok(())
    }
}

/// Bytes of its file without attachments.
fn size(event: &Value) -> u64 {
    let mut bytes = Counter::default();
    let nothing = |_: convert::event::AttachmentRef<'_>| Err(std::io::ErrorKind::NotFound.into());
    let written = convert::event::write(&Series::of(event, None), &mut bytes, nothing);
    written.map_or(ASSUMED_EVENT, |_| bytes.0)
}

/// The requests of a listing as [`super::listing::list`] makes it when nothing changes meanwhile:
/// calendars and events are listed twice, and each series is asked about. Then one for the
/// attachments of each event and exception, and one for each attachment.
fn numbers(seen: &Seen, looked: &Looked) -> Numbers {
    let series = looked.asked.total(seen.series).unwrap_or(seen.series);
    let exceptions = looked.exceptions.total(seen.series).unwrap_or_default();
    let count = looked.attachments.total(seen.attached).unwrap_or(seen.attached);
    let mailbox = 1 + 2 * seen.walk + 2 * seen.pages;
    let mailbox = mailbox + seen.refused + series + seen.events + exceptions + count;
    let (sizes, attached) = (looked.sizes.total(seen.events), looked.attachment.total(count));
    let bytes = sizes.unwrap_or(seen.events * ASSUMED_EVENT)
        + attached.unwrap_or(count * ASSUMED_ATTACHMENT);
    let is_told = (seen.events == 0 || sizes.is_some()) && (count == 0 || attached.is_some());
    // Each exception is an event in the file of its series, and has no size here.
    let is_whole = looked.sizes.of() == seen.events && exceptions == 0;
    Numbers {
        load: Load { items: seen.events, bytes, mailbox, ..Load::default() },
        items: if seen.whole { Known::Counted } else { Known::Sampled },
        bytes: match (is_told, is_whole) {
            (false, _) => Known::Assumed,
            (true, false) => Known::Sampled,
            (true, true) => Known::Counted,
        },
    }
}
