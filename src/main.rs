//! `tar365`: Microsoft 365 as a deterministic tar.
fn main() {}
