//! The tasks that follow from events: counted, so that somebody can wait until all that followed is done.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::watch;

/// Where tasks are spawned. Clones are the same place.
#[derive(Clone, Default)]
pub struct Tasks {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    running: watch::Sender<usize>,
    stopping: watch::Sender<bool>,
}

/// Counts one task, however it ends.
struct Running(Arc<Shared>);

impl Running {
    fn new(shared: Arc<Shared>) -> Self {
        shared.running.send_modify(|running| *running += 1);
        Self(shared)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.send_modify(|running| *running -= 1);
    }
}

impl Tasks {
    /// Runs a task that ends by itself as soon as the database has answered. Must be called within a tokio runtime.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let running = Running::new(self.shared.clone());
        tokio::spawn(async move {
            task.await;
            drop(running);
        });
    }

    /// As [`Self::spawn`], for a task that waits for somebody else, and is dropped where it waits once the server stops.
    pub fn spawn_waiting(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut stopping = self.shared.stopping.subscribe();
        self.spawn(async move {
            tokio::select! {
                () = task => {}
                _ = stopping.wait_for(|stopping| *stopping) => {}
            }
        });
    }

    /// Ends the tasks that wait for somebody, now and from now on, and resolves once no task is left.
    pub async fn stop(&self) {
        self.shared.stopping.send_replace(true);
        // The sender lives in `shared`, so the wait cannot fail.
        let _ = self.running().wait_for(|running| *running == 0).await;
    }

    /// How many tasks there are.
    pub fn running(&self) -> watch::Receiver<usize> {
        self.shared.running.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn stopping_waits_for_work_and_ends_what_waits() {
        let tasks = Tasks::default();
        let (begin, begun) = tokio::sync::oneshot::channel::<()>();
        tasks.spawn_waiting(pending());
        tasks.spawn(async move {
            begun.await.unwrap();
            tokio::task::yield_now().await;
        });
        assert_eq!(*tasks.running().borrow(), 2);
        let stopped = tokio::spawn({
            let tasks = tasks.clone();
            async move { tasks.stop().await }
        });
        tasks.running().wait_for(|running| *running == 1).await.unwrap();
        assert!(!stopped.is_finished(), "work is under way");
        begin.send(()).unwrap();
        stopped.await.unwrap();
        tasks.spawn_waiting(pending());
        tasks.running().wait_for(|running| *running == 0).await.unwrap();
    }

    #[tokio::test]
    async fn a_task_that_panics_is_counted_out() {
        let tasks = Tasks::default();
        tasks.spawn(async { panic!("as the test wants it") });
        tasks.stop().await;
        assert_eq!(*tasks.running().borrow(), 0);
    }
}
