//! `extract`: an archive, or a selection of it, into a folder.

use archive::End;
use archive::extract::{Options, extract};

use crate::cli::Extract;
use crate::config;
use crate::exit::{self, Code, Failure};
use crate::input::{Input, Wanted};
use crate::terminal;

pub(super) fn run(args: &Extract) -> Result<Code, Failure> {
    let mut wanted = Wanted::new(config::selection(&args.selection)?)?;
    let input = Input::open(&args.archive)?.into_stream();
    let options = Options { overwrite: args.overwrite, damaged: args.damaged };
    let extracted = extract(
        input,
        &args.directory,
        options,
        &mut wanted,
        &mut |path, error| {
            terminal::line(&format!("tar365: not extracted: {path}: {}", exit::chain(error)));
        },
    )?;
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
