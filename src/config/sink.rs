//! `[[log.sink]]`: where records flow on to.

use super::check::Check;
use super::duration;
use super::problem::KeyPath;
use crate::audit::sink::{
    Body, Format, Kind, Otlp, Settings, SinkName, Start, Syslog, TlsFiles, Webhook,
};
use crate::audit::{Field, Filter, KINDS};
use crate::id::Owner;
use crate::limits;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;
use url::Url;

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum RawKind {
    Stdout,
    Otlp,
    Syslog,
    Webhook,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSink {
    name: SinkName,
    kind: RawKind,
    #[serde(default)]
    format: Format,
    kinds: Option<BTreeSet<String>>,
    actions: Option<BTreeSet<String>>,
    owners: Option<BTreeSet<Owner>>,
    #[serde(default)]
    start: Start,
    #[serde(default, deserialize_with = "duration::deserialize_some")]
    timeout: Option<Duration>,
    url: Option<String>,
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    bearer_file: Option<PathBuf>,
    signing_key_file: Option<PathBuf>,
    body: Option<Body>,
    message_bytes: Option<usize>,
}

/// Every receiver of syslog takes so much (RFC 5425 section 4.3.1).
const LEAST_MESSAGE: usize = 2048;

/// The keys that a kind takes, beside those that all take.
const fn takes(kind: RawKind) -> &'static [&'static str] {
    match kind {
        RawKind::Stdout => &[],
        RawKind::Otlp => &["url", "ca", "certificate", "key", "bearer_file"],
        RawKind::Syslog => &["url", "ca", "certificate", "key", "message_bytes"],
        RawKind::Webhook => &[
            "url",
            "ca",
            "certificate",
            "key",
            "bearer_file",
            "signing_key_file",
            "body",
        ],
    }
}

pub(super) fn sinks(raw: Vec<Spanned<RawSink>>, check: &mut Check<'_, '_>) -> Vec<Settings> {
    let mut sinks: Vec<Settings> = Vec::new();
    if raw.len() > limits::SINKS {
        let at = KeyPath::default().key("log").key("sink");
        check.refuse(&at, format_args!("there are more than {}", limits::SINKS));
    }
    for raw in raw {
        let at = check.path_at(&raw.span());
        let raw = raw.into_inner();
        if sinks.iter().any(|other| other.name == raw.name) {
            let message = format!("another sink is called `{}`", raw.name);
            check.refuse(&at.key("name"), message);
        }
        let is_stdout = |sink: &Settings| sink.kind == Kind::Stdout;
        if raw.kind == RawKind::Stdout && sinks.iter().any(is_stdout) {
            let message = "there is one standard output, and another sink has it";
            check.refuse(&at.key("kind"), message);
        }
        sinks.extend(sink(raw, &at, check));
    }
    sinks
}

fn sink(raw: RawSink, at: &KeyPath, check: &mut Check<'_, '_>) -> Option<Settings> {
    let timeout = raw.timeout.unwrap_or(limits::SINK_DELIVERY);
    let times = Duration::from_millis(100)..=Duration::from_secs(60);
    check.time(&at.key("timeout"), timeout, times);
    out_of_place(&raw, at, check);
    let only = only(&raw, at, check);
    let kind = match raw.kind {
        RawKind::Stdout => Kind::Stdout,
        RawKind::Otlp => {
            let (url, tls) = receiver(&raw, ("https", "http"), at, check)?;
            let bearer = raw.bearer_file.map(|path| check.resolve(&path));
            Kind::Otlp(Otlp { url, tls, bearer })
        }
        RawKind::Syslog => {
            let (url, tls) = receiver(&raw, ("tls", "tcp"), at, check)?;
            let message_bytes = raw.message_bytes.unwrap_or(limits::SYSLOG_MESSAGE);
            let sizes = LEAST_MESSAGE..=limits::RECORD;
            check.number(&at.key("message_bytes"), message_bytes, sizes);
            Kind::Syslog(Syslog {
                url,
                tls,
                message_bytes,
            })
        }
        RawKind::Webhook => {
            let (url, tls) = receiver(&raw, ("https", "http"), at, check)?;
            Kind::Webhook(Webhook {
                url,
                tls,
                bearer: raw.bearer_file.map(|path| check.resolve(&path)),
                key: raw.signing_key_file.map(|path| check.resolve(&path)),
                body: raw.body.unwrap_or_default(),
            })
        }
    };
    Some(Settings {
        name: raw.name,
        format: raw.format,
        only,
        start: raw.start,
        timeout,
        kind,
    })
}

