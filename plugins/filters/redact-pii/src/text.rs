//! Redaction of texts, by the form they are written in.

use crate::edit::{Edit, apply_text, merge};
use crate::find::{Finder, Hit};
use crate::view::{Dialect, Lines, escape, html, markup, plain, rtf, rtf_escape};

/// How a text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As it is read.
    Plain(Lines),
    /// HTML or XML.
    Markup(Dialect),
    /// XML of a worksheet: what stands in cells has to stay a number.
    Sheet,
    /// Rich Text Format.
    Rtf,
}

/// Plain text, line by line.
pub const PLAIN: Form = Form::Plain(Lines::Plain);

impl Finder {
    /// The text without what was found in it; `None` if nothing was.
    #[must_use]
    pub fn redact(&self, text: &str, form: Form) -> Option<String> {
        let edits = self.edits(text, form);
        (!edits.is_empty()).then(|| apply_text(text, &edits))
    }

    /// [`redact`](Self::redact) for the name of a file, which stays one.
    #[must_use]
    pub fn redact_name(&self, name: &str) -> Option<String> {
        let view = plain(name, Lines::Plain);
        let edits = view.edits(&self.find(view.text()), |hit| file_name(&hit.with));
        (!edits.is_empty()).then(|| apply_text(name, &edits))
    }

    /// What is to be changed in a text.
    #[must_use]
    pub fn edits(&self, text: &str, form: Form) -> Vec<Edit> {
        match form {
            Form::Plain(lines) => {
                let view = plain(text, lines);
                view.edits(&self.find(view.text()), |hit| hit.with.clone())
            }
            Form::Markup(dialect) => self.markup_edits(text, dialect),
            Form::Sheet => {
                let mut edits = self.markup_edits(text, Dialect::Office);
                for edit in edits.iter_mut().filter(|edit| !edit.with.is_empty()) {
                    if is_cell_value(&text[..edit.range.start]) {
                        edit.with = b"0".to_vec();
                    }
                }
                edits
            }
            Form::Rtf => {
                let view = rtf(text);
                view.edits(&self.find(view.text()), |hit| rtf_escape(&hit.with))
            }
        }
    }

    fn markup_edits(&self, text: &str, dialect: Dialect) -> Vec<Edit> {
        let view = html(text, dialect);
        let mut edits = view.edits(&self.find(view.text()), |hit| escape(&hit.with));
        let (tags, comments) = markup(text);
        for (start, view) in tags {
            let found = self.find(view.text());
            let write = |hit: &Hit| attribute(hit, view.text(), dialect);
            edits.extend(moved(view.edits(&found, write), start));
        }
        for range in comments {
            let inner = self.markup_edits(&text[range.clone()], dialect);
            edits.extend(moved(inner, range.start));
        }
        merge(edits)
    }
}

/// What replaces a hit in a tag. Values of Office files' attributes have a form to keep: numbers
/// stay numbers, and names of sheets have no brackets or colons.
fn attribute(hit: &Hit, tag: &str, dialect: Dialect) -> String {
    if dialect == Dialect::Html {
        return escape(&hit.with);
    }
    let quoted = tag[..hit.range.start].ends_with(['"', '\''])
        && tag[hit.range.end..].starts_with(['"', '\'']);
    if quoted && tag[hit.range.clone()].bytes().all(|byte| byte.is_ascii_digit()) {
        return "0".to_owned();
    }
    token(&hit.with)
}

/// Whether the last tag before the end is of a cell's value or formula.
fn is_cell_value(before: &str) -> bool {
    let Some(open) = before.rfind('<') else { return false };
    let name: &str = before[open + 1..].split([' ', '>', '/']).next().unwrap_or_default();
    matches!(name.rsplit(':').next(), Some("v" | "f"))
}

fn moved(mut edits: Vec<Edit>, by: usize) -> Vec<Edit> {
    for edit in &mut edits {
        edit.range = edit.range.start + by..edit.range.end + by;
    }
    edits
}

/// A replacement where only letters, digits and a few signs can stand: `redacted-card`.
#[must_use]
pub(crate) fn token(with: &str) -> String {
    let keep = |found: char| found.is_ascii_alphanumeric() || matches!(found, '-' | '_' | '.');
    with.replace(|found| !keep(found), "-").trim_matches('-').to_owned()
}

/// A replacement in the name of a file: `[redacted-card]`.
#[must_use]
pub(crate) fn file_name(with: &str) -> String {
    let refused = |found: char| "\\/:*?\"<>|#%".contains(found) || found.is_control();
    with.replace(refused, "-")
}
