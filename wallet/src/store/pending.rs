//! Answers that this wallet owes as a payee.

use lightning::ln::channelmanager::PaymentId;
use lightning_types::payment::PaymentHash;
use protocol::ids::PidHash;
use protocol::units::BlockHeight;
use storage::{ReadTx, Row, StorageError, Tx, Value, values};

use super::{LIST_MAX, out_of_range};

/// Payers of one invoice that are remembered. Anybody may send a `payment_pending`, so what is kept of them is bounded.
pub(crate) const PENDING_PER_INVOICE_MAX: u64 = 8;

/// What became of a `payment_pending`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PendingState {
    /// The answer is yes, repeated until the payment comes.
    Unblocking,
    /// The payment came.
    Arrived,
    /// The deadline came first.
    Expired,
    /// The answer was no.
    Refused,
}

impl PendingState {
    const ALL: [Self; 4] = [Self::Unblocking, Self::Arrived, Self::Expired, Self::Refused];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Unblocking => "unblocking",
            Self::Arrived => "arrived",
            Self::Expired => "expired",
            Self::Refused => "refused",
        }
    }
}

/// One `payment_pending` for an invoice of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) payment_hash: PaymentHash,
    pub(crate) pid_hash: PidHash,
    pub(crate) deadline: BlockHeight,
    pub(crate) state: PendingState,
    /// LDK's serialization of the path that the answer takes.
    pub(crate) reply_to: Vec<u8>,
    /// Seconds since 1970.
    pub(crate) received_at: u64,
    /// The payment that a refusal was for, once it came.
    pub(crate) refused_payment: Option<PaymentId>,
}

impl TryFrom<Row> for Pending {
    type Error = StorageError;

    fn try_from(row: Row) -> Result<Self, StorageError> {
        let state = row.get_text("state")?;
        Ok(Self {
            payment_hash: PaymentHash(row.get_array("payment_hash")?),
            pid_hash: PidHash(row.get_array("pid_hash")?),
            deadline: BlockHeight(row.get_u32("deadline")?),
            state: PendingState::ALL
                .into_iter()
                .find(|known| known.as_str() == state)
                .ok_or_else(|| out_of_range("state"))?,
            reply_to: row.get_blob("reply_to")?,
            received_at: row.get_u64("received_at")?,
            refused_payment: row.opt_array("refused_payment")?.map(PaymentId),
        })
    }
}

/// Remembers what is answered to a payer; the newest word counts, but never against a payment that arrived. False if there are too many payers of this invoice.
pub(crate) async fn put(tx: &mut Tx, pending: &Pending) -> Result<bool, StorageError> {
    let others = tx
        .fetch_one(
            "SELECT count(*) AS others FROM pending WHERE payment_hash = $1 AND pid_hash <> $2",
            &values![pending.payment_hash.0, pending.pid_hash.0],
        )
        .await?
        .get_u64("others")?;
    if others >= PENDING_PER_INVOICE_MAX {
        return Ok(false);
    }
    let params = [
        pending.payment_hash.0.into(),
        pending.pid_hash.0.into(),
        pending.deadline.0.into(),
        pending.state.as_str().into(),
        Value::from(&pending.reply_to),
        Value::try_from(pending.received_at)?,
    ];
    tx.execute(
        "INSERT INTO pending (payment_hash, pid_hash, deadline, state, reply_to, received_at) \
         VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (payment_hash, pid_hash) DO UPDATE \
         SET deadline = $3, state = $4, reply_to = $5, received_at = $6, refused_payment = NULL \
         WHERE pending.state <> 'arrived'",
        &params,
    )
    .await?;
    Ok(true)
}

/// What was answered to one payer.
pub(crate) async fn get(
    tx: &mut ReadTx,
    payment_hash: PaymentHash,
    pid_hash: PidHash,
) -> Result<Option<Pending>, StorageError> {
    tx.fetch_optional(
        "SELECT * FROM pending WHERE payment_hash = $1 AND pid_hash = $2",
        &values![payment_hash.0, pid_hash.0],
    )
    .await?
    .map(Pending::try_from)
    .transpose()
}

/// All that are to be repeated.
pub(crate) async fn unblocking(tx: &mut ReadTx) -> Result<Vec<Pending>, StorageError> {
    let rows = tx
        .fetch_all(
            "SELECT * FROM pending WHERE state = 'unblocking' ORDER BY received_at, payment_hash LIMIT $1",
            &values![LIST_MAX],
        )
        .await?;
    rows.into_iter().map(Pending::try_from).collect()
}

/// The states of all payers of one invoice, with when they came.
pub(crate) async fn of_invoice(
    tx: &mut ReadTx,
    payment_hash: PaymentHash,
) -> Result<Vec<Pending>, StorageError> {
    let rows =
        tx.fetch_all("SELECT * FROM pending WHERE payment_hash = $1", &values![payment_hash.0]).await?;
    rows.into_iter().map(Pending::try_from).collect()
}

/// The payment came, and is claimed: no answer needs to be repeated.
pub(crate) async fn set_arrived(tx: &mut Tx, payment_hash: PaymentHash) -> Result<(), StorageError> {
    tx.execute(
        "UPDATE pending SET state = 'arrived' WHERE payment_hash = $1 AND state = 'unblocking'",
        &values![payment_hash.0],
    )
    .await?;
    Ok(())
}

/// The payment that was refused came, and is to be failed: a refusal counts against that one payment and no other, so that
/// nobody can keep an invoice from being paid by a `payment_pending` that it has to refuse.
pub(crate) async fn set_refused_payment(
    tx: &mut Tx,
    payment_hash: PaymentHash,
    payment_id: PaymentId,
) -> Result<(), StorageError> {
    tx.execute(
        "UPDATE pending SET refused_payment = $2 \
         WHERE payment_hash = $1 AND state = 'refused' AND refused_payment IS NULL",
        &values![payment_hash.0, payment_id.0],
    )
    .await?;
    Ok(())
}

/// The deadline came first.
pub(crate) async fn set_expired(
    tx: &mut Tx,
    payment_hash: PaymentHash,
    pid_hash: PidHash,
) -> Result<(), StorageError> {
    tx.execute(
        "UPDATE pending SET state = 'expired' \
         WHERE payment_hash = $1 AND pid_hash = $2 AND state = 'unblocking'",
        &values![payment_hash.0, pid_hash.0],
    )
    .await?;
    Ok(())
}
