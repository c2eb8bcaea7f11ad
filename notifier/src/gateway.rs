//! What every provider looks like to the wake dispatcher.

use std::fmt;
use std::str::FromStr;

use futures::future::BoxFuture;

use crate::webhook::UrlError;
use crate::{Push, Verdict};

/// One way to reach a device.
pub trait PushGateway: Send + Sync {
    /// Which targets this gateway serves.
    fn kind(&self) -> GatewayKind;

    /// Whether [`push`](Self::push) could ever use this target: to be asked when a device registers, so that its owner
    /// hears of a mistake then and not when a payment waits. Does no IO.
    ///
    /// # Errors
    /// Says what is wrong with the target, in words for the one who registers it.
    fn check(&self, target: &PushTarget) -> Result<(), TargetError>;

    /// Sends `push` to `device` once, in bounded time, and classifies the answer. It never retries by itself.
    fn push<'a>(&'a self, device: &'a PushTarget, push: &'a Push) -> BoxFuture<'a, Verdict>;
}

/// The kind of a gateway, and of the targets that it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GatewayKind {
    /// An HTTPS POST to a URL that the device's owner chose.
    Webhook,
}

impl GatewayKind {
    /// The stable text that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
        }
    }
}

impl fmt::Display for GatewayKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for GatewayKind {
    type Err = UnknownGateway;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "webhook" => Ok(Self::Webhook),
            _ => Err(UnknownGateway),
        }
    }
}

/// The text names no gateway that this program has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown push gateway; known: webhook")]
pub struct UnknownGateway;

/// Where one device is reached. The token (for a webhook: its URL) lets anybody who has it push to the device, so `Debug`
/// hides it and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct PushTarget {
    /// The gateway that serves this target.
    pub kind: GatewayKind,
    /// What the provider knows the device by.
    pub token: String,
}

impl fmt::Debug for PushTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushTarget").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Why a gateway cannot use a target.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The target belongs to another gateway.
    #[error("the target is for another gateway than {0}")]
    OtherGateway(GatewayKind),
    /// The webhook's URL is refused.
    #[error(transparent)]
    Webhook(#[from] UrlError),
}
