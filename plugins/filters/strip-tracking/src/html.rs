//! HTML: tags are found and changed where they stand, all else is as it was.

use std::ops::Range;

use wildmatch::WildMatch;

use crate::known;
use crate::link::{self, Links};

/// Tags without an end after which no more are looked for. For a browser all that follows the
/// first is part of it; and to find that one has no end takes reading all that follows.
const MAX_ENDLESS: u32 = 4;

/// What is done to HTML.
#[derive(Debug)]
pub struct Rules {
    /// To links.
    pub links: Links,
    /// Addresses of pixels; none if pixels stay.
    pixels: Option<Vec<WildMatch>>,
}

impl Rules {
    /// Cleans links, and takes out pixels, those at `more` addresses too, if `pixels` is set.
    pub fn new(links: Links, pixels: bool, more: &[String]) -> Self {
        let all = known::PIXELS.into_iter().chain(more.iter().map(String::as_str));
        let pixels = pixels.then(|| all.map(WildMatch::new_case_insensitive).collect());
        Rules { links, pixels }
    }
}

/// HTML without what tracks; none if nothing is to be changed. Tags are found in comments too:
/// Outlook reads some of them.
pub fn clean_html(html: &str, rules: &Rules) -> Option<String> {
    let mut out = String::new();
    // Up to where the text is in `out`.
    let mut done = 0;
    let mut from = 0;
    let mut endless = 0;
    while let Some(offset) = html[from..].find('<') {
        let begin = from + offset;
        from = begin + 1;
        if !html[from..].starts_with(|one: char| one.is_ascii_alphabetic()) {
            continue;
        }
        let Some(tag) = Tag::at(html, begin) else {
            endless += 1;
            if endless == MAX_ENDLESS {
                break;
            }
            continue;
        };
        from = tag.end;
        if rules.is_pixel(html, &tag) {
            out.push_str(&html[done..begin]);
            done = tag.end;
            continue;
        }
        if tag.is(html, &["link", "base"]) {
            continue;
        }
        for attribute in &tag.attributes {
            if !html[attribute.name.clone()].eq_ignore_ascii_case("href") {
                continue;
            }
            let value = decode(&html[attribute.value.clone()]);
            if let Some(clean) = rules.links.clean(value.trim()) {
                out.push_str(&html[done..attribute.value.start]);
                out.push_str(&encode(&clean));
                done = attribute.value.end;
            }
        }
    }
    if done == 0 {
        return None;
    }
    out.push_str(&html[done..]);
    Some(out)
}

impl Rules {
    /// Whether a tag is a picture that is fetched and not seen.
    fn is_pixel(&self, html: &str, tag: &Tag) -> bool {
        let Some(pixels) = &self.pixels else { return false };
        if !tag.is(html, &["img", "amp-img", "amp-pixel"]) {
            return false;
        }
        // Pictures in the mail itself (`cid:`, `data:`) report to nobody.
        let source = tag.attribute(html, "src").unwrap_or_default();
        let Some(address) = link::address(source.trim()) else { return false };
        tag.is(html, &["amp-pixel"])
            || is_unseen(html, tag)
            || pixels.iter().any(|glob| glob.matches(&address))
    }
}

/// Whether a picture has no place or is hidden, by its attributes or its style. A picture that is
/// small in one direction only is a line or a space.
fn is_unseen(html: &str, tag: &Tag) -> bool {
    let style = tag.attribute(html, "style").unwrap_or_default().to_ascii_lowercase();
    let styles: Vec<(&str, &str)> = style
        .split(';')
        .filter_map(|one| one.split_once(':'))
        .map(|(name, value)| (name.trim(), value.trim().trim_end_matches("!important").trim()))
        .collect();
    let styled = |name: &str| styles.iter().find(|one| one.0 == name).map(|one| one.1);
    let hidden = styled("display") == Some("none")
        || styled("visibility") == Some("hidden")
        || styled("opacity").is_some_and(is_zero);
    let small = |name: &str| {
        let by_style = [styled(name), styled(&format!("max-{name}"))].into_iter().flatten();
        let attribute = tag.attribute(html, name);
        by_style.chain(attribute.as_deref()).any(is_dot)
    };
    hidden || small("width") && small("height")
}

/// At most one pixel: `1`, `0`, `1px`, `0.5px`.
fn is_dot(length: &str) -> bool {
    let number = length.trim().trim_end_matches("px").trim();
    number.parse::<f64>().is_ok_and(|number| (0.0..=1.0).contains(&number))
}

