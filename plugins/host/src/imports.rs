//! The functions that a plugin imports. What they are called in which version of the contract is
//! said in [`crate::contract`]; what they do is here, once.
//!
//! All of them cost fuel: a call, and every byte that passes. A guest that loops over the dearest
//! of them ends after a bounded number of bytes.

use std::{
    collections::BTreeSet,
    io::{ErrorKind, Read as _, Write as _},
    sync::Arc,
};

use wasmtime::{
    Result, StoreContextMut, Trap,
    component::{ComponentNamedList, Lift, Linker, LinkerInstance, Lower},
};

use crate::{
    ContentError,
    failure::Violation,
    fields::{self, Fields},
    limits::{FUEL_PER_BYTE_WRITTEN, FUEL_PER_CALL, MESSAGE, READ, WRITE},
    state::{Content, State},
    text::shown,
};

/// The guest's instance as a host function sees it.
pub(crate) type Caller<'a> = StoreContextMut<'a, State>;

/// A linker that knows by name what is in it.
pub(crate) struct Imports {
    linker: Linker<State>,
    /// The contract's version, as in the names of its interfaces.
    version: &'static str,
    /// Interface without its version, and function.
    names: BTreeSet<(&'static str, &'static str)>,
}

impl Imports {
    pub(crate) fn new(engine: &wasmtime::Engine, version: &'static str) -> Self {
        Imports { linker: Linker::new(engine), version, names: BTreeSet::new() }
    }

    /// Adds an interface by its name in the package.
    pub(crate) fn interface(&mut self, name: &'static str) -> Result<Interface<'_>> {
        let instance = self.linker.instance(&format!("tar365:plugin/{name}@{}", self.version))?;
        Ok(Interface { instance, name, names: &mut self.names })
    }

    pub(crate) fn linker(&self) -> &Linker<State> {
        &self.linker
    }

    pub(crate) fn has_function(&self, interface: &str, function: &str) -> bool {
        self.names.contains(&(interface, function))
    }
}

/// One interface of a linker.
pub(crate) struct Interface<'a> {
    instance: LinkerInstance<'a, State>,
    name: &'static str,
    names: &'a mut BTreeSet<(&'static str, &'static str)>,
}

impl Interface<'_> {
    /// Adds a function; its types are those of `function`.
    pub(crate) fn define<F, P, R>(&mut self, name: &'static str, function: F) -> Result<&mut Self>
    where
        F: Fn(Caller, P) -> Result<R> + Send + Sync + 'static,
        P: ComponentNamedList + Lift + 'static,
        R: ComponentNamedList + Lower + 'static,
    {
        self.instance.func_wrap(name, function)?;
        self.names.insert((self.name, name));
        Ok(self)
    }
}

/// Takes the fuel of a call in which `bytes` pass.
pub(crate) fn charge(caller: &mut Caller, bytes: usize) -> Result<()> {
    spend(caller, FUEL_PER_CALL.saturating_add(bytes as u64))
}

fn spend(caller: &mut Caller, fuel: u64) -> Result<()> {
    match caller.get_fuel()?.checked_sub(fuel) {
        Some(left) => caller.set_fuel(left),
        None => {
            caller.set_fuel(0)?;
            Err(Trap::OutOfFuel.into())
        }
    }
}

/// `current.metadata`.
pub(crate) fn metadata(mut caller: Caller, (): ()) -> Result<(Arc<str>,)> {
    let metadata = Arc::clone(&caller.data().item()?.metadata);
    charge(&mut caller, metadata.len())?;
    Ok((metadata,))
}

