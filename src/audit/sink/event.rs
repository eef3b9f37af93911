//! A record on its way out.

use super::ocsf;
use crate::audit::read::Entry;
use crate::audit::seen::{Field, Seen};
use jiff::Timestamp;
use serde::Deserialize;

/// What a record is sent as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// The record as it stands in the log, byte by byte: what its leaf in the tree is made of.
    #[default]
    Record,
    /// An event of the Open Cybersecurity Schema Framework: see [`super::ocsf`].
    Ocsf,
}

/// How much a record matters to those who look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Everyday: an issue, a use.
    Information,
    /// Something was changed, or began, or ended.
    Notice,
    /// Somebody was told no, or something was repaired.
    Warning,
    /// Something is missing.
    Error,
}

/// A record on its way out: its text, and what the envelopes of the kinds of sinks say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The record's sequence.
    pub sequence: u64,
    /// When it was made.
    pub time: Timestamp,
    /// What happened: `issue`, `refuse`, `refusals`, `gap`, or the kind of an act.
    pub kind: String,
    /// Why it was refused, if it was.
    pub code: Option<String>,
    /// How much it matters.
    pub weight: Weight,
    /// One JSON object on one line.
    pub text: String,
}

impl Event {
    /// The event of an entry of the log of `origin`. Total: a line that cannot be read is sent as it is, of the kind `unreadable`.
    #[must_use]
    pub fn of(entry: &Entry, format: Format, origin: &str) -> Self {
        let text = match format {
            Format::Record => String::from_utf8_lossy(&entry.line).into_owned(),
            Format::Ocsf => ocsf::event(&entry.line, entry.sequence, origin).to_string(),
        };
        let Ok(seen) = Seen::read(&entry.line) else {
            return Self {
                sequence: entry.sequence,
                time: Timestamp::UNIX_EPOCH,
                kind: "unreadable".to_owned(),
                code: None,
                weight: Weight::Error,
                text,
            };
        };
        let term = |wanted| {
            let mut terms = seen.terms();
            let found = terms.find(|(field, _)| *field == wanted);
            found.map(|(_, value)| value.to_owned())
        };
        let kind = term(Field::Kind).unwrap_or_default();
        Self {
            sequence: entry.sequence,
            time: seen.time,
            weight: Weight::of(&kind),
            code: term(Field::Code),
            kind,
            text,
        }
    }
}

impl Weight {
    /// The weight of a kind of record.
    #[must_use]
    pub fn of(kind: &str) -> Self {
        match kind {
            "issue" | "spend" | "checkpoint" => Self::Information,
            "admin" | "keys" | "start" | "stop" | "retention" => Self::Notice,
            "refuse" | "refusals" | "recovery" => Self::Warning,
            _ => Self::Error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(line: &str) -> Entry {
        Entry {
            sequence: 7,
            line: line.as_bytes().to_vec(),
        }
    }

    #[test]
    fn an_event_says_what_its_record_says() {
        let line = r#"{"v":1,"seq":7,"kind":"refuse","time":"2027-01-15T08:00:00.000001Z","salt":"x","code":"policy_denied","batch":7}"#;
        let event = Event::of(&entry(line), Format::Record, "https://a/b");
        assert_eq!(event.text, line);
        assert_eq!(
            (event.sequence, &*event.kind, event.code.as_deref()),
            (7, "refuse", Some("policy_denied"))
        );
        assert_eq!(event.time.to_string(), "2027-01-15T08:00:00.000001Z");
        assert_eq!(event.weight, Weight::Warning);
    }

    #[test]
    fn what_cannot_be_read_is_sent_all_the_same() {
        let event = Event::of(&entry("{\"seq\":7"), Format::Record, "https://a/b");
        assert_eq!((event.sequence, &*event.kind), (7, "unreadable"));
        assert_eq!(event.text, "{\"seq\":7");
        assert_eq!(event.weight, Weight::Error);
    }
}
