//! Records that somebody made up.

use super::{NOW, at};
use crate::audit::{MARKER_SET, ROLLBACK_ACCEPTED};
use crate::id::{CredentialId, KeyId};
use crate::marker::{MarkerId, Thing};
use serde_json::{Value, json};

pub(super) const WEB: &str = "spiffe://a.example/web";
pub(super) const DIGEST: &str = "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk";

pub(super) fn id(bit: u8) -> String {
    MarkerId::new([bit; 16]).to_string()
}

/// An issue to a workload by its certificate, valid for ten minutes so far, in which `change` differs.
pub(super) fn issue(change: &Value) -> Value {
    let mut record = json!({
        "kind": "issue", "credential": format!("x509:{DIGEST}"), "sub": WEB, "client_id": WEB, "iat": NOW, "exp": NOW + 900,
        "kid": "k1", "grant": {"bound": DIGEST}, "lineage": {"c": [format!("x509:{DIGEST}")], "l": []},
        "began": {"subject": {"at": NOW - 600}},
    });
    for (name, value) in change.as_object().unwrap() {
        record[name] = value.clone();
    }
    record
}

/// What descendants under another key carry.
fn marker_of_key(kid: &str) -> String {
    let key = KeyId::parse(kid).unwrap();
    Thing::SigningKey(&key).id().to_string()
}

pub(super) fn plain() -> Value {
    issue(&json!({}))
}

/// One of a token that was issued a minute ago, presented by a certificate that is valid for an hour so far.
pub(super) fn exchanged(change: &Value) -> Value {
    let mut record = issue(&json!({
        "credential": "key:aaaaaaaaaaaaaaaa", "sub": "https://a/keys/aaaaaaaaaaaaaaaa", "actors": [WEB],
        "lineage": {"c": ["key:aaaaaaaaaaaaaaaa", format!("x509:{DIGEST}")], "l": [id(1), id(2)]},
        "began": {"subject": {"at": NOW - 60, "kid": "k0"}, "actor": {"at": NOW - 3_600}},
    }));
    for (name, value) in change.as_object().unwrap() {
        record[name] = value.clone();
    }
    record
}

pub(super) fn marker(action: &str, target: &str, before: Option<i64>, until: Option<i64>) -> Value {
    let change = json!({
        "marker": id(1), "state": "x", "before": before.map(at), "until": until.map(at), "reason": "tests",
    });
    json!({"kind": "admin", "action": action, "target": target, "change": change})
}

pub(super) fn ban(target: &str) -> Value {
    marker(MARKER_SET, target, None, None)
}

pub(super) fn cut(target: &str, before: i64) -> Value {
    marker(MARKER_SET, target, Some(before), None)
}

pub(super) fn key(action: &str, id: &str, change: &Value) -> Value {
    json!({"kind": "admin", "action": action, "target": format!("key:{id}"), "credential": format!("key:{id}"), "change": change})
}

pub(super) fn suspended() -> Value {
    key(
        "key.suspend",
        "aaaaaaaaaaaaaaaa",
        &json!({"state": "suspended"}),
    )
}

pub(super) fn compromised(kid: &str) -> Value {
    json!({
        "kind": "keys", "action": "signing_key.compromise", "target": "ring:access-token",
        "change": {"keys": [{"kid": "new", "state": "active"}, {"kid": kid, "state": "compromised"}], "reason": ""},
    })
}

pub(super) fn rolled_back(cut_off: i64) -> Value {
    json!({"kind": "recovery", "action": ROLLBACK_ACCEPTED, "change": {"cut_off": at(cut_off)}})
}

