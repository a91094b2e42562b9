//! Black-box tests of the `tar365` binary against the simulator over HTTP, and against the real
//! programs that its archives are for. One binary, one module an area.
#![expect(
    clippy::print_stderr,
    unreachable_pub,
    reason = "tests speak to who runs them, and have no public interface"
)]

mod bad_input;
mod content;
mod determinism;
mod engines;
mod faults;
mod harness;
mod independent;
mod names;
mod readers;
