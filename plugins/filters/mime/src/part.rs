//! The head of a part.

use mail_parser::{MessageParser, MimeHeaders};

use crate::transfer::Encoding;

/// A mail, an embedded message or a part of one, as its head tells.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Part {
    /// The head as it stands, with the empty line that ends it if there is one.
    pub raw: Vec<u8>,
    /// `type/subtype` in lower case; `text/plain` where nothing is said, `message/rfc822` in a
    /// digest (RFC 2046 5.1.5).
    pub media_type: String,
    /// As it is given.
    pub charset: Option<String>,
    /// The name of the file, decoded (RFC 2231, encoded words); of the disposition before that of
    /// the type.
    pub name: Option<String>,
    /// In lower case: `attachment`, `inline`, ...
    pub disposition: Option<String>,
    /// Without its angle brackets.
    pub content_id: Option<String>,
    /// How the body is encoded.
    pub encoding: Encoding,
    /// Media types of what it is in, outermost first.
    pub within: Vec<String>,
    /// What follows the head.
    pub form: Form,
}

/// What follows a head.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Form {
    /// A body.
    #[default]
    Leaf,
    /// Parts, between lines of this boundary.
    Multipart {
        /// Without the hyphens.
        boundary: Vec<u8>,
    },
    /// A mail with a head of its own.
    Message,
}

/// One field of a head.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Field<'a> {
    /// Its name as it stands; empty for lines that are no field.
    pub name: &'a str,
    /// All of it: name, colon, value with its folding, line end.
    pub raw: &'a [u8],
}

impl Part {
    /// Understands a head. `in_digest`: it stands in a `multipart/digest`.
    pub(crate) fn parse(raw: Vec<u8>, within: Vec<String>, in_digest: bool) -> Self {
        let mut part = Part { raw, within, ..Part::default() };
        let text = part.for_parser();
        let parser = MessageParser::new().with_mime_headers().default_header_ignore();
        let message = parser.parse_headers(&text);
        let root = message.as_ref().and_then(|message| message.parts.first());
        let content_type = root.and_then(|root| root.content_type());
        part.media_type = match content_type {
            Some(found) if !found.ctype().is_empty() => {
                // "text" alone is what old mailers say for text/plain.
                format!("{}/{}", found.ctype(), found.subtype().unwrap_or("plain"))
                    .to_ascii_lowercase()
            }
            _ if in_digest => "message/rfc822".into(),
            _ => "text/plain".into(),
        };
        let attribute = |name: &str| content_type.and_then(|found| found.attribute(name));
        part.charset = attribute("charset").map(str::to_owned);
        if let Some(root) = root {
            part.name = root.attachment_name().filter(|name| !name.is_empty()).map(str::to_owned);
            part.disposition =
                root.content_disposition().map(|found| found.ctype().to_ascii_lowercase());
            part.content_id = root.content_id().map(str::to_owned);
            part.encoding = Encoding::named(root.content_transfer_encoding().unwrap_or_default());
        }
        let boundary = attribute("boundary").map(str::trim_end).unwrap_or_default();
        // A container that is itself encoded (RFC 2045 6.4 forbids it) can't be walked.
        part.form = if part.encoding != Encoding::Identity {
            Form::Leaf
        } else if part.media_type.starts_with("multipart/") && !boundary.is_empty() {
            Form::Multipart { boundary: boundary.as_bytes().to_vec() }
        } else if part.is_message() {
            Form::Message
        } else {
            Form::Leaf
        };
        part
    }

    /// The head as the library takes it: of fields that are there twice only the first, which is
    /// the one that Python and most readers go by; newlines in place of carriage returns alone, of
    /// which it knows nothing; and an empty line at the end.
    fn for_parser(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.raw.len() + 2);
        let mut names: Vec<String> = Vec::new();
        for Field { name, raw } in self.fields() {
            let name = name.to_ascii_lowercase();
            if !name.starts_with("content-") || names.contains(&name) {
                continue;
            }
            names.push(name);
            for (index, byte) in raw.iter().enumerate() {
                let alone = *byte == b'\r' && raw.get(index + 1) != Some(&b'\n');
                text.push(if alone { b'\n' } else { *byte });
            }
        }
        text.extend_from_slice(b"\r\n\r\n");
        text
    }

    /// A mail within the mail, encoded or not.
    pub fn is_message(&self) -> bool {
        matches!(self.media_type.as_str(), "message/rfc822" | "message/global")
    }

    /// Whether people would call it an attachment: it has a name or says that it is one, or it is
    /// no text. Delivery reports are not. An embedded message is if it is a leaf; so is a container
    /// whose encoding hides what is in it.
    pub fn is_attachment(&self) -> bool {
        if self.form != Form::Leaf {
            return false;
        }
        if self.name.is_some() || self.disposition.as_deref() == Some("attachment") {
            return true;
        }
        match self.media_type.split('/').next() {
            Some("text") => false,
            Some("message") => self.is_message(),
            Some("multipart") => self.encoding != Encoding::Identity,
            _ => true,
        }
    }

    /// The media type of what it stands in.
    pub fn parent(&self) -> Option<&str> {
        self.within.last().map(String::as_str)
    }

    /// The fields of the head, in their order, without the empty line.
    pub fn fields(&self) -> Vec<Field<'_>> {
        let mut fields: Vec<Field<'_>> = Vec::new();
        let mut begin = 0;
        let mut at = 0;
        while at < self.raw.len() {
            let end = line_after(&self.raw, at);
            let continued = matches!(self.raw.get(end), Some(b' ' | b'\t'));
            if !continued {
                let raw = &self.raw[begin..end];
                if !matches!(raw, b"\r\n" | b"\n" | b"\r") {
                    fields.push(Field { name: name_of(raw), raw });
                }
                begin = end;
            }
            at = end;
        }
        fields
    }
}

/// Where the line after the one at `at` begins.
fn line_after(raw: &[u8], at: usize) -> usize {
    match memchr::memchr2(b'\n', b'\r', &raw[at..]) {
        None => raw.len(),
        Some(offset) => {
            let end = at + offset;
            end + if raw[end..].starts_with(b"\r\n") { 2 } else { 1 }
        }
    }
}

fn name_of(field: &[u8]) -> &str {
    let Some(colon) = field.iter().position(|byte| *byte == b':') else { return "" };
    std::str::from_utf8(field[..colon].trim_ascii_end()).unwrap_or_default()
}
