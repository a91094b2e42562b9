//! What is asked for in XML, and what a server answers (RFC 4918, 4791, 6352, 5689, 5397).

use quick_xml::NsReader;
use quick_xml::escape::escape;
use quick_xml::events::Event;
use quick_xml::name::ResolveResult;

use super::object::Kind;

/// Deeper than any answer.
const DEEPEST: usize = 64;
/// All of it in one element: no answer has a longer text that we read.
const LONGEST_TEXT: usize = 64 * 1024;

const NAMESPACES: &str = "xmlns:D=\"DAV:\" xmlns:C=\"urn:ietf:params:xml:ns:caldav\" \
    xmlns:A=\"urn:ietf:params:xml:ns:carddav\"";

/// What we want to know of any resource.
pub(super) fn propfind() -> String {
    document(
        "D:propfind",
        "<D:prop><D:resourcetype/><D:displayname/><D:current-user-principal/>\
         <C:calendar-home-set/><A:addressbook-home-set/><C:supported-calendar-component-set/>\
         <C:max-resource-size/><A:max-resource-size/><A:supported-address-data/></D:prop>",
    )
}

/// Whether anything is in a collection.
pub(super) fn propfind_members() -> String {
    document("D:propfind", "<D:prop><D:getetag/></D:prop>")
}

/// Objects of this UID. Servers match any part of it, so answers are looked at.
pub(super) fn query(kind: Kind, uid: &str) -> String {
    let uid = escape(clean(uid)).into_owned();
    match kind {
        Kind::Event | Kind::Task => document(
            "C:calendar-query",
            &format!(
                "<D:prop><D:getetag/></D:prop><C:filter><C:comp-filter name=\"VCALENDAR\">\
                 <C:comp-filter name=\"{}\"><C:prop-filter name=\"UID\">\
                 <C:text-match collation=\"i;octet\">{uid}</C:text-match></C:prop-filter>\
                 </C:comp-filter></C:comp-filter></C:filter>",
                kind.component()
            ),
        ),
        Kind::Card => document(
            "A:addressbook-query",
            &format!(
                "<D:prop><D:getetag/></D:prop><A:filter><A:prop-filter name=\"UID\">\
                 <A:text-match collation=\"i;unicode-casemap\" match-type=\"equals\">{uid}\
                 </A:text-match></A:prop-filter></A:filter>"
            ),
        ),
    }
}

/// A new calendar (RFC 4791, 5.3.1).
pub(super) fn mkcalendar(name: &str, kind: Kind) -> String {
    document("C:mkcalendar", &set(name, kind, false))
}

/// A new collection of the kind (RFC 5689).
pub(super) fn mkcol(name: &str, kind: Kind) -> String {
    document("D:mkcol", &set(name, kind, true))
}

fn set(name: &str, kind: Kind, with_type: bool) -> String {
    let name = escape(clean(name)).into_owned();
    let (resource_type, components) = match kind {
        Kind::Card => ("A:addressbook", String::new()),
        Kind::Event | Kind::Task => (
            "C:calendar",
            format!(
                "<C:supported-calendar-component-set><C:comp name=\"{}\"/>\
                 </C:supported-calendar-component-set>",
                kind.component()
            ),
        ),
    };
    let resource_type = match with_type {
        true => format!("<D:resourcetype><D:collection/><{resource_type}/></D:resourcetype>"),
        false => String::new(),
    };
    format!(
        "<D:set><D:prop>{resource_type}<D:displayname>{name}</D:displayname>{components}</D:prop>\
         </D:set>"
    )
}

fn document(root: &str, content: &str) -> String {
    format!("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<{root} {NAMESPACES}>{content}</{root}>")
}

/// Without the characters that XML can't hold.
pub(super) fn clean(text: &str) -> String {
    let is_no_xml = |c: char| (c.is_control() && c != '\t') || matches!(c, '\u{fffe}' | '\u{ffff}');
    text.chars().map(|c| if is_no_xml(c) { ' ' } else { c }).collect()
}

