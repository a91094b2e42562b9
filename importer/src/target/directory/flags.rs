//! What a mailbox knows of a mail beside its bytes, in the words of Maildir.

use archive::metadata::Line;
use serde_json::Value;

use crate::place::Loss;

/// The state of a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flags {
    /// Letters of Maildir in their order: `D`raft, `F`lagged, `P`assed on, `R`eplied, `S`een.
    pub(super) letters: String,
    /// It has categories, or a flag that is ticked off: Maildir has no letter for these.
    more: bool,
}

impl Flags {
    pub(super) fn of(line: &Line) -> Self {
        let graph = &line.graph;
        let is = |key: &str| graph[key].as_bool() == Some(true);
        let flag = graph["flag"]["flagStatus"].as_str().unwrap_or_default();
        // PidTagLastVerbExecuted, MS-OXOMSG 2.2.1.46: 102 reply, 103 reply to all, 104 forward.
        let verb = verb(graph);
        let letters = [
            ('D', is("isDraft")),
            ('F', flag == "flagged"),
            ('P', verb == Some(104)),
            ('R', matches!(verb, Some(102 | 103))),
            ('S', is("isRead")),
        ];
        let letters = letters.into_iter().filter(|(_, is_set)| *is_set).map(|(letter, _)| letter);
        let has_categories = graph["categories"].as_array().is_some_and(|all| !all.is_empty());
        Self { letters: letters.collect(), more: has_categories || flag == "complete" }
    }

    pub(super) fn loss_in_maildir(&self) -> Option<Loss> {
        self.more.then_some(Loss::Flags)
    }

    /// Of a layout that has no place for any of it.
    pub(super) fn loss_in_plain_files(&self) -> Option<Loss> {
        (self.more || !self.letters.is_empty()).then_some(Loss::Flags)
    }
}

fn verb(graph: &Value) -> Option<i64> {
    let properties = graph["singleValueExtendedProperties"].as_array()?;
    let verb = properties.iter().find(|property| {
        property["id"].as_str().is_some_and(|id| id.eq_ignore_ascii_case("Integer 0x1081"))
    })?;
    verb["value"].as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(graph: Value) -> Flags {
        Flags::of(&Line { kind: "message".into(), id: "1".into(), path: None, graph })
    }

    #[test]
    fn letters_in_order() {
        let verb = |verb: &str| json!([{"id": "Integer 0x1081", "value": verb}]);
        let all = of(json!({
            "isRead": true, "isDraft": true, "flag": {"flagStatus": "flagged"},
            "singleValueExtendedProperties": verb("103"),
        }));
        assert_eq!((all.letters.as_str(), all.loss_in_maildir()), ("DFRS", None));
        assert_eq!(all.loss_in_plain_files(), Some(Loss::Flags));
        assert_eq!(of(json!({"singleValueExtendedProperties": verb("104")})).letters, "P");
        assert_eq!(of(json!({"singleValueExtendedProperties": verb("108")})).letters, "");
        let none = of(json!({"isRead": false, "categories": []}));
        assert_eq!((none.loss_in_plain_files(), none.letters.as_str()), (None, ""));
    }

    #[test]
    fn what_has_no_letter_is_a_loss() {
        assert_eq!(of(json!({"categories": ["Red"]})).loss_in_maildir(), Some(Loss::Flags));
        let done = of(json!({"flag": {"flagStatus": "complete"}}));
        assert_eq!((done.letters.as_str(), done.loss_in_maildir()), ("", Some(Loss::Flags)));
    }
}
