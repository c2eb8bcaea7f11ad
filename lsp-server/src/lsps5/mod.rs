//! Webhooks that phones set over Lightning: LSPS5 (bLIP-55). A hook is a device of the platform `lsps5`; its wakes are
//! everybody's.

mod inbox;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use node::{LspsAnswer, LspsCall, LspsRefusal, LspsRequest, Node};
use notifier::lsps5::{NotifyingNode, name_and_url, target};
use notifier::{GatewayKind, PushTarget};
use storage::{Database, ReadTx, StorageError, Tx};

use crate::clock::Clock;
use crate::limits::{self, ServerLimit};
use crate::logging::STRANGERS;
use crate::notify::Notifications;
use crate::notify::confirmation::{self, HOOK_LIMITS};
use crate::store::StoreError;
use crate::store::challenges::Proof;
use crate::store::devices::{self, DeviceId, DeviceLimits, NewDevice, RegisterError};
use crate::store::notifications::{self, Kept, NotificationLimits};
use crate::store::wakes;
use crate::wake::Waker;

pub use inbox::Inbox;

/// What serving hooks asks of the node.
pub trait HookNode: Send + Sync + 'static {
    /// The peer has a channel here.
    fn has_channel(&self, peer: PublicKey) -> bool;

    /// Fresh random bytes.
    fn random_bytes(&self) -> [u8; 32];

    /// Sends an LSPS message to a peer that is connected.
    fn send_lsps(&self, peer: PublicKey, payload: String);
}

impl HookNode for Node {
    fn has_channel(&self, peer: PublicKey) -> bool {
        Self::has_channel(self, peer)
    }

    fn random_bytes(&self) -> [u8; 32] {
        Self::random_bytes(self)
    }

    fn send_lsps(&self, peer: PublicKey, payload: String) {
        Self::send_lsps(self, peer, payload);
    }
}

/// The node as the gateway of notifications sees it.
pub struct Notifying(pub Arc<Node>);

impl NotifyingNode for Notifying {
    fn sign(&self, text: &str) -> Option<String> {
        self.0.sign(text).ok()
    }

    fn height(&self) -> u32 {
        self.0.height().0
    }
}

/// Serves what clients ask.
pub struct Hooks {
    database: Database,
    node: Arc<dyn HookNode>,
    waker: Arc<Waker>,
    notifications: Arc<Notifications>,
    limits: DeviceLimits,
    hook_limits: NotificationLimits,
    clock: Arc<dyn Clock>,
}

impl Hooks {
    /// Hooks are stored in `database`, woken through `waker`, and told that they are hooks by `notifications`.
    pub fn new(
        database: Database,
        node: Arc<dyn HookNode>,
        waker: Arc<Waker>,
        notifications: Arc<Notifications>,
        limits: DeviceLimits,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { database, node, waker, notifications, limits, hook_limits: HOOK_LIMITS, clock }
    }

    /// Answers one message after the other: a client waits for its answer, and one that floods waits longest.
    pub async fn run(self, inbox: Inbox) {
        loop {
            let (peer, payload) = inbox.take().await;
            self.on_message(peer, &payload).await;
        }
    }

    /// Does what a message asks for, and answers once that is durable.
    pub async fn on_message(&self, peer: PublicKey, payload: &str) {
        let answer = match LspsRequest::read(payload) {
            Ok(LspsRequest { id, call }) => Some(self.answer(peer, call).await.message(&id)),
            Err(refusal) => refusal,
        };
        if let Some(answer) = answer {
            storage::crash_point!("lsps5_answer");
            self.node.send_lsps(peer, answer);
            storage::crash_point!("lsps5_answered");
        }
    }

