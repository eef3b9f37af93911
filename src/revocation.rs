//! Revocation: what is no longer good, held in memory and asked at every step.

mod hot;
mod stored;

pub use hot::HotSet;
pub use stored::{BadMarker, PREFIX, StoredMarker, Told, marker};
