//! CalDAV servers that refuse, stall, lie or mean harm: nothing is made twice, no secret leaves, and
//! a run ends with what happened.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::body::Body;
use axum::response::Response;
use tempfile::TempDir;
use tokio_util::io::ReaderStream;

use crate::dav_fake::{Asked, Fake, answer, hang_up, refusal};
use crate::dav_server::{Folder, archive_of, event};
use crate::harness::{Run, run, tar365};

const PASSWORD: &str = "geheim-4711";

struct Restore {
    dir: TempDir,
    path: PathBuf,
}

impl Restore {
    /// Of a calendar with these events.
    fn of(items: Vec<(String, String)>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m365.tar");
        let folder = Folder { name: "Calendar", path: "Calendar", parent: None, items };
        archive_of(&path, &[("calendar", vec![folder])]);
        Self { dir, path }
    }

    fn events(number: usize) -> Self {
        let uids = (0..number).map(|n| format!("uid-{n}"));
        Self::of(uids.map(|uid| (uid.clone(), event(&uid, "Meeting"))).collect())
    }

    fn journal(&self) -> String {
        self.dir.path().join("journal").to_str().unwrap().to_owned()
    }

    #[track_caller]
    fn run(&self, fake: &Fake, more: &[&str]) -> Run {
        let (journal, to) = (self.journal(), fake.address());
        let archive = self.path.to_str().unwrap();
        let arguments = ["import", archive, "--to", &to, "--journal", &journal];
        let mut command = tar365(&[&arguments, more].concat());
        command.env("TAR365_DAV_PASSWORD", PASSWORD);
        let run = run(command);
        assert!(!run.stderr.contains(PASSWORD), "{}", run.stderr);
        run
    }

    fn undo(&self) -> Run {
        let mut command = tar365(&["import", "--undo", &self.journal()]);
        command.env("TAR365_DAV_PASSWORD", PASSWORD);
        run(command)
    }
}

fn is(asked: &Asked, method: &str) -> bool {
    asked.method == method
}

/// A server that says this once to the first request of a method.
fn once(
    method: &'static str,
    say: impl Fn(&Asked, &Fake) -> Response + Send + Sync + 'static,
) -> Arc<Fake> {
    let said = AtomicU32::new(0);
    Fake::start("1, calendar-access", "", move |asked, fake| {
        (is(asked, method) && said.fetch_add(1, Ordering::Relaxed) == 0).then(|| say(asked, fake))
    })
}

/// A server that says this to every request of a method.
fn always(method: &'static str, say: impl Fn() -> Response + Send + Sync + 'static) -> Arc<Fake> {
    Fake::start("1, calendar-access", "", move |asked, _| is(asked, method).then(&say))
}

#[test]
fn credentials_that_are_refused_end_it() {
    for (header, said) in
        [("Basic realm=x", "does not take the credentials"), ("Digest realm=x", "another way")]
    {
        let fake = Fake::start("1", "", move |_, _| {
            Some(answer(401, &[("www-authenticate", header)], ""))
        });
        let run = Restore::events(2).run(&fake, &[]).expect(77);
        assert!(run.stderr.contains(said), "{}", run.stderr);
    }
    // Midway.
    let fake = always("PUT", || answer(401, &[], ""));
    let restore = Restore::events(30);
    restore.run(&fake, &[]).expect(77);
    assert!(fake.all("PUT").len() <= 4);
}

#[test]
fn who_says_to_wait_is_waited_for() {
    for status in [429, 503] {
        let fake = once("PUT", move |_, _| answer(status, &[("retry-after", "1")], ""));
        let run = Restore::events(1).run(&fake, &[]).expect(0);
        assert!(run.stderr.contains("1 created"), "{}", run.stderr);
        assert_eq!(fake.all("PUT").len(), 2);
    }
    let fake = always("PUT", || answer(503, &[("retry-after", "100000")], ""));
    Restore::events(1).run(&fake, &[]).expect(75);
    assert_eq!(fake.all("PUT").len(), 1);
}

#[test]
fn a_full_server_is_not_asked_for_ever() {
    let fake = always("PUT", || refusal(507, "<D:quota-not-exceeded/>"));
    let run = Restore::events(20).run(&fake, &["--concurrency", "1"]).expect(3);
    assert_eq!(fake.all("PUT").len(), 3, "{}", run.stderr);
    assert!(run.stderr.contains("20 failed"), "{}", run.stderr);
}

#[test]
fn one_that_is_refused_does_not_end_the_run() {
    let said = [
        (403, "<C:supported-calendar-component/>"),
        (403, "<C:max-resource-size/>"),
        (400, ""),
        (500, ""),
    ];
    for (status, condition) in said {
        let fake = once("PUT", move |_, _| refusal(status, condition));
        let run = Restore::events(3).run(&fake, &[]).expect(3);
        assert!(
            run.stderr.contains("2 created") && run.stderr.contains("1 failed"),
            "{}",
            run.stderr
        );
        let name = condition.trim_start_matches("<C:").trim_end_matches("/>");
        assert!(run.stderr.contains(name), "{}", run.stderr);
    }
    // What is known to be refused is not sent.
    let most = "<C:max-resource-size>100</C:max-resource-size>";
    let fake = Fake::start("1", most, |_, _| None);
    let run = Restore::events(1).run(&fake, &[]).expect(3);
    assert!(run.stderr.contains("larger than the server takes"), "{}", run.stderr);
    assert_eq!(fake.all("PUT").len(), 0);
}

