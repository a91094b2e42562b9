//! Writes an archive to any sink, in one pass and in constant memory.

use std::{
    io::{BufWriter, ErrorKind, Read, Write},
    path::PathBuf,
};

use sha2::{Digest, Sha256};

use crate::{
    Error, FAILED_PATH, FORMAT, HEAD_PATH, LEDGER_PATH, MANIFEST_PATH, SEAL_PATH,
    digest::Sha256Digest,
    header::{self, BLOCK, Fields, MAX_ALIGN},
    manifest::ManifestLine,
    path,
    reader::Kind,
    spool::Spool,
};
pub use crate::{
    head::{FilterRef, Head},
    ledger::{LedgerLine, Outcome},
    seal::{Completeness, Extent, Seal},
};

/// What the poison member claims to hold: more than ever follows.
const POISON_SIZE: u64 = 1 << 32;
const ZEROS: [u8; 4096] = [0; 4096];
/// Bytes copied at once.
const COPY_SIZE: usize = 64 * 1024;

/// How to write.
#[derive(Debug, Clone)]
pub struct Options {
    /// Starts every content at a multiple of this many bytes, for targets that deduplicate fixed
    /// blocks: a power of two from 512 to 65536. The filler goes into the PAX comment.
    pub align: Option<u64>,
    /// Folder for the temporary files of manifest and ledger.
    pub spool_dir: PathBuf,
}

/// A file whose content is whole and checked.
#[derive(Debug, Clone, Copy)]
pub struct FileMember<'a> {
    /// Path in the archive.
    pub path: &'a str,
    /// The item's own time in seconds since 1970; clamped to 0..2^31-1.
    pub mtime: i64,
    /// Bytes of content.
    pub size: u64,
    /// Digest of the content.
    pub sha256: Sha256Digest,
    /// Whether it is an item of the user, not metadata: counted in [`Seal::items`].
    pub item: bool,
}

/// What was written so far; the numbers of the [`Seal`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Members of all kinds.
    pub members: u64,
    /// Members that are items.
    pub items: u64,
    /// Ledger lines with this outcome.
    pub skipped: u64,
    /// Ledger lines with this outcome.
    pub failed: u64,
    /// Ledger lines with this outcome.
    pub converted: u64,
    /// Ledger lines with this outcome.
    pub damaged: u64,
}

/// Writes an archive: the head, then the sections, then [`Writer::finish`] or [`Writer::fail`].
///
/// After an error of any method but [`Error::Usage`] and [`Error::Path`] the stream may be torn
/// inside a member; `fail` then adds nothing. It may also have ended with one, if what failed is a
/// temporary file: so `fail` is called after any error. A writer that is dropped leaves an unsealed
/// stream.
pub struct Writer<W: Write> {
    output: Output<W>,
    manifest: Spool,
    ledger: Spool,
    counters: Counters,
    /// A streamed member was padded.
    padded: bool,
    streaming: Option<Streaming>,
}

/// The member between `begin_stream` and `end_stream`.
struct Streaming {
    path: String,
    start: u64,
    size: u64,
    written: u64,
    digest: Sha256,
}

impl<W: Write> Writer<W> {
    /// Writes nothing yet. Fails if the alignment is not allowed or there is no room for
    /// temporary files.
    pub fn new(out: W, options: Options) -> Result<Self, Error> {
        let allowed =
            |align: u64| align.is_power_of_two() && (BLOCK as u64..=MAX_ALIGN).contains(&align);
        if !options.align.is_none_or(allowed) {
            let what = "the alignment is not a power of two from 512 to 65536";
            return Err(usage("an archive", what));
        }
        Ok(Writer {
            output: Output {
                out: BufWriter::with_capacity(COPY_SIZE, out),
                position: 0,
                align: options.align,
                inside: false,
                buffer: vec![0; COPY_SIZE].into_boxed_slice(),
            },
            manifest: Spool::new(&options.spool_dir)?,
            ledger: Spool::new(&options.spool_dir)?,
            counters: Counters::default(),
            padded: false,
            streaming: None,
        })
    }

    /// Writes the head, which must come first and only once.
    pub fn head(&mut self, head: &Head) -> Result<(), Error> {
        if self.started() {
            return Err(usage(HEAD_PATH, "the head comes first, and once"));
        }
        let content = head.encode();
        let fields = file_fields(HEAD_PATH, 0, content.len() as u64);
        let start = self.output.begin(&fields, None)?;
        self.output.emit(content.as_bytes())?;
        self.end(&fields, start, Some(Sha256::digest(content).into()), false)
    }

    /// Writes a folder. `path` has no trailing slash; `mtime` is in seconds since 1970.
    pub fn directory(&mut self, path: &str, mtime: i64) -> Result<(), Error> {
        self.check(path)?;
        let fields = Fields { path, kind: Kind::Directory, size: 0, mtime };
        let start = self.output.begin(&fields, None)?;
        self.end(&fields, start, None, false)
    }

