//! Rows that hold what no version of this program wrote: an operator's hand, a bad disk.
//!
//! Whoever reads many rows leaves such a one out (`readable`), so that it harms nobody else; [`look`] goes through the tables and
//! finds all of them. No text here repeats a stored value but the ids of rows.
//!
//! A column of SQLite's takes a value of any type; one of Postgres' holds its own type or the row is refused. So what is looked at is
//! the same for both, in Rust, and on Postgres a value of a wrong type is never found: there it cannot be.

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use hex::DisplayHex;
use storage::{ReadTx, Row, StorageError, Value, values};

use super::devices::{self, Device};
use super::{StoreError, holds, mailbox, notifications, pending, wakes};
use crate::error::with_causes;

/// An amount in millisatoshi as a sum takes it: one that no version wrote counts nothing, and fails no sum for the others. The largest is
/// all the bitcoin there will ever be.
macro_rules! readable_amount {
    ($column:literal) => {
        concat!(
            "CAST(CASE WHEN ",
            $column,
            " BETWEEN 0 AND 2100000000000000000 THEN ",
            $column,
            " ELSE 0 END AS BIGINT)"
        )
    };
}

/// A time in seconds since 1970 as a minimum or maximum takes it: NULL for one after the year 9999 or before 1970.
macro_rules! readable_time {
    ($column:literal) => {
        concat!("CAST(CASE WHEN ", $column, " BETWEEN 0 AND 253402300799 THEN ", $column, " END AS BIGINT)")
    };
}

pub(super) use {readable_amount, readable_time};

/// Rows that one page of [`look`] reads.
const PAGE_ROWS: u32 = 500;

/// Rows that the log has named; after that many, only [`look`] tells of others.
const NAMED_MAX: usize = 1_000;

/// A key that cannot be read is shown this far, in bytes.
const KEY_BYTES_SHOWN: usize = 32;

/// The tables that are looked through.
pub const TABLES: [&str; 9] = [
    "hold",
    "hold_hash",
    "hold_part",
    "pending_message",
    "mailbox_message",
    "device",
    "wake",
    "wake_attempt",
    "notification",
];

/// A row that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DamagedRow {
    /// The table.
    pub table: &'static str,
    /// What the row goes by: its number, or its key in hexadecimal.
    pub id: String,
    /// What is wrong, without the stored value.
    pub why: String,
}

/// How far [`look`] has come.
#[derive(Clone)]
pub struct Place {
    table: usize,
    after: Value,
}

impl Default for Place {
    fn default() -> Self {
        Self { table: 0, after: SCANS[0].first.value() }
    }
}

/// Where the keys of a table begin.
#[derive(Clone, Copy)]
enum First {
    Number,
    Bytes,
}

impl First {
    fn value(self) -> Value {
        match self {
            Self::Number => i64::MIN.into(),
            Self::Bytes => Vec::new().into(),
        }
    }
}

struct Scan {
    table: &'static str,
    key: &'static str,
    first: First,
    sql: &'static str,
    read: fn(&Row) -> Result<(), StoreError>,
}

/// Each with its whole table, in pages; holds come with their hashes and parts.
const SCANS: [Scan; 7] = [
    Scan { table: "hold", key: "id", first: First::Number, sql: holds::PAGE, read: |_| Ok(()) },
    Scan {
        table: "pending_message",
        key: "hold_id",
        first: First::Number,
        sql: pending::PAGE,
        read: pending::whole,
    },
    Scan {
        table: "mailbox_message",
        key: "id",
        first: First::Number,
        sql: mailbox::PAGE,
        read: mailbox::whole,
    },
    Scan {
        table: "device",
        key: "device_id",
        first: First::Bytes,
        sql: devices::PAGE,
        read: |row| Device::try_from(row).map(drop),
    },
    Scan { table: "wake", key: "id", first: First::Number, sql: wakes::PAGE, read: wakes::whole },
    Scan {
        table: "wake_attempt",
        key: "id",
        first: First::Number,
        sql: wakes::ledger::PAGE,
        read: |row| wakes::ledger::push_record(row).map(drop),
    },
    Scan {
        table: "notification",
        key: "id",
        first: First::Number,
        sql: notifications::PAGE,
        read: notifications::whole,
    },
];

/// Looks through one page of one table. Answers what is damaged there, and where to go on; nowhere at the end.
///
/// # Errors
/// When the database fails.
pub async fn look(tx: &mut ReadTx, place: &Place) -> Result<(Vec<DamagedRow>, Option<Place>), StorageError> {
    let Some(scan) = SCANS.get(place.table) else { return Ok((Vec::new(), None)) };
    let rows = tx.fetch_all(scan.sql, &[place.after.clone(), PAGE_ROWS.into()]).await?;
    let mut damaged = Vec::new();
    let Some(last) = rows.last() else {
        if place.table == 0 {
            damaged.extend(strays(tx).await?);
        }
        let next = place.table + 1;
        let place = SCANS.get(next).map(|scan| Place { table: next, after: scan.first.value() });
        return Ok((damaged, place));
    };
    let after = key_value(last, scan)?;
    if place.table == 0 {
        let (first, last) = (rows[0].get_i64("id")?, last.get_i64("id")?);
        damaged.extend(holds_between(tx, &rows, first, last).await?);
    } else {
        for row in &rows {
            if let Err(error) = (scan.read)(row) {
                damaged.push(DamagedRow { table: scan.table, id: id_of(row, scan.key), why: said(&error) });
            }
        }
    }
    Ok((damaged, Some(Place { table: place.table, after })))
}

