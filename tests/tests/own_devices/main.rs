//! A wallet looks after its own devices at its LSP, by the command line.

mod hook;
mod lsps5;
mod notify;
mod pushed;
mod tls;

use serde_json::Value;
use tests::attempt::{Attempt, Program};
use tests::failure::{Failure, TestResult};
use tests::stage::{PAYMENT_TIMEOUT, Setup, Stage};

fn refused(attempt: &Attempt, words: &str) {
    assert_eq!(attempt.code, Some(1), "{attempt:#?}");
    assert!(attempt.stderr.contains(words) && !attempt.stderr.contains("panicked"), "{attempt:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_lists_refreshes_tests_and_removes_its_devices() -> TestResult {
    let stage = Stage::new(Setup::lsps(1)).await?;
    let phone = &stage.payer;
    // Its app stays closed: what is pushed is only looked at.
    phone.leave_coverage();
    assert_eq!(phone.ask(&["wakes"]).await?, Value::Array(Vec::new()));
    let devices = phone.ask(&["devices", "list"]).await?;
    assert_eq!(devices.as_array().map(Vec::len), Some(1), "{devices}");
    assert_eq!(devices[0]["platform"], "webhook");
    assert!(!devices.to_string().contains("/push/"), "no token is shown: {devices}");
    let id = devices[0]["device_id"].as_str().unwrap_or_default().to_owned();

    let tested = phone.ask(&["devices", "test", &id]).await?;
    assert_eq!(tested["verdict"], "accepted", "{tested}");
    assert_eq!(phone.wait_for_push(1, PAYMENT_TIMEOUT).await?.body.reason, "test");
    let program = Program::wallet(phone.wallet().data_dir());
    refused(&program.attempt(&["devices", "test", &id]).await?, "tested a moment ago");

    // Port 9 refuses: what the LSP says of the new token is its own.
    let elsewhere = "http://127.0.0.1:9/elsewhere";
    phone.ask(&["devices", "refresh", &id, "--webhook", elsewhere]).await?;
    let tested = phone.ask(&["devices", "test", &id]).await?;
    assert_eq!(tested["verdict"], "retry", "{tested}");
    phone.ask(&["devices", "refresh", &id, "--webhook", phone.webhook_url(), "--sealed"]).await?;
    assert_eq!(phone.ask(&["devices", "list"]).await?[0]["device_id"], id.as_str(), "its id stays");
    refused(&program.attempt(&["devices", "refresh", &id, "--webhook", "nowhere"]).await?, "URL");

    // The other phone's wallet can do nothing about it.
    let other = Program::wallet(stage.payee.wallet().data_dir());
    for command in ["remove", "test"] {
        refused(&other.attempt(&["devices", command, &id]).await?, "no such device");
    }

    let database = stage.payers_lsp().data_dir().join("lsp.sqlite");
    let mut bytes = Vec::new();
    for path in [database.clone(), database.with_extension("sqlite-wal")] {
        bytes.extend(std::fs::read(&path).map_err(|source| Failure::File { path, source })?);
    }
    let held = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    assert!(held(b"sealed_token") && held(b"webhook"), "what is stored in plain is found");
    for secret in [elsewhere, phone.webhook_url()] {
        assert!(!held(secret.as_bytes()), "the database holds a token");
    }

    phone.ask(&["devices", "remove", &id]).await?;
    assert_eq!(phone.ask(&["devices", "list"]).await?, Value::Array(Vec::new()));
    refused(&program.attempt(&["devices", "remove", &id]).await?, "no such device");
    stage.finish().await?;
    Ok(())
}
