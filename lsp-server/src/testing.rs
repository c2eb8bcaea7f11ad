//! What the tests of several modules share: a real database, a clock that stands still, and a node as far as they need one.

mod receiver;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use futures::future::{BoxFuture, FutureExt};
use lightning::ln::channelmanager::InterceptId;
use lightning::ln::types::ChannelId;
use lightning::types::payment::PaymentHash;
use node::{ChainTrouble, NodeError};
use notifier::{GatewayKind, PushTarget};
use protocol::api::admin::HoldDetail;
use protocol::hold::{Hold, HoldStateTag, HoldTerms, Part, PartState};
use protocol::ids::PidHash;
use protocol::units::{BlockHeight, Msat};
use storage::Database;
use storage::testing::Scratch;

use crate::clock::Clock;
use crate::http::public::PublicNode;
use crate::mailbox::MailboxNode;
use crate::store::MIGRATIONS;
use crate::store::challenges::{Answered, Proof};
use crate::store::devices::{self, DeviceId, DeviceLimits, NewDevice, RegisterError, Registered};
use crate::tokens::TokenKeys;
use crate::wake::WakeNode;

pub(crate) use receiver::{Receiver, gateway};

/// When the tests begin, in seconds since 1970.
pub(crate) const START: u64 = 1_800_000_000;

/// A secret key of one repeated byte.
pub(crate) fn secret(byte: u8) -> SecretKey {
    SecretKey::from_slice(&[byte; 32]).unwrap()
}

/// The public key of [`secret`].
pub(crate) fn public(byte: u8) -> PublicKey {
    secret(byte).public_key(&Secp256k1::new())
}

/// A database with all of the server's tables, gone at the end of the test.
pub(crate) struct TestDatabase {
    pub(crate) database: Database,
    scratch: Scratch,
}

impl TestDatabase {
    pub(crate) async fn new() -> Self {
        Self::on(Scratch::usual()).await
    }

    pub(crate) async fn on(scratch: Scratch) -> Self {
        Self { database: scratch.open(&[MIGRATIONS]).await, scratch }
    }

    pub(crate) fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// The first column, named `n`, of a query's only row.
    pub(crate) async fn number(&self, sql: &'static str) -> i64 {
        self.database
            .submit("test_number", move |tx| {
                Box::pin(async move { tx.fetch_one(sql, &[]).await?.get_i64("n") })
            })
            .await
            .unwrap()
    }

    /// Answers how many rows a statement changed.
    pub(crate) async fn run(&self, sql: &'static str) -> u64 {
        self.database
            .submit("test_run", move |tx| Box::pin(async move { tx.execute(sql, &[]).await }))
            .await
            .unwrap()
    }

    /// Registers a webhook for a node that has a channel.
    pub(crate) async fn register(&self, node: u8, url: &str) -> Registered {
        self.try_register(new_device(node, url), DeviceLimits::default()).await.unwrap()
    }

    pub(crate) async fn try_register(
        &self,
        device: NewDevice,
        limits: DeviceLimits,
    ) -> Result<Registered, RegisterError> {
        self.database
            .submit("test_register", move |tx| {
                Box::pin(async move { devices::register(tx, &device, &limits).await })
            })
            .await
    }
}

/// A hold with a part that is held, as operators see it.
pub(crate) fn hold_detail() -> HoldDetail {
    let terms = HoldTerms {
        payer: public(1),
        pid_hash: PidHash([7; 32]),
        payment_hashes: vec![PaymentHash([1; 32])],
        deadline: BlockHeight(900),
    };
    let part = Part {
        intercept_id: InterceptId([1; 32]),
        payment_hash: PaymentHash([1; 32]),
        inbound_channel_id: ChannelId([9; 32]),
        inbound_htlc_id: 5,
        inbound_amount: Msat(1_100),
        outbound_amount: Msat(1_000),
        inbound_expiry: None,
        outgoing_expiry: BlockHeight(1_000),
        next_hop_scid: 42,
        state: PartState::Held,
    };
    let hold = Hold::from_row(terms, HoldStateTag::Waiting, None, vec![part]).unwrap();
    HoldDetail::new(&hold, START, true)
}

/// What the tests' tokens are sealed with.
pub(crate) fn token_keys() -> Arc<TokenKeys> {
    Arc::new(TokenKeys::new(&[0x70; 32], &[]))
}

/// A webhook of a node; its challenge and name are its own.
pub(crate) fn new_device(node: u8, url: &str) -> NewDevice {
    new_device_for(node, &PushTarget::new(GatewayKind::Webhook, url))
}

/// As [`new_device`], reached otherwise.
pub(crate) fn new_device_for(node: u8, target: &PushTarget) -> NewDevice {
    static DEVICES: AtomicU64 = AtomicU64::new(1);
    let serial = DEVICES.fetch_add(1, Ordering::Relaxed);
    let mut device_id = [0; 16];
    device_id[..8].copy_from_slice(&serial.to_be_bytes());
    let device_id = DeviceId(device_id);
    NewDevice {
        device_id,
        node_id: public(node),
        target: token_keys().seal_target(device_id, &public(node), target),
        has_channel: true,
        proof: Proof::Signed(Answered {
            challenge: serial.to_be_bytes().to_vec(),
            expires_at: START + 300,
            now_unix: START,
        }),
    }
}

/// A clock that the test moves.
pub(crate) struct TestClock(AtomicU64);

