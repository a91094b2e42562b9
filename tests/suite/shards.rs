//! `export --shard`: the shards of a tenant are together what the whole is, and a process is never
//! given another shard than the one that is meant.

use std::collections::BTreeMap;
use std::process::Command;

use archive::Shard;
use serde_json::Value;
use simulator::Options;

use crate::base::{Shelf, WAYS, Way, contents, night, same};
use crate::harness::{
    Archive, Run, Tenant, examine_all, json_lines, run, run_with, tar365, verify,
};

/// Twenty-odd users of all kinds with next to nothing each.
fn many_users() -> Options {
    Options { users: 20, mails: 3, files: 2, ..Options::default() }
}

fn name(index: u32, of: u32) -> String {
    format!("{index}/{of}")
}

/// What an archive has of the tenant: all members but its own, and the lines of the ledger.
fn holdings(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let archive = Archive::new(archive);
    let ledger = archive.ledger().into_iter().map(|line| (format!("ledger {line}"), Vec::new()));
    let members = archive.members.iter().filter(|member| !member.path.starts_with(".tar365/"));
    members.map(|member| (member.path.clone(), member.content.clone())).chain(ledger).collect()
}

/// The owners of an archive: object id by folder.
fn owners(archive: &[u8]) -> BTreeMap<String, String> {
    let archive = Archive::new(archive);
    let metadata = archive.members.iter().filter(|m| m.path.ends_with("/mail.ndjson"));
    let owner = |member: &crate::harness::Member| {
        let line = json_lines(&member.content).swap_remove(0);
        let folder = member.path.strip_suffix("/mail.ndjson").unwrap().to_owned();
        (folder, line["id"].as_str().unwrap().to_owned())
    };
    metadata.map(owner).collect()
}

fn selection(archive: &[u8]) -> Value {
    let head: Value = serde_json::from_slice(&Archive::new(archive).members[0].content).unwrap();
    head["selection"].clone()
}

fn union(tenant: &Tenant, whole: &BTreeMap<String, Vec<u8>>, of: u32) {
    let indices: Vec<u32> = (0..of).collect();
    let shards = examine_all(&indices, 2, |index| {
        let run = tenant.export(&["--shard", &name(*index, of), "--concurrency", "4"]);
        match run.code {
            0 => Ok((verify(&run.stdout), holdings(&run.stdout)).1),
            code => Err(format!("shard {index} of {of}: {code}, {}", run.stderr)),
        }
    });
    let count: usize = shards.iter().map(BTreeMap::len).sum();
    let together: BTreeMap<_, _> = shards.into_iter().flatten().collect();
    assert_eq!(count, together.len(), "shards of {of} have something in common");
    let missing = whole.keys().find(|name| !together.contains_key(*name));
    assert!(together == *whole, "shards of {of} are not the whole: {missing:?}");
}

#[test]
fn the_shards_are_together_the_whole() {
    let tenant = Tenant::start(many_users());
    let whole = holdings(&tenant.export(&[]).expect(0).stdout);
    assert!(whole.len() > 150, "{}", whole.len());
    for of in [1, 2, 3, 16, 64] {
        union(&tenant, &whole, of);
    }
}

/// All of them; in the ordinary tests the rule itself is tried for each (`archive`).
#[test]
#[ignore = "two thousand exports"]
fn the_shards_are_together_the_whole_for_every_number_of_them() {
    let tenant = Tenant::start(many_users());
    let whole = holdings(&tenant.export(&[]).expect(0).stdout);
    (1..=64).for_each(|of| union(&tenant, &whole, of));
}

