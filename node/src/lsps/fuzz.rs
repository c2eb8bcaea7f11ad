//! What `fuzz/` runs on LSPS messages, and on what comes to a webhook.
#![allow(clippy::unwrap_used, reason = "a panic here is a finding")]

use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use lightning::util::message_signing;
use serde_json::Value;

use super::call::{LSPS_MESSAGE_BYTES_MAX, LspsAnswer, LspsCall, LspsRefusal, LspsRequest};
use super::notification::{AGE_SECONDS_MAX, HookNotificationError, HookNotifications, signed_text};

/// What LSPS5 allows.
const APP_NAME_BYTES_MAX: usize = 64;
const URL_BYTES_MAX: usize = 1_024;

/// A hook's clock: 2026-11-21T09:30:00Z.
const NOW_UNIX: u64 = 1_795_253_400;

/// Stands between the parts of an input.
const SEPARATOR: char = '\0';

/// The longest text that takes part in an answer to a message which is none, in bytes.
const REFUSAL_BYTES_MAX: usize = 2_048;

/// A client's message, and every answer to it: each is JSON-RPC to the same request, and none is longer than what was asked.
pub fn lsps_message(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let request = match LspsRequest::read(text) {
        Ok(request) => request,
        Err(Some(refusal)) => {
            let answer = object(&refusal);
            assert!(answer["error"]["code"].is_i64() && answer.get("result").is_none(), "{refusal}");
            assert!(refusal.len() <= REFUSAL_BYTES_MAX, "{refusal}");
            return;
        }
        Err(None) => return,
    };
    assert!(text.len() <= LSPS_MESSAGE_BYTES_MAX);
    let asked: Value = serde_json::from_str(text).unwrap();
    let asks = |method: &str| assert_eq!(asked["method"], method);
    let answers = match &request.call {
        LspsCall::ListProtocols => {
            asks("lsps0.list_protocols");
            vec![LspsAnswer::Protocols]
        }
        LspsCall::ListWebhooks => {
            asks("lsps5.list_webhooks");
            vec![
                LspsAnswer::List { app_names: vec!["app".to_owned()], webhooks_max: 10 },
                LspsAnswer::NotListed,
            ]
        }
        LspsCall::SetWebhook { app_name, url } => {
            asks("lsps5.set_webhook");
            assert!(app_name.len() <= APP_NAME_BYTES_MAX && url.len() <= URL_BYTES_MAX, "{app_name} {url}");
            assert!(url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://")), "{url}");
            assert!(
                !url.contains(char::is_whitespace),
                "a hook is stored as its name, a space, and its URL: {url}"
            );
            let listed = LspsAnswer::List { app_names: vec![app_name.clone()], webhooks_max: 10 };
            let listed = object(&listed.message(&request.id));
            assert_eq!(listed["result"]["app_names"][0], app_name.as_str(), "what is set can be listed");
            vec![
                LspsAnswer::Set { webhooks: 1, webhooks_max: 10, unchanged: false },
                LspsAnswer::NotSet(LspsRefusal::TooManyWebhooks),
            ]
        }
        LspsCall::RemoveWebhook { .. } => {
            asks("lsps5.remove_webhook");
            vec![LspsAnswer::Removed, LspsAnswer::NotRemoved(LspsRefusal::NoSuchWebhook)]
        }
    };
    for answer in answers {
        let text = answer.message(&request.id);
        let answer = object(&text);
        assert_eq!(answer["id"], asked["id"], "{text}");
        assert!(answer.get("result").is_some() != answer.get("error").is_some(), "{text}");
    }
}

/// JSON-RPC 2.0, "Response object".
fn object(text: &str) -> Value {
    let answer: Value = serde_json::from_str(text).unwrap();
    assert_eq!(answer["jsonrpc"], "2.0", "{text}");
    answer
}

/// A timestamp, a signature and a body that come to a webhook; then the same signed by the LSP. A signature that the LSP did not make over
/// this very text is worth nothing, and one that it made is worth one notification.
pub fn hook_notification(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut parts = text.splitn(3, SEPARATOR);
    let (Some(timestamp), Some(signature), Some(body)) = (parts.next(), parts.next(), parts.next()) else {
        return;
    };
    let (lsp, key) = lsp();
    let hooks = HookNotifications::new(lsp);
    let signed = message_signing::sign(signed_text(timestamp, body).as_bytes(), &key);
    if !signature.eq_ignore_ascii_case(&signed) {
        let forged = hooks.check(timestamp, signature, body, NOW_UNIX);
        assert!(forged.is_err(), "{signature:?} passed for {timestamp:?} and {body:?}");
    }
    let first = hooks.check(timestamp, &signed, body, NOW_UNIX);
    assert_ne!(first, Err(HookNotificationError::Signature), "{timestamp:?} {body:?}");
    assert_ne!(first, Err(HookNotificationError::Replayed), "{timestamp:?} {body:?}");
    if first.is_ok() {
        assert_eq!(hooks.check(timestamp, &signed, body, NOW_UNIX), Err(HookNotificationError::Replayed));
        let much_later = NOW_UNIX + 2 * AGE_SECONDS_MAX + 1;
        assert_eq!(hooks.check(timestamp, &signed, body, much_later), Err(HookNotificationError::Stale));
    }
}

fn lsp() -> (PublicKey, SecretKey) {
    let key = SecretKey::from_slice(&[1; 32]).unwrap();
    (key.public_key(&Secp256k1::new()), key)
}
