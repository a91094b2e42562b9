//! Content through plugins.

use std::{
    fmt::Write as _,
    io::{self, BufRead as _, Cursor, Write},
    result,
    sync::Arc,
};

use drop_attachments::DropAttachments;
use plugin_host::{ContentDecision, Host, Plugin};
use redact_pii::RedactPii;
use serde_json::json;
use tar365_plugin::{Content, ContentDecision as Decision, Filter, Manifest, Phase, native};

use crate::{
    Result,
    guest::{Guest, mail},
    plugin, rates,
};

/// Bytes of an ordinary mail, and of a large one.
const SIZES: [(usize, &str); 2] = [(50_000, "50 KB"), (16 << 20, "16 MiB")];

/// Writes the table of megabytes a second on one thread.
pub(crate) fn table(host: &Host, out: &mut impl Write) -> Result<()> {
    writeln!(out, "| content | mail | component | natively | |")?;
    writeln!(out, "|---|---|---|---|---|")?;
    for (size, name) in SIZES {
        let attached: Arc<[u8]> = attached(size).into();
        let written: Arc<[u8]> = written(size).into();
        let plugin_of = |guest: Guest| host.load(guest.source());
        let mut row = Row { out, size: name, content: &attached };
        // Takes the same time whatever the size.
        if size < 1 << 20 {
            row.write::<Ignores>(
                "a guest that keeps unread",
                &plugin_of(ignores())?,
                Decision::Keep,
            )?;
        }
        row.write::<Keeps>("one that reads and keeps", &plugin_of(keeps())?, Decision::Keep)?;
        row.write::<Copies>("one that copies", &plugin_of(copies())?, Decision::Replace)?;
        let filter = plugin(host, "drop-attachments", "")?;
        row.write::<DropAttachments>("drop-attachments", &filter, Decision::Replace)?;
        row.content = &written;
        let filter = plugin(host, "redact-pii", "")?;
        row.write::<RedactPii>("redact-pii", &filter, Decision::Replace)?;
    }
    Ok(())
}

/// Where rows go, and what they are about.
struct Row<'a, W> {
    out: &'a mut W,
    size: &'a str,
    content: &'a Arc<[u8]>,
}

impl<W: Write> Row<'_, W> {
    /// Measures a filter that answers so.
    fn write<F: Filter>(&mut self, name: &str, plugin: &Plugin, decision: Decision) -> Result<()> {
        let (component, native) = rates::both(
            1,
            || {
                let input = Cursor::new(Arc::clone(self.content));
                let (answer, _) = plugin.on_content(&mail("1"), input, io::sink());
                let expected = match &decision {
                    Decision::Replace => ContentDecision::Replace,
                    _ => ContentDecision::Keep,
                };
                assert!(matches!(&answer, Ok(answer) if *answer == expected), "{name}: {answer:?}");
            },
            || {
                let item = native::item("mail", "message", json!({"id": "1"}));
                let answer = native::on_content::<F>("", &item, &self.content[..], io::sink());
                assert_eq!(answer.as_ref(), Ok(&decision), "{name}");
            },
        );
        let megabytes = u32::try_from(self.content.len()).map_or(f64::NAN, f64::from) / 1e6;
        writeln!(
            self.out,
            "| {name} | {} | {:.0} MB/s | {:.0} MB/s | {:.0} % |",
            self.size,
            component * megabytes,
            native * megabytes,
            100.0 * component / native
        )?;
        Ok(())
    }
}

/// A mail whose size is in what is attached to it.
fn attached(size: usize) -> Vec<u8> {
    let mut mail = String::from(
        "From: ada@contoso.example\r\nTo: ben@contoso.example\r\nSubject: report\r\n\
         MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=parts\r\n\r\n\
         --parts\r\nContent-Type: text/plain\r\n\r\nPlease find it attached.\r\n\
         --parts\r\nContent-Type: application/pdf; name=report.pdf\r\n\
         Content-Disposition: attachment; filename=report.pdf\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n",
    );
    // Base64 of no pattern that something could be quick about.
    let mut state = 365_u64;
    while mail.len() < size {
        for _ in 0..76 {
            const ALPHABET: &[u8; 64] =
                b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            mail.push(char::from(ALPHABET[(state >> 58) as usize]));
        }
        mail.push_str("\r\n");
    }
    mail.push_str("--parts--\r\n");
    mail.into_bytes()
}

/// A mail that is all text, with something to redact every few lines.
fn written(size: usize) -> Vec<u8> {
    let mut mail = String::from(
        "From: ada@contoso.example\r\nTo: ben@contoso.example\r\nSubject: minutes\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: 8bit\r\n\r\n",
    );
    for number in 0.. {
        if mail.len() >= size {
            break;
        }
        for line in 0..20 {
            write!(mail, "{number}.{line}: what we said, and who is to do it until then.\r\n")
                .expect("a string takes all");
        }
        mail.push_str(
            "The card is 4111 1111 1111 1111, the account DE89 3704 0044 0532 0130 00.\r\n",
        );
    }
    mail.into_bytes()
}

/// A guest that answers without a look at the content.
fn ignores() -> Guest {
    Guest::new("ignores").phases(&[2])
}

/// A guest that reads all content and keeps it.
pub(crate) fn keeps() -> Guest {
    Guest::new("keeps").on_content(
        "(loop $l
           (call $reset)
           (call $read (i32.const 65536) (i32.const 64))
           (br_if $l (i32.load (i32.const 68))))
         (call $keep)",
    )
}

/// A guest that copies all content.
pub(crate) fn copies() -> Guest {
    Guest::new("copies").on_content(
        "(loop $l
           (call $reset)
           (call $read (i32.const 65536) (i32.const 64))
           (call $write (i32.load (i32.const 64)) (i32.load (i32.const 68)))
           (br_if $l (i32.load (i32.const 68))))
         (call $replace)",
    )
}

/// Makes a filter for content of a function.
macro_rules! filter {
    ($(#[$about:meta])* $name:ident, |$content:ident| $body:block) => {
        $(#[$about])*
        struct $name;

        impl Filter for $name {
            const MANIFEST: Manifest<'static> = Manifest {
                name: stringify!($name),
                version: "1.0.0",
                author: "",
                description: "",
                phases: &[Phase::Content],
                services: &[],
            };

            fn configure(_: &str) -> result::Result<Self, String> {
                Ok($name)
            }

            fn on_content(
                &self,
                _: &tar365_plugin::Item,
                $content: &mut Content<'_>,
            ) -> result::Result<Decision, String> $body
        }
    };
}

filter!(
    /// What [`ignores`] is, natively.
    Ignores,
    |_content| { Ok(Decision::Keep) }
);

filter!(
    /// What [`keeps`] is, natively.
    Keeps,
    |content| {
        loop {
            let read = content.fill_buf().map_err(|error| error.to_string())?.len();
            if read == 0 {
                return Ok(Decision::Keep);
            }
            content.consume(read);
        }
    }
);

filter!(
    /// What [`copies`] is, natively.
    Copies,
    |content| {
        loop {
            let chunk = content.fill_buf().map_err(|error| error.to_string())?.to_vec();
            if chunk.is_empty() {
                return Ok(Decision::Replace);
            }
            content.consume(chunk.len());
            content.write_all(&chunk).map_err(|error| error.to_string())?;
        }
    }
);
