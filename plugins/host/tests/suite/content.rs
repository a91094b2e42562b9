//! The content phase: bytes through, decisions, errors of the two ends.

use std::{
    io::{self, Read, Write},
    sync::{
        Arc, Barrier,
        atomic::{AtomicU64, Ordering},
    },
};

use plugin_host::{Cause, ContentDecision, ContentError};
use sha2::{Digest as _, Sha256};

use crate::guest::{Guest, mail};

/// Copies all content in pieces of at most `piece` bytes.
fn copier(piece: u32) -> Guest {
    Guest::new("copier").on_content(&format!(
        "(loop $l
           (call $reset)
           (call $read (i32.const {piece}) (i32.const 64))
           (call $write (i32.load (i32.const 64)) (i32.load (i32.const 68)))
           (br_if $l (i32.load (i32.const 68))))
         (call $replace)"
    ))
}

/// Pseudo-random bytes, made as they are read.
struct Noise {
    state: u64,
    left: u64,
}

impl Read for Noise {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        for eight in buffer[..count].chunks_mut(8) {
            self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            eight.copy_from_slice(&self.state.to_be_bytes()[..eight.len()]);
        }
        self.left -= count as u64;
        Ok(count)
    }
}

/// Counts and digests what it is given.
#[derive(Default)]
struct Sink {
    bytes: u64,
    digest: Sha256,
}

impl Write for Sink {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.bytes += buffer.len() as u64;
        self.digest.update(buffer);
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn hundreds_of_megabytes_pass_through_a_mebibyte() {
    const SIZE: u64 = 300 << 20;
    let noise = || Noise { state: 1, left: SIZE };
    let (decision, sink) = copier(65536).load().on_content(&mail("1"), noise(), Sink::default());
    assert_eq!(decision.unwrap(), ContentDecision::Replace);
    assert_eq!(sink.bytes, SIZE);
    let mut expected = Sink::default();
    io::copy(&mut noise(), &mut expected).unwrap();
    assert_eq!(sink.digest.finalize(), expected.digest.finalize());
}

#[test]
fn all_three_decisions_are_to_be_had() {
    let mut guest = Guest::new("decides");
    let reason = guest.text("too\tsecret");
    let bodies = [
        ("(call $keep)".to_owned(), ContentDecision::Keep),
        (format!("(call $drop {reason})"), ContentDecision::Drop("too\\tsecret".into())),
        ("(call $replace)".to_owned(), ContentDecision::Replace),
    ];
    for (body, expected) in bodies {
        let plugin = guest.clone().on_content(&body).load();
        let (decision, written) = plugin.on_content(&mail("1"), &b"abc"[..], Vec::new());
        assert_eq!((decision.unwrap(), written), (expected, Vec::new()));
    }
    let refusal = guest.clone().on_content(&format!("(call $refuse {reason})")).load();
    match refusal.on_content(&mail("1"), &b"abc"[..], Vec::new()).0 {
        Err(ContentError::Failure(failure)) => assert_eq!(failure.cause, Cause::Refused),
        other => panic!("{other:?}"),
    }
}

/// Notes the length of each piece in the output, four bytes each.
fn measurer(max: u32) -> Guest {
    Guest::new("measurer").on_content(&format!(
        "(loop $l
           (call $reset)
           (call $read (i32.const {max}) (i32.const 64))
           (call $write (i32.const 68) (i32.const 4))
           (br_if $l (i32.load (i32.const 68))))
         (call $replace)"
    ))
}

/// Gives one byte at a time, with interruptions.
struct Dripping {
    left: usize,
    interrupted: bool,
}

impl Read for Dripping {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.interrupted = !self.interrupted;
        if self.interrupted {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let count = 1.min(self.left).min(buffer.len());
        self.left -= count;
        Ok(count)
    }
}

