//! The simulator's table of types against the schema that Microsoft publishes.

#![expect(clippy::print_stderr, reason = "a test that did not test anything must say so")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use simulator::schema::{Kind, Shape, Type, Value, model};

/// The published schema, as far as it concerns us. Types are named as in the table.
#[derive(Default)]
struct Csdl {
    types: BTreeMap<String, Published>,
    enumerations: BTreeSet<String>,
    /// Type of each entity set (in brackets) and singleton.
    roots: BTreeMap<String, String>,
    /// Name, binding parameter, return type of each bound function and action.
    operations: BTreeSet<(String, String, String)>,
}

#[derive(Default)]
struct Published {
    entity: bool,
    base: Option<String>,
    open: bool,
    properties: BTreeMap<String, String>,
    navigation: BTreeMap<String, String>,
}

#[test]
fn the_table_is_what_microsoft_publishes() {
    let Some(csdl) = published() else { return };
    assert!(csdl.types.len() > 1000, "only {} types were found", csdl.types.len());
    let mut wrong = Vec::new();
    for (name, root) in &model().roots {
        if csdl.roots.get(*name) != Some(&notation(*root)) {
            wrong.push(format!("root {name}: {:?}", csdl.roots.get(*name)));
        }
    }
    for (name, ours) in &model().types {
        match csdl.types.get(*name) {
            None => wrong.push(format!("{name}: no such type")),
            Some(theirs) => compare(ours, theirs, &csdl, &mut wrong),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn compare(ours: &Type, theirs: &Published, csdl: &Csdl, wrong: &mut Vec<String>) {
    let name = ours.name;
    if ours.base != theirs.base.as_deref() {
        wrong.push(format!("{name}: base is {:?}", theirs.base));
    }
    if (ours.kind == Kind::Entity, ours.open) != (theirs.entity, theirs.open) {
        wrong.push(format!("{name}: entity {}, open {}", theirs.entity, theirs.open));
    }
    for (label, ours, theirs) in [
        ("property", &ours.properties, &theirs.properties),
        ("navigation", &ours.navigation, &theirs.navigation),
    ] {
        let theirs = theirs.iter().map(|(member, of)| (member.clone(), csdl.plain(of)));
        let theirs: BTreeSet<_> = theirs.collect();
        let ours = ours.iter().map(|(member, shape)| ((*member).to_owned(), notation(*shape)));
        let ours: BTreeSet<_> = ours.collect();
        let surplus = ours.difference(&theirs).map(|m| format!("{name}: no {label} {m:?}"));
        let missing = theirs.difference(&ours).map(|m| format!("{name}: {label} {m:?} missing"));
        wrong.extend(surplus.chain(missing));
    }
    let one = name.to_owned();
    let many = format!("[{name}]");
    for (binding, operations) in [
        (&one, &ours.functions),
        (&one, &ours.actions),
        (&many, &ours.collection_functions),
        (&many, &ours.collection_actions),
    ] {
        for (operation, shape) in operations {
            let returned = notation(*shape);
            let found = csdl.operations.iter().any(|(name, to, result)| {
                name == operation
                    && to == binding
                    && (returned.is_empty() || csdl.plain(result) == returned)
            });
            if !found {
                wrong.push(format!("{binding}: no operation {operation} returning {returned:?}"));
            }
        }
    }
}

/// A shape as the table writes it.
fn notation(shape: Shape) -> String {
    let value = match shape.value {
        Value::Primitive => "",
        Value::Stream => "stream",
        Value::Named(name) => name,
    };
    if shape.many { format!("[{value}]") } else { value.to_owned() }
}

impl Csdl {
    /// The notation of a published type, with enumerations reduced to primitives.
    fn plain(&self, notation: &str) -> String {
        let bare = notation.trim_matches(['[', ']']);
        if self.enumerations.contains(bare) {
            notation.replace(bare, "")
        } else {
            notation.to_owned()
        }
    }

    fn parse(xml: &str) -> Self {
        let mut csdl = Self::default();
        let mut reader = Reader::from_str(xml);
        let (mut namespace, mut current) = (String::new(), String::new());
        // The bound operation being read: name, binding parameter, return type.
        let mut operation: Option<(String, Option<String>, String)> = None;
        loop {
            match reader.read_event().expect("well-formed XML") {
                Event::Eof => return csdl,
                Event::Start(e) | Event::Empty(e) => {
                    let name = attribute(&e, "Name").unwrap_or_default();
                    match e.name().as_ref() {
                        b"Schema" => namespace = attribute(&e, "Namespace").unwrap_or_default(),
                        kind @ (b"EntityType" | b"ComplexType" | b"EnumType") => {
                            current = short(&format!("{namespace}.{name}"));
                            csdl.start(kind, &current, &e);
                        }
                        b"Property" => csdl.member(&current, false, &name, &e),
                        b"NavigationProperty" => csdl.member(&current, true, &name, &e),
                        b"EntitySet" => {
                            let of = attribute(&e, "EntityType").expect("EntityType");
                            csdl.roots.insert(name, format!("[{}]", short(&of)));
                        }
                        b"Singleton" => {
                            let of = attribute(&e, "Type").expect("Type");
                            csdl.roots.insert(name, short(&of));
                        }
                        b"Function" | b"Action" => operation = Some((name, None, String::new())),
                        b"Parameter" => {
                            if let Some((_, binding @ None, _)) = &mut operation {
                                *binding = attribute(&e, "Type").map(|of| written(&of));
                            }
                        }
                        b"ReturnType" => {
                            if let Some((_, _, result)) = &mut operation {
                                *result = written(&attribute(&e, "Type").expect("Type"));
                            }
                        }
                        _ => {}
                    }
                }
                Event::End(e) if matches!(e.name().as_ref(), b"Function" | b"Action") => {
                    if let Some((name, Some(binding), result)) = operation.take() {
                        csdl.operations.insert((name, binding, result));
                    }
                }
                _ => {}
            }
        }
    }

    fn start(&mut self, kind: &[u8], name: &str, e: &BytesStart<'_>) {
        if kind == b"EnumType" {
            self.enumerations.insert(name.to_owned());
            return;
        }
        let published = Published {
            entity: kind == b"EntityType",
            base: attribute(e, "BaseType").map(|base| short(&base)),
            open: attribute(e, "OpenType").as_deref() == Some("true"),
            ..Published::default()
        };
        self.types.insert(name.to_owned(), published);
    }

    fn member(&mut self, of: &str, navigation: bool, name: &str, e: &BytesStart<'_>) {
        let Some(of) = self.types.get_mut(of) else {
            return;
        };
        let members = if navigation { &mut of.navigation } else { &mut of.properties };
        members.insert(name.to_owned(), written(&attribute(e, "Type").expect("Type")));
    }
}

fn attribute(e: &BytesStart<'_>, name: &str) -> Option<String> {
    let value = e.try_get_attribute(name).expect("well-formed attributes")?;
    Some(value.unescape_value().expect("known entities").into_owned())
}

/// `microsoft.graph.` is implied.
fn short(name: &str) -> String {
    let bare = name.strip_prefix("microsoft.graph.").or(name.strip_prefix("graph."));
    bare.unwrap_or(name).to_owned()
}

/// A CSDL type reference in the table's notation, enumerations still by name.
fn written(reference: &str) -> String {
    let list = reference.strip_prefix("Collection(").and_then(|r| r.strip_suffix(')'));
    let value = match list.unwrap_or(reference) {
        "Edm.Stream" => "stream".to_owned(),
        edm if edm.starts_with("Edm.") => String::new(),
        named => short(named),
    };
    if list.is_some() { format!("[{value}]") } else { value }
}

/// The published schema; none, and said so, where it is not at hand.
fn published() -> Option<Csdl> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/graph/v1.0-Prod.csdl.xz");
    if !file.exists() {
        let required = std::env::var_os("TAR365_REQUIRE_CORPUS").is_some_and(|v| v == "1");
        assert!(!required, "{} is missing", file.display());
        eprintln!("NOT TESTED: {} is not here, the table was not compared", file.display());
        return None;
    }
    let xz = Command::new("xz").arg("-dc").arg(&file).output().expect("xz runs");
    assert!(xz.status.success(), "xz: {}", String::from_utf8_lossy(&xz.stderr));
    Some(Csdl::parse(std::str::from_utf8(&xz.stdout).expect("UTF-8")))
}
