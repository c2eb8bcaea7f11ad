//! The on-chain wallet: BDK, kept in the one database, fed with bitcoind's blocks.

mod sign;
mod source;
mod store;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bdk_wallet::template::Bip84;
use bdk_wallet::{ChangeSet, KeychainKind, Update, Wallet};
use bitcoin::bip32::Xpriv;
use bitcoin::{Address, Amount, Block, FeeRate, Network, ScriptBuf, Transaction};
use lightning::chain::BlockLocator;
use lightning::chain::chaininterface::{ConfirmationTarget, FeeEstimator};

use crate::chain::{Broadcaster, Fees};
use crate::error::NodeError;
use crate::seed::Seed;
use store::ChangeSets;

/// On-chain money of a node: funds channels, bumps anchors, receives sweeps. BIP 84 keys under the node's seed.
pub(crate) struct OnChainWallet {
    wallet: Mutex<Wallet>,
    key: Xpriv,
    changes: ChangeSets,
    broadcaster: Arc<Broadcaster>,
    fees: Arc<Fees>,
}

/// On-chain money, in satoshi.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnChainBalance {
    /// With at least one confirmation, or our own change.
    pub spendable_sat: u64,
    /// Everything, immature and unconfirmed included.
    pub total_sat: u64,
}

impl OnChainWallet {
    /// Loads the wallet, or makes it with `tip` as its birthday.
    pub(crate) async fn load(
        seed: &Seed,
        network: Network,
        database: storage::Database,
        tip: BlockLocator,
        broadcaster: Arc<Broadcaster>,
        fees: Arc<Fees>,
    ) -> Result<Self, NodeError> {
        let key = Xpriv::new_master(network, seed.bytes())
            .map_err(|error| NodeError::on_chain("derive its keys", error))?;
        let external = Bip84(key, KeychainKind::External);
        let internal = Bip84(key, KeychainKind::Internal);
        let (changes, stored) = ChangeSets::load(database).await?;
        let wallet = match stored {
            Some(stored) => Wallet::load()
                .descriptor(KeychainKind::External, Some(external))
                .descriptor(KeychainKind::Internal, Some(internal))
                .check_network(network)
                .load_wallet_no_persist(stored)
                .map_err(|error| NodeError::on_chain("be loaded", error))?
                .ok_or(NodeError::Corrupt { what: "on-chain wallet", key: "on_chain_wallet".to_owned() })?,
            None => {
                let mut wallet = Wallet::create(external, internal)
                    .network(network)
                    .create_wallet_no_persist()
                    .map_err(|error| NodeError::on_chain("be made", error))?;
                let birthday = wallet.latest_checkpoint().insert((tip.height, tip.block_hash).into());
                wallet
                    .apply_update(Update { chain: Some(birthday), ..Update::default() })
                    .map_err(|error| NodeError::on_chain("take its birthday", error))?;
                wallet
            }
        };
        let this = Self { wallet: Mutex::new(wallet), key, changes, broadcaster, fees };
        this.persist(&mut this.lock());
        Ok(this)
    }

    fn lock(&self) -> MutexGuard<'_, Wallet> {
        self.wallet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues what changed; a failed commit stops the process through the database's own alarm.
    fn persist(&self, wallet: &mut Wallet) {
        if let Some(changes) = wallet.take_staged() {
            self.changes.append(&changes);
        }
    }

    pub(crate) fn best_block(&self) -> BlockLocator {
        let tip = self.lock().latest_checkpoint();
        BlockLocator::new(tip.hash(), tip.height())
    }

    pub(crate) fn balance(&self) -> OnChainBalance {
        let balance = self.lock().balance();
        OnChainBalance {
            spendable_sat: balance.trusted_spendable().to_sat(),
            total_sat: balance.total().to_sat(),
        }
    }

    pub(crate) fn new_address(&self) -> Address {
        let mut wallet = self.lock();
        let address = wallet.reveal_next_address(KeychainKind::External).address;
        self.persist(&mut wallet);
        address
    }

    fn change_script(&self) -> ScriptBuf {
        let mut wallet = self.lock();
        let script = wallet.next_unused_address(KeychainKind::Internal).address.script_pubkey();
        self.persist(&mut wallet);
        script
    }

    /// A signed transaction that pays `amount_sat` to `script`. Its coins count as spent from here on.
    pub(crate) fn fund(&self, script: ScriptBuf, amount_sat: u64) -> Result<Transaction, NodeError> {
        let rate = self.fees.get_est_sat_per_1000_weight(ConfirmationTarget::NonAnchorChannelFee);
        let mut wallet = self.lock();
        let mut builder = wallet.build_tx();
        builder
            .add_recipient(script, Amount::from_sat(amount_sat))
            .fee_rate(FeeRate::from_sat_per_kwu(u64::from(rate)));
        let mut psbt = builder.finish().map_err(|error| NodeError::on_chain("fund a channel", error))?;
        self.sign_own_inputs(&wallet, &mut psbt)?;
        let transaction =
            psbt.extract_tx().map_err(|error| NodeError::on_chain("finish a transaction", error))?;
        wallet.apply_unconfirmed_txs([(transaction.clone(), 0)]);
        self.persist(&mut wallet);
        Ok(transaction)
    }

    /// Pays `amount_sat` to `address` and broadcasts.
    pub(crate) fn send(&self, address: &Address, amount_sat: u64) -> Result<Transaction, NodeError> {
        let transaction = self.fund(address.script_pubkey(), amount_sat)?;
        self.broadcaster.send(vec![transaction.clone()]);
        Ok(transaction)
    }

    pub(crate) fn block_connected(&self, block: &Block, height: u32) {
        let mut wallet = self.lock();
        if let Err(error) = wallet.apply_block(block, height) {
            tracing::error!(height, %error, "the on-chain wallet cannot connect a block");
        }
        self.persist(&mut wallet);
    }

    pub(crate) fn blocks_disconnected(&self, fork_point: BlockLocator) {
        // BDK replaces conflicting checkpoints when the next block connects to the fork point.
        tracing::debug!(height = fork_point.height, "the on-chain wallet waits for the new branch");
    }
}

/// Merges `newer` into `merged`.
fn merge(merged: &mut Option<ChangeSet>, newer: ChangeSet) {
    use bdk_wallet::chain::Merge;
    match merged {
        Some(merged) => merged.merge(newer),
        None => *merged = Some(newer),
    }
}
