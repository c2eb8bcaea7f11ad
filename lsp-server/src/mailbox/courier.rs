//! The task that delivers: to whoever has just come, and, rescanning now and then, to whoever is here.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::FuturesUnordered;
use protocol::wake::WakeReason;
use storage::StorageError;
use tokio::sync::Notify;

use super::{Mailbox, WAKE_GROUP, wake_of};
use crate::store::mailbox::{self, Recipients, TIDIED_ROWS_MAX, WaitingMessage, WaitingMessages};
use crate::store::{StoreError, wakes};

/// Between two rescans.
const RESCAN_INTERVAL: Duration = Duration::from_secs(30);

/// Recipients that one transaction of the rescan looks at.
pub(super) const RESCANNED_MAX: u32 = 200;

/// Recipients that one rescan looks at on its walk through all of them, or a page more; the next one goes on there. The first one
/// after a start goes all the way.
const WALKED_MAX: usize = 2_000;

/// Rescans that look at somebody who came and may not have got what waits: what ends its wakes may be under way still.
const LOOKS: u8 = 2;

/// Recipients that are served at once.
const SERVED_MAX: usize = 128;

/// Messages that are handed over before a look at whether the recipient is still here. At 1.4 KB each they fit
/// LDK's buffer for one peer.
const HANDED_OVER_MAX: u32 = 50;

/// A recipient that is still here after this time has what it was handed: LDK writes to the socket at once, and a phone
/// that is gone has been noticed by then.
const CONFIRM_AFTER: Duration = Duration::from_millis(300);

/// When LDK takes no message for a peer that is connected: its buffer is full, or it is not quite there yet.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// After so many retries the next rescan tries again.
const RETRIES_MAX: u32 = 50;

/// After the database failed to answer.
const ERROR_PAUSE: Duration = Duration::from_secs(1);

/// Who is to be served, and who is being served.
#[derive(Default)]
pub(super) struct Round {
    state: Mutex<RoundState>,
    changed: Notify,
}

#[derive(Default)]
struct RoundState {
    asked: HashSet<PublicKey>,
    /// How often each recipient that is being served has connected since that began.
    serving: HashMap<PublicKey, u64>,
    /// Who came, which ends its wakes, and has not got all that waits as far as is known; with the rescans that are still to look
    /// at it.
    unsettled: BTreeMap<PublicKey, u8>,
}

/// How far the walk through all recipients has come.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    after: Vec<u8>,
    /// Recipients that one rescan looks at, or a page more.
    pub(super) walked_max: usize,
    /// It has not come to the end yet.
    is_first: bool,
}

impl Default for Walk {
    fn default() -> Self {
        Self { after: Vec::new(), walked_max: WALKED_MAX, is_first: true }
    }
}

#[cfg(test)]
impl Walk {
    /// The next rescan finds nobody on it.
    pub(super) fn beyond_all() -> Self {
        Self { after: vec![u8::MAX], is_first: false, ..Self::default() }
    }
}

impl Round {
    /// There may be something for this peer.
    pub(super) fn ask(&self, peer: PublicKey) {
        self.lock().asked.insert(peer);
        self.changed.notify_one();
    }

    pub(super) fn peer_connected(&self, peer: PublicKey) {
        let mut state = self.lock();
        if let Some(connections) = state.serving.get_mut(&peer) {
            *connections += 1;
        }
        state.asked.insert(peer);
        state.unsettled.insert(peer, LOOKS);
        drop(state);
        self.changed.notify_one();
    }

    /// Those to serve next. A peer that is being served stays asked for until that is over; the order of its messages
    /// depends on it.
    pub(super) fn take(&self, room: usize) -> Vec<PublicKey> {
        let mut state = self.lock();
        let next: Vec<_> =
            state.asked.iter().filter(|peer| !state.serving.contains_key(peer)).take(room).copied().collect();
        for peer in &next {
            state.asked.remove(peer);
            state.serving.insert(*peer, 0);
        }
        next
    }

    /// Nothing waits for this peer, unless it has come again since it had connected so often.
    fn settle(&self, peer: PublicKey, connections: u64) {
        let mut state = self.lock();
        if state.serving.get(&peer).copied().unwrap_or(0) == connections {
            state.unsettled.remove(&peer);
        }
    }

    fn unsettle(&self, peer: PublicKey) {
        self.lock().unsettled.insert(peer, LOOKS);
    }

