//! Records as events of the Open Cybersecurity Schema Framework, version 1.6.0.
//!
//! The mapping is pure and total: each line of the log has one event, whatever is in it. What has no place of its own in the
//! schema stands in `unmapped` under its own name, so that nothing of a record is lost, but for its exact bytes: whoever wants to
//! compute hashes takes the record itself.
//!
//! | record | class | activity | `status_id` |
//! |---|---|---|---|
//! | `issue` | Authentication (3002) | Logon (1) | Success (1) |
//! | `refuse` | Authentication (3002) | Logon (1) | Failure (2), with the code as `status_code` |
//! | `refusals` | Authentication (3002) | Logon (1), `count` times from `start_time` to `end_time` | Failure (2) |
//! | `admin` | API Activity (6003) | Create, Update or Delete by the action's verb, else Other (99) by its name | Success (1) |
//! | `keys` | Entity Management (3004) | Create, Update or Deactivate (11) by the action's verb | Success (1) |
//! | `spend` | Entity Management (3004) | Other (99), `key.spend` | Success (1) |
//! | `start`, `stop` | Application Lifecycle (6002) | Start (3), Stop (4) | Success (1) |
//! | `recovery`, `retention`, `checkpoint` | Application Lifecycle (6002) | Other (99), by its action | Success (1) |
//! | `gap` | Application Error (6008) | General Error (1) | Failure (2) |
//! | any other, and what is no record | Base Event (0) | Other (99), `unreadable` | Unknown (0) |
//!
//! A token is a logon session of its bearer at its audience:
//!
//! | member of the record | attribute |
//! |---|---|
//! | `time` | `time` in milliseconds, `metadata.original_time` |
//! | `seq`, the log's origin | `metadata.sequence`, `metadata.log_name`; together `metadata.uid` |
//! | `v`, `kind`, `request`, `tenant` | `metadata.log_version`, `.event_code`, `.correlation_uid`, `.tenant_uid` |
//! | `sub`, `credential`, `owner` | `user.uid`, `.credential_uid`, `.org.name`; of acts `actor.user` and the thing's own |
//! | `client_id` | `actor.app_uid` |
//! | `peer.address`, `peer.uid`, `peer_id` | `src_endpoint.ip`, `.name`, `.svc_name` |
//! | the audience granted, or asked for | `service.name` |
//! | `jti`, `iat`, `exp`, the issuer | `session.uid`, `.created_time`, `.expiration_time`, `.issuer` |
//! | `code`, `detail` | `status_code`, `status_detail` |
//! | `action`, `target` | `api.operation` and `resources[0].uid`, or `entity.uid` |
//! | `change`, a checkpoint's note among it | `unmapped.change` |
//!
//! The severity is Informational (1) for what is everyday or a change, Low (2) for a "no" or a repair, High (4) for what is missing.

mod parts;

use super::Weight;
use parts::Parts;
use serde_json::{Map, Value, json};

/// The version of the schema.
pub const VERSION: &str = "1.6.0";

/// Classes, and with their thousands the categories.
#[derive(Clone, Copy)]
enum Class {
    BaseEvent = 0,
    Authentication = 3002,
    EntityManagement = 3004,
    ApplicationLifecycle = 6002,
    ApiActivity = 6003,
    ApplicationError = 6008,
}

/// How it went.
#[derive(Clone, Copy)]
enum Status {
    Unknown = 0,
    Success = 1,
    Failure = 2,
}

/// What happened, in the schema's terms; a name where it has none.
struct Activity {
    id: u32,
    name: String,
}

fn activity(id: u32, name: &str) -> Activity {
    Activity {
        id,
        name: name.to_owned(),
    }
}

/// The event of a log's line. `origin` is the log's.
#[must_use]
pub fn event(line: &[u8], sequence: u64, origin: &str) -> Value {
    let Ok(members) = serde_json::from_slice::<Map<String, Value>>(line) else {
        let text = String::from_utf8_lossy(line).into_owned();
        let parts = Parts::new(Map::new());
        let mut event = base(parts, "unreadable", sequence, origin);
        event.insert("raw_data".to_owned(), text.into());
        return event.into();
    };
    let mut parts = Parts::new(members);
    let kind = parts.text("kind").unwrap_or_default();
    base(parts, &kind, sequence, origin).into()
}

