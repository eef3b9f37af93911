//! Closed segments, which nobody writes to any more, are taken away or changed: nothing is issued, while the broker runs and when
//! it starts, until they are there again. What only keeps the broker from looking is no loss.

use super::injected::{Injected, SEGMENT, disturb};
use super::load::by_certificate;
use super::log::until_issued;
use super::lost::{Fault, cut, replace};
use crate::support::broker::{InProcess, Site, ask, peer, segments};
use crate::support::clock::testing::TestClock;
use crate::support::edge::until;
use crate::support::svid::NOW;
use cambist::audit::{DiskReader, Segments as _};
use cambist::limits;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A broker whose log has three closed segments, all compressed. Answers their files, too.
async fn closed(site: &Arc<Site>, clock: &Arc<TestClock>) -> (InProcess, [PathBuf; 3]) {
    let broker = InProcess::start(site, Arc::clone(clock), false).await;
    let folder = site.path("data/log");
    for _ in 0..3 {
        broker.issues(ask(peer(), "shop")).await;
        clock.advance(120);
    }
    broker.issues(ask(peer(), "shop")).await;
    let packed = || -> Vec<_> {
        let firsts = DiskReader::new(&folder).segments().unwrap();
        let names = firsts.iter().map(|first| format!("{first:020}.seg.zst"));
        names.map(|name| folder.join(name)).collect()
    };
    until("compressed segments", async || {
        segments(&folder).len() == 1 && packed().iter().filter(|path| path.exists()).count() == 3
    })
    .await;
    (broker, packed()[..3].to_vec().try_into().unwrap())
}

/// A log that is cut in segments of a minute.
fn cut_up() -> Arc<Site> {
    Site::with(|setup| {
        let with = "[log]\nsegment_age = \"1m\"\n";
        setup.config = setup.config.replacen("[log]\n", with, 1);
    })
}

/// It is looked for at a start, too, though the start reads no more than the last one.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_without_a_closed_segment_is_not_gone_on_with_until_it_is_put_back() {
    let site = cut_up();
    let clock = TestClock::at(NOW);
    let (broker, [first, middle, last]) = closed(&site, &clock).await;
    broker.stop().await;
    for (gone, why) in [
        (&[&first][..], "the log begins at record"),
        (&[&first, &middle], "the log begins at record"),
        (&[&first, &middle, &last], "the log begins at record"),
        (&[&middle], "is gone"),
        (&[&last], "is gone"),
        (&[&middle, &last], "is gone"),
    ] {
        let away = |path: &Path| path.with_extension("away");
        gone.iter()
            .for_each(|path| fs::rename(path, away(path)).unwrap());
        let (code, said) = site.fails(&[]).await;
        assert_eq!(code, 1, "{gone:?}: {said}");
        assert!(said.contains(why), "{gone:?}: {said}");
        assert!(said.contains("put ") && said.contains(" back"), "{said}");
        gone.iter()
            .for_each(|path| fs::rename(away(path), path).unwrap());
    }
    // The age of one that an earlier run began counts.
    let count = || {
        let firsts = DiskReader::new(&site.path("data/log")).segments();
        firsts.unwrap().len()
    };
    let before = count();
    clock.advance(120);
    let broker = InProcess::start(&site, clock, false).await;
    broker.issues(ask(peer(), "shop")).await;
    assert_eq!(count(), before + 1);
    broker.stop().await;
}

