//! Whether a file of the service is the one it was given. SharePoint writes properties into
//! Office files (FACTS 5.6), so what they say is compared when their bytes can't be.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use graph::{ErrorKind, Json};
use quickxorhash::QuickXorHash;
use serde_json::Value;
use zip::ZipArchive;

use super::{DrivePlace, Spot, has_times, hash, is_same_content, text};
use crate::content::Content;
use crate::error::Error;
use crate::item::Item;
use crate::options::OnConflict;
use crate::place::Loss;

/// Most bytes that are unpacked to compare one file.
const MOST_UNPACKED: u64 = 2 << 30;

/// What a file of the service is to an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Likeness {
    /// The same bytes.
    Same,
    /// Other bytes that say the same.
    Rewritten,
    /// It may be, and nobody can tell.
    Unverified,
    /// Something else.
    Other,
}

impl Likeness {
    pub(super) const fn loss(self) -> Option<Loss> {
        match self {
            Self::Rewritten => Some(Loss::Rewritten),
            Self::Unverified => Some(Loss::Unverified),
            Self::Same | Self::Other => None,
        }
    }
}

impl DrivePlace {
    /// Compares. `own` is the hash of the item's bytes, if it is known better than from the
    /// archive.
    pub(super) async fn likeness(
        &self,
        item: &Item,
        there: &Value,
        own: Option<&str>,
    ) -> Result<Likeness, Error> {
        if there.get("file").is_none() {
            return Ok(Likeness::Other);
        }
        let listed = hash(&item.line.graph);
        let own = own.or(listed.as_deref());
        if there.get("size").and_then(Value::as_u64) == Some(item.size) {
            // A file that was rewritten has another size.
            let is_same = hash(there).zip(own).is_none_or(|(there, own)| there == own);
            return Ok(if is_same { Likeness::Same } else { Likeness::Other });
        }
        match Office::of(item) {
            None => Ok(Likeness::Other),
            Some(Office::Package) if item.content.is_repeatable() => {
                self.compare_packages(item, &text(there, "id")).await
            }
            Some(_) => Ok(Likeness::Unverified),
        }
    }

    /// Whether what is there is this item, put there by an earlier run or never gone. A file that
    /// the service rewrote has the times it was given.
    pub(super) async fn is_this(
        &self,
        item: &Item,
        there: &Value,
    ) -> Result<Option<Likeness>, Error> {
        let graph = &item.line.graph;
        let has_size = there.get("size").and_then(Value::as_u64) == Some(item.size);
        if !has_size && !has_times(there, graph) {
            return Ok(None);
        }
        if has_size && item.size > 0 && (hash(there).is_none() || hash(graph).is_none()) {
            let is_same = there.get("file").is_some() && self.has_bytes(item, there).await?;
            return Ok(is_same.then_some(Likeness::Same));
        }
        Ok(match self.likeness(item, there, None).await? {
            Likeness::Other => None,
            // Outside of a folder of our own, that its times are right proves nothing.
            Likeness::Unverified if self.beside.is_none() && !self.was_put(item, there)? => None,
            like => Some(like),
        })
    }

    /// Whether a run that died was putting the item there, and this is no more what it found.
    fn was_put(&self, item: &Item, there: &Value) -> Result<bool, Error> {
        if !item.is_doubtful {
            return Ok(false);
        }
        let (spot, _) = self.journal.under_way(&self.section, &item.path)?;
        let spot: Option<Spot> = spot.and_then(|spot| serde_json::from_str(&spot).ok());
        let etag = text(there, "eTag");
        Ok(spot.is_some_and(|spot| spot.before.is_none_or(|before| before != etag)))
    }

