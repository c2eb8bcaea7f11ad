//! Keeps onion messages for phones that are offline, until they are delivered.
//!
//! LDK forgets a message with the event that brings it, and its own queue of such events is small: a message is queued for
//! the database before the event is done. Delivery is at least once; the recipient tells repeats apart.

mod courier;
mod relay;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use futures::future::BoxFuture;
use node::{Node, NodeError, Replay};
use protocol::api::admin::MailboxView;
use protocol::mailbox::{MailboxLimits, Sender};
use protocol::wake::WakeReason;
use storage::{Database, StorageError, Tx};
use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::limits::{self, ServerLimit};
use crate::logging::STRANGERS;
use crate::store::mailbox::{self, Kept, MessageRow, NewMessage};
use crate::store::wakes::{self, NewWake};
use crate::store::{StoreError, devices};
use crate::tasks::Tasks;
use crate::wake::Waker;
use courier::{Round, Walk};
use relay::Relay;

/// How long a message is kept: as long as the longest hold, at ten minutes a block. What a payer's LSP still needs to
/// have delivered then it sends again.
const KEPT_SECONDS: u64 = 1_008 * 600;

/// All of a mailbox is one group of wakes.
const WAKE_GROUP: [u8; 32] = [0; 32];

/// Messages for peers without a channel that may be in question at once. LDK keeps what comes beyond.
const IN_QUESTION_MAX: usize = 64;

/// What the mailbox asks of the node.
pub trait MailboxNode: Send + Sync + 'static {
    /// The peer is here.
    fn is_connected(&self, peer: PublicKey) -> bool;

    /// The peer has a channel here.
    fn has_channel(&self, peer: PublicKey) -> bool;

    /// The node is in the public graph: an LSP, not a phone.
    fn is_announced(&self, node_id: PublicKey) -> bool;

    /// The node announced an address that can be dialled.
    fn has_announced_address(&self, node_id: PublicKey) -> bool;

    /// Hands an encoded `onion_message` to a connected peer.
    ///
    /// # Errors
    /// When the peer is not connected or its buffer is full.
    fn forward_onion(&self, message: &[u8], peer: PublicKey) -> Result<(), NodeError>;

    /// Connects to a node at the addresses of its announcement.
    fn connect_announced(&self, node_id: PublicKey) -> BoxFuture<'_, Result<(), NodeError>>;
}

impl MailboxNode for Node {
    fn is_connected(&self, peer: PublicKey) -> bool {
        Self::is_connected(self, peer)
    }

    fn has_channel(&self, peer: PublicKey) -> bool {
        Self::has_channel(self, peer)
    }

    fn is_announced(&self, node_id: PublicKey) -> bool {
        Self::is_announced(self, node_id)
    }

    fn has_announced_address(&self, node_id: PublicKey) -> bool {
        !self.announced_addresses(node_id).is_empty()
    }

    fn forward_onion(&self, message: &[u8], peer: PublicKey) -> Result<(), NodeError> {
        Self::forward_onion(self, message, peer)
    }

    fn connect_announced(&self, node_id: PublicKey) -> BoxFuture<'_, Result<(), NodeError>> {
        Box::pin(Self::connect_announced(self, node_id))
    }
}

/// Messages for offline peers.
pub struct Mailbox {
    database: Database,
    node: Arc<dyn MailboxNode>,
    waker: Arc<Waker>,
    limits: MailboxLimits,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    in_question: Arc<Semaphore>,
    relay: Arc<Relay>,
    round: Round,
    walk: tokio::sync::Mutex<Walk>,
}

impl Mailbox {
    /// A mailbox in `database`, which delivers through `node` and wakes through `waker`.
    pub fn new(
        database: Database,
        node: Arc<dyn MailboxNode>,
        waker: Arc<Waker>,
        limits: MailboxLimits,
        clock: Arc<dyn Clock>,
        tasks: Tasks,
    ) -> Arc<Self> {
        Arc::new(Self {
            relay: Arc::new(Relay::new(node.clone(), tasks.clone())),
            database,
            node,
            waker,
            limits,
            clock,
            tasks,
            in_question: Arc::new(Semaphore::new(IN_QUESTION_MAX)),
            round: Round::default(),
            walk: tokio::sync::Mutex::default(),
        })
    }

