//! The outbox with two workers, and with a damaged row in it.

use storage::testing::Scratch;
use storage::values;

use super::*;
use crate::testing::START;

storage::on_both!(two_workers_push_each_notification_once, a_counter_at_its_end_stops_no_other);

/// Each with its own connection to the provider, and nothing in common but the database.
async fn two_workers_push_each_notification_once(scratch: Scratch) {
    const COUNT: usize = 200;
    let config = NotifyConfig { pushes_per_token_per_hour_max: 1_000, ..on() };
    let world = World::on(TestDatabase::on(scratch).await, config.clone());
    for number in 0..COUNT {
        assert!(world.payment(&format!("{number:04x}")).await.unwrap());
    }
    let theirs = Arc::<Provider>::default();
    let other = worker(&world.db.database, &theirs, &world.clock, config);
    let (one, two) = tokio::join!(world.notifications.dispatch(), other.dispatch());
    one.unwrap();
    two.unwrap();
    let theirs = theirs.pushed.lock().unwrap().len();
    assert!(world.pushed() > 0 && theirs > 0, "both had work: {}, {theirs}", world.pushed());
    assert_eq!(world.pushed() + theirs, COUNT);
    let pushed_once = "SELECT COUNT(*) AS n FROM notification WHERE state = 'accepted' AND attempts = 1";
    assert_eq!(world.db.number(pushed_once).await, i64::try_from(COUNT).unwrap());
}

/// The claim alone, without the one writer that keeps two of them apart: of more sessions than one, none gets what another has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_takes_what_nobody_else_takes() {
    const COUNT: u64 = 500;
    let Some(scratch) = Scratch::postgres() else { return };
    let config = NotifyConfig { pushes_per_token_per_hour_max: 1_000, ..on() };
    let world = World::on(TestDatabase::on(scratch).await, config);
    for number in 0..COUNT {
        assert!(world.payment(&format!("{number:04x}")).await.unwrap());
    }
    let (now, lease_end) = (i64::try_from(START).unwrap(), i64::try_from(START + 60).unwrap());
    let params = values![now, lease_end, "fcm", 8];
    assert_eq!(world.db.scratch().rows_of_sessions(4, notifications::CLAIM, &params).await, COUNT);
    let claimed_once = "SELECT COUNT(*) AS n FROM notification WHERE attempts = 1";
    assert_eq!(world.db.number(claimed_once).await, i64::try_from(COUNT).unwrap());
}

async fn a_counter_at_its_end_stops_no_other(scratch: Scratch) {
    let world = World::on(TestDatabase::on(scratch).await, on());
    assert!(world.payment("aa").await.unwrap());
    assert!(world.payment("bb").await.unwrap());
    let sql = "UPDATE notification SET attempts = 9223372036854775807 WHERE id = (SELECT MIN(id) FROM notification)";
    let damaged =
        world.db.database.submit("test", move |tx| Box::pin(async move { tx.execute(sql, &[]).await }));
    assert_eq!(damaged.await.unwrap(), 1);
    world.pass(0).await;
    assert_eq!((world.pushed(), world.state().await), (1, vec!["accepted".to_owned()]));
    let open = "SELECT COUNT(*) AS n FROM notification WHERE state = 'open' AND attempts > 1";
    assert_eq!(world.db.number(open).await, 1, "the damaged one");
}