#[test]
fn a_shard_is_its_owners_and_says_which_it_is() {
    let tenant = Tenant::start(many_users());
    let whole = run(tenant.whole(&["export"])).expect(0).stdout;
    let shelf = Shelf::new();
    let (report, metrics) = (shelf.path("report.json"), shelf.path("metrics"));
    for index in 0..3 {
        let shard: Shard = name(index, 3).parse().unwrap();
        let text = shard.to_string();
        let reports =
            ["--report", report.to_str().unwrap(), "--metrics", metrics.to_str().unwrap()];
        let arguments = [&["export", "--shard", &text], &reports[..]].concat();
        let run = run(tenant.whole(&arguments)).expect(0);
        let wanted: BTreeMap<_, _> =
            owners(&whole).into_iter().filter(|(_, id)| shard.holds(id)).collect();
        assert!(!wanted.is_empty());
        assert_eq!(owners(&run.stdout), wanted);
        assert_eq!(selection(&run.stdout), serde_json::json!({ "shard": text }));
        assert!(run.stderr.contains(&format!("shard {text}: complete")), "{}", run.stderr);
        let said: Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
        assert_eq!(said["shard"], *text);
        let gauges = std::fs::read_to_string(&metrics).unwrap();
        let label = format!(",shard=\"{text}\"}}");
        assert!(gauges.lines().all(|line| line.starts_with('#') || line.contains(&label)));
    }
    assert_eq!(selection(&whole), serde_json::json!({}));
}

#[test]
fn who_comes_or_goes_moves_nobody_else() {
    let tenant = Tenant::start(many_users());
    let shard = ["--shard", "1/4"];
    let before = owners(&tenant.export(&shard).expect(0).stdout);
    let more = Tenant::start(Options { users: 26, ..many_users() });
    let after = owners(&more.export(&shard).expect(0).stdout);
    let all = |tenant: &Tenant| owners(&tenant.export(&[]).expect(0).stdout);
    let (all_before, all_after) = (all(&tenant), all(&more));
    assert_eq!(all_after.len(), all_before.len() + 6);
    let stayed: Vec<_> = after.iter().filter(|owner| all_before.contains_key(owner.0)).collect();
    assert!(stayed.len() > 2);
    assert_eq!(stayed, before.iter().collect::<Vec<_>>());
}

#[test]
fn a_shard_without_owners_is_an_archive_all_the_same() {
    let tenant = Tenant::start(many_users());
    let upn = user_named(&tenant);
    let one = ["--user", upn.as_str(), "--service", "mail"];
    let mut with_owner = 0;
    for index in 0..4 {
        let shard = name(index, 4);
        let run = tenant.export(&[&one, &["--shard", shard.as_str()][..]].concat()).expect(0);
        verify(&run.stdout);
        if owners(&run.stdout).is_empty() {
            assert!(holdings(&run.stdout).is_empty());
            assert!(run.stderr.contains("no owner belongs to it"), "{}", run.stderr);
            run_with(tar365(&["drill", "-"]), &run.stdout).expect(0);
        } else {
            with_owner += 1;
        }
    }
    assert_eq!(with_owner, 1);
    // Somebody who is in no shard is a mistake in each.
    let run = tenant.export(&["--user", "nobody@*", "--shard", "2/4"]).expect(2);
    assert!(run.stdout.is_empty() && run.stderr.contains("matches no owner"), "{}", run.stderr);
}

#[test]
fn a_refusal_is_one_of_the_tenant_not_of_a_shard() {
    let tenant = Tenant::start(many_users());
    // One of the users is outside the application's scope: alone in a shard, he is skipped.
    let whole = tenant.export(&["--service", "mail"]).expect(0).stdout;
    let refused = Archive::new(&whole).ledger().into_iter().find(|line| line["cause"] == "refused");
    let scope = refused.unwrap()["scope"].as_str().unwrap().to_owned();
    let upn = scope.split('/').nth(1).unwrap().to_owned();
    let user = tenant.simulator.tenant().users().into_iter().find(|u| u.upn == upn).unwrap();
    let others: Vec<String> =
        tenant.simulator.tenant().users().iter().map(|user| user.id.clone()).collect();
    let alone = (2..200).flat_map(|of| (0..of).map(move |index| Shard::new(index, of).unwrap()));
    let alone = alone.filter(|shard| shard.holds(&user.id));
    let mut alone = alone.filter(|s| others.iter().filter(|id| s.holds(id)).count() == 1);
    let shard = alone.next().unwrap().to_string();
    let run = tenant.export(&["--service", "mail", "--shard", &shard]).expect(0);
    let ledger = Archive::new(&run.stdout).ledger();
    assert_eq!((ledger.len(), ledger[0]["cause"].as_str()), (1, Some("refused")));
    drop(tenant.export(&["--service", "mail", "--user", &upn]).expect(77));
    // Refused for everybody, no shard is well: not even one without owners.
    let mut credentials = simulator::Credentials::default();
    credentials.roles.retain(|role| role != "Mail.Read");
    let denied = Tenant::start(Options { credentials, ..many_users() });
    let upn = &user_named(&denied);
    for index in 0..3 {
        let shard = name(index, 3);
        let run = denied.export(&["--user", upn, "--shard", &shard]).expect(77);
        assert!(run.stdout.is_empty() && run.stderr.contains("(1 of 1)"), "{}", run.stderr);
    }
}

