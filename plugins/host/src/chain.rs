//! Several plugins in the operator's order.

use std::sync::Arc;

use archive::FilterRef;
use serde_json::Value;

use crate::{Failure, Item, MetadataDecision, Phase, Plugin, limits::METADATA};

/// What must be the same before and after a change: the identity, the place in the tree, and the
/// dates that the order of the stream follows from.
const PROTECTED: [&str; 5] =
    ["/id", "/receivedDateTime", "/createdDateTime", "/parentFolderId", "/parentReference/id"];
/// What a later run knows unchanged content by: it may be taken away, and then the content is
/// fetched each time, but not altered, or old content would pass for what it is now.
const TAGS: [&str; 5] = ["/changeKey", "/eTag", "/cTag", "/file/hashes/quickXorHash", "/size"];
/// What tells a folder from a file of a drive: it must be there afterwards if it was before.
const FACETS: [&str; 2] = ["folder", "file"];

/// Plugins in the operator's order. Cloning is cheap, and so is a chain without plugins.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    plugins: Arc<[Plugin]>,
}

/// What a chain decides by metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It stays as it is.
    Keep,
    /// It leaves no byte in the archive.
    Drop {
        /// Who decided it.
        plugin: String,
        /// For the operator's log, not for the archive.
        reason: String,
    },
    /// It stays with this metadata: canonical JSON, checked.
    Change(String),
    /// It stays as it is, and no plugin is to be asked about its content.
    Hold {
        /// Who decided it.
        plugin: String,
        /// For the operator's log.
        reason: String,
    },
}

impl Chain {
    /// A chain of `plugins` in this order.
    pub fn new(plugins: Vec<Plugin>) -> Self {
        Chain { plugins: plugins.into() }
    }

    /// True if nothing is filtered.
    pub fn is_empty(&self) -> bool {
        self.plugins.is_empty()
    }

    /// The plugins, in order.
    pub fn plugins(&self) -> &[Plugin] {
        &self.plugins
    }

    /// The plugins as the archive's head names them, in order.
    pub fn references(&self) -> Vec<FilterRef> {
        self.plugins.iter().map(Plugin::reference).collect()
    }

    /// Whether [`Chain::on_metadata`] has anybody to ask about this service.
    pub fn wants_metadata(&self, service: &str) -> bool {
        let wants = |phase| self.of(phase, service).next().is_some();
        wants(Phase::Hold) || wants(Phase::Metadata)
    }

    /// Whether [`Chain::content_plugins`] has anybody to ask about this service.
    pub fn wants_content(&self, service: &str) -> bool {
        self.content_plugins(service).next().is_some()
    }

    /// Asks those who hold first, wherever they stand, and then the others in order, each with the
    /// metadata as changed by those before. A plugin of both phases is asked in both rounds, and
    /// only its holding counts in the first.
    ///
    /// Fails with the first plugin that fails, and with [`crate::Cause::Answer`] if a change is
    /// not JSON of an object, is too long for a line of the archive, or touches what must stay.
    pub fn on_metadata(&self, item: &Item) -> Result<Verdict, Failure> {
        for plugin in self.of(Phase::Hold, &item.service) {
            if let MetadataDecision::Hold(reason) = plugin.on_metadata(item)? {
                return Ok(Verdict::Hold { plugin: name(plugin), reason });
            }
        }
        let mut changed: Option<Item> = None;
        for plugin in self.of(Phase::Metadata, &item.service) {
            let current = changed.as_ref().unwrap_or(item);
            match plugin.on_metadata(current)? {
                MetadataDecision::Keep => {}
                MetadataDecision::Drop(reason) => {
                    return Ok(Verdict::Drop { plugin: name(plugin), reason });
                }
                MetadataDecision::Change(text) => {
                    let metadata = checked(&current.metadata, &text)
                        .map_err(|message| Failure::answer(&plugin.manifest().name, message))?;
                    changed = Some(Item { metadata: metadata.into(), ..current.clone() });
                }
                MetadataDecision::Hold(_) => {
                    let message = "it holds an item only after others have changed it";
                    return Err(Failure::answer(&plugin.manifest().name, message));
                }
            }
        }
        Ok(changed.map_or(Verdict::Keep, |item| Verdict::Change(item.metadata.to_string())))
    }

    /// The plugins that decide by content, in order; each is to be given what the one before it
    /// made. Not to be asked about what is held.
    pub fn content_plugins<'a>(&'a self, service: &'a str) -> impl Iterator<Item = &'a Plugin> {
        self.of(Phase::Content, service)
    }

    fn of<'a>(&'a self, phase: Phase, service: &'a str) -> impl Iterator<Item = &'a Plugin> {
        self.plugins.iter().filter(move |plugin| plugin.wants(phase, service))
    }
}

fn name(plugin: &Plugin) -> String {
    plugin.manifest().name.clone()
}

/// The changed metadata in canonical form, or what is wrong with it.
fn checked(before: &str, after: &str) -> Result<String, String> {
    let parse = |text| serde_json::from_str::<Value>(text);
    let after = parse(after).map_err(|error| format!("its change is not JSON: {error}"))?;
    let before = parse(before).map_err(|error| format!("the metadata is not JSON: {error}"))?;
    if !after.is_object() {
        return Err("its change is not a JSON object".into());
    }
    if let Some(pointer) =
        PROTECTED.into_iter().find(|pointer| before.pointer(pointer) != after.pointer(pointer))
    {
        return Err(format!("it changes {pointer}"));
    }
    let is_altered = |pointer: &str| {
        after.pointer(pointer).is_some_and(|after| before.pointer(pointer) != Some(after))
    };
    if let Some(pointer) = TAGS.into_iter().find(|pointer| is_altered(pointer)) {
        return Err(format!("it changes {pointer}, which may only be removed"));
    }
    if let Some(facet) =
        FACETS.into_iter().find(|facet| before.get(facet).is_some() != after.get(facet).is_some())
    {
        return Err(format!("it adds or removes /{facet}"));
    }
    let text = archive::json::canonical(&after);
    if text.len() > METADATA {
        return Err(format!("its change is {} bytes, and may be {METADATA}", text.len()));
    }
    Ok(text)
}
