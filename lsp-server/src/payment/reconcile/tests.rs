use std::collections::HashMap as Map;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use futures::future::BoxFuture;
use lightning_types::payment::PaymentHash;
use node::{Channel, ChannelCarry, NodeError, ReplyTo, SleepingHtlc, UnresolvedHtlcs};
use protocol::hold::{FailCause, HoldStateTag, HoldTerms};
use protocol::ids::PidHash;
use protocol::mailbox::MailboxLimits;
use protocol::units::Msat;
use protocol::wire::Message;
use storage::{Database, StorageError, values};

use super::*;
use crate::mailbox::Mailbox;
use crate::payment::{PaymentLimits, PaymentNode};
use crate::tasks::Tasks;
use crate::testing::{FakeNode, START, TestClock, TestDatabase, public, token_keys};
use crate::wake::Waker;

const HEIGHT: u32 = 100;

/// LDK's list, as a test wants it, and what it was told to fail.
#[derive(Default)]
struct Listing {
    height: AtomicU32,
    htlcs: Mutex<Map<PublicKey, Vec<PendingInboundHtlc>>>,
    outbound: Mutex<HashSet<PaymentHash>>,
    intercepted: Mutex<HashSet<InterceptId>>,
    failed: Mutex<Vec<InterceptId>>,
}

fn refused(action: &'static str) -> NodeError {
    NodeError::Refused { action, reason: "no such HTLC".to_owned() }
}

impl PaymentNode for Listing {
    fn node_id(&self) -> PublicKey {
        public(99)
    }

    fn height(&self) -> BlockHeight {
        BlockHeight(self.height.load(Ordering::Relaxed))
    }

    fn is_connected(&self, _: PublicKey) -> bool {
        false
    }

    fn channels_with(&self, peer: PublicKey) -> Vec<Channel> {
        vec![Channel {
            channel_id: ChannelId([9; 32]),
            peer,
            funding: None,
            short_channel_id: None,
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
        }]
    }

    fn peer_of_channel(&self, _: ChannelId) -> Option<PublicKey> {
        None
    }

    fn pending_inbound_htlcs(&self, peer: PublicKey) -> Vec<PendingInboundHtlc> {
        self.htlcs.lock().unwrap().get(&peer).cloned().unwrap_or_default()
    }

    fn unresolved_htlcs(&self) -> UnresolvedHtlcs {
        let htlcs = self.htlcs.lock().unwrap();
        let inbound = htlcs.iter().flat_map(|(peer, htlcs)| htlcs.iter().map(|htlc| (*peer, *htlc)));
        UnresolvedHtlcs { inbound: inbound.collect(), outbound: self.outbound.lock().unwrap().clone() }
    }

    fn sleeping_htlcs(&self) -> Vec<SleepingHtlc> {
        Vec::new()
    }

    fn carry(&self, _: u64) -> Option<ChannelCarry> {
        None
    }

    fn resolve_scid(&self, _: u64) -> Option<(PublicKey, ChannelId)> {
        None
    }

    fn forward_intercepted(&self, _: InterceptId, _: u64, _: Msat) -> Result<(), NodeError> {
        panic!("nothing is released here")
    }

    fn fail_intercepted(&self, id: InterceptId) -> Result<(), NodeError> {
        if !self.intercepted.lock().unwrap().remove(&id) {
            return Err(refused("failing"));
        }
        self.failed.lock().unwrap().push(id);
        Ok(())
    }

    fn flush_forwards(&self) {}

    fn reply(&self, _: ReplyTo, _: Message) -> Result<(), NodeError> {
        Err(refused("answering"))
    }

    fn forward_onion(&self, _: &[u8], _: PublicKey) -> Result<(), NodeError> {
        Err(refused("forwarding"))
    }

    fn connect_announced(&self, _: PublicKey) -> BoxFuture<'_, Result<(), NodeError>> {
        Box::pin(async { Err(refused("connecting")) })
    }
}

struct Bench {
    database: TestDatabase,
    node: Arc<Listing>,
    payments: Arc<Payments>,
    tasks: Tasks,
    clock: Arc<TestClock>,
}

