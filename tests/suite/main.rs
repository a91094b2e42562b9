//! Black-box tests of the `tar365` binary against the simulator over HTTP, and against the real
//! programs that its archives are for. One binary, one module an area.
#![expect(
    clippy::print_stderr,
    unreachable_pub,
    reason = "tests speak to who runs them, and have no public interface"
)]

mod bad_input;
mod base;
mod base_bad;
mod base_examples;
mod base_resume;
mod base_state;
mod calendar;
mod calendar_import;
mod conformance;
mod contacts;
mod contacts_plain;
mod content;
mod dav;
mod dav_fake;
mod dav_hostile;
mod dav_readers;
mod dav_server;
mod determinism;
mod directory;
mod dovecot;
mod drill;
mod each;
mod engines;
mod export_kill;
mod faults;
mod groups;
mod groups_calendar;
#[path = "../../plugins/host/tests/suite/guest.rs"]
#[allow(dead_code, reason = "what only the host's own tests use")]
mod guest;
mod harness;
mod imap;
mod import;
mod import_choice;
mod import_damage;
mod import_faults;
mod import_hostile;
mod import_kill;
mod import_kill_services;
mod import_large;
mod import_large_parts;
mod import_places;
mod import_safety;
mod import_to_user;
mod import_undo;
mod independent;
mod limits;
mod look;
mod look_diff;
mod names;
mod plan;
mod plugin_archives;
mod plugin_author;
mod plugin_bundled;
mod plugins;
mod programs;
mod readers;
mod schedulers;
mod settings;
mod settings_import;
mod settings_rules;
mod shards;
mod soak;
mod tasks;
mod tasks_import;
mod vcard;
mod web;
