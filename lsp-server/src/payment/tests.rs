//! The bounds of what is held, at, below and above each, where they are kept: in the writer, on a real database.

mod damaged;
mod driving;

use std::collections::HashSet;
use std::sync::Arc;

use ::node::{Channel, ChannelCarry, NodeError, PendingInboundHtlc, ReplyTo, SleepingHtlc};
use bitcoin::secp256k1::PublicKey;
use futures::future::BoxFuture;
use lightning::ln::channelmanager::InterceptId;
use lightning::ln::types::ChannelId;
use lightning_types::payment::PaymentHash;
use protocol::hold::{FailCause, HoldEvent, HoldTerms, Part, PartState};
use protocol::ids::PidHash;
use protocol::units::{BlockHeight, Msat};
use protocol::wire::Message;
use storage::Tx;

use super::intercepted::{Held, admit};
use super::requests::{Grant, grant_in};
use super::step::{StepContext, Stepped, step_in};
use super::*;
use crate::limits::ServerLimit;
use crate::store::{StoreError, holds, parts, retention};
use crate::testing::{START, TestDatabase, public};

/// What handles a node's events, on a node without channels.
pub(crate) fn bare_parts(db: &TestDatabase) -> (Arc<Payments>, Arc<Mailbox>, Arc<Waker>) {
    driving::parts_of(db, PaymentLimits::default(), Arc::default())
}

const HEIGHT: BlockHeight = BlockHeight(100);
const DEADLINE: BlockHeight = BlockHeight(200);
const DAY: u64 = 24 * 3_600;

/// The one way out: whose channel, and which.
const NEXT_HOP: (fn() -> PublicKey, ChannelId) = (|| public(77), ChannelId([77; 32]));

/// A node at a height, with the HTLCs that it is given. It remembers what it lets go.
#[derive(Default)]
struct BareNode {
    inbound: Mutex<Vec<(PublicKey, PendingInboundHtlc)>>,
    /// How many more looks find the one way out usable, if there is one.
    usable_looks: Mutex<Option<u32>>,
    /// What fits on it.
    room: Mutex<Msat>,
    forwarded: Mutex<Vec<InterceptId>>,
}

impl PaymentNode for BareNode {
    fn node_id(&self) -> PublicKey {
        public(99)
    }

    fn height(&self) -> BlockHeight {
        HEIGHT
    }

    fn is_connected(&self, _peer: PublicKey) -> bool {
        false
    }

    fn channels_with(&self, peer: PublicKey) -> Vec<Channel> {
        let next_hop = lock(&self.usable_looks).filter(|_| peer == NEXT_HOP.0());
        let channel = next_hop.map(|_| Channel {
            channel_id: NEXT_HOP.1,
            peer,
            funding: None,
            short_channel_id: Some(1),
            capacity_sat: 0,
            balance: Msat(0),
            outbound_capacity: Msat(0),
            inbound_capacity: Msat(0),
            is_usable: false,
            is_ready: true,
            is_announced: false,
            is_shutting_down: false,
            pending_inbound_htlcs: 0,
            pending_outbound_htlcs: 0,
        });
        channel.into_iter().collect()
    }

    fn peer_of_channel(&self, channel_id: ChannelId) -> Option<PublicKey> {
        let inbound = lock(&self.inbound);
        inbound.iter().find(|(_, htlc)| htlc.channel_id == channel_id).map(|(peer, _)| *peer)
    }

    fn pending_inbound_htlcs(&self, peer: PublicKey) -> Vec<PendingInboundHtlc> {
        let inbound = lock(&self.inbound);
        inbound.iter().filter(|(from, _)| *from == peer).map(|(_, htlc)| *htlc).collect()
    }

    fn sleeping_htlcs(&self) -> Vec<SleepingHtlc> {
        Vec::new()
    }

    fn carry(&self, _scid: u64) -> Option<ChannelCarry> {
        let mut usable_looks = lock(&self.usable_looks);
        let left = usable_looks.as_mut()?;
        let is_usable = *left > 0;
        *left = left.saturating_sub(1);
        Some(ChannelCarry {
            channel_id: NEXT_HOP.1,
            peer: NEXT_HOP.0(),
            is_usable,
            next_htlc_max: *lock(&self.room),
            next_htlc_min: Msat(1),
            pending_outbound_htlcs: 0,
        })
    }

    fn resolve_scid(&self, _scid: u64) -> Option<(PublicKey, ChannelId)> {
        lock(&self.usable_looks).map(|_| (NEXT_HOP.0(), NEXT_HOP.1))
    }