    /// Compares the bytes where a hash is not listed, by reading them.
    async fn has_bytes(&self, item: &Item, there: &Value) -> Result<bool, Error> {
        if !item.content.is_repeatable() {
            return Ok(has_times(there, &item.line.graph));
        }
        let failed = |source| Error::Graph { doing: format!("checking {}", item.path), source };
        let ours = match hash(&item.line.graph) {
            Some(hash) => hash,
            None => {
                let content = item.content.again();
                let read = tokio::task::spawn_blocking(move || quick_xor(content.open()?));
                let read = read.await.map_err(io::Error::other).flatten();
                read.map_err(|source| Error::Content { path: item.path.clone(), source })?
            }
        };
        if let Some(theirs) = hash(there) {
            return Ok(theirs == ours);
        }
        let id = text(there, "id");
        let mut download = self.graph.open_file(&self.drive, &id).await.map_err(failed)?;
        let mut digest = QuickXorHash::new();
        while let Some(chunk) = download.chunk().await.map_err(failed)? {
            digest.update(&chunk);
        }
        Ok(BASE64.encode(digest.finalize()) == ours)
    }

    /// The file itself, unchanged, if its owner only moved it since it was exported.
    pub(super) async fn moved(&self, item: &Item) -> Result<Option<Json>, Error> {
        if !self.is_home || self.on_conflict != OnConflict::Skip {
            return Ok(None);
        }
        let there = match self.look(&self.item(&item.line.id)).await {
            Ok(there) => there,
            // No id that this drive could have given.
            Err(error) if *error.kind() == ErrorKind::BadRequest => None,
            Err(source) => {
                let doing = format!("looking for {}", item.path);
                return Err(Error::Graph { doing, source });
            }
        };
        // A drive that was made anew may have given the id to another file, made at another time.
        let created = |of: &Value| text(of, "createdDateTime").get(..19).map(str::to_owned);
        let is_it = |there: &Json| {
            created(there) == created(&item.line.graph)
                && is_same_content(there, &item.line.graph, item.size)
        };
        Ok(there.filter(|there| there.get("deleted").is_none() && is_it(there)))
    }

    async fn compare_packages(&self, item: &Item, id: &str) -> Result<Likeness, Error> {
        let spool = |source| Error::Spool { path: self.spool_dir.clone(), source };
        let failed = |source| Error::Graph { doing: format!("checking {}", item.path), source };
        let mut theirs = tempfile::tempfile_in(&self.spool_dir).map_err(spool)?;
        let mut download = self.graph.open_file(&self.drive, id).await.map_err(failed)?;
        while let Some(chunk) = download.chunk().await.map_err(failed)? {
            theirs.write_all(&chunk).map_err(spool)?;
        }
        let (content, dir) = (item.content.again(), self.spool_dir.clone());
        let compared = tokio::task::spawn_blocking(move || compare(&content, theirs, &dir));
        compared
            .await
            .map_err(|error| spool(io::Error::other(error)))?
            .map_err(|source| Error::Content { path: item.path.clone(), source })
    }
}

/// The service's hash (FACTS 4.4), as it lists it.
fn quick_xor(mut content: impl Read) -> io::Result<String> {
    let (mut digest, mut piece) = (QuickXorHash::new(), vec![0; 64 * 1024]);
    loop {
        match content.read(&mut piece)? {
            0 => return Ok(BASE64.encode(digest.finalize())),
            read => digest.update(&piece[..read]),
        }
    }
}

/// The formats that SharePoint writes properties into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Office {
    /// A zip of parts.
    Package,
    /// The formats before that.
    Legacy,
}

impl Office {
    fn of(item: &Item) -> Option<Self> {
        const PACKAGES: [&str; 12] = [
            "docx", "docm", "dotx", "xlsx", "xlsm", "xlsb", "xltx", "pptx", "pptm", "ppsx", "potx",
            "vsdx",
        ];
        let name = text(&item.line.graph, "name");
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        let is_in = |kinds: &[&str]| kinds.iter().any(|kind| kind.eq_ignore_ascii_case(extension));
        match (is_in(&PACKAGES), is_in(&["doc", "xls", "ppt"])) {
            (true, _) => Some(Self::Package),
            (_, true) => Some(Self::Legacy),
            _ => None,
        }
    }
}

