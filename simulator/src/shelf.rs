//! What a mailbox holds besides mail: calendars, contacts, tasks, rules, categories. Each thing is
//! kept as the JSON that it is shown as, less what the service itself computes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use chrono::{DateTime, Days, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::compose::{self, Object};
use crate::dice;
use crate::extended::Property;
use crate::ids::{MailIds, Named};
use crate::mail::Attachment;
use crate::mailbox::index_key;

/// The place of a thing among all of its shelf; it never changes.
pub(crate) type Number = u32;

/// What a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Calendar,
    Event,
    ContactFolder,
    Contact,
    TaskList,
    Task,
    ChecklistItem,
    LinkedResource,
    Rule,
    Category,
    Override,
    Conversation,
    Thread,
    Post,
}

/// A thing, or one occurrence of it where it is a series of events. Ordered as things were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) number: Number,
    /// The day for which the pattern foresees the occurrence, in the zone of the pattern.
    pub(crate) day: Option<NaiveDate>,
}

impl From<Number> for Place {
    fn from(number: Number) -> Place {
        Place { number, day: None }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Thing {
    pub(crate) kind: Kind,
    /// What it lies in or belongs to.
    pub(crate) parent: Option<Number>,
    pub(crate) properties: Object,
    pub(crate) extended: Vec<Property>,
    pub(crate) attachments: Vec<Attachment>,
    pub(crate) photo: Option<Photo>,
    /// The occurrences of a series that are not as the pattern says.
    pub(crate) days: BTreeMap<NaiveDate, Day>,
    pub(crate) created: DateTime<Utc>,
    pub(crate) modified: DateTime<Utc>,
    pub(crate) gone: bool,
    change: u64,
    /// When which occurrence was changed, and by which change.
    touched: BTreeMap<NaiveDate, (DateTime<Utc>, u64)>,
}

/// What became of an occurrence.
#[derive(Debug, Clone)]
pub(crate) enum Day {
    Cancelled,
    /// These properties differ from the master's; these attachments are added to its own.
    Changed {
        properties: Object,
        extended: Vec<Property>,
        attachments: Vec<Attachment>,
    },
}

/// A picture of somebody.
#[derive(Debug, Clone)]
pub(crate) struct Photo {
    pub(crate) content_type: String,
    pub(crate) bytes: Bytes,
}

pub(crate) struct Shelf {
    pub(crate) ids: MailIds,
    salt: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    things: Vec<Arc<Thing>>,
    /// Change number and what it changed.
    journal: Vec<(u64, Place)>,
    seq: u64,
    /// Where to look for things by their extended properties.
    index: HashMap<u64, Vec<Number>>,
    settings: Object,
    photo: Option<Photo>,
}

/// An id that is none of this shelf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    Malformed,
    Missing,
}

/// Days are counted from here in ids.
const FIRST_DAY: NaiveDate = NaiveDate::from_ymd_opt(1900, 1, 1).expect("a day of the calendar");
const DAY_BITS: u32 = 20;

impl Shelf {
    pub(crate) fn new(seed: u64, owner: &str) -> Shelf {
        // Ids of its own: those of mails count from the same number.
        let own = format!("{owner} besides mail");
        let salt = dice::hash(&[seed, dice::text(&own)]);
        Shelf { ids: MailIds::new(seed, &own), salt, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under this lock")
    }

    /// The number of the last change so far.
    pub(crate) fn seq(&self) -> u64 {
        self.state().seq
    }

    /// Adds a thing. Extended properties among its own are taken out.
    pub(crate) fn put(
        &self,
        kind: Kind,
        parent: Option<Number>,
        mut properties: Object,
        when: DateTime<Utc>,
    ) -> Number {
        let extended = take_extended(&mut properties);
        let mut state = self.state();
        let number = state.things.len() as Number;
        let thing = Thing {
            kind,
            parent,
            properties,
            extended,
            attachments: Vec::new(),
            photo: None,
            days: BTreeMap::new(),
            created: when,
            modified: when,
            gone: false,
            change: 0,
            touched: BTreeMap::new(),
        };
        state.index(number, &thing.extended);
        state.things.push(Arc::new(thing));
        state.note(number.into());
        number
    }

    /// A thing that is there.
    pub(crate) fn thing(&self, number: Number) -> Option<Arc<Thing>> {
        self.any(number).filter(|thing| !thing.gone)
    }

    /// A thing that is or was there.
    pub(crate) fn any(&self, number: Number) -> Option<Arc<Thing>> {
        self.state().things.get(number as usize).map(Arc::clone)
    }

    /// All of a kind that lie in something, as they were made.
    pub(crate) fn children(&self, kind: Kind, parent: Option<Number>) -> Vec<Number> {
        self.select(|thing| thing.kind == kind && thing.parent == parent)
    }

    /// All of a kind, wherever they lie.
    pub(crate) fn all(&self, kind: Kind) -> Vec<Number> {
        self.select(|thing| thing.kind == kind)
    }

    fn select(&self, wanted: impl Fn(&Thing) -> bool) -> Vec<Number> {
        let state = self.state();
        let numbered = (0..).zip(&state.things);
        let wanted = numbered.filter(|(_, thing)| !thing.gone && wanted(thing));
        wanted.map(|(number, _)| number).collect()
    }

    /// Things that may have an extended property of one of these index keys: all that do are
    /// among them.
    pub(crate) fn indexed(&self, keys: &[u64]) -> Vec<Number> {
        let state = self.state();
        let mut all: Vec<Number> =
            keys.iter().filter_map(|key| state.index.get(key)).flatten().copied().collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Changes a thing, or one occurrence of it, now. What it was is left as it is for whoever
    /// holds it.
    pub(crate) fn change(&self, place: Place, now: DateTime<Utc>, edit: impl FnOnce(&mut Thing)) {
        let mut state = self.state();
        let change = state.note(place);
        let Some(thing) = state.things.get_mut(place.number as usize) else {
            return;
        };
        let thing = Arc::make_mut(thing);
        edit(thing);
        match place.day {
            // An exception has a tag of its own; nothing says that it changes its master's.
            Some(day) => drop(thing.touched.insert(day, (now, change))),
            None => (thing.modified, thing.change) = (now, change),
        }
        let extended = thing.extended.clone();
        state.index(place.number, &extended);
    }

    /// Takes a thing away with all that lies in it.
    pub(crate) fn remove(&self, number: Number, now: DateTime<Utc>) {
        let inside = self.select(|thing| thing.parent == Some(number));
        for number in inside {
            self.remove(number, now);
        }
        self.change(number.into(), now, |thing| thing.gone = true);
    }

    /// Takes a thing away, or cancels one occurrence of it.
    pub(crate) fn take_away(&self, place: Place, now: DateTime<Utc>) {
        match place.day {
            None => self.remove(place.number, now),
            Some(day) => self.change(place, now, |thing| {
                thing.days.insert(day, Day::Cancelled);
            }),
        }
    }

    /// What was changed after one change up to another, each place once, in the order of its last
    /// change.
    pub(crate) fn changes(&self, since: u64, until: u64) -> Vec<Place> {
        let state = self.state();
        let within = state.journal.iter().filter(|(seq, _)| (since + 1..=until).contains(seq));
        let mut seen = HashSet::new();
        let newest_first = within.rev().map(|(_, place)| *place);
        let mut last: Vec<Place> = newest_first.filter(|place| seen.insert(*place)).collect();
        last.reverse();
        last
    }

    /// The settings of the mailbox.
    pub(crate) fn settings(&self) -> Object {
        self.state().settings.clone()
    }

    pub(crate) fn set_settings(&self, settings: Object) {
        self.state().settings = settings;
    }

    /// The picture of the owner.
    pub(crate) fn photo(&self) -> Option<Photo> {
        self.state().photo.clone()
    }

    pub(crate) fn set_photo(&self, photo: Option<Photo>) {
        self.state().photo = photo;
    }

    /// The id of a place; `immutable` counts where there are two forms.
    pub(crate) fn id(&self, place: Place, immutable: bool) -> String {
        let number = place.number;
        let key = u64::from(number) << DAY_BITS | day_number(place.day);
        let Some(thing) = self.any(number) else {
            return String::new();
        };
        let folder = thing.parent.unwrap_or_default();
        match thing.kind {
            Kind::Calendar | Kind::ContactFolder | Kind::TaskList => self.ids.folder(number),
            Kind::Event | Kind::Contact if immutable => self.ids.immutable(key),
            // Those of tasks and posts have one form.
            Kind::Event | Kind::Contact | Kind::Task | Kind::Post => self.ids.classic(key, folder),
            Kind::Conversation | Kind::Thread => self.ids.conversation(u64::from(number)),
            Kind::ChecklistItem | Kind::LinkedResource | Kind::Category | Kind::Override => {
                dice::guid(&[self.salt, u64::from(number)])
            }
            Kind::Rule => {
                let bytes = dice::hash(&[self.salt, u64::from(number)]).to_be_bytes();
                data_encoding::BASE64URL.encode(&[&[1, 0, 0, 0], &bytes[..4]].concat())
            }
        }
    }

    /// What an id names, which must be of this kind.
    pub(crate) fn find(&self, kind: Kind, id: &str) -> Result<Place, Lost> {
        let place = match kind {
            Kind::Calendar | Kind::ContactFolder | Kind::TaskList => {
                self.ids.folder_number(id).map(Place::from)
            }
            Kind::Event | Kind::Contact | Kind::Task | Kind::Post => {
                self.ids.message(id).and_then(|named| {
                    let (Named::Immutable { key } | Named::Classic { key, .. }) = named;
                    let number = Number::try_from(key >> DAY_BITS).ok()?;
                    Some(Place { number, day: day_of(key & ((1 << DAY_BITS) - 1))? })
                })
            }
            _ => {
                let all = self.all(kind).into_iter().map(Place::from);
                let found = all.into_iter().find(|place| self.id(*place, true) == id);
                return found.ok_or(Lost::Missing);
            }
        };
        let place = place.ok_or(Lost::Malformed)?;
        let alive = self.thing(place.number).filter(|thing| thing.kind == kind);
        alive.map(|_| place).ok_or(Lost::Missing)
    }

    /// Changes whenever the thing does.
    pub(crate) fn change_key(&self, number: Number, thing: &Thing) -> String {
        self.ids.change_key(u64::from(number), thing.change)
    }

    /// The tag of a place, and when it was changed.
    pub(crate) fn state_of(&self, place: Place, thing: &Thing) -> (String, DateTime<Utc>) {
        match place.day.and_then(|day| thing.touched.get(&day)) {
            Some((modified, change)) => {
                (self.ids.change_key(u64::from(place.number), *change), *modified)
            }
            None => (self.change_key(place.number, thing), thing.modified),
        }
    }
}

impl State {
    fn note(&mut self, place: Place) -> u64 {
        self.seq += 1;
        self.journal.push((self.seq, place));
        self.seq
    }

    fn index(&mut self, number: Number, extended: &[Property]) {
        for property in extended {
            let numbers = self.index.entry(index_key(&property.id, &property.value)).or_default();
            if !numbers.contains(&number) {
                numbers.push(number);
            }
        }
    }
}

fn day_number(day: Option<NaiveDate>) -> u64 {
    let count = |day: NaiveDate| (day - FIRST_DAY).num_days() + 1;
    day.and_then(|day| u64::try_from(count(day)).ok()).unwrap_or(0)
}

/// `None` where there is no such day.
fn day_of(number: u64) -> Option<Option<NaiveDate>> {
    match number.checked_sub(1) {
        None => Some(None),
        Some(count) => FIRST_DAY.checked_add_days(Days::new(count)).map(Some),
    }
}

/// Takes the extended properties out of a thing's own.
pub(crate) fn take_extended(properties: &mut Object) -> Vec<Property> {
    let given = properties.remove("singleValueExtendedProperties").unwrap_or(Value::Null);
    compose::properties(&given)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shelf() -> (Shelf, DateTime<Utc>) {
        (Shelf::new(1, "anna"), DateTime::UNIX_EPOCH)
    }

    #[test]
    fn ids_round_trip() {
        let (shelf, now) = shelf();
        let folder = shelf.put(Kind::Calendar, None, Object::new(), now);
        let event = shelf.put(Kind::Event, Some(folder), Object::new(), now);
        let day = NaiveDate::from_ymd_opt(2026, 3, 29);
        for place in [Place::from(event), Place { number: event, day }] {
            for immutable in [true, false] {
                let id = shelf.id(place, immutable);
                assert_eq!(shelf.find(Kind::Event, &id), Ok(place));
                assert_eq!(shelf.find(Kind::Contact, &id), Err(Lost::Missing));
            }
        }
        let id = shelf.id(folder.into(), true);
        assert_eq!(shelf.find(Kind::Calendar, &id), Ok(folder.into()));
        assert_eq!(shelf.find(Kind::Calendar, "x"), Err(Lost::Malformed));
        shelf.remove(folder, now);
        assert_eq!(shelf.find(Kind::Calendar, &id), Err(Lost::Missing));
        assert!(shelf.thing(event).is_none());
    }

    #[test]
    fn changes_are_told_once() {
        let (shelf, now) = shelf();
        let first = shelf.put(Kind::Task, None, Object::new(), now);
        let second = shelf.put(Kind::Task, None, Object::new(), now);
        let since = shelf.seq();
        for number in [first, second, first] {
            shelf.change(number.into(), now, |_| {});
        }
        assert_eq!(shelf.changes(since, shelf.seq()), [second.into(), first.into()]);
        assert_eq!(shelf.changes(shelf.seq(), shelf.seq()), []);
    }
}
