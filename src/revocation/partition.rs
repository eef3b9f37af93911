//! Whose a marker is, and who is told of it: only tenants part the feed.
//!
//! Who serves audiences of some tenants, and of no others, is sent the markers of those tenants and those of none. Everybody
//! else who watches is sent all of them.
//!
//! # Which markers have a tenant
//!
//! Those of an API key that has one, and those of a token in hand whose ancestry begins with such a key. Everything else is
//! of no tenant and goes to all: what is named only by its `jti`, subjects, issuers, trust domains, signing keys,
//! certificates, a rollback, and a token whose ancestry begins with a certificate or a key without a tenant. A marker that is
//! put with a tenant and without, or with two, is of none ([`Partition::join`]).
//!
//! # Why nothing is hidden from whom it could be shown
//!
//! A marker of tenant A is missing only where all audiences are of other tenants; let one of these be of B. A token for it
//! was issued by the ceiling `tenant` (`policy/ceiling.rs`), thus to what begins with a key of tenant B; and that key stays
//! its root in whatever is made from it. Of what could cover such a token,
//!
//! - its own marker, and those of its ancestors that begin with its root, are of B or of none;
//! - keys among its credentials, and tokens of its actors with theirs, are of B or of no tenant, since a lineage with the
//!   keys of two tenants is refused (`one_tenant` in `authn/own_token.rs`);
//! - the certificates that it is bound to or comes from, its signing key, its issuer and its subjects have markers of none.
//!
//! So none of them is of A. That rests on three things that never change: a key's tenant is what it was made with; an
//! audience that is changed keeps its tenant or is shared by all from then on, as does one that takes the name of another
//! while tokens for that may be alive (`administration/former.rs`); and a verifier serves each audience that it checks tokens
//! for: one that is removed counts for its servers as long as its tokens may be alive (`inventory/audiences.rs`). A token
//! whose ancestry begins with a certificate has no tenant, and gets only to audiences that are shared: whoever serves one is
//! sent everything, the markers of its actors' keys among it.
//!
//! What audiences are and were, and who serves and served them, is stored, and what of that is later than a backup is lost
//! when the backup is put back: none of the three is sure then. So nothing is hidden from anybody until no token can be alive
//! that was issued before the first start with what was put back (`administration/parting.rs`). Whatever is registered
//! meanwhile, be it under a name that was another's, is parted only after that, when no token from back then is left. A
//! rollback that is accepted is treated alike, though its cut-off goes to all, and covers those tokens by itself.
//!
//! # What is learnt
//!
//! A watcher that is not sent a marker gets no message for it; that something happened shows in the revision of the next
//! heartbeat, as any write to the store does.

use crate::id::Tenant;
use crate::limits;
use aws_lc_rs::digest::{Context, SHA256};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

/// A part of the feed: what is of no tenant, or what is of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Partition(u16);

impl Partition {
    /// What is of no tenant, and goes to all.
    pub const SHARED: Self = Self(0);

    /// Of what was put in both.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        if self == other { self } else { Self::SHARED }
    }
}

/// The partitions of tenants, as far as they are told apart.
#[derive(Debug, Default)]
pub(super) struct Partitions(RwLock<HashMap<Tenant, Partition>>);

impl Partitions {
    /// The one of a tenant; the shared one of none, and of those past [`limits::WATCH_TENANTS`].
    pub(super) fn of(&self, tenant: Option<&Tenant>) -> Partition {
        let Some(tenant) = tenant else {
            return Partition::SHARED;
        };
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get(tenant) {
            return *found;
        }
        drop(known);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get(tenant) {
            return *found;
        }
        let next = u16::try_from(known.len().saturating_add(1));
        match next {
            Ok(next) if known.len() < limits::WATCH_TENANTS => {
                known.insert(tenant.clone(), Partition(next));
                Partition(next)
            }
            _ => Partition::SHARED,
        }
    }

    pub(super) fn chosen(&self, view: &View) -> Chosen {
        match view {
            View::All => Chosen::All,
            View::Only(tenants) => {
                let mut chosen: Vec<_> =
                    tenants.iter().map(|tenant| self.of(Some(tenant))).collect();
                chosen.sort_unstable();
                Chosen::Only(chosen.into())
            }
        }
    }
}

