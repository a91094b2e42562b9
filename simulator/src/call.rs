//! A request as the routes see it.

use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, Method};
use percent_encoding::percent_decode_str;

use crate::dice;
use crate::log::Host;

pub(crate) struct Call {
    pub(crate) host: Host,
    pub(crate) method: Method,
    /// As sent.
    pub(crate) path: String,
    /// As sent, without the question mark.
    pub(crate) raw_query: String,
    /// Decoded; keys in parentheses and paths between colons are segments of their own.
    pub(crate) segments: Vec<String>,
    /// Decoded options and function parameters.
    pub(crate) options: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) roots: Roots,
    pub(crate) request_id: String,
    pub(crate) batched: bool,
    /// When its head arrived: its body may take long.
    pub(crate) arrived: Instant,
}

/// The addresses that links in replies begin with.
#[derive(Debug, Clone)]
pub(crate) struct Roots {
    pub(crate) graph: String,
    pub(crate) login: String,
    pub(crate) download: String,
}

/// The `Prefer` header, as far as the service heeds it.
#[derive(Debug, Default, Clone)]
pub(crate) struct Preferences {
    pub(crate) immutable_ids: bool,
    pub(crate) page_size: Option<usize>,
    pub(crate) text_body: bool,
    /// The zone that the times of events are wanted in.
    pub(crate) zone: Option<String>,
    /// Those that were heeded, for `Preference-Applied`.
    pub(crate) applied: Vec<String>,
}

impl Call {
    pub(crate) fn new(
        host: Host,
        method: Method,
        target: &str,
        headers: HeaderMap,
        body: Bytes,
        roots: Roots,
    ) -> Call {
        let (path, raw_query) = target.split_once('?').unwrap_or((target, ""));
        // Microsoft's own SDKs ask for `/v1.0//users`, and the service does not mind.
        let path = path.replacen("/v1.0//", "/v1.0/", 1);
        let mut options = Vec::new();
        let segments = split_path(&path, &mut options);
        options.extend(pairs(raw_query));
        Call {
            host,
            method,
            path,
            raw_query: raw_query.to_owned(),
            segments,
            options,
            headers,
            body,
            roots,
            request_id: fresh_guid(),
            batched: false,
            arrived: Instant::now(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// An OData option, with or without its dollar.
    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        let named = |key: &str| key.strip_prefix('$').unwrap_or(key).eq_ignore_ascii_case(name);
        self.options.iter().find(|(key, _)| named(key)).map(|(_, value)| value.as_str())
    }

    /// A numeric option.
    pub(crate) fn number(&self, name: &str) -> Option<usize> {
        self.option(name)?.trim().parse().ok()
    }

    /// An option exactly as sent, not decoded.
    pub(crate) fn raw_option(&self, name: &str) -> Option<&str> {
        self.raw_query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            let key = key.strip_prefix('$').or_else(|| key.strip_prefix("%24")).unwrap_or(key);
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// `METHOD /path?query`, decoded: which fault texts are matched against.
    pub(crate) fn line(&self) -> String {
        let query = if self.raw_query.is_empty() { "" } else { "?" };
        decoded(&format!("{} {}{query}{}", self.method, self.path, self.raw_query))
    }

    /// What follows `/v1.0`, as sent.
    pub(crate) fn below_version(&self) -> &str {
        let rest = self.path.strip_prefix('/').unwrap_or(&self.path);
        rest.find('/').map_or("", |at| &rest[at..])
    }

    pub(crate) fn bearer(&self) -> Option<&str> {
        let value = self.header("authorization")?;
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.body).ok()
    }

    pub(crate) fn accepts_gzip(&self) -> bool {
        self.header("accept-encoding").is_some_and(|value| value.contains("gzip"))
    }

    pub(crate) fn preferences(&self) -> Preferences {
        let mut heeded = Preferences::default();
        for value in self.headers.get_all("prefer") {
            for preference in value.to_str().unwrap_or_default().split(',') {
                heeded.take(preference.trim());
            }
        }
        heeded
    }

    /// The options as sent, without some of them: what a link repeats.
    pub(crate) fn query_without(&self, names: &[&str]) -> String {
        let keep = |pair: &&str| {
            let key = pair.split('=').next().unwrap_or_default();
            let key = key.strip_prefix('$').or_else(|| key.strip_prefix("%24")).unwrap_or(key);
            !pair.is_empty() && !names.contains(&key)
        };
        self.raw_query.split('&').filter(keep).collect::<Vec<_>>().join("&")
    }
}

impl Preferences {
    fn take(&mut self, preference: &str) {
        let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
        let value = value.trim().trim_matches('"');
        match name.trim().to_lowercase().as_str() {
            "idtype" if value.eq_ignore_ascii_case("ImmutableId") => self.immutable_ids = true,
            "odata.maxpagesize" => self.page_size = value.parse().ok().filter(|n| *n > 0),
            "outlook.body-content-type" => self.text_body = value.eq_ignore_ascii_case("text"),
            "outlook.timezone" => self.zone = Some(value.to_owned()),
            "outlook.allow-unsafe-html" => {}
            _ => return,
        }
        self.applied.push(preference.to_owned());
    }
}

/// A GUID that no other request has.
pub(crate) fn fresh_guid() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    dice::guid(&[u64::from(std::process::id()), count])
}

pub(crate) fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Form or query pairs; a plus is a space.
pub(crate) fn pairs(text: &str) -> Vec<(String, String)> {
    let split = |pair: &str| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(&key.replace('+', " ")), decoded(&value.replace('+', " ")))
    };
    text.split('&').filter(|pair| !pair.is_empty()).map(split).collect()
}

