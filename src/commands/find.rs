//! `find`: items of an archive by what is known of them.

use archive::metadata;
use globset::{GlobBuilder, GlobMatcher};
use importer::{Choice, Surveyed};
use serde_json::{Value, json};

use crate::cli::Find;
use crate::config;
use crate::exit::{Code, Failure};
use crate::input::Input;
use crate::terminal::Data;

pub(super) async fn run(args: Find) -> Result<Code, Failure> {
    let choice = Choice {
        selection: config::selection(&args.selection)?,
        subjects: args.items.subject.clone(),
        senders: args.items.from.clone(),
        recipients: args.items.recipient.clone(),
        message_ids: args.items.message_id.clone(),
        paths: args.items.path.clone(),
    };
    choice.check()?;
    let kinds = args.kind.iter().map(|kind| Kind::new(kind)).collect::<Result<Vec<_>, _>>()?;
    let dir = args.spool_dir.clone().unwrap_or_else(exporter::default_spool_dir);
    let source = Input::open(&args.archive)?.into_source();
    let (mut data, mut found, mut failed) = (Data::new(), 0_u64, Ok(()));
    importer::survey(source, &choice, &dir, |item| {
        let is_wanted = (kinds.is_empty() || kinds.iter().any(|kind| kind.is(item)))
            && args.larger.is_none_or(|size| item.size >= size.as_u64())
            && args.smaller.is_none_or(|size| item.size < size.as_u64());
        if is_wanted {
            found += 1;
            failed = show(&mut data, item, args.json);
        }
        failed.is_ok()
    })
    .await?;
    failed?;
    data.finish()?;
    Ok(if found == 0 { Code::Missing } else { Code::Success })
}

fn show(data: &mut Data, item: &Surveyed<'_>, as_json: bool) -> Result<(), Failure> {
    let text = |pointer: &str| item.line.graph.pointer(pointer).and_then(Value::as_str);
    let path = item.line.path.as_deref().unwrap_or_default();
    // The time that --since and --until go by.
    let dates = match item.line.kind.as_str() {
        metadata::MESSAGE => ["/receivedDateTime", "/createdDateTime"],
        metadata::EVENT => ["/start/dateTime", "/createdDateTime"],
        _ => ["/fileSystemInfo/lastModifiedDateTime", "/lastModifiedDateTime"],
    };
    let date = dates.into_iter().find_map(text).unwrap_or_default();
    if as_json {
        let mut found = json!({
            "path": path,
            "owner": item.owner,
            "service": item.service,
            "kind": item.line.kind,
            "id": item.line.id,
            "size": item.size,
            "date": date,
            "sha256": item.sha256.as_ref().map(archive::hex),
        });
        for key in ["subject", "from", "toRecipients", "ccRecipients", "internetMessageId", "name"]
        {
            if let Some(value) = item.line.graph.get(key) {
                found[key] = value.clone();
            }
        }
        if let Some(topic) = item.line.graph.get("topic") {
            found["subject"] = topic.clone();
        }
        return data.line(&found.to_string());
    }
    data.line(&format!("{:>12}  {date}  {path}", item.size))?;
    let Some(subject) = text("/subject").or(text("/topic")) else { return Ok(()) };
    let from = text("/from/emailAddress/address").unwrap_or_default();
    let clean = |text: &str| text.replace(|c: char| c.is_control(), " ");
    data.line(&format!("{:>14}{}: {}", "", clean(from), clean(subject)))
}

/// What an item is.
enum Kind {
    /// `message`, `post` or `file`.
    Item(String),
    /// The extension of a file.
    Extension(String),
    /// The MIME type of a file.
    Mime(GlobMatcher),
}

impl Kind {
    fn new(text: &str) -> Result<Self, Failure> {
        match text {
            "message" | "mail" => Ok(Self::Item("message".to_owned())),
            "file" | "event" | "post" => Ok(Self::Item(text.to_owned())),
            text if text.contains('/') => {
                let glob = GlobBuilder::new(text).case_insensitive(true).build();
                let glob = glob.map_err(|error| Failure::because(Code::Usage, "--type", &error))?;
                Ok(Self::Mime(glob.compile_matcher()))
            }
            text => {
                Ok(Self::Extension(format!(".{}", text.trim_start_matches('.').to_lowercase())))
            }
        }
    }

    fn is(&self, item: &Surveyed<'_>) -> bool {
        let text = |pointer: &str| item.line.graph.pointer(pointer).and_then(Value::as_str);
        match self {
            Self::Item(kind) => item.line.kind == *kind,
            Self::Extension(extension) => {
                let name = text("/name")
                    .map_or_else(|| item.line.path.clone().unwrap_or_default(), str::to_owned);
                name.to_lowercase().ends_with(extension)
            }
            Self::Mime(glob) => match item.line.kind.as_str() {
                "message" | "post" => glob.is_match("message/rfc822"),
                _ => text("/file/mimeType").is_some_and(|mime| glob.is_match(mime)),
            },
        }
    }
}
