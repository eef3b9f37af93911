//! JSON as signed data must be read: no member twice, at any level, and no deep nesting.
//!
//! Readers disagree about which of two equal members counts, so that one token would say two things to two
//! readers (RFC 7515 section 4, RFC 7519 section 4). serde's derive refuses repeats of the members that it knows and
//! `serde_json::Value` none; so the text is walked once before it is read.

use crate::limits;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

/// Reads one JSON text, strictly.
///
/// # Errors
/// On malformed JSON, invalid UTF-8, a number out of range, repeated members at any level, nesting over
/// [`limits::JSON_DEPTH`], text after the value, or where `T` does not fit.
pub fn from_slice<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, serde_json::Error> {
    let mut walk = serde_json::Deserializer::from_slice(bytes);
    Walk {
        depth: limits::JSON_DEPTH,
    }
    .deserialize(&mut walk)?;
    walk.end()?;
    serde_json::from_slice(bytes)
}

/// Whether a member is there at all: `null` is there, too.
pub(super) fn present<'de, D: Deserializer<'de>>(input: D) -> Result<bool, D::Error> {
    serde::de::IgnoredAny::deserialize(input).map(|_| true)
}

/// An optional member that must not be `null` when it is there.
pub(crate) fn non_null<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    input: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(input).map(Some)
}

#[derive(Clone, Copy)]
struct Walk {
    /// Levels that may still be opened.
    depth: usize,
}

impl Walk {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        let depth = self
            .depth
            .checked_sub(1)
            .ok_or_else(|| E::custom("nested too deep"))?;
        Ok(Self { depth })
    }
}

/// A member's name, borrowed from the text where it holds no escapes.
#[derive(Deserialize, PartialEq, Eq, Hash)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> DeserializeSeed<'de> for Walk {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        input.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while seq.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        let mut names = HashSet::new();
        while let Some(name) = map.next_key::<Name<'de>>()? {
            if !names.insert(name) {
                return Err(A::Error::custom("a member is repeated"));
            }
            map.next_value_seed(inner)?;
        }
        Ok(())
    }
}
