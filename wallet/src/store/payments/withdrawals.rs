//! Telling payees that payments were taken back.

use lightning_types::payment::PaymentHash;
use storage::{ReadTx, StorageError, Tx};

use super::Payment;
use crate::store::LIST_MAX;

/// How often a payee is told that a payment was taken back.
const WITHDRAWALS: u32 = 3;

/// Between two times, at least.
const WITHDRAWAL_PAUSE_SECONDS: u64 = 5;

/// Payments that came back, and whose payees are to be told so now.
pub(crate) async fn withdrawals_due(tx: &mut ReadTx, now_unix: u64) -> Result<Vec<Payment>, StorageError> {
    let told_until = now_unix.saturating_sub(WITHDRAWAL_PAUSE_SECONDS);
    tx.fetch_all(
        "SELECT * FROM payment WHERE withdrawal_due = 1 AND state = 'failed' \
         AND (withdrawn_at IS NULL OR withdrawn_at <= $2) ORDER BY payment_hash LIMIT $1",
        &[LIST_MAX.into(), told_until.try_into()?],
    )
    .await?
    .into_iter()
    .map(Payment::try_from)
    .collect()
}

/// The payee was told once more that this attempt was taken back.
pub(crate) async fn set_withdrawn(
    tx: &mut Tx,
    payment_hash: PaymentHash,
    attempt: u32,
    now_unix: u64,
) -> Result<(), StorageError> {
    tx.execute(
        "UPDATE payment SET withdrawals = withdrawals + 1, withdrawn_at = $3, \
         withdrawal_due = CASE WHEN withdrawals + 1 < $4 THEN 1 ELSE 0 END WHERE payment_hash = $1 AND attempt = $2",
        &[payment_hash.0.into(), attempt.into(), now_unix.try_into()?, WITHDRAWALS.into()],
    )
    .await?;
    Ok(())
}
