//! Why a phone is woken, and when it is tried again.

use crate::codes::coded_enum;

coded_enum! {
    /// Why a phone is woken. With an opaque id and an expiry it is all that a push carries.
    pub enum WakeReason ("wake reason") {
        /// A message waits in the mailbox.
        OnionMessage = "onion_message",
        /// An HTLC waits to be forwarded to the phone.
        PaymentIncoming = "payment_incoming",
        /// The payee was paid: the phone must take the claimed HTLC off its channel.
        PaymentSettled = "payment_settled",
        /// The payment failed: the phone must take the failed HTLC off its channel.
        PaymentFailed = "payment_failed",
        /// An HTLC on the phone's channel is so near its expiry that the channel is at risk; or one that is held fails back in a
        /// block or two.
        ExpirySoon = "expiry_soon",
    }
}

/// The seconds between the first attempts.
const FIRST_DELAYS_SECONDS: [u64; 6] = [0, 5, 15, 30, 60, 120];
/// How many attempts come by the clock alone. Each new block makes due what has had them.
pub const ATTEMPTS_BY_THE_CLOCK: u32 = FIRST_DELAYS_SECONDS.len() as u32;
/// The seconds until an attempt after that for which no block comes: two blocks' time. A chain that stands still silences nobody.
const BLOCKLESS_DELAY_SECONDS: u64 = 1_200;
/// However near the end is, attempts by the clock are this far apart, in seconds.
const DELAY_SECONDS_MIN: u64 = 60;

/// When attempt number `attempt` (the first is 0) is due, in seconds since 1970, if the one before it was made, or the
/// wake asked for, at `now_unix`, and no block comes before. `None` if that would not be before `expires_at`.
///
/// After a few quick ones, attempts come with blocks (see [`hurried_by_block`]), and without one after twenty minutes; in the
/// last hours before `expires_at` a sixteenth of the time that is left, so that they get denser the more is at stake.
pub fn next_attempt(attempt: u32, now_unix: u64, expires_at: u64) -> Option<u64> {
    let left = expires_at.checked_sub(now_unix)?;
    let first = usize::try_from(attempt).ok().and_then(|attempt| FIRST_DELAYS_SECONDS.get(attempt));
    let delay = match first {
        Some(delay) => *delay,
        None => (left / 16).clamp(DELAY_SECONDS_MIN, BLOCKLESS_DELAY_SECONDS),
    };
    (delay < left).then(|| now_unix + delay)
}

/// A block came at `now_unix`: of the wakes that have had [`ATTEMPTS_BY_THE_CLOCK`], those are due that would be by this time,
/// in seconds since 1970. What is due later was tried within the last minute, or waits for something other than its schedule.
pub fn hurried_by_block(now_unix: u64) -> u64 {
    now_unix + BLOCKLESS_DELAY_SECONDS - DELAY_SECONDS_MIN
}

/// Blocks that come within so many seconds of one another hurry wakes once.
pub const BLOCK_HURRY_SECONDS: u64 = DELAY_SECONDS_MIN;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_attempts_come_quickly_and_later_ones_without_a_block_every_twenty_minutes() {
        let mut now = 1_000;
        let mut gaps = Vec::new();
        for attempt in 0..9 {
            let due = next_attempt(attempt, now, 1_000_000).unwrap();
            gaps.push(due - now);
            now = due;
        }
        assert_eq!(gaps, [0, 5, 15, 30, 60, 120, 1_200, 1_200, 1_200]);
    }

    #[test]
    fn a_block_hurries_what_was_tried_a_minute_ago_or_earlier() {
        let tried_at = 10_000;
        let due = next_attempt(ATTEMPTS_BY_THE_CLOCK, tried_at, 1_000_000).unwrap();
        assert!(due > hurried_by_block(tried_at + 59));
        assert!(due <= hurried_by_block(tried_at + 60));
    }

    #[test]
    fn attempts_get_denser_near_the_end_and_stop_before_it() {
        let expires_at = 20_000;
        let mut now = 0;
        let mut last_gap = u64::MAX;
        let mut attempt = 6;
        while let Some(due) = next_attempt(attempt, now, expires_at) {
            assert!(due < expires_at);
            assert!(
                due - now <= last_gap,
                "attempt {attempt} came later after the one before than that one did"
            );
            (last_gap, now) = (due - now, due);
            attempt += 1;
        }
        assert_eq!(last_gap, DELAY_SECONDS_MIN);
        assert!(expires_at - now <= DELAY_SECONDS_MIN, "the last attempt is as late as can be");
    }

    #[test]
    fn an_expired_wake_has_no_attempt() {
        assert_eq!(next_attempt(0, 10, 10), None);
        assert_eq!(next_attempt(0, 11, 10), None);
        assert_eq!(next_attempt(3, u64::MAX - 1, u64::MAX), None);
    }

    #[test]
    fn codes_are_stable() {
        let codes: Vec<_> = WakeReason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(
            codes,
            ["onion_message", "payment_incoming", "payment_settled", "payment_failed", "expiry_soon"]
        );
        for reason in WakeReason::ALL {
            assert_eq!(reason.as_str().parse::<WakeReason>().unwrap(), *reason);
        }
        assert!("rain".parse::<WakeReason>().is_err());
    }
}
