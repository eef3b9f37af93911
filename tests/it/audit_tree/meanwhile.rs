//! What is done to records between their commit and their checkpoint.

use super::*;

/// In the second between its commit and its checkpoint.
#[tokio::test]
async fn a_record_that_is_changed_before_its_checkpoint_is_not_what_that_is_signed_for() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let disk = Arc::new(Disk::open(folder, RESERVE).unwrap());
    let (log, _) = open_on(Arc::clone(&disk)).unwrap();
    let shelf = Arc::new(DiskShelf::new(folder));
    let publisher = Publisher::open(disk, shelf, key(folder), ORIGIN, 0).unwrap();
    let durable = append(&log, 3).await;
    publisher.advance(durable).unwrap();
    let durable = append(&log, 2).await;
    let segment = folder.join("00000000000000000000.seg");
    let mut bytes = fs::read(&segment).unwrap();
    let holds = |window: &[u8]| window == b"key.create";
    let last = bytes.windows(10).rposition(holds).unwrap();
    bytes[last] = b'K';
    // In its place: to the writer it is as it was.
    let file = fs::File::options().write(true).open(&segment).unwrap();
    file.write_all_at(&bytes, 0).unwrap();
    publisher.advance(durable).unwrap();
    assert_eq!(publisher.published().unwrap().checkpoint.size, durable);
    log.close().await;
    let segments = Arc::new(DiskReader::new(folder));
    let shelf = DiskShelf::new(folder);
    let found = verify(segments, &shelf, publisher.verifier(), &[], |_| ());
    assert!(matches!(found, Err(Finding::Changed(4))), "{found:?}");
}

/// What was acknowledged and is not there is lost: nobody signs that the log is shorter.
#[tokio::test]
async fn what_was_acknowledged_and_is_gone_is_not_published_around() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (log, _) = open(folder).unwrap();
    let publisher = publisher(folder, 0).unwrap();
    publisher.advance(append(&log, 100).await).unwrap();
    let (published, note) = (
        publisher.published(),
        fs::read(folder.join("checkpoint")).unwrap(),
    );
    let durable = append(&log, 5).await;
    let segment = folder.join("00000000000000000000.seg");
    let whole = fs::read(&segment).unwrap();
    let line = |n: usize| {
        whole
            .split_inclusive(|b| *b == b'\n')
            .take(n)
            .map(<[u8]>::len)
            .sum()
    };
    // Behind the header and 102 records, in the middle of one, and as a whole.
    let ends: [usize; 3] = [line(103), line(103) + 7, 0];
    for end in ends {
        fs::write(&segment, &whole[..end]).unwrap();
        for _ in 0..2 {
            assert!(publisher.advance(durable).is_err(), "cut at {end}");
            assert_eq!(publisher.published(), published);
            assert_eq!(fs::read(folder.join("checkpoint")).unwrap(), note);
        }
    }
    fs::write(&segment, &whole).unwrap();
    publisher.advance(durable).unwrap();
    assert_eq!(publisher.published().unwrap().checkpoint.size, 105);
    log.close().await;
}
