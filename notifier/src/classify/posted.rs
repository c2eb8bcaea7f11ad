//! The answers of URLs that devices' owners chose: webhooks, UnifiedPush endpoints, LSPS5 hooks. No status of one device's URL is
//! the operator's fault, so none gives [`Verdict::Configuration`].

use std::time::Duration;

use crate::Verdict;

/// How soon a hook that refused one form of the timestamp is tried with the other.
pub(crate) const OTHER_FORM_PAUSE: Duration = Duration::from_secs(1);

/// The answer of a webhook, or of a UnifiedPush endpoint.
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

/// The answer of an LSPS5 hook (bLIP-55), and whether to go on with the other form of the timestamp. `refused_other`: it has refused
/// that one as well, since it last accepted anything.
pub(crate) fn lsps5(status: u16, retry_after: Option<Duration>, refused_other: bool) -> (Verdict, bool) {
    match status {
        // bLIP-55: only 200.
        201..=299 => (Verdict::BadPayload(format!("HTTP {status}").into()), false),
        400 | 401 | 403 | 422 if !refused_other => {
            let why = format!("HTTP {status}; the next attempt has the other form of the timestamp");
            (Verdict::RetryAfter(Some(OTHER_FORM_PAUSE), why.into()), true)
        }
        _ => (posted(status, retry_after), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Option<Duration> = Some(Duration::from_secs(7));

    /// What a webhook's answer means, and an LSPS5 hook's before and after it has refused both forms of the timestamp.
    #[test]
    fn every_status_has_its_meaning() {
        for (status, of_webhook, of_hook, of_hook_later) in [
            (200, "accepted", "accepted", "accepted"),
            (201, "accepted", "bad_payload", "bad_payload"),
            (202, "accepted", "bad_payload", "bad_payload"),
            (204, "accepted", "bad_payload", "bad_payload"),
            (299, "accepted", "bad_payload", "bad_payload"),
            (301, "bad_payload", "bad_payload", "bad_payload"),
            (307, "bad_payload", "bad_payload", "bad_payload"),
            (400, "bad_payload", "retry", "bad_payload"),
            (401, "bad_payload", "retry", "bad_payload"),
            (402, "bad_payload", "bad_payload", "bad_payload"),
            (403, "bad_payload", "retry", "bad_payload"),
            (404, "token_dead", "token_dead", "token_dead"),
            (405, "bad_payload", "bad_payload", "bad_payload"),
            (408, "retry", "retry", "retry"),
            (410, "token_dead", "token_dead", "token_dead"),
            (413, "bad_payload", "bad_payload", "bad_payload"),
            (422, "bad_payload", "retry", "bad_payload"),
            (425, "retry", "retry", "retry"),
            (429, "retry", "retry", "retry"),
            (500, "retry", "retry", "retry"),
            (503, "retry", "retry", "retry"),
            (599, "retry", "retry", "retry"),
            (600, "bad_payload", "bad_payload", "bad_payload"),
        ] {
            let hook = |refused_other| lsps5(status, ASKED, refused_other).0.as_str();
            let said = (posted(status, ASKED).as_str(), hook(false), hook(true));
            assert_eq!(said, (of_webhook, of_hook, of_hook_later), "{status}");
        }
    }

    #[test]
    fn nothing_that_a_strangers_url_answers_is_the_operators_mistake() {
        for status in 100..=999 {
            let hook = [false, true].map(|refused_other| lsps5(status, ASKED, refused_other).0);
            for verdict in hook.into_iter().chain([posted(status, ASKED)]) {
                assert!(!matches!(verdict, Verdict::Configuration(_)), "{status}: {verdict}");
            }
        }
    }

    #[test]
    fn a_pause_that_is_asked_for_is_kept() {
        for status in [408, 425, 429, 500, 503] {
            for pause in [ASKED, None] {
                let expected = Verdict::RetryAfter(pause, format!("HTTP {status}").into());
                assert_eq!(posted(status, pause), expected);
                assert_eq!(lsps5(status, pause, false), (expected, false));
            }
        }
    }

    #[test]
    fn the_other_form_of_the_timestamp_is_tried_once() {
        for status in [400, 401, 403, 422] {
            let (verdict, other_form) = lsps5(status, ASKED, false);
            assert!(matches!(verdict, Verdict::RetryAfter(Some(OTHER_FORM_PAUSE), _)), "{verdict}");
            assert!(other_form);
            assert!(!lsps5(status, ASKED, true).1);
        }
    }
}
