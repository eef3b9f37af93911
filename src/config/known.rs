//! What each key is for, and what to say when it is not that.

use super::problem::KeyPath;

/// Every key, in the order of the sample configuration, with what would be right for it.
pub const KEYS: &[(&str, &str)] = &[
    (
        "issuer",
        "the https URL that tokens name as `iss`, such as \"https://cambist.example.org\"",
    ),
    (
        "node",
        "this node's name in the log, such as \"node-1\": small letters, digits, `-` and `.`",
    ),
    (
        "data",
        "the directory that holds the store and the log, such as \"/var/lib/cambist\"",
    ),
    ("listener", "one [[listener]] section for each address"),
    (
        "listener.address",
        "an IP address and port, such as \"0.0.0.0:8443\" or \"[::]:8443\", or a socket, such as \"unix:/run/cambist/cambist.sock\"",
    ),
    ("listener.faces", "some of [\"grpc\", \"http\"]"),
    (
        "listener.client_certificates",
        "\"none\", \"optional\" or \"required\"; always \"none\" on a Unix socket",
    ),
    (
        "listener.proxy_from",
        "the networks whose PROXY v2 header is believed, such as [\"10.0.0.0/24\"]; none on a Unix socket",
    ),
    ("tls", "a [tls] section with `certificate` and `key`"),
    (
        "tls.certificate",
        "the path of a PEM file with the certificate chain, leaf first",
    ),
    ("tls.key", "the path of a PEM file with the private key"),
    ("ops", "an [ops] section with `address`"),
    (
        "ops.address",
        "an IP address and port, such as \"127.0.0.1:8444\"",
    ),
    ("admin", "an [admin] section with `uids` and `spiffe_ids`"),
    (
        "admin.uids",
        "numbers of the users who may administer over the Unix socket, such as [0, 990]",
    ),
    (
        "admin.spiffe_ids",
        "SPIFFE IDs in a configured trust domain, such as [\"spiffe://example.org/platform/admin\"]",
    ),
    (
        "admin.explain",
        "SPIFFE IDs that may ask for explanations and nothing else",
    ),
    ("tokens", "a [tokens] section"),
    ("tokens.algorithm", "\"ES256\", \"Ed25519\" or \"RS256\""),
    (
        "tokens.default_lifetime",
        "a length of time from \"1s\" up to `max_lifetime`, such as \"15m\"",
    ),
    (
        "tokens.max_lifetime",
        "a length of time from \"1s\" up to \"24h\", such as \"1h\"",
    ),
    (
        "tokens.rotation_age",
        "a length of time from twice `max_lifetime`, and over \"10m\", up to \"365d\", such as \"30d\"",
    ),
    ("keys", "a [keys] section with `seal_key_file`"),
    (
        "keys.seal_key_file",
        "the path of the file with the key that seals signing keys at rest",
    ),
    (
        "keys.max_key_life",
        "a length of time from \"1m\" up to \"3650d\", such as \"90d\"",
    ),
    ("audience", "one [[audience]] section for each audience"),
    (
        "audience.name",
        "what `aud` will say, such as \"https://shop.example.org\"",
    ),
    (
        "audience.aliases",
        "other names that callers may use, at most 64, such as [\"shop\"]",
    ),
    (
        "audience.owner",
        "the team that answers for it, such as \"team-shop\"",
    ),
    (
        "audience.servers",
        "`sub` values of those who serve it, at most 64, such as [\"spiffe://example.org/shop\"]",
    ),
    (
        "audience.scopes",
        "the scopes that exist for it, at most 64, such as [\"orders:read\"]",
    ),
    (
        "audience.bound",
        "true or false: whether its tokens must be bound to a key that the caller proves",
    ),
    (
        "audience.max_lifetime",
        "whole seconds up to `tokens.max_lifetime`, such as \"10m\"",
    ),
    (
        "audience.tenant",
        "the tenant it belongs to, such as \"retail\"",
    ),
    (
        "trust_domain",
        "one [[trust_domain]] section for each trust domain",
    ),
    (
        "trust_domain.name",
        "the bare name, without scheme or path, such as \"example.org\"",
    ),
    (
        "trust_domain.bundle",
        "the path of a PEM file with the trust domain's own roots",
    ),
    (
        "trust_domain.crls",
        "paths of PEM files with certificate revocation lists",
    ),
    ("policy", "a [policy] section with `files`"),
    (
        "policy.files",
        "paths of Cedar files, or of directories whose `*.cedar` files are all read",
    ),
    ("log", "a [log] section"),
    (
        "log.segment_bytes",
        "bytes at which a segment is closed, 1048576 at least",
    ),
    (
        "log.segment_age",
        "a length of time from \"1m\" up to \"31d\", such as \"24h\"",
    ),
    (
        "log.public",
        "true or false: whether anybody may have checkpoints and tree over HTTPS; never the records",
    ),
    (
        "log.retention",
        "how long records stay, from \"1d\" on, such as \"400d\"; left out: for ever",
    ),
    (
        "log.max_bytes",
        "bytes that all of the log may take, 67108864 and four segments at least; left out: no bound",
    ),
    (
        "log.reader",
        "one [[log.reader]] section for each workload that may read the log",
    ),
    (
        "log.reader.spiffe_id",
        "a SPIFFE ID in a configured trust domain, such as \"spiffe://example.org/siem\"",
    ),
    (
        "log.reader.owners",
        "the teams whose records it sees, such as [\"team-shop\"]; left out: all records",
    ),
    (
        "log.copy",
        "one [[log.copy]] section for each place where this node's last checkpoint is kept, at most 8",
    ),
    (
        "log.copy.file",
        "the path of a file on another disk, such as \"/mnt/other/cambist.checkpoint\"",
    ),
    (
        "log.copy.url",
        "an https URL that takes PUT and GET, such as \"https://keeper.example.net/cambist/node-1\"",
    ),
    (
        "log.copy.ca",
        "the path of a PEM file with the CAs that vouch for the server at `url`",
    ),
    (
        "log.copy.token_file",
        "the path of the file with the bearer token for `url`, if it takes one",
    ),
    (
        "log.copy.required",
        "true or false: whether the broker does not start where the copy cannot be read",
    ),
    (
        "log.sink",
        "one [[log.sink]] section for each place that records flow on to, at most 16",
    ),
    (
        "log.sink.name",
        "what it is called in metrics: 1 to 32 small letters, digits and `-`, such as \"siem\"",
    ),
    (
        "log.sink.kind",
        "\"stdout\", \"otlp\", \"syslog\" or \"webhook\"",
    ),
    (
        "log.sink.format",
        "\"record\", as it stands in the log, or \"ocsf\", an event of OCSF 1.6.0",
    ),
    (
        "log.sink.kinds",
        "the kinds of records that it takes, such as [\"refuse\"]; left out: all",
    ),
    (
        "log.sink.actions",
        "what administrators and reporters did that it takes, such as [\"key.leaked\"]; left out: everything",
    ),
    (
        "log.sink.owners",
        "the teams whose records it takes, such as [\"team-shop\"]; left out: everybody's",
    ),
    (
        "log.sink.start",
        "\"beginning\" or \"end\": where in the log a new sink begins",
    ),
    (
        "log.sink.timeout",
        "a length of time from \"100ms\" up to \"1m\", such as \"10s\": what one delivery may take",
    ),
    (
        "log.sink.url",
        "where to: https:// for otlp and webhook, tls:// for syslog, such as \"tls://logs.example.org:6514\"; http:// and tcp:// are for loopback addresses",
    ),
    (
        "log.sink.ca",
        "the path of a PEM file with the CA certificates that vouch for the receiver",
    ),
    (
        "log.sink.certificate",
        "the path of a PEM file with the certificate chain to show, leaf first",
    ),
    (
        "log.sink.key",
        "the path of a PEM file with that certificate's private key",
    ),
    (
        "log.sink.bearer_file",
        "the path of a file with the bearer token to send",
    ),
    (
        "log.sink.signing_key_file",
        "the path of a file with the key to sign requests with: `whsec_` and the base64 of 24 bytes or more",
    ),
    (
        "log.sink.body",
        "\"array\", one JSON array, or \"lines\", a JSON object a line",
    ),
    (
        "log.sink.message_bytes",
        "a number from 2048 up to 65535: what the receiver takes of one syslog message",
    ),
    (
        "log.witness",
        "one [[log.witness]] section for each witness of the log, at most 16",
    ),
    (
        "log.witness.url",
        "the https URL that its `add-checkpoint` is under, such as \"https://witness.example.net\"",
    ),
    (
        "log.witness.ca",
        "the path of a PEM file with the CAs that vouch for its server",
    ),
    (
        "log.witness.key",
        "its verifier key of Ed25519 cosignatures, `name+id+key`",
    ),
    ("leak", "a [leak] section"),
    (
        "leak.reporter",
        "one [[leak.reporter]] section for each whose reports of leaked keys are believed, at most 8",
    ),
    (
        "leak.reporter.name",
        "what the record calls them, such as \"github\"",
    ),
    (
        "leak.reporter.url",
        "the https URL where the keys are published that they sign with, such as \"https://api.github.com/meta/public_keys/secret_scanning\"",
    ),
    (
        "leak.reporter.ca",
        "the path of a PEM file with the CAs that vouch for the server at `url`",
    ),
    (
        "leak.reporter.file",
        "the path of a file with these keys, in the place of `url`",
    ),
    ("store", "a [store] section"),
    (
        "store.staleness",
        "a length of time from \"1s\" up to \"1h\", such as \"60s\"",
    ),
    ("limits", "a [limits] section"),
    ("limits.connections", "a number from 1 up"),
    (
        "limits.source_connections",
        "a number from 1 up to `connections`",
    ),
    ("limits.streams", "a number from 1 up to 65535"),
    ("limits.message_bytes", "a number from 4096 up to 131072"),
    (
        "limits.handshake",
        "a length of time from \"100ms\" up to \"1m\", such as \"5s\"",
    ),
    (
        "limits.idle",
        "a length of time from \"1s\" up to \"24h\", such as \"15m\"",
    ),
    (
        "limits.age",
        "a length of time from \"1m\" up to \"7d\", such as \"1h\"",
    ),
    (
        "limits.drain",
        "a length of time up to \"10m\", such as \"20s\"",
    ),
];

