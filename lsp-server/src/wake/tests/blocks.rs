//! What a new block does for phones that were woken in vain.

use node::NodeHandler;
use protocol::units::BlockHeight;
use protocol::wake::{ATTEMPTS_BY_THE_CLOCK, BLOCK_HURRY_SECONDS};
use tokio::sync::mpsc;

use super::*;
use crate::lsps5::Inbox;
use crate::server::Handler;
use crate::store::wakes::HURRIED_WAKES_MAX;

storage::on_both!(
    after_the_seconds_of_its_schedule_a_wake_comes_with_blocks,
    blocks_that_come_at_once_are_one_and_one_more,
    a_wake_that_waits_for_something_else_is_not_hurried,
    many_wakes_of_one_block_are_spread,
);

const DAY: u64 = 24 * HOUR;

impl Stage {
    /// As the task does it.
    async fn round(&self) -> usize {
        self.waker.dispatch().await.unwrap();
        self.receiver.pushes().len()
    }

    async fn round_after(&self, seconds: u64) -> usize {
        self.clock.advance(seconds);
        self.round().await
    }

    async fn round_after_block(&self, seconds: u64) -> usize {
        self.clock.advance(seconds);
        self.waker.on_block();
        self.round().await
    }

    /// A wake that was pushed by the clock for as long as that goes.
    async fn woken_in_vain(&self) -> usize {
        self.open(self.wake(WakeReason::PaymentSettled, 1, DAY)).await;
        for seconds in [0, 5, 15, 30, 60, 120] {
            self.round_after(seconds).await;
        }
        let pushes = self.receiver.pushes().len();
        assert_eq!(pushes, ATTEMPTS_BY_THE_CLOCK as usize);
        pushes
    }
}

async fn after_the_seconds_of_its_schedule_a_wake_comes_with_blocks(scratch: Scratch) {
    let stage = Stage::with_phone(scratch).await;
    stage.open(stage.wake(WakeReason::PaymentIncoming, 1, DAY)).await;
    assert_eq!(stage.round().await, 1);
    for pushes in 2..=ATTEMPTS_BY_THE_CLOCK as usize {
        assert_eq!(stage.round_after_block(2).await, pushes - 1, "the clock is quicker");
        let due = stage.rows("SELECT MAX(due_at) AS n FROM wake").await;
        let wait = u64::try_from(due).unwrap() - stage.clock.now_unix();
        assert_eq!(stage.round_after(wait).await, pushes);
    }
    assert_eq!(stage.round_after_block(59).await, 6, "it was tried less than a minute ago");
    assert_eq!(stage.round_after_block(61).await, 7);
    assert_eq!(stage.round_after_block(3_000).await, 8);
    // No block comes.
    assert_eq!(stage.round_after(1_199).await, 8);
    assert_eq!(stage.round_after(1).await, 9);
}

/// By way of what LDK calls.
async fn blocks_that_come_at_once_are_one_and_one_more(scratch: Scratch) {
    let stage = Stage::with_phone(scratch).await;
    let (payments, mailbox, _) = crate::payment::tests::bare_parts(&stage.db);
    let (requests, _incoming) = mpsc::channel(1);
    let handler = Handler::new(payments, mailbox, stage.waker.clone(), requests, Inbox::default());
    let pushes = stage.woken_in_vain().await;
    stage.clock.advance(100);
    for height in 1..=5 {
        handler.block_connected(BlockHeight(height));
        assert_eq!(stage.round_after(1).await, pushes + 1, "block {height}");
    }
    // Those after the first are heard as well, as one.
    let since_first = 4;
    assert_eq!(stage.round_after(BLOCK_HURRY_SECONDS - since_first - 1).await, pushes + 1);
    assert_eq!(stage.round_after(1).await, pushes + 2);
    assert_eq!(stage.round_after(600).await, pushes + 2, "and that was all of them");
}

async fn a_wake_that_waits_for_something_else_is_not_hurried(scratch: Scratch) {
    let stage = Stage::with_phone(scratch).await;
    let pushes = stage.woken_in_vain().await;
    let due_at = async || stage.rows("SELECT due_at AS n FROM wake").await;
    // Somebody's push is under way: what its row says is the end of a lease.
    stage.clock.advance(1_200);
    let mut slow = InFlight::new(&stage.waker);
    stage.waker.claim_due(stage.clock.now_unix(), 8, &mut slow).await.unwrap();
    assert_eq!(slow.len(), 1);
    let lease = due_at().await;
    assert_eq!(stage.round_after_block(1).await, pushes);
    assert_eq!(due_at().await, lease);
    while slow.next().await.is_some() {}
    assert_eq!(stage.receiver.pushes().len(), pushes + 1);

    // The provider asked for a pause.
    stage.receiver.answers(StatusCode::SERVICE_UNAVAILABLE, Some("3000"));
    assert_eq!(stage.round_after_block(600).await, pushes + 2);
    assert_eq!(stage.round_after_block(600).await, pushes + 2);
    let put_off = due_at().await;
    assert_eq!(stage.round_after_block(600).await, pushes + 2);
    assert_eq!(due_at().await, put_off, "it has its time, and no block moves it");
}

async fn many_wakes_of_one_block_are_spread(scratch: Scratch) {
    let stage = Stage::with_phone(scratch).await;
    let (now_unix, wakes) = (stage.clock.now_unix(), 2 * HURRIED_WAKES_MAX + 10);
    let opened = stage.db.database.submit("test_many", move |tx| {
        Box::pin(async move {
            for serial in 0..wakes {
                let mut group = [0; 32];
                group[..4].copy_from_slice(&serial.to_be_bytes());
                // Several were tried in one second.
                let due_at = now_unix + 300 + u64::from(serial / 300);
                let sql = "INSERT INTO wake (node_id, reason, wake_group, under_way, state, opened_at, expires_at, due_at, step, attempts) \
                     VALUES ($1, 'payment_settled', $2, 1, 'open', $3, $4, $5, 6, 6)";
                let row = [
                    public(PHONE).serialize().into(),
                    group.into(),
                    now_unix.try_into()?,
                    (now_unix + DAY).try_into()?,
                    due_at.try_into()?,
                ];
                tx.execute(sql, &row).await?;
            }
            Ok::<_, StorageError>(())
        })
    });
    opened.await.unwrap();
    let due_in = async |seconds: u64| {
        let counted = stage.db.database.submit("test_count", move |tx| {
            Box::pin(async move {
                let row = tx
                    .fetch_one(
                        "SELECT COUNT(*) AS n FROM wake WHERE due_at = $1",
                        &[(now_unix + seconds).try_into()?],
                    )
                    .await?;
                row.get_i64("n")
            })
        });
        counted.await.unwrap()
    };
    stage.waker.on_block();
    let mut nothing = InFlight::new(&stage.waker);
    let mut parts = 0;
    while stage.waker.hurry_some(&mut nothing).await.unwrap() {
        parts += 1;
    }
    assert_eq!(parts, 3, "each is a transaction of its own");
    let page = i64::from(HURRIED_WAKES_MAX);
    assert_eq!([due_in(0).await, due_in(1).await, due_in(2).await], [page, page, 10]);
}
