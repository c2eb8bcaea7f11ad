//! What comes to a webhook, and whether it is the LSP's word.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::PublicKey;
use lightning::util::message_signing;
use lightning_liquidity::lsps0::ser::LSPSDateTime;
use serde::Deserialize;
use serde_json::Value;

/// How far the LSP's clock and ours may be apart, and how long a notification may be under way, in seconds.
pub(super) const AGE_SECONDS_MAX: u64 = 600;

/// Notifications of the last minutes that are remembered.
const SEEN_MAX: usize = 10_000;

/// The longest body, in bytes.
const BODY_BYTES_MAX: usize = 4_096;

/// What a notification says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookReason {
    /// `lsps5.webhook_registered`: the hook works.
    Registered,
    /// `lsps5.payment_incoming`
    PaymentIncoming,
    /// `lsps5.onion_message_incoming`
    OnionMessageIncoming,
    /// `lsps5.expiry_soon`
    ExpirySoon {
        /// The block height at which the LSP would have to close the channel.
        timeout: u32,
    },
    /// Another one: bLIP-55 has it ignored by who does not know it.
    Other(String),
}

/// Why a notification is not to be heeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HookNotificationError {
    /// The time cannot be read.
    #[error("x-lsps5-timestamp is no RFC 3339 time")]
    Timestamp,
    /// It is old, or from the future.
    #[error("the notification's time is more than {AGE_SECONDS_MAX} s from now")]
    Stale,
    /// Somebody else's, or of another time or body.
    #[error("x-lsps5-signature is not by the LSP over this time and body")]
    Signature,
    /// It came before.
    #[error("the notification came before")]
    Replayed,
    /// Signed by the LSP, and no notification.
    #[error("the body is no LSPS5 notification")]
    Body,
    /// More than are remembered came within minutes.
    #[error("the LSP sends more notifications than can be told from replays")]
    TooMany,
}

/// The check that whoever receives notifications of one LSP makes: a phone's own server, or the phone.
///
/// Both forms of the timestamp that are in use are taken, as long as the LSP signed the very text that it sent.
#[derive(Debug)]
pub struct HookNotifications {
    lsp: PublicKey,
    /// Of those that would not be stale now: their time, and the hash of what was signed. A signature itself can be written in
    /// several ways.
    seen: Mutex<VecDeque<(u64, sha256::Hash)>>,
}

#[derive(Deserialize)]
struct Body {
    jsonrpc: String,
    method: String,
    #[serde(default)]
    params: Value,
}

impl HookNotifications {
    /// For the hooks at `lsp`.
    pub fn new(lsp: PublicKey) -> Self {
        Self { lsp, seen: Mutex::default() }
    }

    /// Takes the headers `x-lsps5-timestamp` and `x-lsps5-signature` and the body as they came, and the time now, in seconds since
    /// 1970.
    ///
    /// # Errors
    /// For what is not the LSP's, is old, or came before.
    pub fn check(
        &self,
        timestamp: &str,
        signature: &str,
        body: &str,
        now_unix: u64,
    ) -> Result<HookReason, HookNotificationError> {
        if body.len() > BODY_BYTES_MAX {
            return Err(HookNotificationError::Body);
        }
        let time: LSPSDateTime = timestamp.parse().map_err(|()| HookNotificationError::Timestamp)?;
        let time = u64::try_from(time.0.timestamp()).map_err(|_| HookNotificationError::Timestamp)?;
        if time.abs_diff(now_unix) > AGE_SECONDS_MAX {
            return Err(HookNotificationError::Stale);
        }
        let signed = signed_text(timestamp, body);
        if !message_signing::verify(signed.as_bytes(), signature, &self.lsp) {
            return Err(HookNotificationError::Signature);
        }
        self.remember(time, sha256::Hash::hash(signed.as_bytes()), now_unix)?;
        read(body)
    }

    fn remember(&self, time: u64, signed: sha256::Hash, now_unix: u64) -> Result<(), HookNotificationError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|(time, _)| time.abs_diff(now_unix) <= AGE_SECONDS_MAX);
        if seen.iter().any(|(_, known)| *known == signed) {
            return Err(HookNotificationError::Replayed);
        }
        if seen.len() >= SEEN_MAX {
            return Err(HookNotificationError::TooMany);
        }
        seen.push_back((time, signed));
        Ok(())
    }
}

/// bLIP-55, "Webhook Call".
pub(super) fn signed_text(timestamp: &str, body: &str) -> String {
    format!("LSPS5: DO NOT SIGN THIS MESSAGE MANUALLY: LSP: At {timestamp} I notify {body}")
}

