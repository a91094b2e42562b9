//! `list`: what is in an archive.

use std::io::{BufRead, BufReader, Read};

use archive::{End, Entry, Index, IndexEntry, Kind, Reader, Region, hex};
use chrono::DateTime;
use serde_json::json;

use crate::cli::List;
use crate::config;
use crate::exit::{Code, Failure};
use crate::input::{Input, Wanted};
use crate::remote;
use crate::terminal::Data;

/// Longest first line of metadata that is looked at.
const OWNER_LINE: u64 = 1 << 20;
/// Bytes in which the header of a member is looked for: the longest path has 16 KiB.
const LONGEST_HEADER: u64 = 32 << 10;

pub(super) fn run(args: &List) -> Result<Code, Failure> {
    let mut wanted = Wanted::new(config::selection(&args.selection)?)?;
    let mut data = Data::new();
    // A request for each header costs a server more than the whole archive.
    let is_remote = args.archive.to_str().is_some_and(remote::is_url);
    let streams = is_remote && wanted.everything();
    match Input::open(&args.archive)? {
        // The manifest has all that JSON shows, and is a fraction of the archive; times stand in
        // the headers.
        Input::Seekable(file) if (args.json || !streams) && Index::open(file.reader()).is_ok() => {
            from_manifest(&file, args.json, &mut wanted, &mut data)?;
        }
        input => from_stream(input.into_stream(), args.json, &mut wanted, &mut data)?,
    }
    data.finish()?;
    Ok(Code::Success)
}

fn from_manifest(
    file: &Region,
    as_json: bool,
    wanted: &mut Wanted,
    data: &mut Data,
) -> Result<(), Failure> {
    let mut index = Index::open(file.reader())?;
    // Owners first: their lines are at other places of the file than the manifest.
    let mut metadata = Vec::new();
    index.each(&mut |entry| {
        if wanted.needs(&entry.line.path) {
            metadata.push(entry.clone());
        }
        true
    })?;
    let mut owners = Vec::new();
    for entry in metadata {
        let mut content = index.open_entry(&entry)?;
        owners.push((entry.line.path.clone(), first_line(&mut content.content())?));
    }
    let mut owners = owners.into_iter().peekable();
    let (mut failed, mut end) = (Ok(()), 0);
    index.each(&mut |entry| {
        let line = &entry.line;
        end = entry.offset + line.span;
        if let Some((path, first)) = owners.next_if(|(path, _)| *path == line.path) {
            wanted.learn(&path, &first);
        }
        if wanted.wants(&line.path, None) {
            failed = match as_json {
                true => data.line(line.encode().trim_end()),
                false => header(file, entry).and_then(|entry| match wanted.wants_entry(&entry) {
                    true => data.line(&text_line(&entry)),
                    false => Ok(()),
                }),
            };
        }
        failed.is_ok()
    })?;
    failed?;
    // The manifest does not speak of itself.
    if as_json || !wanted.wants(archive::MANIFEST_PATH, None) {
        return Ok(());
    }
    let mut reader = Reader::new(file.slice(end, file.length()).reader());
    while let Some(entry) = reader.next_entry()? {
        data.line(&text_line(&entry))?;
    }
    Ok(())
}

/// The header of a member.
fn header(file: &Region, entry: &IndexEntry) -> Result<Entry, Failure> {
    // A header takes at most a few blocks; of the content nothing is wanted.
    let start = file.slice(entry.offset, entry.line.span.min(LONGEST_HEADER));
    let found = Reader::new(start.reader()).next_entry()?;
    found.filter(|found| found.path == entry.line.path).ok_or_else(|| {
        let what = "the manifest does not fit: another member stands here".to_owned();
        archive::Error::Invalid { place: entry.line.path.clone(), what }.into()
    })
}

fn from_stream(
    input: Box<dyn Read + Send>,
    as_json: bool,
    wanted: &mut Wanted,
    data: &mut Data,
) -> Result<(), Failure> {
    let mut reader = Reader::new(input);
    while let Some(entry) = reader.next_entry()? {
        if wanted.needs(&entry.path) {
            let first = first_line(&mut reader.content())?;
            wanted.learn(&entry.path, &first);
        }
        if wanted.wants_entry(&entry) {
            data.line(&if as_json { json_line(&entry) } else { text_line(&entry) })?;
        }
    }
    match reader.finish()? {
        End::Sealed(_) => Ok(()),
        End::Poisoned(reason) => Err(archive::Error::Poisoned { reason }.into()),
        _ => Err(archive::Error::Unsealed.into()),
    }
}

/// The first line of a metadata member; the rest is skipped by the reader.
pub(crate) fn first_line(content: &mut impl Read) -> Result<String, Failure> {
    let mut line = String::new();
    BufReader::new(content.take(OWNER_LINE))
        .read_line(&mut line)
        .map_err(|error| Failure::because(Code::Fatal, "reading metadata", &error))?;
    Ok(line)
}

fn text_line(entry: &Entry) -> String {
    let time = DateTime::from_timestamp(entry.mtime, 0)
        .map(|time| time.format("%Y-%m-%dT%H:%M:%SZ").to_string())
        .unwrap_or_default();
    let slash = if entry.kind == Kind::Directory { "/" } else { "" };
    format!("{:>12}  {time}  {}{slash}", entry.size, entry.path)
}

fn json_line(entry: &Entry) -> String {
    let mut line =
        json!({ "path": entry.path, "size": entry.size, "span": entry.span, "mtime": entry.mtime });
    if let Some(sha256) = &entry.sha256 {
        line["sha256"] = hex(sha256).into();
    }
    line.to_string()
}
