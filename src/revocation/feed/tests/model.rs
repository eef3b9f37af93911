//! Whatever happens, in whatever order: what watchers have in the end is what is in force, and each label is true when
//! it comes.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    /// A marker is put, or taken back.
    Put(u8, bool),
    /// All that was put so far is of the next revision.
    Revision,
    /// What was put is told of without one.
    Nudge,
    /// The data becomes another.
    Incarnation,
    Beat,
    /// A watcher reads so many messages.
    Read(usize, u8),
    /// It comes back with its revision.
    Back(usize),
    /// It comes back with nothing.
    Anew(usize),
}

const WATCHERS: usize = 3;
const IDS: u8 = 12;

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..IDS, prop::bool::weighted(0.7)).prop_map(|(id, is_put)| Step::Put(id, is_put)),
        5 => Just(Step::Revision),
        2 => Just(Step::Nudge),
        1 => Just(Step::Incarnation),
        1 => Just(Step::Beat),
        8 => (0..WATCHERS, 1..6_u8).prop_map(|(who, count)| Step::Read(who, count)),
        2 => (0..WATCHERS).prop_map(Step::Back),
        1 => (0..WATCHERS).prop_map(Step::Anew),
    ]
}

/// What each marker was, one after the other.
type History = BTreeMap<MarkerId, Vec<Option<Cover>>>;

/// How many of them each revision has at least.
type Reached = BTreeMap<(u128, u64), BTreeMap<MarkerId, usize>>;

struct Model {
    site: Site,
    now: Revision,
    history: History,
    reached: Reached,
    puts: u32,
    watchers: Vec<(Watcher, Client)>,
}

impl Model {
    fn new() -> Self {
        // Room for a handful of deltas, and little patience with old snapshots.
        let site = Site::new(Bounds {
            deltas: 600,
            catch_up: 300,
            ..Bounds::default()
        });
        let watchers = (0..WATCHERS)
            .map(|_| (site.watch(None), Client::default()))
            .collect();
        Self {
            site,
            now: revision(1, 1),
            history: History::new(),
            reached: [((1, 1), BTreeMap::new())].into(),
            puts: 0,
            watchers,
        }
    }

    fn put(&mut self, id: u8, is_put: bool) {
        self.puts += 1;
        let id = name(&id.to_string());
        let bytes = if is_put { self.puts } else { 0 };
        let cover = Cover {
            before: Second::from_bytes(bytes.to_be_bytes()),
            until: Second::NEVER,
        };
        self.site.hot.put(Marker { id, cover });
        let all = self.history.entry(id).or_insert_with(|| vec![None]);
        all.push(is_put.then_some(cover));
    }

    fn advance(&mut self, now: Revision) {
        self.now = now;
        let counts = self.history.iter().map(|(id, all)| (*id, all.len() - 1));
        let key = (now.incarnation.0, now.counter);
        self.reached.entry(key).or_insert_with(|| counts.collect());
        let as_of = None;
        self.site.feed.advance(Label {
            revision: now,
            as_of,
        });
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Put(id, is_put) => self.put(id, is_put),
            Step::Revision => self.advance(revision(self.now.incarnation.0, self.now.counter + 1)),
            Step::Nudge => self.advance(self.now),
            Step::Incarnation => {
                let counter = u64::from(self.puts % 5);
                self.advance(revision(self.now.incarnation.0 + 1, counter));
            }
            Step::Beat => self.site.feed.beat(),
            Step::Read(who, count) => {
                for _ in 0..count {
                    self.read(who);
                }
            }
            Step::Back(who) => {
                let (watcher, client) = &mut self.watchers[who];
                client.coming = None;
                client.stream = None;
                *watcher = self.site.watch(client.label.map(|label| label.revision));
            }
            Step::Anew(who) => self.watchers[who] = (self.site.watch(None), Client::default()),
        }
    }

    fn read(&mut self, who: usize) -> bool {
        let (watcher, client) = &mut self.watchers[who];
        let Some(message) = self.site.next(watcher) else {
            return false;
        };
        if client.take(message) {
            let client = client.clone();
            self.holds(&client);
        }
        true
    }

    /// Everything of the revision that it was told is reached is there, or something newer.
    fn holds(&self, client: &Client) {
        let at = client.label.unwrap().revision;
        for (id, from) in &self.reached[&(at.incarnation.0, at.counter)] {
            let has = client.set.get(id).copied();
            assert!(self.history[id][*from..].contains(&has), "{at}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn in_the_end_everybody_has_what_is_in_force(steps in prop::collection::vec(step(), 1..80)) {
        let mut model = Model::new();
        for step in steps {
            model.apply(step);
        }
        model.apply(Step::Revision);
        for who in 0..WATCHERS {
            while model.read(who) {}
            let (_, client) = &model.watchers[who];
            prop_assert_eq!(&client.set, &set(&model.site.hot));
            prop_assert!(client.coming.is_none());
        }
    }
}

/// Who revokes while snapshots are taken and deltas made is not missed by either.
#[test]
fn what_is_put_from_many_threads_meanwhile_is_there_in_the_end() {
    let site = Site::new(Bounds {
        deltas: 2_000,
        ..Bounds::default()
    });
    let (mut watcher, mut client) = (site.watch(None), Client::default());
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2_u32)
            .map(|seed| {
                let hot = &site.hot;
                scope.spawn(move || {
                    for n in 0..20_000_u32 {
                        let id = name(&(n.wrapping_mul(seed + 7) % 50).to_string());
                        let before = if n % 3 == seed { 0 } else { 2 * n + seed + 1 };
                        let cover = Cover {
                            before: Second::from_bytes(before.to_be_bytes()),
                            until: Second::NEVER,
                        };
                        hot.put(Marker { id, cover });
                    }
                })
            })
            .collect();
        let mut counter = 1;
        while !threads
            .iter()
            .all(std::thread::ScopedJoinHandle::is_finished)
        {
            counter += 1;
            site.feed.advance(label(counter));
            for _ in 0..3 {
                if let Some(message) = site.next(&mut watcher) {
                    client.take(message);
                }
            }
        }
        site.feed.advance(label(counter + 1));
    });
    client.read_all(&site, &mut watcher);
    assert_eq!(client.set, set(&site.hot));
    assert!(!client.set.is_empty());
}
