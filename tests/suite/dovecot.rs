//! Debian's Dovecot on loopback with its own configuration in a folder of its own, a server that it
//! asks whether a token is good, and python's imaplib to see what came of it all.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axum::{Json, Router, routing::post};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{ends, python, runtime, send, tar365, tool, wait_until};

pub const USER: &str = "ann@example.com";
pub const PASSWORD: &str = "pass\"word\\ with blanks";
pub const TOKEN: &str = "eyJ0eXAi.good-token";

/// What differs from one server to the next.
#[derive(Default)]
pub struct Setup {
    /// Between the levels of a name; `/` unless set.
    pub separator: Option<&'static str>,
    /// What all names but INBOX begin with.
    pub prefix: &'static str,
    /// What it says it can, if not all it can.
    pub capability: Option<&'static str>,
    /// Most bytes of all mails.
    pub quota: Option<u64>,
    /// It does not offer TLS, so that what it says can be read on the way.
    pub readable: bool,
    /// Names of mailboxes and what they are for; they are made at once.
    pub special: &'static [(&'static str, &'static str)],
}

/// A running server.
pub struct Dovecot {
    dir: TempDir,
    child: Child,
    pub imap: u16,
    pub imaps: u16,
}

/// A message as imaplib sees it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Message {
    /// Decoded name, with the separator of the server.
    pub mailbox: String,
    pub sha256: String,
    /// INTERNALDATE, seconds since 1970.
    pub date: i64,
    /// Decoded as names are, sorted, without `\Recent`.
    pub flags: Vec<String>,
}

impl Dovecot {
    pub fn start(setup: &Setup) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // As root it gives its rights away to a user of its own, who has to get in.
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        for name in ["mail", "home"] {
            let path = dir.path().join(name);
            std::fs::create_dir(&path).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
        }
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let signed = rcgen::generate_simple_self_signed(names).unwrap();
        std::fs::write(dir.path().join("cert.pem"), signed.cert.pem()).unwrap();
        std::fs::write(dir.path().join("key.pem"), signed.signing_key.serialize_pem()).unwrap();
        let users = format!("{USER}:{{PLAIN}}{PASSWORD}\n");
        std::fs::write(dir.path().join("users"), users).unwrap();
        let (imap, imaps) = (free_port(), free_port());
        std::fs::write(dir.path().join("oauth2"), oauth2(introspection())).unwrap();
        let config = dir.path().join("dovecot.conf");
        std::fs::write(&config, configuration(&dir, setup, imap, imaps)).unwrap();
        let mut dovecot = Command::new("/usr/sbin/dovecot");
        dovecot.arg("-F").arg("-c").arg(&config).stdin(Stdio::null());
        let child = dovecot.spawn().expect("dovecot is missing: run tests/setup");
        let server = Self { dir, child, imap, imaps };
        wait_until(Duration::from_secs(30), "dovecot listens", || {
            [imap, imaps].iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok())
        });
        server
    }

    pub fn address(&self, folder: &str) -> String {
        let user = USER.replace('@', "%40");
        format!("imaps://{user}@localhost:{}/{folder}", self.imaps)
    }

    pub fn certificate(&self) -> PathBuf {
        self.dir.path().join("cert.pem")
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// `tar365 ARGUMENTS`, knowing password and certificate.
    pub fn tar365(&self, arguments: &[&str]) -> Command {
        let mut command = tar365(arguments);
        command
            .env("TAR365_IMAP_PASSWORD", PASSWORD)
            .env("TAR365_CA_CERTIFICATE", self.certificate());
        command
    }

    /// Everything that is there.
    pub fn messages(&self) -> Vec<Message> {
        let seen = self.seen();
        let messages = seen["messages"].as_array().unwrap().iter();
        let mut messages: Vec<Message> = messages
            .map(|message| Message {
                mailbox: message["mailbox"].as_str().unwrap().to_owned(),
                sha256: message["sha256"].as_str().unwrap().to_owned(),
                date: message["date"].as_i64().unwrap(),
                flags: strings(&message["flags"]),
            })
            .collect();
        messages.sort();
        messages
    }

    /// Decoded names of all mailboxes, and their attributes.
    pub fn mailboxes(&self) -> BTreeMap<String, Vec<String>> {
        let seen = self.seen();
        let mailboxes = seen["mailboxes"].as_object().unwrap().iter();
        mailboxes.map(|(name, attributes)| (name.clone(), strings(attributes))).collect()
    }

    /// Decoded names of subscribed mailboxes.
    pub fn subscribed(&self) -> Vec<String> {
        strings(&self.seen()["subscribed"])
    }

    fn seen(&self) -> Value {
        let port = self.imap.to_string();
        let arguments = [port.as_str(), USER, PASSWORD].map(std::ffi::OsStr::new);
        serde_json::from_str(&python(READER, &arguments)).unwrap()
    }

    /// Commands as they stand, by a client that knows nothing; the tagged answers.
    pub fn commands(&self, commands: &[&str]) -> Vec<String> {
        let port = self.imap.to_string();
        let mut arguments = vec![port.as_str(), USER, PASSWORD];
        arguments.extend(commands);
        let arguments: Vec<_> = arguments.into_iter().map(std::ffi::OsStr::new).collect();
        serde_json::from_str(&python(COMMANDS, &arguments)).unwrap()
    }

    /// All mails as mbsync pulls them into a Maildir: what mblaze counts there, and how many mbsync
    /// does not take for mails.
    pub fn pulled(&self) -> (usize, usize) {
        let local = tempfile::tempdir().unwrap();
        let path = local.path().to_str().unwrap();
        let secret = local.path().join("secret");
        std::fs::write(&secret, format!("{PASSWORD}\n")).unwrap();
        let config = local.path().join("mbsyncrc");
        let port = self.imap;
        let text = format!(
            "IMAPAccount a\nHost 127.0.0.1\nPort {port}\nUser {USER}\nPassCmd \"cat {path}/secret\"\n\
             SSLType None\nAuthMechs LOGIN\n\nIMAPStore far\nAccount a\n\n\
             MaildirStore near\nPath {path}/mail/\nInbox {path}/mail/INBOX\nSubFolders Verbatim\n\n\
             Channel all\nFar :far:\nNear :near:\nPatterns *\nCreate Near\nSync Pull\n\
             CopyArrivalDate yes\nSyncState *\n"
        );
        std::fs::write(&config, text).unwrap();
        std::fs::create_dir(local.path().join("mail")).unwrap();
        let mut mbsync = tool("mbsync");
        mbsync.arg("-c").arg(&config).arg("-a").env("HOME", local.path());
        let run = crate::harness::run(mbsync).expect(0);
        let refused = run.stderr.lines().filter(|line| line.contains("incomplete header")).count();
        let mut mlist = tool("mlist");
        let mut folders = vec![local.path().join("mail")];
        let mut maildirs = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                let is_part = ["cur", "new", "tmp"].iter().any(|part| path.ends_with(part));
                if path.is_dir() && !is_part {
                    folders.push(path);
                }
            }
            if folder.join("cur").is_dir() {
                maildirs.push(folder);
            }
        }
        mlist.args(maildirs);
        let listed = crate::harness::run(mlist).expect(0).stdout;
        (listed.iter().filter(|byte| **byte == b'\n').count(), refused)
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        send(self.child.id(), Signal::TERM);
        ends(&mut self.child, Duration::from_secs(30));
    }
}

