//! What is said of lists: one refusal proves nothing, and what stays refused is a failed listing,
//! never one of what "vanished".

use simulator::{Fault, Options};

use crate::conformance::small;
use crate::harness::{Archive, Tenant, text};

/// Service and owners, and what its lists have in their paths, but not the request that tells
/// whether an owner has the service at all.
const LISTS: [(&[&str], &str); 8] = [
    (&["--service", "mail"], "/messages/delta"),
    (&["--service", "mail"], "/childFolders"),
    (&["--service", "calendar", "--user", "*"], "/events?"),
    (&["--service", "calendar", "--group", "*"], "calendarView?startDateTime=1994"),
    (&["--service", "contacts"], "/contacts?$top=250"),
    (&["--service", "contacts"], "/contacts/delta"),
    (&["--service", "tasks"], "/tasks/delta"),
    (&["--service", "conversations", "--group", "*"], "/threads"),
];

#[test]
fn what_stays_missing_is_a_failed_listing() {
    for (arguments, list) in LISTS {
        let fault = format!("missing:rate=1,match={list}");
        let faults = vec![fault.parse::<Fault>().unwrap()];
        let tenant = Tenant::start(Options { faults, ..small() });
        let run = tenant.export(arguments).expect(3);
        let ledger = Archive::new(&run.stdout).ledger();
        let is = |cause: &str| ledger.iter().any(|line| text(line, "cause") == cause);
        assert!(is("listing"), "{list}: {ledger:#?}");
        assert!(!is("vanished"), "{list}: {ledger:#?}");
    }
}
