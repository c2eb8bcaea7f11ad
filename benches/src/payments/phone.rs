//! Phones: real nodes in this process, the same for every LSP.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use bitcoin::Network;
use bitcoin::secp256k1::PublicKey;
use futures::future::BoxFuture;
use lightning_invoice::Bolt11Invoice;
use lightning_types::payment::PaymentHash;
use node::{
    BitcoindConfig, IncomingMessage, InvoiceRequest, Node, NodeConfig, NodeEvent, NodeHandler, PayRequest,
    Replay, ReplyTo, Role, Seed,
};
use protocol::ids::PidHash;
use protocol::units::Msat;
use protocol::wire::{BlockAnswer, HoldStatus, Message};
use storage::{Database, DatabaseUrl};
use tests::bitcoind::{Bitcoind, RPC_PASSWORD, RPC_USER};
use tests::failure::Failure;
use tests::wait::{SOON, Seen, wait_until};
use tokio::sync::oneshot;

/// For fees and anchor reserves, on top of a channel's capacity.
const ON_CHAIN_EXTRA_SAT: u64 = 200_000;
const INVOICE_EXPIRY_SECS: u32 = 3_600;
/// How long a payment may take to be sent because every HTLC slot is taken.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
const SEND_RETRY_INTERVAL: Duration = Duration::from_millis(5);

/// One phone.
pub(crate) struct Phone {
    pub(crate) node: Arc<Node>,
    pub(crate) ears: Arc<Ears>,
    pub(crate) lsp: PublicKey,
    database: Database,
}

/// How a payment ended for its payer, and when.
#[derive(Clone, Debug)]
pub(crate) enum Ended {
    Paid(Instant),
    Failed(String),
}

/// Who waits for what.
pub(crate) struct Ears {
    node: Weak<Node>,
    pub(crate) acks: Waiting<PidHash, BlockAnswer>,
    pub(crate) statuses: Waiting<PidHash, HoldStatus>,
    pub(crate) asked: Waiting<PaymentHash, ReplyTo>,
    pub(crate) claimable: Waiting<PaymentHash, Instant>,
    pub(crate) ended: Waiting<PaymentHash, Ended>,
}

/// Each key is waited for once.
pub(crate) struct Waiting<K, T>(Mutex<HashMap<K, oneshot::Sender<T>>>);

impl<K, T> Default for Waiting<K, T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, T> Waiting<K, T> {
    pub(crate) fn expect(&self, key: K) -> oneshot::Receiver<T> {
        let (sender, receiver) = oneshot::channel();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, sender);
        receiver
    }

    fn hear(&self, key: &K, value: T) {
        if let Some(sender) = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key) {
            let _ = sender.send(value);
        }
    }
}

impl NodeHandler for Ears {
    fn event(&self, event: NodeEvent) -> BoxFuture<'_, Result<(), Replay>> {
        Box::pin(async move {
            match event {
                NodeEvent::PaymentClaimable { payment_hash, preimage: Some(preimage), .. } => {
                    self.claimable.hear(&payment_hash, Instant::now());
                    if let Some(node) = self.node.upgrade() {
                        node.claim(preimage);
                    }
                }
                NodeEvent::PaymentSent { payment_hash, .. } => {
                    self.ended.hear(&payment_hash, Ended::Paid(Instant::now()));
                }
                NodeEvent::PaymentFailed { payment_hash: Some(payment_hash), reason, .. } => {
                    self.ended.hear(&payment_hash, Ended::Failed(reason));
                }
                _ => {}
            }
            Ok(())
        })
    }

    fn message(&self, incoming: IncomingMessage) {
        match incoming.message {
            Message::PaymentBlockAck(ack) => self.acks.hear(&ack.pid_hash, ack.answer),
            Message::PaymentStatusReply(reply) => {
                for hold in reply.holds {
                    self.statuses.hear(&hold.pid_hash.clone(), hold);
                }
            }
            Message::PaymentPending(pending) => {
                if let Some(reply_to) = incoming.reply_to {
                    self.asked.hear(&pending.payment_hash, reply_to);
                }
            }
            _ => {}
        }
    }
}

/// How to put a phone online.
pub(crate) struct Line<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) bitcoind: &'a Bitcoind,
    pub(crate) lsp: PublicKey,
    pub(crate) address: SocketAddr,
}

pub(crate) fn wrong(error: &dyn std::error::Error) -> Failure {
    Failure::wrong(xtask::with_causes(error))
}

