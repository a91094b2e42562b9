//! Running a filter without WebAssembly, in tests and benchmarks: this module plays the host.

use std::cell::RefCell;
use std::io::{self, Read, Write};

use serde_json::Value;

use crate::content::Ends;
use crate::log::Level;
use crate::{Content, ContentDecision, Filter, Item, MetadataDecision};

/// Messages that one call has, as at the host.
const MESSAGES: usize = 64;

thread_local! {
    static MESSAGES_OF_CALL: RefCell<Vec<(Level, String)>> = const { RefCell::new(Vec::new()) };
}

/// An item with this metadata (a JSON object): its id is the metadata's, the owner and the path are
/// made up, media type and size are not known. Set what a test needs otherwise.
#[must_use]
pub fn item(service: &str, kind: &str, metadata: Value) -> Item {
    let id = metadata.get("id").and_then(Value::as_str).unwrap_or("AAMkAGI2").to_owned();
    Item {
        path: format!("users/ada@example.com/{service}/{id}"),
        id,
        service: service.to_owned(),
        kind: kind.to_owned(),
        owner: "ada@example.com".to_owned(),
        owner_id: "6ea91a8d-e32e-41a1-b7bd-d2d185eed0e0".to_owned(),
        media_type: None,
        size: None,
        metadata,
    }
}

/// Asks a filter about metadata, as the host does.
///
/// # Errors
/// Those of the filter.
pub fn on_metadata<F: Filter>(settings: &str, item: &Item) -> Result<MetadataDecision, String> {
    begin();
    F::configure(settings)?.on_metadata(item)
}

/// Asks a filter about content, as the host does: `input` is the content; after
/// [`ContentDecision::Replace`] the new one is in `output`. What is there after another answer is
/// to be forgotten.
///
/// # Errors
/// Those of the filter, and those of the input and output that it hands on.
pub fn on_content<F: Filter>(
    settings: &str,
    item: &Item,
    input: impl Read,
    output: impl Write,
) -> Result<ContentDecision, String> {
    begin();
    let filter = F::configure(settings)?;
    let mut ends = Native { input, output };
    let mut content = Content::new(&mut ends);
    let decision = filter.on_content(item, &mut content)?;
    content.flush().map_err(|error| error.to_string())?;
    Ok(decision)
}

/// What was logged on this thread by the last call of this module, oldest first; at most 64
/// messages.
#[must_use]
pub fn messages() -> Vec<(Level, String)> {
    MESSAGES_OF_CALL.with_borrow(Clone::clone)
}

fn begin() {
    MESSAGES_OF_CALL.with_borrow_mut(Vec::clear);
}

pub(crate) fn log(level: Level, message: &str) {
    MESSAGES_OF_CALL.with_borrow_mut(|messages| {
        if messages.len() < MESSAGES {
            messages.push((level, message.to_owned()));
        }
    });
}

struct Native<I, O> {
    input: I,
    output: O,
}

impl<I: Read, O: Write> Ends for Native<I, O> {
    fn read(&mut self, chunk: &mut Vec<u8>, max: usize) -> io::Result<()> {
        chunk.resize(max, 0);
        let count = loop {
            match self.input.read(chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                count => break count,
            }
        };
        chunk.truncate(*count.as_ref().unwrap_or(&0));
        count.map(drop)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.write_all(bytes)
    }
}
