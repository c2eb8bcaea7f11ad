mod confirmed;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::{BoxFuture, FutureExt};
use notifier::{Ambient, Lsps5Gateway, Push, PushGateway, TargetError, UrlClient, UrlClientConfig, Verdict};
use protocol::wake::WakeReason;
use serde_json::{Value, json};

use super::*;
use crate::config::NotifyConfig;
use crate::store::wakes::NewWake;
use crate::testing::{FakeNode, START, TestClock, TestDatabase, new_device_for, public, token_keys};

/// A node that keeps what it is to send, and has a channel with peer 1.
#[derive(Default)]
struct Lightning {
    sent: Mutex<Vec<(PublicKey, Value)>>,
    drawn: AtomicUsize,
}

impl HookNode for Lightning {
    fn has_channel(&self, peer: PublicKey) -> bool {
        peer == public(1)
    }

    fn random_bytes(&self) -> [u8; 32] {
        [self.drawn.fetch_add(1, Ordering::Relaxed) as u8; 32]
    }

    fn send_lsps(&self, peer: PublicKey, payload: String) {
        self.sent.lock().unwrap().push((peer, serde_json::from_str(&payload).unwrap()));
    }
}

struct Signer;

impl NotifyingNode for Signer {
    fn sign(&self, _: &str) -> Option<String> {
        None
    }

    fn height(&self) -> u32 {
        100
    }
}

struct Lsp {
    store: TestDatabase,
    node: Arc<Lightning>,
    clock: Arc<TestClock>,
    notifications: Arc<Notifications>,
    hooks: Hooks,
}

impl Lsp {
    async fn new(allow_private_addresses: bool) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let urls = UrlClient::new(&UrlClientConfig { allow_private_addresses, ..UrlClientConfig::default() })
            .unwrap();
        let gateway = Lsps5Gateway::new(urls, Ambient::new(|| START, || [7; 32]), Arc::new(Signer));
        Self::on(TestDatabase::new().await, Arc::new(gateway))
    }

    fn on(store: TestDatabase, gateway: Arc<dyn PushGateway>) -> Self {
        let (database, clock) = (store.database.clone(), TestClock::new());
        let waker = Waker::new(database.clone(), FakeNode::new(), vec![gateway], token_keys(), clock.clone());
        let notifications =
            Notifications::new(database.clone(), waker.clone(), NotifyConfig::default(), 7, clock.clone());
        let node = Arc::new(Lightning::default());
        let limits = DeviceLimits { per_node_max: 2, ..DeviceLimits::default() };
        let hooks = Hooks::new(database, node.clone(), waker, notifications.clone(), limits, clock.clone());
        Self { store, node, clock, notifications, hooks }
    }

    /// The answer to a request of `peer`.
    async fn ask(&self, peer: u8, method: &str, params: Value) -> Value {
        let request = json!({ "jsonrpc": "2.0", "id": method, "method": method, "params": params });
        self.hooks.on_message(public(peer), &request.to_string()).await;
        let (to, answer) = self.node.sent.lock().unwrap().pop().unwrap();
        assert_eq!((to, &answer["id"]), (public(peer), &json!(method)));
        answer
    }

    async fn set(&self, app: &str, url: &str) -> Value {
        self.ask(1, "lsps5.set_webhook", json!({ "app_name": app, "webhook": url })).await
    }

    async fn list(&self) -> Value {
        self.ask(1, "lsps5.list_webhooks", json!({})).await["result"]["app_names"].clone()
    }
}

const URL: &str = "https://push.wallet.com/1";

#[tokio::test]
async fn hooks_are_set_listed_replaced_and_removed() {
    let lsp = Lsp::new(false).await;
    assert_eq!(lsp.list().await, json!([]));
    let first = lsp.set("my app", URL).await;
    assert_eq!(first["result"], json!({ "num_webhooks": 1, "max_webhooks": 2, "no_change": false }));
    assert_eq!(lsp.store.number("SELECT COUNT(*) AS n FROM device WHERE platform = 'lsps5'").await, 1);
    assert_eq!(lsp.set("my app", URL).await["result"]["no_change"], true);
    let moved = lsp.set("my app", "https://push.wallet.com/2").await;
    assert_eq!(moved["result"], json!({ "num_webhooks": 1, "max_webhooks": 2, "no_change": false }));
    assert_eq!(lsp.set("other", URL).await["result"]["num_webhooks"], 2);
    assert_eq!(lsp.set("third", URL).await["error"]["code"], 503);
    assert_eq!(lsp.list().await, json!(["my app", "other"]));

    let remove = |app: &'static str| lsp.ask(1, "lsps5.remove_webhook", json!({ "app_name": app }));
    assert_eq!(remove("my app").await["result"], json!({}));
    assert_eq!(remove("my app").await["error"]["code"], 1010);
    assert_eq!(lsp.list().await, json!(["other"]));
}

