mod blocks;
mod lanes;
mod limits;
mod workers;

use futures::StreamExt;
use std::time::Duration;

use axum::http::StatusCode;
use protocol::wake::WakeReason;
use storage::testing::Scratch;
use storage::{StorageError, values};

use super::*;
use crate::store::wakes::{LEASE_SECONDS, NewWake};
use crate::testing::{FakeNode, Receiver, START, TestClock, TestDatabase, gateway, public, token_keys};
use in_flight::InFlight;

storage::on_both!(
    a_wake_is_pushed_by_the_schedule_until_it_expires,
    a_phone_that_comes_ends_what_it_need_not_be_woken_for,
    a_settlement_is_over_only_when_it_is_ended,
    nobody_is_pushed_who_is_here,
    a_reason_that_comes_again_is_one_wake,
    a_reason_that_comes_again_during_a_push_is_not_forgotten,
    an_expired_wake_leaves_its_place,
    a_push_that_a_crash_cut_off_is_sent_again_after_its_lease,
    a_push_that_a_crash_cut_off_is_sent_again_as_soon_as_the_next_process_starts,
    a_push_that_ends_after_the_phone_came_changes_no_schedule,
    a_push_that_ends_when_somebody_else_has_its_wake_changes_no_schedule,
    a_dead_token_is_forgotten_and_a_new_device_gets_what_waits,
    each_device_of_a_node_is_pushed,
    ensuring_hurries_nothing,
    a_row_that_makes_no_sense_stops_nothing_else,
    the_task_pushes_at_a_nudge_and_stops_with_the_database,
);

const PHONE: u8 = 1;
const HOUR: u64 = 3_600;
const KEPT_SECONDS: u64 = 7 * 24 * HOUR;

struct Stage {
    db: TestDatabase,
    node: Arc<FakeNode>,
    clock: Arc<TestClock>,
    receiver: Receiver,
    waker: Arc<Waker>,
}

impl Stage {
    async fn with_limits(scratch: Scratch, limits: WakeLimits) -> Self {
        let (db, node, clock) = (TestDatabase::on(scratch).await, FakeNode::new(), TestClock::new());
        let gateways: Vec<Arc<dyn PushGateway>> = vec![gateway(true)];
        let waker = Waker::with_limits(
            db.database.clone(),
            node.clone(),
            gateways,
            limits,
            token_keys(),
            clock.clone(),
        );
        Self { db, node, clock, receiver: Receiver::start().await, waker }
    }

    /// With the phone's device registered.
    async fn with_phone(scratch: Scratch) -> Self {
        let stage = Self::with_limits(scratch, WakeLimits::default()).await;
        stage.db.register(PHONE, &stage.receiver.url()).await;
        stage
    }

    fn wake(&self, reason: WakeReason, group: u8, seconds: u64) -> NewWake {
        let now_unix = self.clock.now_unix();
        NewWake {
            node_id: public(PHONE),
            reason,
            group: [group; 32],
            expires_at_unix: now_unix + seconds,
            now_unix,
        }
    }

    async fn open(&self, wake: NewWake) {
        let opened = self
            .db
            .database
            .submit("test_open", move |tx| Box::pin(async move { wakes::open(tx, &wake).await }));
        opened.await.unwrap();
    }

    /// One look at the outbox, and the end of all pushes that it leads to. Answers how many have come in all.
    async fn dispatch(&self) -> usize {
        let mut in_flight = InFlight::new(&self.waker);
        while self.waker.claim_due(self.clock.now_unix(), 8, &mut in_flight).await.unwrap() {}
        while in_flight.next().await.is_some() {}
        self.receiver.pushes().len()
    }

    async fn dispatch_after(&self, seconds: u64) -> usize {
        self.clock.advance(seconds);
        self.dispatch().await
    }

    async fn acknowledge(&self) -> Option<u64> {
        let now = self.clock.now_unix();
        self.db
            .database
            .submit("test_acknowledge", move |tx| {
                Box::pin(async move { wakes::acknowledge(tx, public(PHONE), now).await })
            })
            .await
            .unwrap()
    }

