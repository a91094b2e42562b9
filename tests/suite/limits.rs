//! Under the service's limits: none of them is run into, and who is told to wait waits alone.

use std::time::Duration;

use simulator::{Fault, Limits, Options};

use crate::harness::{Run, Tenant, run, verify};

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
