//! Where a server is, as its callers know it, and whether a proof's URL is that of a request.

use fluent_uri::Uri;
use fluent_uri::component::Scheme;
use fluent_uri::normalize::Normalizer;

/// The URL by which callers reach a server, in normal form.
#[derive(Debug)]
pub(super) struct Place {
    /// Scheme and authority.
    origin: String,
    /// The path that is taken off before requests arrive: empty, or from a slash to before one.
    prefix: String,
}

/// Not the URL of a server.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0} is not an http or https URL without user, query and fragment")]
pub struct PlaceError(String);

/// A URL without query and fragment.
struct Target {
    origin: String,
    path: String,
}

impl Place {
    pub(super) fn parse(url: &str) -> Result<Self, PlaceError> {
        let target = Target::parse(url).filter(|_| !url.contains(['?', '#']));
        let Target { origin, path } = target.ok_or_else(|| PlaceError(url.to_owned()))?;
        let prefix = path.trim_end_matches('/').to_owned();
        Ok(Self { origin, prefix })
    }

    /// Whether `url` is that of a request for `path` here, its query and fragment aside (RFC 9449 section 4.3), both in
    /// normal form (RFC 3986 sections 6.2.2 and 6.2.3).
    pub(super) fn is_named(&self, url: &str, path: &str) -> bool {
        // Dots in a request's path lead nowhere out of what is ours.
        let asked = path
            .starts_with('/')
            .then(|| format!("{}{path}", self.origin));
        let Some(asked) = asked.and_then(|asked| Target::parse(&asked)) else {
            return false;
        };
        Target::parse(url).is_some_and(|named| {
            let inner = match named.path.strip_prefix(&self.prefix) {
                // What is under a prefix has its root there, with a slash or without.
                Some("") => Some("/"),
                inner => inner,
            };
            named.origin == self.origin && inner == Some(&asked.path)
        })
    }
}

impl Target {
    /// Any http or https URL (RFC 9110 section 4.2) that names nobody as its user.
    fn parse(text: &str) -> Option<Self> {
        let text = text.split(['?', '#']).next().unwrap_or_default();
        let uri = Uri::parse(text).ok()?;
        let normalizer = Normalizer::new().default_port_with(default_port);
        let uri = normalizer.normalize(&uri).ok()?;
        default_port(uri.scheme())?;
        let authority = uri.authority()?;
        if authority.has_userinfo() || authority.host().is_empty() {
            return None;
        }
        // RFC 3986 section 6.2.3: no path is the root.
        let path = match uri.path().as_str() {
            "" => "/",
            path => path,
        };
        Some(Self {
            origin: format!("{}://{authority}", uri.scheme()),
            path: path.to_owned(),
        })
    }
}

fn default_port(scheme: &Scheme) -> Option<u16> {
    match scheme.as_str().to_ascii_lowercase().as_str() {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    }
}