    async fn tidy(&self) {
        let now = self.clock.now_unix();
        self.db
            .database
            .submit("test_tidy", move |tx| Box::pin(wakes::tidy(tx, now, KEPT_SECONDS)))
            .await
            .unwrap();
    }

    async fn rows(&self, sql: &'static str) -> i64 {
        self.db.number(sql).await
    }
}

async fn a_wake_is_pushed_by_the_schedule_until_it_expires(scratch: Scratch) {
    let stage = Stage::with_phone(scratch).await;
    stage.open(stage.wake(WakeReason::PaymentSettled, 1, 100)).await;
    assert_eq!(stage.dispatch().await, 1);
    assert_eq!(stage.dispatch().await, 1, "not due again yet");
    for (seconds, pushes) in [(4, 1), (1, 2), (14, 2), (1, 3), (30, 4), (49, 4), (100, 4)] {
        assert_eq!(stage.dispatch_after(seconds).await, pushes, "{seconds} s later");
    }
    let pushes = stage.receiver.pushes();
    assert_eq!(pushes[0]["reason"], "payment_settled");
    assert_eq!(pushes[0]["expires_at"], START + 100);
    assert_eq!(pushes[0]["id"].as_str().unwrap().len(), 32);
    assert!(pushes.iter().all(|push| push["id"] == pushes[0]["id"]), "one wake, one id");

    let told =
        "SELECT COUNT(*) AS n FROM wake_attempt WHERE verdict = 'accepted' AND answered_ms IS NOT NULL";
    assert_eq!(stage.rows(told).await, 4);
    stage.tidy().await;
    assert_eq!(stage.rows("SELECT COUNT(*) AS n FROM wake WHERE state = 'expired'").await, 1);
    stage.clock.advance(KEPT_SECONDS);
    stage.tidy().await;
    assert_eq!(stage.rows("SELECT COUNT(*) AS n FROM wake_attempt").await, 0, "and its attempts with it");
}

async fn a_phone_that_comes_ends_what_it_need_not_be_woken_for(scratch: Scratch) {
    let stage = Stage::with_phone(scratch).await;
    stage.open(stage.wake(WakeReason::OnionMessage, 0, HOUR)).await;
    stage.open(stage.wake(WakeReason::PaymentIncoming, 1, HOUR)).await;
    assert_eq!(stage.dispatch().await, 2);
    stage.clock.advance(3);
    assert_eq!(stage.acknowledge().await, Some(3));
    assert_eq!(stage.dispatch_after(HOUR / 2).await, 2);
    let latency = "SELECT CAST(SUM(connected_after_seconds) AS BIGINT) AS n FROM wake_attempt";
    assert_eq!(stage.rows(latency).await, 6);
    assert_eq!(stage.acknowledge().await, None, "nothing is open");

    stage.open(stage.wake(WakeReason::OnionMessage, 0, HOUR)).await;
    assert_eq!(stage.dispatch().await, 3, "a new reason is a new wake");
    let pushes = stage.receiver.pushes();
    assert_ne!(pushes[0]["id"], pushes[2]["id"]);
    assert_eq!(stage.acknowledge().await, Some(0));

    stage.receiver.answers(StatusCode::GONE, None);
    stage.open(stage.wake(WakeReason::PaymentIncoming, 2, HOUR)).await;
    assert_eq!(stage.dispatch().await, 4);
    assert_eq!(stage.acknowledge().await, None, "it came by itself");
    let unanswered = "SELECT COUNT(*) AS n FROM wake_attempt WHERE connected_after_seconds IS NULL";
    assert_eq!(stage.rows(unanswered).await, 1);
}

