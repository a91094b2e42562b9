//! Rules of a name that is there already, in every way to restore them; and settings as files.

use serde_json::{Value, json};
use simulator::{Language, Options};

use crate::harness::{Archive, Tenant, files_below, run, tar365, text};
use crate::import::{Saved, assert_nobody_was_mailed, counted, emptied, writable};
use crate::settings_import::{SETTINGS, saved};

fn rule(name: &str, is_on: bool, word: &str) -> Value {
    json!({"displayName": name, "sequence": 5, "isEnabled": is_on, "hasError": false,
        "isReadOnly": false, "conditions": {"subjectContains": [word]},
        "actions": {"markAsRead": true}})
}

fn export(tenant: &Tenant) -> Vec<u8> {
    tenant.export(&SETTINGS).expect(0).stdout
}

/// The rules of some names: name, on or off, the word they look for.
fn rules(archive: &[u8]) -> Vec<(String, bool, String)> {
    let archive = Archive::new(archive);
    let documents = archive.members.iter().filter(|member| member.path.contains("/rules/"));
    let rules = documents.map(|member| serde_json::from_slice::<Value>(&member.content).unwrap());
    let told = rules.map(|rule| {
        let word = rule["conditions"]["subjectContains"][0].as_str().unwrap_or_default();
        (text(&rule, "displayName").to_owned(), rule["isEnabled"] == true, word.to_owned())
    });
    let mut told: Vec<_> =
        told.filter(|(name, ..)| ["Same", "On", "Off"].contains(&name.as_str())).collect();
    told.sort();
    told
}

#[test]
fn a_rule_of_the_same_name_stays_gets_another_beside_it_or_gives_way() {
    let source = writable(Options { users: 1, mails: 1, files: 1, ..Options::default() });
    let office = source.simulator.tenant();
    let user = office.users().remove(0).upn;
    for rule in [rule("Same", true, "theirs"), rule("On", true, "x"), rule("Off", false, "x")] {
        office.add_setting(&user, "messageRule", rule).unwrap();
    }
    let saved = saved(&source);
    for in_place in [true, false] {
        for conflict in ["skip", "copy", "replace"] {
            for enable in [true, false] {
                let case = format!("{conflict} in place: {in_place}, enable: {enable}");
                let target = emptied(&source, Language::German);
                let own = rule("Same", true, "mine");
                target.simulator.tenant().add_setting(&user, "messageRule", own).unwrap();
                let before = export(&target);
                let mut arguments = vec!["--on-conflict", conflict];
                arguments.extend(in_place.then_some("--in-place"));
                arguments.extend(enable.then_some("--enable-rules"));
                let is_skipped = in_place && conflict == "skip";
                let run = saved.import(&target, &case, &arguments);
                let run = run.expect(if is_skipped { 3 } else { 0 });
                let left_out = counted(&run, "left out for others that are there");
                assert_eq!(left_out, u64::from(is_skipped), "{case}: {}", run.stderr);
                let mine = ("Same".to_owned(), true, "mine".to_owned());
                let theirs = ("Same".to_owned(), enable, "theirs".to_owned());
                let mut wanted = vec![
                    ("On".to_owned(), enable, "x".to_owned()),
                    ("Off".to_owned(), false, "x".to_owned()),
                ];
                wanted.extend((!(in_place && conflict == "replace")).then_some(mine));
                wanted.extend((!is_skipped).then_some(theirs));
                wanted.sort();
                assert_eq!(rules(&export(&target)), wanted, "{case}");
                // What is off because of us is told.
                assert_eq!(run.stderr.contains(": disabled"), !enable, "{case}: {}", run.stderr);
                // A second run finds all of it.
                let again = saved.import(&target, &format!("{case} again"), &arguments);
                assert_eq!(counted(&again, "created"), 0, "{case}: {}", again.stderr);
                assert_eq!(rules(&export(&target)), wanted, "{case}");
                saved.undo(&target, &case).expect(0);
                assert!(export(&target) == before, "{case}: the undo left something");
                assert_nobody_was_mailed(&target);
            }
        }
    }
}

#[test]
fn as_files_settings_are_those_of_the_archive() {
    let source = writable(Options { users: 2, mails: 1, files: 1, ..Options::default() });
    let saved: Saved = saved(&source);
    let archive = Archive::new(&saved.bytes);
    let heir = source.simulator.tenant().users().remove(0).upn;
    for to_user in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("target");
        let to = format!("directory:{}", root.display());
        let (path, journal) = (saved.path(), saved.file(&format!("files {to_user}")));
        let user = archive.members.iter().find_map(|member| {
            let other = member.path.strip_suffix("/settings.ndjson")?;
            (!other.ends_with(&heir)).then(|| other.trim_start_matches("users/").to_owned())
        });
        let user = user.unwrap();
        let mut arguments = vec!["import", &path, "--to", &to, "--journal", &journal];
        arguments.extend(["--in-place", "--user", &user]);
        arguments.extend(to_user.then_some(["--to-user", &heir]).into_iter().flatten());
        run(tar365(&arguments)).expect(0);
        let files = files_below(&root);
        let prefix = format!("users/{user}/settings/");
        let items: Vec<_> = archive
            .members
            .iter()
            .filter(|member| member.path.starts_with(&prefix) && !member.is_directory)
            .collect();
        assert!(items.len() > 5, "{}", items.len());
        for item in items {
            let owner = if to_user { &heir } else { &user };
            let path = item.path.replace(&user, owner);
            assert!(files.get(&path) == Some(&item.content), "{path}: {:?}", files.keys());
        }
        run(tar365(&["import", "--undo", &journal])).expect(0);
        assert!(!root.exists() || files_below(&root).is_empty());
    }
}
