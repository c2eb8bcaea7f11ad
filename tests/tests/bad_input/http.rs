//! Strangers at the real public API. `lsp-server`'s own tests have every refusal; here is what depends on how it is served.

use std::time::Duration;

use protocol::api::public::{ChallengeRequest, ChallengeResponse, DeviceTarget, RegisterDeviceRequest};
use protocol::api::{PROBLEM_CONTENT_TYPE, Problem};
use reqwest::{Response, StatusCode, header};
use serde_json::json;
use tests::failure::{Failure, TestResult};

use crate::ground::on_ground;

fn failure(source: reqwest::Error) -> Failure {
    Failure::RpcTransport { method: "the public API".to_owned(), source }
}

async fn refused(response: Response, status: StatusCode, kind: &str) -> Result<(), Failure> {
    let content_type = response.headers().get(header::CONTENT_TYPE).cloned();
    assert_eq!(response.status(), status);
    assert_eq!(content_type.as_ref().map(|value| value.as_bytes()), Some(PROBLEM_CONTENT_TYPE.as_bytes()));
    let problem: Problem = response.json().await.map_err(failure)?;
    assert_eq!((problem.kind.as_str(), problem.status), (kind, status.as_u16()));
    assert!(!problem.detail.is_empty());
    Ok(())
}

#[test]
fn nothing_that_is_not_signed_is_registered() -> TestResult {
    on_ground(async |ground| {
        let client = tests::http::client(Duration::from_secs(30))?;
        let (url, devices) = (ground.lsp.api_url(), format!("{}/v1/devices", ground.lsp.api_url()));
        let before = ground.lsp.devices().await?;

        let json_of = |body: String| {
            client.post(&devices).header(header::CONTENT_TYPE, "application/json").body(body).send()
        };
        let malformed = json_of("{\"node_id\":".to_owned()).await.map_err(failure)?;
        refused(malformed, StatusCode::BAD_REQUEST, "bad_request").await?;
        let oversized =
            json_of(json!({ "token": "x".repeat(1 << 20) }).to_string()).await.map_err(failure)?;
        refused(oversized, StatusCode::PAYLOAD_TOO_LARGE, "bad_request").await?;

        let info = ground.lsp.info().await?;
        let challenge = client.post(format!("{url}/v1/challenge"));
        let challenge = challenge.json(&ChallengeRequest { node_id: info.node_id }).send().await;
        let challenge: ChallengeResponse = challenge.map_err(failure)?.json().await.map_err(failure)?;
        let target = DeviceTarget::new("webhook", "http://127.0.0.1:9/");
        let mut unsigned = RegisterDeviceRequest::new(info.node_id, challenge.challenge.clone(), target);
        unsigned.signature = "y".repeat(104);
        let answer = client.post(&devices).json(&unsigned).send().await.map_err(failure)?;
        refused(answer, StatusCode::FORBIDDEN, "signature_refused").await?;
        let wrong = RegisterDeviceRequest { challenge: "c4".repeat(56), ..unsigned };
        let answer = client.post(&devices).json(&wrong).send().await.map_err(failure)?;
        refused(answer, StatusCode::FORBIDDEN, "challenge_refused").await?;

        assert_eq!(ground.lsp.devices().await?, before);
        let health = client.get(format!("{url}/health")).send().await.map_err(failure)?;
        assert_eq!(health.status(), StatusCode::OK);
        Ok(())
    })
}
