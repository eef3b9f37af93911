//! Fixtures of the audit tests: a device in memory that fails on command, and tokens to record.

pub(super) mod archive;
mod file;
mod handle;
pub(super) mod stand_in;

use super::archive::{Archive as _, Form};
use super::device::{CreateError, Device, Segment, Segments, Source, Space};
use super::frames::Packed;
use super::{Context, Log, Options, Recovered, read};
use crate::authn::{Face, Peer, Verified};
use crate::clock::SystemRandomness;
use crate::clock::testing::TestClock;
use crate::id::{KeyId, KeyPublicId, TokenId};
use crate::mint::Minted;
use crate::policy::{Grant, Rule};
use crate::revocation::HotSet;
use file::File;
use handle::Handle;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

pub(super) const ORIGIN: &str = "https://broker.example.org/node-1";
pub(super) const NOW: i64 = 1_800_000_000;

/// The calls that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Append,
    Sync,
    Size,
    Create,
    KeepReserve,
    Put,
    Remove,
    Acknowledge,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing happens.
    Fails,
    /// Half of it happens.
    Short,
    /// All of it happens, and the caller is told otherwise.
    Persists,
    /// Nothing is wrong with it: the one after it is meant.
    Works,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<u64, File>,
    /// Compressed segments and indexes: whole and durable, or not there.
    forms: BTreeMap<(u64, bool), Vec<u8>>,
    faults: VecDeque<(Step, Effect, io::ErrorKind)>,
    /// Fails until told otherwise.
    broken: Option<Step>,
    /// Calls made, to fail on no more than is planned and to see that nothing is retried.
    calls: Vec<Step>,
    reserve: bool,
    /// No room but the reserve's.
    full: bool,
    available: u64,
    acknowledged: Option<Vec<u8>>,
    largest: usize,
    /// Syncs, of a file or of its name, wait while this is set; so many go on before.
    held: bool,
    passes: usize,
    syncing: bool,
}

/// Segments in memory. What was written and not synced is lost by [`Memory::power_cut`].
#[derive(Clone, Debug, Default)]
pub(super) struct Memory(Arc<(Mutex<State>, Condvar)>);