/// Every kind of revocation, an issue that it covers, and one that it does not. Whether it can be taken back.
pub(super) fn kinds() -> Vec<(&'static str, Value, Value, Value, bool)> {
    let of_key = |state: &str| json!({ "state": state });
    let leaked = json!({"state": "revoked", "reason": "", "leak": {}});
    let (one, other) = ("aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb");
    let others_key = || exchanged(&json!({"lineage": {"c": [format!("key:{other}")], "l": []}}));
    let certificate = format!("credential:x509:{DIGEST}");
    let ring = |subject: &str, actor: &str| {
        exchanged(&json!({"began": {
            "subject": {"at": NOW - 60, "kid": subject}, "actor": {"at": NOW - 50, "kid": actor},
        }}))
    };
    let tokens_of = |credential: &str| {
        let id = CredentialId::parse(credential).unwrap();
        let mut record = cut(&format!("credential:{credential}"), NOW);
        record["change"]["marker"] = json!(Thing::TokensOf(id).id().to_string());
        record
    };
    vec![
        (
            "tokens of a key",
            tokens_of(&format!("key:{one}")),
            exchanged(&json!({})),
            exchanged(&json!({"iat": NOW + 1})),
            true,
        ),
        (
            "tokens of a certificate that it is bound to",
            tokens_of(&format!("x509:{DIGEST}")),
            issue(&json!({"lineage": {"c": [], "l": []}})),
            issue(&json!({"iat": NOW + 1})),
            true,
        ),
        (
            "token",
            ban("token:AAAAAAAAAAAAAAAAAAAAAA"),
            exchanged(&json!({})),
            exchanged(&json!({"lineage": {"c": [], "l": [id(2)]}})),
            true,
        ),
        (
            "certificate of the lineage",
            ban(&certificate),
            issue(&json!({"grant": {}})),
            issue(&json!({"grant": {}, "lineage": {"c": ["x509:other"], "l": []}})),
            true,
        ),
        (
            "certificate that it is bound to",
            ban(&certificate),
            exchanged(&json!({"lineage": {}})),
            exchanged(&json!({"lineage": {}, "grant": {"bound": "other"}})),
            true,
        ),
        (
            "subject",
            ban(&format!("subject:{WEB}")),
            plain(),
            issue(
                &json!({"sub": "spiffe://a.example/webs", "client_id": "spiffe://a.example/webs"}),
            ),
            true,
        ),
        (
            "actor",
            ban("subject:spiffe://b.example/a"),
            exchanged(&json!({"actors": [WEB, "spiffe://b.example/a"]})),
            exchanged(&json!({})),
            true,
        ),
        (
            "client",
            ban(&format!("subject:{WEB}")),
            exchanged(&json!({"actors": []})),
            exchanged(&json!({"actors": [], "client_id": "x"})),
            true,
        ),
        (
            "subject up to a time",
            cut(&format!("subject:{WEB}"), NOW - 600),
            plain(),
            issue(&json!({"began": {"subject": {"at": NOW - 599}}})),
            true,
        ),
        (
            "trust domain",
            ban("trust_domain:a.example"),
            plain(),
            issue(&json!({"sub": "spiffe://aa.example/web", "client_id": "a.example"})),
            true,
        ),
        (
            "trust domain up to a time",
            cut("trust_domain:a.example", NOW - 600),
            plain(),
            issue(&json!({"began": {"subject": {"at": NOW - 599}}})),
            true,
        ),
        (
            "trust domain of who presents",
            cut("trust_domain:a.example", NOW - 3_600),
            exchanged(&json!({})),
            exchanged(
                &json!({"began": {"subject": {"at": NOW - 60}, "actor": {"at": NOW - 3_599}}}),
            ),
            true,
        ),
        (
            "issuer",
            cut("issuer:https://a", NOW),
            plain(),
            issue(&json!({"iat": NOW + 1})),
            true,
        ),
        (
            "issuer of what is presented",
            cut("issuer:https://a", NOW - 60),
            exchanged(&json!({})),
            plain(),
            true,
        ),
        (
            "suspended key",
            suspended(),
            exchanged(&json!({})),
            others_key(),
            true,
        ),
        (
            "revoked key",
            key("key.revoke", one, &of_key("revoked")),
            exchanged(&json!({})),
            others_key(),
            false,
        ),
        (
            "leaked key",
            key("key.leaked", one, &leaked),
            exchanged(&json!({})),
            others_key(),
            false,
        ),
        (
            "key that is rotated away",
            key(
                "key.rotate",
                one,
                &json!({"successor": other, "old_state": "revoked"}),
            ),
            exchanged(&json!({})),
            others_key(),
            false,
        ),
        (
            "signing key",
            compromised("k1"),
            plain(),
            issue(&json!({"kid": "new"})),
            false,
        ),
        (
            "signing key of what is presented",
            compromised("k0"),
            ring("k0", "k9"),
            ring("k8", "k9"),
            false,
        ),
        (
            "signing key of the actor's token",
            compromised("k9"),
            ring("k0", "k9"),
            ring("k0", "k8"),
            false,
        ),
        (
            "signing key of an ancestor",
            compromised("k0"),
            issue(&json!({"lineage": {"c": [], "l": [marker_of_key("k0")]}})),
            issue(&json!({"lineage": {"c": [], "l": [marker_of_key("k9")]}})),
            false,
        ),
        (
            "rollback",
            rolled_back(NOW),
            plain(),
            issue(&json!({"iat": NOW + 1})),
            false,
        ),
        (
            "rollback before what is presented",
            rolled_back(NOW - 60),
            exchanged(&json!({})),
            plain(),
            false,
        ),
    ]
}
