//! The log as its readers have it, while it is written.

use super::device::Segments;
use super::filter::Filter;
use super::follow::Follow;
use super::log::Log;
use super::logged::Logged;
use super::proof::Proof;
use super::publisher::{Published, Publisher};
use super::read::{Entry, ReadError};
use super::search::{Order, Search, search};
use super::seen::Field;
use super::story::{Story, story};
use super::wanted::WhileWanted;
use crate::authn::Sight;
use crate::limits;
use crate::limits::seats::{Full, Most, Seat, Seats};
use crate::refusal::{Code, Refusal};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// How often it is looked whether there is a checkpoint.
const PACE: Duration = Duration::from_millis(50);

/// A log, to be read by those who may. Cheap to clone. Nothing of it is read before it is durable, and nothing given that is
/// not what was logged.
#[derive(Clone, Debug)]
pub struct Reading {
    log: Log,
    segments: Arc<dyn Segments>,
    publisher: Arc<Publisher>,
}

/// Room to read for the principal `who`.
fn seat(seats: &Arc<Seats>, who: &str, most: Most) -> Result<Seat, Refusal> {
    let full = |full| match full {
        Full::All => "as many read the log as may at a time",
        Full::OfOne => "as many read the log for this principal as may at a time",
    };
    let taken = seats.take(who, most).map(|(seat, _)| seat);
    taken.map_err(|why| Refusal::new(Code::TooBusy, full(why)))
}

impl Reading {
    /// Readers of `log`, which is kept in `segments` and published by `publisher`.
    #[must_use]
    pub fn new(log: Log, segments: Arc<dyn Segments>, publisher: Arc<Publisher>) -> Self {
        Self {
            log,
            segments,
            publisher,
        }
    }

    /// Room for one search of the principal `who`, to be kept while it goes on.
    ///
    /// # Errors
    /// [`Code::TooBusy`] past [`limits::LOG_QUERIES`], and past [`limits::LOG_QUERIES_PER_PRINCIPAL`] of its own.
    pub fn seat(&self, who: &str) -> Result<Seat, Refusal> {
        let most = Most {
            all: limits::LOG_QUERIES,
            of_one: limits::LOG_QUERIES_PER_PRINCIPAL,
        };
        seat(&self.log.stats().queries, who, most)
    }

    /// Room for the principal `who` to follow the log.
    ///
    /// # Errors
    /// [`Code::TooBusy`] past [`limits::LOG_TAILS`], and past [`limits::LOG_TAILS_PER_PRINCIPAL`] of its own.
    pub fn tail_seat(&self, who: &str) -> Result<Seat, Refusal> {
        let most = Most {
            all: limits::LOG_TAILS,
            of_one: limits::LOG_TAILS_PER_PRINCIPAL,
        };
        seat(&self.log.stats().tails, who, most)
    }

