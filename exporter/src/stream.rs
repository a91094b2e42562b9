//! The end of the pipeline: one thread that owns the archive writer and the consumer's pipe.
//!
//! A thread of its own, because writing to a pipe blocks for as long as the consumer likes, and
//! the rest of the run (listing, fetching, signals) must not.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use archive::writer::FileMember;
use archive::{Head, LedgerLine, Seal, Writer};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::Error;
use crate::outcome::Tally;
use crate::spool::Spooled;

/// Where the archive goes.
pub trait Output: Write + Send {
    /// The stream is whole: finish frames, flush, close.
    ///
    /// # Errors
    /// When the consumer or the disk refuses.
    fn complete(self: Box<Self>) -> io::Result<()>;

    /// The stream ends here, broken on purpose: pass on what there is, finish nothing.
    ///
    /// # Errors
    /// When the consumer or the disk refuses.
    fn abandon(self: Box<Self>) -> io::Result<()>;
}

/// What the writer is told, in stream order.
#[derive(Debug)]
pub(crate) enum Command {
    Head(Box<Head>),
    Directory { path: String, mtime: i64 },
    File { path: String, mtime: i64, item: bool, content: Spooled },
    Begin { path: String, mtime: i64, size: u64 },
    Chunk(Bytes),
    End { damaged: bool },
    Ledger(LedgerLine),
    Finish,
    Fail(String),
}

/// The writing thread, seen from the pipeline.
#[derive(Debug)]
pub(crate) struct Stream {
    commands: mpsc::Sender<Command>,
    /// None once the end of the thread has been told.
    ended: Option<oneshot::Receiver<Result<Option<Seal>, Error>>>,
}

impl Stream {
    /// Starts the thread. Nothing is written before the first command.
    pub(crate) fn start(
        output: Box<dyn Output>,
        options: archive::writer::Options,
        tally: Arc<Tally>,
    ) -> Result<Self, Error> {
        let (commands, mut inbox) = mpsc::channel(16);
        let (report, ended) = oneshot::channel();
        let writer = Writer::new(output, options).map_err(Error::Archive)?;
        std::thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || {
                // The receiver is gone only when the whole run is.
                let _ = report.send(write(writer, &mut inbox, &tally));
            })
            .map_err(|_| Error::Internal("the writer thread did not start"))?;
        Ok(Self { commands, ended: Some(ended) })
    }

    /// Hands one command over; waits while the consumer is slow.
    pub(crate) async fn send(&mut self, command: Command) -> Result<(), Error> {
        if self.commands.send(command).await.is_ok() {
            return Ok(());
        }
        match self.end().await {
            Err(error) => Err(error),
            Ok(_) => Err(Error::Internal("the writer ended early")),
        }
    }

    /// Waits for the end of the thread after `Finish` or `Fail`.
    pub(crate) async fn ended(mut self) -> Result<Option<Seal>, Error> {
        self.end().await
    }

    async fn end(&mut self) -> Result<Option<Seal>, Error> {
        match self.ended.take() {
            Some(ended) => {
                ended.await.unwrap_or(Err(Error::Internal("the writer thread panicked")))
            }
            None => Err(Error::Internal("the writer has ended")),
        }
    }
}

type ArchiveWriter = Writer<Box<dyn Output>>;

fn write(
    mut writer: ArchiveWriter,
    inbox: &mut mpsc::Receiver<Command>,
    tally: &Tally,
) -> Result<Option<Seal>, Error> {
    while let Some(command) = inbox.blocking_recv() {
        match command {
            Command::Finish => return finish(writer, tally).map(Some),
            Command::Fail(reason) => return fail(writer, &reason).map(|()| None),
            command => apply(&mut writer, command, tally).map_err(archive_error)?,
        }
        tally.bytes.store(writer.position(), Ordering::Relaxed);
    }
    // The run was dropped: say so in the data, as for any fatal error.
    fail(writer, "the export ended early").map(|()| None)
}

fn apply(
    writer: &mut ArchiveWriter,
    command: Command,
    tally: &Tally,
) -> Result<(), archive::Error> {
    match command {
        Command::Head(head) => writer.head(&head),
        Command::Directory { path, mtime } => writer.directory(&path, mtime),
        Command::File { path, mtime, item, mut content } => {
            let (size, sha256) = (content.size, content.sha256);
            let member = FileMember { path: &path, mtime, size, sha256, item };
            match content.in_memory() {
                Some(bytes) => writer.file_in_memory(&member, bytes)?,
                None if content.is_in_base() => writer.file(&member, &mut content)?,
                None => writer.file_proven(&member, &mut content)?,
            }
            content.written();
            if item {
                Tally::add(&tally.items, 1);
            }
            Ok(())
        }
        Command::Begin { path, mtime, size } => writer.begin_stream(&path, mtime, size),
        Command::Chunk(bytes) => writer.stream(&bytes),
        Command::End { damaged } => {
            Tally::add(&tally.items, 1);
            if damaged { writer.end_damaged() } else { writer.end_stream() }.map(|_| ())
        }
        Command::Ledger(line) => {
            tally.count_ledger(line.outcome, &line.cause);
            writer.ledger(&line)
        }
        Command::Finish | Command::Fail(_) => Ok(()),
    }
}

fn finish(writer: ArchiveWriter, tally: &Tally) -> Result<Seal, Error> {
    let (output, seal) = writer.finish(None).map_err(archive_error)?;
    tally.bytes.store(stream_bytes(&seal), Ordering::Relaxed);
    output.complete().map_err(consumer_error)?;
    Ok(seal)
}

/// The whole stream: up to the ledger's end, then the seal (header and 4,096 bytes) and two
/// empty blocks.
fn stream_bytes(seal: &Seal) -> u64 {
    (seal.ledger.offset + seal.ledger.length).next_multiple_of(512) + 512 + 4096 + 1024
}

fn fail(writer: ArchiveWriter, reason: &str) -> Result<(), Error> {
    let output = writer.fail(reason).map_err(archive_error)?;
    output.abandon().map_err(consumer_error)
}

fn archive_error(error: archive::Error) -> Error {
    match error {
        archive::Error::Write { source, .. } => consumer_error(source),
        other => Error::Archive(other),
    }
}

fn consumer_error(source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::BrokenPipe => Error::ConsumerGone(source),
        _ => Error::Output(source),
    }
}
