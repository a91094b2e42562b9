//! Settings on their way back: what comes back, what does not, and that nothing is set by surprise.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Map, Value, json};
use simulator::{Language, Options};

use crate::harness::{Archive, Tenant, python, text, verify};
use crate::import::{Saved, assert_nobody_was_mailed, counts, emptied, writable, writes};

pub const SETTINGS: [&str; 2] = ["--service", "settings"];

pub fn small() -> Options {
    Options { users: 2, mails: 3, files: 1, ..Options::default() }
}

pub fn saved(tenant: &Tenant) -> Saved {
    let export = tenant.export(&SETTINGS).expect(0);
    verify(&export.stdout);
    Saved::new(export.stdout)
}

/// The settings as they are now.
fn now(tenant: &Tenant) -> Archive {
    Archive::new(&saved(tenant).bytes)
}

/// What a section of an archive holds, by its place: documents, and pictures by their bytes.
pub fn documents(archive: &Archive) -> BTreeMap<String, Value> {
    let members = archive
        .members
        .iter()
        .filter(|member| member.path.contains("/settings/") && !member.is_directory);
    let document = |content: &[u8]| {
        serde_json::from_slice(content).unwrap_or_else(|_| json!(crate::harness::sha256(content)))
    };
    members.map(|member| (member.path.clone(), document(&member.content))).collect()
}

/// Less what doc/restore.md says that the service makes anew, or that is the directory's.
pub fn comparable(documents: BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let documents = documents.into_iter().filter(|(path, _)| !path.ends_with("profile.json"));
    let stripped = documents.map(|(path, mut document)| {
        let Some(members) = document.as_object_mut() else { return (path, document) };
        for key in ["id", "archiveFolder", "userPurpose", "hasError", "isReadOnly"] {
            members.remove(key);
        }
        let rows = members.get_mut("value").and_then(Value::as_array_mut);
        for row in rows.into_iter().flatten() {
            row.as_object_mut().unwrap().remove("id");
        }
        // Folders by their names: ids are the mailbox's.
        let ways = members.remove("folders");
        for action in ["moveToFolder", "copyToFolder"] {
            let named = members.get_mut("actions").and_then(|actions| actions.get_mut(action));
            if let Some(named) = named.filter(|named| named.is_string()) {
                *named = ways.as_ref().unwrap()[named.as_str().unwrap()].take_names();
            }
        }
        (path, document)
    });
    stripped.collect()
}

trait TakeNames {
    fn take_names(&self) -> Value;
}

impl TakeNames for Value {
    /// Well-known folders are called differently in each language.
    fn take_names(&self) -> Value {
        let name = |step: &Value| step.get("wellKnownName").unwrap_or(&step["displayName"]).clone();
        self.as_array().unwrap().iter().map(name).collect()
    }
}

#[test]
fn all_settings_come_back_in_place_and_stay_off() {
    let source = writable(small());
    let world = source.simulator.tenant();
    let away = json!({"automaticRepliesSetting": {
        "status": "alwaysEnabled", "externalAudience": "all",
        "internalReplyMessage": "<p>Bin weg</p>", "externalReplyMessage": "",
        "scheduledStartDateTime": {"dateTime": "2026-08-03T06:00:00.0000000", "timeZone": "UTC"},
        "scheduledEndDateTime": {"dateTime": "2026-08-21T16:00:00.0000000", "timeZone": "UTC"},
    }});
    world.change_settings(&world.users()[0].upn, away).unwrap();
    let before = saved(&source);
    let wanted = comparable(documents(&Archive::new(&before.bytes)));
    for (arguments, is_on) in [
        (&["--in-place"][..], false),
        (&["--in-place", "--enable-rules", "--enable-automatic-replies"], true),
    ] {
        let target = emptied(&source, Language::Japanese);
        let journal = format!("journal {is_on}");
        let run = before.import(&target, &journal, arguments).expect(0);
        assert_eq!(counts(&run)[3..], [0, 0], "{}", run.stderr);
        assert_nobody_was_mailed(&target);
        let after = comparable(documents(&now(&target)));
        let mut expected = wanted.clone();
        let (mut rules, mut replies) = (0, 0);
        for (path, document) in expected.iter_mut().filter(|_| !is_on) {
            if path.contains("/rules/") {
                rules += usize::from(document["isEnabled"] == true);
                document["isEnabled"] = false.into();
            }
            if path.ends_with("mailbox-settings.json") {
                let status = &mut document["automaticRepliesSetting"]["status"];
                replies += usize::from(*status != "disabled");
                *status = "disabled".into();
            }
        }
        assert!(is_on || rules > 0 && replies > 0, "nothing was on");
        assert_eq!(after, expected);
        let told = format!("{} items: disabled", rules + replies);
        assert_eq!(run.stderr.contains(&told), !is_on, "{}", run.stderr);
        // Once more, from the beginning: it is all there.
        let made = writes(&target).len();
        let again = before.import(&target, &format!("another {is_on}"), arguments).expect(0);
        assert_eq!((counts(&again)[0], counts(&again)[1]), (0, 0), "{}", again.stderr);
        assert_eq!(writes(&target).len(), made);
    }
}

