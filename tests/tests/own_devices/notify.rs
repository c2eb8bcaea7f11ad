//! breez/notify's interface, as other services call it on a real server.

use protocol::api::admin::NotificationView;
use protocol::api::{PROBLEM_CONTENT_TYPE, Problem};
use reqwest::{Response, StatusCode, header};
use serde_json::{Value, json};
use tests::failure::{Failure, TestResult};
use tests::wait::{SOON, Seen, wait_until};

use crate::pushed::Alone;

const SECRET: &str = "b1946ac92492d2347c6235b4d2611184";

fn failure(source: reqwest::Error) -> Failure {
    Failure::RpcTransport { method: "POST /api/v1/notify".to_owned(), source }
}

async fn refused(answer: Response, status: StatusCode, kind: &str) -> Result<Problem, Failure> {
    let content_type = answer.headers().get(header::CONTENT_TYPE).cloned();
    assert_eq!(answer.status(), status);
    assert_eq!(content_type.as_ref().map(|value| value.as_bytes()), Some(PROBLEM_CONTENT_TYPE.as_bytes()));
    let problem: Problem = answer.json().await.map_err(failure)?;
    assert_eq!((problem.kind.as_str(), problem.status), (kind, status.as_u16()));
    assert!(!problem.detail.is_empty() && !problem.detail.contains(SECRET), "{}", problem.detail);
    Ok(problem)
}

struct Caller<'a> {
    client: reqwest::Client,
    alone: &'a Alone,
}

impl Caller<'_> {
    async fn ask(&self, path: &str, secret: Option<&str>, body: &Value) -> Result<Response, Failure> {
        let request = self.client.post(format!("{}{path}", self.alone.lsp.api_url())).json(body);
        match secret {
            Some(secret) => request.bearer_auth(secret),
            None => request,
        }
        .send()
        .await
        .map_err(failure)
    }
}

