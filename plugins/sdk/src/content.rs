//! The content of an item, and what is to be in its place.

use std::io::{self, BufRead, Read, Write};

use crate::ContentDecision;

/// Bytes that are asked of the host at a time: the most it gives.
const CHUNK: usize = 64 << 10;

/// The two ends of a content: the host's functions in a component, reader and writer natively.
pub(crate) trait Ends {
    /// Puts the next bytes in place of what is in `chunk`, at most `max`; none at the end.
    fn read(&mut self, chunk: &mut Vec<u8>, max: usize) -> io::Result<()>;
    /// Appends to what is to be the content; any number of bytes.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// The content of an item: what is read is what it is, what is written is what it will be, if the
/// answer is [`ContentDecision::Replace`]. Mail is a MIME message (EML); files are as they are.
///
/// Both ways are buffered: small reads and writes are cheap, and nothing need be flushed. Content
/// may be larger than the memory of a plugin: pass it on in pieces where the filter allows that.
pub struct Content<'a> {
    ends: &'a mut dyn Ends,
    /// What was read of the host, and how much of it is used.
    chunk: Vec<u8>,
    used: usize,
    /// What is yet to be written to the host; less than [`CHUNK`] bytes.
    pending: Vec<u8>,
}

impl<'a> Content<'a> {
    pub(crate) fn new(ends: &'a mut dyn Ends) -> Self {
        Self { ends, chunk: Vec::new(), used: 0, pending: Vec::new() }
    }

    /// The rest of the content at once.
    ///
    /// # Errors
    /// Never in a component; natively those of the reader.
    pub fn bytes(&mut self) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        Ok(bytes)
    }

    /// Writes the whole of the new content, and gives the answer that goes with it.
    ///
    /// # Errors
    /// Never in a component; natively those of the writer.
    pub fn replace_with(&mut self, bytes: &[u8]) -> Result<ContentDecision, String> {
        self.write_all(bytes).map_err(|error| error.to_string())?;
        Ok(ContentDecision::Replace)
    }
}

impl BufRead for Content<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.used == self.chunk.len() {
            self.used = 0;
            self.chunk.clear();
            self.ends.read(&mut self.chunk, CHUNK)?;
        }
        Ok(&self.chunk[self.used..])
    }

    fn consume(&mut self, amount: usize) {
        self.used = self.chunk.len().min(self.used + amount);
    }
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl Write for Content<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.pending.len() + bytes.len() >= CHUNK {
            self.flush()?;
        }
        if bytes.len() >= CHUNK {
            self.ends.write(bytes)?;
        } else {
            self.pending.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    /// Hands over what is pending; done for the filter after its answer.
    fn flush(&mut self) -> io::Result<()> {
        if !self.pending.is_empty() {
            self.ends.write(&self.pending)?;
            self.pending.clear();
        }
        Ok(())
    }
}
