//! breez/notify's interface, as callers see it.

use std::sync::Mutex;

use futures::future::FutureExt;
use notifier::{GatewayKind, Push, PushTarget, TargetError, Verdict};

use super::time::HandClock;
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

/// A push service that remembers what it was given.
#[derive(Default)]
struct Provider(Mutex<Vec<String>>);

impl PushGateway for Provider {
    fn kind(&self) -> GatewayKind {
        GatewayKind::Fcm
    }

    fn check(&self, _target: &PushTarget) -> Result<(), TargetError> {
        Ok(())
    }

    fn push<'a>(&'a self, _device: &'a PushTarget, push: &'a Push) -> BoxFuture<'a, Verdict> {
        self.0.lock().unwrap().push(push.notification().unwrap().to_text());
        async { Verdict::Accepted }.boxed()
    }
}

#[tokio::test]
async fn the_phones_answer_is_the_callers_and_only_for_so_long() {
    let (db, node, clock) = (TestDatabase::new().await, FakeNode::new(), TestClock::new());
    let hand = HandClock::new();
    let provider = Arc::<Provider>::default();
    let gateways: Vec<Arc<dyn PushGateway>> = vec![provider.clone()];
    let waker = Waker::new(db.database.clone(), node.clone(), gateways, token_keys(), clock.clone());
    let notifications = notifications(&db, &waker, &clock);
    let limits = DeviceLimits::default();
    let state =
        PublicState::new(db.database.clone(), node, waker, notifications.clone(), limits, 8, hand.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move { axum::serve(listener, router(state)).await.unwrap() });
    let _tls = gateway(true);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();

    let ask = |offer: &str| {
        let url = format!("{base}/api/v1/notify/{NOTIFY_SECRET}?platform=android&token={}", "t".repeat(40));
        let data = json!({ "offer": offer, "invoiceRequest": "lnr" });
        let request = client.post(url).json(&json!({ "event": "invoice.request", "data": data }));
        tokio::spawn(async move { request.send().await.unwrap() })
    };
    // Until the phone has it.
    let pushed = async |count: usize| {
        while provider.0.lock().unwrap().len() < count {
            notifications.dispatch().await.unwrap();
            tokio::task::yield_now().await;
        }
        let text: Vec<serde_json::Value> =
            serde_json::from_str(&provider.0.lock().unwrap()[count - 1]).unwrap();
        let payload: serde_json::Value = serde_json::from_str(text[2].as_str().unwrap()).unwrap();
        payload["reply_url"].as_str().unwrap().strip_prefix("https://lsp.example.com").unwrap().to_owned()
    };
    let caller = ask("lno1");
    let path = pushed(1).await;
    let respond = || client.post(format!("{base}{path}")).body(r#"{"invoice":"lni"}"#).send();
    assert_eq!(respond().await.unwrap().status(), StatusCode::OK);
    let answer = caller.await.unwrap();
    assert_eq!(
        (answer.status(), answer.headers()[header::CONTENT_TYPE].to_str().unwrap()),
        (StatusCode::OK, "application/json")
    );
    assert_eq!(answer.text().await.unwrap(), r#"{"invoice":"lni"}"#);
    refused(respond().await.unwrap(), StatusCode::NOT_FOUND, "not_found").await;

    let caller = ask("lno2");
    let path = pushed(2).await;
    hand.slept(2).await;
    hand.advance(REQUEST_TIMEOUT);
    // It was given more time.
    hand.slept(2).await;
    assert!(!caller.is_finished());
    hand.advance(REPLY_TIMEOUT - REQUEST_TIMEOUT);
    refused(caller.await.unwrap(), StatusCode::GATEWAY_TIMEOUT, "no_answer").await;
    let late = client.post(format!("{base}{path}")).body("too late").send().await.unwrap();
    refused(late, StatusCode::NOT_FOUND, "not_found").await;
    task.abort();
}
