//! Taking back what a restore made.

use url::Url;

use super::http::{Ask, Body, Http};
use super::put::{Spot, look};
use super::xml;
use crate::error::Error;
use crate::place::{Made, Undone, What};

/// What a run that died put somewhere is looked at as far as this.
const MOST: u64 = 1 << 30;

pub(super) async fn undo(http: &Http, made: &Made) -> Result<Undone, Error> {
    match made.what {
        // One that was begun is known by the same address.
        What::Folder => {
            remove_folder(http, &address(made.id.as_ref().unwrap_or(&made.path))?).await
        }
        What::Item => match (&made.id, &made.etag, &made.spot) {
            (Some(id), Some(etag), _) => remove(http, &address(id)?, etag).await,
            (Some(id), None, _) => {
                tracing::warn!(id, "the server gave no tag: nobody knows whether it was changed");
                Ok(Undone::Kept)
            }
            (None, _, Some(spot)) => remove_begun(http, spot).await,
            (None, _, None) => Ok(Undone::Removed),
        },
    }
}

fn address(id: &str) -> Result<Url, Error> {
    Url::parse(id).map_err(|_| failed(id, "it is no address of a server".to_owned()))
}

fn failed(id: &str, message: String) -> Error {
    Error::Dav { doing: format!("remove {id}"), message, cause: "target", fatal: false }
}

/// Cancels nothing. Nextcloud would keep it in a trash, and its name with it: the same archive could
/// not be restored again. Other servers do not know the header.
fn delete(url: &Url) -> Ask<'_> {
    let ask = Ask::new("DELETE", url, Body::None);
    ask.header("schedule-reply", "F").header("x-nc-caldav-no-trashbin", "1")
}

/// Removes an object that nobody changed.
async fn remove(http: &Http, url: &Url, etag: &str) -> Result<Undone, Error> {
    let (answer, body) = http.ask(&delete(url).header("if-match", etag)).await?;
    match answer.status.as_u16() {
        200..=299 | 404 | 410 => Ok(Undone::Removed),
        // Some servers say so of what is not there, too.
        412 => Ok(match look(http, url, MOST).await? {
            Some(_) => Undone::Kept,
            None => Undone::Removed,
        }),
        _ => Err(failed(url.path(), Http::refusal(answer.status, &body).to_string())),
    }
}

/// Nothing was at this spot before, so what is there and says the same is of our making.
async fn remove_begun(http: &Http, spot: &str) -> Result<Undone, Error> {
    let Ok(spot) = serde_json::from_str::<Spot>(spot) else { return Ok(Undone::Kept) };
    let url = address(&spot.url)?;
    let Some(found) = look(http, &url, MOST).await? else { return Ok(Undone::Removed) };
    let is_alike = found.measured.is_some_and(|it| it.likeness.to_string() == spot.likeness);
    match found.etag {
        Some(etag) if is_alike => remove(http, &url, &etag).await,
        _ => Ok(Undone::Kept),
    }
}

/// Removes a collection in which nothing is.
async fn remove_folder(http: &Http, url: &Url) -> Result<Undone, Error> {
    let members = Body::Xml(xml::propfind_members());
    let ask = Ask::new("PROPFIND", url, members).header("depth", "1");
    let (answer, body) = http.ask(&ask).await?;
    match answer.status.as_u16() {
        207 => {}
        404 | 410 => return Ok(Undone::Removed),
        _ => return Err(failed(url.path(), Http::refusal(answer.status, &body).to_string())),
    }
    let found = xml::multistatus(&body).map_err(|what| failed(url.path(), what))?;
    let is_itself = |href: &str| {
        http.resolve(&answer.url, href).is_ok_and(|at| super::account::folder(at) == *url)
    };
    if found.iter().any(|resource| !is_itself(&resource.href)) {
        return Ok(Undone::Kept);
    }
    let (answer, body) = http.ask(&delete(url)).await?;
    match answer.status.as_u16() {
        200..=299 | 404 | 410 => Ok(Undone::Removed),
        _ => Err(failed(url.path(), Http::refusal(answer.status, &body).to_string())),
    }
}
