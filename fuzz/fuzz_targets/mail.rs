#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| importer::fuzzing::mail(data));
