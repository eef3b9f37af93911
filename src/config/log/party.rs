//! Who is sent the log's checkpoints.

use crate::config::check::Check;
use crate::config::problem::KeyPath;
use crate::limits;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use toml::Spanned;
use url::Url;

/// `[[log.copy]]`: a place where a copy of the last checkpoint is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogCopy {
    /// Where.
    pub place: CopyPlace,
    /// Whether a start without it is refused, too, and not only one that it speaks against.
    pub required: bool,
}

/// Where a copy is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyPlace {
    /// In a file.
    File(PathBuf),
    /// On a server, put there and got from there.
    Web {
        /// How it is reached.
        server: Server,
        /// The file with the bearer token.
        token_file: Option<PathBuf>,
    },
}

/// Somebody at an https URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Where.
    pub url: Url,
    /// The CAs that vouch for it, as a PEM file.
    pub ca: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCopy {
    file: Option<PathBuf>,
    url: Option<String>,
    ca: Option<PathBuf>,
    token_file: Option<PathBuf>,
    #[serde(default)]
    required: bool,
}

pub(super) fn copies(raw: Vec<Spanned<RawCopy>>, check: &mut Check<'_, '_>) -> Vec<LogCopy> {
    if raw.len() > limits::LOG_COPIES {
        let at = KeyPath::default().key("log").key("copy");
        check.refuse(
            &at,
            format_args!("there may be {} copies", limits::LOG_COPIES),
        );
    }
    let mut copies: Vec<LogCopy> = Vec::new();
    for raw in raw {
        let at = check.path_at(&raw.span());
        let raw = raw.into_inner();
        let required = raw.required;
        let Some(place) = place(raw, &at, check) else {
            continue;
        };
        if copies.iter().any(|other| other.place.is(&place)) {
            check.refuse(&at, "there is a copy in this place already");
        }
        copies.push(LogCopy { place, required });
    }
    copies
}

impl CopyPlace {
    /// Whether it is this place, however it is reached.
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(one), Self::File(other)) => one == other,
            (Self::Web { server: one, .. }, Self::Web { server: other, .. }) => {
                one.url == other.url
            }
            _ => false,
        }
    }
}

fn place(raw: RawCopy, at: &KeyPath, check: &mut Check<'_, '_>) -> Option<CopyPlace> {
    let RawCopy {
        file,
        url,
        ca,
        token_file,
        ..
    } = raw;
    match (file, url) {
        (Some(file), None) => {
            for (key, path) in [("ca", &ca), ("token_file", &token_file)] {
                if path.is_some() {
                    check.refuse(&at.key(key), "says nothing of a copy in a file");
                }
            }
            Some(CopyPlace::File(check.resolve(&file)))
        }
        (None, Some(url)) => Some(CopyPlace::Web {
            server: server(&url, ca.as_deref(), at, check)?,
            token_file: token_file.map(|path| check.resolve(&path)),
        }),
        _ if check.is_set_aside(&at.key("file")) || check.is_set_aside(&at.key("url")) => None,
        _ => {
            check.refuse(at, "a copy has a `file` or a `url`, and not both");
            None
        }
    }
}

pub(super) fn server(
    url: &str,
    ca: Option<&Path>,
    at: &KeyPath,
    check: &mut Check<'_, '_>,
) -> Option<Server> {
    let plain = |url: &Url| {
        url.scheme() == "https"
            && url.host().is_some()
            && url.username().is_empty()
            && url.password().is_none()
            && url.fragment().is_none()
            && url.query().is_none()
    };
    let url = Url::parse(url).ok().filter(plain);
    if url.is_none() {
        let message = "not an https URL without user, query and fragment";
        check.refuse(&at.key("url"), message);
    }
    if ca.is_none() && !check.is_set_aside(&at.key("ca")) {
        check.refuse(
            at,
            "`ca` is missing: nobody else's word for the server is taken",
        );
    }
    Some(Server {
        url: url?,
        ca: check.resolve(ca?),
    })
}
