//! The unit tests' movable clock.

pub use cambist::clock::Clock;

#[path = "../../../src/clock/testing.rs"]
pub mod testing;
