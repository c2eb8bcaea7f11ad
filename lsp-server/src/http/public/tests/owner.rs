//! What a node asks about its own devices and wakes.

use protocol::api::ledger::{PutOff, WakeRecord, WakeState};
use protocol::api::owner::{
    Authorization, OwnDevices, OwnerAction, RefreshDeviceRequest, TestPushResponse, owner_text,
    refresh_subject,
};

use super::*;

const OTHER_URL: &str = "https://push.wallet.com/wake/other";

impl Api {
    /// A header that is right in every way.
    async fn authorization(&self, node: u8, action: OwnerAction, subject: &str) -> String {
        let challenge = self.challenge(node).await;
        let text = owner_text(&public(LSP), &challenge, action, subject);
        let signature = message_signing::sign(text.as_bytes(), &secret(node));
        Authorization { node_id: public(node), challenge, signature }.to_string()
    }

    async fn ask(
        &self,
        node: u8,
        method: reqwest::Method,
        path: &str,
        (action, subject): (OwnerAction, &str),
    ) -> reqwest::Response {
        let authorization = self.authorization(node, action, subject).await;
        self.send(method, path, &authorization).await
    }

    async fn send(&self, method: reqwest::Method, path: &str, authorization: &str) -> reqwest::Response {
        let request = self.client.request(method, format!("{}{path}", self.base));
        request.header(header::AUTHORIZATION, authorization).send().await.unwrap()
    }

    async fn own_devices(&self, node: u8) -> OwnDevices {
        let answer =
            self.ask(node, reqwest::Method::GET, "/v1/devices", (OwnerAction::ListDevices, "")).await;
        assert_eq!(answer.status(), StatusCode::OK);
        answer.json().await.unwrap()
    }

    async fn registered(&self, node: u8, url: &str) -> String {
        let answer = self.register(&self.registration(node, url).await).await.error_for_status().unwrap();
        answer.json::<RegisterDeviceResponse>().await.unwrap().device_id
    }

    async fn refresh(&self, node: u8, device_id: &str, token: &str) -> reqwest::Response {
        let request = RefreshDeviceRequest::new(DeviceTarget::new("webhook", token));
        let subject = refresh_subject(device_id, &request.target());
        let authorization = self.authorization(node, OwnerAction::RefreshDevice, &subject).await;
        let url = format!("{}/v1/devices/{device_id}", self.base);
        self.client.put(url).header(header::AUTHORIZATION, authorization).json(&request).send().await.unwrap()
    }
}

#[tokio::test]
async fn a_node_sees_its_own_devices_and_no_token() {
    let api = Api::start().await;
    let mine = api.registered(PHONE, URL).await;
    api.registered(2, URL).await;
    let authorization = api.authorization(PHONE, OwnerAction::ListDevices, "").await;
    let text = api.send(reqwest::Method::GET, "/v1/devices", &authorization).await.text().await.unwrap();
    assert!(!text.contains("secret"), "{text}");
    let devices = serde_json::from_str::<OwnDevices>(&text).unwrap().devices;
    assert_eq!(devices.len(), 1);
    assert_eq!((devices[0].device_id.as_str(), devices[0].platform.as_str()), (mine.as_str(), "webhook"));
    assert_eq!((devices[0].registered_at, devices[0].paused_until), (START, None));
}

#[tokio::test]
async fn whoever_does_not_sign_for_this_very_request_is_refused() {
    let api = Api::start().await;
    let device = api.registered(PHONE, URL).await;
    let get = reqwest::Method::GET;
    let answer = api.get("/v1/devices").await;
    assert_eq!(answer.headers()[header::WWW_AUTHENTICATE], "LightningRod");
    refused(answer, StatusCode::UNAUTHORIZED, "unauthorized").await;
    for malformed in ["Bearer abc", "LightningRod a.b.c", ""] {
        let answer = api.send(get.clone(), "/v1/devices", malformed).await;
        refused(answer, StatusCode::UNAUTHORIZED, "unauthorized").await;
    }

    let header = api.authorization(PHONE, OwnerAction::ListDevices, "").await;
    api.send(get.clone(), "/v1/devices", &header).await.error_for_status().unwrap();
    let replayed = api.send(get.clone(), "/v1/devices", &header).await;
    refused(replayed, StatusCode::FORBIDDEN, "challenge_refused").await;

    let for_a_list = (OwnerAction::ListDevices, "");
    let path = format!("/v1/devices/{device}");
    let answer = api.ask(PHONE, reqwest::Method::DELETE, &path, for_a_list).await;
    let problem = refused(answer, StatusCode::FORBIDDEN, "signature_refused").await;
    assert!(problem.detail.contains("lightning-rod:remove_device:"), "{}", problem.detail);
    let for_another = (OwnerAction::RemoveDevice, "00112233445566778899aabbccddeeff");
    let answer = api.ask(PHONE, reqwest::Method::DELETE, &path, for_another).await;
    refused(answer, StatusCode::FORBIDDEN, "signature_refused").await;
    let late = api.authorization(PHONE, OwnerAction::ListDevices, "").await;
    api.clock.advance(300);
    refused(api.send(get, "/v1/devices", &late).await, StatusCode::FORBIDDEN, "challenge_refused").await;
    assert_eq!(api.devices().await, 1);
}

