//! A phone without a wallet's manners: a node in this process that sends what a test tells it to, and nothing else.
//!
//! It is a phone on the wire, with the same `node` as the wallet, so that the LSP sees no difference. It can do what no
//! honest wallet does: block other people's payments, say yes with a wrong pid, ask to be paid for an unknown hash.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::Network;
use bitcoin::secp256k1::PublicKey;
use hex::FromHex;
use lightning_invoice::Bolt11Invoice;
use lightning_types::payment::PaymentHash;
use node::{BitcoindConfig, InvoiceRequest, Node, NodeConfig, NodeEvent, PayRequest, Role, Seed};
use protocol::units::{BlockHeight, Msat};
use storage::{Database, DatabaseUrl};

use crate::bitcoind::{Bitcoind, RPC_PASSWORD, RPC_USER};
use crate::failure::Failure;
use crate::lsp::Lsp;
use crate::wait::{SOON, Seen, wait_until};
use crate::wallet::Wallet;

mod attack;
mod messages;
mod stage;
mod strings;

pub use messages::ReceivedPending;
pub use stage::{PAYER_CHANNEL_SAT, PuppetStage};
use strings::Strings;

/// For fees and anchor reserves, on top of a channel's capacity.
const ON_CHAIN_EXTRA_SAT: u64 = 200_000;

/// How a payment of a puppet ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The payee has it.
    Paid {
        /// What the route cost.
        fee: Msat,
    },
    /// The money is back.
    Failed,
}

/// A phone that does as it is told.
pub struct Puppet {
    name: String,
    node: Arc<Node>,
    database: Database,
    strings: Arc<Strings>,
    lsp: PublicKey,
}

impl Puppet {
    /// Goes online as a client of `lsp`, with its database in `folder`. The same name and folder give the same node again.
    ///
    /// # Errors
    ///
    /// When the node does not start.
    pub async fn online(name: &str, folder: &Path, bitcoind: &Bitcoind, lsp: &Lsp) -> Result<Self, Failure> {
        let mut seed = [0; 32];
        for (byte, letter) in seed.iter_mut().zip(name.bytes()) {
            *byte = letter;
        }
        let database = folder.join(format!("{name}.sqlite"));
        Self::online_with(name, Seed::new(seed), &database, bitcoind, lsp).await
    }

    /// Goes online as `wallet`, whose own process must not run meanwhile: with its seed and its channels, but without its
    /// memory.
    ///
    /// # Errors
    ///
    /// When the node does not start.
    pub async fn in_place_of(wallet: &Wallet, bitcoind: &Bitcoind, lsp: &Lsp) -> Result<Self, Failure> {
        let path = wallet.seed_path();
        let text = std::fs::read_to_string(&path).map_err(|source| Failure::File { path, source })?;
        let bytes = FromHex::from_hex(text.trim()).map_err(|_| Failure::wrong("the seed is damaged"))?;
        let name = format!("{} without memory", wallet.name());
        Self::online_with(&name, Seed::new(bytes), &wallet.database_path(), bitcoind, lsp).await
    }

    async fn online_with(
        name: &str,
        seed: Seed,
        database: &Path,
        bitcoind: &Bitcoind,
        lsp: &Lsp,
    ) -> Result<Self, Failure> {
        let failure = |what: &str, error: &dyn std::error::Error| {
            Failure::wrong(format!("{name} {what}: {}", xtask::with_causes(error)))
        };
        let url: DatabaseUrl = format!("sqlite:{}", database.display())
            .parse()
            .map_err(|error| failure("has no database", &error))?;
        let database =
            Database::open(&url, &[]).await.map_err(|error| failure("cannot open its database", &error))?;
        let lsp_id = parse_node_id(lsp.node_id())?;
        let config = NodeConfig {
            network: Network::Regtest,
            bitcoind: BitcoindConfig {
                rpc_url: bitcoind.rpc_url(),
                rpc_user: RPC_USER.to_owned(),
                rpc_password: RPC_PASSWORD.to_owned(),
            },
            listen: Vec::new(),
            announced_addresses: Vec::new(),
            alias: name.to_owned(),
            role: Role::Wallet { lsp: lsp_id, lsp_address: lsp.listen().to_string() },
        };
        let node = Node::load(config, seed, database.clone())
            .await
            .map_err(|error| failure("cannot be loaded", &error))?;
        let strings = Arc::new(Strings::new(Arc::downgrade(&node)));
        node.start(Arc::clone(&strings) as _).await.map_err(|error| failure("cannot start", &error))?;
        let puppet = Self { name: name.to_owned(), node, database, strings, lsp: lsp_id };
        puppet.wait_for("its LSP", |node| node.is_connected(lsp_id)).await?;
        Ok(puppet)
    }

