//! Revocation: what is no longer good, held in memory and asked at every step.

mod hot;

pub use hot::HotSet;
