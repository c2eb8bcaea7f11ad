use notifier::PushTarget;
use storage::testing::Scratch;

use super::*;
use crate::testing::{START, TestDatabase, token_keys};

storage::on_both!(
    each_lane_has_its_share_and_a_full_one_keeps_nobody_waiting,
    what_is_asked_for_again_stays_of_use_as_long_as_it_was_promised_last,
    a_push_that_is_under_way_at_its_expiry_is_not_ended_before_its_verdict,
);

const LIMITS: NotificationLimits = NotificationLimits { per_token_per_hour_max: 1_000, open_max: 1_000 };

fn new(serial: u8, kind: GatewayKind) -> NewNotification {
    let (notification_id, target) = ([serial; 16], PushTarget::new(kind, "t".repeat(64)));
    NewNotification {
        notification_id,
        template: "payment_received".to_owned(),
        kind,
        sealed: token_keys().seal_content(notification_id, &target, &serial.to_string()),
        now_unix: START,
        expires_at: START + 100,
    }
}

async fn kept(db: &TestDatabase, new: NewNotification) -> Kept {
    let kept = db.database.submit("test", move |tx| Box::pin(async move { keep(tx, &new, &LIMITS).await }));
    kept.await.unwrap()
}

async fn claimed(db: &TestDatabase, now_unix: u64, full: &'static [GatewayKind]) -> Vec<u8> {
    let claimed =
        db.database.submit("test", move |tx| Box::pin(async move { claim(tx, now_unix, 4, full).await }));
    let mut serials: Vec<u8> = claimed.await.unwrap().iter().map(|row| row.notification_id[0]).collect();
    serials.sort_unstable();
    serials
}

async fn each_lane_has_its_share_and_a_full_one_keeps_nobody_waiting(scratch: Scratch) {
    let db = TestDatabase::on(scratch).await;
    for serial in 1..=6 {
        assert_eq!(kept(&db, new(serial, GatewayKind::Apns)).await, Kept::New);
    }
    for serial in 7..=8 {
        assert_eq!(kept(&db, new(serial, GatewayKind::Fcm)).await, Kept::New);
    }
    assert!(claimed(&db, START, &[GatewayKind::Apns, GatewayKind::Fcm]).await.is_empty());
    assert_eq!(claimed(&db, START, &[]).await, [1, 2, 7, 8], "the other lane's backlog is the older one");
    assert!(claimed(&db, START, &[GatewayKind::Apns]).await.is_empty());
    assert_eq!(
        claimed(&db, START, &[GatewayKind::Fcm]).await,
        [3, 4, 5, 6],
        "and one lane alone has all places"
    );
}

#[tokio::test]
async fn no_claim_goes_through_what_waits_for_another() {
    let db = TestDatabase::on(Scratch::sqlite()).await;
    for (statement, index) in [(CLAIM, "notification_due_of"), (EXPIRE, "notification_expiry")] {
        let explain: &'static str = format!("EXPLAIN QUERY PLAN {statement}").leak();
        let params = [START.try_into().unwrap(), START.try_into().unwrap(), "fcm".into(), 5u32.into()];
        let params = params[..if statement == CLAIM { 4 } else { 2 }].to_vec();
        let plan = db.database.submit("test", move |tx| {
            Box::pin(async move {
                let rows = tx.fetch_all(explain, &params).await?;
                rows.iter().map(|row| row.get_text("detail")).collect::<Result<Vec<_>, _>>()
            })
        });
        let plan = plan.await.unwrap().join("; ");
        assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{plan}");
    }
}

async fn what_is_asked_for_again_stays_of_use_as_long_as_it_was_promised_last(scratch: Scratch) {
    let db = TestDatabase::on(scratch).await;
    assert_eq!(kept(&db, new(1, GatewayKind::Fcm)).await, Kept::New);
    let again =
        |expires_at| NewNotification { notification_id: [9; 16], expires_at, ..new(1, GatewayKind::Fcm) };
    assert_eq!(kept(&db, again(START + 300)).await, Kept::Known);
    assert_eq!(kept(&db, again(START + 200)).await, Kept::Known, "never for less");
    assert_eq!(db.number("SELECT expires_at AS n FROM notification").await, (START + 300) as i64);
    assert_eq!(claimed(&db, START + 299, &[]).await, [1]);
}

async fn a_push_that_is_under_way_at_its_expiry_is_not_ended_before_its_verdict(scratch: Scratch) {
    let db = TestDatabase::on(scratch).await;
    kept(&db, new(1, GatewayKind::Fcm)).await;
    assert_eq!(claimed(&db, START + 99, &[]).await, [1]);
    assert!(claimed(&db, START + 101, &[]).await.is_empty());
    assert_eq!(db.number("SELECT COUNT(*) AS n FROM notification WHERE state = 'open'").await, 1);
    // Its lease is over, and nobody has said anything.
    assert!(claimed(&db, START + 99 + LEASE_SECONDS, &[]).await.is_empty());
    assert_eq!(db.number("SELECT COUNT(*) AS n FROM notification WHERE state = 'expired'").await, 1);
}
