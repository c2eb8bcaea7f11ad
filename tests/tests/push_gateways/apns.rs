use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::future::join_all;
use notifier::apns::{ApnsApp, ApnsKey};
use notifier::{ApnsEnvironment, ApnsGateway, PushGateway, TargetError, Verdict};
use protocol::push::OpenKey;
use tests::fakes::apns::{Apns, DeveloperKey, KEY_ID, TEAM_ID, Team};
use tests::fakes::server::{Answer, Behaviour};

use super::*;

const BUNDLES: [&str; 2] = ["com.wallet.one", "com.wallet.two"];

struct Stage {
    clock: TestClock,
    production: Apns,
    sandbox: Apns,
    gateway: ApnsGateway,
    authority: Authority,
    key: DeveloperKey,
}

impl Stage {
    async fn new() -> Self {
        Self::with_timeout(Duration::from_secs(9)).await
    }

    async fn with_timeout(timeout: Duration) -> Self {
        let (clock, authority, key) =
            (TestClock::new(), Authority::new().unwrap(), DeveloperKey::new().unwrap());
        let production = Apns::start(&authority, &key, &BUNDLES, clock.fake()).await.unwrap();
        let sandbox = Apns::start(&authority, &key, &BUNDLES, clock.fake()).await.unwrap();
        let client = client_with_timeout(&authority, timeout);
        let gateway = gateway(&clock, client, &production, &sandbox, &key.p8());
        Self { clock, production, sandbox, gateway, authority, key }
    }

    /// A phone of the first app that is known to the production environment.
    fn phone(&self) -> PushTarget {
        let token = "0a".repeat(32);
        self.production.add_device(&token);
        PushTarget { topic: Some(BUNDLES[0].to_owned()), ..target(GatewayKind::Apns, &token) }
    }

    async fn push(&self) -> Verdict {
        let push = push(&self.clock);
        self.gateway.push(&self.phone(), &push).await
    }

    async fn push_answered(&self, status: u16, body: &str) -> Verdict {
        self.production.server().next(Behaviour::Answer(Answer::new(status, body)));
        self.push().await
    }
}

fn gateway(
    clock: &TestClock,
    client: ProviderClient,
    production: &Apns,
    sandbox: &Apns,
    p8: &str,
) -> ApnsGateway {
    let key = Arc::new(ApnsKey::new(p8.as_bytes(), KEY_ID, TEAM_ID).unwrap());
    let apps = BUNDLES.map(|bundle| ApnsApp { bundle_id: bundle.to_owned(), key: key.clone() });
    let url = |apns: &Apns| apns.server().url().parse().unwrap();
    ApnsGateway::new(client, &apps, url(production), url(sandbox), clock.ambient())
}

#[tokio::test]
async fn a_push_is_what_apple_wants() {
    let stage = Stage::new().await;
    assert_eq!(stage.push().await, Verdict::Accepted);
    let taken = stage.production.taken().pop().unwrap();
    assert_eq!(taken.request.header("apns-topic"), BUNDLES[0]);
    assert_eq!(taken.request.header("apns-expiration"), (START + 600).to_string());
    assert_eq!(taken.request.header("apns-collapse-id"), "08".repeat(16));
    let push: serde_json::Value = serde_json::from_str(&taken.push).unwrap();
    assert_eq!(push["reason"], "payment_incoming");
    assert_eq!(push["id"], "07".repeat(16));
    assert_eq!(taken.push.len(), 256);
    assert!(!taken.body()["aps"].to_string().contains("payment_incoming"), "the lock screen tells no reason");
}

#[tokio::test]
async fn a_sealed_push_tells_apple_nothing_and_opens_on_the_phone() {
    let stage = Stage::new().await;
    let key = OpenKey::derive(&[9; 32]);
    let phone = PushTarget { seal_key: Some(key.seal_key()), ..stage.phone() };
    assert_eq!(stage.gateway.push(&phone, &push(&stage.clock)).await, Verdict::Accepted);
    let taken = stage.production.taken().pop().unwrap();
    assert!(!String::from_utf8_lossy(&taken.request.body).contains("payment_incoming"));
    let push: serde_json::Value = serde_json::from_str(&taken.push).unwrap();
    let sealed = URL_SAFE_NO_PAD.decode(push["sealed"].as_str().unwrap()).unwrap();
    let open: serde_json::Value = serde_json::from_slice(&key.open(&sealed).unwrap()).unwrap();
    assert_eq!(open["reason"], "payment_incoming");
}

