//! Many holds at once, with one query a table.

use std::collections::HashMap;

use bitcoin::secp256k1::PublicKey;
use lightning_types::payment::PaymentHash;
use protocol::hold::{Part, RowError};
use protocol::units::BlockHeight;
use storage::{ReadTx, Row, StorageError, Value, values};

use super::super::damage::{DamagedRow, hash_id, id_of, said};
use super::super::{StoreError, parts};
use super::{HoldRow, assemble, payment_hash};

/// Holds that could be read, and those that could not: one that makes no sense must not keep the others from being seen to.
#[derive(Debug, Default)]
pub struct Loaded {
    /// In order of arrival.
    pub rows: Vec<HoldRow>,
    /// The others.
    pub unreadable: Vec<Unreadable>,
}

/// A hold that could not be read.
#[derive(Debug)]
pub struct Unreadable {
    /// The row's id.
    pub hold_id: i64,
    /// What is wrong.
    pub error: StoreError,
    /// Whose HTLCs can be under it without anybody being able to tell: one of its payment hashes is lost.
    pub blind: Option<Blind>,
}

/// Who has lost a payment hash, and until when that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blind {
    /// Whose hold it is.
    pub payer: PublicKey,
    /// Its deadline.
    pub deadline: BlockHeight,
}

/// The three queries for one selection of holds.
struct Queries {
    holds: &'static str,
    hashes: &'static str,
    parts: &'static str,
}

macro_rules! queries {
    ($selected:expr) => {
        Queries {
            holds: concat!(
                "SELECT id, payer, pid_hash, requested_deadline, deadline, state, cause, created_at, updated_at, hashes_digest \
                 FROM hold WHERE id IN (",
                $selected,
                ") AND state IN ('waiting', 'unblocked', 'failing') ORDER BY id"
            ),
            hashes: concat!(
                "SELECT hold_id, payment_hash FROM hold_hash WHERE hold_id IN (",
                $selected,
                ") ORDER BY hold_id, position"
            ),
            parts: concat!(
                "SELECT hold_id, intercept_id, payment_hash, inbound_channel_id, inbound_htlc_id, inbound_amount_msat, \
                 outbound_amount_msat, inbound_expiry, outgoing_expiry, next_hop_scid, state, cause \
                 FROM hold_part WHERE hold_id IN (",
                $selected,
                ") ORDER BY hold_id, position"
            ),
        }
    };
}

const LIVE: Queries = queries!("SELECT id FROM hold WHERE state IN ('waiting', 'unblocked', 'failing')");

const MOVING: Queries = queries!(
    "SELECT id FROM hold WHERE state IN ('unblocked', 'failing') \
     UNION SELECT hold_id FROM hold_part WHERE state IN ('releasing', 'claimed', 'failing', 'failed_back') \
     UNION SELECT id FROM hold WHERE deadline <= $1 AND state IN ('waiting', 'unblocked', 'failing')"
);

/// Every hold that has not ended.
///
/// # Errors
/// When the database fails.
pub async fn live(tx: &mut ReadTx) -> Result<Loaded, StoreError> {
    load(tx, &LIVE, &[]).await
}

/// The holds among them that anything but an event of theirs may move now: unblocked, failing, with a part that is under way, or
/// with a deadline at or before `deadline_max`. Those that merely wait are not looked at.
///
/// # Errors
/// When the database fails.
pub async fn moving(tx: &mut ReadTx, deadline_max: BlockHeight) -> Result<Loaded, StoreError> {
    load(tx, &MOVING, &values![deadline_max.0]).await
}