#[test]
fn beside_what_is_there_only_categories_and_rules_are_added() {
    let source = writable(small());
    let before = saved(&source);
    let target = emptied(&source, Language::German);
    let world = target.simulator.tenant();
    for user in world.users() {
        let red = json!({"displayName": "rote kategorie", "color": "preset7"});
        world.add_setting(&user.upn, "outlookCategory", red).unwrap();
        world.set_photo(&user.upn, Some(("image/png", b"\x89PNG mine"))).unwrap();
    }
    let there = documents(&now(&target));
    let plan = before.import(&target, "none", &["--dry-run"]).expect(0);
    assert!(String::from_utf8_lossy(&plan.stdout).contains("nothing else is changed"));
    let run = before.import(&target, "journal", &[]).expect(0);
    assert!(run.stderr.contains(": in-place-only"), "{}", run.stderr);
    let after = documents(&now(&target));
    for (path, document) in &there {
        if path.ends_with("categories.json") {
            let rows = after[path]["value"].as_array().unwrap();
            let red = rows.iter().find(|row| row["displayName"] == "rote kategorie").unwrap();
            assert_eq!((rows.len(), &red["color"]), (4, &json!("preset7")));
        } else {
            assert_eq!(&after[path], document, "{path}");
        }
    }
    let rules: Vec<_> = after.iter().filter(|(path, _)| path.contains("/rules/")).collect();
    assert_eq!(rules.len(), 6);
    assert!(rules.iter().all(|(_, rule)| rule["isEnabled"] == false), "{rules:?}");
    before.undo(&target, "journal").expect(0);
    assert_eq!(documents(&now(&target)), there);
}

#[test]
fn undo_brings_back_what_was_there_and_leaves_what_was_set_since() {
    let source = writable(small());
    let before = saved(&source);
    let target = emptied(&source, Language::German);
    let world = target.simulator.tenant();
    let user = &world.users()[0].upn;
    world.change_settings(user, json!({"timeZone": "UTC", "dateFormat": "yyyy-MM-dd"})).unwrap();
    let there = documents(&now(&target));
    before.import(&target, "journal", &["--in-place"]).expect(0);
    assert_ne!(documents(&now(&target)), there);
    before.undo(&target, "journal").expect(0);
    assert_eq!(documents(&now(&target)), there);
    before.import(&target, "second", &["--in-place"]).expect(0);
    world.change_settings(user, json!({"timeZone": "Tokyo Standard Time"})).unwrap();
    let undone = before.undo(&target, "second").expect(3);
    assert!(undone.stderr.contains("mailbox-settings.json was changed since"), "{}", undone.stderr);
    let now = documents(&now(&target));
    let path = now
        .keys()
        .find(|path| path.contains(user.as_str()) && path.ends_with("mailbox-settings.json"));
    let settings = &now[path.unwrap()];
    assert_eq!(
        (&settings["timeZone"], &settings["dateFormat"]),
        (&json!("Tokyo Standard Time"), &json!("yyyy-MM-dd"))
    );
}

