//! Revocations that are in force here and nowhere written.

use super::Revocable;
use crate::administration::change::Author;
use crate::limits;
use crate::refusal::{Code, Denial, Refusal};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What waits to be written. While anything does, nothing is issued: a crash would forget it.
#[derive(Debug, Default)]
pub struct Undurable {
    waiting: Mutex<VecDeque<Waiting>>,
    /// Whether anything does; read without the lock.
    any: AtomicBool,
}

/// A revocation that is not written.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) what: Revocable,
    pub(super) reason: String,
    pub(super) author: Author,
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

    /// Notes one, once, as whoever came first says it.
    ///
    /// # Errors
    /// [`Code::TooBusy`] past [`limits::UNDURABLE`]; the marker is in force all the same.
    pub(super) fn push(
        &self,
        what: &Revocable,
        reason: &str,
        author: &Author,
    ) -> Result<(), Denial> {
        let mut waiting = self.lock();
        // Whatever becomes of this one, nothing is issued until those that wait are written.
        self.any.store(true, Ordering::Release);
        if waiting.iter().any(|one| one.what.is_same(what)) {
            return Ok(());
        }
        if waiting.len() >= limits::UNDURABLE {
            let cause = "as many revocations wait to be written as may";
            return Err(Refusal::new(Code::TooBusy, cause).into());
        }
        waiting.push_back(Waiting {
            what: what.clone(),
            reason: reason.to_owned(),
            author: author.clone(),
        });
        Ok(())
    }

    pub(super) fn first(&self) -> Option<Waiting> {
        self.lock().front().cloned()
    }

    /// The first one is written.
    pub(super) fn pop(&self) {
        let mut waiting = self.lock();
        waiting.pop_front();
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

    fn lock(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::administration::Who;
    use crate::audit::Context;
    use crate::authn::Face;
    use crate::id::TokenId;

    fn author() -> Author {
        Author {
            who: Who::Holder("somebody".into()),
            context: Context {
                face: Face::Grpc,
                peer: std::sync::Arc::default(),
                ask: None,
                request: None,
            },
        }
    }

    #[test]
    fn so_many_wait_each_once_and_not_one_more() {
        let undurable = Undurable::default();
        let author = author();
        let push = |n: usize| {
            let id = TokenId::new((n as u128).to_be_bytes());
            undurable.push(&Revocable::Token(id, None), "", &author)
        };
        assert!(!undurable.any());
        for n in 0..limits::UNDURABLE {
            push(n).unwrap();
        }
        assert!(undurable.any());
        push(0).unwrap();
        assert_eq!(undurable.len(), limits::UNDURABLE);
        assert!(push(limits::UNDURABLE).is_err());
        for _ in 0..limits::UNDURABLE {
            assert!(undurable.any());
            undurable.pop();
        }
        assert!(!undurable.any() && undurable.is_empty());
    }
}
