//! Where a server is, as its callers know it, and whether a proof's URL is that of a request.

use fluent_uri::Uri;
use fluent_uri::component::Scheme;
use fluent_uri::normalize::Normalizer;
use std::borrow::Cow;

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
    /// normal form (RFC 3986 sections 6.2.2 and 6.2.3), and with what clients and servers let stand in a path and that RFC
    /// does not encoded in both.
    ///
    /// A request for a path with dots to go up or nowhere is for no URL: clients do not send them, and who answers may take
    /// them for names.
    pub(super) fn is_named(&self, url: &str, path: &str) -> bool {
        if !path.starts_with('/') || path.split('/').any(is_dots) {
            return false;
        }
        let asked = format!("{}{path}", self.origin);
        let Some(asked) = Target::parse(&encoded(&asked)) else {
            return false;
        };
        Target::parse(&encoded(url)).is_some_and(|named| {
            let inner = match named.path.strip_prefix(&self.prefix) {
                // What is under a prefix has its root there, with a slash or without.
                Some("") => Some("/"),
                inner => inner,
            };
            named.origin == self.origin && inner == Some(&asked.path)
        })
    }
}

/// Whether a segment is one that URLs are resolved by (RFC 3986 section 3.3), in any of its forms.
fn is_dots(segment: &str) -> bool {
    let plain = segment.replace("%2e", ".").replace("%2E", ".");
    matches!(plain.as_str(), "." | "..")
}

/// The URL without query and fragment, and with whatever RFC 3986 does not let stand in a path encoded in its path. What is
/// encoded stays as it is; and so does a backslash, which is a slash to some, and what no client sends: they are refused.
fn encoded(url: &str) -> Cow<'_, str> {
    let url = without_query(url);
    let path = url.find("://").and_then(|scheme| {
        let rest = url.get(scheme.saturating_add(3)..)?;
        Some(url.len() - rest.len() + rest.find('/')?)
    });
    let Some((before, path)) = path.and_then(|at| url.split_at_checked(at)) else {
        return Cow::Borrowed(url);
    };
    let stays = |c: char| {
        matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9' | '%' | '\\')
            || "/-._~!$&'()*+,;=:@".contains(c)
            || c.is_control()
    };
    if path.chars().all(stays) {
        return Cow::Borrowed(url);
    }
    let mut text = before.to_owned();
    for c in path.chars() {
        if stays(c) {
            text.push(c);
        } else {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                text.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    Cow::Owned(text)
}

fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

impl Target {
    /// Any http or https URL (RFC 9110 section 4.2) that names nobody as its user.
    fn parse(text: &str) -> Option<Self> {
        let uri = Uri::parse(without_query(text)).ok()?;
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