fn key_value(row: &Row, scan: &Scan) -> Result<Value, StorageError> {
    match scan.first {
        First::Number => row.get_i64(scan.key).map(Value::from),
        First::Bytes => row.get_blob(scan.key).map(Value::from),
    }
}

async fn holds_between(
    tx: &mut ReadTx,
    rows: &[Row],
    first: i64,
    last: i64,
) -> Result<Vec<DamagedRow>, StorageError> {
    let hashes = tx
        .fetch_all(
            "SELECT hold_id, position, payment_hash FROM hold_hash WHERE hold_id BETWEEN $1 AND $2 \
             ORDER BY hold_id, position",
            &values![first, last],
        )
        .await?;
    let parts = tx
        .fetch_all(
            "SELECT hold_id, intercept_id, payment_hash, inbound_channel_id, inbound_htlc_id, inbound_amount_msat, \
             outbound_amount_msat, inbound_expiry, outgoing_expiry, next_hop_scid, state, cause \
             FROM hold_part WHERE hold_id BETWEEN $1 AND $2 ORDER BY hold_id, position",
            &values![first, last],
        )
        .await?;
    holds::damaged(rows, &hashes, &parts)
}

/// Hashes and parts of no hold.
async fn strays(tx: &mut ReadTx) -> Result<Vec<DamagedRow>, StorageError> {
    let of_none = |table| move |id| DamagedRow { table, id, why: "its hold is not there".to_owned() };
    let parts = tx
        .fetch_all(
            "SELECT intercept_id FROM hold_part \
             WHERE NOT EXISTS (SELECT 1 FROM hold WHERE hold.id = hold_part.hold_id) LIMIT $1",
            &values![PAGE_ROWS],
        )
        .await?;
    let hashes = tx
        .fetch_all(
            "SELECT hold_id, position FROM hold_hash \
             WHERE NOT EXISTS (SELECT 1 FROM hold WHERE hold.id = hold_hash.hold_id) LIMIT $1",
            &values![PAGE_ROWS],
        )
        .await?;
    let parts = parts.iter().map(|row| id_of(row, "intercept_id")).map(of_none("hold_part"));
    Ok(parts.chain(hashes.iter().map(hash_id).map(of_none("hold_hash"))).collect())
}

/// A payment hash goes by its hold and its place there.
pub(super) fn hash_id(row: &Row) -> String {
    format!("{}/{}", id_of(row, "hold_id"), id_of(row, "position"))
}

/// What the row goes by, whatever is left of it.
pub(super) fn id_of(row: &Row, key: &str) -> String {
    if let Ok(number) = row.get_i64(key) {
        return number.to_string();
    }
    match row.get_blob(key) {
        Ok(bytes) => bytes[..bytes.len().min(KEY_BYTES_SHOWN)].to_lower_hex_string(),
        Err(_) => format!("unreadable {key}"),
    }
}

/// An error of a row in words, with its causes.
pub(super) fn said(error: &StoreError) -> String {
    with_causes(error)
}

/// What can be read of `rows`. The others are left out, and named once in the log.
///
/// # Errors
/// What `read` gives that is not of one row.
pub(super) fn readable<T>(
    table: &'static str,
    key: &str,
    rows: &[Row],
    read: impl Fn(&Row) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        match read(row) {
            Ok(value) => found.push(value),
            Err(error) if error.is_of_a_row() => stumbled(table, id_of(row, key), &error),
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

static STUMBLES: AtomicU64 = AtomicU64::new(0);
static NAMED: Mutex<Option<HashSet<(&'static str, String)>>> = Mutex::new(None);

/// Somebody came upon a damaged row, which is left out: the log names it once.
pub(crate) fn stumbled(table: &'static str, id: String, error: &StoreError) {
    let mut named = NAMED.lock().unwrap_or_else(PoisonError::into_inner);
    let named = named.get_or_insert_default();
    if named.len() >= NAMED_MAX || !named.insert((table, id.clone())) {
        return;
    }
    STUMBLES.fetch_add(1, Ordering::Relaxed);
    tracing::error!(table, id, why = said(error), "a damaged row is set aside");
}

/// Names in the log what [`look`] found, each row once.
pub(crate) fn name(rows: &[DamagedRow]) {
    let mut named = NAMED.lock().unwrap_or_else(PoisonError::into_inner);
    let named = named.get_or_insert_default();
    for DamagedRow { table, id, why } in rows {
        if named.len() < NAMED_MAX && named.insert((table, id.clone())) {
            tracing::error!(table, id, why, "a damaged row is set aside");
        }
    }
}

/// How many damaged rows were come upon so far that were not known. A change is a reason to [`look`].
pub(crate) fn stumbles() -> u64 {
    STUMBLES.load(Ordering::Relaxed)
}