fn is_zero(number: &str) -> bool {
    number.parse::<f64>().is_ok_and(|number| number == 0.0)
}

/// A start tag in HTML.
struct Tag {
    name: Range<usize>,
    attributes: Vec<Attribute>,
    /// After its `>`.
    end: usize,
}

/// An attribute of a tag.
struct Attribute {
    name: Range<usize>,
    /// Without quotes; empty if it has none.
    value: Range<usize>,
}

impl Tag {
    /// The start tag whose `<` stands at `begin`, read as the HTML standard says (13.2.5.6 to
    /// 13.2.5.40). A letter follows. None if it has no end.
    fn at(html: &str, begin: usize) -> Option<Self> {
        let bytes = html.as_bytes();
        let end_of = |from: usize, ends: &dyn Fn(u8) -> bool| {
            let length = bytes[from..].iter().position(|byte| ends(*byte));
            length.map(|length| from + length)
        };
        let is_space = |byte: u8| byte.is_ascii_whitespace();
        let mut at = end_of(begin + 1, &|byte| is_space(byte) || byte == b'/' || byte == b'>')?;
        let mut tag = Tag { name: begin + 1..at, attributes: Vec::new(), end: 0 };
        loop {
            at = end_of(at, &|byte| !is_space(byte) && byte != b'/')?;
            if bytes[at] == b'>' {
                tag.end = at + 1;
                return Some(tag);
            }
            // An equals sign at the beginning of a name belongs to it.
            let name_end =
                end_of(at + 1, &|byte| is_space(byte) || matches!(byte, b'/' | b'>' | b'='))?;
            let name = at..name_end;
            at = end_of(name_end, &|byte| !is_space(byte))?;
            let mut value = at..at;
            if bytes[at] == b'=' {
                at = end_of(at + 1, &|byte| !is_space(byte))?;
                value = match bytes[at] {
                    quote @ (b'"' | b'\'') => {
                        let end = end_of(at + 1, &|byte| byte == quote)?;
                        let value = at + 1..end;
                        at = end + 1;
                        value
                    }
                    b'>' => at..at,
                    _ => {
                        let end = end_of(at, &|byte| is_space(byte) || byte == b'>')?;
                        let value = at..end;
                        at = end;
                        value
                    }
                };
            }
            tag.attributes.push(Attribute { name, value });
        }
    }

    fn is(&self, html: &str, names: &[&str]) -> bool {
        names.iter().any(|name| html[self.name.clone()].eq_ignore_ascii_case(name))
    }

    /// The value of the first attribute of this name, decoded.
    fn attribute(&self, html: &str, name: &str) -> Option<String> {
        let of_name = |one: &&Attribute| html[one.name.clone()].eq_ignore_ascii_case(name);
        let attribute = self.attributes.iter().find(of_name)?;
        Some(decode(&html[attribute.value.clone()]))
    }
}

/// References that stand in addresses.
const REFERENCES: [(&str, char); 5] =
    [("amp", '&'), ("quot", '"'), ("apos", '\''), ("lt", '<'), ("gt", '>')];

/// An attribute's value: numeric references and those above are resolved.
fn decode(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let reference = rest[1..].split_once(';').and_then(|(name, _)| {
            let one = REFERENCES.iter().find(|known| known.0 == name).map(|known| known.1);
            Some((name.len() + 2, one.or_else(|| numeric(name))?))
        });
        let (length, one) = reference.unwrap_or((1, '&'));
        out.push(one);
        rest = &rest[length..];
    }
    out.push_str(rest);
    out
}

/// The character of `#38` or `#x26`.
fn numeric(name: &str) -> Option<char> {
    let number = name.strip_prefix('#')?;
    let code = match number.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => number.parse(),
    };
    char::from_u32(code.ok()?)
}

/// A link as the value of an attribute, quoted in any way or not at all.
fn encode(link: &str) -> String {
    let mut out = String::with_capacity(link.len() + 16);
    for one in link.chars() {
        match REFERENCES.iter().find(|known| known.1 == one) {
            // XML's name for it is not HTML 4's.
            Some(("apos", _)) => out.push_str("&#39;"),
            Some((name, _)) => {
                out.push('&');
                out.push_str(name);
                out.push(';');
            }
            None if one.is_ascii_whitespace() => out.push_str(&format!("&#{};", u32::from(one))),
            None => out.push(one),
        }
    }
    out
}
