//! What follows the store: each prefix and who takes its changes.

use crate::administration::{POLICY_PREFIX, PolicyAdmin};
use crate::inventory::{AUDIENCE_PREFIX, Audiences, FORMER_PREFIX, KEY_PREFIX, Keys};
use crate::keys::{KeyRing, Life, PREFIX as SIGNING_PREFIX};
use crate::marker::{Cover, Marker, Second, Thing};
use crate::revocation::HotSet;
use crate::store::recovery::{CUTOFF, CutOff};
use crate::store::replica::Apply;
use crate::store::{Entry, Op, Revision, Value};
use std::fmt::{self, Debug};
use std::sync::Arc;

type Reset = Box<dyn Fn(&[Entry]) -> Result<(), String> + Send + Sync>;
type Change = Box<dyn Fn(&Op, Revision) -> Result<(), String> + Send + Sync>;

/// One prefix of the store and what is done with it.
struct Follower {
    prefix: &'static str,
    reset: Reset,
    change: Change,
}

impl Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl Apply for Follower {
    fn prefix(&self) -> &str {
        self.prefix
    }

    fn reset(&self, entries: &[Entry], _revision: Revision) -> Result<(), String> {
        (self.reset)(entries)
    }

    fn apply(&self, op: &Op, revision: Revision) -> Result<(), String> {
        (self.change)(op, revision)
    }
}

/// Everything that follows the store.
pub(super) fn followers(
    keys: &Arc<Keys>,
    audiences: &Arc<Audiences>,
    policies: &Arc<PolicyAdmin>,
    ring: &Arc<KeyRing>,
    hot: &Arc<HotSet>,
    issuer: &Arc<str>,
) -> Vec<Arc<dyn Apply>> {
    let (k, ka) = (Arc::clone(keys), Arc::clone(keys));
    let (a, aa) = (Arc::clone(audiences), Arc::clone(audiences));
    let (f, fa) = (Arc::clone(audiences), Arc::clone(audiences));
    let (p, pa) = (Arc::clone(policies), Arc::clone(policies));
    let (r, ra) = (Arc::clone(ring), Arc::clone(ring));
    let (h, ha) = (Arc::clone(hot), Arc::clone(hot));
    let (c, ca) = (Arc::clone(hot), Arc::clone(hot));
    let (issuer, same) = (Arc::clone(issuer), Arc::clone(issuer));
    vec![
        follower(
            KEY_PREFIX,
            move |e| k.reset(e),
            move |op, at| ka.apply(op, at.counter),
        ),
        // First: who served an audience that is removed is told no less in between.
        follower(
            FORMER_PREFIX,
            move |entries| f.reset_former(entries),
            move |op, _| fa.apply_former(op),
        ),
        follower(
            AUDIENCE_PREFIX,
            move |e| a.reset(e),
            move |op, at| aa.apply(op, at.counter),
        ),
        follower(
            POLICY_PREFIX,
            move |e| p.reset(e),
            move |op, at| pa.apply(op, at.counter),
        ),
        follower(
            SIGNING_PREFIX,
            move |entries| r.reset(entries).map(|()| mark_compromised(&r, &h)),
            move |op, _| ra.apply(op).map(|()| mark_compromised(&ra, &ha)),
        ),
        Arc::clone(hot) as Arc<dyn Apply>,
        follower(
            CUTOFF,
            move |entries| {
                entries
                    .iter()
                    .try_for_each(|entry| cut_off(&c, &issuer, &entry.value))
            },
            move |op, _| match op {
                Op::Put(_, value) => cut_off(&ca, &same, value),
                Op::Delete(_) => Ok(()),
            },
        ),
    ]
}

fn follower(
    prefix: &'static str,
    reset: impl Fn(&[Entry]) -> Result<(), String> + Send + Sync + 'static,
    change: impl Fn(&Op, Revision) -> Result<(), String> + Send + Sync + 'static,
) -> Arc<dyn Apply> {
    Arc::new(Follower {
        prefix,
        reset: Box::new(reset),
        change: Box::new(change),
    })
}

/// Tokens from before an accepted rollback are worth nothing. Nothing takes this back.
fn cut_off(hot: &HotSet, issuer: &str, value: &Value) -> Result<(), String> {
    let stored: CutOff = serde_json::from_slice(value.as_bytes())
        .map_err(|error| format!("the cut-off cannot be read: {error}"))?;
    hot.put(Marker {
        id: Thing::Rollback(issuer).id(),
        cover: Cover {
            before: Second::of(stored.at),
            until: Second::NEVER,
        },
    });
    Ok(())
}

