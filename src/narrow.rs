//! The parts of an archive in a file that a selection may want, as one stream: head, metadata,
//! members, and the end with the manifest. Who reads it decides as ever; the rest is not read.

use std::io::{self, Read};

use archive::region::RegionReader;
use archive::{Index, Reader, Region};

use crate::commands::first_line;
use crate::exit::Failure;
use crate::input::Wanted;

/// A stream of the parts that `wanted` may want.
pub(crate) fn narrowed(
    file: &Region,
    wanted: &mut Wanted,
) -> Result<Box<dyn Read + Send>, Failure> {
    let mut extents: Vec<(u64, u64)> = Vec::new();
    let mut add = |start: u64, end: u64| match extents.last_mut() {
        Some(last) if last.1 == start => last.1 = end,
        _ => extents.push((start, end)),
    };
    let mut entries = Index::open(file.reader())?.into_entries()?;
    while let Some(entry) = entries.next_entry()? {
        let path = &entry.line.path;
        let is_asked = wanted.needs(path);
        if is_asked {
            let mut reader = Reader::new(file.slice(entry.offset, entry.line.span).reader());
            reader.next_entry()?;
            wanted.learn(path, &first_line(&mut reader.content())?);
        }
        if is_asked || entry.offset == 0 || wanted.wants(path, None) {
            add(entry.offset, entry.offset + entry.line.span);
        }
    }
    add(entries.position().member(), file.length());
    extents.reverse();
    Ok(Box::new(Extents { file: file.clone(), left: extents, part: None }))
}

/// Parts of a file, one after the other.
struct Extents {
    file: Region,
    /// Start and end, the next one last.
    left: Vec<(u64, u64)>,
    part: Option<RegionReader>,
}

impl Read for Extents {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(part) = &mut self.part {
                match part.read(into)? {
                    0 if !into.is_empty() => self.part = None,
                    read => return Ok(read),
                }
            }
            let Some((start, end)) = self.left.pop() else { return Ok(0) };
            self.part = Some(self.file.slice(start, end - start).reader());
        }
    }
}
