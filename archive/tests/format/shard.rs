//! Shards: who belongs to which, by the rule of `doc/format.md` 3.1.

use archive::{Selection, Shard};

/// Object ids as the service makes them.
fn ids(count: u64) -> Vec<String> {
    use sha2::{Digest, Sha256};
    let id = |number: u64| {
        let hex = archive::hex(&Sha256::digest(number.to_be_bytes()).into());
        let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..32]];
        parts.join("-")
    };
    (0..count).map(id).collect()
}

fn shards(of: u32) -> Vec<Shard> {
    (0..of).map(|index| Shard::new(index, of).unwrap()).collect()
}

/// The shard of each id; fails if one has none or several.
fn assigned(ids: &[String], of: u32) -> Vec<usize> {
    let shards = shards(of);
    let of_id = |id: &String| {
        let mut holders = (0..shards.len()).filter(|number| shards[*number].holds(id));
        let first = holders.next().unwrap_or_else(|| panic!("{id}: no shard of {of}"));
        assert_eq!(holders.next(), None, "{id}: two shards of {of}");
        first
    };
    ids.iter().map(of_id).collect()
}

#[test]
fn every_owner_is_in_exactly_one_shard() {
    let ids = ids(40);
    for of in 1..=64 {
        assigned(&ids, of);
    }
}

#[test]
fn one_more_shard_takes_its_share_and_moves_nobody_else() {
    let ids = ids(300);
    let mut before = assigned(&ids, 1);
    for of in 2..=24_usize {
        let after = assigned(&ids, u32::try_from(of).unwrap());
        let mut moved = 0;
        for (before, after) in before.iter().zip(&after) {
            assert!(before == after || *after == of - 1, "{before} to {after} of {of}");
            moved += usize::from(before != after);
        }
        // The share of the new one, give or take four standard deviations.
        let (count, share) = (300.0, 1.0 / f64::from(u32::try_from(of).unwrap()));
        let off = (f64::from(u32::try_from(moved).unwrap()) - count * share).abs();
        assert!(off <= 4.0 * (count * share * (1.0 - share)).sqrt(), "{moved} moved to {of}");
        before = after;
    }
}

#[test]
fn shards_are_of_one_size() {
    for (count, of) in [(2_000, 2), (4_000, 16), (2_000, 64)] {
        let mut sizes = vec![0_u64; of];
        for shard in assigned(&ids(count), u32::try_from(of).unwrap()) {
            sizes[shard] += 1;
        }
        // Chi squared has `of - 1` degrees of freedom; the bound is 6 standard deviations off.
        let float = |number: u64| f64::from(u32::try_from(number).unwrap());
        let (mean, degrees) = (float(count) / float(of as u64), float(of as u64 - 1));
        let chi: f64 = sizes.iter().map(|size| (float(*size) - mean).powi(2) / mean).sum();
        assert!(chi < degrees + 6.0 * (2.0 * degrees).sqrt(), "{of} shards: {sizes:?}");
    }
}

/// Others compute it, and next year's version must: these values never change. By
/// `for i in $(seq 0 15); do printf '%s/%s' "$id" $i | sha256sum; done`.
#[test]
fn the_rule_is_the_documented_one() {
    for (id, of, index) in [
        ("9188040d-6c67-4c5b-b112-36a304b66dad", 2, 1),
        ("9188040d-6c67-4c5b-b112-36a304b66dad", 16, 4),
        ("9188040d-6c67-4c5b-b112-36a304b66dad", 64, 35),
        ("00000000-0000-0000-0000-000000000001", 16, 8),
        ("00000000-0000-0000-0000-000000000002", 16, 1),
        ("00000000-0000-0000-0000-000000000001", 1024, 445),
    ] {
        assert_eq!(assigned(&[id.to_owned()], of), [index], "{id} of {of}");
    }
}

#[test]
fn a_shard_is_written_as_it_is_read() {
    for text in ["0/1", "3/16", "15/16", "1023/1024"] {
        assert_eq!(text.parse::<Shard>().unwrap().to_string(), text);
    }
    assert_eq!("03/16".parse::<Shard>(), Shard::new(3, 16));
    let bad =
        ["", "/", "3", "3/", "/16", "16/16", "0/0", "-1/16", "+1/16", " 1/16", "1/2/3", "0/100001"];
    for text in bad.into_iter().chain(["4294967296/4294967297", "a/b", "1/16 "]) {
        assert!(text.parse::<Shard>().is_err(), "{text:?}");
    }
}

#[test]
fn a_selection_may_be_a_shard() {
    let shard = Shard::new(3, 16).unwrap();
    let selection =
        Selection { users: vec!["*-*".into()], shard: Some(shard), ..Selection::default() };
    assert_eq!(
        archive::json::canonical(&selection.to_json()),
        r#"{"shard":"3/16","users":["*-*"]}"#
    );
    let selector = selection.compile().unwrap();
    for id in ids(50) {
        let owner = archive::OwnerNames { id: id.clone(), ..archive::OwnerNames::default() };
        assert!(selector.names_owner(&owner));
        assert_eq!(selector.matches_owner(&owner), shard.holds(&id));
    }
    let nobody = archive::OwnerNames::default();
    assert!(!selector.names_owner(&nobody) && !selector.matches_owner(&nobody));
}

#[test]
fn two_shards_share_somebody_unless_they_are_called_disjoint() {
    let ids = ids(2_000);
    let divisions: Vec<_> = (1..=9).map(|of| (shards(of), assigned(&ids, of))).collect();
    for (ones, of_ones) in &divisions {
        for (others, of_others) in &divisions {
            let mut shared = vec![vec![false; others.len()]; ones.len()];
            of_ones.iter().zip(of_others).for_each(|(one, other)| shared[*one][*other] = true);
            for (one, row) in ones.iter().zip(&shared) {
                for (other, shared) in others.iter().zip(row) {
                    assert_eq!(one.is_disjoint_from(*other), !shared, "{one} and {other}");
                }
            }
        }
    }
}