#[tokio::test]
async fn strangers_and_unusable_urls_are_refused() {
    let lsp = Lsp::new(false).await;
    let params = json!({ "app_name": "app", "webhook": URL });
    assert_eq!(lsp.ask(2, "lsps5.set_webhook", params).await["error"]["code"], 1003);
    for url in ["https://127.0.0.1/", "https://phone.local/", "https://push.wallet.com:22/"] {
        assert_eq!(lsp.set("app", url).await["error"]["code"], 501, "{url}");
    }
    assert_eq!(lsp.set("app", "http://push.wallet.com/").await["error"]["code"], 502);
    assert_eq!(lsp.store.number("SELECT COUNT(*) AS n FROM device").await, 0);
    assert_eq!(lsp.ask(2, "lsps0.list_protocols", json!({})).await["result"]["protocols"], json!([5]));
}

#[tokio::test]
async fn one_peer_never_sees_the_hooks_of_another() {
    let lsp = Lsp::new(false).await;
    lsp.set("app", URL).await;
    let listed = lsp.ask(2, "lsps5.list_webhooks", json!({})).await;
    assert_eq!(listed["result"]["app_names"], json!([]));
    let removed = lsp.ask(2, "lsps5.remove_webhook", json!({ "app_name": "app" })).await;
    assert_eq!(removed["error"]["code"], 1010);
    assert_eq!(lsp.list().await, json!(["app"]));
}

/// What the real gateway sends is looked at in the tests of `notifier`; here it counts when.
struct Counter(AtomicUsize);

impl PushGateway for Counter {
    fn kind(&self) -> GatewayKind {
        GatewayKind::Lsps5
    }

    fn check(&self, _: &PushTarget) -> Result<(), TargetError> {
        Ok(())
    }

    fn push<'a>(&'a self, _: &'a PushTarget, _: &'a Push) -> BoxFuture<'a, Verdict> {
        self.0.fetch_add(1, Ordering::Relaxed);
        async { Verdict::Accepted }.boxed()
    }
}

#[tokio::test]
async fn a_hook_is_notified_again_after_two_minutes_or_once_its_phone_was_here() {
    const HOUR: u64 = 3_600;
    let (store, clock, counter) =
        (TestDatabase::new().await, TestClock::new(), Arc::new(Counter(AtomicUsize::new(0))));
    let database = store.database.clone();
    let waker =
        Waker::new(database.clone(), FakeNode::new(), vec![counter.clone()], token_keys(), clock.clone());
    let device = new_device_for(1, &target("app", URL));
    store.try_register(device, DeviceLimits::default()).await.unwrap();
    let open = async |reason, group| {
        let now_unix = clock.now_unix();
        let (node_id, expires_at_unix) = (public(1), now_unix + HOUR);
        let wake = NewWake { node_id, reason, group: [group; 32], expires_at_unix, now_unix };
        let opened = database.submit("test", move |tx| Box::pin(async move { wakes::open(tx, &wake).await }));
        opened.await.unwrap();
    };
    let notified_after = async |seconds| {
        clock.advance(seconds);
        waker.dispatch().await.unwrap();
        counter.0.load(Ordering::Relaxed)
    };

    open(WakeReason::PaymentIncoming, 1).await;
    assert_eq!(notified_after(0).await, 1);
    open(WakeReason::PaymentIncoming, 2).await;
    open(WakeReason::PaymentFailed, 3).await;
    assert_eq!(notified_after(0).await, 2, "another reason has a cooldown of its own");
    assert_eq!(notified_after(60).await, 2);
    assert_eq!(notified_after(59).await, 2);
    assert_eq!(notified_after(1).await, 4, "one of each reason");

    // The wakes end without the phone; then it comes, and goes.
    let ended = database.submit("test", |tx| {
        Box::pin(async move {
            wakes::end(tx, public(1), [1; 32], WakeReason::PaymentIncoming).await?;
            wakes::end(tx, public(1), [2; 32], WakeReason::PaymentIncoming).await?;
            wakes::end(tx, public(1), [3; 32], WakeReason::PaymentFailed).await
        })
    });
    ended.await.unwrap();
    open(WakeReason::PaymentIncoming, 4).await;
    assert_eq!(notified_after(10).await, 4);
    let now = clock.now_unix();
    let came = database
        .submit("test", move |tx| Box::pin(async move { wakes::acknowledge(tx, public(1), now).await }));
    came.await.unwrap();
    open(WakeReason::PaymentIncoming, 5).await;
    assert_eq!(notified_after(0).await, 5);
}
