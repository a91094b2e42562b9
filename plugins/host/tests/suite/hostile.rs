//! Guests that mean harm end in an error of their own kind, within their limits. That these tests
//! end at all shows that fuel bounds every one of them.

use std::{
    io::{self, Read},
    sync::Arc,
};

use plugin_host::{
    Cause, Chain, ContentError, Error, Failure, Host, Item, Limits, MetadataDecision, Verdict,
};

use crate::guest::{Guest, host, limits, mail};

fn failure(guest: &Guest) -> Failure {
    guest.load().on_metadata(&mail("1")).unwrap_err()
}

fn content_failure(guest: &Guest, input: impl Read + Send + 'static) -> Failure {
    match guest.load().on_content(&mail("1"), input, io::sink()).0 {
        Err(ContentError::Failure(failure)) => failure,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_endless_loop_runs_out_of_fuel() {
    let failure = failure(&Guest::new("loop").on_metadata("(loop $l (br $l)) (call $keep)"));
    assert_eq!((failure.cause, failure.plugin.as_str()), (Cause::Fuel, "loop"));
    assert!(failure.to_string().starts_with("plugin loop: "), "{failure}");
}

/// The body this many times.
fn repeated(times: u32, body: &str) -> String {
    format!(
        "(loop $l
           {body}
           (local.set $i (i32.add (local.get $i) (i32.const 1)))
           (br_if $l (i32.lt_u (local.get $i) (i32.const {times}))))
         (call $keep)"
    )
}

#[test]
fn cheap_looking_instructions_cost_what_they_do() {
    // 128 times 64 KiB are more bytes than there is fuel, and hardly any instructions.
    let fill = "(memory.fill (i32.const 0) (i32.const 0) (i32.const 65536))";
    let copy = "(memory.copy (i32.const 1) (i32.const 0) (i32.const 65536))";
    for body in [fill, copy] {
        let guest = |times| Guest::new("bulk").on_metadata(&repeated(times, body));
        assert_eq!(failure(&guest(128)).cause, Cause::Fuel);
        guest(32).load().on_metadata(&mail("1")).unwrap();
    }
}

#[test]
fn calls_of_the_host_cost_what_they_do() {
    let mut guest = Guest::new("calls");
    let root = guest.text("");
    // 80 kB a call: with 5 M fuel that is 60 calls. Their own instructions would afford 10^5.
    let bodies = [
        (100, "(call $metadata (i32.const 64))".to_owned()),
        (100, format!("(call $value {root} (i32.const 64))")),
        (100, "(call $settings (i32.const 64))".to_owned()),
        (100, "(call $log (i32.const 0) (i32.const 0) (i32.const 80000))".to_owned()),
        // Nothing passes, and it is still a call.
        (48_000, "(call $log (i32.const 0) (i32.const 0) (i32.const 0))".to_owned()),
    ];
    let metadata: Arc<str> = format!("{{\"a\":\"{}\"}}", "x".repeat(80_000)).into();
    let item = Item { metadata, ..mail("1") };
    for (times, body) in bodies {
        let answer = |times| {
            let body = repeated(times, &format!("(call $reset) {body}"));
            let mut source = guest.clone().pages(4).on_metadata(&body).source();
            source.settings = vec![b'x'; 80_000];
            host().load(source).unwrap().on_metadata(&item)
        };
        assert_eq!(answer(times).unwrap_err().cause, Cause::Fuel, "{body}");
        assert_eq!(answer(times / 2), Ok(MetadataDecision::Keep), "{body}");
    }
}

#[test]
fn a_memory_bomb_hits_the_limit() {
    let bomb = "(loop $l (drop (memory.grow (i32.const 1))) (br $l)) (call $keep)";
    let failed = failure(&Guest::new("bomb").on_metadata(bomb));
    assert_eq!(failed.cause, Cause::Memory);
    assert!(failed.message.contains("1048576"), "{failed}");
    let at_once = "(drop (memory.grow (i32.const 65000))) (call $keep)";
    assert_eq!(failure(&Guest::new("bomb").on_metadata(at_once)).cause, Cause::Memory);
    let beyond_all = "(drop (memory.grow (i32.const -1))) (call $keep)";
    assert_eq!(failure(&Guest::new("bomb").on_metadata(beyond_all)).cause, Cause::Memory);
}

#[test]
fn memories_are_counted_together() {
    // Each is below the limit of 16 pages.
    let guest = Guest::new("split")
        .core("(memory $second 10)")
        .on_metadata("(drop (memory.grow $second (i32.const 5))) (call $keep)");
    assert_eq!(failure(&guest).cause, Cause::Memory);
    Guest::new("small").core("(memory $second 10)").load().on_metadata(&mail("1")).unwrap();
}

#[test]
fn a_table_bomb_hits_the_limit() {
    let guest = Guest::new("tables")
        .core("(table $t 1 funcref)")
        .on_metadata("(drop (table.grow $t (ref.null func) (i32.const 100000))) (call $keep)");
    assert_eq!(failure(&guest).cause, Cause::Memory);
}

#[test]
fn a_crowd_of_instances_is_refused() {
    let crowd = |count: usize| {
        let instances = "(core instance (instantiate $empty))".repeat(count);
        Guest::new("crowd").import(&format!("(core module $empty) {instances}")).try_load()
    };
    crowd(40).unwrap();
    match crowd(100) {
        Err(Error::Failed(failure)) => assert_eq!(failure.cause, Cause::Memory, "{failure}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn endless_recursion_overflows_the_stack() {
    let guest = Guest::new("deep")
        .core("(func $deep (param i32) (result i32) (i32.add (i32.const 1) (call $deep (i32.add (local.get 0) (i32.const 1)))))")
        .on_metadata("(drop (call $deep (i32.const 0))) (call $keep)");
    assert_eq!(failure(&guest).cause, Cause::Stack);
}

#[test]
fn an_answer_of_a_gibibyte_is_refused() {
    // All of it is there, and untouched by guest and host.
    let limits = Limits { memory: 2 << 30, ..limits() };
    let host = Host::new(&limits, None).unwrap();
    for answer in ["$drop", "$change", "$refuse"] {
        for size in [1 << 30, 17 << 20] {
            let guest = Guest::new("big").on_metadata(&format!(
                "(drop (memory.grow (i32.const 16384)))
                 (call {answer} (i32.const 65536) (i32.const {size}))"
            ));
            let plugin = host.load(guest.source()).unwrap();
            let failure = plugin.on_metadata(&mail("1")).unwrap_err();
            assert_eq!(failure.cause, Cause::Answer, "{answer}: {failure}");
        }
    }
}

#[test]
fn the_longest_metadata_fits_into_an_answer() {
    let longest = usize::try_from(archive::metadata::MAX_LINE).unwrap();
    let limits = Limits { memory: 64 << 20, fuel: 1_000_000_000, ..limits() };
    let guest = Guest::new("long").on_metadata(
        "(call $metadata (i32.const 64))
         (call $change (i32.load (i32.const 64)) (i32.load (i32.const 68)))",
    );
    let plugin = Host::new(&limits, None).unwrap().load(guest.source()).unwrap();
    let item = |size: usize| {
        let metadata = format!("{{\"a\":\"{}\"}}", "x".repeat(size - 8));
        Item { metadata: metadata.into(), ..mail("1") }
    };
    let long = item(longest);
    // Not by assert_eq, which would print it.
    assert!(plugin.on_metadata(&long) == Ok(MetadataDecision::Change(long.metadata.to_string())));
    // As a line of the archive it would be too long, with what is around it.
    let chain = Chain::new(vec![plugin]);
    assert_eq!(chain.on_metadata(&long).unwrap_err().cause, Cause::Answer);
    let fitting = item(longest - 64 * 1024);
    assert!(chain.on_metadata(&fitting) == Ok(Verdict::Change(fitting.metadata.to_string())));
}

#[test]
fn nonsense_is_no_answer() {
    let mut guest = Guest::new("nonsense");
    let latin1 = guest.text(b"\xe9t\xe9");
    let bodies = [
        format!("(call $drop {latin1})"),
        format!("(call $refuse {latin1})"),
        "(call $answer (i32.const 9) (i32.const 0) (i32.const 0))".to_owned(), // no such case
        "(call $drop (i32.const -8) (i32.const 8))".to_owned(),                // outside of memory
        "(i32.const 13)".to_owned(),                                           // not aligned
        "(i32.const -4)".to_owned(),
        format!("(call $log (i32.const 0) {latin1}) (call $keep)"),
    ];
    for body in bodies {
        let failure = failure(&guest.clone().on_metadata(&body));
        assert_eq!(failure.cause, Cause::Answer, "{body}: {failure}");
    }
}

#[test]
fn a_trap_on_every_third_item_fails_those_and_no_others() {
    // The last digit of the id modulo three.
    let plugin = Guest::new("third")
        .on_metadata(
            "(call $get (i32.const 64))
             (local.set $i (i32.sub (i32.add (i32.load (i32.const 64)) (i32.load (i32.const 68)))
               (i32.const 1)))
             (if (i32.eqz (i32.rem_u (i32.sub (i32.load8_u (local.get $i)) (i32.const 48))
               (i32.const 3))) (then unreachable))
             (call $keep)",
        )
        .load();
    for number in 0..30_u32 {
        let decision = plugin.on_metadata(&mail(&number.to_string()));
        if (number % 10).is_multiple_of(3) {
            let failure = decision.unwrap_err();
            assert_eq!((failure.cause, failure.cause.word()), (Cause::Trap, "plugin-trap"));
            assert!(failure.message.contains("unreachable"), "{failure}");
        } else {
            assert_eq!(decision, Ok(MetadataDecision::Keep));
        }
    }
}

#[test]
fn an_error_of_the_guest_is_shown_harmless_and_short() {
    let mut guest = Guest::new("sorry");
    let text = guest.text(format!("\u{1b}[31mno\n{}", "x".repeat(10_000)));
    let failure = failure(&guest.on_metadata(&format!("(call $refuse {text})")));
    assert_eq!((failure.cause, failure.cause.word()), (Cause::Refused, "plugin-error"));
    assert!(failure.message.contains("\\u{1b}[31mno\\n"), "{failure}");
    assert!(!failure.message.contains(char::is_control) && failure.message.len() < 5_000);
}

#[test]
fn content_is_not_to_be_had_by_metadata() {
    let calls =
        ["(call $read (i32.const 1) (i32.const 64))", "(call $write (i32.const 0) (i32.const 1))"];
    for call in calls {
        let failure = failure(&Guest::new("eager").on_metadata(&format!("{call} (call $keep)")));
        assert_eq!(failure.cause, Cause::Trap);
        assert!(failure.message.contains("outside on-content"), "{failure}");
    }
}

#[test]
fn a_write_of_over_a_mebibyte_traps() {
    let limits = Limits { memory: 4 << 20, fuel: 100_000_000, ..limits() };
    let host = Host::new(&limits, None).unwrap();
    let guest = |size: u32| {
        Guest::new("wide")
            .pages(40)
            .on_content(&format!("(call $write (i32.const 0) (i32.const {size})) (call $replace)"))
    };
    let write = |size: u32| {
        let plugin = host.load(guest(size).source()).unwrap();
        plugin.on_content(&mail("1"), io::empty(), Vec::new())
    };
    let (decision, written) = write(1 << 20);
    assert_eq!(
        (decision.unwrap(), written.len()),
        (plugin_host::ContentDecision::Replace, 1 << 20)
    );
    match write((1 << 20) + 1) {
        (Err(ContentError::Failure(failure)), written) => {
            assert_eq!(failure.cause, Cause::Trap);
            assert!(written.is_empty());
        }
        other => panic!("{:?}", other.0),
    }
}

#[test]
fn a_flood_of_writes_runs_dry() {
    let flood = Guest::new("flood").on_content(
        "(loop $l (call $write (i32.const 0) (i32.const 65536)) (br $l)) (call $replace)",
    );
    let (decision, written) = flood.load().on_content(&mail("1"), io::empty(), Vec::new());
    match decision {
        Err(ContentError::Failure(failure)) => assert_eq!(failure.cause, Cause::Fuel),
        other => panic!("{other:?}"),
    }
    let afforded = usize::try_from(limits().fuel).unwrap() / 64;
    assert!((65536..=afforded).contains(&written.len()), "{}", written.len());
}

#[test]
fn reading_on_after_the_end_gives_nothing_and_ends() {
    let once = Guest::new("after").on_content(
        "(call $read (i32.const 100) (i32.const 64))
         (if (i32.ne (i32.load (i32.const 68)) (i32.const 3)) (then unreachable))
         (call $read (i32.const 100) (i32.const 64))
         (if (i32.load (i32.const 68)) (then unreachable))
         (call $read (i32.const 100) (i32.const 64))
         (if (i32.load (i32.const 68)) (then unreachable))
         (call $keep)",
    );
    once.load().on_content(&mail("1"), &b"abc"[..], io::sink()).0.unwrap();
    let endless = Guest::new("after")
        .on_content("(loop $l (call $read (i32.const 100) (i32.const 64)) (br $l)) (call $keep)");
    assert_eq!(content_failure(&endless, &b"abc"[..]).cause, Cause::Fuel);
}

#[test]
fn fuel_of_content_does_not_pile_up_for_ever() {
    // 100 MiB of content grant 10^10, and a memory full of content only 10^8.
    let spend = |rounds: u32| {
        let guest = Guest::new("hoard").on_content(&format!(
            "(loop $l (call $reset) (call $read (i32.const 65536) (i32.const 64))
               (br_if $l (i32.load (i32.const 68))))
             {}",
            repeated(rounds, "")
        ));
        guest.load().on_content(&mail("1"), io::repeat(7).take(100 << 20), io::sink()).0
    };
    assert!(spend(5_000_000).is_ok());
    match spend(50_000_000) {
        Err(ContentError::Failure(failure)) => assert_eq!(failure.cause, Cause::Fuel),
        other => panic!("{other:?}"),
    }
}
