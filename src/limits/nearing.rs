//! A warning before a bound is met.

use super::NEAR;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether something was found near its bound: that is said once, and again only after it has fallen well below.
#[derive(Debug, Default)]
pub struct Nearing(AtomicBool);

impl Nearing {
    /// Whether to warn now that there are so many where `most` may be.
    pub fn look(&self, count: usize, most: usize) -> bool {
        let (near, below) = NEAR;
        let reaches = |percent: usize| count.saturating_mul(100) >= most.saturating_mul(percent);
        if !reaches(below) {
            self.0.store(false, Ordering::Relaxed);
            return false;
        }
        reaches(near) && !self.0.swap(true, Ordering::Relaxed)
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(line);
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The warnings that come of something done on this thread.
    pub(crate) fn warnings(of: impl FnOnce()) -> Vec<String> {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, of);
        let written = lines.0.lock().unwrap();
        let written = String::from_utf8_lossy(&written);
        let warned = written.lines().filter(|line| line.contains(" WARN "));
        warned.map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nears_its_bound_is_told_at_so_many_and_not_one_earlier() {
        assert_eq!(NEAR, (80, 60));
        for most in [10, 16_000_000] {
            let nearing = Nearing::default();
            let near = most / 10 * 8;
            assert!(!nearing.look(near - 1, most));
            assert!(nearing.look(near, most));
        }
        assert!(!Nearing::default().look(0, usize::MAX));
    }

    #[test]
    fn it_is_told_again_only_after_it_was_well_below() {
        let nearing = Nearing::default();
        let told = [79, 80, 81, 100, 79, 60, 80, 59, 79, 80, 90, 0, 85]
            .map(|count| nearing.look(count, 100));
        let expected = [
            false, true, false, false, false, false, false, false, false, true, false, false, true,
        ];
        assert_eq!(told, expected);
    }
}
