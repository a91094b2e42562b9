//! The table of types, read from the text files beside this one.
//!
//! ```text
//! set users user                       an entity set at the root
//! singleton me user                    a single entity at the root
//! entity message : outlookItem open stream
//!   properties:                        a name alone is a primitive or an enumeration
//!     subject body:itemBody categories:[] toRecipients:[recipient] content:stream
//!   navigation:
//!     attachments:[attachment]         brackets: a collection
//!   annotations:                       what $select accepts beside properties
//!   functions: actions:                bound to one item
//!   collection-functions: collection-actions:
//!     delta:[message]                  what it returns; a name alone: nothing that is checked
//! complex recipient
//! ```
//! `open` is CSDL's OpenType; `stream` says that an item of the type has a `$value`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

/// The text of the table, in the order in which a reader would want it.
const TABLE: [&str; 5] = [
    include_str!("directory.txt"),
    include_str!("mail.txt"),
    include_str!("calendar.txt"),
    include_str!("outlook.txt"),
    include_str!("files.txt"),
];

/// Everything the table says.
#[derive(Debug, Default)]
pub struct Model {
    /// Entity sets and singletons at the root, by name.
    pub roots: BTreeMap<&'static str, Shape>,
    /// Types by name, without `microsoft.graph.`.
    pub types: BTreeMap<&'static str, Type>,
}

/// An entity type has a key and a place of its own, a complex type lives inside one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `EntityType`.
    Entity,
    /// `ComplexType`.
    Complex,
}

/// What a property, a navigation or a function yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The type, or that of the members.
    pub value: Value,
    /// A collection of them.
    pub many: bool,
}

/// A type as the table names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// Of `Edm`, or an enumeration.
    Primitive,
    /// Bytes, fetched apart.
    Stream,
    /// An entity or complex type, described in the table or not.
    Named(&'static str),
}

/// One type: its own members, without those of its base.
#[derive(Debug)]
pub struct Type {
    /// Without `microsoft.graph.`.
    pub name: &'static str,
    /// Entity or complex.
    pub kind: Kind,
    /// The type it extends.
    pub base: Option<&'static str>,
    /// May carry properties beyond those declared.
    pub open: bool,
    /// Has a `$value`.
    pub stream: bool,
    /// Structural properties.
    pub properties: BTreeMap<&'static str, Shape>,
    /// Navigation properties.
    pub navigation: BTreeMap<&'static str, Shape>,
    /// What `$select` accepts beside properties.
    pub annotations: BTreeSet<&'static str>,
    /// Functions (GET) bound to one item.
    pub functions: BTreeMap<&'static str, Shape>,
    /// Actions (POST) bound to one item.
    pub actions: BTreeMap<&'static str, Shape>,
    /// Functions bound to a collection of items.
    pub collection_functions: BTreeMap<&'static str, Shape>,
    /// Actions bound to a collection of items.
    pub collection_actions: BTreeMap<&'static str, Shape>,
}

/// The table, read once.
///
/// # Panics
/// On a mistake in the table, which the first test to run would show.
pub fn model() -> &'static Model {
    static MODEL: OnceLock<Model> = OnceLock::new();
    MODEL.get_or_init(|| {
        let mut model = Model::default();
        for text in TABLE {
            model.read(text);
        }
        model
    })
}

impl Model {
    /// A described type by its name.
    #[must_use]
    pub fn get(&'static self, name: &str) -> Option<&'static Type> {
        self.types.get(name)
    }

    /// The type and those it extends, nearest first.
    pub fn ancestry(&'static self, of: &'static Type) -> impl Iterator<Item = &'static Type> {
        std::iter::successors(Some(of), |t| t.base.and_then(|base| self.types.get(base)))
    }

    /// A member of the type or of one that it extends.
    pub fn member<T>(
        &'static self,
        of: &'static Type,
        find: impl Fn(&'static Type) -> Option<T>,
    ) -> Option<T> {
        self.ancestry(of).find_map(find)
    }

    /// The type that a cast segment such as `microsoft.graph.eventMessage` names, if an item of the
    /// type `from` can be one.
    #[must_use]
    pub fn cast(&'static self, from: &'static Type, segment: &str) -> Option<&'static Type> {
        let to = self.get(segment.strip_prefix("microsoft.graph.")?)?;
        let related = |a, b: &Type| self.ancestry(a).any(|t| t.name == b.name);
        (related(to, from) || related(from, to)).then_some(to)
    }

    fn read(&mut self, text: &'static str) {
        let mut current: Option<&'static str> = None;
        let mut section = "";
        for line in text.lines().filter(|l| !l.starts_with('#') && !l.trim().is_empty()) {
            let mut words = line.split_whitespace();
            if line.starts_with(' ') {
                let open = current.and_then(|name| self.types.get_mut(name));
                let open = open.unwrap_or_else(|| panic!("no type above {line:?}"));
                for word in words {
                    match word.strip_suffix(':') {
                        Some(title) => section = title,
                        None => open.add(section, word),
                    }
                }
                continue;
            }
            let (keyword, name) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
            let rest: Vec<_> = words.collect();
            match keyword {
                "set" | "singleton" => {
                    let value = Value::Named(rest[0]);
                    self.roots.insert(name, Shape { value, many: keyword == "set" });
                }
                "entity" => self.start(Type::new(name, Kind::Entity, &rest)),
                "complex" => self.start(Type::new(name, Kind::Complex, &rest)),
                _ => panic!("what is {line:?}?"),
            }
            current = Some(name);
        }
    }

    fn start(&mut self, new: Type) {
        let name = new.name;
        assert!(self.types.insert(name, new).is_none(), "{name} is described twice");
    }
}

impl Type {
    fn new(name: &'static str, kind: Kind, rest: &[&'static str]) -> Self {
        let base = rest.iter().position(|&w| w == ":").map(|colon| rest[colon + 1]);
        Self {
            name,
            kind,
            base,
            open: rest.contains(&"open"),
            stream: rest.contains(&"stream"),
            properties: BTreeMap::new(),
            navigation: BTreeMap::new(),
            annotations: BTreeSet::new(),
            functions: BTreeMap::new(),
            actions: BTreeMap::new(),
            collection_functions: BTreeMap::new(),
            collection_actions: BTreeMap::new(),
        }
    }

    fn add(&mut self, section: &str, word: &'static str) {
        if section == "annotations" {
            self.annotations.insert(word);
            return;
        }
        let (name, shape) = match word.split_once(':') {
            Some((name, shape)) => (name, shape),
            None => (word, ""),
        };
        let list = shape.strip_prefix('[').and_then(|s| s.strip_suffix(']'));
        let value = match list.unwrap_or(shape) {
            "" => Value::Primitive,
            "stream" => Value::Stream,
            named => Value::Named(named),
        };
        let members = match section {
            "properties" => &mut self.properties,
            "navigation" => &mut self.navigation,
            "functions" => &mut self.functions,
            "actions" => &mut self.actions,
            "collection-functions" => &mut self.collection_functions,
            "collection-actions" => &mut self.collection_actions,
            _ => panic!("{}: {word} stands under {section:?}", self.name),
        };
        let earlier = members.insert(name, Shape { value, many: list.is_some() });
        assert!(earlier.is_none(), "{}/{name} is described twice", self.name);
    }
}
