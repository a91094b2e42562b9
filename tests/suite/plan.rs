//! `plan`: what it says an export will ask for is what the export then asks for.

use serde_json::{Value, json};
use simulator::{Credentials, Language, NewUser, Options, Profile, PublicUrls, TaskParts};
use tempfile::TempDir;

use crate::harness::{Archive, Run, Tenant, run, runtime, text};

/// `plan --json` with these arguments.
#[track_caller]
fn plan(tenant: &Tenant, arguments: &[&str]) -> Value {
    let run = asked(tenant, &[&["--json"], arguments].concat()).expect(0);
    assert_eq!(run.stderr, "");
    serde_json::from_slice(&run.stdout).unwrap()
}

fn asked(tenant: &Tenant, arguments: &[&str]) -> Run {
    run(tenant.tar365(&[&["plan"], arguments].concat()))
}

/// The report of an export with these arguments.
#[track_caller]
fn report(tenant: &Tenant, arguments: &[&str]) -> Value {
    let dir = TempDir::new().unwrap();
    let (report, archive) = (dir.path().join("report"), dir.path().join("archive"));
    let sink = ["--report", report.to_str().unwrap(), "--output", archive.to_str().unwrap()];
    let sink = [&sink[..], &["--allow-empty"]].concat();
    tenant.export(&[&sink, arguments].concat()).expect(0);
    serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap()
}

fn number(value: &Value, pointer: &str) -> u64 {
    let found = value.pointer(pointer).and_then(Value::as_u64);
    found.unwrap_or_else(|| panic!("{pointer} of {value:#}"))
}

/// Requests by scope, estimated and sent: at most a twentieth apart.
#[track_caller]
fn agree(plan: &Value, report: &Value) {
    let pairs = [
        ("/plan/total/mailbox", "mailbox"),
        ("/plan/total/sharepoint", "sharepoint"),
        ("/plan/total/downloads", "download"),
        ("/plan/total/directory", "directory"),
    ];
    for (estimated, sent) in pairs {
        // The lists of users and groups are on nobody's account.
        let listed = if sent == "directory" { number(plan, "/plan/directory") } else { 0 };
        let estimated = number(plan, estimated) + listed;
        let sent = report["requests"][sent].as_u64();
        let sent = sent.unwrap_or_default();
        assert!(
            estimated.abs_diff(sent) * 20 <= sent,
            "{estimated} requests estimated, {sent} sent:\n{:#}\n{:#}",
            plan["plan"],
            report["requests"]
        );
    }
    let items = number(report, "/summary/items");
    let estimated = number(plan, "/plan/total/items");
    assert!(estimated.abs_diff(items) * 20 <= items, "{estimated} items estimated, {items} there");
}

fn tenant(mails: u64, files: u64) -> Tenant {
    Tenant::start(Options { mails, files, limits: None, ..Options::default() })
}

#[test]
fn an_export_asks_for_what_was_estimated() {
    let small = tenant(60, 40);
    for arguments in [
        &[][..],
        &["--include-recoverable"],
        &["--service", "mail"],
        &["--service", "onedrive"],
        &["--shard", "1/3"],
        &["--exclude", "users/*/onedrive"],
    ] {
        agree(&plan(&small, arguments), &report(&small, arguments));
    }
    // Pages of 1,000 messages and 999 files.
    let large = tenant(4500, 2100);
    agree(&plan(&large, &[]), &report(&large, &[]));
    agree(&plan(&large, &["--exact"]), &report(&large, &[]));
}

/// Services whose requests follow from what an estimate finds by listing next to nothing of each.
const OTHERS: [&str; 5] = ["calendar", "contacts", "tasks", "settings", "conversations"];

#[test]
fn so_it_does_of_all_that_the_service_does_not_count() {
    let tenant = Tenant::start(others(Options { contacts: 270, ..Options::default() }));
    for service in OTHERS {
        let arguments = counted(service);
        let report = report(&tenant, &arguments);
        assert!(number(&report, "/summary/items") > 20, "next to nothing of {service}");
        for more in [&[][..], &["--exact"]] {
            let plan = plan(&tenant, &[&arguments[..], more].concat());
            agree(&plan, &report);
            let of = &plan["plan"]["services"][service];
            assert_eq!((text(of, "items"), number(of, "/uncounted")), ("counted", 0), "{service}");
        }
    }
}

/// What a plan of a service is told: calendars of groups are not counted.
fn counted(service: &str) -> Vec<&str> {
    let users = if service == "calendar" { &["--user", "*"][..] } else { &[] };
    [&["--service", service], users].concat()
}

