//! Which holds an HTLC may be under. Whatever may name it and cannot be read keeps it from being forwarded.

use lightning_types::payment::PaymentHash;
use storage::{ReadTx, values};

use super::bulk::{Blind, blind_of};
use super::{HoldRow, build_all, damage, select_hold};
use crate::store::StoreError;

/// The newest hold of each payer that names `payment_hash`, ended ones included: an HTLC's candidates.
///
/// # Errors
/// When the database fails, the rows contradict each other, or the hash is one of a hold that is not there any more.
pub async fn naming(tx: &mut ReadTx, payment_hash: PaymentHash) -> Result<Vec<HoldRow>, StoreError> {
    let stray = tx
        .fetch_optional(
            "SELECT x.hold_id, x.position FROM hold_hash x WHERE x.payment_hash = $1 \
             AND NOT EXISTS (SELECT 1 FROM hold h WHERE h.id = x.hold_id) LIMIT 1",
            &values![payment_hash.0],
        )
        .await?;
    if let Some(row) = stray {
        let error = StoreError::Column { table: "hold_hash", column: "hold_id" };
        damage::stumbled("hold_hash", damage::hash_id(&row), &error);
        return Err(error);
    }
    let rows = tx
        .fetch_all(
            select_hold!(
                "WHERE id IN (SELECT MAX(n.id) FROM hold_hash x JOIN hold n ON n.id = x.hold_id \
                 WHERE x.payment_hash = $1 GROUP BY n.payer)"
            ),
            &values![payment_hash.0],
        )
        .await?;
    build_all(tx, &rows).await
}

/// Hashes that are none: by their length, or because they are no bytes at all, which come before all bytes. Both by an index.
const BLIND: &str = "SELECT h.id, h.payer, h.deadline, x.hold_id, x.position FROM hold_hash x JOIN hold h ON h.id = x.hold_id \
     WHERE length(x.payment_hash) <> 32 AND h.state IN ('waiting', 'unblocked', 'failing') \
     UNION SELECT h.id, h.payer, h.deadline, x.hold_id, x.position FROM hold_hash x JOIN hold h ON h.id = x.hold_id \
     WHERE x.payment_hash < $1 AND h.state IN ('waiting', 'unblocked', 'failing')";

/// Payers with a live hold of which a payment hash cannot be read now. One whose row is gone is found by [`super::live`] alone.
///
/// # Errors
/// When the database fails.
pub async fn blind(tx: &mut ReadTx) -> Result<Vec<Blind>, StoreError> {
    let rows = tx.fetch_all(BLIND, &values![Vec::<u8>::new()]).await?;
    for row in &rows {
        let error = StoreError::Column { table: "hold_hash", column: "payment_hash" };
        damage::stumbled("hold_hash", damage::hash_id(row), &error);
    }
    Ok(rows.iter().filter_map(blind_of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestDatabase;
    use storage::testing::Scratch;

    #[tokio::test]
    async fn no_htlc_looks_at_all_hashes() {
        let db = TestDatabase::on(Scratch::sqlite()).await;
        let explain: &'static str = format!("EXPLAIN QUERY PLAN {BLIND}").leak();
        let plan = db.database.submit("test", move |tx| {
            Box::pin(async move {
                let rows = tx.fetch_all(explain, &values![Vec::<u8>::new()]).await?;
                rows.iter().map(|row| row.get_text("detail")).collect::<Result<Vec<_>, _>>()
            })
        });
        let plan = plan.await.unwrap().join("; ");
        assert!(
            plan.contains("hold_hash_lost") && plan.contains("hold_hash_payment_hash (payment_hash<?)"),
            "{plan}"
        );
        assert!(!plan.contains("SCAN h") && !plan.contains("sqlite_autoindex_hold_hash"), "{plan}");
    }
}
