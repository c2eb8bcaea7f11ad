//! Payments of this wallet: what a crash may not forget of them.

mod withdrawals;

use std::fmt;

use lightning_types::payment::{PaymentHash, PaymentPreimage};
use protocol::units::{BlockHeight, Msat};
use storage::{ReadTx, Row, StorageError, Tx, Value, values};

use super::{LIST_MAX, out_of_range};

pub(crate) use withdrawals::{set_withdrawn, withdrawals_due};

/// How a payment goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentKind {
    /// Held at the LSP until the payee is there.
    Asynchronous,
    /// Plain Lightning.
    Ordinary,
}

/// How far a payment is. What LDK knows of it counts for more: see `payer::drive`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentState {
    /// The LSP is asked for a hold; nothing has been paid.
    Blocking,
    /// The hold is granted; nothing has been paid.
    Blocked,
    /// Handed to LDK, or about to be.
    Paying,
    /// The LSP holds every part; the payee has not been told for sure.
    Held,
    /// The LSP takes care that the payee is told.
    InCare,
    /// Given up: the LSP is asked to give the money back.
    Cancelling,
    /// Paid.
    Settled,
    /// Not paid, and nothing of it is in flight.
    Failed,
}

impl PaymentState {
    const ALL: [Self; 8] = [
        Self::Blocking,
        Self::Blocked,
        Self::Paying,
        Self::Held,
        Self::InCare,
        Self::Cancelling,
        Self::Settled,
        Self::Failed,
    ];

    /// The stable text code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Blocking => "blocking",
            Self::Blocked => "blocked",
            Self::Paying => "paying",
            Self::Held => "held",
            Self::InCare => "in_care",
            Self::Cancelling => "cancelling",
            Self::Settled => "settled",
            Self::Failed => "failed",
        }
    }

    /// Nothing more will happen.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Settled | Self::Failed)
    }
}

impl PaymentKind {
    /// The stable text code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Asynchronous => "asynchronous",
            Self::Ordinary => "ordinary",
        }
    }
}

/// One payment. `Debug` hides the preimage.
#[derive(Clone, PartialEq, Eq)]
pub struct Payment {
    /// Names it.
    pub payment_hash: PaymentHash,
    /// From 0; goes into the pid.
    pub attempt: u32,
    /// How it goes.
    pub kind: PaymentKind,
    /// What is being paid.
    pub bolt11: String,
    /// What the payee gets.
    pub amount: Msat,
    /// How far it is.
    pub state: PaymentState,
    /// What `payment_block` asks for.
    pub requested_deadline: Option<BlockHeight>,
    /// What was granted.
    pub deadline: Option<BlockHeight>,
    /// The proof of payment.
    pub preimage: Option<PaymentPreimage>,
    /// What the route cost.
    pub fee: Option<Msat>,
    /// Why it failed, or is being cancelled.
    pub reason: Option<String>,
    /// Seconds since 1970.
    pub created_at: u64,
}

impl fmt::Debug for Payment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payment")
            .field("payment_hash", &self.payment_hash)
            .field("attempt", &self.attempt)
            .field("kind", &self.kind)
            .field("amount", &self.amount)
            .field("state", &self.state)
            .field("deadline", &self.deadline)
            .field("fee", &self.fee)
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

impl TryFrom<Row> for Payment {
    type Error = StorageError;

    fn try_from(row: Row) -> Result<Self, StorageError> {
        let state = row.get_text("state")?;
        Ok(Self {
            payment_hash: PaymentHash(row.get_array("payment_hash")?),
            attempt: row.get_u32("attempt")?,
            kind: match row.get_text("kind")?.as_str() {
                "asynchronous" => PaymentKind::Asynchronous,
                "ordinary" => PaymentKind::Ordinary,
                _ => return Err(out_of_range("kind")),
            },
            bolt11: row.get_text("bolt11")?,
            amount: Msat(row.get_u64("amount_msat")?),
            state: PaymentState::ALL
                .into_iter()
                .find(|known| known.as_str() == state)
                .ok_or_else(|| out_of_range("state"))?,
            requested_deadline: row.opt_u32("requested_deadline")?.map(BlockHeight),
            deadline: row.opt_u32("deadline")?.map(BlockHeight),
            preimage: row.opt_array("preimage")?.map(PaymentPreimage),
            fee: row.opt_u64("fee_msat")?.map(Msat),
            reason: row.opt_text("reason")?,
            created_at: row.get_u64("created_at")?,
        })
    }
}

/// What [`begin`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    /// The payment is new, or a new attempt after one that failed.
    Fresh(Payment),
    /// It runs, or is paid: nothing was changed.
    Known(Payment),
}

