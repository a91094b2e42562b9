//! Links: their parameters, and where redirectors lead.

use percent_encoding::percent_decode_str;
use wildmatch::WildMatch;

use crate::known;

/// Redirectors in redirectors that are unwrapped.
const MAX_WRAPPED: usize = 5;

/// What is done to links.
#[derive(Debug)]
pub struct Links {
    /// Parameters that go; none if parameters stay.
    parameters: Vec<WildMatch>,
    keep: Vec<WildMatch>,
    /// Host and path of redirectors and the parameter with the destination.
    redirectors: Vec<(WildMatch, &'static str)>,
}

/// The parts of an `http` or `https` link, as they stand.
struct Parts<'a> {
    /// Without what goes before an `@`.
    host: &'a str,
    /// With its slash; may be empty.
    path: &'a str,
    /// Without its question mark.
    query: Option<&'a str>,
    /// Before the question mark.
    before_query: &'a str,
    /// With its `#`; may be empty.
    fragment: &'a str,
}

impl<'a> Parts<'a> {
    fn of(link: &'a str) -> Option<Self> {
        let rest = without_scheme(link)?;
        let (rest, fragment) = rest.split_at(rest.find('#').unwrap_or(rest.len()));
        let (place, query) = match rest.split_once('?') {
            Some((place, query)) => (place, Some(query)),
            None => (rest, None),
        };
        let (authority, path) = place.split_at(place.find('/').unwrap_or(place.len()));
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let host = host.split_once(':').map_or(host, |(host, _)| host);
        let before_query = &link[..link.len() - rest.len() - fragment.len() + place.len()];
        Some(Parts { host, path, query, before_query, fragment })
    }
}

/// What follows `http://`, `https://` or, in HTML, `//`.
fn without_scheme(link: &str) -> Option<&str> {
    ["https://", "http://", "//"].iter().find_map(|scheme| {
        let begin = link.get(..scheme.len())?;
        begin.eq_ignore_ascii_case(scheme).then(|| &link[scheme.len()..])
    })
}

/// `host/path?query` of a link, that globs of pixels are over.
pub(crate) fn address(link: &str) -> Option<String> {
    let parts = Parts::of(link)?;
    let query = parts.query.map_or(String::new(), |query| format!("?{query}"));
    Some(format!("{}{}{query}", parts.host, parts.path))
}

fn globs<T: AsRef<str>>(list: &[T]) -> impl Iterator<Item = WildMatch> {
    list.iter().map(|glob| WildMatch::new_case_insensitive(glob.as_ref()))
}

impl Links {
    /// Takes out the known parameters and `more`, if `parameters` is set, but for those in `keep`;
    /// puts destinations in place of redirectors, if `unwrap` is set.
    pub fn new(parameters: bool, more: &[String], keep: &[String], unwrap: bool) -> Self {
        let parameters = if parameters {
            globs(&known::PARAMETERS).chain(globs(more)).collect()
        } else {
            Vec::new()
        };
        let redirectors = if unwrap {
            let glob = |(place, parameter)| (WildMatch::new_case_insensitive(place), parameter);
            known::REDIRECTORS.into_iter().map(glob).collect()
        } else {
            Vec::new()
        };
        Links { parameters, keep: globs(keep).collect(), redirectors }
    }

    /// The link without what tracks; none if it is as it should be.
    pub fn clean(&self, link: &str) -> Option<String> {
        let mut destination: Option<String> = None;
        for _ in 0..MAX_WRAPPED {
            match self.unwrap(destination.as_deref().unwrap_or(link)) {
                Some(next) => destination = Some(next),
                None => break,
            }
        }
        self.without_parameters(destination.as_deref().unwrap_or(link)).or(destination)
    }

    fn without_parameters(&self, link: &str) -> Option<String> {
        let parts = Parts::of(link)?;
        let query = parts.query?;
        let all = query.split('&').count();
        let kept: Vec<&str> = query.split('&').filter(|pair| !self.tracks(pair)).collect();
        if kept.len() == all {
            return None;
        }
        let mut cleaned = parts.before_query.to_owned();
        if !kept.is_empty() {
            cleaned.push('?');
            cleaned.push_str(&kept.join("&"));
        }
        cleaned.push_str(parts.fragment);
        Some(cleaned)
    }