/// `current.value`.
pub(crate) fn value(mut caller: Caller, (pointer,): (String,)) -> Result<(Option<String>,)> {
    charge(&mut caller, pointer.len())?;
    let wrong = |error: serde_json::Error| {
        Violation::Misuse(format!("the item's metadata is not a JSON object: {error}"))
    };
    if caller.data().fields.get().is_none() {
        let text = Arc::clone(&caller.data().item()?.metadata);
        spend(&mut caller, text.len() as u64)?;
        let fields = Fields::new(&text).map_err(wrong)?;
        caller.data_mut().fields.get_or_init(|| fields);
    }
    let found = if pointer.is_empty() {
        Some(caller.data().item()?.metadata.to_string())
    } else {
        match caller.data().fields.get().and_then(|fields| fields.find(&pointer)) {
            Some((text, rest)) => {
                let (read, found) = (text.len() as u64, fields::value(text, rest).map_err(wrong)?);
                spend(&mut caller, read)?;
                found
            }
            None => None,
        }
    };
    spend(&mut caller, found.as_ref().map_or(0, String::len) as u64)?;
    Ok((found,))
}

/// `current.read`. As many bytes as wanted unless the content ends: a guest must not see in which
/// pieces the network delivers.
pub(crate) fn read(mut caller: Caller, (max,): (u32,)) -> Result<(Vec<u8>,)> {
    charge(&mut caller, 0)?;
    let mut bytes = vec![0; READ.min(max as usize)];
    let mut filled = 0;
    let Content { input, .. } = caller.data_mut().content()?;
    while filled < bytes.len() {
        match input.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(&mut caller, ContentError::Input(error))),
        }
    }
    bytes.truncate(filled);
    grant(&mut caller, filled as u64)?;
    Ok((bytes,))
}

/// Fuel for content that was read.
fn grant(caller: &mut Caller, bytes: u64) -> Result<()> {
    let limits = &caller.data().limits;
    let granted = limits.fuel_per_byte.saturating_mul(bytes);
    let ceiling = limits.fuel_ceiling();
    let fuel = caller.get_fuel()?.saturating_add(granted).min(ceiling);
    caller.set_fuel(fuel)
}

/// `current.write`.
pub(crate) fn write(mut caller: Caller, (bytes,): (Vec<u8>,)) -> Result<()> {
    charge(&mut caller, 0)?;
    if bytes.len() > WRITE {
        let message = format!("it writes {} bytes at once, and may {WRITE}", bytes.len());
        return Err(Violation::Misuse(message).into());
    }
    spend(&mut caller, FUEL_PER_BYTE_WRITTEN.saturating_mul(bytes.len() as u64))?;
    let Content { output, .. } = caller.data_mut().content()?;
    output.write_all(&bytes).map_err(|error| failed(&mut caller, ContentError::Output(error)))
}

/// Notes what happened to the host, and ends the guest.
fn failed(caller: &mut Caller, error: ContentError) -> wasmtime::Error {
    caller.data_mut().io_error = Some(error);
    Violation::Io.into()
}

/// `settings.get`.
pub(crate) fn settings(mut caller: Caller, (): ()) -> Result<(Arc<str>,)> {
    let settings = Arc::clone(&caller.data().settings);
    charge(&mut caller, settings.len())?;
    Ok((settings,))
}

/// `log.write`, with the contract's level made one of ours.
pub(crate) fn log(caller: &mut Caller, level: tracing::Level, message: &str) -> Result<()> {
    charge(caller, message.len())?;
    let state = caller.data_mut();
    let Some(left) = state.messages.checked_sub(1) else {
        return Ok(());
    };
    state.messages = left;
    let message = shown(message, MESSAGE);
    let plugin = &*state.plugin;
    let (id, path) =
        state.item.as_ref().map_or(("", ""), |item| (item.id.as_str(), item.path.as_str()));
    // The macro wants a constant level.
    macro_rules! say {
        ($level:ident) => {
            tracing::$level!(target: "plugin", plugin, id, path, "{message}")
        };
    }
    match level {
        tracing::Level::ERROR => say!(error),
        tracing::Level::WARN => say!(warn),
        tracing::Level::INFO => say!(info),
        _ => say!(debug),
    }
    Ok(())
}
