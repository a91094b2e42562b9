//! Decisions by metadata.

use std::{io::Write, sync::Arc, thread};

use keep_only::KeepOnly;
use legal_hold::LegalHold;
use plugin_host::{Host, Item, MetadataDecision, Plugin};
use serde_json::json;
use tar365_plugin::{Filter, native};

use crate::{Result, guest, plugin, rates};

/// Asks for all metadata of an item.
const OF_ITEM: &str = r#"{"keep": "has(item.subject) && !item.subject.startsWith('secret')"}"#;
/// Asks for single values.
const OF_SENDER: &str = r#"{"keep": "sender.domain() != 'rival.example'"}"#;
const HOLDS: &str = r#"{"holds": [
    {"name": "a matter", "custodians": ["ada@contoso.example", "*@legal.contoso.example"]},
    {"name": "another", "custodians": ["*"], "services": ["mail"],
     "received": {"from": "2023-01-01"}, "keywords": ["falcon", "@rival.example"]}]}"#;

/// Writes the table of decisions a second, of filters that keep a message.
pub(crate) fn table(host: &Host, out: &mut impl Write) -> Result<()> {
    let message = message();
    let size = message.metadata.len();
    let cores = thread::available_parallelism()?.get();
    writeln!(out, "| decisions by {size} bytes of metadata | threads | component | natively | |")?;
    writeln!(out, "|---|---|---|---|---|")?;
    let nothing = guest::Guest::new("nothing").source();
    row::<Nothing>(out, "a guest that keeps", &host.load(nothing)?, "", &message, cores)?;
    for (name, settings) in
        [("keep-only, by `item`", OF_ITEM), ("keep-only, by `sender`", OF_SENDER)]
    {
        let plugin = plugin(host, "keep-only", settings)?;
        row::<KeepOnly>(out, name, &plugin, settings, &message, cores)?;
    }
    let plugin = plugin(host, "legal-hold", HOLDS)?;
    row::<LegalHold>(out, "legal-hold", &plugin, HOLDS, &message, cores)
}

/// Keeps everything.
struct Nothing;

impl Filter for Nothing {
    const MANIFEST: tar365_plugin::Manifest<'static> = tar365_plugin::Manifest {
        name: "nothing",
        version: "1.0.0",
        author: "",
        description: "",
        phases: &[tar365_plugin::Phase::Metadata],
        services: &[],
    };

    fn configure(_: &str) -> std::result::Result<Self, String> {
        Ok(Nothing)
    }
}

/// A native filter is given what a plugin is given: the text of the settings and of the metadata.
fn row<F: Filter>(
    out: &mut impl Write,
    name: &str,
    plugin: &Plugin,
    settings: &str,
    message: &Item,
    cores: usize,
) -> Result<()> {
    let component = || {
        let answer = plugin.on_metadata(message);
        assert_eq!(answer, Ok(MetadataDecision::Keep));
    };
    let natively = || {
        let metadata = serde_json::from_str(&message.metadata).expect("it is JSON");
        let item = native::item(&message.service, &message.kind, metadata);
        let answer = native::on_metadata::<F>(settings, &item);
        assert_eq!(answer, Ok(tar365_plugin::MetadataDecision::Keep));
    };
    for threads in [1, cores] {
        let (rate, native) = rates::both(threads, component, natively);
        writeln!(
            out,
            "| {name} | {threads} | {rate:.0}/s | {native:.0}/s | {:.0} % |",
            100.0 * rate / native
        )?;
        if cores == 1 {
            break;
        }
    }
    Ok(())
}

/// A mail as Graph speaks of it, about 2 KiB.
fn message() -> Item {
    let person = |number| {
        let address = format!("person{number}@contoso.example");
        json!({"emailAddress": {"name": format!("Person {number}"), "address": address}})
    };
    let metadata = json!({
        "id": "A".repeat(152),
        "parentFolderId": "B".repeat(120),
        "conversationId": "C".repeat(100),
        "conversationIndex": "AQHZ".repeat(10),
        "changeKey": "CQAAABYAAAC4ofQHEIqCSbQPot83AFcbAAAnjjuZ",
        "internetMessageId": "<20260102030405.0123456789abcdef@mail.contoso.example>",
        "createdDateTime": "2026-01-02T03:04:06Z",
        "lastModifiedDateTime": "2026-01-03T09:10:11Z",
        "receivedDateTime": "2026-01-02T03:04:06Z",
        "sentDateTime": "2026-01-02T03:04:05Z",
        "subject": "Re: the figures of the last quarter",
        "bodyPreview": "Thank you, I have looked through them. ".repeat(6),
        "categories": ["Orange category"],
        "flag": {"flagStatus": "notFlagged"},
        "hasAttachments": true,
        "importance": "normal",
        "inferenceClassification": "focused",
        "isDeliveryReceiptRequested": null,
        "isDraft": false,
        "isRead": true,
        "isReadReceiptRequested": false,
        "from": person(1),
        "sender": person(1),
        "toRecipients": (2..5).map(person).collect::<Vec<_>>(),
        "ccRecipients": (5..9).map(person).collect::<Vec<_>>(),
        "bccRecipients": [],
        "replyTo": [],
        "webLink": format!("https://outlook.office365.com/owa/?ItemID={}", "A".repeat(152)),
    });
    Item { metadata: Arc::from(archive::json::canonical(&metadata)), ..guest::mail("1") }
}
