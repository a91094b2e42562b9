//! The tar365 archive format: names, headers, writer, reader, manifest, ledger, seal, verification. No network, no async.
