//! `POST /v1/devices/{device_id}/test`

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use notifier::Verdict;
use protocol::api::Problem;
use protocol::api::owner::{OwnerAction, TestPushResponse};

use super::{DeviceError, device_id};
use crate::http::public::PublicState;
use crate::http::public::owner::authorize;
use crate::metrics::names;
use crate::store::devices;

/// Between two test pushes to one device, in seconds.
const TEST_INTERVAL_SECONDS: u64 = 30;

/// Pushes to a device of the node's now, and says what its provider said. The push has the reason `test`.
#[utoipa::path(
    post,
    path = "/v1/devices/{device_id}/test",
    operation_id = "test_device",
    tag = "devices",
    params(("device_id" = String, Path, description = "The server's name for the device: 32 hex digits")),
    responses(
        (status = 200, description = "What the provider said", body = TestPushResponse),
        (status = "default", description = "Refused, with the reason and the remedy", body = Problem, content_type = "application/problem+json"),
    ),
    security(("node_signature" = [])),
)]
pub(crate) async fn handle(
    State(state): State<PublicState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<TestPushResponse>, DeviceError> {
    let owner = authorize(&state.inner, &headers, OwnerAction::TestDevice, &id)?;
    let device_id = device_id(&id)?;
    let (node_id, now_unix) = (owner.node_id, owner.answered.now_unix);
    let limits = state.inner.limits;
    let device = state
        .inner
        .database
        .submit("test_device", move |tx| {
            Box::pin(async move {
                owner.use_challenge(tx, &limits).await??;
                let device = devices::of_owner(tx, node_id, device_id).await?.ok_or(DeviceError::NotFound)?;
                let next_at = devices::tested_at(tx, device_id).await? + TEST_INTERVAL_SECONDS;
                if now_unix < next_at {
                    return Err(DeviceError::TooSoon(next_at - now_unix));
                }
                devices::set_tested_at(tx, device_id, now_unix).await?;
                Ok(device)
            })
        })
        .await?;
    storage::crash_point!("before_test_push");
    let (verdict, answered_ms) = state.inner.waker.test(&device).await;
    storage::crash_point!("test_pushed");
    tracing::info!(%node_id, device = %device_id, %verdict, answered_ms, "a test push");
    if matches!(verdict, Verdict::TokenDead(_)) {
        names::DEAD_DEVICES.add(1, &[("platform", device.target.kind.as_str())]);
        state
            .inner
            .database
            .submit("forget_dead_device", move |tx| {
                Box::pin(async move { devices::forget_dead(tx, &device).await })
            })
            .await?;
    }
    Ok(Json(TestPushResponse {
        verdict: verdict.as_str().to_owned(),
        why: verdict.why().map(str::to_owned),
        answered_ms,
    }))
}
