//! Files within plain text: uuencode and yEnc.

use std::ops::Range;

use crate::transfer::line_end;

/// A file in a text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// From the line that begins it to the end of the one that ends it, without its line break.
    pub(crate) range: Range<usize>,
    /// The lines between them.
    data: Range<usize>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Uu,
    Yenc,
}

/// The files in a text, in order.
#[must_use]
pub(crate) fn blocks(text: &[u8]) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<(Kind, usize, usize)> = None;
    let mut at = 0;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let (start, next) = (at, at + line.len());
        at = next;
        let bare = line.trim_ascii_end();
        match open {
            None => {
                let kind = if is_begin(bare) {
                    Kind::Uu
                } else if bare.starts_with(b"=ybegin ") {
                    Kind::Yenc
                } else {
                    continue;
                };
                open = Some((kind, start, next));
            }
            Some((kind, begin, data)) => {
                let ends = match kind {
                    Kind::Uu => bare == b"end",
                    Kind::Yenc => bare.starts_with(b"=yend"),
                };
                if ends {
                    let range = begin..start + bare.len();
                    blocks.push(Block { range, data: data..start, kind });
                    open = None;
                }
            }
        }
    }
    blocks
}

/// `begin 644 name`
fn is_begin(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"begin ") else { return false };
    let digits = rest.iter().take_while(|byte| matches!(byte, b'0'..=b'7')).count();
    (3..=4).contains(&digits) && rest.get(digits) == Some(&b' ') && rest.len() > digits + 1
}

impl Block {
    /// The file's bytes, as far as they can be read.
    #[must_use]
    pub(crate) fn decode(&self, text: &[u8]) -> Vec<u8> {
        let lines = text[self.data.clone()].split(|byte| *byte == b'\n');
        let mut out = Vec::new();
        for line in lines {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            match self.kind {
                Kind::Uu => uu_line(line, &mut out),
                Kind::Yenc if line.starts_with(b"=ypart ") => {}
                Kind::Yenc => yenc_line(line, &mut out),
            }
        }
        out
    }

    /// Whether a changed file can be put back.
    #[must_use]
    pub(crate) fn can_encode(&self) -> bool {
        self.kind == Kind::Uu
    }

    /// The whole text with other bytes in the file's place.
    #[must_use]
    pub(crate) fn encode(&self, text: &[u8], bytes: &[u8]) -> Vec<u8> {
        let end = line_end(text);
        let mut out = text[..self.data.start].to_vec();
        for line in bytes.chunks(45).chain([&[][..]]) {
            out.push(uu_char(u8::try_from(line.len()).unwrap_or_default()));
            for group in line.chunks(3) {
                let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or_default());
                let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
                out.extend([18, 12, 6, 0].map(|shift| uu_char((bits >> shift) as u8 & 63)));
            }
            out.extend_from_slice(end.as_bytes());
        }
        out.extend_from_slice(&text[self.data.end..]);
        out
    }
}

fn uu_char(value: u8) -> u8 {
    if value == 0 { b'`' } else { value + 32 }
}

fn uu_line(line: &[u8], out: &mut Vec<u8>) {
    let value = |at: usize| u32::from(line.get(at).map_or(0, |byte| byte.wrapping_sub(32) & 63));
    let length = value(0) as usize;
    let start = out.len();
    for group in 0..length.div_ceil(3) {
        let at = 1 + group * 4;
        let bits = value(at) << 18 | value(at + 1) << 12 | value(at + 2) << 6 | value(at + 3);
        out.extend_from_slice(&bits.to_be_bytes()[1..]);
    }
    out.truncate(start + length);
}

fn yenc_line(line: &[u8], out: &mut Vec<u8>) {
    let mut bytes = line.iter();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'=' => bytes.next().map_or(0, |byte| byte.wrapping_sub(64)),
            byte => *byte,
        };
        out.push(byte.wrapping_sub(42));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_in_text_are_read_and_put_back() {
        let text = b"hi\r\nbegin 644 a.txt\r\n#0V%T\r\n`\r\nend\r\nbye\r\n=ybegin line=128 size=2 name=x\r\n\x8c=n\r\n=yend size=2";
        let found = blocks(text);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].decode(text), b"Cat");
        assert_eq!(found[1].decode(text), [0x8c - 42, b'n' - 64_u8.wrapping_add(42)]);
        let longer: Vec<u8> = (0..200).collect();
        let changed = found[0].encode(text, &longer);
        assert_eq!(blocks(&changed)[0].decode(&changed), longer);
        assert!(changed.ends_with(&text[text.len() - 60..]));
        assert!(blocks(b"begin the day\nend\nbegin 644 x\n").is_empty());
    }
}
