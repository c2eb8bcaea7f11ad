//! What `fuzz/` runs: strangers' URLs and providers' answers. The tests replay its corpus.
#![allow(clippy::unwrap_used, reason = "a panic here is a finding")]

use std::time::Duration;

use crate::classify::{self, ApnsAnswer};
use crate::{ApnsEnvironment, Verdict};

pub use crate::ssrf::fuzz::webhook_url;

/// The status and the body of a provider's answer: a device is forgotten for few of them, and no verdict repeats what the
/// provider wrote.
pub fn provider_answer(data: &[u8]) {
    let [high, low, rest @ ..] = data else { return };
    let status = 100 + u16::from_be_bytes([*high, *low]) % 500;
    let retry_after = low.is_multiple_of(2).then_some(Duration::from_secs(7));
    let apns = ApnsAnswer {
        status,
        retry_after,
        body: rest,
        environment: ApnsEnvironment::Production,
        registered_at: 1_000,
        provider_token_is_fresh: high.is_multiple_of(2),
    };
    let verdicts = [
        classify::apns(&apns).0,
        classify::fcm(status, retry_after, rest),
        classify::oauth(status, retry_after, rest),
    ];
    for verdict in verdicts {
        assert!(
            !matches!(verdict, Verdict::TokenDead(_)) || (400..500).contains(&status),
            "{status}: {verdict}"
        );
        assert!(!verdict.to_string().contains(SECRET));
    }
}

/// Stands in the corpus where a provider could repeat a token.
const SECRET: &str = "hunter2hunter2";

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
#[test]
fn the_corpus_finds_nothing() {
    replay::corpus("provider_answer", provider_answer);
    replay::corpus("webhook_url", webhook_url);
}