    /// Goes offline. What it had stays on disk.
    pub async fn go_offline(self) {
        self.node.stop().await;
        self.database.close().await;
    }

    /// The node, for everything that has no word of its own here.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Its node id.
    pub fn node_id(&self) -> PublicKey {
        self.node.node_id()
    }

    /// Its LSP's node id.
    pub fn lsp(&self) -> PublicKey {
        self.lsp
    }

    /// Waits for something that its node knows.
    ///
    /// # Errors
    ///
    /// When it does not come true.
    pub async fn wait_for(&self, what: &str, done: impl Fn(&Node) -> bool) -> Result<(), Failure> {
        wait_until(&format!("{} to have {what}", self.name), SOON, async || {
            let seen = || format!("height {}, {:?}", self.node.height(), self.node.channels());
            Ok(if done(&self.node) { Seen::Done(()) } else { Seen::NotYet(seen()) })
        })
        .await
    }

    /// Gets coins, and opens channels to its LSP with them. They are usable after six blocks.
    ///
    /// # Errors
    ///
    /// When the funding transactions do not come out.
    pub async fn open_channels(
        &self,
        bitcoind: &Bitcoind,
        count: usize,
        capacity_sat: u64,
    ) -> Result<(), Failure> {
        for _ in 0..count {
            let address = self.node.new_address().to_string();
            bitcoind.send(&address, capacity_sat + ON_CHAIN_EXTRA_SAT).await?;
        }
        bitcoind.mine(1).await?;
        let needed_sat = count as u64 * (capacity_sat + ON_CHAIN_EXTRA_SAT);
        self.wait_for("coins", |node| node.balances().on_chain.spendable_sat >= needed_sat).await?;
        let there = bitcoind.memory_pool().await?.len();
        for opened in 1..=count {
            self.node
                .open_channel(self.lsp, capacity_sat, Msat(0), false)
                .map_err(|error| Failure::wrong(xtask::with_causes(&error)))?;
            bitcoind.wait_for_transactions(there + opened).await?;
        }
        Ok(())
    }

    /// Waits until `count` channels are usable.
    ///
    /// # Errors
    ///
    /// When they are not in time.
    pub async fn wait_for_usable_channels(&self, count: usize) -> Result<(), Failure> {
        let usable = |node: &Node| node.channels().iter().filter(|channel| channel.is_usable).count();
        self.wait_for(&format!("{count} usable channels"), |node| usable(node) >= count).await
    }

    /// What it has in channels.
    pub fn balance_msat(&self) -> u64 {
        self.node.balances().lightning.0
    }

    /// Makes an invoice that says that its payee answers `payment_pending`.
    ///
    /// # Errors
    ///
    /// When there is no way to be paid within a minute.
    pub async fn invoice(&self, amount_msat: u64) -> Result<Bolt11Invoice, Failure> {
        let request = InvoiceRequest {
            amount: Some(Msat(amount_msat)),
            description: "a test".to_owned(),
            expiry_secs: 3600,
            asynchronous: true,
        };
        wait_until(&format!("an invoice of {}", self.name), SOON, async || {
            Ok(match self.node.create_invoice(&request) {
                Ok(invoice) => Seen::Done(invoice),
                Err(error) => Seen::NotYet(xtask::with_causes(&error)),
            })
        })
        .await
    }

