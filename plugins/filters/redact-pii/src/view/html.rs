//! HTML and XML: text between tags, and tags by themselves.
//!
//! Not a parser that builds a tree: broken markup is the rule in mail, and every byte has to be
//! read as something.

use std::ops::Range;

use memchr::memmem;

use super::{Builder, Seen, View, escaped, seen};

/// What tags mean to the text around them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Blocks and rows end a line, everything else is seen through.
    Html,
    /// Parts of Office and OpenDocument files: text is cut into runs at will; paragraphs end a
    /// line, cells end everything.
    Office,
    /// XML of unknown kind: every tag ends everything.
    Xml,
}

/// What a tag is read as.
enum Break {
    None,
    /// A line ends.
    Line,
    /// Nothing goes on beyond it.
    Full,
    As(&'static str),
}

impl Dialect {
    fn reads(self, tag: &str) -> Break {
        let name = tag.trim_start_matches('/');
        let end = name
            .find(|c: char| c.is_ascii_whitespace() || matches!(c, '/' | '>'))
            .unwrap_or(name.len());
        let name = &name[..end];
        match self {
            Self::Xml => Break::Full,
            Self::Html => {
                let block = [
                    "address",
                    "article",
                    "aside",
                    "blockquote",
                    "br",
                    "center",
                    "dd",
                    "div",
                    "dl",
                    "dt",
                    "fieldset",
                    "figure",
                    "footer",
                    "form",
                    "h1",
                    "h2",
                    "h3",
                    "h4",
                    "h5",
                    "h6",
                    "header",
                    "hr",
                    "li",
                    "main",
                    "nav",
                    "ol",
                    "option",
                    "p",
                    "pre",
                    "section",
                    "table",
                    "tbody",
                    "td",
                    "tfoot",
                    "th",
                    "thead",
                    "title",
                    "tr",
                    "ul",
                ];
                if block.iter().any(|block| name.eq_ignore_ascii_case(block)) {
                    Break::Line
                } else {
                    Break::None
                }
            }
            Self::Office => match name.rsplit(':').next().unwrap_or(name) {
                "p" | "br" | "cr" | "tab" | "h" | "line-break" | "tc" => Break::Line,
                "c" | "v" | "f" | "is" | "si" | "row" | "table-cell" | "table-row" => Break::Full,
                "s" => Break::As(" "),
                "noBreakHyphen" => Break::As("-"),
                _ => Break::None,
            },
        }
    }
}

/// One stretch of markup.
enum Piece {
    Text,
    /// Text without entities.
    Verbatim,
    /// A tag; the name begins after `<`.
    Tag,
    /// `<!-- -->`, with text and tags of its own in it.
    Comment,
    /// What stands in a script or style element.
    Script,
}

/// Cuts markup into pieces.
struct Pieces<'a> {
    source: &'a str,
    at: usize,
    /// An element whose content is no markup: up to its end tag.
    script: Option<&'static str>,
    /// Needles that are not found from here on; so that broken markup is not searched again and
    /// again.
    gone: Vec<&'static str>,
}

impl<'a> Pieces<'a> {
    fn new(source: &'a str) -> Self {
        Self { source, at: 0, script: None, gone: Vec::new() }
    }

    /// The end of the next `needle` from `from` on.
    fn after(&mut self, needle: &'static str, from: usize) -> Option<usize> {
        if self.gone.contains(&needle) {
            return None;
        }
        let found = memmem::find(&self.source.as_bytes()[from..], needle.as_bytes());
        if found.is_none() {
            self.gone.push(needle);
        }
        found.map(|found| from + found + needle.len())
    }

