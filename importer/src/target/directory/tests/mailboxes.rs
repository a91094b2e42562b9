//! Mail as mbox files.

use super::*;
use crate::target::directory::mbox::tail_note;

const READ_MBOX: &str = r"
import mailbox, sys, json, re, glob
def all(path):
    box = mailbox.mbox(path, create=False)
    return [[re.sub(rb'(?m)^>(>*From )', rb'\1', box.get_bytes(k)).decode('latin-1'),
             m.get_from()] for k, m in box.iteritems()]
root = sys.argv[1] + '/anna@contoso.com'
print(json.dumps({p[len(root) + 1:]: all(p) for p in glob.glob(root + '/**/*.mbox', recursive=True)}))
";

#[test]
fn mboxrd_is_read_by_python() {
    let world = World::new(Layout::Mboxrd);
    let run = world.run(MAIL, "1");
    let hard = mail("1", b"Return-Path: <a@b>\r\n\r\nFrom x\r\n>From y\r\nx\xff\r\n\r\n");
    let restored = run.put(&hard, &inbox()).unwrap();
    assert_eq!((restored.how, restored.losses), (How::Created, vec![Loss::Flags]));
    let from = json!({"from": {"emailAddress": {"address": "c@d"}}});
    let second = item(&format!("{MAIL}/Inbox/2.eml"), b"A: 2\r\n\r\nno end", from);
    assert_eq!(run.put(&second, &inbox()).unwrap().losses, []);
    run.put(&mail("3", b"A: 3\r\n\r\n"), &trail("Inbox/Old.mbox", Value::Null)).unwrap();
    run.place.finish_now().unwrap();
    let date = "Sun Sep 13 12:26:40 2020";
    let wanted = json!({
        "Inbox.mbox": [
            ["Return-Path: <a@b>\n\nFrom x\n>From y\nx\u{ff}\n\n", format!("a@b {date}")],
            ["A: 2\n\nno end\n", format!("c@d {date}")],
        ],
        "Inbox/Old%2Embox.mbox": [["A: 3\n\n", format!("MAILER-DAEMON {date}")]],
    });
    assert_eq!(world.python(READ_MBOX), wanted);
    assert_eq!(world.files().len(), 2, "nothing else stays: {:?}", world.files());

    let tree = world.tree();
    let again = world.run(MAIL, "2");
    assert_eq!(again.how(&second, &inbox()), How::Present);
    assert_eq!(again.how(&hard, &inbox()), How::Present);
    again.place.finish_now().unwrap();
    assert_eq!(world.tree(), tree);
    assert_eq!(world.undo("1"), [""; 0]);
    assert_eq!(world.tree(), BTreeMap::new());
}

#[test]
fn copies_in_a_mailbox_stay_copies() {
    let world = World::new(Layout::Mboxrd);
    let copies: Vec<_> = (0..3).map(|at| mail(&at.to_string(), b"A: b\n\n")).collect();
    let run = world.run(MAIL, "1");
    assert_eq!(run.how(&copies[0], &inbox()), How::Created);
    assert_eq!(run.how(&copies[1], &inbox()), How::Created);
    drop(run);
    // Goes on after a kill: the first two are known to the journal and not put again.
    let run = world.run(MAIL, "1");
    assert_eq!(run.how(&copies[2], &inbox()), How::Created);
    run.place.finish_now().unwrap();
    let run = world.run(MAIL, "2");
    for copy in &copies {
        assert_eq!(run.how(copy, &inbox()), How::Present);
    }
    assert_eq!(run.how(&mail("4", b"A: b\n\n"), &inbox()), How::Created);
    run.place.finish_now().unwrap();
    assert_eq!(world.python(READ_MBOX)["Inbox.mbox"].as_array().unwrap().len(), 4);
}

/// One copy was restored by a run that came to its end, the other only fails until another.
#[test]
fn a_copy_is_not_taken_for_the_one_that_is_there() {
    let world = World::new(Layout::Mboxrd);
    let copies: Vec<_> = (0..2).map(|at| mail(&at.to_string(), b"A: b\n\n")).collect();
    let run = world.run(MAIL, "1");
    assert_eq!(run.how(&copies[0], &inbox()), How::Created);
    run.place.finish_now().unwrap();
    drop(run);
    let run = world.run(MAIL, "1");
    assert_eq!(run.how(&copies[1], &inbox()), How::Created);
    run.place.finish_now().unwrap();
    drop(run);
    assert_eq!(world.python(READ_MBOX)["Inbox.mbox"].as_array().unwrap().len(), 2);
    assert_eq!(world.undo("1"), [""; 0]);
    assert_eq!(world.files(), [""; 0]);
}