fn base(mut parts: Parts, kind: &str, sequence: u64, origin: &str) -> Map<String, Value> {
    let metadata = metadata(&mut parts, kind, sequence, origin);
    let time = parts.time();
    let weight = Weight::of(kind);
    let (class, activity, status, own) = match kind {
        "issue" => (
            Class::Authentication,
            activity(1, "Logon"),
            Status::Success,
            issue(&mut parts, origin),
        ),
        "refuse" => (
            Class::Authentication,
            activity(1, "Logon"),
            Status::Failure,
            logon(&mut parts),
        ),
        "refusals" => (
            Class::Authentication,
            activity(1, "Logon"),
            Status::Failure,
            refusals(&mut parts, time),
        ),
        "admin" => {
            let action = parts.text("action").unwrap_or_default();
            (
                Class::ApiActivity,
                by_verb(&action),
                Status::Success,
                call(&mut parts, &action),
            )
        }
        "keys" => {
            let action = parts.text("action").unwrap_or_default();
            (
                Class::EntityManagement,
                by_verb(&action),
                Status::Success,
                entity(&mut parts, "Signing key"),
            )
        }
        "spend" => {
            let action = parts.text("action").unwrap_or_default();
            (
                Class::EntityManagement,
                activity(99, &action),
                Status::Success,
                entity(&mut parts, "API key"),
            )
        }
        "start" => (
            Class::ApplicationLifecycle,
            activity(3, "Start"),
            Status::Success,
            lifecycle(),
        ),
        "stop" => (
            Class::ApplicationLifecycle,
            activity(4, "Stop"),
            Status::Success,
            lifecycle(),
        ),
        "recovery" | "retention" | "checkpoint" => {
            let action = parts.text("action").unwrap_or_default();
            (
                Class::ApplicationLifecycle,
                activity(99, &action),
                Status::Success,
                lifecycle(),
            )
        }
        "gap" => (
            Class::ApplicationError,
            activity(1, "General Error"),
            Status::Failure,
            Map::new(),
        ),
        _ => (
            Class::BaseEvent,
            activity(99, "unreadable"),
            Status::Unknown,
            Map::new(),
        ),
    };
    let class = class as u32;
    let mut event = own;
    let mut say = |name: &str, value: Value| event.insert(name.to_owned(), value);
    say("class_uid", class.into());
    say("category_uid", class.div_euclid(1000).into());
    say("activity_id", activity.id.into());
    say("activity_name", activity.name.into());
    say(
        "type_uid",
        class.saturating_mul(100).saturating_add(activity.id).into(),
    );
    say("time", time.into());
    say("severity_id", severity(weight).into());
    say("status_id", (status as u32).into());
    say("metadata", metadata);
    if let Some(code) = parts.text("code") {
        say("status_code", code.into());
    }
    if let Some(detail) = parts.text("detail") {
        say("status_detail", detail.into());
    }
    let rest = parts.rest();
    if !rest.is_empty() {
        say("unmapped", rest.into());
    }
    event
}

const fn severity(weight: Weight) -> u32 {
    match weight {
        Weight::Information | Weight::Notice => 1,
        Weight::Warning => 2,
        Weight::Error => 4,
    }
}

fn metadata(parts: &mut Parts, kind: &str, sequence: u64, origin: &str) -> Value {
    let mut metadata = json!({
        "version": VERSION,
        "product": { "name": "Cambist", "vendor_name": "Cambist", "version": env!("CARGO_PKG_VERSION") },
        "uid": format!("{origin}/{sequence}"),
        "sequence": sequence,
        "log_name": origin,
        "log_provider": "cambist",
        "event_code": kind,
    });
    let original = parts
        .peek("time")
        .and_then(Value::as_str)
        .map(str::to_owned);
    // The place that the event names already.
    parts.drop("seq");
    for (name, value) in [
        ("original_time", original),
        (
            "log_version",
            parts.number("v").map(|version| version.to_string()),
        ),
        ("correlation_uid", parts.text("request")),
        ("tenant_uid", parts.text("tenant")),
    ] {
        if let Some(value) = value {
            parts::put(&mut metadata, name, value.into());
        }
    }
    metadata
}