/// What a server says of a resource, as far as it is there (`200`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Resource {
    /// As the server wrote it.
    pub(super) href: String,
    pub(super) is_collection: bool,
    pub(super) is_calendar: bool,
    pub(super) is_address_book: bool,
    pub(super) name: Option<String>,
    pub(super) principal: Option<String>,
    pub(super) calendar_homes: Vec<String>,
    pub(super) address_book_homes: Vec<String>,
    /// Components that a calendar takes; none if all.
    pub(super) components: Option<Vec<String>>,
    pub(super) max_size: Option<u64>,
    /// It is an address book that takes vCard 4.0, too.
    pub(super) takes_vcard4: bool,
    /// The server has nothing there.
    pub(super) is_missing: bool,
}

/// Reads a `multistatus`.
///
/// # Errors
/// What is wrong with it.
pub(super) fn multistatus(body: &[u8]) -> Result<Vec<Resource>, String> {
    let mut answer = Answer::default();
    walk(body, &mut answer)?;
    if answer.is_multistatus { Ok(answer.resources) } else { Err("it is no multistatus".into()) }
}

/// Local names of what an error is about (RFC 4918, 16), and the address it names.
pub(super) fn preconditions(body: &[u8]) -> (Vec<String>, Option<String>) {
    let mut conditions = Conditions::default();
    // Errors may be anything; what can't be read says nothing.
    drop(walk(body, &mut conditions));
    (conditions.names, conditions.href)
}

/// Who looks at elements when they begin and end. Names are `D:href`, with our prefixes.
trait Visit {
    /// `attribute` gives one of the element's.
    fn begin(&mut self, way: &[String], attribute: &dyn Fn(&str) -> Option<String>);
    fn end(&mut self, way: &[String], text: &str);
}

fn walk(body: &[u8], visit: &mut impl Visit) -> Result<(), String> {
    let text = std::str::from_utf8(body).map_err(|_| "it is not UTF-8".to_owned())?;
    let mut reader = NsReader::from_str(text.trim_start_matches('\u{feff}'));
    reader.config_mut().expand_empty_elements = true;
    let (mut way, mut content) = (Vec::<String>::new(), String::new());
    loop {
        let (namespace, event) = reader.read_resolved_event().map_err(|e| e.to_string())?;
        match event {
            Event::Start(start) => {
                if way.len() == DEEPEST {
                    return Err("it is nested too deep".into());
                }
                let prefix = prefix(&namespace);
                let local = String::from_utf8_lossy(start.local_name().as_ref()).into_owned();
                let attribute = |name: &str| {
                    let found = start.try_get_attribute(name).ok().flatten()?;
                    Some(found.unescape_value().ok()?.into_owned())
                };
                way.push(format!("{prefix}:{local}"));
                content.clear();
                visit.begin(&way, &attribute);
            }
            Event::End(_) => {
                visit.end(&way, content.trim());
                content.clear();
                way.pop();
            }
            Event::Text(text) => push(&mut content, &text.xml_content().map_err(encoding)?),
            Event::CData(text) => push(&mut content, &text.xml_content().map_err(encoding)?),
            Event::GeneralRef(entity) => {
                let known = match entity.resolve_char_ref().map_err(|e| e.to_string())? {
                    Some(c) => c,
                    None => match &*entity.decode().map_err(encoding)? {
                        "amp" => '&',
                        "lt" => '<',
                        "gt" => '>',
                        "quot" => '"',
                        "apos" => '\'',
                        // Those of a document type are nobody's: they can grow without end.
                        _ => return Err("it has entities of its own".into()),
                    },
                };
                push(&mut content, known.encode_utf8(&mut [0; 4]));
            }
            Event::Eof if way.is_empty() => return Ok(()),
            Event::Eof => return Err("it breaks off".into()),
            _ => {}
        }
    }
}

fn encoding(error: quick_xml::encoding::EncodingError) -> String {
    error.to_string()
}