fn strings(value: &Value) -> Vec<String> {
    let values = value.as_array().unwrap().iter();
    values.map(|value| value.as_str().unwrap().to_owned()).collect()
}

/// A port that was free a moment ago: dovecot can't choose one itself.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Serves token introspection (RFC 7662) as long as the tests run; its port.
fn introspection() -> u16 {
    let answer = |body: String| async move {
        let pairs = url::form_urlencoded::parse(body.as_bytes()).into_owned();
        let good = pairs.into_iter().any(|(key, value)| key == "token" && value == TOKEN);
        Json(if good {
            json!({"active": true, "username": USER})
        } else {
            json!({"active": false})
        })
    };
    let router = Router::new().route("/introspect", post(answer));
    let listener = runtime().block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let port = listener.local_addr().unwrap().port();
    runtime().spawn(async move { axum::serve(listener, router).await });
    port
}

fn oauth2(port: u16) -> String {
    format!(
        "introspection_mode = post\n\
         introspection_url = http://127.0.0.1:{port}/introspect\n\
         username_attribute = username\n\
         active_attribute = active\n\
         active_value = true\n"
    )
}

fn configuration(dir: &TempDir, setup: &Setup, imap: u16, imaps: u16) -> String {
    let dir = dir.path().display();
    let is_root = rustix::process::getuid().is_root();
    let own = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    let own = own.trim();
    // Root's mail is served by the users that the package has made for it; anybody else is all of
    // them himself, and can't lock anybody in.
    let (internal, login) = if is_root { ("dovecot", "dovenull") } else { (own, own) };
    let capability = setup.capability.map(|c| format!("imap_capability = {c}\n"));
    let capability = capability.unwrap_or_default();
    let quota = setup.quota.map(|bytes| {
        format!(
            "mail_plugins = quota\nprotocol imap {{\n  mail_plugins = quota imap_quota\n}}\n\
             plugin {{\n  quota = count:User quota\n  quota_vsizes = yes\n  \
             quota_rule = *:bytes={bytes}\n  quota_grace = 0\n}}\n"
        )
    });
    let quota = quota.unwrap_or_default();
    let ssl = if setup.readable { "no" } else { "yes" };
    let (separator, prefix) = (setup.separator.unwrap_or("/"), setup.prefix);
    let special: String = setup
        .special
        .iter()
        .map(|(name, is)| {
            format!("  mailbox \"{name}\" {{\n    special_use = {is}\n    auto = create\n  }}\n")
        })
        .collect();
    let nobody_locked_in: String = ["anvil", "imap-login", "stats"]
        .map(|service| format!("service {service} {{\n  chroot =\n}}\n"))
        .concat();
    format!(
        "base_dir = {dir}/run\nstate_dir = {dir}/state\nlog_path = {dir}/log\n\
         protocols = imap\nlisten = 127.0.0.1\ndefault_internal_user = {internal}\n\
         default_internal_group = {group}\ndefault_login_user = {login}\nfirst_valid_uid = 1\n\
         ssl = {ssl}\nssl_cert = <{dir}/cert.pem\nssl_key = <{dir}/key.pem\n\
         disable_plaintext_auth = no\nauth_mechanisms = plain login xoauth2 oauthbearer\n\
         mail_location = sdbox:{dir}/mail/%u\nmail_max_userip_connections = 50\n\
         {capability}{quota}{nobody_locked_in}\
         service imap-login {{\n  inet_listener imap {{\n    port = {imap}\n  }}\n  \
         inet_listener imaps {{\n    port = {imaps}\n    ssl = {ssl}\n  }}\n}}\n\
         passdb {{\n  driver = oauth2\n  mechanisms = xoauth2 oauthbearer\n  \
         args = {dir}/oauth2\n}}\n\
         passdb {{\n  driver = passwd-file\n  mechanisms = plain login\n  args = {dir}/users\n}}\n\
         userdb {{\n  driver = static\n  args = uid={internal} gid={group} home={dir}/home/%u\n}}\n\
         namespace inbox {{\n  inbox = yes\n  separator = {separator}\n  prefix = {prefix}\n\
         {special}}}\n",
        group = if is_root {
            "dovecot".to_owned()
        } else {
            let group = Command::new("id").arg("-gn").output().unwrap().stdout;
            String::from_utf8(group).unwrap().trim().to_owned()
        },
    )
}

