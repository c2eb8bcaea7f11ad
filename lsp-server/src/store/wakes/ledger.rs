//! What became of wakes: read by operators and by the phones' owners, written by nobody here.

use bitcoin::secp256k1::PublicKey;
use hex::DisplayHex;
use protocol::api::ledger::{PushRecord, WakeRecord, WakeState, explain};
use storage::{ReadTx, Row, Value, values};

use super::{StoreError, node_id, reason};
use crate::store::damage::{self, readable};
use crate::store::devices::DeviceId;

/// Pushes that are told of one wake, the newest ones.
const PUSHES_MAX: u32 = 100;

/// Which wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one whose pushes carry this id.
    Wake([u8; 16]),
    /// A node's.
    Node(PublicKey),
}

/// One page of the whole table of pushes.
pub(in crate::store) const PAGE: &str = "SELECT id, device_id, platform, sent_at, verdict, why, answered_ms, connected_after_seconds \
     FROM wake_attempt WHERE id > $1 ORDER BY id LIMIT $2";

/// Wakes with their pushes, the newest first, without those that cannot be read.
///
/// # Errors
/// When the database fails.
pub async fn find(tx: &mut ReadTx, which: Which, limit: u32) -> Result<Vec<WakeRecord>, StoreError> {
    let rows = match which {
        Which::Wake(wake_id) => {
            tx.fetch_all(
                "SELECT id, wake_id, node_id, reason, state, opened_at, expires_at, due_at, attempts, put_off \
                 FROM wake WHERE wake_id = $1 LIMIT $2",
                &values![wake_id, limit],
            )
            .await?
        }
        Which::Node(node_id) => {
            tx.fetch_all(
                "SELECT id, wake_id, node_id, reason, state, opened_at, expires_at, due_at, attempts, put_off \
                 FROM wake WHERE node_id = $1 ORDER BY id DESC LIMIT $2",
                &values![node_id.serialize(), limit],
            )
            .await?
        }
    };
    let mut records = Vec::with_capacity(rows.len());
    for row in rows {
        let id = row.get_i64("id")?;
        let pushes = pushes(tx, id.into()).await?;
        match record(&row, pushes) {
            Ok(record) => records.push(record),
            Err(error) => damage::stumbled("wake", id.to_string(), &error),
        }
    }
    Ok(records)
}

fn record(row: &Row, pushes: Vec<PushRecord>) -> Result<WakeRecord, StoreError> {
    let column = |column| StoreError::Column { table: "wake", column };
    let state: WakeState = row.get_text("state")?.parse().map_err(|_| column("state"))?;
    let put_off =
        row.opt_text("put_off")?.map(|text| text.parse()).transpose().map_err(|_| column("put_off"))?;
    Ok(WakeRecord {
        wake_id: row.opt_array::<16>("wake_id")?.map(|id| id.to_lower_hex_string()),
        node_id: node_id(row)?,
        reason: reason(row)?,
        state,
        opened_at: row.get_u64("opened_at")?,
        expires_at: row.get_u64("expires_at")?,
        due_at: if state == WakeState::Open { Some(row.get_u64("due_at")?) } else { None },
        attempts: row.get_u32("attempts")?,
        put_off,
        explanation: explain(state, put_off, &pushes),
        pushes,
    })
}

async fn pushes(tx: &mut ReadTx, wake: Value) -> Result<Vec<PushRecord>, StoreError> {
    let rows = tx
        .fetch_all(
            "SELECT id, device_id, platform, sent_at, verdict, why, answered_ms, connected_after_seconds \
             FROM wake_attempt WHERE wake = $1 ORDER BY id DESC LIMIT $2",
            &[wake, PUSHES_MAX.into()],
        )
        .await?;
    let mut pushes = readable("wake_attempt", "id", &rows, push_record)?;
    pushes.reverse();
    Ok(pushes)
}

pub(in crate::store) fn push_record(row: &Row) -> Result<PushRecord, StoreError> {
    Ok(PushRecord {
        device_id: DeviceId(row.get_array("device_id")?).to_string(),
        platform: row.opt_text("platform")?,
        sent_at: row.get_u64("sent_at")?,
        verdict: row.opt_text("verdict")?,
        why: row.opt_text("why")?,
        answered_ms: row.opt_u64("answered_ms")?,
        connected_after_seconds: row.opt_u64("connected_after_seconds")?,
    })
}
