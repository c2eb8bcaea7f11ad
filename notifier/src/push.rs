//! The content of a push.

use std::fmt;
use std::str::FromStr;

use hex::{DisplayHex, FromHex};

use crate::Notification;

/// The longest reason, in bytes. What a push says must fit a body of constant size.
const REASON_BYTES_MAX: usize = 32;

/// One push: all that a provider, and whoever reads a phone's lock screen, may learn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    reason: String,
    wake_id: WakeId,
    collapse_id: WakeId,
    expires_at: u64,
    notification: Option<Notification>,
}

/// The reason of a push that carries a [`Notification`].
const NOTIFICATION_REASON: &str = "notification";

impl Push {
    /// A push that wakes the phone for `reason`, a code such as `payment_incoming`, and is of no use after `expires_at`
    /// (seconds since the Unix epoch).
    ///
    /// # Errors
    /// The reason is not 1 to 32 bytes of `a-z` and `_`. Reasons are the program's own words, so this is the caller's
    /// mistake; it is checked because a free text here could carry what a push must not carry.
    pub fn new(reason: impl Into<String>, wake_id: WakeId, expires_at: u64) -> Result<Self, ReasonError> {
        let reason = reason.into();
        let is_code = reason.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        if reason.is_empty() || reason.len() > REASON_BYTES_MAX || !is_code {
            return Err(ReasonError);
        }
        Ok(Self { reason, wake_id, collapse_id: wake_id, expires_at, notification: None })
    }

    /// A push that carries a notification of somebody else's, and is of no use after `expires_at` (seconds since the Unix
    /// epoch). Only APNs and FCM deliver it as such.
    pub fn of_notification(notification: Notification, id: WakeId, expires_at: u64) -> Self {
        let reason = NOTIFICATION_REASON.to_owned();
        Self { reason, wake_id: id, collapse_id: id, expires_at, notification: Some(notification) }
    }

    /// The notification that it carries.
    pub fn notification(&self) -> Option<&Notification> {
        self.notification.as_ref()
    }

    /// The same push, taking the place of every undelivered one with this id at the provider: those of one payment. As
    /// random as a [`WakeId`], since the provider sees it; without it a push collapses with those of its own wake.
    #[must_use]
    pub fn collapsing_as(self, collapse_id: WakeId) -> Self {
        Self { collapse_id, ..self }
    }

    /// Which undelivered pushes this one takes the place of.
    pub fn collapse_id(&self) -> WakeId {
        self.collapse_id
    }

    /// Why the phone is woken.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Which wake this is.
    pub fn wake_id(&self) -> WakeId {
        self.wake_id
    }

    /// How many seconds are left before the push stops being of use.
    pub(crate) fn seconds_left(&self, now_unix: u64) -> u64 {
        self.expires_at.saturating_sub(now_unix)
    }

    /// When the push stops being of use, in seconds since the Unix epoch.
    pub fn expires_at(&self) -> u64 {
        self.expires_at
    }
}

/// The reason is not a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a push reason is 1 to {REASON_BYTES_MAX} bytes of a-z and _")]
pub struct ReasonError;

/// Names a wake towards the phone: random, and so linked to no payment. The same id in two pushes means the same wake.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WakeId(pub [u8; 16]);

impl fmt::Display for WakeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.as_hex())
    }
}

impl fmt::Debug for WakeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WakeId({self})")
    }
}

impl FromStr for WakeId {
    type Err = hex::HexToArrayError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        <[u8; 16]>::from_hex(text).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_a_code_and_nothing_else() {
        for reason in
            ["onion_message", "payment_incoming", "payment_settled", "payment_failed", "expiry_soon"]
        {
            assert!(Push::new(reason, WakeId([0; 16]), 0).is_ok(), "{reason}");
        }
        for reason in ["", "Payment", "payment of 5 sat", "a\"b", "é", &"a".repeat(33)] {
            assert_eq!(Push::new(reason, WakeId([0; 16]), 0), Err(ReasonError), "{reason}");
        }
    }

    #[test]
    fn a_wake_id_reads_back_from_its_text() {
        let id = WakeId([0xa5; 16]);
        assert_eq!(id.to_string(), "a5".repeat(16));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("a5".parse::<WakeId>().is_err());
    }
}
