//! Names that a drive accepts (FACTS 5.6).

/// Longest name of a file or folder, in characters.
const LONGEST: usize = 255;

/// The name as the drive takes it, and whether it had to be changed for that. `is_top` for what
/// is directly in the root, where `forms` is the library's own.
pub(super) fn accepted(name: &str, is_top: bool) -> (String, bool) {
    let replace = |c: char| match c {
        '"' | '*' | ':' | '<' | '>' | '?' | '/' | '\\' | '|' => '_',
        c if c.is_control() => '_',
        c => c,
    };
    let mut new: String = name.chars().map(replace).take(LONGEST).collect();
    new = new.trim_matches(' ').trim_end_matches('.').trim_end_matches(' ').to_owned();
    if new.starts_with("~$") {
        new.replace_range(..2, "__");
    }
    new = new.replace("_vti_", "_vti-");
    if new.is_empty() || is_reserved(&new, is_top) {
        new.insert(0, '_');
    }
    let changed = new != name;
    (new, changed)
}

fn is_reserved(name: &str, is_top: bool) -> bool {
    let lower = name.to_ascii_lowercase();
    // Device names are taken with any extension.
    let stem = lower.split('.').next().unwrap_or_default();
    let numbered = |device: &str| {
        let digit = stem.strip_prefix(device);
        digit.is_some_and(|digit| digit.len() == 1 && digit.as_bytes()[0].is_ascii_digit())
    };
    matches!(lower.as_str(), ".lock" | "desktop.ini")
        || matches!(stem, "con" | "prn" | "aux" | "nul")
        || numbered("com")
        || numbered("lpt")
        || is_top && lower == "forms"
}

/// `report.docx` becomes `report (2).docx`.
pub(super) fn numbered(name: &str, number: usize) -> String {
    let number = number + 1;
    match name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()) {
        Some((stem, extension)) => format!("{stem} ({number}).{extension}"),
        None => format!("{name} ({number})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_fine_stays() {
        for name in ["a.txt", "Größe & Co #1 100%.docx", ".profile", "console.log", "com10"] {
            assert_eq!(accepted(name, false), (name.to_owned(), false), "{name}");
        }
    }

    #[test]
    fn what_is_not_is_changed() {
        let cases = [
            ("a:b?.txt", "a_b_.txt"),
            (" x ", "x"),
            ("end.", "end"),
            ("~$lock.docx", "__lock.docx"),
            ("con", "_con"),
            ("NUL.txt", "_NUL.txt"),
            ("", "_"),
            ("a_vti_b", "a_vti-b"),
        ];
        for (name, new) in cases {
            assert_eq!(accepted(name, false).0, new, "{name}");
        }
        assert_eq!(accepted("Forms", true).0, "_Forms");
        assert_eq!(accepted("Forms", false).0, "Forms");
    }

    #[test]
    fn copies() {
        assert_eq!(numbered("a.b.txt", 1), "a.b (2).txt");
        assert_eq!(numbered(".profile", 1), ".profile (2)");
    }
}