fn user_named(tenant: &Tenant) -> String {
    tenant.simulator.tenant().users()[0].upn.clone()
}

/// Of the environment: what a scheduler tells, and nothing else of one.
fn scheduled(tenant: &Tenant, flags: &[&str], environment: &[(&str, &str)]) -> Run {
    let mut command: Command = tenant.tar365(&[&["export", "--service", "mail"], flags].concat());
    for name in ["JOB_COMPLETION_INDEX", "SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MAX"] {
        command.env_remove(name);
    }
    command.envs(environment.iter().copied());
    run(command)
}

const KUBERNETES: &str = "JOB_COMPLETION_INDEX";
const SLURM: &str = "SLURM_ARRAY_TASK_ID";
const SLURM_MAX: &str = "SLURM_ARRAY_TASK_MAX";

type Flags = &'static [&'static str];
type Environment = &'static [(&'static str, &'static str)];

#[test]
fn the_scheduler_says_which_shard_it_is() {
    let tenant = Tenant::start(Options { users: 6, mails: 2, files: 0, ..Options::default() });
    let wanted = scheduled(&tenant, &["--shard", "3/4"], &[]).expect(0).stdout;
    let ways: [(Flags, Environment); 7] = [
        (&["--shards", "4"], &[(KUBERNETES, "3")]),
        (&[], &[("TAR365_SHARDS", "4"), (KUBERNETES, "3")]),
        (&[], &[("TAR365_SHARDS", "4"), (SLURM, "3"), (SLURM_MAX, "3")]),
        // One of the array, done again.
        (&["--shards", "4"], &[(SLURM, "3"), (SLURM_MAX, "3"), ("SLURM_ARRAY_TASK_COUNT", "1")]),
        (&["--shards", "4"], &[(SLURM, "3"), (KUBERNETES, "3")]),
        (&[], &[("TAR365_SHARD", "3/4")]),
        // Who says it himself is not contradicted by where he says it.
        (&["--shard", "3/4"], &[("TAR365_SHARDS", "4"), (KUBERNETES, "1"), (SLURM, "9")]),
    ];
    for (flags, environment) in ways {
        let run = scheduled(&tenant, flags, environment).expect(0);
        same(&run.stdout, &wanted, &format!("{flags:?} {environment:?}"));
    }
    // A scheduler alone asks for no shard: its tasks may be tenants, or users.
    let run = scheduled(&tenant, &[], &[(KUBERNETES, "3"), (SLURM, "3")]).expect(0);
    assert_eq!(selection(&run.stdout)["shard"], Value::Null);
}

#[test]
fn no_other_shard_than_the_one_meant_and_never_all_of_them() {
    let tenant = Tenant::start(Options { users: 1, mails: 1, files: 0, ..Options::default() });
    let mistakes: [(Flags, Environment, &str); 15] = [
        (&["--shards", "4"], &[], "does not say which"),
        (&[], &[("TAR365_SHARDS", "4")], "does not say which"),
        (&["--shards", "4"], &[(KUBERNETES, "")], "does not say which"),
        (&["--shards", "4"], &[(KUBERNETES, "4")], "for shards 0 to 3"),
        (&["--shards", "4"], &[(SLURM, "4"), (SLURM_MAX, "4")], "for shards 0 to 3"),
        // An array 1-4: its first tasks are no better than its last.
        (&["--shards", "4"], &[(SLURM, "1"), (SLURM_MAX, "4")], "for shards 0 to 3"),
        (&["--shards", "4"], &[(KUBERNETES, "-1")], "no number"),
        (&["--shards", "4"], &[(SLURM, "1"), (SLURM_MAX, "x")], "no number"),
        (&["--shards", "4"], &[(KUBERNETES, "1"), (SLURM, "2")], "but"),
        (&["--shard", "1/4", "--shards", "5"], &[], "none of --shards 5"),
        (&["--shard", "1/4"], &[("TAR365_SHARDS", "5")], "none of --shards 5"),
        (&["--shard", "4/4"], &[], "I/N is wanted"),
        (&["--shard", "0/0"], &[], "I/N is wanted"),
        (&["--shard", "1"], &[], "I/N is wanted"),
        (&["--shards", "0"], &[], "--shards"),
    ];
    for (flags, environment, message) in mistakes {
        let run = scheduled(&tenant, flags, environment).expect(2);
        assert!(run.stdout.is_empty(), "{flags:?} {environment:?}");
        assert!(run.stderr.contains(message), "{flags:?} {environment:?}: {}", run.stderr);
    }
}

