//! Numbers that somebody else counts, copied now and then.

use std::time::Duration;

use storage::Database;

use super::names;

/// How often the database's counts are copied.
pub const DATABASE_REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// Copies the database's counts for ever, and tidies the recorder.
pub async fn run_refresh(database: Database) {
    loop {
        refresh(&database);
        if let Some(handle) = super::install() {
            handle.run_upkeep();
        }
        tokio::time::sleep(DATABASE_REFRESH_INTERVAL).await;
    }
}

fn refresh(database: &Database) {
    let stats = database.stats();
    names::DATABASE_QUEUED_WRITES.set(stats.queued as f64, &[]);
    names::DATABASE_COMMITS.set_total(stats.commits, &[]);
    names::DATABASE_WRITES.set_total(stats.transactions, &[("what", "transaction")]);
    names::DATABASE_WRITES.set_total(stats.kv_writes, &[("what", "kv_write")]);
    names::DATABASE_WRITES.set_total(stats.kv_removes, &[("what", "kv_remove")]);
    names::DATABASE_KV_BYTES.set_total(stats.kv_bytes, &[]);
}
