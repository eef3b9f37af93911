//! The encoder: what runs in a caller's thread before anything is queued.

use super::act::Act;
use super::fields::{Asked, Begun, Digest, Fields, Granted, Micros, Presented, Rules, Text};
use super::refusal::Group;
use super::{KINDS, Record, RecordError};
use crate::audit::context::{Context, Refused};
use crate::clock::{Clock, Random, random};
use crate::mint::Minted;
use crate::policy::InputText;
use crate::store::LogId;
use aws_lc_rs::digest;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::Arc;

/// Makes records; cheap to clone. Each record gets the wall-clock time and a salt of its own.
#[derive(Clone, Debug)]
pub struct Encoder {
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

impl Encoder {
    /// An encoder.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self { clock, random }
    }

    /// The id of a log that begins.
    pub(in crate::audit) fn log_id(&self) -> Result<LogId, RecordError> {
        Ok(LogId(u128::from_be_bytes(random(&*self.random)?)))
    }

    /// The record of an act, for the store's outbox ([`crate::store::Batch::record`]) or for the log itself.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn act(&self, act: &Act<'_>) -> Result<Record, RecordError> {
        let change = act.change.map(one_line);
        let change = change.as_deref().map(raw).transpose()?;
        let mut fields = self.stamped(act.kind.name())?;
        if let Some(context) = act.context {
            fields = with_context(fields, context);
        }
        Record::encode(&Fields {
            credential: act.credential.map(Text),
            sub: act.sub,
            owner: act.owner,
            tenant: act.tenant,
            action: Some(act.action),
            target: act.target,
            change,
            ..fields
        })
    }

    /// The record of an issue. The token itself is hashed, never written.
    pub(in crate::audit) fn issue(
        &self,
        minted: &Minted,
        context: &Context,
    ) -> Result<Record, RecordError> {
        let grant = minted.grant();
        let mut sha256 = [0; 32];
        let token = minted.token().expose().as_bytes();
        sha256.copy_from_slice(digest::digest(&digest::SHA256, token).as_ref());
        let fields = with_context(self.stamped("issue")?, context).of_verified(grant.verified());
        Record::encode(&Fields {
            grant: Some(Granted::of(grant)),
            jti: Some(Text(minted.id())),
            iat: Some(minted.issued_at().as_second()),
            exp: Some(minted.expires_at().as_second()),
            token_sha256: Some(Digest(sha256)),
            kid: Some(minted.key()),
            began: Some(Begun::of(grant.verified().began())),
            rules: Some(Rules(grant.rules())),
            policy: Some(grant.input().raw()),
            ..fields
        })
    }

    /// The record of one refusal, which was answered at `time`.
    pub(in crate::audit) fn refuse(
        &self,
        refused: &Refused<'_>,
        time: Timestamp,
        context: &Context,
    ) -> Result<Record, RecordError> {
        let mut fields = with_context(self.stamped("refuse")?, context);
        fields = match refused.verified {
            Some(verified) => fields.of_verified(verified),
            None => Fields {
                owner: refused.owner,
                made_from: Presented::of(refused.made_from),
                ..fields
            },
        };
        Record::encode(&Fields {
            time: Micros(time),
            credential: refused.subject().map(Text),
            code: Some(refused.refusal.code().code()),
            detail: Some(refused.refusal.detail()),
            rules: (!refused.rules.is_empty()).then_some(Rules(refused.rules)),
            policy: refused.input.map(InputText::raw),
            ..fields
        })
    }

    /// The summary of refusals that were counted since `since`.
    pub(in crate::audit) fn refusals(
        &self,
        since: Timestamp,
        groups: &[Group],
    ) -> Result<Record, RecordError> {
        #[derive(Serialize)]
        struct Summary<'a> {
            kind: &'static str,
            time: Micros,
            salt: Digest<16>,
            since: Micros,
            refused: &'a [Group],
        }
        let Fields {
            kind, time, salt, ..
        } = self.stamped("refusals")?;
        Record::encode(&Summary {
            kind,
            time,
            salt,
            since: Micros(since),
            refused: groups,
        })
    }

    /// The first record of a segment that follows one that failed, or that may not be all that there was.
    pub(in crate::audit) fn gap(&self, cause: &str, dropped: u64) -> Result<Record, RecordError> {
        #[derive(Serialize)]
        struct Gap<'a> {
            kind: &'static str,
            time: Micros,
            salt: Digest<16>,
            detail: &'a str,
            dropped: u64,
        }
        let Fields {
            kind, time, salt, ..
        } = self.stamped("gap")?;
        Record::encode(&Gap {
            kind,
            time,
            salt,
            detail: cause,
            dropped,
        })
    }

    /// Stands in for an outbox entry that is not a record, so that one bad entry cannot hold up the rest.
    pub(in crate::audit) fn unreadable(&self, bytes: &[u8]) -> Result<Record, RecordError> {
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
        let digest = serde_json::to_string(&Digest(sha256))?;
        let change = format!(r#"{{"sha256":{digest},"bytes":{}}}"#, bytes.len());
        self.act(&Act {
            change: Some(&change),
            ..Act::new(super::ActKind::Recovery, super::UNREADABLE)
        })
    }

    /// The wall clock, for what is kept beside the records.
    pub(in crate::audit) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    fn stamped<'a>(&self, kind: &'static str) -> Result<Fields<'a>, RecordError> {
        debug_assert!(KINDS.contains(&kind), "{kind} is no kind that readers know");
        Ok(Fields {
            kind,
            time: Micros(self.clock.now()),
            salt: Digest(random(&*self.random)?),
            ..Fields::default()
        })
    }
}

fn with_context<'a>(fields: Fields<'a>, context: &'a Context) -> Fields<'a> {
    Fields {
        face: Some(context.face.name()),
        request: context.request.as_deref(),
        ask: context.ask.as_ref().map(Asked::of),
        ..fields.of_peer(&context.peer)
    }
}

/// Line breaks in JSON can only stand between tokens, where a space says the same.
fn one_line(json: &str) -> Cow<'_, str> {
    if json.contains(['\n', '\r']) {
        Cow::Owned(json.replace(['\n', '\r'], " "))
    } else {
        Cow::Borrowed(json)
    }
}

/// Checks that `json` is one JSON value: anything else would make the whole line unreadable.
fn raw(json: &str) -> Result<&RawValue, RecordError> {
    Ok(serde_json::from_str(json)?)
}

#[cfg(test)]
mod tests;