#[test]
fn rules_find_their_folders_or_stay_out() {
    let source = writable(Options { users: 1, ..small() });
    let world = source.simulator.tenant();
    let user = world.users()[0].upn.clone();
    let inbox = world
        .folders(&user)
        .unwrap()
        .into_iter()
        .find(|f| f.path == ["Posteingang"] || f.path == ["Inbox"]);
    let inbox = inbox.unwrap();
    let folder = world.add_folder(&user, &inbox.id, "It's / 50 %").unwrap();
    let rule = |name: &str, folder: &str| {
        json!({"displayName": name, "sequence": 4, "isEnabled": true, "hasError": false, "isReadOnly": false,
            "conditions": {"sentToMe": true}, "actions": {"copyToFolder": folder}})
    };
    world.add_setting(&user, "messageRule", rule("Deep", &folder)).unwrap();
    world.add_setting(&user, "messageRule", rule("Malformed", "AAMkgone")).unwrap();
    let gone = world.add_folder(&user, &inbox.id, "Gone").unwrap();
    world.add_setting(&user, "messageRule", rule("Lost", &gone)).unwrap();
    world.delete_folder(&user, &gone).unwrap();
    let before = saved(&source);
    let target = emptied(&source, Language::English);
    let run = before.import(&target, "beside", &[]).expect(3);
    for what in [
        "Deep.json: the folder \"",
        "Lost.json: the archive does not say which folder",
        "Malformed.json: the archive",
    ] {
        assert!(run.stderr.contains(what), "{what}: {}", run.stderr);
    }
    assert_eq!(counts(&run)[3], 3, "{}", run.stderr);
    let run = before.import(&target, "in-place", &["--in-place"]).expect(3);
    assert_eq!(counts(&run)[3], 2, "{}", run.stderr);
    let after = documents(&now(&target));
    let deep = after.iter().find(|(path, _)| path.ends_with("/rules/Deep.json")).unwrap().1;
    let way = &deep["folders"][text(&deep["actions"], "copyToFolder")];
    assert_eq!(way.take_names(), json!(["inbox", "It's / 50 %"]));
}

/// Properties of the types that settings are made of, with their types, as Microsoft publishes.
fn published() -> Option<BTreeMap<String, BTreeMap<String, String>>> {
    let csdl = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/graph/v1.0-Prod.csdl.xz");
    if !csdl.is_file() {
        eprintln!("*** NOT TESTED with the published schema: {} is missing ***", csdl.display());
        return None;
    }
    let program = r#"
import lzma, re, sys, json
text = lzma.open(sys.argv[1], "rt", encoding="utf-8").read()
types = {}
for name in sys.argv[2:]:
    body = re.search(r'<(EntityType|ComplexType) Name="%s"[^>]*>(.*?)</\1>' % name, text, re.S).group(2)
    types[name] = dict(re.findall(r'<Property Name="(\w+)" Type="([^"]+)"', body))
print(json.dumps(types))
"#;
    let names = [
        "mailboxSettings",
        "automaticRepliesSetting",
        "workingHours",
        "localeInfo",
        "outlookCategory",
        "messageRule",
        "messageRulePredicates",
        "messageRuleActions",
        "inferenceClassificationOverride",
    ];
    let mut arguments = vec![csdl.as_os_str()];
    arguments.extend(names.map(std::ffi::OsStr::new));
    Some(serde_json::from_str(&python(program, &arguments)).unwrap())
}

/// A value of each type that a rule has.
fn value(name: &str, of: &str, folder: &str) -> Value {
    match (name, of) {
        ("copyToFolder" | "moveToFolder", _) => folder.into(),
        (_, "Edm.Boolean") => true.into(),
        (_, "Edm.String") => "text".into(),
        (_, "Collection(Edm.String)") => json!(["one", "zwei"]),
        (_, "Collection(graph.recipient)") => {
            json!([{"emailAddress": {"name": "Büro", "address": "office@fabrikam.example"}}])
        }
        (_, "graph.importance") => "high".into(),
        (_, "graph.sensitivity") => "private".into(),
        (_, "graph.messageActionFlag") => "followUp".into(),
        (_, "graph.sizeRange") => json!({"minimumSize": 3, "maximumSize": 700}),
        _ => panic!("{name} is of the type {of}, which this test does not know"),
    }
}