#[test]
fn a_password_never_goes_to_another_host() {
    let other = Fake::start("1", "", |_, _| None);
    for method in ["PROPFIND", "PUT"] {
        for status in [301, 302, 307, 308] {
            let to = format!("http://127.0.0.1:{}/x", other.port);
            let fake = once(method, move |_, _| answer(status, &[("location", &to)], ""));
            let run = Restore::events(2).run(&fake, &[]).expect(2);
            let named = format!("http://127.0.0.1:{}", other.port);
            assert!(run.stderr.contains(&named), "{}", run.stderr);
        }
    }
    // Nor to where an answer says the calendars are.
    let body = format!(
        "<multistatus xmlns='DAV:' xmlns:C='urn:ietf:params:xml:ns:caldav'><response><href>/</href>\
         <propstat><prop><C:calendar-home-set><href>http://127.0.0.1:{}/</href>\
         </C:calendar-home-set></prop><status>HTTP/1.1 200 OK</status></propstat></response>\
         </multistatus>",
        other.port
    );
    let fake = once("PROPFIND", move |_, _| answer(207, &[], &body));
    Restore::events(1).run(&fake, &[]).expect(2);
    assert!(other.asked.lock().unwrap().is_empty());
}

#[test]
fn redirects_on_the_same_host_are_followed() {
    let fake =
        Fake::start("1", "", |asked, _| match (asked.method.as_str(), asked.path.as_str()) {
            ("PROPFIND", "/.well-known/caldav") => {
                Some(answer(301, &[("location", "/moved/")], ""))
            }
            ("PROPFIND", "/moved/") => Some(answer(308, &[("location", "/")], "")),
            ("PUT", path) if !path.starts_with("/b/") => {
                Some(answer(307, &[("location", &format!("/b{path}"))], ""))
            }
            _ => None,
        });
    let restore = Restore::events(1);
    restore.run(&fake, &[]).expect(0);
    let puts = fake.all("PUT");
    assert_eq!(puts.len(), 2);
    assert_eq!((puts[1].header("if-none-match"), &puts[0].body), ("*", &puts[1].body));
    restore.undo().expect(0);
    assert!(fake.objects.lock().unwrap().is_empty());
    let circles = Fake::start("1", "", |_, _| Some(answer(301, &[("location", "/a")], "")));
    Restore::events(1).run(&circles, &[]).expect(75);
}

#[test]
fn answers_that_are_none() {
    let endless = || {
        let body = Body::from_stream(ReaderStream::new(tokio::io::repeat(b'<')));
        Response::builder().status(207).body(body).unwrap()
    };
    for body in ["", "<", "hello", "<a/>", "<multistatus xmlns='DAV:'><response></x>"] {
        let fake = always("PROPFIND", move || answer(207, &[], body));
        Restore::events(1).run(&fake, &[]).expect(2);
    }
    let fake = always("PROPFIND", endless);
    let run = Restore::events(1).run(&fake, &[]);
    assert!(run.code != 0 && run.stderr.contains("no end"), "{}", run.stderr);
    // What is made is there, whatever the server then shows.
    let endless = move || {
        let mut answer = endless();
        *answer.status_mut() = axum::http::StatusCode::OK;
        answer
    };
    let fake = always("GET", endless);
    let run = Restore::events(1).run(&fake, &[]).expect(0);
    assert!(run.stderr.contains("1 items: altered"), "{}", run.stderr);
    assert_eq!(fake.all("PUT").len(), 1);
}

#[test]
fn an_answer_that_got_lost_makes_nothing_twice() {
    let fake = once("PUT", |asked, fake| {
        fake.usual(asked);
        hang_up()
    });
    let restore = Restore::events(3);
    let run = restore.run(&fake, &[]).expect(0);
    assert_eq!(fake.objects.lock().unwrap().len(), 3, "{}", run.stderr);
    assert_eq!(fake.all("PUT").len(), 4);
    // It was ours, so it goes too.
    restore.undo().expect(0);
    assert!(fake.objects.lock().unwrap().is_empty());
    assert!(fake.collections.lock().unwrap().is_empty());
}

#[test]
fn one_that_breaks_every_connection_is_left_out() {
    let fake = Fake::start("1", "", |asked, _| {
        (is(asked, "PUT") && asked.body.contains("uid-1\r")).then(hang_up)
    });
    let run = Restore::events(3).run(&fake, &[]).expect(3);
    assert!(run.stderr.contains("2 created") && run.stderr.contains("1 failed"), "{}", run.stderr);
}

