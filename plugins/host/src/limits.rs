//! What a plugin may use. All of it counts what the guest does and never time, so that the same
//! item ends the same way on every machine.

use archive::metadata::MAX_LINE;

/// The operator's limits: constants of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all linear memories of one instance together.
    pub memory: u64,
    /// Fuel of one call, about one unit a WebAssembly instruction.
    pub fuel: u64,
    /// Fuel granted for every byte of content that the plugin reads. Together with `fuel` it never
    /// piles up beyond what `memory` full of content grants.
    pub fuel_per_byte: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { memory: 256 * 1024 * 1024, fuel: 2_000_000_000, fuel_per_byte: 2_000 }
    }
}

impl Limits {
    /// The most fuel that an instance can have: it can't know more bytes than its memory holds.
    pub(crate) fn fuel_ceiling(&self) -> u64 {
        self.fuel.saturating_add(self.fuel_per_byte.saturating_mul(self.memory))
    }
}

/// Calls of one host that run at the same time; more wait. Each holds an instance, and the pool is
/// made for this many of the largest.
pub(crate) const CALLS: u32 = 256;
/// Core instances of one component: Python has over 17.
pub(crate) const INSTANCES: u32 = 64;
/// Linear memories of one component: JavaScript has 3.
pub(crate) const MEMORIES: u32 = 8;
/// Tables of one component.
pub(crate) const TABLES: u32 = 16;
/// Elements of all tables of one instance: CPython has tens of thousands of functions.
pub(crate) const TABLE_ELEMENTS: usize = 100_000;
/// Bytes of native stack for the guest's frames.
pub(crate) const STACK: usize = 1024 * 1024;

/// Bytes that the guest hands over in one call or answer: the longest metadata, and a little for
/// what is around it.
pub(crate) const HANDED_OVER: usize = MAX_LINE as usize + 64 * 1024;
/// Longest metadata that a plugin can make of an item, in bytes of canonical JSON: the rest of the
/// line is kind, id and path.
pub(crate) const METADATA: usize = MAX_LINE as usize - 64 * 1024;
/// Bytes of one `current.read`.
pub(crate) const READ: usize = 64 * 1024;
/// Bytes of one `current.write`.
pub(crate) const WRITE: usize = 1024 * 1024;
/// Log messages of one instance.
pub(crate) const MESSAGES: u32 = 64;
/// Bytes of one log message, reason or error of a guest.
pub(crate) const MESSAGE: usize = 4096;

/// Fuel for a call of the host, whatever it does.
pub(crate) const FUEL_PER_CALL: u64 = 100;
/// Fuel for a byte written: a plugin can't fill the spool for the price of a loop.
pub(crate) const FUEL_PER_BYTE_WRITTEN: u64 = 64;
