//! Numbers that somebody else counts, copied now and then.

use std::sync::Arc;
use std::time::Duration;

use node::{ChainTrouble, Node};
use notifier::GatewayKind;
use protocol::hold::{HoldStateTag, PartStateTag};
use storage::{Database, StorageError, TroubleKind};

use super::names;
use crate::clock::Clock;
use crate::store::ages::{self, Unfinished};
use crate::store::devices;

/// How often the database's counts and the chain's state are copied.
pub const DATABASE_REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// How many of these pass before the rows are counted again.
const REFRESHES_PER_COUNT: u32 = 5;

/// The states of holds that are not over.
const HOLD_STATES: [HoldStateTag; 3] =
    [HoldStateTag::Waiting, HoldStateTag::Unblocked, HoldStateTag::Failing];

/// The states of parts that are on their payer's channel.
const PART_STATES: [PartStateTag; 5] = [
    PartStateTag::Held,
    PartStateTag::Releasing,
    PartStateTag::Claimed,
    PartStateTag::Failing,
    PartStateTag::FailedBack,
];

/// The other rows that somebody has still to move.
const TABLES: [&str; 5] = ["pending_message", "mailbox_message", "wake", "notification", "used_challenge"];

/// Copies for ever, and tidies the recorder.
pub async fn run_refresh(database: Database, node: Arc<Node>, clock: Arc<dyn Clock>) {
    for turn in 0_u32.. {
        copy_database(&database);
        copy_chain(&node, clock.now_unix());
        if turn.is_multiple_of(REFRESHES_PER_COUNT)
            && let Err(error) = count_rows(&database, &node, clock.now_unix()).await
        {
            tracing::warn!(%error, "rows cannot be counted");
        }
        if let Some(handle) = super::install() {
            handle.run_upkeep();
        }
        clock.sleep(DATABASE_REFRESH_INTERVAL).await;
    }
}

fn copy_database(database: &Database) {
    let stats = database.stats();
    names::DATABASE_QUEUED_WRITES.set(stats.queued as f64, &[]);
    names::DATABASE_COMMITS.set_total(stats.commits, &[]);
    names::DATABASE_WRITES.set_total(stats.transactions, &[("what", "transaction")]);
    names::DATABASE_WRITES.set_total(stats.kv_writes, &[("what", "kv_write")]);
    names::DATABASE_WRITES.set_total(stats.kv_removes, &[("what", "kv_remove")]);
    names::DATABASE_KV_BYTES.set_total(stats.kv_bytes, &[]);
    let trouble = database.trouble().map(|trouble| trouble.kind());
    for kind in TroubleKind::ALL {
        names::DATABASE_TROUBLE.set(f64::from(u8::from(trouble == Some(kind))), &[("kind", kind.as_str())]);
    }
}

fn copy_chain(node: &Node, now_unix: u64) {
    let health = node.chain_health();
    for kind in ChainTrouble::ALL {
        let is_so = health.trouble == Some(kind);
        names::CHAIN_TROUBLE.set(f64::from(u8::from(is_so)), &[("kind", kind.as_str())]);
    }
    names::CHAIN_HEIGHT.set(node.height().0.into(), &[("of", "node")]);
    names::CHAIN_HEIGHT.set(node.cautious_height().0.into(), &[("of", "cautious")]);
    if let Some(height) = health.chain_height {
        names::CHAIN_HEIGHT.set(height.0.into(), &[("of", "bitcoind")]);
    }
    if let Some(seen_unix) = health.tip_seen_unix {
        names::CHAIN_TIP_AGE_SECONDS.set(now_unix.saturating_sub(seen_unix) as f64, &[]);
    }
}

async fn count_rows(database: &Database, node: &Node, now_unix: u64) -> Result<(), StorageError> {
    let height = node.cautious_height();
    let (unfinished, deadline, due_since, devices) = database
        .read("unfinished", move |tx| {
            Box::pin(async move {
                Ok::<_, StorageError>((
                    ages::unfinished(tx).await?,
                    ages::nearest_deadline(tx, height).await?,
                    ages::oldest_due_push(tx, now_unix).await?,
                    devices::count_by_platform(tx).await?,
                ))
            })
        })
        .await?;
    let of =
        |table: &str, state: &str| unfinished.iter().find(|rows| rows.table == table && rows.state == state);
    for state in HOLD_STATES.map(HoldStateTag::as_str) {
        let rows = of("hold", state);
        names::HOLDS.set(count(rows), &[("state", state)]);
        names::OLDEST_AGE_SECONDS.set(age(rows, now_unix), &[("row", &format!("hold_{state}"))]);
    }
    for state in PART_STATES.map(PartStateTag::as_str) {
        let rows = of("part", state);
        names::PARTS.set(count(rows), &[("state", state)]);
        names::OLDEST_AGE_SECONDS.set(age(rows, now_unix), &[("row", &format!("part_{state}"))]);
    }
    let held_msat = of("part", PartStateTag::Held.as_str()).map_or(0, |rows| rows.amount_msat);
    names::HELD_MSAT.set(held_msat as f64, &[]);
    for table in TABLES {
        let rows = of(table, "");
        names::UNFINISHED_ROWS.set(count(rows), &[("row", table)]);
        names::OLDEST_AGE_SECONDS.set(age(rows, now_unix), &[("row", table)]);
    }
    let blocks = deadline.map_or(f64::INFINITY, |deadline| height.blocks_until(deadline).into());
    names::BLOCKS_TO_DEADLINE.set(blocks, &[]);
    let overdue = due_since.map_or(0, |since| now_unix.saturating_sub(since));
    names::OLDEST_DUE_WAKE_SECONDS.set(overdue as f64, &[]);
    for platform in GatewayKind::ALL.map(GatewayKind::as_str) {
        let devices = devices.get(platform).copied().unwrap_or(0);
        names::DEVICES.set(devices as f64, &[("platform", platform)]);
    }
    Ok(())
}

fn count(rows: Option<&Unfinished>) -> f64 {
    rows.map_or(0.0, |rows| rows.rows as f64)
}

fn age(rows: Option<&Unfinished>, now_unix: u64) -> f64 {
    rows.map_or(0.0, |rows| now_unix.saturating_sub(rows.oldest_unix) as f64)
}
