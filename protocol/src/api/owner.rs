//! What a phone asks about its own devices and wakes, signed by its node's key.
//!
//! Each request carries `Authorization: LightningRod <node id>.<challenge>.<signature>`. The signature is LDK's
//! `message_signing` (zbase32) over [`owner_text`]; the challenge is from `POST /v1/challenge`, and good for one request.

use std::fmt;
use std::str::FromStr;

use bitcoin::secp256k1::PublicKey;
use serde::{Deserialize, Serialize};

use super::public::{DeviceTarget, target_text};
use crate::codes::coded_enum;

/// The scheme of the `Authorization` header.
pub const AUTHORIZATION_SCHEME: &str = "LightningRod";

coded_enum! {
    /// What is asked: a signature for one action is good for no other.
    pub enum OwnerAction ("action") {
        /// `GET /v1/devices`
        ListDevices = "list_devices",
        /// `PUT /v1/devices/{device_id}`
        RefreshDevice = "refresh_device",
        /// `DELETE /v1/devices/{device_id}`
        RemoveDevice = "remove_device",
        /// `POST /v1/devices/{device_id}/test`
        TestDevice = "test_device",
        /// `GET /v1/wakes`
        ListWakes = "list_wakes",
    }
}

/// What a node signs to do `action` at `lsp`. `subject` is the device's id, for [`OwnerAction::RefreshDevice`]
/// [`refresh_subject`], and empty for lists.
pub fn owner_text(lsp: &PublicKey, challenge: &str, action: OwnerAction, subject: &str) -> String {
    format!("lightning-rod:{action}:{lsp}:{challenge}:{subject}")
}

/// The subject of a refresh: the device's id, and [`target_text`] of the new target.
pub fn refresh_subject(device_id: &str, target: &DeviceTarget) -> String {
    format!("{device_id}:{}", target_text(target))
}

/// What follows [`AUTHORIZATION_SCHEME`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// Who asks.
    pub node_id: PublicKey,
    /// The challenge that is answered.
    pub challenge: String,
    /// By the node's key, over [`owner_text`].
    pub signature: String,
}

impl fmt::Display for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{AUTHORIZATION_SCHEME} {}.{}.{}", self.node_id, self.challenge, self.signature)
    }
}

/// The header is no [`Authorization`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected `Authorization: {AUTHORIZATION_SCHEME} <node id>.<challenge>.<signature>`")]
pub struct MalformedAuthorization;

impl FromStr for Authorization {
    type Err = MalformedAuthorization;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = text.split_once(' ').ok_or(MalformedAuthorization)?;
        if !scheme.eq_ignore_ascii_case(AUTHORIZATION_SCHEME) {
            return Err(MalformedAuthorization);
        }
        let mut parts = rest.trim().split('.');
        let (Some(node_id), Some(challenge), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(MalformedAuthorization);
        };
        let node_id = node_id.parse().map_err(|_| MalformedAuthorization)?;
        Ok(Self { node_id, challenge: challenge.to_owned(), signature: signature.to_owned() })
    }
}

/// `GET /v1/devices`: a node's own devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OwnDevices {
    /// The latest registration last.
    pub devices: Vec<OwnDevice>,
}

/// One device, as its owner sees it. The token is never shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OwnDevice {
    /// The server's name for it.
    pub device_id: String,
    /// Its push platform.
    pub platform: String,
    /// When it was registered or refreshed last, in seconds since 1970.
    pub registered_at: u64,
    /// Its provider asked for no push before this time; none if it did not.
    pub paused_until: Option<u64>,
}

/// `PUT /v1/devices/{device_id}`: the platform has given the app another token. `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RefreshDeviceRequest {
    /// As in a registration.
    pub platform: String,
    /// What the platform knows the device by from now on.
    pub token: String,
    /// As in a registration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// As in a registration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// As in a registration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal_key: Option<String>,
}

impl RefreshDeviceRequest {
    /// A request for this target.
    pub fn new(target: DeviceTarget) -> Self {
        let DeviceTarget { platform, token, topic, environment, seal_key } = target;
        Self { platform, token, topic, environment, seal_key }
    }

    /// Where the phone is woken from now on.
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

impl fmt::Debug for RefreshDeviceRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshDeviceRequest").field("platform", &self.platform).finish_non_exhaustive()
    }
}

/// `POST /v1/devices/{device_id}/test`: what the provider said to a test push.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TestPushResponse {
    /// `accepted`, `retry`, `token_dead`, `configuration` or `bad_payload`.
    pub verdict: String,
    /// More about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// How long the provider took, in milliseconds.
    pub answered_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

    #[test]
    fn the_header_round_trips() {
        let authorization = Authorization {
            node_id: NODE.parse().unwrap(),
            challenge: "c4a1".into(),
            signature: "ybnd".into(),
        };
        assert_eq!(authorization.to_string(), format!("LightningRod {NODE}.c4a1.ybnd"));
        assert_eq!(authorization.to_string().parse(), Ok(authorization.clone()));
        assert_eq!(format!("lightningrod  {NODE}.c4a1.ybnd").parse(), Ok(authorization));
        for text in [
            "",
            "Bearer x",
            "LightningRod",
            "LightningRod 02.c.s",
            &format!("LightningRod {NODE}.c"),
            &format!("LightningRod {NODE}.c.s.x"),
        ] {
            assert_eq!(text.parse::<Authorization>(), Err(MalformedAuthorization), "{text}");
        }
    }

    #[test]
    fn the_text_to_sign_is_stable() {
        let lsp = NODE.parse().unwrap();
        assert_eq!(
            owner_text(&lsp, "c4a1", OwnerAction::ListWakes, ""),
            format!("lightning-rod:list_wakes:{NODE}:c4a1:")
        );
        let subject = refresh_subject("d1", &DeviceTarget::new("fcm", "secret"));
        assert!(subject.starts_with("d1:fcm:") && !subject.contains("secret"), "{subject}");
    }
}
