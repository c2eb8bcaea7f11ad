//! What every provider's answer means: the one place that says so.
//!
//! A reason that a provider writes is only compared with those that are known; what a verdict says is always our own
//! words.

mod apns;
mod fcm;

pub(crate) use apns::{ApnsAnswer, apns};
pub(crate) use fcm::{fcm, oauth};

use std::error::Error;
use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};

use crate::Verdict;
use crate::ssrf::resolver::NoUsableAddress;

/// A provider that asks for a longer pause than this gets this one: a wake that waits longer is as good as lost.
pub(crate) const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// The answer of a URL that the device's owner chose (a webhook, a UnifiedPush endpoint). No status of one device's URL is
/// the operator's fault, so none gives [`Verdict::Configuration`].
pub(crate) fn posted(status: u16, retry_after: Option<Duration>) -> Verdict {
    let why = format!("HTTP {status}").into();
    match status {
        200..=299 => Verdict::Accepted,
        404 | 410 => Verdict::TokenDead(why),
        408 | 425 | 429 | 500..=599 => Verdict::RetryAfter(retry_after, why),
        // Redirects too: following one would lead to a URL that nobody checked.
        _ => Verdict::BadPayload(why),
    }
}

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
