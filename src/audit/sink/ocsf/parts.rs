//! A record's members, taken out one by one; what stays has no place of its own.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// The members that were not taken yet.
pub(super) struct Parts(Map<String, Value>);

impl Parts {
    pub(super) fn new(members: Map<String, Value>) -> Self {
        Self(members)
    }

    /// Looks at a member, and leaves it.
    pub(super) fn peek(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    pub(super) fn drop(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Takes a text; what is none stays.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        let text = self.peek(name)?.as_str()?.to_owned();
        self.drop(name);
        Some(text)
    }

    /// Takes a whole number; what is none stays.
    pub(super) fn number(&mut self, name: &str) -> Option<i64> {
        let number = self.peek(name)?.as_i64()?;
        self.drop(name);
        Some(number)
    }

    /// Takes an instant, in milliseconds; what is none stays.
    pub(super) fn instant(&mut self, name: &str) -> Option<i64> {
        let at: Timestamp = self.peek(name)?.as_str()?.parse().ok()?;
        self.drop(name);
        Some(at.as_millisecond())
    }

    /// When it was made; the epoch where it does not say so.
    pub(super) fn time(&mut self) -> i64 {
        self.instant("time").unwrap_or_default()
    }

    /// The verified caller, or the credential that was named.
    pub(super) fn user(&mut self) -> Value {
        let mut user = json!({});
        let credential = self.text("credential");
        match self.text("sub").or_else(|| credential.clone()) {
            Some(id) => put(&mut user, "uid", id.into()),
            None => put(&mut user, "name", "unknown".into()),
        }
        if let Some(credential) = credential {
            put(&mut user, "credential_uid", credential.into());
        }
        if let Some(owner) = self.text("owner") {
            put(&mut user, "org", json!({ "name": owner }));
        }
        user
    }

    /// What an act was done to.
    pub(super) fn resource(&mut self) -> Option<Value> {
        let id = self.text("target").or_else(|| self.text("credential"))?;
        let mut resource = json!({ "uid": id });
        if let Some(owner) = self.text("owner") {
            put(&mut resource, "owner", json!({ "name": owner }));
        }
        Some(resource)
    }

    /// Where a request came from.
    pub(super) fn endpoint(&mut self) -> Option<Value> {
        let mut endpoint = json!({});
        if let Some(peer) = self.0.remove("peer") {
            let (address, user) = (peer.get("address"), peer.get("uid"));
            if let Some(address) = address.and_then(Value::as_str) {
                put(&mut endpoint, "ip", address.into());
            }
            if let Some(user) = user.and_then(Value::as_u64) {
                put(&mut endpoint, "name", format!("local user {user}").into());
            }
        }
        if let Some(id) = self.text("peer_id") {
            put(&mut endpoint, "svc_name", id.into());
        }
        let is_known = endpoint.as_object().is_some_and(|known| !known.is_empty());
        is_known.then_some(endpoint)
    }

    /// What was not taken.
    pub(super) fn rest(self) -> Map<String, Value> {
        self.0
    }
}

/// Puts a member into an object.
pub(super) fn put(object: &mut Value, name: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}
