//! A node's devices: where its phone can be woken.

pub(super) mod list;
pub(super) mod refresh;
pub(super) mod register;
pub(super) mod remove;
pub(super) mod test;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use notifier::{GatewayKind, PushTarget, TargetError, UnknownEnvironment, UnknownGateway};
use protocol::api::public::DeviceTarget;
use storage::StorageError;

use super::Inner;
use super::owner::OwnerError;
use crate::http::problem::problem;
use crate::store::StoreError;
use crate::store::challenges::ChallengeRefused;
use crate::store::devices::DeviceId;

/// The longest token, in bytes.
const TOKEN_BYTES_MAX: usize = 2_048;

/// Why a target is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    #[error("{0}")]
    Platform(#[from] UnknownGateway),
    #[error("a webhook of lsps5 is set over Lightning: send lsps5.set_webhook")]
    OverLightning,
    #[error("the token has {0} bytes; it may have 1 to {TOKEN_BYTES_MAX}")]
    Length(usize),
    #[error("{0}")]
    Environment(#[from] UnknownEnvironment),
    #[error("the seal_key is no X25519 public key: expected 64 hex digits")]
    SealKey,
    #[error("{0}")]
    Token(#[from] TargetError),
}

impl IntoResponse for TokenError {
    fn into_response(self) -> Response {
        let (kind, title) = match &self {
            Self::Platform(_) | Self::OverLightning | Self::Token(TargetError::NotServed(_)) => {
                ("unknown_platform", "The platform is not served")
            }
            Self::Length(_) | Self::Environment(_) | Self::SealKey | Self::Token(_) => {
                ("token_refused", "The token cannot be used")
            }
        };
        problem(StatusCode::BAD_REQUEST, kind, title, self.to_string())
    }
}

/// The target that a phone names, if it could ever be pushed to.
fn target(state: &Inner, target: DeviceTarget, now_unix: u64) -> Result<PushTarget, TokenError> {
    let DeviceTarget { platform, token, topic, environment, seal_key } = target;
    let kind: GatewayKind = platform.parse()?;
    if kind == GatewayKind::Lsps5 {
        return Err(TokenError::OverLightning);
    }
    if token.is_empty() || token.len() > TOKEN_BYTES_MAX {
        return Err(TokenError::Length(token.len()));
    }
    let seal_key = seal_key.map(|key| key.parse()).transpose();
    let target = PushTarget {
        topic,
        environment: environment.map(|environment| environment.parse()).transpose()?,
        seal_key: seal_key.map_err(|_| TokenError::SealKey)?,
        registered_at: now_unix,
        ..PushTarget::new(kind, token)
    };
    state.waker.check(&target)?;
    Ok(target)
}

/// Why an owner's request about a device is refused. Nothing was changed, and its challenge may be answered again.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeviceError {
    #[error(transparent)]
    Owner(#[from] OwnerError),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("this node has no such device: `GET /v1/devices` lists those that it has")]
    NotFound,
    #[error("the token is registered under another device id of this node: remove that one first")]
    TokenTaken,
    #[error("the device was tested a moment ago: try again in {0} seconds")]
    TooSoon(u64),
    #[error("the database failed")]
    Store(#[from] StoreError),
}

impl From<StorageError> for DeviceError {
    fn from(error: StorageError) -> Self {
        Self::Store(error.into())
    }
}

impl From<ChallengeRefused> for DeviceError {
    fn from(error: ChallengeRefused) -> Self {
        Self::Owner(error.into())
    }
}

impl IntoResponse for DeviceError {
    fn into_response(self) -> Response {
        let detail = self.to_string();
        match self {
            Self::Owner(error) => error.into_response(),
            Self::Token(error) => error.into_response(),
            Self::NotFound => problem(StatusCode::NOT_FOUND, "not_found", "There is no such device", detail),
            Self::TokenTaken => {
                problem(StatusCode::CONFLICT, "token_taken", "The token is registered already", detail)
            }
            Self::TooSoon(seconds) => {
                let title = "The device was tested a moment ago";
                let mut response = problem(StatusCode::TOO_MANY_REQUESTS, "too_soon", title, detail);
                response.headers_mut().insert(axum::http::header::RETRY_AFTER, seconds.into());
                response
            }
            Self::Store(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a device's owner is not served");
                let title = "The server cannot do it now";
                problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable", title, detail)
            }
        }
    }
}

/// A device's id, from a path. One that cannot be an id is nobody's.
fn device_id(text: &str) -> Result<DeviceId, DeviceError> {
    text.parse().map_err(|_| DeviceError::NotFound)
}
