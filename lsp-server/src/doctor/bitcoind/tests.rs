use std::path::Path;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use tokio::net::TcpListener;

use super::super::Verdict;
use super::*;

const NOW: u64 = 1_800_000_000;

struct FixedClock;

impl Clock for FixedClock {
    fn now_unix(&self) -> u64 {
        NOW
    }
}

fn config(network: &str, url: &str) -> Config {
    let text = format!(
        "network = \"{network}\"\n[bitcoind]\nrpc_url = \"{url}\"\nrpc_user = \"user\"\nrpc_password = \"hunter2\""
    );
    Config::parse(Path::new("/data"), &text, []).unwrap()
}

fn good() -> Value {
    json!({ "chain": "main", "blocks": 10, "headers": 10, "initialblockdownload": false, "time": NOW - 60 })
}

async fn answer(
    State(chain_info): State<Arc<Value>>,
    headers: HeaderMap,
    Json(request): Json<Value>,
) -> Response {
    // Basic authorization of user:hunter2.
    if headers["authorization"] != "Basic dXNlcjpodW50ZXIy" {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let result = match request["method"].as_str() {
        Some("getblockchaininfo") => (*chain_info).clone(),
        _ => json!({ "version": 290_000, "subversion": "/Satoshi:29.0.0/" }),
    };
    match result {
        Value::String(message) => {
            let error =
                json!({ "result": null, "error": { "code": -28, "message": message }, "id": "doctor" });
            (StatusCode::INTERNAL_SERVER_ERROR, Json(error)).into_response()
        }
        result => Json(json!({ "result": result, "error": null, "id": "doctor" })).into_response(),
    }
}

/// What is found with a bitcoind that gives this for `getblockchaininfo`; a text is an error.
async fn examine_with(network: &str, chain_info: Value) -> Vec<Check> {
    drop(rustls::crypto::ring::default_provider().install_default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().route("/", post(answer)).with_state(Arc::new(chain_info));
    let server = tokio::spawn(async { axum::serve(listener, app).await });
    let checks = examine(&config(network, &url), &FixedClock).await;
    server.abort();
    checks
}

/// The checks that are not as they should be, without those that were skipped.
fn findings(checks: &[Check]) -> Vec<(&'static str, Verdict)> {
    checks
        .iter()
        .filter(|check| matches!(check.verdict, Verdict::Warning | Verdict::Failed))
        .map(|check| (check.name, check.verdict))
        .collect()
}

#[tokio::test]
async fn a_good_bitcoind_passes() {
    let checks = examine_with("bitcoin", good()).await;
    assert_eq!(findings(&checks), []);
    assert_eq!(checks.len(), 5);
}

#[tokio::test]
async fn each_fault_is_found_alone() {
    for (network, change, expected) in [
        ("signet", json!({}), ("chain", Verdict::Failed)),
        ("bitcoin", json!({ "initialblockdownload": true }), ("sync", Verdict::Failed)),
        ("bitcoin", json!({ "headers": 11 }), ("sync", Verdict::Failed)),
        ("bitcoin", json!({ "time": NOW + 7_201 }), ("clock", Verdict::Failed)),
        ("bitcoin", json!({ "time": NOW - 21_601 }), ("clock", Verdict::Warning)),
    ] {
        let mut info = good();
        info.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        assert_eq!(findings(&examine_with(network, info).await), [expected], "{change}");
    }
}

#[tokio::test]
async fn a_regtest_without_new_blocks_is_fine() {
    let mut info = good();
    info["chain"] = "regtest".into();
    info["time"] = 1.into();
    assert_eq!(findings(&examine_with("regtest", info).await), []);
}

#[tokio::test]
async fn a_bitcoind_that_is_starting_says_so_itself() {
    let checks = examine_with("bitcoin", "Loading block index...".into()).await;
    assert_eq!(findings(&checks), [("bitcoind", Verdict::Failed)]);
    assert!(checks[0].found.contains("Loading block index"), "{:?}", checks[0]);
}

#[tokio::test]
async fn nobody_another_service_and_a_wrong_password_are_told_apart() {
    drop(rustls::crypto::ring::default_provider().install_default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let nobody = examine(&config("bitcoin", &url), &FixedClock).await;
    assert!(nobody[0].found.contains("does not answer"), "{:?}", nobody[0]);
    assert_eq!(nobody.iter().filter(|check| check.verdict == Verdict::Skipped).count(), 4);

    for (app, expected) in [
        (Router::new(), "is no bitcoind"),
        (
            Router::new().route("/", post(async || StatusCode::UNAUTHORIZED)),
            "refuses the user or the password",
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async { axum::serve(listener, app).await });
        let checks = examine(&config("bitcoin", &url), &FixedClock).await;
        server.abort();
        assert!(checks[0].found.contains(expected), "{:?}", checks[0]);
        assert!(!format!("{checks:?}").contains("hunter2"), "{checks:?}");
    }
}

#[test]
fn an_old_bitcoind_is_remarked() {
    let old = json!({ "version": 250_100, "subversion": "/Satoshi:25.1.0/" });
    assert_eq!(version(&old).verdict, Verdict::Warning);
}
