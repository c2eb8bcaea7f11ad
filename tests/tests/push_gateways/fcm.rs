use futures::future::join_all;
use notifier::fcm::ServiceAccount;
use notifier::{FcmGateway, Notification, PushGateway, Verdict};
use tests::fakes::fcm::{Fcm, error};
use tests::fakes::server::{Answer, Behaviour};

use super::*;

struct Stage {
    clock: TestClock,
    fcm: Fcm,
    gateway: FcmGateway,
}

impl Stage {
    async fn new() -> Self {
        Self::with_timeout(Duration::from_secs(9)).await
    }

    async fn with_timeout(timeout: Duration) -> Self {
        let (clock, authority) = (TestClock::new(), Authority::new().unwrap());
        let fcm = Fcm::start(&authority, clock.fake()).await.unwrap();
        let account = ServiceAccount::from_json(fcm.service_account().as_bytes()).unwrap();
        let gateway = FcmGateway::new(
            client_with_timeout(&authority, timeout),
            account,
            &fcm.server().url().parse().unwrap(),
            None,
            clock.ambient(),
        );
        Self { clock, fcm, gateway }
    }

    fn phone(&self) -> PushTarget {
        let token = format!("dGhpcyBpcyBhIHRlc3Q:APA91b{}", "xY-_0".repeat(26));
        self.fcm.add_device(&token);
        target(GatewayKind::Fcm, &token)
    }

    async fn push(&self) -> Verdict {
        let push = push(&self.clock);
        self.gateway.push(&self.phone(), &push).await
    }
}

#[tokio::test]
async fn a_push_is_what_google_wants() {
    let stage = Stage::new().await;
    assert_eq!(stage.push().await, Verdict::Accepted);
    let taken = stage.fcm.taken().pop().unwrap();
    let android = &taken.body()["message"]["android"];
    assert_eq!(android["ttl"], "600s");
    assert_eq!(android["collapse_key"], "08".repeat(16));
    assert_eq!(taken.push.len(), 256);
    let push: serde_json::Value = serde_json::from_str(&taken.push).unwrap();
    assert_eq!(push["reason"], "payment_incoming");
}

/// `0s` would mean now or never to Google.
#[tokio::test]
async fn a_push_whose_time_is_over_is_not_sent() {
    let stage = Stage::new().await;
    let late = push(&stage.clock);
    stage.clock.advance(599);
    assert_eq!(stage.gateway.push(&stage.phone(), &late).await, Verdict::Accepted);
    assert_eq!(stage.fcm.taken()[0].body()["message"]["android"]["ttl"], "1s");
    stage.clock.advance(1);
    let verdict = stage.gateway.push(&stage.phone(), &late).await;
    assert!(matches!(&verdict, Verdict::RetryAfter(None, why) if why.contains("time was over")), "{verdict}");
    assert_eq!(stage.fcm.taken_count(), 1);
}

/// As breez/notify sends it, to phones of both systems.
#[tokio::test]
async fn a_notification_has_the_shape_that_wallets_expect() {
    let stage = Stage::new().await;
    let payload = serde_json::json!({ "payment_hash": "ab" });
    let app_data = Some("mine".to_owned());
    let notification = Notification::new("payment_received", "Incoming payment", &payload, app_data).unwrap();
    let push = Push::of_notification(notification, WakeId([7; 16]), stage.clock.now() + 60);
    assert_eq!(stage.gateway.push(&stage.phone(), &push).await, Verdict::Accepted);
    let message = &stage.fcm.taken().pop().unwrap().body()["message"];
    assert_eq!(message["data"]["notification_type"], "payment_received");
    assert_eq!(message["data"]["notification_payload"], r#"{"payment_hash":"ab"}"#);
    assert_eq!(message["data"]["app_data"], "mine");
    assert_eq!(message["android"], serde_json::json!({ "priority": "HIGH", "ttl": "60s" }));
    let aps = &message["apns"]["payload"]["aps"];
    assert_eq!(aps["mutable-content"], 1);
    assert_eq!(aps["alert"]["title"], "Incoming payment");
}

#[tokio::test]
async fn fifty_cold_callers_ask_for_one_access_token() {
    let stage = Stage::new().await;
    let (phone, push) = (stage.phone(), push(&stage.clock));
    let verdicts = join_all((0..50).map(|_| stage.gateway.push(&phone, &push))).await;
    assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Accepted), "{verdicts:?}");
    assert_eq!(stage.fcm.access_tokens(), 1);
    assert_eq!(stage.fcm.server().connections(), 1);
}

#[tokio::test]
async fn an_access_token_is_renewed_before_it_ends() {
    let stage = Stage::new().await;
    for _ in 0..30 {
        assert_eq!(stage.push().await, Verdict::Accepted);
        stage.clock.advance(300);
    }
    // Each is good for an hour, less the ten minutes before its end.
    assert_eq!(stage.fcm.access_tokens(), 3);
}

