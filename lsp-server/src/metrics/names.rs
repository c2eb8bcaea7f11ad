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

table! {
    /// Writes of any kind that wait for the database's writer.
    DATABASE_QUEUED_WRITES: "lightning_rod_database_queued_writes", Kind::Gauge, Count, [];
    /// Batches that were committed; each is one fsync.
    DATABASE_COMMITS: "lightning_rod_database_commits_total", Kind::Counter, Count, [];
    /// Writes that were committed: transaction (the server's own), kv_write and kv_remove (LDK's and the on-chain wallet's).
    DATABASE_WRITES: "lightning_rod_database_writes_total", Kind::Counter, Count, ["what"];
    /// Bytes of the values of LDK's and the on-chain wallet's writes.
    DATABASE_KV_BYTES: "lightning_rod_database_kv_bytes_total", Kind::Counter, Bytes, [];
}