fn push(content: &mut String, text: &str) {
    if content.len() + text.len() <= LONGEST_TEXT {
        content.push_str(text);
    }
}

fn prefix(namespace: &ResolveResult<'_>) -> char {
    let ResolveResult::Bound(namespace) = namespace else { return '?' };
    match namespace.as_ref() {
        b"DAV:" => 'D',
        b"urn:ietf:params:xml:ns:caldav" => 'C',
        b"urn:ietf:params:xml:ns:carddav" => 'A',
        _ => '?',
    }
}

#[derive(Debug, Default)]
struct Answer {
    is_multistatus: bool,
    resources: Vec<Resource>,
    /// Of the `propstat` that is open; its status comes at its end.
    properties: Resource,
    is_good: bool,
}

impl Visit for Answer {
    fn begin(&mut self, way: &[String], attribute: &dyn Fn(&str) -> Option<String>) {
        match &way.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["D:multistatus"] => self.is_multistatus = true,
            ["D:multistatus", "D:response"] => self.resources.push(Resource::default()),
            ["D:multistatus", "D:response", "D:propstat"] => {
                self.properties = Resource::default();
                self.is_good = false;
            }
            [_, _, _, "D:prop", "D:resourcetype", kind] => match *kind {
                "D:collection" => self.properties.is_collection = true,
                "C:calendar" => self.properties.is_calendar = true,
                "A:addressbook" => self.properties.is_address_book = true,
                _ => {}
            },
            [_, _, _, "D:prop", "C:supported-calendar-component-set"] => {
                self.properties.components = Some(Vec::new());
            }
            [_, _, _, "D:prop", "C:supported-calendar-component-set", "C:comp"] => {
                self.properties.components.get_or_insert_default().extend(attribute("name"));
            }
            [_, _, _, "D:prop", "A:supported-address-data", "A:address-data-type"] => {
                // What is not said is said by the standard (RFC 6352, 6.2.2).
                let is_card = attribute("content-type").is_none_or(|kind| kind == "text/vcard");
                let version = attribute("version");
                self.properties.takes_vcard4 |= is_card && version.as_deref() == Some("4.0");
            }
            _ => {}
        }
    }

    fn end(&mut self, way: &[String], text: &str) {
        let (properties, text) = (&mut self.properties, || text.to_owned());
        match &way.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [_, "D:response", "D:href"] => self.last(|resource| resource.href = text()),
            [_, "D:response", "D:status"] => {
                self.last(|resource| resource.is_missing = !is_good(&text()));
            }
            [_, _, "D:propstat", "D:status"] => self.is_good = is_good(&text()),
            [_, _, _, "D:prop", "D:displayname"] => properties.name = Some(text()),
            [_, _, _, "D:prop", "D:current-user-principal", "D:href"] => {
                properties.principal = Some(text());
            }
            [_, _, _, "D:prop", "C:calendar-home-set", "D:href"] => {
                properties.calendar_homes.push(text());
            }
            [_, _, _, "D:prop", "A:addressbook-home-set", "D:href"] => {
                properties.address_book_homes.push(text());
            }
            [_, _, _, "D:prop", "C:max-resource-size" | "A:max-resource-size"] => {
                properties.max_size = text().parse().ok();
            }
            ["D:multistatus", "D:response", "D:propstat"] if self.is_good => {
                let properties = std::mem::take(&mut self.properties);
                self.last(|resource| resource.join(properties));
            }
            _ => {}
        }
    }
}

impl Answer {
    fn last(&mut self, change: impl FnOnce(&mut Resource)) {
        if let Some(resource) = self.resources.last_mut() {
            change(resource);
        }
    }
}

impl Resource {
    /// A server may tell properties in several lots.
    fn join(&mut self, other: Self) {
        self.is_collection |= other.is_collection;
        self.is_calendar |= other.is_calendar;
        self.is_address_book |= other.is_address_book;
        self.name = self.name.take().or(other.name);
        self.principal = self.principal.take().or(other.principal);
        self.calendar_homes.extend(other.calendar_homes);
        self.address_book_homes.extend(other.address_book_homes);
        self.components = self.components.take().or(other.components);
        self.max_size = self.max_size.or(other.max_size);
        self.takes_vcard4 |= other.takes_vcard4;
    }
}

