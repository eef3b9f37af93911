//! Many who change and ask about the same few markers at once, and a checker of what each of them was told.
//!
//! Every call is noted with when it began and ended, by one counter. Of two calls that overlap either may have come first;
//! the checker finds fault only with what no order of them explains.

use super::*;
use crate::marker::Kind;
use std::hint;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

/// How many are at it at once, and for how long.
struct Size {
    threads: usize,
    /// Each has markers of its own, which nobody has touched before.
    rounds: usize,
    /// So many.
    ids: usize,
    /// Of each thread in a round.
    calls: usize,
    /// Whether some of them ask: it is asked at the end all the same.
    asks: bool,
}

/// Now: some covers end before, others never.
const NOW: i64 = 1_000;

fn second(second: i64) -> Second {
    Second::of(Timestamp::from_second(second).unwrap())
}

/// How far a marker may reach, from less to more.
fn reaches_of() -> [Second; 3] {
    [second(1), second(2), Second::NEVER]
}

fn marker_id(number: usize) -> MarkerId {
    let mut bits = [0; 16];
    let name = u64::try_from(number + 1).unwrap();
    // Spread over the map as hashes are.
    let spread = name.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    let places = bits
        .iter_mut()
        .zip(name.to_le_bytes().into_iter().chain(spread));
    places.for_each(|(bit, byte)| *bit = byte);
    MarkerId::new(bits)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Pin(Cover),
    Put(Cover),
    Unpin,
    Expire,
    /// Whether what began in a second is revoked, and the answer.
    IsCovered(Second, bool),
    /// Whether that much is stored.
    IsStored(Second, bool),
    IsPinned(bool),
}

#[derive(Clone, Copy, Debug)]
struct Event {
    id: usize,
    call: Call,
    began: u64,
    ended: u64,
}

impl Event {
    /// Whether this may have come into force before the other was answered.
    fn may_precede(&self, other: &Self) -> bool {
        self.began < other.ended
    }

    fn precedes(&self, other: &Self) -> bool {
        self.ended < other.began
    }

    /// Whether this is put or pinned and reaches so far.
    fn sets(&self, far: Second) -> bool {
        matches!(self.call, Call::Pin(cover) | Call::Put(cover) if cover.before >= far)
    }

    fn is_pin(&self) -> bool {
        matches!(self.call, Call::Pin(_))
    }

    fn is_unpin(&self) -> bool {
        matches!(self.call, Call::Unpin)
    }

    /// Whether this is put or pinned, reaches so far, and does not end.
    fn sets_for_good(&self, far: Second) -> bool {
        let lasts =
            matches!(self.call, Call::Pin(cover) | Call::Put(cover) if cover.until > second(NOW));
        lasts && self.sets(far)
    }

    /// Whether this is put and reaches less far.
    fn puts_less(&self, far: Second) -> bool {
        matches!(self.call, Call::Put(cover) if cover.before < far)
    }

    /// Whether this is put and does not reach so far, or ends.
    fn may_take_back(&self, far: Second) -> bool {
        matches!(self.call, Call::Put(_)) && !self.sets_for_good(far)
    }
}

/// What is wrong with the answer to one call, in view of all that were made of the same marker.
fn fault(all: &[Event], asked: &Event) -> Option<&'static str> {
    let mut of_it = all
        .iter()
        .filter(|event| event.id == asked.id || event.is_unpin());
    let unpinned = |since: &Event, by: &Event| {
        let mut unpins = all.iter().filter(|event| event.is_unpin());
        unpins.any(|unpin| since.may_precede(unpin) && unpin.may_precede(by))
    };
    match asked.call {
        Call::IsCovered(far, false) => {
            let holds = |set: &Event| {
                let mut of_it = all.iter().filter(|event| event.id == asked.id);
                let taken_back = of_it.any(|event| {
                    event.may_take_back(far)
                        && set.may_precede(event)
                        && event.may_precede(asked)
                        && (!set.is_pin() || unpinned(set, event))
                });
                set.sets_for_good(far) && set.precedes(asked) && !taken_back
            };
            of_it
                .any(holds)
                .then_some("a revocation was acknowledged before, and not taken back")
        }
        Call::IsCovered(far, true) => {
            // What is pinned keeps whatever it finds.
            let explains = |set: &Event| {
                let mut of_it = all.iter().filter(|event| event.id == asked.id);
                let taken_back = of_it.any(|event| {
                    event.puts_less(far) && set.precedes(event) && event.precedes(asked)
                });
                set.sets(far) && set.may_precede(asked) && !taken_back
            };
            let is_pinned = |set: &Event| set.is_pin() && set.may_precede(asked);
            let mut others = of_it.clone();
            (!(of_it.any(explains) || others.any(is_pinned) && others_set(all, asked, far)))
                .then_some("nobody revoked it, or it was taken back")
        }
        Call::IsStored(far, true) => {
            let explains = |set: &Event| {
                let mut of_it = all.iter().filter(|event| event.id == asked.id);
                let taken_back = of_it.any(|event| {
                    event.puts_less(far) && set.precedes(event) && event.precedes(asked)
                });
                set.sets(far) && !set.is_pin() && set.may_precede(asked) && !taken_back
            };
            (!of_it.any(explains)).then_some("the store does not have so much, or not any more")
        }
        Call::IsPinned(false) => {
            let holds = |pin: &Event| pin.is_pin() && pin.precedes(asked) && !unpinned(pin, asked);
            of_it
                .any(holds)
                .then_some("it was pinned, and not let go of")
        }
        Call::IsPinned(true) => {
            let explains = |pin: &Event| {
                let mut unpins = all.iter().filter(|event| event.is_unpin());
                let let_go = unpins.any(|unpin| pin.precedes(unpin) && unpin.precedes(asked));
                pin.is_pin() && pin.may_precede(asked) && !let_go
            };
            (!of_it.any(explains)).then_some("nobody pinned it, or it was let go of")
        }
        _ => None,
    }
}