impl TestClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(START)))
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now_unix(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A node: who is connected, has a channel, is announced; and the onion messages that it was given.
pub(crate) struct FakeNode {
    pub(crate) connected: Mutex<HashSet<PublicKey>>,
    pub(crate) clients: Mutex<HashSet<PublicKey>>,
    pub(crate) announced: Mutex<HashSet<PublicKey>>,
    pub(crate) forwarded: Mutex<Vec<(PublicKey, Vec<u8>)>>,
    pub(crate) full: AtomicBool,
    /// Messages after which whoever gets them is gone.
    pub(crate) leaves_after: AtomicU64,
    pub(crate) calls: AtomicU64,
    /// Nobody who is called answers.
    pub(crate) silent: AtomicBool,
    pub(crate) height: AtomicU64,
    pub(crate) chain_height: Mutex<Option<u32>>,
    pub(crate) chain_questions: AtomicU64,
    pub(crate) chain_trouble: Mutex<Option<ChainTrouble>>,
    random: AtomicU64,
}

impl FakeNode {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            connected: Mutex::default(),
            clients: Mutex::default(),
            announced: Mutex::default(),
            forwarded: Mutex::default(),
            full: AtomicBool::new(false),
            leaves_after: AtomicU64::new(u64::MAX),
            calls: AtomicU64::new(0),
            silent: AtomicBool::new(false),
            height: AtomicU64::new(100),
            chain_height: Mutex::new(Some(100)),
            chain_questions: AtomicU64::new(0),
            chain_trouble: Mutex::new(None),
            random: AtomicU64::new(1),
        })
    }

    pub(crate) fn connect(&self, peer: u8) {
        self.connected.lock().unwrap().insert(public(peer));
    }

    pub(crate) fn disconnect(&self, peer: u8) {
        self.connected.lock().unwrap().remove(&public(peer));
    }

    pub(crate) fn add_client(&self, peer: u8) {
        self.clients.lock().unwrap().insert(public(peer));
    }

    pub(crate) fn announce(&self, node: u8) {
        self.announced.lock().unwrap().insert(public(node));
    }

    /// What was given to one peer.
    pub(crate) fn messages_of(&self, peer: u8) -> Vec<Vec<u8>> {
        let forwarded = self.forwarded.lock().unwrap();
        forwarded.iter().filter(|(to, _)| *to == public(peer)).map(|(_, message)| message.clone()).collect()
    }

    fn is_here(&self, peer: PublicKey) -> bool {
        self.connected.lock().unwrap().contains(&peer)
    }

    fn fresh(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&self.random.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        bytes
    }
}

impl WakeNode for FakeNode {
    fn is_connected(&self, peer: PublicKey) -> bool {
        self.is_here(peer)
    }

    fn random_bytes(&self) -> [u8; 32] {
        self.fresh()
    }
}

impl MailboxNode for FakeNode {
    fn is_connected(&self, peer: PublicKey) -> bool {
        self.is_here(peer)
    }

    fn has_channel(&self, peer: PublicKey) -> bool {
        self.clients.lock().unwrap().contains(&peer)
    }

    fn is_announced(&self, node_id: PublicKey) -> bool {
        self.announced.lock().unwrap().contains(&node_id)
    }

    fn has_announced_address(&self, node_id: PublicKey) -> bool {
        self.announced.lock().unwrap().contains(&node_id)
    }

    fn forward_onion(&self, message: &[u8], peer: PublicKey) -> Result<(), NodeError> {
        let refused = |reason: &str| NodeError::Refused { action: "forwarding", reason: reason.to_owned() };
        if !self.is_here(peer) {
            return Err(refused("not connected"));
        }
        if self.full.load(Ordering::Relaxed) {
            return Err(refused("buffer full"));
        }
        let mut forwarded = self.forwarded.lock().unwrap();
        forwarded.push((peer, message.to_vec()));
        if forwarded.len() as u64 >= self.leaves_after.load(Ordering::Relaxed) {
            self.connected.lock().unwrap().remove(&peer);
        }
        Ok(())
    }

    fn connect_announced(&self, node_id: PublicKey) -> BoxFuture<'_, Result<(), NodeError>> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if self.silent.load(Ordering::Relaxed) {
            return std::future::pending().boxed();
        }
        let outcome = if self.announced.lock().unwrap().contains(&node_id) {
            self.connected.lock().unwrap().insert(node_id);
            Ok(())
        } else {
            Err(NodeError::Connect { peer: node_id, address: "nowhere".to_owned() })
        };
        async move { outcome }.boxed()
    }
}

impl PublicNode for FakeNode {
    fn node_id(&self) -> PublicKey {
        public(99)
    }

    fn random_bytes(&self) -> [u8; 32] {
        self.fresh()
    }

    fn has_channel(&self, peer: PublicKey) -> bool {
        MailboxNode::has_channel(self, peer)
    }

    fn height(&self) -> BlockHeight {
        BlockHeight(self.height.load(Ordering::Relaxed) as u32)
    }

    fn chain_trouble(&self) -> Option<ChainTrouble> {
        *self.chain_trouble.lock().unwrap()
    }

    fn chain_height(&self) -> BoxFuture<'_, Result<BlockHeight, NodeError>> {
        self.chain_questions.fetch_add(1, Ordering::Relaxed);
        let answer = self.chain_height.lock().unwrap().map(BlockHeight);
        let error =
            || NodeError::Refused { action: "asking http://bitcoind.internal", reason: "no".to_owned() };
        async move { answer.ok_or_else(error) }.boxed()
    }
}