/// Settings of which none is what a mailbox is born with.
fn every_setting() -> Value {
    json!({
        "timeZone": "Tokyo Standard Time",
        "dateFormat": "yyyy.MM.dd",
        "timeFormat": "h:mm tt",
        "delegateMeetingMessageDeliveryOptions": "sendToDelegateAndPrincipal",
        "language": {"locale": "fr-FR", "displayName": "French (France)"},
        "workingHours": {"daysOfWeek": ["sunday"], "startTime": "05:00:00.0000000",
            "endTime": "11:30:00.0000000", "timeZone": {"name": "Tokyo Standard Time"}},
        "automaticRepliesSetting": {"status": "scheduled", "externalAudience": "none",
            "scheduledStartDateTime": {"dateTime": "2027-08-03T06:00:00.0000000", "timeZone": "UTC"},
            "scheduledEndDateTime": {"dateTime": "2027-08-21T16:00:00.0000000", "timeZone": "UTC"},
            "internalReplyMessage": "<p>in</p>", "externalReplyMessage": "<p>out</p>"},
    })
}

#[test]
fn every_published_property_comes_back_or_is_declared_lost() {
    let Some(types) = published() else { return };
    let source = writable(Options { users: 1, ..small() });
    let world = source.simulator.tenant();
    let user = world.users()[0].upn.clone();
    let folder = world.folders(&user).unwrap().into_iter().next().unwrap().id;
    let full = |of: &str| {
        let members = types[of].iter().map(|(name, of)| (name.clone(), value(name, of, &folder)));
        Value::Object(members.collect::<Map<_, _>>())
    };
    let rule = json!({
        "displayName": "All", "sequence": 7, "isEnabled": true, "hasError": true, "isReadOnly": true,
        "conditions": full("messageRulePredicates"),
        "exceptions": full("messageRulePredicates"),
        "actions": full("messageRuleActions"),
    });
    world.add_setting(&user, "messageRule", rule).unwrap();
    world.change_settings(&user, every_setting()).unwrap();
    let before = saved(&source);
    let target = emptied(&source, Language::English);
    let on = ["--in-place", "--enable-rules", "--enable-automatic-replies"];
    before.import(&target, "journal", &on).expect(0);
    let (before, after) = (documents(&Archive::new(&before.bytes)), documents(&now(&target)));
    let find = |of: &BTreeMap<String, Value>, name: &str| {
        let found = of.iter().find(|(path, _)| path.ends_with(name));
        found.unwrap_or_else(|| panic!("{name} is not in {:?}", of.keys())).1.clone()
    };
    let restore = include_str!("../../doc/restore.md");
    let (_, declared) = restore.split_once("Settings: ").unwrap();
    let declared: BTreeSet<&str> = declared.split("\n\n").next().unwrap().split('`').collect();
    let mut lost = BTreeSet::new();
    let mut compare = |of: &str, before: &Value, after: &Value| {
        for name in types[of].keys() {
            let had = before.get(name).unwrap_or_else(|| panic!("{of}.{name} is not exported"));
            if after.get(name) != Some(had) && !name.ends_with("ToFolder") {
                lost.insert(name.clone());
            }
        }
    };
    let (one, other) = (find(&before, "/rules/All.json"), find(&after, "/rules/All.json"));
    compare("messageRule", &without(&one, "actions"), &without(&other, "actions"));
    compare("messageRuleActions", &one["actions"], &other["actions"]);
    for key in ["conditions", "exceptions"] {
        compare("messageRulePredicates", &one[key], &other[key]);
    }
    let (one, other) =
        (find(&before, "mailbox-settings.json"), find(&after, "mailbox-settings.json"));
    compare("mailboxSettings", &one, &other);
    compare(
        "automaticRepliesSetting",
        &one["automaticRepliesSetting"],
        &other["automaticRepliesSetting"],
    );
    compare("workingHours", &one["workingHours"], &other["workingHours"]);
    compare("localeInfo", &one["language"], &other["language"]);
    for (name, of) in [
        ("categories.json", "outlookCategory"),
        ("focused-inbox.json", "inferenceClassificationOverride"),
    ] {
        let (one, other) = (find(&before, name), find(&after, name));
        let rows = one["value"].as_array().unwrap().iter().zip(other["value"].as_array().unwrap());
        rows.for_each(|(one, other)| compare(of, one, other));
    }
    for name in &lost {
        assert!(declared.contains(name.as_str()), "{name} is lost, and not declared: {lost:?}");
    }
    assert!(lost.len() >= 2, "{lost:?}");
}

/// Ids of folders are the mailbox's.
fn without(of: &Value, key: &str) -> Value {
    let mut of = of.clone();
    of[key] = json!({});
    let mut both = of.clone();
    both[key] = Value::Null;
    both
}
