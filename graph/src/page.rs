//! Lists: page after page.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::Json;
use crate::call::{Call, Purpose};
use crate::engine::{Engine, Room};
use crate::error::{Error, ErrorKind};
use crate::link::DeltaLink;

/// The pages of a list, from [`crate::Graph::pages`] or [`crate::Graph::delta_from`].
pub struct Pages {
    engine: Arc<Engine>,
    /// None after the last page, or after an error that ended the list.
    next: Option<Result<Call, Error>>,
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages").field("next", &self.next).finish_non_exhaustive()
    }
}

impl Pages {
    pub(crate) fn new(engine: Arc<Engine>, first: Result<Call, Error>) -> Pages {
        Pages { engine, next: Some(first) }
    }

    /// The next page, or none after the last one. After an error the same page is asked for again,
    /// which helps if [`Error::is_retryable`].
    pub async fn next(&mut self) -> Result<Option<Page>, Error> {
        let call = match &mut self.next {
            None => return Ok(None),
            Some(Ok(call)) => call,
            Some(Err(error)) => return Err(error.clone()),
        };
        let (answer, room): (Answer, Room) =
            self.engine.json(call, |text| serde_json::from_str(text)).await?;
        let next = answer.next_link.as_deref().map(|link| self.engine.root.follow(link));
        let next = next.transpose().map_err(|error| error.at(call.shown()))?;
        if next.as_ref() == Some(&call.url) {
            let error = Error::new(ErrorKind::Protocol, call.operation).at(call.shown());
            return Err(error.with_message("the page says that it comes after itself"));
        }
        // Never both; if so, there is more to come.
        let delta = answer.delta_link.filter(|_| answer.next_link.is_none());
        let page = Page {
            items: answer.value.into_iter().map(Item).collect(),
            next: answer.next_link.is_some(),
            delta: delta.map(DeltaLink::new),
            _room: room,
        };
        self.next = next.map(|url| Ok(Call { url, purpose: Purpose::NextPage, ..call.clone() }));
        Ok(Some(page))
    }

    /// Whether the page that comes next was named by the service. What is refused then may be its
    /// own link, and says nothing of what is listed.
    pub fn is_continued(&self) -> bool {
        matches!(&self.next, Some(Ok(call)) if call.purpose == Purpose::NextPage)
    }
}

/// A page whose items are not looked into.
#[derive(Deserialize)]
struct Answer {
    value: Vec<Box<RawValue>>,
    #[serde(rename = "@odata.nextLink")]
    next_link: Option<String>,
    #[serde(rename = "@odata.deltaLink")]
    delta_link: Option<String>,
}

/// One answer of a list. It may be empty and still not the last one (FACTS 3.0).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Page {
    /// In the service's order, which is none to rely on.
    pub items: Vec<Item>,
    /// Whether there are more pages.
    pub next: bool,
    /// On the last page of a delta round: where the next round starts.
    pub delta: Option<DeltaLink>,
    /// Given back when the page is dropped: keep none longer than needed.
    _room: Room,
}

/// One item as text, so that a page of 2 MB is not a tree at once.
#[derive(Clone, Debug)]
pub struct Item(Box<RawValue>);

impl Item {
    /// The JSON text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// The item as a tree.
    pub fn parse(&self) -> Result<Json, Error> {
        self.parse_as()
    }

    /// The item as a type of the caller's, which may borrow from the text.
    pub fn parse_as<'item, T: Deserialize<'item>>(&'item self) -> Result<T, Error> {
        serde_json::from_str(self.0.get())
            .map_err(|error| Error::new(ErrorKind::Protocol, "read item").because(error))
    }
}