/// `HTTP/1.1 200 OK`.
fn is_good(status: &str) -> bool {
    status.split_whitespace().nth(1).is_some_and(|code| code.starts_with('2'))
}

#[derive(Debug, Default)]
struct Conditions {
    names: Vec<String>,
    href: Option<String>,
}

impl Visit for Conditions {
    fn begin(&mut self, way: &[String], _: &dyn Fn(&str) -> Option<String>) {
        // Also within the answer of a MKCALENDAR.
        if let [.., error, name] = way
            && error == "D:error"
            && let Some((_, local)) = name.split_once(':')
            && local.len() < 100
        {
            self.names.push(local.to_owned());
        }
    }

    fn end(&mut self, way: &[String], text: &str) {
        if let [.., error, _, href] = way
            && error == "D:error"
            && href == "D:href"
        {
            self.href = Some(text.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let body = br#"<?xml version="1.0"?>
            <multistatus xmlns="DAV:" xmlns:cal="urn:ietf:params:xml:ns:caldav">
            <response><href>/a/%20b/</href><propstat><prop>
              <resourcetype><collection/><cal:calendar/></resourcetype>
              <displayname>Tom &amp; J&#252;rgen <![CDATA[<3]]></displayname>
              <cal:supported-calendar-component-set><cal:comp name="VTODO"/>
              </cal:supported-calendar-component-set>
              <cal:calendar-home-set><href>/h/</href></cal:calendar-home-set>
              <cal:max-resource-size> 1000 </cal:max-resource-size>
            </prop><status>HTTP/1.1 200 OK</status></propstat>
            <propstat><prop><current-user-principal><href>/no/</href></current-user-principal>
            </prop><status>HTTP/1.1 404 Not Found</status></propstat></response>
            <response><href>/gone</href><status>HTTP/1.1 404 Not Found</status></response>
            </multistatus>"#;
        let resources = multistatus(body).unwrap();
        let expected = Resource {
            href: "/a/%20b/".into(),
            is_collection: true,
            is_calendar: true,
            name: Some("Tom & J\u{fc}rgen <3".into()),
            calendar_homes: vec!["/h/".into()],
            components: Some(vec!["VTODO".into()]),
            max_size: Some(1000),
            ..Resource::default()
        };
        assert_eq!(resources[0], expected);
        assert!(resources[1].is_missing);
    }

    #[test]
    fn what_is_no_answer() {
        let deep = "<a>".repeat(1000);
        let lol = "<!DOCTYPE x [<!ENTITY a \"aa\">]><multistatus xmlns=\"DAV:\">&a;</multistatus>";
        for body in [
            "",
            "hello",
            "<html></html>",
            "<multistatus xmlns=\"DAV:\">",
            "<a></b>",
            &deep,
            lol,
            "<multistatus/>",
        ] {
            assert!(multistatus(body.as_bytes()).is_err(), "{body}");
        }
        assert!(multistatus(b"\xff\xfe").is_err());
    }

    #[test]
    fn errors_name_their_condition() {
        let body = br#"<d:error xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav">
            <c:no-uid-conflict><d:href>/x.ics</d:href></c:no-uid-conflict></d:error>"#;
        let expected = (vec!["no-uid-conflict".to_owned()], Some("/x.ics".to_owned()));
        assert_eq!(preconditions(body), expected);
        assert_eq!(preconditions(b"nothing"), (Vec::new(), None));
    }

    #[test]
    fn names_are_escaped() {
        let body = mkcalendar("a<b>&\u{1}", Kind::Event);
        assert!(body.contains("<D:displayname>a&lt;b&gt;&amp; </D:displayname>"), "{body}");
    }
}
