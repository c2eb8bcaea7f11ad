//! LSPS (bLIP-50): JSON-RPC in Lightning messages of type 37913. An LSP serves LSPS5 (bLIP-55), webhooks that are set
//! over the connection that a phone has anyway; a phone asks for them.
//!
//! `lightning-liquidity` has the words, and the whole client. Its service is left out: it answers before anything is
//! stored, drops hooks after 30 days, and shares one cooldown among all reasons. What a client asks goes to the
//! [`NodeHandler`](crate::NodeHandler), which answers once that is durable.

mod call;
mod client;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod notification;

use std::sync::{Arc, Mutex, PoisonError};

use bitcoin::secp256k1::PublicKey;
use lightning_liquidity::lsps0::ser::RawLSPSMessage;

pub use call::{LSPS_MESSAGE_BYTES_MAX, LspsAnswer, LspsCall, LspsRefusal, LspsRequest, LspsRequestId};
pub(crate) use client::WebhookClient;
pub use client::{WebhookError, Webhooks};
pub use notification::{HookNotificationError, HookNotifications, HookReason};

use crate::Node;

/// Answers that wait for a peer to read. A peer that does not read its answers gets no more of them.
const ANSWERS_QUEUED_MAX: usize = 1_000;

/// The feature bit that says "serves LSPS" (bLIP-50).
pub(crate) const LSPS_FEATURE_BIT: usize = 729;

/// A node's side of LSPS.
#[derive(Clone)]
pub(crate) enum Lsps {
    /// An LSP: requests go to the handler, and answers come from it.
    Service(Arc<Answers>),
    /// A phone.
    Client(Arc<WebhookClient>),
}

/// Answers on their way.
#[derive(Default)]
pub(crate) struct Answers(Mutex<Vec<(PublicKey, RawLSPSMessage)>>);

impl Answers {
    pub(crate) fn take(&self) -> Vec<(PublicKey, RawLSPSMessage)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn push(&self, peer: PublicKey, payload: String) {
        let mut queued = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if queued.len() < ANSWERS_QUEUED_MAX {
            queued.push((peer, RawLSPSMessage { payload }));
        }
    }
}

impl Node {
    /// Sends an LSPS message, such as [`LspsAnswer::message`], to a peer that is connected; to another it is lost.
    pub fn send_lsps(&self, peer: PublicKey, payload: String) {
        if let Lsps::Service(answers) = &self.lsps {
            answers.push(peer, payload);
            self.peer_manager.process_events();
        }
    }
}
