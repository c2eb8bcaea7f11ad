//! Holds and their payment hashes.

use bitcoin::hashes::{Hash, HashEngine, sha256};
use bitcoin::secp256k1::PublicKey;
use lightning_types::payment::PaymentHash;
use protocol::hold::{FailCause, Hold, HoldStateTag, HoldTerms, Part, RowError};
use protocol::ids::PidHash;
use protocol::units::BlockHeight;
use storage::{ReadTx, Row, StorageError, Tx, values};

mod bulk;
mod naming;
#[cfg(test)]
mod tests;

pub(super) use bulk::damaged;
pub use bulk::{Blind, Loaded, Unreadable, live, moving};
pub use naming::{blind, naming};

use super::damage::readable_amount;
use super::{StoreError, damage, parts};

/// A hold with what only the store knows of it.
#[derive(Clone, Debug)]
pub struct HoldRow {
    /// The row's id, in order of arrival.
    pub hold_id: i64,
    /// The machine's state.
    pub hold: Hold,
    /// What the payer asked for; the grant is in the terms.
    pub requested_deadline: BlockHeight,
    /// Unix time of the request.
    pub created_at: u64,
    /// Unix time of the last step.
    pub updated_at: u64,
}

/// What a payer holds in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PayerUsage {
    /// Live holds.
    pub holds: u64,
    /// HTLCs that are held.
    pub held_htlcs: u64,
    /// Their sum, in millisatoshi.
    pub held_msat: u64,
}

/// A query of whole hold rows.
macro_rules! select_hold {
    ($rest:literal) => {
        concat!(
            "SELECT id, payer, pid_hash, requested_deadline, deadline, state, cause, created_at, updated_at, hashes_digest \
             FROM hold ",
            $rest
        )
    };
}

use select_hold;

/// One page of the whole table.
pub(super) const PAGE: &str = select_hold!("WHERE id > $1 ORDER BY id LIMIT $2");

/// Stores a hold that was just granted.
///
/// # Errors
/// When the database fails; a repeated (payer, pid_hash) among them.
pub async fn insert(
    tx: &mut Tx,
    terms: &HoldTerms,
    requested_deadline: BlockHeight,
    now_unix: u64,
) -> Result<i64, StorageError> {
    let hold = Hold::new(terms.clone());
    let row = tx
        .fetch_one(
            "INSERT INTO hold (payer, pid_hash, requested_deadline, deadline, state, cause, created_at, updated_at, \
             hashes_digest) VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8) RETURNING id",
            &[
                terms.payer.serialize().into(),
                terms.pid_hash.0.into(),
                requested_deadline.0.into(),
                terms.deadline.0.into(),
                hold.state_name().into(),
                None::<&str>.into(),
                now_unix.try_into()?,
                digest(&terms.payment_hashes).into(),
            ],
        )
        .await?;
    let hold_id = row.get_i64("id")?;
    for (position, payment_hash) in terms.payment_hashes.iter().enumerate() {
        tx.execute(
            "INSERT INTO hold_hash (hold_id, position, payment_hash) VALUES ($1, $2, $3)",
            &[hold_id.into(), position.try_into()?, payment_hash.0.into()],
        )
        .await?;
    }
    Ok(hold_id)
}

/// Stores a stepped hold: its own row, and those of its parts that changed.
///
/// # Errors
/// When the database fails.
pub async fn save(tx: &mut Tx, before: &HoldRow, after: &Hold, now_unix: u64) -> Result<(), StorageError> {
    if before.hold.tag() != after.tag() || before.hold.cause() != after.cause() {
        tx.execute(
            "UPDATE hold SET state = $2, cause = $3, updated_at = $4 WHERE id = $1",
            &[
                before.hold_id.into(),
                after.state_name().into(),
                after.cause().map(FailCause::as_str).into(),
                now_unix.try_into()?,
            ],
        )
        .await?;
    }
    let known = &before.hold.group().parts;
    for (position, part) in after.group().parts.iter().enumerate() {
        if known.get(position) != Some(part) {
            parts::upsert(tx, before.hold_id, position, part, now_unix).await?;
        }
    }
    Ok(())
}

/// One hold by its row id.
///
/// # Errors
/// When the database fails or the rows contradict each other.
pub async fn load(tx: &mut ReadTx, hold_id: i64) -> Result<Option<HoldRow>, StoreError> {
    match tx.fetch_optional(select_hold!("WHERE id = $1"), &values![hold_id]).await? {
        Some(row) => build(tx, &row).await.map(Some),
        None => Ok(None),
    }
}