    async fn answer(&self, peer: PublicKey, call: LspsCall) -> LspsAnswer {
        match call {
            LspsCall::ListProtocols => LspsAnswer::Protocols,
            LspsCall::SetWebhook { app_name, url } => {
                self.set(peer, app_name, url).await.unwrap_or_else(LspsAnswer::NotSet)
            }
            LspsCall::ListWebhooks => match self.list(peer).await {
                Ok(app_names) => LspsAnswer::List { app_names, webhooks_max: self.limits.per_node_max },
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "webhooks cannot be listed");
                    LspsAnswer::NotListed
                }
            },
            LspsCall::RemoveWebhook { app_name } => match self.remove(peer, app_name).await {
                Ok(true) => LspsAnswer::Removed,
                Ok(false) => LspsAnswer::NotRemoved(LspsRefusal::NoSuchWebhook),
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "a webhook is not removed");
                    LspsAnswer::NotRemoved(LspsRefusal::Unavailable)
                }
            },
        }
    }

    async fn set(&self, peer: PublicKey, app_name: String, url: String) -> Result<LspsAnswer, LspsRefusal> {
        // bLIP-55 leaves it to the LSP whom it serves: a stranger could have anybody's server called.
        if !self.node.has_channel(peer) {
            return Err(LspsRefusal::NoChannel);
        }
        let target = target(&app_name, &url);
        self.waker.check(&target).map_err(|error| {
            tracing::info!(target: STRANGERS, %peer, reason = %error, "a webhook is refused");
            LspsRefusal::UnusableUrl
        })?;
        let device_id = DeviceId(self.fresh_id());
        let new = NewDevice {
            device_id,
            node_id: peer,
            target: self.waker.tokens().seal_target(device_id, &peer, &target),
            has_channel: true,
            proof: Proof::Connection(self.clock.now_unix()),
        };
        let hook = NewHook { device: new, target, confirmation_id: self.fresh_id() };
        let (waker, limits, hook_limits) = (self.waker.clone(), self.limits, self.hook_limits);
        let stored = self
            .database
            .submit("set_webhook", move |tx| {
                Box::pin(async move { set(tx, &waker, hook, &limits, &hook_limits).await })
            })
            .await;
        let (webhooks, unchanged) = stored.map_err(|error| match error {
            SetError::Register(RegisterError::TooManyForNode(_)) => {
                limits::refused(ServerLimit::DevicesPerNode, Some(peer));
                LspsRefusal::TooManyWebhooks
            }
            SetError::TooOften => {
                limits::refused(ServerLimit::HooksPerNode, Some(peer));
                LspsRefusal::TooOften
            }
            SetError::Full => {
                limits::refused(ServerLimit::HooksUnconfirmed, Some(peer));
                LspsRefusal::Unavailable
            }
            error => {
                tracing::error!(error = &error as &dyn std::error::Error, "a webhook is not set");
                LspsRefusal::Unavailable
            }
        })?;
        storage::crash_point!("webhook_stored");
        tracing::info!(target: STRANGERS, %peer, unchanged, "a webhook is set");
        if !unchanged {
            self.notifications.nudge();
        }
        self.waker.nudge();
        Ok(LspsAnswer::Set { webhooks, webhooks_max: self.limits.per_node_max, unchanged })
    }

    fn fresh_id(&self) -> [u8; 16] {
        let mut id = [0; 16];
        id.copy_from_slice(&self.node.random_bytes()[..16]);
        id
    }

    async fn list(&self, peer: PublicKey) -> Result<Vec<String>, StoreError> {
        let waker = self.waker.clone();
        self.database
            .read("list_webhooks", move |tx| {
                Box::pin(async move {
                    let hooks = hooks_of(tx, &waker, peer).await?;
                    Ok(hooks.into_iter().map(|hook| hook.app_name).collect())
                })
            })
            .await
    }

    async fn remove(&self, peer: PublicKey, app_name: String) -> Result<bool, StoreError> {
        let waker = self.waker.clone();
        let removed = self
            .database
            .submit("remove_webhook", move |tx| {
                Box::pin(async move {
                    let hooks = hooks_of(tx, &waker, peer).await?;
                    match hooks.iter().find(|hook| hook.app_name == app_name) {
                        Some(hook) => Ok(devices::remove(tx, hook.device_id).await?),
                        None => Ok(false),
                    }
                })
            })
            .await;
        storage::crash_point!("webhook_removed");
        removed
    }
}

/// A hook to store.
struct NewHook {
    device: NewDevice,
    target: PushTarget,
    confirmation_id: [u8; 16],
}

/// A hook that a client has.
struct Hook {
    device_id: DeviceId,
    app_name: String,
    url: String,
}

/// A client's hooks, without those that cannot be opened.
async fn hooks_of(tx: &mut ReadTx, waker: &Waker, peer: PublicKey) -> Result<Vec<Hook>, StoreError> {
    let devices = devices::of_node(tx, peer).await?;
    let hooks = devices.iter().filter(|device| device.target.kind == GatewayKind::Lsps5);
    Ok(hooks
        .filter_map(|device| {
            let target = waker.tokens().open_target(device).ok()?;
            let (app_name, url) = name_and_url(&target)?;
            Some(Hook { device_id: device.device_id, app_name: app_name.to_owned(), url: url.to_owned() })
        })
        .collect())
}

#[derive(Debug, thiserror::Error)]
enum SetError {
    #[error(transparent)]
    Register(#[from] RegisterError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the client sets hooks too often")]
    TooOften,
    #[error("too many hooks have not been told yet that they are hooks")]
    Full,
}

impl From<StorageError> for SetError {
    fn from(error: StorageError) -> Self {
        Self::Register(error.into())
    }
}

/// Stores a hook in place of the client's one of the same name, and with it what it is told first. Answers how many the client has
/// then, and whether this very one was there before.
async fn set(
    tx: &mut Tx,
    waker: &Waker,
    hook: NewHook,
    limits: &DeviceLimits,
    hook_limits: &NotificationLimits,
) -> Result<(u32, bool), SetError> {
    let NewHook { device: mut new, target, confirmation_id } = hook;
    let (app_name, url) = name_and_url(&target).unwrap_or_default();
    let hooks = hooks_of(tx, waker, new.node_id).await?;
    let known = hooks.iter().find(|hook| hook.app_name == app_name);
    let unchanged = known.is_some_and(|hook| hook.url == url);
    if let Some(hook) = known
        && !unchanged
    {
        devices::remove(tx, hook.device_id).await?;
    }
    // It may be there and not to be opened: then this mends it.
    if let Some(device_id) = devices::known_id(tx, new.node_id, &new.target).await? {
        new.device_id = device_id;
        new.target = waker.tokens().seal_target(device_id, &new.node_id, &target);
    }
    devices::register(tx, &new, limits).await?;
    let now_unix = new.proof.now_unix();
    wakes::rearm(tx, new.node_id, now_unix).await?;
    if !unchanged {
        let confirmation =
            confirmation::of_hook(waker.tokens(), confirmation_id, new.node_id, new.device_id, now_unix);
        match notifications::keep(tx, &confirmation, hook_limits).await? {
            Kept::New | Kept::Known => {}
            Kept::TooManyForToken => return Err(SetError::TooOften),
            Kept::Full => return Err(SetError::Full),
        }
    }
    let webhooks = hooks.len() + usize::from(known.is_none());
    Ok((u32::try_from(webhooks).unwrap_or(u32::MAX), unchanged))
}