/// A kill tears a copy: the note of it must not claim the whole one.
#[test]
fn a_torn_copy_is_written_again() {
    let world = World::new(Layout::Mboxrd);
    for number in 0..8 {
        let copy = |at: i32| mail(&format!("{number} {at}"), format!("N: {number}\n\n").as_bytes());
        let copies = [copy(1), copy(2)];
        let run = world.run(MAIL, "1");
        run.put(&copies[0], &inbox()).unwrap();
        run.put_and_die(&copies[1], &inbox()).unwrap();
        drop(run);
        let path = world.root().join("anna@contoso.com/Inbox.mbox");
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(file.metadata().unwrap().len() - 1).unwrap();
        assert_eq!(world.run(MAIL, "1").how(&copies[1], &inbox()), How::Created);
        let found = world.python(READ_MBOX)["Inbox.mbox"].as_array().unwrap().len();
        assert_eq!(found, 2 * (number + 1));
    }
}

/// Somebody appends a message behind what a kill left of ours, which may be nothing: neither is taken
/// away.
#[test]
fn what_came_behind_a_torn_message_stays() {
    for left in [0, 3, 30, 1000] {
        let world = World::new(Layout::Mboxrd);
        let ours = mail("1", &[&b"A: 1\n\n"[..], &[b'x'; 3000]].concat());
        let run = world.run(MAIL, "0");
        run.put(&mail("0", b"A: 0\n\n"), &inbox()).unwrap();
        let path = world.root().join("anna@contoso.com/Inbox.mbox");
        let before = fs::read(&path).unwrap().len();
        run.put_and_die(&ours, &inbox()).unwrap();
        drop(run);
        let mut torn = fs::read(&path).unwrap();
        torn.truncate(before + left);
        torn.extend(b"From c@d Fri Jan  2 00:00:00 1970\nA: theirs\n\nhello\n\n");
        fs::write(&path, &torn).unwrap();
        let run = world.run(MAIL, "0");
        assert_eq!(run.how(&ours, &inbox()), How::Created);
        run.place.finish_now().unwrap();
        let now = fs::read(&path).unwrap();
        assert!(now.starts_with(&torn) && now.len() > torn.len() + 3000, "{left}");
    }
}

/// The directory itself was made by the run that was killed, and goes with it.
#[test]
fn a_killed_run_is_taken_back_with_the_directory_it_made() {
    let world = World::new(Layout::Mboxrd);
    fs::remove_dir(world.root()).unwrap();
    let run = world.run(MAIL, "1");
    run.put(&mail("1", b"A: 1\n\n"), &inbox()).unwrap();
    run.put_and_die(&mail("2", b"A: 2\n\n"), &inbox()).unwrap();
    drop(run);
    assert_eq!(world.undo("1"), [""; 0]);
    assert!(!world.root().exists());
}

/// The second message is cut off after every byte; another run, with another journal, repairs it.
#[test]
fn torn_tails_are_taken_away() {
    let world = World::new(Layout::Mboxrd);
    let (first, second) = (mail("1", b"A: 1\n\n"), mail("2", b"A: 2\n\nx\n\ny\n"));
    let run = world.run(MAIL, "0");
    run.put(&first, &inbox()).unwrap();
    let path = world.root().join("anna@contoso.com/Inbox.mbox");
    let start = fs::metadata(&path).unwrap().len() as usize;
    run.put_and_die(&second, &inbox()).unwrap();
    drop(run);
    let whole = fs::read(&path).unwrap();
    let tail = tail_note(&path);
    let note = fs::read(&tail).unwrap();
    for cut in start..=whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        fs::write(&tail, &note).unwrap();
        let run = world.run(MAIL, &format!("again {cut}"));
        assert_eq!(run.how(&first, &inbox()), How::Present);
        let wanted = if cut == whole.len() { How::Present } else { How::Created };
        assert_eq!(run.how(&second, &inbox()), wanted, "cut at {cut} of {}", whole.len());
        run.place.finish_now().unwrap();
        assert_eq!(fs::read(&path).unwrap(), whole);
        // The run that was killed goes on by itself as well, or is taken back.
        fs::write(&path, &whole[..cut]).unwrap();
        fs::write(&tail, &note).unwrap();
        assert_eq!(world.run(MAIL, "0").how(&second, &inbox()), How::Created);
        assert_eq!(fs::read(&path).unwrap(), whole);
    }
}

