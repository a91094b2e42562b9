//! Rich Text Format: text between control words.

use super::{Builder, View};

/// The text of an RTF document. Control words, groups and line breaks are seen through; paragraphs
/// end a line.
#[must_use]
pub fn rtf(source: &str) -> View<'static> {
    let mut builder = Builder::default();
    let bytes = source.as_bytes();
    let mut done = 0;
    let mut at = 0;
    let special = |byte: &u8| matches!(byte, b'\\' | b'{' | b'}' | b'\r' | b'\n') || *byte >= 0x80;
    while let Some(next) = bytes[at..].iter().position(special) {
        let start = at + next;
        builder.literal(source, done..start);
        at = start + 1;
        match bytes[start] {
            b'\\' => at = control(&mut builder, source, start),
            byte if byte >= 0x80 => {
                let found = source[start..].chars().next().unwrap_or('?');
                at = start + found.len_utf8();
                builder.char(found, start..at);
            }
            _ => {}
        }
        done = at;
    }
    builder.literal(source, done..source.len());
    builder.build()
}

/// Reads what begins with a backslash; gives its end.
fn control(builder: &mut Builder, source: &str, start: usize) -> usize {
    let bytes = source.as_bytes();
    let Some(next) = bytes.get(start + 1) else { return start + 1 };
    match next {
        b'\'' => {
            let digits = source.get(start + 2..start + 4).unwrap_or_default();
            match u8::from_str_radix(digits, 16) {
                // Windows-1252 in nearly all files; only blanks and dashes matter beyond ASCII.
                Ok(byte) => {
                    let read = match byte {
                        0x96 | 0x97 => '-',
                        byte => char::from(byte),
                    };
                    builder.char(read, start..start + 4);
                    start + 4
                }
                Err(_) => start + 2,
            }
        }
        b'~' => sign(builder, ' ', start),
        b'_' => sign(builder, '-', start),
        b'-' => {
            builder.invisible(start..start + 2);
            start + 2
        }
        b'\\' | b'{' | b'}' => sign(builder, char::from(*next), start),
        byte if byte.is_ascii_alphabetic() => word(builder, source, start),
        _ => {
            // A control symbol of one character, whatever it is.
            let length = source[start + 1..].chars().next().map_or(0, char::len_utf8);
            start + 1 + length
        }
    }
}

fn sign(builder: &mut Builder, read: char, start: usize) -> usize {
    builder.sign(read, start..start + 2);
    start + 2
}

fn word(builder: &mut Builder, source: &str, start: usize) -> usize {
    let bytes = source.as_bytes();
    let count = |from: usize, is: fn(&u8) -> bool| {
        bytes[from..].iter().take(32).take_while(|byte| is(byte)).count()
    };
    let name_end = start + 1 + count(start + 1, u8::is_ascii_alphabetic);
    let minus = usize::from(bytes.get(name_end) == Some(&b'-'));
    let digits_end = name_end + minus + count(name_end + minus, u8::is_ascii_digit);
    let mut end = if digits_end > name_end + minus { digits_end } else { name_end };
    let number = &source[name_end..end];
    end += usize::from(bytes.get(end) == Some(&b' '));
    match &source[start + 1..name_end] {
        "par" | "line" | "tab" | "sect" | "page" => builder.mark("\n", start),
        "cell" | "row" | "nestcell" | "nestrow" => builder.mark("\n\n", start),
        "emdash" | "endash" => builder.mark("-", start),
        "enspace" | "emspace" | "qmspace" => builder.mark(" ", start),
        "u" => {
            // A signed 16-bit code, then one character for readers who can't show it.
            let code = number.parse::<i32>().unwrap_or(0);
            let code = u32::try_from(if code < 0 { code + 0x1_0000 } else { code }).unwrap_or(0);
            let shown = match bytes.get(end..end + 2) {
                Some([b'\\', b'\'']) => 4,
                Some([b'\\' | b'{' | b'}', _]) | None => 0,
                Some(_) => source[end..].chars().next().map_or(0, char::len_utf8),
            };
            end = (end + shown).min(source.len());
            while !source.is_char_boundary(end) {
                end += 1;
            }
            if let Some(read) = char::from_u32(code) {
                builder.char(read, start..end);
            }
        }
        _ => {}
    }
    end
}

/// A text as it is written in RTF.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for found in text.chars() {
        match found {
            '\\' | '{' | '}' => out.extend(['\\', found]),
            ' '..='~' => out.push(found),
            _ => {
                let mut units = [0; 2];
                for unit in found.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{}?", unit.cast_signed()));
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_words_are_seen_through() {
        let source = "{\\rtf1\\ansi\\fs24 Card 41{\\b 11}\\~\\u8209?12\\'33\r\n\\par next\\cell}";
        assert_eq!(rtf(source).text(), "Card 4111 -123\nnext\n\n");
        assert_eq!(escape("[a]{é}"), "[a]\\{\\u233?\\}");
        for broken in
            ["\\", "\\'", "\\'z", "\\u", "\\u5", "\\u9999999999 é", "\\é", "{\\rtf1 \\u233"]
        {
            assert!(rtf(broken).text().len() <= broken.len());
        }
    }
}
