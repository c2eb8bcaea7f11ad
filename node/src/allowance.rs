//! Token buckets: so many at once, so many per second after that.

use std::time::Instant;

/// The bounds of one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// At once.
    pub(crate) burst: u32,
    /// Per second, in the long run.
    pub(crate) per_second: u32,
}

/// What is left of a [`Rate`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    tokens: f64,
    filled_at: Instant,
}

impl Allowance {
    pub(crate) fn full(rate: Rate, now: Instant) -> Self {
        Self { tokens: f64::from(rate.burst), filled_at: now }
    }

    fn refilled(&self, rate: Rate, now: Instant) -> f64 {
        let elapsed = now.saturating_duration_since(self.filled_at).as_secs_f64();
        (self.tokens + elapsed * f64::from(rate.per_second)).min(f64::from(rate.burst))
    }

    /// Nothing was taken lately: it need not be remembered.
    pub(crate) fn is_full(&self, rate: Rate, now: Instant) -> bool {
        self.refilled(rate, now) >= f64::from(rate.burst)
    }

    /// Takes one, if there is one.
    pub(crate) fn take(&mut self, rate: Rate, now: Instant) -> bool {
        self.tokens = self.refilled(rate, now);
        self.filled_at = now;
        let granted = self.tokens >= 1.0;
        if granted {
            self.tokens -= 1.0;
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let rate = Rate { burst: 200, per_second: 20 };
        let start = Instant::now();
        let mut allowance = Allowance::full(rate, start);
        for number in 1..=400 {
            assert_eq!(allowance.take(rate, start), number <= 200, "number {number}");
        }
        let later = start + Duration::from_secs(1);
        assert!(!allowance.is_full(rate, later));
        for number in 1..=40 {
            assert_eq!(allowance.take(rate, later), number <= 20, "number {number} a second later");
        }
        let much_later = start + Duration::from_secs(3_600);
        assert!(allowance.is_full(rate, much_later));
        assert_eq!(allowance.refilled(rate, much_later), 200.0, "no more than the burst is saved up");
    }
}
