//! The open segment is taken away under the running broker: nothing is issued, while it runs and when it starts, until what was
//! acknowledged is there again, or somebody answers for its being gone.

use super::load::{by_certificate, by_key, create, received};
use super::log::{QUICKLY, assert_recorded, told, until_issued};
use super::seen::Seen;
use crate::support::broker::{Caller, Site, refusal, segments};
use crate::support::edge::until;
use cambist::audit::{DiskReader, DiskShelf, Finding, verify};
use serde_json::Value;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use tokio::time::timeout;

/// What is done to a segment.
pub(super) type Fault<'a> = &'a dyn Fn(&Path);

pub(super) fn cut(path: &Path, bytes: usize) {
    let file = File::options().write(true).open(path).unwrap();
    let size = usize::try_from(file.metadata().unwrap().len()).unwrap();
    file.set_len((size - bytes).try_into().unwrap()).unwrap();
}

/// The length of the last record, and its line's end.
fn last_record(path: &Path) -> usize {
    let text = fs::read_to_string(path).unwrap();
    text.len() - 1 - text.trim_end().rfind('\n').unwrap()
}

/// Puts another file in its place.
pub(super) fn replace(path: &Path, content: &[u8]) {
    let copy = path.with_extension("copy");
    fs::write(&copy, content).unwrap();
    fs::rename(copy, path).unwrap();
}

/// A caller that cannot be served is told so at once.
async fn is_refused(client: &Caller, secret: &str, what: &str) {
    let refused = timeout(QUICKLY, client.exchange(by_key(secret))).await;
    let refused = refused.unwrap().unwrap_err();
    assert_eq!(refusal(&refused), "log_unavailable", "{what}");
    assert_eq!(refused.code(), tonic::Code::Unavailable);
}

/// Records that were acknowledged and are gone are not gone on from, whether or not a checkpoint is of them, or anything but
/// the broker that runs had seen them.
#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_is_taken_away_stops_issuance_until_it_is_put_back() {
    let remove = |path: &Path| fs::remove_file(path).unwrap();
    let truncate = |path: &Path| cut(path, fs::read(path).unwrap().len());
    let cut_record = |path: &Path| cut(path, last_record(path));
    let cut_byte = |path: &Path| cut(path, 1);
    let replace_older = |path: &Path| {
        let whole = fs::read(path).unwrap();
        replace(path, &whole[..whole.len() - last_record(path)]);
    };
    let acknowledged = "had been acknowledged";
    let faults: [(&str, Fault<'_>, &str); 5] = [
        ("removed", &remove, acknowledged),
        ("truncated", &truncate, "is damaged at byte 0"),
        ("cut by a record", &cut_record, acknowledged),
        ("cut by a byte", &cut_byte, acknowledged),
        ("replaced by an older copy", &replace_older, acknowledged),
    ];
    for (name, fault, why) in faults {
        let site = Site::new();
        let folder = site.path("data/log");
        let mut broker = site.start().await;
        let seen = Seen::of(&folder);
        let (_, secret) = create(&mut broker.inventory().await, 0).await.unwrap();
        let client = broker.anybody().await;
        let token = until_issued(&client, &by_key(&secret)).await;
        let last = segments(&folder).pop().unwrap();
        let bytes = fs::read(&last).unwrap();
        fault(&last);
        for _ in 0..5 {
            is_refused(&client, &secret, name).await;
        }
        // Said once it is kept.
        told(&broker, "does not hold what was acknowledged").await;
        broker.kill9().await;
        for _ in 0..2 {
            let (code, said) = site.fails(&[]).await;
            assert_eq!(code, 1, "{name}: {said}");
            assert!(said.contains(why), "{name}: {said}");
        }
        fs::write(&last, bytes).unwrap();
        let mut broker = site.start().await;
        assert!(!folder.join("acknowledged").exists(), "{name}");
        until_issued(&broker.anybody().await, &by_key(&secret)).await;
        assert_eq!(broker.terminate().await.code(), Some(0));
        assert_recorded(&folder, &[token]);
        seen.holds();
    }
}

/// What was acknowledged is signed for, by its hash, though it is gone before its checkpoint; then everybody misses it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_before_its_checkpoint_is_signed_for_and_missed() {
    let site = Site::new();
    let folder = site.path("data/log");
    let mut broker = site.start().await;
    let client = broker.web().await;
    client.yes(by_certificate()).await;
    let last = segments(&folder).pop().unwrap();
    let records = site.records().len().try_into().unwrap();
    cut(&last, last_record(&last));
    let size = || site.checkpoint().map_or(0, |last| last.size);
    until("its checkpoint", async || size() >= records).await;
    broker.kill9().await;
    site.refuses(&["the log ends at"]).await;
    let key = fs::read_to_string(folder.join(DiskShelf::KEY)).unwrap();
    let (segments, shelf) = (DiskReader::new(&folder), DiskShelf::new(&folder));
    let key = key.trim_end().parse().unwrap();
    let found = verify(Arc::new(segments), &shelf, &key, &[], |_| ());
    assert!(
        matches!(found, Err(Finding::Missing { checkpoint, .. }) if checkpoint >= records),
        "{found:?}"
    );
}

