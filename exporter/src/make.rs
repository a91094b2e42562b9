//! Content that we make ourselves: a converter writes it, as files are written, on a thread of its
//! own, and what it writes goes to the spool.
//!
//! A converter may ask for parts, such as attachments: each is fetched when it is asked for, and
//! is whole in the spool before the converter sees its first byte, so that what breaks off leaves
//! no half part behind. One part at a time takes room.

use std::io::{self, Write};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::Error;
use crate::context::Context;
use crate::spool::{Spooled, Turn};

/// Bytes that are handed over at a time.
const PIECE: usize = 64 * 1024;
/// Pieces that may wait.
const AHEAD: usize = 4;

/// What the converter wants.
enum Wish {
    Write(Bytes),
    Part(usize, oneshot::Sender<Option<Spooled>>),
}

/// Where a converter writes, and gets parts from.
pub(crate) struct Maker {
    wishes: mpsc::Sender<Wish>,
    buffer: Vec<u8>,
}

impl Maker {
    /// Part number `number`, whole; none if the service does not give it.
    ///
    /// # Errors
    /// When the run ends: the converter is to end too.
    pub(crate) fn part(&mut self, number: usize) -> io::Result<Option<Spooled>> {
        self.flush()?;
        let (sender, receiver) = oneshot::channel();
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.wishes.blocking_send(Wish::Part(number, sender)).map_err(|_| gone(()))?;
        receiver.blocking_recv().map_err(|_| gone(()))
    }
}

impl Write for Maker {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = std::mem::take(&mut self.buffer).into();
        let sent = self.wishes.blocking_send(Wish::Write(piece));
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Makes a content: `convert` writes it, `part` fetches what it asks for (none: not to be had, and
/// for the caller to remark). Gives back the content with what `convert` says of it. The inner
/// error is the converter's own.
///
/// # Errors
/// What ends the run, in `part` or in the spool.
pub(crate) async fn make<T, C, P, F>(
    context: &Context,
    turn: Turn,
    convert: C,
    mut part: P,
) -> Result<io::Result<(Spooled, T)>, Error>
where
    T: Send + 'static,
    C: FnOnce(&mut Maker) -> io::Result<T> + Send + 'static,
    P: FnMut(usize) -> F,
    F: Future<Output = Result<Option<Spooled>, Error>>,
{
    let (sender, mut wishes) = mpsc::channel(AHEAD);
    let thread = tokio::task::spawn_blocking(move || {
        let mut maker = Maker { wishes: sender, buffer: Vec::new() };
        let made = convert(&mut maker)?;
        maker.flush()?;
        Ok(made)
    });
    let mut draft = context.spool.draft(turn);
    while let Some(wish) = wishes.recv().await {
        match wish {
            Wish::Write(bytes) => context.write(&mut draft, &bytes).await?,
            // A converter that has gone needs no answer.
            Wish::Part(number, answer) => drop(answer.send(part(number).await?)),
        }
    }
    match thread.await {
        Ok(Ok(made)) => Ok(Ok((context.finish(draft)?, made))),
        Ok(Err(error)) => Ok(Err(error)),
        Err(_) => Err(Error::Internal("a converter panicked")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::sync::Arc;

    use super::*;
    use crate::monitor::Silent;
    use crate::options::{Options, SpoolOptions};

    const TURN: Turn = Turn { section: 0, item: 1 };

    /// Room for next to nothing in memory.
    fn context() -> Context {
        let dir = std::env::temp_dir();
        let options = Options {
            services: Vec::new(),
            selection: archive::Selection::default(),
            concurrency: 1,
            spool: SpoolOptions {
                dir,
                disk_bytes: 64 << 20,
                memory_bytes: 4096,
                inventory_bytes: 0,
            },
            align: None,
            include_recoverable: false,
            vcard: archive::VCard::default(),
            tenant: String::new(),
            plugins: plugin_host::Chain::default(),
            states: None,
            without_message_delta: false,
        };
        Context::new(None, options, &Arc::default(), Arc::new(Silent), None).unwrap()
    }

    async fn part_of(context: &Context, bytes: &[u8]) -> Result<Option<Spooled>, Error> {
        let mut draft = context.spool.draft(TURN);
        context.write(&mut draft, bytes).await?;
        context.finish(draft).map(Some)
    }

    #[tokio::test]
    async fn parts_come_when_they_are_asked_for_and_stand_where_they_are_written() {
        let context = context();
        let large: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
        let convert = |out: &mut Maker| {
            out.write_all(b"begin ")?;
            let mut missing = 0;
            for number in 0..3 {
                match out.part(number)? {
                    Some(mut part) => drop(io::copy(&mut part, out)?),
                    None => missing += 1,
                }
            }
            out.write_all(b" end")?;
            Ok(missing)
        };
        let part = async |number| match number {
            1 => Ok(None),
            2 => part_of(&context, b"small").await,
            _ => part_of(&context, &large).await,
        };
        let (mut content, missing) = make(&context, TURN, convert, part).await.unwrap().unwrap();
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes).unwrap();
        let expected = [b"begin ".as_slice(), &large, b"small end"].concat();
        assert!(bytes == expected, "{} bytes, not {}", bytes.len(), expected.len());
        assert_eq!(missing, 1);
    }

    #[tokio::test]
    async fn errors_of_either_side_end_both() {
        let context = context();
        let fails = |_: &mut Maker| Err::<(), _>(io::Error::other("no such zone"));
        let made = make(&context, TURN, fails, async |_| Ok(None)).await.unwrap();
        assert_eq!(made.err().map(|error| error.to_string()).as_deref(), Some("no such zone"));
        let asks = |out: &mut Maker| out.part(0).map(drop);
        let made = make(&context, TURN, asks, async |_| Err(Error::Interrupted)).await;
        assert!(matches!(made, Err(Error::Interrupted)));
    }
}
