//! The gateway against a real HTTP server on this machine. What it signs is verified with `lightning-liquidity`'s own
//! validator in the tests of `node` and on real nodes.

use axum::http::StatusCode;
use axum::response::IntoResponse;

use super::*;
use crate::classify::OTHER_FORM_PAUSE;
use crate::webhook::tests::server::{Request, Server};
use crate::{UrlClientConfig, WakeId};

const NOW: u64 = 1_795_253_400;

struct Node;

impl NotifyingNode for Node {
    fn sign(&self, text: &str) -> Option<String> {
        Some(format!("signed{}", text.len()))
    }

    fn height(&self) -> u32 {
        1_000
    }
}

fn gateway(allow_private_addresses: bool) -> Lsps5Gateway {
    // An error means that another test was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = UrlClientConfig { allow_private_addresses, ..UrlClientConfig::default() };
    Lsps5Gateway::new(UrlClient::new(&config).unwrap(), Ambient::fixed(NOW), Arc::new(Node))
}

fn push(reason: &str) -> Push {
    Push::new(reason, WakeId([7; 16]), NOW + 3_600).unwrap()
}

fn timestamp(request: &Request) -> &str {
    request.headers["x-lsps5-timestamp"].to_str().unwrap()
}

#[tokio::test]
async fn a_notification_is_signed_json_rpc() {
    let server = Server::start(|_| StatusCode::OK.into_response()).await;
    let (gateway, hook) = (gateway(true), target("my app", &server.url()));
    for (reason, body) in [
        ("payment_incoming", r#"{"jsonrpc":"2.0","method":"lsps5.payment_incoming","params":{}}"#),
        ("onion_message", r#"{"jsonrpc":"2.0","method":"lsps5.onion_message_incoming","params":{}}"#),
        (REGISTERED, r#"{"jsonrpc":"2.0","method":"lsps5.webhook_registered","params":{}}"#),
        ("test", r#"{"jsonrpc":"2.0","method":"lsps5.webhook_registered","params":{}}"#),
        ("expiry_soon", r#"{"jsonrpc":"2.0","method":"lsps5.expiry_soon","params":{"timeout":1006}}"#),
        ("payment_settled", r#"{"jsonrpc":"2.0","method":"lsps5.expiry_soon","params":{"timeout":1006}}"#),
    ] {
        assert_eq!(gateway.push(&hook, &push(reason)).await, Verdict::Accepted);
        let request = server.requests().pop().unwrap();
        assert_eq!(request.body, body);
        assert_eq!(timestamp(&request), "2026-11-21T09:30:00.799801+00:00");
        assert_eq!(request.headers["content-type"], "application/json");
        let text = format!(
            "LSPS5: DO NOT SIGN THIS MESSAGE MANUALLY: LSP: At 2026-11-21T09:30:00.799801+00:00 I notify {body}"
        );
        assert_eq!(request.headers["x-lsps5-signature"], format!("signed{}", text.len()).as_str());
    }
}

#[tokio::test]
async fn our_own_methods_go_to_hooks_that_asked_for_them() {
    let server = Server::start(|_| StatusCode::OK.into_response()).await;
    let gateway = gateway(true);
    let hook = target("app", &format!("{}?{OWN_REASONS}", server.url()));
    assert_eq!(gateway.push(&hook, &push("payment_settled")).await, Verdict::Accepted);
    let request = server.requests().pop().unwrap();
    assert_eq!(request.body, r#"{"jsonrpc":"2.0","method":"lightning_rod.payment_settled","params":{}}"#);
}

#[tokio::test]
async fn a_hook_that_refuses_one_form_of_the_timestamp_gets_the_other() {
    let strict = |request: &Request| match timestamp(request).ends_with('Z') {
        true => StatusCode::OK.into_response(),
        false => StatusCode::BAD_REQUEST.into_response(),
    };
    let server = Server::start(strict).await;
    let (gateway, hook) = (gateway(true), target("app", &server.url()));
    let first = gateway.push(&hook, &push("payment_incoming")).await;
    assert!(matches!(first, Verdict::RetryAfter(Some(OTHER_FORM_PAUSE), _)), "{first}");
    for _ in 0..2 {
        assert_eq!(gateway.push(&hook, &push("payment_incoming")).await, Verdict::Accepted);
    }
    assert_eq!(server.requests().len(), 3, "what was learned is remembered");
}

#[tokio::test]
async fn only_200_is_success_and_no_redirect_is_followed() {
    let server = Server::start(|request| {
        let status: u16 = request.uri.path().trim_start_matches('/').parse().unwrap();
        (StatusCode::from_u16(status).unwrap(), [("location", "http://127.0.0.1:1/")]).into_response()
    })
    .await;
    for (status, expected) in [
        (200, ["accepted", "accepted"]),
        (202, ["bad_payload", "bad_payload"]),
        (204, ["bad_payload", "bad_payload"]),
        (307, ["bad_payload", "bad_payload"]),
        (400, ["retry", "bad_payload"]),
        (404, ["token_dead", "token_dead"]),
        (410, ["token_dead", "token_dead"]),
        (429, ["retry", "retry"]),
        (503, ["retry", "retry"]),
    ] {
        let (gateway, hook) =
            (gateway(true), target("app", &format!("http://127.0.0.1:{}/{status}", server.port)));
        for expected in expected {
            assert_eq!(gateway.push(&hook, &push("payment_incoming")).await.as_str(), expected, "{status}");
        }
    }
}

#[test]
fn a_hook_is_checked_like_any_strangers_url() {
    let gateway = gateway(false);
    assert_eq!(gateway.check(&target("my app", "https://push.wallet.com/1")), Ok(()));
    for url in ["https://127.0.0.1/", "http://push.wallet.com/", "https://phone.local/", "nothing"] {
        assert!(gateway.check(&target("app", url)).is_err(), "{url}");
    }
    assert!(gateway.check(&PushTarget::new(GatewayKind::Lsps5, "https://push.wallet.com/")).is_err());
    assert!(gateway.check(&PushTarget::new(GatewayKind::Webhook, "app https://push.wallet.com/")).is_err());
    let hook = target("my app", "https://push.wallet.com/1");
    assert_eq!(name_and_url(&hook), Some(("my app", "https://push.wallet.com/1")));
}
