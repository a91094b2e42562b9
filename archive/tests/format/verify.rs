//! Archives that are well-formed, but break a rule: each is named.

use archive::{
    Outcome,
    metadata::{FOLDER, Line},
};
use serde_json::json;

use crate::sample::{self, Sample, drive_file, folder, message, owner};

const MAIL: &str = "users/a@b.c/mail";

/// The problems of an archive that `fill` makes.
fn problems(fill: impl FnOnce(&mut Sample)) -> String {
    let mut sample = Sample::new(None);
    fill(&mut sample);
    let (bytes, ..) = sample.finish();
    sample::problems(&bytes).join("\n")
}

/// Metadata and content of a mailbox; the content of each line that has a path.
fn mailbox(sample: &mut Sample, lines: &[Line], contents: &[&Line]) {
    sample.metadata(MAIL, lines);
    for line in contents {
        let path = line.path.as_deref().unwrap();
        match line.kind.as_str() {
            FOLDER => sample.directory(path, 0),
            _ => sample.file(path, 0, b"x", true),
        }
    }
}

fn alice() -> Line {
    owner("1", "a@b.c")
}

#[test]
fn nothing_is_wrong_with_the_smallest_archive() {
    assert_eq!(problems(|_| {}), "");
    assert_eq!(problems(|sample| mailbox(sample, &[alice()], &[])), "");
}

#[test]
fn lines_out_of_order() {
    let [first, second] = [1, 2].map(|second| message(MAIL, second, "x"));
    let wrong: [&[&Line]; 4] = [
        &[&alice(), &second, &first],
        &[&alice(), &first, &first],
        &[&alice(), &first, &folder("F", &format!("{MAIL}/F"))],
        &[&first, &alice()],
    ];
    for lines in wrong {
        let lines: Vec<Line> = lines.iter().map(|line| (*line).clone()).collect();
        let contents: Vec<&Line> = lines.iter().filter(|line| line.path.is_some()).collect();
        let found = problems(|sample| mailbox(sample, &lines, &contents));
        assert!(found.contains("out of order"), "{found}");
    }
}

#[test]
fn instants_are_compared_not_texts() {
    let mut early = message(MAIL, 1, "x");
    early.graph["receivedDateTime"] = json!("2026-01-01T01:00:00+02:00");
    let mut late = message(MAIL, 2, "x");
    late.graph["receivedDateTime"] = json!("2026-01-01T00:00:00Z");
    let lines = [alice(), early, late];
    assert_eq!(problems(|sample| mailbox(sample, &lines, &[&lines[1], &lines[2]])), "");
}

#[test]
fn members_out_of_order_missing_or_unannounced() {
    let lines = [alice(), message(MAIL, 1, "x"), message(MAIL, 2, "y")];
    let found = problems(|sample| mailbox(sample, &lines, &[&lines[2], &lines[1]]));
    assert!(found.contains("out of order") && found.contains("is missing"), "{found}");
    let found = problems(|sample| mailbox(sample, &lines, &[&lines[2]]));
    assert!(found.contains("its member is missing and the ledger does not say why"), "{found}");
    let found = problems(|sample| mailbox(sample, &lines[..2], &[&lines[1], &lines[2]]));
    assert!(found.contains("no metadata line announces it"), "{found}");
    let found = problems(|sample| sample.file("users/a@b.c/x.eml", 0, b"", true));
    assert!(found.contains("it belongs to no metadata"), "{found}");
}

#[test]
fn a_scope_explains_what_is_below_it() {
    let lines = [alice(), message(MAIL, 1, "x"), message(MAIL, 2, "y")];
    let explained = |scope: &str| {
        problems(|sample| {
            mailbox(sample, &lines, &[]);
            sample.ledger(("scope", scope), Outcome::Failed, "gone");
        })
    };
    assert_eq!(explained(MAIL), "");
    assert_eq!(explained("users/a@b.c"), "");
    assert!(explained("users/a@b.c/ma").contains("is missing"));
}

#[test]
fn a_ledger_that_contradicts_the_members() {
    let lines = [alice(), message(MAIL, 1, "x"), message(MAIL, 2, "y")];
    let [first, second] = [1, 2].map(|line: usize| lines[line].path.clone().unwrap());
    let with = |ledger: &[(&str, Outcome)]| {
        problems(|sample| {
            mailbox(sample, &lines, &[&lines[1]]);
            ledger.iter().for_each(|(path, outcome)| sample.ledger(("path", path), *outcome, "x"));
        })
    };
    assert_eq!(with(&[(&second, Outcome::Skipped)]), "");
    assert_eq!(with(&[(&first, Outcome::Converted), (&second, Outcome::Failed)]), "");
    let found = with(&[(&second, Outcome::Failed), (&first, Outcome::Converted)]);
    assert!(found.contains("out of order"), "{found}");
    let found = with(&[(&first, Outcome::Failed), (&second, Outcome::Failed)]);
    assert!(found.contains("the member is there"), "{found}");
    let found = with(&[(&second, Outcome::Converted)]);
    assert!(found.contains("the member is missing"), "{found}");
    let found = with(&[(&first, Outcome::Damaged), (&second, Outcome::Failed)]);
    assert!(found.contains("next damaged file"), "{found}");
}

