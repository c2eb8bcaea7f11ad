mod outbox;

use std::sync::Mutex;

use futures::future::BoxFuture;
use notifier::PushGateway;
use serde_json::{Value, json};

use super::*;
use crate::testing::{FakeNode, TestClock, TestDatabase, token_keys};

const SECRET: &str = "a-secret-of-32-characters-or-more";
const TOKEN: &str = "dGhpcyBpcyBhIHRlc3Q:APA91b-the-token-of-a-phone";

/// A provider that remembers, and answers as it is told.
#[derive(Default)]
struct Provider {
    pushed: Mutex<Vec<(String, Option<Notification>)>>,
    answers: Mutex<Vec<Verdict>>,
}

impl PushGateway for Provider {
    fn kind(&self) -> GatewayKind {
        GatewayKind::Fcm
    }

    fn check(&self, target: &PushTarget) -> Result<(), TargetError> {
        let expected = "longer";
        let error = TargetError::Token { kind: GatewayKind::Fcm, expected };
        if target.token.len() < 32 { Err(error) } else { Ok(()) }
    }

    fn push<'a>(&'a self, device: &'a PushTarget, push: &'a Push) -> BoxFuture<'a, Verdict> {
        self.pushed.lock().unwrap().push((device.token.clone(), push.notification().cloned()));
        let answer = self.answers.lock().unwrap().pop();
        async move { answer.unwrap_or(Verdict::Accepted) }.boxed()
    }
}

struct World {
    db: TestDatabase,
    provider: Arc<Provider>,
    clock: Arc<TestClock>,
    notifications: Arc<Notifications>,
}

impl World {
    async fn new(config: NotifyConfig) -> Self {
        Self::on(TestDatabase::new().await, config)
    }

    fn on(db: TestDatabase, config: NotifyConfig) -> Self {
        let (provider, clock) = (Arc::<Provider>::default(), TestClock::new());
        let notifications = worker(&db.database, &provider, &clock, config);
        Self { db, provider, clock, notifications }
    }

    async fn take(&self, data: Value) -> Result<bool, NotifyError> {
        let body = json!({ "template": "payment_received", "data": data });
        let taken = self.notifications.take(Some(SECRET), ("android", TOKEN, None), &body).await;
        taken.map(|taken| taken.is_new)
    }

    async fn payment(&self, hash: &str) -> Result<bool, NotifyError> {
        self.take(json!({ "payment_hash": hash })).await
    }

    fn pushed(&self) -> usize {
        self.provider.pushed.lock().unwrap().len()
    }

    fn answers(&self, verdict: Verdict) {
        self.provider.answers.lock().unwrap().push(verdict);
    }

    /// A pass, some seconds later.
    async fn pass(&self, seconds: u64) {
        self.clock.advance(seconds);
        self.notifications.dispatch().await.unwrap();
    }

    async fn state(&self) -> Vec<String> {
        let newest = self.db.database.read("test", |tx| Box::pin(notifications::newest(tx, 10)));
        newest.await.unwrap().into_iter().map(|view| view.state).collect()
    }
}

fn worker(
    database: &Database,
    provider: &Arc<Provider>,
    clock: &Arc<TestClock>,
    config: NotifyConfig,
) -> Arc<Notifications> {
    let gateways: Vec<Arc<dyn PushGateway>> = vec![provider.clone()];
    let waker = Waker::new(database.clone(), FakeNode::new(), gateways, token_keys(), clock.clone());
    Notifications::new(database.clone(), waker, config, 7, clock.clone())
}

fn on() -> NotifyConfig {
    NotifyConfig { enabled: true, secret: SECRET.to_owned(), ..NotifyConfig::default() }
}

#[tokio::test]
async fn a_notification_reaches_its_phone_once_it_is_kept() {
    let world = World::new(on()).await;
    assert!(world.payment("aa").await.unwrap());
    assert!(!world.payment("aa").await.unwrap(), "the same, asked again, is one");
    assert!(world.payment("bb").await.unwrap());
    world.pass(0).await;
    assert_eq!(world.pushed(), 2);
    let (token, notification) = world.provider.pushed.lock().unwrap()[0].clone();
    assert_eq!((token.as_str(), notification.unwrap().kind()), (TOKEN, "payment_received"));
    assert_eq!(world.state().await, ["accepted", "accepted"]);
    world.pass(3_600).await;
    assert_eq!(world.pushed(), 2, "once is enough");
    assert!(world.payment("aa").await.unwrap(), "it may happen again");
}

