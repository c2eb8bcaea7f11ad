use storage::testing::Scratch;

use super::*;
use crate::store::challenges::{ChallengeRefused, Proof};
use crate::testing::{START, TestDatabase, new_device, public};

storage::on_both!(
    a_device_keeps_its_name_when_it_registers_again,
    a_challenge_is_answered_once,
    each_bound_refuses_and_takes_nothing_away,
    a_providers_word_about_an_older_registration_does_not_count,
    an_operator_removes_a_device,
    what_the_bounds_count_is_right_whatever_happens,
    a_count_that_is_lost_is_counted,
);

const URL: &str = "https://push.example.com/1";

fn registered_at(mut device: NewDevice, now: u64) -> NewDevice {
    if let Proof::Signed(answered) = &mut device.proof {
        answered.now_unix = now;
    }
    device
}

async fn devices_of(db: &TestDatabase, node: u8) -> Vec<Device> {
    db.database.read("test", move |tx| Box::pin(of_node(tx, public(node)))).await.unwrap()
}

async fn a_device_keeps_its_name_when_it_registers_again(scratch: Scratch) {
    let db = TestDatabase::on(scratch).await;
    let first = db.register(1, URL).await;
    assert!(first.is_new);
    let later = registered_at(new_device(1, URL), START + 10);
    let again = db.try_register(later, DeviceLimits::default()).await.unwrap();
    assert_eq!(again, Registered { device_id: first.device_id, is_new: false });
    let devices = devices_of(&db, 1).await;
    assert_eq!(devices.len(), 1);
    assert_eq!((devices[0].registered_at, devices[0].registrations), (START + 10, 2));

    assert_ne!(db.register(2, URL).await.device_id, first.device_id, "another node's is another device");
    let listed = db.database.read("test", |tx| Box::pin(list(tx, 10))).await.unwrap();
    assert_eq!(listed.len(), 2);
    assert!(!format!("{listed:?}").contains("push.example.com"), "tokens are not shown");
    assert!(db.database.read("test", |tx| Box::pin(has_any(tx, public(1)))).await.unwrap());
    assert!(!db.database.read("test", |tx| Box::pin(has_any(tx, public(3)))).await.unwrap());
}

async fn a_challenge_is_answered_once(scratch: Scratch) {
    let db = TestDatabase::on(scratch).await;
    let device = new_device(1, URL);
    db.try_register(device.clone(), DeviceLimits::default()).await.unwrap();
    let replayed = db.try_register(device, DeviceLimits::default()).await;
    assert!(matches!(replayed, Err(RegisterError::Challenge(ChallengeRefused::Used))));
    assert_eq!(db.number("SELECT registrations AS n FROM device").await, 1);

    let after_expiry = registered_at(new_device(1, URL), START + 300);
    db.try_register(after_expiry, DeviceLimits::default()).await.unwrap();
    assert_eq!(db.number("SELECT COUNT(*) AS n FROM used_challenge").await, 1, "the expired one is gone");
}

async fn each_bound_refuses_and_takes_nothing_away(scratch: Scratch) {
    let db = TestDatabase::on(scratch).await;
    let limits = DeviceLimits { per_node_max: 2, without_channel_max: 1, ..DeviceLimits::default() };
    for url in ["a", "b"] {
        db.try_register(new_device(1, url), limits).await.unwrap();
    }
    let third = new_device(1, "c");
    assert!(matches!(db.try_register(third.clone(), limits).await, Err(RegisterError::TooManyForNode(2))));
    assert!(
        !db.try_register(new_device(1, "a"), limits).await.unwrap().is_new,
        "a known one is no further one"
    );
    let wider = DeviceLimits { per_node_max: 3, ..limits };
    db.try_register(third, wider).await.unwrap();

    let stranger = |node| NewDevice { has_channel: false, ..new_device(node, URL) };
    db.try_register(stranger(2), limits).await.unwrap();
    assert!(matches!(db.try_register(stranger(3), limits).await, Err(RegisterError::TooManyWithoutChannel)));
    db.try_register(new_device(4, URL), limits).await.unwrap();
    db.try_register(new_device(2, URL), limits).await.unwrap();
    db.try_register(stranger(3), limits).await.unwrap();
}

async fn a_providers_word_about_an_older_registration_does_not_count(scratch: Scratch) {
    let db = TestDatabase::on(scratch).await;
    db.register(1, URL).await;
    let pushed_to = devices_of(&db, 1).await.remove(0);
    db.register(1, URL).await;
    let forget = |device: Device| {
        db.database.submit("test", move |tx| Box::pin(async move { forget_dead(tx, &device).await }))
    };
    forget(pushed_to).await.unwrap();
    let current = devices_of(&db, 1).await.remove(0);
    forget(current).await.unwrap();
    assert_eq!(devices_of(&db, 1).await, []);
}

