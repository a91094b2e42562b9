//! Contract 1.0, `wit/v1`.

use wasmtime::{Engine, Result, Store, component::InstancePre};

use super::{Contract, Guest, Instance};
use crate::{
    ContentDecision, Manifest, MetadataDecision, Phase,
    imports::{self, Caller, Imports},
    state::State,
};

mod bindings {
    //! What wasmtime makes of the WIT.
    wasmtime::component::bindgen!({ path: "../../wit/v1", world: "filter" });
}

use bindings::tar365::plugin::types;

const VERSION: &str = "1.0.0";

pub(super) fn contract(engine: &Engine) -> Result<Contract> {
    let mut all = Imports::new(engine, VERSION);
    all.interface("current")?
        .define("get", get)?
        .define("metadata", imports::metadata)?
        .define("value", imports::value)?
        .define("read", imports::read)?
        .define("write", imports::write)?;
    all.interface("settings")?.define("get", imports::settings)?;
    all.interface("log")?.define("write", log)?;
    Ok(Contract { major: 1, minor: 0, version: VERSION, imports: all, bind })
}

fn bind(linked: InstancePre<State>) -> Result<Box<dyn Guest>> {
    Ok(Box::new(bindings::FilterPre::new(linked)?))
}

fn get(mut caller: Caller, (): ()) -> Result<(types::Item,)> {
    imports::charge(&mut caller, 0)?;
    let item = caller.data().item()?.clone();
    Ok((types::Item {
        id: item.id,
        service: item.service,
        kind: item.kind,
        owner: item.owner,
        owner_id: item.owner_id,
        path: item.path,
        media_type: item.media_type,
        size: item.size,
    },))
}

fn log(mut caller: Caller, (level, message): (types::Level, String)) -> Result<()> {
    let level = match level {
        types::Level::Debug => tracing::Level::DEBUG,
        types::Level::Info => tracing::Level::INFO,
        types::Level::Warn => tracing::Level::WARN,
        types::Level::Error => tracing::Level::ERROR,
    };
    imports::log(&mut caller, level, &message)
}

impl Guest for bindings::FilterPre<State> {
    fn instantiate(&self, store: &mut Store<State>) -> Result<Box<dyn Instance>> {
        Ok(Box::new(self.instantiate(store)?))
    }
}

impl Instance for bindings::Filter {
    fn describe(&self, store: &mut Store<State>) -> Result<Manifest> {
        let manifest = self.call_describe(store)?;
        Ok(Manifest {
            name: manifest.name,
            version: manifest.version,
            author: manifest.author,
            description: manifest.description,
            phases: manifest.phases.into_iter().map(Phase::from).collect(),
            services: manifest.services,
            contract: VERSION,
        })
    }

    fn configure(&self, store: &mut Store<State>) -> Result<Result<(), String>> {
        self.call_configure(store)
    }

    fn on_metadata(&self, store: &mut Store<State>) -> Result<Result<MetadataDecision, String>> {
        Ok(self.call_on_metadata(store)?.map(MetadataDecision::from))
    }

    fn on_content(&self, store: &mut Store<State>) -> Result<Result<ContentDecision, String>> {
        Ok(self.call_on_content(store)?.map(ContentDecision::from))
    }
}

impl From<types::Phase> for Phase {
    fn from(phase: types::Phase) -> Self {
        match phase {
            types::Phase::Hold => Phase::Hold,
            types::Phase::Metadata => Phase::Metadata,
            types::Phase::Content => Phase::Content,
        }
    }
}

impl From<types::MetadataDecision> for MetadataDecision {
    fn from(decision: types::MetadataDecision) -> Self {
        match decision {
            types::MetadataDecision::Keep => MetadataDecision::Keep,
            types::MetadataDecision::Drop(reason) => MetadataDecision::Drop(reason),
            types::MetadataDecision::Change(metadata) => MetadataDecision::Change(metadata),
            types::MetadataDecision::Hold(reason) => MetadataDecision::Hold(reason),
        }
    }
}

impl From<types::ContentDecision> for ContentDecision {
    fn from(decision: types::ContentDecision) -> Self {
        match decision {
            types::ContentDecision::Keep => ContentDecision::Keep,
            types::ContentDecision::Drop(reason) => ContentDecision::Drop(reason),
            types::ContentDecision::Replace => ContentDecision::Replace,
        }
    }
}
