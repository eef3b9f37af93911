//! Who is sent the log's checkpoints.

use crate::audit::NoteKey;
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

/// `[[log.witness]]`: somebody who cosigns checkpoints (C2SP tlog-witness).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogWitness {
    /// How it is reached: its submission prefix.
    pub server: Server,
    /// The key of its cosignatures.
    pub key: NoteKey,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWitness {
    url: String,
    ca: PathBuf,
    key: String,
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

pub(super) fn witnesses(
    raw: Vec<Spanned<RawWitness>>,
    check: &mut Check<'_, '_>,
) -> Vec<LogWitness> {
    if raw.len() > limits::LOG_WITNESSES {
        let at = KeyPath::default().key("log").key("witness");
        check.refuse(
            &at,
            format_args!("there may be {} witnesses", limits::LOG_WITNESSES),
        );
    }
    let mut witnesses: Vec<LogWitness> = Vec::new();
    for raw in raw {
        let at = check.path_at(&raw.span());
        let RawWitness { url, ca, key } = raw.into_inner();
        let server = server(&url, Some(&ca), &at, check);
        let key = key.parse().ok().filter(NoteKey::cosigns);
        if key.is_none() {
            let message = "not the key of a witness: `name+id+key`, of Ed25519 cosignatures";
            check.refuse(&at.key("key"), message);
        }
        let (Some(server), Some(key)) = (server, key) else {
            continue;
        };
        if witnesses.iter().any(|other| other.key.name() == key.name()) {
            check.refuse(&at.key("key"), "a witness of this name is there already");
        }
        witnesses.push(LogWitness { server, key });
    }
    witnesses
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

/// Somebody at an https URL, and whose word for it is taken.
pub(in crate::config) fn server(
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
