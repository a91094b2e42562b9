//! Under the service's limits: none of them is run into, and who is told to wait waits alone.

use std::process::Stdio;
use std::time::Duration;

use simulator::{Fault, Limits, Options};

use crate::harness::{Archive, Run, Tenant, ends, run, text, verify};

/// The documented limits with a hundredth of the requests in a hundredth of the time, so that a
/// mailbox has as many a second as it really has.
fn options() -> Options {
    let mut limits = Limits::documented(20);
    limits.clock_scale = 100.0;
    limits.requests = 100;
    Options {
        users: 6,
        special_users: false,
        mails: 150,
        files: 8,
        limits: Some(limits),
        ..Options::default()
    }
}

fn export(tenant: &Tenant, arguments: &[&str]) -> Run {
    let mut command = tenant.tar365(&[&["export"], arguments].concat());
    command.env_remove("TAR365_PACE").args([
        "--budget",
        "mailbox=100/6,sharepoint=1250/0.6,sharepoint=1200000/864,directory=3500/0.1",
    ]);
    run(command)
}

#[test]
fn an_export_keeps_the_limits_and_provokes_no_refusal() {
    let whole = Tenant::start(Options { limits: None, ..options() });
    let whole = whole.export(&[]).expect(0).stdout;
    for pace in ["adaptive", "documented"] {
        // With windows that nobody has sent into yet.
        let tenant = Tenant::start(options());
        let archive = export(&tenant, &["--pace", pace]).expect(0).stdout;
        verify(&archive);
        assert!(archive == whole, "limits change no byte");
        let counts = tenant.simulator.log().counts();
        assert!(counts.requests > 6 * 160, "{}", counts.requests);
        assert!(counts.provoked * 1000 <= counts.requests, "{pace}: {} refused", counts.provoked);
        assert_eq!(counts.during_retry_after, 0, "{pace}");
        assert!(tenant.simulator.log().max_concurrent(None) <= 4);
    }
}

/// Told to wait again and again, one mailbox is the last that is done; none of the others has sent
/// less meanwhile.
#[test]
fn one_throttled_mailbox_does_not_slow_the_others() {
    let tenant = Tenant::start(Options { latency: Duration::from_millis(1), ..options() });
    let users = tenant.simulator.tenant().users();
    let one = users[0].id.clone();
    let fault = format!("throttle:rate=0.04,times=1,seconds=2,match={one}/messages");
    tenant.simulator.set_faults(vec![fault.parse::<Fault>().unwrap()]);
    export(&tenant, &["--service", "mail"]).expect(0);
    let records = tenant.simulator.log().records();
    let contents = |id: &str| {
        let of = |r: &&simulator::Record| r.owner.as_deref() == Some(id) && r.status == 200;
        let of = records.iter().filter(of).filter(|r| r.path.ends_with("/$value"));
        of.map(|record| record.at).collect::<Vec<_>>()
    };
    let refused = records.iter().filter(|r| r.status == 429 && r.path.contains(&one)).count();
    assert!(refused >= 3, "{refused}");
    let last = *contents(&one).last().unwrap();
    for user in users.iter().filter(|user| user.id != one) {
        let done = *contents(&user.id).last().unwrap();
        assert!(done < last, "{} waited with the one that was told to", user.upn);
    }
    assert_eq!(tenant.simulator.log().during_retry_after(), 0);
}

/// However it is out, and for longer than our patience: it costs its own section, not the night.
#[test]
fn a_mailbox_that_is_out_costs_itself() {
    let faults = ["throttle:rate=1,seconds=60", "empty-503:rate=1", "server-error:rate=1"];
    let later = ["throttle:rate=1,seconds=60,after=40", "empty-503:rate=1,after=40"];
    for fault in faults.into_iter().chain(later) {
        let tenant = Tenant::start(Options { users: 3, mails: 60, limits: None, ..options() });
        let users = tenant.simulator.tenant().users();
        let one = &users[0];
        let fault = format!("{fault},match=/users/{}/m", one.id);
        tenant.simulator.set_faults(vec![fault.parse::<Fault>().unwrap()]);
        let run = tenant.export(&["--service", "mail", "--patience", "2s"]).expect(3);
        verify(&run.stdout);
        let ledger = Archive::new(&run.stdout).ledger();
        let failed: Vec<_> =
            ledger.iter().filter(|line| text(line, "outcome") == "failed").collect();
        assert!(!failed.is_empty(), "{fault}");
        let is_his = |line: &serde_json::Value| line.to_string().contains(&one.upn);
        assert!(failed.iter().all(|line| is_his(line)), "{fault}: {failed:?}");
        let asked = tenant.simulator.log().records().into_iter();
        let asked = asked.filter(|record| record.path.contains(&one.id)).count();
        assert!(asked < 100, "{fault}: asked {asked} times");
    }
}

/// Of drives, which no limit of the service keeps apart: as many requests as were asked for, spread
/// over those that are there.
#[test]
fn no_more_requests_are_made_at_a_time_than_asked_for() {
    for (users, concurrency, most) in [(4, "8", 8), (4, "3", 3), (1, "6", 6), (1, "200", 16)] {
        let options = Options {
            users,
            special_users: false,
            mails: 0,
            files: 30,
            latency: Duration::from_millis(10),
            ..Options::default()
        };
        let tenant = Tenant::start(options);
        tenant.export(&["--service", "onedrive", "--concurrency", concurrency]).expect(0);
        let at_once = tenant.simulator.log().counts().scopes["sharepoint"].max_concurrent;
        let why = format!("{at_once} for {users} drives, --concurrency {concurrency}");
        assert!(at_once <= most && at_once * 4 >= most * 3, "{why}");
    }
}

/// Contents of other mailboxes fill the spool while contacts, tasks and events of the first one come
/// in, too: none of them keeps a connection that its mails, which all wait for, need.
#[test]
fn a_full_spool_keeps_no_connection_from_the_mailbox_that_is_written() {
    let options = Options {
        users: 10,
        special_users: false,
        mails: 110,
        files: 0,
        contacts: 100,
        tasks: 30,
        events: 24,
        groups: 0,
        latency: Duration::from_millis(1),
        ..Options::default()
    };
    let tenant = Tenant::start(options);
    let flags = ["--service", "mail,contacts,tasks,calendar", "--user", "*"];
    let whole = tenant.export(&flags).expect(0).stdout;
    let before = tenant.simulator.log().counts().requests;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.tar");
    let fixed = ["export", "--progress", "none", "--spool-limit", "100KB", "--output"];
    let mut command = tenant.tar365(&[&fixed[..], &[file.to_str().unwrap()], &flags[..]].concat());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    assert_eq!(ends(&mut child, Duration::from_secs(100)), 0);
    assert!(std::fs::read(&file).unwrap() == whole);
    // What had to give way was asked for again, no more than now and then.
    let took = tenant.simulator.log().counts().requests - before;
    assert!(took * 4 < before * 5, "{took} requests instead of {before}");
}
