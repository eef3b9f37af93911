//! `exp`, `iat` and `nbf` (RFC 7519 section 4.1).

use super::JoseError;
use crate::limits;
use jiff::Timestamp;
use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use std::time::Duration;

/// Whole seconds since 1970, from 0 to [`limits::NUMERIC_DATE`]. RFC 7519 allows fractions; they are refused, because
/// readers round them differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NumericDate(Timestamp);

impl NumericDate {
    /// The second that an instant lies in; instants before 1970 are 1970.
    #[must_use]
    pub fn floor(instant: Timestamp) -> Self {
        let second = instant.as_second().max(0);
        Self(Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH))
    }

    /// The instant.
    #[must_use]
    pub fn timestamp(self) -> Timestamp {
        self.0
    }
}

impl Serialize for NumericDate {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_i64(self.0.as_second())
    }
}

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Seconds;

        impl Visitor<'_> for Seconds {
            type Value = NumericDate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("whole seconds since 1970")
            }

            fn visit_u64<E: Error>(self, second: u64) -> Result<NumericDate, E> {
                i64::try_from(second)
                    .ok()
                    .filter(|_| second <= limits::NUMERIC_DATE)
                    .and_then(|second| Timestamp::from_second(second).ok())
                    .map(NumericDate)
                    .ok_or_else(|| E::custom("a date out of range"))
            }
        }

        input.deserialize_u64(Seconds)
    }
}

/// The times that a token states about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From this instant on it is not accepted.
    pub expires: NumericDate,
    /// When it was issued.
    pub issued: Option<NumericDate>,
    /// Before this instant it is not accepted.
    pub not_before: Option<NumericDate>,
}

impl Validity {
    /// Checks the times, forgiving clocks that differ by `leeway`, of which at most [`limits::LEEWAY`] counts.
    ///
    /// # Errors
    /// [`JoseError::Expired`] or [`JoseError::NotYetValid`].
    pub fn check(&self, now: Timestamp, leeway: Duration) -> Result<(), JoseError> {
        self.check_end(now, leeway)?;
        self.check_start(now, leeway)
    }

    /// Checks `exp` alone.
    ///
    /// # Errors
    /// [`JoseError::Expired`].
    pub fn check_end(&self, now: Timestamp, leeway: Duration) -> Result<(), JoseError> {
        let leeway = leeway.min(limits::LEEWAY);
        let earliest = now.saturating_sub(leeway).unwrap_or(Timestamp::MIN);
        if self.expires.timestamp() <= earliest {
            return Err(JoseError::Expired);
        }
        Ok(())
    }

    /// Checks `iat` and `nbf` alone.
    ///
    /// # Errors
    /// [`JoseError::NotYetValid`].
    pub fn check_start(&self, now: Timestamp, leeway: Duration) -> Result<(), JoseError> {
        let leeway = leeway.min(limits::LEEWAY);
        let latest = now.saturating_add(leeway).unwrap_or(Timestamp::MAX);
        let starts = [self.issued, self.not_before];
        if starts
            .iter()
            .flatten()
            .any(|start| start.timestamp() > latest)
        {
            return Err(JoseError::NotYetValid);
        }
        Ok(())
    }
}
