//! Apple's answers: "Handling notification responses from APNs".

use std::time::Duration;

use serde::Deserialize;

use crate::{ApnsEnvironment, Verdict};

/// One answer of APNs, and what it has to be compared with.
pub(crate) struct ApnsAnswer<'a> {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: &'a [u8],
    /// Where it was asked.
    pub(crate) environment: ApnsEnvironment,
    /// When the device was last registered, in seconds since 1970.
    pub(crate) registered_at: u64,
    /// Whether the provider token was made less than twenty minutes ago, when Apple takes no newer one.
    pub(crate) provider_token_is_fresh: bool,
}

#[derive(Default, Deserialize)]
struct Body {
    #[serde(default)]
    reason: String,
    /// Since when the token is not valid, in milliseconds since 1970.
    timestamp: Option<u64>,
}

/// What the answer means, and whether the provider token has to be made anew.
pub(crate) fn apns(answer: &ApnsAnswer<'_>) -> (Verdict, bool) {
    if answer.status == 200 {
        return (Verdict::Accepted, false);
    }
    let body: Body = serde_json::from_slice(answer.body).unwrap_or_default();
    if answer.status == 403 && body.reason == "ExpiredProviderToken" && !answer.provider_token_is_fresh {
        return (Verdict::RetryAfter(None, "the provider token expired, and is made anew".into()), true);
    }
    (verdict(answer, &body), false)
}

fn verdict(answer: &ApnsAnswer<'_>, body: &Body) -> Verdict {
    let later = |why: &'static str| Verdict::RetryAfter(answer.retry_after, why.into());
    let configuration = |why: &'static str| Verdict::Configuration(why.into());
    match (answer.status, body.reason.as_str()) {
        (410, _) if !dead_since_registered(answer, body) => {
            later("APNs gave the token up before the device registered it again")
        }
        (410, "ExpiredToken") => Verdict::TokenDead("ExpiredToken".into()),
        (410, _) => Verdict::TokenDead("Unregistered: the app is gone from the device".into()),
        (400, "BadDeviceToken") => Verdict::TokenDead(match answer.environment {
            ApnsEnvironment::Production => {
                "BadDeviceToken: no token of the production environment; a development build's is of sandbox"
                    .into()
            }
            ApnsEnvironment::Sandbox => {
                "BadDeviceToken: no token of the sandbox environment; a released app's is of production"
                    .into()
            }
        }),
        (400, "DeviceTokenNotForTopic") => {
            Verdict::TokenDead("DeviceTokenNotForTopic: the token belongs to another app".into())
        }

        (400, "BadTopic" | "MissingTopic" | "TopicDisallowed") => {
            configuration("APNs refuses the bundle id: is it an app of the key's team, with push turned on?")
        }
        (403, "ExpiredProviderToken") => {
            configuration("APNs says that a fresh provider token is old: is this machine's clock right?")
        }
        (403, "InvalidProviderToken") => configuration(
            "InvalidProviderToken: key_id, team_id and key_file do not belong together, the key was revoked, or this \
             machine's clock is wrong",
        ),
        (403, "BadEnvironmentKeyIdInToken") => {
            configuration("BadEnvironmentKeyIdInToken: the key is for the other environment only")
        }
        (403, "UnrelatedKeyIdInToken") => {
            configuration("UnrelatedKeyIdInToken: the key is not for this bundle id")
        }
        (403, _) => configuration("APNs refuses the provider token"),
        (401, _) => configuration("APNs wants another authentication"),
        (404 | 405, _) => configuration("what answers for APNs does not know the request: is the URL right?"),
        (429, "TooManyProviderTokenUpdates") => later("TooManyProviderTokenUpdates"),
        (429, _) => later("too many requests to one device"),
        (400, "IdleTimeout") => later("IdleTimeout"),
        (503, "Shutdown") => later("APNs is shutting down"),
        (500..=599, _) => later("APNs is in trouble"),

        (413, _) => Verdict::BadPayload("PayloadTooLarge".into()),
        (status, _) => Verdict::BadPayload(format!("HTTP {status}").into()),
    }
}

