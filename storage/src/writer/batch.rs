use std::collections::HashSet;

use super::{Job, KvKey};

/// A batch ends at either bound; what is queued beyond goes into the next one.
const BATCH_JOBS_MAX: usize = 1024;
const BATCH_BYTES_MAX: usize = 16 << 20;

/// What the batch holds.
#[derive(Default)]
pub(super) struct Room {
    jobs: usize,
    bytes: usize,
}

impl Room {
    pub(super) fn add(&mut self, job: &Job) {
        self.jobs += 1;
        self.bytes += job.bytes();
    }

    pub(super) fn is_full(&self) -> bool {
        self.jobs >= BATCH_JOBS_MAX || self.bytes >= BATCH_BYTES_MAX
    }
}

/// Leaves out the writes that nobody waits for and that a later one of the same batch replaces: no commit will show them.
pub(super) fn drop_replaced(batch: &mut Vec<Job>) {
    let mut later: HashSet<KvKey> = HashSet::new();
    let mut keep: Vec<bool> = batch
        .iter()
        .rev()
        .map(|job| match job {
            Job::Write { key, answer, .. } => {
                let is_last = later.insert(key.clone());
                is_last || answer.is_some()
            }
            Job::Remove { .. } | Job::Transaction(_) | Job::Close => true,
        })
        .collect();
    batch.retain(|_| keep.pop().unwrap_or(true));
}