#[test]
fn a_base_has_something_of_the_shard() {
    let tenant = Tenant::start(many_users());
    let shard = |name: &str| tenant.export(&["--shard", name]).expect(0).stdout;
    let (whole, wanted) = (tenant.export(&[]).expect(0).stdout, shard("1/4"));
    for way in WAYS {
        // All of it is in the whole, in itself, and in the shard that it was a part of.
        for base in [&whole, &wanted, &shard("1/2")] {
            let night = night(&tenant, base, way, &["--shard", "1/4"]);
            same(&night.run.expect(0).stdout, &wanted, "of a base");
            assert_eq!(contents(&night.asked), [""; 0], "{way:?}");
        }
        // Of a new shard each of the others has a part.
        let night_of_new = night(&tenant, &shard("0/2"), way, &["--shard", "3/4"]);
        let new = shard("3/4");
        assert!(night_of_new.number("from_base") > 0);
        assert!(night_of_new.number("from_base") < night_of_new.number("items"));
        same(&night_of_new.run.expect(0).stdout, &new, "new shard");
        // A full export in disguise.
        for base in ["0/4", "2/4", "0/3"] {
            let night = night(&tenant, &shard(base), way, &["--shard", "1/4"]);
            let run = night.run.expect(2);
            assert!(run.stdout.is_empty());
            let message = format!("it is shard {base}, which has no owner of shard 1/4");
            assert!(run.stderr.contains(&message), "{}", run.stderr);
        }
    }
}

#[test]
fn a_state_is_of_its_shard() {
    let tenant = Tenant::start(Options { page_cap: Some(2), ..many_users() });
    let shelf = Shelf::new();
    let state = shelf.path("state");
    let flags = |shard: &'static str| ["--shard", shard, "--state", state.to_str().unwrap()];
    let base = tenant.export(&flags("1/4")).expect(0).stdout;
    let known = std::fs::read(&state).unwrap();
    let whole = tenant.export(&["--shard", "1/4"]).expect(0).stdout;
    let cheap = night(&tenant, &base, Way::File, &flags("1/4"));
    let dear = night(&tenant, &base, Way::File, &["--shard", "1/4"]);
    assert!(cheap.asked.len() < dear.asked.len(), "{}", cheap.asked.len());
    same(&cheap.run.expect(0).stdout, &whole, "its own state");
    std::fs::write(&state, known).unwrap();
    // With another number of shards everything is listed, and nothing is wrong.
    let five = tenant.export(&["--shard", "1/5"]).expect(0).stdout;
    let dear = night(&tenant, &base, Way::File, &flags("1/5"));
    same(&dear.run.expect(0).stdout, &five, "another's state");
}

#[test]
fn a_shard_is_compared_with_its_part_of_the_tenant() {
    let tenant = Tenant::start(many_users());
    let shelf = Shelf::new();
    let archive = shelf.put("shard.tar", &tenant.export(&["--shard", "1/4"]).expect(0).stdout);
    let same = run(tenant.tar365(&["diff", "--tenant", &archive])).expect(0);
    assert!(same.stdout.is_empty());
    let office = tenant.simulator.tenant();
    let shard: Shard = "1/4".parse().unwrap();
    for user in office.users().iter().filter(|user| user.drive.is_some()) {
        let name = if shard.holds(&user.id) { "ours.txt" } else { "others.txt" };
        office.put_file(user.drive.as_ref().unwrap(), name, b"new").unwrap();
    }
    let changed = run(tenant.tar365(&["diff", "--tenant", &archive])).expect(3);
    let changed = String::from_utf8(changed.stdout).unwrap();
    assert!(changed.contains("ours.txt") && !changed.contains("others.txt"), "{changed}");
}
