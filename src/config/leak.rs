//! `[leak]`: who reports leaked keys.

use super::check::Check;
use super::log::{Server, server};
use super::problem::KeyPath;
use crate::id::Reporter;
use crate::limits;
use serde::Deserialize;
use std::path::PathBuf;
use toml::Spanned;

/// `[leak]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leaks {
    /// Whose reports are believed. Where there are none, none are taken.
    pub reporters: Vec<LeakReporter>,
}

/// `[[leak.reporter]]`: somebody whose reports are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeakReporter {
    /// What the record calls them.
    pub name: Reporter,
    /// Where the keys are published that they sign with.
    pub keys: PublishedAt,
}

/// Where keys are published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishedAt {
    /// In a file.
    File(PathBuf),
    /// At an https URL.
    Web(Server),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawLeaks {
    reporter: Vec<Spanned<RawReporter>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawReporter {
    name: Reporter,
    file: Option<PathBuf>,
    url: Option<String>,
    ca: Option<PathBuf>,
}

impl Leaks {
    pub(super) fn check(raw: RawLeaks, check: &mut Check<'_, '_>) -> Self {
        if raw.reporter.len() > limits::LEAK_REPORTERS {
            let at = KeyPath::default().key("leak").key("reporter");
            let message = format_args!("there may be {} reporters", limits::LEAK_REPORTERS);
            check.refuse(&at, message);
        }
        let mut reporters: Vec<LeakReporter> = Vec::new();
        for raw in raw.reporter {
            let at = check.path_at(&raw.span());
            let raw = raw.into_inner();
            if reporters.iter().any(|other| other.name == raw.name) {
                let message = format_args!("another reporter is called `{}`", raw.name);
                check.refuse(&at.key("name"), message);
            }
            let name = raw.name.clone();
            let keys = published(raw, &at, check);
            reporters.extend(keys.map(|keys| LeakReporter { name, keys }));
        }
        Self { reporters }
    }
}

fn published(raw: RawReporter, at: &KeyPath, check: &mut Check<'_, '_>) -> Option<PublishedAt> {
    let RawReporter { file, url, ca, .. } = raw;
    match (file, url) {
        (Some(file), None) => {
            if ca.is_some() {
                check.refuse(&at.key("ca"), "says nothing of keys in a file");
            }
            Some(PublishedAt::File(check.resolve(&file)))
        }
        (None, Some(url)) => server(&url, ca.as_deref(), at, check).map(PublishedAt::Web),
        _ if check.is_set_aside(&at.key("file")) || check.is_set_aside(&at.key("url")) => None,
        _ => {
            let message = "a reporter publishes keys in a `file` or at a `url`, and not both";
            check.refuse(at, message);
            None
        }
    }
}
