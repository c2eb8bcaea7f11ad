//! breez/notify's interface, as callers see it.

use super::*;

const PATH: &str = "/api/v1/notify?platform=android&token=x";

fn body() -> serde_json::Value {
    json!({ "template": "payment_received", "data": { "payment_hash": "aa" } })
}

/// No push service is there: whoever has the secret hears that, and nobody else hears anything.
#[tokio::test]
async fn each_mistake_is_told_apart_and_strangers_learn_nothing() {
    let api = Api::start().await;
    let ask = async |path: &str, secret: Option<&str>, body: &serde_json::Value| {
        let request = api.client.post(format!("{}{path}", api.base)).json(body);
        match secret {
            Some(secret) => request.header(header::AUTHORIZATION, format!("Bearer {secret}")),
            None => request,
        }
        .send()
        .await
        .unwrap()
    };
    let by_url = format!("/api/v1/notify/{NOTIFY_SECRET}?platform=android&token=x");
    for (path, secret) in [
        (PATH, None),
        (PATH, Some("x")),
        ("/api/v1/notify/x?platform=android&token=x", None),
        // The header does not help a wrong path.
        ("/api/v1/notify/x?platform=android&token=x", Some(NOTIFY_SECRET)),
    ] {
        let answer = ask(path, secret, &body()).await;
        assert_eq!(answer.headers()[header::WWW_AUTHENTICATE], "Bearer");
        let problem = refused(answer, StatusCode::UNAUTHORIZED, "unauthorized").await;
        assert!(!problem.detail.contains(NOTIFY_SECRET), "{}", problem.detail);
    }
    for (path, secret) in [(PATH, Some(NOTIFY_SECRET)), (by_url.as_str(), None)] {
        let problem =
            refused(ask(path, secret, &body()).await, StatusCode::BAD_REQUEST, "token_refused").await;
        assert!(problem.detail.contains("no credentials for fcm"), "{}", problem.detail);
    }
    let secret = Some(NOTIFY_SECRET);
    let answer = ask("/api/v1/notify?platform=windows&token=x", secret, &body()).await;
    refused(answer, StatusCode::BAD_REQUEST, "unknown_platform").await;
    let answer = ask("/api/v1/notify?platform=ios", secret, &body()).await;
    refused(answer, StatusCode::BAD_REQUEST, "bad_request").await;
    let answer = ask(PATH, secret, &json!([1])).await;
    refused(answer, StatusCode::UNPROCESSABLE_ENTITY, "bad_request").await;
}
