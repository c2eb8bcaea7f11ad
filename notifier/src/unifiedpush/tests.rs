//! The gateway against real HTTP servers on this machine. What is hostile about a URL is tested for webhooks, which share
//! the filter.

use axum::http::StatusCode;
use axum::response::IntoResponse;

use super::*;
use crate::webhook::tests::server::Server;
use crate::{UrlClientConfig, WakeId, body};

const NOW: u64 = 1_790_000_000;

fn gateway(allow_private_addresses: bool) -> UnifiedPushGateway {
    // An error means that another test was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = UrlClientConfig { allow_private_addresses, ..UrlClientConfig::default() };
    UnifiedPushGateway::new(UrlClient::new(&config).unwrap(), Ambient::fixed(NOW))
}

fn target(url: impl Into<String>) -> PushTarget {
    PushTarget::new(GatewayKind::UnifiedPush, url)
}

#[tokio::test]
async fn a_push_is_rfc_8030s_post() {
    let server = Server::start(|_| StatusCode::CREATED.into_response()).await;
    for (seconds, ttl) in [(600, "600"), (0, "0"), (90 * 24 * 3600, "2419200")] {
        let push = Push::new("payment_incoming", WakeId([7; 16]), NOW + seconds)
            .unwrap()
            .collapsing_as(WakeId([8; 16]));
        assert_eq!(gateway(true).push(&target(server.url()), &push).await, Verdict::Accepted);
        let request = server.requests().pop().unwrap();
        assert_eq!(request.headers["ttl"], ttl);
        assert_eq!(request.headers["urgency"], "high");
        assert_eq!(request.headers["topic"], "08".repeat(16).as_str());
        assert!(!request.headers.contains_key("content-encoding"));
        assert_eq!(request.body.len(), body::BODY_BYTES);
    }
}

#[tokio::test]
async fn a_device_that_unsubscribed_is_dead_and_no_redirect_is_followed() {
    let server = Server::start(|request| {
        let status: u16 = request.uri.path().trim_start_matches('/').parse().unwrap();
        (StatusCode::from_u16(status).unwrap(), [("location", "http://127.0.0.1:1/")]).into_response()
    })
    .await;
    let push = Push::new("payment_incoming", WakeId([7; 16]), NOW + 60).unwrap();
    for (status, expected) in [
        (201, "accepted"),
        (202, "accepted"),
        (307, "bad_payload"),
        (404, "token_dead"),
        (410, "token_dead"),
        (413, "bad_payload"),
        (429, "retry"),
        (503, "retry"),
    ] {
        let url = format!("http://127.0.0.1:{}/{status}", server.port);
        assert_eq!(gateway(true).push(&target(url), &push).await.as_str(), expected, "{status}");
    }
}

#[test]
fn an_endpoint_goes_through_the_same_filter_as_a_webhook() {
    let gateway = gateway(false);
    assert_eq!(gateway.check(&target("https://ntfy.sh/upAbCdEf?up=1")), Ok(()));
    for url in
        ["http://ntfy.sh/up", "https://127.0.0.1/up", "https://2130706433/", "https://[::1]/", "https://a/"]
    {
        assert!(matches!(gateway.check(&target(url)), Err(TargetError::Url(_))), "{url}");
    }
    let other = PushTarget::new(GatewayKind::Webhook, "https://ntfy.sh/up");
    assert_eq!(gateway.check(&other), Err(TargetError::OtherGateway(GatewayKind::UnifiedPush)));
}
