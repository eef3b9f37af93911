//! Revocations that are in force here and nowhere written.

use super::asked::Asked;
use crate::limits;
use crate::limits::nearing::Nearing;
use crate::refusal::{Code, Denial, Refusal};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What waits to be written. While anything does, nothing is issued: a crash would forget it.
#[derive(Debug, Default)]
pub struct Undurable {
    waiting: Mutex<VecDeque<Asked>>,
    /// Whether anything does; read without the lock.
    any: AtomicBool,
    nearing: Nearing,
}

impl Undurable {
    /// Whether anything waits. Lock-free.
    #[must_use]
    pub fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether none does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Notes one, once: as whoever came first says it, and as of when it was last asked for. Whatever becomes of it, `pin`
    /// is called while something waits: what it pins is let go of with the last of that, neither before it nor never.
    ///
    /// # Errors
    /// [`Code::TooBusy`] past [`limits::UNDURABLE`]; the marker is in force all the same.
    pub(super) fn push(&self, asked: &Asked, pin: impl FnOnce()) -> Result<(), Denial> {
        let mut waiting = self.lock();
        // Nothing is issued until those that wait are written.
        self.any.store(true, Ordering::Release);
        pin();
        if let Some(one) = waiting.iter_mut().find(|one| one.what.is_same(&asked.what)) {
            one.at = one.at.max(asked.at);
            return Ok(());
        }
        if waiting.len() >= limits::UNDURABLE {
            let cause = "as many revocations wait to be written as may";
            return Err(Refusal::new(Code::TooBusy, cause).into());
        }
        waiting.push_back(asked.clone());
        let count = waiting.len();
        drop(waiting);
        if self.nearing.look(count, limits::UNDURABLE) {
            tracing::warn!(
                waiting = count,
                most = limits::UNDURABLE,
                "nearly as many revocations wait to be written as may: further ones will be in force, and nobody will \
                 write them"
            );
        }
        Ok(())
    }

    /// Those that wait, the one that is next first.
    pub(super) fn all(&self) -> Vec<Asked> {
        self.lock().iter().cloned().collect()
    }

    pub(super) fn first(&self) -> Option<Asked> {
        self.lock().front().cloned()
    }

    /// The first one is written, as far as it was asked for when it was taken; it stays if it was asked for again since.
    pub(super) fn written(&self, asked: &Asked) {
        let mut waiting = self.lock();
        waiting.pop_front_if(|first| first.what.is_same(&asked.what) && first.at <= asked.at);
        if waiting.is_empty() {
            self.any.store(false, Ordering::Release);
        }
    }

    /// The first one cannot be written: others come first from now on.
    pub(super) fn postpone(&self) {
        let mut waiting = self.lock();
        if !waiting.is_empty() {
            waiting.rotate_left(1);
        }
    }

    /// Calls `then` if nothing waits; nothing begins to meanwhile.
    pub(super) fn if_empty(&self, then: impl FnOnce()) {
        let waiting = self.lock();
        if waiting.is_empty() {
            then();
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Asked>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::administration::revocations::tests::meanwhile::LOOKING;
    use crate::administration::{Author, Revocable, Who};
    use crate::audit::Context;
    use crate::authn::Face;
    use crate::id::TokenId;
    use crate::limits::nearing::testing::warnings;
    use jiff::Timestamp;

    /// A token that is revoked.
    fn asked(number: usize, second: i64) -> Asked {
        let context = Context {
            face: Face::Grpc,
            peer: std::sync::Arc::default(),
            ask: None,
            request: None,
        };
        let id = TokenId::new((number as u128).to_be_bytes());
        Asked {
            what: Revocable::Token(id, None),
            reason: String::new(),
            author: Author {
                who: Who::Holder("somebody".into()),
                context,
            },
            at: Timestamp::from_second(second).unwrap(),
        }
    }

    #[test]
    fn so_many_wait_each_once_and_not_one_more() {
        let undurable = Undurable::default();
        let push = |number| undurable.push(&asked(number, 1), || {});
        assert!(!undurable.any());
        for number in 0..limits::UNDURABLE {
            push(number).unwrap();
        }
        assert!(undurable.any());
        push(0).unwrap();
        assert_eq!(undurable.len(), limits::UNDURABLE);
        assert!(push(limits::UNDURABLE).is_err());
        for _ in 0..limits::UNDURABLE {
            assert!(undurable.any());
            undurable.written(&undurable.first().unwrap());
        }
        assert!(!undurable.any() && undurable.is_empty());
    }

    #[test]
    fn it_is_warned_of_before_as_many_wait_as_may() {
        let _alone = LOOKING.blocking_lock();
        let undurable = Undurable::default();
        let near = limits::UNDURABLE * limits::NEAR.0 / 100;
        for number in 0..limits::UNDURABLE {
            let warned = warnings(|| undurable.push(&asked(number, 1), || {}).unwrap());
            assert_eq!(warned.len(), usize::from(number + 1 == near), "{number}");
        }
    }

    #[test]
    fn what_is_asked_for_again_while_it_is_written_stays() {
        let undurable = Undurable::default();
        undurable.push(&asked(1, 5), || {}).unwrap();
        let taken = undurable.first().unwrap();
        for second in [7, 6] {
            undurable.push(&asked(1, second), || {}).unwrap();
        }
        undurable.written(&taken);
        assert!(undurable.any());
        let again = undurable.first().unwrap();
        assert_eq!(again.at.as_second(), 7);
        undurable.written(&again);
        assert!(!undurable.any());
    }

    /// Also of what waits already, and of one too many.
    #[test]
    fn nothing_is_written_or_let_go_of_while_something_is_pinned() {
        let undurable = Undurable::default();
        let push = |number| {
            let mut is_held = false;
            let is_alone = || is_held = undurable.waiting.try_lock().is_err();
            let noted = undurable.push(&asked(number, 1), is_alone);
            (noted.is_ok(), is_held)
        };
        for _ in 0..2 {
            assert_eq!(push(0), (true, true));
        }
        for number in 1..limits::UNDURABLE {
            push(number);
        }
        assert_eq!(push(limits::UNDURABLE), (false, true));
    }
}