/// Compares the parts of two packages, but for those that SharePoint writes.
fn compare(content: &Content, theirs: File, dir: &Path) -> io::Result<Likeness> {
    let mut ours = tempfile::tempfile_in(dir)?;
    io::copy(&mut content.open()?, &mut ours)?;
    // An encrypted one is no zip: it can't be looked into.
    let Some(ours) = parts(ours)? else { return Ok(Likeness::Unverified) };
    Ok(match parts(theirs)? {
        Some(theirs) if theirs == ours => Likeness::Rewritten,
        _ => Likeness::Other,
    })
}

/// Name, size and CRC of the parts that make the document, each proven by reading it. None if
/// that is not possible.
fn parts(mut file: File) -> io::Result<Option<Vec<(String, u64, u32)>>> {
    file.rewind()?;
    let Ok(mut package) = ZipArchive::new(io::BufReader::new(file)) else { return Ok(None) };
    let (mut parts, mut unpacked) = (Vec::new(), 0_u64);
    for index in 0..package.len() {
        let Ok(mut part) = package.by_index(index) else { return Ok(None) };
        let Ok(name) = part.name().map(std::borrow::Cow::into_owned) else { return Ok(None) };
        let (size, crc) = (part.size(), part.crc32());
        if part.is_dir() || is_of_properties(&name) {
            continue;
        }
        unpacked = unpacked.saturating_add(size);
        // Its CRC is checked where it ends; the size it claims may be a lie.
        let read =
            io::copy(&mut io::Read::take(&mut part, size.saturating_add(1)), &mut io::sink());
        if unpacked > MOST_UNPACKED || read.ok() != Some(size) {
            return Ok(None);
        }
        parts.push((name, size, crc));
    }
    parts.sort_unstable();
    Ok(Some(parts))
}

/// Parts that hold properties, and those that list the parts.
fn is_of_properties(name: &str) -> bool {
    name.starts_with("docProps/")
        || name.starts_with("customXml/")
        || name == "[Content_Types].xml"
        || name.ends_with(".rels")
}

#[cfg(test)]
mod tests {
    use super::*;
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    fn package(parts: &[(&str, &str)]) -> Vec<u8> {
        let mut package = ZipWriter::new(io::Cursor::new(Vec::new()));
        for (name, text) in parts {
            package.start_file(*name, SimpleFileOptions::default()).unwrap();
            package.write_all(text.as_bytes()).unwrap();
        }
        package.finish().unwrap().into_inner()
    }

    fn likeness(ours: &[u8], theirs: &[u8]) -> Likeness {
        let dir = std::env::temp_dir();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(theirs).unwrap();
        compare(&Content::Memory(ours.to_vec().into()), file, &dir).unwrap()
    }

    #[test]
    fn what_a_document_says_is_compared() {
        let own = package(&[("word/document.xml", "hello hello"), ("docProps/core.xml", "1")]);
        let properties = [
            ("docProps/core.xml", "2"),
            ("customXml/item1.xml", "x"),
            ("word/_rels/document.xml.rels", "y"),
            ("word/document.xml", "hello hello"),
        ];
        assert_eq!(likeness(&own, &package(&properties)), Likeness::Rewritten);
        let other = package(&[("word/document.xml", "hello jello"), ("docProps/core.xml", "1")]);
        assert_eq!(likeness(&own, &other), Likeness::Other);
        assert_eq!(likeness(&own, &package(&[("docProps/core.xml", "1")])), Likeness::Other);
        // A zip that is broken in the middle, or none at all.
        let mut broken = own.clone();
        broken[30 + "word/document.xml".len()] ^= 0xff;
        assert_eq!(likeness(&own, &broken), Likeness::Other);
        assert_eq!(likeness(&own, b"nothing"), Likeness::Other);
        assert_eq!(likeness(b"encrypted", &own), Likeness::Unverified);
    }
}
