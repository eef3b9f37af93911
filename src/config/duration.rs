//! Lengths of time as people write them: `15m`, `1h 30m`, `90d`.

use jiff::{SignedDuration, Span, SpanRelativeTo};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use std::time::Duration;

/// Why a text is not a length of time.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidDuration {
    /// Neither jiff's friendly form nor ISO 8601, or in months and years, whose length varies.
    #[error("not a length of time such as \"15m\", \"1h 30m\" or \"90d\"")]
    Malformed,
    /// Below zero.
    #[error("a length of time is not negative")]
    Negative,
}

/// Parses a length of time: weeks, days (of 24 hours) and smaller units, in jiff's friendly form or ISO 8601.
///
/// # Errors
/// [`InvalidDuration`].
pub fn parse(text: &str) -> Result<Duration, InvalidDuration> {
    let span: Span = text.parse().map_err(|_| InvalidDuration::Malformed)?;
    let signed = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| InvalidDuration::Malformed)?;
    Duration::try_from(signed).map_err(|_| InvalidDuration::Negative)
}

/// Prints a length of time so that [`parse`] reads it back: days where it is whole days.
#[must_use]
pub fn display(duration: Duration) -> String {
    const DAY: u64 = 24 * 60 * 60;
    let seconds = duration.as_secs();
    if duration.subsec_nanos() == 0 && seconds >= DAY && seconds.is_multiple_of(DAY) {
        return format!("{}d", seconds / DAY);
    }
    match SignedDuration::try_from(duration) {
        Ok(signed) => format!("{signed:#}"),
        Err(_) => format!("{seconds}s"),
    }
}

/// Reads a length of time from a configuration file.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(input)?;
    parse(&text).map_err(D::Error::custom)
}

/// As [`deserialize`], for keys that may be left out.
pub(super) fn deserialize_some<'de, D: Deserializer<'de>>(
    input: D,
) -> Result<Option<Duration>, D::Error> {
    deserialize(input).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn people_write_it_in_many_ways() {
        for (text, seconds) in [
            ("15m", 900),
            ("15 minutes", 900),
            ("1h 30m", 5400),
            ("90d", 7_776_000),
            ("2w", 1_209_600),
            ("PT5M", 300),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn what_has_no_fixed_length_is_refused() {
        for text in [
            "",
            "15",
            "m",
            "1 month",
            "1y",
            "soon",
            "99999999999999999999d",
        ] {
            assert_eq!(parse(text), Err(InvalidDuration::Malformed), "{text}");
        }
        assert_eq!(parse("-5m"), Err(InvalidDuration::Negative));
    }

    proptest! {
        #[test]
        fn printed_lengths_parse_back(seconds in 0_u64..4_000_000_000, nanos in prop_oneof![Just(0), 0_u32..1_000_000_000]) {
            let duration = Duration::new(seconds, nanos);
            prop_assert_eq!(parse(&display(duration)), Ok(duration));
        }

        #[test]
        fn nothing_panics(text in ".*") {
            let _ = parse(&text);
        }
    }
}