#[tokio::test]
async fn each_device_has_its_app_and_its_environment() {
    let stage = Stage::new().await;
    let token = "0b".repeat(32);
    stage.sandbox.add_device(&token);
    let developers = PushTarget {
        topic: Some(BUNDLES[1].to_owned()),
        environment: Some(ApnsEnvironment::Sandbox),
        ..target(GatewayKind::Apns, &token)
    };
    assert_eq!(stage.gateway.check(&developers), Ok(()));
    assert_eq!(stage.gateway.push(&developers, &push(&stage.clock)).await, Verdict::Accepted);
    assert_eq!(stage.sandbox.taken()[0].request.header("apns-topic"), BUNDLES[1]);
    assert!(stage.production.taken().is_empty());

    // Registered for the wrong environment, as it happens with development builds.
    let wrong = PushTarget { environment: Some(ApnsEnvironment::Production), ..developers.clone() };
    let verdict = stage.gateway.push(&wrong, &push(&stage.clock)).await;
    assert!(matches!(&verdict, Verdict::TokenDead(why) if why.contains("sandbox")), "{verdict}");

    let unknown = PushTarget { topic: Some("com.other".to_owned()), ..developers.clone() };
    assert!(matches!(stage.gateway.check(&unknown), Err(TargetError::UnknownTopic(_))));
    let verdict = stage.gateway.push(&unknown, &push(&stage.clock)).await;
    assert_eq!(verdict.as_str(), "configuration", "{verdict}");
    let nameless = PushTarget { topic: None, ..developers };
    assert!(matches!(stage.gateway.check(&nameless), Err(TargetError::NoTopic(_))));
}

/// Two companies' apps on one LSP: each app's pushes are signed by its own team, also when they alternate.
#[tokio::test]
async fn each_app_has_its_teams_key() {
    let (clock, authority) = (TestClock::new(), Authority::new().unwrap());
    let keys = [DeveloperKey::new().unwrap(), DeveloperKey::new().unwrap()];
    let ids = [("TEAM000001", "KEY0000001"), ("TEAM000002", "KEY0000002")];
    let team =
        |n: usize| Team { team_id: ids[n].0, key_id: ids[n].1, key: &keys[n], topics: &BUNDLES[n..=n] };
    let apns = Apns::start_with(&authority, &[team(0), team(1)], clock.fake()).await.unwrap();
    let app = |n: usize| {
        let key = ApnsKey::new(keys[n].p8().as_bytes(), ids[n].1, ids[n].0).unwrap();
        ApnsApp { bundle_id: BUNDLES[n].to_owned(), key: key.into() }
    };
    let url: notifier::Url = apns.server().url().parse().unwrap();
    let gateway = ApnsGateway::new(client(&authority), &[app(0), app(1)], url.clone(), url, clock.ambient());
    let token = "0c".repeat(32);
    apns.add_device(&token);
    for n in [0, 1, 1, 0] {
        let phone = PushTarget { topic: Some(BUNDLES[n].to_owned()), ..target(GatewayKind::Apns, &token) };
        assert_eq!(gateway.push(&phone, &push(&clock)).await, Verdict::Accepted, "{}", BUNDLES[n]);
        let taken = apns.taken().pop().unwrap();
        let bearer = taken.request.header("authorization").strip_prefix("bearer ").unwrap().to_owned();
        let part = |index: usize| -> serde_json::Value {
            let part = URL_SAFE_NO_PAD.decode(bearer.split('.').nth(index).unwrap()).unwrap();
            serde_json::from_slice(&part).unwrap()
        };
        assert_eq!((part(1)["iss"].as_str(), part(0)["kid"].as_str()), (Some(ids[n].0), Some(ids[n].1)));
    }
    assert_eq!(apns.taken_count(), 4);
}

