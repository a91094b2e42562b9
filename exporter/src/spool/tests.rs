use sha2::{Digest, Sha256};

use super::*;

fn spool(memory_bytes: u64, disk_bytes: u64) -> Arc<Spool> {
    Spool::new(SpoolOptions {
        dir: std::env::temp_dir(),
        disk_bytes,
        memory_bytes,
        inventory_bytes: 0,
    })
}

fn turn(item: u64) -> Turn {
    Turn { section: 0, item }
}

async fn filled(spool: &Arc<Spool>, item: u64, bytes: usize) -> Spooled {
    let mut draft = spool.draft(turn(item));
    draft.write(&vec![7; bytes]).await.unwrap();
    draft.finish().unwrap()
}

#[tokio::test]
async fn spills_when_memory_is_used_up_and_reads_back_the_same() {
    let spool = spool(8192, 1 << 30);
    let mut draft = spool.draft(turn(0));
    let bytes: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
    for chunk in bytes.chunks(999) {
        draft.write(chunk).await.unwrap();
    }
    assert_eq!(spool.used().memory, 0);
    let mut whole = draft.finish().unwrap();
    let mut back = Vec::new();
    whole.read_to_end(&mut back).unwrap();
    assert_eq!(back, bytes);
    assert_eq!(whole.sha256, <[u8; 32]>::from(Sha256::digest(&bytes)));
    drop(whole);
    let used = spool.used();
    assert_eq!(used.disk, 0);
}

#[tokio::test]
async fn what_is_parked_comes_back_the_same_and_frees_memory() {
    let spool = spool(1 << 20, 1 << 30);
    for bytes in [0, 1, 70_000] {
        let parked = filled(&spool, 3, bytes).await.park().unwrap().unwrap();
        assert_eq!(spool.used().memory, 0);
        assert_eq!(spool.used().disk, (bytes as u64).next_multiple_of(BLOCK));
        let line = serde_json::to_string(&parked).unwrap();
        let parked: Parked = serde_json::from_str(&line).unwrap();
        let mut whole = parked.fetch(&spool).unwrap();
        assert_eq!(Spooled::bytes(&mut whole).unwrap(), vec![7; bytes]);
        assert_eq!(whole.turn, turn(3));
        drop(whole);
        assert_eq!(spool.used().disk, 0);
    }
}

#[tokio::test]
async fn nothing_is_parked_where_no_room_is() {
    let spool = spool(1 << 20, 100_000);
    let whole = filled(&spool, 1, 50_000).await.park().unwrap().unwrap_err();
    assert_eq!(whole.size, 50_000);
    assert_eq!(spool.used().disk, 0);
}

#[tokio::test]
async fn the_head_comes_in_however_many_others_do() {
    let spool = spool(1 << 20, 1 << 30);
    let mut others = Vec::new();
    for item in 0..MOST_READING as u64 {
        others.push(spool.reading(turn(item + 2)).await);
    }
    let waiting = tokio::spawn({
        let spool = Arc::clone(&spool);
        async move { drop(spool.reading(turn(1)).await) }
    });
    drop(spool.reading(turn(0)).await);
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    drop(others.pop());
    waiting.await.unwrap();
    assert_eq!(spool.used().reading, MOST_READING - 1);
}

#[tokio::test]
async fn who_gives_way_holds_nothing_and_goes_on_with_room_of_its_own() {
    let spool = spool(1 << 20, 0);
    spool.set_head(turn(0));
    let mut draft = spool.draft(turn(2));
    assert!(draft.try_write(&[1; 100_000]).unwrap());
    let other = filled(&spool, 1, (1 << 20) - 150_000).await;
    assert!(!draft.try_write(&[1; 200_000]).unwrap());
    let waiting = tokio::spawn(async move { draft.give_way(1).await.map(|()| draft) });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    drop(other);
    let mut draft = waiting.await.unwrap().unwrap();
    // Twice of what it had, with what it had for nothing.
    let kept = 2 * (100_000 + 4096);
    assert_eq!((draft.size(), spool.used().memory), (0, kept));
    // What is kept for it nobody else gets.
    let mut third = spool.draft(turn(3));
    assert!(!third.try_write(&[1; (1 << 20) - 100_000]).unwrap());
    assert!(draft.try_write(&[2; 200_000]).unwrap());
    let mut whole = draft.finish().unwrap();
    assert_eq!(Spooled::bytes(&mut whole).unwrap(), [2; 200_000]);
}