/// It may hold all that it should, which is looked at when it is opened.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_in_the_place_of_a_segment_is_taken_by_the_next_start() {
    let site = Site::new();
    let folder = site.path("data/log");
    let mut broker = site.start().await;
    let seen = Seen::of(&folder);
    let (_, secret) = create(&mut broker.inventory().await, 0).await.unwrap();
    let client = broker.anybody().await;
    let token = until_issued(&client, &by_key(&secret)).await;
    let last = segments(&folder).pop().unwrap();
    replace(&last, &fs::read(&last).unwrap());
    for _ in 0..3 {
        is_refused(&client, &secret, "a copy").await;
    }
    let remedy = "move that very file back, or put a copy of it there and restart";
    told(&broker, remedy).await;
    broker.terminate().await;
    let mut broker = site.start().await;
    let again = until_issued(&broker.anybody().await, &by_key(&secret)).await;
    assert_eq!(broker.terminate().await.code(), Some(0));
    assert_recorded(&folder, &[token, again]);
    seen.holds();
}

/// What took nothing away closes the segment, and the log goes on in another.
#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_somebody_wrote_to_or_put_back_takes_no_token_with_it() {
    let site = Site::new();
    let folder = site.path("data/log");
    let mut broker = site.start().await;
    let seen = Seen::of(&folder);
    let (_, secret) = create(&mut broker.inventory().await, 0).await.unwrap();
    let client = broker.anybody().await;
    let append = |path: &Path| {
        let mut file = File::options().append(true).open(path).unwrap();
        file.write_all(b"{}\n").unwrap();
    };
    let away = |path: &Path| path.with_extension("away");
    let move_away = |path: &Path| fs::rename(path, away(path)).unwrap();
    let put_back = |path: &Path| fs::rename(away(path), path).unwrap();
    let move_behind_a_copy = |path: &Path| {
        move_away(path);
        fs::copy(away(path), path).unwrap();
    };
    let faults: [(&str, Fault<'_>, Option<Fault<'_>>); 3] = [
        ("written to", &append, None),
        ("moved", &move_away, Some(&put_back)),
        ("replaced", &move_behind_a_copy, Some(&put_back)),
    ];
    for (name, fault, mend) in faults {
        until_issued(&client, &by_key(&secret)).await;
        let last = segments(&folder).pop().unwrap();
        fault(&last);
        // What needs no mending may have been noticed, and another segment begun, before anybody asks.
        if let Some(mend) = mend {
            is_refused(&client, &secret, name).await;
            mend(&last);
        }
        let token = until_issued(&client, &by_key(&secret)).await;
        assert_recorded(&folder, &[token]);
        let text = fs::read_to_string(segments(&folder).last().unwrap()).unwrap();
        let mut lines = text.lines().filter(|line| line.contains("\"seq\":"));
        let first: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
        assert_eq!(first["kind"], "gap", "{name}");
        assert!(!folder.join("acknowledged").exists(), "{name}");
    }
    broker.until_ready(true).await;
    assert_eq!(broker.terminate().await.code(), Some(0));
    let mut broker = site.start().await;
    assert_eq!(broker.terminate().await.code(), Some(0));
    seen.holds();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_answers_for_what_is_gone_goes_on_from_what_is_left() {
    let site = Site::new();
    let folder = site.path("data/log");
    let mut broker = site.start().await;
    let client = broker.web().await;
    client.yes(by_certificate()).await;
    let last = segments(&folder).pop().unwrap();
    cut(&last, 1);
    let refused = client.exchange(by_certificate()).await.unwrap_err();
    assert_eq!(refusal(&refused), "log_unavailable");
    broker.until_ready(false).await;
    let kept = folder.join("acknowledged");
    until("what is known", async || kept.exists()).await;
    broker.kill9().await;
    site.refuses(&["--accept-rollback"]).await;
    assert!(kept.exists());
    let mut broker = site.accept_rollback().await;
    assert!(!kept.exists());
    broker.web().await.yes(by_certificate()).await;
    assert_eq!(broker.terminate().await.code(), Some(0));
    let broker = site.start().await;
    let answer = broker.web().await.exchange(by_certificate()).await.unwrap();
    assert_recorded(&folder, &[received(&answer)]);
    let accepted = |record: &Value| record["action"] == "recovery.accept_rollback";
    assert_eq!(site.records().iter().filter(|r| accepted(r)).count(), 1);
}

/// The broker was killed before it could notice. What was delivered was durable, and is not there.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_ends_before_what_a_sink_has_delivered_is_not_gone_on_with() {
    let site = Site::with(|setup| {
        setup.config += "\n[[log.sink]]\nname = \"out\"\nkind = \"stdout\"\n";
    });
    let folder = site.path("data/log");
    let mut broker = site.start().await;
    let answer = broker.web().await.exchange(by_certificate()).await.unwrap();
    let token = received(&answer);
    let cursor = site.path("data/sinks/out.cursor");
    until("its delivery", async || {
        let kept: Value = serde_json::from_slice(&fs::read(&cursor).unwrap()).unwrap();
        kept["next"].as_u64() > Some(token.index)
    })
    .await;
    broker.kill9().await;
    let last = segments(&folder).pop().unwrap();
    let bytes = fs::read(&last).unwrap();
    cut(&last, 1);
    site.refuses(&["sink `out` has delivered"]).await;
    fs::write(&last, &bytes).unwrap();
    let mut broker = site.start().await;
    assert_recorded(&folder, &[token]);
    broker.kill9().await;
    let last = segments(&folder).pop().unwrap();
    cut(&last, fs::read(&last).unwrap().len() - bytes.len() + 1);
    let mut broker = site.accept_rollback().await;
    broker.web().await.yes(by_certificate()).await;
    assert_eq!(broker.terminate().await.code(), Some(0));
    site.start().await;
}
