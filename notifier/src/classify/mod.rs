//! What every provider's answer means: the one place that says so.
//!
//! A reason that a provider writes is only compared with those that are known; what a verdict says is always our own
//! words.

mod apns;
mod fcm;
mod posted;

pub(crate) use apns::{ApnsAnswer, apns};
pub(crate) use fcm::{fcm, oauth};
#[cfg(test)]
pub(crate) use posted::OTHER_FORM_PAUSE;
pub(crate) use posted::{lsps5, posted};

use std::error::Error;
use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};

use crate::Verdict;
use crate::ssrf::resolver::NoUsableAddress;

/// A provider that asks for a longer pause than this gets this one: a wake that waits longer is as good as lost.
pub(crate) const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// `Retry-After` in its form of seconds. The form of a date is left to the caller's schedule: it is rare, and would need a
/// clock that agrees with the host's.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

/// No answer came. The error itself is not passed on: it may quote the URL.
pub(crate) fn transport(error: &reqwest::Error) -> Verdict {
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(inner) = cause {
        if inner.is::<NoUsableAddress>() {
            // Not the device's end: a resolver that is itself in trouble gives such answers too.
            return Verdict::RetryAfter(None, "the host name resolves to no public address".into());
        }
        cause = inner.source();
    }
    let why = if error.is_timeout() {
        "timed out"
    } else if error.is_connect() {
        "cannot connect"
    } else {
        "the connection broke"
    };
    Verdict::RetryAfter(None, why.into())
}
