//! Archives that are none.

use super::*;

/// A sealed archive, and what bad luck can make of it.
fn broken_archives() -> Vec<(&'static str, Vec<u8>)> {
    let tenant = tenant(Credentials::default());
    let whole = tenant.export(&[]).expect(0).stdout;
    let fault = "token-expiry:rate=1,after=30".parse().unwrap();
    let refused = Tenant::start(Options { faults: vec![fault], ..small() });
    let poisoned = refused.export(&[]).expect(77).stdout;
    let mut flipped = whole.clone();
    let middle = whole.len() / 2;
    flipped[middle] ^= 1;
    let mut longer = whole.clone();
    longer.extend_from_slice(&[0; 512]);
    let mut spliced = whole.clone();
    spliced.drain(512..1024);
    vec![
        ("empty", Vec::new()),
        ("one byte", whole[..1].to_vec()),
        ("cut in a header", whole[..300].to_vec()),
        ("cut at a block", whole[..whole.len() / 2 / 512 * 512].to_vec()),
        ("cut in a block", whole[..whole.len() / 2 + 77].to_vec()),
        ("without the last byte", whole[..whole.len() - 1].to_vec()),
        ("without the end blocks", whole[..whole.len() - 1024].to_vec()),
        ("without the seal", whole[..whole.len() - 1024 - 4096 - 512].to_vec()),
        ("poisoned", poisoned),
        ("a flipped bit", flipped),
        ("more behind the end", longer),
        ("a missing block", spliced),
        ("text", b"This is not an archive.\n".repeat(1000)),
        ("zeros", vec![0; 10_240]),
        ("gzip of nothing", vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]),
        ("zstd of nothing", vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0]),
    ]
}

#[test]
fn archives_that_are_none() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.tar");
    let name = file.to_str().unwrap();
    for (what, bytes) in broken_archives() {
        std::fs::write(&file, &bytes).unwrap();
        for input in [name, "-"] {
            let target = dir.path().join("out");
            let out = target.to_str().unwrap();
            for arguments in [
                &["verify", input][..],
                &["verify", "--json", input],
                &["extract", input, "-C", out],
                &["list", input],
                &["list", "--json", input],
                &["cat", input, "no/such/member"],
            ] {
                let done = run_with(tar365(arguments), &bytes);
                let told = format!("{what}: {arguments:?}:\n{}", done.stderr);
                // A list need not look at every byte, and tapes pad what is read from a pipe: what
                // such readers hand out is proven all the same.
                let lenient = match what {
                    "a flipped bit" => arguments[0] == "list",
                    "more behind the end" => arguments[0] == "list" || input == "-",
                    _ => false,
                } && arguments[0] != "verify";
                assert!(done.code == 1 || (lenient && done.code == 0), "{}: {told}", done.code);
                if done.code == 1 {
                    assert_message(
                        &Run { code: 1, stdout: Vec::new(), stderr: done.stderr },
                        &[],
                        None,
                    );
                }
                match arguments[0] {
                    "cat" => assert!(done.stdout.is_empty(), "{told}"),
                    // What is bad, and where, is what verify has to say; it can't of what does not
                    // unpack.
                    "verify" if !what.ends_with("of nothing") => {
                        assert!(!done.stdout.is_empty(), "{told}")
                    }
                    _ => {}
                }
                if arguments[0] == "extract" && input == name && what.starts_with("cut") {
                    assert!(
                        !target.exists() || std::fs::read_dir(&target).unwrap().count() == 0,
                        "{told}"
                    );
                }
                let _ = std::fs::remove_dir_all(&target);
            }
        }
    }
    for verb in ["verify", "list", "extract"] {
        for path in ["/no/such/archive.tar", "/"] {
            let done = run(tar365(&[verb, path])).expect(1);
            assert_message(&done, &[path], None);
        }
    }
}

/// What is whole in a broken archive can still be had, by name.
#[test]
fn one_member_of_a_broken_archive() {
    let tenant = tenant(Credentials::default());
    let whole = tenant.export(&[]).expect(0).stdout;
    let archive = Archive::new(&whole);
    let mail = archive.members.iter().find(|member| member.path.ends_with(".eml")).unwrap();
    let cut = &whole[..whole.len() - 6000];
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("cut.tar");
    std::fs::write(&file, cut).unwrap();
    for input in [file.to_str().unwrap(), "-"] {
        let done = run_with(tar365(&["cat", input, &mail.path]), cut).expect(0);
        assert_eq!(done.stdout, mail.content);
    }
    let out: PathBuf = dir.path().join("out");
    let flags = ["extract", file.to_str().unwrap(), "-C", out.to_str().unwrap(), "--incomplete"];
    run(tar365(&flags)).expect(0);
    assert_eq!(std::fs::read(out.join(&mail.path)).unwrap(), mail.content);
}

/// A bit that flipped in a member is noticed by whoever reads it.
#[test]
fn a_member_that_is_not_what_it_was() {
    let tenant = tenant(Credentials::default());
    let whole = tenant.export(&[]).expect(0).stdout;
    let archive = Archive::new(&whole);
    let mail = archive.members.iter().find(|member| member.path.ends_with(".eml")).unwrap();
    let at = whole.windows(64).position(|window| window == &mail.content[..64]).unwrap();
    let mut flipped = whole.clone();
    flipped[at + 10] ^= 4;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("flipped.tar");
    std::fs::File::create(&file).unwrap().write_all(&flipped).unwrap();
    for input in [file.to_str().unwrap(), "-"] {
        let done = run_with(tar365(&["cat", input, &mail.path]), &flipped).expect(1);
        assert_message(&done, &["digest"], None);
        let out = dir.path().join("out");
        let done =
            run_with(tar365(&["extract", input, "-C", out.to_str().unwrap()]), &flipped).expect(1);
        assert!(done.stderr.contains(&mail.path), "{}", done.stderr);
        assert!(!out.join(&mail.path).exists(), "what is wrong is not kept");
        std::fs::remove_dir_all(&out).unwrap();
    }
}