/// One hold by what makes it unique.
///
/// # Errors
/// When the database fails or the rows contradict each other.
pub async fn find(
    tx: &mut ReadTx,
    payer: PublicKey,
    pid_hash: PidHash,
) -> Result<Option<HoldRow>, StoreError> {
    match tx
        .fetch_optional(
            select_hold!("WHERE payer = $1 AND pid_hash = $2"),
            &values![payer.serialize(), pid_hash.0],
        )
        .await?
    {
        Some(row) => build(tx, &row).await.map(Some),
        None => Ok(None),
    }
}

/// Every hold that this pid would release, without those whose rows contradict each other.
///
/// # Errors
/// When the database fails.
pub async fn find_by_pid_hash(tx: &mut ReadTx, pid_hash: PidHash) -> Result<Vec<HoldRow>, StoreError> {
    let rows = tx.fetch_all(select_hold!("WHERE pid_hash = $1 ORDER BY id"), &values![pid_hash.0]).await?;
    build_readable(tx, &rows).await
}

/// Row ids of the live holds that this pid would release.
///
/// # Errors
/// When the database fails.
pub async fn live_ids_by_pid_hash(tx: &mut ReadTx, pid_hash: PidHash) -> Result<Vec<i64>, StoreError> {
    let sql = "SELECT id FROM hold WHERE pid_hash = $1 AND state IN ('waiting', 'unblocked', 'failing') ORDER BY id";
    ids(&tx.fetch_all(sql, &values![pid_hash.0]).await?)
}

/// Row ids of the holds of this pid that nobody has unblocked or given up.
///
/// # Errors
/// When the database fails.
pub async fn waiting_ids_by_pid_hash(tx: &mut ReadTx, pid_hash: PidHash) -> Result<Vec<i64>, StoreError> {
    let sql = "SELECT id FROM hold WHERE pid_hash = $1 AND state = 'waiting' ORDER BY id";
    ids(&tx.fetch_all(sql, &values![pid_hash.0]).await?)
}

/// Row ids of a payer's live holds.
///
/// # Errors
/// When the database fails.
pub async fn live_ids_of(tx: &mut ReadTx, payer: PublicKey) -> Result<Vec<i64>, StoreError> {
    let sql =
        "SELECT id FROM hold WHERE payer = $1 AND state IN ('waiting', 'unblocked', 'failing') ORDER BY id";
    ids(&tx.fetch_all(sql, &values![payer.serialize()]).await?)
}

fn ids(rows: &[Row]) -> Result<Vec<i64>, StoreError> {
    Ok(rows.iter().map(|row| row.get_i64("id")).collect::<Result<_, _>>()?)
}

/// The newest holds, ended ones included, without those whose rows contradict each other.
///
/// # Errors
/// When the database fails.
pub async fn newest(tx: &mut ReadTx, limit: u32) -> Result<Vec<HoldRow>, StoreError> {
    let rows = tx.fetch_all(select_hold!("ORDER BY id DESC LIMIT $1"), &values![limit]).await?;
    build_readable(tx, &rows).await
}

/// A payer's holds for its `payment_status`: live ones first, then the newest, at most `limit`, without those whose rows
/// contradict each other.
///
/// # Errors
/// When the database fails.
pub async fn of_payer(tx: &mut ReadTx, payer: PublicKey, limit: u32) -> Result<Vec<HoldRow>, StoreError> {
    let rows = tx
        .fetch_all(
            select_hold!(
                "WHERE payer = $1 \
                 ORDER BY CASE WHEN state IN ('waiting', 'unblocked', 'failing') THEN 0 ELSE 1 END, id DESC LIMIT $2"
            ),
            &values![payer.serialize(), limit],
        )
        .await?;
    build_readable(tx, &rows).await
}

/// Whether another live hold of `payer` names one of the hashes.
///
/// # Errors
/// When the database fails.
pub async fn any_live_naming(
    tx: &mut ReadTx,
    payer: PublicKey,
    payment_hash: PaymentHash,
) -> Result<bool, StorageError> {
    let row = tx
        .fetch_optional(
            "SELECT 1 AS found FROM hold_hash x JOIN hold h ON h.id = x.hold_id \
             WHERE x.payment_hash = $1 AND h.payer = $2 AND h.state IN ('waiting', 'unblocked', 'failing') LIMIT 1",
            &values![payment_hash.0, payer.serialize()],
        )
        .await?;
    Ok(row.is_some())
}

/// How many holds are live.
///
/// # Errors
/// When the database fails.
pub async fn count_live(tx: &mut ReadTx) -> Result<u64, StorageError> {
    let row = tx
        .fetch_one(
            "SELECT COUNT(*) AS holds FROM hold WHERE state IN ('waiting', 'unblocked', 'failing')",
            &[],
        )
        .await?;
    row.get_u64("holds")
}