    /// Starts to pay, with time for a hold of `hold_blocks`.
    ///
    /// # Errors
    ///
    /// When LDK refuses.
    pub async fn pay(&self, invoice: &Bolt11Invoice, hold_blocks: u32) -> Result<(), Failure> {
        let request = PayRequest {
            invoice: invoice.clone(),
            amount: None,
            extra_final_cltv_blocks: hold_blocks,
            retries: 0,
            fee_max: None,
        };
        // Gossip may be late.
        wait_until(&format!("{} to pay", self.name), SOON, async || match self.node.pay(&request) {
            Ok(()) => Ok(Seen::Done(())),
            Err(node::NodeError::NoRoute) => Ok(Seen::NotYet("no route".to_owned())),
            Err(error) => Err(Failure::wrong(xtask::with_causes(&error))),
        })
        .await
    }

    /// How its payment ended, if it has.
    pub fn payment_ended(&self, hash: PaymentHash) -> Option<Ended> {
        self.strings.events().iter().find_map(|event| match event {
            NodeEvent::PaymentSent { payment_hash, fee_paid, .. } if *payment_hash == hash => {
                Some(Ended::Paid { fee: fee_paid.unwrap_or_default() })
            }
            NodeEvent::PaymentFailed { payment_hash: Some(payment_hash), .. } if *payment_hash == hash => {
                Some(Ended::Failed)
            }
            _ => None,
        })
    }

    /// Waits for the end of its payment, and for the HTLCs to be off its channels.
    ///
    /// # Errors
    ///
    /// When it does not end in time.
    pub async fn wait_for_payment(&self, hash: PaymentHash, timeout: Duration) -> Result<Ended, Failure> {
        wait_until(&format!("{}'s payment to end", self.name), timeout, async || {
            Ok(match self.payment_ended(hash) {
                Some(ended) if !self.node.has_pending_htlcs() => Seen::Done(ended),
                other => Seen::NotYet(format!("{other:?}")),
            })
        })
        .await
    }

    /// Payments that it claimed, with this hash.
    pub fn times_paid(&self, hash: PaymentHash) -> usize {
        let claimed = |event: &&NodeEvent| matches!(event, NodeEvent::PaymentClaimed { payment_hash, .. } if *payment_hash == hash);
        self.strings.events().iter().filter(claimed).count()
    }

    /// From now on, it lets payments come and does not take them.
    pub fn claim_nothing(&self) {
        self.strings.claim_nothing();
    }

    /// Waits until LDK has told of a whole payment to it.
    ///
    /// # Errors
    ///
    /// When it does not in time.
    pub async fn wait_until_claimable(&self, hash: PaymentHash) -> Result<(), Failure> {
        let is_it = |event: &NodeEvent| matches!(event, NodeEvent::PaymentClaimable { payment_hash, .. } if *payment_hash == hash);
        wait_until(&format!("{} to be told of its payment", self.name), SOON, async || {
            let told = self.strings.events().iter().any(is_it);
            Ok(if told { Seen::Done(()) } else { Seen::NotYet("nothing yet".to_owned()) })
        })
        .await
    }

    /// The height that it is at.
    pub fn height(&self) -> BlockHeight {
        self.node.height()
    }
}

/// A node id from its hex.
///
/// # Errors
///
/// When it is none.
pub fn parse_node_id(text: &str) -> Result<PublicKey, Failure> {
    text.parse().map_err(|error| Failure::wrong(format!("{text} is no node id: {error}")))
}

/// An invoice from its text.
///
/// # Errors
///
/// When it is none.
pub fn parse_invoice(text: &str) -> Result<Bolt11Invoice, Failure> {
    text.parse().map_err(|error| Failure::wrong(format!("{text} is no invoice: {error:?}")))
}
