mod bounds;
mod notify;
mod owner;
mod time;

use node::ChainTrouble;

use lightning::util::message_signing;
use notifier::PushGateway;
use protocol::api::Problem;
use protocol::api::public::{
    ChallengeRequest, ChallengeResponse, DeviceTarget, HealthResponse, LspInfo, RegisterDeviceRequest,
    RegisterDeviceResponse,
};
use protocol::wake::WakeReason;
use serde::Serialize;
use serde_json::json;
use storage::values;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;
use crate::config::NotifyConfig;
use crate::http::openapi_tests::Conformity;
use crate::store::devices;
use crate::store::wakes::{self, NewWake};
use crate::testing::{
    FakeNode, Receiver, START, TestClock, TestDatabase, gateway, public, secret, token_keys,
};

const LSP: u8 = 99;
const PHONE: u8 = 1;
const REQUESTS_MAX: usize = 256;
const URL: &str = "https://push.wallet.com/wake/secret";

struct Api {
    db: TestDatabase,
    node: Arc<FakeNode>,
    clock: Arc<TestClock>,
    waker: Arc<Waker>,
    client: reqwest::Client,
    base: String,
    task: JoinHandle<()>,
    conformity: Conformity,
}

impl Drop for Api {
    fn drop(&mut self) {
        self.task.abort();
        if !std::thread::panicking() {
            self.conformity.assert();
        }
    }
}

impl Api {
    async fn start() -> Self {
        Self::with(DeviceLimits::default(), false).await
    }