    /// The end of what begins at a `<`, if it is no text.
    fn markup(&mut self, start: usize) -> Option<(Piece, Range<usize>)> {
        let rest = &self.source.as_bytes()[start..];
        if rest.starts_with(b"<!--") {
            let end = self.after("-->", start + 4)?;
            return Some((Piece::Comment, start..end));
        }
        if rest.starts_with(b"<![CDATA[") {
            let end = self.after("]]>", start + 9)?;
            return Some((Piece::Verbatim, start..end));
        }
        let begins = rest.get(1).is_some_and(|byte| {
            byte.is_ascii_alphabetic() || matches!(byte, b'/' | b'!' | b'?' | b'_')
        });
        if !begins {
            return None;
        }
        let end = self.tag_end(start + 1)?;
        for name in ["script", "style"] {
            let tag = rest.get(1..=name.len()).unwrap_or_default();
            if tag.eq_ignore_ascii_case(name.as_bytes()) && self.source.as_bytes()[end - 2] != b'/'
            {
                self.script = Some(name);
            }
        }
        Some((Piece::Tag, start..end))
    }

    /// Behind the `>` that ends a tag; one in a quoted value does not.
    fn tag_end(&mut self, from: usize) -> Option<usize> {
        let bytes = self.source.as_bytes();
        let mut at = from;
        let mut value = false;
        let simple = self.after(">", from)?;
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'>' => return Some(at + 1),
                b'=' => value = true,
                b'"' | b'\'' if value => {
                    let quote = if *byte == b'"' { "\"" } else { "'" };
                    match self.after(quote, at + 1) {
                        Some(end) => at = end - 1,
                        None => return Some(simple),
                    }
                    value = false;
                }
                byte if byte.is_ascii_whitespace() => {}
                _ => value = false,
            }
            at += 1;
        }
        Some(simple)
    }
}

impl Iterator for Pieces<'_> {
    type Item = (Piece, Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.at;
        if start >= self.source.len() {
            return None;
        }
        if let Some(name) = self.script.take() {
            let end = end_tag(self.source, start, name);
            if end > start {
                self.at = end;
                return Some((Piece::Script, start..end));
            }
        }
        let mut from = start;
        while let Some(found) = memchr::memchr(b'<', &self.source.as_bytes()[from..]) {
            let open = from + found;
            if let Some((piece, range)) = self.markup(open) {
                if open > start {
                    // Found again in the next round.
                    self.script = None;
                    self.at = open;
                    return Some((Piece::Text, start..open));
                }
                self.at = range.end;
                return Some((piece, range));
            }
            from = open + 1;
        }
        self.at = self.source.len();
        Some((Piece::Text, start..self.at))
    }
}

/// Where `</name` begins, or the end.
fn end_tag(source: &str, from: usize, name: &str) -> usize {
    let bytes = source.as_bytes();
    let mut at = from;
    while let Some(found) = memmem::find(&bytes[at..], b"</") {
        let open = at + found;
        let tag = bytes.get(open + 2..open + 2 + name.len()).unwrap_or_default();
        if tag.eq_ignore_ascii_case(name.as_bytes()) {
            return open;
        }
        at = open + 2;
    }
    source.len()
}

/// The text that a reader of the page sees.
#[must_use]
pub fn html(source: &str, dialect: Dialect) -> View<'static> {
    let mut builder = Builder::default();
    for (piece, range) in Pieces::new(source) {
        match piece {
            Piece::Text => text(&mut builder, source, range, dialect, true),
            Piece::Verbatim => {
                let inner = range.start + 9..range.end - 3;
                text(&mut builder, source, inner, dialect, false);
            }
            Piece::Tag => match dialect.reads(&source[range.start + 1..range.end]) {
                Break::None => {}
                Break::Line if ends_line(&builder.text) => {}
                Break::Line => builder.mark("\n", range.start),
                Break::Full => builder.mark("\n\n", range.start),
                Break::As(read) => builder.mark(read, range.start),
            },
            Piece::Comment | Piece::Script => {}
        }
    }
    builder.build()
}

/// Whether only blanks follow the last line break.
fn ends_line(text: &str) -> bool {
    text.trim_end_matches(' ').ends_with('\n')
}