/// A device that has registered again since has a token that works, whatever the answer says about an earlier time.
/// Within the second of the registration it is not known which came first, and the device stays.
fn dead_since_registered(answer: &ApnsAnswer<'_>, body: &Body) -> bool {
    body.timestamp.is_none_or(|timestamp| timestamp / 1000 > answer.registered_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> ApnsAnswer<'_> {
        ApnsAnswer {
            status,
            retry_after: Some(Duration::from_secs(7)),
            body: body.as_bytes(),
            environment: ApnsEnvironment::Production,
            registered_at: 1_000,
            provider_token_is_fresh: true,
        }
    }

    fn code(status: u16, reason: &str) -> &'static str {
        apns(&answer(status, &format!(r#"{{"reason":"{reason}"}}"#))).0.as_str()
    }

    /// Every reason of Apple's page.
    #[test]
    fn every_reason_has_its_meaning() {
        for (status, reason, expected) in [
            (200, "", "accepted"),
            (400, "BadCollapseId", "bad_payload"),
            (400, "BadDeviceToken", "token_dead"),
            (400, "BadExpirationDate", "bad_payload"),
            (400, "BadMessageId", "bad_payload"),
            (400, "BadPriority", "bad_payload"),
            (400, "BadTopic", "configuration"),
            (400, "DeviceTokenNotForTopic", "token_dead"),
            (400, "DuplicateHeaders", "bad_payload"),
            (400, "IdleTimeout", "retry"),
            (400, "InvalidPushType", "bad_payload"),
            (400, "MissingDeviceToken", "bad_payload"),
            (400, "MissingTopic", "configuration"),
            (400, "PayloadEmpty", "bad_payload"),
            (400, "TopicDisallowed", "configuration"),
            (403, "BadCertificate", "configuration"),
            (403, "BadCertificateEnvironment", "configuration"),
            (403, "BadEnvironmentKeyIdInToken", "configuration"),
            (403, "ExpiredProviderToken", "configuration"),
            (403, "Forbidden", "configuration"),
            (403, "InvalidProviderToken", "configuration"),
            (403, "MissingProviderToken", "configuration"),
            (403, "UnrelatedKeyIdInToken", "configuration"),
            (404, "BadPath", "configuration"),
            (405, "MethodNotAllowed", "configuration"),
            (410, "ExpiredToken", "token_dead"),
            (410, "Unregistered", "token_dead"),
            (413, "PayloadTooLarge", "bad_payload"),
            (429, "TooManyProviderTokenUpdates", "retry"),
            (429, "TooManyRequests", "retry"),
            (500, "InternalServerError", "retry"),
            (502, "", "retry"),
            (503, "ServiceUnavailable", "retry"),
            (503, "Shutdown", "retry"),
            // What is not on that page.
            (307, "", "bad_payload"),
            (400, "SomethingNew", "bad_payload"),
            (401, "", "configuration"),
            (403, "SomethingNew", "configuration"),
        ] {
            assert_eq!(code(status, reason), expected, "{status} {reason}");
        }
    }

    #[test]
    fn an_answer_without_a_readable_body_is_read_by_its_status() {
        for body in ["", "{", "<html>", r#"{"reason":7}"#, "\u{0}"] {
            assert_eq!(apns(&answer(200, body)).0, Verdict::Accepted, "{body}");
            assert_eq!(apns(&answer(410, body)).0.as_str(), "token_dead", "{body}");
            assert_eq!(apns(&answer(503, body)).0.as_str(), "retry", "{body}");
        }
    }

    #[test]
    fn a_pause_that_apple_asks_for_comes_first() {
        for (status, reason) in [(429, "TooManyRequests"), (500, ""), (503, "Shutdown")] {
            let (verdict, _) = apns(&answer(status, &format!(r#"{{"reason":"{reason}"}}"#)));
            assert!(
                matches!(verdict, Verdict::RetryAfter(Some(pause), _) if pause.as_secs() == 7),
                "{verdict}"
            );
        }
        let unasked = ApnsAnswer { retry_after: None, ..answer(503, "") };
        assert!(matches!(apns(&unasked).0, Verdict::RetryAfter(None, _)));
    }

    #[test]
    fn a_token_that_was_registered_again_since_stays() {
        for (timestamp, expected) in
            [(999_999, "retry"), (1_000_000, "retry"), (1_000_999, "retry"), (1_001_000, "token_dead")]
        {
            for reason in ["Unregistered", "ExpiredToken"] {
                let body = format!(r#"{{"reason":"{reason}","timestamp":{timestamp}}}"#);
                assert_eq!(apns(&answer(410, &body)).0.as_str(), expected, "{body}");
            }
        }
    }

    #[test]
    fn a_token_of_the_other_environment_is_said_to_be_one() {
        for (environment, word) in
            [(ApnsEnvironment::Production, "sandbox"), (ApnsEnvironment::Sandbox, "production")]
        {
            let answer = ApnsAnswer { environment, ..answer(400, r#"{"reason":"BadDeviceToken"}"#) };
            let (verdict, _) = apns(&answer);
            assert!(verdict.why().unwrap().ends_with(word), "{verdict}");
        }
    }

    #[test]
    fn an_old_provider_token_is_made_anew_and_a_fresh_one_is_a_wrong_clock() {
        let body = r#"{"reason":"ExpiredProviderToken"}"#;
        let old = ApnsAnswer { provider_token_is_fresh: false, ..answer(403, body) };
        let (verdict, renew) = apns(&old);
        assert!(renew && matches!(verdict, Verdict::RetryAfter(None, _)), "{verdict}");
        let (verdict, renew) = apns(&answer(403, body));
        assert!(!renew && verdict.why().unwrap().contains("clock"), "{verdict}");
        let other = ApnsAnswer { body: br#"{"reason":"InvalidProviderToken"}"#, ..old };
        assert!(!apns(&other).1);
    }

    #[test]
    fn no_verdict_repeats_what_was_answered() {
        for status in 200..600 {
            let (verdict, _) = apns(&answer(status, r#"{"reason":"secret-of-the-other-side"}"#));
            assert!(!verdict.to_string().contains("secret"), "{verdict}");
        }
    }
}
