//! Debian's Radicale and Xandikos on loopback, what python sees on them, and archives of calendars,
//! tasks and contacts that are written here.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use archive::metadata::{self, Line};
use archive::writer::{FileMember, Options};
use archive::{Head, Writer};
use rustix::process::Signal;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::harness::{Run, ends, run, send, tar365, tool, wait_until};

pub const USER: &str = "ann@example.com";
pub const PASSWORD: &str = "pass\"word: with blanks";
pub const OWNER: &str = "users/ann@example.com";

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Behind a password; writes objects anew.
    Radicale,
    /// The same with TLS.
    SecureRadicale,
    /// Takes everybody; writes calendars anew in its own way, and says that it may mail people.
    Xandikos,
}

/// A running server.
pub struct Server {
    pub dir: TempDir,
    child: Child,
    kind: Kind,
    port: u16,
}

/// What python sees on a server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// Displayname and components, by path.
    pub collections: BTreeMap<String, (String, Vec<String>)>,
    /// Text by path.
    pub objects: BTreeMap<String, String>,
}

impl Seen {
    /// Texts by the displayname of their collection.
    pub fn by_name(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut named: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (path, (name, _)) in &self.collections {
            let inside = self.objects.iter().filter(|(object, _)| object.starts_with(path));
            named.entry(name).or_default().extend(inside.map(|(_, text)| text.as_str()));
        }
        named
    }
}

impl Server {
    pub fn start(kind: Kind) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = match kind {
            Kind::Xandikos => {
                let mut xandikos = tool("xandikos");
                xandikos.arg("-d").arg(dir.path().join("store")).args(["-l", "127.0.0.1"]);
                let user = format!("/{USER}/");
                xandikos.args(["--autocreate", "--current-user-principal", &user]);
                xandikos.arg("-p").arg(port.to_string());
                std::fs::create_dir(dir.path().join("store")).unwrap();
                xandikos
            }
            Kind::Radicale | Kind::SecureRadicale => {
                let config = dir.path().join("config");
                let text = radicale(dir.path(), port, kind == Kind::SecureRadicale);
                std::fs::write(&config, text).unwrap();
                let mut radicale = tool("radicale");
                radicale.arg("--config").arg(&config);
                radicale
            }
        };
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap();
        let server = Self { dir, child, kind, port };
        wait_until(Duration::from_secs(60), "the server listens", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        server
    }

    fn scheme(&self) -> &'static str {
        if self.kind == Kind::SecureRadicale { "https" } else { "http" }
    }

    /// `--to` with that protocol and path.
    pub fn address(&self, protocol: &str, path: &str) -> String {
        let user = USER.replace('@', "%40");
        format!("{protocol}+{}://{user}@localhost:{}{path}", self.scheme(), self.port)
    }

    /// The path of the account's collections of a kind.
    pub fn home(&self, protocol: &str) -> String {
        match (self.kind, protocol) {
            (Kind::Xandikos, "caldav") => format!("/{USER}/calendars/"),
            (Kind::Xandikos, _) => format!("/{USER}/contacts/"),
            _ => format!("/{USER}/"),
        }
    }

    /// `tar365 ARGUMENTS`, knowing password and certificate.
    pub fn tar365(&self, arguments: &[&str]) -> Command {
        let mut command = tar365(arguments);
        command.env("TAR365_DAV_PASSWORD", PASSWORD);
        if self.kind == Kind::SecureRadicale {
            command.env("TAR365_CA_CERTIFICATE", self.dir.path().join("cert.pem"));
        }
        command
    }

    /// Restores a file to it.
    pub fn import(&self, archive: &Path, protocol: &str, more: &[&str]) -> Run {
        let to = self.address(protocol, "");
        let archive = archive.to_str().unwrap();
        run(self.tar365(&[&["import", archive, "--to", &to], more].concat()))
    }

    /// A request as any client sends it: status and body.
    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Value {
        let headers: BTreeMap<&str, &str> = headers.iter().copied().collect();
        let order = json!({"method": method, "path": path, "headers": headers, "body": body});
        self.python("request", &order)
    }

    /// Everything that is there.
    pub fn seen(&self) -> Seen {
        let homes = [self.home("caldav"), self.home("carddav")];
        let seen = self.python("look", &json!({"homes": homes}));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let collections = seen["collections"].as_object().unwrap().iter();
        let objects = seen["objects"].as_object().unwrap().iter();
        Seen {
            collections: collections
                .map(|(path, about)| {
                    let components = about["components"].as_array().unwrap().iter().map(text);
                    (path.clone(), (text(&about["name"]), components.collect()))
                })
                .collect(),
            objects: objects.map(|(path, content)| (path.clone(), text(content))).collect(),
        }
    }

    /// Objects in its store, in a moment.
    pub fn stored(&self) -> usize {
        let mut open = vec![self.dir.path().join("store")];
        let mut objects = 0;
        while let Some(next) = open.pop() {
            // What it moves away in this moment is no matter.
            for entry in std::fs::read_dir(next).into_iter().flatten().flatten() {
                let (path, name) = (entry.path(), entry.file_name());
                let name = name.to_string_lossy();
                if path.is_dir() && !name.starts_with('.') {
                    open.push(path);
                } else if name.ends_with(".ics") {
                    objects += 1;
                }
            }
        }
        objects
    }

    fn python(&self, what: &str, order: &Value) -> Value {
        let mut python = tool("python3");
        let origin = format!("{}://localhost:{}", self.scheme(), self.port);
        let order = order.to_string();
        python.args(["-c", CLIENT, &origin, USER, PASSWORD, what, &order]);
        serde_json::from_slice(&run(python).expect(0).stdout).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        send(self.child.id(), Signal::TERM);
        ends(&mut self.child, Duration::from_secs(30));
    }
}

