//! What a component imports, by name. The host has checked each of them by then; this is for
//! people to read.

/// Magic, and the version and layer of components.
const PREAMBLE: &[u8] = b"\0asm\x0d\0\x01\0";
/// Id of the section with imports.
const IMPORTS: u8 = 10;
/// The kind of an import that is a core module.
const MODULE: u8 = 0;
/// The kind of an import that is a type.
const TYPE: u8 = 3;

/// The names of all imports but types, which carry no power; none for what is no binary component.
///
/// Of the binary format only what leads to names is read (Binary.md of the component model):
/// sections, and in that of imports a name and the kind and index of what it stands for.
pub(super) fn of(component: &[u8]) -> Option<Vec<String>> {
    let mut bytes = component.strip_prefix(PREAMBLE)?;
    let mut names = Vec::new();
    while !bytes.is_empty() {
        let id = byte(&mut bytes)?;
        let length = number(&mut bytes)?;
        let mut section = bytes.split_off(..length)?;
        if id == IMPORTS {
            for _ in 0..number(&mut section)? {
                let (name, kind) = import(&mut section)?;
                if kind != TYPE {
                    names.push(name);
                }
            }
        }
    }
    Some(names)
}

/// One import: its name, and what kind of thing it is.
fn import(section: &mut &[u8]) -> Option<(String, u8)> {
    // 0 or 1, of no consequence.
    byte(section)?;
    let length = number(section)?;
    let name = String::from_utf8(section.split_off(..length)?.to_vec()).ok()?;
    let kind = byte(section)?;
    // A core module has a byte more, and a type that is a new resource no index.
    let has_index = match kind {
        MODULE => byte(section).is_some(),
        TYPE => byte(section)? == 0,
        _ => true,
    };
    if has_index {
        number(section)?;
    }
    Some((name, kind))
}

fn byte(bytes: &mut &[u8]) -> Option<u8> {
    bytes.split_off_first().copied()
}

/// An unsigned number of at most 32 bits in LEB128.
fn number(bytes: &mut &[u8]) -> Option<usize> {
    let mut number = 0_usize;
    for shift in (0..35).step_by(7) {
        let next = byte(bytes)?;
        number |= usize::from(next & 0x7f) << shift;
        if next & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(sections: &[(u8, &[u8])]) -> Vec<u8> {
        let mut bytes = PREAMBLE.to_vec();
        for (id, content) in sections {
            bytes.extend([*id, u8::try_from(content.len()).unwrap()]);
            bytes.extend(*content);
        }
        bytes
    }

    #[test]
    fn names_of_all_sections_are_found_but_those_of_types() {
        let component = component(&[
            (10, b"\x03\x00\x03a:b\x05\x00\x01\x01c\x03\x01\x00\x01t\x03\x00\x09"),
            (7, b"\x00"),
            (10, b"\x02\x00\x01d\x00\x11\x07\x00\x01e\x01\x85\x01"),
        ]);
        assert_eq!(of(&component).unwrap(), ["a:b", "d", "e"]);
    }

    #[test]
    fn what_is_cut_or_no_component_has_none() {
        let whole = component(&[(10, b"\x01\x00\x03a:b\x05\x00")]);
        assert_eq!(of(&whole).unwrap(), ["a:b"]);
        let cuts = (0..whole.len()).filter(|&end| end != PREAMBLE.len());
        for end in cuts {
            assert_eq!(of(&whole[..end]), None, "{end}");
        }
        assert_eq!(of(b"(component)"), None);
        assert_eq!(of(b"\0asm\x01\0\0\0"), None);
    }
}
