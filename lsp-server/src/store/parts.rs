//! The HTLCs under holds.

use lightning::ln::channelmanager::InterceptId;
use lightning::ln::types::ChannelId;
use lightning_types::payment::PaymentHash;
use protocol::hold::{FailCause, Part, PartState, PartStateTag};
use protocol::units::{BlockHeight, Msat};
use storage::{ReadTx, Row, StorageError, Tx, values};

use super::damage::{readable, readable_amount};
use super::{StoreError, holds};

/// All the bitcoin that there will ever be: no HTLC is worth more.
const AMOUNT_MSAT_MAX: u64 = 2_100_000_000_000_000_000;

/// Writes one part, which is so since `now_unix`.
///
/// # Errors
/// When the database fails, or a number is beyond what a column holds.
pub async fn upsert(
    tx: &mut Tx,
    hold_id: i64,
    position: usize,
    part: &Part,
    now_unix: u64,
) -> Result<(), StorageError> {
    tx.execute(
        "INSERT INTO hold_part (intercept_id, hold_id, position, payment_hash, inbound_channel_id, inbound_htlc_id, \
         inbound_amount_msat, outbound_amount_msat, inbound_expiry, outgoing_expiry, next_hop_scid, state, cause, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) \
         ON CONFLICT (intercept_id) DO UPDATE SET state = excluded.state, cause = excluded.cause, \
         updated_at = excluded.updated_at",
        &[
            part.intercept_id.0.into(),
            hold_id.into(),
            position.try_into()?,
            part.payment_hash.0.into(),
            part.inbound_channel_id.0.into(),
            part.inbound_htlc_id.try_into()?,
            part.inbound_amount.0.try_into()?,
            part.outbound_amount.0.try_into()?,
            part.inbound_expiry.map(|height| height.0).into(),
            part.outgoing_expiry.0.into(),
            part.next_hop_scid.to_be_bytes().into(),
            part.state.tag().as_str().into(),
            part.state.cause().map(FailCause::as_str).into(),
            now_unix.try_into()?,
        ],
    )
    .await
    .map(drop)
}

/// The hold that a part came under.
///
/// # Errors
/// When the database fails.
pub async fn hold_of(tx: &mut ReadTx, intercept_id: InterceptId) -> Result<Option<i64>, StorageError> {
    let row = tx
        .fetch_optional("SELECT hold_id FROM hold_part WHERE intercept_id = $1", &values![intercept_id.0])
        .await?;
    row.map(|row| row.get_i64("hold_id")).transpose()
}

/// The parts of every hold that was stepped since, or has not ended, as far as they can be read.
///
/// # Errors
/// When the database fails.
pub async fn ids_updated_since(tx: &mut ReadTx, since_unix: u64) -> Result<Vec<InterceptId>, StoreError> {
    let rows = tx
        .fetch_all(
            "SELECT p.intercept_id FROM hold_part p JOIN hold h ON h.id = p.hold_id \
             WHERE h.updated_at >= $1 OR h.state IN ('waiting', 'unblocked', 'failing')",
            &[since_unix.try_into()?],
        )
        .await?;
    readable("hold_part", "intercept_id", &rows, |row| Ok(row.get_array("intercept_id").map(InterceptId)?))
}

/// Whether a part is under a hold that has not ended: that hold sees to its payer's wakes. One that cannot be read sees to
/// nothing.
///
/// # Errors
/// When the database fails.
pub async fn is_under_live_hold(tx: &mut ReadTx, intercept_id: InterceptId) -> Result<bool, StoreError> {
    let row = tx
        .fetch_optional(
            "SELECT h.id FROM hold_part p JOIN hold h ON h.id = p.hold_id \
             WHERE p.intercept_id = $1 AND h.state IN ('waiting', 'unblocked', 'failing')",
            &values![intercept_id.0],
        )
        .await?;
    let Some(row) = row else { return Ok(false) };
    match holds::load(tx, row.get_i64("id")?).await {
        Ok(hold) => Ok(hold.is_some()),
        Err(error) if error.is_of_a_row() => Ok(false),
        Err(error) => Err(error),
    }
}

/// How many HTLCs have come under a hold.
///
/// # Errors
/// When the database fails.
pub async fn count_of(tx: &mut ReadTx, hold_id: i64) -> Result<u64, StorageError> {
    let row =
        tx.fetch_one("SELECT COUNT(*) AS parts FROM hold_part WHERE hold_id = $1", &values![hold_id]).await?;
    row.get_u64("parts")
}

/// What is held in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldUsage {
    /// HTLCs.
    pub htlcs: u64,
    /// Their sum, in millisatoshi.
    pub msat: u64,
}

/// What is held in all, for all payers.
///
/// # Errors
/// When the database fails.
pub async fn held_in_all(tx: &mut ReadTx) -> Result<HeldUsage, StorageError> {
    let row = tx
        .fetch_one(
            concat!(
                "SELECT COUNT(*) AS htlcs, CAST(COALESCE(SUM(",
                readable_amount!("inbound_amount_msat"),
                "), 0) AS BIGINT) AS msat FROM hold_part WHERE state = 'held'"
            ),
            &[],
        )
        .await?;
    Ok(HeldUsage { htlcs: row.get_u64("htlcs")?, msat: row.get_u64("msat")? })
}

/// A hold's parts, in order of arrival.
pub(super) async fn of_hold(tx: &mut ReadTx, hold_id: i64) -> Result<Vec<Part>, StoreError> {
    let rows = tx
        .fetch_all(
            "SELECT intercept_id, payment_hash, inbound_channel_id, inbound_htlc_id, inbound_amount_msat, \
             outbound_amount_msat, inbound_expiry, outgoing_expiry, next_hop_scid, state, cause \
             FROM hold_part WHERE hold_id = $1 ORDER BY position",
            &values![hold_id],
        )
        .await?;
    rows.iter().map(|row| build(row, hold_id)).collect()
}

pub(super) fn build(row: &Row, hold_id: i64) -> Result<Part, StoreError> {
    let column = |column| StoreError::Column { table: "hold_part", column };
    let amount = |name| match row.get_u64(name)? {
        msat @ 0..=AMOUNT_MSAT_MAX => Ok(Msat(msat)),
        _ => Err(column(name)),
    };
    let tag: PartStateTag = row.get_text("state")?.parse().map_err(|_| column("state"))?;
    let cause: Option<FailCause> =
        row.opt_text("cause")?.map(|cause| cause.parse()).transpose().map_err(|_| column("cause"))?;
    Ok(Part {
        intercept_id: InterceptId(row.get_array("intercept_id")?),
        payment_hash: PaymentHash(row.get_array("payment_hash")?),
        inbound_channel_id: ChannelId(row.get_array("inbound_channel_id")?),
        inbound_htlc_id: row.get_u64("inbound_htlc_id")?,
        inbound_amount: amount("inbound_amount_msat")?,
        outbound_amount: amount("outbound_amount_msat")?,
        inbound_expiry: row.opt_u32("inbound_expiry")?.map(BlockHeight),
        outgoing_expiry: BlockHeight(row.get_u32("outgoing_expiry")?),
        next_hop_scid: u64::from_be_bytes(row.get_array("next_hop_scid")?),
        state: PartState::from_row(tag, cause).map_err(|source| StoreError::Hold { hold_id, source })?,
    })
}