/// Whose markers somebody is told of who watches, beside those of no tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    /// Everybody's.
    All,
    /// Those of these tenants.
    Only(Arc<BTreeSet<Tenant>>),
}

impl View {
    /// Tells views apart: the first 128 bits of SHA-256 over what they show. Who comes back with a revision of which it has
    /// all of another view lacks what that did not show.
    #[must_use]
    pub fn token(&self) -> [u8; 16] {
        let mut context = Context::new(&SHA256);
        context.update(b"cambist view v1");
        match self {
            Self::All => context.update(b"\0"),
            Self::Only(tenants) => {
                context.update(b"\x01");
                for tenant in &**tenants {
                    // No name has a byte of zero.
                    context.update(tenant.as_str().as_bytes());
                    context.update(b"\0");
                }
            }
        }
        let mut token = [0; 16];
        for (to, from) in token.iter_mut().zip(context.finish().as_ref()) {
            *to = *from;
        }
        token
    }
}

/// The partitions that are somebody's to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Chosen {
    All,
    /// In order.
    Only(Box<[Partition]>),
}

impl Chosen {
    pub(super) fn sees(&self, partition: Partition) -> bool {
        match self {
            Self::All => true,
            Self::Only(chosen) => {
                partition == Partition::SHARED || chosen.binary_search(&partition).is_ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> Tenant {
        Tenant::parse(name).unwrap()
    }

    fn only(names: &[&str]) -> View {
        View::Only(Arc::new(names.iter().map(|name| tenant(name)).collect()))
    }

    #[test]
    fn who_is_of_some_tenants_sees_theirs_and_what_is_of_none() {
        let all = Partitions::default();
        let [a, b] = ["a", "b"].map(|name| all.of(Some(&tenant(name))));
        assert_ne!(a, b);
        assert_eq!(all.of(Some(&tenant("a"))), a);
        let sees = |view: &View| {
            let chosen = all.chosen(view);
            [Partition::SHARED, a, b].map(|partition| chosen.sees(partition))
        };
        assert_eq!(sees(&only(&["b"])), [true, false, true]);
        assert_eq!(sees(&only(&["b", "a"])), [true, true, true]);
        assert_eq!(sees(&only(&["A"])), [true, false, false]);
        assert_eq!(sees(&only(&[])), [true, false, false]);
        assert_eq!(sees(&View::All), [true, true, true]);
    }

    /// Whoever asks first, a tenant that has a partition later is seen by who watched before.
    #[test]
    fn a_tenant_is_known_from_the_first_who_asks_for_it() {
        let all = Partitions::default();
        let chosen = all.chosen(&only(&["late"]));
        assert!(chosen.sees(all.of(Some(&tenant("late")))));
    }

    #[test]
    fn so_many_tenants_are_told_apart_and_of_one_more_all_are_told() {
        let all = Partitions::default();
        let of = |n: usize| all.of(Some(&tenant(&n.to_string())));
        let apart: BTreeSet<_> = (0..limits::WATCH_TENANTS).map(of).collect();
        assert_eq!(apart.len(), limits::WATCH_TENANTS);
        assert!(!apart.contains(&Partition::SHARED));
        assert_eq!(of(limits::WATCH_TENANTS), Partition::SHARED);
        assert_eq!(of(0), of(0));
        assert_ne!(of(0), Partition::SHARED);
    }

    #[test]
    fn views_have_tokens_of_their_own() {
        let views = [
            View::All,
            only(&[]),
            only(&["a"]),
            only(&["b"]),
            only(&["a", "b"]),
            only(&["ab"]),
        ];
        let tokens: BTreeSet<_> = views.iter().map(View::token).collect();
        assert_eq!(tokens.len(), views.len());
        assert_eq!(only(&["b", "a"]).token(), only(&["a", "b"]).token());
    }

    #[test]
    fn what_is_put_twice_is_one_tenants_only_if_it_is_so_both_times() {
        let [a, b] = [Partition(1), Partition(2)];
        assert_eq!(a.join(a), a);
        for (one, other) in [(a, b), (a, Partition::SHARED), (Partition::SHARED, b)] {
            assert_eq!(one.join(other), Partition::SHARED);
        }
    }
}
