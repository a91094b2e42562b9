//! A filter that is run natively meets what the host promises.

use std::io::{self, BufRead, Read, Write};

use serde_json::json;
use tar365_plugin::log::Level;
use tar365_plugin::{
    Content, ContentDecision, Filter, Item, Manifest, MetadataDecision, Phase, log, native,
    settings,
};

/// What the filter is to do is said by its settings.
#[derive(serde::Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Obedient {
    change: bool,
    messages: usize,
    lines: bool,
    twice: bool,
    small: bool,
}

impl Filter for Obedient {
    const MANIFEST: Manifest<'static> = Manifest {
        name: "obedient",
        version: "1.2.3",
        author: "nobody",
        description: "Does what it is told.",
        phases: &[Phase::Metadata, Phase::Content],
        services: &[],
    };

    fn configure(text: &str) -> Result<Self, String> {
        settings::json(text)
    }

    fn on_metadata(&self, item: &Item) -> Result<MetadataDecision, String> {
        for number in 0..self.messages {
            log::warn(format_args!("message {number}"));
        }
        if self.change {
            let mut metadata = item.metadata();
            metadata["subject"] = "changed".into();
            return Ok(MetadataDecision::Change(metadata));
        }
        Ok(MetadataDecision::Keep)
    }

    fn on_content(&self, _: &Item, content: &mut Content<'_>) -> Result<ContentDecision, String> {
        if self.lines {
            let mut line = Vec::new();
            while content.read_until(b'\n', &mut line).map_err(|error| error.to_string())? > 0 {
                content.write_all(&line).map_err(|error| error.to_string())?;
                line.clear();
            }
            return Ok(ContentDecision::Replace);
        }
        if self.small {
            let mut three = [0; 3];
            content.read_exact(&mut three).map_err(|error| error.to_string())?;
            let rest = content.bytes()?;
            return content.replace_with(&[&rest[..], &three].concat());
        }
        let mut bytes = content.bytes()?;
        if self.twice {
            bytes.extend_from_within(..);
        }
        content.replace_with(&bytes)
    }
}

tar365_plugin::export!(Obedient);

fn mail() -> Item {
    native::item("mail", "message", json!({ "id": "1", "subject": "a", "a/b": { "~": [1, null] } }))
}

/// Bytes in which a lost, doubled or misplaced one is seen; longer than any buffer.
fn long() -> Vec<u8> {
    let mut state = 1_u32;
    let next = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    next.take(3_000_017).collect()
}

fn replaced(settings: &str, input: impl Read) -> Vec<u8> {
    let mut output = Vec::new();
    let answer = native::on_content::<Obedient>(settings, &mail(), input, &mut output);
    assert_eq!(answer, Ok(ContentDecision::Replace));
    output
}

/// Gives a byte at a time, and is interrupted before each.
struct Stutter<'a>(&'a [u8], bool);

impl Read for Stutter<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1 = !self.1;
        if self.1 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let count = buffer.len().min(1);
        self.0.read(&mut buffer[..count])
    }
}

#[test]
fn content_passes_unchanged_in_pieces_of_any_size() {
    let content = long();
    assert!(replaced("", &content[..]) == content);
    assert!(replaced(r#"{"lines": true}"#, &content[..]) == content);
    assert!(replaced("", Stutter(&content[..2000], false)) == content[..2000]);
    assert!(replaced("", io::empty()).is_empty());
}

#[test]
fn content_is_what_the_filter_writes() {
    let content = long();
    assert!(replaced(r#"{"twice": true}"#, &content[..]) == content.repeat(2));
    assert_eq!(replaced(r#"{"small": true}"#, &b"123456"[..]), b"456123");
}

#[test]
fn errors_of_input_and_output_are_the_filters() {
    let fails =
        native::on_content::<Obedient>(r#"{"small": true}"#, &mail(), &b"12"[..], io::sink());
    assert!(fails.is_err());
    // The bytes are few: they are refused when the answer is given, not when they are written.
    let mut full = [0; 2];
    assert!(native::on_content::<Obedient>("", &mail(), &b"123"[..], &mut full[..]).is_err());
}

#[test]
fn metadata_is_found_by_pointer() {
    let item = mail();
    assert_eq!(item.id, "1");
    assert_eq!(item.text("/subject").as_deref(), Some("a"));
    assert_eq!(item.value("/a~1b/~0/0"), Some(json!(1)));
    assert_eq!(item.value("/a~1b/~0/1"), Some(json!(null)));
    assert_eq!(item.text("/a~1b/~0/0"), None);
    assert_eq!(item.value("/nothing"), None);
    let text: serde_json::Value = serde_json::from_str(&item.metadata_text()).expect("JSON");
    assert_eq!(text, item.metadata());
}

#[test]
fn metadata_is_changed() {
    let answer = native::on_metadata::<Obedient>(r#"{"change": true}"#, &mail());
    let changed = json!({ "id": "1", "subject": "changed", "a/b": { "~": [1, null] } });
    assert_eq!(answer, Ok(MetadataDecision::Change(changed)));
}

#[test]
fn settings_that_are_wrong_are_refused_with_the_place() {
    let refused = |text| native::on_metadata::<Obedient>(text, &mail()).expect_err("refused");
    let misspelt = refused("{\n  \"chance\": true}");
    assert!(misspelt.contains("chance") && misspelt.contains("line 2"), "{misspelt}");
    assert!(refused("{").contains("line 1"));
    assert_eq!(native::on_metadata::<Obedient>(" \n", &mail()), Ok(MetadataDecision::Keep));
}

#[test]
fn messages_are_those_of_the_last_call_and_at_most_64() {
    let call = |settings| native::on_metadata::<Obedient>(settings, &mail()).expect("an answer");
    call(r#"{"messages": 100}"#);
    assert_eq!(native::messages().len(), 64);
    call(r#"{"messages": 1}"#);
    assert_eq!(native::messages(), [(Level::Warn, "message 0".to_owned())]);
}
