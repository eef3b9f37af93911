//! Where leaked keys are handed in.

use crate::administration::{Author, Leaked, Precondition, RevocationAdmin, Sighting, Writing};
use crate::refusal::Denial;
use crate::secret::Secret;
use std::fmt::Debug;
use std::sync::Arc;

/// What became of a key's text that was handed in, for those who count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The key is revoked now.
    Revoked,
    /// It is revoked now, and that is not written yet.
    NotDurable,
    /// It was before.
    AlreadyRevoked,
    /// The id is a key's, the secret is not.
    WrongSecret,
    /// No key of ours.
    Unknown,
    /// It could not be revoked, for a reason of ours.
    Failed,
}

impl Outcome {
    /// Every value, for metrics.
    pub const ALL: [Self; 6] = [
        Self::Revoked,
        Self::NotDurable,
        Self::AlreadyRevoked,
        Self::WrongSecret,
        Self::Unknown,
        Self::Failed,
    ];

    /// The label of a metric.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::NotDurable => "not_durable",
            Self::AlreadyRevoked => "already_revoked",
            Self::WrongSecret => "wrong_secret",
            Self::Unknown => "unknown",
            Self::Failed => "failed",
        }
    }

    fn of(told: &Result<Leaked, Denial>) -> Self {
        match told {
            Ok(Leaked::Revoked(_, Some(_))) => Self::Revoked,
            Ok(Leaked::Revoked(_, None)) => Self::NotDurable,
            Ok(Leaked::Before(_)) => Self::AlreadyRevoked,
            Ok(Leaked::WrongSecret) => Self::WrongSecret,
            Ok(Leaked::Unknown) => Self::Unknown,
            Err(_) => Self::Failed,
        }
    }
}

/// Is told of every key that is handed in.
pub trait Observer: Debug + Send + Sync {
    /// A key was handed in.
    fn reported(&self, outcome: Outcome);
}

/// Takes leaked keys in, from whichever face.
#[derive(Debug)]
pub struct Desk {
    revocations: Arc<RevocationAdmin>,
    observer: Arc<dyn Observer>,
}

impl Desk {
    /// One that revokes by `revocations`.
    #[must_use]
    pub fn new(revocations: Arc<RevocationAdmin>, observer: Arc<dyn Observer>) -> Self {
        Self {
            revocations,
            observer,
        }
    }

    /// Revokes the key whose text this is.
    ///
    /// # Errors
    /// As of [`RevocationAdmin::leaked`].
    pub async fn report(
        &self,
        text: &Secret,
        sighting: &Sighting,
        author: &Author,
        on: &Precondition,
        writing: Writing,
    ) -> Result<Leaked, Denial> {
        let told = self.revocations.leaked(text, sighting, author, on, writing);
        let told = told.await;
        let outcome = Outcome::of(&told);
        self.observer.reported(outcome);
        let who = &author.who;
        match &told {
            Ok(Leaked::Revoked(entry, at)) => {
                let (key, durable) = (&entry.key().id, at.is_some());
                tracing::warn!(%key, %who, durable, "a key was reported as leaked, and is revoked");
            }
            Ok(Leaked::Before(entry)) => {
                let key = &entry.key().id;
                tracing::info!(%key, %who, "a key was reported as leaked that is revoked already");
            }
            Ok(Leaked::WrongSecret | Leaked::Unknown) => {
                tracing::info!(outcome = outcome.code(), %who, "what was reported as leaked is no key of ours");
            }
            Err(denial) => {
                tracing::error!(code = denial.code(), %who, "a leaked key could not be revoked");
            }
        }
        told
    }
}
