//! `extract`: an archive, or a selection of it, into a folder.

use std::io::Read;

use archive::extract::{Options, extract};
use archive::{End, Index};
use tokio::runtime::Handle;

use crate::cli::Extract;
use crate::commands::export;
use crate::config;
use crate::exit::{self, Code, Failure};
use crate::input::{Input, Wanted};
use crate::narrow;
use crate::plugins;
use crate::terminal;

pub(super) fn run(args: &Extract) -> Result<Code, Failure> {
    let selection = config::selection(&args.selection)?;
    let input = Input::open(&args.archive)?;
    if args.plugins.plugin.is_empty() {
        return unpack(args, input);
    }
    let spool = export::spool(&args.spool)?;
    let filtered = plugins::filtered(input, &args.plugins, &selection, spool);
    let (region, summary) = Handle::current().block_on(filtered)?;
    let code = unpack(args, Input::Seekable(region))?;
    let filtered = plugins::told(&args.plugins, &summary);
    Ok(if code == Code::Success { filtered } else { code })
}

fn unpack(args: &Extract, input: Input) -> Result<Code, Failure> {
    let mut wanted = Wanted::new(config::selection(&args.selection)?)?;
    if let (Input::Seekable(file), false) = (&input, args.incomplete) {
        refuse_unsealed(file)?;
    }
    // Of a file only what the selection may want is read.
    let input: Box<dyn Read + Send> = match input {
        Input::Seekable(file) if !wanted.everything() && Index::open(file.reader()).is_ok() => {
            let mut again = Wanted::new(config::selection(&args.selection)?)?;
            narrow::narrowed(&file, &mut again)?
        }
        input => input.into_stream(),
    };
    // What an unfinished archive can't prove was asked for by name.
    let options = Options { overwrite: args.overwrite, damaged: args.damaged || args.incomplete };
    let extracted = extract(input, &args.directory, options, &mut wanted, &mut |path, error| {
        terminal::line(&format!("tar365: not extracted: {path}: {}", exit::chain(error)));
    });
    let extracted = match extracted {
        Err(error @ archive::Error::Truncated { .. }) if args.incomplete => {
            terminal::line(&format!("tar365: warning: {error}; what is before that was extracted"));
            return Ok(Code::Success);
        }
        extracted => extracted?,
    };
    terminal::line(&format!(
        "tar365: extracted {} files, {} folders, {} bytes; {} refused",
        extracted.files, extracted.directories, extracted.bytes, extracted.refused
    ));
    match extracted.end {
        End::Sealed(_) => {}
        _ if args.incomplete => terminal::line("tar365: warning: the archive has no seal"),
        End::Poisoned(reason) => return Err(archive::Error::Poisoned { reason }.into()),
        _ => {
            return Err(Failure::from(archive::Error::Unsealed)
                .hint("what it holds was extracted; nobody knows what is missing"));
        }
    }
    if extracted.refused > 0 {
        let what = format!("{} members were not extracted", extracted.refused);
        return Err(Failure::new(Code::Fatal, what));
    }
    Ok(Code::Success)
}

/// Nothing is written of a file that can be seen to be unfinished.
fn refuse_unsealed(file: &archive::Region) -> Result<(), Failure> {
    archive::Index::open(file.reader()).map(drop).map_err(|error| {
        Failure::from(error)
            .hint("--incomplete extracts what there is; nobody knows what is missing")
    })
}