fn read(body: &str) -> Result<HookReason, HookNotificationError> {
    let body: Body = serde_json::from_str(body).map_err(|_| HookNotificationError::Body)?;
    if body.jsonrpc != "2.0" {
        return Err(HookNotificationError::Body);
    }
    Ok(match body.method.as_str() {
        "lsps5.webhook_registered" => HookReason::Registered,
        "lsps5.payment_incoming" => HookReason::PaymentIncoming,
        "lsps5.onion_message_incoming" => HookReason::OnionMessageIncoming,
        "lsps5.expiry_soon" => {
            let timeout = body.params["timeout"].as_u64().and_then(|height| u32::try_from(height).ok());
            HookReason::ExpirySoon { timeout: timeout.ok_or(HookNotificationError::Body)? }
        }
        _ => HookReason::Other(body.method),
    })
}

#[cfg(test)]
mod tests {
    use bitcoin::secp256k1::{Secp256k1, SecretKey};

    use super::*;

    /// 2026-11-21T09:30:00Z
    const NOW: u64 = 1_795_253_400;
    const BODY: &str = r#"{"jsonrpc":"2.0","method":"lsps5.payment_incoming","params":{}}"#;
    const OFFSET: &str = "2026-11-21T09:30:00.123456+00:00";
    const ZULU: &str = "2026-11-21T09:30:00.123Z";

    fn key(byte: u8) -> SecretKey {
        SecretKey::from_slice(&[byte; 32]).unwrap()
    }

    fn sign(byte: u8, timestamp: &str, body: &str) -> String {
        message_signing::sign(signed_text(timestamp, body).as_bytes(), &key(byte))
    }

    fn lsp() -> HookNotifications {
        HookNotifications::new(key(1).public_key(&Secp256k1::new()))
    }

    #[test]
    fn both_forms_of_the_time_are_taken_once() {
        let lsp = lsp();
        for timestamp in [OFFSET, ZULU, "2026-11-21T09:30:00+00:00"] {
            let signature = sign(1, timestamp, BODY);
            assert_eq!(lsp.check(timestamp, &signature, BODY, NOW), Ok(HookReason::PaymentIncoming));
            for signature in [signature.clone(), signature.to_ascii_uppercase()] {
                let again = lsp.check(timestamp, &signature, BODY, NOW + 600);
                assert_eq!(again, Err(HookNotificationError::Replayed), "{timestamp}");
            }
            let late = lsp.check(timestamp, &signature, BODY, NOW + 601);
            assert_eq!(late, Err(HookNotificationError::Stale));
        }
        assert_eq!(lsp.seen.lock().unwrap().len(), 3);
        let later = "2026-11-21T09:45:00Z";
        lsp.check(later, &sign(1, later, BODY), BODY, NOW + 900).unwrap();
        assert_eq!(lsp.seen.lock().unwrap().len(), 1, "what would be stale is forgotten");
    }

    #[test]
    fn what_is_not_the_lsps_word_is_refused() {
        let (lsp, signature) = (lsp(), sign(1, OFFSET, BODY));
        let other = BODY.replace("payment", "onion_message");
        for (timestamp, signature, body, why) in [
            (OFFSET, sign(2, OFFSET, BODY), BODY, HookNotificationError::Signature),
            (OFFSET, signature.clone(), &*other, HookNotificationError::Signature),
            (ZULU, signature.clone(), BODY, HookNotificationError::Signature),
            (OFFSET, String::new(), BODY, HookNotificationError::Signature),
            ("yesterday", signature.clone(), BODY, HookNotificationError::Timestamp),
            ("1969-12-31T23:59:59Z", signature.clone(), BODY, HookNotificationError::Timestamp),
            ("2026-11-21T09:19:59Z", signature.clone(), BODY, HookNotificationError::Stale),
            ("2026-11-21T09:40:01Z", signature.clone(), BODY, HookNotificationError::Stale),
        ] {
            assert_eq!(
                lsp.check(timestamp, &signature, body, NOW),
                Err(why),
                "{timestamp} {signature} {body}"
            );
        }
        assert_eq!(lsp.check(OFFSET, &signature, BODY, NOW), Ok(HookReason::PaymentIncoming), "none counted");
    }

    #[test]
    fn every_method_is_read() {
        let say = |method: &str, params: &str| {
            read(&format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#))
        };
        assert_eq!(say("lsps5.webhook_registered", "{}"), Ok(HookReason::Registered));
        assert_eq!(say("lsps5.onion_message_incoming", "{}"), Ok(HookReason::OnionMessageIncoming));
        let soon = HookReason::ExpirySoon { timeout: 900 };
        assert_eq!(say("lsps5.expiry_soon", r#"{"timeout":900}"#), Ok(soon));
        assert_eq!(say("lsps5.expiry_soon", r#"{"timeout":-1}"#), Err(HookNotificationError::Body));
        assert_eq!(say("other.news", "{}"), Ok(HookReason::Other("other.news".into())));
        for body in ["", "{}", r#"{"jsonrpc":"1.0","method":"lsps5.payment_incoming"}"#] {
            assert_eq!(read(body), Err(HookNotificationError::Body), "{body}");
        }
        let long = format!("{BODY}{}", " ".repeat(BODY_BYTES_MAX));
        assert_eq!(
            lsp().check(OFFSET, &sign(1, OFFSET, &long), &long, NOW),
            Err(HookNotificationError::Body)
        );
    }
}