async fn load(tx: &mut ReadTx, queries: &Queries, params: &[Value]) -> Result<Loaded, StoreError> {
    let rows = tx.fetch_all(queries.holds, params).await?;
    if rows.is_empty() {
        return Ok(Loaded::default());
    }
    let mut hashes: HashMap<i64, Vec<Result<PaymentHash, StorageError>>> = HashMap::new();
    for row in tx.fetch_all(queries.hashes, params).await? {
        // One that names no hold is a stray: it is of none of these.
        let Ok(hold_id) = row.get_i64("hold_id") else { continue };
        hashes.entry(hold_id).or_default().push(payment_hash(&row));
    }
    let mut parts: HashMap<i64, Vec<Result<Part, StoreError>>> = HashMap::new();
    for row in tx.fetch_all(queries.parts, params).await? {
        let Ok(hold_id) = row.get_i64("hold_id") else { continue };
        parts.entry(hold_id).or_default().push(parts::build(&row, hold_id));
    }
    let mut loaded = Loaded::default();
    for row in &rows {
        let hold_id = row.get_i64("id")?;
        let hashes = hashes.remove(&hold_id).unwrap_or_default();
        let parts = parts.remove(&hold_id).unwrap_or_default();
        let lost = hashes.is_empty() || hashes.iter().any(Result::is_err);
        match whole(row, hashes, parts) {
            Ok(hold) => loaded.rows.push(hold),
            Err(error) => {
                let is_other = matches!(&error, StoreError::Hold { source: RowError::OtherHashes, .. });
                let blind = if lost || is_other { blind_of(row) } else { None };
                loaded.unreadable.push(Unreadable { hold_id, error, blind });
            }
        }
    }
    Ok(loaded)
}

/// Whose hold has lost a hash, as far as that can be read.
pub(super) fn blind_of(row: &Row) -> Option<Blind> {
    let payer = PublicKey::from_slice(&row.get_blob("payer").ok()?).ok()?;
    // A deadline that is lost too is one that does not pass.
    Some(Blind { payer, deadline: BlockHeight(row.get_u32("deadline").unwrap_or(u32::MAX)) })
}

/// What is damaged of these holds, hashes and parts: each row by itself, and holds whose rows contradict each other.
///
/// # Errors
/// When a hold has no number, which no database allows.
pub(in crate::store) fn damaged(
    holds: &[Row],
    hashes: &[Row],
    parts: &[Row],
) -> Result<Vec<DamagedRow>, StorageError> {
    let mut damaged = Vec::new();
    let mut hashes_of: HashMap<i64, Vec<Result<PaymentHash, StorageError>>> = HashMap::new();
    for row in hashes {
        // A number between two holds, say: a stray.
        let Ok(hold_id) = row.get_i64("hold_id") else { continue };
        let hash = payment_hash(row);
        if let Err(StorageError::Column { column, .. } | StorageError::ColumnRange { column }) = &hash {
            let why = format!("column `{column}` cannot be read");
            damaged.push(DamagedRow { table: "hold_hash", id: hash_id(row), why });
        }
        hashes_of.entry(hold_id).or_default().push(hash);
    }
    let mut parts_of: HashMap<i64, Vec<Result<Part, StoreError>>> = HashMap::new();
    for row in parts {
        let Ok(hold_id) = row.get_i64("hold_id") else { continue };
        let part = parts::build(row, hold_id);
        if let Err(error) = &part {
            damaged.push(DamagedRow { table: "hold_part", id: id_of(row, "intercept_id"), why: said(error) });
        }
        parts_of.entry(hold_id).or_default().push(part);
    }
    for row in holds {
        let hold_id = row.get_i64("id")?;
        let hashes = hashes_of.remove(&hold_id).unwrap_or_default();
        let parts = parts_of.remove(&hold_id).unwrap_or_default();
        // Rows that are named above are no fault of the hold's own.
        let named = hashes.iter().any(Result::is_err) || parts.iter().any(Result::is_err);
        let hashes = hashes.into_iter().flatten().collect();
        match assemble(row, hashes, parts.into_iter().flatten().collect()) {
            Err(StoreError::Hold { .. }) if named => {}
            Err(error) => {
                damaged.push(DamagedRow { table: "hold", id: hold_id.to_string(), why: said(&error) });
            }
            Ok(_) => {}
        }
    }
    Ok(damaged)
}

fn whole(
    row: &Row,
    hashes: Vec<Result<PaymentHash, StorageError>>,
    parts: Vec<Result<Part, StoreError>>,
) -> Result<HoldRow, StoreError> {
    let hashes = hashes.into_iter().collect::<Result<_, _>>()?;
    assemble(row, hashes, parts.into_iter().collect::<Result<_, _>>()?)
}
