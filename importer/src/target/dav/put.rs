//! One object into one collection.

use std::time::Duration;

use tokio::time::timeout;
use url::Url;

use super::http::{Ask, Body, Http, Lost, Refusal};
use super::likeness::{Likeness, Measure, Measured};
use super::object::Object;
use super::{DavPlace, Ready, xml};
use crate::error::Error;
use crate::place::{How, Loss, Restored};

/// A server may write an object in more words than it was given, but not in many more.
const MOST_MORE: u64 = 1 << 20;
/// Tries of a look when answers break off.
const TRIES: u32 = 4;

/// What a server has at an address.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) url: Url,
    pub(super) etag: Option<String>,
    /// None of what has no end.
    pub(super) measured: Option<Measured>,
}

impl Found {
    pub(super) fn is_alike(&self, likeness: Likeness) -> bool {
        self.measured.as_ref().is_some_and(|measured| measured.likeness == likeness)
    }
}

/// Sees to it that an object is in a collection.
pub(super) struct Put<'a> {
    pub(super) place: &'a DavPlace,
    pub(super) ready: &'a Ready,
    pub(super) object: &'a Object,
}

impl Put<'_> {
    /// `is_doubtful` is what a run that died may have put there.
    pub(super) async fn run(&self, is_doubtful: bool) -> Result<Restored, Error> {
        let (object, collection) = (self.object, &self.ready.collection);
        if object.kind != self.place.kind || !collection.takes(object.kind) {
            return Err(self.item("invalid", "the collection does not take such a thing"));
        }
        if collection.max_size.is_some_and(|most| object.size > most) {
            return Err(self.item("too-large", "it is larger than the server takes"));
        }
        let url = collection.url.join(&object.name());
        let url = url.map_err(|_| self.item("target", "the collection's address is none"))?;
        // Before anything is sent: what is there then is not of this run's making.
        if is_doubtful || !self.ready.is_new {
            if let Some(found) = self.look(&url).await? {
                return self.settle(found, is_doubtful);
            }
            if self.ready.is_foreign
                && let Some(found) = self.by_uid().await?
            {
                return self.settle(found, false);
            }
        }
        let spot = Spot { url: url.to_string(), likeness: object.likeness.to_string() };
        let spot = serde_json::to_string(&spot).unwrap_or_default();
        self.place.journal.spot(&self.place.section, &object.path, &spot)?;
        let ask = Ask::new("PUT", &url, Body::Object(object)).header("if-none-match", "*");
        let (answer, body) = match self.place.http().ask(&ask).await {
            Err(error @ Error::Dav { cause: "target", fatal: true, .. }) => {
                return Err(self.is_it_the_item(error).await);
            }
            answered => answered?,
        };
        if answer.status.is_success() {
            return self.made(&answer.url, answer.header("etag")).await;
        }
        let refusal = Http::refusal(answer.status, &body);
        if let Some(found) = self.in_the_way(&answer.url, &refusal).await? {
            // A try of which nobody heard may have made it.
            let is_own = answer.is_doubtful && found.url == answer.url;
            if !is_own {
                self.place.journal.no_spot(&self.place.section, &object.path)?;
            }
            return self.settle(found, is_own);
        }
        // Nothing was made, so what will be there one day is somebody else's.
        let is_definite = answer.status.is_client_error() || answer.status.as_u16() == 507;
        if is_definite && !answer.is_doubtful {
            self.place.journal.no_spot(&self.place.section, &object.path)?;
        }
        Err(self.refused(&refusal))
    }

    /// Reads again what was made.
    async fn made(&self, url: &Url, etag: Option<&str>) -> Result<Restored, Error> {
        let Some(found) = self.look(url).await? else {
            return Err(Error::Unequal {
                path: self.object.path.clone(),
                what: "the server took it, but does not show it".to_owned(),
            });
        };
        let mut losses = Vec::new();
        if self.object.is_silenced {
            losses.push(Loss::Scheduling);
        }
        if !found.is_alike(self.object.likeness) {
            losses.push(Loss::Altered);
        }
        let etag = found.etag.or_else(|| etag.map(str::to_owned));
        Ok(Restored { how: How::Created, id: found.url.to_string(), etag, losses })
    }

    /// What is there already. The journal counts it as made if a run before was putting it there.
    fn settle(&self, found: Found, is_own: bool) -> Result<Restored, Error> {
        let is_alike = found.is_alike(self.object.likeness);
        let id = found.url.to_string();
        let present = |etag, losses| Restored { how: How::Present, id, etag, losses };
        match (is_alike, is_own) {
            (true, _) => Ok(present(found.etag, Vec::new())),
            // The server altered it, or somebody did since: without a tag no undo touches it.
            (false, true) => Ok(present(None, vec![Loss::Altered])),
            (false, false) => Err(self.item("exists", "another of the same UID is there")),
        }
    }

    async fn look(&self, url: &Url) -> Result<Option<Found>, Error> {
        look(self.place.http(), url, self.object.size.saturating_mul(2) + MOST_MORE).await
    }

    /// The object of this UID under whatever name.
    async fn by_uid(&self) -> Result<Option<Found>, Error> {
        let http = self.place.http();
        let collection = &self.ready.collection.url;
        let query = Body::Xml(xml::query(self.object.kind, &self.object.uid));
        let ask = Ask::new("REPORT", collection, query).header("depth", "1");
        let (answer, body) = http.ask(&ask).await?;
        let failed = |message: String| Error::Dav {
            doing: format!("look for the UID of {}", self.object.path),
            message,
            cause: "target",
            fatal: false,
        };
        if answer.status.as_u16() != 207 {
            return Err(failed(Http::refusal(answer.status, &body).to_string()));
        }
        for resource in xml::multistatus(&body).map_err(failed)? {
            let url = http.resolve(&answer.url, &resource.href)?;
            if resource.is_missing || url == *collection {
                continue;
            }
            // Servers find any part of a UID, and some whatever they are asked for.
            if let Some(found) = self.look(&url).await?
                && found
                    .measured
                    .as_ref()
                    .is_some_and(|it| it.uid.as_ref() == Some(&self.object.uid))
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// What made the server refuse, if it is another object.
    async fn in_the_way(&self, url: &Url, refusal: &Refusal) -> Result<Option<Found>, Error> {
        if refusal.status.as_u16() == 412 {
            return self.look(url).await;
        }
        if !refusal.conditions.iter().any(|name| name == "no-uid-conflict") {
            return Ok(None);
        }
        match &refusal.href {
            Some(href) => {
                let url = self.place.http().resolve(url, href)?;
                self.look(&url).await
            }
            None => self.by_uid().await,
        }
    }

    /// Whether only this object makes connections break: the server is asked for something else.
    async fn is_it_the_item(&self, error: Error) -> Error {
        let ask = Ask::new("OPTIONS", &self.ready.collection.url, Body::None);
        match self.place.http().ask(&ask).await {
            Ok(_) => Error::Dav {
                doing: format!("put {}", self.object.path),
                message: error.to_string(),
                cause: "target",
                fatal: false,
            },
            Err(_) => error,
        }
    }

    fn refused(&self, refusal: &Refusal) -> Error {
        let is =
            |names: &[&str]| refusal.conditions.iter().any(|name| names.contains(&name.as_str()));
        let cause = match refusal.status.as_u16() {
            507 => "quota",
            _ if is(&["quota-not-exceeded", "sufficient-disk-space"]) => "quota",
            413 => "too-large",
            _ if is(&["max-resource-size"]) => "too-large",
            412 => "exists",
            _ if is(&["no-uid-conflict"]) => "exists",
            403 if is(&["need-privileges"]) || refusal.conditions.is_empty() => "refused",
            400 | 403 | 409 | 415 | 422 => "invalid",
            _ => "target",
        };
        Error::Dav {
            doing: format!("put {}", self.object.path),
            message: refusal.to_string(),
            cause,
            fatal: false,
        }
    }

    fn item(&self, cause: &'static str, what: &str) -> Error {
        Error::Item { cause, what: format!("{}: {what}", self.object.path) }
    }
}

/// Where an object is being put, as the journal keeps it.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Spot {
    pub(super) url: String,
    pub(super) likeness: String,
}

