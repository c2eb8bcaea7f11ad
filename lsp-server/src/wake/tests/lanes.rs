//! Who waits for a gateway that is full, and who does not.

use std::sync::Mutex;

use futures::future::{BoxFuture, FutureExt};
use tokio::sync::Notify;

use super::*;
use crate::store::StoreError;
use crate::store::wakes::{Claim, Claiming, claim_due, next_due};

storage::on_both!(
    a_wake_waits_for_its_gateway_and_is_found_there,
    a_wake_that_waits_is_free_once_something_happens,
    a_batch_pushes_a_phone_once_for_one_reason,
    a_wake_whose_time_is_over_is_closed_by_who_finds_it,
    a_row_that_cannot_be_read_is_put_off_and_the_batch_goes_on,
    a_push_that_waited_for_its_place_until_its_time_was_over_is_not_sent,
);

const FULL: &[GatewayKind] = &[GatewayKind::Webhook];

impl Stage {
    async fn claim(&self, lane: Option<GatewayKind>, full: &'static [GatewayKind]) -> Vec<Claim> {
        let now_unix = self.clock.now_unix();
        let claimed = self.db.database.submit("test_claim", move |tx| {
            Box::pin(async move {
                let limits = WakeLimits::default();
                let claiming =
                    Claiming { now_unix, limits: &limits, full, seed: [1; 32], is_connected: &|_| false };
                claim_due(tx, lane, 10, &claiming).await
            })
        });
        claimed.await.unwrap()
    }
}

fn node_of(claim: &Claim) -> Option<PublicKey> {
    match claim {
        Claim::Push(wake) => Some(wake.node_id),
        _ => None,
    }
}

async fn a_wake_waits_for_its_gateway_and_is_found_there(scratch: Scratch) {
    let stage = Stage::with_phone(scratch).await;
    stage.open(stage.wake(WakeReason::PaymentSettled, 1, HOUR)).await;
    let claims = stage.claim(None, FULL).await;
    assert!(matches!(claims[..], [Claim::Waits(GatewayKind::Webhook)]), "{claims:?}");
    let put_off =
        "SELECT COUNT(*) AS n FROM wake WHERE put_off = 'lane' AND lane = 'webhook' AND attempts = 0";
    assert_eq!(stage.rows(put_off).await, 1);
    assert!(stage.claim(None, &[]).await.is_empty(), "nobody else passes by it");
    assert!(stage.claim(Some(GatewayKind::Apns), &[]).await.is_empty());
    let claims = stage.claim(Some(GatewayKind::Webhook), &[]).await;
    assert!(matches!(claims[..], [Claim::Push(_)]), "{claims:?}");
    assert_eq!(stage.rows("SELECT COUNT(*) AS n FROM wake WHERE lane = '' AND put_off IS NULL").await, 1);
    assert!(stage.claim(Some(GatewayKind::Webhook), &[]).await.is_empty());
}

async fn a_wake_that_waits_is_free_once_something_happens(scratch: Scratch) {
    let stage = Stage::with_phone(scratch).await;
    stage.open(stage.wake(WakeReason::PaymentSettled, 1, HOUR)).await;
    stage.claim(None, FULL).await;
    let now = stage.clock.now_unix();
    let rearmed = stage
        .db
        .database
        .submit("test_rearm", move |tx| Box::pin(async move { wakes::rearm(tx, public(PHONE), now).await }));
    rearmed.await.unwrap();
    assert_eq!(stage.dispatch().await, 1, "it may have a device elsewhere now");

    stage.clock.advance(HOUR / 2);
    stage.claim(None, FULL).await;
    stage.acknowledge().await;
    let due =
        stage.db.database.submit("test_next_due", move |tx| Box::pin(async move { next_due(tx, now).await }));
    assert_eq!(due.await.unwrap(), Some(now + HOUR / 2 + 60), "the phone came and went");
}

async fn a_batch_pushes_a_phone_once_for_one_reason(scratch: Scratch) {
    let stage = Stage::with_phone(scratch).await;
    for group in [1, 2] {
        stage.open(stage.wake(WakeReason::PaymentIncoming, group, HOUR)).await;
    }
    stage.open(stage.wake(WakeReason::PaymentSettled, 1, HOUR)).await;
    let claims = stage.claim(None, &[]).await;
    assert!(matches!(claims[..], [Claim::Push(_), Claim::Again, Claim::Push(_)]), "{claims:?}");
    let claims = stage.claim(None, &[]).await;
    assert!(matches!(claims[..], [Claim::Later(_)]), "the cooldown counts the first: {claims:?}");
}

