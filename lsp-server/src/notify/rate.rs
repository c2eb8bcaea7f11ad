//! How many requests are taken in a minute.

use std::sync::{Mutex, PoisonError};

const MINUTE_SECONDS: u64 = 60;

/// A count that begins anew each minute.
pub(super) struct Rate {
    per_minute_max: u32,
    minute: Mutex<(u64, u32)>,
}

impl Rate {
    pub(super) fn new(per_minute_max: u32) -> Self {
        Self { per_minute_max, minute: Mutex::new((0, 0)) }
    }

    /// Whether one more is taken.
    pub(super) fn take(&self, now_unix: u64) -> bool {
        // Both numbers are whole after every line.
        let mut minute = self.minute.lock().unwrap_or_else(PoisonError::into_inner);
        let now = now_unix / MINUTE_SECONDS;
        if minute.0 != now {
            *minute = (now, 0);
        }
        if minute.1 >= self.per_minute_max {
            return false;
        }
        minute.1 += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_minute_has_its_own() {
        let rate = Rate::new(2);
        assert_eq!([rate.take(60), rate.take(100), rate.take(119)], [true, true, false]);
        assert!(rate.take(120));
    }
}
