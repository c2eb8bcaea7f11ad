//! A new block hurries the wakes that are past the seconds of their schedule.

use protocol::wake::{ATTEMPTS_BY_THE_CLOCK, hurried_by_block};
use storage::{Row, StorageError, Tx, Value};

use super::limits::LEASE_SECONDS;

/// Wakes hurried in one transaction. It must not hold up the others for long.
pub const HURRIED_WAKES_MAX: u32 = 500;

/// What is due this soon is left alone: its time may be the end of a lease, and somebody's push be under way.
const SOON_SECONDS: u64 = 2 * LEASE_SECONDS;

/// At most `$4` wakes that have had `$3` attempts, wait for the next, and are due after `$1` and until `$2`: those first that were
/// tried longest ago. One that was put off waits for something else.
macro_rules! hurried {
    ($columns:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM wake WHERE state = 'open' AND lane = '' AND due_at > $1 AND due_at <= $2 AND step >= $3 \
             AND put_off IS NULL ORDER BY due_at LIMIT $4"
        )
    };
}

const REACHED: &str =
    concat!("SELECT COUNT(*) AS wakes, MAX(due_at) AS reached FROM (", hurried!("due_at"), ") AS hurried");

const HURRY: &str = concat!("UPDATE wake SET due_at = $5 WHERE id IN (", hurried!("id"), ")");

/// Makes at most [`HURRIED_WAKES_MAX`] wakes due at `due_at`, of those that are due later than that and later than `after`,
/// since a block came at `heard_at`. All are times in seconds since 1970.
///
/// Answers after what time the rest is due, if there may be a rest.
///
/// # Errors
/// When the database fails.
pub async fn hurry(
    tx: &mut Tx,
    heard_at: u64,
    now_unix: u64,
    due_at: u64,
    after: u64,
) -> Result<Option<u64>, StorageError> {
    let after = after.max(due_at).max(now_unix + SOON_SECONDS);
    let mut parameters: Vec<Value> = vec![
        after.try_into()?,
        hurried_by_block(heard_at).try_into()?,
        ATTEMPTS_BY_THE_CLOCK.into(),
        HURRIED_WAKES_MAX.into(),
    ];
    let found = tx.fetch_one(REACHED, &parameters).await?;
    let wakes = found.get_u32("wakes")?;
    if wakes == 0 {
        return Ok(None);
    }
    parameters.push(due_at.try_into()?);
    tx.execute(HURRY, &parameters).await?;
    rest(&found, wakes)
}

/// Others may be due in the second of the last one.
fn rest(found: &Row, wakes: u32) -> Result<Option<u64>, StorageError> {
    let reached = found.opt_u64("reached")?.filter(|_| wakes == HURRIED_WAKES_MAX);
    Ok(reached.map(|reached| reached.saturating_sub(1)))
}

#[cfg(test)]
mod tests {
    use storage::testing::Scratch;
    use storage::values;

    use super::*;
    use crate::testing::TestDatabase;

    /// However many wakes are open.
    #[tokio::test]
    async fn no_other_wakes_are_gone_through() {
        let db = TestDatabase::on(Scratch::sqlite()).await;
        for statement in [REACHED, HURRY] {
            let explain: &'static str = format!("EXPLAIN QUERY PLAN {statement}").leak();
            let parameters = values![1u32, 2u32, 3u32, 4u32, 5u32];
            let parameters = parameters[..if statement == HURRY { 5 } else { 4 }].to_vec();
            let plan = db.database.submit("test", move |tx| {
                Box::pin(async move {
                    let rows = tx.fetch_all(explain, &parameters).await?;
                    rows.iter().map(|row| row.get_text("detail")).collect::<Result<Vec<_>, _>>()
                })
            });
            let plan = plan.await.unwrap().join("; ");
            assert!(plan.contains("wake_due (lane=? AND due_at>? AND due_at<?)"), "{plan}");
            assert!(!plan.contains("TEMP B-TREE FOR ORDER"), "{plan}");
        }
    }
}