fn text(
    builder: &mut Builder,
    source: &str,
    range: Range<usize>,
    dialect: Dialect,
    entities: bool,
) {
    let bytes = &source.as_bytes()[..range.end];
    if dialect == Dialect::Office && is_layout(&bytes[range.clone()]) {
        return;
    }
    let mut done = range.start;
    let mut at = range.start;
    let special = |byte: &u8| matches!(byte, b'&' | b'\n' | b'\r' | b'\t') || *byte >= 0x80;
    while let Some(next) = bytes[at..].iter().position(special) {
        let start = at + next;
        let byte = bytes[start];
        if byte == b'&' {
            at = start + 1;
            if let Some((found, length)) = entity(&bytes[start..]).filter(|_| entities) {
                builder.literal(source, done..start);
                builder.char(found, start..start + length);
                at = start + length;
                done = at;
            }
        } else if byte < 0x80 {
            // White space of any length is one blank.
            let blanks = bytes[done..start].iter().rev().take_while(|byte| **byte == b' ').count();
            let end = bytes[start..]
                .iter()
                .position(|byte| !byte.is_ascii_whitespace())
                .map_or(bytes.len(), |length| start + length);
            builder.literal(source, done..start - blanks);
            builder.sign(' ', start - blanks..end);
            at = end;
            done = end;
        } else {
            let found = source[start..].chars().next().unwrap_or('?');
            at = start + found.len_utf8();
            if !matches!(seen(found), Seen::Itself) {
                builder.literal(source, done..start);
                builder.char(found, start..at);
                done = at;
            }
        }
    }
    builder.literal(source, done..range.end);
}

/// White space between elements that only makes a file easier to read.
fn is_layout(bytes: &[u8]) -> bool {
    bytes.contains(&b'\n') && bytes.iter().all(u8::is_ascii_whitespace)
}

/// What stands in tags, comments and scripts, one view each with the place where it begins:
/// values of attributes, with entities and percent signs read as what they stand for. Comments are
/// given as they are.
#[must_use]
pub fn markup(source: &str) -> (Vec<(usize, View<'static>)>, Vec<Range<usize>>) {
    let mut tags = Vec::new();
    let mut comments = Vec::new();
    for (piece, range) in Pieces::new(source) {
        match piece {
            Piece::Tag | Piece::Script => {
                // Nothing to be found takes less than three digits; nearly all tags have none.
                let inner = &source[range.clone()];
                let telling = inner.bytes().any(|byte| byte.is_ascii_digit() || byte >= 0x80);
                if telling || inner.contains(['@', '&', '%']) {
                    tags.push((range.start, attributes(inner)));
                }
            }
            Piece::Comment => comments.push(range.start + 4..range.end - 3),
            Piece::Text | Piece::Verbatim => {}
        }
    }
    (tags, comments)
}

fn attributes(source: &str) -> View<'static> {
    let mut builder = Builder::default();
    let bytes = source.as_bytes();
    let mut done = 0;
    let mut at = 0;
    let special = |byte: &u8| matches!(byte, b'&' | b'%') || *byte >= 0x80;
    while let Some(next) = bytes[at..].iter().position(special) {
        let start = at + next;
        let found = match bytes[start] {
            b'&' => entity(&bytes[start..]),
            b'%' => escaped(bytes, start).filter(u8::is_ascii).map(|byte| (char::from(byte), 3)),
            _ => source[start..].chars().next().map(|found| (found, found.len_utf8())),
        };
        let Some((found, length)) = found else {
            at = start + 1;
            continue;
        };
        at = start + length;
        if bytes[start] < 0x80 || !matches!(seen(found), Seen::Itself) {
            builder.literal(source, done..start);
            builder.char(found, start..at);
            done = at;
        }
    }
    builder.literal(source, done..source.len());
    builder.build()
}