/// What would be right for a key, given without indices; empty for a key that does not exist.
pub(super) fn expected(pattern: &str) -> &'static str {
    KEYS.iter()
        .find(|(key, _)| *key == pattern)
        .map_or("", |(_, expected)| expected)
}

/// The name of the missing field, when that is what serde complains about.
pub(super) fn missing_field(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.strip_suffix('`')
}

/// Puts serde's message about the value at `path` into an operator's words: what is wrong, what would be right.
pub(super) fn explain(path: &KeyPath, message: &str) -> (String, String) {
    if let Some(name) = missing_field(message) {
        let help = format!("`{name}` is {}", expected(&path.key(name).pattern()));
        return (format!("`{name}` is missing"), help);
    }
    let Some(rest) = message.strip_prefix("unknown field `") else {
        return (message.to_owned(), expected(&path.pattern()).to_owned());
    };
    let (name, alternatives) = rest.split_once('`').unwrap_or((rest, ""));
    let known: Vec<&str> = alternatives.split('`').skip(1).step_by(2).collect();
    let help = nearest(name, &known).map_or_else(
        || format!("the keys here are {}", known.join(", ")),
        |near| {
            let parent = path.parent().key(near).pattern();
            format!("did you mean `{near}`, {}?", expected(&parent))
        },
    );
    ("there is no such key".to_owned(), help)
}

/// The candidate that `name` was probably meant to be.
fn nearest<'a>(name: &str, candidates: &[&'a str]) -> Option<&'a str> {
    const ALIKE: f64 = 0.8;
    candidates
        .iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), *candidate))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_find_their_key() {
        let keys = ["certificate", "key", "max_lifetime", "default_lifetime"];
        assert_eq!(nearest("certificat", &keys), Some("certificate"));
        assert_eq!(nearest("max_livetime", &keys), Some("max_lifetime"));
        assert_eq!(nearest("colour", &keys), None);
    }

    #[test]
    fn every_section_and_key_says_what_would_be_right() {
        assert!(KEYS.iter().all(|(_, expected)| !expected.is_empty()));
        assert!(KEYS.iter().all(|(key, _)| match key.rsplit_once('.') {
            Some((section, _)) => !expected(section).is_empty(),
            None => true,
        }));
    }
}
