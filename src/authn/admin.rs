//! Who may administer, until governance comes: named user ids on the Unix socket, and named SPIFFE IDs.

use super::{Authn, Peer, workload_cert};
use crate::clock::guard::TimeGuard;
use crate::id::{Owner, SpiffeId};
use crate::refusal::{Code, Refusal};
use crate::revocation::View;
use jiff::Timestamp;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

/// The configured administrators.
#[derive(Clone, Debug, Default)]
pub struct Administrators {
    /// User ids at the other end of a Unix socket.
    pub uids: HashSet<u32>,
    /// Workloads by certificate.
    pub spiffe_ids: HashSet<SpiffeId>,
    /// Workloads that may ask for explanations, and nothing else.
    pub explain: HashSet<SpiffeId>,
    /// Workloads that may read the log, as far as is said of each. Administrators read all of it.
    pub readers: HashMap<SpiffeId, Sight>,
}

/// How much of the log somebody sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// All of it.
    Everything,
    /// The records of what these teams own.
    Owned(BTreeSet<Owner>),
}

/// A caller that may read the log. Only [`Authn::reader`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    name: Name,
    sight: Sight,
}

impl Reader {
    /// How much of it.
    #[must_use]
    pub fn sight(&self) -> &Sight {
        &self.sight
    }
}

impl fmt::Display for Reader {
    /// As of an [`Administrator`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

/// A caller that may watch what is revoked. Only [`Authn::watcher`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follower {
    name: Name,
    view: View,
}

impl Follower {
    /// What it is told.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }
}

impl fmt::Display for Follower {
    /// As of an [`Administrator`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

/// What an administrative call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Looks at governed things or changes them.
    Administer,
    /// Asks why a decision is as it is.
    Explain,
}

/// A caller that may administer. Only [`Authn::administrator`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Administrator(Name);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    Uid(u32),
    Workload(SpiffeId),
}

#[cfg(test)]
impl Administrator {
    /// The user with this id, whether or not anybody allowed it.
    pub(crate) fn for_test(uid: u32) -> Self {
        Self(Name::Uid(uid))
    }
}

impl fmt::Display for Administrator {
    /// The name in records: `uid:<n>` or a SPIFFE ID.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uid(uid) => write!(f, "uid:{uid}"),
            Self::Workload(id) => id.fmt(f),
        }
    }
}

impl Authn {
    /// Whether the peer may do this.
    ///
    /// # Errors
    /// [`Code::NotAuthorised`], or what is wrong with the certificate.
    pub fn administrator(
        &self,
        peer: &Peer,
        allowed: &Administrators,
        duty: Duty,
        now: Timestamp,
    ) -> Result<Administrator, Refusal> {
        if let Some(uid) = peer.uid.filter(|uid| allowed.uids.contains(uid)) {
            return Ok(Administrator(Name::Uid(uid)));
        }
        let is_named = |id: &SpiffeId| {
            allowed.spiffe_ids.contains(id)
                || (duty == Duty::Explain && allowed.explain.contains(id))
        };
        let certificate = peer.certificate.as_ref();
        if !certificate.is_some_and(|certificate| is_named(certificate.spiffe_id())) {
            return Err(Refusal::new(
                Code::NotAuthorised,
                "neither the uid nor the certificate is an administrator's",
            ));
        }
        self.workload(peer, now).map(Administrator)
    }

    /// Whether the peer may read the log, and how much of it.
    ///
    /// # Errors
    /// As [`Authn::administrator`].
    pub fn reader(
        &self,
        peer: &Peer,
        allowed: &Administrators,
        now: Timestamp,
    ) -> Result<Reader, Refusal> {
        let certificate = peer.certificate.as_ref();
        let named = certificate.and_then(|found| allowed.readers.get(found.spiffe_id()));
        let administrator = self.administrator(peer, allowed, Duty::Administer, now);
        match (administrator, named) {
            (Ok(Administrator(name)), _) => Ok(Reader {
                name,
                sight: Sight::Everything,
            }),
            (Err(_), Some(sight)) => Ok(Reader {
                name: self.workload(peer, now)?,
                sight: sight.clone(),
            }),
            (Err(refusal), None) => Err(refusal),
        }
    }

    /// Whether the peer may watch what is revoked: whoever reads the log, and every principal that serves an audience. Who
    /// reads all of the log is told everything; everybody else, what they serve or served, once tenants part what is told.
    ///
    /// # Errors
    /// As [`Authn::administrator`].
    pub fn watcher(
        &self,
        peer: &Peer,
        allowed: &Administrators,
        time: &TimeGuard,
    ) -> Result<Follower, Refusal> {
        let now = time.wall();
        let certificate = peer.certificate.as_ref();
        let served = certificate.and_then(|c| self.audiences.served(c.spiffe_id()));
        let (name, view) = match (self.reader(peer, allowed, now), served) {
            (Ok(reader), _) if reader.sight == Sight::Everything => (reader.name, View::All),
            (Ok(reader), Some(view)) => (reader.name, view),
            (Ok(reader), None) => {
                let former =
                    certificate.and_then(|c| self.audiences.formerly_served(c.spiffe_id()));
                (
                    reader.name,
                    former.unwrap_or_else(|| View::Only(Arc::default())),
                )
            }
            (Err(_), Some(view)) => (self.workload(peer, now)?, view),
            (Err(refusal), None) => return Err(refusal),
        };
        // Only a clock that can be trusted tells that tokens have ended, and that stays so if it no longer can.
        let is_parted = time.mark().unwrap_or(Timestamp::MIN) >= self.parted_from;
        let view = if is_parted { view } else { View::All };
        Ok(Follower { name, view })
    }

    /// The name of a certificate that still stands.
    fn workload(&self, peer: &Peer, now: Timestamp) -> Result<Name, Refusal> {
        let certificate =
            workload_cert::recheck(self, peer, now).map_err(|rejected| rejected.refusal)?;
        Ok(Name::Workload(certificate.spiffe_id().clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::testing::{at, authn};

    /// Over a certificate it is seen with real ones, in `tests/it/e2e/audit.rs`.
    #[test]
    fn administrators_read_everything_and_nobody_else_anything() {
        let (authn, _, _) = authn(|_| ());
        let allowed = Administrators {
            uids: [7].into(),
            readers: [(
                SpiffeId::parse("spiffe://example.org/siem").unwrap(),
                Sight::Everything,
            )]
            .into(),
            ..Administrators::default()
        };
        let reader = |uid| {
            let peer = Peer {
                uid,
                ..Peer::default()
            };
            authn.reader(&peer, &allowed, at(1_500_000_000))
        };
        let found = reader(Some(7)).unwrap();
        assert_eq!(found.sight(), &Sight::Everything);
        assert_eq!(found.to_string(), "uid:7");
        for nobody in [Some(8), None] {
            assert_eq!(reader(nobody).unwrap_err().code(), Code::NotAuthorised);
        }
    }
}