/// The character that an entity at the beginning stands for, and its length. Only those named
/// entities that can stand in or around what is looked for.
fn entity(bytes: &[u8]) -> Option<(char, usize)> {
    if bytes.get(1) == Some(&b'#') {
        let hex = matches!(bytes.get(2), Some(b'x' | b'X'));
        let from = if hex { 3 } else { 2 };
        let digits = bytes[from.min(bytes.len())..]
            .iter()
            .take(8)
            .take_while(|byte| if hex { byte.is_ascii_hexdigit() } else { byte.is_ascii_digit() })
            .count();
        let text = std::str::from_utf8(&bytes[from..from + digits]).ok()?;
        let code = u32::from_str_radix(text, if hex { 16 } else { 10 }).ok()?;
        let end = from + digits;
        let end = end + usize::from(bytes.get(end) == Some(&b';'));
        return Some((char::from_u32(code)?, end));
    }
    let length = bytes[1..].iter().take(12).take_while(|byte| byte.is_ascii_alphanumeric()).count();
    let name = std::str::from_utf8(&bytes[1..=length]).ok()?;
    let found = match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" | "ensp" | "emsp" | "thinsp" | "numsp" | "puncsp" | "hairsp" | "emsp13"
        | "emsp14" => ' ',
        "shy" | "zwnj" | "zwj" | "lrm" | "rlm" | "NoBreak" | "ZeroWidthSpace" => '\u{ad}',
        "hyphen" | "dash" | "ndash" | "mdash" | "minus" | "horbar" => '-',
        "period" | "middot" | "centerdot" | "bull" => '.',
        "commat" => '@',
        "lowbar" | "UnderBar" => '_',
        "plus" => '+',
        "Tab" => '\t',
        "NewLine" => '\n',
        "sol" => '/',
        "colon" => ':',
        _ => return None,
    };
    let end = 1 + length;
    Some((found, end + usize::from(bytes.get(end) == Some(&b';'))))
}

/// A text as it is written in markup.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for found in text.chars() {
        match found {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(found),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::apply_text;
    use crate::find::Hit;

    fn replaced(source: &str, needle: &str) -> String {
        let view = html(source, Dialect::Html);
        let start = view.text().find(needle).unwrap_or_else(|| panic!("{:?}", view.text()));
        let hit =
            Hit { range: start..start + needle.len(), with: "<X>".to_owned(), address: false };
        apply_text(source, &view.edits(&[hit], |hit| escape(&hit.with)))
    }

    #[test]
    fn text_cut_by_tags_and_entities_is_read_as_one() {
        assert_eq!(
            replaced(
                "<p>a 41<b title=\"a>b\">11</b>&nbsp;1&#49;&shy;<i>1&#x31;</i> b</p>",
                "4111 1111"
            ),
            "<p>a &lt;X&gt;<b title=\"a>b\"></b><i></i> b</p>"
        );
        assert_eq!(replaced("x <!-- 1 -->41 \r\n  11<", "41 11"), "x <!-- 1 -->&lt;X&gt;<");
        assert_eq!(replaced("<td>41</td>\n<td>11</td>", "41\n 11"), "<td>&lt;X&gt;</td><td></td>");
    }

    #[test]
    fn broken_markup_is_read_as_text() {
        for source in
            ["1 < 4111", "<a title=\"4111", "<!-- 4111", "<![CDATA[4111", "4111 <a", "&4111"]
        {
            let text = html(source, Dialect::Html).text().to_owned();
            let (tags, comments) = markup(source);
            let seen =
                text.contains("4111") || tags.iter().any(|tag| tag.1.text().contains("4111"));
            assert!(seen && comments.is_empty(), "{source}: {text}");
        }
        let hostile = "<a=\"".repeat(50_000) + &"<!--".repeat(50_000);
        assert!(html(&hostile, Dialect::Html).text().len() <= hostile.len());
    }

    #[test]
    fn tags_scripts_and_comments_are_read_apart() {
        let source =
            "<a href='tel:41%2011' x=&#52;>y</a><script>if (1<2) c='</b>';</script><!-- z -->";
        let (tags, comments) = markup(source);
        let texts: Vec<&str> = tags.iter().map(|tag| tag.1.text()).collect();
        assert_eq!(texts, ["<a href='tel:41 11' x=4>", "if (1<2) c='</b>';"]);
        assert_eq!(&source[comments[0].clone()], " z ");
        assert_eq!(html(source, Dialect::Html).text(), "y");
    }

    #[test]
    fn runs_of_office_files_are_one_text() {
        let source = "<w:p><w:r><w:t>41</w:t></w:r>\n <w:proofErr/><w:r><w:t>11</w:t></w:r></w:p>";
        assert_eq!(html(source, Dialect::Office).text().trim(), "4111");
        let cells = "<c><v>41</v></c><c><v>11</v></c>";
        assert!(html(cells, Dialect::Office).text().contains("41\n\n"));
    }
}