/// Somebody took out what stood before ours, and got a mail behind it.
#[test]
fn messages_are_taken_back_wherever_they_stand_by_now() {
    let world = World::new(Layout::Mboxrd);
    let path = world.root().join("anna@contoso.com/Inbox.mbox");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let (before, after) = ("From a Mon\nX: before\n\n\n", "From b Mon\nX: after\n\n\n");
    fs::write(&path, before).unwrap();
    let run = world.run(MAIL, "1");
    for name in ["1", "2", "3", "copy of 3"] {
        let bytes = format!("A: {}\n\n", name.trim_start_matches("copy of "));
        run.put(&mail(name, bytes.as_bytes()), &inbox()).unwrap();
    }
    run.place.finish_now().unwrap();
    drop(run);
    let now = fs::read_to_string(&path).unwrap();
    let ours = now.strip_prefix(before).unwrap();
    assert_eq!(ours.matches("From ").count(), 4);
    fs::write(&path, format!("{ours}{after}")).unwrap();
    assert_eq!(world.undo("1"), [""; 0]);
    assert_eq!(fs::read_to_string(&path).unwrap(), after);
    assert_eq!(world.files(), ["anna@contoso.com/Inbox.mbox"]);
}

/// Killed after a mailbox was complete: no message is left that would make the next run look there.
#[test]
fn a_complete_mailbox_keeps_no_note() {
    for is_gone in [false, true] {
        let world = World::new(Layout::Mboxrd);
        let run = world.run(MAIL, "0");
        run.put(&mail("1", b"A: 1\n\n"), &inbox()).unwrap();
        let path = world.root().join("anna@contoso.com/Inbox.mbox");
        let tail = tail_note(&path);
        assert!(tail.exists());
        drop(run);
        if is_gone {
            // Whoever takes the mailbox away meanwhile takes nothing from the run.
            fs::remove_file(&path).unwrap();
        }
        let run = world.run(MAIL, "0");
        run.place.finish_now().unwrap();
        assert!(!tail.exists());
    }
}

#[test]
fn a_mailbox_of_somebody_else() {
    let world = World::new(Layout::Mboxrd);
    let path = world.root().join("anna@contoso.com/Inbox.mbox");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "From me now\nX: y\n\nFrom the heart").unwrap();
    let before = world.tree();
    let (first, second) = (mail("1", b"A: 1\n\n"), mail("2", b"A: 2\n\n"));
    let run = world.run(MAIL, "1");
    run.put(&first, &inbox()).unwrap();
    run.put(&second, &inbox()).unwrap();
    run.place.finish_now().unwrap();
    assert_eq!(world.undo("1"), [""; 0]);
    assert_eq!(world.tree(), before);

    // Mail that came since stays, and so does what a reader changed.
    let run = world.run(MAIL, "2");
    run.put(&first, &inbox()).unwrap();
    run.put(&second, &inbox()).unwrap();
    run.place.finish_now().unwrap();
    let mut now = fs::read_to_string(&path).unwrap().replace("A: 2", "A: 2\nStatus: RO");
    now.push_str("From you later\nB: c\n\n\n");
    fs::write(&path, &now).unwrap();
    assert_eq!(world.undo("2"), [format!("{MAIL}/Inbox/2.eml")]);
    let left = fs::read_to_string(&path).unwrap();
    assert!(left.contains("X: y") && left.contains("Status") && left.ends_with("B: c\n\n\n"));
    assert!(!left.contains("A: 1"), "{left}");

    fs::write(&path, "no mailbox at all").unwrap();
    assert_eq!(world.run(MAIL, "3").put(&first, &inbox()).unwrap_err().cause(), "exists");
    assert_eq!(fs::read(&path).unwrap(), b"no mailbox at all");
}