/// How many holds of `payer` are remembered, live or over.
///
/// # Errors
/// When the database fails.
pub async fn count_of(tx: &mut ReadTx, payer: PublicKey) -> Result<u64, StorageError> {
    let row = tx
        .fetch_one("SELECT COUNT(*) AS holds FROM hold WHERE payer = $1", &values![payer.serialize()])
        .await?;
    row.get_u64("holds")
}

/// What `payer` holds in all.
///
/// # Errors
/// When the database fails.
pub async fn usage(tx: &mut ReadTx, payer: PublicKey) -> Result<PayerUsage, StorageError> {
    let row = tx
        .fetch_one(
            concat!(
                "SELECT COUNT(DISTINCT h.id) AS holds, COUNT(p.intercept_id) AS held_htlcs, CAST(COALESCE(SUM(",
                readable_amount!("p.inbound_amount_msat"),
                "), 0) AS BIGINT) AS held_msat \
             FROM hold h LEFT JOIN hold_part p ON p.hold_id = h.id AND p.state = 'held' \
             WHERE h.payer = $1 AND h.state IN ('waiting', 'unblocked', 'failing')"
            ),
            &values![payer.serialize()],
        )
        .await?;
    Ok(PayerUsage {
        holds: row.get_u64("holds")?,
        held_htlcs: row.get_u64("held_htlcs")?,
        held_msat: row.get_u64("held_msat")?,
    })
}

async fn build_all(tx: &mut ReadTx, rows: &[Row]) -> Result<Vec<HoldRow>, StoreError> {
    let mut holds = Vec::with_capacity(rows.len());
    for row in rows {
        holds.push(build(tx, row).await?);
    }
    Ok(holds)
}

async fn build_readable(tx: &mut ReadTx, rows: &[Row]) -> Result<Vec<HoldRow>, StoreError> {
    let mut holds = Vec::with_capacity(rows.len());
    for row in rows {
        match build(tx, row).await {
            Ok(hold) => holds.push(hold),
            Err(error) if error.is_of_a_row() => {
                let hold_id = row.get_i64("id")?;
                damage::stumbled("hold", hold_id.to_string(), &error);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(holds)
}

async fn build(tx: &mut ReadTx, row: &Row) -> Result<HoldRow, StoreError> {
    let hold_id = row.get_i64("id")?;
    let hashes = tx
        .fetch_all(
            "SELECT payment_hash FROM hold_hash WHERE hold_id = $1 ORDER BY position",
            &values![hold_id],
        )
        .await?;
    let parts = parts::of_hold(tx, hold_id).await?;
    assemble(row, hashes.iter().map(payment_hash).collect::<Result<_, _>>()?, parts)
}

fn payment_hash(row: &Row) -> Result<PaymentHash, StorageError> {
    row.get_array("payment_hash").map(PaymentHash)
}

/// What a hold's row says of the rows of its hashes: one that is lost or changed is noticed.
fn digest(payment_hashes: &[PaymentHash]) -> [u8; 32] {
    let mut engine = sha256::Hash::engine();
    for payment_hash in payment_hashes {
        engine.input(&payment_hash.0);
    }
    sha256::Hash::from_engine(engine).to_byte_array()
}

fn assemble(row: &Row, payment_hashes: Vec<PaymentHash>, parts: Vec<Part>) -> Result<HoldRow, StoreError> {
    let column = |column| StoreError::Column { table: "hold", column };
    let hold_id = row.get_i64("id")?;
    let terms = HoldTerms {
        payer: PublicKey::from_slice(&row.get_blob("payer")?).map_err(|_| column("payer"))?,
        pid_hash: PidHash(row.get_array("pid_hash")?),
        payment_hashes,
        deadline: BlockHeight(row.get_u32("deadline")?),
    };
    // A hold of a version that wrote none has none.
    if row.opt_array("hashes_digest")?.is_some_and(|known| known != digest(&terms.payment_hashes)) {
        return Err(StoreError::Hold { hold_id, source: RowError::OtherHashes });
    }
    let tag: HoldStateTag = row.get_text("state")?.parse().map_err(|_| column("state"))?;
    let cause: Option<FailCause> =
        row.opt_text("cause")?.map(|cause| cause.parse()).transpose().map_err(|_| column("cause"))?;
    let hold =
        Hold::from_row(terms, tag, cause, parts).map_err(|source| StoreError::Hold { hold_id, source })?;
    Ok(HoldRow {
        hold_id,
        hold,
        requested_deadline: BlockHeight(row.get_u32("requested_deadline")?),
        created_at: row.get_u64("created_at")?,
        updated_at: row.get_u64("updated_at")?,
    })
}