    async fn with(limits: DeviceLimits, allow_private_addresses: bool) -> Self {
        let (db, node, clock) = (TestDatabase::new().await, FakeNode::new(), TestClock::new());
        node.add_client(PHONE);
        let gateways: Vec<Arc<dyn PushGateway>> = vec![gateway(allow_private_addresses)];
        let waker = Waker::new(db.database.clone(), node.clone(), gateways, token_keys(), clock.clone());
        let state = PublicState::new(
            db.database.clone(),
            node.clone(),
            waker.clone(),
            notifications(&db, &waker, &clock),
            limits,
            REQUESTS_MAX,
            clock.clone(),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        // Whatever a test asks is as the document says.
        let conformity = Conformity::default();
        let app = conformity.watch(router(state));
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { db, node, clock, waker, client, base, task, conformity }
    }

    async fn post(&self, path: &str, body: &impl Serialize) -> reqwest::Response {
        self.client.post(format!("{}{path}", self.base)).json(body).send().await.unwrap()
    }

    async fn get(&self, path: &str) -> reqwest::Response {
        self.client.get(format!("{}{path}", self.base)).send().await.unwrap()
    }

    async fn challenge(&self, node: u8) -> String {
        let answer = self.post("/v1/challenge", &ChallengeRequest { node_id: public(node) }).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let ChallengeResponse { challenge, expires_at } = answer.json().await.unwrap();
        assert_eq!(expires_at, self.clock.now_unix() + 300);
        challenge
    }

    /// A registration that is right in every way.
    async fn registration(&self, node: u8, token: &str) -> RegisterDeviceRequest {
        let challenge = self.challenge(node).await;
        signed(node, LSP, challenge, token)
    }

    async fn register(&self, request: &RegisterDeviceRequest) -> reqwest::Response {
        self.post("/v1/devices", request).await
    }

    async fn devices(&self) -> i64 {
        self.db.number("SELECT COUNT(*) AS n FROM device").await
    }
}

const NOTIFY_SECRET: &str = "a-secret-of-32-characters-or-more";

fn notifications(db: &TestDatabase, waker: &Arc<Waker>, clock: &Arc<TestClock>) -> Arc<Notifications> {
    let reply_url = Some("https://lsp.example.com".to_owned());
    let config = NotifyConfig {
        enabled: true,
        secret: NOTIFY_SECRET.to_owned(),
        reply_url,
        ..NotifyConfig::default()
    };
    Notifications::new(db.database.clone(), waker.clone(), config, 7, clock.clone())
}

fn signed(node: u8, lsp: u8, challenge: String, token: &str) -> RegisterDeviceRequest {
    signed_for(node, lsp, challenge, DeviceTarget::new("webhook", token))
}

fn signed_for(node: u8, lsp: u8, challenge: String, target: DeviceTarget) -> RegisterDeviceRequest {
    let mut request = RegisterDeviceRequest::new(public(node), challenge, target);
    request.signature = message_signing::sign(request.text(&public(lsp)).as_bytes(), &secret(node));
    request
}

async fn refused(answer: reqwest::Response, status: StatusCode, kind: &str) -> Problem {
    assert_eq!(answer.status(), status);
    assert_eq!(answer.headers()[header::CONTENT_TYPE], protocol::api::PROBLEM_CONTENT_TYPE);
    let problem: Problem = answer.json().await.unwrap();
    assert_eq!((problem.kind.as_str(), problem.status), (kind, status.as_u16()));
    problem
}

#[tokio::test]
async fn a_device_registers_with_its_nodes_signature() {
    let api = Api::start().await;
    let info: LspInfo = api.get("/v1/lsp").await.json().await.unwrap();
    assert_eq!(info, LspInfo { node_id: public(LSP), platforms: vec!["webhook".into()] });

    let answer = api.register(&api.registration(PHONE, URL).await).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    let first: RegisterDeviceResponse = answer.json().await.unwrap();
    assert!(first.durable);
    assert_eq!(first.device_id.len(), 32);

    let answer = api.register(&api.registration(PHONE, URL).await).await;
    assert_eq!(answer.status(), StatusCode::OK, "it was registered before");
    let again: RegisterDeviceResponse = answer.json().await.unwrap();
    assert_eq!((again, api.devices().await), (first, 1));
}

#[tokio::test]
async fn a_registration_mends_a_token_that_cannot_be_opened() {
    let api = Api::start().await;
    api.register(&api.registration(PHONE, URL).await).await.error_for_status().unwrap();
    let broken = api.db.database.submit("test_break", |tx| {
        Box::pin(async move {
            tx.execute("UPDATE device SET sealed_token = token_key, token_key = $1", &values![[0u8; 8]]).await
        })
    });
    assert_eq!(broken.await.unwrap(), 1);
    let answer = api.register(&api.registration(PHONE, URL).await).await;
    assert_eq!(answer.status(), StatusCode::OK, "it keeps its name");
    let listed = api.db.database.read("test", |tx| Box::pin(devices::list(tx, 10)));
    let device = listed.await.unwrap().remove(0);
    assert_eq!(api.waker.tokens().open_target(&device).unwrap().token, URL);
}

#[tokio::test]
async fn a_new_device_gets_what_waits_for_its_node() {
    let api = Api::with(DeviceLimits::default(), true).await;
    let receiver = Receiver::start().await;
    let wake = NewWake {
        node_id: public(PHONE),
        reason: WakeReason::PaymentSettled,
        group: [1; 32],
        expires_at_unix: START + 3_600,
        now_unix: START,
    };
    let opened =
        api.db.database.submit("test_open", move |tx| Box::pin(async move { wakes::open(tx, &wake).await }));
    opened.await.unwrap();
    let dispatcher = tokio::spawn(api.waker.clone().run());
    let answer = api.register(&api.registration(PHONE, &receiver.url()).await).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    tokio::time::timeout(Duration::from_secs(30), receiver.received(1)).await.unwrap();
    dispatcher.abort();
}

#[tokio::test]
async fn a_challenge_is_good_for_one_registration() {
    let api = Api::start().await;
    let request = api.registration(PHONE, URL).await;
    assert_eq!(api.register(&request).await.status(), StatusCode::CREATED);
    refused(api.register(&request).await, StatusCode::FORBIDDEN, "challenge_refused").await;
    let other = signed(PHONE, LSP, request.challenge, "https://push.wallet.com/other");
    refused(api.register(&other).await, StatusCode::FORBIDDEN, "challenge_refused").await;

    let late = api.registration(PHONE, URL).await;
    api.clock.advance(300);
    let problem = refused(api.register(&late).await, StatusCode::FORBIDDEN, "challenge_refused").await;
    assert!(problem.detail.contains("expired"), "{}", problem.detail);
    let foreign = signed(PHONE, LSP, api.challenge(2).await, URL);
    refused(api.register(&foreign).await, StatusCode::FORBIDDEN, "challenge_refused").await;
    let made_up = signed(PHONE, LSP, "c4".repeat(56), URL);
    refused(api.register(&made_up).await, StatusCode::FORBIDDEN, "challenge_refused").await;
    assert_eq!(api.devices().await, 1);
}

#[tokio::test]
async fn only_the_node_itself_registers_and_only_what_it_signed() {
    let api = Api::start().await;
    let for_another_lsp = signed(PHONE, 98, api.challenge(PHONE).await, URL);
    let by_another_node =
        RegisterDeviceRequest { node_id: public(PHONE), ..signed(2, LSP, api.challenge(PHONE).await, URL) };
    let another_token = RegisterDeviceRequest {
        token: "https://push.wallet.com/other".into(),
        ..api.registration(PHONE, URL).await
    };
    let no_signature =
        RegisterDeviceRequest { signature: "y".repeat(100_000 / 8), ..api.registration(PHONE, URL).await };
    for request in [for_another_lsp, by_another_node, another_token, no_signature] {
        let problem = refused(api.register(&request).await, StatusCode::FORBIDDEN, "signature_refused").await;
        assert!(problem.detail.contains("lightning-rod:register_device:"), "{}", problem.detail);
    }
    assert_eq!(api.devices().await, 0);
    assert_eq!(api.db.number("SELECT COUNT(*) AS n FROM used_challenge").await, 0, "nothing is written");
}

#[tokio::test]
async fn a_token_that_could_not_be_used_is_refused_at_once() {
    let api = Api::start().await;
    let too_long = format!("https://push.wallet.com/{}", "a".repeat(2_048));
    for token in ["http://127.0.0.1:1/", "https://169.254.169.254/", "nowhere", "", &too_long] {
        let request = api.registration(PHONE, token).await;
        refused(api.register(&request).await, StatusCode::BAD_REQUEST, "token_refused").await;
    }
    let pigeon = RegisterDeviceRequest { platform: "pigeon".into(), ..api.registration(PHONE, URL).await };
    let problem = refused(api.register(&pigeon).await, StatusCode::BAD_REQUEST, "unknown_platform").await;
    assert!(problem.detail.contains("webhook"), "{}", problem.detail);
}

#[tokio::test]
async fn what_belongs_to_another_platform_or_is_no_key_is_refused() {
    let api = Api::start().await;
    let target = || DeviceTarget::new("webhook", URL);
    for (target, kind) in [
        (DeviceTarget { topic: Some("com.wallet".into()), ..target() }, "token_refused"),
        (DeviceTarget { environment: Some("sandbox".into()), ..target() }, "token_refused"),
        (DeviceTarget { environment: Some("moon".into()), ..target() }, "token_refused"),
        (DeviceTarget { seal_key: Some("00".repeat(32)), ..target() }, "token_refused"),
        (DeviceTarget { seal_key: Some("hello".into()), ..target() }, "token_refused"),
        // No credentials are configured.
        (DeviceTarget::new("apns", "0a".repeat(32)), "unknown_platform"),
        (DeviceTarget::new("fcm", "a".repeat(100)), "unknown_platform"),
    ] {
        let request = signed_for(PHONE, LSP, api.challenge(PHONE).await, target);
        refused(api.register(&request).await, StatusCode::BAD_REQUEST, kind).await;
    }
    assert_eq!(api.devices().await, 0);

    let key = protocol::push::OpenKey::derive(&[1; 32]).seal_key();
    let sealed = DeviceTarget { seal_key: Some(key.to_string()), ..target() };
    let request = signed_for(PHONE, LSP, api.challenge(PHONE).await, sealed);
    let stripped = RegisterDeviceRequest { seal_key: None, ..request.clone() };
    refused(api.register(&stripped).await, StatusCode::FORBIDDEN, "signature_refused").await;
    api.register(&request).await.error_for_status().unwrap();
    assert_eq!(api.db.number("SELECT length(seal_key) AS n FROM device").await, 32);
}

#[tokio::test]
async fn what_cannot_be_read_is_a_problem_too() {
    let api = Api::start().await;
    let path = |path: &str| format!("{}{path}", api.base);
    let answer = api.post("/v1/challenge", &json!({ "node_id": "02" })).await;
    refused(answer, StatusCode::UNPROCESSABLE_ENTITY, "bad_request").await;
    let answer = api.post("/v1/challenge", &json!({ "node_id": public(1).to_string(), "colour": 1 })).await;
    refused(answer, StatusCode::UNPROCESSABLE_ENTITY, "bad_request").await;
    let answer = api.client.post(path("/v1/devices")).body("{").send().await.unwrap();
    refused(answer, StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad_request").await;
    // At the bound, with its quotes, it is read.
    let answer = api.post("/v1/devices", &"x".repeat(BODY_BYTES_MAX - 2)).await;
    refused(answer, StatusCode::UNPROCESSABLE_ENTITY, "bad_request").await;
    let answer = api.post("/v1/devices", &"x".repeat(BODY_BYTES_MAX - 1)).await;
    refused(answer, StatusCode::PAYLOAD_TOO_LARGE, "bad_request").await;
    refused(api.get("/v2/devices").await, StatusCode::NOT_FOUND, "not_found").await;
    refused(api.get("/v1/challenge").await, StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed").await;
}

#[tokio::test]
async fn requests_under_way_are_bounded() {
    let db = TestDatabase::new().await;
    let (node, clock) = (FakeNode::new(), TestClock::new());
    let waker = Waker::new(db.database.clone(), node.clone(), Vec::new(), token_keys(), clock.clone());
    let limits = DeviceLimits::default();
    let notifications = notifications(&db, &waker, &clock);
    let state = PublicState::new(db.database.clone(), node, waker, notifications, limits, 2, clock);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/health", listener.local_addr().unwrap());
    let app = router(state.clone());
    let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let _gateway = gateway(true);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();

    let mut places = state.inner.requests.acquire().await.unwrap();
    assert_eq!(client.get(&url).send().await.unwrap().status(), StatusCode::OK, "the second of two");
    places.merge(state.inner.requests.acquire().await.unwrap());
    let answer = client.get(&url).send().await.unwrap();
    assert_eq!(answer.headers()[header::RETRY_AFTER], "1");
    refused(answer, StatusCode::SERVICE_UNAVAILABLE, "busy").await;
    drop(places);
    assert_eq!(client.get(&url).send().await.unwrap().status(), StatusCode::OK);
    task.abort();
}

#[tokio::test]
async fn health_is_the_databases() {
    let api = Api::start().await;
    *api.node.chain_height.lock().unwrap() = None;
    let answer = api.get("/health").await;
    assert_eq!(answer.status(), StatusCode::OK, "a restart does not mend bitcoind");
    assert!(answer.json::<HealthResponse>().await.unwrap().ok);
    api.db.database.close().await;
    let answer = api.get("/health").await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    let health: HealthResponse = answer.json().await.unwrap();
    assert_eq!((health.ok, health.checks[0].detail.as_deref()), (false, Some("the database has stopped")));
}

#[tokio::test]
async fn ready_is_level_with_the_chain() {
    let api = Api::start().await;
    let ready = async || {
        let answer = api.get("/ready").await;
        let status = answer.status();
        let health: HealthResponse = answer.json().await.unwrap();
        assert_eq!(status.is_success(), health.ok);
        health.checks.into_iter().filter(|check| !check.ok).map(|check| check.name).collect::<Vec<_>>()
    };
    assert_eq!(ready().await, Vec::<String>::new());
    *api.node.chain_height.lock().unwrap() = Some(104);
    assert_eq!(ready().await, Vec::<String>::new(), "asked a moment ago");
    assert_eq!(api.node.chain_questions.load(Ordering::Relaxed), 1);
    api.clock.advance(2);
    assert_eq!(ready().await, ["synced"]);
    api.node.height.store(101, Ordering::Relaxed);
    assert_eq!(ready().await, Vec::<String>::new());

    *api.node.chain_height.lock().unwrap() = None;
    api.clock.advance(2);
    let text = api.get("/ready").await.text().await.unwrap();
    assert!(!text.contains("bitcoind.internal"), "{text}");
    assert_eq!(ready().await, ["bitcoind", "synced"]);

    *api.node.chain_height.lock().unwrap() = Some(101);
    api.clock.advance(2);
    *api.node.chain_trouble.lock().unwrap() = Some(ChainTrouble::Stalled);
    assert_eq!(ready().await, ["chain"]);
}

#[tokio::test]
async fn the_document_is_served() {
    let api = Api::start().await;
    let answer = api.get("/v1/openapi.json").await;
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/json");
    assert_eq!(answer.text().await.unwrap(), document());
}
