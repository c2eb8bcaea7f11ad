//! What is sent, and what each answer means.

use axum::http::StatusCode;
use axum::response::IntoResponse;

use super::server::Server;
use super::*;
use crate::Why;

#[tokio::test]
async fn a_push_is_one_post_of_constant_size() {
    let server = Server::start(|_| StatusCode::OK.into_response()).await;
    let gateway = gateway(&development());

    assert_eq!(gateway.push(&target(server.url()), &push()).await, Verdict::Accepted);
    let short = Push::new("x", WakeId([0; 16]), 1).unwrap();
    assert_eq!(gateway.push(&target(server.url()), &short).await, Verdict::Accepted);

    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    for request in &requests {
        assert_eq!(request.uri.path(), "/wake/secret");
        assert_eq!(request.body.len(), BODY_BYTES);
        assert_eq!(request.headers["content-type"], "application/json");
        assert!(!request.headers.contains_key("referer"));
        assert!(!request.headers.contains_key("authorization"));
    }
    let read: serde_json::Value = serde_json::from_slice(&requests[0].body).unwrap();
    assert_eq!(read["reason"], "payment_incoming");
    assert_eq!(read["id"], "07".repeat(16));
    assert_eq!(read["expires_at"], 1_790_000_000);
}

#[tokio::test]
async fn each_status_has_its_meaning() {
    let server = Server::start(|request| {
        let status: u16 = request.uri.path().trim_start_matches('/').parse().unwrap();
        (StatusCode::from_u16(status).unwrap(), [("retry-after", "17")]).into_response()
    })
    .await;
    let gateway = gateway(&development());
    let asked_for = Some(Duration::from_secs(17));

    for status in [
        200, 201, 202, 204, 301, 302, 307, 308, 400, 401, 403, 404, 405, 408, 410, 413, 425, 429, 500, 502,
        503,
    ] {
        let verdict =
            gateway.push(&target(format!("http://127.0.0.1:{}/{status}", server.port)), &push()).await;
        let why = Why::from(format!("HTTP {status}"));
        let expected = match status {
            200..=299 => Verdict::Accepted,
            404 | 410 => Verdict::TokenDead(why),
            408 | 425 | 429 | 500..=599 => Verdict::RetryAfter(asked_for, why),
            _ => Verdict::BadPayload(why),
        };
        assert_eq!(verdict, expected, "{status}");
    }
}

#[tokio::test]
async fn retry_after_is_bounded_and_only_seconds_are_read() {
    let server = Server::start(|request| {
        let value = request.uri.query().unwrap_or_default().replace('+', " ");
        (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", value)]).into_response()
    })
    .await;
    let gateway = gateway(&development());

    for (value, expected) in [
        ("0", Some(Duration::ZERO)),
        ("3600", Some(RETRY_AFTER_MAX)),
        ("18446744073709551615", Some(RETRY_AFTER_MAX)),
        ("99999999999999999999999", None),
        ("-1", None),
        ("Wed,+21+Oct+2026+07:28:00+GMT", None),
    ] {
        let url = format!("{}?{value}", server.url());
        let verdict = gateway.push(&target(url), &push()).await;
        assert_eq!(verdict, Verdict::RetryAfter(expected, "HTTP 503".into()), "{value}");
    }
}

#[tokio::test]
async fn a_host_that_does_not_listen_is_retried() {
    let port = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let verdict = gateway(&development()).push(&target(format!("http://127.0.0.1:{port}/")), &push()).await;
    assert_eq!(verdict, Verdict::RetryAfter(None, "cannot connect".into()));
}

#[tokio::test]
async fn a_verdict_never_tells_the_url() {
    let gateway = gateway(&UrlClientConfig::default());
    for url in ["https://127.0.0.1/very-secret", "https://user:very-secret@a.com/", "https://[very-secret"] {
        let target = target(url);
        assert!(gateway.check(&target).is_err());
        let verdict = gateway.push(&target, &push()).await;
        assert!(matches!(verdict, Verdict::BadPayload(_)), "{verdict}");
        assert!(!format!("{verdict} {verdict:?} {target:?}").contains("very-secret"));
    }
}
