//! Text of strangers, made fit for a terminal.

/// At most `limit` bytes of `text`, cut on a character border and marked with `...` if cut, with
/// everything escaped that could steer a terminal or turn the direction of writing.
pub(crate) fn shown(text: &str, limit: usize) -> String {
    let cut = &text[..text.floor_char_boundary(limit)];
    let mut shown = String::with_capacity(cut.len());
    for character in cut.chars() {
        let steers = character.is_control()
            || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if steers {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    if cut.len() < text.len() {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn what_steers_a_terminal_is_escaped() {
        assert_eq!(shown("a\u{1b}[2J\r\n\u{202e}ü", 100), "a\\u{1b}[2J\\r\\n\\u{202e}ü");
    }

    #[test]
    fn cuts_on_a_character_border() {
        assert_eq!(shown("aüb", 2), "a...");
        assert_eq!(shown("aüb", 3), "aü...");
        assert_eq!(shown("aüb", 4), "aüb");
    }
}
