//! `webhook_registered`: what a hook that a phone set over Lightning is told first (bLIP-55), so that its owner sees that it works.
//!
//! It is committed with the hook, and waits in the outbox beside what other services ask for. Its row names the hook and not its URL:
//! a hook that was removed or replaced meanwhile is told nothing, and one whose server says that it is gone is forgotten.

use bitcoin::secp256k1::PublicKey;
use hex::{DisplayHex, FromHex};
use notifier::lsps5::REGISTERED;
use notifier::{GatewayKind, Push, PushTarget, Verdict, WakeId};

use super::Notifications;
use crate::store::devices::{self, Device, DeviceId};
use crate::store::notifications::{ClaimedNotification, NewNotification, NotificationLimits};
use crate::tokens::TokenKeys;

/// How long a hook is told, in seconds.
const CONFIRMATION_SECONDS: u64 = 600;

/// How many hooks may be set: of one node, and of all that have not answered yet.
pub const HOOK_LIMITS: NotificationLimits =
    NotificationLimits { per_token_per_hour_max: 60, open_max: 20_000 };

/// What is to be kept with a new hook.
pub fn of_hook(
    tokens: &TokenKeys,
    notification_id: [u8; 16],
    node_id: PublicKey,
    device_id: DeviceId,
    now_unix: u64,
) -> NewNotification {
    // In the place of the token, so that the bound of one phone is one of the node.
    let owner = PushTarget::new(GatewayKind::Lsps5, node_id.to_string());
    NewNotification {
        notification_id,
        template: REGISTERED.to_owned(),
        kind: GatewayKind::Lsps5,
        sealed: tokens.seal_content(notification_id, &owner, &device_id.0.to_lower_hex_string()),
        now_unix,
        expires_at: now_unix + CONFIRMATION_SECONDS,
    }
}

/// Whose hook, and which.
fn read(owner: &str, hook: &str) -> Option<(PublicKey, DeviceId)> {
    Some((owner.parse().ok()?, DeviceId(<[u8; 16]>::from_hex(hook).ok()?)))
}

impl Notifications {
    /// Tells a hook that it is one. Answers the verdict, and the hook if it is gone for good.
    pub(super) async fn confirm(&self, claimed: &ClaimedNotification) -> (Verdict, Option<Device>) {
        let hook = match self.hook(claimed).await {
            Ok(hook) => hook,
            Err(verdict) => return (verdict, None),
        };
        let Ok(target) = self.waker.tokens().open_target(&hook) else {
            return (Verdict::BadPayload("the hook's row cannot be opened".into()), None);
        };
        let verdict = match Push::new(REGISTERED, WakeId(claimed.notification_id), claimed.expires_at) {
            Ok(push) => self.waker.push_target(&target, &push).await,
            Err(error) => Verdict::BadPayload(error.to_string().into()),
        };
        let is_gone = matches!(verdict, Verdict::TokenDead(_));
        (verdict, is_gone.then_some(hook))
    }

    async fn hook(&self, claimed: &ClaimedNotification) -> Result<Device, Verdict> {
        let opened = self.waker.tokens().open_content(claimed.notification_id, &claimed.sealed);
        let Some((node_id, device_id)) = opened.ok().and_then(|(owner, hook)| read(&owner, &hook)) else {
            return Err(Verdict::BadPayload("the notification's row cannot be opened".into()));
        };
        let hook = self
            .database
            .read("confirmed_hook", move |tx| Box::pin(devices::of_owner(tx, node_id, device_id)))
            .await;
        match hook {
            Ok(Some(hook)) if hook.target.kind == GatewayKind::Lsps5 => Ok(hook),
            Ok(_) => Err(Verdict::BadPayload("the hook was removed or replaced".into())),
            Err(error) if error.is_of_a_row() => {
                Err(Verdict::BadPayload("the hook's row cannot be read".into()))
            }
            Err(_) => Err(Verdict::RetryAfter(None, "the hook cannot be looked up now".into())),
        }
    }
}
