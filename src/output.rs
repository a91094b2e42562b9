//! Where an archive goes: stdout, a file that appears when it is whole, or an engine we run.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{ChildStdin, Command, Stdio};
use std::task::{Context, Poll};

use async_compression::tokio::write::{GzipEncoder, ZstdEncoder};
use exporter::Output;
use tokio::io::AsyncWrite;
use tokio::runtime::Handle;
use tokio_util::io::SyncIoBridge;

use crate::cli::{Compression, Sink};
use crate::exit::{Code, Failure};
use crate::label::{self, Label};
use crate::program::Program;
use crate::terminal;

/// Who may read what an owner has: himself.
const PRIVATE: u32 = 0o600;

/// Opens what the flags say, for the stream of that name if there are several. The engine is given
/// back so that it can be ended from outside, also while its pipe is blocked.
pub(crate) fn open(
    sink: &Sink,
    label: Option<&Label>,
) -> Result<(Box<dyn Output>, Option<Program>), Failure> {
    let output = sink.output.as_ref();
    let output = output.map(|path| label.map_or_else(|| path.clone(), |label| label.path(path)));
    let command = match (&sink.to_command, &sink.each) {
        (Some(line), _) => Some(label::command(line, "--to-command", label)?),
        (None, Some(line)) => Some(label::command(line, "--each", label)?),
        (None, None) => None,
    };
    let (raw, engine): (Box<dyn Output>, _) = match (output, command) {
        (Some(path), _) => (open_file(&path)?, None),
        (None, Some(command)) => {
            let output = CommandOutput::start(command)?;
            let engine = output.engine.clone();
            (Box::new(output), Some(engine))
        }
        (None, None) => (open_stdout()?, None),
    };
    let raw = Blocking(raw);
    Ok((
        match sink.compress {
            None => raw.0,
            Some(Compression::Zstd) => Box::new(Compressed(bridge(ZstdEncoder::new(raw)))),
            Some(Compression::Gzip) => Box::new(Compressed(bridge(GzipEncoder::new(raw)))),
        },
        engine,
    ))
}

fn bridge<E: AsyncWrite + Unpin>(encoder: E) -> SyncIoBridge<E> {
    SyncIoBridge::new_with_handle(encoder, Handle::current())
}

/// An archive on a terminal helps nobody.
pub(crate) fn refuse_terminal(sink: &Sink) -> Result<(), Failure> {
    let is_stdout = sink.output.is_none() && sink.to_command.is_none() && sink.each.is_none();
    if is_stdout && io::stdout().is_terminal() {
        return Err(Failure::usage("an archive is not written to a terminal")
            .hint("pipe it into a backup engine, or use --output FILE or --to-command COMMAND"));
    }
    Ok(())
}

fn open_stdout() -> Result<Box<dyn Output>, Failure> {
    // Not std's stdout: that one looks for line ends in our gigabytes.
    let stdout = io::stdout()
        .as_fd()
        .try_clone_to_owned()
        .map_err(|error| Failure::because(Code::ConsumerGone, "opening stdout", &error))?;
    Ok(Box::new(Plain(File::from(stdout))))
}

fn open_file(path: &Path) -> Result<Box<dyn Output>, Failure> {
    let doing = || format!("opening {}", path.display());
    let failed = |error: io::Error| Failure::not_opened(&doing(), &error);
    // A device or named pipe is written as it is.
    if let Ok(kind) = std::fs::metadata(path).map(|meta| meta.file_type())
        && (kind.is_fifo() || kind.is_char_device() || kind.is_block_device())
    {
        let file = File::options().write(true).open(path).map_err(failed)?;
        return Ok(Box::new(Plain(file)));
    }
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let name =
        path.file_name().ok_or_else(|| Failure::usage(format!("{} is no file", path.display())))?;
    let mut prefix = std::ffi::OsString::from(".");
    prefix.push(name);
    prefix.push(".");
    let file = tempfile::Builder::new()
        .prefix(&prefix)
        .suffix(".partial")
        .tempfile_in(directory)
        .map_err(failed)?;
    Ok(Box::new(Whole { file, path: path.to_owned() }))
}

/// A pipe, a device, or a file that is nobody's but ours: what is written is written.
struct Plain(File);

/// See [`Plain`].
pub(crate) fn plain(file: File) -> Box<dyn Output> {
    Box::new(Plain(file))
}

impl Write for Plain {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Output for Plain {
    fn complete(mut self: Box<Self>) -> io::Result<()> {
        self.0.flush()
    }