    /// Writes a file whose content is whole and checked. Fails with [`Error::Size`] or
    /// [`Error::Digest`] if the content is not what was announced; the stream is torn then.
    pub fn file(&mut self, file: &FileMember<'_>, content: &mut dyn Read) -> Result<(), Error> {
        self.whole(file, |output, fields| output.copy(fields, Some(&file.sha256), content))
    }

    /// As [`Writer::file`], with content whose reader fails by itself when it is not what the
    /// digest was computed of: that is not done again.
    pub fn file_proven(
        &mut self,
        file: &FileMember<'_>,
        content: &mut dyn Read,
    ) -> Result<(), Error> {
        self.whole(file, |output, fields| output.copy(fields, None, content))
    }

    /// As [`Writer::file`], with content that is in memory as it was when its digest was computed:
    /// that is not done again. Fails with [`Error::Size`] before anything is written.
    pub fn file_in_memory(&mut self, file: &FileMember<'_>, content: &[u8]) -> Result<(), Error> {
        let found = content.len() as u64;
        if found != file.size {
            self.check(file.path)?;
            let (path, expected) = (file.path.to_owned(), file.size);
            return Err(Error::Size { path, expected, found });
        }
        self.whole(file, |output, _| output.emit(content))
    }

    /// A member of known size and digest, whose content `write` writes.
    fn whole(
        &mut self,
        file: &FileMember<'_>,
        write: impl FnOnce(&mut Output<W>, &Fields<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.check(file.path)?;
        let fields = file_fields(file.path, file.mtime, file.size);
        let start = self.output.begin(&fields, Some(&file.sha256))?;
        write(&mut self.output, &fields)?;
        self.end(&fields, start, Some(file.sha256), false)?;
        self.counters.items += u64::from(file.item);
        Ok(())
    }

    /// Begins an item that is too large for the spool: its content comes in pieces, its digest
    /// is known at its end only.
    pub fn begin_stream(&mut self, path: &str, mtime: i64, size: u64) -> Result<(), Error> {
        self.check(path)?;
        let start = self.output.begin(&file_fields(path, mtime, size), None)?;
        let (path, digest) = (path.to_owned(), Sha256::new());
        self.streaming = Some(Streaming { path, start, size, written: 0, digest });
        Ok(())
    }

    /// The next piece. More than the announced size is [`Error::Size`], and none of it is written.
    pub fn stream(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let streaming = self.streaming.as_mut().ok_or_else(no_stream)?;
        let found = streaming.written + bytes.len() as u64;
        if found > streaming.size {
            let (path, expected) = (streaming.path.clone(), streaming.size);
            return Err(Error::Size { path, expected, found });
        }
        streaming.written = found;
        streaming.digest.update(bytes);
        self.output.emit(bytes)
    }

    /// Ends the streamed item. If it is short, it is padded with zeros and marked damaged in the
    /// manifest; the caller says why in the ledger. Returns the bytes padded, 0 if it is whole.
    pub fn end_stream(&mut self) -> Result<u64, Error> {
        self.end_streaming(false)
    }

    /// As [`Writer::end_stream`], but the item is damaged also if its size is right.
    pub fn end_damaged(&mut self) -> Result<u64, Error> {
        self.end_streaming(true)
    }

    /// Adds a line to the ledger; the lines stand there in the order of the calls.
    pub fn ledger(&mut self, line: &LedgerLine) -> Result<(), Error> {
        if line.scope.is_none() && line.path.is_none() && line.id.is_none() {
            return Err(usage(LEDGER_PATH, "a line speaks of a scope, a path or an id"));
        }
        match line.outcome {
            Outcome::Skipped => self.counters.skipped += 1,
            Outcome::Failed => self.counters.failed += 1,
            Outcome::Converted => self.counters.converted += 1,
            Outcome::Damaged => self.counters.damaged += 1,
        }
        self.ledger.push(line.encode().as_bytes())
    }

    /// Writes manifest, ledger, seal and the two end blocks, and flushes. Without an `outcome`
    /// the archive is complete if nothing failed and nothing is damaged. It can be called partial
    /// for other reasons, but never complete when it is not.
    pub fn finish(self, outcome: Option<Completeness>) -> Result<(W, Seal), Error> {
        if !self.started() || self.output.inside {
            return Err(usage(SEAL_PATH, "the head is missing or a member is not ended"));
        }
        let Writer { mut output, manifest, ledger, counters, padded, .. } = self;
        let whole = counters.failed == 0 && counters.damaged == 0 && !padded;
        let outcome = match outcome {
            _ if !whole => Completeness::Partial,
            outcome => outcome.unwrap_or(Completeness::Complete),
        };
        match output.close(outcome, counters, manifest, ledger) {
            Ok(seal) => Ok((output.into_inner()?, seal)),
            Err(error) => {
                // Manifest and ledger begin where a member has ended.
                let _ = output.poison("the archive could not be finished");
                Err(error)
            }
        }
    }

    /// Ends a stream that can't be finished so that every tar reader fails on it: a member that
    /// claims more than follows, with the first 512 bytes of `reason`. Measured: a plain end at a
    /// member border is taken for a good archive by GNU tar, bsdtar, BusyBox, python and borg.
    /// Inside a member nothing is added, because the poison could complete the member.
    pub fn fail(self, reason: &str) -> Result<W, Error> {
        self.output.poison(reason)
    }

    /// Bytes of the stream so far.
    pub fn position(&self) -> u64 {
        self.output.position
    }

    /// Whether anything was written.
    pub fn started(&self) -> bool {
        self.output.position > 0
    }

    /// What was written so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Whether a member may begin at `path`.
    fn check(&self, path: &str) -> Result<(), Error> {
        if !self.started() {
            return Err(usage(path, "the head comes first"));
        }
        if self.output.inside {
            return Err(usage(path, "the member before is not ended"));
        }
        if path == ".tar365" || path.starts_with(".tar365/") {
            return Err(usage(path, ".tar365 is the format's own"));
        }
        path::check(path).map_err(|source| Error::Path { path: path.to_owned(), source })
    }

    fn end_streaming(&mut self, mut damaged: bool) -> Result<u64, Error> {
        let mut streaming = self.streaming.take().ok_or_else(no_stream)?;
        let missing = streaming.size - streaming.written;
        let mut left = missing;
        while left > 0 {
            let zeros = &ZEROS[..left.min(ZEROS.len() as u64) as usize];
            streaming.digest.update(zeros);
            self.output.emit(zeros)?;
            left -= zeros.len() as u64;
        }
        damaged |= missing > 0;
        self.padded |= damaged;
        let fields = file_fields(&streaming.path, 0, streaming.size);
        let sha256 = streaming.digest.finalize().into();
        self.end(&fields, streaming.start, Some(sha256), damaged)?;
        self.counters.items += 1;
        Ok(missing)
    }

    /// Ends a member and adds it to the manifest.
    fn end(
        &mut self,
        fields: &Fields<'_>,
        start: u64,
        sha256: Option<Sha256Digest>,
        damaged: bool,
    ) -> Result<(), Error> {
        self.output.end(fields.size)?;
        self.counters.members += 1;
        let line = ManifestLine {
            path: fields.path.to_owned(),
            sha256,
            size: fields.size,
            span: self.output.position - start,
            damaged,
        };
        self.manifest.push(line.encode().as_bytes())
    }
}

/// The sink, with the place in the stream.
struct Output<W: Write> {
    out: BufWriter<W>,
    position: u64,
    align: Option<u64>,
    /// Bytes were written of a member that is not ended.
    inside: bool,
    buffer: Box<[u8]>,
}

impl<W: Write> Output<W> {
    /// Writes the header of a member; where the member starts.
    fn begin(&mut self, fields: &Fields<'_>, sha256: Option<&Sha256Digest>) -> Result<u64, Error> {
        let start = self.position;
        let blocks = header::encode_aligned(fields, sha256, start, self.align);
        self.inside = true;
        self.emit(&blocks)?;
        Ok(start)
    }

