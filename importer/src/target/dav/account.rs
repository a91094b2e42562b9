//! Who we are on a server, and which collections there are (RFC 6764, 6; RFC 5397; RFC 4791, 6.2.1;
//! RFC 6352, 7.1.1).

use url::Url;

use super::Protocol;
use super::http::{Ask, Body, Http};
use super::object::Kind;
use super::xml::{self, Resource};
use crate::error::Error;

/// Where collections are, or the one collection that the address names.
#[derive(Debug, Clone)]
pub(super) enum Root {
    Home(Url),
    Collection(Collection),
}

/// A calendar or an address book.
#[derive(Debug, Clone)]
pub(super) struct Collection {
    /// With a slash at its end.
    pub(super) url: Url,
    pub(super) name: Option<String>,
    /// Components it takes; none if all.
    pub(super) components: Option<Vec<String>>,
    /// Bytes of the largest object it takes.
    pub(super) max_size: Option<u64>,
    /// It says that it takes vCard 4.0; who does not say takes 3.0 only (RFC 6352, 6.2.2).
    pub(super) takes_vcard4: bool,
}

impl Collection {
    fn of(url: Url, resource: Resource) -> Self {
        let Resource { name, components, max_size, takes_vcard4, .. } = resource;
        Self { url, name, components, max_size, takes_vcard4 }
    }

    pub(super) fn takes(&self, kind: Kind) -> bool {
        self.components.as_ref().is_none_or(|all| {
            kind == Kind::Card || all.iter().any(|one| one.eq_ignore_ascii_case(kind.component()))
        })
    }
}

/// What the server has at an address, and below it if `depth` is 1.
pub(super) async fn look(
    http: &Http,
    url: &Url,
    depth: u8,
) -> Result<Option<Vec<(Url, Resource)>>, Error> {
    let ask =
        Ask::new("PROPFIND", url, Body::Xml(xml::propfind())).header("depth", depth.to_string());
    let (answer, body) = http.ask(&ask).await?;
    match answer.status.as_u16() {
        207 => {}
        404 | 405 | 410 | 501 => return Ok(None),
        403 => {
            return Err(Error::Dav {
                doing: format!("look at {}{}", http.shown(), url.path()),
                message: Http::refusal(answer.status, &body).to_string(),
                cause: "refused",
                fatal: true,
            });
        }
        _ => return Err(strange(http, url, &answer.status.to_string())),
    }
    let resources = xml::multistatus(&body).map_err(|what| strange(http, url, &what))?;
    let mut found = Vec::new();
    for resource in resources.into_iter().filter(|resource| !resource.is_missing) {
        // A stranger among the members is not one of the account's.
        if let Ok(at) = http.resolve(&answer.url, &resource.href) {
            found.push((at, resource));
        }
    }
    Ok(Some(found))
}

fn strange(http: &Http, url: &Url, what: &str) -> Error {
    Error::Usage {
        what: format!(
            "{}{} does not answer as a CalDAV or CardDAV server does: {what}",
            http.shown(),
            url.path()
        ),
        hint: "--to takes the address of the server, of an account's home or of one collection",
    }
}

/// Finds the account's home from what the address names.
pub(super) async fn discover(http: &Http, protocol: Protocol, given: &Url) -> Result<Root, Error> {
    let mut places = Vec::new();
    if given.path() == "/" {
        places.push(http.resolve(given, protocol.well_known())?);
    }
    places.push(given.clone());
    for place in places {
        let at = match itself(http, &place).await {
            // A server may have nothing at the well-known address, and not say so politely.
            Err(error) if place != *given && error.cause() == "refused" => None,
            at => at?,
        };
        let Some(at) = at else { continue };
        if let Some(root) = from(http, protocol, at, &place == given).await? {
            return Ok(root);
        }
    }
    Err(strange(http, given, protocol.nothing()))
}

/// The resource at an address. A server may answer from somewhere else, which then counts.
async fn itself(http: &Http, url: &Url) -> Result<Option<(Url, Resource)>, Error> {
    Ok(look(http, url, 0).await?.and_then(|found| found.into_iter().next()))
}

async fn from(
    http: &Http,
    protocol: Protocol,
    (at, resource): (Url, Resource),
    is_given: bool,
) -> Result<Option<Root>, Error> {
    if protocol.is_collection(&resource) {
        return Ok(Some(Root::Collection(Collection::of(folder(at), resource))));
    }
    let mut homes = protocol.homes(&resource).to_vec();
    let mut base = at.clone();
    if homes.is_empty()
        && let Some(principal) = &resource.principal
    {
        let principal = http.resolve(&at, principal)?;
        if let Some((at, resource)) = itself(http, &principal).await? {
            homes = protocol.homes(&resource).to_vec();
            base = at;
        }
    }
    let at = folder(at);
    let mut first = None;
    for home in homes {
        let home = folder(http.resolve(&base, &home)?);
        if home == at {
            return Ok(Some(Root::Home(home)));
        }
        first.get_or_insert(home);
    }
    // Who says nothing of homes has its collections where we were sent to.
    Ok(first.or_else(|| (is_given && resource.is_collection).then_some(at)).map(Root::Home))
}

/// The account's collections of the kind.
pub(super) async fn collections(
    http: &Http,
    protocol: Protocol,
    home: &Url,
) -> Result<Vec<Collection>, Error> {
    let Some(found) = look(http, home, 1).await? else {
        return Err(strange(http, home, "there is nothing"));
    };
    let mut collections: Vec<_> = found
        .into_iter()
        .filter(|(_, resource)| protocol.is_collection(resource))
        .map(|(url, resource)| Collection::of(folder(url), resource))
        .collect();
    collections.sort_by(|a, b| a.url.cmp(&b.url));
    Ok(collections)
}

/// One collection, as the server has it now.
pub(super) async fn collection(
    http: &Http,
    protocol: Protocol,
    url: &Url,
) -> Result<Option<Collection>, Error> {
    let found = itself(http, url).await?;
    let found = found.filter(|(_, resource)| protocol.is_collection(resource));
    Ok(found.map(|(_, resource)| Collection::of(url.clone(), resource)))
}

/// Whether the server may mail the people of an event by itself (RFC 6638, 2). Who does not say
/// what it can is taken for one that does.
pub(super) async fn mails_people(http: &Http, url: &Url) -> Result<bool, Error> {
    let (answer, _) = http.ask(&Ask::new("OPTIONS", url, Body::None)).await?;
    if !answer.status.is_success() {
        return Ok(true);
    }
    let mut said = answer.headers.get_all("dav").iter().filter_map(|value| value.to_str().ok());
    Ok(said.any(|value| value.to_ascii_lowercase().contains("schedul")))
}

/// With a slash at its end, so that names can be joined to it.
pub(super) fn folder(mut url: Url) -> Url {
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    url.set_query(None);
    url.set_fragment(None);
    url
}