    fn forward_intercepted(&self, id: InterceptId, _scid: u64, _amount: Msat) -> Result<(), NodeError> {
        lock(&self.forwarded).push(id);
        Ok(())
    }

    fn fail_intercepted(&self, _id: InterceptId) -> Result<(), NodeError> {
        Ok(())
    }

    fn flush_forwards(&self) {}

    fn reply(&self, _to: ReplyTo, _message: Message) -> Result<(), NodeError> {
        Ok(())
    }

    fn forward_onion(&self, _message: &[u8], _peer: PublicKey) -> Result<(), NodeError> {
        Ok(())
    }

    fn connect_announced(&self, _node_id: PublicKey) -> BoxFuture<'_, Result<(), NodeError>> {
        Box::pin(async { Ok(()) })
    }
}

fn context() -> StepContext {
    StepContext { node: Arc::<BareNode>::default(), routes: Arc::default(), now_unix: START }
}

async fn in_writer<T: Send + 'static>(
    db: &TestDatabase,
    body: impl for<'a> FnOnce(&'a mut Tx) -> BoxFuture<'a, Result<T, StoreError>> + Send + 'static,
) -> T {
    db.database.submit("test", body).await.unwrap()
}

/// A hold of a payer on a hash of its own, named by one byte.
async fn grant(db: &TestDatabase, limits: &PaymentLimits, payer: u8, pid: u8) -> Grant {
    let limits = limits.clone();
    let terms = HoldTerms {
        payer: public(payer),
        pid_hash: PidHash([pid; 32]),
        payment_hashes: vec![PaymentHash([pid; 32])],
        deadline: DEADLINE,
    };
    in_writer(db, move |tx| Box::pin(async move { grant_in(tx, &limits, &terms, DEADLINE, START).await }))
        .await
}

async fn cancel(db: &TestDatabase, payer: u8, pid: u8) {
    in_writer(db, move |tx| {
        Box::pin(async move {
            let row = holds::find(tx, public(payer), PidHash([pid; 32])).await?.unwrap();
            step_in(tx, &context(), row.hold_id, HoldEvent::Cancelled).await
        })
    })
    .await
    .unwrap();
}

/// The bound that refused, if one did.
fn limit_of(grant: &Grant) -> Option<ServerLimit> {
    grant.as_ref().err().map(|refusal| refusal.limit.unwrap())
}

#[tokio::test]
async fn each_bound_of_holds_is_kept_at_below_and_above() {
    let wide = PaymentLimits::default();
    let cases = [
        // Two of one payer; another's are not counted.
        (
            PaymentLimits { holds_per_peer_max: 2, ..wide.clone() },
            vec![(1, 1), (2, 2), (1, 3)],
            (1, 4),
            ServerLimit::HoldsPerPeer,
        ),
        // Three in all, whoever's.
        (
            PaymentLimits { holds_max: 3, ..wide.clone() },
            vec![(1, 1), (2, 2), (3, 3)],
            (4, 4),
            ServerLimit::Holds,
        ),
        // Two of one payer remembered.
        (
            PaymentLimits { holds_kept_per_peer_max: 2, ..wide },
            vec![(1, 1), (2, 2), (1, 3)],
            (1, 4),
            ServerLimit::HoldsKeptPerPeer,
        ),
    ];
    for (limits, granted, refused, limit) in cases {
        let db = TestDatabase::new().await;
        for (payer, pid) in &granted {
            assert_eq!(grant(&db, &limits, *payer, *pid).await, Ok(DEADLINE), "{limit:?}: {payer} {pid}");
        }
        for _ in 0..2 {
            assert_eq!(limit_of(&grant(&db, &limits, refused.0, refused.1).await), Some(limit));
        }
        // Nothing of what was granted is lost for it: the same request has the same answer.
        for (payer, pid) in &granted {
            assert_eq!(grant(&db, &limits, *payer, *pid).await, Ok(DEADLINE), "{limit:?}: {payer} {pid}");
        }
        assert_eq!(db.number("SELECT COUNT(*) AS n FROM hold").await, granted.len() as i64);

        // Room comes back when one ends, except among those that are remembered.
        cancel(&db, 1, 1).await;
        let again = grant(&db, &limits, refused.0, refused.1).await;
        match limit {
            ServerLimit::HoldsKeptPerPeer => assert_eq!(limit_of(&again), Some(limit)),
            _ => assert_eq!(again, Ok(DEADLINE)),
        }
    }
}

