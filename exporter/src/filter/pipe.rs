//! Content between the pipeline, which is async, and plugins, which run on threads of their own.

use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf, Bytes};
use tokio::sync::mpsc;

use crate::spool::Spooled;

/// Pieces that may wait in a pipe.
pub(super) const AHEAD: usize = 4;

/// What comes through a pipe.
#[derive(Debug, Clone)]
pub(crate) enum Piece {
    /// All there will be, told first where it is known.
    Size(u64),
    Bytes(Bytes),
    /// The source broke: this is not its end.
    Torn,
}

/// The reading end, for a plugin.
pub(super) struct PipeReader {
    pieces: mpsc::Receiver<Piece>,
    at_hand: Bytes,
}

impl PipeReader {
    pub(super) const fn new(pieces: mpsc::Receiver<Piece>) -> Self {
        Self { pieces, at_hand: Bytes::new() }
    }
}

impl Read for PipeReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at_hand.is_empty() {
            match self.pieces.blocking_recv() {
                Some(Piece::Bytes(bytes)) => self.at_hand = bytes,
                Some(Piece::Size(_)) => {}
                Some(Piece::Torn) => return Err(io::ErrorKind::UnexpectedEof.into()),
                None => return Ok(0),
            }
        }
        let length = into.len().min(self.at_hand.len());
        self.at_hand.copy_to_slice(&mut into[..length]);
        Ok(length)
    }
}

/// The writing end, for a plugin.
pub(super) struct PipeWriter {
    pieces: mpsc::Sender<Piece>,
    /// Writing goes on when nobody reads any more.
    outlives: bool,
}

impl PipeWriter {
    /// Ends the plugin when the reader goes.
    pub(super) const fn new(pieces: mpsc::Sender<Piece>) -> Self {
        Self { pieces, outlives: false }
    }

    /// For a reader that may have enough: the plugin is to come to a decision all the same.
    pub(super) const fn outliving(pieces: mpsc::Sender<Piece>) -> Self {
        Self { pieces, outlives: true }
    }

    /// Whoever reads it must not take what came for all there is.
    pub(super) fn tear(self) {
        // Nobody may be left to be told.
        let _ = self.pieces.blocking_send(Piece::Torn);
    }
}

impl Write for PipeWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = Piece::Bytes(Bytes::copy_from_slice(bytes));
        match self.pieces.blocking_send(piece) {
            Err(_) if !self.outlives => Err(io::ErrorKind::BrokenPipe.into()),
            _ => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Spooled content that is given to a plugin to read, and taken back from it.
#[derive(Clone)]
pub(super) struct Lent(Arc<Mutex<Spooled>>);

impl Lent {
    pub(super) fn new(content: Spooled) -> Self {
        Self(Arc::new(Mutex::new(content)))
    }

    /// The content again, from its beginning; none while a plugin still has it.
    pub(super) fn back(self) -> Option<io::Result<Spooled>> {
        let content = Arc::into_inner(self.0)?;
        let mut content = content.into_inner().unwrap_or_else(PoisonError::into_inner);
        Some(content.rewind().map(|()| content))
    }
}

impl Read for Lent {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).read(into)
    }
}