async fn a_wake_whose_time_is_over_is_closed_by_who_finds_it(scratch: Scratch) {
    let stage = Stage::with_phone(scratch).await;
    stage.open(stage.wake(WakeReason::PaymentSettled, 1, 20)).await;
    stage.clock.advance(20);
    let claims = stage.claim(None, &[]).await;
    assert!(matches!(claims[..], [Claim::Over]), "{claims:?}");
    assert_eq!(stage.rows("SELECT COUNT(*) AS n FROM wake WHERE state = 'expired'").await, 1);
    assert!(stage.claim(None, &[]).await.is_empty());
}

async fn a_row_that_cannot_be_read_is_put_off_and_the_batch_goes_on(scratch: Scratch) {
    let stage = Stage::with_phone(scratch).await;
    for phone in 1..=3 {
        stage.db.register(phone, &stage.receiver.url()).await;
        let wake = stage.wake(WakeReason::PaymentSettled, phone, HOUR);
        stage.open(NewWake { node_id: public(phone), ..wake }).await;
    }
    let broken = stage.db.database.submit("test_break", |tx| {
        Box::pin(async move {
            tx.execute("UPDATE wake SET reason = 'whim' WHERE id = 2", &values![]).await?;
            Ok::<_, StoreError>(())
        })
    });
    broken.await.unwrap();
    let claims = stage.claim(None, &[]).await;
    assert!(matches!(claims[1], Claim::Damaged { id: 2, .. }), "{claims:?}");
    assert_eq!([node_of(&claims[0]), node_of(&claims[2])], [1, 3].map(|phone| Some(public(phone))));
    assert!(stage.claim(None, &[]).await.is_empty(), "it is put off");
}

/// A provider that answers when it is told to.
#[derive(Default)]
struct Held {
    asked_for: Mutex<Vec<u64>>,
    answer: Notify,
}

impl PushGateway for Held {
    fn kind(&self) -> GatewayKind {
        GatewayKind::Webhook
    }

    fn check(&self, _target: &PushTarget) -> Result<(), TargetError> {
        Ok(())
    }

    fn push<'a>(&'a self, _device: &'a PushTarget, push: &'a Push) -> BoxFuture<'a, Verdict> {
        self.asked_for.lock().unwrap().push(push.expires_at());
        async {
            self.answer.notified().await;
            Verdict::Accepted
        }
        .boxed()
    }
}

/// Three wakes are claimed, and one place is there for them.
async fn a_push_that_waited_for_its_place_until_its_time_was_over_is_not_sent(scratch: Scratch) {
    let stage = Stage::with_phone(scratch).await;
    let provider = Arc::<Held>::default();
    let settings = WakeSettings {
        limits: WakeLimits::default(),
        in_flight_per_gateway_max: 1,
        collapse_key: [3; 32],
        tokens: token_keys(),
    };
    let gateways: Vec<Arc<dyn PushGateway>> = vec![provider.clone()];
    let (database, node, clock) = (stage.db.database.clone(), stage.node.clone(), stage.clock.clone());
    let waker = Waker::with_settings(database, node, gateways, settings, clock);
    for (phone, seconds) in [(1, 100), (2, 60), (3, 61)] {
        stage.db.register(phone, &stage.receiver.url()).await;
        let wake = stage.wake(WakeReason::PaymentSettled, phone, seconds);
        stage.open(NewWake { node_id: public(phone), ..wake }).await;
    }
    let mut in_flight = InFlight::new(&waker);
    waker.claim_due(START, 8, &mut in_flight).await.unwrap();
    in_flight.catch_up().await;
    let asked_for = || provider.asked_for.lock().unwrap().clone();
    assert_eq!((in_flight.len(), asked_for()), (3, vec![START + 100]));
    stage.clock.advance(60);
    // For the first, and for whoever comes next.
    provider.answer.notify_one();
    while asked_for().len() < 2 {
        in_flight.next().await.unwrap();
    }
    provider.answer.notify_one();
    while in_flight.next().await.is_some() {}
    assert_eq!(
        asked_for(),
        [START + 100, START + 61],
        "the second had no second left, and the third has one"
    );
    let said = "SELECT COUNT(*) AS n FROM wake_attempt JOIN wake ON wake.id = wake_attempt.wake \
                WHERE expires_at = 1800000060 AND verdict = 'retry' AND why LIKE 'its time was over%'";
    assert_eq!(stage.rows(said).await, 1);
    assert_eq!(stage.rows("SELECT COUNT(*) AS n FROM wake_attempt WHERE verdict = 'accepted'").await, 2);
}
