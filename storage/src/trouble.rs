//! The database cannot be written for now.

use std::fmt;
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// The first pause before a batch is tried again; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// The longest pause between two attempts: how long after the end of a trouble the work goes on.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// A log line says so at this pace while it lasts.
const REMINDER_INTERVAL: Duration = Duration::from_secs(60);

/// Why the database cannot be written, for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TroubleKind {
    /// No space is left.
    Full,
    /// The file, or its file system, takes no writes.
    ReadOnly,
    /// Another process has it locked.
    Locked,
    /// The disk answers with errors.
    Io,
    /// Nothing has the name of the database (or of its log, or its lease) any more.
    Gone,
    /// The database server does not answer, or refuses the connection.
    Unreachable,
}

impl TroubleKind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Full, Self::ReadOnly, Self::Locked, Self::Io, Self::Gone, Self::Unreachable];

    /// A short name for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::ReadOnly => "read_only",
            Self::Locked => "locked",
            Self::Io => "io",
            Self::Gone => "gone",
            Self::Unreachable => "unreachable",
        }
    }
}

impl fmt::Display for TroubleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the disk is full",
            Self::ReadOnly => "the database takes no writes",
            Self::Locked => "another process has the database locked",
            Self::Io => "the disk answers with errors",
            Self::Gone => "the database's files are not where they were",
            Self::Unreachable => "the database server cannot be reached",
        })
    }
}

/// A trouble that lasts. Nothing is committed meanwhile, nothing of it is acknowledged, and nothing is lost: what was taken
/// is written as soon as it can be.
#[derive(Clone, Debug)]
pub struct Trouble {
    kind: TroubleKind,
    since: Instant,
    reason: String,
}

impl Trouble {
    /// What it is now; one may turn into another.
    #[must_use]
    pub const fn kind(&self) -> TroubleKind {
        self.kind
    }

    /// How long it has lasted.
    #[must_use]
    pub fn lasted(&self) -> Duration {
        self.since.elapsed()
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}), since {} s", self.kind, self.reason, self.lasted().as_secs())
    }
}

/// The trouble that the writer is in, if any, and when it looks again.
pub(crate) struct TroubleState {
    current: watch::Sender<Option<Trouble>>,
}

impl Default for TroubleState {
    fn default() -> Self {
        Self { current: watch::Sender::new(None) }
    }
}

impl TroubleState {
    pub(crate) fn current(&self) -> Option<Trouble> {
        self.current.borrow().clone()
    }

    pub(crate) fn kind(&self) -> Option<TroubleKind> {
        self.current.borrow().as_ref().map(|trouble| trouble.kind)
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<Trouble>> {
        self.current.subscribe()
    }

    fn note(&self, kind: TroubleKind, reason: String) -> bool {
        let mut is_news = false;
        self.current.send_modify(|current| {
            is_news = current.as_ref().is_none_or(|known| known.kind != kind);
            let since = current.as_ref().map_or_else(Instant::now, |known| known.since);
            *current = Some(Trouble { kind, since, reason });
        });
        is_news
    }

    fn clear(&self) -> Option<Trouble> {
        self.current.send_replace(None)
    }
}

/// One trouble, as the writer goes through it.
#[derive(Default)]
pub(crate) struct Patience {
    attempts: u32,
    reminded: Option<Instant>,
}

impl Patience {
    /// Says what is wrong, once and then every minute, and waits before the next attempt.
    pub(crate) async fn wait(&mut self, state: &TroubleState, cause: &Cause) {
        let (kind, reason) = (cause.kind, cause.reason.clone());
        if state.note(kind, reason.clone()) {
            tracing::error!(
                trouble = kind.as_str(),
                reason,
                "{kind}: no new work is taken, nothing is acknowledged, and what was taken waits"
            );
            self.reminded = Some(Instant::now());
        } else if self.reminded.is_none_or(|at| at.elapsed() >= REMINDER_INTERVAL) {
            let seconds = state.current().map(|trouble| trouble.lasted().as_secs());
            tracing::error!(
                trouble = kind.as_str(),
                reason,
                seconds,
                attempts = self.attempts,
                "{kind}, still"
            );
            self.reminded = Some(Instant::now());
        }
        let pause = PAUSE_MIN.saturating_mul(1 << self.attempts.min(16)).min(PAUSE_MAX);
        self.attempts = self.attempts.saturating_add(1);
        tokio::time::sleep(pause).await;
    }

    /// A batch was committed.
    pub(crate) fn ends(&mut self, state: &TroubleState) {
        if self.attempts > 0 {
            let attempts = std::mem::take(self).attempts;
            if let Some(trouble) = state.clear() {
                tracing::warn!(
                    trouble = trouble.kind.as_str(),
                    seconds = trouble.lasted().as_secs_f64(),
                    attempts,
                    "the database is written again; nothing was lost"
                );
            }
        }
    }
}

/// Why an attempt came to nothing.
pub(crate) struct Cause {
    kind: TroubleKind,
    reason: String,
}

impl Cause {
    pub(crate) fn new(kind: TroubleKind, reason: String) -> Self {
        Self { kind, reason }
    }

    pub(crate) fn gone(path: &std::path::Path, source: &std::io::Error) -> Self {
        // The process still has the file open: its content is not lost before the process ends.
        let reason = format!(
            "{}: {source}. Put the same file back; if it was deleted, its content is in /proc/{}/fd until this process ends",
            path.display(),
            std::process::id()
        );
        Self { kind: TroubleKind::Gone, reason }
    }
}
