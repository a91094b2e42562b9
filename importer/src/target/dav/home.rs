//! The collections of an account, and which folder is which of them.

use sha2::{Digest, Sha256};
use url::Url;

use super::account::{self, Collection};
use super::http::{Ask, Body, Http};
use super::object::Kind;
use super::{DavPlace, Protocol, xml};
use crate::error::Error;
use crate::section::Folder;

/// Letters of a name in an address.
const LONGEST_WORDS: usize = 40;

/// What a folder wants.
#[derive(Debug)]
pub(super) struct Wanted {
    /// What people read.
    name: String,
    /// The last part of the address of one that we make: the same for the same folder, whoever
    /// comes again with the same archive.
    slug: String,
}

/// The collections there are.
#[derive(Debug, Default)]
pub(super) struct Home {
    there: Vec<Collection>,
}

impl DavPlace {
    pub(super) fn wanted(&self, trail: &[Folder], path: &str) -> Wanted {
        // Things may be in no folder at all; the account itself holds none.
        let names = match trail {
            [] => usual(self.kind).to_owned(),
            trail => trail.iter().map(|f| f.name.as_str()).collect::<Vec<_>>().join("/"),
        };
        let name = match &self.label {
            None => names,
            Some(label) => format!("tar365 restore {label}: {names}"),
        };
        let name = xml::clean(&name);
        let mut digest = Sha256::new();
        for part in [self.label.as_deref().unwrap_or_default(), self.service, &self.owner, path] {
            digest.update(part.len().to_be_bytes());
            digest.update(part);
        }
        let digest = archive::hex(&digest.finalize().into());
        let digest = digest.get(..16).unwrap_or(&digest);
        let words = words(name.strip_prefix("tar365 restore ").unwrap_or(&name));
        Wanted { slug: format!("tar365-{words}-{digest}"), name }
    }
}

const fn usual(kind: Kind) -> &'static str {
    match kind {
        Kind::Event => "Calendar",
        Kind::Task => "Tasks",
        Kind::Card => "Contacts",
    }
}

/// A name as letters and digits.
fn words(name: &str) -> String {
    let mut words = String::new();
    for c in name.chars() {
        match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9') => words.push(c),
            _ if words.is_empty() || words.ends_with('-') => {}
            _ => words.push('-'),
        }
    }
    words.truncate(LONGEST_WORDS);
    words.trim_matches('-').to_owned()
}

/// Whether a collection is one that some restore made.
fn is_ours(url: &Url) -> bool {
    let last = url.path().trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let digest = last.rsplit('-').next().unwrap_or_default();
    let is_digest = digest.len() == 16 && digest.bytes().all(|b| b.is_ascii_hexdigit());
    last.starts_with("tar365-") && is_digest
}

impl Home {
    pub(super) async fn read(http: &Http, protocol: Protocol, url: &Url) -> Result<Self, Error> {
        Ok(Self { there: account::collections(http, protocol, url).await? })
    }

    /// The collection for a folder; whether it was made now, and whether it is somebody else's.
    pub(super) async fn collection(
        &mut self,
        place: &DavPlace,
        home: &Url,
        wanted: &Wanted,
    ) -> Result<(Collection, bool, bool), Error> {
        let url = home.join(&format!("{}/", wanted.slug)).map_err(|error| Error::Usage {
            what: format!("{home} is no address that others can be in: {error}"),
            hint: "give the address of the account's home",
        })?;
        if let Some(own) = self.there.iter().find(|collection| collection.url == url) {
            let _is_ours =
                place.journal.found_folder(&place.section, url.as_str(), url.as_str())?;
            return Ok((own.clone(), false, false));
        }
        // In place, what its owner has is used; what other restores made is theirs.
        let is_named = |collection: &&Collection| {
            place.label.is_none()
                && collection.name.as_deref() == Some(wanted.name.as_str())
                && collection.takes(place.kind)
                && !is_ours(&collection.url)
        };
        if let Some(named) = self.there.iter().find(is_named) {
            return Ok((named.clone(), false, true));
        }
        let (collection, is_new) = make(place, &url, &wanted.name).await?;
        self.there.push(collection.clone());
        Ok((collection, is_new, false))
    }
}

/// Makes a collection. False if somebody else did at the same time.
async fn make(place: &DavPlace, url: &Url, name: &str) -> Result<(Collection, bool), Error> {
    let http = place.http();
    let (journal, section) = (&place.journal, &place.section);
    journal.begin_folder(section, url.as_str())?;
    let extended = |url: &Url| Ask::new("MKCOL", url, Body::Xml(xml::mkcol(name, place.kind)));
    let ask = match place.kind {
        Kind::Card => extended(url),
        kind => Ask::new("MKCALENDAR", url, Body::Xml(xml::mkcalendar(name, kind))),
    };
    let (mut answer, mut body) = http.ask(&ask).await?;
    let mut is_doubtful = answer.is_doubtful;
    // There are servers that know only the general request.
    if ask.method == "MKCALENDAR" && matches!(answer.status.as_u16(), 403 | 405 | 501) {
        if let Some(found) = account::collection(http, place.target.protocol, url).await? {
            return found_at(place, url, found, is_doubtful);
        }
        (answer, body) = http.ask(&extended(url)).await?;
        is_doubtful |= answer.is_doubtful;
    }
    let found = account::collection(http, place.target.protocol, url).await?;
    match found {
        Some(collection) if answer.status.is_success() => {
            journal.made_folder(section, url.as_str(), url.as_str())?;
            Ok((collection, true))
        }
        Some(collection) => found_at(place, url, collection, is_doubtful),
        None => {
            let refusal = Http::refusal(answer.status, &body);
            let cause = match answer.status.as_u16() {
                507 => "quota",
                401 | 403 | 405 | 501 => "refused",
                _ => "target",
            };
            let message = match answer.status.is_success() {
                true => "the server says it did, and does not have it".to_owned(),
                false => refusal.to_string(),
            };
            journal.foreign_folder(section, url.as_str())?;
            let doing = format!("make the collection {name:?}");
            Err(Error::Dav { doing, message, cause, fatal: false })
        }
    }
}

/// It was there when we came to make it: of our making, if an answer to us got lost.
fn found_at(
    place: &DavPlace,
    url: &Url,
    collection: Collection,
    is_doubtful: bool,
) -> Result<(Collection, bool), Error> {
    match is_doubtful {
        true => place.journal.made_folder(&place.section, url.as_str(), url.as_str())?,
        false => place.journal.foreign_folder(&place.section, url.as_str())?,
    }
    Ok((collection, false))
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::{is_ours, words};

    #[test]
    fn slugs() {
        assert_eq!(words("2025-01-02-abc/Team  Ä & Co."), "2025-01-02-abc-team-co");
        assert_eq!(words("日本"), "");
        assert!(words(&"x y ".repeat(99)).len() <= 40);
        let ours = |path: &str| is_ours(&Url::parse("https://h/").unwrap().join(path).unwrap());
        assert!(ours("/a/tar365-x-0123456789abcdef/"));
        assert!(ours("/a/tar365--0123456789abcdef/"));
        assert!(!ours("/a/tar365-x/"));
        assert!(!ours("/a/work-0123456789abcdef/"));
    }
}
