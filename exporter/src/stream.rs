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

/// What a stream says that could not be written on. Without the cause, which may name what plugins
/// are to keep back.
const BROKEN: &str = "the archive could not be written; the run's own messages say why";

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
            command => {
                if let Err(error) = apply(&mut writer, command, tally) {
                    // It may be the spool that failed, where a member has just ended: an end
                    // there would pass for a whole archive.
                    drop(fail(writer, BROKEN));
                    return Err(archive_error(error));
                }
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Mutex, PoisonError};

    /// What came out of a writer.
    #[derive(Clone, Default)]
    struct Came(Arc<Mutex<Vec<u8>>>);

    impl Came {
        fn bytes(&self) -> Vec<u8> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
        }
    }

    impl Write for Came {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Output for Came {
        fn complete(self: Box<Self>) -> io::Result<()> {
            Ok(())
        }

        fn abandon(self: Box<Self>) -> io::Result<()> {
            Ok(())
        }
    }

    /// Also what fails between two members ends the stream so that nobody takes it for whole.
    #[test]
    fn what_fails_between_members_is_told_in_the_data() {
        let came = Came::default();
        let options = archive::writer::Options { align: None, spool_dir: std::env::temp_dir() };
        let output: Box<dyn Output> = Box::new(came.clone());
        let (commands, mut inbox) = mpsc::channel(4);
        let head = Head::new("contoso".to_owned(), Vec::new(), serde_json::json!({}), Vec::new());
        let impossible = Command::Directory { path: "users/../secret".to_owned(), mtime: 0 };
        for command in [Command::Head(Box::new(head)), impossible, Command::Finish] {
            commands.try_send(command).unwrap();
        }
        let ended = write(Writer::new(output, options).unwrap(), &mut inbox, &Tally::default());
        assert!(matches!(ended, Err(Error::Archive(archive::Error::Path { .. }))), "{ended:?}");
        let bytes = came.bytes();
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains(archive::FAILED_PATH), "no poison");
        assert!(!text.contains("secret"), "the poison names what plugins may keep back");
    }
}
