//! Who asks: a node that answers a challenge with its signature.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bitcoin::secp256k1::PublicKey;
use protocol::api::owner::{
    AUTHORIZATION_SCHEME, Authorization, MalformedAuthorization, OwnerAction, owner_text,
};
use protocol::signature;
use storage::{StorageError, Tx};

use super::Inner;
use super::challenges::ChallengeError;
use crate::http::problem::problem;
use crate::limits::{self, ServerLimit};
use crate::store::challenges::{self, Answered, Answerer, ChallengeRefused};
use crate::store::devices::DeviceLimits;

/// A node that has proven who it is, for one request. Its challenge is still to be used up, in the request's transaction.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) node_id: PublicKey,
    pub(super) answered: Answered,
    has_channel: bool,
}

impl Owner {
    /// Uses the challenge up. `Ok(Err(..))` if that cannot be.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn use_challenge(
        &self,
        tx: &mut Tx,
        limits: &DeviceLimits,
    ) -> Result<Result<(), ChallengeRefused>, StorageError> {
        let answerer = Answerer { node_id: self.node_id, has_channel: self.has_channel };
        challenges::use_challenge(tx, &self.answered, answerer, limits).await
    }
}

/// Why a request is nobody's.
#[derive(Debug, thiserror::Error)]
pub(super) enum OwnerError {
    #[error("{0}; `POST /v1/challenge` gives the challenge")]
    Malformed(#[from] MalformedAuthorization),
    #[error("{0}")]
    Challenge(#[from] ChallengeError),
    #[error("{0}")]
    Refused(#[from] ChallengeRefused),
    #[error("the signature is not by this node over this request: sign `{0}` with the node's key")]
    Signature(String),
}

impl IntoResponse for OwnerError {
    fn into_response(self) -> Response {
        let detail = self.to_string();
        match self {
            Self::Malformed(_) => {
                let title = "The request is not signed";
                let mut response = problem(StatusCode::UNAUTHORIZED, "unauthorized", title, detail);
                response
                    .headers_mut()
                    .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(AUTHORIZATION_SCHEME));
                response
            }
            Self::Refused(refused) => challenge_refused(refused),
            Self::Challenge(_) => {
                problem(StatusCode::FORBIDDEN, "challenge_refused", "The challenge is of no use", detail)
            }
            Self::Signature(_) => {
                problem(StatusCode::FORBIDDEN, "signature_refused", "The signature does not verify", detail)
            }
        }
    }
}

/// What a node is told whose answer was refused; the bound, if one is the reason, counts it.
pub(super) fn challenge_refused(refused: ChallengeRefused) -> Response {
    let busy = (StatusCode::SERVICE_UNAVAILABLE, "busy", "The server is busy");
    let (limit, (status, kind, title)) = match refused {
        ChallengeRefused::Used => {
            (None, (StatusCode::FORBIDDEN, "challenge_refused", "The challenge is of no use"))
        }
        ChallengeRefused::TooManyOfNode(_) => (
            Some(ServerLimit::UsedChallengesPerNode),
            (StatusCode::TOO_MANY_REQUESTS, "too_many", "The node has signed too many requests"),
        ),
        ChallengeRefused::TooManyWithoutChannel => (Some(ServerLimit::UsedChallengesWithoutChannel), busy),
        ChallengeRefused::TooMany => (Some(ServerLimit::UsedChallenges), busy),
    };
    if let Some(limit) = limit {
        limits::refused(limit, None);
    }
    problem(status, kind, title, refused.to_string())
}

/// Checks the `Authorization` header. Writes nothing.
pub(super) fn authorize(
    state: &Inner,
    headers: &HeaderMap,
    action: OwnerAction,
    subject: &str,
) -> Result<Owner, OwnerError> {
    let header = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Authorization { node_id, challenge, signature: signed } =
        header.ok_or(MalformedAuthorization)?.parse()?;
    let now_unix = state.clock.now_unix();
    let known = state.challenges.check(&node_id, &challenge, now_unix)?;
    let text = owner_text(&state.node.node_id(), &challenge, action, subject);
    if !signature::verify(text.as_bytes(), &signed, &node_id) {
        return Err(OwnerError::Signature(text));
    }
    let answered = Answered { challenge: known.bytes, expires_at: known.expires_at, now_unix };
    Ok(Owner { node_id, answered, has_channel: state.node.has_channel(node_id) })
}
