//! `--base`, `--base-command`: an earlier archive as the source of what has not changed.

use std::io::{self, Cursor, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};

use exporter::{Base, BaseSource};

use crate::cli::{BaseArgs, BaseMissing};
use crate::exit::{Code, Failure};
use crate::input::Input;
use crate::label::{self, Label};
use crate::program::Program;
use crate::terminal;

/// The base that the flags name; none for a full export. The command that writes it, if there is
/// one, runs no longer than what is given beside it lives.
pub(crate) async fn open(
    args: &BaseArgs,
    label: Option<&Label>,
) -> Result<(Option<Base>, Option<Source>), Failure> {
    let (source, running) = match (&args.base, &args.base_command) {
        (Some(path), _) => {
            let path = label.map_or_else(|| path.clone(), |label| label.path(path));
            (file(&path, args)?, None)
        }
        (None, Some(line)) => run(label::command(line, "--base-command", label)?).await?,
        (None, None) if args.resume => {
            return Err(Failure::usage("--resume needs --base with the unfinished archive"));
        }
        (None, None) => return Ok((None, None)),
    };
    let base = |source| Base { source, incomplete: args.resume, reread: args.full_reread };
    match (source, args.base_missing) {
        (Some(source), _) => Ok((Some(base(source)), running)),
        (None, BaseMissing::Full) => {
            let whose = label.map(|label| format!("{}: ", label.name)).unwrap_or_default();
            terminal::line(&format!(
                "tar365: {whose}there is no base: this is a full export (--base-missing full)"
            ));
            Ok((None, None))
        }
        (None, BaseMissing::Fail) => Err(Failure::new(Code::Fatal, "there is no base")
            .hint("for a first night, or a new repository: --base-missing full")),
    }
}

fn file(path: &Path, args: &BaseArgs) -> Result<Option<BaseSource>, Failure> {
    if !path.exists() && !path.to_str().is_some_and(crate::remote::is_url) {
        return Ok(None);
    }
    if args.partial_copy.as_ref().is_some_and(|copy| is_same_file(path, copy)) {
        let what = "--partial-copy would overwrite the base while it is read";
        return Err(Failure::usage(what).hint("rename the unfinished archive before its --resume"));
    }
    let nothing = Box::new(|| Ok(()));
    match Input::open(path)? {
        Input::Seekable(file) => {
            let empty = file.length() == 0;
            if args.resume && !empty && archive::Index::open(file.reader()).is_err() {
                let stream = Input::Seekable(file).into_stream();
                return Ok(Some(BaseSource::Stream(stream, nothing)));
            }
            Ok((!empty).then(|| BaseSource::File(file)))
        }
        Input::Stream(stream) => Ok(Some(BaseSource::Stream(stream, nothing))),
    }
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    let identity = |path| std::fs::metadata(path).map(|about| (about.dev(), about.ino())).ok();
    identity(one).is_some_and(|one| identity(other) == Some(one))
}

/// A command that writes a base. It is ended when this is dropped.
pub(crate) struct Source(Program);

impl Drop for Source {
    fn drop(&mut self) {
        self.0.kill();
    }
}

/// Starts the command; no base if it ends without a byte.
async fn run(mut command: Command) -> Result<(Option<BaseSource>, Option<Source>), Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    let doing = format!("running {name}");
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let program = Program::start(command).map_err(|error| Failure::not_opened(&doing, &error))?;
    let running = Source(program.clone());
    let Some(output) = program.stdout() else {
        return Err(Failure::usage("--base-command has no output"));
    };
    // Not on a thread of ours: the command may think about it for long, and we may be told to stop.
    let writer = program.clone();
    let started = tokio::task::spawn_blocking(move || match first_byte(output)? {
        Some(whole) => Ok(Ok(whole)),
        None => Ok(Err(writer.wait())),
    });
    let failed = |error: io::Error| Failure::because(Code::Usage, &doing, &error);
    match started.await.map_err(io::Error::other).flatten().map_err(failed)? {
        Ok(whole) => {
            let ended = Box::new(move || wait(&program, &name));
            Ok((Some(BaseSource::Stream(whole, ended)), Some(running)))
        }
        Err(ended) => {
            if let Some(status) = ended.ok().filter(|status| !status.success()) {
                terminal::line(&format!("tar365: {name} wrote no base and ended with {status}"));
            }
            Ok((None, None))
        }
    }
}

/// What the command writes, once it writes.
fn first_byte(mut output: ChildStdout) -> io::Result<Option<Box<dyn Read + Send>>> {
    let mut first = [0];
    if output.read(&mut first)? == 0 {
        return Ok(None);
    }
    crate::input::unpack(Box::new(Cursor::new(first).chain(output))).map(Some)
}

/// A command that failed may have left something out.
fn wait(program: &Program, name: &str) -> Result<(), String> {
    match program.wait() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{name} ended with {status}")),
        Err(error) => Err(format!("{name}: {error}")),
    }
}