impl Memory {
    pub(super) fn new() -> Arc<Self> {
        let memory = Self::default();
        memory.with(|state| state.available = u64::MAX);
        Arc::new(memory)
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        let result = f(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
        result
    }

    /// The next call of `step` has this effect.
    pub(super) fn fail(&self, step: Step, effect: Effect, kind: io::ErrorKind) {
        self.with(|state| state.faults.push_back((step, effect, kind)));
    }

    /// All calls of `step` fail, until mended.
    pub(super) fn break_down(&self, step: Step) {
        self.with(|state| state.broken = Some(step));
    }

    pub(super) fn mend(&self) {
        self.with(|state| state.broken = None);
    }

    pub(super) fn fill(&self, full: bool) {
        self.with(|state| state.full = full);
    }

    pub(super) fn set_available(&self, bytes: u64) {
        self.with(|state| state.available = bytes);
    }

    /// Makes syncs wait, until released.
    pub(super) fn hold(&self, held: bool) {
        self.with(|state| (state.held, state.passes) = (held, 0));
    }

    /// Makes syncs wait behind the next few.
    pub(super) fn hold_after(&self, passes: usize) {
        self.with(|state| (state.held, state.passes) = (true, passes));
    }

    /// What each sync begins with.
    fn wait_while_held(&self) {
        let (lock, changed) = &*self.0;
        let mut state = lock.lock().unwrap();
        if let Some(left) = state.passes.checked_sub(1) {
            state.passes = left;
            return;
        }
        state.syncing = true;
        changed.notify_all();
        let mut state = changed.wait_while(state, |state| state.held).unwrap();
        state.syncing = false;
    }

    /// Waits until a sync waits.
    pub(super) fn await_sync(&self) {
        let state = self.0.0.lock().unwrap();
        let waited = self
            .0
            .1
            .wait_timeout_while(state, Duration::from_secs(30), |state| !state.syncing)
            .unwrap();
        assert!(!waited.1.timed_out());
    }

    /// What is left after the power is gone.
    pub(super) fn power_cut(&self) -> Arc<Self> {
        self.power_cut_with(0, false)
    }

    /// The same with what was written since the last sync up to some byte, and with the names that were not durable or
    /// without them.
    pub(super) fn power_cut_with(&self, bytes: usize, names: bool) -> Arc<Self> {
        let after = Self::new();
        let (files, forms) = self.with(|state| (state.files.clone(), state.forms.clone()));
        let acknowledged = self.with(|state| state.acknowledged.clone());
        after.with(|state| {
            (state.files, state.forms, state.acknowledged) = (files, forms, acknowledged);
            state.files.retain(|_, file| names || !file.unnamed);
            for file in state.files.values_mut() {
                let mut left = std::mem::take(&mut file.durable);
                let unsynced = file.written.iter().skip(left.len());
                left.extend(unsynced.take(bytes));
                *file = File::synced(left);
            }
        });
        after
    }

    /// All that was written, synced or not: what is left after the process is gone.
    pub(super) fn bytes(&self, first: u64) -> Vec<u8> {
        self.with(|state| state.files[&first].written.clone())
    }

    /// The compressed form or the index of a segment.
    pub(super) fn form_bytes(&self, first: u64, form: Form) -> Option<Vec<u8>> {
        self.with(|state| state.forms.get(&(first, form == Form::Index)).cloned())
    }

    pub(super) fn set_form(&self, first: u64, form: Form, bytes: Vec<u8>) {
        self.with(|state| state.forms.insert((first, form == Form::Index), bytes));
    }

    pub(super) fn set_bytes(&self, first: u64, bytes: Vec<u8>) {
        self.with(|state| state.files.insert(first, File::synced(bytes)));
    }

    /// Somebody else takes a segment away, down to so many bytes or as a whole.
    pub(super) fn take_away(&self, first: u64, down_to: Option<usize>) {
        self.with(|state| match down_to {
            None => drop(state.files.remove(&first)),
            Some(size) => {
                let file = state.files.get_mut(&first).unwrap();
                file.written.truncate(size);
                file.durable.truncate(size);
            }
        });
    }

    /// The largest append so far.
    pub(super) fn largest_append(&self) -> usize {
        self.with(|state| state.largest)
    }

    pub(super) fn calls(&self, step: Step) -> usize {
        self.with(|state| state.calls.iter().filter(|call| **call == step).count())
    }

    /// All records, by their parsed lines.
    pub(super) fn records(self: &Arc<Self>) -> Vec<serde_json::Value> {
        read::records(Arc::clone(self) as Arc<dyn Device>, 0)
            .unwrap()
            .map(|entry| serde_json::from_slice(&entry.unwrap().line).unwrap())
            .collect()
    }

    /// Runs a step: `act` is told how much of it is to happen.
    fn step(
        &self,
        step: Step,
        act: impl FnOnce(&mut State, Effect) -> io::Result<()>,
    ) -> io::Result<()> {
        self.with(|state| {
            state.calls.push(step);
            if state.broken == Some(step) {
                return Err(io::Error::other("injected"));
            }
            match state.faults.iter().position(|fault| fault.0 == step) {
                None => act(state, Effect::Persists),
                Some(at) => {
                    let (_, effect, kind) = state.faults.remove(at).unwrap();
                    match effect {
                        Effect::Fails => {}
                        Effect::Works => return act(state, Effect::Persists),
                        Effect::Short | Effect::Persists => act(state, effect)?,
                    }
                    Err(io::Error::new(kind, "injected"))
                }
            }
        })
    }
}

impl Segments for Memory {
    fn segments(&self) -> io::Result<Vec<u64>> {
        Ok(self.with(|state| {
            let packed = state.forms.keys().filter(|(_, index)| !index);
            let all = state.files.keys().chain(packed.map(|(first, _)| first));
            all.copied()
                .collect::<BTreeSet<u64>>()
                .into_iter()
                .collect()
        }))
    }

    fn read(&self, first: u64) -> io::Result<Box<dyn Source>> {
        match self.form(first, Form::Plain) {
            Err(_) => Ok(Box::new(Packed::open(self.form(first, Form::Packed)?)?)),
            plain => plain,
        }
    }

    fn index(&self, first: u64) -> io::Result<Box<dyn Source>> {
        self.form(first, Form::Index)
    }

    fn distrust(&self, first: u64) {
        self.with(|state| state.forms.remove(&(first, true)));
    }

    fn acknowledged(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(self.with(|state| state.acknowledged.clone()))
    }
}

impl Device for Memory {
    fn repair(&self, first: u64, unsure: u64, size: u64) -> io::Result<()> {
        self.with(|state| {
            let file = state.files.get_mut(&first).unwrap();
            let (unsure, size) = (
                usize::try_from(unsure).unwrap(),
                usize::try_from(size).unwrap(),
            );
            file.written.truncate(size);
            file.lost.retain(|range| range.start < unsure);
            file.sync(size);
        });
        Ok(())
    }

    fn open(&self, first: u64) -> io::Result<Box<dyn Segment>> {
        Ok(Box::new(Handle {
            memory: self.clone(),
            first,
            reserved: false,
        }))
    }