#[test]
fn a_damaged_file_without_a_word() {
    let prefix = "users/a@b.c/onedrive";
    let line = drive_file(1, &format!("{prefix}/x.iso"));
    let found = problems(|sample| {
        sample.metadata(prefix, &[alice(), line.clone()]);
        sample.streamed(line.path.as_deref().unwrap(), 100, b"short");
    });
    assert!(found.contains("it is damaged and the ledger does not say so"), "{found}");
}

#[test]
fn paths_that_collide() {
    let prefix = "users/a@b.c/onedrive";
    let collide = |names: [&str; 2]| {
        let lines: Vec<Line> =
            (0..2).map(|at| drive_file(at, &format!("{prefix}/{}", names[at as usize]))).collect();
        problems(|sample| {
            sample.metadata(prefix, &[alice(), lines[0].clone(), lines[1].clone()]);
            for line in &lines {
                sample.file(line.path.as_deref().unwrap(), 0, b"", true);
            }
        })
    };
    assert_eq!(collide(["a", "b"]), "");
    assert_eq!(collide(["A/a", "A/b"]), "");
    assert!(collide(["a", "a"]).contains("twice"));
    assert!(collide(["a", "A"]).contains("case"));
    assert!(collide(["a/x", "A/y"]).contains("case"));
    assert!(collide(["a", "a/x"]).contains("needs a folder"));
    assert!(collide(["a/b/c", "a/B"]).contains("case"));
    assert!(collide(["a", "CON"]).contains("not portable"));
    assert!(collide(["a", "b "]).contains("not portable"));
    assert!(collide(["a", "u\u{308}"]).contains("not portable"));
}

#[test]
fn collisions_among_more_paths_than_fit_in_memory() {
    let prefix = "users/a@b.c/onedrive";
    let path = |number: u32| format!("{prefix}/{}/n{number:06}", number % 7);
    let mut lines = vec![alice()];
    for number in 0..80_000 {
        let path = match number {
            70_000 => path(7).replace("/n", "/N"),
            75_000 => path(5),
            _ => path(number),
        };
        lines.push(folder(&format!("{number:08}"), &path));
    }
    let found = problems(|sample| {
        sample.metadata(prefix, &lines);
        for line in &lines[1..] {
            sample.directory(line.path.as_deref().unwrap(), 0);
        }
    });
    let found: Vec<_> = found.lines().collect();
    // Which of two is told is the order of the sort: by exact path, then by place.
    assert_eq!(found.len(), 2, "{found:?}");
    let cases = found.iter().any(|line| line.to_lowercase().starts_with(&format!("{}: ", path(7))));
    assert!(cases && found.iter().any(|line| line.starts_with(&path(5))), "{found:?}");
}

#[test]
fn owners_and_services_out_of_order() {
    let two = |first: (&str, &str, &str), second: (&str, &str, &str)| {
        problems(|sample| {
            for (id, user, service) in [first, second] {
                sample.metadata(&format!("users/{user}/{service}"), &[owner(id, user)]);
            }
        })
    };
    assert_eq!(two(("1", "z", "mail"), ("2", "a", "mail")), "");
    assert_eq!(two(("1", "z", "mail"), ("1", "z", "onedrive")), "");
    assert!(two(("2", "a", "mail"), ("1", "z", "mail")).contains("out of order"));
    assert!(two(("1", "z", "onedrive"), ("1", "z", "mail")).contains("out of order"));
    assert!(two(("1", "z", "mail"), ("1", "a", "onedrive")).contains("out of order"));
    assert!(two(("1", "z", "mail"), ("1", "z", "tasks")).contains("does not list its service"));
}

#[test]
fn json_that_is_not_canonical() {
    let lines = "{\"id\":\"1\",\"kind\":\"owner\",\"graph\":{}}\n";
    let found =
        problems(|sample| sample.file(&format!("{MAIL}.ndjson"), 0, lines.as_bytes(), false));
    assert!(found.contains("mail.ndjson:1: the JSON is not canonical"), "{found}");
}

#[test]
fn items_are_counted() {
    let found = problems(|sample| {
        let line = message(MAIL, 1, "x");
        sample.metadata(MAIL, &[alice(), line.clone()]);
        sample.file(line.path.as_deref().unwrap(), 0, b"x", false);
    });
    assert_eq!(found, ".tar365/seal.json: items is 0, but 1 are there");
}

#[test]
fn progress_reaches_the_end() {
    let (bytes, ..) = sample::full(None);
    let mut seen = 0;
    let report =
        archive::verify::verify(&bytes[..], &std::env::temp_dir(), &mut |at| seen = at).unwrap();
    assert_eq!((seen, report.bytes), (bytes.len() as u64, bytes.len() as u64));
}