fn split_path(path: &str, parameters: &mut Vec<(String, String)>) -> Vec<String> {
    let mut segments: Vec<String> = Vec::new();
    let mut inner: Option<Vec<String>> = None;
    for raw in path.split('/').filter(|s| !s.is_empty()) {
        let (raw, closes) = match (&inner, raw.strip_suffix(':')) {
            (Some(_), Some(raw)) => (raw, true),
            _ => (raw, false),
        };
        if let Some(parts) = &mut inner {
            parts.push(decoded(raw));
            if closes {
                let parts = inner.take().unwrap_or_default();
                segments.push(parts.join("/"));
            }
            continue;
        }
        let addressed_by_path = raw == "root:" || segments.last().is_some_and(|s| s == "items");
        match raw.strip_suffix(':').filter(|_| addressed_by_path) {
            Some(start) => {
                segments.extend([decoded(start), ":".into()]);
                inner = Some(Vec::new());
            }
            None => split_keys(&decoded(raw), &mut segments, parameters),
        }
    }
    segments.extend(inner.map(|parts| parts.join("/")));
    segments
}

/// `users('a')` is two segments, `delta(token='t')` a segment and a parameter.
fn split_keys(segment: &str, into: &mut Vec<String>, parameters: &mut Vec<(String, String)>) {
    let segment = segment.strip_prefix("microsoft.graph.").unwrap_or(segment);
    let Some((name, rest)) = segment.split_once('(') else {
        into.push(segment.to_owned());
        return;
    };
    let Some(inside) = rest.strip_suffix(')') else {
        into.push(segment.to_owned());
        return;
    };
    into.push(name.to_owned());
    let unquoted = |text: &str| text.trim_matches('\'').replace("''", "'");
    match inside.split_once('=').filter(|_| !inside.starts_with('\'')) {
        Some((key, value)) => parameters.push((key.to_owned(), unquoted(value))),
        None if inside.is_empty() => {}
        None => into.push(unquoted(inside)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(path: &str) -> (Vec<String>, Vec<(String, String)>) {
        let mut parameters = Vec::new();
        (split_path(path, &mut parameters), parameters)
    }

    #[test]
    fn paths() {
        let plain = |path: &str| segments(path).0.join("|");
        assert_eq!(plain("/v1.0/users/a%40b/messages"), "v1.0|users|a@b|messages");
        assert_eq!(plain("/v1.0/users('a''b')/messages('x')"), "v1.0|users|a'b|messages|x");
        assert_eq!(
            plain("/v1.0/drives/d/root:/A%20B/c.txt:/content"),
            "v1.0|drives|d|root|:|A B/c.txt|content"
        );
        assert_eq!(plain("/v1.0/drives/d/root:/a/b"), "v1.0|drives|d|root|:|a/b");
        assert_eq!(plain("/v1.0/drives/d/items/i:/b:"), "v1.0|drives|d|items|i|:|b");
        let (path, parameters) = segments("/v1.0/drives/d/root/delta(token='x y')");
        assert_eq!(path.join("|"), "v1.0|drives|d|root|delta");
        assert_eq!(parameters, [("token".to_owned(), "x y".to_owned())]);
    }
}
