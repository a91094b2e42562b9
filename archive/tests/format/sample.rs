//! Small archives with everything the format has, and what they hold.

use std::path::Path;

use archive::{
    Completeness, Head, LedgerLine, Outcome, Seal, Writer,
    metadata::{FILE, FOLDER, Line, MESSAGE, OWNER},
    path,
    writer::{FileMember, Options},
};
use serde_json::json;
use sha2::{Digest, Sha256};

/// A member as its reader should see it: path, content (none for a folder).
pub(crate) type Expected = (String, Option<Vec<u8>>);

pub(crate) fn options(align: Option<u64>) -> Options {
    Options { align, spool_dir: std::env::temp_dir() }
}

pub(crate) fn head() -> Head {
    let selection = json!({"services": ["mail", "onedrive"]});
    let services = vec!["mail".into(), "onedrive".into()];
    Head::new("9188040d-6c67-4c5b-b112-36a304b66dad".into(), services, selection, Vec::new())
}

/// An archive in the making, with what a reader should find.
pub(crate) struct Sample {
    pub(crate) writer: Writer<Vec<u8>>,
    pub(crate) expected: Vec<Expected>,
}

impl Sample {
    pub(crate) fn new(align: Option<u64>) -> Self {
        let mut writer = Writer::new(Vec::new(), options(align)).unwrap();
        writer.head(&head()).unwrap();
        let expected = vec![(archive::HEAD_PATH.into(), Some(head().encode().into_bytes()))];
        Sample { writer, expected }
    }

    pub(crate) fn file(&mut self, path: &str, mtime: i64, content: &[u8], item: bool) {
        let (size, sha256) = (content.len() as u64, Sha256::digest(content).into());
        let member = FileMember { path, mtime, size, sha256, item };
        self.writer.file(&member, &mut &content[..]).unwrap();
        self.expected.push((path.into(), Some(content.into())));
    }

    pub(crate) fn streamed(&mut self, path: &str, size: u64, content: &[u8]) {
        self.writer.begin_stream(path, 1_700_000_000, size).unwrap();
        content.chunks(700).for_each(|piece| self.writer.stream(piece).unwrap());
        self.writer.end_stream().unwrap();
        let mut padded = content.to_vec();
        padded.resize(size as usize, 0);
        self.expected.push((path.into(), Some(padded)));
    }

    pub(crate) fn directory(&mut self, path: &str, mtime: i64) {
        self.writer.directory(path, mtime).unwrap();
        self.expected.push((path.into(), None));
    }

    pub(crate) fn metadata(&mut self, prefix: &str, lines: &[Line]) {
        let text: String = lines.iter().map(Line::encode).collect();
        self.file(&format!("{prefix}.ndjson"), 0, text.as_bytes(), false);
    }

    pub(crate) fn ledger(&mut self, place: (&str, &str), outcome: Outcome, cause: &str) {
        let (scope, path) = match place {
            ("scope", scope) => (Some(scope.to_owned()), None),
            (_, path) => (None, Some(path.to_owned())),
        };
        let line = LedgerLine {
            scope,
            path,
            id: None,
            outcome,
            cause: cause.into(),
            code: Some("ErrorItemNotFound".into()),
            message: format!("it is {cause}"),
        };
        self.writer.ledger(&line).unwrap();
    }

    pub(crate) fn finish(self) -> (Vec<u8>, Seal, Vec<Expected>) {
        let (bytes, seal) = self.writer.finish(None).unwrap();
        (bytes, seal, self.expected)
    }
}

pub(crate) fn owner(id: &str, upn: &str) -> Line {
    let graph = json!({
        "displayName": "Alice", "id": id, "mail": upn, "proxyAddresses": [format!("SMTP:{upn}")],
        "userPrincipalName": upn, "userType": "Member",
    });
    Line { kind: OWNER.into(), id: id.into(), path: None, graph }
}

pub(crate) fn folder(id: &str, path: &str) -> Line {
    Line { kind: FOLDER.into(), id: id.into(), path: Some(path.into()), graph: json!({"id": id}) }
}

pub(crate) fn message(folder: &str, second: i64, subject: &str) -> Line {
    let id = format!("AAMk{second}=");
    let time = chrono::DateTime::from_timestamp(1_790_000_000 + second, 0).unwrap();
    let path = format!("{folder}/{}", path::mail_name(time.timestamp(), subject, &id));
    let graph = json!({"id": &id, "receivedDateTime": time.to_rfc3339(), "subject": subject});
    Line { kind: MESSAGE.into(), id, path: Some(path), graph }
}

pub(crate) fn drive_file(second: u32, path: &str) -> Line {
    let id = format!("01ABC{second:04}");
    let graph = json!({"createdDateTime": format!("2026-01-01T00:00:{second:02}.5Z"), "id": &id});
    Line { kind: FILE.into(), id, path: Some(path.into()), graph }
}