const READER: &str = r#"
import calendar, hashlib, imaplib, json, re, sys, time

def decoded(name):
    part = lambda match: ('+' + match[1].replace(',', '/') + '-').encode().decode('utf-7')
    return re.sub('&([^-]*)-', lambda match: part(match) if match[1] else '&', name)

def names(lines):
    for line in lines:
        if isinstance(line, tuple):  # the name came as a literal
            attributes, name = line[0].decode(), line[1].decode()
        elif line:
            text = line.decode()
            attributes = text
            name = re.match(r'\([^)]*\) (?:"(?:[^"\\]|\\.)*"|NIL) (.*)', text)[1]
            if name.startswith('"'):
                name = re.sub(r'\\(.)', r'\1', name[1:-1])
        else:
            continue
        yield name, re.match(r'\(([^)]*)\)', attributes)[1].split()

port, user, password = sys.argv[1:]
imaplib._MAXLINE = 100_000_000
server = imaplib.IMAP4('127.0.0.1', int(port))
server.authenticate('PLAIN', lambda _: f'\0{user}\0{password}'.encode())
out = {'mailboxes': {}, 'messages': [], 'subscribed': []}
listed = list(names(server.list('""', '"*"')[1]))
out['subscribed'] = sorted(decoded(name) for name, _ in names(server.lsub('""', '"*"')[1]))
for name, attributes in listed:
    out['mailboxes'][decoded(name)] = sorted(attributes)
    if r'\Noselect' in attributes:
        continue
    quoted = '"' + name.replace('\\', '\\\\').replace('"', '\\"') + '"'
    status, count = server.select(quoted, readonly=True)
    assert status == 'OK', (name, count)
    if count == [b'0']:
        continue
    status, data = server.uid('FETCH', '1:*', '(UID FLAGS INTERNALDATE BODY.PEEK[])')
    assert status == 'OK'
    for entry in data:
        if not isinstance(entry, tuple):
            continue
        head, body = entry[0].decode(), entry[1]
        flags = re.search(r'FLAGS \(([^)]*)\)', head)[1].split()
        date = re.search(r'INTERNALDATE "([^"]*)"', head)[1].strip()
        stamp, zone = date.rsplit(' ', 1)
        offset = (int(zone[1:3]) * 60 + int(zone[3:5])) * 60 * (-1 if zone[0] == '-' else 1)
        seconds = calendar.timegm(time.strptime(stamp, '%d-%b-%Y %H:%M:%S')) - offset
        out['messages'].append({
            'mailbox': decoded(name), 'sha256': hashlib.sha256(body).hexdigest(),
            'date': seconds, 'flags': sorted(decoded(f) for f in flags if f != r'\Recent')})
server.logout()
print(json.dumps(out))
"#;

const COMMANDS: &str = r#"
import imaplib, json, sys
port, user, password, *commands = sys.argv[1:]
server = imaplib.IMAP4('127.0.0.1', int(port))
server.authenticate('PLAIN', lambda _: f'\0{user}\0{password}'.encode())
answers = []
for command in commands:
    tag = server._new_tag()
    server.send(tag + b' ' + command.encode() + b'\r\n')
    while True:
        line = server._get_line()
        if line.startswith(tag):
            answers.append(line.decode()[len(tag) + 1:])
            break
print(json.dumps(answers))
"#;
