//! What a provider's answer means for the device and for the next attempt.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// A short explanation for logs and for the attempt's row. It never contains the token or anything the provider wrote.
pub type Why = Cow<'static, str>;

/// The meaning of one attempt, the same for every provider.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// The provider took the push. Whether the phone wakes is another matter: only its coming proves that.
    Accepted,
    /// Try the same push again: not before the duration where the provider named one, else by the caller's schedule.
    RetryAfter(Option<Duration>, Why),
    /// The device is gone: forget the target. Only the provider's own word leads here.
    TokenDead(Why),
    /// The operator's settings are wrong. Every push of this gateway will fail until someone mends them.
    Configuration(Why),
    /// This device will not take this push however often it is sent. The target stays: the next push may do better.
    BadPayload(Why),
}

impl Verdict {
    /// The stable code that is stored and labels metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::RetryAfter(..) => "retry",
            Self::TokenDead(_) => "token_dead",
            Self::Configuration(_) => "configuration",
            Self::BadPayload(_) => "bad_payload",
        }
    }

    /// The explanation; `None` when there is nothing to explain.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Accepted => None,
            Self::RetryAfter(_, why)
            | Self::TokenDead(why)
            | Self::Configuration(why)
            | Self::BadPayload(why) => Some(why),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())?;
        self.why().map_or(Ok(()), |why| write!(f, ": {why}"))
    }
}
