//! Markers as they are stored, and taken up: one entry each, under `marker/` and the marker's id.
//!
//! A value begins with its version, the cut-off and the end, as they travel (four bytes each), so that millions of
//! markers are taken up without reading more; JSON follows, with what people want to know of it. One that is taken back
//! stays, with a cut-off of zero, until its end.
//!
//! Version 1 is a marker of no tenant. In version 2 the tenant's name comes before the JSON, after a byte with its length. A
//! broker that knows only version 1 refuses the second as a form that it does not read, and so never tells of it to all.

use super::HotSet;
use crate::id::{Owner, Tenant};
use crate::marker::{Cover, Marker, MarkerId, Second};
use crate::store::replica::Apply;
use crate::store::{Entry, Key, Op, Revision, TooLarge, Value};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Store prefix of markers.
pub const PREFIX: &str = "marker/";
/// Version of the value's form, where the marker is of no tenant.
const OF_NONE: u8 = 1;
/// And where it is of one.
const OF_TENANT: u8 = 2;

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
    /// Whose key it is, or is of, where that is known. Earlier versions did not keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
}

/// A marker and what is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMarker {
    /// The marker.
    pub marker: Marker,
    /// Whose it is, where it is one tenant's.
    pub tenant: Option<Tenant>,
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
        let mut bytes = vec![match self.tenant {
            None => OF_NONE,
            Some(_) => OF_TENANT,
        }];
        bytes.extend_from_slice(&before.to_bytes());
        bytes.extend_from_slice(&until.to_bytes());
        if let Some(tenant) = &self.tenant {
            bytes.push(u8::try_from(tenant.as_str().len()).map_err(|_| TooLarge)?);
            bytes.extend_from_slice(tenant.as_str().as_bytes());
        }
        serde_json::to_writer(&mut bytes, &self.told).map_err(|_| TooLarge)?;
        Value::new(bytes)
    }

    /// Reads an entry back.
    ///
    /// # Errors
    /// [`BadMarker`].
    pub fn read(entry: &Entry) -> Result<Self, BadMarker> {
        let Head {
            marker,
            tenant,
            rest,
        } = head(&entry.key, &entry.value)?;
        let told = serde_json::from_slice(rest);
        let told = told.map_err(|error| BadMarker::Told(entry.key.clone(), error))?;
        Ok(Self {
            marker,
            tenant,
            told,
        })
    }

    /// Whether it was taken back.
    #[must_use]
    pub fn is_reinstated(&self) -> bool {
        self.marker.cover.before == Second::ZERO
    }
}

/// What an entry begins with.
struct Head<'a> {
    marker: Marker,
    tenant: Option<Tenant>,
    rest: &'a [u8],
}

/// The marker of an entry, and nothing else of it.
///
/// # Errors
/// [`BadMarker`].
pub fn marker(key: &Key, value: &Value) -> Result<Marker, BadMarker> {
    head(key, value).map(|head| head.marker)
}

fn head<'a>(key: &Key, value: &'a Value) -> Result<Head<'a>, BadMarker> {
    let name = key.as_str().strip_prefix(PREFIX);
    let id = name.and_then(|id| MarkerId::parse(id).ok());
    let id = id.ok_or_else(|| BadMarker::Name(key.clone()))?;
    let form = || BadMarker::Form(key.clone());
    let [version, a, b, c, d, e, f, g, h, rest @ ..] = value.as_bytes() else {
        return Err(form());
    };
    let before = Second::from_bytes([*a, *b, *c, *d]);
    let until = Second::from_bytes([*e, *f, *g, *h]);
    let cover = Cover { before, until };
    let (tenant, rest) = match *version {
        OF_NONE => (None, rest),
        OF_TENANT => {
            let (tenant, rest) = tenant(rest).ok_or_else(form)?;
            (Some(tenant), rest)
        }
        _ => return Err(form()),
    };
    Ok(Head {
        marker: Marker { id, cover },
        tenant,
        rest,
    })
}

