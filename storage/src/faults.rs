//! How a test makes the database fail. Only with the feature `faults`, which no release has.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::ffi;

/// What SQLite would say in place of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// `SQLITE_FULL`
    #[error("an injected fault: database or disk is full")]
    Full,
    /// `SQLITE_READONLY`
    #[error("an injected fault: attempt to write a readonly database")]
    ReadOnly,
    /// `SQLITE_BUSY`
    #[error("an injected fault: database is locked")]
    Busy,
    /// `SQLITE_IOERR_WRITE`
    #[error("an injected fault: disk I/O error")]
    Io,
    /// `SQLITE_CORRUPT`
    #[error("an injected fault: database disk image is malformed")]
    Corrupt,
}

impl Fault {
    /// SQLite's extended result code.
    pub(crate) const fn code(self) -> i32 {
        match self {
            Self::Full => ffi::SQLITE_FULL,
            Self::ReadOnly => ffi::SQLITE_READONLY,
            Self::Busy => ffi::SQLITE_BUSY,
            Self::Io => ffi::SQLITE_IOERR_WRITE,
            Self::Corrupt => ffi::SQLITE_CORRUPT,
        }
    }
}

/// The handle: [`Database::faults`](crate::Database::faults). Clones are the same.
#[derive(Clone, Default)]
pub struct Faults {
    state: Arc<Mutex<State>>,
    pub(crate) kill: crate::kill::Kill,
}

#[derive(Default)]
struct State {
    due: Option<(Fault, u64)>,
    injected: u64,
    cut: bool,
}

impl Faults {
    /// The next `count` attempts to commit fail, in place of any fault that was due before.
    pub fn fail_next(&self, fault: Fault, count: u64) {
        self.with(|state| state.due = (count > 0).then_some((fault, count)));
    }

    /// Every attempt to commit fails until [`Faults::clear`].
    pub fn fail_until_cleared(&self, fault: Fault) {
        self.fail_next(fault, u64::MAX);
    }

    /// No fault is due any more. A [`Database::cut`](crate::Database::cut) stays.
    pub fn clear(&self) {
        self.with(|state| state.due = None);
    }

    /// How many commits have failed by these faults.
    #[must_use]
    pub fn injected(&self) -> u64 {
        self.with(|state| state.injected)
    }

    pub(crate) fn cut(&self) {
        self.with(|state| state.cut = true);
    }

    /// Whether it is cut off.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.with(|state| state.cut)
    }

    /// What stands in for the commit, if anything does.
    pub(crate) fn at_commit(&self) -> Result<(), Fault> {
        self.with(|state| {
            let Some((fault, count)) = state.due else { return Ok(()) };
            state.due = (count > 1).then(|| (fault, if count == u64::MAX { count } else { count - 1 }));
            state.injected += 1;
            Err(fault)
        })
    }

    fn with<T>(&self, body: impl FnOnce(&mut State) -> T) -> T {
        body(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with(|state| f.debug_struct("Faults").field("due", &state.due).field("cut", &state.cut).finish())
    }
}