    /// Whether `name=value` is there to track.
    fn tracks(&self, pair: &str) -> bool {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        let name = percent_decode_str(name).decode_utf8_lossy();
        let any = |globs: &[WildMatch]| globs.iter().any(|glob| glob.matches(&name));
        any(&self.parameters) && !any(&self.keep)
    }

    /// Where a redirector leads.
    fn unwrap(&self, link: &str) -> Option<String> {
        if self.redirectors.is_empty() {
            return None;
        }
        let parts = Parts::of(link)?;
        let destination = proofpoint(link, &parts).or_else(|| {
            let path = if parts.path.is_empty() { "/" } else { parts.path };
            let place = format!("{}{path}", parts.host);
            let known = self.redirectors.iter().filter(|(glob, _)| glob.matches(&place));
            known.filter_map(|(_, name)| parameter(parts.query?, name)).next()
        })?;
        is_link(&destination).then_some(destination)
    }
}

/// The value of a parameter, decoded.
fn parameter(query: &str, name: &str) -> Option<String> {
    let value = query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        key.eq_ignore_ascii_case(name).then_some(value)
    })?;
    Some(percent_decode_str(value).decode_utf8().ok()?.into_owned())
}

/// Proofpoint's second and third notation. In the second `-` stands for `%` and `_` for `/`; in
/// the third the destination stands in the path, unless there are characters in it that are kept
/// elsewhere, which a `*` stands for.
fn proofpoint(link: &str, parts: &Parts<'_>) -> Option<String> {
    if parts.host.eq_ignore_ascii_case("urldefense.proofpoint.com") && parts.path == "/v2/url" {
        let value = parts.query?.split('&').find_map(|pair| pair.strip_prefix("u="))?;
        let value = value.replace('-', "%").replace('_', "/");
        return Some(percent_decode_str(&value).decode_utf8().ok()?.into_owned());
    }
    if parts.host.eq_ignore_ascii_case("urldefense.com") && parts.path.starts_with("/v3/__") {
        let (_, rest) = link.split_once("/v3/__")?;
        let (destination, _) = rest.split_once("__;")?;
        return (!destination.contains('*')).then(|| destination.to_owned());
    }
    None
}

/// Whether a destination can stand where a link stood: a web page's address in printable ASCII
/// without delimiters. A redirector's parameter may hold anything.
fn is_link(text: &str) -> bool {
    let whole = Parts::of(text).is_some_and(|parts| !parts.host.is_empty());
    whole
        && !text.starts_with("//")
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>\"'`\\".contains(&byte))
}

/// Plain text with clean links; none if nothing is to be changed.
pub fn clean_text(text: &str, links: &Links) -> Option<String> {
    let mut out = String::new();
    // Up to where the text is in `out`.
    let mut done = 0;
    let mut from = 0;
    while let Some(offset) = text[from..].find("://") {
        let colon = from + offset;
        from = colon + 3;
        let scheme = ["https", "http"].iter().find(|scheme| {
            let begin = colon.checked_sub(scheme.len()).and_then(|begin| text.get(begin..colon));
            begin.is_some_and(|begin| begin.eq_ignore_ascii_case(scheme))
        });
        let Some(scheme) = scheme else { continue };
        let begin = colon - scheme.len();
        let ends = |one: char| one.is_whitespace() || one.is_control() || "<>\"".contains(one);
        let rest = &text[begin..];
        let link = &rest[..rest.find(ends).unwrap_or(rest.len())];
        // What ends a sentence or a parenthesis does not belong to the link.
        let link = link.trim_end_matches(|one| ".,;:!?)]}'".contains(one));
        from = from.max(begin + link.len());
        if begin >= done
            && let Some(clean) = links.clean(link)
        {
            out.push_str(&text[done..begin]);
            out.push_str(&clean);
            done = begin + link.len();
        }
    }
    if done == 0 {
        return None;
    }
    out.push_str(&text[done..]);
    Some(out)
}
