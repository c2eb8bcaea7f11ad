//! How a simulation kills the database at a moment of its choice, and makes it do one thing at a time. Only with the feature
//! `faults`.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as Turns, OwnedMutexGuard, watch};

use crate::faults::Faults;

/// What [`Faults`] knows of it.
#[derive(Clone, Default)]
pub(crate) struct Kill {
    state: Arc<Mutex<State>>,
    turns: Arc<Turns<()>>,
    /// Writes that are queued or under way.
    open: watch::Sender<usize>,
}

#[derive(Clone, Copy, Default)]
struct State {
    takes_turns: bool,
    due: Option<Due>,
}

#[derive(Clone, Copy)]
struct Due {
    commits: u64,
    after: bool,
}

impl Kill {
    fn with<T>(&self, body: impl FnOnce(&mut State) -> T) -> T {
        body(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Faults {
    /// From this call on nothing is committed, and what was not answered yet never is: [`Database::cut`](crate::Database::cut)
    /// must follow.
    pub fn cut_now(&self) {
        self.cut();
    }

    /// Cuts at a commit to come, when so many others have been made: before it, or after it and before anybody hears of it.
    pub fn cut_at_commit(&self, commits: u64, after: bool) {
        self.kill.with(|state| state.due = Some(Due { commits, after }));
    }

    /// Takes [`Self::cut_at_commit`] back.
    pub fn spare(&self) {
        self.kill.with(|state| state.due = None);
    }

    /// From now on reads and batches of writes wait for each other, in the order in which they were asked for. Without it their
    /// answers come in an order that nobody can repeat. A trouble is then over at the next attempt, and nobody hears of it.
    pub fn take_turns(&self) {
        self.kill.with(|state| state.takes_turns = true);
    }

    pub(crate) fn takes_turns(&self) -> bool {
        self.kill.with(|state| state.takes_turns)
    }

    pub(crate) async fn turn(&self) -> Option<OwnedMutexGuard<()>> {
        if !self.takes_turns() {
            return None;
        }
        Some(self.kill.turns.clone().lock_owned().await)
    }

    /// Resolves when every write that was queued is committed and answered, or the writer has ended.
    pub async fn idle(&self) {
        // The sender lives in `self`, so the wait cannot fail.
        let _ = self.kill.open.subscribe().wait_for(|open| *open == 0).await;
    }

    /// Nothing is queued or under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        *self.kill.open.borrow() == 0
    }

    pub(crate) fn queued(&self) {
        self.kill.open.send_modify(|open| *open += 1);
    }

    pub(crate) fn answered(&self, jobs: usize) {
        self.kill.open.send_modify(|open| *open = open.saturating_sub(jobs));
    }

    /// Once before each commit.
    pub(crate) fn before_commit(&self) {
        let now = self.kill.with(|state| state.due.is_some_and(|due| due.commits == 0 && !due.after));
        if now {
            self.cut();
        }
    }

    /// Once after each commit.
    pub(crate) fn after_commit(&self) {
        let now = self.kill.with(|state| {
            let Some(due) = &mut state.due else { return false };
            let now = due.commits == 0;
            due.commits = due.commits.saturating_sub(1);
            now
        });
        if now {
            self.cut();
        }
    }
}
