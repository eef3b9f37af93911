//! Tokens that were checked before.

use super::access_token::AccessToken;
use crate::jose::Validity;
use crate::marker::Fence;
use aws_lc_rs::digest::{SHA256, digest};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::fmt;
use std::sync::Arc;

/// SHA-256 of a token's text: nothing that is kept could be presented.
pub(super) type Print = [u8; 32];

/// What was found out about a token that does not change: neither times, nor presenter and proof, nor what is revoked.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) token: Arc<AccessToken>,
    pub(super) print: Print,
    pub(super) validity: Validity,
    pub(super) fence: Fence,
    /// The key set that it was verified with.
    pub(super) generation: u64,
    /// Bytes of its text.
    pub(super) length: usize,
}

/// What an entry occupies beside what the token says: the fence, and the cache's own.
const ENTRY: u64 = 1024;

#[derive(Clone, Debug)]
struct Weight;

impl Weighter<Print, Arc<Entry>> for Weight {
    fn weight(&self, _: &Print, entry: &Arc<Entry>) -> u64 {
        let length = u64::try_from(entry.length).unwrap_or(u64::MAX);
        length.saturating_mul(2).saturating_add(ENTRY)
    }
}

/// Tokens that were verified, up to so many bytes; the least used give way. Only tokens with a valid
/// signature come in, so that nobody else can fill it.
pub(super) struct Verified(Cache<Print, Arc<Entry>, Weight>);

impl Verified {
    pub(super) fn new(bytes: u64) -> Self {
        let items = usize::try_from(bytes / (2 * ENTRY)).unwrap_or(1024);
        Self(Cache::with_weighter(items.max(1), bytes, Weight))
    }

    pub(super) fn get(&self, print: &Print) -> Option<Arc<Entry>> {
        self.0.get(print)
    }

    pub(super) fn put(&self, print: Print, entry: Arc<Entry>) {
        self.0.insert(print, entry);
    }

    pub(super) fn remove(&self, print: &Print) {
        self.0.remove(print);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn weight(&self) -> u64 {
        self.0.weight()
    }
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Verified").field(&self.len()).finish()
    }
}

pub(super) fn print(token: &str) -> Print {
    let mut print = Print::default();
    print.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    print
}
