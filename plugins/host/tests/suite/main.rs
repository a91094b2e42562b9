//! The host against guests written by hand: no toolchain for WebAssembly is needed.

mod cache;
mod chain;
mod content;
mod guest;
mod hostile;
mod load;
mod log;
mod versions;
