//! `--base`, `--base-command`: an earlier archive as the source of what has not changed.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use exporter::{Base, BaseSource};

use crate::cli::{BaseArgs, BaseMissing};
use crate::exit::{Code, Failure};
use crate::input::Input;
use crate::terminal;

/// The base that the flags name; none for a full export.
pub(crate) fn open(args: &BaseArgs) -> Result<Option<Base>, Failure> {
    let source = match (&args.base, &args.base_command) {
        (Some(path), _) => file(path, args)?,
        (None, Some(command)) => run(command)?,
        (None, None) if args.resume => {
            return Err(Failure::usage("--resume needs --base with the unfinished archive"));
        }
        (None, None) => return Ok(None),
    };
    let base = |source| Base { source, incomplete: args.resume, reread: args.full_reread };
    match (source, args.base_missing) {
        (Some(source), _) => Ok(Some(base(source))),
        (None, BaseMissing::Full) => {
            terminal::line("tar365: there is no base: this is a full export (--base-missing full)");
            Ok(None)
        }
        (None, BaseMissing::Fail) => Err(Failure::new(Code::Fatal, "there is no base")
            .hint("for a first night, or a new repository: --base-missing full")),
    }
}

fn file(path: &Path, args: &BaseArgs) -> Result<Option<BaseSource>, Failure> {
    if !path.exists() {
        return Ok(None);
    }
    let nothing = Box::new(|| Ok(()));
    match Input::open(path)? {
        Input::Seekable(file) => {
            let empty = file.metadata().is_ok_and(|about| about.len() == 0);
            let unsealed = || is_unsealed(&file);
            if args.resume && !empty && unsealed() {
                let stream = Input::Seekable(file).into_stream();
                return Ok(Some(BaseSource::Stream(stream, nothing)));
            }
            Ok((!empty).then(|| BaseSource::File(Arc::new(file))))
        }
        Input::Stream(stream) => Ok(Some(BaseSource::Stream(stream, nothing))),
    }
}

fn is_unsealed(file: &File) -> bool {
    let opened = file.try_clone().map(|mut again| {
        let is_sealed = archive::Index::open(&mut again).is_ok();
        let rewound = io::Seek::rewind(&mut again).is_ok();
        !is_sealed && rewound
    });
    opened.unwrap_or(false)
}

/// Starts the command; none if it ends without a byte.
fn run(command: &str) -> Result<Option<BaseSource>, Failure> {
    let bad = |what: &str| Failure::usage(format!("--base-command: {what}"));
    let argv = shell_words::split(command).map_err(|_| bad("a quote is not closed"))?;
    let Some((program, arguments)) = argv.split_first() else {
        return Err(bad("the command is empty"));
    };
    let doing = format!("running {program}");
    let failed = |error: io::Error| Failure::because(Code::Usage, &doing, &error);
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let Some(mut output) = child.stdout.take() else {
        return Err(bad("it has no output"));
    };
    let mut first = [0];
    let read = tokio::task::block_in_place(|| output.read(&mut first)).map_err(failed)?;
    if read == 0 {
        // Nothing to give is no failure to give it.
        drop(child.wait());
        return Ok(None);
    }
    let program = program.clone();
    let ended = Box::new(move || wait(&mut child, &program));
    let whole = crate::input::unpack(Box::new(Cursor::new(first).chain(output)));
    Ok(Some(BaseSource::Stream(whole.map_err(failed)?, ended)))
}

/// A command that failed may have left something out.
fn wait(child: &mut Child, program: &str) -> Result<(), String> {
    match child.wait() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{program} ended with {status}")),
        Err(error) => Err(format!("{program}: {error}")),
    }
}
