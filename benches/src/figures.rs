//! Numbers that several benchmarks show.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Of single values among the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Quantiles {
    pub(crate) median: f64,
    pub(crate) p99: f64,
}

/// In milliseconds.
pub(crate) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Each is a value that was measured.
pub(crate) fn quantiles(mut values: Vec<f64>) -> Quantiles {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let index = (values.len() as f64 * share).ceil() as usize;
        values.get(index.saturating_sub(1)).copied().unwrap_or_default()
    };
    Quantiles { median: at(0.5), p99: at(0.99) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let hundred = quantiles((1..=100).rev().map(f64::from).collect());
        assert_eq!((hundred.median, hundred.p99), (50.0, 99.0));
        let one = quantiles(vec![7.0]);
        assert_eq!((one.median, one.p99), (7.0, 7.0));
        assert_eq!(quantiles(vec![]).median, 0.0);
    }
}
