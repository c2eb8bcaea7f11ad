//! A model of LDK and of everything behind it: channels, peers, the chain. What it does was read in, or measured on,
//! `lightning` 0.3.0-rc3; the lines are named where it is modelled.
//!
//! Two things are kept apart: what the LSP's channel manager has in memory ([`Manager`]), of which a crash leaves what was
//! last written through the server's own database; and what is true on the channels ([`Htlc`]), which no crash undoes.
//! Nothing leaves the LSP before the manager that says so is on disk (the monitors are deferred behind it).

mod chain;
mod check;
mod manager;
mod node;
mod outside;
mod remote;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channelmanager::InterceptId;
use lightning::ln::types::ChannelId;
use lightning_types::payment::PaymentHash;
use protocol::ids::Pid;
use protocol::wire::Message;
use storage::faults::Faults;

use super::rng::Rng;
use super::trace::Trace;

pub use check::CALM_BLOCKS_MIN;
pub use node::ModelNode;
pub use remote::Remote;

/// LDK's default `our_max_accepted_htlcs` (util/config.rs).
pub const HTLCS_PER_CHANNEL_MAX: usize = 50;

/// The LSP's `cltv_expiry_delta`, in blocks.
pub const LSP_DELTA_BLOCKS: u32 = 144;

/// A peer of the LSP.
#[derive(Clone, Copy, Debug, Default)]
pub struct Peer {
    /// It completed its `init`.
    pub connected: bool,
    /// Its channels are reestablished.
    pub usable: bool,
}

/// A channel of the LSP.
#[derive(Clone, Debug)]
pub struct Chan {
    /// LDK's id.
    pub id: ChannelId,
    /// The other end.
    pub peer: PublicKey,
    /// Its short channel id.
    pub scid: u64,
    /// Not closed.
    pub open: bool,
    /// Being closed together.
    pub shutting_down: bool,
    /// The LSP's own, in millisatoshi, HTLCs in flight counted as the sender's.
    pub ours_msat: u64,
    /// What it was at first.
    pub ours_first_msat: u64,
}

/// Where an HTLC stands for the LSP's channel manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// In `pending_intercepted_htlcs`.
    Intercepted,
    /// `forward_intercepted_htlc` took it; it waits in `forward_htlcs`.
    Queued,
    /// On the outgoing channel.
    Out,
    /// The preimage is known: the payer must come.
    Claimed,
    /// Failed: the payer must come.
    Failed,
    /// Off the payer's channel.
    Gone,
}

/// What the next hop made of an HTLC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outer {
    /// It never got it.
    None,
    /// It has it, since this time.
    Offered(Duration),
    /// It claimed.
    Claimed,
    /// It failed it.
    Failed,
}

/// An event of LDK that waits to be handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// `HTLCIntercepted`
    Intercepted(usize),
    /// `PaymentForwarded`
    Forwarded(usize),
    /// `HTLCHandlingFailed`
    HandlingFailed(usize),
    /// `ChannelClosed`
    Closed(usize),
    /// `OnionMessageIntercepted`; not written, lost in a crash.
    Onion {
        /// Who delivered it.
        from: PublicKey,
        /// Who should have it.
        to: PublicKey,
        /// The message.
        message: Vec<u8>,
    },
}

/// What LDK writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manager {
    /// Every HTLC that it was ever offered.
    pub at: BTreeMap<usize, At>,
    /// Events that were not handled yet.
    pub events: VecDeque<Event>,
}

/// An HTLC as it is on the channels.
#[derive(Clone, Debug)]
pub struct Htlc {
    /// Which payment it is a part of.
    pub payment: usize,
    /// The channel it came in on.
    pub inbound: usize,
    /// The channel its onion names.
    pub outbound: usize,
    /// Its id on the inbound channel.
    pub htlc_id: u64,
    /// LDK's name for it.
    pub intercept_id: InterceptId,
    /// Offered by the payer, in millisatoshi.
    pub amount_msat: u64,
    /// To be forwarded, in millisatoshi.
    pub out_msat: u64,
    /// When it expires on the payer's channel.
    pub expiry: u32,
    /// When it expires on the next one.
    pub out_expiry: u32,
    /// What the next hop made of it.
    pub outer: Outer,
    /// How often it was put on the outgoing channel.
    pub offers: u32,
    /// How it left the payer's channel: settled or not.
    pub outcome: Option<bool>,
    /// Told of since the LSP's last start, and handled.
    pub told: bool,
    /// The hold that its payer had an ack for when it sent it.
    pub under_hold: bool,
    /// Its payer had an ack, and sent it with too few blocks for it.
    pub unfit: bool,
    /// Calm blocks so far when it began to wait for a phone.
    pub waits_since: Option<u64>,
    /// Pushes to that phone since.
    pub pushes: u32,
    /// Its sender asked for LDK's own hold.
    pub native_hold: bool,
    /// The operator has heard that its channel is about to be closed.
    pub alarmed: bool,
}