async fn an_operator_removes_a_device(scratch: Scratch) {
    let db = TestDatabase::on(scratch).await;
    let device_id = db.register(1, URL).await.device_id;
    let remove = || db.database.submit("test", move |tx| Box::pin(remove(tx, device_id)));
    assert!(remove().await.unwrap());
    assert!(!remove().await.unwrap());
    assert_eq!(device_id.to_string().parse(), Ok(device_id));
}

const COUNTS_ARE_RIGHT: &str = "SELECT (SELECT COUNT(*) FROM device WHERE has_channel = 0) \
     - (SELECT n FROM kept_count WHERE of_what = 'device_without_channel') \
     + 1000 * ((SELECT COUNT(*) FROM used_challenge WHERE has_channel = 1) \
     - (SELECT n FROM kept_count WHERE of_what = 'used_challenge')) \
     + 1000000 * ((SELECT COUNT(*) FROM used_challenge WHERE has_channel = 0) \
     - (SELECT n FROM kept_count WHERE of_what = 'used_challenge_without_channel')) AS n";

async fn what_the_bounds_count_is_right_whatever_happens(scratch: Scratch) {
    let db = TestDatabase::on(scratch).await;
    let limits = DeviceLimits {
        per_node_max: 3,
        without_channel_max: 3,
        used_challenges_max: 4,
        used_challenges_without_channel_max: 5,
        ..DeviceLimits::default()
    };
    let stranger = |node, url| NewDevice { has_channel: false, ..new_device(node, url) };
    let mut names = Vec::new();
    for device in [stranger(1, "a"), new_device(1, "b"), stranger(1, "c"), stranger(2, "a")] {
        names.push(db.try_register(device, limits).await.unwrap().device_id);
        assert_eq!(db.number(COUNTS_ARE_RIGHT).await, 0);
    }
    let count = "SELECT n FROM kept_count WHERE of_what = 'device_without_channel'";
    assert_eq!(db.number(count).await, 3);
    for refused in [stranger(3, "a"), stranger(1, "d")] {
        db.try_register(refused, limits).await.unwrap_err();
        assert_eq!(db.number(COUNTS_ARE_RIGHT).await, 0, "what is refused counts nothing");
    }
    // One opens a channel, another closes its own, a third stays as it is.
    for again in [new_device(1, "a"), stranger(1, "b"), stranger(1, "c")] {
        assert!(!db.try_register(again, limits).await.unwrap().is_new);
        assert_eq!(db.number(COUNTS_ARE_RIGHT).await, 0);
    }
    assert_eq!(db.number(count).await, 3);
    let full = db.try_register(registered_at(new_device(4, "a"), START + 299), limits).await;
    assert!(full.is_ok(), "the third challenge of nodes with a channel");
    let full = db.try_register(registered_at(new_device(4, "a"), START + 299), limits).await;
    assert!(full.is_ok(), "the fourth");
    let full = db.try_register(registered_at(new_device(5, "a"), START + 299), limits).await;
    assert!(matches!(full, Err(RegisterError::Challenge(ChallengeRefused::TooMany))), "{full:?}");
    let mut later = registered_at(new_device(5, "a"), START + 300);
    if let Proof::Signed(answered) = &mut later.proof {
        answered.expires_at = START + 600;
    }
    db.try_register(later, limits).await.unwrap();
    assert_eq!(db.number("SELECT n FROM kept_count WHERE of_what = 'used_challenge'").await, 1);
    let removed = names[2];
    db.database.submit("test", move |tx| Box::pin(remove(tx, removed))).await.unwrap();
    let dead = devices_of(&db, 2).await.remove(0);
    db.database
        .submit("test", move |tx| Box::pin(async move { forget_dead(tx, &dead).await }))
        .await
        .unwrap();
    assert_eq!((db.number(count).await, db.number(COUNTS_ARE_RIGHT).await), (1, 0));
    db.database.submit("test", |tx| Box::pin(crate::store::token_keys::forget_devices(tx))).await.unwrap();
    assert_eq!((db.number(count).await, db.number(COUNTS_ARE_RIGHT).await), (0, 0));
}

async fn a_count_that_is_lost_is_counted(scratch: Scratch) {
    let db = TestDatabase::on(scratch).await;
    let limits = DeviceLimits { without_channel_max: 1, used_challenges_max: 1, ..DeviceLimits::default() };
    let stranger = |node| NewDevice { has_channel: false, ..new_device(node, URL) };
    db.try_register(stranger(1), limits).await.unwrap();
    for damage in ["UPDATE kept_count SET n = -5", "DELETE FROM kept_count"] {
        let damaged =
            db.database.submit("test", move |tx| Box::pin(async move { tx.execute(damage, &[]).await }));
        assert_eq!(damaged.await.unwrap(), 3);
        let refused = db.try_register(stranger(2), limits).await;
        assert!(matches!(refused, Err(RegisterError::TooManyWithoutChannel)), "{refused:?}");
    }
    db.try_register(new_device(2, URL), limits).await.unwrap();
    let refused = db.try_register(new_device(3, URL), limits).await;
    assert!(matches!(refused, Err(RegisterError::Challenge(ChallengeRefused::TooMany))), "{refused:?}");
}
