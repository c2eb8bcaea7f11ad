//! What the driver does beside the database: its bounds in memory, and what it tells LDK.

use ::node::{ForwardedOnion, InterceptedHtlc, PendingState};
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

pub(super) fn intercepted(id: u8, hash: u8) -> InterceptedHtlc {
    InterceptedHtlc {
        intercept_id: InterceptId([id; 32]),
        payment_hash: PaymentHash([hash; 32]),
        next_hop_scid: 1,
        inbound_amount: Msat(5_000_000),
        outbound_amount: Msat(5_000_000),
        outgoing_expiry: BlockHeight(400),
    }
}

/// A node to which each of these peers offers HTLCs, by their bytes.
pub(super) fn offered(htlcs: &[(u8, u8, u8)]) -> Arc<BareNode> {
    let node = BareNode::default();
    for (peer, id, hash) in htlcs {
        let htlc = PendingInboundHtlc {
            intercept_id: InterceptId([*id; 32]),
            channel_id: ChannelId([*peer; 32]),
            htlc_id: (*id).into(),
            payment_hash: PaymentHash([*hash; 32]),
            amount: Msat(5_000_000),
            expiry: BlockHeight(600),
            state: PendingState::Committed,
            channel_is_shutting_down: false,
        };
        lock(&node.inbound).push((public(*peer), htlc));
    }
    Arc::new(node)
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

/// A hold of payer 1 on hash 1, which this pid releases.
async fn grant_for(db: &TestDatabase, limits: &PaymentLimits, pid: Pid) {
    let limits = limits.clone();
    let terms = HoldTerms {
        payer: public(1),
        pid_hash: pid.hash(),
        payment_hashes: vec![PaymentHash([1; 32])],
        deadline: DEADLINE,
    };
    in_writer(db, move |tx| Box::pin(async move { grant_in(tx, &limits, &terms, DEADLINE, START).await }))
        .await
        .unwrap();
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
    grant_for(&db, &limits, pid).await;
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

/// The next hop leaves between the decision, or its commit, and the forward. LDK would take it, and fail it.
#[tokio::test]
async fn a_next_hop_that_leaves_before_the_release_has_it_when_it_is_back() {
    let db = TestDatabase::new().await;
    let limits = PaymentLimits::default();
    let pid = Pid([9; 32]);
    grant_for(&db, &limits, pid).await;
    let node = offered(&[(1, 1, 1), (1, 2, 1)]);
    let payments = driver_of(&db, limits, node.clone());
    let idle = async || drop(payments.tasks.running().wait_for(|running| *running == 0).await.unwrap());
    for id in [1, 2] {
        payments.on_intercepted(intercepted(id, 1)).await.unwrap();
        idle().await;
    }
    let held = "SELECT COUNT(*) AS n FROM hold_part WHERE state = 'held'";

    // A look for each part decides; the next one is before LDK is told. There is room for these two, and nothing more.
    *lock(&node.room) = Msat(10_000_000);
    *lock(&node.usable_looks) = Some(2);
    assert!(payments.unblock(pid).await.unwrap());
    idle().await;
    assert_eq!(*lock(&node.forwarded), []);
    assert_eq!(db.number(held).await, 2);

    // It is called, while it could be paid.
    let called = "SELECT COUNT(*) AS n FROM wake WHERE state = 'open' AND reason = 'payment_incoming'";
    for (room, wakes) in [(9_999_999, 0), (10_000_000, 1), (9_999_999, 0)] {
        *lock(&node.room) = Msat(room);
        payments.wake_sleepers().await.unwrap();
        assert_eq!(db.number(called).await, wakes, "{room}");
    }

    *lock(&node.room) = Msat(10_000_000);
    *lock(&node.usable_looks) = Some(u32::MAX);
    payments.reconcile_moving().await.unwrap();
    idle().await;
    assert_eq!(*lock(&node.forwarded), [InterceptId([1; 32]), InterceptId([2; 32])]);
    assert_eq!(db.number(held).await, 0);
}
