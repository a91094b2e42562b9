//! Lines kept in a temporary file, so that memory does not grow with the number of members.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use crate::{Error, digest::Sha256Digest};

/// An append-only temporary file without a name (0600), with its length and digest.
pub(crate) struct Spool {
    file: BufWriter<File>,
    directory: PathBuf,
    length: u64,
    digest: Sha256,
}

impl Spool {
    pub(crate) fn new(directory: &Path) -> Result<Self, Error> {
        let file = tempfile::tempfile_in(directory)
            .map_err(|source| Error::Spool { path: directory.to_owned(), source })?;
        Ok(Spool {
            file: BufWriter::new(file),
            directory: directory.to_owned(),
            length: 0,
            digest: Sha256::new(),
        })
    }

    /// One on a disk that is full.
    #[cfg(test)]
    pub(crate) fn full() -> Self {
        let path = "/dev/full";
        let file = File::options().read(true).write(true).open(path).unwrap();
        let (file, directory) = (BufWriter::new(file), PathBuf::from(path));
        Spool { file, directory, length: 0, digest: Sha256::new() }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(|source| self.error(source))?;
        self.digest.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Bytes pushed so far.
    pub(crate) fn len(&self) -> u64 {
        self.length
    }

    /// Digest of all bytes pushed so far.
    pub(crate) fn sha256(&self) -> Sha256Digest {
        self.digest.clone().finalize().into()
    }

    /// Reads everything from the start. From then on nothing may be pushed: the place in the
    /// file is shared.
    pub(crate) fn reader(&mut self) -> Result<SpoolReader, Error> {
        let file = self.file.flush().and_then(|()| self.file.get_ref().try_clone());
        let file = file.map_err(|source| self.error(source))?;
        let directory = self.directory.clone();
        let mut reader = SpoolReader { file: BufReader::new(file), directory, position: 0 };
        reader.seek(0)?;
        Ok(reader)
    }

    fn error(&self, source: io::Error) -> Error {
        Error::Spool { path: self.directory.clone(), source }
    }
}

/// Reads a spool back.
pub(crate) struct SpoolReader {
    pub(crate) file: BufReader<File>,
    directory: PathBuf,
    position: u64,
}

impl SpoolReader {
    /// The next line without its newline.
    pub(crate) fn line(&mut self) -> Result<Option<String>, Error> {
        let mut line = String::new();
        let read = self.file.read_line(&mut line).map_err(|source| self.error(source))?;
        self.position += read as u64;
        if line.ends_with('\n') {
            line.pop();
        }
        Ok((read > 0).then_some(line))
    }

    /// Where the next line starts, if only lines were read.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    pub(crate) fn seek(&mut self, position: u64) -> Result<(), Error> {
        self.position = position;
        let moved = self.file.seek(SeekFrom::Start(position));
        moved.map(drop).map_err(|source| self.error(source))
    }

    fn error(&self, source: io::Error) -> Error {
        Error::Spool { path: self.directory.clone(), source }
    }
}