/// Whether anybody set so much of a marker at all before it was asked for.
fn others_set(all: &[Event], asked: &Event, far: Second) -> bool {
    all.iter()
        .any(|set| set.id == asked.id && set.sets(far) && set.may_precede(asked))
}

/// The first answer that no order of the calls explains.
fn judge(all: &[Event]) -> Result<(), String> {
    let found = all
        .iter()
        .find_map(|asked| Some((asked, fault(all, asked)?)));
    found.map_or(Ok(()), |(asked, fault)| {
        let mut of_it: Vec<_> = all
            .iter()
            .filter(|event| {
                event.id == asked.id || matches!(event.call, Call::Unpin | Call::Expire)
            })
            .collect();
        of_it.sort_by_key(|event| event.began);
        let of_it: Vec<_> = of_it.iter().map(|event| format!("{event:?}")).collect();
        Err(format!("{fault}: {asked:?} among\n{}", of_it.join("\n")))
    })
}

/// Numbers that look random, the same in every run (splitmix64).
struct Draw(u64);

impl Draw {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % most
    }

    fn of<T: Copy>(&mut self, from: &[T]) -> T {
        let place = self.below(u64::try_from(from.len()).unwrap());
        from[usize::try_from(place).unwrap()]
    }
}

/// Which calls a round has beside those that pin and ask: the fewer, the less explains a wrong answer.
#[derive(Clone, Copy)]
struct Kinds {
    puts: bool,
    takes_back: bool,
    unpins: bool,
    expires: bool,
}

impl Kinds {
    fn of(round: usize) -> Self {
        let bit = |bit: usize| round >> bit & 1 == 1;
        Self {
            puts: bit(0),
            takes_back: bit(1),
            unpins: bit(2),
            expires: bit(3),
        }
    }

    fn draw(self, draw: &mut Draw, asks: bool) -> Call {
        let far = draw.of(&reaches_of());
        let untils: &[_] = match self.expires {
            true => &[100, 100, i64::MAX],
            false => &[i64::MAX],
        };
        let until = match draw.of(untils) {
            i64::MAX => Second::NEVER,
            until => second(until),
        };
        let cover = Cover { before: far, until };
        if !asks && draw.below(3) > 0 {
            // Most of all, what pins and what takes back.
            return match draw.below(3) {
                0 if self.takes_back => Call::Put(NOTHING),
                _ => Call::Pin(cover),
            };
        }
        match draw.below(if asks { 10 } else { 6 }) {
            0 | 1 => Call::Pin(cover),
            2 if self.puts => Call::Put(cover),
            2 | 3 if self.takes_back => Call::Put(NOTHING),
            4 if self.unpins => Call::Unpin,
            5 if self.expires => Call::Expire,
            6 => Call::IsPinned(false),
            7 | 8 => Call::IsStored(far, false),
            9 => Call::IsCovered(far, false),
            _ => Call::Pin(cover),
        }
    }
}

/// Makes a call, and answers it with what it was told.
fn make(set: &HotSet, id: MarkerId, call: Call) -> Call {
    let marker = |cover| Marker { id, cover };
    match call {
        Call::Pin(cover) => set.pin(marker(cover), None),
        Call::Put(cover) => set.put(marker(cover)),
        Call::Unpin => set.unpin(),
        Call::Expire => drop(set.expire(Timestamp::from_second(NOW).unwrap())),
        Call::IsCovered(far, _) => {
            let part = Part::known(id, Kind::Issuer, far);
            return Call::IsCovered(far, set.covered(&Fence::from_iter([part])).is_some());
        }
        Call::IsStored(far, _) => {
            let before = far;
            let until = Second::NEVER;
            return Call::IsStored(far, set.is_stored(&marker(Cover { before, until }), None));
        }
        Call::IsPinned(_) => return Call::IsPinned(set.is_pinned(&id)),
    }
    call
}

#[test]
fn whoever_was_told_that_it_is_revoked_is_never_told_otherwise() {
    play(&Size {
        threads: 4,
        rounds: 3_000,
        ids: 2,
        calls: 10,
        asks: true,
    });
}

