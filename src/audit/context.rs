//! What the stages before tell about a request, for its record.

use crate::authn::{Face, MadeFrom, Peer, Verified};
use crate::id::{CredentialId, Owner};
use crate::policy::{Ask, InputText, Rule};
use crate::refusal::Refusal;
use std::sync::Arc;

/// What the face knows of a request.
#[derive(Clone, Debug)]
pub struct Context {
    /// The protocol it came by.
    pub face: Face,
    /// The connection it came over.
    pub peer: Arc<Peer>,
    /// What was asked for, where it could be read.
    pub ask: Option<Ask>,
    /// The request's id, at most [`crate::limits::NAME`] bytes; the face sees to that.
    pub request: Option<Arc<str>>,
}

/// A refusal, and how far the request had come.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    /// The refusal.
    pub refusal: &'a Refusal,
    /// The registered credential that was named, whether or not it was proven.
    pub credential: Option<CredentialId>,
    /// Who answers for it.
    pub owner: Option<&'a Owner>,
    /// The tokens of ours that were presented.
    pub made_from: MadeFrom,
    /// The verified caller, when it was refused after authentication.
    pub verified: Option<&'a Verified>,
    /// The rules that decided.
    pub rules: &'a [Rule],
    /// The complete policy input.
    pub input: Option<&'a InputText>,
}

impl<'a> Refused<'a> {
    /// A refusal of which nothing else is known.
    #[must_use]
    pub fn new(refusal: &'a Refusal) -> Self {
        Self {
            refusal,
            credential: None,
            owner: None,
            made_from: MadeFrom::default(),
            verified: None,
            rules: &[],
            input: None,
        }
    }

    /// The credential it is about: the verified caller's, or the one that was named.
    #[must_use]
    pub fn subject(&self) -> Option<CredentialId> {
        self.verified.map(Verified::credential).or(self.credential)
    }
}