#[test]
fn pieces_depend_on_the_guest_and_not_on_how_bytes_arrive() {
    let lengths = |max: u32, dripping: bool| -> Vec<u32> {
        let plugin = measurer(max).load();
        let written = if dripping {
            let input = Dripping { left: 150_000, interrupted: false };
            plugin.on_content(&mail("1"), input, Vec::new()).1
        } else {
            plugin.on_content(&mail("1"), io::repeat(0).take(150_000), Vec::new()).1
        };
        written.chunks(4).map(|four| u32::from_le_bytes(four.try_into().unwrap())).collect()
    };
    let whole = [65536, 65536, 18928, 0];
    assert_eq!(lengths(65536, false), whole);
    assert_eq!(lengths(65536, true), whole);
    assert_eq!(lengths(u32::MAX, false), whole); // never more than 64 KiB
    assert_eq!(lengths(100_000, true), whole);
    assert_eq!(lengths(50_000, true), [50_000, 50_000, 50_000, 0]);
}

#[test]
fn a_guest_that_asks_for_nothing_gets_nothing() {
    let (decision, written) = measurer(0).load().on_content(&mail("1"), &b"abc"[..], Vec::new());
    assert_eq!((decision.unwrap(), written), (ContentDecision::Replace, vec![0; 4]));
}

/// Fails after some bytes.
struct Breaking {
    left: u64,
    read: Arc<AtomicU64>,
}

impl Breaking {
    fn take(&mut self, count: usize) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other("the cable is cut"));
        }
        let count = count.min(usize::try_from(self.left).unwrap());
        self.left -= count as u64;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl Read for Breaking {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.take(buffer.len())
    }
}

impl Write for Breaking {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.take(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn breaking(left: u64) -> Breaking {
    Breaking { left, read: Arc::default() }
}

#[test]
fn broken_input_is_not_the_plugins_fault() {
    let input = breaking(200_000);
    let read = Arc::clone(&input.read);
    let (decision, written) = copier(65536).load().on_content(&mail("1"), input, Vec::new());
    match decision {
        Err(ContentError::Input(error)) => assert_eq!(error.to_string(), "the cable is cut"),
        other => panic!("{other:?}"),
    }
    assert_eq!(read.load(Ordering::Relaxed), 200_000);
    assert_eq!(written.len(), 3 * 65536);
}

#[test]
fn broken_output_is_not_the_plugins_fault_and_comes_back() {
    let input = io::repeat(1).take(1 << 20);
    let (decision, output) = copier(65536).load().on_content(&mail("1"), input, breaking(100_000));
    match decision {
        Err(ContentError::Output(error)) => assert_eq!(error.to_string(), "the cable is cut"),
        other => panic!("{other:?}"),
    }
    assert_eq!(output.read.load(Ordering::Relaxed), 100_000);
}

#[test]
fn output_comes_back_from_a_guest_that_traps() {
    let guest =
        Guest::new("half").on_content("(call $write (i32.const 0) (i32.const 10)) unreachable");
    let (decision, written) = guest.load().on_content(&mail("1"), io::empty(), Vec::new());
    assert!(
        matches!(decision, Err(ContentError::Failure(failure)) if failure.cause == Cause::Trap)
    );
    assert_eq!(written.len(), 10);
}

/// Calls that a host runs at the same time.
const AT_ONCE: u64 = 256;

/// Holds the first of all calls until as many as possible are under way.
struct Gathering {
    noise: Noise,
    started: Arc<AtomicU64>,
    barrier: Arc<Barrier>,
    waited: bool,
}

impl Read for Gathering {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.waited && self.started.fetch_add(1, Ordering::SeqCst) < AT_ONCE {
            self.barrier.wait();
        }
        self.waited = true;
        self.noise.read(buffer)
    }
}

#[test]
fn many_calls_run_at_once_and_more_wait() {
    // Each takes as many memories as a plugin may have.
    let memories = "(memory 0)".repeat(7);
    let plugin = copier(4096).core(&memories).load();
    let (started, barrier) = (Arc::default(), Arc::new(Barrier::new(256)));
    let call = |number: u64| {
        let input = Gathering {
            noise: Noise { state: number, left: 20_000 + number },
            started: Arc::clone(&started),
            barrier: Arc::clone(&barrier),
            waited: false,
        };
        let (decision, sink) = plugin.on_content(&mail("1"), input, Sink::default());
        decision.map(|_| sink.bytes)
    };
    let call = &call;
    std::thread::scope(|scope| {
        let calls: Vec<_> =
            (0..AT_ONCE + 100).map(|number| scope.spawn(move || call(number))).collect();
        for (call, number) in calls.into_iter().zip(0..) {
            assert_eq!(call.join().unwrap().unwrap(), 20_000 + number);
        }
    });
}