#[tokio::test]
async fn every_answer_has_its_outcome() {
    let stage = Stage::new().await;
    for (status, body, expected) in [
        (400, r#"{"reason":"BadDeviceToken"}"#.to_owned(), "token_dead"),
        (400, r#"{"reason":"DeviceTokenNotForTopic"}"#.to_owned(), "token_dead"),
        (400, r#"{"reason":"BadCollapseId"}"#.to_owned(), "bad_payload"),
        (400, r#"{"reason":"TopicDisallowed"}"#.to_owned(), "configuration"),
        (403, r#"{"reason":"InvalidProviderToken"}"#.to_owned(), "configuration"),
        (403, r#"{"reason":"Forbidden"}"#.to_owned(), "configuration"),
        (410, format!(r#"{{"reason":"Unregistered","timestamp":{}}}"#, (START + 5) * 1000), "token_dead"),
        (410, format!(r#"{{"reason":"ExpiredToken","timestamp":{}}}"#, (START + 5) * 1000), "token_dead"),
        (410, format!(r#"{{"reason":"Unregistered","timestamp":{}}}"#, (START - 5) * 1000), "retry"),
        (413, r#"{"reason":"PayloadTooLarge"}"#.to_owned(), "bad_payload"),
        (429, r#"{"reason":"TooManyRequests"}"#.to_owned(), "retry"),
        (500, r#"{"reason":"InternalServerError"}"#.to_owned(), "retry"),
        (503, r#"{"reason":"ServiceUnavailable"}"#.to_owned(), "retry"),
        (503, r#"{"reason":"Shutdown"}"#.to_owned(), "retry"),
    ] {
        let verdict = stage.push_answered(status, &body).await;
        assert_eq!(verdict.as_str(), expected, "{status} {body}: {verdict}");
    }
    let asked = Answer::new(429, r#"{"reason":"TooManyRequests"}"#).retry_after(17);
    stage.production.server().next(Behaviour::Answer(asked));
    assert!(
        matches!(stage.push().await, Verdict::RetryAfter(Some(pause), _) if pause == Duration::from_secs(17))
    );
    assert_eq!(stage.push().await, Verdict::Accepted, "nothing of it lasts");
    assert_eq!(stage.production.server().connections(), 1, "one connection carried all");
}

#[tokio::test]
async fn one_provider_token_serves_all_for_half_an_hour() {
    let stage = Stage::new().await;
    let phone = stage.phone();
    let push = push(&stage.clock);
    let verdicts = join_all((0..50).map(|_| stage.gateway.push(&phone, &push))).await;
    assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Accepted), "{verdicts:?}");
    // The fake refuses a token that is an hour old, and one that follows another within twenty minutes.
    for _ in 0..20 {
        stage.clock.advance(600);
        assert_eq!(stage.push().await, Verdict::Accepted);
    }
    let mut tokens: Vec<_> = stage
        .production
        .taken()
        .iter()
        .map(|taken| taken.request.header("authorization").to_owned())
        .collect();
    assert!(tokens[..50].windows(2).all(|pair| pair[0] == pair[1]));
    tokens.dedup();
    assert!((4..=10).contains(&tokens.len()), "{} in 200 minutes", tokens.len());
}

#[tokio::test]
async fn an_expired_provider_token_is_made_anew() {
    let stage = Stage::new().await;
    assert_eq!(stage.push().await, Verdict::Accepted);
    // Of the same half hour, and 23 minutes old.
    stage.clock.advance(10 * 60);
    let verdict = stage.push_answered(403, r#"{"reason":"ExpiredProviderToken"}"#).await;
    assert_eq!(verdict.as_str(), "retry", "{verdict}");
    assert_eq!(stage.push().await, Verdict::Accepted);
    let tokens: Vec<_> = stage.production.taken().iter().map(|taken| taken.request.headers.clone()).collect();
    assert_ne!(
        tokens.first().unwrap()["authorization"],
        tokens.last().unwrap()["authorization"],
        "the next push has a new one"
    );
    let verdict = stage.push_answered(403, r#"{"reason":"ExpiredProviderToken"}"#).await;
    assert!(matches!(&verdict, Verdict::Configuration(why) if why.contains("clock")), "{verdict}");
}

/// The fake, as Apple, refuses a token that was issued within twenty minutes after another.
#[tokio::test]
async fn a_server_that_starts_again_and_again_goes_on_pushing() {
    let stage = Stage::new().await;
    assert_eq!(stage.push().await, Verdict::Accepted);
    for _ in 0..20 {
        stage.clock.advance(100);
        let gateway = gateway(
            &stage.clock,
            client(&stage.authority),
            &stage.production,
            &stage.sandbox,
            &stage.key.p8(),
        );
        assert_eq!(gateway.push(&stage.phone(), &push(&stage.clock)).await, Verdict::Accepted);
    }
}

#[tokio::test]
async fn a_key_that_apple_does_not_know_is_the_operators_mistake() {
    let stage = Stage::new().await;
    let other = DeveloperKey::new().unwrap();
    let gateway =
        gateway(&stage.clock, client(&stage.authority), &stage.production, &stage.sandbox, &other.p8());
    let verdict = gateway.push(&stage.phone(), &push(&stage.clock)).await;
    assert!(matches!(&verdict, Verdict::Configuration(why) if why.contains("key_id")), "{verdict}");
    assert_ne!(other.p8(), stage.key.p8());
}

#[tokio::test]
async fn a_connection_that_ends_costs_at_most_its_own_pushes() {
    let stage = Stage::with_timeout(Duration::from_secs(2)).await;
    let server = stage.production.server();
    assert_eq!(stage.push().await, Verdict::Accepted);
    // Apple closes idle connections, and those that it moves elsewhere.
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
}

#[tokio::test]
async fn who_does_not_know_the_authority_sends_nothing() {
    let stage = Stage::new().await;
    let elsewhere = Authority::new().unwrap();
    let gateway =
        gateway(&stage.clock, client(&elsewhere), &stage.production, &stage.sandbox, &stage.key.p8());
    let verdict = gateway.push(&stage.phone(), &push(&stage.clock)).await;
    assert_eq!(verdict, Verdict::RetryAfter(None, "cannot connect".into()));
    assert!(stage.production.taken().is_empty());
}
