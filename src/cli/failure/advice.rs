//! What to do next, for every answer that is not "yes".

use crate::refusal::{Code, Fault};

pub(super) fn after_refusal(code: Code) -> &'static str {
    match code {
        Code::InvalidRequest => "correct that; --help shows the form of each value",
        Code::CombinationNotAllowed => "present one credential as subject and at most one as actor",
        Code::CredentialMalformed => {
            "check that the file holds the key's whole text and nothing else"
        }
        Code::CredentialRefused => {
            "ask the key's owner whether it lapsed, was revoked, or may be used from here: `cambist key show ID`"
        }
        Code::CredentialSpent => "ask the key's owner for another one: its uses are spent",
        Code::CertificateMissing => "name the client certificate with --cert and --cert-key",
        Code::TokenRefused => {
            "fetch a new token: this one lapsed, was revoked, or is of another issuer"
        }
        Code::PresenterNotAllowed => {
            "present a token that was issued to this caller, or for an audience it serves"
        }
        Code::ActorNotAllowed => "have the subject's token say in `may_act` who may act for it",
        Code::AudienceUnknown => {
            "check the name with `cambist audience list`, or register it with `cambist audience put`"
        }
        Code::AudienceNotAllowed => {
            "use a credential that extends to this audience: `cambist key show ID` lists a key's"
        }
        Code::ScopeNotAllowed => {
            "ask only for scopes that both the credential and the audience have"
        }
        Code::BindingRequired => "connect with a client certificate: --cert and --cert-key",
        Code::PolicyDenied => "an administrator can ask why with `cambist policy explain`",
        Code::LineageFull => {
            "start from an original credential instead of a token that was exchanged before"
        }
        Code::Revoked => "use another credential: this one, or one that it came from, was revoked",
        Code::LifetimeExhausted => "renew the credential first: it lapses too soon",
        Code::NotAuthorised => {
            "administer as a user in `admin.uids` over the broker's Unix socket, or as a workload in `admin.spiffe_ids`; the log is also read by those in `log.reader`"
        }
        Code::NotFound => "check the name with the `list` command",
        Code::Conflict => {
            "look at it with `show` or `list`; if it only changed meanwhile, repeat with its current --revision"
        }
        Code::TooBusy => "try again in a moment",
    }
}

pub(super) fn after_fault(fault: Fault) -> &'static str {
    match fault {
        Fault::LogUnavailable => {
            "look at the disk that holds the broker's log; no token leaves unrecorded"
        }
        Fault::LogChanged => "run `cambist audit verify` where the broker's log is",
        Fault::StoreUnavailable => {
            "try again; if it stays, look at the disk that holds the broker's store"
        }
        Fault::Stale => "look at the broker's readiness; it issues again once its state is current",
        Fault::ClockUnsteady => {
            "set the broker's clock right, then say so with `cambist clock confirm`"
        }
        Fault::NoSigningKey => "look at `cambist signing-key list`",
        Fault::Draining => "try again: the broker is being restarted",
        Fault::Internal => "look into the broker's log",
    }
}
