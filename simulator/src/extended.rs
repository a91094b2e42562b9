//! Extended (MAPI) properties as Graph names them: `{Type} 0x{tag}`, `{Type} {GUID} Name {name}`,
//! `{Type} {GUID} Id 0x{lid}`.

/// A property and its value, which is always a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Property {
    /// In the form of [`canonical`].
    pub(crate) id: String,
    pub(crate) value: String,
}

const TYPES: [&str; 14] = [
    "ApplicationTime",
    "Binary",
    "Boolean",
    "CLSID",
    "Currency",
    "Double",
    "Error",
    "Float",
    "Integer",
    "Long",
    "Object",
    "Short",
    "String",
    "SystemTime",
];

/// The id as the service writes it: numbers without leading zeros, GUIDs in lower case. `None`
/// when it is not an id at all.
pub(crate) fn canonical(id: &str) -> Option<String> {
    let (kind, rest) = id.trim().split_once(' ')?;
    let kind = TYPES.into_iter().find(|known| known.eq_ignore_ascii_case(kind))?;
    let rest = rest.trim();
    let Some(set) = rest.strip_prefix('{') else {
        return Some(format!("{kind} 0x{:x}", number(rest)?));
    };
    let (guid, rest) = set.split_once('}')?;
    let plausible = guid.len() == 36 && guid.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    let (word, name) = rest.trim().split_once(' ').filter(|_| plausible)?;
    let (guid, name) = (guid.to_lowercase(), name.trim());
    match word.to_lowercase().as_str() {
        "name" if !name.is_empty() => Some(format!("{kind} {{{guid}}} Name {name}")),
        "id" => Some(format!("{kind} {{{guid}}} Id 0x{:x}", number(name)?)),
        _ => None,
    }
}

fn number(text: &str) -> Option<u32> {
    u32::from_str_radix(text.to_lowercase().strip_prefix("0x")?, 16).ok()
}

/// Whether two ids name the same property.
pub(crate) fn same(left: &str, right: &str) -> bool {
    match (canonical(left), canonical(right)) {
        (Some(left), Some(right)) => left.to_lowercase() == right.to_lowercase(),
        _ => false,
    }
}

/// The value of a property among others.
pub(crate) fn find<'a>(all: &'a [Property], id: &str) -> Option<&'a Property> {
    all.iter().find(|property| same(&property.id, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_one_form() {
        for (id, form) in [
            ("integer 0x0E07", "Integer 0xe07"),
            ("SystemTime 0x39", "SystemTime 0x39"),
            (
                "STRING {00020386-0000-0000-C000-000000000046} name X-Origin",
                "String {00020386-0000-0000-c000-000000000046} Name X-Origin",
            ),
            (
                "Boolean {00062008-0000-0000-C000-000000000046} Id 0x008506",
                "Boolean {00062008-0000-0000-c000-000000000046} Id 0x8506",
            ),
        ] {
            assert_eq!(canonical(id).as_deref(), Some(form));
            assert!(same(id, &form.to_uppercase().replace("0X", "0x")));
        }
        for id in ["", "String", "String 37", "Text 0x37", "String {1} Name a"] {
            assert_eq!(canonical(id), None, "{id}");
        }
    }
}