impl Phone {
    /// A new one, connected to its LSP.
    pub(crate) async fn online(name: &str, line: &Line<'_>) -> Result<Self, Failure> {
        let mut seed = [0; 32];
        for (byte, letter) in seed.iter_mut().zip(name.bytes()) {
            *byte = letter;
        }
        let path = line.folder.join(format!("{name}.sqlite"));
        let url: DatabaseUrl = format!("sqlite:{}", path.display()).parse().map_err(|error| wrong(&error))?;
        let database = Database::open(&url, &[]).await.map_err(|error| wrong(&error))?;
        let config = NodeConfig {
            network: Network::Regtest,
            bitcoind: BitcoindConfig {
                rpc_url: line.bitcoind.rpc_url(),
                rpc_user: RPC_USER.to_owned(),
                rpc_password: RPC_PASSWORD.to_owned(),
            },
            listen: Vec::new(),
            announced_addresses: Vec::new(),
            alias: name.to_owned(),
            role: Role::Wallet { lsp: line.lsp, lsp_address: line.address.to_string() },
        };
        let node =
            Node::load(config, Seed::new(seed), database.clone()).await.map_err(|error| wrong(&error))?;
        let ears = Arc::new(Ears {
            node: Arc::downgrade(&node),
            acks: Waiting::default(),
            statuses: Waiting::default(),
            asked: Waiting::default(),
            claimable: Waiting::default(),
            ended: Waiting::default(),
        });
        node.start(Arc::clone(&ears) as _).await.map_err(|error| wrong(&error))?;
        let phone = Self { node, ears, lsp: line.lsp, database };
        phone.wait_for("its LSP", |node| node.is_connected(phone.lsp)).await?;
        Ok(phone)
    }

    pub(crate) async fn go_offline(self) {
        self.node.stop().await;
        self.database.close().await;
    }

    pub(crate) async fn wait_for(&self, what: &str, done: impl Fn(&Node) -> bool) -> Result<(), Failure> {
        wait_until(&format!("a phone to have {what}"), SOON, async || {
            let seen = || format!("height {}, {:?}", self.node.height(), self.node.channels());
            Ok(if done(&self.node) { Seen::Done(()) } else { Seen::NotYet(seen()) })
        })
        .await
    }

    /// Coins for a channel; they are there with the next block.
    pub(crate) async fn fund(&self, bitcoind: &Bitcoind, capacity_sat: u64) -> Result<(), Failure> {
        bitcoind.send(&self.node.new_address().to_string(), capacity_sat + ON_CHAIN_EXTRA_SAT).await
    }

    /// Opens a private channel, of which `push` is the LSP's.
    pub(crate) async fn open(&self, capacity_sat: u64, push: Msat) -> Result<(), Failure> {
        self.wait_for("coins", |node| node.balances().on_chain.spendable_sat > capacity_sat).await?;
        self.node.open_channel(self.lsp, capacity_sat, push, false).map_err(|error| wrong(&error))?;
        Ok(())
    }

    /// Waits until its channel can be used, and invoices can be made for it.
    pub(crate) async fn wait_for_channel(&self) -> Result<(), Failure> {
        self.wait_for("a usable channel", |node| {
            node.channels().iter().any(|channel| channel.is_usable)
                && node.create_invoice(&invoice_request(Msat(1_000_000), false)).is_ok()
        })
        .await
    }

    pub(crate) fn invoice(&self, amount: Msat, asynchronous: bool) -> Result<Bolt11Invoice, Failure> {
        self.node.create_invoice(&invoice_request(amount, asynchronous)).map_err(|error| wrong(&error))
    }

    /// Starts to pay. Waits while the channel is full.
    pub(crate) async fn pay(
        &self,
        invoice: &Bolt11Invoice,
        extra_final_cltv_blocks: u32,
    ) -> Result<(), Failure> {
        let request = PayRequest {
            invoice: invoice.clone(),
            amount: None,
            extra_final_cltv_blocks,
            retries: 0,
            fee_max: None,
        };
        let started = Instant::now();
        loop {
            match self.node.pay(&request) {
                Ok(()) => return Ok(()),
                Err(node::NodeError::NoRoute) if started.elapsed() < SEND_TIMEOUT => {
                    tokio::time::sleep(SEND_RETRY_INTERVAL).await;
                }
                Err(error) => return Err(wrong(&error)),
            }
        }
    }
}

fn invoice_request(amount: Msat, asynchronous: bool) -> InvoiceRequest {
    InvoiceRequest {
        amount: Some(amount),
        description: "a measurement".to_owned(),
        expiry_secs: INVOICE_EXPIRY_SECS,
        asynchronous,
    }
}