/// Tokens of a compromised key are worth nothing, those already in the log writer's queue included.
fn mark_compromised(ring: &KeyRing, hot: &HotSet) {
    for (id, member) in ring.ring().members() {
        if matches!(member.life, Life::Compromised { .. }) {
            hot.revoke(Thing::SigningKey(id), Second::NEVER);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemRandomness;
    use crate::clock::testing::TestClock;
    use crate::id::KeyId;
    use crate::keys::{Change, Kek, Rotation, SigningAlgorithm, Timing};
    use crate::limits;
    use crate::marker::{Fence, TokenParts};
    use crate::store::embedded::EmbeddedStore;
    use crate::store::{Store, load_all};
    use jiff::Timestamp;
    use zeroize::Zeroizing;

    const ISSUER: &str = "https://broker.example.org";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn is_covered(hot: &HotSet, issued: i64) -> bool {
        let token = TokenParts {
            issuer: ISSUER,
            id: "a",
            issued_at: at(issued),
            key: &KeyId::parse("k").unwrap(),
            bound_to: None,
            credentials: &[],
            ancestors: &[],
        };
        hot.covered(&Fence::of_token(&token, ["sub"])).is_some()
    }

    #[test]
    fn the_cut_off_of_a_rollback_and_the_issuers_marker_leave_each_other_alone() {
        let hot = HotSet::default();
        let cut = CutOff {
            version: 1,
            at: at(100),
        };
        let cut = Value::new(serde_json::to_vec(&cut).unwrap()).unwrap();
        let issuer = |before| Marker {
            id: Thing::Issuer(ISSUER).id(),
            cover: Cover {
                before,
                until: Second::NEVER,
            },
        };
        // As a load has them: the marker, and then the older cut-off.
        hot.put(issuer(Second::of(at(200))));
        cut_off(&hot, ISSUER, &cut).unwrap();
        assert!(is_covered(&hot, 200) && !is_covered(&hot, 201));
        hot.put(issuer(Second::ZERO));
        assert!(is_covered(&hot, 100) && !is_covered(&hot, 101));
    }

    /// A thief writes into a token what end he likes.
    #[tokio::test]
    async fn a_compromised_key_is_marked_at_every_start_however_long_ago_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let (path, random) = (folder.path().join("store.db"), SystemRandomness::shared());
        let store = EmbeddedStore::open(&path, TestClock::at(0), random.clone()).unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        let kek = Arc::new(Kek::new(Zeroizing::new([7; Kek::LENGTH])).unwrap());
        let (after, longest) = (limits::ROTATE_AFTER, limits::MAX_LIFETIME);
        let timing = Timing::new(after, longest, limits::STALENESS).unwrap();
        let algorithm = SigningAlgorithm::Es256;
        let rotation = Rotation::new(store.clone(), kek.clone(), random, algorithm, timing);
        let record = |_: &[Change]| -> Arc<[u8]> { Arc::from(*b"{}") };
        let started = async || {
            let (ring, hot) = (KeyRing::new(kek.clone(), timing), HotSet::default());
            let entries = load_all(&*store, SIGNING_PREFIX).await.unwrap();
            ring.reset(&entries).unwrap();
            mark_compromised(&ring, &hot);
            (ring, hot)
        };
        rotation.ensure(at(0), &record).await.unwrap();
        let bad = started().await.0.ring().active().unwrap().0.clone();
        let compromised = rotation.compromise(&bad, at(1), &[], &record).await;
        assert!(compromised.unwrap().is_some());
        let keep = i64::try_from(timing.keep().as_secs()).unwrap();
        for second in [1, 1 + keep, 100 * keep] {
            rotation.ensure(at(second), &record).await.unwrap();
            let (ring, hot) = started().await;
            let marker = hot.markers().get(&Thing::SigningKey(&bad).id());
            assert_eq!(marker.map(|cover| cover.until), Some(Second::NEVER));
            assert!(!ring.view().jwks.contains(bad.as_str()));
            let again = rotation.compromise(&bad, at(second), &[], &record);
            assert_eq!(again.await, Ok(None), "it is there to be named");
        }
    }
}
