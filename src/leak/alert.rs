//! What a report says, and what is answered.

use crate::limits;
use crate::secret::Secret;
use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::fmt::Write as _;

/// One finding of a report.
#[derive(Debug)]
pub struct Alert {
    /// What was found.
    pub token: Secret,
    /// The reporter's name for this kind of secret; may be empty.
    pub kind: String,
    /// Where it was found; may be empty.
    pub url: String,
    /// What kind of place that is; may be empty.
    pub source: String,
}

/// As it stands in a report. Members that are added are passed over, and what stands beside the token is told as far as it
/// can be.
#[derive(Deserialize)]
struct Raw {
    token: String,
    #[serde(default)]
    r#type: Value,
    #[serde(default)]
    url: Value,
    #[serde(default)]
    source: Value,
}

/// Why a report that was signed rightly is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReport {
    /// Not what a report looks like. Says nothing of the text, which may hold secrets.
    #[error("the report is not a JSON array of objects with a `token`")]
    Malformed,
    /// Over [`limits::LEAK_ALERTS`].
    #[error("the report has more than {max} findings", max = limits::LEAK_ALERTS)]
    TooMany,
}

impl Alert {
    /// Reads a report: the findings that can be read, and how many cannot. A key that was found is not left alive for what
    /// stands beside it.
    ///
    /// # Errors
    /// [`InvalidReport`].
    pub fn read(body: &[u8]) -> Result<(Vec<Self>, usize), InvalidReport> {
        let findings: Vec<&RawValue> =
            serde_json::from_slice(body).map_err(|_| InvalidReport::Malformed)?;
        if findings.len() > limits::LEAK_ALERTS {
            return Err(InvalidReport::TooMany);
        }
        let read = findings.iter().map(|finding| finding.get());
        let read = read.filter_map(|text| serde_json::from_str::<Raw>(text).ok());
        let text = |value: Value| value.as_str().unwrap_or_default().to_owned();
        let alerts: Vec<_> = read
            .map(|raw| Self {
                token: Secret::new(raw.token),
                kind: text(raw.r#type),
                url: text(raw.url),
                source: text(raw.source),
            })
            .collect();
        let unread = findings.len().saturating_sub(alerts.len());
        Ok((alerts, unread))
    }
}

/// Whether a finding was one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Label {
    /// A key of ours, in use or not.
    TruePositive,
    /// None.
    FalsePositive,
}

/// What the reporter is told of one finding.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Feedback {
    /// SHA-256 of what was found, in small hexadecimal digits: the text itself is not sent around once more.
    token_hash: String,
    token_type: String,
    label: Label,
}

impl Feedback {
    /// Of a finding.
    #[must_use]
    pub fn new(alert: &Alert, label: Label) -> Self {
        let hash = digest(&SHA256, alert.token.expose().as_bytes());
        let mut token_hash = String::new();
        for byte in hash.as_ref() {
            let _ = write!(token_hash, "{byte:02x}");
        }
        Self {
            token_hash,
            token_type: alert.kind.clone(),
            label,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_report_is_read_with_and_without_what_may_be_missing() {
        let body = br#"[{"token":"t","type":"k","url":"u","source":"commit","new":{}},
                        {"type":"k","token":"","url":null}]"#;
        let (alerts, unread) = Alert::read(body).unwrap();
        assert_eq!(unread, 0);
        let told: Vec<_> = alerts
            .iter()
            .map(|alert| {
                (
                    alert.token.expose(),
                    &*alert.kind,
                    &*alert.url,
                    &*alert.source,
                )
            })
            .collect();
        assert_eq!(told, [("t", "k", "u", "commit"), ("", "k", "", "")]);
        assert!(Alert::read(b"[]").unwrap().0.is_empty());
        for body in ["", "{}", "null", r#"[{"token":"a","type":"k"}] x"#] {
            let read = Alert::read(body.as_bytes());
            assert_eq!(read.unwrap_err(), InvalidReport::Malformed, "{body}");
        }
    }

    #[test]
    fn a_finding_that_cannot_be_read_keeps_no_other() {
        for odd in ["1", "{}", r#"{"type":"k"}"#, r#"{"token":1,"type":"k"}"#] {
            let body = format!(r#"[{odd},{{"token":"t","type":"k","url":5,"source":{{}}}}]"#);
            let (alerts, unread) = Alert::read(body.as_bytes()).unwrap();
            assert_eq!((alerts.len(), unread), (1, 1), "{body}");
            let told = &alerts[0];
            assert_eq!(
                (told.token.expose(), &*told.url, &*told.source),
                ("t", "", "")
            );
        }
    }

    #[test]
    fn a_key_that_was_found_is_read_whatever_its_kind_is_called() {
        for kind in ["", r#","type":null"#, r#","type":5"#, r#","type":["k"]"#] {
            let body = format!(r#"[{{"token":"t"{kind}}}]"#);
            let (alerts, unread) = Alert::read(body.as_bytes()).unwrap();
            assert_eq!((alerts.len(), unread), (1, 0), "{body}");
            let told = (alerts[0].token.expose(), &*alerts[0].kind);
            assert_eq!(told, ("t", ""), "{body}");
        }
    }

    #[test]
    fn a_report_has_so_many_findings_and_no_more() {
        let report =
            |count: usize| format!("[{}]", vec![r#"{"token":"a","type":"k"}"#; count].join(","));
        let most = report(limits::LEAK_ALERTS);
        assert_eq!(
            Alert::read(most.as_bytes()).unwrap().0.len(),
            limits::LEAK_ALERTS
        );
        let more = report(limits::LEAK_ALERTS + 1);
        assert_eq!(
            Alert::read(more.as_bytes()).unwrap_err(),
            InvalidReport::TooMany
        );
        let (key, url) = ("k".repeat(70), "u".repeat(190));
        let full = format!(r#"{{"token":"{key}","type":"cambist_api_key","url":"{url}"}},"#);
        assert!(full.len() * limits::LEAK_ALERTS < limits::LEAK_REPORT);
    }

    #[test]
    fn feedback_is_as_reporters_take_it() {
        let alert = &Alert::read(br#"[{"token":"abc","type":"cambist_api_key"}]"#)
            .unwrap()
            .0[0];
        let told = serde_json::to_string(&Feedback::new(alert, Label::FalsePositive)).unwrap();
        // The hash is FIPS 180's own example.
        let expected = r#"{"token_hash":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","token_type":"cambist_api_key","label":"false_positive"}"#;
        assert_eq!(told, expected);
        assert!(!format!("{alert:?}").contains("abc"));
    }

    proptest! {
        #[test]
        fn nothing_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Alert::read(&body);
        }
    }
}
