//! Acknowledged records are taken away under the running writer. It notices, and so does every start after that.

use crate::audit::testing::{
    Effect, Memory, Opened, Step, context, minted, open, open_with, options, until,
};
use crate::audit::{Device as _, Lack, LogHealth, OpenError, Options, Segments as _};
use std::io::ErrorKind;
use std::sync::Arc;

fn says(text: &'static str) -> impl Fn(&LogHealth) -> bool {
    move |health| matches!(health, LogHealth::Failed { cause, .. } if cause.contains(text))
}

/// A log of two tokens whose segment is taken away, down to so many bytes or as a whole, and its bytes before.
async fn robbed(left: Option<usize>) -> (Arc<Memory>, Opened, Vec<u8>) {
    let device = Memory::new();
    let opened = open(&device);
    for n in [1, 2] {
        opened.log.issue(minted(n), &context()).await.unwrap();
    }
    let whole = device.bytes(0);
    device.take_away(0, left.map(|left| whole.len() - left));
    (device, opened, whole)
}

fn lacks(device: &Arc<Memory>) -> Option<Lack> {
    match open_with(device, options()) {
        Err(OpenError::Lacks(lack)) => Some(lack),
        Err(error) => panic!("{error}"),
        Ok(_) => None,
    }
}

fn behind(log: u64) -> Option<Lack> {
    let acknowledged = 2;
    Some(Lack::Behind { log, acknowledged })
}

/// By a token that is asked for, and by a look where none is. A byte is enough, and would be a torn tail to a start that does
/// not know; a record is not even that.
#[tokio::test]
async fn what_the_writer_missed_every_start_misses_until_it_is_back() {
    let record = {
        let whole = robbed(Some(0)).await.2;
        let last = whole[..whole.len() - 1].iter().rposition(|b| *b == b'\n');
        whole.len() - 1 - last.unwrap()
    };
    for (left, there) in [(Some(1), 1), (Some(record), 1), (None, 0)] {
        for asked in [true, false] {
            let (device, opened, whole) = robbed(left).await;
            if asked {
                assert!(opened.log.issue(minted(3), &context()).await.is_err());
            }
            opened.log.tick();
            until(&opened.log, says("does not hold what was acknowledged")).await;
            opened.log.close().await;
            for mut left in [device.power_cut(), device.clone()] {
                for _ in 0..2 {
                    assert_eq!(lacks(&left), behind(there));
                }
                if there > 0 {
                    let cut = device.bytes(0);
                    assert_eq!(left.bytes(0), cut, "nothing is changed");
                } else {
                    assert!(left.segments().unwrap().is_empty(), "none is begun");
                }
                left.set_bytes(0, whole.clone());
                assert_eq!(lacks(&left), None);
                assert_eq!(left.acknowledged().unwrap(), None);
                left = left.power_cut();
                assert_eq!(open(&left).recovered.next, 2);
            }
        }
    }
}

#[tokio::test]
async fn what_is_missing_stays_known_while_that_is_accepted_and_until_it_is_dropped() {
    for left in [Some(1), None] {
        let (device, opened, _) = robbed(left).await;
        assert!(opened.log.issue(minted(3), &context()).await.is_err());
        opened.log.close().await;
        let accepting = Options {
            accept_lack: true,
            ..options()
        };
        let device = device.power_cut();
        let accepted = open_with(&device, accepting).unwrap();
        let there = u64::from(left.is_some());
        assert_eq!(accepted.recovered.lack, behind(there));
        // The process ends before it is through, at either step.
        let begun = left.map_or(Some(Lack::Other), |_| behind(there));
        assert_eq!(lacks(&device.power_cut()), begun);
        accepted.log.begin_anew().await.unwrap();
        assert_eq!(lacks(&device.power_cut()), Some(Lack::Other));
        device.forget_acknowledged().unwrap();
        accepted.log.issue(minted(4), &context()).await.unwrap();
        accepted.log.close().await;
        assert_eq!(open(&device.power_cut()).recovered.lack, None);
    }
}

#[tokio::test]
async fn a_segment_that_is_put_back_in_time_leaves_nothing_behind() {
    let (device, opened, whole) = robbed(None).await;
    assert!(opened.log.issue(minted(3), &context()).await.is_err());
    until(&opened.log, says("no new segment")).await;
    opened.log.tick();
    assert!(device.acknowledged().unwrap().is_some());
    device.set_bytes(0, whole);
    until(&opened.log, |health| *health == LogHealth::Writing).await;
    assert_eq!(device.acknowledged().unwrap(), None);
    opened.log.issue(minted(4), &context()).await.unwrap();
    opened.log.close().await;
    assert_eq!(open(&device.power_cut()).recovered.next, 4);
}

/// What cannot be kept is told, and tried again.
#[tokio::test]
async fn a_loss_that_cannot_be_kept_is_kept_once_it_can_be() {
    for full in [true, false] {
        let (device, opened, _) = robbed(Some(1)).await;
        device.fill(full);
        if !full {
            device.break_down(Step::Acknowledge);
        }
        assert!(opened.log.issue(minted(3), &context()).await.is_err());
        until(&opened.log, says("a restart may not know of it")).await;
        assert_eq!(device.acknowledged().unwrap(), None);
        device.fill(false);
        device.mend();
        let known = |health: &LogHealth| !says("a restart may not know of it")(health);
        until(&opened.log, known).await;
        opened.log.close().await;
        assert_eq!(lacks(&device.power_cut()), behind(1), "full: {full}");
    }
}

/// Nobody looks at a segment any more once another one follows it.
#[tokio::test]
async fn what_is_missing_is_noticed_before_another_segment_follows() {
    let device = Memory::new();
    let old = Options {
        segment_age: std::time::Duration::from_secs(60),
        ..options()
    };
    let opened = open_with(&device, old).unwrap();
    opened.log.issue(minted(1), &context()).await.unwrap();
    device.take_away(0, Some(device.bytes(0).len() - 1));
    opened.clock.advance(61);
    assert!(opened.log.issue(minted(2), &context()).await.is_err());
    assert!(opened.log.issue(minted(3), &context()).await.is_err());
    opened.log.close().await;
    assert!(lacks(&device.power_cut()).is_some());
}

/// A look that fails by itself is no loss.
#[tokio::test]
async fn a_segment_that_cannot_be_looked_at_for_once_is_whole_all_the_same() {
    let device = Memory::new();
    let opened = open(&device);
    opened.log.issue(minted(1), &context()).await.unwrap();
    for _ in 0..2 {
        device.fail(Step::Size, Effect::Fails, ErrorKind::Other);
    }
    assert!(opened.log.issue(minted(2), &context()).await.is_err());
    // As the disk is left by a process that ends here, and by one that lives on.
    assert_eq!(lacks(&device.power_cut()), None);
    until(&opened.log, |health| *health == LogHealth::Writing).await;
    assert_eq!(device.acknowledged().unwrap(), None);
}