    /// How many records can be read.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.log.durable()
    }

    /// Finds records. Blocks: reads files, and stops, with an error, once nobody wants it any more.
    ///
    /// # Errors
    /// When the segments cannot be listed.
    pub fn search(
        &self,
        filter: Filter,
        within: Range<u64>,
        order: Order,
        is_wanted: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Result<Search, ReadError> {
        let within = within.start..within.end.min(self.end());
        search(self.segments(is_wanted), filter, within, order)
    }

    /// Follows the log from a sequence on, for as long as that is wanted.
    pub fn follow(
        &self,
        from: u64,
        is_wanted: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Follow {
        Follow::new(self.segments(is_wanted), from)
    }

    /// Tells a token's story, of what `visible` lets through. Blocks, as [`Reading::search`] does.
    ///
    /// # Errors
    /// When the segments cannot be listed.
    pub fn story(
        &self,
        token: &str,
        visible: Filter,
        is_wanted: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Result<Story, ReadError> {
        story(self.segments(is_wanted), visible, self.end(), token)
    }

    /// Waits until a checkpoint covers a record, and no longer than `patience`. Answers whether one does.
    pub async fn is_covered(&self, index: u64, patience: Duration) -> bool {
        let covers = |last: Arc<Published>| index < last.checkpoint.size;
        let covered = async {
            while !self.publisher.published().is_some_and(covers) {
                tokio::time::sleep(PACE).await;
            }
        };
        tokio::time::timeout(patience, covered).await.is_ok()
    }

    /// The proof of a record that a checkpoint covers: one that verifies, as whoever keeps it will verify it. Blocks: reads
    /// tiles.
    ///
    /// # Errors
    /// When they cannot be read, or the record is not the one that was logged.
    pub fn proof(&self, entry: &Entry) -> Result<Option<Proof>, ReadError> {
        let index = entry.sequence;
        let Some(proof) = self.publisher.prove(index)? else {
            return Ok(None);
        };
        let verified = proof.verify(&entry.line, self.publisher.verifier());
        verified.map_err(|_| ReadError::Changed(index))?;
        Ok(Some(proof))
    }

    fn segments(&self, is_wanted: impl Fn() -> bool + Send + Sync + 'static) -> Arc<dyn Segments> {
        let (segments, publisher) = (Arc::clone(&self.segments), Arc::clone(&self.publisher));
        Arc::new(WhileWanted {
            segments: Arc::new(Logged::new(segments, publisher)),
            is_wanted: Arc::new(is_wanted),
        })
    }
}

impl Filter {
    /// Of what it lets through only what somebody may see.
    #[must_use]
    pub fn visible_to(self, sight: &Sight) -> Self {
        match sight {
            Sight::Everything => self,
            Sight::Owned(owners) => {
                let owners = owners.iter().map(ToString::to_string).collect();
                self.within(Field::Owner, owners)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::testing::{Memory, NOW, ORIGIN, context, minted, minted_of, open, token_id};
    use crate::audit::{Aim, DiskShelf, Good};
    use crate::authn::{Lineage, MadeFrom, Reach, Verified};
    use crate::clock::SystemRandomness;
    use crate::keys::{Kek, LogKey};
    use crate::marker::Thing;
    use crate::policy::Grant;
    use crate::revocation::HotSet;
    use jiff::Timestamp;
    use tempfile::TempDir;
    use zeroize::Zeroizing;

    struct World {
        device: Arc<Memory>,
        log: Log,
        reading: Reading,
        _folder: TempDir,
    }

    fn world() -> World {
        let device = Memory::new();
        let log = open(&device).log;
        let folder = tempfile::tempdir().unwrap();
        let kek = Kek::new(Zeroizing::new([7; Kek::LENGTH])).unwrap();
        let random = SystemRandomness::shared();
        let key =
            LogKey::create(&folder.path().join("key"), "log", Some(0), &kek, &*random).unwrap();
        let shelf = Arc::new(DiskShelf::new(folder.path()));
        let segments: Arc<dyn Segments> = Arc::clone(&device) as _;
        let publisher = Publisher::open(Arc::clone(&segments), shelf, key, ORIGIN, 0).unwrap();
        World {
            device,
            reading: Reading::new(log.clone(), segments, Arc::new(publisher)),
            log,
            _folder: folder,
        }
    }

    #[test]
    fn there_is_room_for_so_many_and_it_is_given_back() {
        let world = world();
        let reading = &world.reading;
        let (own, all) = (limits::LOG_QUERIES_PER_PRINCIPAL, limits::LOG_QUERIES);
        let take = |who: &str| reading.seat(who);
        let busy = |who: &str| assert_eq!(take(who).unwrap_err().code(), Code::TooBusy, "{who}");
        let mut seats: Vec<_> = (0..own).map(|_| take("one").unwrap()).collect();
        busy("one");
        // Whoever takes all that one may take leaves room to others.
        seats.extend((own..all).map(|_| take("two").unwrap()));
        busy("two");
        busy("three");
        seats.pop();
        busy("one");
        seats.push(take("three").unwrap());
        busy("three");
        // Who follows takes no room from who searches.
        let mut tails: Vec<_> = (0..limits::LOG_TAILS_PER_PRINCIPAL)
            .map(|_| reading.tail_seat("one").unwrap())
            .collect();
        let refused = reading.tail_seat("one").unwrap_err();
        assert_eq!(refused.code(), Code::TooBusy);
        tails.push(reading.tail_seat("two").unwrap());
        assert_eq!(world.log.stats().tails.count(), tails.len());
        drop((seats, tails));
        assert_eq!(world.log.stats().queries.count(), 0);
    }

    /// What is written and not synced was promised to nobody, and may be gone tomorrow.
    #[tokio::test]
    async fn nothing_is_read_before_it_is_durable() {
        let World {
            device,
            log,
            reading,
            ..
        } = world();
        log.issue(minted(1), &context()).await.unwrap();
        device.hold(true);
        let waiting = tokio::spawn(log.issue(minted(2), &context()));
        let syncing = Arc::clone(&device);
        let syncing = tokio::task::spawn_blocking(move || syncing.await_sync());
        syncing.await.unwrap();
        let seen = || {
            let all = 0..u64::MAX;
            let found = reading.search(Filter::default(), all, Order::OldestFirst, || true);
            let found = found.unwrap().map(|entry| entry.unwrap().sequence);
            let mut followed = Vec::new();
            let mut follow = reading.follow(0, || true);
            let taken = follow.read(reading.end(), &Filter::default(), |entry| {
                followed.push(entry.sequence);
                true
            });
            taken.unwrap();
            assert_eq!(found.collect::<Vec<_>>(), followed);
            followed
        };
        let written = crate::audit::read::records(Arc::clone(&device) as _, 0).unwrap();
        assert_eq!(written.count(), 2, "it is in the file");
        assert_eq!(seen(), [0]);
        device.hold(false);
        waiting.await.unwrap().unwrap();
        assert_eq!(seen(), [0, 1]);
    }

    /// A story ends somewhere; what a revocation would hit is counted on.
    #[tokio::test]
    async fn all_that_descend_from_a_token_are_counted_however_many_a_story_tells_of() {
        let World { log, reading, .. } = world();
        let issuer = "https://broker.example.org";
        let parent = token_id(1).to_string();
        let marker = Thing::Token(issuer, &parent).id();
        let child = |n| {
            let lineage = Lineage {
                credentials: Vec::new(),
                ancestors: vec![marker],
                exchange: Reach::Policy,
            };
            let verified = Verified::descended_for_test("sub", lineage, None, Timestamp::MAX);
            let made_from = MadeFrom {
                subject: Some(token_id(1)),
                actor: None,
            };
            let verified = verified.made_from_for_test(made_from);
            let grant = Grant::of_rules_for_test(verified, Vec::new(), "{}");
            log.issue(minted_of(grant, n), &context())
        };
        log.issue(minted(1), &context()).await.unwrap();
        // One that is nobody's child.
        log.issue(minted(0), &context()).await.unwrap();
        let tokens = || {
            let (hot, now) = (HotSet::default(), Timestamp::from_second(NOW).unwrap());
            let (aim, hot) = (Aim::Token(parent.clone(), marker), &hot);
            let hit = reading.hit(&aim, Good { issuer, hot, now }, || true);
            let hit = hit.unwrap();
            assert!(hit.complete);
            hit.tokens
        };
        let most = u64::try_from(limits::STORY).unwrap();
        let mut children: Vec<_> = (2..=u128::from(most)).map(child).collect();
        children.pop().unwrap().await.unwrap();
        assert_eq!(tokens(), most);
        child(u128::from(most) + 1).await.unwrap();
        assert_eq!(tokens(), most + 1);
    }

    #[tokio::test]
    async fn a_proof_waits_for_its_checkpoint_and_not_for_ever() {
        let World { log, reading, .. } = world();
        let issued = log.issue(minted(1), &context()).await.unwrap();
        let index = issued.receipt().index;
        let (short, long) = (Duration::from_millis(100), Duration::from_secs(60));
        assert!(!reading.is_covered(index, short).await);
        let found = reading.search(
            Filter::default(),
            index..index + 1,
            Order::OldestFirst,
            || true,
        );
        let mut entry = found.unwrap().next().unwrap().unwrap();
        assert!(reading.proof(&entry).unwrap().is_none());
        let (publisher, end) = (Arc::clone(&reading.publisher), reading.end());
        let publishing = tokio::task::spawn_blocking(move || publisher.advance(end));
        assert!(reading.is_covered(index, long).await);
        publishing.await.unwrap().unwrap();
        assert_eq!(reading.proof(&entry).unwrap().unwrap().index, index);
        assert!(!reading.is_covered(index + 1, short).await);
        // What does not prove it is no proof of it.
        entry.line.push(b' ');
        let refused = reading.proof(&entry).unwrap_err();
        assert!(matches!(refused, ReadError::Changed(at) if at == index));
    }
}
