//! `cat`: members of an archive to stdout.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, Read};

use archive::metadata::Lines;
use archive::region::RegionReader;
use archive::{End, Entry, Index, Kind, MANIFEST_PATH, ManifestLine, Reader, Sha256Digest};
use sha2::{Digest, Sha256};

use crate::cli::Cat;
use crate::exit::{Code, Failure};
use crate::input::Input;
use crate::terminal::{Data, gone};

pub(super) fn run(args: &Cat) -> Result<Code, Failure> {
    let mut data = Data::new();
    match Input::open(&args.archive)? {
        Input::Seekable(file) => match Index::open(file.reader()) {
            Ok(mut index) => from_index(&mut index, &args.paths, &mut data)?,
            // Without a seal there is no index; what is there can still be read in order.
            Err(archive::Error::Unsealed | archive::Error::Truncated { .. }) => {
                let input = Input::open(&args.archive)?.into_stream();
                from_stream(input, &args.paths, &mut data)?;
            }
            Err(error) => return Err(error.into()),
        },
        Input::Stream(stream) => from_stream(stream, &args.paths, &mut data)?,
    }
    data.finish()?;
    Ok(Code::Success)
}

fn from_index(
    index: &mut Index<RegionReader>,
    paths: &[String],
    data: &mut Data,
) -> Result<(), Failure> {
    for path in paths {
        let entry = index.entry_at(path)?.ok_or_else(|| missing(path))?;
        if entry.line.damaged {
            return Err(damaged(path));
        }
        let mut reader = index.open_entry(&entry)?;
        copy(&mut reader.content(), path, data)?;
    }
    Ok(())
}

/// From a pipe, what carries no digest of its own is proven by the manifest at the end.
fn from_stream(
    input: Box<dyn Read + Send>,
    paths: &[String],
    data: &mut Data,
) -> Result<(), Failure> {
    let mut wanted: BTreeSet<&str> = paths.iter().map(String::as_str).collect();
    let mut unproven = BTreeMap::new();
    let mut reader = Reader::new(input);
    while !wanted.is_empty() || !unproven.is_empty() {
        let Some(entry) = reader.next_entry()? else { break };
        if wanted.remove(entry.path.as_str()) {
            let digest = copy_proving(&mut reader, &entry, data)?;
            if entry.sha256.is_none() && entry.kind == Kind::File {
                unproven.insert(entry.path.clone(), digest);
            }
        }
        if entry.path == MANIFEST_PATH {
            prove(&mut reader.content(), &mut unproven)?;
        }
    }
    if let Some(path) = wanted.first() {
        return Err(match reader.finish()? {
            End::Poisoned(reason) => archive::Error::Poisoned { reason }.into(),
            _ => missing(path),
        });
    }
    match unproven.first_key_value() {
        Some((path, _)) => Err(Failure::new(Code::Fatal, format!("nothing proves {path}"))),
        None => Ok(()),
    }
}

fn copy_proving(
    reader: &mut Reader<Box<dyn Read + Send>>,
    entry: &Entry,
    data: &mut Data,
) -> Result<Sha256Digest, Failure> {
    let mut content = Hashing { content: reader.content(), digest: Sha256::new() };
    copy(&mut content, &entry.path, data)?;
    Ok(content.digest.finalize().into())
}

/// Strikes out what the manifest proves; what it calls damaged is an error.
fn prove(
    manifest: &mut impl BufRead,
    unproven: &mut BTreeMap<String, Sha256Digest>,
) -> Result<(), Failure> {
    let mut lines = Lines::new(manifest, MANIFEST_PATH);
    while let Some(text) = lines.next_text()? {
        let line = ManifestLine::parse(&text)?;
        let Some(digest) = unproven.remove(&line.path) else { continue };
        if line.damaged {
            return Err(damaged(&line.path));
        }
        if line.sha256 != Some(digest) {
            return Err(archive::Error::Digest { path: line.path }.into());
        }
    }
    Ok(())
}

/// Content, and the digest of what was read of it.
struct Hashing<R> {
    content: R,
    digest: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = self.content.read(into)?;
        self.digest.update(&into[..read]);
        Ok(read)
    }
}

fn copy(content: &mut impl Read, path: &str, data: &mut Data) -> Result<(), Failure> {
    // The reader compares the digest at the end of the content; what was wrong is on stdout by
    // then, so the exit code must say so.
    data.copy(content).map(drop).map_err(|error| match error.kind() {
        std::io::ErrorKind::BrokenPipe => gone(&error),
        _ => Failure::because(Code::Fatal, &format!("reading {path}"), &error),
    })
}

fn damaged(path: &str) -> Failure {
    Failure::new(Code::Fatal, format!("{path} is damaged: the export could not read it to its end"))
        .hint("`tar365 extract --damaged` writes what there is, the rest are zeros")
}

fn missing(path: &str) -> Failure {
    Failure::new(Code::Fatal, format!("no member is called {path:?}"))
        .hint("`tar365 list ARCHIVE` shows the paths")
}