#[tokio::test]
async fn only_who_knows_the_secret_is_served_and_only_if_it_is_on() {
    let world = World::new(NotifyConfig { enabled: false, ..on() }).await;
    assert!(matches!(world.payment("aa").await, Err(NotifyError::Off)));
    let world = World::new(on()).await;
    let body = json!({ "template": "payment_received", "data": { "payment_hash": "aa" } });
    for secret in [None, Some(""), Some(&SECRET[1..]), Some("x")] {
        let refused = world.notifications.take(secret, ("android", TOKEN, None), &body).await;
        assert!(matches!(refused, Err(NotifyError::Secret)), "{secret:?}");
    }
    for platform in ["", "windows", "fcm"] {
        let refused = world.notifications.take(Some(SECRET), (platform, TOKEN, None), &body).await;
        assert!(matches!(refused, Err(NotifyError::Platform)), "{platform}");
    }
    let refused = world.notifications.take(Some(SECRET), ("ios", "short", None), &body).await;
    assert!(matches!(refused, Err(NotifyError::Token(_))));
    assert!(world.notifications.take(Some(SECRET), ("ios", TOKEN, None), &body).await.unwrap().is_new);
    assert!(matches!(world.take(json!({})).await, Err(NotifyError::Template(_))));
    assert_eq!(world.state().await.len(), 1);
}

#[tokio::test]
async fn what_the_provider_cannot_take_now_is_tried_again_until_it_expires() {
    let world = World::new(on()).await;
    world.answers(Verdict::RetryAfter(Some(Duration::from_secs(40)), "busy".into()));
    world.payment("aa").await.unwrap();
    world.pass(0).await;
    world.pass(39).await;
    assert_eq!((world.pushed(), world.state().await), (1, vec!["open".to_owned()]), "as it asked");
    world.pass(1).await;
    assert_eq!((world.pushed(), world.state().await), (2, vec!["accepted".to_owned()]));

    for _ in 0..200 {
        world.answers(Verdict::RetryAfter(None, "down".into()));
    }
    world.payment("bb").await.unwrap();
    for _ in 0..370 {
        world.pass(10).await;
    }
    let tries = world.pushed() - 2;
    assert!((60..80).contains(&tries), "{tries}");
    assert_eq!(world.state().await[0], "expired");
}

#[tokio::test]
async fn a_dead_token_and_a_refused_push_end_it() {
    let world = World::new(on()).await;
    for verdict in [Verdict::TokenDead("gone".into()), Verdict::BadPayload("no".into())] {
        world.answers(verdict);
        world.payment("aa").await.unwrap();
        world.pass(0).await;
        assert_eq!(world.state().await[0], "refused");
    }
    assert_eq!(world.pushed(), 2);
}

#[tokio::test]
async fn what_a_crash_cut_off_is_pushed_again_at_once_and_never_after_its_time() {
    let world = World::new(on()).await;
    world.payment("aa").await.unwrap();
    let now_unix = world.clock.now_unix();
    let claim = |now_unix| {
        world.db.database.submit("test_claim", move |tx| {
            Box::pin(async move { notifications::claim(tx, now_unix, 10, &[]).await })
        })
    };
    let lost = claim(now_unix).await.unwrap().remove(0);
    world.pass(1).await;
    assert_eq!(world.pushed(), 0, "its lease runs");
    world.notifications.take_over().await.unwrap();
    world.pass(0).await;
    assert_eq!(world.pushed(), 1);
    // The word of the attempt before comes late.
    let late = world.db.database.submit("test_late", move |tx| {
        let verdict = Verdict::BadPayload("late".into());
        Box::pin(async move { notifications::finish(tx, &lost, &verdict, 1, None).await })
    });
    late.await.unwrap();
    assert_eq!(world.state().await, ["accepted"]);

    world.payment("bb").await.unwrap();
    assert_eq!(claim(world.clock.now_unix()).await.unwrap().len(), 1);
    world.clock.advance(3_600);
    world.notifications.take_over().await.unwrap();
    world.pass(0).await;
    assert_eq!((world.pushed(), world.state().await[0].as_str()), (1, "expired"));
}

