use storage::testing::Scratch;

use super::*;
use crate::testing::{START, TestDatabase, new_device, public};

storage::on_both!(
    a_device_keeps_its_name_when_it_registers_again,
    a_challenge_is_answered_once,
    each_bound_refuses_and_takes_nothing_away,
    a_providers_word_about_an_older_registration_does_not_count,
    an_operator_removes_a_device,
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
    assert!(matches!(
        replayed,
        Err(RegisterError::Challenge(crate::store::challenges::ChallengeRefused::Used))
    ));
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
