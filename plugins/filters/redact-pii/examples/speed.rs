//! How fast text, HTML and mail pass through the filter, natively: MB of content per second of one
//! core. `cargo run --release -p redact-pii --example speed`
#![expect(clippy::print_stdout, reason = "it is for the eyes")]

use std::fmt::Write as _;
use std::time::Instant;

use redact_pii::RedactPii;
use serde_json::json;
use tar365_plugin::native;

/// Bytes of a sample.
const SIZE: usize = 16 << 20;

fn main() {
    let mut prose = String::new();
    for number in 0_u64.. {
        let word = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44;
        let _ = writeln!(
            prose,
            "Dear all, order {word} of 2026-03-14 was shipped to room {}, see https://x.example/{word:x}. \
             Call +49 30 {word} before noon; the minutes of the meeting are attached.\r",
            number % 900
        );
        if prose.len() > SIZE {
            break;
        }
    }
    let html = prose.replace("\r\n", "<br>\r\n<p class=\"MsoNormal\">&nbsp;<b>x</b></p>\r\n");
    let wide: String =
        prose.replace("all", "\u{fc}\u{df} alle").replace("noon", "\u{6b63}\u{5348}");
    let head = "Subject: x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n";
    for (name, content) in [
        ("a.txt", prose.clone()),
        ("wide.txt", wide),
        ("a.html", html),
        ("a.eml", format!("{head}{prose}")),
    ] {
        let item = native::item("onedrive", "file", json!({ "id": "1", "name": name }));
        let start = Instant::now();
        let answer =
            native::on_content::<RedactPii>("", &item, content.as_bytes(), std::io::sink());
        let seconds = start.elapsed().as_secs_f64();
        let speed = content.len() as f64 / seconds / 1e6;
        println!("{name}: {speed:.0} MB/s ({})", if answer.is_ok() { "ok" } else { "failed" });
    }
}