#[tokio::test]
async fn a_node_removes_its_own_devices_only() {
    let api = Api::start().await;
    let mine = api.registered(PHONE, URL).await;
    let path = format!("/v1/devices/{mine}");
    let delete = reqwest::Method::DELETE;
    let answer = api.ask(2, delete.clone(), &path, (OwnerAction::RemoveDevice, &mine)).await;
    refused(answer, StatusCode::NOT_FOUND, "not_found").await;
    let answer = api.ask(PHONE, delete.clone(), &path, (OwnerAction::RemoveDevice, &mine)).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    assert_eq!(api.devices().await, 0);
    let answer = api.ask(PHONE, delete.clone(), &path, (OwnerAction::RemoveDevice, &mine)).await;
    refused(answer, StatusCode::NOT_FOUND, "not_found").await;
    let answer = api.ask(PHONE, delete, "/v1/devices/none", (OwnerAction::RemoveDevice, "none")).await;
    refused(answer, StatusCode::NOT_FOUND, "not_found").await;
}

#[tokio::test]
async fn a_refreshed_device_keeps_its_name() {
    let api = Api::start().await;
    let device = api.registered(PHONE, URL).await;
    api.clock.advance(60);
    let answer = api.refresh(PHONE, &device, OTHER_URL).await.error_for_status().unwrap();
    let answer: RegisterDeviceResponse = answer.json().await.unwrap();
    assert_eq!(answer, RegisterDeviceResponse { device_id: device.clone(), durable: true });
    let devices = api.own_devices(PHONE).await.devices;
    assert_eq!((devices.len(), devices[0].registered_at), (1, START + 60));

    let second = api.registered(PHONE, URL).await;
    assert_ne!(second, device, "the old token is nobody's now");
    refused(api.refresh(PHONE, &second, OTHER_URL).await, StatusCode::CONFLICT, "token_taken").await;
    refused(api.refresh(2, &device, "https://push.wallet.com/2").await, StatusCode::NOT_FOUND, "not_found")
        .await;
    let answer = api.refresh(PHONE, &device, "https://127.0.0.1/").await;
    refused(answer, StatusCode::BAD_REQUEST, "token_refused").await;
}

#[tokio::test]
async fn a_test_push_says_what_the_provider_said() {
    let api = Api::with(DeviceLimits::default(), true).await;
    let receiver = Receiver::start().await;
    let device = api.registered(PHONE, &receiver.url()).await;
    let path = format!("/v1/devices/{device}/test");
    let test =
        async || api.ask(PHONE, reqwest::Method::POST, &path, (OwnerAction::TestDevice, &device)).await;
    let answer = test().await;
    assert_eq!(answer.status(), StatusCode::OK);
    let verdict: TestPushResponse = answer.json().await.unwrap();
    assert_eq!((verdict.verdict.as_str(), verdict.why), ("accepted", None));
    tokio::time::timeout(Duration::from_secs(30), receiver.received(1)).await.unwrap();

    let answer = test().await;
    assert_eq!(answer.headers()[header::RETRY_AFTER], "30");
    refused(answer, StatusCode::TOO_MANY_REQUESTS, "too_soon").await;
    api.clock.advance(30);
    receiver.answers(StatusCode::GONE, None);
    let verdict: TestPushResponse = test().await.json().await.unwrap();
    assert_eq!((verdict.verdict.as_str(), verdict.why.as_deref()), ("token_dead", Some("HTTP 410")));
    api.clock.advance(30);
    refused(test().await, StatusCode::NOT_FOUND, "not_found").await;
}

#[tokio::test]
async fn a_node_reads_why_its_phone_did_not_ring() {
    let api = Api::start().await;
    for node in [PHONE, 2] {
        let wake = NewWake {
            node_id: public(node),
            reason: WakeReason::PaymentSettled,
            group: [1; 32],
            expires_at_unix: START + 3_600,
            now_unix: START,
        };
        let opened = api
            .db
            .database
            .submit("test_open", move |tx| Box::pin(async move { wakes::open(tx, &wake).await }));
        opened.await.unwrap();
    }
    let dispatcher = tokio::spawn(api.waker.clone().run());
    let ledger = async || {
        let answer = api.ask(PHONE, reqwest::Method::GET, "/v1/wakes", (OwnerAction::ListWakes, "")).await;
        answer.error_for_status().unwrap().json::<Vec<WakeRecord>>().await.unwrap()
    };
    let looked_at = async {
        loop {
            let records = ledger().await;
            if records[0].put_off.is_some() {
                return records;
            }
        }
    };
    let records = tokio::time::timeout(Duration::from_secs(30), looked_at).await.unwrap();
    dispatcher.abort();
    assert_eq!(records.len(), 1, "its own only");
    assert_eq!((records[0].state, records[0].put_off), (WakeState::Open, Some(PutOff::NoDevice)));
    assert!(records[0].explanation.contains("no device"), "{}", records[0].explanation);
}
