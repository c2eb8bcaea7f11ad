//! Invoices that this wallet made.

use lightning_types::payment::PaymentHash;
use protocol::units::Msat;
use storage::{ReadTx, Row, StorageError, Tx, Value, values};

use super::LIST_MAX;

/// One invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoice {
    /// Names it.
    pub payment_hash: PaymentHash,
    /// As the payer gets it.
    pub bolt11: String,
    /// What it asks for, exactly.
    pub amount: Msat,
    /// What it is for.
    pub description: String,
    /// Seconds since 1970.
    pub created_at: u64,
    /// Seconds since 1970.
    pub expires_at: u64,
    /// Once the money is ours: how much, and when.
    pub paid: Option<(Msat, u64)>,
}

impl TryFrom<Row> for Invoice {
    type Error = StorageError;

    fn try_from(row: Row) -> Result<Self, StorageError> {
        Ok(Self {
            payment_hash: PaymentHash(row.get_array("payment_hash")?),
            bolt11: row.get_text("bolt11")?,
            amount: Msat(row.get_u64("amount_msat")?),
            description: row.get_text("description")?,
            created_at: row.get_u64("created_at")?,
            expires_at: row.get_u64("expires_at")?,
            paid: row.opt_u64("paid_msat")?.map(Msat).zip(row.opt_u64("paid_at")?),
        })
    }
}

/// Keeps a new invoice.
pub(crate) async fn insert(tx: &mut Tx, invoice: &Invoice) -> Result<(), StorageError> {
    let params = [
        invoice.payment_hash.0.into(),
        Value::from(&invoice.bolt11),
        Value::try_from(invoice.amount.0)?,
        Value::from(&invoice.description),
        Value::try_from(invoice.created_at)?,
        Value::try_from(invoice.expires_at)?,
    ];
    tx.execute(
        "INSERT INTO invoice (payment_hash, bolt11, amount_msat, description, created_at, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6)",
        &params,
    )
    .await?;
    Ok(())
}

/// One invoice by its hash.
pub(crate) async fn get(tx: &mut ReadTx, payment_hash: PaymentHash) -> Result<Option<Invoice>, StorageError> {
    tx.fetch_optional("SELECT * FROM invoice WHERE payment_hash = $1", &values![payment_hash.0])
        .await?
        .map(Invoice::try_from)
        .transpose()
}

/// The newest invoices.
pub(crate) async fn list(tx: &mut ReadTx) -> Result<Vec<Invoice>, StorageError> {
    let rows = tx
        .fetch_all(
            "SELECT * FROM invoice ORDER BY created_at DESC, payment_hash LIMIT $1",
            &values![LIST_MAX],
        )
        .await?;
    rows.into_iter().map(Invoice::try_from).collect()
}

/// The money is ours. False if that was known, or the hash is no invoice's.
pub(crate) async fn set_paid(
    tx: &mut Tx,
    payment_hash: PaymentHash,
    amount: Msat,
    now_unix: u64,
) -> Result<bool, StorageError> {
    let params = [payment_hash.0.into(), Value::try_from(amount.0)?, Value::try_from(now_unix)?];
    let rows = tx
        .execute(
            "UPDATE invoice SET paid_msat = $2, paid_at = $3 WHERE payment_hash = $1 AND paid_at IS NULL",
            &params,
        )
        .await?;
    Ok(rows == 1)
}
