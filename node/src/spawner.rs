//! The order of LDK's monitor updates.

use std::future::Future;
use std::task::{Context, Poll, Waker};

use lightning::util::native_async::FutureSpawner;
use tokio::task::{JoinError, JoinHandle};

/// Runs LDK's futures on tokio, each as far as it comes in the call.
///
/// LDK 0.3.0-rc3 queues the write of a monitor's update not in the call that brings the update but in the future's first poll
/// (`update_persisted_channel` in `util/persist.rs`, whose comment says otherwise). Two tasks may be polled in any order. A
/// crash between the two commits would then leave an update without the one before it, and LDK reads such a monitor never
/// again. Polled here, the writes are in the ordered writer's queue in call order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OrderedSpawner;

impl FutureSpawner for OrderedSpawner {
    type E = JoinError;
    type SpawnedFutureResult<O> = JoinHandle<O>;

    fn spawn<O: Send + 'static, T: Future<Output = O> + Send + 'static>(&self, future: T) -> JoinHandle<O> {
        let mut future = Box::pin(future);
        // The task polls again, with a waker of its own.
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => tokio::spawn(std::future::ready(output)),
            Poll::Pending => tokio::spawn(future),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_done_before_the_first_wait_is_done_in_call_order() {
        let begun = Arc::new(Mutex::new(Vec::new()));
        let spawned: Vec<_> = (0..1_000)
            .map(|number| {
                let begun = begun.clone();
                OrderedSpawner.spawn(async move {
                    begun.lock().unwrap().push(number);
                    tokio::task::yield_now().await;
                    number
                })
            })
            .collect();
        assert_eq!(*begun.lock().unwrap(), (0..1_000).collect::<Vec<_>>());
        for (number, task) in spawned.into_iter().enumerate() {
            assert_eq!(task.await.unwrap(), number);
        }
        assert_eq!(OrderedSpawner.spawn(async { 7 }).await.unwrap(), 7);
    }
}
