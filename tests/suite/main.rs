//! Black-box tests of the `tar365` binary against the simulator over HTTP, and against the real
//! programs that its archives are for. One binary, one module an area.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a failed unwrap is a failed test")]

mod bad_input;
mod content;
mod determinism;
mod engines;
mod faults;
mod harness;
mod independent;
mod names;
mod readers;