#[tokio::test]
async fn what_is_short_keeps_no_more_than_it_needs() {
    let spool = spool(1 << 20, 0);
    spool.set_head(turn(0));
    let other = filled(&spool, 1, (1 << 20) - 30_000).await;
    let mut draft = spool.draft(turn(2));
    let preparing = tokio::spawn(async move { draft.prepare().await.map(|()| draft) });
    tokio::task::yield_now().await;
    assert!(!preparing.is_finished());
    drop(other);
    let mut draft = preparing.await.unwrap().unwrap();
    draft.write(b"short").await.unwrap();
    let short = draft.finish().unwrap();
    assert!(spool.used().memory <= MOST_SLACK as u64, "{}", spool.used().memory);
    drop(short);
    assert_eq!(spool.used().memory, 0);
}

#[tokio::test]
async fn the_head_proceeds_when_later_items_hold_the_disk() {
    let spool = spool(0, 8 << 20);
    spool.set_head(turn(0));
    let later = filled(&spool, 5, 4 << 20).await;
    let waiting = tokio::spawn({
        let spool = Arc::clone(&spool);
        async move { filled(&spool, 4, 1 << 20).await.size }
    });
    let head = filled(&spool, 0, 3 << 20).await;
    assert!(!waiting.is_finished());
    drop(head);
    drop(later);
    assert_eq!(waiting.await.unwrap(), 1 << 20);
}

#[tokio::test]
async fn a_patient_draft_waits_for_memory_until_it_is_its_turn() {
    let spool = spool(1 << 20, 1 << 30);
    let early = filled(&spool, 1, 900_000).await;
    let patient = |item| {
        let spool = Arc::clone(&spool);
        tokio::spawn(async move {
            let mut draft = spool.patient_draft(turn(item), false);
            draft.write(&[7; 500_000]).await.unwrap();
            draft.finish().unwrap()
        })
    };
    let waiting = patient(2);
    let head = filled(&spool, 0, 500_000).await;
    assert!(!waiting.is_finished());
    drop(head);
    drop(early);
    let whole = waiting.await.unwrap();
    assert_eq!(spool.used().disk, 0);
    // Memory is full again, and it is the turn of the next one.
    let next = patient(3);
    spool.set_head(turn(3));
    next.await.unwrap();
    drop(whole);
}

#[tokio::test]
async fn a_restarted_draft_has_only_the_second_content() {
    for memory in [0, 1 << 20] {
        let spool = spool(memory, 1 << 30);
        let mut draft = spool.draft(turn(0));
        draft.write(b"first, torn").await.unwrap();
        draft.restart().unwrap();
        draft.write(b"second").await.unwrap();
        let mut whole = draft.finish().unwrap();
        let mut back = String::new();
        whole.read_to_string(&mut back).unwrap();
        assert_eq!((back.as_str(), whole.size), ("second", 6));
    }
}

#[tokio::test]
async fn a_disk_that_forgets_is_noticed() {
    let spool = spool(0, 1 << 30);
    for bytes in [1, 70_000] {
        let mut whole = filled(&spool, 1, bytes).await;
        assert_eq!(Spooled::bytes(&mut whole).unwrap(), vec![7; bytes]);
        let Held::Disk(extents) = &whole.held else { panic!("it is in memory") };
        extents.write(bytes as u64 - 1, &[8]).unwrap();
        let error = Spooled::bytes(&mut whole).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}

/// Another try of what went to the disk needs no more than it has.
#[tokio::test]
async fn who_has_room_prepares_without_taking_more() {
    let spool = spool(1 << 20, 200_000);
    spool.set_head(turn(0));
    let other = filled(&spool, 1, (1 << 20) - 30_000).await;
    let mut draft = spool.draft(turn(2));
    draft.write(&[1; 90_000]).await.unwrap();
    draft.restart().unwrap();
    let in_use = || {
        let used = spool.used();
        (used.memory, used.disk)
    };
    let before = in_use();
    assert!(before.1 > 0);
    draft.prepare().await.unwrap();
    assert_eq!(in_use(), before);
    drop(draft);
    drop(other);
    assert_eq!(in_use(), (0, 0));
}
