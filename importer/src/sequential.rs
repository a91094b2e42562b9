//! Content as an upload reads it: forwards, and from the start again if it must be.

use std::io::{self, Read};

use bytes::Bytes;
use futures::future::BoxFuture;

/// Opens the content from its start.
pub(crate) type Open = Box<dyn Fn() -> io::Result<Box<dyn Read + Send>> + Send + Sync>;

/// The source of an upload. Reading blocks, so it is done on threads for that.
pub(crate) struct Sequential {
    open: Open,
    reader: Option<Box<dyn Read + Send>>,
    at: u64,
    /// Sees each byte once, in order.
    digest: Option<quickxorhash::QuickXorHash>,
    digested: u64,
}

impl Sequential {
    pub(crate) fn new(open: Open) -> Self {
        let digest = Some(quickxorhash::QuickXorHash::new());
        Self { open, reader: None, at: 0, digest, digested: 0 }
    }

    /// The service's hash of all that was read (FACTS 4.4), in base64. Once.
    pub(crate) fn quick_xor_hash(&mut self) -> Option<String> {
        use base64::Engine as _;
        let digest = self.digest.take()?.finalize();
        Some(base64::engine::general_purpose::STANDARD.encode(digest))
    }

    async fn read(&mut self, offset: u64, length: usize) -> io::Result<Bytes> {
        if self.reader.is_none() || offset < self.at {
            self.reader = Some((self.open)().map_err(|error| {
                // What has passed by does not come back.
                io::Error::new(io::ErrorKind::NotSeekable, error)
            })?);
            self.at = 0;
        }
        let mut reader = self.reader.take().ok_or(io::ErrorKind::NotSeekable)?;
        let skip = offset - self.at;
        let read = tokio::task::spawn_blocking(move || {
            io::copy(&mut reader.by_ref().take(skip), &mut io::sink())?;
            let mut bytes = vec![0; length];
            reader.read_exact(&mut bytes)?;
            Ok::<_, io::Error>((reader, bytes))
        });
        let (reader, bytes) = read.await.map_err(io::Error::other)??;
        self.reader = Some(reader);
        self.at = offset + length as u64;
        if let Some(digest) = &mut self.digest
            && self.digested >= offset
            && self.digested < self.at
        {
            let new = usize::try_from(self.digested - offset).unwrap_or(0);
            digest.update(&bytes[new..]);
            self.digested = self.at;
        }
        Ok(bytes.into())
    }
}

impl graph::Source for Sequential {
    fn read(&mut self, offset: u64, length: usize) -> BoxFuture<'_, io::Result<Bytes>> {
        Box::pin(Self::read(self, offset, length))
    }

    /// The end of a content is where its digest is checked: there must be one.
    fn finish(&mut self) -> io::Result<()> {
        let Some(reader) = &mut self.reader else { return Ok(()) };
        match reader.read(&mut [0])? {
            0 => Ok(()),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "there is more than announced")),
        }
    }
}
