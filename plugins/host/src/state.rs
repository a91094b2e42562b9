//! What the host knows during one call of a guest.

use std::{
    any::Any,
    cell::OnceCell,
    io::{Read, Write},
    sync::Arc,
};

use wasmtime::{ResourceLimiter, Result};

use crate::{
    ContentError, Item, Limits,
    failure::Violation,
    fields::Fields,
    limits::{INSTANCES, MEMORIES, MESSAGES, TABLE_ELEMENTS, TABLES},
};

/// The data of one instance, which lives for one call.
pub(crate) struct State {
    /// The plugin's name, for its log.
    pub(crate) plugin: Arc<str>,
    /// None while it is loaded.
    pub(crate) item: Option<Item>,
    /// The item's metadata, parsed when a value is first asked for.
    pub(crate) fields: OnceCell<Fields>,
    pub(crate) settings: Arc<str>,
    /// There in the content phase alone.
    pub(crate) content: Option<Content>,
    /// Why reading or writing failed, if that ended the call.
    pub(crate) io_error: Option<ContentError>,
    /// Log messages that it may still write.
    pub(crate) messages: u32,
    pub(crate) limits: Limits,
    pub(crate) usage: Usage,
}

impl State {
    pub(crate) fn new(plugin: &Arc<str>, settings: &Arc<str>, limits: &Limits) -> Self {
        State {
            plugin: Arc::clone(plugin),
            item: None,
            fields: OnceCell::new(),
            settings: Arc::clone(settings),
            content: None,
            io_error: None,
            messages: MESSAGES,
            limits: limits.clone(),
            usage: Usage { memory_limit: limits.memory, memory: 0, table_elements: 0 },
        }
    }

    pub(crate) fn item(&self) -> Result<&Item, Violation> {
        let missing = || Violation::Misuse("it asks for the item, and there is none yet".into());
        self.item.as_ref().ok_or_else(missing)
    }

    pub(crate) fn content(&mut self) -> Result<&mut Content, Violation> {
        let missing = || Violation::Misuse("it reads or writes content outside on-content".into());
        self.content.as_mut().ok_or_else(missing)
    }
}

/// The two ends of the content phase.
pub(crate) struct Content {
    pub(crate) input: Box<dyn Read + Send>,
    pub(crate) output: Box<dyn Output>,
}

/// A writer that can be given back to who lent it.
pub(crate) trait Output: Write + Send {
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

impl<O: Write + Send + 'static> Output for O {
    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// What the instance has taken so far. Growth beyond the limits is a trap: a guest that could go
/// on without would only fail later and less clearly.
pub(crate) struct Usage {
    memory_limit: u64,
    /// Bytes of all its memories.
    memory: u64,
    /// Elements of all its tables.
    table_elements: usize,
}

impl ResourceLimiter for Usage {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        let total = self.memory - current as u64 + desired as u64;
        if total > self.memory_limit {
            let message =
                format!("it wants {total} bytes of memory, and its limit is {}", self.memory_limit);
            return Err(Violation::Memory(message).into());
        }
        // What the guest itself set as its maximum is its own affair: growing says -1.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.memory = total;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> Result<()> {
        // The machine has none left, which must not become an answer.
        Err(Violation::Memory(format!("its memory can't grow: {error:#}")).into())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        let total = self.table_elements - current + desired;
        if total > TABLE_ELEMENTS {
            let message =
                format!("it wants {total} table elements, and the limit is {TABLE_ELEMENTS}");
            return Err(Violation::Memory(message).into());
        }
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.table_elements = total;
        Ok(true)
    }

    fn instances(&self) -> usize {
        INSTANCES as usize
    }

    fn tables(&self) -> usize {
        TABLES as usize
    }

    fn memories(&self) -> usize {
        MEMORIES as usize
    }
}