async fn a_settlement_is_over_only_when_it_is_ended(scratch: Scratch) {
    let stage = Stage::with_phone(scratch).await;
    stage.open(stage.wake(WakeReason::PaymentSettled, 1, HOUR)).await;
    assert_eq!(stage.dispatch().await, 1);
    assert_eq!(stage.acknowledge().await, Some(0));
    assert_eq!(stage.dispatch_after(59).await, 1, "the phone has a minute");
    assert_eq!(stage.dispatch_after(1).await, 2, "it went with the HTLC still on its channel");
    assert_eq!(stage.dispatch_after(5).await, 3, "the schedule began anew");
    let ended = stage.db.database.submit("test_end", |tx| {
        Box::pin(wakes::end(tx, public(PHONE), [1; 32], WakeReason::PaymentSettled))
    });
    ended.await.unwrap();
    assert_eq!(stage.dispatch_after(HOUR / 2).await, 3);
}

async fn nobody_is_pushed_who_is_here(scratch: Scratch) {
    let stage = Stage::with_phone(scratch).await;
    stage.node.connect(PHONE);
    stage.open(stage.wake(WakeReason::PaymentFailed, 1, HOUR)).await;
    assert_eq!(stage.dispatch().await, 0);
    assert_eq!(stage.dispatch_after(5).await, 0);
    stage.node.disconnect(PHONE);
    assert_eq!(stage.dispatch_after(5).await, 1, "the wake was put off, not dropped");
    assert_eq!(stage.rows("SELECT attempts AS n FROM wake").await, 1);
}

async fn a_reason_that_comes_again_is_one_wake(scratch: Scratch) {
    let stage = Stage::with_phone(scratch).await;
    stage.open(stage.wake(WakeReason::PaymentSettled, 1, HOUR)).await;
    assert_eq!(stage.dispatch().await, 1);
    for (step, seconds) in [5, 15, 30, 60, 120].into_iter().enumerate() {
        assert_eq!(stage.dispatch_after(seconds).await, step + 2);
    }
    stage.open(stage.wake(WakeReason::PaymentSettled, 1, 2 * HOUR)).await;
    stage.open(stage.wake(WakeReason::PaymentSettled, 1, 10)).await;
    assert_eq!(stage.rows("SELECT COUNT(*) AS n FROM wake").await, 1);
    assert_eq!(stage.rows("SELECT under_way AS n FROM wake").await, 0);
    let later = i64::try_from(START + 230 + 2 * HOUR).unwrap();
    assert_eq!(stage.rows("SELECT expires_at AS n FROM wake").await, later, "the later expiry stands");
    assert_eq!(stage.dispatch_after(29).await, 6);
    assert_eq!(stage.dispatch_after(1).await, 7, "and its next attempt came sooner than by the schedule");
}

async fn a_reason_that_comes_again_during_a_push_is_not_forgotten(scratch: Scratch) {
    let stage = Stage::with_phone(scratch).await;
    stage.open(stage.wake(WakeReason::PaymentSettled, 1, HOUR)).await;
    for seconds in [0, 5, 15, 30, 60] {
        stage.dispatch_after(seconds).await;
    }
    stage.clock.advance(120);
    let mut in_flight = InFlight::new(&stage.waker);
    stage.waker.claim_due(stage.clock.now_unix(), 8, &mut in_flight).await.unwrap();
    stage.open(stage.wake(WakeReason::PaymentSettled, 1, HOUR)).await;
    while in_flight.next().await.is_some() {}
    let due = "SELECT due_at AS n FROM wake";
    assert_eq!(stage.rows(due).await, i64::try_from(stage.clock.now_unix() + 30).unwrap());
}

async fn an_expired_wake_leaves_its_place(scratch: Scratch) {
    let stage = Stage::with_phone(scratch).await;
    stage.open(stage.wake(WakeReason::PaymentSettled, 1, 20)).await;
    assert_eq!(stage.dispatch().await, 1);
    stage.clock.advance(20);
    stage.open(stage.wake(WakeReason::PaymentSettled, 1, HOUR)).await;
    assert_eq!(stage.dispatch().await, 2, "a fresh schedule");
    let pushes = stage.receiver.pushes();
    assert_ne!(pushes[0]["id"], pushes[1]["id"]);
}