fn radicale(dir: &Path, port: u16, secure: bool) -> String {
    std::fs::write(dir.join("users"), format!("{USER}:{PASSWORD}\n")).unwrap();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let signed = rcgen::generate_simple_self_signed(names).unwrap();
    std::fs::write(dir.join("cert.pem"), signed.cert.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), signed.signing_key.serialize_pem()).unwrap();
    let dir = dir.display();
    let secure = if secure { "True" } else { "False" };
    format!(
        "[server]\nhosts = 127.0.0.1:{port}\nssl = {secure}\ncertificate = {dir}/cert.pem\n\
         key = {dir}/key.pem\nmax_connections = 20\n\
         [auth]\ntype = htpasswd\nhtpasswd_filename = {dir}/users\nhtpasswd_encryption = plain\n\
         delay = 0\n[storage]\nfilesystem_folder = {dir}/store\n"
    )
}

/// What two programs read of the same thing, for each pair of texts: the differences.
pub fn differences(pairs: &[(&str, &str)]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pairs.json");
    std::fs::write(&file, json!(pairs).to_string()).unwrap();
    let mut python = tool("python3");
    python.args(["-c", COMPARE]).arg(&file);
    serde_json::from_slice(&run(python).expect(0).stdout).unwrap()
}

/// A folder of a section, and what is in it: UID and text.
pub struct Folder<'a> {
    pub name: &'a str,
    /// Below the section.
    pub path: &'a str,
    /// The path of the folder it is in.
    pub parent: Option<&'a str>,
    pub items: Vec<(String, String)>,
}

