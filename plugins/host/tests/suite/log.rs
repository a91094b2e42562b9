//! What a guest says reaches the operator's log with the plugin's name and the item, and no more.

use std::{
    io,
    sync::{Arc, Mutex},
};

use plugin_host::MetadataDecision;
use tracing_subscriber::fmt::MakeWriter;

use crate::guest::{Guest, mail};

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// The lines that are logged while `plugin` decides.
fn lines(guest: &Guest) -> Vec<String> {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(log.clone())
        .with_ansi(false)
        .with_max_level(tracing::Level::TRACE)
        .finish();
    let plugin = guest.load();
    tracing::subscriber::with_default(subscriber, || {
        assert_eq!(plugin.on_metadata(&mail("the-id")), Ok(MetadataDecision::Keep));
    });
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    text.lines().filter(|line| line.contains("the-id")).map(str::to_owned).collect()
}

#[test]
fn messages_carry_level_plugin_and_item_and_cannot_steer_the_terminal() {
    let mut guest = Guest::new("talker");
    let text = guest.text("a\u{1b}[2Jb\nWARN forged");
    let body: String =
        (0..4).map(|level| format!("(call $log (i32.const {level}) {text})")).collect();
    let lines = lines(&guest.on_metadata(&format!("{body} (call $keep)")));
    let levels = ["DEBUG", "INFO", "WARN", "ERROR"];
    assert_eq!(lines.len(), levels.len(), "{lines:?}");
    for (line, level) in lines.iter().zip(levels) {
        assert!(line.contains(level), "{line}");
        assert!(line.contains("plugin=\"talker\""), "{line}");
        assert!(line.contains(" plugin: "), "{line}"); // the target
        assert!(line.contains("users/ann@example.org/mail/Inbox/a.eml"), "{line}");
        assert!(line.contains("a\\u{1b}[2Jb\\nWARN forged"), "{line}");
    }
}

#[test]
fn messages_are_cut_and_counted() {
    let mut guest = Guest::new("babbler");
    let text = guest.text("x".repeat(5_000));
    let body = format!(
        "(loop $l
           (call $log (i32.const 2) {text})
           (local.set $i (i32.add (local.get $i) (i32.const 1)))
           (br_if $l (i32.lt_u (local.get $i) (i32.const 100))))
         (call $keep)"
    );
    let lines = lines(&guest.on_metadata(&body));
    assert_eq!(lines.len(), 64);
    for line in lines {
        assert!(line.contains(&format!("{}...", "x".repeat(4096))), "{line}");
        assert!(!line.contains(&"x".repeat(4097)), "{line}");
    }
}
