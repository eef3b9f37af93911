//! The unit tests' movable clock.

pub(crate) use cambist::clock::Clock;

#[path = "../../../src/clock/testing.rs"]
pub(crate) mod testing;