/// An archive of sections of one owner, in a file: service and folders.
pub fn archive_of(file: &Path, sections: &[(&str, Vec<Folder<'_>>)]) {
    let spool_dir = std::env::temp_dir();
    let output = std::fs::File::create(file).unwrap();
    let mut writer = Writer::new(output, Options { align: None, spool_dir }).unwrap();
    let services = sections.iter().map(|(service, _)| (*service).to_owned()).collect();
    writer.head(&Head::new("tenant".to_owned(), services, json!({}), Vec::new())).unwrap();
    for (service, folders) in sections {
        let prefix = format!("{OWNER}/{service}");
        let (mut lines, members) = section(service, &prefix, folders);
        lines.sort_by_key(Line::key);
        let text: String = lines.iter().map(Line::encode).collect();
        put(&mut writer, &format!("{prefix}.ndjson"), &text, false);
        for (path, content) in &members {
            match content {
                Some(content) => put(&mut writer, path, content, true),
                None => writer.directory(path, 0).unwrap(),
            }
        }
    }
    writer.finish(None).unwrap();
}

type Members = Vec<(String, Option<String>)>;

fn section(service: &str, prefix: &str, folders: &[Folder<'_>]) -> (Vec<Line>, Members) {
    let line = |kind: &str, id: String, path: Option<String>, graph: Value| Line {
        kind: kind.to_owned(),
        id,
        path,
        graph,
    };
    let owner = json!({"id": "ann", "userPrincipalName": USER});
    let mut lines = vec![line(metadata::OWNER, "ann".to_owned(), None, owner)];
    let mut members = Vec::new();
    let (kind, extension) = match service {
        "calendar" => ("event", "ics"),
        "tasks" => ("task", "ics"),
        _ => ("contact", "vcf"),
    };
    for folder in folders {
        let path = format!("{prefix}/{}", folder.path);
        let graph = json!({
            "id": folder.path, "displayName": folder.name, "name": folder.name,
            "parentFolderId": folder.parent.unwrap_or_default(),
        });
        lines.push(line(metadata::FOLDER, folder.path.to_owned(), Some(path.clone()), graph));
        members.push((path.clone(), None));
        for (number, (uid, text)) in folder.items.iter().enumerate() {
            let path = format!("{path}/{number:05}.{extension}");
            let id = format!("{}-{number:05}-{uid}", folder.path);
            let graph = json!({
                "id": id, "parentFolderId": folder.path,
                "lastModifiedDateTime": "2025-03-01T10:00:00Z",
            });
            lines.push(line(kind, id, Some(path.clone()), graph));
            members.push((path, Some(text.clone())));
        }
    }
    (lines, members)
}

fn put(writer: &mut Writer<std::fs::File>, path: &str, content: &str, item: bool) {
    let sha256 = Sha256::digest(content).into();
    let size = content.len() as u64;
    let member = FileMember { path, mtime: 1_740_000_000, size, sha256, item };
    writer.file(&member, &mut content.as_bytes()).unwrap();
}

/// An event with people and more properties than most.
pub fn event(uid: &str, summary: &str) -> String {
    format!(
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//tar365//EN\r\nBEGIN:VTIMEZONE\r\n\
         TZID:Europe/Berlin\r\nBEGIN:STANDARD\r\nDTSTART:20241027T030000\r\n\
         TZOFFSETFROM:+0200\r\nTZOFFSETTO:+0100\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n\
         BEGIN:VEVENT\r\nUID:{uid}\r\nDTSTAMP:20250101T000000Z\r\n\
         DTSTART;TZID=Europe/Berlin:20250303T100000\r\nDTEND;TZID=Europe/Berlin:20250303T110000\r\n\
         SUMMARY:{summary}\r\nDESCRIPTION:One\\, two\\nthree \u{00e4}\u{20ac}\u{1d11e}\r\n\
         ORGANIZER;CN=\"Ann; A.\":mailto:ann@example.com\r\n\
         ATTENDEE;CN=Bob;PARTSTAT=ACCEPTED;ROLE=REQ-PARTICIPANT:mailto:bob@example.org\r\n\
         X-MICROSOFT-CDO-BUSYSTATUS:BUSY\r\nBEGIN:VALARM\r\nACTION:DISPLAY\r\n\
         DESCRIPTION:x\r\nTRIGGER:-PT15M\r\nEND:VALARM\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    )
}

pub fn task(uid: &str, summary: &str) -> String {
    format!(
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//tar365//EN\r\nBEGIN:VTODO\r\nUID:{uid}\r\n\
         DTSTAMP:20250101T000000Z\r\nSUMMARY:{summary}\r\nSTATUS:NEEDS-ACTION\r\n\
         DUE;VALUE=DATE:20250505\r\nX-TAR365-CHECKLIST-ITEM:{{\"displayName\":\"a\\, b\"}}\r\n\
         END:VTODO\r\nEND:VCALENDAR\r\n"
    )
}

pub fn card(uid: &str, name: &str, photo: &[u8]) -> String {
    use base64::Engine as _;
    let photo = base64::engine::general_purpose::STANDARD.encode(photo);
    let photo = format!("PHOTO;ENCODING=b;TYPE=JPEG:{photo}");
    let folded: Vec<_> = photo.as_bytes().chunks(74).map(String::from_utf8_lossy).collect();
    format!(
        "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{uid}\r\nFN:{name}\r\nN:{name};;;;\r\n\
         EMAIL;TYPE=INTERNET,PREF:x@example.org\r\nNOTE:a\\, b\\; c\\nd\r\n{}\r\nEND:VCARD\r\n",
        folded.join("\r\n ")
    )
}

const CLIENT: &str = r#"
import base64, http.client, json, ssl, sys, urllib.parse
import xml.etree.ElementTree as tree

origin, user, password, what, order = sys.argv[1:]
order = json.loads(order)
place = urllib.parse.urlsplit(origin)
login = 'Basic ' + base64.b64encode(f'{user}:{password}'.encode()).decode()

def request(method, path, headers={}, body=''):
    if place.scheme == 'https':
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(place.netloc, timeout=60, context=context)
    else:
        connection = http.client.HTTPConnection(place.netloc, timeout=60)
    connection.request(method, path, body.encode(), {'Authorization': login, **headers})
    response = connection.getresponse()
    return response.status, response.read()

def members(path):
    ask = ('<propfind xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><prop><resourcetype/>'
           '<displayname/><C:supported-calendar-component-set/></prop></propfind>')
    headers = {'Depth': '1', 'Content-Type': 'application/xml'}
    status, body = request('PROPFIND', path, headers, ask)
    if status == 404:
        return
    assert status == 207, (path, status, body)
    for response in tree.fromstring(body).findall('{DAV:}response'):
        href = urllib.parse.unquote(response.find('{DAV:}href').text)
        if href.rstrip('/') != urllib.parse.unquote(path).rstrip('/'):
            yield href, response

out = {'collections': {}, 'objects': {}}
if what == 'request':
    status, body = request(order['method'], order['path'], order['headers'], order['body'])
    out = {'status': status, 'body': body.decode('utf-8', 'replace')}
else:
    for home in set(order['homes']):
        for href, response in members(urllib.parse.quote(home)):
            name = response.find('.//{DAV:}displayname')
            components = [c.get('name') for c in response.iter('{urn:ietf:params:xml:ns:caldav}comp')]
            out['collections'][href] = {
                'name': name.text if name is not None else '', 'components': sorted(components)}
            for inside, _ in members(urllib.parse.quote(href)):
                status, body = request('GET', urllib.parse.quote(inside))
                assert status == 200, (inside, status)
                out['objects'][inside] = body.decode()
print(json.dumps(out))
"#;

const COMPARE: &str = r#"
import icalendar, json, sys, vobject

OWN = {'PRODID', 'DTSTAMP', 'VERSION', 'CALSCALE', 'LAST-MODIFIED', 'CREATED', 'REV'}

def component(it):
    lines = []
    for name, value in it.property_items(recursive=False, sorted=True):
        if name in OWN or name in ('BEGIN', 'END') or name.startswith('X-RADICALE'):
            continue
        params = {k.upper(): v for k, v in getattr(value, 'params', {}).items()}
        params.pop('SCHEDULE-AGENT', None)
        if params.get('VALUE') == 'DATE-TIME':
            params.pop('VALUE')
        text = value.to_ical() if hasattr(value, 'to_ical') else str(value)
        text = text.encode() if isinstance(text, str) else text
        text = text.replace(b'\\,', b',').replace(b'\\;', b';').replace(b'\\"', b'"')
        lines.append(f'{name} {sorted(map(str, params.items()))} {text!r}')
    parts = [component(c) for c in it.subcomponents if c.name != 'VTIMEZONE']
    return [it.name, sorted(lines), sorted(parts, key=str)]

def card(text):
    lines = []
    it = vobject.readOne(text)
    for name, all in it.contents.items():
        if name.upper() in OWN or name.upper().startswith('X-RADICALE'):
            continue
        for one in all:
            value = one.value
            value = value.hex() if isinstance(value, bytes) else str(value)
            lines.append(f'{name} {sorted(map(str, one.params.items()))} {value}')
    return sorted(lines)

def read(text):
    if text.startswith('BEGIN:VCARD'):
        return card(text)
    return component(icalendar.Calendar.from_ical(text))

out = []
for given, got in json.load(open(sys.argv[1])):
    if read(given) != read(got):
        out.append(f'{read(given)}\n is not\n{read(got)}')
print(json.dumps(out))
"#;
