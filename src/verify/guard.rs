//! Whether a token may pass, now and here.

#[cfg(test)]
mod tests;

use super::access_token::AccessToken;
use super::cache::{Entry, Verified, print};
use super::dpop::{Proofs, Spent};
use super::error::VerifyError;
use super::feed::Feed;
use super::keys::Keys;
use super::metrics;
use super::staleness::{Beyond, Staleness};
use super::stats::{Stats, count};
use super::verifier::{Presenter, Rules, check_presenter};
use crate::id::Audience;
use crate::jose::JoseError;
use crate::limits;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Checks the tokens of one issuer for one audience: by its keys, by what is revoked, and by who presents them. Cheap to
/// clone.
///
/// What was verified once is remembered, up to [`limits::VERIFIED_BYTES`], for as long as the issuer has the same keys. What
/// is remembered is never a "yes": times, presenter, its proof and revocations are looked at in each check, at the end of it, whether
/// the token was remembered or had to be verified. So a verification that took long and ends after the token was revoked
/// brings nothing back: its result is held against the markers after it was made, and so is each later use of it. A check
/// that begins after a marker is in force here does not pass what the marker covers.
#[derive(Clone, Debug)]
pub struct Guard(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    rules: Rules,
    keys: Keys,
    feed: Feed,
    proofs: Option<Proofs>,
    verified: Verified,
    stats: Stats,
}

/// What passed, and the proof that was spent for it, if any was.
type Passed = (Arc<AccessToken>, Option<Spent>);

/// Settings of a [`Guard`].
#[derive(Debug)]
#[must_use]
pub struct GuardBuilder {
    rules: Rules,
    keys: Keys,
    feed: Feed,
    proofs: Option<Proofs>,
    remembered: u64,
}

impl Guard {
    /// A guard for tokens of `issuer`, compared byte by byte, for `audience`. Its clock is the feed's.
    pub fn builder(issuer: &str, audience: Audience, keys: Keys, feed: Feed) -> GuardBuilder {
        GuardBuilder {
            rules: Rules::new(issuer, audience),
            keys,
            feed,
            proofs: None,
            remembered: limits::VERIFIED_BYTES,
        }
    }

    /// Checks a token without waiting for anything: type, signature, issuer, audience, times, that its presenter is the one
    /// it is bound to, and that nothing is revoked that it stands or falls with, by knowledge that is as fresh as `staleness`
    /// says. A token of a key that is not known is refused, and has the keys fetched again.
    ///
    /// # Errors
    /// [`VerifyError`].
    pub fn check_now(
        &self,
        token: &str,
        presenter: Presenter<'_>,
        staleness: Staleness,
    ) -> Result<Arc<AccessToken>, VerifyError> {
        let result = self.decide(token, presenter, staleness);
        if is_for_want_of_keys(&result) {
            self.0.keys.want();
        }
        self.stats().checked(&result);
        result.map(|(token, _)| token)
    }

    /// As [`Guard::check_now`], but where the token is of a key that is not known, it waits until the issuer's keys have been
    /// fetched again, once and at most for [`limits::KEYS_WAIT`].
    ///
    /// # Errors
    /// [`VerifyError`].
    pub async fn check(
        &self,
        token: &str,
        presenter: Presenter<'_>,
        staleness: Staleness,
    ) -> Result<Arc<AccessToken>, VerifyError> {
        let passed = self.pass(token, presenter, staleness).await?;
        Ok(passed.0)
    }

    /// As [`Guard::check`], and says which proof it spent.
    pub(super) async fn pass(
        &self,
        token: &str,
        presenter: Presenter<'_>,
        staleness: Staleness,
    ) -> Result<Passed, VerifyError> {
        let mut result = self.decide(token, presenter, staleness);
        if is_for_want_of_keys(&result) && self.0.keys.refetch().await {
            result = self.decide(token, presenter, staleness);
        }
        self.stats().checked(&result);
        result
    }

    fn decide(
        &self,
        token: &str,
        presenter: Presenter<'_>,
        staleness: Staleness,
    ) -> Result<Passed, VerifyError> {
        let entry = self.entry(token)?;
        let spent = self.admit(&entry, presenter, staleness)?;
        Ok((Arc::clone(&entry.token), spent))
    }