#[tokio::test]
async fn a_token_endpoint_that_is_away_does_not_end_a_token_that_is_good() {
    let stage = Stage::new().await;
    assert_eq!(stage.push().await, Verdict::Accepted);
    stage.fcm.oauth().always(Behaviour::Answer(Answer::new(503, "")));
    stage.clock.advance(3_100);
    assert_eq!(stage.push().await, Verdict::Accepted, "it has 499 seconds left");
    stage.clock.advance(480);
    let verdict = stage.push().await;
    assert_eq!(verdict.as_str(), "retry", "{verdict}");
    stage.fcm.oauth().always(Behaviour::Honest);
    stage.clock.advance(11);
    assert_eq!(stage.push().await, Verdict::Accepted);
}

#[tokio::test]
async fn a_service_account_that_was_deleted_is_the_operators_mistake() {
    let stage = Stage::new().await;
    let refused =
        Answer::new(400, r#"{"error":"invalid_grant","error_description":"Invalid JWT Signature."}"#);
    stage.fcm.oauth().always(Behaviour::Answer(refused));
    let verdict = stage.push().await;
    assert!(matches!(&verdict, Verdict::Configuration(why) if why.contains("invalid_grant")), "{verdict}");
    stage.fcm.oauth().always(Behaviour::Honest);
    assert_eq!(stage.push().await.as_str(), "configuration", "Google is not asked for each push");
    stage.clock.advance(11);
    assert_eq!(stage.push().await, Verdict::Accepted);
}

/// What `lsp-server doctor` asks: no phone is pushed to.
#[tokio::test]
async fn an_account_can_be_tried_without_a_push() {
    let stage = Stage::new().await;
    let refused = Answer::new(400, r#"{"error":"invalid_grant","error_description":"account not found"}"#);
    stage.fcm.oauth().always(Behaviour::Answer(refused));
    let verdict = stage.gateway.try_account().await;
    assert!(matches!(&verdict, Verdict::Configuration(why) if why.contains("invalid_grant")), "{verdict}");
    stage.fcm.oauth().always(Behaviour::Honest);
    stage.clock.advance(11);
    assert_eq!(stage.gateway.try_account().await, Verdict::Accepted);
    assert!(stage.fcm.taken().is_empty());
}

/// An operator's proxy stands before Google: it is asked, and Google is who the assertion is for.
#[tokio::test]
async fn a_token_endpoint_that_is_reached_otherwise_is_named_as_the_key_file_names_it() {
    // Nobody is there.
    const NAMED: &str = "https://localhost:9/token";
    let (clock, authority) = (TestClock::new(), Authority::new().unwrap());
    let fcm = Fcm::start(&authority, clock.fake()).await.unwrap();
    fcm.set_token_uri(NAMED);
    let gateway = |key_file: &str, token_url: Option<String>| {
        let account = ServiceAccount::from_json(key_file.as_bytes()).unwrap();
        let token_url = token_url.map(|url| url.parse().unwrap());
        let url = fcm.server().url().parse().unwrap();
        FcmGateway::new(client(&authority), account, &url, token_url, clock.ambient())
    };
    let phone = target(GatewayKind::Fcm, &"p".repeat(140));
    fcm.add_device(&phone.token);
    let by_proxy = gateway(&fcm.service_account(), Some(fcm.token_url()));
    assert_eq!(by_proxy.push(&phone, &push(&clock)).await, Verdict::Accepted);
    assert_eq!(fcm.access_tokens(), 1);
    // Who asks another endpoint than the one that the assertion is for gets nothing.
    let of_another = fcm.service_account().replace(NAMED, &fcm.token_url());
    let refused = gateway(&of_another, None).push(&phone, &push(&clock)).await;
    assert!(matches!(&refused, Verdict::Configuration(why) if why.contains("invalid_grant")), "{refused}");
    // Without the setting the key file's address counts, where nobody is.
    let lost = gateway(&fcm.service_account(), None).push(&phone, &push(&clock)).await;
    assert!(matches!(&lost, Verdict::RetryAfter(None, why) if why.contains("no access token")), "{lost}");
    assert_eq!((fcm.access_tokens(), fcm.taken_count()), (1, 1));
}

#[tokio::test]
async fn a_wrong_clock_is_the_operators_mistake() {
    let stage = Stage::new().await;
    let behind = TestClock::new();
    stage.clock.advance(7_200);
    let authority = Authority::new().unwrap();
    let fcm = Fcm::start(&authority, stage.clock.fake()).await.unwrap();
    let gateway = FcmGateway::new(
        client(&authority),
        ServiceAccount::from_json(fcm.service_account().as_bytes()).unwrap(),
        &fcm.server().url().parse().unwrap(),
        None,
        behind.ambient(),
    );
    let verdict = gateway.push(&stage.phone(), &push(&behind)).await;
    assert!(matches!(&verdict, Verdict::Configuration(why) if why.contains("clock")), "{verdict}");
}

#[tokio::test]
async fn an_access_token_that_was_taken_back_is_not_used_again() {
    let stage = Stage::new().await;
    assert_eq!(stage.push().await, Verdict::Accepted);
    stage.fcm.revoke_access_tokens();
    assert_eq!(stage.push().await.as_str(), "configuration");
    assert_eq!(stage.push().await, Verdict::Accepted);
    assert_eq!(stage.fcm.access_tokens(), 2);
}

#[tokio::test]
async fn every_answer_has_its_outcome() {
    let stage = Stage::new().await;
    for (status, name, code, expected) in [
        (404, "NOT_FOUND", "UNREGISTERED", "token_dead"),
        (403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH", "token_dead"),
        (429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", "retry"),
        (503, "UNAVAILABLE", "UNAVAILABLE", "retry"),
        (500, "INTERNAL", "INTERNAL", "retry"),
        (401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR", "configuration"),
        (401, "UNAUTHENTICATED", "", "configuration"),
        (403, "PERMISSION_DENIED", "", "configuration"),
        (400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "bad_payload"),
        (400, "INVALID_ARGUMENT", "", "bad_payload"),
    ] {
        stage.fcm.server().next(Behaviour::Answer(error(status, name, code)));
        let verdict = stage.push().await;
        assert_eq!(verdict.as_str(), expected, "{status} {name} {code}: {verdict}");
    }
    for (asked, expected) in [(None, 60), (Some(17), 17)] {
        let mut quota = error(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED");
        quota.retry_after = asked;
        stage.fcm.server().next(Behaviour::Answer(quota));
        let verdict = stage.push().await;
        assert!(
            matches!(&verdict, Verdict::RetryAfter(Some(pause), _) if pause.as_secs() == expected),
            "{verdict}"
        );
    }
    let gone = target(GatewayKind::Fcm, &"g".repeat(140));
    assert_eq!(stage.gateway.push(&gone, &push(&stage.clock)).await.as_str(), "token_dead");
    assert_eq!(stage.push().await, Verdict::Accepted, "nothing of it lasts");
}

#[tokio::test]
async fn a_connection_that_ends_costs_at_most_its_own_pushes() {
    let stage = Stage::with_timeout(Duration::from_secs(2)).await;
    assert_eq!(stage.push().await, Verdict::Accepted);
    let server = stage.fcm.server();
    server.next(Behaviour::GoAway);
    assert_eq!(stage.push().await, Verdict::Accepted);
    assert_eq!(stage.push().await, Verdict::Accepted);
    assert_eq!(server.connections(), 2);
    // Refused streams were not looked at: they go out again by themselves.
    server.next(Behaviour::Refuse);
    assert_eq!(stage.push().await, Verdict::Accepted);
    for behaviour in [Behaviour::Abort, Behaviour::Silent] {
        server.next(behaviour.clone());
        let verdict = stage.push().await;
        assert_eq!(verdict.as_str(), "retry", "{behaviour:?}: {verdict}");
        assert_eq!(stage.push().await, Verdict::Accepted, "after {behaviour:?}");
    }
    // The status came, and it is all that an accepted push needs.
    server.next(Behaviour::Cut);
    let verdict = stage.push().await;
    assert!(matches!(verdict.as_str(), "accepted" | "retry"), "{verdict}");
    assert_eq!(stage.push().await, Verdict::Accepted);
    server.next(Behaviour::Slow(Duration::from_millis(200)));
    assert_eq!(stage.push().await, Verdict::Accepted);
    assert_eq!(stage.fcm.access_tokens(), 1, "nothing of it was about the access token");
}

#[tokio::test]
async fn a_token_endpoint_that_breaks_off_is_no_mistake_of_the_operators() {
    let fresh = Stage::with_timeout(Duration::from_secs(2)).await;
    for behaviour in [Behaviour::Abort, Behaviour::Silent, Behaviour::Cut] {
        fresh.fcm.oauth().next(behaviour.clone());
        let verdict = fresh.push().await;
        assert_eq!(verdict.as_str(), "retry", "{behaviour:?}: {verdict}");
        assert!(verdict.why().unwrap().contains("no access token"), "{behaviour:?}: {verdict}");
        fresh.clock.advance(11);
    }
    assert_eq!((fresh.fcm.taken_count(), fresh.fcm.access_tokens()), (0, 0));
    // A stream that was refused goes out again by itself, and one that takes its time is waited for, by all who ask.
    for (issued, behaviour) in
        [(1, Behaviour::Refuse), (2, Behaviour::GoAway), (3, Behaviour::Slow(Duration::from_millis(200)))]
    {
        fresh.fcm.oauth().next(behaviour.clone());
        let (phone, push) = (fresh.phone(), push(&fresh.clock));
        let verdicts = join_all((0..5).map(|_| fresh.gateway.push(&phone, &push))).await;
        assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Accepted), "{behaviour:?}: {verdicts:?}");
        assert_eq!(fresh.fcm.access_tokens(), issued, "{behaviour:?}");
        fresh.clock.advance(3_590);
    }
}
