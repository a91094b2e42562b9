//! Addresses: ours are encoded, the service's are followed byte for byte.

use std::fmt;

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use crate::error::{Error, ErrorKind};
use crate::redact;

/// All but the unreserved characters of RFC 3986: ids contain `+ / = ! : , @` (FACTS 8.1).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What RFC 3986 allows nowhere; `%` is left alone, it is an encoding already.
const ILLEGAL: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// An id as one segment of a path.
///
/// ```
/// assert_eq!(graph::segment("19:x@thread.v2/+="), "19%3Ax%40thread.v2%2F%2B%3D");
/// ```
pub fn segment(id: &str) -> String {
    utf8_percent_encode(id, SEGMENT).to_string()
}

/// Where a later delta round starts: opaque, kept as the service sent it. `Debug` hides its token.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DeltaLink(String);

impl DeltaLink {
    /// A link kept from an earlier run; it is checked when it is used.
    pub fn new(link: impl Into<String>) -> DeltaLink {
        DeltaLink(link.into())
    }

    /// The link to keep. It holds a token, so it is not for logs.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for DeltaLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown =
            Url::parse(&self.0).map_or_else(|_| "…".to_owned(), |url| redact::graph_url(&url));
        write!(f, "DeltaLink({shown}?…)")
    }
}

/// The configured Graph service.
#[derive(Clone, Debug)]
pub(crate) struct Root {
    /// With `/v1.0`, without a slash after it.
    base: String,
    origin: url::Origin,
}

impl Root {
    pub(crate) fn new(service: &Url) -> Root {
        let base = format!("{}/v1.0", service.as_str().trim_end_matches('/'));
        Root { base, origin: service.origin() }
    }

    /// The address of a path of ours, query included.
    pub(crate) fn resolve(&self, path: &str) -> Result<Url, Error> {
        let bad = || Error::new(ErrorKind::BadRequest, "resolve").with_message("bad path");
        if !path.starts_with('/') {
            return Err(bad());
        }
        let url = Url::parse(&format!("{}{path}", self.base)).map_err(|_| bad())?;
        if url.origin() == self.origin { Ok(url) } else { Err(bad()) }
    }

    /// The address of a link the service sent: verbatim (FACTS 3.0), and refused if it leads
    /// anywhere but to the configured service, before a token is near it (FACTS 1.1).
    pub(crate) fn follow(&self, link: &str) -> Result<Url, Error> {
        let refused = |why| Error::new(ErrorKind::Protocol, "follow link").with_message(why);
        let url = Url::parse(link).map_err(|_| refused("the link is no absolute address"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused("the link names a user"));
        }
        if url.origin() != self.origin {
            let why = format!("the link leads to {}", url.origin().ascii_serialization());
            return Err(refused(&why));
        }
        Ok(verbatim(&url, link).unwrap_or(url))
    }
}

/// A pre-authenticated address of the service, verbatim: a signature may be over it as it is.
pub(crate) fn exact(address: &str) -> Option<Url> {
    let url = Url::parse(address).ok()?;
    Some(verbatim(&url, address).unwrap_or(url))
}

/// `url` with the path and query of `link` as they are. `Url` rewrites some characters that
/// RFC 3986 allows, such as `'` in a query, which a service that compares its own links byte for
/// byte need not accept. Only what is illegal in an address is encoded.
fn verbatim(url: &Url, link: &str) -> Option<Url> {
    let (_, rest) = link.trim().split_once("://")?;
    let target = &rest[rest.find('/')?..];
    let target = target.split('#').next().unwrap_or(target);
    let target = utf8_percent_encode(target, ILLEGAL).to_string();
    let base = url.join("/").ok()?;
    let query = target.find('?').map(|at| base.as_str().len() - 1 + at);
    let mut fields = base.serialize_internal(serde_json::value::Serializer).ok()?;
    let serialization = format!("{}{target}", base.as_str().trim_end_matches('/'));
    *fields.get_mut(0)? = serialization.into();
    *fields.get_mut(8)? = query.into();
    // Builds with debug assertions of `url` insist on its own rewriting: then that it is.
    Url::deserialize_internal(fields).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> Root {
        Root::new(&Url::parse("https://graph.example:8443/").unwrap())
    }

    #[test]
    fn own_paths_are_encoded() {
        let url = root().resolve("/users?$filter=id eq 'ü'").unwrap();
        assert_eq!(
            url.as_str(),
            "https://graph.example:8443/v1.0/users?$filter=id%20eq%20%27%C3%BC%27"
        );
        assert!(root().resolve("users").is_err());
    }

    #[test]
    fn links_are_verbatim() {
        for target in [
            "/v1.0/me/delta(token='a%2Bb+c')?x='y'&%24skiptoken=%2b+%2f==&z=a%20b",
            "/v1.0/a/../b/%2e%2e/c?",
            "/v1.0//x?a=b?c=d",
            "/v1.0/me",
        ] {
            let link = format!("https://GRAPH.example:8443{target}");
            let url = root().follow(&link).unwrap();
            assert_eq!(url.as_str(), format!("https://graph.example:8443{target}"));
            let uri: http::Uri = url.as_str().parse().unwrap();
            assert_eq!(uri.path_and_query().unwrap(), target);
            assert_eq!(url.query(), target.split_once('?').map(|(_, query)| query));
        }
        let url = root().follow("https://graph.example:8443/v1.0/ü?a b='ö'#f").unwrap();
        assert_eq!(url.as_str(), "https://graph.example:8443/v1.0/%C3%BC?a%20b='%C3%B6'");
    }

    #[test]
    fn foreign_links_are_refused() {
        for link in [
            "https://evil.example:8443/v1.0/me",
            "http://graph.example:8443/v1.0/me",
            "https://graph.example/v1.0/me",
            "https://graph.example:8443@evil.example/v1.0/me",
            "https://graph.example:8443.evil.example/v1.0/me",
            "https://user@graph.example:8443/v1.0/me",
            "/v1.0/me",
            "",
        ] {
            let error = root().follow(link).unwrap_err();
            assert_eq!(*error.kind(), ErrorKind::Protocol, "{link}");
        }
        let tricky = root().follow("https://graph.example:8443\\@evil.example/x").unwrap();
        assert_eq!(tricky.host_str(), Some("graph.example"));
    }

    #[test]
    fn debug_hides_tokens() {
        let link = DeltaLink::new("https://graph.example/v1.0/users/delta?$deltatoken=secret");
        assert_eq!(format!("{link:?}"), "DeltaLink(https://graph.example/v1.0/users/delta?…)");
    }
}
