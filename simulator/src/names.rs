//! The names and paths that SharePoint does not take (FACTS 5.6; Microsoft's support article on
//! restrictions in OneDrive and SharePoint).

/// The most characters of a path after the host's name, decoded.
pub(crate) const LONGEST_PATH: usize = 400;
/// The most characters of one name.
const LONGEST_NAME: usize = 255;

const RESERVED: [&str; 6] = [".lock", "con", "prn", "aux", "nul", "desktop.ini"];

/// Why a name is refused, if it is. `at_root`: directly in the library.
pub(crate) fn fault(name: &str, at_root: bool) -> Option<&'static str> {
    let lower = name.to_lowercase();
    let device = |prefix: &str| {
        let number = lower.strip_prefix(prefix).unwrap_or_default();
        matches!(number.as_bytes(), [b'0'..=b'9'])
    };
    let forbidden = |c: char| c.is_control() || r#""*:<>?/\|"#.contains(c);
    if name.is_empty() {
        Some("The name is empty.")
    } else if name.chars().any(forbidden) {
        Some("The name contains characters that are not allowed.")
    } else if name.starts_with(' ') || name.ends_with(' ') || name.ends_with('.') {
        Some("The name begins or ends with a character that is not allowed there.")
    } else if name.starts_with("~$") || lower.contains("_vti_") {
        Some("The name contains characters that are not allowed.")
    } else if RESERVED.contains(&lower.as_str()) || device("com") || device("lpt") {
        Some("The name is reserved.")
    } else if at_root && lower == "forms" {
        Some("The name is reserved at the root of a library.")
    } else if characters(name) > LONGEST_NAME {
        Some("The name is too long.")
    } else {
        None
    }
}

/// Characters as the service counts them.
pub(crate) fn characters(text: &str) -> usize {
    text.encode_utf16().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for name in [
            "",
            " a",
            "a ",
            "a.",
            "a:b",
            "a\"",
            "x*",
            "<",
            ">",
            "?",
            "a/b",
            "a\\b",
            "|",
            "~$doc",
            ".lock",
            "CON",
            "nul",
            "COM0",
            "lpt9",
            "my_vti_x",
            "Desktop.ini",
            "a\u{1}",
        ] {
            assert!(fault(name, false).is_some(), "{name:?}");
        }
        for name in
            ["a", ".a", "a.b", "console", "com", "com10", "~a", "50% & #1.txt", "forms", "ä"]
        {
            assert_eq!(fault(name, false), None, "{name:?}");
        }
        assert!(fault("Forms", true).is_some());
        assert_eq!(fault(&"x".repeat(255), false), None);
        assert!(fault(&"x".repeat(256), false).is_some());
    }
}
