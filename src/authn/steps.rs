//! The steps that a check takes, counted by tests: the course of a refusal must not tell its cause (invariant 4).

#[cfg(test)]
thread_local! {
    static TAKEN: std::cell::RefCell<Vec<&'static str>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Notes a step in tests; outside of them nothing is left of it.
#[cfg_attr(not(test), expect(unused_variables, reason = "noted in tests only"))]
#[inline]
pub(super) fn step(name: &'static str) {
    #[cfg(test)]
    TAKEN.with_borrow_mut(|taken| taken.push(name));
}

/// The steps since the last call, on this thread.
#[cfg(test)]
pub(super) fn taken() -> Vec<&'static str> {
    TAKEN.take()
}