/// Starts a payment, unless the same invoice is being paid or was paid. A failed one is tried again, with the next attempt.
pub(crate) async fn begin(tx: &mut Tx, new: Payment) -> Result<Begun, StorageError> {
    let known = get(tx, new.payment_hash).await?;
    if let Some(known) = known.as_ref().filter(|known| known.state != PaymentState::Failed) {
        return Ok(Begun::Known(known.clone()));
    }
    let new = Payment { attempt: known.map_or(new.attempt, |known| known.attempt + 1), ..new };
    let params = [
        new.payment_hash.0.into(),
        new.attempt.into(),
        new.kind.as_str().into(),
        Value::from(&new.bolt11),
        Value::try_from(new.amount.0)?,
        new.state.as_str().into(),
        new.requested_deadline.map(|height| height.0).into(),
        Value::try_from(new.created_at)?,
    ];
    tx.execute(
        "INSERT INTO payment \
         (payment_hash, attempt, kind, bolt11, amount_msat, state, requested_deadline, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
         ON CONFLICT (payment_hash) DO UPDATE \
         SET attempt = $2, kind = $3, bolt11 = $4, amount_msat = $5, state = $6, requested_deadline = $7, \
             created_at = $8, deadline = NULL, preimage = NULL, fee_msat = NULL, reason = NULL, \
             withdrawal_due = 0, withdrawals = 0, withdrawn_at = NULL",
        &params,
    )
    .await?;
    Ok(Begun::Fresh(new))
}

/// One payment by its hash.
pub(crate) async fn get(tx: &mut ReadTx, payment_hash: PaymentHash) -> Result<Option<Payment>, StorageError> {
    tx.fetch_optional("SELECT * FROM payment WHERE payment_hash = $1", &values![payment_hash.0])
        .await?
        .map(Payment::try_from)
        .transpose()
}

/// The newest payments.
pub(crate) async fn list(tx: &mut ReadTx) -> Result<Vec<Payment>, StorageError> {
    all(tx, "SELECT * FROM payment ORDER BY created_at DESC, payment_hash LIMIT $1").await
}

/// Payments that have not ended, oldest first.
pub(crate) async fn open(tx: &mut ReadTx) -> Result<Vec<Payment>, StorageError> {
    all(
        tx,
        "SELECT * FROM payment WHERE state NOT IN ('settled', 'failed') \
             ORDER BY created_at, payment_hash LIMIT $1",
    )
    .await
}

/// Whether a statement about one payment changed it.
async fn changed(tx: &mut Tx, sql: &'static str, params: &[Value]) -> Result<bool, StorageError> {
    Ok(tx.execute(sql, params).await? == 1)
}

/// Every row of a query.
async fn all(tx: &mut ReadTx, sql: &'static str) -> Result<Vec<Payment>, StorageError> {
    tx.fetch_all(sql, &values![LIST_MAX]).await?.into_iter().map(Payment::try_from).collect()
}

/// Goes on from one state to the next. False if the payment was not in `from` (any more): an event came first.
pub(crate) async fn advance(
    tx: &mut Tx,
    payment_hash: PaymentHash,
    from: PaymentState,
    to: PaymentState,
) -> Result<bool, StorageError> {
    changed(
        tx,
        "UPDATE payment SET state = $3 WHERE payment_hash = $1 AND state = $2",
        &values![payment_hash.0, from.as_str(), to.as_str()],
    )
    .await
}

/// The LSP granted the hold.
pub(crate) async fn set_granted(
    tx: &mut Tx,
    payment_hash: PaymentHash,
    deadline: BlockHeight,
) -> Result<bool, StorageError> {
    changed(
        tx,
        "UPDATE payment SET state = 'blocked', deadline = $2 WHERE payment_hash = $1 AND state = 'blocking'",
        &values![payment_hash.0, deadline.0],
    )
    .await
}

/// The pid was used before, by this wallet before it was reinstalled: the next one.
pub(crate) async fn set_next_attempt(tx: &mut Tx, payment_hash: PaymentHash) -> Result<(), StorageError> {
    tx.execute(
        "UPDATE payment SET attempt = attempt + 1 WHERE payment_hash = $1 AND state = 'blocking'",
        &values![payment_hash.0],
    )
    .await?;
    Ok(())
}

