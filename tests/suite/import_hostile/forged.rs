//! Archives that nobody would write, with digests that agree.

use serde_json::{Value, json};

use super::HEAD;
use crate::harness::sha256;

/// An archive that is built member by member, as right or as wrong as a case wants it. The
/// manifest, the ledger and the seal fit it unless they are told otherwise.
pub(super) struct Forged {
    pub(super) bytes: Vec<u8>,
    pub(super) manifest: String,
    pub(super) members: u64,
    pub(super) items: u64,
}

impl Forged {
    pub(super) fn new() -> Self {
        let mut forged = Self { bytes: Vec::new(), manifest: String::new(), members: 0, items: 0 };
        forged.file(".tar365/archive.json", format!("{HEAD}\n").as_bytes());
        forged
    }

    /// A ustar header, with an `x` header before it if the name needs one.
    pub(super) fn header(&mut self, path: &str, size: u64, kind: u8, link: &str) {
        if path.len() > 100 || !path.is_ascii() {
            let record = pax("path", path);
            self.block("PaxHeaders/x", record.len() as u64, b'x', "");
            self.padded(record.as_bytes());
            self.block("tar365/long", size, kind, link);
        } else {
            self.block(path, size, kind, link);
        }
    }

    pub(super) fn block(&mut self, name: &str, size: u64, kind: u8, link: &str) {
        let mut block = [0_u8; 512];
        let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
        put(0, name.as_bytes());
        put(100, if kind == b'5' { b"0000755" } else { b"0000644" });
        put(108, b"0000000");
        put(116, b"0000000");
        if size < 1 << 33 {
            put(124, format!("{size:011o}").as_bytes());
        } else {
            put(124, &[0x80]);
            put(128, &size.to_be_bytes());
        }
        put(136, b"00000000000");
        put(148, b"        ");
        put(156, &[kind]);
        put(157, link.as_bytes());
        put(257, b"ustar\x0000");
        put(329, b"0000000");
        put(337, b"0000000");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:07o}\0").as_bytes());
        self.bytes.extend(block);
    }

    pub(super) fn padded(&mut self, content: &[u8]) {
        self.bytes.extend(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
    }

    pub(super) fn line(&mut self, line: &Value) {
        self.manifest += &format!("{line}\n");
        self.members += 1;
    }

    pub(super) fn file(&mut self, path: &str, content: &[u8]) {
        let start = self.bytes.len();
        self.header(path, content.len() as u64, b'0', "");
        self.padded(content);
        let span = self.bytes.len() - start;
        let (size, sha256) = (content.len(), sha256(content));
        self.line(&json!({ "path": path, "sha256": sha256, "size": size, "span": span }));
        self.items += u64::from(!path.ends_with(".ndjson") && path.starts_with("users/"));
    }

    /// A link or device or whatever the type says.
    pub(super) fn special(&mut self, path: &str, kind: u8, link: &str) {
        let start = self.bytes.len();
        self.header(path, 0, kind, link);
        let span = self.bytes.len() - start;
        self.line(&json!({ "path": path, "size": 0, "span": span }));
    }

    /// A section: metadata, then the members.
    pub(super) fn section(&mut self, prefix: &str, lines: &[Value], members: &[(&str, &[u8])]) {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.file(&format!("{prefix}.ndjson"), text.as_bytes());
        for (path, content) in members {
            self.file(path, content);
        }
    }

    pub(super) fn sealed(self) -> Vec<u8> {
        self.sealed_with(|_| {})
    }

    /// Sealed, after `lie` had its say about the seal.
    pub(super) fn sealed_with(mut self, lie: impl Fn(&mut Value)) -> Vec<u8> {
        let manifest = std::mem::take(&mut self.manifest).into_bytes();
        let members = self.members;
        let mut extent = |path: &str, content: &[u8]| {
            let record = pax("comment", &format!("sha256:{}", sha256(content)));
            self.block("PaxHeaders/x", record.len() as u64, b'x', "");
            self.padded(record.as_bytes());
            self.block(path, content.len() as u64, b'0', "");
            let offset = self.bytes.len();
            self.padded(content);
            json!({ "offset": offset, "length": content.len(), "sha256": sha256(content) })
        };
        let (manifest, ledger) =
            (extent(".tar365/manifest.ndjson", &manifest), extent(".tar365/ledger.ndjson", b""));
        let mut seal = json!({
            "converted": 0, "damaged": 0, "failed": 0, "items": self.items, "ledger": ledger,
            "manifest": manifest, "members": members, "outcome": "complete", "skipped": 0,
            "version": 1,
        });
        lie(&mut seal);
        let mut text = seal.to_string();
        text += &" ".repeat(4095 - text.len());
        text.push('\n');
        self.block(".tar365/seal.json", 4096, b'0', "");
        self.padded(text.as_bytes());
        self.bytes.extend([0; 1024]);
        self.bytes
    }
}

/// One PAX record; its length counts itself.
pub(super) fn pax(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len() + 1;
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    format!("{length}{rest}")
}

pub(super) fn owner() -> Value {
    json!({ "kind": "owner", "id": "1", "graph": {
        "id": "1", "userPrincipalName": "eva@example.com", "mail": "eva@example.com",
    } })
}

pub(super) fn folder(id: &str, parent: &str, name: &str, path: &str) -> Value {
    json!({ "kind": "folder", "id": id, "path": path,
        "graph": { "id": id, "displayName": name, "name": name, "parentFolderId": parent,
                   "parentReference": { "id": parent }, "folder": {} } })
}

pub(super) fn message(id: &str, parent: &str, path: &str) -> Value {
    json!({ "kind": "message", "id": id, "path": path,
        "graph": { "id": id, "parentFolderId": parent, "subject": "S", "isRead": true,
                   "receivedDateTime": "2026-09-01T00:00:00Z" } })
}

pub(super) fn file(id: &str, parent: &str, name: &str, path: &str) -> Value {
    json!({ "kind": "file", "id": id, "path": path,
        "graph": { "id": id, "name": name, "parentReference": { "id": parent }, "file": {},
                   "createdDateTime": "2026-09-01T00:00:00Z", "size": 1 } })
}

pub(super) const EML: &[u8] = b"Subject: S\r\nMessage-ID: <s@example.com>\r\n\r\nText\r\n";
