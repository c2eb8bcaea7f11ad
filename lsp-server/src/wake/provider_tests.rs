//! Several providers at once: their lanes, and what each push takes the place of.

use std::sync::Mutex;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use notifier::{Ambient, UnifiedPushGateway, UrlClient, UrlClientConfig, WebhookGateway};
use protocol::wake::WakeReason;
use tokio::net::TcpListener;

use super::*;
use crate::store::devices::DeviceLimits;
use crate::store::wakes::NewWake;
use crate::testing::{
    FakeNode, Receiver, START, TestClock, TestDatabase, new_device_for, public, token_keys,
};

/// Less than a gateway waits for an answer.
const SOON: Duration = Duration::from_secs(8);

fn gateways() -> Vec<Arc<dyn PushGateway>> {
    // The process has one; the first test installs it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = UrlClientConfig { allow_private_addresses: true, ..UrlClientConfig::default() };
    let (client, ambient) = (UrlClient::new(&config).unwrap(), Ambient::new(|| START, || [7; 32]));
    vec![
        Arc::new(UnifiedPushGateway::new(client.clone(), ambient.clone())),
        Arc::new(WebhookGateway::new(client, ambient)),
    ]
}

fn waker(db: &TestDatabase, node: &Arc<FakeNode>, in_flight_per_gateway_max: usize) -> Arc<Waker> {
    let settings = WakeSettings {
        limits: WakeLimits::default(),
        in_flight_per_gateway_max,
        collapse_key: [3; 32],
        tokens: token_keys(),
    };
    Waker::with_settings(db.database.clone(), node.clone(), gateways(), settings, TestClock::new())
}

async fn register(db: &TestDatabase, node: u8, kind: GatewayKind, url: &str) {
    let device = new_device_for(node, &PushTarget::new(kind, url));
    db.try_register(device, DeviceLimits::default()).await.unwrap();
}

async fn open(db: &TestDatabase, node: u8, reason: WakeReason, group: u8) {
    let wake = NewWake {
        node_id: public(node),
        reason,
        group: [group; 32],
        expires_at_unix: START + 3_600,
        now_unix: START,
    };
    let opened =
        db.database.submit("test_open", move |tx| Box::pin(async move { wakes::open(tx, &wake).await }));
    opened.await.unwrap();
}

/// Eighty phones behind a webhook that never answers, all due before the one of another provider.
#[tokio::test]
async fn a_provider_that_never_answers_keeps_only_its_own_phones_waiting() {
    let (db, receiver) = (TestDatabase::new().await, Receiver::start().await);
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_url = format!("http://{}/", silent.local_addr().unwrap());
    for node in 1..=80 {
        register(&db, node, GatewayKind::Webhook, &silent_url).await;
        open(&db, node, WakeReason::PaymentIncoming, node).await;
    }
    register(&db, 100, GatewayKind::UnifiedPush, &receiver.url()).await;
    open(&db, 100, WakeReason::PaymentIncoming, 100).await;
    // One phone has both: what its other provider does must not keep this one from ringing.
    register(&db, 101, GatewayKind::Webhook, &silent_url).await;
    register(&db, 101, GatewayKind::UnifiedPush, &format!("{}/both", receiver.url())).await;
    open(&db, 101, WakeReason::PaymentIncoming, 101).await;

    let waker = waker(&db, &FakeNode::new(), 2);
    let running = tokio::spawn(waker.clone().run());
    tokio::time::timeout(SOON, receiver.received(2)).await.expect("the silent provider starves the other");
    let under_way = db
        .number(
            "SELECT COUNT(*) AS n FROM wake_attempt JOIN device ON device.device_id = wake_attempt.device_id \
             WHERE device.platform = 'webhook'",
        )
        .await;
    assert_eq!(under_way, 2, "as many as its lane has places");
    assert_eq!(
        db.number("SELECT COUNT(*) AS n FROM wake WHERE attempts = 0").await,
        78,
        "the rest stays due"
    );
    running.abort();
}

#[tokio::test]
async fn pushes_about_one_payment_take_each_others_place() {
    let db = TestDatabase::new().await;
    let topics: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = topics.clone();
    let app = Router::new().fallback(move |headers: HeaderMap| async move {
        seen.lock().unwrap().push(headers["topic"].to_str().unwrap().to_owned());
        StatusCode::CREATED
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    for node in [1, 2] {
        register(&db, node, GatewayKind::UnifiedPush, &format!("{url}{node}")).await;
    }
    let push = async |waker: &Waker, node, reason, group| {
        open(&db, node, reason, group).await;
        waker.dispatch().await.unwrap();
        topics.lock().unwrap().last().cloned().unwrap()
    };
    let node = FakeNode::new();
    let first = waker(&db, &node, 8);
    let incoming = push(&first, 1, WakeReason::PaymentIncoming, 7).await;
    let settled = push(&first, 1, WakeReason::PaymentSettled, 7).await;
    assert_eq!(incoming, settled, "one payment");
    // As after a restart.
    assert_eq!(push(&waker(&db, &node, 8), 1, WakeReason::ExpirySoon, 7).await, incoming);
    assert_ne!(push(&first, 1, WakeReason::PaymentFailed, 8).await, incoming, "another payment");
    assert_ne!(push(&first, 2, WakeReason::PaymentIncoming, 7).await, incoming, "another phone");
    assert_eq!(topics.lock().unwrap().len(), 5);
    assert_eq!(incoming.len(), 32);
    server.abort();
}
