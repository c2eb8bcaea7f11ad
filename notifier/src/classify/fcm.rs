//! Google's answers: FCM's `ErrorCode` reference, and RFC 6749 for the token endpoint.

use std::time::Duration;

use serde::Deserialize;

use crate::Verdict;

/// The pause after `QUOTA_EXCEEDED`, when Google names none.
const QUOTA_PAUSE: Duration = Duration::from_secs(60);

#[derive(Default, Deserialize)]
struct Body {
    #[serde(default)]
    error: ErrorBody,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorBody {
    status: String,
    details: Vec<Detail>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Detail {
    error_code: String,
}

/// What FCM's answer means: by `error.details[].errorCode`, else by `error.status`, else by the HTTP status. What is no answer of 4xx, of a proxy
/// for instance, forgets no device, whatever its body says.
pub(crate) fn fcm(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Verdict {
    if status == 200 {
        return Verdict::Accepted;
    }
    let error = serde_json::from_slice::<Body>(body).unwrap_or_default().error;
    let known = |code: &str| of_code(code, retry_after);
    let verdict = error
        .details
        .iter()
        .find_map(|detail| known(&detail.error_code))
        .or_else(|| of_status(&error.status, retry_after))
        .unwrap_or_else(|| of_http(status, retry_after));
    match verdict {
        Verdict::TokenDead(_) if !(400..500).contains(&status) => of_http(status, retry_after),
        verdict => verdict,
    }
}

/// FCM's own codes.
fn of_code(code: &str, retry_after: Option<Duration>) -> Option<Verdict> {
    Some(match code {
        "UNREGISTERED" => Verdict::TokenDead("UNREGISTERED: the app is gone from the device".into()),
        "SENDER_ID_MISMATCH" => {
            Verdict::TokenDead("SENDER_ID_MISMATCH: the token belongs to another Firebase project".into())
        }
        "INVALID_ARGUMENT" => Verdict::BadPayload("INVALID_ARGUMENT".into()),
        "QUOTA_EXCEEDED" => quota(retry_after),
        "UNAVAILABLE" => Verdict::RetryAfter(retry_after, "UNAVAILABLE".into()),
        "INTERNAL" => Verdict::RetryAfter(retry_after, "INTERNAL".into()),
        "THIRD_PARTY_AUTH_ERROR" => Verdict::Configuration(
            "THIRD_PARTY_AUTH_ERROR: the Firebase project has no valid APNs key or web push certificate"
                .into(),
        ),
        _ => return None,
    })
}

/// The codes of all of Google's services (`google.rpc.Code`).
fn of_status(status: &str, retry_after: Option<Duration>) -> Option<Verdict> {
    Some(match status {
        "INVALID_ARGUMENT" | "FAILED_PRECONDITION" | "OUT_OF_RANGE" => {
            Verdict::BadPayload("INVALID_ARGUMENT".into())
        }
        "UNAUTHENTICATED" => unauthenticated(),
        "PERMISSION_DENIED" => permission_denied(),
        "NOT_FOUND" => not_found(),
        "RESOURCE_EXHAUSTED" => quota(retry_after),
        "UNAVAILABLE" => Verdict::RetryAfter(retry_after, "UNAVAILABLE".into()),
        "INTERNAL" | "UNKNOWN" | "ABORTED" | "CANCELLED" | "DEADLINE_EXCEEDED" => {
            Verdict::RetryAfter(retry_after, "INTERNAL".into())
        }
        _ => return None,
    })
}

fn of_http(status: u16, retry_after: Option<Duration>) -> Verdict {
    match status {
        401 => unauthenticated(),
        403 => permission_denied(),
        404 | 405 => not_found(),
        429 => quota(retry_after),
        408 | 500..=599 => Verdict::RetryAfter(retry_after, format!("HTTP {status}").into()),
        _ => Verdict::BadPayload(format!("HTTP {status}").into()),
    }
}

fn quota(retry_after: Option<Duration>) -> Verdict {
    Verdict::RetryAfter(Some(retry_after.unwrap_or(QUOTA_PAUSE)), "QUOTA_EXCEEDED".into())
}

fn unauthenticated() -> Verdict {
    Verdict::Configuration("FCM refuses the access token of the service account".into())
}

fn permission_denied() -> Verdict {
    Verdict::Configuration(
        "the service account may not send: give it the role Firebase Cloud Messaging API Admin, and turn that API on"
            .into(),
    )
}

fn not_found() -> Verdict {
    Verdict::Configuration("FCM does not know the project of the service account".into())
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OauthBody {
    error: String,
}

/// What it means that the token endpoint answered this instead of an access token.
pub(crate) fn oauth(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Verdict {
    let error = serde_json::from_slice::<OauthBody>(body).unwrap_or_default().error;
    match (status, error.as_str()) {
        (_, "invalid_grant") => Verdict::Configuration(
            "invalid_grant: the service account's key was deleted or has expired, or this machine's clock is wrong; make a \
             new key in the Google Cloud console"
                .into(),
        ),
        (_, "invalid_client" | "unauthorized_client" | "access_denied") => Verdict::Configuration(
            "the service account is disabled or deleted".into(),
        ),
        (408 | 429 | 500..=599, _) => {
            Verdict::RetryAfter(retry_after, format!("no access token: HTTP {status}").into())
        }
        (200, _) => Verdict::RetryAfter(None, "no access token: the answer cannot be read".into()),
        (status, _) => Verdict::Configuration(format!("no access token: HTTP {status}").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Option<Duration> = Some(Duration::from_secs(7));

    fn body(status: &str, code: &str) -> Vec<u8> {
        let details = match code {
            "" => String::new(),
            code => format!(
                r#"{{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[]}},
                   {{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"{code}"}}"#
            ),
        };
        format!(r#"{{"error":{{"code":1,"message":"secret","status":"{status}","details":[{details}]}}}}"#)
            .into_bytes()
    }

    /// FCM's error codes with the statuses that Google documents for them.
    #[test]
    fn every_code_has_its_meaning() {
        for (http, status, code, expected) in [
            (400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "bad_payload"),
            (400, "INVALID_ARGUMENT", "", "bad_payload"),
            (400, "FAILED_PRECONDITION", "", "bad_payload"),
            (400, "OUT_OF_RANGE", "", "bad_payload"),
            (401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR", "configuration"),
            (401, "UNAUTHENTICATED", "", "configuration"),
            (403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH", "token_dead"),
            (403, "PERMISSION_DENIED", "", "configuration"),
            (404, "NOT_FOUND", "UNREGISTERED", "token_dead"),
            (404, "NOT_FOUND", "", "configuration"),
            (429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", "retry"),
            (429, "RESOURCE_EXHAUSTED", "", "retry"),
            (500, "INTERNAL", "INTERNAL", "retry"),
            (500, "INTERNAL", "", "retry"),
            (500, "UNKNOWN", "", "retry"),
            (503, "UNAVAILABLE", "UNAVAILABLE", "retry"),
            (503, "UNAVAILABLE", "", "retry"),
            (504, "DEADLINE_EXCEEDED", "", "retry"),
            // The code counts, not the status beside it.
            (400, "INVALID_ARGUMENT", "UNREGISTERED", "token_dead"),
            (404, "NOT_FOUND", "UNSPECIFIED_ERROR", "configuration"),
            // No answer of FCM's.
            (302, "NOT_FOUND", "UNREGISTERED", "bad_payload"),
            (502, "PERMISSION_DENIED", "SENDER_ID_MISMATCH", "retry"),
        ] {
            let verdict = fcm(http, ASKED, &body(status, code));
            assert_eq!(verdict.as_str(), expected, "{http} {status} {code}");
            assert!(!verdict.to_string().contains("secret"), "{verdict}");
        }
    }

    #[test]
    fn an_answer_without_a_readable_body_is_read_by_its_status() {
        for (http, expected) in [
            (200, "accepted"),
            (302, "bad_payload"),
            (400, "bad_payload"),
            (401, "configuration"),
            (403, "configuration"),
            (404, "configuration"),
            (408, "retry"),
            (413, "bad_payload"),
            (429, "retry"),
            (500, "retry"),
            (502, "retry"),
            (503, "retry"),
        ] {
            for body in ["", "{", "[]", "<html>", r#"{"error":"gone"}"#, r#"{"error":{"details":7}}"#] {
                assert_eq!(fcm(http, None, body.as_bytes()).as_str(), expected, "{http} {body}");
            }
        }
    }

    #[test]
    fn a_quota_has_a_pause_even_if_google_names_none() {
        for body in [body("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"), body("RESOURCE_EXHAUSTED", ""), Vec::new()]
        {
            for (asked, expected) in [(ASKED, ASKED), (None, Some(QUOTA_PAUSE))] {
                assert_eq!(fcm(429, asked, &body), Verdict::RetryAfter(expected, "QUOTA_EXCEEDED".into()));
            }
        }
        let unavailable = fcm(503, None, &body("UNAVAILABLE", "UNAVAILABLE"));
        assert_eq!(unavailable, Verdict::RetryAfter(None, "UNAVAILABLE".into()));
        let unavailable = fcm(503, ASKED, &body("UNAVAILABLE", "UNAVAILABLE"));
        assert_eq!(unavailable, Verdict::RetryAfter(ASKED, "UNAVAILABLE".into()));
    }

    #[test]
    fn a_refused_service_account_is_the_operators_and_an_outage_is_not() {
        for (http, body, expected) in [
            (400, r#"{"error":"invalid_grant","error_description":"secret"}"#, "configuration"),
            (401, r#"{"error":"invalid_client"}"#, "configuration"),
            (400, r#"{"error":"unsupported_grant_type"}"#, "configuration"),
            (404, "", "configuration"),
            (429, "", "retry"),
            (500, r#"{"error":"internal_failure"}"#, "retry"),
            (503, "", "retry"),
            (200, "<html>", "retry"),
        ] {
            let verdict = oauth(http, None, body.as_bytes());
            assert_eq!(verdict.as_str(), expected, "{http} {body}");
            assert!(!verdict.to_string().contains("secret"), "{verdict}");
        }
    }
}
