//! Whatever happens, in whatever order: what watchers have in the end is what is in force of what is theirs to see, each
//! label is true when it comes, and nobody is ever sent what is another tenant's.

use super::*;
use crate::revocation::partition::Chosen;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    /// A marker is put, of one of the tenants, or taken back.
    Put(u8, usize, bool),
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
    /// It is told of one of the views from now on.
    Look(usize, usize),
    /// Time passes, in which snapshots have their turn.
    Wait,
}

const WATCHERS: usize = 3;
const IDS: u8 = 12;
/// Whose markers are.
const TENANTS: [Option<&str>; 4] = [None, None, Some("a"), Some("b")];
/// Who sees them.
const VIEWS: usize = 4;

fn views() -> [View; VIEWS] {
    let only = |names: &[&str]| {
        let names = names.iter().map(|name| Tenant::parse(name).unwrap());
        View::Only(Arc::new(names.collect()))
    };
    [View::All, only(&["a"]), only(&["b"]), only(&["a", "b"])]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..IDS, 0..TENANTS.len(), prop::bool::weighted(0.7))
            .prop_map(|(id, tenant, is_put)| Step::Put(id, tenant, is_put)),
        5 => Just(Step::Revision),
        2 => Just(Step::Nudge),
        1 => Just(Step::Incarnation),
        1 => Just(Step::Beat),
        8 => (0..WATCHERS, 1..6_u8).prop_map(|(who, count)| Step::Read(who, count)),
        2 => (0..WATCHERS).prop_map(Step::Back),
        1 => (0..WATCHERS).prop_map(Step::Anew),
        2 => (0..WATCHERS, 0..VIEWS).prop_map(|(who, view)| Step::Look(who, view)),
        1 => Just(Step::Wait),
    ]
}

/// What each marker was, one after the other.
type History = BTreeMap<MarkerId, Vec<Option<(Cover, Partition)>>>;

/// How many of them each revision has at least.
type Reached = BTreeMap<(u128, u64), BTreeMap<MarkerId, usize>>;

struct Model {
    site: Site,
    now: Revision,
    history: History,
    reached: Reached,
    puts: u32,
    watchers: Vec<Watching>,
}

struct Watching {
    watcher: Watcher,
    client: Client,
    view: View,
}

impl Model {
    /// One whose snapshots take so many bytes at most.
    fn new(snapshots: u64) -> Self {
        // Room for a handful of deltas, and little patience with old snapshots.
        let site = Site::new(Bounds {
            deltas: 600,
            catch_up: 300,
            snapshots,
            ..Bounds::default()
        });
        let watchers = views().into_iter().take(WATCHERS).map(|view| Watching {
            watcher: site.view(&view, None),
            client: Client::default(),
            view,
        });
        let watchers = watchers.collect();
        Self {
            site,
            now: revision(1, 1),
            history: History::new(),
            reached: [((1, 1), BTreeMap::new())].into(),
            puts: 0,
            watchers,
        }
    }

    fn put(&mut self, id: u8, tenant: usize, is_put: bool) {
        self.puts += 1;
        let id = name(&id.to_string());
        let bytes = if is_put { self.puts } else { 0 };
        let cover = Cover {
            before: Second::from_bytes(bytes.to_be_bytes()),
            until: Second::NEVER,
        };
        let tenant = TENANTS[tenant].map(|name| Tenant::parse(name).unwrap());
        let hot = &self.site.hot;
        hot.put_of(Marker { id, cover }, tenant.as_ref());
        let all = self.history.entry(id).or_insert_with(|| vec![None]);
        all.push(hot.markers().find(&id));
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
            earliest: None,
        });
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Put(id, tenant, is_put) => self.put(id, tenant, is_put),
            Step::Revision => self.advance(revision(self.now.incarnation.0, self.now.counter + 1)),
            Step::Nudge => self.advance(self.now),
            Step::Incarnation => {
                let counter = u64::from(self.puts % 5);
                self.advance(revision(self.now.incarnation.0 + 1, counter));
            }
            Step::Beat => self.site.feed.beat(),
            Step::Wait => self.site.wait(limits::SNAPSHOT_TURN),
            Step::Read(who, count) => {
                for _ in 0..count {
                    self.read(who);
                }
            }
            Step::Back(who) => {
                let Watching {
                    watcher,
                    client,
                    view,
                } = &mut self.watchers[who];
                client.coming = None;
                client.stream = None;
                // As the face has it: who has another view has nothing that it could go on from.
                let is_same = client.view == Some(view.token());
                let from = client.label.filter(|_| is_same).map(|label| label.revision);
                *watcher = self.site.view(view, from);
            }
            Step::Anew(who) => {
                let one = &mut self.watchers[who];
                one.watcher = self.site.view(&one.view, None);
                one.client = Client::default();
            }
            Step::Look(who, view) => {
                let one = &mut self.watchers[who];
                let view = views()[view].clone();
                if view != one.view {
                    one.watcher.look(&view);
                    one.view = view;
                }
            }
        }
    }

    fn read(&mut self, who: usize) -> bool {
        let Watching {
            watcher,
            client,
            view,
        } = &mut self.watchers[who];
        let Some(message) = self.site.next(watcher) else {
            return false;
        };
        let sent = match &message {
            Message::Part(markers, ..) | Message::Delta(markers, _) => markers.clone(),
            Message::Beat(_) => Vec::new(),
        };
        let chosen = self.site.hot.chosen(view);
        for marker in unpack(&sent).unwrap() {
            // It was theirs at some time, if only to be taken back.
            let all = self.history[&marker.id].iter().flatten();
            let mut theirs = all.filter(|(_, of)| chosen.sees(*of));
            assert!(theirs.any(|(cover, _)| marker.cover.before == Second::ZERO || *cover == marker.cover));
        }
        if client.take(message) {
            let client = client.clone();
            self.holds(&client, &chosen);
        }
        true
    }

    /// Everything of the revision that it was told is reached is there, or something newer.
    fn holds(&self, client: &Client, chosen: &Chosen) {
        let at = client.label.unwrap().revision;
        for (id, from) in &self.reached[&(at.incarnation.0, at.counter)] {
            let has = client.set.get(id).copied();
            let mut later = self.history[id][*from..].iter().map(|is| seen(*is, chosen));
            assert!(later.any(|is| is == has), "{at}");
        }
    }
}

fn seen(is: Option<(Cover, Partition)>, chosen: &Chosen) -> Option<Cover> {
    let theirs = is.filter(|(_, of)| chosen.sees(*of));
    theirs.map(|(cover, _)| cover)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn in_the_end_everybody_has_what_is_in_force(
        is_narrow: bool, steps in prop::collection::vec(step(), 1..80),
    ) {
        // With room for as many as may be, or for the newest alone.
        let mut model = Model::new(if is_narrow { 0 } else { limits::SNAPSHOTS_BYTES });
        for step in steps {
            model.apply(step);
        }
        model.apply(Step::Revision);
        model.apply(Step::Wait);
        for who in 0..WATCHERS {
            while model.read(who) {}
            let Watching { client, view, .. } = &model.watchers[who];
            let chosen = model.site.hot.chosen(view);
            let mut theirs = BTreeMap::new();
            model.site.hot.markers().for_each(|marker, of| {
                if chosen.sees(of) {
                    theirs.insert(marker.id, marker.cover);
                }
            });
            prop_assert_eq!(&client.set, &theirs);
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
