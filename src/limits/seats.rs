//! Places of which there are so many, and so many for one principal: nobody shuts all others out.

use super::nearing::Nearing;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many there may be.
#[derive(Clone, Copy, Debug)]
pub struct Most {
    /// Of all.
    pub all: usize,
    /// Of one principal.
    pub of_one: usize,
}

/// The seats that are taken.
#[derive(Debug, Default)]
pub struct Seats(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    all: Count,
    /// Those of each principal that has any.
    by: HashMap<Arc<str>, Count>,
}

#[derive(Debug, Default)]
struct Count {
    seats: usize,
    nearing: Nearing,
}

/// A place among those that there may be, of all and of its principal; given back when this is dropped.
#[derive(Debug)]
pub struct Seat {
    seats: Arc<Seats>,
    who: Arc<str>,
}

/// Which seats are all taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// All that there may be.
    All,
    /// The principal's own.
    OfOne,
}

/// What is to be warned of, with one seat more: how many are taken.
#[derive(Clone, Copy, Debug)]
pub struct Near {
    /// Of nearly all.
    pub all: Option<usize>,
    /// Of nearly all of the principal's own.
    pub of_one: Option<usize>,
}

impl Seats {
    /// A seat for the principal `who`.
    ///
    /// # Errors
    /// [`Full`].
    pub fn take(self: &Arc<Self>, who: &str, most: Most) -> Result<(Seat, Near), Full> {
        let mut taken = self.taken();
        let own = taken.by.get(who).map_or(0, |own| own.seats);
        match (taken.all.seats < most.all, own < most.of_one) {
            (false, _) => return Err(Full::All),
            (true, false) => return Err(Full::OfOne),
            (true, true) => {}
        }
        let near = Near {
            all: taken.all.add(most.all),
            of_one: taken.by.entry(who.into()).or_default().add(most.of_one),
        };
        drop(taken);
        let (seats, who) = (Arc::clone(self), who.into());
        Ok((Seat { seats, who }, near))
    }

    /// How many are taken.
    pub fn count(&self) -> usize {
        self.taken().all.seats
    }

    /// How many of them are the one principal's that has most.
    pub fn most_of_one(&self) -> usize {
        let taken = self.taken();
        taken.by.values().map(|own| own.seats).max().unwrap_or(0)
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Count {
    fn add(&mut self, most: usize) -> Option<usize> {
        self.seats = self.seats.saturating_add(1);
        self.nearing.look(self.seats, most).then_some(self.seats)
    }

    /// Answers whether it was the last.
    fn remove(&mut self) -> bool {
        self.seats = self.seats.saturating_sub(1);
        self.seats == 0
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken();
        taken.all.remove();
        if taken.by.get_mut(&self.who).is_none_or(Count::remove) {
            taken.by.remove(&self.who);
        }
    }
}
