//! The bounds that the driver keeps in memory.

use ::node::ForwardedOnion;
use protocol::ids::Pid;
use protocol::mailbox::MailboxLimits;

use super::*;
use crate::testing::{FakeNode, TestClock, token_keys};

fn driver(db: &TestDatabase, limits: PaymentLimits) -> Arc<Payments> {
    driver_of(db, limits, Arc::default())
}

pub(super) fn driver_of(db: &TestDatabase, limits: PaymentLimits, bare: Arc<BareNode>) -> Arc<Payments> {
    parts_of(db, limits, bare).0
}

/// A driver, and what it works with.
pub(super) fn parts_of(
    db: &TestDatabase,
    limits: PaymentLimits,
    bare: Arc<BareNode>,
) -> (Arc<Payments>, Arc<Mailbox>, Arc<Waker>) {
    let (node, clock) = (FakeNode::new(), TestClock::new());
    let waker = Waker::new(db.database.clone(), node.clone(), Vec::new(), token_keys(), clock.clone());
    let mailbox = Mailbox::new(
        db.database.clone(),
        node,
        waker.clone(),
        MailboxLimits::default(),
        clock.clone(),
        Tasks::default(),
    );
    let database = db.database.clone();
    let tasks = Tasks::default();
    (Payments::new(bare, database, waker.clone(), mailbox.clone(), clock, tasks, limits), mailbox, waker)
}

#[tokio::test]
async fn so_many_htlcs_wait_for_one_payee_and_in_all() {
    let db = TestDatabase::new().await;
    let limits =
        PaymentLimits { payee_waits_max: 3, payee_waits_per_payee_max: 2, ..PaymentLimits::default() };
    let payments = driver(&db, limits);
    let place = |payee| payments.place_for(public(payee));
    let first = place(1).ok().unwrap();
    let _second = place(1).ok().unwrap();
    assert_eq!(place(1).err(), Some(ServerLimit::WaitingHtlcsPerPayee));
    let _of_another = place(2).ok().unwrap();
    assert_eq!(place(3).err(), Some(ServerLimit::WaitingHtlcs));
    drop(first);
    let _third = place(3).ok().unwrap();
    assert_eq!(place(1).err(), Some(ServerLimit::WaitingHtlcs));
    assert_eq!(lock(&payments.payees).len(), 3, "as many as have any");
}

fn passing(payment_unblock: Option<Pid>, outgoing: Option<Vec<u8>>, pid_hash: PidHash) -> ForwardedOnion {
    ForwardedOnion {
        previous_hop: public(7),
        payment_unblock,
        payment_pending_for: outgoing.is_some().then_some(pid_hash),
        next_hop: Some(public(2)),
        outgoing,
    }
}

#[tokio::test]
async fn a_payment_pending_is_kept_up_to_its_bound() {
    let db = TestDatabase::new().await;
    let limits = PaymentLimits { pending_bytes_max: 100, ..PaymentLimits::default() };
    grant(&db, &limits, 1, 1).await.unwrap();
    let payments = driver(&db, limits);
    let kept = "SELECT COALESCE(MAX(LENGTH(message)), 0) AS n FROM pending_message";
    for (bytes, longest) in [(101, 0), (99, 99), (100, 100), (101, 100)] {
        payments.on_forwarding(passing(None, Some(vec![0; bytes]), PidHash([1; 32])));
        assert_eq!(db.number(kept).await, longest, "{bytes} bytes");
    }
}

#[tokio::test]
async fn so_many_unblocks_are_looked_up_at_once_and_a_repeat_does_what_a_dropped_one_did_not() {
    let db = TestDatabase::new().await;
    let limits = PaymentLimits::default();
    let pid = Pid([9; 32]);
    let terms = HoldTerms {
        payer: public(1),
        pid_hash: pid.hash(),
        payment_hashes: vec![PaymentHash([1; 32])],
        deadline: DEADLINE,
    };
    let granting = limits.clone();
    in_writer(&db, move |tx| Box::pin(async move { grant_in(tx, &granting, &terms, DEADLINE, START).await }))
        .await
        .unwrap();
    let payments = driver(&db, limits);
    let state = "SELECT COUNT(*) AS n FROM hold WHERE state = 'unblocked'";

    let mut places = payments.unblocks.clone().acquire_many_owned(UNBLOCKS_MAX as u32).await.unwrap();
    payments.on_forwarding(passing(Some(pid), None, pid.hash()));
    payments.tasks.running().wait_for(|running| *running == 0).await.unwrap();
    assert_eq!(db.number(state).await, 0, "one more than are looked up at once");
    drop(places.split(1));
    // A guess takes the last place, and gives it back.
    payments.on_forwarding(passing(Some(Pid([8; 32])), None, pid.hash()));
    payments.tasks.running().wait_for(|running| *running == 0).await.unwrap();
    assert_eq!(db.number(state).await, 0, "nobody guesses it");
    payments.on_forwarding(passing(Some(pid), None, pid.hash()));
    payments.tasks.running().wait_for(|running| *running == 0).await.unwrap();
    assert_eq!(db.number(state).await, 1);
}