async fn a_push_that_a_crash_cut_off_is_sent_again_after_its_lease(scratch: Scratch) {
    let stage = Stage::with_phone(scratch).await;
    stage.open(stage.wake(WakeReason::PaymentIncoming, 1, 60)).await;
    let mut cut_off = InFlight::new(&stage.waker);
    stage.waker.claim_due(START, 8, &mut cut_off).await.unwrap();
    assert_eq!(cut_off.len(), 1);
    drop(cut_off);
    assert_eq!(stage.dispatch_after(LEASE_SECONDS - 1).await, 0, "somebody else may be at it");
    assert_eq!(stage.dispatch_after(1).await, 1);
    let open_ended = "SELECT COUNT(*) AS n FROM wake_attempt WHERE verdict IS NULL";
    assert_eq!(stage.rows(open_ended).await, 1, "what became of the first nobody knows");
}

async fn a_push_that_a_crash_cut_off_is_sent_again_as_soon_as_the_next_process_starts(scratch: Scratch) {
    let stage = Stage::with_phone(scratch).await;
    stage.open(stage.wake(WakeReason::PaymentIncoming, 1, 60)).await;
    let mut cut_off = InFlight::new(&stage.waker);
    stage.waker.claim_due(START, 8, &mut cut_off).await.unwrap();
    assert_eq!(cut_off.len(), 1);
    drop(cut_off);
    assert_eq!(stage.dispatch().await, 0);
    stage.waker.take_over().await.unwrap();
    assert_eq!(stage.dispatch().await, 1);
    // What has a verdict keeps its schedule.
    stage.waker.take_over().await.unwrap();
    assert_eq!(stage.dispatch_after(1).await, 1);
}

async fn a_push_that_ends_after_the_phone_came_changes_no_schedule(scratch: Scratch) {
    let stage = Stage::with_phone(scratch).await;
    stage.open(stage.wake(WakeReason::PaymentSettled, 1, HOUR)).await;
    let mut in_flight = InFlight::new(&stage.waker);
    stage.waker.claim_due(START, 8, &mut in_flight).await.unwrap();
    stage.acknowledge().await;
    while in_flight.next().await.is_some() {}
    assert_eq!(stage.rows("SELECT due_at AS n FROM wake").await, i64::try_from(START + 60).unwrap());
}

async fn a_push_that_ends_when_somebody_else_has_its_wake_changes_no_schedule(scratch: Scratch) {
    let stage = Stage::with_phone(scratch).await;
    let due_at = async || stage.rows("SELECT due_at AS n FROM wake").await;
    let at = |seconds: u64| i64::try_from(START + seconds).unwrap();
    stage.open(stage.wake(WakeReason::PaymentSettled, 1, HOUR)).await;
    let mut slow = InFlight::new(&stage.waker);
    stage.waker.claim_due(START, 8, &mut slow).await.unwrap();
    // The phone comes and goes, so that the schedule begins anew: both claims are the first of theirs.
    stage.acknowledge().await;
    stage.clock.advance(60);
    let mut others = InFlight::new(&stage.waker);
    stage.waker.claim_due(START + 60, 8, &mut others).await.unwrap();
    assert_eq!((others.len(), due_at().await), (1, at(60 + LEASE_SECONDS)));
    while slow.next().await.is_some() {}
    let verdicts = "SELECT COUNT(*) AS n FROM wake_attempt WHERE verdict = 'accepted'";
    assert_eq!(stage.rows(verdicts).await, 1, "what came of it is known");
    assert_eq!(due_at().await, at(60 + LEASE_SECONDS), "the lease is the other's");
    while others.next().await.is_some() {}
    assert_eq!(due_at().await, at(65));
}

async fn a_dead_token_is_forgotten_and_a_new_device_gets_what_waits(scratch: Scratch) {
    let stage = Stage::with_phone(scratch).await;
    stage.receiver.answers(StatusCode::GONE, None);
    stage.open(stage.wake(WakeReason::PaymentSettled, 1, HOUR)).await;
    assert_eq!(stage.dispatch().await, 1);
    assert_eq!(stage.rows("SELECT COUNT(*) AS n FROM device").await, 0);
    assert_eq!(stage.dispatch_after(5).await, 1);
    assert_eq!(stage.dispatch_after(HOUR / 2).await, 1, "nobody to push to");
    assert_eq!(stage.rows("SELECT attempts AS n FROM wake").await, 1);

    stage.receiver.answers(StatusCode::NO_CONTENT, None);
    stage.db.register(PHONE, &stage.receiver.url()).await;
    let now = stage.clock.now_unix();
    let rearmed =
        stage.db.database.submit("test_rearm", move |tx| Box::pin(wakes::rearm(tx, public(PHONE), now)));
    rearmed.await.unwrap();
    assert_eq!(stage.dispatch().await, 2);
}

