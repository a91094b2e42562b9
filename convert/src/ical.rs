//! What the converters to and from iCalendar share: parameters, recurrence, time zones.

pub(crate) mod custom_zone;
pub(crate) mod cut;
pub(crate) mod recurrence;
pub(crate) mod vtimezone;
pub(crate) mod zone;

/// The name of a property and its parameters: what stands before the colon.
pub(crate) fn head(name: &str) -> Head {
    Head(name.to_owned())
}

/// See [`head`].
pub(crate) struct Head(String);

impl Head {
    /// Adds a parameter. Its value is quoted where it must be; what quotes cannot hold is written
    /// as RFC 6868 says, other control characters are left out.
    pub(crate) fn param(mut self, name: &str, value: &str) -> Self {
        self.0.extend([";", name, "="]);
        let quote = value.contains([':', ';', ',']) || value.trim() != value;
        if quote {
            self.0.push('"');
        }
        for character in value.replace("\r\n", "\n").chars() {
            match character {
                '^' => self.0.push_str("^^"),
                '"' => self.0.push_str("^'"),
                '\n' | '\r' => self.0.push_str("^n"),
                other if other.is_ascii_control() && other != '\t' => {}
                other => self.0.push(other),
            }
        }
        if quote {
            self.0.push('"');
        }
        self
    }
}

impl std::ops::Deref for Head {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::head;

    #[test]
    fn parameters_are_quoted_and_escaped() {
        let head = head("X").param("A", "plain").param("CN", "a \"b\"; ^c\r\nd\u{7}");
        assert_eq!(&*head, "X;A=plain;CN=\"a ^'b^'; ^^c^nd\"");
    }
}