/// A payment that a payer means to make.
#[derive(Clone, Debug)]
pub struct Payment {
    /// By number.
    pub payer: usize,
    /// By number.
    pub payee: usize,
    /// Its secret.
    pub pid: Pid,
    /// What it pays.
    pub hash: PaymentHash,
    /// How many HTLCs.
    pub parts: usize,
    /// Each, in millisatoshi.
    pub part_msat: u64,
    /// Whether its payer asks for a hold.
    pub wants_hold: bool,
    /// The deadline that its payer asks for.
    pub deadline: u32,
    /// What the LSP granted, as its payer was told.
    pub granted: Option<u32>,
    /// The right pid came to the LSP.
    pub unblocked: bool,
    /// The right pid came while the hold waited, and the LSP survived what followed: from here on it is on record.
    pub released: bool,
    /// The payer was told that its cancel holds.
    pub cancelled: bool,
    /// A cancel is on its way, or was lost.
    pub cancel_sent: bool,
    /// The payer was told that its payment_pending is in the LSP's care.
    pub in_care: bool,
    /// The payee will refuse.
    pub payee_refuses: bool,
    /// The payee has its message.
    pub payee_knows: bool,
    /// The payee goes with HTLCs on its channel that it did not answer; it does when it comes again.
    pub payee_stalls: bool,
    /// HTLCs that were sent.
    pub sent: Vec<usize>,
    /// Intercepted, told and not released when the LSP was last at rest.
    pub held_at_rest: Vec<usize>,
}

/// Everything.
pub struct State {
    /// The record.
    pub trace: Trace,
    /// For the server's random bytes.
    pub rng: Rng,
    /// Time since the world began.
    pub now: Duration,
    /// The best block's.
    pub height: u32,
    /// Blocks that came one by one while the LSP ran and looked after each.
    pub calm: u64,
    /// The process that lives; calls of others change nothing.
    pub life: u64,
    /// It is dead already, and was not swept away yet.
    pub dead: bool,
    /// Calls until it dies.
    pub crash_in: Option<u64>,
    /// Of its database.
    pub faults: Option<Faults>,
    /// By node id.
    pub peers: BTreeMap<PublicKey, Peer>,
    /// By number.
    pub channels: Vec<Chan>,
    /// By number.
    pub htlcs: Vec<Htlc>,
    /// By number.
    pub payments: Vec<Payment>,
    /// In the LSP's memory.
    pub memory: Manager,
    /// On its disk.
    pub durable: Manager,
    /// What was written, by number: the database says which of them it kept.
    pub snapshots: BTreeMap<u64, Manager>,
    /// Answers to payers.
    pub replies: Vec<Message>,
    /// Onion messages handed to peers.
    pub outbox: Vec<(PublicKey, Vec<u8>)>,
    /// Phones that were pushed, and when they come.
    pub coming: Vec<(Duration, usize)>,
    /// Phones that no push brings.
    pub mute: BTreeSet<usize>,
    /// Another LSP.
    pub remote: Remote,
    /// This LSP has called the other one, which is here since.
    pub dialled: bool,
    /// The LSP has just started: nobody is connected.
    pub fresh: bool,
    /// A fault happened: what is at rest may be half done.
    pub disturbed: bool,
}

/// The model, shared by the world and the server's process.
#[derive(Clone)]
pub struct Model(Arc<Mutex<State>>);

impl Model {
    /// An empty one.
    pub fn new(seed: u64, height: u32) -> Self {
        Self(Arc::new(Mutex::new(State {
            trace: Trace::default(),
            rng: Rng::new(seed ^ 0x5EED),
            now: Duration::ZERO,
            height,
            calm: 0,
            life: 0,
            dead: false,
            crash_in: None,
            faults: None,
            peers: BTreeMap::new(),
            channels: Vec::new(),
            htlcs: Vec::new(),
            payments: Vec::new(),
            memory: Manager::default(),
            durable: Manager::default(),
            snapshots: BTreeMap::new(),
            replies: Vec::new(),
            outbox: Vec::new(),
            coming: Vec::new(),
            mute: BTreeSet::new(),
            remote: Remote::default(),
            dialled: false,
            fresh: false,
            disturbed: false,
        })))
    }

    /// A look inside.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
