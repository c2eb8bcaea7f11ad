//! The public HTTP API of `lsp-server`: what a phone asks, and what load balancers and monitoring ask.
//!
//! Bodies are JSON; ids are hex, times seconds since 1970. Errors are [`Problem`](super::Problem)s.

use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::PublicKey;
use serde::{Deserialize, Serialize};

use super::text::own;

/// `GET /v1/lsp`: whom a device registers with, and what may be registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LspInfo {
    /// The LSP's node id: part of what is signed.
    #[serde(with = "own")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0[23][0-9a-f]{64}$"))]
    pub node_id: PublicKey,
    /// The push platforms that it serves.
    pub platforms: Vec<String>,
}

/// `POST /v1/challenge`: the first step of a registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ChallengeRequest {
    /// The node that will sign.
    #[serde(with = "own")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0[23][0-9a-f]{64}$"))]
    pub node_id: PublicKey,
}

/// Answer to [`ChallengeRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ChallengeResponse {
    /// To be signed once, within [`registration_text`].
    pub challenge: String,
    /// When it stops being of use. A restart of the LSP may end it earlier: then ask again.
    pub expires_at: u64,
}

/// `POST /v1/devices`: where the phone of a node can be woken. `Debug` hides the token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RegisterDeviceRequest {
    /// The node that signs, and that is woken.
    #[serde(with = "own")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0[23][0-9a-f]{64}$"))]
    pub node_id: PublicKey,
    /// From [`ChallengeResponse`].
    pub challenge: String,
    /// `apns`, `fcm`, `unifiedpush` or `webhook`: one of [`LspInfo::platforms`].
    pub platform: String,
    /// What the platform knows the device by: the device token in hex, the registration token, the endpoint, the URL.
    pub token: String,
    /// `apns` only: the app's bundle id. May be left out if the LSP pushes to one app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// `apns` only: `production`, or `sandbox` for development builds. Production if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// An X25519 public key in hex: pushes are sealed to it (see [`crate::push`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal_key: Option<String>,
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

impl RegisterDeviceRequest {
    /// A request whose signature is still to come.
    pub fn new(node_id: PublicKey, challenge: impl Into<String>, target: DeviceTarget) -> Self {
        let DeviceTarget { platform, token, topic, environment, seal_key } = target;
        let (challenge, signature) = (challenge.into(), String::new());
        Self { node_id, challenge, platform, token, topic, environment, seal_key, signature }
    }

    /// What `lsp`'s clients sign for this request.
    pub fn text(&self, lsp: &PublicKey) -> String {
        registration_text(lsp, &self.challenge, &self.target())
    }

    /// Where the phone is woken.
    pub fn target(&self) -> DeviceTarget {
        DeviceTarget {
            platform: self.platform.clone(),
            token: self.token.clone(),
            topic: self.topic.clone(),
            environment: self.environment.clone(),
            seal_key: self.seal_key.clone(),
        }
    }
}

/// Where a phone is woken: the part of a [`RegisterDeviceRequest`] that is the phone's choice. `Debug` hides the token.
#[derive(Clone, PartialEq, Eq)]
pub struct DeviceTarget {
    /// As in the request.
    pub platform: String,
    /// As in the request.
    pub token: String,
    /// As in the request.
    pub topic: Option<String>,
    /// As in the request.
    pub environment: Option<String>,
    /// As in the request.
    pub seal_key: Option<String>,
}

impl DeviceTarget {
    /// A target with nothing but a token.
    pub fn new(platform: impl Into<String>, token: impl Into<String>) -> Self {
        let (platform, token) = (platform.into(), token.into());
        Self { platform, token, topic: None, environment: None, seal_key: None }
    }
}

impl std::fmt::Debug for DeviceTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeviceTarget").field("platform", &self.platform).finish_non_exhaustive()
    }
}

/// Answer to [`RegisterDeviceRequest`]: 201, or 200 if the device was registered before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RegisterDeviceResponse {
    /// The server's name for the device; the same for each registration of one token.
    pub device_id: String,
    /// The registration is on disk: always true, since there is no answer before.
    pub durable: bool,
}

/// `GET /health` and `GET /ready`: 200 if all is well, 503 if not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HealthResponse {
    /// Whether all checks passed.
    pub ok: bool,
    /// The checks, by name.
    pub checks: Vec<HealthCheck>,
}

/// One check of a [`HealthResponse`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HealthCheck {
    /// What was checked.
    pub name: String,
    /// Whether it passed.
    pub ok: bool,
    /// What is wrong; absent if nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What a node signs to register a device with `lsp`. The signature is good for this LSP, challenge and target only; the
/// token itself is not in the text, so that whoever logs what was signed does not log the token. What the target leaves out
/// is left out here too.
pub fn registration_text(lsp: &PublicKey, challenge: &str, target: &DeviceTarget) -> String {
    format!("lightning-rod:register_device:{lsp}:{challenge}:{}", target_text(target))
}

/// How a target stands in what is signed: platform, SHA256 of the token, and the options that it has.
pub fn target_text(target: &DeviceTarget) -> String {
    let token_hash = sha256::Hash::hash(target.token.as_bytes());
    let mut text = format!("{}:{token_hash}", target.platform);
    let options =
        [("topic", &target.topic), ("environment", &target.environment), ("seal_key", &target.seal_key)];
    for (name, value) in options {
        if let Some(value) = value {
            text.push_str(&format!(":{name}={value}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

    #[test]
    fn the_text_to_sign_is_stable() {
        let text = registration_text(
            &NODE.parse().unwrap(),
            "c4a1",
            &DeviceTarget::new("webhook", "https://push.example/1"),
        );
        assert_eq!(
            text,
            format!(
                "lightning-rod:register_device:{NODE}:c4a1:webhook:{}",
                sha256::Hash::hash(b"https://push.example/1")
            )
        );
        assert_eq!(text.rsplit(':').next().map(str::len), Some(64));
        let iphone = DeviceTarget {
            topic: Some("com.wallet".into()),
            environment: Some("sandbox".into()),
            seal_key: Some("ab".repeat(32)),
            ..DeviceTarget::new("apns", "0a")
        };
        let text = registration_text(&NODE.parse().unwrap(), "c4a1", &iphone);
        let options = format!(":topic=com.wallet:environment=sandbox:seal_key={}", "ab".repeat(32));
        assert!(text.ends_with(&options), "{text}");
    }

    #[test]
    fn the_token_is_never_shown() {
        let target = DeviceTarget::new("webhook", "https://push.example/secret");
        assert!(!format!("{target:?}").contains("secret"));
        let mut request = RegisterDeviceRequest::new(NODE.parse().unwrap(), "c4a1", target.clone());
        request.signature = "d".repeat(104);
        assert_eq!(request.target(), target);
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