/// Every feature: two owners, an empty folder, names that need PAX, content of 0, 1, 511, 512 and
/// 513 bytes, a streamed and a damaged file, and ledger lines of every outcome.
pub(crate) fn full(align: Option<u64>) -> (Vec<u8>, Seal, Vec<Expected>) {
    let mut sample = Sample::new(align);
    alice_mail(&mut sample);
    alice_drive(&mut sample);
    sample.ledger(("scope", "users/bob@contoso.com/mail"), Outcome::Skipped, "no-mailbox");
    let prefix = "users/carol@contoso.com/mail";
    sample.metadata(prefix, &[owner("33333333", "carol@contoso.com")]);
    let (bytes, seal, expected) = sample.finish();
    assert_eq!(seal.outcome, Completeness::Partial);
    (bytes, seal, expected)
}

fn alice_mail(sample: &mut Sample) {
    let prefix = "users/alice@contoso.com/mail";
    let inbox = format!("{prefix}/Inbox");
    let projects = format!("{inbox}/Projekte & Pläne");
    let lines = [
        owner("11111111", "alice@contoso.com"),
        folder("F1", &inbox),
        folder("F2", &projects),
        folder("F3", &format!("{prefix}/{}", path::directory_component("empty: yes?", "F3"))),
        message(&inbox, 1, "Quarterly report"),
        message(&projects, 2, "Grüße 👍 aus\r\nMünchen"),
        message(&inbox, 3, ""),
        message(&inbox, 4, &"very long ".repeat(40)),
        message(&inbox, 5, "gone"),
        message(&inbox, 6, "refused"),
    ];
    sample.metadata(prefix, &lines);
    for (number, line) in lines.iter().enumerate().skip(1) {
        let path = line.path.as_deref().unwrap();
        match number {
            1..=3 => sample.directory(path, 0),
            8 => sample.ledger(("path", path), Outcome::Skipped, "vanished"),
            9 => sample.ledger(("path", path), Outcome::Failed, "refused"),
            _ => {
                let content = "Subject: x\r\n\r\n".repeat(number * 7);
                sample.file(path, 1_790_000_000 + number as i64 - 3, content.as_bytes(), true);
            }
        }
    }
}

fn alice_drive(sample: &mut Sample) {
    let prefix = "users/alice@contoso.com/onedrive";
    let deep = ["Übergabe", "日本語のフォルダー", "a folder with a longer name"].join("/");
    let names: Vec<String> = [
        "empty.bin".to_owned(),
        "one.txt".to_owned(),
        path::component("CON.txt", "x"),
        format!("Documents/{deep}/{}", path::component(&("長い".repeat(60) + ".docx"), "y")),
        "Documents/rows.ndjson".to_owned(),
        "Documents/streamed.iso".to_owned(),
        "Documents/damaged.iso".to_owned(),
        path::tagged_component("Readme.md", "a"),
        path::tagged_component("README.md", "b"),
    ]
    .iter()
    .map(|name| format!("{prefix}/{name}"))
    .collect();
    let mut lines = vec![owner("11111111", "alice@contoso.com")];
    lines.push(folder("01F", &format!("{prefix}/Documents")));
    lines.extend(names.iter().enumerate().map(|(second, name)| drive_file(second as u32, name)));
    sample.metadata(prefix, &lines);
    sample.directory(lines[1].path.as_deref().unwrap(), 1_600_000_000);
    let sizes = [0_usize, 1, 511, 512, 513, 3000, 3000, 20, 21];
    for (number, (name, size)) in names.iter().zip(sizes).enumerate() {
        let content: Vec<u8> = (0..size).map(|at| (at * 7 + number) as u8).collect();
        match number {
            5 => sample.streamed(name, 3000, &content),
            6 => sample.streamed(name, 3000, &content[..1234]),
            _ => sample.file(name, 1_500_000_000 + number as i64, &content, true),
        }
    }
    sample.ledger(("path", &names[4]), Outcome::Converted, "rendered");
    sample.ledger(("path", &names[6]), Outcome::Damaged, "changed-while-read");
}

/// The report of a whole verification as text lines `place: what`.
pub(crate) fn problems(bytes: &[u8]) -> Vec<String> {
    let report = archive::verify::verify(bytes, &std::env::temp_dir(), &mut |_| {}).unwrap();
    assert_eq!(report.is_proven(), report.problems.is_empty());
    let lines = report.problems.iter();
    lines.map(|problem| format!("{}: {}", problem.place, problem.what)).collect()
}

/// All files and folders below a directory, with their content.
pub(crate) fn tree(directory: &Path) -> std::collections::BTreeMap<String, Option<Vec<u8>>> {
    let mut found = std::collections::BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(at) = open.pop() {
        for entry in std::fs::read_dir(&at).unwrap() {
            let place = entry.unwrap().path();
            let name = place.strip_prefix(directory).unwrap().to_str().unwrap().to_owned();
            if place.is_dir() {
                found.insert(name, None);
                open.push(place);
            } else {
                found.insert(name, Some(std::fs::read(&place).unwrap()));
            }
        }
    }
    found
}