    /// A message whose next hop is not connected. One for a client (a peer with a channel or a registered device) is queued
    /// for the database, with a wake, when this returns. One from a client for a node with announced addresses is
    /// taken there. Anything else is dropped. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`Replay`] when too many messages for peers without a channel are in question, or while the database cannot be
    /// written: LDK, whose queue of them is bounded, gives it again.
    pub fn on_intercepted(
        &self,
        previous_hop: Option<PublicKey>,
        next_hop: PublicKey,
        message: Vec<u8>,
    ) -> Result<(), Replay> {
        if self.database.trouble().is_some() {
            return Err(Replay);
        }
        let from_client =
            previous_hop.is_none_or(|peer| self.node.has_channel(peer) && !self.node.is_announced(peer));
        let within_reach = from_client && self.node.has_announced_address(next_hop);
        let new = self.new_message(previous_hop, next_hop, message);
        if self.node.has_channel(next_hop) {
            let kept = self.keep(new, true);
            if within_reach {
                // An LSP: nobody pushes to it, but it can be called. It gets what is kept as soon as it is here.
                self.relay.call(previous_hop, next_hop);
            }
            drop(kept);
            return Ok(());
        }
        let Ok(place) = self.in_question.clone().try_acquire_owned() else {
            limits::refused(ServerLimit::MailboxInQuestion, previous_hop);
            return Err(Replay);
        };
        let message = within_reach.then(|| new.message.clone());
        let kept = self.keep(new, false);
        let relay = self.relay.clone();
        self.tasks.spawn(async move {
            match (kept.await, message) {
                (Ok(true), _) => {}
                (Ok(false), Some(message)) => relay.carry(previous_hop, next_hop, message),
                (Ok(false), None) => {
                    let from = previous_hop.map(tracing::field::display);
                    tracing::debug!(%next_hop, from, "dropped a message for a stranger");
                }
                (Err(error), _) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "a message is not kept");
                }
            }
            drop(place);
        });
        Ok(())
    }

    /// Takes a message to a node that can be called at an announced address; drops it if that fails, or if too much waits
    /// there already. For messages of this LSP's own clients. Must be called within a tokio runtime.
    pub fn relay(&self, client: PublicKey, next_hop: PublicKey, message: Vec<u8>) {
        self.relay.carry(Some(client), next_hop, message);
    }

    /// The peer is here: what waits for it is delivered, in order of arrival.
    pub fn on_peer_connected(&self, peer: PublicKey) {
        self.round.peer_connected(peer);
    }

    /// What waits, at most `limit` messages, in order of arrival.
    ///
    /// # Errors
    /// When the database fails or a row cannot be read.
    pub async fn list(&self, limit: u32) -> Result<Vec<MailboxView>, StoreError> {
        let rows = self.database.read("list_mailbox", move |tx| Box::pin(mailbox::list(tx, limit))).await?;
        Ok(rows.into_iter().map(MailboxView::from).collect())
    }

    fn new_message(
        &self,
        previous_hop: Option<PublicKey>,
        recipient: PublicKey,
        message: Vec<u8>,
    ) -> NewMessage {
        let sender = match previous_hop {
            None => Sender::Own,
            Some(peer) if !self.node.has_channel(peer) => Sender::Stranger,
            Some(peer) if self.node.is_announced(peer) => Sender::PeerLsp,
            Some(_) => Sender::Client,
        };
        let received_at = self.clock.now_unix();
        let expires_at = received_at + KEPT_SECONDS;
        NewMessage { recipient, previous_hop, sender, message, received_at, expires_at }
    }

    /// Queues the message and its wake, unless the recipient turns out to be no client; answers whether it is one.
    fn keep(&self, new: NewMessage, is_client: bool) -> storage::Commit<bool, StorageError> {
        let limits = self.limits;
        let recipient = new.recipient;
        storage::crash_point!("before_message_queued");
        // A phone is woken; a node in the public graph has no device to push to.
        let wakes = !self.node.is_announced(recipient);
        let kept = self.database.submit_required("keep_message", move |tx| {
            Box::pin(async move {
                if !is_client && !devices::has_any(tx, new.recipient).await? {
                    return Ok(false);
                }
                keep_and_wake(tx, &new, &limits, wakes).await?;
                Ok::<_, StorageError>(true)
            })
        });
        storage::crash_point!("message_queued");
        self.waker.nudge();
        // It may have come while the message was on its way here.
        self.round.ask(recipient);
        kept
    }
}

async fn keep_and_wake(
    tx: &mut Tx,
    new: &NewMessage,
    limits: &MailboxLimits,
    wakes: bool,
) -> Result<(), StorageError> {
    let NewMessage { recipient, previous_hop, .. } = new;
    let from = previous_hop.map(tracing::field::display);
    let kept = mailbox::keep(tx, new, limits).await?;
    match kept {
        Kept::New => tracing::info!(target: STRANGERS, %recipient, from, "keeps a message"),
        Kept::Again => tracing::debug!(%recipient, "a message that waits came again"),
        Kept::Refused(reason) => {
            tracing::debug!(%recipient, from, %reason, "dropped a message: the mailbox is full");
            limits::refused(reason, *previous_hop);
        }
    }
    let wake = wake_of(*recipient, new.expires_at, new.received_at);
    match kept {
        Kept::New if wakes => wakes::open(tx, &wake).await,
        // Whoever repeats a message does not hurry its wake.
        Kept::Again if wakes => wakes::ensure_open(tx, &wake).await.map(drop),
        Kept::New | Kept::Again | Kept::Refused(_) => Ok(()),
    }
}

fn wake_of(recipient: PublicKey, expires_at_unix: u64, now_unix: u64) -> NewWake {
    NewWake {
        node_id: recipient,
        reason: WakeReason::OnionMessage,
        group: WAKE_GROUP,
        expires_at_unix,
        now_unix,
    }
}

impl From<MessageRow> for MailboxView {
    fn from(row: MessageRow) -> Self {
        Self {
            message_id: row.arrival,
            recipient: row.recipient,
            previous_hop: row.previous_hop,
            bytes: row.bytes,
            received_at: row.received_at,
        }
    }
}
