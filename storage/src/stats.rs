use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the database was opened. `transactions + kv_writes + kv_removes` over `commits` is what one fsync serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Batches that were committed.
    pub commits: u64,
    /// Application transactions that were committed; those that were rolled back are not counted.
    pub transactions: u64,
    /// Key-value writes that were committed.
    pub kv_writes: u64,
    /// Key-value removals that were committed.
    pub kv_removes: u64,
    /// Bytes of the values in `kv_writes`.
    pub kv_bytes: u64,
    /// Writes of any kind that are queued now and that the writer has not taken yet.
    pub queued: u64,
}

#[derive(Default)]
pub(crate) struct Counters {
    commits: AtomicU64,
    transactions: AtomicU64,
    kv_writes: AtomicU64,
    kv_removes: AtomicU64,
    kv_bytes: AtomicU64,
    queued: AtomicU64,
}

impl Counters {
    pub(crate) fn read(&self) -> Stats {
        Stats {
            commits: self.commits.load(Ordering::Relaxed),
            transactions: self.transactions.load(Ordering::Relaxed),
            kv_writes: self.kv_writes.load(Ordering::Relaxed),
            kv_removes: self.kv_removes.load(Ordering::Relaxed),
            kv_bytes: self.kv_bytes.load(Ordering::Relaxed),
            queued: self.queued.load(Ordering::Relaxed),
        }
    }

    /// Adds what one batch did.
    pub(crate) fn add(&self, batch: Stats) {
        self.commits.fetch_add(batch.commits, Ordering::Relaxed);
        self.transactions.fetch_add(batch.transactions, Ordering::Relaxed);
        self.kv_writes.fetch_add(batch.kv_writes, Ordering::Relaxed);
        self.kv_removes.fetch_add(batch.kv_removes, Ordering::Relaxed);
        self.kv_bytes.fetch_add(batch.kv_bytes, Ordering::Relaxed);
    }

    pub(crate) fn queue(&self) {
        self.queued.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn unqueue(&self) {
        self.queued.fetch_sub(1, Ordering::Relaxed);
    }
}