/// Whoever took it away need not have waited until nothing reads it.
#[tokio::test(flavor = "multi_thread")]
async fn a_closed_segment_that_is_taken_away_stops_issuance_until_it_is_put_back() {
    let site = cut_up();
    let clock = TestClock::at(NOW);
    let (broker, [first, middle, last]) = closed(&site, &clock).await;
    let remove = |path: &Path| {
        fs::remove_file(path).unwrap();
        fs::remove_file(path.with_extension("").with_extension("idx")).unwrap();
    };
    let truncate = |path: &Path| cut(path, fs::read(path).unwrap().len());
    let cut_byte = |path: &Path| cut(path, 1);
    let replace_other = |path: &Path| replace(path, &fs::read(&first).unwrap());
    let faults: [(&Path, Fault<'_>, &str); 6] = [
        (&first, &remove, "is gone"),
        (&middle, &remove, "is gone"),
        (&last, &remove, "is gone"),
        (&first, &truncate, "is not as it was closed"),
        (&middle, &cut_byte, "is not as it was closed"),
        (&last, &replace_other, "is not as it was closed"),
    ];
    for (path, fault, why) in faults {
        broker.issues(ask(peer(), "shop")).await;
        let bytes = fs::read(path).unwrap();
        fault(path);
        let ready = async || broker.operations("/readyz").await.unwrap_or_default().1;
        until(why, async || ready().await.contains(why)).await;
        let name = path.with_extension("");
        assert!(
            ready()
                .await
                .contains(name.file_name().unwrap().to_str().unwrap())
        );
        let refused = broker.exchange(ask(peer(), "shop")).await;
        assert_eq!(refused, Err("log_unavailable".to_owned()), "{path:?} {why}");
        fs::write(path, bytes).unwrap();
        until("a log that is whole", async || !ready().await.contains(why)).await;
    }
    broker.issues(ask(peer(), "shop")).await;
    broker.stop().await;
}

/// Checkpoints are none of issuance's business, for so long.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_issued_once_no_checkpoint_was_published_for_a_minute() {
    let site = Site::new();
    let clock = TestClock::at(NOW);
    let broker = InProcess::start(&site, Arc::clone(&clock), false).await;
    broker.issues(ask(peer(), "shop")).await;
    let [checkpoint, away] = ["data/log/checkpoint", "away"].map(|name| site.path(name));
    fs::rename(&checkpoint, &away).unwrap();
    fs::create_dir_all(checkpoint.join("in-the-way")).unwrap();
    let failures = async || broker.metric("log_publish_failures_total").await.unwrap();
    let looked = async || {
        let before = failures().await;
        until("two more attempts", async || failures().await > before + 1).await;
    };
    broker.issues(ask(peer(), "shop")).await;
    looked().await;
    clock.advance(u32::try_from(limits::LOG_UNPUBLISHED.as_secs()).unwrap());
    looked().await;
    broker.issues(ask(peer(), "shop")).await;
    clock.advance(1);
    let ready = async || broker.operations("/readyz").await.unwrap_or_default().1;
    let why = "no checkpoint of the log could be published";
    until(why, async || ready().await.contains(why)).await;
    let refused = broker.exchange(ask(peer(), "shop")).await;
    assert_eq!(refused, Err("log_unavailable".to_owned()));
    fs::remove_dir_all(&checkpoint).unwrap();
    fs::rename(&away, &checkpoint).unwrap();
    until("a log that is published", async || {
        !ready().await.contains(why)
    })
    .await;
    broker.issues(ask(peer(), "shop")).await;
    broker.stop().await;
}

/// It is none of the log's, and nobody is to put it back.
#[tokio::test(flavor = "multi_thread")]
async fn a_stray_file_that_is_taken_away_again_is_not_missed() {
    let site = cut_up();
    let (broker, [_, middle, _]) = closed(&site, &TestClock::at(NOW)).await;
    let name = middle.file_name().unwrap().to_str().unwrap();
    let first: u64 = name.split('.').next().unwrap().parse().unwrap();
    let stray = middle.with_file_name(format!("{:020}.seg", first + 1));
    fs::write(&stray, "x").unwrap();
    broker.until_ready(false).await;
    fs::remove_file(&stray).unwrap();
    broker.until_ready(true).await;
    broker.issues(ask(peer(), "shop")).await;
    broker.stop().await;
}