fn tenant(bytes: &[u8]) -> Option<(Tenant, &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    let name = std::str::from_utf8(name).ok()?;
    Some((Tenant::parse(name).ok()?, rest))
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
        Some(self.take(&entry.key, &entry.value))
    }

    fn apply(&self, op: &Op, _revision: Revision) -> Result<(), String> {
        match op {
            Op::Put(key, value) => self.take(key, value),
            Op::Delete(_) => Ok(()),
        }
    }
}

impl HotSet {
    fn take(&self, key: &Key, value: &Value) -> Result<(), String> {
        let head = head(key, value).map_err(|error| error.to_string())?;
        self.put_of(head.marker, head.tenant.as_ref());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marker::Thing;

    fn stored(before: Second, tenant: Option<&str>) -> StoredMarker {
        let until = Second::of(Timestamp::from_second(2_000_000_000).unwrap());
        let cover = Cover { before, until };
        StoredMarker {
            marker: Marker {
                id: Thing::Issuer("a").id(),
                cover,
            },
            tenant: tenant.map(|name| Tenant::parse(name).unwrap()),
            told: Told {
                kind: "issuer".to_owned(),
                thing: "a".to_owned(),
                reason: "tests".to_owned(),
                author: "uid:0".to_owned(),
                at: Timestamp::from_second(1_500_000_000).unwrap(),
                owner: tenant.map(|name| Owner::parse(name).unwrap()),
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
        let longest = "t".repeat(crate::limits::NAME);
        for before in [Second::ZERO, Second::FIRST, Second::NEVER] {
            for tenant in [None, Some("retail"), Some(&longest)] {
                let stored = stored(before, tenant);
                let read = StoredMarker::read(&entry(&stored)).unwrap();
                assert_eq!(read, stored);
                assert_eq!(read.is_reinstated(), before == Second::ZERO);
            }
        }
    }

    /// As it was before tenants were told apart, and as it will be for whoever reads only that.
    #[test]
    fn what_is_of_no_tenant_is_written_as_it_always_was() {
        let value = |tenant| {
            let value = stored(Second::NEVER, tenant).value().unwrap();
            value.as_bytes().to_vec()
        };
        let (old, new) = (value(None), value(Some("retail")));
        assert_eq!(old[..10], [1, 255, 255, 255, 255, 119, 53, 148, 0, b'{']);
        assert_eq!(new[..9], [2, 255, 255, 255, 255, 119, 53, 148, 0]);
        assert_eq!(&new[9..17], b"\x06retail{");
    }

    #[test]
    fn a_stored_marker_is_in_force_for_its_tenant() {
        let hot = HotSet::default();
        for tenant in [Some("retail"), None] {
            let entry = entry(&stored(Second::NEVER, tenant));
            hot.take_early(&entry).unwrap().unwrap();
            let (_, of) = hot.markers().find(&Thing::Issuer("a").id()).unwrap();
            assert_eq!(of == super::super::Partition::SHARED, tenant.is_none());
        }
    }

    #[test]
    fn what_is_of_another_form_is_refused() {
        let good = entry(&stored(Second::FIRST, None));
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
            &|entry| entry.value = value(&[3, 0, 0, 0, 0, 0, 0, 0, 0, b'{', b'}'])
        ));
        // A tenant without a name, with a part of one, and with one that cannot be.
        let told = serde_json::to_vec(&stored(Second::FIRST, None).told).unwrap();
        let of = |tenant: &[u8]| value(&[&[2, 0, 0, 0, 1, 0, 0, 0, 0], tenant, &told].concat());
        assert!(!bad(&|entry| entry.value = of(b"\x01a")));
        assert!(bad(&|entry| entry.value = of(b"")));
        assert!(bad(&|entry| entry.value = of(b"\x00")));
        assert!(bad(&|entry| entry.value = of(b"\xffa")));
        assert!(bad(&|entry| entry.value = of(b"\x01 ")));
        assert!(bad(
            &|entry| entry.value = value(&[2, 0, 0, 0, 1, 0, 0, 0, 0, 2, b'a'])
        ));
        assert!(bad(&|entry| entry.value = value(&[1, 0, 0, 0, 0, 0, 0, 0])));
        assert!(bad(
            &|entry| entry.value = value(&[1, 0, 0, 0, 0, 0, 0, 0, 0, b'{'])
        ));
    }
}