/// Who came from where, for what.
fn logon(parts: &mut Parts) -> Map<String, Value> {
    let audience = ["grant", "ask"]
        .into_iter()
        .find_map(|of| parts.peek(of)?.get("audience")?.as_str());
    let service = json!({ "name": audience.unwrap_or("unknown") });
    let mut event = Map::new();
    event.insert("user".to_owned(), parts.user());
    event.insert("service".to_owned(), service);
    event.insert("is_remote".to_owned(), true.into());
    event.extend(
        parts
            .endpoint()
            .map(|from| ("src_endpoint".to_owned(), from)),
    );
    if let Some(client) = parts.text("client_id") {
        event.insert("actor".to_owned(), json!({ "app_uid": client }));
    }
    event
}

fn issue(parts: &mut Parts, origin: &str) -> Map<String, Value> {
    let mut event = logon(parts);
    let issuer = origin.rsplit_once('/').map_or(origin, |(issuer, _)| issuer);
    let mut session = json!({ "issuer": issuer });
    for (name, of) in [("created_time", "iat"), ("expiration_time", "exp")] {
        if let Some(seconds) = parts.number(of) {
            parts::put(&mut session, name, seconds.saturating_mul(1000).into());
        }
    }
    if let Some(id) = parts.text("jti") {
        parts::put(&mut session, "uid", id.into());
    }
    event.insert("session".to_owned(), session);
    event
}

/// Many refusals in one: what they were stays in `unmapped`.
fn refusals(parts: &mut Parts, time: i64) -> Map<String, Value> {
    let groups = parts.peek("refused").and_then(Value::as_array);
    let counts = groups
        .into_iter()
        .flatten()
        .filter_map(|group| group.get("count")?.as_u64());
    let count = counts.fold(0_u64, u64::saturating_add);
    let since = parts.instant("since").unwrap_or(time);
    let several = json!({ "name": "several" });
    [
        ("user", several.clone()),
        ("service", several),
        ("count", count.max(1).into()),
        ("start_time", since.into()),
        ("end_time", time.into()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

/// An administrative call.
fn call(parts: &mut Parts, action: &str) -> Map<String, Value> {
    let mut event = Map::new();
    // What it was done to has an owner; who did it is somebody else.
    let resource = parts.resource();
    let who = parts.text("sub").unwrap_or_else(|| "unknown".to_owned());
    let nowhere = || json!({ "name": "unknown" });
    event.insert("actor".to_owned(), json!({ "user": { "uid": who } }));
    event.insert("api".to_owned(), json!({ "operation": action }));
    event.insert(
        "src_endpoint".to_owned(),
        parts.endpoint().unwrap_or_else(nowhere),
    );
    event.extend(resource.map(|resource| ("resources".to_owned(), json!([resource]))));
    event
}

/// A change of a key.
fn entity(parts: &mut Parts, what: &str) -> Map<String, Value> {
    let mut event = Map::new();
    let who = parts.text("sub");
    let thing = parts.text("target").or_else(|| parts.text("credential"));
    let named = match thing {
        Some(id) => json!({ "uid": id, "type": what }),
        None => json!({ "name": what, "type": what }),
    };
    event.insert("entity".to_owned(), named);
    event.extend(who.map(|who| ("actor".to_owned(), json!({ "user": { "uid": who } }))));
    event.extend(
        parts
            .endpoint()
            .map(|from| ("src_endpoint".to_owned(), from)),
    );
    event
}

fn lifecycle() -> Map<String, Value> {
    let app = json!({ "name": "Cambist", "vendor_name": "Cambist", "version": env!("CARGO_PKG_VERSION") });
    Map::from_iter([("app".to_owned(), app)])
}

/// The activity of an action such as `key.create`.
fn by_verb(action: &str) -> Activity {
    let verb = action.rsplit('.').next().unwrap_or_default();
    match verb {
        "create" => activity(1, "Create"),
        "put" | "rotate" | "suspend" | "resume" | "upkeep" | "reload" => activity(3, "Update"),
        "delete" | "revoke" | "leaked" => activity(4, "Delete"),
        "compromise" => activity(11, "Deactivate"),
        _ => activity(99, action),
    }
}

#[cfg(test)]
mod tests;
