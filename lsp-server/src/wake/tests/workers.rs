//! Two workers and one outbox.

use storage::{Database, Failure};

use super::*;
use crate::store::{MIGRATIONS, StoreError};

storage::on_both!(two_workers_of_one_outbox_push_each_wake_once);

const PHONES: u8 = 100;

impl Stage {
    /// So many phones, each with a wake that is due.
    async fn with_phones_to_wake(scratch: Scratch) -> Self {
        let stage = Self::with_phone(scratch).await;
        for phone in 0..PHONES {
            let phone = 100 + phone;
            stage.db.register(phone, &stage.receiver.url()).await;
            stage
                .open(NewWake { node_id: public(phone), ..stage.wake(WakeReason::PaymentSettled, 1, HOUR) })
                .await;
        }
        stage
    }

    /// One more worker, as another process would have it.
    fn another_worker(&self, database: Database) -> Arc<Waker> {
        let gateways: Vec<Arc<dyn PushGateway>> = vec![gateway(true)];
        let (node, clock) = (self.node.clone(), self.clock.clone());
        Waker::with_limits(database, node, gateways, WakeLimits::default(), token_keys(), clock)
    }
}

/// As fast as it can. Answers how many wakes it got.
async fn work(waker: Arc<Waker>) -> Result<usize, StoreError> {
    let mut in_flight = InFlight::new(&waker);
    let mut claimed = 0;
    loop {
        let more = waker.claim_due(START, 4, &mut in_flight).await?;
        claimed += in_flight.len();
        while in_flight.next().await.is_some() {}
        if !more {
            return Ok(claimed);
        }
    }
}

/// Two dispatchers with nothing in common but the database.
async fn two_workers_of_one_outbox_push_each_wake_once(scratch: Scratch) {
    let stage = Stage::with_phones_to_wake(scratch).await;
    let other = stage.another_worker(stage.db.database.clone());
    let (ours, theirs) = tokio::join!(work(stage.waker.clone()), work(other));
    let (ours, theirs) = (ours.unwrap(), theirs.unwrap());
    assert!(ours > 0 && theirs > 0, "both had work: {ours}, {theirs}");
    assert_eq!(ours + theirs, usize::from(PHONES));
    assert_eq!(stage.receiver.pushes().len(), usize::from(PHONES));
    let accepted = "SELECT COUNT(*) AS n FROM wake_attempt WHERE verdict = 'accepted'";
    assert_eq!(stage.rows(accepted).await, i64::from(PHONES));
    assert_eq!(stage.rows("SELECT COUNT(DISTINCT wake) AS n FROM wake_attempt").await, i64::from(PHONES));
    assert_eq!(stage.rows("SELECT MAX(attempts) AS n FROM wake").await, 1);
}

/// Two processes are never one outbox's workers at once: the second is refused while the first has its session. If the server has
/// ended that, both believe that they are it, and only the second pushes.
#[tokio::test]
async fn a_worker_that_was_taken_over_pushes_nothing_more() {
    let Some(scratch) = Scratch::postgres() else { return };
    let url = scratch.url().clone();
    let stage = Stage::with_phones_to_wake(scratch).await;
    let refused = Database::open(&url, &[MIGRATIONS]).await.err().unwrap();
    assert!(matches!(refused, StorageError::InUse { .. }), "{refused}");

    stage.db.scratch().end_sessions();
    let database = Database::open(&url, &[MIGRATIONS]).await.unwrap();
    let second = stage.another_worker(database.clone());
    let (ours, theirs) = tokio::join!(work(stage.waker.clone()), work(second));
    assert!(ours.is_err(), "{ours:?}");
    assert!(matches!(stage.db.database.failed().await, Failure::TakenOver));
    assert_eq!(theirs.unwrap(), usize::from(PHONES));
    assert_eq!(stage.receiver.pushes().len(), usize::from(PHONES));
    database.close().await;
}