/// The header of the one after it says what was before: it is the broker's, or that one is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_closed_segment_that_is_gone_is_not_hidden_by_the_header_after_it() {
    let site = cut_up();
    let clock = TestClock::at(NOW);
    let (broker, [first, middle, last]) = closed(&site, &clock).await;
    let whole = [&first, &middle, &last].map(|path| (path, fs::read(path).unwrap()));
    let text = |packed: &[u8]| String::from_utf8(zstd::decode_all(packed).unwrap()).unwrap();
    let [_, of_middle, of_last] = whole.each_ref().map(|(_, bytes)| text(bytes));
    let header =
        |text: &str| -> Value { serde_json::from_str(text.lines().next().unwrap()).unwrap() };
    let previous = header(&of_middle)["previous"].clone();
    let plain = last.with_extension("");
    let hide = |is_tagged: bool| {
        let mut says = header(&of_last);
        says["previous"] = previous.clone();
        if !is_tagged {
            says.as_object_mut().unwrap().remove("mac").unwrap();
        }
        let (_, records) = of_last.split_once('\n').unwrap();
        // The plain form is what is read.
        fs::write(&plain, format!("{says}\n{records}")).unwrap();
        fs::remove_file(&middle).unwrap();
    };
    let put_back = || {
        fs::remove_file(&plain).ok();
        whole
            .iter()
            .for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
    };
    let why = "the header is not as this broker wrote it";
    broker.stop().await;
    for is_tagged in [false, true] {
        hide(is_tagged);
        let (code, said) = site.fails(&[]).await;
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(why) && said.contains("put it back"), "{said}");
        put_back();
    }
    let broker = InProcess::start(&site, clock, false).await;
    broker.issues(ask(peer(), "shop")).await;
    broker.stop().await;
}

/// Another disk took it, and a link leads there.
#[tokio::test(flavor = "multi_thread")]
async fn a_closed_segment_behind_a_link_is_looked_at_where_the_link_leads() {
    let site = cut_up();
    let (broker, [_, middle, _]) = closed(&site, &TestClock::at(NOW)).await;
    let whole = fs::read(&middle).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let moved = elsewhere.path().join("moved");
    let ready = async || broker.operations("/readyz").await.unwrap_or_default().1;
    let is_lost = async || ready().await.contains("is not as it was closed");
    // Not whole at first, so that it is seen when the link has been looked at.
    fs::write(&moved, &whole[..whole.len() - 1]).unwrap();
    fs::remove_file(&middle).unwrap();
    symlink(&moved, &middle).unwrap();
    until("a loss behind the link", is_lost).await;
    for _ in 0..2 {
        fs::write(&moved, &whole).unwrap();
        until("a log that is whole", async || !is_lost().await).await;
        broker.issues(ask(peer(), "shop")).await;
        cut(&moved, 1);
        until("another loss behind the link", is_lost).await;
    }
    broker.stop().await;
}

/// Whether the segments are there is not known then, and was known before.
#[tokio::test(flavor = "multi_thread")]
async fn a_look_for_which_there_is_no_file_descriptor_finds_no_loss() {
    let site = Site::new();
    let log = site.path("data/log");
    let first = log.join(SEGMENT);
    let mut broker = site.start().await;
    let client = broker.web().await;
    until_issued(&client, &by_certificate()).await;
    disturb(&log);
    until_issued(&client, &by_certificate()).await;
    assert_eq!(segments(&log).len(), 2);
    let injected = Injected::new(&site, &["openat:error=EMFILE"], &[SEGMENT]);
    let tracer = injected.attach(broker.pid());
    // A file that has changed is opened again.
    let touch = || fs::set_permissions(&first, first.metadata().unwrap().permissions()).unwrap();
    until("the second look", async || {
        touch();
        injected.hits("openat") >= 2
    })
    .await;
    broker.until_ready(true).await;
    client.yes(by_certificate()).await;
    tracer.detach().await;
    // In whatever form it is by now.
    let away = tempfile::tempdir_in(site.path("")).unwrap();
    let forms = [SEGMENT.to_owned(), format!("{SEGMENT}.zst")];
    let taken = forms.each_ref();
    let taken = taken.map(|form| (log.join(form), away.path().join(form)));
    until("a loss", async || {
        for (there, away) in &taken {
            fs::rename(there, away).ok();
        }
        let ready = broker.operations("/readyz").await;
        ready.is_some_and(|(_, body)| body.contains("is gone"))
    })
    .await;
    for (there, away) in &taken {
        fs::rename(away, there).ok();
    }
    broker.until_ready(true).await;
    assert_eq!(broker.terminate().await.code(), Some(0));
    // A start goes on from nothing that it has not seen, and does not say that it is lost.
    let injected = Injected::new(&site, &["openat:error=EMFILE"], &[SEGMENT, &forms[1]]);
    let (code, said) = site.fails_as(injected.command(&site)).await;
    assert_eq!(code, 1, "{said}");
    let unseen = "the log's segments cannot be looked at";
    assert!(said.contains(unseen) && !said.contains("lacks"), "{said}");
    site.start().await;
}