impl Bench {
    async fn new() -> Self {
        let database = TestDatabase::new().await;
        let node = Arc::new(Listing { height: AtomicU32::new(HEIGHT), ..Listing::default() });
        let (clock, tasks, phones) = (TestClock::new(), Tasks::default(), FakeNode::new());
        let waker =
            Waker::new(database.database.clone(), phones.clone(), Vec::new(), token_keys(), clock.clone());
        let mailbox = Mailbox::new(
            database.database.clone(),
            phones,
            waker.clone(),
            MailboxLimits::default(),
            clock.clone(),
            tasks.clone(),
        );
        let limits = PaymentLimits {
            held_per_peer_max: Msat(u64::MAX),
            hold_part_min: Msat(1),
            ..PaymentLimits::default()
        };
        let db = database.database.clone();
        let payments = Payments::new(node.clone(), db, waker, mailbox, clock.clone(), tasks.clone(), limits);
        Self { database, node, payments, tasks, clock }
    }

    /// A full pass ten seconds after the last one, and all that follows from it.
    async fn pass(&self) {
        self.clock.advance(10);
        self.payments.reconcile().await.unwrap();
        self.tasks.running().wait_for(|running| *running == 0).await.unwrap();
    }

    async fn hold(&self, number: u32) -> HoldRow {
        let id = PidHash(bytes(number));
        self.database
            .database
            .read("hold", move |tx| Box::pin(holds::find_by_pid_hash(tx, id)))
            .await
            .unwrap()
            .remove(0)
    }

    async fn part_state(&self, number: u32) -> PartState {
        self.hold(number).await.hold.group().parts[0].state
    }

    /// The kinds found so far, with how often.
    fn found(&self) -> Vec<(String, u64)> {
        let counts = lock(&self.payments.differences).counts();
        counts.into_iter().filter(|count| count.since_start > 0).map(|c| (c.kind, c.since_start)).collect()
    }

    fn lists(&self, htlc: PendingInboundHtlc) {
        self.node.intercepted.lock().unwrap().insert(htlc.intercept_id);
        self.node.htlcs.lock().unwrap().entry(payer()).or_default().push(htlc);
    }
}

fn payer() -> PublicKey {
    public(7)
}

