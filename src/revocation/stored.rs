//! Markers as they are stored, and taken up: one entry each, under `marker/` and the marker's id.
//!
//! A value begins with its version (1), the cut-off and the end, as they travel (four bytes each), so that millions of
//! markers are taken up without reading more; JSON follows, with what people want to know of it. One that is taken back
//! stays, with a cut-off of zero, until its end.

use super::HotSet;
use crate::marker::{Cover, Marker, MarkerId, Second};
use crate::store::replica::Apply;
use crate::store::{Entry, Key, Op, Revision, TooLarge, Value};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Store prefix of markers.
pub const PREFIX: &str = "marker/";
/// Version of the value's form.
const VERSION: u8 = 1;

/// Why an entry is not a marker.
#[derive(Debug, thiserror::Error)]
pub enum BadMarker {
    /// Its name is not the id of one.
    #[error("`{0}` is not named by a marker's id")]
    Name(Key),
    /// Its value is of a form that this program does not read.
    #[error("marker {0} is of a form that this broker does not read")]
    Form(Key),
    /// What is told of it cannot be read.
    #[error("what is told of marker {0} cannot be read: {1}")]
    Told(Key, serde_json::Error),
}

/// What people want to know of a marker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// What kind of thing it covers: the name of a [`crate::marker::Kind`].
    pub kind: String,
    /// The thing, as it was named.
    pub thing: String,
    /// Why.
    pub reason: String,
    /// Who set it, or took it back.
    pub author: String,
    /// When.
    pub at: Timestamp,
}

/// A marker and what is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMarker {
    /// The marker.
    pub marker: Marker,
    /// What is told of it.
    pub told: Told,
}

impl StoredMarker {
    /// The name of a marker's entry.
    ///
    /// # Errors
    /// [`TooLarge`] never.
    pub fn key(id: &MarkerId) -> Result<Key, TooLarge> {
        Key::new(&format!("{PREFIX}{id}"))
    }

    /// Its value.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub fn value(&self) -> Result<Value, TooLarge> {
        let Cover { before, until } = self.marker.cover;
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&before.to_bytes());
        bytes.extend_from_slice(&until.to_bytes());
        serde_json::to_writer(&mut bytes, &self.told).map_err(|_| TooLarge)?;
        Value::new(bytes)
    }

    /// Reads an entry back.
    ///
    /// # Errors
    /// [`BadMarker`].
    pub fn read(entry: &Entry) -> Result<Self, BadMarker> {
        let marker = marker(&entry.key, &entry.value)?;
        let told = entry.value.as_bytes().get(HEAD..).unwrap_or_default();
        let told = serde_json::from_slice(told);
        let told = told.map_err(|error| BadMarker::Told(entry.key.clone(), error))?;
        Ok(Self { marker, told })
    }

    /// Whether it was taken back.
    #[must_use]
    pub fn is_reinstated(&self) -> bool {
        self.marker.cover.before == Second::ZERO
    }
}

const HEAD: usize = 9;

/// The marker of an entry, and nothing else of it.
///
/// # Errors
/// [`BadMarker`].
pub fn marker(key: &Key, value: &Value) -> Result<Marker, BadMarker> {
    let name = key.as_str().strip_prefix(PREFIX);
    let id = name.and_then(|id| MarkerId::parse(id).ok());
    let id = id.ok_or_else(|| BadMarker::Name(key.clone()))?;
    match value.as_bytes() {
        [VERSION, a, b, c, d, e, f, g, h, ..] => {
            let before = Second::from_bytes([*a, *b, *c, *d]);
            let until = Second::from_bytes([*e, *f, *g, *h]);
            let cover = Cover { before, until };
            Ok(Marker { id, cover })
        }
        _ => Err(BadMarker::Form(key.clone())),
    }
}

impl Apply for HotSet {
    fn prefix(&self) -> &str {
        PREFIX
    }

    /// All of them were taken early. One that is no longer stored has ended.
    fn reset(&self, _entries: &[Entry], _revision: Revision) -> Result<(), String> {
        Ok(())
    }

    fn take_early(&self, entry: &Entry) -> Option<Result<(), String>> {
        let marker = marker(&entry.key, &entry.value);
        Some(
            marker
                .map(|marker| self.put(marker))
                .map_err(|error| error.to_string()),
        )
    }

    fn apply(&self, op: &Op, _revision: Revision) -> Result<(), String> {
        if let Op::Put(key, value) = op {
            self.put(marker(key, value).map_err(|error| error.to_string())?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marker::Thing;

    fn stored(before: Second) -> StoredMarker {
        let until = Second::of(Timestamp::from_second(2_000_000_000).unwrap());
        let cover = Cover { before, until };
        StoredMarker {
            marker: Marker {
                id: Thing::Issuer("a").id(),
                cover,
            },
            told: Told {
                kind: "issuer".to_owned(),
                thing: "a".to_owned(),
                reason: "tests".to_owned(),
                author: "uid:0".to_owned(),
                at: Timestamp::from_second(1_500_000_000).unwrap(),
            },
        }
    }

    fn entry(stored: &StoredMarker) -> Entry {
        Entry {
            key: StoredMarker::key(&stored.marker.id).unwrap(),
            value: stored.value().unwrap(),
            modified: 1,
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for before in [Second::ZERO, Second::FIRST, Second::NEVER] {
            let stored = stored(before);
            let read = StoredMarker::read(&entry(&stored)).unwrap();
            assert_eq!(read, stored);
            assert_eq!(read.is_reinstated(), before == Second::ZERO);
        }
    }

    #[test]
    fn what_is_of_another_form_is_refused() {
        let good = entry(&stored(Second::FIRST));
        let bad = |change: &dyn Fn(&mut Entry)| {
            let mut entry = good.clone();
            change(&mut entry);
            StoredMarker::read(&entry).is_err()
        };
        let value = |bytes: &[u8]| Value::new(bytes.to_vec()).unwrap();
        assert!(!bad(&|_| ()));
        assert!(bad(&|entry| entry.key = Key::new("marker/x").unwrap()));
        assert!(bad(&|entry| entry.value = value(&[])));
        assert!(bad(
            &|entry| entry.value = value(&[2, 0, 0, 0, 0, 0, 0, 0, 0])
        ));
        assert!(bad(&|entry| entry.value = value(&[1, 0, 0, 0, 0, 0, 0, 0])));
        assert!(bad(
            &|entry| entry.value = value(&[1, 0, 0, 0, 0, 0, 0, 0, 0, b'{'])
        ));
    }
}