    fn abandon(mut self: Box<Self>) -> io::Result<()> {
        self.0.flush()
    }
}

/// The same stream also in a file, for a run that does not come to its end.
struct Copied {
    inner: Box<dyn Output>,
    /// None once it could not be written: the copy is not worth the stream.
    file: Option<File>,
    /// What an earlier run left there stays until there is something better.
    is_begun: bool,
    path: PathBuf,
}

/// `output`, with a copy beside it if one is wanted.
pub(crate) fn with_copy(
    output: Box<dyn Output>,
    path: Option<&Path>,
) -> Result<Box<dyn Output>, Failure> {
    let Some(path) = path else { return Ok(output) };
    let file = open_copy(path);
    let file =
        file.map_err(|error| Failure::not_opened(&format!("writing {}", path.display()), &error))?;
    let (file, path) = (Some(file), path.to_owned());
    Ok(Box::new(Copied { inner: output, file, is_begun: false, path }))
}

fn open_copy(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    let file = options.write(true).create(true).truncate(false).mode(PRIVATE).open(path)?;
    let about = file.metadata()?;
    if about.is_file() {
        // An earlier one may be anybody's.
        make_private(&file)?;
    }
    Ok(file)
}

fn make_private(file: &File) -> io::Result<()> {
    file.set_permissions(PermissionsExt::from_mode(PRIVATE))
}

impl Write for Copied {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        let is_first = !std::mem::replace(&mut self.is_begun, true);
        let copied = self.file.as_mut().map(|file| {
            if is_first {
                file.set_len(0)?;
            }
            file.write_all(&bytes[..written])
        });
        if let Some(Err(error)) = copied {
            self.file = None;
            let path = self.path.display();
            terminal::line(&format!("tar365: warning: no copy any more in {path}: {error}"));
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Output for Copied {
    fn complete(self: Box<Self>) -> io::Result<()> {
        self.inner.complete()?;
        // Nothing needs it now.
        drop(std::fs::remove_file(&self.path));
        Ok(())
    }

    fn abandon(self: Box<Self>) -> io::Result<()> {
        self.inner.abandon()
    }
}

/// A file that has its name only when it is whole.
struct Whole {
    file: tempfile::NamedTempFile,
    path: PathBuf,
}

impl Write for Whole {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Output for Whole {
    fn complete(self: Box<Self>) -> io::Result<()> {
        self.file.as_file().sync_all()?;
        let file = self.file.persist(&self.path).map_err(|error| error.error)?;
        // As a shell's redirection would have made it, less what others may not read.
        make_private(&file)
    }

    fn abandon(self: Box<Self>) -> io::Result<()> {
        self.file.close()
    }
}

/// An engine that reads the stream.
struct CommandOutput {
    stdin: Option<ChildStdin>,
    engine: Program,
    name: String,
}

impl CommandOutput {
    fn start(mut command: Command) -> Result<Self, Failure> {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::piped());
        let engine = Program::start(command)
            .map_err(|error| Failure::not_opened(&format!("starting {name}"), &error))?;
        Ok(Self { stdin: engine.stdin(), engine, name })
    }
}

impl Write for CommandOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.stdin {
            Some(stdin) => stdin.write(bytes),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stdin.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Output for CommandOutput {
    fn complete(mut self: Box<Self>) -> io::Result<()> {
        drop(self.stdin.take());
        let status = self.engine.wait()?;
        if status.success() {
            return Ok(());
        }
        let said = format!("{} did not store the stream: {status}", self.name);
        Err(io::Error::new(io::ErrorKind::BrokenPipe, said))
    }

    fn abandon(self: Box<Self>) -> io::Result<()> {
        // While its input is still open: it must not take a torn stream for a whole one.
        self.engine.end();
        Ok(())
    }
}

impl Drop for CommandOutput {
    fn drop(&mut self) {
        // Before the field `stdin` is dropped, which would close the engine's input.
        self.engine.end();
    }
}

/// Our blocking output, as the encoders want it. Only ever polled from the writer thread.
struct Blocking(Box<dyn Output>);

impl AsyncWrite for Blocking {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(self.0.write(bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.flush())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.flush())
    }
}

/// An encoder before the output.
struct Compressed<E: AsyncWrite + Unpin>(SyncIoBridge<E>);

trait Encoder: AsyncWrite + Unpin + Send {
    fn into_output(self) -> Box<dyn Output>;
}

impl Encoder for ZstdEncoder<Blocking> {
    fn into_output(self) -> Box<dyn Output> {
        self.into_inner().0
    }
}

impl Encoder for GzipEncoder<Blocking> {
    fn into_output(self) -> Box<dyn Output> {
        self.into_inner().0
    }
}

impl<E: Encoder> Write for Compressed<E> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        // Only the end flushes: a flush in between would cost compression and, worse, bytes that
        // depend on when it came.
        Ok(())
    }
}

impl<E: Encoder> Output for Compressed<E> {
    fn complete(mut self: Box<Self>) -> io::Result<()> {
        self.0.shutdown()?;
        self.0.into_inner().into_output().complete()
    }

    fn abandon(mut self: Box<Self>) -> io::Result<()> {
        // What was written comes out, the frame stays unfinished (design 3.6).
        self.0.flush()?;
        self.0.into_inner().into_output().abandon()
    }
}