/// Gives the payment up, unless it has ended. A payee that may have been told of it is to be told this, too.
pub(crate) async fn set_cancelling(
    tx: &mut Tx,
    payment_hash: PaymentHash,
    reason: &str,
) -> Result<bool, StorageError> {
    changed(
        tx,
        "UPDATE payment SET state = 'cancelling', reason = $2, \
             withdrawal_due = CASE WHEN state IN ('held', 'in_care') THEN 1 ELSE withdrawal_due END \
             WHERE payment_hash = $1 AND state NOT IN ('cancelling', 'settled', 'failed')",
        &values![payment_hash.0, reason],
    )
    .await
}

/// Paid. Stays, whatever comes later.
pub(crate) async fn set_settled(
    tx: &mut Tx,
    payment_hash: PaymentHash,
    preimage: PaymentPreimage,
    fee: Option<Msat>,
) -> Result<bool, StorageError> {
    let fee = Value::try_from(fee.map(|fee| fee.0))?;
    let params = [payment_hash.0.into(), preimage.0.into(), fee];
    changed(
        tx,
        "UPDATE payment SET state = 'settled', preimage = $2, fee_msat = $3, reason = NULL \
             WHERE payment_hash = $1 AND state <> 'settled'",
        &params,
    )
    .await
}

/// Whether a payment that no first hop took is to be sent again: nothing of it is out, and its hold waits. [`Core::drive`] does, until it
/// has waited long enough.
///
/// [`Core::drive`]: crate::Core::drive
pub(crate) async fn waits_to_be_sent(
    tx: &mut Tx,
    payment_hash: PaymentHash,
    height: BlockHeight,
) -> Result<bool, StorageError> {
    Ok(get(tx, payment_hash).await?.is_some_and(|payment| {
        payment.kind == PaymentKind::Asynchronous
            && payment.state == PaymentState::Paying
            && payment.deadline.is_some_and(|deadline| height < deadline)
    }))
}

/// LDK gave the payment up, and nothing of it is out. One that the LSP may still have a hold for gives that back first: see
/// [`Core::drive`]. Gives the reason of one that has failed by this: an earlier one, of a cancellation or a refusal, stays. A
/// payment that has not been handed to LDK did not fail there: the event is about the attempt before.
///
/// [`Core::drive`]: crate::Core::drive
pub(crate) async fn set_failed_by_ldk(
    tx: &mut Tx,
    payment_hash: PaymentHash,
    reason: &str,
    height: BlockHeight,
) -> Result<Option<String>, StorageError> {
    let deadline = get(tx, payment_hash).await?.and_then(|payment| payment.deadline);
    let reason = match deadline {
        Some(deadline) if height >= deadline => "nobody took it before its deadline",
        _ => reason,
    };
    let row = tx
        .fetch_optional(
            "UPDATE payment SET reason = COALESCE(reason, $2), \
             state = CASE WHEN state = $3 AND kind = $4 THEN $5 ELSE 'failed' END \
             WHERE payment_hash = $1 AND state NOT IN ('blocking', 'settled', 'failed') RETURNING state, reason",
            &values![
                payment_hash.0,
                reason,
                PaymentState::Paying.as_str(),
                PaymentKind::Asynchronous.as_str(),
                PaymentState::Cancelling.as_str()
            ],
        )
        .await?;
    let failed =
        row.filter(|row| row.get_text("state").is_ok_and(|state| state == PaymentState::Failed.as_str()));
    failed.map(|row| row.get_text("reason")).transpose()
}

/// Nothing is in flight, and nothing will be. False if it had ended otherwise.
pub(crate) async fn set_failed(
    tx: &mut Tx,
    payment_hash: PaymentHash,
    reason: &str,
) -> Result<bool, StorageError> {
    changed(
        tx,
        "UPDATE payment SET state = 'failed', reason = $2 \
             WHERE payment_hash = $1 AND state NOT IN ('settled', 'failed')",
        &values![payment_hash.0, reason],
    )
    .await
}

/// What the payee said why it will not take it: the reason for the failure that follows.
pub(crate) async fn note_reason(
    tx: &mut Tx,
    payment_hash: PaymentHash,
    reason: &str,
) -> Result<bool, StorageError> {
    changed(
        tx,
        "UPDATE payment SET reason = $2 \
             WHERE payment_hash = $1 AND reason IS NULL AND state NOT IN ('settled', 'failed')",
        &values![payment_hash.0, reason],
    )
    .await
}

/// The payee was quicker than the cancellation: the payment takes its course.
pub(crate) async fn set_uncancelled(tx: &mut Tx, payment_hash: PaymentHash) -> Result<bool, StorageError> {
    changed(
        tx,
        "UPDATE payment SET state = 'in_care', reason = NULL, withdrawal_due = 0 \
             WHERE payment_hash = $1 AND state = 'cancelling'",
        &values![payment_hash.0],
    )
    .await
}