/// A tenant with next to no mails and files.
fn others(options: Options) -> Options {
    let credentials = Credentials::restoring();
    let profile = Profile::Nasty;
    Options { users: 2, mails: 3, files: 2, profile, credentials, limits: None, ..options }
}

/// What lists do not tell is asked for apart, where there is no delta lists are read twice, and
/// conversations of many posts are estimated from some.
#[test]
fn what_a_service_does_not_give_costs_more() {
    let asked = |options: Options, arguments: &[&str]| {
        let tenant = Tenant::start(others(options));
        let there = plan(&tenant, arguments);
        let report = report(&tenant, arguments);
        agree(&there, &report);
        // What is refused is asked for once a mailbox, whatever is asked for at the same time.
        let mailbox = number(&there, "/plan/total/mailbox");
        assert_eq!(mailbox, number(&report, "/requests/mailbox"));
        mailbox
    };
    let calendar = counted("calendar");
    let usual = asked(Options::default(), &calendar);
    let more = asked(Options { tells_occurrences: false, ..Options::default() }, &calendar);
    assert!(more > usual, "{more} requests, {usual} where the service tells of exceptions");
    let tasks = ["--service", "tasks"];
    let [given, refused, ignored] = [TaskParts::Given, TaskParts::Refused, TaskParts::Ignored]
        .map(|task_parts| asked(Options { task_parts, tasks: 60, ..Options::default() }, &tasks));
    assert!(refused > given && ignored > given, "{given}, {refused}, {ignored}");
    let graph = "https://microsoftgraph.chinacloudapi.cn".into();
    let public = PublicUrls { graph, login: String::new(), download: String::new() };
    let china = Options { public: Some(public), ..Options::default() };
    asked(china, &["--cloud", "china", "--service", "contacts"]);
}

/// What the files of these services hold is told by some of them.
#[test]
fn bytes_are_those_of_a_sample() {
    let tenant = Tenant::start(others(Options { events: 60, tasks: 60, ..Options::default() }));
    for service in ["calendar", "tasks"] {
        let arguments = counted(service);
        let archive = Archive::new(&tenant.export(&arguments).expect(0).stdout);
        let files = archive.members.iter().filter(|member| member.path.ends_with(".ics"));
        let bytes: u64 = files.map(|file| file.content.len() as u64).sum();
        let plan = plan(&tenant, &arguments);
        let estimated = number(&plan, "/plan/total/bytes");
        assert!(estimated.abs_diff(bytes) * 5 <= bytes, "{service}: {estimated}, {bytes} there");
        let of = &plan["plan"]["services"][service];
        assert_eq!(text(of, "bytes"), "sampled", "{service}");
    }
    // No property tells how large a photo is.
    let table = asked(&tenant, &["--service", "contacts,settings"]).expect(0).stdout;
    let table = String::from_utf8(table).unwrap();
    for service in ["contacts", "settings"] {
        assert!(table.contains(&format!("{service}: bytes are assumed")), "{table}");
    }
}

/// 21Vianet has no message delta: folders are walked, listed and counted.
#[test]
fn where_there_is_no_delta_more_is_asked_for() {
    let graph = "https://microsoftgraph.chinacloudapi.cn".into();
    let public = PublicUrls { graph, login: String::new(), download: String::new() };
    let options = Options { public: Some(public), mails: 60, limits: None, ..Options::default() };
    let tenant = Tenant::start(options);
    let arguments = ["--cloud", "china", "--service", "mail"];
    let there = plan(&tenant, &arguments);
    agree(&there, &report(&tenant, &arguments));
}

#[test]
fn units_are_those_of_the_requests() {
    let tenant = tenant(5, 40);
    let plan = plan(&tenant, &["--service", "onedrive"]);
    let total = |key: &str| number(&plan, &format!("/plan/total/{key}"));
    let with = number(&plan, "/plan/services/onedrive/with");
    // The first page of a listing costs two, all else one.
    assert_eq!(total("units"), total("sharepoint") + with);
    assert_eq!(total("downloads"), total("items"));
}

