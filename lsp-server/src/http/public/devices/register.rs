//! `POST /v1/devices`

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use notifier::PushTarget;
use protocol::api::Problem;
use protocol::api::public::{RegisterDeviceRequest, RegisterDeviceResponse};
use protocol::signature;
use storage::StorageError;

use super::{TokenError, target};
use crate::http::problem::problem;
use crate::http::public::body::Body;
use crate::http::public::challenges::ChallengeError;
use crate::http::public::owner::challenge_refused;
use crate::http::public::{Inner, PublicState};
use crate::limits::{self, ServerLimit};
use crate::logging::STRANGERS;
use crate::store::challenges::{Answered, Proof};
use crate::store::devices::{self, DeviceId, NewDevice, RegisterError};
use crate::store::wakes;

/// Why a device is not registered.
#[derive(Debug, thiserror::Error)]
enum RegisterDeviceError {
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("{0}")]
    Challenge(#[from] ChallengeError),
    #[error(
        "the signature is not by this node over this registration: sign \
         `lightning-rod:register_device:<LSP node id>:<challenge>:<platform>:<SHA256 of the token, hex>`, then `:topic=..`, \
         `:environment=..`, `:seal_key=..` as far as they are given, with the node's key"
    )]
    Signature,
    #[error("{0}")]
    Register(#[from] RegisterError),
}

impl IntoResponse for RegisterDeviceError {
    fn into_response(self) -> Response {
        let detail = self.to_string();
        let (status, kind, title) = match self {
            Self::Token(error) => return error.into_response(),
            Self::Challenge(_) => (StatusCode::FORBIDDEN, "challenge_refused", "The challenge is of no use"),
            Self::Signature => (StatusCode::FORBIDDEN, "signature_refused", "The signature does not verify"),
            Self::Register(RegisterError::Challenge(refused)) => return challenge_refused(refused),
            Self::Register(RegisterError::TooManyForNode(_)) => {
                limits::refused(ServerLimit::DevicesPerNode, None);
                (StatusCode::CONFLICT, "too_many_devices", "There are too many devices")
            }
            Self::Register(RegisterError::TooManyWithoutChannel) => {
                limits::refused(ServerLimit::DevicesWithoutChannel, None);
                (StatusCode::CONFLICT, "too_many_devices", "There are too many devices")
            }
            Self::Register(RegisterError::Storage(error)) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a device is not registered");
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The server cannot store it now")
            }
        };
        problem(status, kind, title, detail)
    }
}

/// Registers where a node's phone can be woken. Answers once that is on disk; what waits for the node is pushed at once.
#[utoipa::path(
    post,
    path = "/v1/devices",
    operation_id = "register_device",
    tag = "devices",
    request_body = RegisterDeviceRequest,
    responses(
        (status = 201, description = "Registered, and on disk", body = RegisterDeviceResponse),
        (status = 200, description = "It was registered before, and keeps its name", body = RegisterDeviceResponse),
        (status = "default", description = "Refused, with the reason and the remedy", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn handle(
    State(state): State<PublicState>,
    Body(request): Body<RegisterDeviceRequest>,
) -> Response {
    match register(&state, request).await {
        Ok((status, response)) => (status, Json(response)).into_response(),
        Err(error) => error.into_response(),
    }
}

async fn register(
    state: &PublicState,
    request: RegisterDeviceRequest,
) -> Result<(StatusCode, RegisterDeviceResponse), RegisterDeviceError> {
    let state = &state.inner;
    let (new, target) = check(state, request)?;
    let (limits, waker) = (state.limits, state.waker.clone());
    let (registered, something_waits) = state
        .database
        .submit("register_device", move |tx| {
            Box::pin(async move {
                let seal = |known| match known == new.device_id {
                    true => new.target.token.clone(),
                    false => waker.tokens().seal_target(known, &new.node_id, &target).token,
                };
                let registered =
                    devices::register_sealing(tx, &new, &limits, |known| Some(seal(known))).await?;
                let something_waits = wakes::rearm(tx, new.node_id, new.proof.now_unix()).await?;
                tracing::info!(
                    target: STRANGERS, node_id = %new.node_id, device = %registered.device_id, "registers a device"
                );
                Ok::<_, RegisterError>((registered, something_waits))
            })
        })
        .await?;
    storage::crash_point!("device_stored");
    if something_waits {
        state.waker.nudge();
    }
    let status = if registered.is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, RegisterDeviceResponse { device_id: registered.device_id.to_string(), durable: true }))
}

/// All that can be said without the database, the cheap things first.
fn check(
    state: &Inner,
    request: RegisterDeviceRequest,
) -> Result<(NewDevice, PushTarget), RegisterDeviceError> {
    let now_unix = state.clock.now_unix();
    let text = request.text(&state.node.node_id());
    let target = target(state, request.target(), now_unix)?;
    let RegisterDeviceRequest { node_id, challenge, signature: signed, .. } = request;
    let known = state.challenges.check(&node_id, &challenge, now_unix)?;
    if !signature::verify(text.as_bytes(), &signed, &node_id) {
        return Err(RegisterDeviceError::Signature);
    }
    let mut device_id = [0; 16];
    device_id.copy_from_slice(&state.node.random_bytes()[..16]);
    let device_id = DeviceId(device_id);
    let new = NewDevice {
        device_id,
        node_id,
        target: state.waker.tokens().seal_target(device_id, &node_id, &target),
        has_channel: state.node.has_channel(node_id),
        proof: Proof::Signed(Answered { challenge: known.bytes, expires_at: known.expires_at, now_unix }),
    };
    Ok((new, target))
}

impl From<StorageError> for RegisterDeviceError {
    fn from(error: StorageError) -> Self {
        Self::Register(error.into())
    }
}
