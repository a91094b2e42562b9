//! Microsoft's published schema of Graph, as far as the tests ask for it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use serde_json::{Map, Value, json};

/// What is published, by name of the type.
pub(crate) struct Schema(BTreeMap<String, Type>);

/// A type: what it is based on, names and types of its own properties and navigation properties.
type Type = (Option<String>, Vec<(String, String)>);

/// A file or directory beside the project, if it is there: says so loudly if not, and fails when
/// `TAR365_REQUIRE_CORPUS=1`.
#[expect(clippy::print_stderr, reason = "a test that did not test anything must say so")]
pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared").join(path);
    if file.exists() {
        return Some(file);
    }
    let required = std::env::var_os("TAR365_REQUIRE_CORPUS").is_some_and(|value| value == "1");
    assert!(!required, "{} is missing", file.display());
    eprintln!("*** NOT TESTED: {} is missing ***", file.display());
    None
}

impl Schema {
    /// The schema, if it is there.
    pub(crate) fn read() -> Option<Self> {
        let file = shared("graph/v1.0-Prod.csdl.xz")?;
        let xz = Command::new("xz").arg("-dc").arg(&file).output().expect("xz runs");
        assert!(xz.status.success(), "xz: {}", String::from_utf8_lossy(&xz.stderr));
        let schema = Self::parse(std::str::from_utf8(&xz.stdout).expect("UTF-8"));
        assert!(schema.0.len() > 1000, "only {} types were found", schema.0.len());
        Some(schema)
    }

    fn parse(xml: &str) -> Self {
        let mut types = BTreeMap::new();
        let mut reader = Reader::from_str(xml);
        let (mut namespace, mut current) = (String::new(), String::new());
        loop {
            match reader.read_event().expect("well-formed XML") {
                Event::Eof => return Self(types),
                Event::Start(e) | Event::Empty(e) => match e.name().as_ref() {
                    b"Schema" => namespace = attribute(&e, "Namespace").expect("a namespace"),
                    b"EntityType" | b"ComplexType" | b"EnumType" => {
                        let name = attribute(&e, "Name").expect("a name");
                        current = format!("{namespace}.{name}").replacen("microsoft.", "", 1);
                        types.insert(current.clone(), (attribute(&e, "BaseType"), Vec::new()));
                    }
                    b"Property" | b"NavigationProperty" => {
                        if let (Some((_, members)), Some(name), Some(of)) =
                            (types.get_mut(&current), attribute(&e, "Name"), attribute(&e, "Type"))
                        {
                            members.push((name, of));
                        }
                    }
                    _ => {}
                },
                _ => {}
            }
        }
    }

    /// Names and types of all properties, inherited ones too.
    pub(crate) fn properties(&self, name: &str) -> Vec<(String, String)> {
        let (base, own) = self.0.get(name).unwrap_or_else(|| panic!("no type {name}"));
        let mut all = base.as_deref().map(|base| self.properties(base)).unwrap_or_default();
        all.extend(own.iter().cloned());
        all
    }

    /// A value of a type that differs from every default; enumerations get `choice`.
    pub(crate) fn sample(&self, of: &str, choice: &str) -> Value {
        if let Some(inner) = of.strip_prefix("Collection(").and_then(|of| of.strip_suffix(')')) {
            return json!([self.sample(inner, choice)]);
        }
        match of {
            "Edm.String" => json!("some, text; of \\ it"),
            "Edm.Boolean" => json!(true),
            "Edm.DateTimeOffset" => json!("2001-02-03T11:59:00Z"),
            "Edm.Int32" => json!(7),
            _ => {
                let members = self.properties(of);
                if members.is_empty() {
                    return json!(choice);
                }
                let members = members.into_iter();
                let members = members.map(|(name, of)| (name, self.sample(&of, choice)));
                Value::Object(members.collect::<Map<_, _>>())
            }
        }
    }
}

fn attribute(element: &BytesStart, name: &str) -> Option<String> {
    let attribute = element.try_get_attribute(name).expect("well-formed XML")?;
    Some(attribute.unescape_value().expect("known entities").into_owned())
}