/// The first page stands for the rest, unless all pages are asked for.
#[test]
fn long_listings_are_estimated_from_their_first_page() {
    let options = Options { files: 900, page_cap: Some(300), limits: None, ..Options::default() };
    let tenant = Tenant::start(options);
    let arguments = ["--service", "onedrive"];
    let report = report(&tenant, &arguments);
    let before = requests(&tenant);
    let sampled = plan(&tenant, &arguments);
    let between = requests(&tenant);
    let exact = plan(&tenant, &[&arguments[..], &["--exact"]].concat());
    assert!(between - before < requests(&tenant) - between, "both listed as much");
    let known = |plan: &Value| text(&plan["plan"]["services"]["onedrive"], "items").to_owned();
    assert_eq!((known(&sampled), known(&exact)), ("sampled".into(), "counted".into()));
    agree(&exact, &report);
    let items = number(&exact, "/plan/total/items");
    // A third of the files says what the size of one is, but for chance.
    let estimated = number(&sampled, "/plan/total/items");
    assert!(estimated.abs_diff(items) * 3 <= items, "{estimated} estimated, {items} there");
    // The drive tells what it holds, with some that it does not give.
    let [used, bytes] = [&sampled, &exact].map(|plan| number(plan, "/plan/total/bytes"));
    assert!(used.abs_diff(bytes) * 100 <= bytes, "{used} used, {bytes} in files");
}

fn requests(tenant: &Tenant) -> usize {
    tenant.simulator.log().count(|_| true)
}

const ANNA: &str = "7f9b1f60-11cf-44f0-a2b4-6f3a2d9e8b10";

/// Mails with a size that they tell, as those of the service do.
fn write_mails(tenant: &Tenant, sizes: impl Iterator<Item = u64>) {
    let simulator = &tenant.simulator;
    runtime().block_on(async {
        let client = tenant.client().await;
        let messages =
            format!("{}/v1.0/users/{ANNA}/mailFolders/inbox/messages", simulator.graph_url());
        for size in sizes {
            let size = json!([{"id": "Long 0x0E08", "value": size.to_string()}]);
            let mail = json!({"subject": "size", "singleValueExtendedProperties": size});
            let answer = client.post(&messages).json(&mail).send().await.unwrap();
            assert_eq!(answer.status(), 201, "{}", answer.text().await.unwrap());
        }
    });
}

#[test]
fn sizes_of_mails_are_the_services_where_it_tells_them() {
    let anna = NewUser {
        id: ANNA.into(),
        upn: "anna@contoso.com".into(),
        display_name: "Anna".into(),
        mail: "anna@contoso.com".into(),
        language: Language::English,
    };
    let tenant = Tenant::start(Options {
        empty: Some(vec![anna]),
        credentials: Credentials::restoring(),
        limits: None,
        ..Options::default()
    });
    let mail = |plan: &Value| plan["plan"]["services"]["mail"].clone();
    let empty = mail(&plan(&tenant, &["--service", "mail"]));
    assert_eq!((number(&empty, "/load/items"), number(&empty, "/load/bytes")), (0, 0));
    assert_eq!(text(&empty, "bytes"), "counted");

    write_mails(&tenant, [1_000, 3_000, 200_000].into_iter());
    let few = mail(&plan(&tenant, &["--service", "mail"]));
    assert_eq!((number(&few, "/load/items"), number(&few, "/load/bytes")), (3, 204_000));
    assert_eq!(text(&few, "bytes"), "counted");

    // More than a sample: only all pages tell.
    write_mails(&tenant, (0..300).map(|_| 10_000));
    let many = mail(&plan(&tenant, &["--service", "mail"]));
    assert_eq!((number(&many, "/load/items"), text(&many, "bytes")), (303, "sampled"));
    let exact = mail(&plan(&tenant, &["--service", "mail", "--exact"]));
    assert_eq!(text(&exact, "bytes"), "counted");
    // The mean is a whole number of bytes.
    let all = number(&exact, "/load/bytes");
    assert!(all.abs_diff(3_204_000) < 303, "{all}");
}

/// Who may see no properties of mails still sees how many there are.
#[test]
fn sizes_of_mails_are_assumed_where_nobody_tells_them() {
    let roles = ["User.Read.All", "Mail.ReadBasic.All"].map(String::from).to_vec();
    let credentials = Credentials { roles, ..Credentials::default() };
    let tenant = Tenant::start(Options { credentials, mails: 9, ..Options::default() });
    let plan = plan(&tenant, &["--service", "mail"]);
    let mail = &plan["plan"]["services"]["mail"];
    assert_eq!((text(mail, "items"), text(mail, "bytes")), ("counted", "assumed"));
    assert_eq!(number(mail, "/load/bytes"), number(mail, "/load/items") * 70_000);
    let table = asked(&tenant, &["--service", "mail"]).expect(0).stdout;
    assert!(String::from_utf8(table).unwrap().contains("mail: bytes are assumed"));
}