    /// What holds of a token whenever and by whomever it is presented: remembered, or found out now.
    fn entry(&self, token: &str) -> Result<Arc<Entry>, VerifyError> {
        // Before its text is hashed: nothing is done for what is too long.
        if token.len() > limits::TOKEN {
            return Err(JoseError::TooLarge.into());
        }
        let keys = self.0.keys.current();
        let print = print(token);
        let (now, leeway) = (self.0.feed.clock().now(), self.0.rules.leeway);
        if let Some(entry) = self.0.verified.get(&print) {
            let ended = entry.validity.check_end(now, leeway);
            if ended.is_ok() && entry.generation == keys.generation {
                count(&self.0.stats.hits);
                return Ok(entry);
            }
            self.0.verified.remove(&print);
            ended?;
        }
        if keys.generation == 0 {
            return Err(VerifyError::NoKeys);
        }
        let (believed, validity) = self.0.rules.believe(token, &keys.set)?;
        let entry = Arc::new(Entry {
            fence: believed.fence(),
            print,
            token: Arc::new(believed),
            validity,
            generation: keys.generation,
            length: token.len(),
        });
        // One that has expired would take the place of others.
        validity.check_end(now, leeway)?;
        self.0.verified.put(print, Arc::clone(&entry));
        Ok(entry)
    }

    /// What may change from one use to the next. The markers after all that takes time; then nothing is left but to spend the
    /// proof, so that no refusal of ours spends it, and nobody fills with proofs what they are remembered in but by good tokens.
    fn admit(
        &self,
        entry: &Entry,
        presenter: Presenter<'_>,
        staleness: Staleness,
    ) -> Result<Option<Spent>, VerifyError> {
        let now = self.0.feed.clock().now();
        entry.validity.check(now, self.0.rules.leeway)?;
        let proof = check_presenter(&entry.print, entry.token.binding, presenter, now)?;
        let known = self.0.feed.check(&entry.fence)?;
        if let Some(known) = known {
            // The broker's time, too: markers of what had ended by that are gone, whatever our clock says by now.
            entry.validity.check_end(known.as_of, self.0.rules.leeway)?;
        }
        let is_fresh = known.is_some_and(|known| known.age <= staleness.bound);
        match staleness.beyond {
            Beyond::Refuse if !is_fresh => return Err(VerifyError::Stale),
            Beyond::Refuse | Beyond::Accept => {}
        }
        let spent = proof.map(|proof| proof.spend(now)).transpose()?;
        if !is_fresh {
            count(&self.0.stats.accepted_stale);
        }
        Ok(spent)
    }

    /// Whom tokens must be for.
    #[must_use]
    pub fn audience(&self) -> &Audience {
        &self.0.rules.audience
    }

    /// What is known of revocations.
    #[must_use]
    pub fn feed(&self) -> &Feed {
        &self.0.feed
    }

    /// The issuer's keys.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.0.keys
    }

    /// What checks proofs of possession, if tokens that are bound to keys may come.
    #[must_use]
    pub fn proofs(&self) -> Option<&Proofs> {
        self.0.proofs.as_ref()
    }

    /// What was counted.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.0.stats
    }

    /// How many tokens are remembered.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.0.verified.len()
    }

    /// About how many bytes they take.
    #[must_use]
    pub fn remembered_bytes(&self) -> u64 {
        self.0.verified.weight()
    }

    /// All counters and gauges in the text format of `OpenMetrics` 1.0.
    ///
    /// # Errors
    /// Never in practice: the format writes to memory.
    pub fn openmetrics(&self) -> Result<String, fmt::Error> {
        metrics::text(self.clone())
    }
}

impl GuardBuilder {
    /// Forgives less than [`limits::LEEWAY`] of difference between clocks; more is cut to it.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.rules.leeway = leeway.min(limits::LEEWAY);
        self
    }

    /// Remembers about so many bytes of verified tokens, [`limits::VERIFIED_BYTES`] at most.
    pub fn remember(mut self, bytes: u64) -> Self {
        self.remembered = bytes.min(limits::VERIFIED_BYTES);
        self
    }

    /// Has a [`super::Layer`] with this guard take tokens that are bound to keys, each request with a proof (RFC 9449).
    pub fn proofs(mut self, proofs: Proofs) -> Self {
        self.proofs = Some(proofs);
        self
    }

    /// The guard.
    #[must_use]
    pub fn build(self) -> Guard {
        Guard(Arc::new(Inner {
            rules: self.rules,
            keys: self.keys,
            feed: self.feed,
            proofs: self.proofs,
            verified: Verified::new(self.remembered),
            stats: Stats::default(),
        }))
    }
}

fn is_for_want_of_keys<T>(result: &Result<T, VerifyError>) -> bool {
    let unknown = VerifyError::Token(JoseError::UnknownKey);
    matches!(result, Err(error) if *error == unknown || *error == VerifyError::NoKeys)
}
