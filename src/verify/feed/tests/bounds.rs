//! How much is held, and that it is warned of before that is too little.

use super::*;
use crate::limits::nearing::testing::warnings;

#[test]
fn so_many_markers_are_held_and_not_one_more() {
    let all: Vec<_> = (0..9).map(marker).collect();
    let world = World::new();
    refused(world.reader(false).take(whole("a", &all, world.now())));
    assert_eq!(world.age(), None);
    let mut reader = world.reader(false);
    reader.take(whole("a", &all[..8], world.now())).unwrap();
    reader.take(delta("b", &all[..8], world.now())).unwrap();
    reader
        .take(delta("c", &[undone(0), marker(8)], world.now()))
        .unwrap();
    world.clock.advance(5);
    refused(reader.take(delta("d", &[marker(0)], world.now())));
    assert_eq!(world.age(), Some(5), "what was refused is not known");
}

#[test]
fn it_is_warned_of_once_before_more_is_told_than_is_held() {
    let (world, most) = (World::new(), 10);
    let near = most * limits::NEAR.0 / 100;
    let all: Vec<_> = (0..10).map(marker).collect();
    let mut reader = Reader::new(&world.feed.0.held, most, false);
    let mut warned = |event| warnings(|| drop(reader.take(event).unwrap())).len();
    assert_eq!(warned(whole("a", &all[..near - 1], world.now())), 0);
    assert_eq!(warned(delta("b", &all[near - 1..near], world.now())), 1);
    assert_eq!(warned(delta("c", &all[near..], world.now())), 0);
    assert_eq!(warned(beat("c", world.now())), 0);
    // Nor by another feed.
    world.clock.advance(1);
    let mut reader = Reader::new(&world.feed.0.held, most, false);
    let mut warned = |event| warnings(|| drop(reader.take(event).unwrap())).len();
    assert_eq!(warned(whole("d", &all, world.now())), 0);
    // Well below, and up again: by a snapshot too.
    world.clock.advance(1);
    assert_eq!(warned(whole("e", &all[..5], world.now())), 0);
    world.clock.advance(1);
    assert_eq!(warned(part(&all[..near], true, None)), 0);
    assert_eq!(warned(rest("f", &all[..near], near, world.now())), 1);
}