fn htlc(id: u8, payer: u8, pid: u8, msat: u64) -> Held {
    let part = Part {
        intercept_id: InterceptId([id; 32]),
        payment_hash: PaymentHash([pid; 32]),
        inbound_channel_id: ChannelId([payer; 32]),
        inbound_htlc_id: id.into(),
        inbound_amount: Msat(msat),
        outbound_amount: Msat(msat),
        inbound_expiry: Some(BlockHeight(600)),
        outgoing_expiry: BlockHeight(400),
        next_hop_scid: 1,
        state: PartState::Held,
    };
    // The row's id is the pid's byte: holds are granted in that order.
    Held { hold_id: pid.into(), payer: public(payer), pid_hash: PidHash([pid; 32]), part }
}

async fn intercept(db: &TestDatabase, limits: &PaymentLimits, held: Held) -> Stepped {
    let limits = limits.clone();
    let stepped =
        in_writer(db, move |tx| Box::pin(async move { admit(tx, &context(), &limits, held).await })).await;
    stepped.unwrap()
}

#[tokio::test]
async fn each_bound_of_held_htlcs_is_kept_at_below_and_above() {
    let wide = PaymentLimits { hold_part_min: Msat(1_000), ..PaymentLimits::default() };
    // (payer, msat) of those that are held, and of the one that is not; payer 1 has hold 1, payer 2 hold 2.
    let cases = [
        (
            wide.clone(),
            vec![(1, 1_001), (1, 1_000)],
            (1, 999),
            ServerLimit::HoldPartMsat,
            FailCause::TooSmall,
        ),
        (
            PaymentLimits { held_htlcs_per_peer_max: 2, ..wide.clone() },
            vec![(1, 5_000), (2, 5_000), (1, 5_000)],
            (1, 5_000),
            ServerLimit::HeldHtlcsPerPeer,
            FailCause::OverLimit,
        ),
        (
            PaymentLimits { held_per_peer_max: Msat(10_000), ..wide.clone() },
            vec![(1, 4_000), (2, 9_000), (1, 5_000), (1, 1_000)],
            (1, 1_000),
            ServerLimit::HeldMsatPerPeer,
            FailCause::OverLimit,
        ),
        (
            PaymentLimits { held_per_peer_max: Msat(10_000), ..wide.clone() },
            vec![(1, 4_000)],
            (1, 6_001),
            ServerLimit::HeldMsatPerPeer,
            FailCause::OverLimit,
        ),
        (
            PaymentLimits { held_htlcs_max: 3, ..wide.clone() },
            vec![(1, 5_000), (2, 5_000), (1, 5_000)],
            (2, 5_000),
            ServerLimit::HeldHtlcs,
            FailCause::OverLimit,
        ),
        (
            PaymentLimits { held_max: Msat(10_000), ..wide },
            vec![(1, 4_000), (2, 6_000)],
            (2, 1_000),
            ServerLimit::HeldMsat,
            FailCause::OverLimit,
        ),
    ];
    for (limits, held, refused, limit, cause) in cases {
        let db = TestDatabase::new().await;
        for payer in [1, 2] {
            assert_eq!(grant(&db, &limits, payer, payer).await, Ok(DEADLINE));
        }
        for (id, (payer, msat)) in (1..).zip(&held) {
            let stepped = intercept(&db, &limits, htlc(id, *payer, *payer, *msat)).await;
            assert_eq!((stepped.over, stepped.fail.len()), (None, 0), "{limit:?}: {payer} {msat}");
        }
        let before = in_writer(&db, |tx| Box::pin(async move { Ok(parts::held_in_all(tx).await?) })).await;
        let sum: u64 = held.iter().map(|(_, msat)| msat).sum();
        assert_eq!((before.htlcs, before.msat), (held.len() as u64, sum));

        let stepped = intercept(&db, &limits, htlc(100, refused.0, refused.0, refused.1)).await;
        assert_eq!(stepped.over, Some(limit));
        let failed: Vec<_> = stepped.fail.iter().map(|(part, cause)| (part.intercept_id, *cause)).collect();
        assert_eq!(failed, [(InterceptId([100; 32]), cause)], "it alone is failed");
        let after = in_writer(&db, |tx| Box::pin(async move { Ok(parts::held_in_all(tx).await?) })).await;
        assert_eq!(after, before, "{limit:?}: what is held stays held");

        // LDK tells again at every start of what is held: it is not judged again.
        let (payer, msat) = held[0];
        let again = intercept(&db, &limits, htlc(1, payer, payer, msat)).await;
        assert_eq!((again.over, again.fail.len()), (None, 0));
    }
}

