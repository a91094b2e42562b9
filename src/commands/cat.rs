//! `cat`: members of an archive to stdout.

use std::collections::BTreeSet;
use std::io::Read;

use archive::{End, Index, Reader};

use crate::cli::Cat;
use crate::exit::{Code, Failure};
use crate::input::Input;
use crate::terminal::{Data, gone};

pub(super) fn run(args: &Cat) -> Result<Code, Failure> {
    let mut data = Data::new();
    match Input::open(&args.archive)? {
        Input::Seekable(file) => match Index::open(file) {
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
    index: &mut Index<std::fs::File>,
    paths: &[String],
    data: &mut Data,
) -> Result<(), Failure> {
    for path in paths {
        let entry = index.entry_at(path)?.ok_or_else(|| missing(path))?;
        let mut reader = index.open_entry(&entry)?;
        copy(&mut reader.content(), path, data)?;
    }
    Ok(())
}

fn from_stream(
    input: Box<dyn Read + Send>,
    paths: &[String],
    data: &mut Data,
) -> Result<(), Failure> {
    let mut wanted: BTreeSet<&str> = paths.iter().map(String::as_str).collect();
    let mut reader = Reader::new(input);
    while !wanted.is_empty() {
        let Some(entry) = reader.next_entry()? else {
            break;
        };
        if wanted.remove(entry.path.as_str()) {
            copy(&mut reader.content(), &entry.path, data)?;
        }
    }
    if let Some(path) = wanted.first() {
        return Err(match reader.finish()? {
            End::Poisoned(reason) => archive::Error::Poisoned { reason }.into(),
            _ => missing(path),
        });
    }
    Ok(())
}

fn copy(content: &mut impl Read, path: &str, data: &mut Data) -> Result<(), Failure> {
    // The reader compares the digest at the end of the content; what was wrong is on stdout by
    // then, so the exit code must say so.
    data.copy(content).map(drop).map_err(|error| match error.kind() {
        std::io::ErrorKind::BrokenPipe => gone(&error),
        _ => Failure::because(Code::Fatal, &format!("reading {path}"), &error),
    })
}

fn missing(path: &str) -> Failure {
    Failure::new(Code::Fatal, format!("no member is called {path:?}"))
        .hint("`tar365 list ARCHIVE` shows the paths")
}
