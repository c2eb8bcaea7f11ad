//! Amounts, times and ids for people's eyes. Scripts have `--json`.

use std::fmt::Display;
use std::time::Duration;

use protocol::units::Msat;

use crate::clock::{Clock, SystemClock};

/// How much of a long id is shown where it is not what the row is named by.
const SHORT_ID_CHARS: usize = 16;

/// `12,345.678 sat`: millisatoshi behind the point, and only if there are any.
pub(super) fn sat(amount: Msat) -> String {
    let (sat, rest) = (amount.0 / 1_000, amount.0 % 1_000);
    match rest {
        0 => format!("{} sat", grouped(sat)),
        rest => format!("{}.{rest:03} sat", grouped(sat)),
    }
}

/// `1,234,567`
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The beginning of a long id.
pub(super) fn short(id: impl Display) -> String {
    let id = id.to_string();
    match id.char_indices().nth(SHORT_ID_CHARS) {
        Some((end, _)) => format!("{}..", &id[..end]),
        None => id,
    }
}

/// `yes` or `no`.
pub(super) fn yes(condition: bool) -> &'static str {
    if condition { "yes" } else { "no" }
}

/// How a time in seconds since 1970 lies to now: `3 h 12 min ago`, `in 40 s`.
pub(super) fn when(unix: u64) -> String {
    relative(unix, SystemClock.now_unix())
}

fn relative(unix: u64, now: u64) -> String {
    match unix.checked_sub(now) {
        Some(0) => "now".to_owned(),
        Some(ahead) => format!("in {}", lasting(Duration::from_secs(ahead))),
        None => format!("{} ago", lasting(Duration::from_secs(now - unix))),
    }
}

fn lasting(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_grouped() {
        assert_eq!(sat(Msat(0)), "0 sat");
        assert_eq!(sat(Msat(1_234_567_000)), "1,234,567 sat");
        assert_eq!(sat(Msat(999_001)), "999.001 sat");
        assert_eq!(grouped(100_000), "100,000");
    }

    #[test]
    fn times_are_relative() {
        for (unix, text) in [
            (100_000, "now"),
            (100_040, "in 40 s"),
            (99_000, "16 min 40 s ago"),
            (88_480, "3 h 12 min ago"),
            (300_000, "in 2 d 7 h"),
        ] {
            assert_eq!(relative(unix, 100_000), text);
        }
    }

    #[test]
    fn ids_are_cut() {
        assert_eq!(short("0123456789abcdef0123"), "0123456789abcdef..");
        assert_eq!(short("short"), "short");
    }
}