#[test]
fn a_sample_stands_for_all_and_is_the_same_each_time() {
    let users = Options {
        users: 30,
        mails: 30,
        files: 10,
        special_users: false,
        limits: None,
        ..Options::default()
    };
    let tenant = Tenant::start(users);
    let all = plan(&tenant, &[]);
    let before = requests(&tenant);
    let sample = plan(&tenant, &["--sample", "6"]);
    // Users, tokens; two requests a service for each of the sample.
    assert!(requests(&tenant) - before < 6 * 4 + 10, "more than the sample was asked");
    assert_eq!(sample, plan(&tenant, &["--sample", "6"]));
    assert_eq!((number(&sample, "/plan/owners"), number(&sample, "/plan/asked")), (30, 6));
    for key in ["items", "mailbox", "sharepoint"] {
        let [all, sample] = [&all, &sample].map(|plan| number(plan, &format!("/plan/total/{key}")));
        assert!(sample.abs_diff(all) * 10 <= all, "{key}: {sample} of a sample, {all} of all");
    }
    let service = &sample["plan"]["services"]["mail"];
    assert_eq!((text(service, "items"), &service["with"]), ("sampled", &json!(30)));
    assert!(sample["remarks"].to_string().contains("6 of 30 owners"), "{sample:#}");
    // A sample that is not smaller than all is all.
    assert_eq!(plan(&tenant, &["--sample", "30"])["plan"], all["plan"]);
}

#[test]
fn what_takes_longest_is_named() {
    let tenant = tenant(60, 40);
    let bound = |arguments: &[&str], service: &str| {
        let plan = plan(&tenant, arguments);
        let time = &plan["plan"]["services"][service]["time"];
        (time["bound"].clone(), time["seconds"].as_f64().unwrap(), plan)
    };
    // One mailbox takes 4 requests at a time, so it is slower than all together.
    let (mailbox, seconds, plan) = bound(&["--concurrency", "512", "--latency", "1s"], "mail");
    assert_eq!(text(&mailbox, "by"), "mailbox");
    let busiest = number(&mailbox, "/requests");
    assert!((seconds - busiest as f64 / 4.0).abs() < 1e-6, "{seconds} s for {busiest} requests");
    let first = &plan["plan"]["largest"][0];
    assert!(first["seconds"].as_f64().unwrap() >= seconds, "{first:#}");
    let (flight, ..) = bound(&["--concurrency", "1"], "mail");
    assert_eq!(text(&flight, "by"), "concurrency");
    let (units, seconds, _) = bound(&["--latency", "0s"], "onedrive");
    assert_eq!(units, json!({"by": "units-per-minute", "units": 1250}));
    let licensed = ["--latency", "0s", "--licences", "20000"];
    let (more, less_seconds, _) = bound(&licensed, "onedrive");
    assert_eq!(more, json!({"by": "units-per-minute", "units": 5000}));
    assert!((less_seconds * 4.0 - seconds).abs() < 1e-6);
}

#[test]
fn a_table_for_people_names_the_largest_and_says_what_is_not_sure() {
    let tenant = tenant(60, 40);
    let run = asked(&tenant, &[]).expect(0);
    assert_eq!(run.stderr, "");
    let table = String::from_utf8(run.stdout).unwrap();
    let plan = plan(&tenant, &[]);
    for owner in plan["plan"]["largest"].as_array().unwrap() {
        assert!(table.contains(text(owner, "upn")), "{owner} is not in\n{table}");
    }
    let items = number(&plan, "/plan/services/onedrive/load/items").to_string();
    assert!(table.contains(&items), "{items} is not in\n{table}");
    assert!(table.contains("mail: owners who are refused to us: 1\n"), "{table}");
    assert!(!table.contains("leave out"), "{table}");
    let narrowed = asked(&tenant, &["--since", "2024-01-01"]).expect(0);
    assert!(String::from_utf8(narrowed.stdout).unwrap().contains("leave out"));
}

#[test]
fn nobody_and_no_permission_are_exit_codes() {
    let tenant = tenant(3, 2);
    let nobody = asked(&tenant, &["--user", "nobody@nowhere.example"]).expect(2);
    assert!(nobody.stdout.is_empty() && nobody.stderr.contains("matches no owner"));
    asked(&tenant, &["--service", "letters"]).expect(2);
    let empty_shard = plan(&tenant, &["--shard", "4999/5000"]);
    assert_eq!(number(&empty_shard, "/plan/owners"), 0);

    let roles = ["User.Read.All", "Files.Read.All"].map(String::from).to_vec();
    let credentials = Credentials { roles, ..Credentials::default() };
    let refused = Tenant::start(Options { credentials, mails: 3, files: 2, ..Options::default() });
    let run = asked(&refused, &["--json"]).expect(77);
    assert!(run.stdout.is_empty(), "{:?}", run.stdout);
    assert!(run.stderr.contains("mail was refused for every owner"), "{}", run.stderr);
    plan(&refused, &["--service", "onedrive"]);
}
