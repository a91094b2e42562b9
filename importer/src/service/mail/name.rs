//! What attachments are called.

use std::collections::HashMap;

/// Longest name, in characters (the limit of Windows file systems, where users will save it).
const LONGEST: usize = 255;

/// A declared name without what can't be in one, and whether anything had to go. None if nothing
/// is left.
pub(super) fn cleaned(name: &str) -> Option<(String, bool)> {
    let clean: String = name
        .trim()
        .chars()
        .filter(|c| !c.is_control())
        .map(|c| if matches!(c, '/' | '\\') { '_' } else { c })
        .collect();
    let clean = shortened(clean.trim(), LONGEST);
    let changed = clean != name.trim();
    (!clean.is_empty()).then_some((clean, changed))
}

/// Cuts the stem, not the extension.
fn shortened(name: &str, longest: usize) -> String {
    if name.chars().count() <= longest {
        return name.to_owned();
    }
    let extension = name.rfind('.').map(|dot| &name[dot..]).unwrap_or_default();
    let extension = if extension.chars().count() <= 16 { extension } else { "" };
    let stem = &name[..name.len() - extension.len()];
    let kept = longest - extension.chars().count();
    stem.chars().take(kept).chain(extension.chars()).collect()
}

/// Names for what has none: the same mail always gets the same ones.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// How many of each kind there are.
    given: HashMap<String, usize>,
}

impl Names {
    /// A name by the content type, other than those given before.
    pub(super) fn next(&mut self, content_type: &str) -> String {
        let (stem, extension) = by_type(content_type);
        let number = self.given.entry(format!("{stem}.{extension}")).or_default();
        *number += 1;
        match (*number, stem) {
            (number, "image" | "audio" | "video") => format!("{stem}{number:03}.{extension}"),
            (1, _) => format!("{stem}.{extension}"),
            (number, _) => format!("{stem}-{number}.{extension}"),
        }
    }
}

fn by_type(content_type: &str) -> (&'static str, &str) {
    match content_type.split(';').next().unwrap_or_default() {
        "text/plain" => ("text", "txt"),
        "text/html" => ("text", "html"),
        "text/calendar" => ("meeting", "ics"),
        "text/rfc822-headers" => ("headers", "txt"),
        "text/vcard" | "text/x-vcard" => ("contact", "vcf"),
        "message/rfc822" | "message/global" => ("message", "eml"),
        "message/delivery-status" => ("delivery-status", "txt"),
        "message/disposition-notification" => ("disposition-notification", "txt"),
        "application/pdf" => ("document", "pdf"),
        "application/zip" => ("archive", "zip"),
        "application/ms-tnef" | "application/vnd.ms-tnef" => ("winmail", "dat"),
        "application/pgp-signature" => ("signature", "asc"),
        "application/pkcs7-mime" | "application/x-pkcs7-mime" => ("smime", "p7m"),
        "application/pkcs7-signature" | "application/x-pkcs7-signature" => ("smime", "p7s"),
        "image/jpeg" => ("image", "jpg"),
        "image/svg+xml" => ("image", "svg"),
        other => match other.split_once('/') {
            Some((media @ ("image" | "audio" | "video"), format)) if is_extension(format) => {
                let media = match media {
                    "image" => "image",
                    "audio" => "audio",
                    _ => "video",
                };
                (media, format)
            }
            Some(("text", _)) => ("text", "txt"),
            _ => ("attachment", "bin"),
        },
    }
}

fn is_extension(format: &str) -> bool {
    (2..=4).contains(&format.len()) && format.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_names_lose_what_can_not_be_in_a_name() {
        assert_eq!(cleaned(" Report.pdf "), Some(("Report.pdf".into(), false)));
        assert_eq!(cleaned("../a\\b\r\n.txt"), Some((".._a_b.txt".into(), true)));
        assert_eq!(cleaned(" \r\n"), None);
        let long = "x".repeat(300) + ".docx";
        let (name, changed) = cleaned(&long).unwrap();
        assert!(changed && name.chars().count() == LONGEST && name.ends_with("x.docx"));
    }

    #[test]
    fn missing_names_follow_the_type_and_never_repeat() {
        let mut names = Names::default();
        for (content_type, expected) in [
            ("image/png", "image001.png"),
            ("image/jpeg", "image001.jpg"),
            ("image/png", "image002.png"),
            ("application/x-unknown", "attachment.bin"),
            ("application/octet-stream", "attachment-2.bin"),
            ("message/rfc822", "message.eml"),
            ("image/vnd.strange/thing", "attachment-3.bin"),
        ] {
            assert_eq!(names.next(content_type), expected);
        }
    }
}
