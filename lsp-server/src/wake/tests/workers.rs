//! Several workers and one outbox.

use std::sync::atomic::Ordering;

use storage::testing::TestSession;
use storage::{Database, Failure};
use tokio::sync::Barrier;

use super::*;
use crate::store::{MIGRATIONS, StoreError};

storage::on_both!(threads: four_workers_of_one_outbox_push_each_wake_once);

const PHONES: u8 = 100;

const WORKERS: usize = 4;

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

/// As fast as it can, but for a wait behind its first claim. Answers how many wakes it got.
async fn work(waker: Arc<Waker>, all_have_some: Arc<Barrier>) -> Result<usize, StoreError> {
    let mut in_flight = InFlight::new(&waker);
    let (mut claimed, mut more) = (0, true);
    while more {
        more = waker.claim_due(START, 4, &mut in_flight).await?;
        if claimed == 0 {
            all_have_some.wait().await;
        }
        claimed += in_flight.len();
        while in_flight.next().await.is_some() {}
    }
    Ok(claimed)
}

/// Dispatchers with nothing in common but the database, each with pushes under way before any of them is done.
async fn four_workers_of_one_outbox_push_each_wake_once(scratch: Scratch) {
    let stage = Stage::with_phones_to_wake(scratch).await;
    let barrier = Arc::new(Barrier::new(WORKERS));
    let others = (1..WORKERS).map(|_| stage.another_worker(stage.db.database.clone()));
    let wakers = others.chain([stage.waker.clone()]);
    let workers: Vec<_> = wakers.map(|waker| tokio::spawn(work(waker, barrier.clone()))).collect();
    let mut claimed = Vec::new();
    for worker in workers {
        claimed.push(worker.await.unwrap().unwrap());
    }
    assert!(claimed.iter().all(|wakes| *wakes > 0), "all had work: {claimed:?}");
    assert_eq!(claimed.iter().sum::<usize>(), usize::from(PHONES));
    assert_eq!(stage.receiver.pushes().len(), usize::from(PHONES));
    let accepted = "SELECT COUNT(*) AS n FROM wake_attempt WHERE verdict = 'accepted'";
    assert_eq!(stage.rows(accepted).await, i64::from(PHONES));
    assert_eq!(stage.rows("SELECT COUNT(DISTINCT wake) AS n FROM wake_attempt").await, i64::from(PHONES));
    assert_eq!(stage.rows("SELECT MAX(attempts) AS n FROM wake").await, 1);
}

/// The claim alone, without the one writer that keeps two of them apart: each session looks for what is due, and claims what it
/// has found, which another has found too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_takes_no_wake_that_somebody_else_has_taken() {
    const FIND: &str = "SELECT id, step, attempts FROM wake WHERE state = 'open' AND lane = '' AND due_at <= $1 \
                        ORDER BY due_at LIMIT 8";
    let Some(scratch) = Scratch::postgres() else { return };
    let stage = Stage::with_phones_to_wake(scratch).await;
    let now = i64::try_from(START).unwrap();
    let claim: &'static str = format!("{} RETURNING id", wakes::CLAIM).leak();
    let (serial, all_have_found) = (AtomicU64::new(0), Barrier::new(WORKERS));
    let work = async |mut session: TestSession| {
        let (mut found, mut claimed) = (0, Vec::new());
        loop {
            let due = session.fetch(FIND, &values![now]).await;
            if found == 0 {
                all_have_found.wait().await;
            }
            if due.is_empty() {
                return (found, claimed);
            }
            for row in due {
                let (id, step) = (row.get_i64("id").unwrap(), row.get_i64("step").unwrap());
                let mut wake_id = [0; 16];
                wake_id[..8].copy_from_slice(&serial.fetch_add(1, Ordering::Relaxed).to_be_bytes());
                let attempts = row.get_i64("attempts").unwrap();
                let parameters = values![id, wake_id, step + 1, attempts + 1, now + 20, now];
                found += 1;
                claimed.extend(
                    session.fetch(claim, &parameters).await.iter().map(|row| row.get_i64("id").unwrap()),
                );
            }
        }
    };
    let of_sessions = stage.db.scratch().in_sessions(WORKERS, work).await;
    let found: usize = of_sessions.iter().map(|(found, _)| found).sum();
    let mut claimed: Vec<i64> = of_sessions.into_iter().flat_map(|(_, claimed)| claimed).collect();
    assert!(found > usize::from(PHONES), "no wake was found by two of them");
    claimed.sort_unstable();
    assert_eq!(claimed, (1..=i64::from(PHONES)).collect::<Vec<_>>(), "none is left, and none taken twice");
    assert_eq!(stage.rows("SELECT COUNT(*) AS n FROM wake WHERE attempts = 1").await, i64::from(PHONES));
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
    let alone = || Arc::new(Barrier::new(1));
    let (ours, theirs) = tokio::join!(work(stage.waker.clone(), alone()), work(second, alone()));
    assert!(ours.is_err(), "{ours:?}");
    assert!(matches!(stage.db.database.failed().await, Failure::TakenOver));
    assert_eq!(theirs.unwrap(), usize::from(PHONES));
    assert_eq!(stage.receiver.pushes().len(), usize::from(PHONES));
    database.close().await;
}