    fn emit(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let offset = self.position;
        self.out.write_all(bytes).map_err(|source| Error::Write { offset, source })?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    /// Copies the content and proves its size, and its digest unless its reader does.
    fn copy(
        &mut self,
        fields: &Fields<'_>,
        sha256: Option<&Sha256Digest>,
        content: &mut dyn Read,
    ) -> Result<(), Error> {
        let path = || fields.path.to_owned();
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut digest = sha256.map(|_| Sha256::new());
        let mut found = 0;
        loop {
            let read = match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(source) => {
                    return Err(Error::Content { path: path(), source });
                }
            };
            found += read as u64;
            if found > fields.size {
                break;
            }
            if let Some(digest) = &mut digest {
                digest.update(&buffer[..read]);
            }
            self.emit(&buffer[..read])?;
        }
        self.buffer = buffer;
        if found != fields.size {
            return Err(Error::Size { path: path(), expected: fields.size, found });
        }
        if digest.is_some_and(|digest| Some(&digest.finalize().into()) != sha256) {
            return Err(Error::Digest { path: path() });
        }
        Ok(())
    }

    /// Pads the content of a member of `size` bytes to whole blocks.
    fn end(&mut self, size: u64) -> Result<(), Error> {
        let padding = size.next_multiple_of(BLOCK as u64) - size;
        self.emit(&ZEROS[..padding as usize])?;
        self.inside = false;
        Ok(())
    }

