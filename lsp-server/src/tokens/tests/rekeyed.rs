//! A change of keys, with what is damaged and what waits.

use super::*;
use crate::store::notifications::{self, Kept, NewNotification, NotificationLimits};

#[tokio::test]
async fn a_page_of_damaged_rows_is_not_the_end_of_the_pass() {
    let world = World::new().await;
    for serial in 0..250 {
        world.register_plain(serial, format!("{TOKEN}{serial:03}")).await;
    }
    let broken = world.db.database.submit("test_break", |tx| {
        Box::pin(async move {
            tx.execute(
                "UPDATE device SET platform = 'pigeon' WHERE device_id IN \
                 (SELECT device_id FROM device ORDER BY device_id LIMIT 200)",
                &[],
            )
            .await
        })
    });
    assert_eq!(broken.await.unwrap(), 200);
    let (_, adopted) = world.adopt().await.unwrap();
    assert_eq!(adopted, Adopted { sealed: 50, ..Adopted::default() });
    assert_eq!(world.db.number("SELECT COUNT(*) AS n FROM device WHERE plain_token IS NOT NULL").await, 200);
}

#[tokio::test]
async fn what_waits_to_be_pushed_is_sealed_anew_and_is_known_again() {
    let world = World::new().await;
    let (first, _) = world.adopt().await.unwrap();
    let keep = async |keys: &TokenKeys, serial: u8, content: &str| {
        let target = PushTarget::new(GatewayKind::Fcm, TOKEN);
        let new = NewNotification {
            notification_id: [serial; 16],
            template: "tx_confirmed".to_owned(),
            kind: GatewayKind::Fcm,
            sealed: keys.seal_content([serial; 16], &target, content),
            now_unix: START,
            expires_at: START + 100,
        };
        let limits = NotificationLimits { per_token_per_hour_max: 10, open_max: 10 };
        let kept = world
            .db
            .database
            .submit("test", move |tx| Box::pin(async move { notifications::keep(tx, &new, &limits).await }));
        kept.await.unwrap()
    };
    for (serial, content) in [(1, "one"), (2, "two"), (3, "three")] {
        assert_eq!(keep(&first, serial, content).await, Kept::New);
    }
    let broken = world.db.database.submit("test_break", |tx| {
        Box::pin(async move {
            tx.execute("UPDATE notification SET sealed = $1 WHERE id = 2", &values![[0u8; 60]]).await
        })
    });
    assert_eq!(broken.await.unwrap(), 1);

    let old = fs::read_to_string(world.path()).unwrap();
    let new = "02".repeat(32);
    write(&world.path(), format!("{new}\n{old}"));
    let (_, adopted) = world.adopt().await.unwrap();
    assert_eq!(adopted, Adopted { notifications: 2, ..Adopted::default() });
    // The old key is gone, and what waits is pushed all the same.
    write(&world.path(), new);
    let (keys, adopted) = world.adopt().await.unwrap();
    assert_eq!(adopted, Adopted::default());
    assert_eq!(keep(&keys, 4, "one").await, Kept::Known);
    let claimed = world
        .db
        .database
        .submit("test", |tx| Box::pin(async move { notifications::claim(tx, START, 10, &[]).await }));
    let opened: Vec<_> = claimed
        .await
        .unwrap()
        .iter()
        .map(|row| keys.open_content(row.notification_id, &row.sealed).unwrap())
        .collect();
    assert_eq!(opened, [(TOKEN.to_owned(), "one".to_owned()), (TOKEN.to_owned(), "three".to_owned())]);
    let refused = "SELECT COUNT(*) AS n FROM notification WHERE id = 2 AND state = 'refused'";
    assert_eq!(world.db.number(refused).await, 1, "what cannot be opened waits for nothing");
}
