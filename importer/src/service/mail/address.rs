//! Who a mail is from and goes to.

use mail_parser::HeaderValue;
use serde_json::{Value, json};

use super::head::Head;

/// Most recipients of a message, all kinds together (FACTS 5.1).
pub(super) const MOST_RECIPIENTS: usize = 500;
/// Longest address: RFC 5321 section 4.5.3.1, 64 + 1 + 255.
const LONGEST_ADDRESS: usize = 320;

/// Some people, and whether there were more that the service would not accept.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct People {
    /// `{"emailAddress": {"name", "address"}}` each.
    pub(super) list: Vec<Value>,
    pub(super) lost: bool,
}

impl People {
    /// The people of a property of the metadata, a list or one.
    pub(super) fn from_graph(property: Option<&Value>) -> Self {
        let mut people = Self::default();
        let (list, one) = match property {
            Some(Value::Array(list)) => (list.as_slice(), None),
            other => (&[][..], other),
        };
        for person in list.iter().chain(one) {
            let person = &person["emailAddress"];
            let text = |key: &str| person[key].as_str().unwrap_or_default();
            // The service tells of an absent sender by an empty object.
            if !(text("name").is_empty() && text("address").is_empty()) {
                people.push(text("name"), text("address"));
            }
        }
        people
    }

    /// The people of every field of that name. Groups are dissolved; an empty one, as of
    /// `undisclosed-recipients:;`, is nobody.
    pub(super) fn from_head(head: &Head, field: &str) -> Self {
        let mut people = Self::default();
        for value in head.all_parsed(field) {
            let HeaderValue::Address(addresses) = value else {
                continue;
            };
            for person in addresses.iter() {
                let name = person.name().unwrap_or_default();
                let address = person.address().unwrap_or_default();
                if !(name.is_empty() && address.is_empty()) {
                    people.push(name, address);
                }
            }
        }
        people
    }

    /// The first unless it lacks somebody and the second does not: the directory's names
    /// (`/o=ExchangeLabs/...`, FACTS 8.9) may stand as addresses in the MIME.
    pub(super) fn or(self, other: impl FnOnce() -> Self) -> Self {
        if !self.list.is_empty() && !self.lost {
            return self;
        }
        let other = other();
        if self.list.is_empty() && !self.lost || !other.list.is_empty() && !other.lost {
            other
        } else {
            self
        }
    }

    /// At most `most` of them.
    pub(super) fn cut(mut self, most: usize) -> Self {
        self.lost |= self.list.len() > most;
        self.list.truncate(most);
        self
    }

    fn push(&mut self, name: &str, address: &str) {
        let address = address.trim().trim_matches(['<', '>', '\'', '"']);
        if !is_address(address) {
            self.lost = true;
            return;
        }
        let name: String = name.chars().filter(|c| !c.is_control()).collect();
        let name = if name.trim().is_empty() { address } else { name.trim() };
        self.list.push(json!({"emailAddress": {"name": name, "address": address}}));
    }
}

/// Whether the service would take it: one bad address makes it refuse the whole message.
fn is_address(address: &str) -> bool {
    let parts = address.rsplit_once('@');
    address.chars().count() <= LONGEST_ADDRESS
        && !address.contains(|c: char| c.is_control() || c.is_whitespace() || "<>,;".contains(c))
        && parts.is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(block: &str) -> People {
        People::from_head(&Head::new(block.as_bytes()), "to")
    }

    #[test]
    fn addresses_that_are_none_are_dropped() {
        let long = format!("To: {}@example.com\r\n", "x".repeat(320));
        for bad in ["To: nobody\r\n", "To: @example.com\r\n", "To: a@\r\n", &long] {
            assert_eq!(to(bad), People { list: vec![], lost: true }, "{bad}");
        }
        let some = to("To: nobody, a@example.com\r\nTo: \"B\" <b@example.com>\r\n");
        assert!(some.lost);
        assert_eq!(some.list.len(), 2);
        assert_eq!(some.list[1]["emailAddress"], json!({"name": "B", "address": "b@example.com"}));
    }

    #[test]
    fn groups_are_dissolved_and_an_empty_one_is_nobody() {
        assert_eq!(to("To: undisclosed-recipients:;\r\n"), People::default());
        assert_eq!(to("To: staff: a@example.com, b@example.com;, c@example.com\r\n").list.len(), 3);
    }

    #[test]
    fn the_directory_name_gives_way_to_the_address() {
        let graph = json!([{"emailAddress": {"name": "A", "address": "/o=ExchangeLabs/cn=a"}}]);
        let known = || People::from_graph(Some(&graph));
        assert!(known().lost);
        assert_eq!(known().or(|| to("To: a@example.com\r\n")), to("To: a@example.com\r\n"));
        assert!(known().or(|| to("Cc: a@example.com\r\n")).lost);
    }

    #[test]
    fn there_are_at_most_so_many() {
        let three = to("To: a@b.c, d@e.f, g@h.i\r\n");
        assert!(!three.clone().cut(3).lost);
        let two = three.cut(2);
        assert!(two.lost && two.list.len() == 2);
    }
}