    /// Writes a spool as a member of its own.
    fn lines(&mut self, path: &str, mut spool: Spool) -> Result<Extent, Error> {
        let (length, sha256) = (spool.len(), spool.sha256());
        // Before the header: without content that could be all there is of the member.
        let mut lines = spool.reader()?;
        let fields = file_fields(path, 0, length);
        self.begin(&fields, Some(&sha256))?;
        let offset = self.position;
        self.copy(&fields, Some(&sha256), &mut lines.file)?;
        self.end(length)?;
        Ok(Extent { offset, length, sha256 })
    }

    /// Writes all that comes after the last member.
    fn close(
        &mut self,
        outcome: Completeness,
        counters: Counters,
        manifest: Spool,
        ledger: Spool,
    ) -> Result<Seal, Error> {
        let seal = Seal {
            version: FORMAT,
            outcome,
            members: counters.members,
            items: counters.items,
            skipped: counters.skipped,
            failed: counters.failed,
            converted: counters.converted,
            damaged: counters.damaged,
            manifest: self.lines(MANIFEST_PATH, manifest)?,
            ledger: self.lines(LEDGER_PATH, ledger)?,
        };
        // Without alignment: the seal lies at a fixed distance from the end.
        self.align = None;
        let content = seal.encode();
        let fields = file_fields(SEAL_PATH, 0, content.len() as u64);
        self.begin(&fields, None)?;
        self.emit(&content)?;
        self.end(fields.size)?;
        self.emit(&ZEROS[..2 * BLOCK])?;
        Ok(seal)
    }

    /// See [`Writer::fail`].
    fn poison(mut self, reason: &str) -> Result<W, Error> {
        if !self.inside {
            self.align = None;
            self.begin(&file_fields(FAILED_PATH, 0, POISON_SIZE), None)?;
            let mut block = [0; BLOCK];
            let reason = &reason[..reason.floor_char_boundary(BLOCK)];
            block[..reason.len()].copy_from_slice(reason.as_bytes());
            self.emit(&block)?;
        }
        self.into_inner()
    }

    fn into_inner(self) -> Result<W, Error> {
        let offset = self.position;
        let failed = |source| Error::Write { offset, source };
        let mut out = self.out.into_inner().map_err(|error| failed(error.into_error()))?;
        out.flush().map_err(failed)?;
        Ok(out)
    }
}

fn file_fields(path: &str, mtime: i64, size: u64) -> Fields<'_> {
    Fields { path, kind: Kind::File, size, mtime }
}

fn usage(path: &str, what: &'static str) -> Error {
    Error::Usage { path: path.to_owned(), what }
}

fn no_stream() -> Error {
    usage("a stream", "none is begun")
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::{Reader, reader::End};

    /// What came out, also of a writer that is gone.
    #[derive(Clone, Default)]
    struct Came(Arc<Mutex<Vec<u8>>>);

    impl Write for Came {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn begun(came: &Came) -> Writer<Came> {
        let options = Options { align: None, spool_dir: std::env::temp_dir() };
        let mut writer = Writer::new(came.clone(), options).unwrap();
        let head = Head::new("contoso".to_owned(), Vec::new(), serde_json::json!({}), Vec::new());
        writer.head(&head).unwrap();
        writer
    }

    fn assert_poisoned(came: &Came) {
        let bytes = came.0.lock().unwrap();
        let path = FAILED_PATH.as_bytes();
        assert!(bytes[bytes.len() - 2 * BLOCK..].starts_with(path), "no poison at the end");
        let mut reader = Reader::new(&bytes[..]);
        let end = reader.finish();
        assert!(matches!(end, Ok(End::Poisoned(_))), "{end:?}");
    }

    /// A member may end well, and its line in the manifest have no room.
    #[test]
    fn a_full_spool_between_members_can_be_told_in_the_data() {
        let came = Came::default();
        let mut writer = begun(&came);
        writer.manifest = Spool::full();
        let full = (0..1_000).find_map(|number| writer.directory(&format!("{number}"), 0).err());
        assert!(matches!(full, Some(Error::Spool { .. })), "{full:?}");
        writer.fail("no room").unwrap();
        assert_poisoned(&came);
    }

    /// Lines that are few are written to the disk at the end only.
    #[test]
    fn a_full_spool_at_the_end_is_told_in_the_data() {
        for is_ledger in [false, true] {
            let came = Came::default();
            let mut writer = begun(&came);
            writer.directory("users", 0).unwrap();
            let spool = if is_ledger { &mut writer.ledger } else { &mut writer.manifest };
            *spool = Spool::full();
            spool.push(b"{}\n").unwrap();
            assert!(matches!(writer.finish(None), Err(Error::Spool { .. })));
            assert_poisoned(&came);
        }
    }
}
