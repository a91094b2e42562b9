//! What a conversion leaves behind. Nothing is dropped without one of these.

use std::collections::BTreeMap;
use std::fmt;

/// Something of an item that the other format does not hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Loss {
    /// The Graph property (`attendees/proposedNewTime`) or the iCalendar or vCard property
    /// (`VEVENT/RDATE`) that was not, or not wholly, converted.
    pub property: String,
    /// Why, as half a sentence.
    pub why: &'static str,
    /// How often in this item.
    pub count: u32,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.property, self.why)?;
        if self.count > 1 { write!(f, " ({} times)", self.count) } else { Ok(()) }
    }
}

/// Collects losses; the same one counts.
#[derive(Debug, Default)]
pub(crate) struct Losses(BTreeMap<(String, &'static str), u32>);

impl Losses {
    pub(crate) fn add(&mut self, property: impl Into<String>, why: &'static str) {
        self.add_many(property, why, 1);
    }

    pub(crate) fn add_many(&mut self, property: impl Into<String>, why: &'static str, count: u32) {
        if count > 0 {
            *self.0.entry((property.into(), why)).or_default() += count;
        }
    }

    /// Sorted by property and reason.
    pub(crate) fn into_vec(self) -> Vec<Loss> {
        let entries = self.0.into_iter();
        entries.map(|((property, why), count)| Loss { property, why, count }).collect()
    }
}
