//! The component: bindings to the host that wit-bindgen makes of the contract, and the way from
//! there to a [`Filter`].

use std::fmt::{self, Display};
use std::io;
use std::marker::PhantomData;

use serde_json::Value;

use crate::content::Ends;
use crate::{Content, ContentDecision, Filter, Item, MetadataDecision, Phase};
use bindings::tar365::plugin::{current, log as host_log, settings, types};

#[doc(hidden)]
#[allow(unsafe_code, missing_docs, unreachable_pub, reason = "generated")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "filter",
        pub_export_macro: true,
        export_macro_name: "export_component",
        default_bindings_module: "tar365_plugin::guest::bindings",
    });
}
#[doc(hidden)]
pub use bindings::export_component;

/// Bytes that the host takes at a time.
const MOST: usize = 1 << 20;

/// A filter as the contract's exports.
#[derive(Debug)]
pub struct Component<F>(PhantomData<F>);

impl<F: Filter> bindings::Guest for Component<F> {
    fn describe() -> types::Manifest {
        log_panics();
        let manifest = F::MANIFEST;
        types::Manifest {
            name: manifest.name.to_owned(),
            version: manifest.version.to_owned(),
            author: manifest.author.to_owned(),
            description: manifest.description.to_owned(),
            phases: manifest.phases.iter().map(|&phase| phase.into()).collect(),
            services: manifest.services.iter().map(|&service| service.to_owned()).collect(),
        }
    }

    fn configure() -> Result<(), String> {
        log_panics();
        F::configure(&settings::get()).map(drop)
    }

    fn on_metadata() -> Result<types::MetadataDecision, String> {
        log_panics();
        let filter = F::configure(&settings::get())?;
        Ok(filter.on_metadata(&current::get().into())?.into())
    }

    fn on_content() -> Result<types::ContentDecision, String> {
        log_panics();
        let filter = F::configure(&settings::get())?;
        let mut ends = Host;
        let mut content = Content::new(&mut ends);
        let decision = filter.on_content(&current::get().into(), &mut content)?;
        if decision == ContentDecision::Replace {
            io::Write::flush(&mut content).map_err(|error| error.to_string())?;
        }
        Ok(decision.into())
    }
}

/// A panic traps, and the host sees no more of it than that: its message goes to the log first.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| crate::log::error(panic)));
}

pub(crate) fn log(level: crate::log::Level, message: &str) {
    use crate::log::Level;
    let level = match level {
        Level::Debug => types::Level::Debug,
        Level::Info => types::Level::Info,
        Level::Warn => types::Level::Warn,
        Level::Error => types::Level::Error,
    };
    host_log::write(level, message);
}

/// The host's ends of a content.
struct Host;

impl Ends for Host {
    fn read(&mut self, chunk: &mut Vec<u8>, max: usize) -> io::Result<()> {
        *chunk = current::read(u32::try_from(max).unwrap_or(u32::MAX));
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        bytes.chunks(MOST).for_each(current::write);
        Ok(())
    }
}

/// The current item's metadata, at the host.
#[derive(Debug, Clone, PartialEq)]
pub struct Metadata;

impl Metadata {
    pub(crate) fn parse(&self) -> Value {
        json(&current::metadata())
    }

    pub(crate) fn value(&self, pointer: &str) -> Option<Value> {
        current::value(pointer).map(|text| json(&text))
    }
}

impl Display for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&current::metadata())
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("the host gives JSON")
}

impl From<types::Item> for Item {
    fn from(item: types::Item) -> Self {
        Self {
            id: item.id,
            service: item.service,
            kind: item.kind,
            owner: item.owner,
            owner_id: item.owner_id,
            path: item.path,
            media_type: item.media_type,
            size: item.size,
            metadata: Metadata,
        }
    }
}

impl From<Phase> for types::Phase {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Hold => Self::Hold,
            Phase::Metadata => Self::Metadata,
            Phase::Content => Self::Content,
        }
    }
}

impl From<MetadataDecision> for types::MetadataDecision {
    fn from(decision: MetadataDecision) -> Self {
        match decision {
            MetadataDecision::Keep => Self::Keep,
            MetadataDecision::Drop(reason) => Self::Drop(reason),
            MetadataDecision::Change(metadata) => Self::Change(metadata.to_string()),
            MetadataDecision::Hold(reason) => Self::Hold(reason),
        }
    }
}

impl From<ContentDecision> for types::ContentDecision {
    fn from(decision: ContentDecision) -> Self {
        match decision {
            ContentDecision::Keep => Self::Keep,
            ContentDecision::Drop(reason) => Self::Drop(reason),
            ContentDecision::Replace => Self::Replace,
        }
    }
}