/// Two calls, or a few, that begin at the same time.
#[test]
fn nor_is_whoever_asks_after_two_came_at_once() {
    play(&Size {
        threads: 2,
        rounds: 40_000,
        ids: 1,
        calls: 2,
        asks: false,
    });
}

fn play(size: &Size) {
    let (set, time, there) = (HotSet::default(), AtomicU64::new(0), AtomicUsize::new(0));
    let make_timed = |round: usize, id: usize, call: Call| {
        let began = time.fetch_add(1, Ordering::SeqCst);
        let call = make(&set, marker_id(round * size.ids + id), call);
        let ended = time.fetch_add(1, Ordering::SeqCst);
        Event {
            id,
            call,
            began,
            ended,
        }
    };
    let ids: Vec<_> = (0..size.ids).collect();
    let run = |number: usize| {
        let mut draw = Draw(u64::try_from(number).unwrap() << 32);
        let mut rounds = Vec::with_capacity(size.rounds);
        for round in 0..size.rounds {
            // All begin at once, or nearly so.
            there.fetch_add(1, Ordering::SeqCst);
            let mut looks: u32 = 0;
            while there.load(Ordering::SeqCst) < (round + 1) * size.threads {
                looks += 1;
                match looks % 64 {
                    0 => thread::yield_now(),
                    _ => hint::spin_loop(),
                }
            }
            (0..draw.below(64)).for_each(|_| hint::spin_loop());
            let calls = (0..size.calls).map(|_| {
                let (id, call) = (draw.of(&ids), Kinds::of(round).draw(&mut draw, size.asks));
                make_timed(round, id, call)
            });
            rounds.push(calls.collect::<Vec<_>>());
        }
        rounds
    };
    let mut threads: Vec<_> = thread::scope(|scope| {
        let run = &run;
        let running: Vec<_> = (0..size.threads)
            .map(|number| scope.spawn(move || run(number)))
            .collect();
        running.into_iter().map(|one| one.join().unwrap()).collect()
    });
    for round in 0..size.rounds {
        let mut all: Vec<_> = threads
            .iter_mut()
            .flat_map(|rounds| std::mem::take(&mut rounds[round]))
            .collect();
        // What was let go of since, and what ended, says nothing of how far these reach.
        for id in 0..size.ids {
            for far in reaches_of() {
                all.push(make_timed(round, id, Call::IsCovered(far, false)));
                all.push(make_timed(round, id, Call::IsStored(far, false)));
            }
        }
        if let Err(fault) = judge(&all) {
            panic!("round {round}: {fault}");
        }
    }
}

#[test]
fn the_checker_finds_what_no_order_explains_and_nothing_else() {
    let all = Cover::all(Second::NEVER);
    let far = Second::FIRST;
    let judged = |calls: &[(Call, u64, u64)]| {
        let events: Vec<_> = calls
            .iter()
            .map(|(call, began, ended)| Event {
                id: 0,
                call: *call,
                began: *began,
                ended: *ended,
            })
            .collect();
        judge(&events).is_ok()
    };
    let (pin, put, release) = (Call::Pin(all), Call::Put(all), Call::Put(NOTHING));
    let [no, yes] = [false, true].map(|is| Call::IsCovered(far, is));
    let stored = Call::IsStored(far, true);
    // A check that began before the revocation was acknowledged may say either.
    assert!(judged(&[(put, 0, 2), (no, 1, 3)]) && judged(&[(put, 0, 2), (yes, 1, 3)]));
    assert!(!judged(&[(put, 0, 1), (no, 2, 3)]));
    assert!(!judged(&[(yes, 0, 1), (put, 2, 3)]));
    assert!(judged(&[(put, 0, 1), (release, 2, 3), (no, 4, 5)]));
    assert!(!judged(&[(put, 0, 1), (release, 2, 3), (yes, 4, 5)]));
    // What is pinned is taken back only once it was let go of.
    assert!(!judged(&[(pin, 0, 2), (release, 1, 3), (no, 4, 5)]));
    assert!(!judged(&[(pin, 0, 1), (Call::Unpin, 2, 3), (no, 4, 5)]));
    let let_go = [
        (pin, 0, 1),
        (Call::Unpin, 2, 3),
        (release, 4, 5),
        (no, 6, 7),
    ];
    assert!(judged(&let_go));
    assert!(!judged(&[(pin, 0, 1), (Call::IsPinned(false), 2, 3)]));
    assert!(judged(&[
        (pin, 0, 1),
        (Call::Unpin, 2, 4),
        (Call::IsPinned(false), 3, 5)
    ]));
    // What is only pinned is not stored.
    assert!(!judged(&[(pin, 0, 1), (stored, 2, 3)]));
    assert!(judged(&[(pin, 0, 1), (put, 2, 4), (stored, 3, 5)]));
    assert!(!judged(&[
        (put, 0, 1),
        (release, 2, 3),
        (pin, 4, 5),
        (stored, 6, 7)
    ]));
    // What ends may be gone.
    let ends = Call::Put(Cover::all(second(100)));
    assert!(judged(&[(ends, 0, 1), (Call::Expire, 2, 3), (no, 4, 5)]));
}