fn bytes(number: u32) -> [u8; 32] {
    let mut bytes = [1; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn htlc(number: u32) -> PendingInboundHtlc {
    PendingInboundHtlc {
        intercept_id: InterceptId(bytes(number)),
        channel_id: ChannelId([9; 32]),
        htlc_id: number.into(),
        payment_hash: PaymentHash(bytes(number)),
        amount: Msat(5_000),
        expiry: BlockHeight(2_000),
        state: PendingState::Committed,
        channel_is_shutting_down: false,
    }
}

/// Holds `numbers` with one part each, held, as their rows.
async fn store_held(database: &Database, numbers: std::ops::Range<u32>) {
    for batch in numbers.collect::<Vec<_>>().chunks(500) {
        let batch = batch.to_vec();
        database
            .submit("held", move |tx| {
                Box::pin(async move {
                    for number in batch {
                        let listed = htlc(number);
                        let terms = HoldTerms {
                            payer: payer(),
                            pid_hash: PidHash(bytes(number)),
                            payment_hashes: vec![listed.payment_hash],
                            deadline: BlockHeight(HEIGHT + 1_000),
                        };
                        let id = holds::insert(tx, &terms, terms.deadline, START).await?;
                        let part = Part {
                            intercept_id: listed.intercept_id,
                            payment_hash: listed.payment_hash,
                            inbound_channel_id: listed.channel_id,
                            inbound_htlc_id: listed.htlc_id,
                            inbound_amount: listed.amount,
                            outbound_amount: Msat(4_000),
                            inbound_expiry: Some(listed.expiry),
                            outgoing_expiry: BlockHeight(1_900),
                            next_hop_scid: 42,
                            state: PartState::Held,
                        };
                        parts::upsert(tx, id, 0, &part, START).await?;
                    }
                    Ok::<_, StorageError>(())
                })
            })
            .await
            .unwrap();
    }
}

async fn change(database: &Database, sql: &'static str) {
    database
        .submit("change", move |tx| Box::pin(async move { tx.execute(sql, &values![]).await }))
        .await
        .unwrap();
}

#[tokio::test]
async fn what_agrees_is_left_alone() {
    let bench = Bench::new().await;
    store_held(&bench.database.database, 0..3).await;
    (0..3).for_each(|number| bench.lists(htlc(number)));
    for _ in 0..20 {
        bench.pass().await;
    }
    assert_eq!(bench.found(), []);
    assert_eq!(bench.part_state(0).await, PartState::Held);
    assert!(bench.node.failed.lock().unwrap().is_empty());
    let check = bench.payments.check().await.unwrap();
    assert_eq!((check.live_holds, check.pending_htlcs, check.newest.len()), (3, 3, 0));
}

#[tokio::test]
async fn a_part_that_ldk_does_not_know_is_written_off_and_told() {
    let bench = Bench::new().await;
    store_held(&bench.database.database, 0..1).await;
    bench.pass().await;
    assert_eq!(bench.part_state(0).await, PartState::Held, "it may be between two of LDK's maps");
    bench.pass().await;
    assert_eq!(bench.part_state(0).await, PartState::Failed(FailCause::Vanished));
    assert_eq!(bench.found(), [("part_without_htlc".to_owned(), 1)]);
}

#[tokio::test]
async fn an_htlc_that_no_row_knows_goes_back_and_is_told_once() {
    let bench = Bench::new().await;
    let (nobodys, downstream, ldks) = (htlc(1), htlc(2), htlc(3));
    [nobodys, downstream, ldks].into_iter().for_each(|htlc| bench.lists(htlc));
    bench.node.outbound.lock().unwrap().insert(downstream.payment_hash);
    bench.node.intercepted.lock().unwrap().remove(&ldks.intercept_id);
    for _ in 0..18 {
        bench.pass().await;
    }
    assert!(bench.node.failed.lock().unwrap().is_empty(), "it may wait for its payee");
    for _ in 0..3 {
        bench.pass().await;
    }
    assert_eq!(*bench.node.failed.lock().unwrap(), [nobodys.intercept_id]);
    assert_eq!(bench.found(), [("htlc_without_part".to_owned(), 1)]);
}

#[tokio::test]
async fn a_part_that_is_not_what_ldk_has_fails_with_its_group() {
    for sql in [
        "UPDATE hold_part SET inbound_amount_msat = inbound_amount_msat + 1",
        "UPDATE hold_part SET inbound_expiry = inbound_expiry + 1",
    ] {
        let bench = Bench::new().await;
        store_held(&bench.database.database, 0..1).await;
        bench.lists(htlc(0));
        change(&bench.database.database, sql).await;
        bench.pass().await;
        assert_eq!(bench.part_state(0).await, PartState::Failing(FailCause::Contradicted));
        assert_eq!(*bench.node.failed.lock().unwrap(), [htlc(0).intercept_id]);
        assert_eq!(bench.found(), [("contents_differ".to_owned(), 1)]);
    }
}

#[tokio::test]
async fn what_ldk_did_unasked_is_told() {
    for (state, kind) in [
        (PendingState::AwaitingRemoveFail, "failed_unasked"),
        (PendingState::AwaitingRemoveFulfill, "claimed_unreleased"),
    ] {
        let bench = Bench::new().await;
        store_held(&bench.database.database, 0..1).await;
        bench.lists(PendingInboundHtlc { state, ..htlc(0) });
        bench.pass().await;
        bench.pass().await;
        assert_eq!(bench.found(), [(kind.to_owned(), 1)]);
        assert!(bench.hold(0).await.hold.group().parts[0].waits_for_payer());
    }
}

#[tokio::test]
async fn wakes_and_their_reasons_are_brought_together() {
    let bench = Bench::new().await;
    let db = &bench.database.database;
    store_held(db, 0..2).await;
    bench.lists(PendingInboundHtlc { state: PendingState::AwaitingRemoveFail, ..htlc(0) });
    bench.lists(htlc(1));
    change(db, "UPDATE hold SET state = 'failing', cause = 'cancelled' WHERE id = 1").await;
    change(db, "UPDATE hold_part SET state = 'failed_back', cause = 'cancelled' WHERE hold_id = 1").await;
    let open = "SELECT COUNT(*) AS n FROM wake WHERE state = 'open' AND reason = 'payment_failed'";
    assert_eq!(bench.database.number(open).await, 0);
    bench.pass().await;
    bench.pass().await;
    assert_eq!(bench.found(), [("reason_without_wake".to_owned(), 1)]);
    assert_eq!(bench.database.number(open).await, 1);

    let needless = "UPDATE wake SET wake_group = (SELECT pid_hash FROM hold WHERE id = 2)";
    change(db, needless).await;
    for _ in 0..4 {
        bench.pass().await;
    }
    assert!(bench.found().contains(&("wake_without_reason".to_owned(), 1)), "{:?}", bench.found());
    let ended = "SELECT COUNT(*) AS n FROM wake WHERE state = 'ended'";
    assert_eq!((bench.database.number(ended).await, bench.database.number(open).await), (1, 1));
}

/// One hold whose rows make no sense is left alone, and the others go on.
#[tokio::test]
async fn a_hold_that_cannot_be_read_keeps_no_other_from_ending() {
    let bench = Bench::new().await;
    store_held(&bench.database.database, 0..2).await;
    (0..2).for_each(|number| bench.lists(htlc(number)));
    change(&bench.database.database, "UPDATE hold_part SET state = 'lost' WHERE hold_id = 1").await;
    bench.payments.restart().await.unwrap();
    bench.node.height.store(HEIGHT + 1_000, Ordering::Relaxed);
    bench.pass().await;
    assert_eq!(bench.part_state(1).await, PartState::Failing(FailCause::Expired));
    assert_eq!(*bench.node.failed.lock().unwrap(), [htlc(1).intercept_id]);
    assert_eq!(bench.found(), [("unreadable_hold".to_owned(), 1)]);
}

/// Several blocks at once, past the deadline, and a height that goes back afterwards: it fails once, and stays failed.
#[tokio::test]
async fn the_deadline_is_met_by_whatever_height_comes_after_it() {
    let bench = Bench::new().await;
    store_held(&bench.database.database, 0..1).await;
    bench.lists(htlc(0));
    bench.node.height.store(HEIGHT + 997, Ordering::Relaxed);
    bench.pass().await;
    let woken = "SELECT COUNT(*) AS n FROM wake WHERE state = 'open' AND reason = 'expiry_soon'";
    assert_eq!(bench.database.number(woken).await, 0);
    bench.node.height.store(HEIGHT + 998, Ordering::Relaxed);
    bench.pass().await;
    assert_eq!(bench.database.number(woken).await, 1, "the payer is woken before its money comes back");
    bench.node.height.store(HEIGHT + 1_300, Ordering::Relaxed);
    bench.pass().await;
    bench.node.height.store(HEIGHT + 900, Ordering::Relaxed);
    bench.pass().await;
    assert_eq!(bench.part_state(0).await, PartState::Failing(FailCause::Expired));
    assert_eq!(bench.hold(0).await.hold.tag(), HoldStateTag::Failing);
    assert_eq!(bench.node.failed.lock().unwrap().len(), 1);
    assert_eq!(bench.found(), []);
}

/// What is done every second must not grow with what merely waits.
#[tokio::test]
async fn ten_thousand_holds_that_wait_cost_next_to_nothing() {
    const HOLDS: u32 = 10_000;
    let bench = Bench::new().await;
    store_held(&bench.database.database, 0..HOLDS).await;
    (0..HOLDS).for_each(|number| bench.lists(htlc(number)));
    let mut moving = Duration::MAX;
    for _ in 0..5 {
        let started = Instant::now();
        bench.payments.reconcile_moving().await.unwrap();
        moving = moving.min(started.elapsed());
    }
    let started = Instant::now();
    bench.pass().await;
    let full = started.elapsed();
    let started = Instant::now();
    bench.pass().await;
    println!(
        "10,000 live holds: each second {moving:?}, each ten seconds {:?}, a new block {full:?}",
        started.elapsed()
    );
    assert!(moving < Duration::from_millis(50), "each second {moving:?}");
    assert!(full < Duration::from_secs(5), "all of them {full:?}, without optimisation");
    assert_eq!(bench.found(), []);
}