#[tokio::test]
async fn a_hold_takes_only_so_many_htlcs_one_after_the_other() {
    let db = TestDatabase::new().await;
    let limits =
        PaymentLimits { parts_per_hold_max: 2, hold_part_min: Msat(1_000), ..PaymentLimits::default() };
    grant(&db, &limits, 1, 1).await.unwrap();
    // One that is failed counts: its row is what is bounded.
    assert_eq!(intercept(&db, &limits, htlc(1, 1, 1, 999)).await.over, Some(ServerLimit::HoldPartMsat));
    assert_eq!(intercept(&db, &limits, htlc(2, 1, 1, 5_000)).await.over, None);
    for id in [3, 4] {
        let stepped = intercept(&db, &limits, htlc(id, 1, 1, 5_000)).await;
        assert_eq!(stepped.over, Some(ServerLimit::PartsPerHold));
        let failed: Vec<_> = stepped.fail.iter().map(|(part, cause)| (part.intercept_id, *cause)).collect();
        assert_eq!(failed, [(InterceptId([id; 32]), FailCause::OverLimit)]);
    }
    assert_eq!(db.number("SELECT COUNT(*) AS n FROM hold_part").await, 2);
    assert_eq!(intercept(&db, &limits, htlc(2, 1, 1, 5_000)).await.over, None, "told again");
}

#[tokio::test]
async fn what_is_on_its_way_is_not_held_again() {
    let db = TestDatabase::new().await;
    let limits = PaymentLimits { hold_part_min: Msat(1_000), ..PaymentLimits::default() };
    grant(&db, &limits, 1, 1).await.unwrap();
    let told = async |context: &StepContext| {
        let (context, limits) = (context.clone(), limits.clone());
        let admitted = in_writer(&db, move |tx| {
            Box::pin(async move { admit(tx, &context, &limits, htlc(1, 1, 1, 5_000)).await })
        });
        admitted.await.is_some()
    };
    let context = context();
    assert!(told(&context).await);
    let id = InterceptId([1; 32]);
    lock(&context.routes).release(&[id]);
    assert!(!told(&context).await);
    lock(&context.routes).take_back(id);
    assert!(told(&context).await);
}

#[tokio::test]
async fn what_is_over_is_forgotten_in_time_and_nothing_else() {
    let db = TestDatabase::new().await;
    let limits = PaymentLimits { hold_part_min: Msat(1_000), ..PaymentLimits::default() };
    for pid in 1..=4 {
        grant(&db, &limits, 1, pid).await.unwrap();
    }
    // 1 ended with nothing on a channel, 2 with an HTLC that is not off it yet, 3 is live, 4 ended too.
    intercept(&db, &limits, htlc(2, 1, 2, 5_000)).await;
    for pid in [1, 2, 4] {
        cancel(&db, 1, pid).await;
    }
    let forget = |days: u64, height: u32, limit: u32| {
        let before_unix = (START + 90 * DAY + 1).saturating_sub(days * DAY);
        in_writer(&db, move |tx| {
            Box::pin(async move {
                Ok(retention::forget_ended_holds(tx, before_unix, BlockHeight(height), limit).await?)
            })
        })
    };
    let height = DEADLINE.0;
    assert_eq!(forget(91, height, 10).await, 0, "too early");
    assert_eq!(forget(90, height - 1, 10).await, 0, "it could be asked for, and granted, again");
    assert_eq!(forget(90, height, 1).await, 1, "a bounded number at a time");
    assert_eq!(forget(90, height, 10).await, 1);
    assert_eq!(forget(0, height, 10).await, 0);
    let left = in_writer(&db, |tx| Box::pin(async move { holds::newest(tx, 10).await })).await;
    let left: HashSet<_> = left.iter().map(|row| row.hold.group().terms.pid_hash).collect();
    assert_eq!(left, HashSet::from([PidHash([2; 32]), PidHash([3; 32])]));
    assert_eq!(db.number("SELECT COUNT(*) AS n FROM hold_hash").await, 2);

    // Off its channel, the second goes as well.
    in_writer(&db, |tx| {
        Box::pin(async move {
            let off = HoldEvent::PartOffChannel { id: InterceptId([2; 32]), settled: false };
            step_in(tx, &context(), 2, off).await
        })
    })
    .await
    .unwrap();
    assert_eq!(forget(0, height, 10).await, 1);
    assert_eq!(db.number("SELECT COUNT(*) AS n FROM hold_part").await, 0);
    assert_eq!(grant(&db, &limits, 1, 3).await, Ok(DEADLINE), "the live one has its grant");
}