/// Each template, with what a caller says and the phone finds.
fn templates() -> Vec<(Value, &'static str, Value)> {
    let reply = "https://lnurl.example.com/reply";
    let of = |template: &'static str, data: Value| {
        (json!({ "template": template, "data": &data }), template, data)
    };
    vec![
        of("payment_received", json!({ "payment_hash": "aa" })),
        of("tx_confirmed", json!({ "tx_id": "bb" })),
        of("address_txs_confirmed", json!({ "address": "bc1" })),
        of("lnurlpay_info", json!({ "callback_url": "https://lnurl.example.com", "reply_url": reply })),
        of("lnurlpay_invoice", json!({ "amount": 5_000, "reply_url": reply })),
        of("lnurlpay_verify", json!({ "payment_hash": "cc", "reply_url": reply })),
        of("swap_updated", json!({ "id": "s", "status": "ok" })),
        of("invoice_request", json!({ "offer": "lno", "invoice_request": "lnr", "reply_url": reply })),
        (
            json!({ "event": "swap.update", "data": { "id": "t", "status": "ok" } }),
            "swap_updated",
            json!({ "id": "t", "status": "ok" }),
        ),
        (
            json!({ "event": "invoice.request", "data": { "offer": "lnp", "invoiceRequest": "lns", "reply_url": reply } }),
            "invoice_request",
            json!({ "offer": "lnp", "invoice_request": "lns", "reply_url": reply }),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn another_service_rings_phones_of_both_systems_if_it_has_the_secret() -> TestResult {
    let mut alone = Alone::new(&[("notify.enabled", "true"), ("notify.secret", SECRET)]).await?;
    let client = tests::http::client(std::time::Duration::from_secs(20))?;
    let caller = Caller { client: client.clone(), alone: &alone };
    let (iphone, android, iphone_by_google) = ("0d".repeat(32), "a".repeat(140), "i".repeat(140));
    alone.providers.apns.add_device(&iphone);
    alone.providers.fcm.add_device(&android);
    alone.providers.fcm.add_device(&iphone_by_google);
    let path = |platform: &str, token: &str| format!("/api/v1/notify?platform={platform}&token={token}");
    let phones = [("ios", &iphone), ("android", &android), ("ios", &iphone_by_google)];
    let templates = templates();
    for (platform, token) in phones {
        for (body, ..) in &templates {
            let answer = caller.ask(&path(platform, token), Some(SECRET), body).await?;
            assert_eq!(answer.status(), StatusCode::OK, "{platform} {body}");
        }
    }
    let by_url = format!("/api/v1/notify/{SECRET}?platform=android&token={android}&app_data=mine");
    let body = json!({ "template": "payment_received", "data": { "payment_hash": "dd" } });
    assert_eq!(caller.ask(&by_url, None, &body).await?.status(), StatusCode::OK);

    let (apple, google) = (&alone.providers.apns, &alone.providers.fcm);
    let (of_apple, of_google) = (templates.len(), 2 * templates.len() + 1);
    wait_until("every notification to be pushed", SOON, async || {
        let taken = (apple.taken_count(), google.taken_count());
        Ok::<_, Failure>(if taken.0 >= of_apple && taken.1 >= of_google {
            Seen::Done(())
        } else {
            Seen::NotYet(format!("{taken:?}"))
        })
    })
    .await?;
    assert_eq!((apple.taken_count(), google.taken_count()), (of_apple, of_google), "each once");
    let (by_apple, by_google) = (apple.taken(), google.taken());
    let by_apple: Vec<_> = by_apple.iter().map(|taken| (taken.token.as_str(), taken.body())).collect();
    let by_google: Vec<_> = by_google
        .iter()
        .map(|taken| (taken.token.as_str(), taken.body()["message"]["data"].clone()))
        .collect();
    for (_, kind, data) in &templates {
        let is_it = |found: &Value| {
            let text = found["notification_payload"].as_str().unwrap_or_default();
            let payload = serde_json::from_str::<Value>(text).ok();
            found["notification_type"] == *kind && payload.as_ref() == Some(data)
        };
        let tokens = |pushes: &[(&str, Value)]| -> Vec<String> {
            let mut tokens: Vec<_> = pushes
                .iter()
                .filter(|(_, found)| is_it(found))
                .map(|(token, _)| (*token).to_owned())
                .collect();
            tokens.sort();
            tokens
        };
        assert_eq!(tokens(&by_apple), [iphone.as_str()], "{kind} {data}");
        assert_eq!(tokens(&by_google), [android.as_str(), iphone_by_google.as_str()], "{kind} {data}");
    }
    assert_eq!(by_google.iter().filter(|(_, found)| found["app_data"] == "mine").count(), 1);
    assert!(alone.providers.sandbox.taken().is_empty());
    let notifications: Vec<NotificationView> = alone.lsp.ask(&["notifications"]).await?;
    assert_eq!(notifications.len(), of_apple + of_google);
    for secret in [SECRET, android.as_str(), iphone.as_str()] {
        assert!(!alone.lsp.log().contains(secret), "{secret} is in the log");
    }

    for (secret, path) in [
        (None, path("android", &android)),
        (Some("wrong"), path("android", &android)),
        (None, format!("/api/v1/notify/wrong?platform=android&token={android}")),
    ] {
        refused(caller.ask(&path, secret, &body).await?, StatusCode::UNAUTHORIZED, "unauthorized").await?;
    }
    let secret = Some(SECRET);
    let mistakes = [
        (path("windows", &android), body.clone(), "unknown_platform"),
        (path("android", &"t".repeat(2_000)), body.clone(), "token_refused"),
        (path("android", "short"), body.clone(), "token_refused"),
        (path("ios", "short"), body.clone(), "token_refused"),
        (path("android", &android), json!({ "template": "rain" }), "unknown_notification"),
        (
            path("android", &android),
            json!({ "template": "tx_confirmed", "data": {} }),
            "unknown_notification",
        ),
        ("/api/v1/notify?platform=ios".to_owned(), body.clone(), "bad_request"),
    ];
    for (path, body, kind) in mistakes {
        refused(caller.ask(&path, secret, &body).await?, StatusCode::BAD_REQUEST, kind).await?;
    }
    assert_eq!(
        (apple.taken_count(), google.taken_count()),
        (of_apple, of_google),
        "nothing of that was pushed"
    );

    alone.lsp.stop().await?;
    alone.lsp.set("notify.enabled", "false");
    alone.lsp.start().await?;
    let caller = Caller { client, alone: &alone };
    for secret in [secret, None] {
        let answer = caller.ask(&path("android", &android), secret, &body).await?;
        refused(answer, StatusCode::NOT_FOUND, "notify_off").await?;
    }
    alone.logs.not_needed();
    Ok(())
}
