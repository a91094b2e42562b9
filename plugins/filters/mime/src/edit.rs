//! The loop over the text parts of a mail.

use std::cell::RefCell;
use std::io::{self, Read, Write};

use crate::part::{Form, Part};
use crate::text::Text;
use crate::walk::{Event, Walk};

/// Bytes that [`Deferred`] keeps back at most.
const BACK: usize = 1024 * 1024;

/// What came of [`edit_texts`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    /// The mail is another one; if not, what was written can be forgotten.
    pub changed: bool,
    /// Wanted text parts that were longer than the limit and are as they were.
    pub too_long: usize,
}

/// One of two users of a content that is read and written through the same value.
#[derive(Debug)]
pub struct Half<'a, C>(pub &'a RefCell<C>);

impl<C: Read> Read for Half<'_, C> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(buffer)
    }
}

impl<C: Write> Write for Half<'_, C> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.borrow_mut().flush()
    }
}

/// An output that is written to only when it has to be: what is not changed yet is kept back, up
/// to 1 MiB. Most mails are shorter and most are not changed, so nothing of them is written.
#[derive(Debug)]
pub struct Deferred<W> {
    output: W,
    back: Vec<u8>,
    /// What was kept back is written, and so is all that comes.
    through: bool,
    changed: bool,
}

impl<W: Write> Deferred<W> {
    /// Nothing is written and nothing changed.
    pub fn new(output: W) -> Self {
        Deferred { output, back: Vec::new(), through: false, changed: false }
    }

    /// Appends bytes that are as they were.
    pub fn pass(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.through {
            return self.output.write_all(bytes);
        }
        self.back.extend_from_slice(bytes);
        if self.back.len() > BACK { self.flush() } else { Ok(()) }
    }

    /// Appends bytes that stand in place of others.
    pub fn change(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.changed = true;
        self.flush()?;
        self.output.write_all(bytes)
    }

    /// Whether anything was changed.
    pub fn changed(&self) -> bool {
        self.changed
    }

    fn flush(&mut self) -> io::Result<()> {
        self.through = true;
        self.output.write_all(&std::mem::take(&mut self.back))
    }
}

/// Copies a mail and lets `edit` say what is to stand in place of the text of a part, for leaves
/// that `wants` takes and whose encoded body has at most `limit` bytes. Everything else is
/// written as it stands.
pub fn edit_texts<R: Read, W: Write>(
    input: R,
    output: W,
    limit: usize,
    mut wants: impl FnMut(&Part) -> bool,
    mut edit: impl FnMut(&Part, &str) -> Option<String>,
) -> io::Result<Outcome> {
    let mut walk = Walk::new(input);
    let mut output = Deferred::new(output);
    let mut outcome = Outcome::default();
    // The part that is read, if it is wanted, and its body so far.
    let mut wanted: Option<(Part, Vec<u8>)> = None;
    while let Some(event) = walk.next_event()? {
        match event {
            Event::Between(bytes) => output.pass(bytes)?,
            Event::Head(part) => {
                output.pass(&part.raw)?;
                if part.form == Form::Leaf && wants(part) {
                    wanted = Some((part.clone(), Vec::new()));
                }
            }
            Event::Body(bytes) => match &mut wanted {
                Some((_, body)) if body.len() + bytes.len() <= limit => {
                    body.extend_from_slice(bytes);
                }
                Some((_, body)) => {
                    outcome.too_long += 1;
                    output.pass(body)?;
                    wanted = None;
                    output.pass(bytes)?;
                }
                None => output.pass(bytes)?,
            },
            Event::End { .. } => {
                let Some((part, body)) = wanted.take() else { continue };
                let text = Text::decode(&part, &body);
                let changed = text.as_ref().and_then(|text| edit(&part, &text.text));
                match (text, changed) {
                    (Some(text), Some(changed)) => output.change(&text.encode(&changed))?,
                    _ => output.pass(&body)?,
                }
            }
        }
    }
    outcome.changed = output.changed();
    Ok(outcome)
}

#[cfg(test)]
mod tests;
