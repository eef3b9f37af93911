//! Revocation: what is no longer good, held in memory, asked at every step, and told to all who watch.

mod feed;
mod hot;
mod partition;
mod stored;

pub use feed::{Counts, Encode, End, Feed, Label, Watcher};
pub use hot::HotSet;
pub use partition::{Partition, View};
pub use stored::{BadMarker, PREFIX, StoredMarker, Told, marker};
