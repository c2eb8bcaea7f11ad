//! How often a phone is pushed.

use super::*;

storage::on_both!(
    strangers_cannot_use_up_the_wakes_of_own_payments,
    a_phone_is_woken_for_so_many_strangers_at_once_and_what_told_nothing_is_forgotten,
    wakes_with_one_reason_keep_their_distance,
    a_provider_that_asks_for_a_pause_gets_it,
);

async fn strangers_cannot_use_up_the_wakes_of_own_payments(scratch: Scratch) {
    let limits = WakeLimits {
        stranger_pushes_per_hour_max: 3,
        own_pushes_per_hour_max: 2,
        cooldown_seconds: 0,
        ..WakeLimits::default()
    };
    let stage = Stage::with_limits(scratch, limits).await;
    stage.db.register(PHONE, &stage.receiver.url()).await;
    for group in 0..10 {
        stage.open(stage.wake(WakeReason::PaymentIncoming, group, 2 * HOUR)).await;
    }
    assert_eq!(stage.dispatch().await, 3);
    stage.open(stage.wake(WakeReason::OnionMessage, 0, 2 * HOUR)).await;
    assert_eq!(stage.dispatch().await, 4, "each reason has its own budget");
    stage.open(stage.wake(WakeReason::PaymentSettled, 1, 2 * HOUR)).await;
    assert_eq!(stage.dispatch().await, 5);
    for _ in 0..10 {
        stage.dispatch_after(300).await;
    }
    assert_eq!(stage.receiver.pushes().len(), 3 + 3 + 2, "an hour's budgets are used up");
    assert!(stage.dispatch_after(HOUR).await > 8, "another hour, another budget");
}

async fn a_phone_is_woken_for_so_many_strangers_at_once_and_what_told_nothing_is_forgotten(scratch: Scratch) {
    let stage = Stage::with_phone(scratch).await;
    let open = |wake: NewWake| {
        stage.db.database.submit("test_open_within", move |tx| {
            Box::pin(async move { wakes::open_within(tx, &wake, 2).await })
        })
    };
    let incoming = |group| stage.wake(WakeReason::PaymentIncoming, group, 60);
    for (group, opened) in [(1, true), (2, true), (3, false), (1, true), (4, false)] {
        assert_eq!(open(incoming(group)).await.unwrap(), opened, "payment {group}");
    }
    let of_another = NewWake { node_id: public(PHONE + 1), ..incoming(3) };
    assert!(open(of_another).await.unwrap());
    let own = stage.wake(WakeReason::PaymentSettled, 3, 60);
    assert!(open(own).await.unwrap(), "each reason for itself");
    assert_eq!(stage.rows("SELECT COUNT(*) AS n FROM wake").await, 4);

    // Pushed for: one of the two payments, and the settled one.
    assert_eq!(stage.dispatch().await, 2);
    stage.clock.advance(60);
    assert!(open(incoming(3)).await.unwrap(), "the others' time is over");
    stage.tidy().await;
    let left = "SELECT COUNT(*) AS n FROM wake WHERE state <> 'open'";
    assert_eq!(stage.rows(left).await, 4);
    stage.clock.advance(24 * HOUR);
    stage.tidy().await;
    assert_eq!(stage.rows(left).await, 3, "the two without a push are forgotten; a third one is over by now");
}

async fn wakes_with_one_reason_keep_their_distance(scratch: Scratch) {
    let stage = Stage::with_phone(scratch).await;
    stage.open(stage.wake(WakeReason::PaymentIncoming, 1, 60)).await;
    stage.open(stage.wake(WakeReason::PaymentIncoming, 2, 60)).await;
    assert_eq!(stage.dispatch().await, 1, "the phone wakes for both");
    assert_eq!(stage.dispatch_after(4).await, 1);
    assert!(stage.dispatch_after(1).await >= 2);
}

async fn a_provider_that_asks_for_a_pause_gets_it(scratch: Scratch) {
    let stage = Stage::with_phone(scratch).await;
    stage.receiver.answers(StatusCode::SERVICE_UNAVAILABLE, Some("40"));
    stage.open(stage.wake(WakeReason::PaymentSettled, 1, HOUR)).await;
    assert_eq!(stage.dispatch().await, 1);
    stage.receiver.answers(StatusCode::OK, None);
    assert_eq!(stage.dispatch_after(39).await, 1);
    assert_eq!(stage.dispatch_after(1).await, 2);
    let why = "SELECT COUNT(*) AS n FROM wake_attempt WHERE verdict = 'retry' AND why = 'HTTP 503'";
    assert_eq!(stage.rows(why).await, 1);
}