#[tokio::test]
async fn each_bound_refuses_and_takes_nothing_away() {
    let config =
        NotifyConfig { pushes_per_token_per_hour_max: 2, waiting_max: 3, requests_per_minute_max: 6, ..on() };
    let world = World::new(config).await;
    assert!(world.payment("aa").await.unwrap() && world.payment("bb").await.unwrap());
    assert!(matches!(world.payment("cc").await, Err(NotifyError::TooManyForToken(2))));
    let other = async |token: &str| {
        let body = json!({ "template": "tx_confirmed", "data": { "tx_id": "t" } });
        let taken = world.notifications.take(Some(SECRET), ("android", token, None), &body).await;
        taken.map(|taken| taken.is_new)
    };
    assert!(other(&"b".repeat(40)).await.unwrap());
    assert!(matches!(other(&"c".repeat(40)).await, Err(NotifyError::Full)));
    assert!(!world.payment("aa").await.unwrap());
    assert!(matches!(world.payment("aa").await, Err(NotifyError::TooManyRequests(6))));
    world.pass(60).await;
    assert_eq!(world.pushed(), 3);
    assert!(other(&"c".repeat(40)).await.unwrap());
    world.clock.advance(3_600);
    assert!(world.payment("cc").await.unwrap(), "an hour later");
}

#[tokio::test]
async fn neither_token_nor_content_is_in_the_database() {
    let world = World::new(on()).await;
    world.payment("a-hash-that-nobody-else-has").await.unwrap();
    let held = |needle: &'static str| {
        world.db.database.read("test", move |tx| {
            Box::pin(async move {
                let row = tx.fetch_one("SELECT sealed FROM notification", &[]).await?;
                let sealed = row.get_blob("sealed")?;
                Ok::<_, StorageError>(sealed.windows(needle.len()).any(|window| window == needle.as_bytes()))
            })
        })
    };
    assert!(!held("APA91b").await.unwrap() && !held("a-hash-that").await.unwrap());
    world.clock.advance(8 * 24 * 3_600);
    world.pass(0).await;
    world.clock.advance(600);
    world.pass(0).await;
    assert_eq!(world.state().await, Vec::<String>::new(), "and it is forgotten in time");
}

#[tokio::test]
async fn a_caller_without_a_place_for_the_answer_waits_for_it_here() {
    let data = json!({ "offer": "lno", "invoiceRequest": "lnr" });
    let body = json!({ "event": "invoice.request", "data": data });
    let ask = async |world: &World, body: &Value| {
        world.notifications.take(Some(SECRET), ("android", TOKEN, None), body).await
    };
    let world = World::new(on()).await;
    assert!(matches!(ask(&world, &body).await, Err(NotifyError::NoReplyUrl)));
    for data in [json!(null), json!("text"), json!([1])] {
        let body = json!({ "event": "invoice.request", "data": data });
        assert!(matches!(ask(&world, &body).await, Err(NotifyError::Template(_))), "{body}");
    }

    let world = World::new(NotifyConfig { reply_url: Some("https://lsp.example.com".into()), ..on() }).await;
    let taken = ask(&world, &body).await.unwrap();
    world.pass(0).await;
    let pushed = world.provider.pushed.lock().unwrap()[0].1.as_ref().unwrap().to_text();
    let text: Vec<Value> = serde_json::from_str(&pushed).unwrap();
    let payload: Value = serde_json::from_str(text[2].as_str().unwrap()).unwrap();
    assert_eq!((&payload["offer"], &payload["invoice_request"]), (&json!("lno"), &json!("lnr")));
    let url = payload["reply_url"].as_str().unwrap();
    let id = url.strip_prefix("https://lsp.example.com/api/v1/response/").unwrap().parse().unwrap();
    assert!(!world.notifications.answer(ReplyId::new([9; 32]), "a guess".into()));
    assert!(world.notifications.answer(id, "the invoice".into()));
    assert_eq!(taken.reply.unwrap().received().await, "the invoice");

    let elsewhere = json!({ "event": "invoice.request", "data": { "offer": "lno", "invoiceRequest": "lnr", "reply_url": "r" } });
    assert!(ask(&world, &elsewhere).await.unwrap().reply.is_none());
}