async fn each_device_of_a_node_is_pushed(scratch: Scratch) {
    let stage = Stage::with_phone(scratch).await;
    let tablet = Receiver::start().await;
    stage.db.register(PHONE, &tablet.url()).await;
    stage.receiver.answers(StatusCode::NOT_FOUND, None);
    stage.open(stage.wake(WakeReason::OnionMessage, 0, HOUR)).await;
    stage.dispatch().await;
    assert_eq!((stage.receiver.pushes().len(), tablet.pushes().len()), (1, 1));
    stage.dispatch_after(5).await;
    assert_eq!((stage.receiver.pushes().len(), tablet.pushes().len()), (1, 2), "the other one lives on");
}

async fn ensuring_hurries_nothing(scratch: Scratch) {
    let stage = Stage::with_phone(scratch).await;
    let ensure = |wake: NewWake| {
        stage
            .db
            .database
            .submit("test_ensure", move |tx| Box::pin(async move { wakes::ensure_open(tx, &wake).await }))
    };
    let wake = stage.wake(WakeReason::OnionMessage, 0, HOUR);
    assert!(ensure(wake).await.unwrap());
    stage.db.run("UPDATE wake SET under_way = 1").await;
    assert!(!ensure(wake).await.unwrap());
    assert_eq!(stage.rows("SELECT under_way AS n FROM wake").await, 1);
    assert_eq!(stage.rows("SELECT COUNT(*) AS n FROM wake").await, 1);
}

async fn a_row_that_makes_no_sense_stops_nothing_else(scratch: Scratch) {
    let stage = Stage::with_phone(scratch).await;
    let broken = stage.db.database.submit("test_break", |tx| {
        Box::pin(async move {
            tx.execute("UPDATE device SET platform = 'pigeon'", &values![]).await?;
            Ok::<_, StorageError>(())
        })
    });
    broken.await.unwrap();
    stage.db.register(PHONE + 1, &stage.receiver.url()).await;
    stage.open(stage.wake(WakeReason::OnionMessage, 0, HOUR)).await;
    let other = NewWake { node_id: public(PHONE + 1), ..stage.wake(WakeReason::OnionMessage, 0, HOUR) };
    stage.open(other).await;
    assert_eq!(stage.dispatch().await, 1);
    let attempts = "SELECT COUNT(*) AS n FROM wake WHERE attempts = 1";
    assert_eq!(stage.rows(attempts).await, 1);
}

async fn the_task_pushes_at_a_nudge_and_stops_with_the_database(scratch: Scratch) {
    let stage = Stage::with_phone(scratch).await;
    let task = tokio::spawn(stage.waker.clone().run());
    let wake = stage.wake(WakeReason::OnionMessage, 0, HOUR);
    // Nudged before the commit: the dispatcher looks after it all the same.
    let opened = stage
        .db
        .database
        .submit("test_open", move |tx| Box::pin(async move { wakes::open(tx, &wake).await }));
    stage.waker.nudge();
    let patience = Duration::from_secs(30);
    tokio::time::timeout(patience, stage.receiver.received(1)).await.unwrap();
    opened.await.unwrap();

    stage.waker.on_peer_connected(public(PHONE));
    let acknowledged = "SELECT COUNT(*) AS n FROM wake WHERE state = 'acknowledged'";
    assert_eq!(stage.rows(acknowledged).await, 1);
    stage.db.database.close().await;
    stage.waker.nudge();
    tokio::time::timeout(patience, task).await.unwrap().unwrap();
}
