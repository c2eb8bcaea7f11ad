//! The one table of metrics. What a dashboard or an alert names is an entry here.

use metrics::Unit;

use super::{Kind, Metric};

macro_rules! table {
    ($($(#[doc = $help:literal])+ $id:ident: $name:literal, $kind:expr, $unit:ident, [$($label:literal),*];)+) => {
        $($(#[doc = $help])+ pub const $id: Metric = Metric {
            name: $name,
            kind: $kind,
            unit: Unit::$unit,
            labels: &[$($label),*],
            help: concat!($($help),+).trim_ascii(),
        };)+

        /// Every metric.
        pub const ALL: &[Metric] = &[$($id),+];

        /// As they are called in code.
        #[cfg(test)]
        pub(super) const IDENTIFIERS: &[&str] = &[$(stringify!($id)),+];
    };
}

const RECONCILE_BOUNDS: &[f64] = &[0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0];

const PUSH_BOUNDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

const CONNECT_BOUNDS: &[f64] = &[1.0, 2.0, 3.0, 5.0, 10.0, 15.0, 30.0, 60.0, 300.0, 3600.0];

table! {
    /// Writes of any kind that wait for the database's writer.
    DATABASE_QUEUED_WRITES: "lightning_rod_database_queued_writes", Kind::Gauge, Count, [];
    /// Batches that were committed; each is one fsync.
    DATABASE_COMMITS: "lightning_rod_database_commits_total", Kind::Counter, Count, [];
    /// Writes that were committed: transaction (the server's own), kv_write and kv_remove (LDK's and the on-chain wallet's).
    DATABASE_WRITES: "lightning_rod_database_writes_total", Kind::Counter, Count, ["what"];
    /// What a bound refused or put off; the names are in docs/reliability/limits.md.
    LIMIT_REFUSALS: "lightning_rod_limit_refusals_total", Kind::Counter, Count, ["limit"];
    /// Unblocks with a pid of no live hold: late repeats, or guesses.
    UNKNOWN_UNBLOCKS: "lightning_rod_unknown_unblocks_total", Kind::Counter, Count, [];
    /// Rows that cannot be read, by table: they are set aside, and nothing acts on them.
    DAMAGED_ROWS: "lightning_rod_damaged_rows", Kind::Gauge, Count, ["table"];
    /// Bytes of the values of LDK's and the on-chain wallet's writes.
    DATABASE_KV_BYTES: "lightning_rod_database_kv_bytes_total", Kind::Counter, Bytes, [];
    /// 1 for what keeps the database from being written, else 0.
    DATABASE_TROUBLE: "lightning_rod_database_trouble", Kind::Gauge, Count, ["kind"];
    /// 1 for what is wrong with the chain source, else 0.
    CHAIN_TROUBLE: "lightning_rod_chain_trouble", Kind::Gauge, Count, ["kind"];
    /// Heights: what this node has processed (node), bitcoind's tip (bitcoind), and what deadlines are judged by (cautious).
    CHAIN_HEIGHT: "lightning_rod_chain_height", Kind::Gauge, Count, ["of"];
    /// How long ago bitcoind's newest block came.
    CHAIN_TIP_AGE_SECONDS: "lightning_rod_chain_tip_age_seconds", Kind::Gauge, Seconds, [];
    /// How long a comparison of holds with LDK took: of all of them (full), or of those that something may move (moving).
    RECONCILE_SECONDS: "lightning_rod_reconcile_seconds", Kind::Histogram(RECONCILE_BOUNDS), Seconds, ["pass"];
    /// Differences between the database and LDK, by kind; see `holds check`.
    RECONCILE_DIFFERENCES: "lightning_rod_reconcile_differences_total", Kind::Counter, Count, ["kind"];
    /// Holds that are not over, by state.
    HOLDS: "lightning_rod_holds", Kind::Gauge, Count, ["state"];
    /// HTLCs under holds that are on their payers' channels, by state.
    PARTS: "lightning_rod_hold_parts", Kind::Gauge, Count, ["state"];
    /// What is held, in millisatoshi.
    HELD_MSAT: "lightning_rod_held_msat", Kind::Gauge, Count, [];
    /// Rows of a table that are not over.
    UNFINISHED_ROWS: "lightning_rod_unfinished_rows", Kind::Gauge, Count, ["row"];
    /// How long the oldest row of a kind has been as it is; 0 if there is none.
    OLDEST_AGE_SECONDS: "lightning_rod_oldest_age_seconds", Kind::Gauge, Seconds, ["row"];
    /// Blocks until the nearest deadline that something is held under; +Inf if nothing is held.
    BLOCKS_TO_DEADLINE: "lightning_rod_blocks_to_deadline", Kind::Gauge, Count, [];
    /// Blocks until LDK closes the channel of a phone that does not come; +Inf if it waits for none.
    BLOCKS_TO_CLOSE: "lightning_rod_blocks_to_close", Kind::Gauge, Count, [];
    /// Pushes that a provider answered, or did not in time, by its verdict: accepted, retry, token_dead, configuration, bad_payload.
    PUSHES: "lightning_rod_pushes_total", Kind::Counter, Count, ["platform", "verdict"];
    /// How long a provider took to answer a push.
    PUSH_ANSWER_SECONDS: "lightning_rod_push_answer_seconds", Kind::Histogram(PUSH_BOUNDS), Seconds, ["platform"];
    /// How long after its latest push a phone connected.
    WAKE_TO_CONNECT_SECONDS: "lightning_rod_wake_to_connect_seconds", Kind::Histogram(CONNECT_BOUNDS), Seconds, [];
    /// How long the wake or notification has been due that is due longest; 0 if none is. Each is pushed as soon as it is due.
    OLDEST_DUE_WAKE_SECONDS: "lightning_rod_oldest_due_wake_seconds", Kind::Gauge, Seconds, [];
    /// Devices that phones have registered.
    DEVICES: "lightning_rod_devices", Kind::Gauge, Count, ["platform"];
    /// Devices that were forgotten because their provider said that they are gone.
    DEAD_DEVICES: "lightning_rod_dead_devices_total", Kind::Counter, Count, ["platform"];
}
