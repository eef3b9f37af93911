//! A segment from between others is away.

use super::{look, publisher};
use crate::audit::read::{ReadError, records};
use crate::audit::testing::{Memory, open_with, options};
use crate::audit::{Act, ActKind, Filter, Finding, Options, Order, Segments, search};
use std::sync::Arc;

#[tokio::test]
async fn the_first_record_that_is_away_is_named_and_the_rest_is_read() {
    let device = Memory::new();
    let small = Options {
        segment_bytes: 600,
        ..options()
    };
    let opened = open_with(&device, small).unwrap();
    let act = Act::new(ActKind::Admin, "key.create");
    for _ in 0..20 {
        opened.log.event(&act).await.unwrap();
    }
    let end = opened.log.durable();
    opened.log.close().await;
    let segments = || Arc::clone(&device) as Arc<dyn Segments>;
    let folder = tempfile::tempdir().unwrap();
    let publisher = publisher(folder.path(), segments(), 0);
    publisher.advance(end).unwrap();
    let firsts = device.segments().unwrap();
    let [.., gone, after, _] = *firsts else {
        panic!("{firsts:?}");
    };
    assert!(gone > 0);
    device.take_away(gone, None);

    let found = look(folder.path(), segments(), publisher.verifier()).unwrap_err();
    let Finding::Unreadable { sequence, .. } = &found else {
        panic!("{found}");
    };
    assert_eq!(*sequence, gone);
    assert_eq!(found.to_string(), format!("record {gone} is not there"));

    let of = |found: Result<crate::audit::read::Entry, ReadError>| match found {
        Ok(entry) => Ok(entry.sequence),
        Err(ReadError::Missing(at)) => Err(at),
        Err(error) => panic!("{error}"),
    };
    let before = || (0..gone).map(Ok).chain([Err(gone)]);
    let read = records(segments(), 0).unwrap().map(of);
    assert!(read.eq(before()));
    let all: Vec<_> = before().chain((after..end).map(Ok)).collect();
    let found = |order| search(segments(), Filter::default(), 0..end, order).unwrap();
    assert_eq!(found(Order::OldestFirst).map(of).collect::<Vec<_>>(), all);
    let newest = found(Order::NewestFirst).map(of);
    assert!(newest.eq(all.into_iter().rev()));
}
