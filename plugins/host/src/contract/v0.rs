//! Contract 0.1, `wit/v0`: metadata alone, keep or drop.

use wasmtime::{Engine, Result, Store, component::InstancePre};

use super::{Contract, Guest, Instance};
use crate::{
    ContentDecision, Manifest, MetadataDecision, Phase,
    imports::{self, Caller, Imports},
    state::State,
};

mod bindings {
    //! What wasmtime makes of the WIT.
    wasmtime::component::bindgen!({ path: "../../wit/v0", world: "filter" });
}

use bindings::tar365::plugin::current;

const VERSION: &str = "0.1.0";

pub(super) fn contract(engine: &Engine) -> Result<Contract> {
    let mut all = Imports::new(engine, VERSION);
    all.interface("current")?.define("get", get)?.define("metadata", imports::metadata)?;
    all.interface("settings")?.define("get", imports::settings)?;
    Ok(Contract { major: 0, minor: 1, version: VERSION, imports: all, bind })
}

fn bind(linked: InstancePre<State>) -> Result<Box<dyn Guest>> {
    Ok(Box::new(bindings::FilterPre::new(linked)?))
}

fn get(mut caller: Caller, (): ()) -> Result<(current::Item,)> {
    imports::charge(&mut caller, 0)?;
    let item = caller.data().item()?.clone();
    Ok((current::Item {
        id: item.id,
        service: item.service,
        kind: item.kind,
        owner: item.owner,
        path: item.path,
    },))
}

impl Guest for bindings::FilterPre<State> {
    fn instantiate(&self, store: &mut Store<State>) -> Result<Box<dyn Instance>> {
        Ok(Box::new(self.instantiate(store)?))
    }
}

impl Instance for bindings::Filter {
    fn describe(&self, store: &mut Store<State>) -> Result<Manifest> {
        let (name, version) = self.call_describe(store)?;
        Ok(Manifest {
            name,
            version,
            author: String::new(),
            description: String::new(),
            phases: vec![Phase::Metadata],
            services: Vec::new(),
            contract: VERSION,
        })
    }

    /// There is no such function; wrong settings fail every item.
    fn configure(&self, _: &mut Store<State>) -> Result<Result<(), String>> {
        Ok(Ok(()))
    }

    fn on_metadata(&self, store: &mut Store<State>) -> Result<Result<MetadataDecision, String>> {
        Ok(self.call_keep(store)?.map(|keep| {
            if keep { MetadataDecision::Keep } else { MetadataDecision::Drop("not kept".into()) }
        }))
    }

    /// There is no such function, and its manifest does not ask for it.
    fn on_content(&self, _: &mut Store<State>) -> Result<Result<ContentDecision, String>> {
        Ok(Ok(ContentDecision::Keep))
    }
}