#[test]
fn a_uid_that_is_taken() {
    for text in [event("uid-0", "Meeting"), event("uid-0", "Something else")] {
        let is_same = text.contains("Meeting");
        let fake = Fake::start("1", "", |asked, _| {
            let taken = "<C:no-uid-conflict><D:href>/home/other.ics</D:href></C:no-uid-conflict>";
            is(asked, "PUT").then(|| refusal(409, taken))
        });
        fake.objects.lock().unwrap().insert("/home/other.ics".to_owned(), text);
        let restore = Restore::events(1);
        let run = restore.run(&fake, &[]).expect(if is_same { 0 } else { 3 });
        let said = if is_same { "1 there already" } else { "1 left out" };
        assert!(run.stderr.contains(said), "{}", run.stderr);
        // It is somebody else's.
        restore.undo();
        assert_eq!(fake.objects.lock().unwrap().len(), 1);
    }
}

#[test]
fn nobody_is_mailed() {
    let method = "VERSION:2.0\r\nMETHOD:REQUEST\r\n";
    let text = event("uid-0", "Meeting").replace("VERSION:2.0\r\n", method);
    for (dav, marked) in [("1, calendar-access, calendar-auto-schedule", true), ("1", false)] {
        let restore = Restore::of(vec![("uid-0".to_owned(), text.clone())]);
        let fake = Fake::start(dav, "", |_, _| None);
        let run = restore.run(&fake, &[]).expect(0);
        let puts = fake.all("PUT");
        let sent = puts[0].body.replace("\r\n ", "");
        assert!(!sent.contains("METHOD"), "{sent}");
        let people = sent.lines().filter(|line| line.contains("mailto:"));
        for person in people {
            assert_eq!(person.contains(";SCHEDULE-AGENT=NONE"), marked, "{person}");
        }
        assert_eq!(run.stderr.contains("1 items: scheduling"), marked, "{}", run.stderr);
        restore.undo().expect(0);
        for gone in fake.all("DELETE") {
            assert_eq!(gone.header("schedule-reply"), "F", "{gone:?}");
            assert!(gone.path.ends_with('/') || gone.header("if-match").starts_with('"'));
        }
        assert!(fake.objects.lock().unwrap().is_empty());
    }
}

#[test]
fn large_attachments_are_not_held_in_memory() {
    let line = format!("{}\r\n ", "A".repeat(74));
    let attachment = format!(
        "ATTACH;ENCODING=BASE64;VALUE=BINARY:\r\n {}AAAA\r\nEND:VEVENT",
        line.repeat(1 << 20)
    );
    let text = event("uid-0", "Meeting").replace("END:VEVENT", &attachment);
    let restore = Restore::of(vec![("uid-0".to_owned(), text.clone())]);
    let fake = Fake::start("1, calendar-auto-schedule", "", |_, _| None);
    let (journal, to) = (restore.journal(), fake.address());
    let path = restore.path.to_str().unwrap();
    let mut command = tar365(&["import", path, "--to", &to, "--journal", &journal]);
    command.env("TAR365_DAV_PASSWORD", PASSWORD).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut peak = 0;
    let status = loop {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let now = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok());
        peak = peak.max(now.unwrap_or(0_u64));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    assert!(status.success());
    let sent = text.len() as u64 / 1024;
    assert!(peak < sent, "{peak} KiB for an event of {sent} KiB");
    assert_eq!(fake.objects.lock().unwrap().len(), 1);
}

#[test]
fn addresses_and_secrets() {
    let restore = Restore::events(1);
    let archive = restore.path.to_str().unwrap();
    let with = |to: &str, secret: Option<&str>| {
        let mut command = tar365(&["import", archive, "--to", to]);
        if let Some(secret) = secret {
            command.env("TAR365_DAV_PASSWORD", secret);
        }
        run(command).expect(2)
    };
    with("caldav+https://ann@dav.example.com", None);
    let clear = with("caldav+http://ann@dav.example.com", Some("x"));
    assert!(clear.stderr.contains("without TLS"), "{}", clear.stderr);
    let inside = with("caldav+https://ann:geheim@dav.example.com", Some("x"));
    assert!(!inside.stderr.contains("geheim"), "{}", inside.stderr);
    // A file, or a token.
    let file = restore.dir.path().join("password");
    std::fs::write(&file, format!("{PASSWORD}\n")).unwrap();
    let basic = "Basic YW5uOmdlaGVpbS00NzEx";
    for (name, value, sent) in [
        ("TAR365_DAV_PASSWORD_FILE", file.to_str().unwrap(), basic),
        ("TAR365_DAV_TOKEN", "abc.def", "Bearer abc.def"),
    ] {
        let fake = Fake::start("1", "", |_, _| None);
        let mut command = tar365(&["import", archive, "--to", &fake.address()]);
        command.env(name, value).env("XDG_STATE_HOME", restore.dir.path());
        run(command).expect(0);
        assert_eq!(fake.all("PUT")[0].header("authorization"), sent);
    }
}
