//! What IMAP can say of a mail besides its bytes.

use std::collections::BTreeSet;

use serde_json::Value;

/// PidTagLastVerbExecuted, as the exporter asks for it (FACTS 8.2).
const LAST_VERB: &str = "Integer 0x1081";

/// Flags and keywords of a mail.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Flags {
    /// As `\Seen`.
    pub(super) system: Vec<&'static str>,
    /// As `$Forwarded`, `Red_category`; none twice.
    pub(super) keywords: Vec<String>,
    /// Something has no flag or keyword that says it.
    pub(super) lossy: bool,
}

impl Flags {
    /// Of a message's metadata.
    pub(super) fn of(graph: &Value) -> Self {
        let mut flags = Self::default();
        let is = |key: &str| graph.get(key).and_then(Value::as_bool) == Some(true);
        if is("isRead") {
            flags.system.push("\\Seen");
        }
        if is("isDraft") {
            flags.system.push("\\Draft");
        }
        match graph.pointer("/flag/flagStatus").and_then(Value::as_str) {
            Some("flagged") => flags.system.push("\\Flagged"),
            // A task that is done is neither flagged nor not.
            Some("complete") => flags.lossy = true,
            _ => {}
        }
        match last_verb(graph) {
            Some("102" | "103") => flags.system.push("\\Answered"),
            Some("104") => flags.keywords.push("$Forwarded".to_owned()),
            _ => {}
        }
        flags.add_categories(graph);
        flags
    }

    fn add_categories(&mut self, graph: &Value) {
        let categories = graph.get("categories").and_then(Value::as_array);
        // Keywords are the same whatever their case.
        let mut seen: BTreeSet<String> = self.keywords.iter().map(|k| k.to_lowercase()).collect();
        for category in categories.into_iter().flatten().filter_map(Value::as_str) {
            let (keyword, exact) = keyword(category);
            self.lossy |= !exact;
            if seen.insert(keyword.to_lowercase()) {
                self.keywords.push(keyword);
            } else {
                self.lossy = true;
            }
        }
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        self.system.iter().copied().chain(self.keywords.iter().map(String::as_str))
    }

    /// Keeps the keywords that a mailbox can store, by its PERMANENTFLAGS; without any it says
    /// nothing (RFC 3501, 7.1) and all are tried.
    pub(super) fn keep_permanent(&mut self, permanent: Option<&[String]>) {
        let Some(permanent) = permanent else { return };
        if permanent.iter().any(|flag| flag == "\\*") {
            return;
        }
        let before = self.keywords.len();
        self.keywords.retain(|keyword| permanent.iter().any(|p| p.eq_ignore_ascii_case(keyword)));
        self.lossy |= self.keywords.len() < before;
    }

    /// Those that are not among what the server says a message has.
    pub(super) fn missing_in(&self, found: &[String]) -> Vec<&str> {
        self.all().filter(|flag| !found.iter().any(|f| f.eq_ignore_ascii_case(flag))).collect()
    }
}

fn last_verb(graph: &Value) -> Option<&str> {
    let properties = graph.get("singleValueExtendedProperties")?.as_array()?;
    let is_verb = |property: &&Value| {
        let id = property.get("id").and_then(Value::as_str);
        id.is_some_and(|id| id.eq_ignore_ascii_case(LAST_VERB))
    };
    properties.iter().find(is_verb)?.get("value")?.as_str()
}

/// The keyword of a category, as Thunderbird makes one of a tag's name: blanks and what an atom
/// can't hold (RFC 3501, 9) are underscores, what is not ASCII is modified UTF-7. And whether the
/// name can still be told from it, blanks aside.
fn keyword(category: &str) -> (String, bool) {
    let mut exact = !category.is_empty();
    let replaced: String = category
        .chars()
        .map(|c| match c {
            ' ' => '_',
            '(' | ')' | '{' | '%' | '*' | '"' | '\\' | ']' => {
                exact = false;
                '_'
            }
            c if c.is_control() => {
                exact = false;
                '_'
            }
            c => c,
        })
        .collect();
    let keyword = super::name::encode(&replaced);
    (if keyword.is_empty() { "_".to_owned() } else { keyword }, exact)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Flags;

    #[test]
    fn everything_at_once() {
        let flags = Flags::of(&json!({
            "isRead": true, "isDraft": true, "flag": {"flagStatus": "flagged"},
            "categories": ["Red category", "Büro", "A&B"],
            "singleValueExtendedProperties": [{"id": "Integer 0x1081", "value": "103"}],
        }));
        assert_eq!(flags.system, ["\\Seen", "\\Draft", "\\Flagged", "\\Answered"]);
        assert_eq!(flags.keywords, ["Red_category", "B&APw-ro", "A&-B"]);
        assert!(!flags.lossy);
    }

    #[test]
    fn nothing_at_all() {
        assert_eq!(Flags::of(&json!({"isRead": false})), Flags::default());
    }

    #[test]
    fn what_can_not_be_said_is_a_loss() {
        for graph in [
            json!({"flag": {"flagStatus": "complete"}}),
            json!({"categories": ["50%"]}),
            json!({"categories": ["a b", "A_B"]}),
            json!({"categories": [""]}),
        ] {
            assert!(Flags::of(&graph).lossy, "{graph}");
        }
    }

    #[test]
    fn a_mailbox_without_new_keywords() {
        let graph = json!({"categories": ["One", "Two"]});
        let mut flags = Flags::of(&graph);
        flags.keep_permanent(Some(&["\\Seen".into(), "one".into()]));
        assert_eq!((flags.keywords.as_slice(), flags.lossy), (&["One".to_owned()][..], true));
        let mut flags = Flags::of(&graph);
        flags.keep_permanent(Some(&["\\Seen".into(), "\\*".into()]));
        assert_eq!((flags.keywords.len(), flags.lossy), (2, false));
    }

    #[test]
    fn forwarded_is_a_keyword() {
        let property = json!([{"id": "Integer 0x1081", "value": "104"}]);
        let flags = Flags::of(&json!({"singleValueExtendedProperties": property}));
        assert_eq!(flags.all().collect::<Vec<_>>(), ["$Forwarded"]);
        assert_eq!(flags.missing_in(&["$forwarded".into()]), Vec::<&str>::new());
        assert_eq!(flags.missing_in(&[]), ["$Forwarded"]);
    }
}
