//! Unpacks an archive into a directory without trusting it.
//!
//! No path leaves the directory and no symbolic link below it is followed. A file appears under
//! its name only when it is whole and proven: by the digest it carries, or, for streamed files,
//! by the manifest at the end of the archive.

use std::{
    fs::{self, File},
    io::{self, BufRead, ErrorKind, Read, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::{Builder, NamedTempFile, TempPath};

use crate::{
    Error, MANIFEST_PATH,
    digest::{Sha256Digest, serde_hex},
    manifest::ManifestLine,
    metadata::Lines,
    path,
    reader::{End, Entry, Kind, Reader},
    spool::Spool,
};

/// How to extract.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Replace files that exist; else they are refused.
    pub overwrite: bool,
    /// Also keep files that are damaged or that nothing proves.
    pub damaged: bool,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extracted {
    /// Files written.
    pub files: u64,
    /// Folders of the archive made or found.
    pub directories: u64,
    /// Bytes of content written.
    pub bytes: u64,
    /// Wanted members that were not written; each was told.
    pub refused: u64,
    /// How the archive ended: without a seal nobody knows what is missing.
    pub end: End,
}

/// Decides what is extracted. A closure on entries is one.
pub trait Choice {
    /// Whether the member is wanted.
    fn wants(&mut self, entry: &Entry) -> bool;

    /// Whether the member is metadata whose first line, the owner's, must be known before it and
    /// what follows can be decided. An archive on a pipe tells it nowhere else.
    fn asks_owner(&self, _: &Entry) -> bool {
        false
    }

    /// That first line.
    fn learn(&mut self, _: &Entry, _: &str) {}
}

impl<F: FnMut(&Entry) -> bool> Choice for F {
    fn wants(&mut self, entry: &Entry) -> bool {
        self(entry)
    }
}

/// Extracts the members that `wanted` chooses below `target`, which is made if missing. What is
/// unsafe, damaged or in the way is told to `refused` (path, reason) and left out. Fails if the
/// archive can't be read on or the directory can't be written.
pub fn extract(
    archive: impl Read,
    target: &Path,
    options: Options,
    wanted: &mut dyn Choice,
    refused: &mut dyn FnMut(&str, &Error),
) -> Result<Extracted, Error> {
    fs::create_dir_all(target).map_err(|source| cannot_write(target, source))?;
    let mut extraction = Extraction {
        target,
        options,
        refused,
        done: Extracted { files: 0, directories: 0, bytes: 0, refused: 0, end: End::Unsealed },
        proven_parent: None,
        unproven: None,
        directories: Spool::new(target)?,
    };
    let mut reader = Reader::new(archive);
    let outcome = extraction.members(&mut reader, wanted);
    // Whatever happened, no temporary file stays behind.
    extraction.settle(&mut io::empty())?;
    outcome?;
    extraction.set_directory_times()?;
    extraction.done.end = reader.finish()?;
    Ok(extraction.done)
}

struct Extraction<'a> {
    target: &'a Path,
    options: Options,
    refused: &'a mut dyn FnMut(&str, &Error),
    done: Extracted,
    /// The folder of the last file, known to be below the target without a link on the way.
    proven_parent: Option<PathBuf>,
    /// [`Unproven`] lines, in stream order.
    unproven: Option<Spool>,
    /// Paths and times of folders: set at the end, because each file in them changes them.
    directories: Spool,
}

/// A file under a temporary name until the manifest speaks.
#[derive(Serialize, Deserialize)]
struct Unproven {
    path: String,
    /// Name of the file in the same folder.
    temporary: String,
    #[serde(with = "serde_hex")]
    sha256: Sha256Digest,
}

impl Extraction<'_> {
    fn members<R: Read>(
        &mut self,
        reader: &mut Reader<R>,
        wanted: &mut dyn Choice,
    ) -> Result<(), Error> {
        while let Some(entry) = reader.next_entry()? {
            if wanted.asks_owner(&entry) {
                match self.metadata(reader, &entry, wanted) {
                    Err(error) if is_refusal(&error) => self.refuse(&entry.path, &error),
                    outcome => outcome?,
                }
                continue;
            }
            let is_wanted = wanted.wants(&entry);
            let is_proof = entry.path == MANIFEST_PATH && entry.sha256.is_some();
            let outcome = if is_proof && self.unproven.is_some() {
                self.manifest(reader, &entry, is_wanted)
            } else if is_wanted {
                self.member(reader, &entry)
            } else {
                Ok(())
            };
            match outcome {
                Err(error) if is_refusal(&error) => self.refuse(&entry.path, &error),
                outcome => outcome?,
            }
        }
        Ok(())
    }

    /// Settles the unproven files by the manifest, which is read to its end, and so proven, before
    /// it is used.
    fn manifest<R: Read>(
        &mut self,
        reader: &mut Reader<R>,
        entry: &Entry,
        is_wanted: bool,
    ) -> Result<(), Error> {
        let mut spool = self.proven(reader, entry)?;
        self.settle(&mut spool.reader()?.file)?;
        if is_wanted {
            self.file(&mut spool.reader()?.file, entry)?;
        }
        Ok(())
    }

    /// A metadata member that is wanted or not by what its first line says.
    fn metadata<R: Read>(
        &mut self,
        reader: &mut Reader<R>,
        entry: &Entry,
        wanted: &mut dyn Choice,
    ) -> Result<(), Error> {
        path::check(&entry.path)
            .map_err(|source| Error::Path { path: entry.path.clone(), source })?;
        let mut spool = self.proven(reader, entry)?;
        let first = spool.reader()?.line()?.unwrap_or_default();
        wanted.learn(entry, &first);
        if wanted.wants(entry) {
            self.file(&mut spool.reader()?.file, entry)?;
        }
        Ok(())
    }

    /// A content read to its end, and so proven, before any of it is used.
    fn proven<R: Read>(&self, reader: &mut Reader<R>, entry: &Entry) -> Result<Spool, Error> {
        let mut spool = Spool::new(self.target)?;
        let mut content = reader.content();
        loop {
            let bytes = content.fill_buf();
            let bytes = bytes.map_err(|error| Error::from_content(&entry.path, error))?;
            let length = bytes.len();
            if length == 0 {
                return Ok(spool);
            }
            spool.push(bytes)?;
            content.consume(length);
        }
    }

    fn member<R: Read>(&mut self, reader: &mut Reader<R>, entry: &Entry) -> Result<(), Error> {
        path::check(&entry.path)
            .map_err(|source| Error::Path { path: entry.path.clone(), source })?;
        match entry.kind {
            Kind::Directory => self.directory(entry),
            Kind::File => self.file(&mut reader.content(), entry),
            Kind::Other(_) => Err(Error::Invalid {
                place: entry.path.clone(),
                what: "it is neither a file nor a folder".into(),
            }),
        }
    }

    fn directory(&mut self, entry: &Entry) -> Result<(), Error> {
        self.make_directories(&entry.path)?;
        self.done.directories += 1;
        let line = Value::from(vec![Value::from(entry.path.as_str()), entry.mtime.into()]);
        self.directories.push(format!("{line}\n").as_bytes())
    }

    fn file(&mut self, content: &mut dyn BufRead, entry: &Entry) -> Result<(), Error> {
        if let Some((parent, _)) = entry.path.rsplit_once('/') {
            self.make_directories(parent)?;
        }
        let place = self.target.join(&entry.path);
        let directory = place.parent().unwrap_or(self.target);
        let failed = |source| cannot_write(&place, source);
        let mut file = temporary_in(directory).map_err(failed)?;
        // Content with a digest is checked by its reader.
        let mut digest = entry.sha256.is_none().then(Sha256::new);
        loop {
            let bytes = content.fill_buf();
            let bytes = bytes.map_err(|error| Error::from_content(&entry.path, error))?;
            let length = bytes.len();
            if length == 0 {
                break;
            }
            if let Some(digest) = &mut digest {
                digest.update(bytes);
            }
            file.write_all(bytes).map_err(failed)?;
            content.consume(length);
        }
        file.as_file().set_modified(system_time(entry.mtime)).map_err(failed)?;
        match digest {
            Some(digest) => self.postpone(entry, file, digest.finalize().into()),
            None => self.appear(file.into_temp_path(), &place, entry.size),
        }
    }

    /// Keeps a file that carries no digest under its temporary name.
    fn postpone(
        &mut self,
        entry: &Entry,
        file: NamedTempFile,
        sha256: Sha256Digest,
    ) -> Result<(), Error> {
        let place = self.target.join(&entry.path);
        let temporary =
            file.into_temp_path().keep().map_err(|error| cannot_write(&place, error.error))?;
        let name = temporary.file_name().unwrap_or_default();
        let unproven = Unproven {
            path: entry.path.clone(),
            temporary: name.to_string_lossy().into_owned(),
            sha256,
        };
        let line = serde_json::to_string(&unproven).expect("three strings") + "\n";
        let spool = match &mut self.unproven {
            Some(spool) => spool,
            empty => empty.insert(Spool::new(self.target)?),
        };
        spool.push(line.as_bytes())
    }

    /// Gives the unproven files their names, or drops them, by the manifest. Without one, all
    /// are dropped, unless damaged files are wanted.
    fn settle(&mut self, manifest: &mut dyn BufRead) -> Result<(), Error> {
        let Some(mut spool) = self.unproven.take() else {
            return Ok(());
        };
        let mut unproven = spool.reader()?;
        let mut lines = Lines::new(manifest, MANIFEST_PATH);
        let mut readable = true;
        while let Some(text) = unproven.line()? {
            let file: Unproven = own_line(&text)?;
            let mut proof = None;
            while readable && proof.is_none() {
                match lines.next_text().map(|text| text.map(|text| ManifestLine::parse(&text))) {
                    Ok(Some(Ok(line))) => proof = Some(line).filter(|line| line.path == file.path),
                    _ => readable = false,
                }
            }
            self.settle_one(&file, proof)?;
        }
        Ok(())
    }

    fn settle_one(&mut self, file: &Unproven, proof: Option<ManifestLine>) -> Result<(), Error> {
        let place = self.target.join(&file.path);
        let temporary = TempPath::try_from_path(place.with_file_name(&file.temporary))
            .map_err(|source| cannot_write(&place, source))?;
        let what = match proof {
            Some(line) if line.sha256 != Some(file.sha256) => "its digest is not in the manifest",
            Some(line) if line.damaged => "it is damaged",
            Some(_) => "",
            None => "nothing proves it",
        };
        if !what.is_empty() && !self.options.damaged {
            let error = Error::Invalid { place: file.path.clone(), what: what.into() };
            self.refuse(&file.path, &error);
            return Ok(());
        }
        let size = fs::metadata(&temporary).map_err(|source| cannot_write(&place, source))?.len();
        match self.appear(temporary, &place, size) {
            Err(error) if is_refusal(&error) => self.refuse(&file.path, &error),
            outcome => outcome?,
        }
        Ok(())
    }

    /// The file gets its name.
    fn appear(&mut self, file: TempPath, place: &Path, size: u64) -> Result<(), Error> {
        let outcome = if self.options.overwrite {
            file.persist(place)
        } else {
            file.persist_noclobber(place)
        };
        outcome.map_err(|error| cannot_write(place, error.error))?;
        self.done.files += 1;
        self.done.bytes += size;
        Ok(())
    }

    /// Makes the folders of `path` below the target; none of them may be a link.
    fn make_directories(&mut self, path: &str) -> Result<(), Error> {
        let whole = self.target.join(path);
        if self.proven_parent.as_deref() == Some(&whole) {
            return Ok(());
        }
        let mut directory = self.target.to_owned();
        for component in path.split('/') {
            directory.push(component);
            let there = folder_at(&directory).map_err(|source| cannot_write(&directory, source))?;
            if !there {
                fs::create_dir(&directory).map_err(|source| cannot_write(&directory, source))?;
            }
        }
        self.proven_parent = Some(whole);
        Ok(())
    }

    fn set_directory_times(&mut self) -> Result<(), Error> {
        let mut lines = self.directories.reader()?;
        while let Some(text) = lines.line()? {
            let (path, mtime): (String, i64) = own_line(&text)?;
            let directory = self.target.join(path);
            File::open(&directory)
                .and_then(|opened| opened.set_modified(system_time(mtime)))
                .map_err(|source| cannot_write(&directory, source))?;
        }
        Ok(())
    }

    fn refuse(&mut self, path: &str, error: &Error) {
        self.done.refused += 1;
        (self.refused)(path, error);
    }
}

