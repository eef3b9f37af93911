//! kubectl's exec credential plugins: what `KUBERNETES_EXEC_INFO` asks, and the answer
//! (`client.authentication.k8s.io`, `v1` and `v1beta1`).

use super::Token;
use crate::id::Audience;
use crate::limits;
use jiff::fmt::temporal::DateTimePrinter;
use serde::{Deserialize, Serialize};

/// The environment variable in which client-go passes its request.
pub const VARIABLE: &str = "KUBERNETES_EXEC_INFO";

const KIND: &str = "ExecCredential";

/// A version of the interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// `client.authentication.k8s.io/v1`.
    #[default]
    #[serde(rename = "client.authentication.k8s.io/v1")]
    V1,
    /// `client.authentication.k8s.io/v1beta1`.
    #[serde(rename = "client.authentication.k8s.io/v1beta1")]
    V1Beta1,
}

/// What client-go asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecInfo {
    /// The version that the answer must have.
    pub version: Version,
    /// The audience that the cluster's entry names (`cluster.config.audience`).
    pub audience: Option<Audience>,
}

/// Why a request of client-go is not understood.
#[derive(Debug, thiserror::Error)]
#[error("{VARIABLE} is not understood: {0}")]
pub struct InvalidExecInfo(String);

#[derive(Deserialize)]
struct Raw {
    #[serde(rename = "apiVersion")]
    version: Version,
    kind: String,
    #[serde(default)]
    spec: Spec,
}

#[derive(Default, Deserialize)]
struct Spec {
    cluster: Option<Cluster>,
}

#[derive(Deserialize)]
struct Cluster {
    config: Option<Config>,
}

#[derive(Deserialize)]
struct Config {
    audience: Option<Audience>,
}

impl ExecInfo {
    /// Parses the content of [`VARIABLE`].
    ///
    /// # Errors
    /// [`InvalidExecInfo`].
    pub fn parse(text: &str) -> Result<Self, InvalidExecInfo> {
        if text.len() > limits::EXEC_INFO {
            return Err(InvalidExecInfo("too long".to_owned()));
        }
        let raw: Raw =
            serde_json::from_str(text).map_err(|error| InvalidExecInfo(error.to_string()))?;
        if raw.kind != KIND {
            return Err(InvalidExecInfo(format!("its kind is not {KIND}")));
        }
        let config = raw.spec.cluster.and_then(|cluster| cluster.config);
        Ok(Self {
            version: raw.version,
            audience: config.and_then(|config| config.audience),
        })
    }
}

#[derive(Serialize)]
pub(super) struct ExecCredential<'a> {
    #[serde(rename = "apiVersion")]
    version: Version,
    kind: &'static str,
    status: Status<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    token: &'a str,
    /// Whole seconds, as Kubernetes' own `metav1.Time`.
    expiration_timestamp: String,
}

impl<'a> ExecCredential<'a> {
    pub(super) fn new(token: &'a Token, version: Version) -> Self {
        let printer = DateTimePrinter::new().precision(Some(0));
        Self {
            version,
            kind: KIND,
            status: Status {
                token: token.value().expose(),
                expiration_timestamp: printer.timestamp_to_string(&token.expires_at()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn info(version: &str, spec: &str) -> String {
        format!(
            r#"{{"apiVersion":"client.authentication.k8s.io/{version}","kind":"ExecCredential","spec":{spec}}}"#
        )
    }

    #[test]
    fn version_and_audience_are_taken_from_the_request() {
        let plain = ExecInfo::parse(&info("v1", r#"{"interactive":false}"#)).unwrap();
        assert_eq!(plain, ExecInfo::default());
        let cluster = r#"{"interactive":true,"cluster":{"server":"https://k8s.example.org","config":{"audience":"k8s","other":1}}}"#;
        let full = ExecInfo::parse(&info("v1beta1", cluster)).unwrap();
        assert_eq!(full.version, Version::V1Beta1);
        assert_eq!(full.audience, Some(Audience::parse("k8s").unwrap()));
        assert!(ExecInfo::parse(&info("v1", r#"{"cluster":{"config":null}}"#)).is_ok());
    }

    #[test]
    fn other_versions_and_kinds_are_refused() {
        let pod = info("v1", "{}").replace("ExecCredential", "Pod");
        let audience = r#"{"cluster":{"config":{"audience":"a b"}}}"#;
        for bad in [
            "",
            "{}",
            &info("v1alpha1", "{}"),
            &pod,
            &info("v1", audience),
        ] {
            assert!(ExecInfo::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_bound_holds_at_n_and_n_plus_one() {
        let mut text = info("v1", "{}");
        text.push_str(&" ".repeat(limits::EXEC_INFO - text.len()));
        assert!(ExecInfo::parse(&text).is_ok());
        text.push(' ');
        assert!(ExecInfo::parse(&text).is_err());
    }

    proptest! {
        #[test]
        fn nothing_panics(text in ".{0,200}") {
            let _ = ExecInfo::parse(&text);
        }
    }
}