    /// Who is not settled. Who is here stays so; everybody else is looked at a few times.
    pub(super) fn look_at_unsettled(
        &self,
        is_here: impl Fn(PublicKey) -> bool,
    ) -> (Vec<PublicKey>, Vec<PublicKey>) {
        let mut state = self.lock();
        let (mut here, mut away) = (Vec::new(), Vec::new());
        state.unsettled.retain(|peer, looks| {
            if is_here(*peer) {
                here.push(*peer);
                *looks = LOOKS;
            } else {
                away.push(*peer);
                *looks = looks.saturating_sub(1);
            }
            *looks > 0
        });
        (here, away)
    }

    fn served(&self, peer: PublicKey) {
        self.lock().serving.remove(&peer);
    }

    fn connections(&self, peer: PublicKey) -> u64 {
        self.lock().serving.get(&peer).copied().unwrap_or(0)
    }

    fn lock(&self) -> MutexGuard<'_, RoundState> {
        // Every change is a single step, so a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Serving<'a> = FuturesUnordered<BoxFuture<'a, PublicKey>>;

impl Mailbox {
    /// Delivers until the database is closed. It may be dropped at any time: what is not confirmed stays stored.
    pub async fn run(self: Arc<Self>) {
        let mut serving = Serving::new();
        let rescan = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(rescan);
        loop {
            for peer in self.round.take(SERVED_MAX.saturating_sub(serving.len())) {
                serving.push(self.serve_one(peer).boxed());
            }
            tokio::select! {
                () = self.round.changed.notified() => {}
                Some(peer) = serving.next() => self.round.served(peer),
                () = &mut rescan => {
                    self.database.out_of_trouble().await;
                    let pause = match self.rescan().await {
                        Ok(()) => RESCAN_INTERVAL,
                        Err(StoreError::Storage(StorageError::Stopped | StorageError::NotCommitted(_))) => return,
                        Err(error) => {
                            tracing::error!(error = &error as &dyn std::error::Error, "the mailbox cannot be read");
                            ERROR_PAUSE
                        }
                    };
                    rescan.as_mut().reset(tokio::time::Instant::now() + pause);
                }
            }
        }
    }

    /// Asks for those who are here and have messages, and sees to it that those who are not are woken: of all recipients at the
    /// first time, then of those who came since and may have left without what waits, and of a bounded number of others, going on
    /// where the last rescan stopped.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rescan(&self) -> Result<(), StoreError> {
        let now_unix = self.clock.now_unix();
        self.tidy(now_unix).await?;
        let (here, away) = self.round.look_at_unsettled(|peer| self.node.is_connected(peer));
        here.into_iter().for_each(|peer| self.round.ask(peer));
        for away in away.chunks(RESCANNED_MAX as usize) {
            self.ensure_wakes(away.to_vec(), now_unix).await?;
        }
        self.walk(now_unix).await
    }

    async fn tidy(&self, now_unix: u64) -> Result<(), StorageError> {
        let mut dropped = 0;
        loop {
            let tidied =
                self.database.submit("tidy_mailbox", move |tx| Box::pin(mailbox::tidy(tx, now_unix))).await?;
            dropped += tidied;
            if tidied < u64::from(TIDIED_ROWS_MAX) {
                break;
            }
        }
        if dropped > 0 {
            tracing::info!(dropped, "messages waited too long for their recipients");
        }
        Ok(())
    }

    async fn walk(&self, now_unix: u64) -> Result<(), StoreError> {
        let mut walk = self.walk.lock().await;
        let mut walked = 0;
        while walk.is_first || walked < walk.walked_max {
            let after = walk.after.clone();
            let page = self.database.read("mailbox_recipients", move |tx| {
                Box::pin(mailbox::recipients(tx, after, RESCANNED_MAX, WAKE_GROUP, now_unix))
            });
            let Recipients { found, next } = page.await?;
            walked += found.len();
            let (here, away): (Vec<_>, Vec<_>) =
                found.into_iter().partition(|recipient| self.node.is_connected(recipient.node_id));
            here.into_iter().for_each(|recipient| self.round.ask(recipient.node_id));
            let asleep = away.into_iter().filter(|recipient| !recipient.is_woken);
            self.ensure_wakes(asleep.map(|recipient| recipient.node_id).collect(), now_unix).await?;
            let Some(next) = next else {
                (walk.after, walk.is_first) = (Vec::new(), false);
                return Ok(());
            };
            walk.after = next;
        }
        Ok(())
    }