    fn create(
        &self,
        first: u64,
        head: &[u8],
        space: Space,
    ) -> Result<Box<dyn Segment>, CreateError> {
        let mut named = false;
        let created = self.step(Step::Create, |state, effect| {
            if space == Space::Free && state.full
                || space == Space::Reserve && !std::mem::take(&mut state.reserve)
            {
                return Err(io::ErrorKind::StorageFull.into());
            }
            if effect == Effect::Persists {
                let unnamed = state.held;
                let file = File::synced(head.to_vec());
                state.files.insert(first, File { unnamed, ..file });
                named = true;
            }
            Ok(())
        });
        created.map_err(match named {
            true => CreateError::Unsure,
            false => CreateError::Absent,
        })?;
        // Written, synced and renamed, as [`super::Disk`] does it: its folder comes last.
        self.wait_while_held();
        self.with(|state| {
            if let Some(file) = state.files.get_mut(&first) {
                file.unnamed = false;
            }
        });
        Ok(Box::new(Handle {
            memory: self.clone(),
            first,
            reserved: space == Space::Reserve,
        }))
    }

    fn keep_reserve(&self) -> io::Result<()> {
        self.step(Step::KeepReserve, |state, _| {
            state.reserve |= !state.full;
            if state.reserve {
                Ok(())
            } else {
                Err(io::ErrorKind::StorageFull.into())
            }
        })
    }

    fn is_low(&self, floor: u64) -> io::Result<bool> {
        Ok(self.with(|state| state.available < floor))
    }

    fn keep_acknowledged(&self, bytes: &[u8]) -> io::Result<()> {
        self.step(Step::Acknowledge, |state, _| {
            if state.full {
                return Err(io::ErrorKind::StorageFull.into());
            }
            state.acknowledged = Some(bytes.to_vec());
            Ok(())
        })
    }

    fn forget_acknowledged(&self) -> io::Result<()> {
        self.step(Step::Remove, |state, _| {
            state.acknowledged = None;
            Ok(())
        })
    }
}

/// A log over a device, and the markers it asks.
pub(super) struct Opened {
    pub(super) log: Log,
    pub(super) recovered: Recovered,
    pub(super) hot: Arc<HotSet>,
    pub(super) clock: Arc<TestClock>,
}

pub(super) fn options() -> Options {
    Options {
        retry: Duration::from_millis(1),
        refusal_floor: 1024,
        ..Options::default()
    }
}

pub(super) fn open(device: &Arc<Memory>) -> Opened {
    open_with(device, options()).unwrap()
}

pub(super) fn open_with(
    device: &Arc<Memory>,
    options: Options,
) -> Result<Opened, super::OpenError> {
    let hot = Arc::<HotSet>::default();
    let clock = TestClock::at(NOW);
    let device = Arc::clone(device) as Arc<dyn Device>;
    let random = SystemRandomness::shared();
    let (log, recovered) = Log::open(
        device,
        ORIGIN,
        Arc::clone(&hot),
        Arc::clone(&clock) as _,
        random,
        super::Headers::testing(),
        options,
    )?;
    Ok(Opened {
        log,
        recovered,
        hot,
        clock,
    })
}

pub(super) fn key_id() -> KeyPublicId {
    KeyPublicId::parse("aaaaaaaaaaaaaaaa").unwrap()
}

pub(super) fn kid() -> KeyId {
    KeyId::parse("thumbprint").unwrap()
}

pub(super) fn context() -> Context {
    Context {
        face: Face::Grpc,
        peer: Arc::new(Peer {
            address: Some([192, 0, 2, 7].into()),
            ..Peer::default()
        }),
        ask: None,
        request: None,
    }
}

/// The `n`th token.
pub(super) fn minted(n: u128) -> Minted {
    let verified = Verified::of_key_for_test(key_id(), "https://broker.example.org/key/a", None);
    let rules = vec![Rule("ceiling.key".into())];
    minted_of(
        Grant::of_rules_for_test(verified, rules, r#"{"context":{}}"#),
        n,
    )
}

pub(super) fn minted_of(grant: Grant, n: u128) -> Minted {
    let issued_at = Timestamp::from_second(NOW).unwrap();
    Minted::for_test(grant, &format!("token-{n}"), token_id(n), issued_at, kid())
}

pub(super) fn token_id(n: u128) -> TokenId {
    TokenId::new(n.to_be_bytes())
}

/// Waits until the log is in the state asked for.
pub(super) async fn until(log: &Log, wanted: impl Fn(&super::LogHealth) -> bool) {
    let mut changes = log.health_changes();
    let reached = async {
        while !wanted(&log.health()) {
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(30), reached)
        .await
        .expect("the log does not reach the state");
}