/// Reads what is at an address, as far as `most` bytes.
pub(super) async fn look(http: &Http, url: &Url, most: u64) -> Result<Option<Found>, Error> {
    let ask = Ask::new("GET", url, Body::None);
    let failed = |message: String, fatal| Error::Dav {
        doing: format!("look at {}{}", http.shown(), url.path()),
        message,
        cause: "target",
        fatal,
    };
    let mut lost = String::new();
    for _ in 0..TRIES {
        let mut answer = http.send(&ask).await?;
        match answer.status.as_u16() {
            200 => {}
            404 | 410 => return Ok(None),
            _ => return Err(failed(format!("the server says {}", answer.status), false)),
        }
        let read = async {
            let (mut measure, mut size) = (Measure::new(), 0);
            while let Some(piece) = answer.piece().await? {
                size += piece.len() as u64;
                if size > most {
                    return Ok::<_, Lost>(None);
                }
                measure.push(&piece);
            }
            Ok(Some(measure.end()))
        };
        // Even a slow line brings this much.
        let limit = Duration::from_secs(180 + most / (16 * 1024));
        match timeout(limit, read).await {
            Ok(Ok(measured)) => {
                let etag = answer.header("etag").map(str::to_owned);
                return Ok(Some(Found { url: answer.url, etag, measured }));
            }
            Ok(Err(Lost(message))) => lost = message,
            Err(_) => lost = "it takes for ever".to_owned(),
        }
    }
    Err(failed(lost, true))
}