/// A line of a spool of our own.
fn own_line<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Error> {
    serde_json::from_str(text)
        .map_err(|source| Error::Json { place: "a temporary file".into(), source })
}

/// Whether the extraction goes on without the member.
fn is_refusal(error: &Error) -> bool {
    match error {
        Error::Path { .. } | Error::Invalid { .. } | Error::Digest { .. } => true,
        Error::Extract { source, .. } => matches!(
            source.kind(),
            ErrorKind::AlreadyExists | ErrorKind::NotADirectory | ErrorKind::IsADirectory
        ),
        _ => false,
    }
}

/// A file with the rights that any new file gets, under a temporary name.
fn temporary_in(directory: &Path) -> io::Result<NamedTempFile> {
    let mut builder = Builder::new();
    builder.prefix(".tar365-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(directory)
}

fn cannot_write(path: &Path, source: io::Error) -> Error {
    Error::Extract { path: path.to_owned(), source }
}

/// Whether there is a folder at `path`, whose parents were asked about before.
///
/// # Errors
/// If there is something else: `NotADirectory`, of a symbolic link too, wherever it leads.
pub fn folder_at(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(true),
        Ok(_) => Err(ErrorKind::NotADirectory.into()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// A time any file system can take, whatever the archive says.
pub fn system_time(mtime: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(mtime.clamp(0, u32::MAX.into()) as u64)
}
