//! Pushes under way, and the verdicts that are to be recorded. While one commit of verdicts runs, the next ones gather: under load
//! one transaction records hundreds.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, Stream, StreamExt};
use storage::{Commit, StorageError};

use super::Waker;
use crate::store::wakes::{self, ClaimedWake, PushOutcome};

/// Wakes whose verdicts are recorded in one transaction. It must not hold up the others for long.
const RECORDED_MAX: usize = 256;

/// A wake whose pushes have their verdicts.
pub(super) struct Pushed {
    pub(super) wake: ClaimedWake,
    pub(super) outcomes: Vec<PushOutcome>,
}

/// Wakes that are claimed and not recorded yet. What this forgets when it is dropped is due again when its lease runs out.
pub(super) struct InFlight<'a> {
    waker: &'a Waker,
    pushes: FuturesUnordered<BoxFuture<'a, Pushed>>,
    pushed: Vec<Pushed>,
    /// How many, and their commit.
    recording: Option<(usize, Commit<(), StorageError>)>,
}

impl<'a> InFlight<'a> {
    pub(super) fn new(waker: &'a Waker) -> Self {
        Self { waker, pushes: FuturesUnordered::new(), pushed: Vec::new(), recording: None }
    }

    /// Wakes that are claimed and not recorded.
    pub(super) fn len(&self) -> usize {
        self.pushes.len() + self.pushed.len() + self.recording.as_ref().map_or(0, |(wakes, _)| *wakes)
    }

    /// These are claimed: their pushes begin when this is polled next.
    pub(super) fn extend(&mut self, claimed: Vec<ClaimedWake>) {
        self.waker.under_way.send_modify(|wakes| *wakes += claimed.len());
        self.pushes.extend(claimed.into_iter().map(|wake| self.waker.push(wake).boxed()));
    }

    /// Whatever has moved on by now.
    pub(super) async fn catch_up(&mut self) {
        poll_fn(|context| {
            let _ = self.poll_next_unpin(context);
            Poll::Ready(())
        })
        .await;
    }

    /// Queues what has gathered, if nothing is being recorded.
    fn record(&mut self) {
        if self.recording.is_some() || self.pushed.is_empty() {
            return;
        }
        let rest = self.pushed.split_off(self.pushed.len().min(RECORDED_MAX));
        let pushed = std::mem::replace(&mut self.pushed, rest);
        let (wakes, now_unix) = (pushed.len(), self.waker.clock.now_unix());
        let commit = self.waker.database.submit("record_pushes", move |tx| {
            Box::pin(async move {
                for Pushed { wake, outcomes } in &pushed {
                    wakes::finish(tx, wake, outcomes, now_unix).await?;
                }
                Ok::<_, StorageError>(())
            })
        });
        self.recording = Some((wakes, commit));
    }
}

/// An item whenever something has moved on; the end if nothing is under way.
impl Stream for InFlight<'_> {
    type Item = ();

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<()>> {
        let mut moved = false;
        while let Poll::Ready(Some(pushed)) = self.pushes.poll_next_unpin(context) {
            self.pushed.push(pushed);
            moved = true;
        }
        loop {
            self.record();
            let Some((wakes, commit)) = &mut self.recording else { break };
            let wakes = *wakes;
            let Poll::Ready(recorded) = commit.poll_unpin(context) else { break };
            storage::crash_point!("wake_recorded");
            if let Err(error) = recorded {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "what came of pushes is not recorded"
                );
            }
            self.waker.under_way.send_modify(|under_way| *under_way -= wakes);
            self.recording = None;
            moved = true;
        }
        match moved {
            true => Poll::Ready(Some(())),
            false if self.len() == 0 => Poll::Ready(None),
            false => Poll::Pending,
        }
    }
}

/// Does something while pushes go on: none waits for what has nothing to do with it.
pub(crate) async fn meanwhile<T>(
    in_flight: &mut (impl Stream<Item = ()> + Unpin),
    work: impl Future<Output = T>,
) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            // The same order each time, for whoever replays it.
            biased;
            done = &mut work => return done,
            Some(()) = in_flight.next() => {}
        }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let wakes = self.len();
        self.waker.under_way.send_modify(|under_way| *under_way -= wakes);
    }
}
