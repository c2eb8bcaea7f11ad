//! Which wakes are due.

use bitcoin::secp256k1::PublicKey;
use notifier::GatewayKind;
use storage::{ReadTx, StorageError};

use super::{StoreError, node_id};
use crate::store::damage;

/// A wake that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueWake {
    /// The row.
    pub id: i64,
    /// Who is woken.
    pub node_id: PublicKey,
}

/// What is due.
#[derive(Debug, Default)]
pub struct Due {
    /// The longest due first.
    pub wakes: Vec<DueWake>,
    /// Rows that cannot be read.
    pub damaged: Vec<i64>,
}

/// Wakes that are due, the longest due first. Those whose devices are all served by gateways that are `full` stay due:
/// they wait for their own provider, and keep nobody else waiting. Damaged ones are to be put off with [`postpone`](super::postpone).
///
/// # Errors
/// When the database fails.
pub async fn due(
    tx: &mut ReadTx,
    now_unix: u64,
    limit: u32,
    full: &[GatewayKind],
) -> Result<Due, StoreError> {
    let rows = if full.is_empty() {
        tx.fetch_all(
            "SELECT id, node_id FROM wake WHERE state = 'open' AND due_at <= $1 AND expires_at > $1 \
             ORDER BY due_at LIMIT $2",
            &[now_unix.try_into()?, limit.into()],
        )
        .await?
    } else {
        let full = full.iter().map(|kind| format!("|{kind}|")).collect::<String>();
        tx.fetch_all(
            "SELECT id, node_id FROM wake WHERE state = 'open' AND due_at <= $1 AND expires_at > $1 \
             AND (EXISTS (SELECT 1 FROM device WHERE device.node_id = wake.node_id \
             AND $3 NOT LIKE '%|' || device.platform || '|%') \
             OR NOT EXISTS (SELECT 1 FROM device WHERE device.node_id = wake.node_id)) \
             ORDER BY due_at LIMIT $2",
            &[now_unix.try_into()?, limit.into(), full.into()],
        )
        .await?
    };
    let mut due = Due::default();
    for row in &rows {
        let id = row.get_i64("id")?;
        match node_id(row) {
            Ok(node_id) => due.wakes.push(DueWake { id, node_id }),
            Err(error) => {
                damage::stumbled("wake", id.to_string(), &error);
                due.damaged.push(id);
            }
        }
    }
    Ok(due)
}

/// When the next wake is due, in seconds since 1970.
///
/// # Errors
/// When the database fails.
pub async fn next_due(tx: &mut ReadTx, now_unix: u64) -> Result<Option<u64>, StorageError> {
    let row = tx
        .fetch_one(
            "SELECT MIN(due_at) AS due_at FROM wake WHERE state = 'open' AND due_at > $1",
            &[now_unix.try_into()?],
        )
        .await?;
    row.opt_u64("due_at")
}