    async fn ensure_wakes(&self, mut recipients: Vec<PublicKey>, now_unix: u64) -> Result<(), StoreError> {
        recipients.retain(|recipient| !self.node.is_announced(*recipient));
        if recipients.is_empty() {
            return Ok(());
        }
        let opened = self
            .database
            .submit("ensure_mailbox_wakes", move |tx| {
                Box::pin(async move {
                    let mut opened = false;
                    for recipient in recipients {
                        if let Some(expires_at) = mailbox::last_expiry(tx, recipient).await? {
                            let wake = wake_of(recipient, expires_at, now_unix);
                            opened |= wakes::ensure_open(tx, &wake).await?;
                        }
                    }
                    Ok::<_, StorageError>(opened)
                })
            })
            .await?;
        if opened {
            self.waker.nudge();
        }
        Ok(())
    }

    /// One pass: delivers to everybody who was asked for, by a message or by coming.
    pub async fn serve_asked(&self) {
        let mut serving: Serving<'_> =
            self.round.take(SERVED_MAX).into_iter().map(|peer| self.serve_one(peer).boxed()).collect();
        while let Some(peer) = serving.next().await {
            self.round.served(peer);
        }
    }

    async fn serve_one(&self, peer: PublicKey) -> PublicKey {
        let came = self.node.is_connected(peer);
        match self.serve(peer).await {
            Ok(is_done) if came && !is_done => self.round.unsettle(peer),
            Ok(_) => {}
            Err(error) => {
                self.round.unsettle(peer);
                tracing::error!(%peer, error = &error as &dyn std::error::Error, "kept messages are not delivered");
            }
        }
        peer
    }

    /// Delivers what waits for a peer, as long as it is here. Answers whether nothing waits any more.
    pub(super) async fn serve(&self, peer: PublicKey) -> Result<bool, StorageError> {
        let (mut after, mut retries) = (0, 0);
        // Whoever asked for the peer had queued the message before: it is behind the writer then, where readers see it.
        self.database.submit("mailbox_asked", |_| Box::pin(async { Ok::<_, StorageError>(()) })).await?;
        while self.node.is_connected(peer) && retries < RETRIES_MAX {
            let connections = self.round.connections(peer);
            // Not in the writer, for which everybody waits: it may have to wait for the disk.
            let page = self.database.read("mailbox_waiting", move |tx| {
                Box::pin(mailbox::waiting(tx, peer, after, HANDED_OVER_MAX))
            });
            let WaitingMessages { messages, damaged } = page.await?;
            if messages.is_empty() && damaged.is_empty() {
                self.round.settle(peer, connections);
                return Ok(true);
            }
            if !damaged.is_empty() {
                let set_aside = self.database.submit("set_aside_messages", move |tx| {
                    Box::pin(async move { mailbox::set_aside(tx, &damaged).await })
                });
                set_aside.await?;
            }
            storage::crash_point!("before_message_handed_over");
            let (handed_over, all) = self.hand_over(peer, messages);
            if let Some(last) = handed_over.last() {
                (after, retries) = (*last, 0);
                storage::crash_point!("message_handed_over");
                self.clock.sleep(CONFIRM_AFTER).await;
                let still_here = self.node.is_connected(peer) && self.round.connections(peer) == connections;
                self.confirm(peer, handed_over, still_here).await?;
                if !still_here {
                    // What it may not have comes again, in order.
                    after = 0;
                }
            }
            if !all {
                retries += 1;
                self.clock.sleep(RETRY_AFTER).await;
            }
        }
        Ok(false)
    }

    /// Gives LDK one message after the other until it takes no more. The ids of those taken, and whether it took all.
    fn hand_over(&self, peer: PublicKey, waiting: Vec<WaitingMessage>) -> (Vec<i64>, bool) {
        let mut handed_over = Vec::new();
        for WaitingMessage { id, message } in waiting {
            if let Err(error) = self.node.forward_onion(&message, peer) {
                tracing::debug!(%peer, %error, "a kept message is not taken yet");
                return (handed_over, false);
            }
            handed_over.push(id);
        }
        (handed_over, true)
    }

    async fn confirm(&self, peer: PublicKey, ids: Vec<i64>, still_here: bool) -> Result<(), StorageError> {
        let messages = ids.len();
        self.database
            .submit("confirm_delivery", move |tx| {
                Box::pin(async move {
                    if !still_here {
                        return mailbox::in_doubt(tx, &ids).await;
                    }
                    mailbox::delivered(tx, &ids).await?;
                    if mailbox::last_expiry(tx, peer).await?.is_none() {
                        wakes::end(tx, peer, WAKE_GROUP, WakeReason::OnionMessage).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        storage::crash_point!("delivery_confirmed");
        if still_here {
            tracing::info!(%peer, messages, "delivered kept messages");
        } else {
            tracing::info!(%peer, messages, "the recipient left while it was given kept messages");
        }
        Ok(())
    }
}
