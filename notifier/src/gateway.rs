//! What every provider looks like to the wake dispatcher.

use std::fmt;
use std::str::FromStr;

use futures::future::BoxFuture;
use protocol::push::{SealError, SealKey};

use crate::ssrf::UrlError;
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

    /// Asks the provider, without a push, whether it takes our credentials. [`Verdict::Accepted`] where only a push can tell.
    fn try_credentials(&self) -> BoxFuture<'_, Verdict> {
        Box::pin(std::future::ready(Verdict::Accepted))
    }
}

/// The kind of a gateway, and of the targets that it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GatewayKind {
    /// Apple's push service, for iPhones.
    Apns,
    /// Google's Firebase Cloud Messaging, for Android phones.
    Fcm,
    /// A webhook that was set over Lightning: LSPS5.
    Lsps5,
    /// A UnifiedPush endpoint, for Android phones without Google.
    UnifiedPush,
    /// An HTTPS POST to a URL that the device's owner chose.
    Webhook,
}

impl GatewayKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Apns, Self::Fcm, Self::Lsps5, Self::UnifiedPush, Self::Webhook];

    /// The stable text that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Apns => "apns",
            Self::Fcm => "fcm",
            Self::Lsps5 => "lsps5",
            Self::UnifiedPush => "unifiedpush",
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
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(UnknownGateway)
    }
}

/// The text names no gateway that this program has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown push gateway; known: apns, fcm, lsps5, unifiedpush, webhook")]
pub struct UnknownGateway;

/// Which of Apple's two push services a token belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApnsEnvironment {
    /// Apps from the App Store and from TestFlight.
    #[default]
    Production,
    /// Apps that a developer's machine installed.
    Sandbox,
}

impl ApnsEnvironment {
    /// The stable text that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Sandbox => "sandbox",
        }
    }
}

impl fmt::Display for ApnsEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ApnsEnvironment {
    type Err = UnknownEnvironment;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "production" => Ok(Self::Production),
            "sandbox" => Ok(Self::Sandbox),
            _ => Err(UnknownEnvironment),
        }
    }
}

/// The text names no environment of APNs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown environment; known: production, sandbox")]
pub struct UnknownEnvironment;

/// Where one device is reached. The token (for a webhook: its URL) lets anybody who has it push to the device, so `Debug`
/// hides it and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct PushTarget {
    /// The gateway that serves this target.
    pub kind: GatewayKind,
    /// What the provider knows the device by.
    pub token: String,
    /// The app that the token belongs to: APNs' bundle id. `None` for other gateways.
    pub topic: Option<String>,
    /// APNs' environment; `None` is production. `None` for other gateways.
    pub environment: Option<ApnsEnvironment>,
    /// What pushes are sealed to; `None` if the device takes them open.
    pub seal_key: Option<SealKey>,
    /// When the device was last registered, in seconds since 1970. A provider's word about an earlier time says nothing
    /// about this token.
    pub registered_at: u64,
}

impl PushTarget {
    /// A target without topic, environment and key.
    pub fn new(kind: GatewayKind, token: impl Into<String>) -> Self {
        Self { kind, token: token.into(), topic: None, environment: None, seal_key: None, registered_at: 0 }
    }

    /// What each gateway asks first: that the target is for it, and has what only APNs knows if it is APNs. And that its
    /// key can be sealed to.
    pub(crate) fn check_kind(&self, kind: GatewayKind) -> Result<(), TargetError> {
        if self.kind != kind {
            return Err(TargetError::OtherGateway(kind));
        }
        if kind != GatewayKind::Apns && (self.topic.is_some() || self.environment.is_some()) {
            return Err(TargetError::OnlyApns);
        }
        match &self.seal_key {
            Some(key) => Ok(key.seal(&[], [0; 32]).map(drop)?),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for PushTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushTarget")
            .field("kind", &self.kind)
            .field("topic", &self.topic)
            .field("environment", &self.environment)
            .field("registered_at", &self.registered_at)
            .finish_non_exhaustive()
    }
}

/// Why a gateway cannot use a target. No text repeats the token.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The target belongs to another gateway.
    #[error("the target is for another gateway than {0}")]
    OtherGateway(GatewayKind),
    /// This server has no such gateway.
    #[error("this server has no credentials for {0}: register another way to be reached")]
    NotServed(GatewayKind),
    /// The URL is refused.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The token cannot be one of this gateway's.
    #[error("a token of {kind} is {expected}")]
    Token {
        /// The gateway.
        kind: GatewayKind,
        /// What its tokens look like.
        expected: &'static str,
    },
    /// The bundle id is none that this server pushes to.
    #[error("this server does not push to an app with this topic; it pushes to: {0}")]
    UnknownTopic(String),
    /// Several apps could be meant.
    #[error("name the app's bundle id as the topic; this server pushes to: {0}")]
    NoTopic(String),
    /// The target has what only APNs has.
    #[error("only apns has a topic and an environment")]
    OnlyApns,
    /// The key is no key.
    #[error(transparent)]
    SealKey(#[from] SealError),
}
