//! The public HTTP API of `lsp-server`: what a phone asks, and what load balancers and monitoring ask.
//!
//! Bodies are JSON; ids are hex, times seconds since 1970. Errors are [`Problem`](super::Problem)s.

use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::PublicKey;
use serde::{Deserialize, Serialize};

use super::text::own;

/// `GET /v1/lsp`: whom a device registers with, and what may be registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LspInfo {
    /// The LSP's node id: part of what is signed.
    #[serde(with = "own")]
    pub node_id: PublicKey,
    /// The push platforms that it serves.
    pub platforms: Vec<String>,
}

/// `POST /v1/challenge`: the first step of a registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChallengeRequest {
    /// The node that will sign.
    #[serde(with = "own")]
    pub node_id: PublicKey,
}

/// Answer to [`ChallengeRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChallengeResponse {
    /// To be signed once, within [`registration_text`].
    pub challenge: String,
    /// When it stops being of use. A restart of the LSP may end it earlier: then ask again.
    pub expires_at: u64,
}

/// `POST /v1/devices`: where the phone of a node can be woken. `Debug` hides the token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterDeviceRequest {
    /// The node that signs, and that is woken.
    #[serde(with = "own")]
    pub node_id: PublicKey,
    /// From [`ChallengeResponse`].
    pub challenge: String,
    /// `webhook`
    pub platform: String,
    /// What the platform knows the device by; for `webhook` its URL.
    pub token: String,
    /// LDK's `message_signing` (zbase32) by the node's key, over [`registration_text`].
    pub signature: String,
}

impl std::fmt::Debug for RegisterDeviceRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegisterDeviceRequest")
            .field("node_id", &self.node_id)
            .field("platform", &self.platform)
            .finish_non_exhaustive()
    }
}

/// Answer to [`RegisterDeviceRequest`]: 201, or 200 if the device was registered before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterDeviceResponse {
    /// The server's name for the device; the same for each registration of one token.
    pub device_id: String,
    /// The registration is on disk: always true, since there is no answer before.
    pub durable: bool,
}

/// `GET /health` and `GET /ready`: 200 if all is well, 503 if not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthResponse {
    /// Whether all checks passed.
    pub ok: bool,
    /// The checks, by name.
    pub checks: Vec<HealthCheck>,
}

/// One check of a [`HealthResponse`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// What was checked.
    pub name: String,
    /// Whether it passed.
    pub ok: bool,
    /// What is wrong; absent if nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What a node signs to register a device with `lsp`. The signature is good for this LSP, challenge, platform and token
/// only; the token itself is not in the text, so that whoever logs what was signed does not log the token.
pub fn registration_text(lsp: &PublicKey, challenge: &str, platform: &str, token: &str) -> String {
    let token_hash = sha256::Hash::hash(token.as_bytes());
    format!("lightning-rod:register_device:{lsp}:{challenge}:{platform}:{token_hash}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

    #[test]
    fn the_text_to_sign_is_stable() {
        let text = registration_text(&NODE.parse().unwrap(), "c4a1", "webhook", "https://push.example/1");
        assert_eq!(
            text,
            format!(
                "lightning-rod:register_device:{NODE}:c4a1:webhook:{}",
                sha256::Hash::hash(b"https://push.example/1")
            )
        );
        assert_eq!(text.rsplit(':').next().map(str::len), Some(64));
    }

    #[test]
    fn the_token_is_never_shown() {
        let request = RegisterDeviceRequest {
            node_id: NODE.parse().unwrap(),
            challenge: "c4a1".into(),
            platform: "webhook".into(),
            token: "https://push.example/secret".into(),
            signature: "d".repeat(104),
        };
        assert!(!format!("{request:?}").contains("secret"));
        let json = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<RegisterDeviceRequest>(&json).unwrap(), request);
    }

    #[test]
    fn unknown_fields_are_refused() {
        let json = format!(r#"{{"node_id":"{NODE}","colour":"red"}}"#);
        assert!(serde_json::from_str::<ChallengeRequest>(&json).is_err());
        assert!(serde_json::from_str::<ChallengeRequest>(r#"{"node_id":"02"}"#).is_err());
    }
}
