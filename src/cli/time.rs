//! Times on the command line and in tables, relative to the injected clock.

use crate::config::duration;
use jiff::Timestamp;
use std::str::FromStr;
use std::time::Duration;

/// An instant as people give it: a length of time from now, or RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Instant {
    After(Duration),
    At(Timestamp),
}

impl FromStr for Instant {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(length) = duration::parse(text) {
            return Ok(Self::After(length));
        }
        text.parse().map(Self::At).map_err(
            |_| "neither a length of time such as 30d nor a time such as 2030-01-31T12:00:00Z",
        )
    }
}

impl Instant {
    /// The instant, if it can be told at all.
    pub(super) fn resolve(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::At(at) => Some(at),
            Self::After(length) => now.checked_add(length).ok(),
        }
    }
}

/// Reads a length of time on the command line.
pub(super) fn length(text: &str) -> Result<Duration, duration::InvalidDuration> {
    duration::parse(text)
}

/// The broker's form of an instant.
pub(super) fn to_proto(at: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: at.as_second(),
        nanos: at.subsec_nanosecond(),
    }
}

/// The broker's form of a length of time.
pub(super) fn length_to_proto(length: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(length.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(length.subsec_nanos()).unwrap_or(0),
    }
}

/// An instant from the broker; `None` when there is none, or none that exists.
pub(super) fn from_proto(at: Option<prost_types::Timestamp>) -> Option<Timestamp> {
    let at = at?;
    Timestamp::new(at.seconds, at.nanos).ok()
}

/// Whole seconds from the broker; `None` when there are none.
pub(super) fn length_from_proto(length: Option<prost_types::Duration>) -> Option<u64> {
    length.and_then(|length| u64::try_from(length.seconds).ok())
}

/// An instant for people: when, and how far away. Empty when there is none.
pub(super) fn relative(at: Option<Timestamp>, now: Timestamp) -> String {
    let Some(at) = at else {
        return String::new();
    };
    let (length, ahead) = (now.duration_until(at).unsigned_abs(), at > now);
    let length = coarse(length);
    let at = whole_second(at);
    if ahead {
        format!("{at} (in {length})")
    } else {
        format!("{at} ({length} ago)")
    }
}

fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// The largest unit that is not zero: nobody reads seconds in a length of months.
fn coarse(length: Duration) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let seconds = length.as_secs();
    UNITS.iter().find(|(unit, _)| seconds >= *unit).map_or_else(
        || "0s".to_owned(),
        |(unit, name)| format!("{}{name}", seconds / unit),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_lengths_or_times() {
        let now = Timestamp::from_second(1_000_000_000).unwrap();
        let resolve = |text: &str| text.parse::<Instant>().ok()?.resolve(now);
        let second = |at| Some(Timestamp::from_second(at).unwrap());
        assert_eq!(resolve("30d"), second(1_000_000_000 + 30 * 86_400));
        assert_eq!(resolve("2001-09-09T01:46:41Z"), second(1_000_000_001));
        assert_eq!(resolve("2001-09-09T03:46:41+02:00"), second(1_000_000_001));
        assert_eq!(resolve("tomorrow"), None);
        assert_eq!(resolve("99999999w"), None);
    }

    #[test]
    fn distances_are_coarse() {
        let now = Timestamp::from_second(1_000_000_000).unwrap();
        let at = |second: i64| relative(Timestamp::from_second(1_000_000_000 + second).ok(), now);
        assert_eq!(at(3 * 86_400 + 5), "2001-09-12T01:46:45Z (in 3d)");
        assert_eq!(at(-90), "2001-09-09T01:45:10Z (1m ago)");
        assert_eq!(relative(None, now), "");
    }
}
