//! The format as a whole: one test binary, so that everything is linked once.

mod damage;
mod extract;
mod golden;
mod hostile;
mod json;
mod path;
mod readers;
mod round_trip;
mod sample;
mod select;
mod shard;
mod verify;