/// Which records it takes.
fn only(raw: &RawSink, at: &KeyPath, check: &mut Check<'_, '_>) -> Filter {
    let owners = raw.owners.as_ref();
    let owners = owners.map(|owners| owners.iter().map(ToString::to_string).collect());
    let given = [
        ("kinds", Field::Kind, raw.kinds.clone()),
        ("actions", Field::Action, raw.actions.clone()),
        ("owners", Field::Owner, owners),
    ];
    let mut only = Filter::default();
    for (name, field, values) in given {
        let Some(values) = values else {
            continue;
        };
        if !(1..=limits::FILTER_VALUES).contains(&values.len()) {
            let message = format_args!("takes 1 to {} of them", limits::FILTER_VALUES);
            check.refuse(&at.key(name), message);
        }
        let is_one = |value: &&String| match field {
            Field::Kind => KINDS.contains(&value.as_str()),
            Field::Action => value.contains('.'),
            _ => true,
        };
        if let Some(wrong) = values.iter().find(|value| !is_one(value)) {
            check.refuse(&at.key(name), format_args!("no record has `{wrong}` there"));
        }
        only = only.within(field, values);
    }
    only
}

/// A key that a kind does not take is as wrong as one that does not exist.
fn out_of_place(raw: &RawSink, at: &KeyPath, check: &mut Check<'_, '_>) {
    let given = [
        ("url", raw.url.is_some()),
        ("ca", raw.ca.is_some()),
        ("certificate", raw.certificate.is_some()),
        ("key", raw.key.is_some()),
        ("bearer_file", raw.bearer_file.is_some()),
        ("signing_key_file", raw.signing_key_file.is_some()),
        ("body", raw.body.is_some()),
        ("message_bytes", raw.message_bytes.is_some()),
    ];
    for (name, _) in given.into_iter().filter(|(_, given)| *given) {
        if !takes(raw.kind).contains(&name) {
            check.refuse(&at.key(name), "this kind of sink has no such key");
        }
    }
}

/// Where a sink connects to, with TLS or, on the loopback interface, without.
fn receiver(
    raw: &RawSink,
    (secure, plain): (&str, &str),
    at: &KeyPath,
    check: &mut Check<'_, '_>,
) -> Option<(Url, Option<TlsFiles>)> {
    let Some(text) = &raw.url else {
        check.refuse(at, "`url` is missing");
        return None;
    };
    let place = at.key("url");
    let url = Url::parse(text).map_err(|error| check.refuse(&place, error));
    let url = url.ok()?;
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        check.refuse(&place, "has a user, a password or a fragment");
    }
    if url.host_str().is_none_or(str::is_empty) {
        check.refuse(&place, "names no host");
    }
    let tls = tls(raw, at, check);
    match url.scheme() {
        scheme if scheme == secure => {
            if tls.is_none() {
                check.refuse(
                    at,
                    "`ca` is missing: whose certificate the receiver has to show",
                );
            }
        }
        scheme if scheme == plain && is_loopback(&url) => {
            if tls.is_some() {
                check.refuse(
                    &at.key("ca"),
                    format_args!("there is no TLS with `{plain}://`"),
                );
            }
        }
        scheme if scheme == plain => {
            let message = format_args!("`{plain}://` is for the loopback interface only");
            check.refuse(&place, message);
        }
        _ => check.refuse(&place, format_args!("does not begin with `{secure}://`")),
    }
    Some((url, tls))
}

/// A loopback address. A name is what its resolver says.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.parse::<IpAddr>().is_ok_and(|host| host.is_loopback())
}

fn tls(raw: &RawSink, at: &KeyPath, check: &mut Check<'_, '_>) -> Option<TlsFiles> {
    let identity = match (&raw.certificate, &raw.key) {
        (Some(chain), Some(key)) => Some((check.resolve(chain), check.resolve(key))),
        (None, None) => None,
        (Some(_), None) => {
            check.refuse(at, "`key` is missing: `certificate` and `key` go together");
            None
        }
        (None, Some(_)) => {
            check.refuse(
                at,
                "`certificate` is missing: `certificate` and `key` go together",
            );
            None
        }
    };
    let ca = raw.ca.as_ref().map(|path| check.resolve(path));
    if ca.is_none() && identity.is_some() {
        check.refuse(
            &at.key("certificate"),
            "is shown with TLS only, which takes `ca`",
        );
    }
    ca.map(|ca| TlsFiles { ca, identity })
}
