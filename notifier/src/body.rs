//! What a phone gets, whatever the gateway: JSON of a constant size, so that its length tells a listener nothing.
//!
//! ```json
//! {"expires_at":1790000000,"id":"<32 hex digits>","padding":"000...","reason":"payment_incoming"}
//! ```
//!
//! For a device that registered a key it is sealed ([`protocol::push`]), and the provider sees only
//!
//! ```json
//! {"sealed":"<base64url without padding>"}
//! ```

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use crate::{Ambient, Push, PushTarget};

/// The size of every open body, in bytes. The longest content, with an empty padding, is 136.
pub(crate) const BODY_BYTES: usize = 256;

/// The body of `push` for this device.
pub(crate) fn body(push: &Push, target: &PushTarget, ambient: &Ambient) -> String {
    let open = constant_size(push);
    let sealed = target.seal_key.and_then(|key| key.seal(open.as_bytes(), ambient.fresh_bytes()).ok());
    match (sealed, target.seal_key) {
        (Some(sealed), _) => json!({ "sealed": URL_SAFE_NO_PAD.encode(sealed) }).to_string(),
        (None, None) => open,
        // A key that was checked at registration always seals. If not: wake the phone, and tell the provider nothing.
        (None, Some(_)) => json!({ "sealed": "" }).to_string(),
    }
}

/// The JSON of `push`, filled up to [`BODY_BYTES`].
fn constant_size(push: &Push) -> String {
    // Nothing in it needs escaping: a reason is a code, the rest are digits.
    let mut body = format!(r#"{{"expires_at":{},"id":"{}","padding":""#, push.expires_at(), push.wake_id());
    let end = format!(r#"","reason":"{}"}}"#, push.reason());
    let missing = BODY_BYTES.saturating_sub(body.len() + end.len());
    body.reserve(missing + end.len());
    body.extend(std::iter::repeat_n('0', missing));
    body.push_str(&end);
    body
}

#[cfg(test)]
mod tests {
    use protocol::push::OpenKey;

    use super::*;
    use crate::{GatewayKind, WakeId};

    const CASES: [(&str, u64); 3] =
        [("x", 0), ("payment_incoming", 1_790_000_000), ("expiry_soon", u64::MAX)];

    fn push(reason: &str, expires_at: u64) -> Push {
        Push::new(reason, WakeId([0xab; 16]), expires_at).unwrap()
    }

    #[test]
    fn every_body_has_the_same_size() {
        for (reason, expires_at) in CASES.into_iter().chain([("z".repeat(32).as_str(), u64::MAX)]) {
            let body = constant_size(&push(reason, expires_at));
            assert_eq!(body.len(), BODY_BYTES, "{body}");
            let read: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(read["reason"], reason);
            assert_eq!(read["id"], "ab".repeat(16));
            assert_eq!(read["expires_at"], expires_at);
            assert_eq!(read.as_object().unwrap().len(), 4, "nothing else is told: {body}");
        }
    }

    #[test]
    fn a_sealed_body_has_one_size_and_tells_nothing() {
        let key = OpenKey::derive(&[5; 32]);
        let mut target = PushTarget::new(GatewayKind::Webhook, "https://push.wallet.com/");
        target.seal_key = Some(key.seal_key());
        let mut sizes = Vec::new();
        for (reason, expires_at) in CASES {
            let push = push(reason, expires_at);
            let body = body(&push, &target, &Ambient::fixed(0));
            assert!(!body.contains(reason) || reason == "x", "{body}");
            let read: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(read.as_object().unwrap().len(), 1);
            let sealed = URL_SAFE_NO_PAD.decode(read["sealed"].as_str().unwrap()).unwrap();
            assert_eq!(key.open(&sealed).unwrap(), constant_size(&push).into_bytes());
            sizes.push(body.len());
        }
        sizes.dedup();
        assert_eq!(sizes.len(), 1);
    }
}
