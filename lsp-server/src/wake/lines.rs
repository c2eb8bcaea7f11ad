//! How many lines about pushes the log takes.

use std::sync::atomic::{AtomicU64, Ordering};

/// Pushes that the log names at `info`, for each second. Those beyond are named at `debug`.
const LINES_PER_SECOND_MAX: u64 = 100;

/// A second needs 34 bits for the next three centuries.
const COUNT_BITS: u32 = 24;

/// The second of the last line, in seconds since 1970, and how many lines it has had.
#[derive(Default)]
pub(super) struct Lines(AtomicU64);

impl Lines {
    /// Whether one more line is not too many. A rough count: two threads may take the same place.
    pub(super) fn may_say(&self, now_unix: u64) -> bool {
        let before = self.0.load(Ordering::Relaxed);
        let said = if before >> COUNT_BITS == now_unix { before & ((1 << COUNT_BITS) - 1) } else { 0 };
        if said < LINES_PER_SECOND_MAX {
            self.0.store((now_unix << COUNT_BITS) | (said + 1), Ordering::Relaxed);
        }
        said < LINES_PER_SECOND_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_so_many_lines() {
        let lines = Lines::default();
        let said = |now| (0..LINES_PER_SECOND_MAX + 50).filter(|_| lines.may_say(now)).count() as u64;
        assert_eq!(said(1_790_000_000), LINES_PER_SECOND_MAX);
        assert_eq!(said(1_790_000_000), 0);
        assert_eq!(said(1_790_000_001), LINES_PER_SECOND_MAX);
    }
}
